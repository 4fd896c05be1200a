//! What Debian's own programs met that no other case has: each case is a call sequence of one of them.

use crate::raw;
use crate::runner::Case;
use crate::system::{self, Mapping, Must, READ_WRITE};
use std::process::{Command, Stdio};

pub(super) const CASES: &[Case] = &[
    ("clients/procfs-of-all-processes", procfs_of_all),
    ("clients/cutting-off-private-copies", cutting_off_copies),
    ("clients/affinity-of-nobody", affinity_of_nobody),
    ("clients/reading-the-adjustment", reading_the_adjustment),
];

/// `ps` reads these of every process: those of the kernel's own threads and of zombies too.
fn procfs_of_all() {
    // A zombie.
    let Ok(mut child) = Command::new("/proc/self/exe").arg("no/such/case").stdout(Stdio::null()).spawn() else {
        return;
    };
    // It stays one.
    let mut ended: libc::siginfo_t = system::zeroed();
    let _ = raw!(libc::SYS_waitid, libc::P_PID, child.id(), &mut ended, libc::WEXITED | libc::WNOWAIT, 0);
    let zombie = format!("/proc/{}", child.id());
    let read = |name: &str| std::fs::read_to_string(format!("{zombie}/{name}")).map_err(|error| error.raw_os_error());
    let status = read("status").unwrap_or_default();
    println!("umask {} zombie {}", status.contains("Umask:"), status.contains("State:\tZ (zombie)"));
    println!("{:?} {:?}", read("cmdline"), read("mounts"));
    for name in ["cwd", "root", "exe"] {
        println!("{name} {:?}", std::fs::read_link(format!("{zombie}/{name}")).map_err(|error| error.raw_os_error()));
    }
    let _ = child.wait();
    let mut failures = 0;
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if process.file_name().to_string_lossy().parse::<u32>().is_ok() {
            let is_bad = |name: &&str| std::fs::read(process.path().join(name)).is_err();
            failures += ["stat", "status", "statm", "cmdline"].into_iter().filter(is_bad).count();
        }
    }
    println!("failures {failures}");
}

/// What a private mapping wrote beyond the place where its file is cut off is gone.
fn cutting_off_copies() {
    let file = system::memfd_create(c"cut", 0).unwrap_or(-1);
    println!("{:?}", system::ftruncate(file, 8192));
    let memory = Mapping::new(8192, READ_WRITE, libc::MAP_PRIVATE, file).must();
    memory.fill(7);
    println!("{:?} {:?}", system::ftruncate(file, 4096), system::ftruncate(file, 8192));
    println!("{} {}", memory.read(0), memory.read(4096));
}

/// Python asks with ever larger sets until the answer is not EINVAL.
fn affinity_of_nobody() {
    let mut set = [0_u64; 128];
    println!("{:?}", raw!(libc::SYS_sched_getaffinity, -1, 1024, &mut set));
    println!("{:?}", raw!(libc::SYS_sched_setaffinity, -1, 1024, &[1_u64; 128]));
}

/// `adjtime(3)` without a new adjustment.
fn reading_the_adjustment() {
    let mut adjustment: libc::timex = system::zeroed();
    adjustment.modes = 0xa001;
    println!("{:?} {}", crate::worked(system::adjtimex(&mut adjustment)), adjustment.offset);
}
