//! Makes an ELF shared object of one page around a piece of code: pure data.
//!
//! It has what C libraries look for: one `PT_LOAD`, `PT_DYNAMIC` with a System V hash table, and symbols with the version that
//! Linux gives them on the machine ([`Style`]). There are no section headers: nobody loads by them.
//!
//! ```text
//! 0x000 file header   0x040 three program headers   dynamic   hash   symbols   versions   definitions   strings   code
//! ```

use super::PAGE;
use alloc::vec;
use alloc::vec::Vec;

/// What differs between the machines' objects.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The machine's number in the file header.
    pub machine: u16,
    /// The version of all symbols.
    pub version: &'static str,
    /// What stands before a function's name, with the binding of the symbol: each function has a symbol for each of them.
    pub prefixes: &'static [(&'static str, Binding)],
}

/// How a symbol binds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Binding {
    /// `STB_GLOBAL`.
    Global = 1,
    /// `STB_WEAK`.
    Weak = 2,
}

/// A function of the object.
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    /// Its name without prefix.
    pub name: &'static str,
    /// Where it begins, counted from the image's start.
    pub offset: usize,
    /// Its length.
    pub size: usize,
}

const OBJECT_NAME: &str = "linux-vdso.so.1";
/// The section index that symbols have: none exists, and any that is not 0 means "defined".
const DEFINED: u16 = 10;
const BUCKETS: usize = 4;

/// The System V hash of a name.
#[must_use]
pub fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |sum: u32, &byte| {
        let sum = (sum << 4).wrapping_add(byte.into());
        let top = sum & 0xf000_0000;
        (sum ^ top >> 24) & !top
    })
}

/// A growing image: parts are appended and their places remembered.
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) -> usize {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self.0.len()
    }
    fn u16(&mut self, value: u16) {
        self.0.extend(value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }
    fn u64(&mut self, value: usize) {
        self.0.extend((value as u64).to_le_bytes());
    }
}

/// The string table: a NUL, then each string once.
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, parts: &[&str]) -> u32 {
        let at = self.0.len() as u32;
        for part in parts {
            self.0.extend(part.as_bytes());
        }
        self.0.push(0);
        at
    }
}

