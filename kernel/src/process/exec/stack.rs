//! The first contents of a program's stack, as the System V ABI and Linux lay it out.
//!
//! ```text
//! stack end   8 zero bytes
//!             the path that was executed (AT_EXECFN)
//!             environment strings
//!             argument strings
//!             platform name, 16 random bytes
//!             padding
//!             auxiliary vector, pairs, ended by AT_NULL
//!             environment pointers, null
//!             argument pointers, null
//! sp          argument count                           (a multiple of 16)
//! ```
//! Pure: bytes in, bytes and addresses out.

use super::arguments::Strings;
use crate::base::{Errno, Result, VirtualAddress, VirtualRange};
use alloc::vec::Vec;

/// `AT_NULL`.
pub const AT_NULL: u64 = 0;
/// `AT_PHDR`.
pub const AT_PHDR: u64 = 3;
/// `AT_PHENT`.
pub const AT_PHENT: u64 = 4;
/// `AT_PHNUM`.
pub const AT_PHNUM: u64 = 5;
/// `AT_PAGESZ`.
pub const AT_PAGESZ: u64 = 6;
/// `AT_BASE`.
pub const AT_BASE: u64 = 7;
/// `AT_FLAGS`.
pub const AT_FLAGS: u64 = 8;
/// `AT_ENTRY`.
pub const AT_ENTRY: u64 = 9;
/// `AT_UID`.
pub const AT_UID: u64 = 11;
/// `AT_EUID`.
pub const AT_EUID: u64 = 12;
/// `AT_GID`.
pub const AT_GID: u64 = 13;
/// `AT_EGID`.
pub const AT_EGID: u64 = 14;
/// `AT_PLATFORM`.
pub const AT_PLATFORM: u64 = 15;
/// `AT_HWCAP`.
pub const AT_HWCAP: u64 = 16;
/// `AT_CLKTCK`.
pub const AT_CLKTCK: u64 = 17;
/// `AT_SECURE`.
pub const AT_SECURE: u64 = 23;
/// `AT_RANDOM`.
pub const AT_RANDOM: u64 = 25;
/// `AT_HWCAP2`.
pub const AT_HWCAP2: u64 = 26;
/// `AT_EXECFN`.
pub const AT_EXECFN: u64 = 31;
/// `AT_SYSINFO_EHDR`.
pub const AT_SYSINFO_EHDR: u64 = 33;
/// `AT_MINSIGSTKSZ`.
pub const AT_MINSIGSTKSZ: u64 = 51;

/// What goes on the stack.
#[derive(Debug)]
pub struct Contents<'a> {
    /// One past the stack's last byte.
    pub end: VirtualAddress,
    /// Arguments.
    pub arguments: &'a Strings,
    /// Environment.
    pub environment: &'a Strings,
    /// The executed path.
    pub path: &'a [u8],
    /// The machine's name.
    pub platform: &'a [u8],
    /// For `AT_RANDOM`.
    pub random: [u8; 16],
    /// Bytes to leave free below the strings, at random: less than 8 KiB.
    pub gap: u64,
}

/// The stack's contents and where its parts are.
#[derive(Debug)]
pub struct Stack {
    /// The contents from the stack pointer up to the strings, for which `arguments` and `environment` say where they go.
    pub bytes: Vec<u8>,
    /// What follows the environment strings, up to the stack's end.
    pub tail: Vec<u8>,
    /// The stack pointer.
    pub pointer: VirtualAddress,
    /// Where the argument strings are.
    pub arguments: VirtualRange,
    /// Where the environment strings are.
    pub environment: VirtualRange,
    /// The auxiliary vector, `AT_NULL` included.
    pub auxiliary: Vec<[u64; 2]>,
}

