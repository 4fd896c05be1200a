//! What `/proc` says of the system as a whole, in Linux's formats (proc(5)).

use crate::arch::{Cpu, CpuLocal, Current, InterruptReport, SerialConsole, inter_processor, interrupt_report};
use crate::base::{Nanoseconds, PAGE_SHIFT};
use crate::device::latency_limit;
use crate::fs::mount::{Location, Mount, MountFlags};
use crate::memory::heap::{self, ClassUsage};
use crate::memory::{frame_allocator, kernel_stack};
use crate::process::dispatch;
use crate::process::{ThreadState, table};
use crate::pseudofs::append;
use crate::time;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `/proc/uptime`: seconds since boot, and seconds that CPUs were idle.
pub fn uptime(text: &mut Vec<u8>) {
    let centiseconds = |time: Nanoseconds| (time.0 / 1_000_000_000, time.0 / 10_000_000 % 100);
    let (up, idle) = (centiseconds(time::boottime()), centiseconds(idle_time()));
    append!(text, "{}.{:02} {}.{:02}\n", up.0, up.1, idle.0, idle.1);
}

fn idle_time() -> Nanoseconds {
    let idle = inter_processor::possible().iter().map(|cpu| dispatch::cpu_times(cpu).idle.0);
    Nanoseconds(idle.sum())
}

/// `/proc/meminfo`.
pub fn meminfo(text: &mut Vec<u8>) {
    let frames = frame_allocator::statistics();
    let shared = crate::memory::object::shared_page_count();
    let kibibytes = |pages: u64| pages << (PAGE_SHIFT - 10);
    let mut line = |name: &str, value: u64| append!(text, "{:<16}{value:8} kB\n", alloc::format!("{name}:"));
    line("MemTotal", kibibytes(frames.total));
    line("MemFree", kibibytes(frames.free));
    // What tmpfs holds cannot be given back without swap, so what is available is free memory and, as Linux reckons, most of what the kernel keeps.
    let heap = heap::statistics();
    let slab = kibibytes(heap.frames);
    let of_slab = (heap.reclaimable_bytes >> 10).min(slab);
    let reclaimable = of_slab + kibibytes(kernel_stack::kept_frames());
    let kept = (reclaimable / 2).min(kibibytes(frame_allocator::user_reserve()));
    line("MemAvailable", kibibytes(frames.free) + reclaimable - kept);
    line("Buffers", 0);
    line("Cached", kibibytes(shared));
    for name in [
        "SwapCached",
        "Active",
        "Inactive",
        "Active(anon)",
        "Inactive(anon)",
        "Active(file)",
        "Inactive(file)",
        "Unevictable",
        "Mlocked",
        "SwapTotal",
        "SwapFree",
        "Dirty",
        "Writeback",
    ] {
        line(name, 0);
    }
    line("Shmem", kibibytes(shared));
    // What heap::shrink gives back: free objects that are kept for crowds, and empty slabs; and stacks for the next threads.
    line("KReclaimable", reclaimable);
    line("Slab", slab);
    line("SReclaimable", of_slab);
    line("SUnreclaim", slab - of_slab);
    line("CommitLimit", kibibytes(frames.total / 2));
    line("Committed_AS", kibibytes(crate::memory::address_space::committed_pages()));
    line("VmallocTotal", 1 << 29);
    line("VmallocUsed", 0);
    append!(text, "HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n");
}

/// `/proc/slabinfo`: the heap's size classes, the largest first.
pub fn slabinfo(text: &mut Vec<u8>) {
    text.extend_from_slice(SLABINFO_HEAD);
    for class in heap::class_usage().iter().rev().filter(|class| class.object_size > 0) {
        write_class(text, class);
    }
}

/// The head of version 2.1.
const SLABINFO_HEAD: &[u8] = b"slabinfo - version: 2.1\n\
    # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
    : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n";

/// A class's line, under the name of Linux's cache of that size. Every slab counts as active, as in SLUB.
fn write_class(text: &mut Vec<u8>, class: &ClassUsage) {
    let name = match class.object_size {
        size if size >= 1024 && size.is_multiple_of(1024) => alloc::format!("kmalloc-{}k", size / 1024),
        size => alloc::format!("kmalloc-{size}"),
    };
    let ClassUsage { object_size, objects_per_slab, slabs, objects } = class;
    let capacity = *slabs as usize * objects_per_slab;
    append!(text, "{name:<17} {objects:>6} {capacity:>6} {object_size:>6} {objects_per_slab:>4} {:>4}", 1);
    append!(text, " : tunables    0    0    0 : slabdata {slabs:>6} {slabs:>6}      0\n");
}

