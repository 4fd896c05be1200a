//! What `/proc/PID` says of a process, in Linux's formats (proc(5)); of its areas, `area_report` does.

use super::area_report::kibibytes;
use super::subject::Subject;
use crate::arch::{Current, Machine, inter_processor};
use crate::base::{CpuId, CpuMask, Nanoseconds, PAGE_SHIFT, VirtualRange};
use crate::device::terminal::Terminal;
use crate::memory::address_space::{AddressSpace, ForeignAccess, Statistics};
use crate::memory::node_frames::nodes_with_memory;
use crate::memory::numa::NodeMask;
use crate::process::resource_limits::Resource;
use crate::process::scheduler::Standing;
use crate::process::{Lifecycle, Process, table};
use crate::pseudofs::HexadecimalMask;
use crate::security::CapabilitySet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// `/proc/PID/stat`: 52 fields on one line.
#[must_use]
pub fn stat(subject: &Subject) -> Vec<u8> {
    let process = &subject.process;
    let usage = subject.usage();
    let children = process.children_usage();
    let statistics = subject.statistics();
    let parameters = subject.thread.as_ref().map(|thread| thread.scheduling()).unwrap_or_default();
    // What it is lent counts.
    let lent = subject.thread.as_ref().map(|thread| thread.lent()).unwrap_or_default();
    let priority = Standing::of(&parameters, u64::MAX).max(lent).shown();
    let layout = subject.address_space().map(|space| space.layout()).unwrap_or_default();
    let (terminal, foreground) = terminal_of(process);
    let (ignored, caught) = process.signals.collect_action_sets();
    let (blocked, pending) = match &subject.thread {
        Some(thread) => (thread.signals.blocked(), thread.signals.pending()),
        None => Default::default(),
    };
    let mut line = Vec::new();
    line.extend_from_slice(alloc::format!("{} (", subject.number()).as_bytes());
    line.extend_from_slice(&subject.name());
    let mut text = String::new();
    let _ = write!(
        text,
        ") {} {} {} {} {} {} {} ",
        subject.state().0,
        process.parent_pid(),
        process.group_id(),
        process.session_id(),
        terminal,
        foreground,
        0,
    );
    let _ = write!(
        text,
        "{} {} {} {} ",
        usage.minor_faults, children.minor_faults, usage.major_faults, children.major_faults
    );
    let _ = write!(
        text,
        "{} {} {} {} ",
        ticks(usage.user_time),
        ticks(usage.system_time),
        ticks(children.user_time),
        ticks(children.system_time)
    );
    let _ = write!(
        text,
        "{priority} {} {} 0 {} {} {} {} ",
        parameters.niceness,
        process.live_threads(),
        ticks(process.start_time()),
        statistics.total << PAGE_SHIFT,
        statistics.resident(),
        process.limit(Resource::ResidentSet),
    );
    let _ =
        write!(text, "{} {} {} 0 0 ", layout.code.start.value(), layout.code.end.value(), layout.stack_start.value());
    let low = |set: u64| set & 0x7fff_ffff;
    let _ = write!(
        text,
        "{} {} {} {} 0 0 0 {} {} {} {} 0 0 0 ",
        low(pending.bits()),
        low(blocked.bits()),
        low(ignored.bits()),
        low(caught.bits()),
        17,
        subject.thread.as_ref().map_or(0, |thread| thread.last_cpu().0),
        parameters.realtime_priority,
        parameters.policy,
    );
    let status = match process.family(&table::lock()).lifecycle {
        Lifecycle::Zombie(status) => status.0,
        _ => 0,
    };
    let _ = writeln!(
        text,
        "{} {} {} {} {} {} {} {status}",
        layout.data.start.value(),
        layout.data.end.value(),
        layout.heap_start.value(),
        layout.arguments.start.value(),
        layout.arguments.end.value(),
        layout.environment.start.value(),
        layout.environment.end.value(),
    );
    line.extend_from_slice(text.as_bytes());
    line
}

/// The controlling terminal's device number and its foreground group: 0 and -1 without one.
fn terminal_of(process: &Process) -> (u64, i32) {
    match process.session().and_then(|session| session.terminal()) {
        Some(terminal) => match terminal.downcast_ref::<Terminal>() {
            Some(terminal) => (terminal.number().encode(), terminal.job().1),
            None => (0, -1),
        },
        None => (0, -1),
    }
}

fn ticks(time: Nanoseconds) -> u64 {
    time.to_ticks().0
}

/// `/proc/PID/statm`: sizes in pages.
#[must_use]
pub fn statm(subject: &Subject) -> String {
    let statistics = subject.statistics();
    alloc::format!(
        "{} {} {} {} 0 {} 0\n",
        statistics.total,
        statistics.resident(),
        statistics.file + statistics.shared,
        statistics.executable,
        statistics.data + statistics.stack,
    )
}

