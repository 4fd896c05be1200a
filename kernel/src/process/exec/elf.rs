//! ELF headers, as far as starting a program needs them: pure functions over bytes that an attacker wrote.
//!
//! [`Header::parse`] and [`Image::parse`] accept what Linux's loader accepts and give [`Image`], in which every number has been
//! checked against overflow and the end of user space, so that the mapping code can calculate with it freely.
//!
//! Invariants of an [`Image`]: segments are in the order of the file; for each, `start + memory_size` does not pass 2^64,
//! `file_size <= memory_size`, `offset` and `start` agree modulo the page size, and `offset + file_size` does not pass 2^63.

use crate::arch::{Current, Machine};
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress};
use alloc::vec::Vec;
use elf::abi;
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader};
use elf::parse::ParseAt;
use elf::segment::ProgramHeader;

/// Bytes of an ELF64 file header.
pub const HEADER_SIZE: usize = 64;
/// Bytes of a program header.
pub const PROGRAM_HEADER_SIZE: usize = 56;
/// The most program headers: Linux reads one page of them.
const MAXIMUM_PROGRAM_HEADERS: u16 = (PAGE_SIZE / PROGRAM_HEADER_SIZE) as u16;
/// The longest interpreter path with its NUL (`PATH_MAX`).
const INTERPRETER_MAXIMUM: u64 = 4096;

/// What the file header says that matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whether the addresses are fixed (`ET_EXEC`) or relative to where the file is put (`ET_DYN`).
    pub placement: Placement,
    /// Where it begins, relative to where it is put.
    pub entry: u64,
    /// Where in the file the program headers are.
    pub table_offset: u64,
    /// How many there are.
    pub table_count: u16,
}

/// Whether a file's addresses are fixed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// They are.
    Fixed,
    /// They count from where it is put.
    Relative,
}

impl Header {
    /// Reads a file header from a file's first bytes.
    ///
    /// # Errors
    /// `ENOEXEC`: no ELF file, for another machine, neither program nor library, or with program headers of another size or number.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let tail = bytes.get(abi::EI_NIDENT..HEADER_SIZE).ok_or(Errno::ENOEXEC)?;
        if !bytes.starts_with(&abi::ELFMAGIC) {
            return Err(Errno::ENOEXEC);
        }
        // As on Linux, the machine decides: the class and byte order that the file claims are not looked at.
        let ident = (LittleEndian, Class::ELF64, 0, 0);
        let header = FileHeader::parse_tail(ident, tail).map_err(|_| Errno::ENOEXEC)?;
        let placement = match header.e_type {
            abi::ET_EXEC => Placement::Fixed,
            abi::ET_DYN => Placement::Relative,
            _ => return Err(Errno::ENOEXEC),
        };
        let machine = Current::LINUX.elf_machine;
        let count_fits = (1..=MAXIMUM_PROGRAM_HEADERS).contains(&header.e_phnum);
        if header.e_machine != machine || usize::from(header.e_phentsize) != PROGRAM_HEADER_SIZE || !count_fits {
            return Err(Errno::ENOEXEC);
        }
        Ok(Self { placement, entry: header.e_entry, table_offset: header.e_phoff, table_count: header.e_phnum })
    }

    /// Bytes of the program-header table.
    #[must_use]
    pub fn table_size(&self) -> usize {
        usize::from(self.table_count) * PROGRAM_HEADER_SIZE
    }
}

/// A part of the file that is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its first byte's address, relative to where the file is put.
    pub start: u64,
    /// Its bytes in memory.
    pub memory_size: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// Its bytes in the file; the rest is zeros.
    pub file_size: u64,
    /// `PF_R`, `PF_W`, `PF_X`.
    pub flags: u32,
}

impl Segment {
    /// The start of its first page.
    #[must_use]
    pub const fn page_start(&self) -> u64 {
        self.start & !(PAGE_SIZE as u64 - 1)
    }
    /// One past its last byte in memory.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.wrapping_add(self.memory_size)
    }
}

/// What is to be mapped for a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// See [`Header::placement`].
    pub placement: Placement,
    /// See [`Header::entry`].
    pub entry: u64,
    /// Its parts.
    pub segments: Vec<Segment>,
    /// Where in the file the interpreter's path is, and how long it is with its NUL.
    pub interpreter: Option<(u64, usize)>,
    /// Whether the stack may hold code.
    pub executable_stack: bool,
    /// Where the program headers are in memory (`AT_PHDR`), relative to where the file is put; 0 when no segment has them.
    pub table_address: u64,
    /// How many there are.
    pub table_count: u16,
    /// The largest alignment that a segment wants: a power of two, at least a page.
    pub alignment: u64,
    /// The first and one past the last page of all segments.
    pub first: u64,
    /// See `first`.
    pub end: u64,
}

