//! Names for addresses: the table that `cargo xtask build` puts behind the image.
//!
//! ```text
//! b"ASHLSYM1" | u64 total bytes | u32 count | u32 zero | count x (u32 address - base, u32 name offset) | names, NUL-terminated
//! ```
//!
//! sorted by address, little endian; name offsets count from the table's start; names are demangled (see
//! `xtask/src/symbols.rs`). Everything is checked: a damaged table finds nothing.

use crate::base::VirtualAddress;
use spin::Once;

const HEADER: usize = 24;
const ENTRY: usize = 8;

/// The table and the address that its addresses count from.
#[derive(Clone, Copy, Debug)]
pub struct SymbolTable<'a> {
    bytes: &'a [u8],
    base: u64,
}

/// Where an address lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location<'a> {
    /// The function's name.
    pub name: &'a str,
    /// The distance from its start.
    pub offset: u64,
}

impl<'a> SymbolTable<'a> {
    /// The table in `bytes`; `None` when that is none.
    #[must_use]
    pub fn new(bytes: &'a [u8], base: VirtualAddress) -> Option<Self> {
        bytes.starts_with(b"ASHLSYM1").then_some(Self { bytes, base: base.value() })
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        self.bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn entry(&self, index: usize) -> Option<(u64, usize)> {
        let at = HEADER.checked_add(index.checked_mul(ENTRY)?)?;
        Some((self.u32_at(at)?.into(), self.u32_at(at + 4)? as usize))
    }

    /// The function that `address` lies in: the last that starts at or before it.
    #[must_use]
    pub fn find(&self, address: VirtualAddress) -> Option<Location<'a>> {
        let wanted = address.value().checked_sub(self.base)?;
        let (mut low, mut high) = (0, self.u32_at(16)? as usize);
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(middle)?.0 <= wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (start, name) = self.entry(low.checked_sub(1)?)?;
        let name = self.bytes.get(name..)?;
        let end = name.iter().position(|&byte| byte == 0)?;
        let name = core::str::from_utf8(name.get(..end)?).ok()?;
        Some(Location { name, offset: wanted - start })
    }
}

static TABLE: Once<SymbolTable<'static>> = Once::new();

/// Says where the kernel's table is; once, at boot.
pub fn set_table(bytes: &'static [u8], base: VirtualAddress) {
    if let Some(table) = SymbolTable::new(bytes, base) {
        TABLE.call_once(|| table);
    }
}

/// The kernel function that `address` lies in, if names are there.
#[must_use]
pub fn find(address: VirtualAddress) -> Option<Location<'static>> {
    TABLE.get()?.find(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(functions: &[(u32, &str)]) -> Vec<u8> {
        let names_start = HEADER + functions.len() * ENTRY;
        let (mut entries, mut names) = (Vec::new(), Vec::new());
        for (start, name) in functions {
            entries.extend(start.to_le_bytes());
            entries.extend(((names_start + names.len()) as u32).to_le_bytes());
            names.extend(name.bytes());
            names.push(0);
        }
        let mut bytes = b"ASHLSYM1".to_vec();
        bytes.extend(((names_start + names.len()) as u64).to_le_bytes());
        bytes.extend((functions.len() as u32).to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(entries);
        bytes.extend(names);
        bytes
    }

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let bytes = table(&[(0x10, "one"), (0x20, "two"), (0x40, "three")]);
        let symbols = SymbolTable::new(&bytes, VirtualAddress::new(0x1000)).unwrap();
        let find = |address| symbols.find(VirtualAddress::new(address)).map(|found| (found.name, found.offset));
        assert_eq!(find(0x1010), Some(("one", 0)));
        assert_eq!(find(0x101f), Some(("one", 15)));
        assert_eq!(find(0x1020), Some(("two", 0)));
        assert_eq!(find(0x9999), Some(("three", 0x8959)));
        assert_eq!(find(0x100f), None);
        assert_eq!(find(0), None);
    }

    #[test]
    fn no_table_is_none() {
        assert!(SymbolTable::new(&[0; 24], VirtualAddress::new(0)).is_none());
    }

    proptest! {
        #[test]
        fn a_damaged_table_does_no_harm(mut tail in proptest::collection::vec(any::<u8>(), 0..200), at in any::<u64>()) {
            let mut bytes = b"ASHLSYM1".to_vec();
            bytes.append(&mut tail);
            let _ = SymbolTable::new(&bytes, VirtualAddress::new(0)).unwrap().find(VirtualAddress::new(at));
        }
    }
}
