//! The command line of the allocators' benchmarks; `cargo xtask bench --allocators` is the way to it.

use anyhow::Result;
use ashlar_bench::{frames, heap, measure};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Time the kernel's allocators beside others
#[derive(Parser)]
struct Tool {
    #[command(subcommand)]
    subject: Subject,
    /// Where documents and plots go; without it the tables are printed only
    #[arg(long, global = true)]
    output: Option<PathBuf>,
    /// A few repetitions, to see that all of it runs; the figures are worth little
    #[arg(long, global = true)]
    quick: bool,
}

#[derive(Subcommand)]
enum Subject {
    /// The allocator of physical frames
    Frames,
    /// The kernel's heap
    Heap,
}

fn main() -> Result<()> {
    let tool = Tool::parse();
    let effort = if tool.quick { measure::Effort::Quick } else { measure::Effort::Thorough };
    let report = match tool.subject {
        Subject::Frames => frames::run(effort)?,
        Subject::Heap => heap::run(effort)?,
    };
    print!("{}", report.render());
    if let Some(folder) = tool.output.filter(|_| !report.is_empty()) {
        report.write(&folder)?;
    }
    Ok(())
}
