//! A kernel of a few instructions that tells how many the firmware executed before it.
//!
//! It is loaded the way ours is (ELF with a PVH note), reads the time-stamp counter first of all, writes its eight bytes to port
//! 0xe9, which QEMU puts into a file, and ends QEMU.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::elf_writer::{self, Note};
use crate::initramfs::Kernel;
use crate::qemu::{Configuration, TemporaryFile};
use crate::target::Architecture;

/// Where it is loaded.
const ADDRESS: u64 = 0x10_0000;
/// Bytes of the PVH note, which the code follows.
const NOTE: usize = 20;

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
    let mut content = Vec::new();
    for word in [4_u32, 4, 18] {
        content.extend_from_slice(&word.to_le_bytes());
    }
    content.extend_from_slice(b"Xen\0");
    let entry = ADDRESS + u64::try_from(elf_writer::content_offset(true) + NOTE)?;
    content.extend_from_slice(&u32::try_from(entry)?.to_le_bytes());
    content.extend_from_slice(INSTRUCTIONS);
    let note = Note { offset: 0, size: NOTE };
    elf_writer::program(Architecture::X86_64, ADDRESS, &content, NOTE, Some(note))
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
