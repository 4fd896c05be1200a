//! `cargo xtask layers`: the kernel's rooms import in one direction only.
//!
//! Fails on a path that leads from a room to one listed after it in [`ROOMS`], on rooms of one row that import each other, and
//! on `target_arch` outside `arch/mod.rs`. Nothing above `arch` may know which machine it is on: a path that leads into a machine's folder, or a word that
//! names one ([`MACHINE_WORDS`]), fails too. Modules inside a room that import each other in a circle fail, but in the
//! folders of [`WITH_CIRCLES`], whose circles are told. Unit tests may import what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, bail};

use crate::sources::{self, Source, line_of};
use crate::workspace;

/// The rooms from the hardware upwards; those in one row are neighbours.
const ROOMS: &[&[&str]] = &[
    &["base"],
    &["arch"],
    &["sync"],
    &["log"],
    &["security"],
    &["time"],
    &["memory"],
    &["fs"],
    &["process"],
    &["device", "ipc", "net", "pseudofs"],
    &["syscall"],
];

/// The machines' folders. The emulated one is not among them: what is compiled for the host alone may talk to it.
const MACHINES: &[&str] = &["x86_64", "aarch64"];

/// Words by which code would ask which machine it is on, and the files above `arch` that say them with a reason.
const MACHINE_WORDS: &[(&str, &[&str])] = &[
    ("Architecture", &[]),
    ("NumberColumn", &[]),
    // One walker for both formats: the machine names its own.
    ("TableFormat", &["kernel/src/memory/paging/mod.rs"]),
    // The indexes of both machines are checked wherever one is compiled.
    ("LinuxInterface::X86_64", &["kernel/src/syscall/lookup.rs"]),
    ("LinuxInterface::AARCH64", &["kernel/src/syscall/lookup.rs"]),
];

/// Folders in which modules still import each other, directly or around corners.
const WITH_CIRCLES: &[&str] = &[];

/// Links that run upwards inside a room and are honest: folder, from, to. `docs/ARCHITECTURE.md` has the reasons.
const UPWARD_LINKS: &[(&str, &str, &str)] = &[("fs", "inode", "file"), ("fs", "inode", "mount")];

/// Checks the tree; prints what is wrong and gives the status.
pub fn run() -> Result<u8> {
    let files = sources::read(&workspace::root(), "kernel/src")?;
    let (complaints, notes) = check(&files)?;
    for note in &notes {
        println!("note: {note}");
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!("layers: {} files, {} complaints, {} circles inside rooms", files.len(), complaints.len(), notes.len());
    Ok(u8::from(!complaints.is_empty()))
}

/// A path in code that leads into a module of the crate.
struct Reference {
    /// From the crate's root.
    target: Vec<String>,
    line: usize,
}

/// What is wrong, and what should be known.
fn check(files: &[Source]) -> Result<(Vec<String>, Vec<String>)> {
    let mut complaints = Vec::new();
    // Edges between modules, with the first place that makes each.
    let mut edges: BTreeMap<(Vec<String>, Vec<String>), String> = BTreeMap::new();
    let modules: BTreeSet<Vec<String>> = files.iter().map(|file| file.module.clone()).collect();
    for file in files {
        if file.path != Path::new("kernel/src/arch/mod.rs")
            && let Some(place) = file.code.find("target_arch")
        {
            let line = line_of(&file.code, place);
            complaints.push(format!("{}:{line}: target_arch belongs into arch/mod.rs only", file.path.display()));
        }
        let Some(room) = file.module.first() else { continue };
        let is_above = room != "arch";
        if is_above {
            complaints.extend(machine_words(file));
        }
        let Some(rank) = rank(room) else { bail!("{}: the room {room} is not in the list", file.path.display()) };
        for reference in references(file) {
            let Some(other) = reference.target.first() else { continue };
            let Some(other_rank) = self::rank(other) else { continue };
            let place = format!("{}:{}", file.path.display(), reference.line);
            if is_above
                && let [_, machine, ..] = reference.target.as_slice()
                && other == "arch"
                && MACHINES.contains(&machine.as_str())
            {
                complaints.push(format!("{place}: {room} names the machine {machine}"));
            }
            if other_rank > rank {
                complaints.push(format!("{place}: {room} imports {other}, which is above it"));
            }
            let target = deepest(&modules, &reference.target);
            edges.entry((file.module.clone(), target)).or_insert(place);
        }
    }
    let (wrong, notes): (Vec<Circle>, Vec<Circle>) =
        circles(&edges).into_iter().partition(|circle| !WITH_CIRCLES.contains(&circle.folder.join("::").as_str()));
    complaints.extend(wrong.into_iter().map(|circle| circle.text));
    let notes = notes.into_iter().map(|circle| circle.text).collect();
    Ok((complaints, notes))
}

/// The places where a file above `arch` asks which machine it is on.
fn machine_words(file: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (word, excused) in MACHINE_WORDS {
        if excused.iter().any(|path| file.path == Path::new(path)) {
            continue;
        }
        for (place, _) in file.code.match_indices(word) {
            let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
            let bytes = file.code.as_bytes();
            let before = place.checked_sub(1).and_then(|index| bytes.get(index));
            if !is_part(before) && !is_part(bytes.get(place + word.len())) {
                let line = line_of(&file.code, place);
                found.push(format!("{}:{line}: {word} asks which machine this is", file.path.display()));
            }
        }
    }
    found
}

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().position(|row| row.contains(&room))
}