/// The image: [`PAGE`] bytes with `code` at `code_offset`. What does not fit is left out, which the tests would notice.
#[must_use]
pub fn build(style: &Style, code: &[u8], code_offset: usize, functions: &[Symbol]) -> Vec<u8> {
    let mut strings = Strings(vec![0]);
    let object_name = strings.add(&[OBJECT_NAME]);
    let version_name = strings.add(&[style.version]);
    let mut names: Vec<(u32, u32, &Symbol, Binding)> = Vec::new();
    for function in functions.iter().filter(|function| !function.name.is_empty()) {
        for &(prefix, binding) in style.prefixes {
            let at = strings.add(&[prefix, function.name]);
            let name = strings.0.get(at as usize..strings.0.len() - 1).unwrap_or_default();
            names.push((at, hash(name), function, binding));
        }
    }
    let count = names.len() + 1;

    const HEADERS: usize = 64 + 3 * 56;
    let mut writer = Writer(vec![0; HEADERS]);
    let dynamic = writer.align(16);
    const DYNAMIC_ENTRIES: usize = 9;
    // One more, all zero, ends the table.
    const DYNAMIC_SIZE: usize = (DYNAMIC_ENTRIES + 1) * 16;
    writer.0.resize(dynamic + DYNAMIC_SIZE, 0);

    let hash_table = writer.align(8);
    let (mut buckets, mut chains) = (vec![0u32; BUCKETS], vec![0u32; count]);
    for (index, (_, hash, _, _)) in (1u32..).zip(&names) {
        if let (Some(bucket), Some(chain)) = (buckets.get_mut(*hash as usize % BUCKETS), chains.get_mut(index as usize))
        {
            *chain = *bucket;
            *bucket = index;
        }
    }
    writer.u32(BUCKETS as u32);
    writer.u32(count as u32);
    buckets.iter().chain(&chains).for_each(|&word| writer.u32(word));

    let symbols = writer.align(8);
    writer.0.resize(symbols + 24, 0);
    for &(name, _, function, binding) in &names {
        const FUNCTION: u8 = 2;
        writer.u32(name);
        writer.0.extend([(binding as u8) << 4 | FUNCTION, 0]);
        writer.u16(DEFINED);
        writer.u64(function.offset);
        writer.u64(function.size);
    }

    // Version 1 is the object itself, 2 is Linux's.
    let versions = writer.align(2);
    writer.u16(0);
    names.iter().for_each(|_| writer.u16(2));

    let definitions = writer.align(4);
    for (flags, index, text, name, next) in
        [(1u16, 1u16, OBJECT_NAME, object_name, 28u32), (0, 2, style.version, version_name, 0)]
    {
        [1, flags, index, 1].into_iter().for_each(|half| writer.u16(half));
        [hash(text.as_bytes()), 20, next, name, 0].into_iter().for_each(|word| writer.u32(word));
    }

    let string_table = writer.0.len();
    let string_size = strings.0.len();
    writer.0.extend(&strings.0);

    let entries: [(usize, usize); DYNAMIC_ENTRIES] = [
        (14, object_name as usize), // DT_SONAME
        (4, hash_table),            // DT_HASH
        (5, string_table),          // DT_STRTAB
        (6, symbols),               // DT_SYMTAB
        (10, string_size),          // DT_STRSZ
        (11, 24),                   // DT_SYMENT
        (0x6fff_fff0, versions),    // DT_VERSYM
        (0x6fff_fffc, definitions), // DT_VERDEF
        (0x6fff_fffd, 2),           // DT_VERDEFNUM
    ];
    let mut table = Writer(Vec::new());
    for (tag, value) in entries {
        table.u64(tag);
        table.u64(value);
    }
    let mut result = writer.0;
    let mut header = Writer(Vec::new());
    header.0.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    header.u16(3); // ET_DYN
    header.u16(style.machine);
    header.u32(1);
    header.u64(0);
    header.u64(64);
    header.u64(0);
    header.u32(0);
    [64, 56, 3, 64, 0, 0].into_iter().for_each(|half| header.u16(half));
    for (kind, flags, offset, size) in
        [(1u32, 5u32, 0usize, PAGE), (2, 4, dynamic, DYNAMIC_SIZE), (0x6474_e551, 4, 0, 0)]
    {
        header.u32(kind);
        header.u32(flags);
        [offset, offset, offset, size, size, if kind == 1 { PAGE } else { 8 }]
            .into_iter()
            .for_each(|field| header.u64(field));
    }
    let mut put = |at: usize, bytes: &[u8]| {
        if result.len() < at + bytes.len() {
            result.resize(at + bytes.len(), 0);
        }
        if let Some(place) = result.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &header.0);
    put(dynamic, &table.0);
    put(code_offset, code);
    result.resize(PAGE, 0);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use elf::{ElfBytes, abi, endian::AnyEndian, hash::SysVHashTable, string_table::StringTable, symbol::SymbolTable};
    use elf::{file::Class, gnu_symver::VerDefIterator, parse::ParsingTable};

    const CODE: usize = 0x800;

    const EXAMPLE: Style =
        Style { machine: 62, version: "LINUX_2.6", prefixes: &[("__vdso_", Binding::Global), ("", Binding::Weak)] };

    fn example() -> Vec<u8> {
        let functions = [
            Symbol { name: "clock_gettime", offset: CODE, size: 8 },
            Symbol { name: "time", offset: CODE + 8, size: 8 },
            Symbol { name: "getcpu", offset: CODE + 16, size: 8 },
        ];
        build(&EXAMPLE, &[0xc3; 24], CODE, &functions)
    }

    fn dynamic_value(file: &ElfBytes<'_, AnyEndian>, tag: i64) -> usize {
        let table = file.dynamic().unwrap().unwrap();
        table.iter().find(|entry| entry.d_tag == tag).unwrap().d_val() as usize
    }

    #[test]
    fn the_version_hash_is_the_one_that_libraries_know() {
        assert_eq!(hash(b"LINUX_2.6"), 61_765_110);
        assert_eq!(hash(b"LINUX_2.6.39"), 123_718_537);
    }

    #[test]
    fn a_library_finds_the_functions_by_hash_and_version() {
        let image = example();
        assert_eq!(image.len(), PAGE);
        let file = ElfBytes::<AnyEndian>::minimal_parse(&image).unwrap();
        assert_eq!(file.ehdr.e_type, abi::ET_DYN);
        let tags: Vec<_> = file.dynamic().unwrap().unwrap().iter().map(|entry| entry.d_tag).collect();
        assert_eq!(tags.iter().position(|&tag| tag == abi::DT_NULL), Some(tags.len() - 1), "the table has an end");
        let load: Vec<_> = file.segments().unwrap().iter().filter(|segment| segment.p_type == abi::PT_LOAD).collect();
        assert_eq!((load.len(), load[0].p_filesz, load[0].p_flags), (1, PAGE as u64, abi::PF_R | abi::PF_X));
        let (strings, size) = (dynamic_value(&file, abi::DT_STRTAB), dynamic_value(&file, abi::DT_STRSZ));
        let strings = StringTable::new(&image[strings..strings + size]);
        assert_eq!(strings.get(dynamic_value(&file, abi::DT_SONAME)).unwrap(), OBJECT_NAME);
        let symbols = dynamic_value(&file, abi::DT_SYMTAB);
        let symbols: SymbolTable<'_, AnyEndian> =
            ParsingTable::new(file.ehdr.endianness, Class::ELF64, &image[symbols..symbols + 24 * 7]);
        let table = dynamic_value(&file, abi::DT_HASH);
        let table = SysVHashTable::new(file.ehdr.endianness, Class::ELF64, &image[table..]).unwrap();
        for (name, offset) in [("__vdso_clock_gettime", CODE), ("time", CODE + 8), ("__vdso_getcpu", CODE + 16)] {
            let (index, symbol) = table.find(name.as_bytes(), &symbols, &strings).unwrap().unwrap();
            assert_eq!(symbol.st_value, offset as u64, "{name}");
            assert!(!symbol.is_undefined());
            let versions = dynamic_value(&file, abi::DT_VERSYM);
            assert_eq!(image[versions + 2 * index..versions + 2 * index + 2], [2, 0], "{name}");
        }
        assert!(table.find(b"nothing", &symbols, &strings).unwrap().is_none());
        let definitions = dynamic_value(&file, abi::DT_VERDEF);
        let definitions = VerDefIterator::new(file.ehdr.endianness, Class::ELF64, 2, definitions, &image).map(
            |(definition, names)| {
                let name = names.into_iter().next().unwrap().vda_name as usize;
                (definition.vd_ndx, definition.vd_hash, strings.get(name).unwrap())
            },
        );
        let definitions: Vec<_> = definitions.collect();
        assert_eq!(definitions[1], (2, 61_765_110, EXAMPLE.version));
        assert_eq!(definitions[0].2, OBJECT_NAME);
    }
}