impl Stack {
    /// Lays the stack out. `auxiliary` has everything but what points into the stack, which is added here, and no `AT_NULL`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn build(contents: &Contents<'_>, mut auxiliary: Vec<[u64; 2]>) -> Result<Self> {
        let end = contents.end.value();
        let path = end - 8 - (contents.path.len() as u64 + 1);
        let environment = path - contents.environment.bytes().len() as u64;
        let arguments = environment - contents.arguments.bytes().len() as u64;
        let platform = ((arguments - contents.gap) & !15) - (contents.platform.len() as u64 + 1);
        let random = platform - 16;
        auxiliary.try_reserve_exact(4).map_err(|_| Errno::ENOMEM)?;
        auxiliary.extend([[AT_RANDOM, random], [AT_EXECFN, path], [AT_PLATFORM, platform], [AT_NULL, 0]]);
        let words = 1 + contents.arguments.count() + 1 + contents.environment.count() + 1 + 2 * auxiliary.len();
        let pointer = (random - 8 * words as u64) & !15;
        let length = usize::try_from(arguments - pointer).map_err(|_| Errno::ENOMEM)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
        let push = |bytes: &mut Vec<u8>, word: u64| bytes.extend_from_slice(&word.to_le_bytes());
        push(&mut bytes, contents.arguments.count() as u64);
        for (strings, start) in [(contents.arguments, arguments), (contents.environment, environment)] {
            let mut at = start;
            for string in strings.bytes().split_inclusive(|byte| *byte == 0) {
                push(&mut bytes, at);
                at += string.len() as u64;
            }
            push(&mut bytes, 0);
        }
        for [key, value] in &auxiliary {
            push(&mut bytes, *key);
            push(&mut bytes, *value);
        }
        let place = |bytes: &mut Vec<u8>, address: u64, content: &[u8]| {
            // `address` never lies before what was written, by the subtractions above.
            bytes.resize((address - pointer) as usize, 0);
            bytes.extend_from_slice(content);
        };
        place(&mut bytes, random, &contents.random);
        place(&mut bytes, platform, contents.platform);
        bytes.resize(length, 0);
        let mut tail = Vec::new();
        tail.try_reserve_exact(contents.path.len() + 9).map_err(|_| Errno::ENOMEM)?;
        tail.extend_from_slice(contents.path);
        tail.resize(contents.path.len() + 9, 0);
        let range =
            |start: u64, end: u64| VirtualRange { start: VirtualAddress::new(start), end: VirtualAddress::new(end) };
        Ok(Self {
            bytes,
            tail,
            pointer: VirtualAddress::new(pointer),
            arguments: range(arguments, environment),
            environment: range(environment, path),
            auxiliary,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Strings {
        let mut strings = Strings::new();
        list.iter().for_each(|string| strings.push(string.as_bytes()).unwrap());
        strings
    }

    #[test]
    fn a_program_finds_everything_by_its_stack_pointer() {
        let (arguments, environment) = (strings(&["ls", "-l", ""]), strings(&["A=1", "PATH=/bin"]));
        for gap in [0, 1, 100, 8000] {
            let contents = Contents {
                end: VirtualAddress::new(0x7fff_0000_0000),
                arguments: &arguments,
                environment: &environment,
                path: b"/bin/ls",
                platform: b"x86_64",
                random: [0xab; 16],
                gap,
            };
            let stack = Stack::build(&contents, vec![[AT_PAGESZ, 4096]]).unwrap();
            let start = stack.pointer.value();
            assert_eq!(start + stack.bytes.len() as u64, stack.arguments.start.value());
            let whole = [&stack.bytes, arguments.bytes(), environment.bytes(), &stack.tail].concat();
            assert_eq!((start % 16, start + whole.len() as u64), (0, 0x7fff_0000_0000));
            let word = |index: usize| u64::from_le_bytes(whole[8 * index..][..8].try_into().unwrap());
            let text = |address: u64| {
                let bytes = &whole[(address - start) as usize..];
                std::str::from_utf8(bytes.split(|byte| *byte == 0).next().unwrap()).unwrap()
            };
            assert_eq!(word(0), 3);
            assert_eq!([text(word(1)), text(word(2)), text(word(3))], ["ls", "-l", ""]);
            assert_eq!((word(4), text(word(5)), text(word(6)), word(7)), (0, "A=1", "PATH=/bin", 0));
            let auxiliary: Vec<_> = (0..5).map(|pair| [word(8 + 2 * pair), word(9 + 2 * pair)]).collect();
            assert_eq!(auxiliary, stack.auxiliary);
            let value = |key| auxiliary.iter().find(|pair| pair[0] == key).unwrap()[1];
            assert_eq!(
                (text(value(AT_EXECFN)), text(value(AT_PLATFORM)), value(AT_PAGESZ)),
                ("/bin/ls", "x86_64", 4096)
            );
            let random = (value(AT_RANDOM) - start) as usize;
            assert_eq!(whole[random..random + 16], [0xab; 16]);
            assert_eq!((stack.arguments.start.value(), stack.arguments.length()), (word(1), 7));
            assert_eq!((stack.environment.start.value(), stack.environment.length()), (word(5), 14));
        }
    }
}
