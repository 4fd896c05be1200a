//! Mistakes in what the tool is asked for: each is told in one line, and the status is 2. Nothing is booted.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Job;
use crate::qemu::TemporaryFile;

/// Wrong command lines, and a word that the line about each must have.
const MISTAKES: &[(&[&str], &str)] = &[
    (&["frobnicate"], "frobnicate"),
    (&["run", "--bogus"], "--bogus"),
    (&["run", "--memory", "much"], "512M"),
    (&["run", "--memory", "0"], "512M"),
    (&["run", "--cpus", "0"], "1..=255"),
    (&["run", "--cpus", "many"], "many"),
    (&["run", "--arch", "vax"], "aarch64"),
    (&["run", "--machine", "foo"], "q35"),
    (&["run", "--machine", "virt"], "that board is of aarch64"),
    (&["run", "--arch", "aarch64", "--machine", "pc"], "that board is of x86_64"),
    (&["run", "--kvm", "--icount"], "--icount"),
    (&["run", "--linux", "--release"], "--release"),
    (&["run", "--initrd", "/nonexistent/file"], "cannot read /nonexistent/file"),
    (&["run", "--timeout", "soon"], "soon"),
    (&["run", "--", "/nonexistent/program"], "cannot read /nonexistent/program"),
    (&["run", "--", "./Cargo.toml"], "neither"),
    (&["run", "--", "/"], "/"),
    (&["iso", "--initrd", "/nonexistent/file"], "cannot read /nonexistent/file"),
    (&["iso", "--append", "two\nlines"], "one line"),
    (&["iso", "--arch", "aarch64"], "--arch"),
    (&["test", "--jobs", "0"], "1..=64"),
    (&["test", "--hostile-calls", "some"], "some"),
    (&["test", "--linux", "--release"], "--release"),
    (&["bench", "--bogus"], "--bogus"),
];

/// Where the machine stands in an ELF file's head, and one that nobody here has.
const ELF_MACHINE: usize = 18;
const RISC_V: u8 = 243;

/// The job.
pub fn jobs() -> Vec<Job> {
    vec![
        Job::single("usage/mistakes", |_| {
            MISTAKES.iter().try_for_each(|(words, text)| mistake(words, text).with_context(|| words.join(" ")))
        }),
        Job::single("usage/foreign-program", |_| {
            let mut program = std::fs::read(std::env::current_exe()?)?;
            *program.get_mut(ELF_MACHINE).context("no ELF file")? = RISC_V;
            let file = TemporaryFile::new("foreign", &program)?;
            let path = file.path().to_string_lossy().into_owned();
            mistake(&["run", "--", &path], "is for another machine")
        }),
    ]
}

/// Runs this tool with `words`, which are wrong: one line that has `text`, and status 2.
fn mistake(words: &[&str], text: &str) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(words).stdin(Stdio::null()).output().context("cannot run this tool")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "it ended with {}:\n{said}", output.status);
    // What is fetched first is told too.
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("xtask: ")).collect();
    ensure!(lines.len() == 1 && output.stdout.is_empty(), "more or less than one line:\n{said}");
    ensure!(lines.concat().starts_with("error: "), "no error:\n{said}");
    ensure!(said.contains(text), "nothing is said of {text:?}:\n{said}");
    Ok(())
}
