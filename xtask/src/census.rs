//! `cargo xtask unsafe`: how many unsafe blocks, functions and implementations each file has, compared with the committed list
//! in `docs/UNSAFE.md`, which says for each file why it needs them.
//!
//! The check fails when a file has more than the list says, or is not in it, or has no reason. `--write` brings the counts up
//! to date and leaves the reasons; a new file gets the reason of its `#![allow(unsafe_code, reason = "...")]`.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use clap::Args;

use crate::sources;
use crate::workspace;

/// Where the list is.
const DOCUMENT: &str = "docs/UNSAFE.md";
/// The folders that are counted.
const FOLDERS: &[&str] = &["kernel/src", "boot/src", "user/src"];

const HEAD: &str = "# Unsafe code

Every file of the kernel and of the test programs that contains `unsafe`, how often, and why it must. `cargo xtask unsafe` compares this list with the
sources and fails when a file has more than is written here; `cargo xtask unsafe --write` updates the numbers and keeps the
reasons. Each block has a `SAFETY:` comment of its own (a lint sees to that).

| file | unsafe | why |
|---|---:|---|
";

/// What to do with the list.
#[derive(Args, Debug, Default)]
pub struct CensusOptions {
    /// Write the counts into docs/UNSAFE.md instead of comparing
    #[arg(long)]
    write: bool,
}

/// Counts and compares, or writes; gives the status.
pub fn run(options: &CensusOptions) -> Result<u8> {
    let root = workspace::root();
    let counted = count()?;
    let document = root.join(DOCUMENT);
    let listed = parse(&std::fs::read_to_string(&document).unwrap_or_default());
    let total: usize = counted.values().map(|(number, _)| number).sum();
    if options.write {
        std::fs::create_dir_all(root.join("docs"))?;
        std::fs::write(&document, render(&counted, &listed)).with_context(|| format!("cannot write {DOCUMENT}"))?;
        println!("{DOCUMENT}: {total} in {} files", counted.len());
        return Ok(0);
    }
    let complaints = compare(&counted, &listed);
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!("unsafe: {total} in {} files, {} complaints", counted.len(), complaints.len());
    if !complaints.is_empty() {
        println!("If each is needed, say why in {DOCUMENT} (`cargo xtask unsafe --write` fills in the numbers).");
    }
    Ok(u8::from(!complaints.is_empty()))
}

/// Number and declared reason by file.
type Counted = BTreeMap<String, (usize, String)>;
/// The list: number and reason by file.
type Listed = BTreeMap<String, (usize, String)>;

fn count() -> Result<Counted> {
    let root = workspace::root();
    let mut counted = BTreeMap::new();
    for folder in FOLDERS {
        for file in sources::read(&root, folder)? {
            let number = words(&file.code);
            if number > 0 {
                let text = std::fs::read_to_string(root.join(&file.path))?;
                counted.insert(file.path.display().to_string(), (number, declared_reason(&text)));
            }
        }
    }
    Ok(counted)
}

/// How often the keyword `unsafe` opens a block, a function, a trait or an implementation. `unsafe(no_mangle)` in an attribute
/// counts as well; function pointer types do not.
fn words(code: &str) -> usize {
    let bytes = code.as_bytes();
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    code.match_indices("unsafe")
        .filter(|(place, word)| !is_word(bytes.get(place.wrapping_sub(1))) && !is_word(bytes.get(place + word.len())))
        .filter(|(place, word)| {
            let rest = code.get(place + word.len()..).unwrap_or_default().trim_start();
            !rest.starts_with("fn(") && !rest.starts_with("extern fn(")
        })
        .count()
}

/// The reason in `#![allow(unsafe_code, reason = "...")]`.
fn declared_reason(text: &str) -> String {
    text.split_once("(unsafe_code")
        .and_then(|(_, rest)| rest.split_once("reason = \""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(reason, _)| reason.to_owned())
        .unwrap_or_default()
}

fn parse(document: &str) -> Listed {
    document
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let file = cells.next()?.trim_end_matches('`').to_owned();
            let number = cells.next()?.trim().parse().ok()?;
            let reason = cells.next()?.trim_end_matches('|').trim().to_owned();
            Some((file, (number, reason)))
        })
        .collect()
}

fn render(counted: &Counted, listed: &Listed) -> String {
    let mut text = HEAD.to_owned();
    for (file, (number, declared)) in counted {
        let reason = listed.get(file).map_or("", |(_, reason)| reason);
        let reason = if reason.is_empty() { declared } else { reason };
        let _ = writeln!(text, "| `{file}` | {number} | {reason} |");
    }
    let _ = writeln!(text, "\n{} in all.", counted.values().map(|(number, _)| number).sum::<usize>());
    text
}

fn compare(counted: &Counted, listed: &Listed) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, (number, _)) in counted {
        match listed.get(file) {
            None => complaints.push(format!("{file}: {number} unsafe, and not in the list")),
            Some((allowed, _)) if number > allowed => {
                complaints.push(format!("{file}: {number} unsafe, {allowed} listed"))
            }
            Some((_, reason)) if reason.is_empty() => complaints.push(format!("{file}: the list gives no reason")),
            Some(_) => {}
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted() {
        assert_eq!(words("unsafe { } unsafe fn a() {} unsafe impl Sync for X {} #![deny(unsafe_code)] is_unsafe"), 3);
        assert_eq!(words("type F = unsafe fn(u8);"), 0);
    }

    #[test]
    fn the_list_comes_back_and_growth_is_told() {
        let counted =
            Counted::from([("a.rs".to_owned(), (3, "ports".to_owned())), ("b.rs".to_owned(), (1, String::new()))]);
        let listed = parse(&render(&counted, &Listed::new()));
        assert_eq!(listed["a.rs"], (3, "ports".to_owned()));
        assert_eq!(compare(&counted, &listed), ["b.rs: the list gives no reason"]);
        let more = Counted::from([("a.rs".to_owned(), (4, String::new())), ("c.rs".to_owned(), (1, String::new()))]);
        assert_eq!(compare(&more, &listed).len(), 2);
    }
}
