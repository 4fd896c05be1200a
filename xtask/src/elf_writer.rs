//! Writing ELF programs of a few instructions, which no compiler and no library has a part in.
//!
//! The whole file, headers included, is one segment that is loaded at a fixed address; further program headers point into it.

use anyhow::Result;

use crate::target::Architecture;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// A program header beside the one that loads the file.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// Where in the content it lies.
    pub offset: usize,
    /// Its bytes.
    pub size: usize,
}

/// A program whose first loaded byte is at `address`; the entry is `entry` bytes into `content`.
pub fn program(
    architecture: Architecture,
    address: u64,
    content: &[u8],
    entry: usize,
    note: Option<Note>,
) -> Result<Vec<u8>> {
    let count = 1 + usize::from(note.is_some());
    let start = content_offset(note.is_some());
    let size = start + content.len();
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend_from_slice(&2_u16.to_le_bytes()); // ET_EXEC
    file.extend_from_slice(&architecture.elf_machine().to_le_bytes());
    file.extend_from_slice(&1_u32.to_le_bytes());
    for word in [address + u64::try_from(start + entry)?, u64::try_from(HEADER)?, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0_u32.to_le_bytes());
    for half in [HEADER, PROGRAM_HEADER, count, 64, 0, 0] {
        file.extend_from_slice(&u16::try_from(half)?.to_le_bytes());
    }
    let note = note.map(|note| (4_u32, 4_u32, start + note.offset, note.size, 4_u64));
    // Type, flags, offset, size, alignment.
    for (kind, flags, offset, length, alignment) in [(1, 5, 0, size, 4096)].into_iter().chain(note) {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&flags.to_le_bytes());
        let (offset, length) = (u64::try_from(offset)?, u64::try_from(length)?);
        for word in [offset, address + offset, address + offset, length, length, alignment] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    }
    file.extend_from_slice(content);
    Ok(file)
}

/// Where in the file the content begins.
pub fn content_offset(has_note: bool) -> usize {
    HEADER + PROGRAM_HEADER * (1 + usize::from(has_note))
}

/// A Linux program that ends at once with status 0: two instructions that load registers, and the system call.
pub fn smallest(architecture: Architecture) -> Result<Vec<u8>> {
    let code: &[u8] = match architecture {
        // xor edi, edi; mov eax, 231 (exit_group); syscall
        Architecture::X86_64 => &[0x31, 0xff, 0xb8, 231, 0, 0, 0, 0x0f, 0x05],
        // mov x0, 0; mov x8, 94 (exit_group); svc 0
        Architecture::Aarch64 => &[0x00, 0x00, 0x80, 0xd2, 0xc8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4],
    };
    program(architecture, 0x40_0000, code, 0, None)
}

#[cfg(test)]
mod tests {
    use object::Endianness;
    use object::elf::{FileHeader64, PT_LOAD, PT_NOTE};
    use object::read::elf::{FileHeader, ProgramHeader};

    use super::*;

    #[test]
    fn the_headers_are_read_as_they_were_meant() {
        let file =
            program(Architecture::Aarch64, 0x10_0000, b"noteCODE", 4, Some(Note { offset: 0, size: 4 })).unwrap();
        let header = FileHeader64::<Endianness>::parse(file.as_slice()).unwrap();
        let endian = header.endian().unwrap();
        assert_eq!(header.e_machine(endian), object::elf::EM_AARCH64);
        let segments = header.program_headers(endian, file.as_slice()).unwrap();
        assert_eq!(segments[0].p_type(endian), PT_LOAD);
        assert_eq!(segments[0].data(endian, file.as_slice()), Ok(file.as_slice()));
        assert_eq!(segments[1].p_type(endian), PT_NOTE);
        assert_eq!(segments[1].data(endian, file.as_slice()), Ok(b"note".as_slice()));
        let entry = usize::try_from(header.e_entry(endian) - 0x10_0000).unwrap();
        assert_eq!(&file[entry..], b"CODE");
    }

    #[test]
    fn the_smallest_program_runs_on_this_host() {
        let Some(host) = Architecture::host() else { return };
        let file = crate::qemu::TemporaryFile::new("smallest", &smallest(host).unwrap()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(file.path(), mode).unwrap();
        assert!(std::process::Command::new(file.path()).status().unwrap().success());
    }
}
