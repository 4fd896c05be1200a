//! The transcripts of `README.md` and `kernel/examples/demo.md`, executed as a reader would.
//!
//! In a block marked `console`, a line that starts with `$ ` is a command, with `cargo xtask` in it, and what follows is what it prints; a line
//! `...` stands for any lines. `$ echo $?` is followed by the status of the command before.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::{Job, Verdict};
use crate::initramfs::Kernel;
use crate::workspace;

/// The documents.
const DOCUMENTS: [(&str, &str); 2] = [("readme", "README.md"), ("demo", "kernel/examples/demo.md")];

/// A command and what is said to come of it.
#[derive(Debug, PartialEq, Eq)]
struct Example {
    command: String,
    output: Vec<String>,
    status: Option<i32>,
}

/// One job per document.
pub fn jobs() -> Vec<Job> {
    let job = |(name, file): (&'static str, &'static str)| {
        Job::new(format!("examples/{name}"), move |setup| match read(file) {
            // The commands choose their kernel themselves: it is ours.
            _ if setup.system == Kernel::Linux => Vec::new(),
            Err(error) => vec![Verdict::of(format!("examples/{name}"), Err(error))],
            Ok(examples) => examples
                .iter()
                .enumerate()
                .map(|(number, example)| Verdict::of(format!("examples/{name}/{}", number + 1), execute(example)))
                .collect(),
        })
    };
    DOCUMENTS.map(job).into()
}

fn read(file: &str) -> Result<Vec<Example>> {
    let text = std::fs::read_to_string(workspace::root().join(file)).with_context(|| format!("cannot read {file}"))?;
    let examples = parse(&text)?;
    ensure!(!examples.is_empty(), "{file} has no example");
    Ok(examples)
}

/// The examples of a document.
fn parse(text: &str) -> Result<Vec<Example>> {
    let mut examples: Vec<Example> = Vec::new();
    let mut is_inside = false;
    let mut wants_status = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_inside = line == "```console";
        } else if !is_inside {
        } else if line == "$ echo $?" {
            wants_status = true;
        } else if let Some(command) = line.strip_prefix("$ ") {
            examples.push(Example { command: command.to_owned(), output: Vec::new(), status: None });
        } else {
            let Some(example) = examples.last_mut() else { bail!("output before the first command: {line}") };
            if std::mem::take(&mut wants_status) {
                example.status = Some(line.trim().parse().with_context(|| format!("no status: {line}"))?);
            } else {
                example.output.push(line.to_owned());
            }
        }
    }
    Ok(examples)
}

/// Runs the command with this very tool in the place of `cargo xtask`.
fn execute(example: &Example) -> Result<()> {
    if !example.command.contains("cargo xtask ") {
        bail!("not a command of this tool: {}", example.command);
    }
    let command = example.command.replacen("cargo xtask", "\"$0\"", 1);
    let tool = std::env::current_exe().context("where is this tool?")?;
    let output = Command::new("sh")
        .current_dir(workspace::root())
        .args(["-c", &command])
        .arg(tool)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .context("cannot run sh")?;
    let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let said: Vec<&str> = said.lines().collect();
    let expected: Vec<&str> = example.output.iter().map(String::as_str).collect();
    ensure!(matches(&expected, &said), "`{}` printed:\n{}", example.command, said.join("\n"));
    let status = output.status.code();
    ensure!(
        example.status.is_none_or(|expected| status == Some(expected)),
        "`{}` ended with {status:?}, not {:?}",
        example.command,
        example.status
    );
    Ok(())
}

/// Whether `said` is what was `expected`, where `...` is any number of lines.
fn matches(expected: &[&str], said: &[&str]) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((&"...", rest)) => (0..=said.len()).any(|skipped| matches(rest, said.get(skipped..).unwrap_or_default())),
        Some((first, rest)) => said
            .split_first()
            .is_some_and(|(line, others)| line.trim_end() == first.trim_end() && matches(rest, others)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_read() {
        let text = "x\n```console\n$ cargo xtask run -- a\none\n...\n$ echo $?\n3\n```\n```\n$ not this\n```\n";
        let example = Example {
            command: "cargo xtask run -- a".to_owned(),
            output: vec!["one".to_owned(), "...".to_owned()],
            status: Some(3),
        };
        assert_eq!(parse(text).unwrap(), [example]);
    }

    #[test]
    fn dots_are_any_lines() {
        assert!(matches(&["a", "...", "c"], &["a", "b", "b", "c"]));
        assert!(matches(&["a", "..."], &["a"]));
        assert!(!matches(&["a", "...", "c"], &["a", "b"]));
        assert!(!matches(&["a"], &["a", "b"]));
    }

    #[test]
    fn every_document_has_examples() {
        for (_, file) in DOCUMENTS {
            assert!(read(file).is_ok(), "{file}");
        }
    }
}
