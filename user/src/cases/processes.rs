//! Processes: fork, exec, wait, groups, credentials, limits.

use crate::runner::{Case, describe, in_child};
use crate::{c, call, raw, worked};
use libc::{WEXITED, WNOHANG, WNOWAIT};
use std::io::Write;

pub(super) const CASES: &[Case] = &[
    ("processes/exit-status", exit_status),
    ("processes/wait-errors", wait_errors),
    ("processes/waitid", waitid),
    ("processes/wait-by-group", wait_by_group),
    ("processes/orphans-go-to-the-subreaper", subreaper),
    ("processes/vfork-shares-memory", vfork),
    ("processes/exec-arguments", exec_arguments),
    ("processes/exec-errors", exec_errors),
    ("processes/exec-script", exec_script),
    ("processes/exec-closes-descriptors", exec_closes),
    ("processes/hostile-elf", hostile_elf),
    ("processes/groups-and-sessions", groups),
    ("processes/credentials", credentials),
    ("processes/capabilities", capabilities),
    ("processes/no-new-privileges", no_new_privileges),
    ("processes/limits", limits),
    ("processes/priorities", priorities),
    ("processes/names", names),
    ("processes/prctl-errors", prctl_errors),
    ("processes/many-children", many_children),
    ("processes/pidfd", pidfd),
    ("processes/clone-errors", clone_errors),
    ("processes/usage", usage),
    ("processes/auxiliary-vector", auxiliary_vector),
    ("processes/umask-and-directory-are-inherited", inherited),
    ("processes/death-signal", death_signal),
    ("processes/uname", uname),
    ("processes/affinity", affinity),
];

fn flush() {
    let _ = std::io::stdout().flush();
}

fn exit_status() {
    for status in [0, 1, 127, 255, 256, -1] {
        println!("{}", in_child(|| status));
    }
}

fn wait_errors() {
    let mut status = 0;
    println!("{:?}", call!(waitpid(-1, &mut status, 0)));
    println!("{:?}", call!(waitpid(1, &mut status, WNOHANG)));
    println!("{:?}", call!(waitpid(-1, &mut status, 0x1234_0000)));
    println!("{:?}", raw!(libc::SYS_wait4, i32::MIN, 0, 0, 0));
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            unsafe { libc::pause() };
        }
    }
    println!("{:?}", call!(waitpid(child, &mut status, WNOHANG)));
    let _ = call!(kill(child, libc::SIGTERM));
    println!("bad pointer {:?}", raw!(libc::SYS_wait4, child, 8, 0, 0));
    println!("{:?}", call!(waitpid(child, &mut status, 0)));
}

fn waitid() {
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe { libc::_exit(5) };
    }
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    println!("{:?}", call!(waitid(libc::P_PID, child as u32, &mut information, WEXITED | WNOWAIT)));
    println!(
        "code {} status {} pid {}",
        information.si_code,
        unsafe { information.si_status() },
        unsafe { information.si_pid() } == child
    );
    println!("{:?}", call!(waitid(libc::P_ALL, 0, &mut information, WEXITED)));
    println!("{:?}", call!(waitid(libc::P_PID, child as u32, &mut information, WEXITED)));
    println!("no options {:?}", call!(waitid(libc::P_ALL, 0, &mut information, 0)));
    println!("bad kind {:?}", call!(waitid(9, 0, &mut information, WEXITED)));
}

fn wait_by_group() {
    let first = unsafe { libc::fork() };
    if first == 0 {
        unsafe {
            libc::setpgid(0, 0);
            libc::_exit(1)
        };
    }
    let second = unsafe { libc::fork() };
    if second == 0 {
        unsafe { libc::_exit(2) };
    }
    let mut status = 0;
    println!("{} {}", unsafe { libc::waitpid(0, &mut status, 0) } == second || status != 0, status != 0);
    while unsafe { libc::waitpid(-1, &mut status, 0) } > 0 {}
    println!("{:?}", call!(waitpid(0, &mut status, 0)));
}