/// `/proc/stat`.
pub fn stat(text: &mut Vec<u8>) {
    let mut lines = Vec::new();
    let mut total = [0u64; 4];
    for cpu in inter_processor::online() {
        let times = dispatch::cpu_times(cpu);
        let fields = [times.user, times.nice, times.system, times.idle].map(|time| time.to_ticks().0);
        total.iter_mut().zip(fields).for_each(|(sum, field)| *sum += field);
        append!(lines, "cpu{} {} {} {} {} 0 0 0 0 0 0\n", cpu.0, fields[0], fields[1], fields[2], fields[3]);
    }
    append!(text, "cpu  {} {} {} {} 0 0 0 0 0 0\n", total[0], total[1], total[2], total[3]);
    text.extend_from_slice(&lines);
    let booted = time::realtime().saturating_sub(time::boottime()).split().0;
    let forks = table::lock().forks();
    let (running, blocked) = count_running();
    let counts =
        inter_processor::possible().iter().filter_map(inter_processor::local_of).map(CpuLocal::interrupt_count);
    let interrupts: u64 = counts.sum();
    append!(text, "intr {interrupts}");
    (0..<Current as InterruptReport>::LINES).for_each(|line| append!(text, " {}", interrupt_report::line_count(line)));
    append!(text, "\nctxt {}\nbtime {booted}\n", dispatch::switch_count());
    append!(text, "processes {forks}\nprocs_running {running}\nprocs_blocked {blocked}\n");
    // Nothing is put off to a softirq: the sum and Linux's ten kinds.
    text.extend_from_slice(b"softirq 0 0 0 0 0 0 0 0 0 0 0\n");
}

/// `/proc/schedstat`, version 15: what threads had of each CPU. Before that, Linux has six counts that are zeros unless `kernel.sched_schedstats`
/// is on, which it is not by default; Ashlar has no such counts, and no scheduling domains.
pub fn schedstat(text: &mut Vec<u8>) {
    append!(text, "version 15\ntimestamp {}\n", time::boottime().to_ticks().0);
    for cpu in inter_processor::online() {
        let turns = dispatch::cpu_turns(cpu);
        append!(text, "cpu{} 0 0 0 0 0 0 {} {} {}\n", cpu.0, turns.run.0, turns.waited.0, turns.turns);
    }
}

/// Threads that run or want to, and threads that wait for storage.
fn count_running() -> (u64, u64) {
    let processes: Vec<_> = table::lock().processes().cloned().collect();
    let threads = processes.iter().flat_map(|process| process.collect_threads());
    let running = threads.filter(|thread| matches!(thread.state(), ThreadState::Ready | ThreadState::Running)).count();
    (running as u64, 0)
}

/// `/proc/loadavg`.
pub fn loadavg(text: &mut Vec<u8>) {
    for average in crate::process::load::averages() {
        append!(text, "{}.{:02} ", average.whole, average.hundredths);
    }
    let (threads, last) = {
        let table = table::lock();
        (table.thread_count(), table.last_number())
    };
    append!(text, "{}/{threads} {last}\n", count_running().0);
}

/// `/proc/version`.
pub fn version(text: &mut Vec<u8>) {
    let release = crate::process::uts::RELEASE;
    append!(text, "Linux version {release} (ashlar) (rustc) {}\n", crate::process::uts::VERSION);
}

/// `/proc/vmstat`: the counters that Linux's tools ask for and Ashlar keeps.
pub fn vmstat(text: &mut Vec<u8>) {
    let frames = frame_allocator::statistics();
    let faults: u64 = {
        let processes: Vec<_> = table::lock().processes().cloned().collect();
        processes.iter().map(|process| process.usage().minor_faults).sum()
    };
    append!(text, "nr_free_pages {}\nnr_shmem {}\n", frames.free, crate::memory::object::shared_page_count());
    append!(text, "pgfault {faults}\npgmajfault 0\npswpin 0\npswpout 0\npgpgin 0\npgpgout 0\noom_kill 0\n");
}

/// `/proc/cpuinfo`.
pub fn cpuinfo(text: &mut Vec<u8>) {
    for cpu in inter_processor::online() {
        Current::describe_cpu(cpu, text);
        text.push(b'\n');
    }
}

/// `/proc/cmdline`.
pub fn command_line(text: &mut Vec<u8>) {
    append!(text, "{}\n", crate::arch::boot_information::boot_information().command_line);
}

/// `/proc/interrupts`: a column for each CPU online, a line for each source.
pub fn interrupts(text: &mut Vec<u8>) {
    let online = inter_processor::online();
    append!(text, "{:11}", "");
    online.iter().for_each(|cpu| append!(text, "CPU{:<8}", cpu.0));
    text.push(b'\n');
    Current::interrupt_rows(&mut |row| {
        // A label of three letters leaves a blank; longer ones reach into the first column.
        append!(text, "{:>3}:{}", row.label, if row.label.len() <= 3 { " " } else { "" });
        online.iter().for_each(|cpu| append!(text, "{:10} ", row.counter.of(cpu)));
        append!(text, "{}\n", row.detail);
    });
}

/// `/proc/filesystems`.
pub fn filesystems(text: &mut Vec<u8>) {
    for file_system_type in crate::fs::file_system::types() {
        append!(text, "{}\t{}\n", if file_system_type.needs_device() { "" } else { "nodev" }, file_system_type.name());
    }
}