/// The longest start of `path` that is a module.
fn deepest(modules: &BTreeSet<Vec<String>>, path: &[String]) -> Vec<String> {
    let mut module = path.to_vec();
    while !module.is_empty() && !modules.contains(&module) {
        module.pop();
    }
    module
}

/// All paths of the file that start with `crate::` or with enough `super::` to leave the file's module.
fn references(file: &Source) -> Vec<Reference> {
    let mut found = Vec::new();
    for word in ["crate::", "super::"] {
        for (place, _) in file.code.match_indices(word) {
            let before = file.code.as_bytes().get(..place).unwrap_or_default();
            // `super::super::` is read from its first part; `$crate` and `ashlar_kernel_crate` are other words.
            if before.ends_with(b"super::")
                || before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            {
                continue;
            }
            let mut rest = file.code.get(place..).unwrap_or_default();
            let mut base = if word == "crate::" { Vec::new() } else { file.module.clone() };
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            rest = rest.strip_prefix("crate::").unwrap_or(rest);
            let line = line_of(&file.code, place);
            for tail in expand(rest) {
                found.push(Reference { target: base.iter().cloned().chain(tail).collect(), line });
            }
        }
    }
    found
}

/// The paths that `a::{b, c::{d, e}}` stands for.
fn expand(text: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut here: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(inside) = rest.strip_prefix('{') {
            for part in split_group(inside) {
                let tails = expand(part);
                if tails.is_empty() {
                    paths.push(here.clone());
                }
                paths.extend(tails.into_iter().map(|tail| here.iter().cloned().chain(tail).collect()));
            }
            return paths;
        }
        let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        here.push(word.to_owned());
        match after.trim_start().strip_prefix("::") {
            Some(after) => rest = after.trim_start(),
            None => break,
        }
    }
    if !here.is_empty() {
        paths.push(here);
    }
    paths
}