fn subreaper() {
    println!("{:?}", call!(prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)));
    let reaper = unsafe { libc::getpid() };
    println!(
        "{}",
        in_child(|| {
            if unsafe { libc::fork() } == 0 {
                while unsafe { libc::getppid() } != reaper {
                    unsafe { libc::usleep(1000) };
                }
                unsafe { libc::_exit(33) };
            }
            0
        })
    );
    let mut status = 0;
    println!("{} {}", unsafe { libc::waitpid(-1, &mut status, 0) } > 0, describe(status));
}

fn vfork() {
    // posix_spawn uses CLONE_VM|CLONE_VFORK.
    let mut pid = 0;
    let arguments = [
        c"/proc/self/exe".as_ptr().cast_mut(),
        c"--process-state".as_ptr().cast_mut(),
        c"spawned".as_ptr().cast_mut(),
        std::ptr::null_mut(),
    ];
    let environment = [std::ptr::null_mut()];
    flush();
    let result = unsafe {
        libc::posix_spawn(
            &mut pid,
            c"/proc/self/exe".as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    let mut status = 0;
    println!("{result} {} {}", unsafe { libc::waitpid(pid, &mut status, 0) } == pid, describe(status));
    let missing = unsafe {
        libc::posix_spawn(
            &mut pid,
            c"/nowhere".as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    println!("{}", crate::errno_name(missing));
}

/// What the exec'd program prints.
pub fn print_state(words: &[String]) {
    println!("arguments {words:?}");
    let mut environment: Vec<_> = std::env::vars().filter(|(name, _)| name.starts_with("CASE_")).collect();
    environment.sort();
    println!("environment {environment:?}");
    let open: Vec<i32> =
        (3..20).filter(|descriptor| unsafe { libc::fcntl(*descriptor, libc::F_GETFD) } != -1).collect();
    println!("open {open:?}");
}

fn exec(arguments: &[&str], environment: &[&str]) -> String {
    flush();
    in_child(|| {
        let arguments: Vec<_> = arguments.iter().map(|text| c(text)).collect();
        let environment: Vec<_> = environment.iter().map(|text| c(text)).collect();
        let vector = |strings: &[std::ffi::CString]| {
            strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        println!(
            "{:?}",
            call!(execve(c"/proc/self/exe".as_ptr(), vector(&arguments).as_ptr(), vector(&environment).as_ptr()))
        );
        99
    })
}

fn exec_arguments() {
    println!("{}", exec(&["x", "--process-state", "", "a b", "ü"], &["CASE_A=1", "CASE_B=", "CASE_A=2"]));
    let long = "y".repeat(100_000);
    println!("{}", exec(&["x", "--process-state"], &[&format!("CASE={long}")]));
    let too_long = "y".repeat(140_000);
    println!("{}", exec(&["x", "--process-state", &too_long], &[]));
    let many: Vec<&str> = std::iter::repeat_n("0123456789012345678901234567890123456789", 60_000).collect();
    println!("{}", exec(&many, &[]));
}

fn exec_errors() {
    let try_exec = |path: &str| {
        let path = c(path);
        let arguments = [path.as_ptr(), std::ptr::null()];
        call!(execve(path.as_ptr(), arguments.as_ptr(), std::ptr::null()))
    };
    std::fs::write("/tmp/conformance-text", "hello").ok();
    println!(
        "missing {:?} directory {:?} not executable {:?}",
        try_exec("/nowhere"),
        try_exec("/tmp"),
        try_exec("/tmp/conformance-text")
    );
    let _ = call!(chmod(c"/tmp/conformance-text".as_ptr(), 0o755));
    println!(
        "text {:?} below a file {:?} empty {:?}",
        try_exec("/tmp/conformance-text"),
        try_exec("/tmp/conformance-text/x"),
        try_exec("")
    );
    std::fs::write("/tmp/conformance-text", "").ok();
    println!("empty file {:?}", try_exec("/tmp/conformance-text"));
    let loops = c("/tmp/conformance-loop");
    let _ = call!(symlink(loops.as_ptr(), loops.as_ptr()));
    println!("loop {:?} long {:?}", try_exec("/tmp/conformance-loop"), try_exec(&"a".repeat(300)));
    println!(
        "bad pointers {:?} {:?}",
        raw!(libc::SYS_execve, 8, 0, 0),
        raw!(libc::SYS_execve, c"/proc/self/exe".as_ptr(), 8, 0)
    );
    let _ = call!(unlink(loops.as_ptr()));
    let _ = call!(unlink(c"/tmp/conformance-text".as_ptr()));
}

fn script(name: &str, text: &[u8], mode: u32) {
    let path = format!("/tmp/conformance-{name}");
    let _ = std::fs::write(&path, text);
    let _ = call!(chmod(c(&path).as_ptr(), mode));
}

fn exec_script() {
    let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let own = own.to_string_lossy();
    script("one", format!("#!{own} --process-state\nrest").as_bytes(), 0o755);
    script("two", format!("#! {own}   --process-state x  \n").as_bytes(), 0o755);
    script("nested", b"#!/tmp/conformance-one\n", 0o755);
    script("loop", b"#!/tmp/conformance-loop\n", 0o755);
    script("missing", b"#!/nowhere\n", 0o755);
    script("blank", b"#!   \n", 0o755);
    for name in ["one", "two", "nested", "loop", "missing", "blank"] {
        let path = c(&format!("/tmp/conformance-{name}"));
        println!(
            "{name}: {}",
            in_child(|| {
                let arguments = [c"zero".as_ptr(), c"first".as_ptr(), std::ptr::null()];
                println!("{:?}", call!(execve(path.as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr())));
                1
            })
        );
        let _ = call!(unlink(path.as_ptr()));
    }
}

fn exec_closes() {
    println!(
        "{}",
        in_child(|| {
            (3..20).for_each(|descriptor| unsafe {
                libc::close(descriptor);
            });
            let _ = call!(open(c"/".as_ptr(), libc::O_RDONLY));
            let _ = call!(open(c"/".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC));
            let _ = call!(dup2(3, 10));
            let _ = call!(dup3(3, 11, libc::O_CLOEXEC));
            let arguments = [c"x".as_ptr(), c"--process-state".as_ptr(), std::ptr::null()];
            let _ = call!(execve(c"/proc/self/exe".as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr()));
            1
        })
    );
}

fn hostile_elf() {
    let own = std::fs::read("/proc/self/exe").unwrap_or_default();
    let mut header = own.get(..4096).unwrap_or_default().to_vec();
    let machine_offset = 18;
    let mut variants: Vec<(&str, Vec<u8>)> =
        vec![("truncated header", header[..40].to_vec()), ("only a header", header[..64].to_vec())];
    let mut change = |name: &'static str, at: usize, bytes: &[u8]| {
        let mut copy = header.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        variants.push((name, copy));
    };
    change("wrong machine", machine_offset, &[0xf3, 0]);
    change("wrong type", 16, &[9, 0]);
    change("headers far away", 32, &u64::MAX.to_le_bytes());
    change("no headers", 56, &[0, 0]);
    change("many headers", 56, &[0xff, 0xff]);
    change("odd header size", 54, &[3, 0]);
    header.truncate(4096);
    for (name, bytes) in variants {
        script("elf", &bytes, 0o755);
        let path = c("/tmp/conformance-elf");
        println!(
            "{name}: {}",
            in_child(|| {
                let arguments = [path.as_ptr(), std::ptr::null()];
                println!("{:?}", call!(execve(path.as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr())));
                1
            })
        );
        let _ = call!(unlink(path.as_ptr()));
    }
}

fn groups() {
    println!(
        "{}",
        in_child(|| {
            let own = unsafe { libc::getpid() };
            println!("{:?}", call!(setpgid(0, 0)));
            println!("leader {}", unsafe { libc::getpgrp() } == own);
            println!("setsid as leader {:?}", call!(setsid()));
            println!("{:?} {:?}", call!(setpgid(0, -1)), call!(setpgid(0x3fff_ffff, 0)));
            println!(
                "{}",
                in_child(|| {
                    println!("in parent's group {}", unsafe { libc::getpgrp() } == own);
                    println!("{:?}", worked(call!(setsid())));
                    println!("{}", unsafe { libc::getsid(0) == libc::getpid() && libc::getpgrp() == libc::getpid() });
                    println!("{:?} {:?}", call!(setpgid(0, 0)), call!(setpgid(0, own)));
                    0
                })
            );
            println!("{:?} {:?}", call!(getsid(0x3fff_ffff)), call!(getpgid(0x3fff_ffff)));
            0
        })
    );
}

fn credentials() {
    let ids = || {
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        unsafe { libc::getresuid(&mut real, &mut effective, &mut saved) };
        let (mut greal, mut geffective, mut gsaved) = (0, 0, 0);
        unsafe { libc::getresgid(&mut greal, &mut geffective, &mut gsaved) };
        println!("{real} {effective} {saved} / {greal} {geffective} {gsaved}");
    };
    println!(
        "{}",
        in_child(|| {
            ids();
            println!("{:?}", call!(setgroups(2, [5u32, 7].as_ptr())));
            let mut groups = [0u32; 8];
            println!("{:?} {:?}", call!(getgroups(8, groups.as_mut_ptr())), &groups[..2]);
            println!("{:?}", call!(getgroups(1, groups.as_mut_ptr())));
            println!("{:?}", call!(setresgid(100, 101, 102)));
            println!("{:?}", call!(setresuid(1000, 1001, 1002)));
            ids();
            println!("{:?} {:?} {:?}", call!(setuid(0)), call!(seteuid(1002)), call!(setresuid(0, 0, 0)));
            ids();
            println!("{:?} {:?}", call!(setgid(102)), call!(setgid(0)));
            ids();
            println!("{:?} {:?}", call!(setgroups(0, std::ptr::null())), call!(kill(1, 0)));
            println!("{:?}", call!(chown(c"/tmp".as_ptr(), 1000, 1000)));
            println!("{:?}", call!(sethostname(c"x".as_ptr(), 1)));
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            println!("{:?}", call!(setuid(1000)));
            ids();
            println!("{:?}", call!(setreuid(0, 0)));
            0
        })
    );
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}
#[repr(C)]
#[derive(Default, Debug)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn capability_sets() -> [CapabilityData; 2] {
    let mut header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
    let mut data = [CapabilityData::default(), CapabilityData::default()];
    let _ = raw!(libc::SYS_capget, &raw mut header, data.as_mut_ptr());
    data
}

fn capabilities() {
    println!(
        "{}",
        in_child(|| {
            let low = |data: &[CapabilityData; 2]| {
                format!("{:x} {:x} {:x}", data[0].effective, data[0].permitted, data[0].inheritable)
            };
            let mut header = CapabilityHeader { version: 7, pid: 0 };
            println!("{:?} {:x}", raw!(libc::SYS_capget, &raw mut header, 0), header.version);
            let mut header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
            let some = [CapabilityData { effective: 1, permitted: 3, inheritable: 2 }, CapabilityData::default()];
            println!("{:?} {}", raw!(libc::SYS_capset, &raw mut header, some.as_ptr()), low(&capability_sets()));
            let more = [CapabilityData { effective: 4, permitted: 7, inheritable: 0 }, CapabilityData::default()];
            println!("{:?} {}", raw!(libc::SYS_capset, &raw mut header, more.as_ptr()), low(&capability_sets()));
            println!(
                "{:?} {:?}",
                call!(sethostname(c"x".as_ptr(), 1)),
                call!(prctl(libc::PR_CAPBSET_READ, 21, 0, 0, 0))
            );
            println!("{:?}", call!(prctl(libc::PR_CAPBSET_DROP, 21, 0, 0, 0)));
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            println!("keep {:?} {:?}", call!(prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0)), call!(setuid(1000)));
            let sets = capability_sets();
            println!("{:x} {}", sets[0].effective, sets[0].permitted != 0);
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            println!(
                "{:?} {:?}",
                call!(prctl(libc::PR_CAPBSET_DROP, 10, 0, 0, 0)),
                call!(prctl(libc::PR_CAPBSET_READ, 10, 0, 0, 0))
            );
            println!("{:?}", call!(prctl(libc::PR_CAPBSET_READ, 99, 0, 0, 0)));
            0
        })
    );
}

fn no_new_privileges() {
    println!(
        "{}",
        in_child(|| {
            println!("{:?}", call!(prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)));
            println!(
                "{:?} {:?}",
                call!(prctl(libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)),
                call!(prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
            );
            println!("{}", in_child(|| call!(prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)).unwrap_or(-1) as i32));
            0
        })
    );
}

fn limits() {
    println!(
        "{}",
        in_child(|| {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            println!(
                "{:?} {:?}",
                call!(getrlimit(libc::RLIMIT_CORE, &mut limit)),
                raw!(libc::SYS_getrlimit, 99, &raw mut limit)
            );
            let small = libc::rlimit { rlim_cur: 10, rlim_max: 12 };
            println!("{:?}", call!(setrlimit(libc::RLIMIT_NOFILE, &small)));
            let mut opened = 0;
            while unsafe { libc::dup(0) } != -1 {
                opened += 1;
            }
            println!("{} {:?}", opened > 0 && opened < 10, call!(dup(0)));
            println!("{:?} {:?}", call!(dup2(0, 11)), call!(fcntl(0, libc::F_DUPFD, 10)));
            let inverted = libc::rlimit { rlim_cur: 5, rlim_max: 4 };
            println!("{:?}", call!(setrlimit(libc::RLIMIT_NOFILE, &inverted)));
            println!("{:?}", call!(setuid(1000)));
            let raised = libc::rlimit { rlim_cur: 10, rlim_max: 100 };
            println!("{:?}", call!(setrlimit(libc::RLIMIT_NOFILE, &raised)));
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
            println!("{:?}", call!(setrlimit(libc::RLIMIT_FSIZE, &limit)));
            unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
            let file =
                call!(open(c"/tmp/conformance-size".as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o600))
                    .unwrap_or(-1) as i32;
            let _ = call!(unlink(c"/tmp/conformance-size".as_ptr()));
            let block = [1u8; 3000];
            println!(
                "{:?} {:?} {:?}",
                call!(write(file, block.as_ptr().cast(), 3000)),
                call!(write(file, block.as_ptr().cast(), 3000)),
                call!(write(file, block.as_ptr().cast(), 3000))
            );
            println!("{:?}", call!(ftruncate(file, 5000)));
            unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
            let _ = call!(write(file, block.as_ptr().cast(), 3000));
            0
        })
    );
}

fn priorities() {
    println!(
        "{}",
        in_child(|| {
            println!("{:?} {:?}", call!(nice(5)), call!(getpriority(libc::PRIO_PROCESS, 0)));
            println!(
                "{:?} {:?}",
                call!(setpriority(libc::PRIO_PROCESS, 0, 100)),
                raw!(libc::SYS_getpriority, libc::PRIO_PROCESS, 0)
            );
            println!(
                "{:?} {:?}",
                raw!(libc::SYS_getpriority, 9, 0),
                raw!(libc::SYS_getpriority, libc::PRIO_PROCESS, 0x3fff_ffff)
            );
            println!("{:?}", call!(setuid(1000)));
            println!("{:?}", call!(setpriority(libc::PRIO_PROCESS, 0, 0)));
            println!("{:?} {:?}", call!(sched_getscheduler(0)), call!(sched_get_priority_max(libc::SCHED_FIFO)));
            let parameter = libc::sched_param { sched_priority: 10 };
            println!("{:?}", call!(sched_setscheduler(0, libc::SCHED_FIFO, &parameter)));
            println!("{:?} {:?}", call!(sched_get_priority_min(99)), call!(sched_getscheduler(-1)));
            println!("{:?}", call!(sched_yield()));
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            let parameter = libc::sched_param { sched_priority: 10 };
            println!(
                "{:?} {:?}",
                call!(sched_setscheduler(0, libc::SCHED_RR, &parameter)),
                call!(sched_getscheduler(0))
            );
            let bad = libc::sched_param { sched_priority: 100 };
            println!("{:?}", call!(sched_setscheduler(0, libc::SCHED_FIFO, &bad)));
            println!("{:?}", call!(sched_setscheduler(0, libc::SCHED_OTHER, &parameter)));
            0
        })
    );
}

fn names() {
    let mut name = [0u8; 17];
    println!("{:?}", call!(prctl(libc::PR_SET_NAME, c"a-rather-long-thread-name".as_ptr(), 0, 0, 0)));
    println!(
        "{:?} {}",
        call!(prctl(libc::PR_GET_NAME, name.as_mut_ptr(), 0, 0, 0)),
        String::from_utf8_lossy(&name).trim_end_matches('\0')
    );
    println!("{:?}", std::fs::read_to_string("/proc/self/comm"));
}

fn prctl_errors() {
    println!("{:?} {:?}", call!(prctl(9999, 0, 0, 0, 0)), call!(prctl(libc::PR_SET_NAME, 8, 0, 0, 0)));
    println!(
        "{:?} {:?}",
        call!(prctl(libc::PR_SET_PDEATHSIG, 65, 0, 0, 0)),
        call!(prctl(libc::PR_SET_DUMPABLE, 2, 0, 0, 0))
    );
    println!(
        "{:?} {:?}",
        call!(prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0)),
        call!(prctl(libc::PR_SET_KEEPCAPS, 5, 0, 0, 0))
    );
}

