//! A kernel of a few instructions that tells how many the firmware executed before it.
//!
//! It is loaded the way ours is (ELF with a PVH note), reads the time-stamp counter first of all, writes its eight bytes to port
//! 0xe9, which QEMU puts into a file, and ends QEMU.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::initramfs::Kernel;
use crate::qemu::{Configuration, TemporaryFile};

/// Where it is loaded.
const ADDRESS: u32 = 0x10_0000;
/// File offsets: ELF header, two program headers, note, code.
const NOTE: usize = 64 + 2 * 56;
const CODE: usize = NOTE + 20;

/// 32-bit code: `rdtsc`; the four bytes of `eax`, then those of `edx`, to port 0xe9; one to port 0x501; halt.
const INSTRUCTIONS: &[u8] = &[
    0x0f, 0x31, // rdtsc
    0x89, 0xd3, // mov ebx, edx
    0xe6, 0xe9, 0xc1, 0xe8, 8, 0xe6, 0xe9, 0xc1, 0xe8, 8, 0xe6, 0xe9, 0xc1, 0xe8, 8, 0xe6,
    0xe9, // out 0xe9, al; shr eax, 8 ...
    0x89, 0xd8, // mov eax, ebx
    0xe6, 0xe9, 0xc1, 0xe8, 8, 0xe6, 0xe9, 0xc1, 0xe8, 8, 0xe6, 0xe9, 0xc1, 0xe8, 8, 0xe6, 0xe9, //
    0x66, 0xba, 0x01, 0x05, // mov dx, 0x501
    0xef, // out dx, eax
    0xf4, 0xeb, 0xfd, // hlt; jump back
];

/// The kernel file.
fn image() -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let (note, code) = (u64::try_from(NOTE)?, u64::try_from(CODE)?);
    let size = u64::try_from(CODE + INSTRUCTIONS.len())?;
    let entry = u64::from(ADDRESS) + code;
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]); // ET_EXEC, x86_64, version 1
    for word in [entry, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
    // Type and flags; offset, virtual and physical address, size in file and memory, alignment.
    for (kind, flags, offset, length) in [(1_u32, 5_u32, 0, size), (4, 4, note, 20)] {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&flags.to_le_bytes());
        let address = u64::from(ADDRESS) + offset;
        for word in [offset, address, address, length, length, 4] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    }
    for word in [4_u32, 4, 18] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(b"Xen\0");
    file.extend_from_slice(&u32::try_from(entry)?.to_le_bytes());
    file.extend_from_slice(INSTRUCTIONS);
    Ok(file)
}

/// How many instructions the machine executes before a kernel's first, under `configuration` with another kernel.
pub fn firmware_instructions(configuration: &Configuration) -> Result<u64> {
    let kernel = TemporaryFile::new("probe", &image()?)?;
    let mut configuration = configuration.clone();
    configuration.kernel = kernel.path().to_path_buf();
    configuration.system = Kernel::Ashlar;
    let (_, bytes) = configuration.start()?.wait_with_report(Some(Duration::from_secs(60)))?;
    let bytes = bytes.first_chunk::<8>().context("the probe kernel did not run")?;
    Ok(u64::from_le_bytes(*bytes))
}
