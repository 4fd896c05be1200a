//! Reading the kernel's sources as text: enough of Rust's lexical form to find paths and keywords in code, without
//! comments, strings and unit tests. Nothing is moved: what is left out becomes spaces, so that line numbers stay.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A source file.
#[derive(Debug)]
pub struct Source {
    /// Where it is, from the top of the tree.
    pub path: PathBuf,
    /// The module that it is, as `["memory", "paging"]`; empty for the crate's root.
    pub module: Vec<String>,
    /// The code, with everything else blanked.
    pub code: String,
}

/// Every source file below `folder` (from the top of the tree), by path.
pub fn read(root: &Path, folder: &str) -> Result<Vec<Source>> {
    let base = root.join(folder);
    let mut files = Vec::new();
    collect(&base, &mut files).with_context(|| format!("cannot read {}", base.display()))?;
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let module = module_of(file.strip_prefix(&base).unwrap_or(&file));
            let path = file.strip_prefix(root).unwrap_or(&file).to_path_buf();
            Ok(Source { path, module, code: without_tests(&blank(&text)) })
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_stem().is_none_or(|stem| stem != "tests")
        {
            files.push(path);
        }
    }
    Ok(())
}

/// `memory/paging/mod.rs` as `["memory", "paging"]`.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// Replaces comments, string and character literals by spaces.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut output = bytes.to_vec();
    let at = |place: usize| bytes.get(place).copied().unwrap_or(0);
    let mut place = 0;
    while place < bytes.len() {
        let end = match (at(place), at(place + 1)) {
            (b'/', b'/') => find(bytes, place, b"\n").unwrap_or(bytes.len()),
            (b'/', b'*') => find(bytes, place + 2, b"*/").map_or(bytes.len(), |end| end + 2),
            (b'r', b'#' | b'"') if !is_word(at(place.wrapping_sub(1))) => raw_string_end(bytes, place),
            (b'"', _) => quoted_end(bytes, place + 1, b'"'),
            // A character; a lifetime has no closing quote so near.
            (b'\'', b'\\') => quoted_end(bytes, place + 1, b'\''),
            (b'\'', _) if at(place + 2) == b'\'' => place + 3,
            _ => place,
        };
        for byte in output.get_mut(place..end).unwrap_or_default() {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        place = end.max(place + 1);
    }
    String::from_utf8_lossy(&output).into_owned()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn find(bytes: &[u8], from: usize, word: &[u8]) -> Option<usize> {
    bytes.get(from..)?.windows(word.len()).position(|window| window == word).map(|place| place + from)
}

fn quoted_end(bytes: &[u8], mut place: usize, quote: u8) -> usize {
    while let Some(byte) = bytes.get(place) {
        match byte {
            b'\\' => place += 2,
            byte if *byte == quote => return place + 1,
            _ => place += 1,
        }
    }
    bytes.len()
}

/// The end of a raw string at `place`; `place` itself when it is a raw identifier.
fn raw_string_end(bytes: &[u8], place: usize) -> usize {
    let marks = bytes.get(place + 1..).unwrap_or_default().iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(place + 1 + marks) != Some(&b'"') {
        return place;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', marks)).collect();
    find(bytes, place + 2 + marks, &close).map_or(bytes.len(), |end| end + close.len())
}

/// Blanks what stands in blocks under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut output = code.to_owned();
    let mut from = 0;
    while let Some(start) = output.get(from..).and_then(|rest| rest.find("#[cfg(test)]")).map(|place| place + from) {
        let end = block_end(&output, start);
        let blanked: String =
            output.get(start..end).unwrap_or_default().chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        output.replace_range(start..end, &blanked);
        from = start + blanked.len();
    }
    output
}

/// The end of the item that starts at `start`: its closing brace, or a semicolon before any brace.
fn block_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.as_bytes().get(start..).unwrap_or_default().iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return start + offset + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return start + offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// The line that the byte at `place` is in, from 1.
pub fn line_of(code: &str, place: usize) -> usize {
    1 + code.as_bytes().iter().take(place).filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        let text = "a // b\n/* c\n*/ d \"e // f\" '\\'' 'g' r#\"h \" i\"# <'j> \"k\\\"l\" m";
        let words: Vec<String> = blank(text).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["a", "d", "<'j>", "m"]);
        assert_eq!(blank(text).lines().count(), text.lines().count());
    }

    #[test]
    fn tests_are_left_out() {
        let code =
            without_tests("use a;\n#[cfg(test)]\nmod tests { fn b() { { } } }\nuse c;\n#[cfg(test)] use d;\nuse e;");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["use", "a;", "use", "c;", "use", "e;"]);
    }

    #[test]
    fn modules() {
        assert_eq!(module_of(Path::new("memory/paging/mod.rs")), ["memory", "paging"]);
        assert_eq!(module_of(Path::new("memory/heap.rs")), ["memory", "heap"]);
        assert!(module_of(Path::new("lib.rs")).is_empty());
    }
}
