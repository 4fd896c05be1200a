//! What opens a device file: drivers register their device numbers here.

use super::file::FileOperations;
use super::mount::Location;
use super::types::{DeviceNumber, OpenFlags};
use crate::base::{Errno, Result};
use crate::sync::{LockRank, SpinLock};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::Range;

/// A device file is being opened.
#[derive(Clone, Copy, Debug)]
pub struct DeviceOpenRequest<'a> {
    /// Its device.
    pub number: DeviceNumber,
    /// How.
    pub flags: OpenFlags,
    /// Where the device file is.
    pub location: &'a Location,
}

/// A driver, as much of it as opening needs.
pub trait DeviceOpen: Send + Sync {
    /// What reading and writing the device do.
    ///
    /// # Errors
    /// `ENXIO` where there is no such device; what the driver says.
    fn open(&self, request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>>;
}

type Table = BTreeMap<(u32, u32), (u32, Arc<dyn DeviceOpen>)>;

static CHARACTER: SpinLock<Table> = SpinLock::new(LockRank::FileSystem, BTreeMap::new());
static BLOCK: SpinLock<Table> = SpinLock::new(LockRank::FileSystem, BTreeMap::new());

/// Registers the character device `major:minor`.
pub fn register_character_device(major: u32, minor: u32, driver: Arc<dyn DeviceOpen>) {
    register_character_devices(major, minor..minor.saturating_add(1), driver);
}

/// Registers character devices of one major number.
pub fn register_character_devices(major: u32, minors: Range<u32>, driver: Arc<dyn DeviceOpen>) {
    CHARACTER.lock().insert((major, minors.start), (minors.end, driver));
}

/// Registers block devices of one major number.
pub fn register_block_devices(major: u32, minors: Range<u32>, driver: Arc<dyn DeviceOpen>) {
    BLOCK.lock().insert((major, minors.start), (minors.end, driver));
}

fn open(table: &SpinLock<Table>, request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
    let DeviceNumber { major, minor } = request.number;
    let driver = {
        let table = table.lock();
        let (&(found, _), (end, driver)) = table.range(..=(major, minor)).next_back().ok_or(Errno::ENXIO)?;
        if found != major || minor >= *end {
            return Err(Errno::ENXIO);
        }
        driver.clone()
    };
    driver.open(request)
}

/// Opens a character device.
///
/// # Errors
/// `ENXIO` when no driver has the number; what the driver says.
pub fn open_character_device(request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
    open(&CHARACTER, request)
}

/// Opens a block device.
///
/// # Errors
/// `ENXIO` when no driver has the number; what the driver says.
pub fn open_block_device(request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
    open(&BLOCK, request)
}
