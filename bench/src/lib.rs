//! `cargo xtask bench --allocators`: the kernel's allocators beside others of their kind, timed on the host.
//!
//! [`frames`] and [`heap`] each give one [`report::Report`], which becomes a document with a table and a plot for each group of rows in
//! `docs/benchmarks/`. [`measure`] is the stop-watch that both use: rivals take turns and the fastest of many repetitions counts, so that what
//! else the machine does is not measured along.

pub mod frames;
pub mod heap;
pub mod measure;
pub mod report;
