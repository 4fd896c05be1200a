//! Text and bytes in quotes, with the escapes of C.

use super::memory::{self, Memory};
use crate::memory::user::PATH_MAX;
use alloc::string::String;
use core::fmt::Write;

/// How many bytes of data are shown.
pub(super) const SHOWN: usize = 32;
/// How many strings of an array are shown.
const SHOWN_STRINGS: usize = 32;
/// How many pointers of an array are counted.
const COUNTED_STRINGS: u64 = 65_536;

/// How bytes are escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// What is not printable as C writes it.
    Octal,
    /// Every byte in hexadecimal.
    Hexadecimal,
}

/// Writes `bytes` in quotes.
pub(super) fn quote(line: &mut String, bytes: &[u8], escapes: Escapes) {
    line.push('"');
    for (position, &byte) in bytes.iter().enumerate() {
        let digit_follows = bytes.get(position + 1).is_some_and(u8::is_ascii_digit);
        let _ = match byte {
            _ if escapes == Escapes::Hexadecimal => write!(line, "\\x{byte:02x}"),
            b'"' | b'\\' => write!(line, "\\{}", char::from(byte)),
            b'\n' => write!(line, "\\n"),
            b'\t' => write!(line, "\\t"),
            b'\r' => write!(line, "\\r"),
            0x0b => write!(line, "\\v"),
            0x0c => write!(line, "\\f"),
            b' '..=b'~' => write!(line, "{}", char::from(byte)),
            // A digit behind a short escape would become part of it.
            _ if digit_follows => write!(line, "\\{byte:03o}"),
            _ => write!(line, "\\{byte:o}"),
        };
    }
    line.push('"');
}

/// Writes the address of something that cannot be shown.
pub(super) fn address(line: &mut String, address: u64) {
    let _ = if address == 0 { write!(line, "NULL") } else { write!(line, "{address:#x}") };
}

/// Writes the path at `pointer`, whole.
pub(super) fn path(line: &mut String, memory: &dyn Memory, pointer: u64) {
    text(line, memory, pointer, PATH_MAX);
}

/// Writes the text at `pointer`, of which at most `limit` bytes.
pub(super) fn text(line: &mut String, memory: &dyn Memory, pointer: u64, limit: usize) {
    match memory::text(memory, pointer, limit) {
        Some((found, ended)) => {
            quote(line, &found, Escapes::Octal);
            if !ended {
                line.push_str("...");
            }
        }
        None => address(line, pointer),
    }
}

/// Writes the first of the `length` bytes at `pointer`.
pub(super) fn bytes(line: &mut String, memory: &dyn Memory, pointer: u64, length: u64, escapes: Escapes) {
    let mut buffer = [0; SHOWN];
    let shown = usize::try_from(length).unwrap_or(usize::MAX).min(SHOWN);
    let Some(buffer) = buffer.get_mut(..shown) else { return };
    if pointer == 0 || !memory.read(pointer, buffer) {
        address(line, pointer);
        return;
    }
    quote(line, buffer, escapes);
    if length > SHOWN as u64 {
        line.push_str("...");
    }
}

fn word(memory: &dyn Memory, pointer: u64, index: u64) -> Option<u64> {
    let mut word = [0; 8];
    memory.read(pointer.checked_add(index * 8)?, &mut word).then(|| u64::from_le_bytes(word))
}

/// Writes the strings of an array that ends with a null pointer: `["a", "b"]`.
pub(super) fn array(line: &mut String, memory: &dyn Memory, pointer: u64) {
    if word(memory, pointer, 0).is_none() {
        address(line, pointer);
        return;
    }
    line.push('[');
    for index in 0.. {
        let Some(string) = word(memory, pointer, index) else {
            let _ = write!(line, ", ... /* {:#x} */", pointer.saturating_add(index * 8));
            break;
        };
        if string == 0 {
            break;
        }
        if index > 0 {
            line.push_str(", ");
        }
        if index >= SHOWN_STRINGS as u64 {
            line.push_str("...");
            break;
        }
        text(line, memory, string, SHOWN);
    }
    line.push(']');
}

/// Writes the address of an environment and how many variables it has.
pub(super) fn environment(line: &mut String, memory: &dyn Memory, pointer: u64) {
    address(line, pointer);
    if pointer == 0 {
        return;
    }
    let count =
        (0..COUNTED_STRINGS).take_while(|index| word(memory, pointer, *index).is_some_and(|word| word != 0)).count();
    // The array ends with the pointer behind those counted; a hole there means that it has no end.
    match word(memory, pointer, count as u64) {
        Some(0) => {
            let _ = write!(line, " /* {count} var{} */", if count == 1 { "" } else { "s" });
        }
        _ if count > 0 => {
            let _ = write!(line, " /* {count} vars, unterminated */");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::fake::Fake;
    use super::*;

    fn written(write: impl Fn(&mut String)) -> String {
        let mut line = String::new();
        write(&mut line);
        line
    }

    #[test]
    fn escapes_are_those_of_c() {
        let quoted = written(|line| quote(line, b"a\"b\\\n\t\x01\x017\xff\0", Escapes::Octal));
        assert_eq!(quoted, r#""a\"b\\\n\t\1\0017\377\0""#);
        assert_eq!(written(|line| quote(line, b"a\xff", Escapes::Hexadecimal)), r#""\x61\xff""#);
    }

    #[test]
    fn data_is_cut_at_32_bytes_and_paths_are_whole() {
        let mut content = vec![b'x'; 40];
        content.extend([0; 24]);
        let memory = Fake(0x1000, content);
        let x = |count: usize| "x".repeat(count);
        assert_eq!(written(|line| bytes(line, &memory, 0x1000, 32, Escapes::Octal)), format!("\"{}\"", x(32)));
        assert_eq!(written(|line| bytes(line, &memory, 0x1000, 40, Escapes::Octal)), format!("\"{}\"...", x(32)));
        assert_eq!(written(|line| path(line, &memory, 0x1000)), format!("\"{}\"", x(40)));
        assert_eq!(written(|line| bytes(line, &memory, 0x8, 5, Escapes::Octal)), "0x8");
        assert_eq!(written(|line| bytes(line, &memory, 0, 5, Escapes::Octal)), "NULL");
        assert_eq!(written(|line| bytes(line, &memory, 0x1000, u64::MAX, Escapes::Octal)), format!("\"{}\"...", x(32)));
    }

    #[test]
    fn arrays_of_strings_end_at_null_or_at_a_hole() {
        let mut content = Vec::new();
        for word in [0x1018_u64, 0x101a, 0] {
            content.extend(word.to_le_bytes());
        }
        content.extend(b"a\0b\0");
        content.resize(128, 0);
        let memory = Fake(0x1000, content);
        assert_eq!(written(|line| array(line, &memory, 0x1000)), r#"["a", "b"]"#);
        assert_eq!(written(|line| array(line, &memory, 0x10)), "0x10");
        assert_eq!(written(|line| environment(line, &memory, 0x1000)), "0x1000 /* 2 vars */");
        assert_eq!(written(|line| environment(line, &memory, 0)), "NULL");
    }
}
