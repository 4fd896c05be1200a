//! The kernel shown as files: procfs and sysfs.
//!
//! Reports are plain functions from kernel objects to text in Linux's format; the trees only say which report stands where.
//!
//! Invariant: a report takes each lock shortly, copies what it needs and formats afterwards; no text is made under a spinlock.

pub mod procfs;
pub mod sysfs;

use crate::base::{CpuMask, Errno, Result};
use crate::fs::file_system::{FileSystemType, Superblock};
use crate::security::Credentials;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Makes the types `proc` and `sysfs` known to `mount(2)`.
pub fn initialize() {
    crate::fs::file_system::register(&ProcFileSystemType);
    crate::fs::file_system::register(&SysFileSystemType);
}

struct ProcFileSystemType;

impl FileSystemType for ProcFileSystemType {
    fn name(&self) -> &'static str {
        "proc"
    }
    fn mount(&self, _source: &[u8], options: &[u8], _credentials: &Credentials) -> Result<Arc<Superblock>> {
        // `hidepid=` and `subset=` would have to be obeyed.
        accept_only(options, &[b"hidepid=0", b"gid=0"])?;
        Ok(procfs::superblock())
    }
}

struct SysFileSystemType;

impl FileSystemType for SysFileSystemType {
    fn name(&self) -> &'static str {
        "sysfs"
    }
    fn mount(&self, _source: &[u8], options: &[u8], _credentials: &Credentials) -> Result<Arc<Superblock>> {
        accept_only(options, &[])?;
        Ok(sysfs::superblock())
    }
}

/// Refuses options beside those that change nothing.
fn accept_only(options: &[u8], harmless: &[&[u8]]) -> Result<()> {
    let mut words = options.split(|byte| *byte == b',').filter(|word| !word.is_empty());
    if words.all(|word| harmless.contains(&word)) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// A written value without the white space around it.
fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii_end().trim_ascii_start()
}

/// A written decimal number.
fn parse_number<T: core::str::FromStr>(bytes: &[u8]) -> Result<T> {
    core::str::from_utf8(trimmed(bytes)).ok().and_then(|text| text.parse().ok()).ok_or(Errno::EINVAL)
}

/// Appends formatted text.
macro_rules! append {
    ($target:expr, $($format:tt)*) => {
        $target.extend_from_slice(alloc::format!($($format)*).as_bytes())
    };
}
pub(crate) use append;

/// The lines of a text for `/proc` files that are fixed.
fn fixed(text: &'static str) -> impl Fn(&mut Vec<u8>) -> Result<()> {
    move |target| {
        target.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A set of CPUs as Linux writes it in hexadecimal: words of 32 bits, the highest first, and no digit more than there are CPUs.
struct HexadecimalMask {
    mask: CpuMask,
    /// CPUs that there may be.
    width: usize,
}

impl core::fmt::Display for HexadecimalMask {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        const WORD: usize = 32;
        let words = self.width.div_ceil(WORD).max(1);
        for word in (0..words).rev() {
            let digits = self.width.saturating_sub(word * WORD).clamp(1, WORD).div_ceil(4);
            let bits = self.mask.bits() >> (word * WORD) & u64::from(u32::MAX);
            let separator = if word == 0 { "" } else { "," };
            write!(formatter, "{bits:0digits$x}{separator}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_as_many_digits_as_there_are_cpus() {
        let text = |bits, width| HexadecimalMask { mask: CpuMask::from_bits(bits), width }.to_string();
        assert_eq!(text(0xf, 4), "f");
        assert_eq!(text(0xf, 8), "0f");
        assert_eq!(text(1, 1), "1");
        assert_eq!(text(1, 5), "01");
        assert_eq!(text(1, 33), "0,00000001");
        assert_eq!(text(u64::MAX, 64), "ffffffff,ffffffff");
    }
}
