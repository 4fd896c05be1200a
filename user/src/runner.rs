//! Runs cases, each in a process of its own, and prints their transcripts in order.

use std::io::{Read, Write};
use std::os::fd::FromRawFd;

/// A named case. It prints its transcript to standard output.
pub type Case = (&'static str, fn());

/// Seconds after which a case is killed; generous, because an emulated machine is slow.
const TIME_LIMIT: u32 = 60;

/// Runs the cases whose names start with one of `prefixes` (all when there is none) and prints for each its name, its transcript and how it ended.
pub fn run(cases: &[Case], prefixes: &[String]) {
    // What the caller left open is no part of a transcript.
    (3..256).for_each(|descriptor| unsafe {
        libc::close(descriptor);
    });
    for (name, case) in cases {
        if prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) {
            println!("== {name}");
            print!("{}", run_one(*case));
            let _ = std::io::stdout().flush();
        }
    }
}

fn run_one(case: fn()) -> String {
    let mut ends = [0; 2];
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return "no pipe\n".into();
    }
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe {
            libc::setpgid(0, 0);
            libc::dup2(ends[1], 1);
            libc::close(ends[0]);
            libc::close(ends[1]);
            libc::alarm(TIME_LIMIT);
        }
        case();
        let _ = std::io::stdout().flush();
        unsafe { libc::_exit(0) }
    }
    unsafe { libc::close(ends[1]) };
    let mut transcript = Vec::new();
    let mut reader = unsafe { std::fs::File::from_raw_fd(ends[0]) };
    let _ = reader.read_to_end(&mut transcript);
    let mut status = 0;
    unsafe { libc::waitpid(child, &mut status, 0) };
    let mut transcript = String::from_utf8_lossy(&transcript).into_owned();
    if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 0 {
        transcript += &format!("ended by {}\n", describe(status));
    }
    transcript
}

/// A wait status in words.
pub fn describe(status: i32) -> String {
    if libc::WIFEXITED(status) {
        format!("exit {}", libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        format!("signal {}{}", libc::WTERMSIG(status), if libc::WCOREDUMP(status) { " (core)" } else { "" })
    } else if libc::WIFSTOPPED(status) {
        format!("stopped by {}", libc::WSTOPSIG(status))
    } else {
        "continued".into()
    }
}

/// Forks, runs `child` there (its result is the exit status), and gives the child's wait status in words.
pub fn in_child(child: impl FnOnce() -> i32) -> String {
    let _ = std::io::stdout().flush();
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let status = child();
        let _ = std::io::stdout().flush();
        unsafe { libc::_exit(status) }
    }
    let mut status = 0;
    loop {
        let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
        if waited == pid {
            return describe(status);
        }
        if waited == -1 && std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return "no child".into();
        }
    }
}
