//! What Debian's own programs met that no other case has: each case is a call sequence of one of them.

use crate::runner::Case;
use std::process::{Command, Stdio};

pub(super) const CASES: &[Case] = &[("clients/procfs-of-all-processes", procfs_of_all)];

/// `ps` reads these of every process: those of the kernel's own threads and of zombies too.
fn procfs_of_all() {
    // A zombie.
    let Ok(mut child) = Command::new("/proc/self/exe").arg("no/such/case").stdout(Stdio::null()).spawn() else {
        return;
    };
    std::thread::sleep(std::time::Duration::from_millis(300));
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