/// `/proc/PID/status`.
#[must_use]
pub fn status(subject: &Subject) -> Vec<u8> {
    let process = &subject.process;
    let mut text = Vec::from(*b"Name:\t");
    // As in Linux, what would break the line is escaped.
    for byte in subject.name() {
        match byte {
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\\' => text.extend_from_slice(b"\\\\"),
            other => text.push(other),
        }
    }
    let (letter, word) = subject.state();
    let credentials = subject.thread.as_ref().map_or_else(|| process.credentials(), |thread| thread.credentials());
    let mut rest = String::new();
    if let Some(context) = subject.thread.as_ref().and_then(|thread| thread.try_file_system()) {
        let _ = write!(rest, "\nUmask:\t{:04o}", context.umask());
    }
    let _ = writeln!(rest, "\nState:\t{letter} ({word})\nTgid:\t{}\nNgid:\t0", process.pid());
    let _ = writeln!(rest, "Pid:\t{}\nPPid:\t{}\nTracerPid:\t0", subject.number(), process.parent_pid());
    let c = &credentials;
    let _ = writeln!(rest, "Uid:\t{}\t{}\t{}\t{}", c.uid, c.euid, c.suid, c.fsuid);
    let _ = writeln!(rest, "Gid:\t{}\t{}\t{}\t{}", c.gid, c.egid, c.sgid, c.fsgid);
    let descriptors = subject.thread.as_ref().map_or(0, |thread| thread.files().capacity());
    let _ = write!(rest, "FDSize:\t{descriptors}\nGroups:\t");
    for group in c.groups.as_slice() {
        let _ = write!(rest, "{group} ");
    }
    let (group, session) = (process.group_id(), process.session_id());
    let _ = writeln!(
        rest,
        "\nNStgid:\t{}\nNSpid:\t{}\nNSpgid:\t{group}\nNSsid:\t{session}",
        process.pid(),
        subject.number()
    );
    if subject.address_space().is_some() {
        write_memory(&mut rest, &subject.statistics());
    }
    let _ = writeln!(rest, "Threads:\t{}", process.live_threads());
    write_signals(&mut rest, subject);
    let set = |set: CapabilitySet| set.bits();
    let _ = writeln!(
        rest,
        "CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}",
        set(c.inheritable),
        set(c.permitted),
        set(c.effective)
    );
    let _ = writeln!(
        rest,
        "CapBnd:\t{:016x}\nCapAmb:\t{:016x}\nNoNewPrivs:\t{}",
        set(c.bounding),
        set(c.ambient),
        u8::from(c.no_new_privs)
    );
    let possible = inter_processor::possible();
    let affinity = subject.thread.as_ref().map_or(CpuMask::single(CpuId(0)), |thread| thread.affinity());
    let allowed = affinity.intersection(possible);
    let width = possible.last().map_or(1, |last| last.0 as usize + 1);
    let _ = writeln!(
        rest,
        "Seccomp:\t0\nSeccomp_filters:\t0\nCpus_allowed:\t{}\nCpus_allowed_list:\t{allowed}",
        HexadecimalMask { mask: allowed, width }
    );
    write_nodes(&mut rest, nodes_with_memory(), Current::LINUX.most_nodes);
    let usage = subject.usage();
    let _ = writeln!(
        rest,
        "voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}",
        usage.voluntary_switches, usage.involuntary_switches
    );
    text.extend_from_slice(rest.as_bytes());
    text
}

fn write_memory(text: &mut String, statistics: &Statistics) {
    let mut line = |name: &str, pages: u64| {
        let _ = writeln!(text, "{name}:\t{:8} kB", kibibytes(pages));
    };
    line("VmPeak", statistics.peak_total);
    line("VmSize", statistics.total);
    line("VmLck", statistics.locked);
    line("VmPin", 0);
    line("VmHWM", statistics.peak_resident);
    line("VmRSS", statistics.resident());
    line("RssAnon", statistics.anonymous);
    line("RssFile", statistics.file);
    line("RssShmem", statistics.shared);
    line("VmData", statistics.data);
    line("VmStk", statistics.stack);
    line("VmExe", statistics.executable);
    line("VmLib", 0);
    line("VmPTE", statistics.tables);
    line("VmSwap", 0);
}