fn many_children() {
    let mut total = 0;
    for round in 0..10 {
        let children: Vec<i32> = (0..20)
            .map(|index| {
                let child = unsafe { libc::fork() };
                if child == 0 {
                    unsafe { libc::_exit(index + round) };
                }
                child
            })
            .collect();
        for child in children {
            let mut status = 0;
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            total += libc::WEXITSTATUS(status);
        }
    }
    println!("{total}");
}

fn pidfd() {
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            unsafe { libc::pause() };
        }
    }
    let descriptor = raw!(libc::SYS_pidfd_open, child, 0).unwrap_or(-1) as i32;
    let mut polled = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    println!("{:?}", call!(poll(&mut polled, 1, 0)));
    println!("{:?}", raw!(libc::SYS_pidfd_send_signal, descriptor, libc::SIGTERM, 0, 0));
    println!("{:?} {}", call!(poll(&mut polled, 1, 5000)), polled.revents);
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    println!("{:?} {}", call!(waitid(libc::P_PIDFD, descriptor as u32, &mut information, WEXITED)), unsafe {
        information.si_status()
    });
    println!(
        "{:?} {:?}",
        raw!(libc::SYS_pidfd_send_signal, descriptor, 0, 0, 0),
        raw!(libc::SYS_pidfd_open, 0x3fff_ffff, 0)
    );
    println!("{:?} {:?}", raw!(libc::SYS_pidfd_open, 1, 5), raw!(libc::SYS_pidfd_open, -1, 0));
}

