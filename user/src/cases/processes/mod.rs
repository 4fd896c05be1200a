//! Processes: fork, exec, wait, groups, credentials, limits.

mod attributes;
mod family;
mod identity;
pub mod programs;

use crate::runner::Case;
use std::io::Write;

pub(super) const CASES: &[Case] = &[
    ("processes/exit-status", family::exit_status),
    ("processes/wait-errors", family::wait_errors),
    ("processes/waitid", family::waitid),
    ("processes/wait-by-group", family::wait_by_group),
    ("processes/orphans-go-to-the-subreaper", family::subreaper),
    ("processes/vfork-shares-memory", family::vfork),
    ("processes/exec-arguments", programs::exec_arguments),
    ("processes/exec-errors", programs::exec_errors),
    ("processes/execveat", programs::execveat),
    ("processes/exec-script", programs::exec_script),
    ("processes/exec-closes-descriptors", programs::exec_closes),
    ("processes/hostile-elf", programs::hostile_elf),
    ("processes/groups-and-sessions", identity::groups),
    ("processes/credentials", identity::credentials),
    ("processes/capabilities", identity::capabilities),
    ("processes/no-new-privileges", identity::no_new_privileges),
    ("processes/limits", attributes::limits),
    ("processes/priorities", attributes::priorities),
    ("processes/names", attributes::names),
    ("processes/prctl-errors", attributes::prctl_errors),
    ("processes/many-children", family::many_children),
    ("processes/pidfd", family::pidfd),
    ("processes/clone-errors", family::clone_errors),
    ("processes/usage", family::usage),
    ("processes/auxiliary-vector", programs::auxiliary_vector),
    ("processes/umask-and-directory-are-inherited", family::inherited),
    ("processes/death-signal", family::death_signal),
    ("processes/uname", attributes::uname),
    ("processes/affinity", attributes::affinity),
    ("processes/call-number-is-an-int", attributes::call_number),
    ("processes/idle-time-only-grows", attributes::idle_time),
];

fn flush() {
    let _ = std::io::stdout().flush();
}
