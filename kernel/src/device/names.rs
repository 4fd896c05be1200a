//! The names under `/dev`: which device files devtmpfs shows.

use crate::fs::DeviceNumber;
use crate::sync::{LockRank, SpinLock};
use alloc::string::String;
use alloc::vec::Vec;

/// A device file that should exist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceName {
    /// Its name below `/dev`.
    pub name: String,
    /// Its device: a character device.
    pub number: DeviceNumber,
    /// Its permissions.
    pub permissions: u32,
}

static NAMES: SpinLock<Vec<DeviceName>> = SpinLock::new(LockRank::FileSystem, Vec::new());

/// Adds a character device.
pub fn add(name: &str, major: u32, minor: u32, permissions: u32) {
    let entry = DeviceName { name: name.into(), number: DeviceNumber::new(major, minor), permissions };
    NAMES.lock().push(entry);
}

/// All of them, in the order in which they were added.
#[must_use]
pub fn all() -> Vec<DeviceName> {
    NAMES.lock().clone()
}

/// The name of a character device, for `/proc` and `ttyname`.
#[must_use]
pub fn find(number: DeviceNumber) -> Option<String> {
    NAMES.lock().iter().find(|entry| entry.number == number).map(|entry| entry.name.clone())
}