/// The parts between the commas of a group, up to its closing brace.
fn split_group(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (place, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                parts.push(text.get(start..place).unwrap_or_default().trim());
                start = place + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Modules that import each other.
struct Circle {
    /// The folder that they are in.
    folder: Vec<String>,
    text: String,
}

/// Modules of one folder that import each other, directly or around corners. What a folder's `mod.rs` itself imports from its
/// own modules, and they from it, is one thing cut into files, and does not count.
fn circles(edges: &BTreeMap<(Vec<String>, Vec<String>), String>) -> Vec<Circle> {
    let mut graphs: BTreeMap<Vec<String>, BTreeMap<String, BTreeMap<String, String>>> = BTreeMap::new();
    for ((from, to), place) in edges {
        let common = from.iter().zip(to).take_while(|(left, right)| left == right).count();
        if let (Some(left), Some(right), Some(folder)) = (from.get(common), to.get(common), from.get(..common)) {
            if UPWARD_LINKS.contains(&(folder.join("::").as_str(), left.as_str(), right.as_str())) {
                continue;
            }
            let graph = graphs.entry(folder.to_vec()).or_default();
            graph.entry(left.clone()).or_default().entry(right.clone()).or_insert_with(|| place.clone());
        }
    }
    let mut complaints = Vec::new();
    for (folder, graph) in &graphs {
        for (module, targets) in graph {
            for (target, place) in targets {
                // Each circle is told once for every edge that starts at its smallest name.
                if let Some(way) = way_back(graph, target, module)
                    && way.iter().all(|name| module <= name)
                {
                    let name = if folder.is_empty() { "crate".to_owned() } else { folder.join("::") };
                    let text = format!("{place}: in {name}, a circle: {module} -> {}", way.join(" -> "));
                    complaints.push(Circle { folder: folder.clone(), text });
                }
            }
        }
    }
    complaints
}

/// The shortest way from `start` to `end`, both in it.
fn way_back(graph: &BTreeMap<String, BTreeMap<String, String>>, start: &str, end: &str) -> Option<Vec<String>> {
    let mut ways = std::collections::VecDeque::from([vec![start.to_owned()]]);
    let mut seen = BTreeSet::from([start.to_owned()]);
    while let Some(way) = ways.pop_front() {
        let last = way.last()?;
        if last == end {
            return Some(way);
        }
        for next in graph.get(last).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(next.clone()) {
                ways.push_back(way.iter().cloned().chain([next.clone()]).collect());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, module: &[&str], code: &str) -> Source {
        Source {
            path: path.into(),
            module: module.iter().map(|part| (*part).to_owned()).collect(),
            code: code.to_owned(),
        }
    }

    #[test]
    fn groups_expand() {
        let paths: Vec<String> =
            expand("a::{b, c::{d, self}, e as f}; rest").iter().map(|path| path.join("::")).collect();
        assert_eq!(paths, ["a::b", "a::c::d", "a::c::self", "a::e"]);
    }

    #[test]
    fn upward_imports_are_found() {
        let files = [
            source("kernel/src/fs/a.rs", &["fs", "a"], "use crate::{base::X, process::Y};"),
            source("kernel/src/fs/b.rs", &["fs", "b"], "use super::super::syscall;\nfn f() { crate::time::now() }"),
            source("kernel/src/arch/x.rs", &["arch", "x"], "\n#[cfg(target_arch = x)]"),
        ];
        let (told, _) = check(&files).unwrap();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("kernel/src/fs/a.rs:1: fs imports process"));
        assert!(told[1].starts_with("kernel/src/fs/b.rs:1: fs imports syscall"));
        assert!(told[2].starts_with("kernel/src/arch/x.rs:2: target_arch"));
    }

    #[test]
    fn nobody_above_asks_for_the_machine() {
        let files = [
            source(
                "kernel/src/fs/a.rs",
                &["fs", "a"],
                "use crate::arch::{Cpu, x86_64::port};\nlet AuditArchitecture = 1;",
            ),
            source("kernel/src/fs/b.rs", &["fs", "b"], "match Current::X { Architecture::X86_64 => 1 }"),
            source("kernel/src/arch/c.rs", &["arch", "c"], "use super::x86_64::port; struct Architecture;"),
        ];
        let (told, _) = check(&files).unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("kernel/src/fs/a.rs:1: fs names the machine x86_64"));
        assert!(told[1].starts_with("kernel/src/fs/b.rs:1: Architecture asks"));
    }

    #[test]
    fn circles_are_found_once() {
        let files = [
            source("kernel/src/fs/a.rs", &["fs", "a"], "use super::b::B;"),
            source("kernel/src/fs/b.rs", &["fs", "b"], "use crate::fs::c::C; use super::Parent;"),
            source("kernel/src/fs/c.rs", &["fs", "c"], "use super::a::A;"),
            source("kernel/src/fs/mod.rs", &["fs"], "pub use a::A; pub struct Parent;"),
        ];
        let (told, notes) = check(&files).unwrap();
        assert_eq!(told, ["kernel/src/fs/a.rs:1: in fs, a circle: a -> b -> c -> a"]);
        assert!(notes.is_empty());
    }

    #[test]
    fn reasoned_links_are_not_told() {
        let files = [
            source("kernel/src/fs/inode.rs", &["fs", "inode"], "use super::file::FileOperations;"),
            source("kernel/src/fs/file.rs", &["fs", "file"], "use super::inode::Inode;"),
        ];
        let (told, notes) = check(&files).unwrap();
        assert!(told.is_empty() && notes.is_empty(), "{told:?} {notes:?}");
    }
}
