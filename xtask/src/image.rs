//! The raw boot image of 64-bit Arm, made from the linked kernel.
//!
//! Boot loaders of that machine (QEMU's `virt`, Firecracker, U-Boot) take no ELF file: they load a flat image and enter its first
//! byte. What this needs of `boot/aarch64.ld`:
//!
//! - the loaded segments' physical addresses are where they lie in the image, and the lowest begins with Linux's arm64 image
//!   header (64 bytes: branch, text offset, image size, flags, the magic number `ARM\x64` at 56);
//! - `.ashlar.symbols` is last, in a segment of its own, as on x86_64 ([`crate::symbols`]), with `.bss` before it: so the file
//!   holds `.bss` as zeros;
//! - `KERNEL_BASE` is what an address of the image has above its physical address.
//!
//! The image's size is only known when the symbols are in: it is written into the header here.

use anyhow::{Context, Result, bail, ensure};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};

/// Where the header keeps the bytes of memory that the image takes, and its magic number.
const IMAGE_SIZE: usize = 16;
const MAGIC: usize = 56;
/// No kernel is larger; a hole between two segments would be.
const LARGEST: u64 = 256 << 20;

/// The flat image of the ELF file `kernel`.
pub fn flat(kernel: &[u8]) -> Result<Vec<u8>> {
    let header = elf::FileHeader64::<Endianness>::parse(kernel).context("the kernel is no ELF file")?;
    let endian = header.endian()?;
    let loaded = |segment: &&elf::ProgramHeader64<Endianness>| {
        segment.p_type(endian) == elf::PT_LOAD && segment.p_memsz(endian) > 0
    };
    let mut segments: Vec<_> = header.program_headers(endian, kernel)?.iter().filter(loaded).collect();
    segments.sort_by_key(|segment| segment.p_paddr(endian));
    let base = segments.first().context("the kernel has no segments")?.p_paddr(endian);
    let mut image = Vec::new();
    let mut end = 0;
    for segment in segments {
        let start = segment.p_paddr(endian) - base;
        ensure!(start >= end, "linker script: two segments overlap at physical {:#x}", segment.p_paddr(endian));
        end = start + segment.p_memsz(endian);
        ensure!(end <= LARGEST, "linker script: the image spans {end:#x} bytes");
        let Ok(content) = segment.data(endian, kernel) else { bail!("the kernel's file is cut off") };
        image.resize(usize::try_from(start)?, 0);
        image.extend_from_slice(content);
    }
    ensure!(
        image.get(MAGIC..MAGIC + 4) == Some(b"ARM\x64".as_slice()),
        "linker script: the image does not begin with Linux's arm64 header"
    );
    let place = image.get_mut(IMAGE_SIZE..IMAGE_SIZE + 8).context("no header")?;
    place.copy_from_slice(&end.to_le_bytes());
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment: physical address, content, bytes in memory.
    type Segment<'a> = (u64, &'a [u8], u64);

    fn kernel(segments: &[Segment<'_>]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend_from_slice(&[2, 0, 183, 0, 1, 0, 0, 0]);
        for word in [0_u64, 64, 0] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        let count = u8::try_from(segments.len()).unwrap();
        file.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, count, 0, 64, 0, 0, 0, 0, 0]);
        let mut offset = u64::try_from(64 + 56 * segments.len()).unwrap();
        for (address, content, memory) in segments {
            let length = u64::try_from(content.len()).unwrap();
            file.extend_from_slice(&[1, 0, 0, 0, 5, 0, 0, 0]);
            for word in [offset, 0xffff_0000_0000_0000 + address, *address, length, *memory, 4096] {
                file.extend_from_slice(&word.to_le_bytes());
            }
            offset += length;
        }
        segments.iter().for_each(|(_, content, _)| file.extend_from_slice(content));
        file
    }

    fn head() -> [u8; 64] {
        let mut head = [7; 64];
        head[MAGIC..MAGIC + 4].copy_from_slice(b"ARM\x64");
        head
    }

    #[test]
    fn segments_lie_flat_and_the_size_covers_memory() {
        let file =
            kernel(&[(0x4020_2000, b"data", 0x1000), (0x4020_0000, &head(), 64), (0x4020_3000, b"symbols", 0x2000)]);
        let image = flat(&file).unwrap();
        assert_eq!(image.len(), 0x3007);
        assert_eq!(image[..8], [7; 8]);
        assert_eq!(image[IMAGE_SIZE..IMAGE_SIZE + 8], 0x5000_u64.to_le_bytes());
        assert_eq!(&image[0x2000..0x2004], b"data");
        assert!(image[0x2004..0x3000].iter().all(|byte| *byte == 0));
        assert_eq!(&image[0x3000..], b"symbols");
    }

    #[test]
    fn what_cannot_be_laid_flat_is_refused() {
        assert!(flat(b"no ELF").is_err());
        assert!(flat(&kernel(&[])).is_err());
        assert!(flat(&kernel(&[(0x4020_0000, b"short", 5)])).is_err());
        assert!(flat(&kernel(&[(0x4020_0000, &head(), 0x2000), (0x4020_1000, b"inside", 6)])).is_err());
        assert!(flat(&kernel(&[(0, &head(), 64), (0x4000_0000, b"far", 3)])).is_err());
    }
}
