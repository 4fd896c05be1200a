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
    let mut subjects: &[(&str, &[SystemCall])] = SUBJECTS;
    while let [(_, of_subject), rest @ ..] = subjects {
        rows += of_subject.len();
        subjects = rest;
    }
    rows
}

/// All rows.
pub static TABLE: [SystemCall; count()] = ALL;

/// All rows, for const evaluation.
pub(super) static ALL: [SystemCall; count()] = {
    // The compiler evaluates this: a table without rows would not compile.
    let [(_, [first, ..]), ..] = SUBJECTS else { unreachable!() };
    let mut all = [*first; count()];
    let mut places: &mut [SystemCall] = &mut all;
    let mut subjects: &[(&str, &[SystemCall])] = SUBJECTS;
    while let [(_, of_subject), rest @ ..] = subjects {
        let (here, behind) = places.split_at_mut(of_subject.len());
        here.copy_from_slice(of_subject);
        places = behind;
        subjects = rest;
    }
    all
};
