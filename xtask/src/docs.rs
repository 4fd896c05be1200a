//! `cargo xtask docs`: the documents that are made from the sources.
//!
//! `docs/SYSCALLS.md` comes from the kernel's table of system calls. The kernel's own unit test renders it: it compares, and writes
//! when the environment says so.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace;

/// The test in `kernel/src/syscall/reference.rs`.
const TEST: &str = "the_committed_reference_is_fresh";
/// The variable that makes it write.
const SWITCH: &str = "ASHLAR_WRITE_DOCS";

/// What to do.
#[derive(Args, Debug, Default)]
pub struct DocsOptions {
    /// Fail when a document is stale, and write nothing
    #[arg(long)]
    pub check: bool,
}

/// The command that writes or checks.
pub fn command(options: &DocsOptions) -> Result<Command> {
    std::fs::create_dir_all(workspace::root().join("docs")).context("cannot create docs")?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace::root())
        .args(["test", "--quiet", "--package", "ashlar-kernel", "--lib", TEST])
        .env_remove(SWITCH)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if !options.check {
        command.env(SWITCH, "1");
    }
    Ok(command)
}

/// Writes or checks; gives the status.
pub fn run(options: &DocsOptions) -> Result<u8> {
    let status = command(options)?.status().context("cannot run cargo")?;
    println!("docs/SYSCALLS.md: {}", if status.success() { "fresh" } else { "stale or not made" });
    Ok(u8::from(!status.success()))
}
