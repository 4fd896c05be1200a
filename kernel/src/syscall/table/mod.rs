//! The whole table: every subject's rows, one after the other.
//!
//! To add a subject: a file with `system_call_rows!` here, its module below and a line in [`SUBJECTS`]. To add a call: a row in its
//! subject's file.

use super::row::SystemCall;

pub mod absent;
pub mod credential;
pub mod descriptor;
pub mod extended_attribute;
pub mod mount;
pub mod directory;
pub mod file;
pub mod metadata;
pub mod path;
pub mod clock;
pub mod futex;
pub mod event;
pub mod limits;
pub mod memory;
pub mod prctl;
pub mod process;
pub mod scheduling;
pub mod signal;
pub mod timer;
pub mod system;

/// The subjects, in the order in which the reference lists them.
pub const SUBJECTS: &[(&str, &[SystemCall])] = &[
    ("Processes", process::ROWS),
    ("Users", credential::ROWS),
    ("Scheduling", scheduling::ROWS),
    ("System", system::ROWS),
    ("Signals", signal::ROWS),
    ("Clocks", clock::ROWS),
    ("Limits", limits::ROWS),
    ("Memory", memory::ROWS),
    ("Settings", prctl::ROWS),
    ("Files", file::ROWS),
    ("Paths", path::ROWS),
    ("Directories", directory::ROWS),
    ("File status", metadata::ROWS),
    ("Descriptors", descriptor::ROWS),
    ("Futexes", futex::ROWS),
    ("Timers", timer::ROWS),
    ("Events", event::ROWS),
    ("Extended attributes", extended_attribute::ROWS),
    ("Mounts", mount::ROWS),
    ("Absent", absent::ROWS),
];

const fn count() -> usize {
    let mut rows = 0;
    let mut subject = 0;
    while subject < SUBJECTS.len() {
        rows += SUBJECTS[subject].1.len();
        subject += 1;
    }
    rows
}

/// All rows.
pub static TABLE: [SystemCall; count()] = ALL;

/// All rows, for const evaluation.
pub(super) static ALL: [SystemCall; count()] = {
    let mut all = [SUBJECTS[0].1[0]; count()];
    let mut next = 0;
    let mut subject = 0;
    while subject < SUBJECTS.len() {
        let rows = SUBJECTS[subject].1;
        let mut row = 0;
        while row < rows.len() {
            all[next] = rows[row];
            next += 1;
            row += 1;
        }
        subject += 1;
    }
    all
};