fn write_signals(text: &mut String, subject: &Subject) {
    let process = &subject.process;
    let (ignored, caught) = process.signals.collect_action_sets();
    let (blocked, pending) = match &subject.thread {
        Some(thread) => (thread.signals.blocked(), thread.signals.pending()),
        None => Default::default(),
    };
    let account = crate::process::resource_limits::UserAccount::of(process.credentials().uid);
    let _ = writeln!(text, "SigQ:\t{}/{}", account.pending_signals(), process.limit(Resource::PendingSignals));
    let _ = writeln!(text, "SigPnd:\t{:016x}\nShdPnd:\t{:016x}", pending.bits(), process.signals.pending().bits());
    let _ = writeln!(
        text,
        "SigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}",
        blocked.bits(),
        ignored.bits(),
        caught.bits()
    );
}

/// The nodes that may be used: programs take the length of the mask for the length of all masks.
fn write_nodes(text: &mut String, nodes: NodeMask, most: u64) {
    text.push_str("Mems_allowed:\t");
    for word in (0..most.div_ceil(32)).rev() {
        let digits = usize::try_from((most - word * 32).min(32).div_ceil(4)).unwrap_or(1);
        let bits = if word < 2 { nodes.bits() >> (word * 32) & u64::from(u32::MAX) } else { 0 };
        let _ = write!(text, "{bits:0digits$x}{}", if word == 0 { "\n" } else { "," });
    }
    let _ = writeln!(text, "Mems_allowed_list:\t{nodes}");
}

/// `/proc/PID/schedstat`: nanoseconds that the thread ran and was ready without a CPU, and its turns. For a process it is the main thread, as on Linux; of a
/// zombie, whose threads are gone, all of them.
#[must_use]
pub fn schedstat(subject: &Subject) -> String {
    let usage = match &subject.thread {
        Some(thread) => thread.usage(),
        None => subject.usage(),
    };
    let run = usage.user_time.saturating_add(usage.system_time);
    alloc::format!("{} {} {}\n", run.0, usage.waited.0, usage.turns)
}

/// `/proc/PID/limits`.
#[must_use]
pub fn limits(process: &Process) -> String {
    let rows = [
        (Resource::Cpu, "Max cpu time", "seconds"),
        (Resource::FileSize, "Max file size", "bytes"),
        (Resource::Data, "Max data size", "bytes"),
        (Resource::Stack, "Max stack size", "bytes"),
        (Resource::Core, "Max core file size", "bytes"),
        (Resource::ResidentSet, "Max resident set", "bytes"),
        (Resource::Processes, "Max processes", "processes"),
        (Resource::OpenFiles, "Max open files", "files"),
        (Resource::LockedMemory, "Max locked memory", "bytes"),
        (Resource::AddressSpace, "Max address space", "bytes"),
        (Resource::Locks, "Max file locks", "locks"),
        (Resource::PendingSignals, "Max pending signals", "signals"),
        (Resource::MessageQueue, "Max msgqueue size", "bytes"),
        (Resource::Nice, "Max nice priority", ""),
        (Resource::RealTimePriority, "Max realtime priority", ""),
        (Resource::RealTimeTime, "Max realtime timeout", "us"),
    ];
    let limits = process.limits.lock().clone();
    let shown = |value: u64| if value == u64::MAX { String::from("unlimited") } else { alloc::format!("{value}") };
    let mut text = alloc::format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (resource, name, unit) in rows {
        let limit = limits.get(resource);
        let _ = writeln!(text, "{name:<25} {:<20} {:<20} {unit:<10}", shown(limit.soft), shown(limit.hard));
    }
    text
}

/// `/proc/PID/cmdline` or `environ`: the strings in the process's own memory.
#[must_use]
pub fn strings(process: &Process, what: Strings) -> Vec<u8> {
    let Some(space) = process.address_space() else { return Vec::new() };
    let layout = space.layout();
    let range = match what {
        Strings::Arguments => layout.arguments,
        Strings::Environment => layout.environment,
    };
    read_memory(&space, range)
}

/// Which strings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strings {
    /// The arguments.
    Arguments,
    /// The environment.
    Environment,
}

/// `/proc/PID/auxv`.
#[must_use]
pub fn auxiliary_vector(process: &Process) -> Vec<u8> {
    let program = process.program();
    let entries = program.iter().flat_map(|program| program.auxiliary_vector.iter().flatten());
    entries.flat_map(|word| word.to_ne_bytes()).collect()
}

fn read_memory(space: &AddressSpace, range: VirtualRange) -> Vec<u8> {
    /// As much as the largest argument area that `execve` makes.
    const LIMIT: usize = 6 << 20;
    let length = usize::try_from(range.length()).unwrap_or(0).min(LIMIT);
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(length).is_err() {
        return Vec::new();
    }
    bytes.resize(length, 0);
    let read = space.read_foreign(range.start, &mut bytes, ForeignAccess::Forced).unwrap_or(0);
    bytes.truncate(read);
    bytes
}