fn clone_errors() {
    println!("thread without signal handlers {:?}", raw!(libc::SYS_clone, libc::CLONE_THREAD, 0, 0, 0, 0));
    println!("signal handlers without memory {:?}", raw!(libc::SYS_clone, libc::CLONE_SIGHAND, 0, 0, 0, 0));
    println!("fs and new namespace {:?}", raw!(libc::SYS_clone, libc::CLONE_FS | libc::CLONE_NEWNS, 0, 0, 0, 0));
    println!("clone3 sizes {:?} {:?}", raw!(libc::SYS_clone3, 0, 8), raw!(libc::SYS_clone3, 8, 88));
    println!("clone3 too large {:?}", raw!(libc::SYS_clone3, 8, 100_000));
}

fn usage() {
    println!(
        "{}",
        in_child(|| {
            let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
            loop {
                let _ = call!(getrusage(libc::RUSAGE_SELF, &mut usage));
                if usage.ru_utime.tv_sec > 0 || usage.ru_utime.tv_usec + usage.ru_stime.tv_usec > 50_000 {
                    return 0;
                }
            }
        })
    );
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    println!("{:?}", call!(getrusage(libc::RUSAGE_CHILDREN, &mut usage)));
    let time = |value: libc::timeval| value.tv_sec * 1_000_000 + value.tv_usec;
    println!("children's time counted {}", time(usage.ru_utime) + time(usage.ru_stime) >= 40_000);
    println!("{} {}", usage.ru_maxrss > 0, usage.ru_minflt > 0);
    println!("{:?}", call!(getrusage(7, &mut usage)));
}