impl Image {
    /// Reads the program headers.
    ///
    /// # Errors
    /// `ENOEXEC`: an interpreter's path that is too short or too long, or nothing to map. `EINVAL`: a segment whose sizes do not
    /// agree or that passes the end of user space. The caller knows whether the program that called `execve` still exists then.
    pub fn parse(header: &Header, table: &[u8]) -> Result<Self> {
        let mut image = Self {
            placement: header.placement,
            entry: header.entry,
            segments: Vec::new(),
            interpreter: None,
            executable_stack: false,
            table_address: 0,
            table_count: header.table_count,
            alignment: PAGE_SIZE as u64,
            first: u64::MAX,
            end: 0,
        };
        image.segments.try_reserve(4).map_err(|_| Errno::ENOMEM)?;
        let mut at = 0;
        for _ in 0..header.table_count {
            let entry = ProgramHeader::parse_at(LittleEndian, Class::ELF64, &mut at, table);
            image.add(header, &entry.map_err(|_| Errno::ENOEXEC)?)?;
        }
        if image.segments.is_empty() {
            return Err(Errno::ENOEXEC);
        }
        Ok(image)
    }

    fn add(&mut self, header: &Header, entry: &ProgramHeader) -> Result<()> {
        match entry.p_type {
            abi::PT_LOAD => self.add_segment(header, entry),
            abi::PT_INTERP if self.interpreter.is_none() => {
                if !(2..=INTERPRETER_MAXIMUM).contains(&entry.p_filesz) {
                    return Err(Errno::ENOEXEC);
                }
                let length = usize::try_from(entry.p_filesz).map_err(|_| Errno::ENOEXEC)?;
                self.interpreter = Some((entry.p_offset, length));
                Ok(())
            }
            abi::PT_GNU_STACK => {
                self.executable_stack = entry.p_flags & abi::PF_X != 0;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add_segment(&mut self, header: &Header, entry: &ProgramHeader) -> Result<()> {
        let limit = user_end();
        let page_mask = PAGE_SIZE as u64 - 1;
        let fits = entry.p_filesz <= entry.p_memsz
            && entry.p_memsz <= limit
            && entry.p_vaddr <= limit - entry.p_memsz
            && entry.p_vaddr & page_mask == entry.p_offset & page_mask
            && entry.p_offset.checked_add(entry.p_filesz).is_some_and(|end| end <= i64::MAX.cast_unsigned());
        if !fits {
            return Err(Errno::EINVAL);
        }
        if entry.p_align.is_power_of_two() {
            self.alignment = self.alignment.max(entry.p_align);
        }
        let segment = Segment {
            start: entry.p_vaddr,
            memory_size: entry.p_memsz,
            offset: entry.p_offset,
            file_size: entry.p_filesz,
            flags: entry.p_flags,
        };
        let table_end = header.table_offset.saturating_add(header.table_size() as u64);
        if header.table_offset >= segment.offset && table_end <= segment.offset + segment.file_size {
            self.table_address = header.table_offset - segment.offset + segment.start;
        }
        self.first = self.first.min(segment.page_start());
        self.end = self.end.max((segment.end() + page_mask) & !page_mask);
        self.segments.push(segment);
        Ok(())
    }

    /// Bytes from the first page of the first segment to the end of the last one's last page.
    #[must_use]
    pub const fn span(&self) -> u64 {
        self.end - self.first
    }
}

fn user_end() -> u64 {
    let end: VirtualAddress = <Current as crate::arch::Mmu>::USER_END;
    end.value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file header for this machine with `count` program headers right after it.
    fn header(file_type: u16, count: u16) -> Vec<u8> {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for half in [file_type, 62] {
            bytes.extend(half.to_le_bytes());
        }
        bytes.extend(1u32.to_le_bytes());
        for word in [0x40_1000u64, 64, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0u32.to_le_bytes());
        for half in [64u16, 56, count, 0, 0, 0] {
            bytes.extend(half.to_le_bytes());
        }
        assert_eq!(bytes.len(), HEADER_SIZE);
        bytes
    }

    fn program_header(kind: u32, flags: u32, numbers: [u64; 6]) -> Vec<u8> {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(flags.to_le_bytes());
        // offset, virtual address, physical address, file size, memory size, alignment
        numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes
    }

    fn load(offset: u64, start: u64, file_size: u64, memory_size: u64) -> Vec<u8> {
        program_header(abi::PT_LOAD, 5, [offset, start, start, file_size, memory_size, 4096])
    }

    fn image(tables: &[Vec<u8>]) -> Result<Image> {
        let header = Header::parse(&header(2, tables.len() as u16))?;
        Image::parse(&header, &tables.concat())
    }

    #[test]
    fn an_ordinary_file_is_understood() {
        let image = image(&[
            load(0, 0x40_0000, 0x1234, 0x1234),
            program_header(abi::PT_LOAD, 6, [0x2010, 0x40_3010, 0, 0x10, 0x5000, 0x20_0000]),
            program_header(abi::PT_GNU_STACK, 6, [0; 6]),
        ])
        .unwrap();
        assert_eq!((image.entry, image.placement, image.executable_stack), (0x40_1000, Placement::Fixed, false));
        assert_eq!((image.first, image.end, image.alignment), (0x40_0000, 0x40_9000, 0x20_0000));
        assert_eq!((image.table_address, image.table_count), (0x40_0040, 3));
        assert_eq!(image.segments[1].flags, 6);
    }

    #[test]
    fn what_is_no_program_for_this_machine_is_refused() {
        assert!(Header::parse(&header(2, 1)).is_ok());
        assert_eq!(Header::parse(&header(3, 1)).unwrap().placement, Placement::Relative);
        for length in 0..HEADER_SIZE {
            assert_eq!(Header::parse(&header(2, 1)[..length]), Err(Errno::ENOEXEC), "truncated to {length}");
        }
        for (at, value) in [(0, 0x7e), (16, 1), (16, 4), (18, 183), (18, 3), (54, 32), (56, 0), (57, 1)] {
            let mut bytes = header(2, 1);
            bytes[at] = value;
            assert_eq!(Header::parse(&bytes), Err(Errno::ENOEXEC), "byte {at} = {value}");
        }
    }

    #[test]
    fn sizes_near_the_top_are_refused() {
        for (offset, start, file_size, memory_size) in [
            (0, 0, u64::MAX, u64::MAX),
            (0, 0x1000, 0, u64::MAX),
            (0, u64::MAX - 0xfff, 0x1000, 0x1000),
            (0, !0xfff, 0, 1),
            (0, 0x7fff_ffff_f000, 0, 1),
            (0, 0x1000, 0x2000, 0x1000),
            (!0xfff, 0x1000, 0x1000, 0x1000),
            (1 << 63, 0x1000, 0x1000, 0x1000),
            (0x10, 0x1000, 0x10, 0x10),
        ] {
            assert_eq!(image(&[load(offset, start, file_size, memory_size)]), Err(Errno::EINVAL));
        }
        assert_eq!(image(&[]), Err(Errno::ENOEXEC));
        assert_eq!(image(&[program_header(abi::PT_NOTE, 4, [0; 6])]), Err(Errno::ENOEXEC));
    }

    #[test]
    fn an_interpreter_s_path_has_bounds() {
        let with = |size| image(&[load(0, 0, 1, 1), program_header(abi::PT_INTERP, 4, [0x100, 0, 0, size, size, 1])]);
        assert_eq!(with(28).unwrap().interpreter, Some((0x100, 28)));
        for size in [0, 1, 4097, u64::MAX] {
            assert_eq!(with(size), Err(Errno::ENOEXEC));
        }
    }

    #[test]
    fn overlapping_segments_are_the_file_s_own_affair() {
        let image = image(&[load(0, 0x1000, 0x2000, 0x2000), load(0, 0x2000, 0x2000, 0x2000)]).unwrap();
        assert_eq!((image.first, image.end), (0x1000, 0x4000));
    }

    proptest! {
        /// No bytes make the parser panic, and what it accepts keeps the invariants.
        #[test]
        fn hostile_bytes_do_no_harm(
            table in prop::collection::vec(any::<[u64; 7]>(), 1..20),
            edges in prop::collection::vec((0usize..7, prop::sample::select(vec![0, 1, 0xfff, 0x1000, 1 << 47, (1 << 47) - 4096, i64::MAX as u64, u64::MAX])), 0..40),
            kinds in prop::collection::vec(prop::sample::select(vec![1u64, 3, 4, 7, 0x6474_e551]), 20),
        ) {
            let mut table = table;
            let rows = table.len();
            for (index, (field, value)) in edges.into_iter().enumerate() {
                table[index % rows][field] = value;
            }
            for (row, kind) in table.iter_mut().zip(kinds) {
                row[0] = row[0] & !0xffff_ffff | kind;
            }
            let bytes: Vec<u8> = table.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
            let header = Header::parse(&header(3, rows as u16)).unwrap();
            if let Ok(image) = Image::parse(&header, &bytes) {
                for segment in &image.segments {
                    prop_assert!(segment.file_size <= segment.memory_size);
                    prop_assert!(segment.start.checked_add(segment.memory_size).is_some_and(|end| end <= 1 << 47));
                    prop_assert!(image.first <= segment.start && segment.end() <= image.end);
                    prop_assert_eq!(segment.start % 4096, segment.offset % 4096);
                }
                prop_assert!(image.alignment.is_power_of_two());
            }
        }
    }
}