/// `/proc/PID/mounts`: the mounts that are seen from `root`.
pub fn mounts(text: &mut Vec<u8>, mounts: &[Arc<Mount>], root: &Location) {
    for mount in mounts {
        let Some(place) = visible_place(mount, root) else { continue };
        let file_system = mount.superblock().file_system();
        escape(text, mount.source().as_bytes());
        text.push(b' ');
        escape(text, &place);
        append!(text, " {} {}{}", file_system.type_name(), access(mount.is_read_only()), flags(mount.flags()));
        append!(text, "{} 0 0\n", file_system.options());
    }
}

/// `/proc/PID/mountinfo`.
pub fn mountinfo(text: &mut Vec<u8>, mounts: &[Arc<Mount>], root: &Location) {
    for mount in mounts {
        let Some(place) = visible_place(mount, root) else { continue };
        let file_system = mount.superblock().file_system();
        let device = file_system.device();
        let parent = mount.place().map_or(mount.id(), |place| place.mount.id());
        append!(text, "{} {parent} {}:{} ", mount.id(), device.major, device.minor);
        escape(text, &path_in_file_system(mount));
        text.push(b' ');
        escape(text, &place);
        append!(text, " {}{} - {} ", access(mount.is_read_only()), flags(mount.flags()), file_system.type_name());
        escape(text, mount.source().as_bytes());
        append!(text, " {}{}\n", access(mount.superblock().is_read_only()), file_system.options());
    }
}

/// Where a mount is, seen from `root`; none when it cannot be reached from there.
fn visible_place(mount: &Arc<Mount>, root: &Location) -> Option<Vec<u8>> {
    let (path, reach) = mount.root_location().path_from(root);
    matches!(reach, crate::fs::mount::Reach::Inside).then_some(path)
}

/// The directory of its file system that a mount shows: more than `/` for a bind mount.
fn path_in_file_system(mount: &Mount) -> Vec<u8> {
    let mut names = Vec::new();
    let mut dentry = mount.root().clone();
    while let Some(parent) = dentry.parent() {
        names.push(dentry.name());
        dentry = parent;
    }
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
    }
    if path.is_empty() { Vec::from(*b"/") } else { path }
}

fn access(read_only: bool) -> &'static str {
    if read_only { "ro" } else { "rw" }
}

fn flags(flags: MountFlags) -> alloc::string::String {
    let names = [
        (MountFlags::NO_SET_UID, ",nosuid"),
        (MountFlags::NO_DEVICES, ",nodev"),
        (MountFlags::NO_EXECUTE, ",noexec"),
        (MountFlags::NO_ACCESS_TIME, ",noatime"),
        (MountFlags::NO_DIRECTORY_ACCESS_TIME, ",nodiratime"),
    ];
    let mut text: alloc::string::String =
        names.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect();
    if flags.contains(MountFlags::RELATIVE_ACCESS_TIME) {
        text.push_str(",relatime");
    }
    text
}

/// Appends a path with white space and backslashes in octal, as `getmntent` reads it.
fn escape(text: &mut Vec<u8>, path: &[u8]) {
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => append!(text, "\\{byte:03o}"),
            other => text.push(*other),
        }
    }
}

/// `/proc/devices`.
pub fn devices(text: &mut Vec<u8>) {
    let mut drivers = [
        (1, "mem"),
        (4, "tty"),
        (Current::DEVICE_NUMBER.0, Current::DRIVER),
        (5, "/dev/tty"),
        (5, "/dev/console"),
        (5, "/dev/ptmx"),
        (latency_limit::NUMBER.0, "misc"),
        (136, "pts"),
    ];
    drivers.sort_by_key(|(major, _)| *major);
    text.extend_from_slice(b"Character devices:\n");
    for (major, driver) in drivers {
        append!(text, "{major:3} {driver}\n");
    }
    text.extend_from_slice(b"\nBlock devices:\n");
}
/// `/proc/misc`: devices of major number 10.
pub fn misc(text: &mut Vec<u8>) {
    append!(text, "{:3} {}\n", latency_limit::NUMBER.1, latency_limit::NAME);
}
/// `/proc/swaps` without swap.
pub const SWAPS: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
/// `/proc/partitions` without block devices.
pub const PARTITIONS: &str = "major minor  #blocks  name\n\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_the_heap_is_told_as_linux_tells_a_cache() {
        let mut text = Vec::new();
        for (object_size, objects_per_slab, slabs, objects) in [(2048, 2, 21, 40), (192, 21, 477, 10_017)] {
            write_class(&mut text, &ClassUsage { object_size, objects_per_slab, slabs, objects });
        }
        let expected = "\
kmalloc-2k            40     42   2048    2    1 : tunables    0    0    0 : slabdata     21     21      0
kmalloc-192        10017  10017    192   21    1 : tunables    0    0    0 : slabdata    477    477      0
";
        assert_eq!(core::str::from_utf8(&text), Ok(expected));
    }

    #[test]
    fn white_space_in_paths_is_written_in_octal() {
        let mut text = Vec::new();
        escape(&mut text, b"/a b\\c\n");
        assert_eq!(text, b"/a\\040b\\134c\\012");
    }
}
