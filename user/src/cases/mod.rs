//! The conformance cases, by subject.

mod buffers;
mod clients;
mod devices;
mod event_sets;
mod events;
mod files;
mod futexes;
mod machine;
mod memory;
mod numa;
mod process_files;
pub mod processes;
mod scheduler_statistics;
mod scheduling;
mod sequences;
pub mod signals;
mod terminals;
pub mod processors;
pub mod threads;
mod time;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::runner::Case;

/// Every case, in the order in which they run.
pub fn all() -> Vec<Case> {
    [
        memory::CASES,
        numa::CASES,
        processes::CASES,
        scheduling::CASES,
        signals::CASES,
        machine::CASES,
        files::CASES,
        events::CASES,
        event_sets::CASES,
        devices::CASES,
        threads::CASES,
        futexes::CASES,
        processors::CASES,
        sequences::CASES,
        time::CASES,
        terminals::CASES,
        clients::CASES,
        buffers::CASES,
        process_files::CASES,
        scheduler_statistics::CASES,
        #[cfg(target_arch = "x86_64")]
        x86_64::CASES,
    ]
    .concat()
}
