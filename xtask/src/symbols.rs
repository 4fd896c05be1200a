//! The kernel's symbol table, put into its own file after linking, so that a backtrace in a panic has names.
//!
//! The linker script places the section `.ashlar.symbols` last, in a `PT_LOAD` of its own, holding just a header of
//! zeros. Here the table is appended to the file and that program header is made to cover it. What the kernel then
//! finds, all little endian:
//!
//! ```text
//! b"ASHLSYM1" | u64 total bytes | u32 count | u32 zero | count x (u32 address - base, u32 name offset) | names, NUL-terminated
//! ```
//!
//! sorted by address; name offsets count from the table's start; names are demangled.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SymbolKind, elf};

/// The section that the linker script reserves.
const SECTION: &str = ".ashlar.symbols";
/// The linker script's symbol for the address that symbol addresses are counted from.
const BASE: &str = "KERNEL_BASE";
/// The bytes before the first entry.
const HEADER_SIZE: usize = 24;

/// The kernel file `image` with its symbol table filled in; unchanged when the linker script reserves no place.
pub fn embed(mut image: Vec<u8>) -> Result<Vec<u8>> {
    let Some((address, table)) = table_of(&image)? else { return Ok(image) };
    let header = elf::FileHeader64::<Endianness>::parse(image.as_slice()).context("the kernel is no ELF file")?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, image.as_slice())?;
    let index = segments
        .iter()
        .position(|segment| segment.p_type(endian) == elf::PT_LOAD && segment.p_vaddr(endian) == address)
        .with_context(|| format!("linker script: {SECTION} does not start a PT_LOAD of its own"))?;
    if segments.iter().any(|segment| segment.p_type(endian) == elf::PT_LOAD && segment.p_vaddr(endian) > address) {
        bail!("linker script: {SECTION} is not last in the image");
    }
    let entry = usize::try_from(header.e_phoff(endian))? + index * size_of::<elf::ProgramHeader64<Endianness>>();
    while !image.len().is_multiple_of(4096) {
        image.push(0);
    }
    let offset = u64::try_from(image.len())?;
    let size = u64::try_from(table.len())?;
    // Byte offsets of p_offset, p_filesz and p_memsz in Elf64_Phdr.
    for (field, value) in [(8, offset), (32, size), (40, size)] {
        let place = image.get_mut(entry + field..entry + field + 8).context("truncated program headers")?;
        place.copy_from_slice(&value.to_le_bytes());
    }
    image.extend_from_slice(&table);
    Ok(image)
}

/// The reserved section's address and the table for it.
fn table_of(image: &[u8]) -> Result<Option<(u64, Vec<u8>)>> {
    let file = object::File::parse(image).context("the kernel is no ELF file")?;
    let Some(section) = file.section_by_name(SECTION) else { return Ok(None) };
    let base = file.symbols().find(|symbol| symbol.name() == Ok(BASE)).map(|symbol| symbol.address());
    let base = base.with_context(|| format!("linker script: {BASE} is not defined"))?;
    let mut functions = BTreeMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition()) {
        let Some(offset) = symbol.address().checked_sub(base).and_then(|offset| u32::try_from(offset).ok()) else {
            continue;
        };
        let name = format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or("?")));
        functions.entry(offset).or_insert(name);
    }
    Ok(Some((section.address(), encode(&functions)?)))
}

/// The table's bytes.
fn encode(functions: &BTreeMap<u32, String>) -> Result<Vec<u8>> {
    let names_start = HEADER_SIZE + functions.len() * 8;
    let mut entries = Vec::new();
    let mut names = Vec::new();
    for (offset, name) in functions {
        entries.extend_from_slice(&offset.to_le_bytes());
        entries.extend_from_slice(&u32::try_from(names_start + names.len())?.to_le_bytes());
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    let total = u64::try_from(names_start + names.len())?;
    let mut table = b"ASHLSYM1".to_vec();
    table.extend_from_slice(&total.to_le_bytes());
    table.extend_from_slice(&u32::try_from(functions.len())?.to_le_bytes());
    table.extend_from_slice(&0_u32.to_le_bytes());
    table.extend_from_slice(&entries);
    table.extend_from_slice(&names);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_layout() {
        let table = encode(&BTreeMap::from([(0x20, "two".to_owned()), (0x10, "one".to_owned())])).unwrap();
        assert_eq!(&table[..8], b"ASHLSYM1");
        assert_eq!(table.len(), HEADER_SIZE + 16 + 8);
        assert_eq!(table[8], 48);
        assert_eq!(table[16], 2);
        assert_eq!(&table[24..32], [0x10, 0, 0, 0, 40, 0, 0, 0]);
        assert_eq!(&table[40..], b"one\0two\0");
    }
}