fn auxiliary_vector() {
    for (name, kind) in [
        ("PAGESZ", libc::AT_PAGESZ),
        ("CLKTCK", libc::AT_CLKTCK),
        ("PHENT", libc::AT_PHENT),
        ("UID", libc::AT_UID),
        ("EGID", libc::AT_EGID),
        ("SECURE", libc::AT_SECURE),
        ("FLAGS", libc::AT_FLAGS),
    ] {
        println!("{name} {}", unsafe { libc::getauxval(kind) });
    }
    for (name, kind) in [
        ("PHDR", libc::AT_PHDR),
        ("ENTRY", libc::AT_ENTRY),
        ("RANDOM", libc::AT_RANDOM),
        ("EXECFN", libc::AT_EXECFN),
        ("PLATFORM", libc::AT_PLATFORM),
        ("SYSINFO_EHDR", libc::AT_SYSINFO_EHDR),
    ] {
        println!("{name} {}", unsafe { libc::getauxval(kind) } != 0);
    }
    println!(
        "{}",
        unsafe { std::ffi::CStr::from_ptr(libc::getauxval(libc::AT_PLATFORM) as *const _) }.to_string_lossy()
    );
}

fn inherited() {
    let _ = call!(umask(0o27));
    let _ = call!(chdir(c"/tmp".as_ptr()));
    println!(
        "{}",
        in_child(|| {
            let old = unsafe { libc::umask(0) };
            println!("{old:o} {:?}", std::env::current_dir());
            let _ = call!(chdir(c"/".as_ptr()));
            0
        })
    );
    println!("{:o} {:?}", unsafe { libc::umask(0o22) }, std::env::current_dir());
}

