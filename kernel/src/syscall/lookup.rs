//! From a number to its row: an index per machine, made from the table at compile time.
//!
//! Dispatch packs what it needs of the rows by it; the tracer looks rows up. Invariant: no two rows share a number (it does not compile).

use super::row::SystemCall;
use super::table;
use crate::arch::{Current, LinuxInterface, Machine};

/// Numbers 0..LIMIT are looked up; both machines' tables end below.
pub(super) const LIMIT: usize = 512;

/// The row's number in a machine's interface.
#[must_use]
pub const fn number(row: &SystemCall, interface: &LinuxInterface) -> Option<u16> {
    interface.system_calls.pick(row.x86_64, row.aarch64)
}

/// For each number of a machine, the index of its row plus one. A number that two rows claim does not compile.
#[expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "evaluated at compile time; the table is far shorter than 65,535 rows"
)]
const fn index(interface: &LinuxInterface) -> [u16; LIMIT] {
    let mut index = [0u16; LIMIT];
    let mut row = 0;
    while row < table::TABLE.len() {
        if let Some(number) = number(&table::TABLE[row], interface) {
            assert!((number as usize) < LIMIT, "a number beyond the table's limit");
            if index[number as usize] != 0 {
                panic!("two rows claim one number");
            }
            index[number as usize] = row as u16 + 1;
        }
        row += 1;
    }
    index
}

// Made for each machine wherever one is compiled: a number that two rows claim compiles for none.
const _: [[u16; LIMIT]; 2] = [index(&LinuxInterface::X86_64), index(&LinuxInterface::AARCH64)];

/// This machine's.
pub(super) static INDEX: [u16; LIMIT] = index(&Current::LINUX);

/// The row of a number on this machine.
#[must_use]
pub fn row(number: u64) -> Option<&'static SystemCall> {
    let row = *INDEX.get(usize::try_from(number).ok()?)?;
    table::TABLE.get(usize::from(row).checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::super::row::Support;
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_linux() {
        // The registry crate carries the tables of both machines, made from Linux's own headers.
        for row in &table::TABLE {
            if let Some(number) = row.x86_64 {
                let theirs = syscalls::x86_64::Sysno::new(number.into()).map(|call| call.name());
                assert_eq!(theirs, Some(row.name), "x86_64 {number}");
            }
            if let Some(number) = row.aarch64 {
                let theirs = syscalls::aarch64::Sysno::new(number.into()).map(|call| call.name());
                assert_eq!(theirs.map(linux_name), Some(row.name), "aarch64 {number}");
            }
        }
    }

    /// arm64's headers call two of them by their generic names.
    fn linux_name(name: &'static str) -> &'static str {
        match name {
            "fstatat" => "newfstatat",
            other => other,
        }
    }

    /// A call that a machine's Linux has is not missing there in the table, and none is there that it has not.
    #[test]
    fn a_row_is_missing_on_a_machine_only_where_linux_has_no_such_call() {
        let x86: Vec<&str> = syscalls::x86_64::Sysno::iter().map(|call| call.name()).collect();
        let arm: Vec<&str> = syscalls::aarch64::Sysno::iter().map(|call| linux_name(call.name())).collect();
        for row in &table::TABLE {
            assert_eq!(row.x86_64.is_some(), x86.contains(&row.name), "{} on x86_64", row.name);
            assert_eq!(row.aarch64.is_some(), arm.contains(&row.name), "{} on aarch64", row.name);
        }
        for name in
            ["open", "stat", "fork", "vfork", "pipe", "dup2", "access", "poll", "select", "epoll_create", "mkdir"]
        {
            assert_eq!(table::TABLE.iter().find(|row| row.name == name).map(|row| row.aarch64), Some(None), "{name}");
        }
    }

    #[test]
    fn every_row_is_whole() {
        for row in &table::TABLE {
            assert_eq!(row.handler.is_none(), row.support == Support::Absent, "{}", row.name);
            assert!(row.arguments.len() <= 6 && !row.documentation.trim().is_empty(), "{}", row.name);
            assert!(row.x86_64.is_some() || row.aarch64.is_some(), "{}", row.name);
        }
        let mut names: Vec<_> = table::TABLE.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
    }

    #[test]
    fn an_unknown_number_has_no_row() {
        assert!(row(u64::MAX).is_none() && row(511).is_none());
    }
}