fn death_signal() {
    println!("{:?}", call!(prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)));
    println!(
        "{}",
        in_child(|| {
            let mut ends = [0; 2];
            let _ = call!(pipe(ends.as_mut_ptr()));
            if unsafe { libc::fork() } == 0 {
                let _ = call!(prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0));
                let _ = call!(write(ends[1], c"x".as_ptr().cast(), 1));
                loop {
                    unsafe { libc::pause() };
                }
            }
            let mut byte = 0u8;
            let _ = call!(read(ends[0], (&raw mut byte).cast(), 1));
            0
        })
    );
    let mut status = 0;
    println!("{} {}", unsafe { libc::waitpid(-1, &mut status, 0) } > 0, describe(status));
}

fn uname() {
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    println!("{:?} {:?}", call!(uname(&mut name)), unsafe { std::ffi::CStr::from_ptr(name.machine.as_ptr()) });
    println!("{:?}", unsafe { std::ffi::CStr::from_ptr(name.sysname.as_ptr()) });
    println!("{:?}", raw!(libc::SYS_uname, 8));
}

fn affinity() {
    let mut mask = [0u64; 16];
    println!(
        "{}",
        raw!(libc::SYS_sched_getaffinity, 0, 128, mask.as_mut_ptr()).is_ok_and(|length| length > 0 && length % 8 == 0)
    );
    println!("{:?}", raw!(libc::SYS_sched_getaffinity, 0, 3, mask.as_mut_ptr()));
    println!("{:?}", raw!(libc::SYS_sched_getaffinity, 0x3fff_ffff, 128, mask.as_mut_ptr()));
    println!("{:?}", raw!(libc::SYS_sched_setaffinity, 0, 8, &0u64));
    println!("{:?}", raw!(libc::SYS_sched_setaffinity, 0, 8, &1u64));
}
