//! Runs cases, each in a process of its own, and prints their transcripts in order.

use crate::system::{self, Errno};
use std::io::Write;

/// A named case. It prints its transcript to standard output.
pub type Case = (&'static str, fn());

/// Seconds after which a case is killed; generous, because an emulated machine is slow.
const TIME_LIMIT: u32 = 60;

/// Runs the cases whose names start with one of `prefixes` (all when there is none) and prints for each its name, its transcript and how it ended.
pub fn run(cases: &[Case], prefixes: &[String]) {
    // What the caller left open is no part of a transcript.
    (3..256).for_each(|descriptor| _ = system::close(descriptor));
    for (name, case) in cases {
        if prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) {
            println!("== {name}");
            print!("{}", run_one(*case));
            let _ = std::io::stdout().flush();
        }
    }
}

fn run_one(case: fn()) -> String {
    let Ok([reader, writer]) = system::pipe2(0) else { return "no pipe\n".into() };
    let child = system::try_fork(|| {
        let _ = system::setpgid(0, 0);
        let _ = system::dup2(writer, 1);
        let _ = system::close(reader);
        let _ = system::close(writer);
        system::alarm(TIME_LIMIT);
        case();
        let _ = std::io::stdout().flush();
        0
    });
    let _ = system::close(writer);
    let mut transcript = Vec::new();
    let mut buffer = [0; 65536];
    while let Ok(count @ 1..) = system::read(reader, &mut buffer) {
        transcript.extend(buffer.iter().take(count.unsigned_abs()));
    }
    let _ = system::close(reader);
    let mut status = 0;
    let _ = child.and_then(|child| system::waitpid(child, &mut status, 0));
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
    let Ok(child) = system::try_fork(|| {
        let status = child();
        let _ = std::io::stdout().flush();
        status
    }) else {
        return "no child".into();
    };
    let mut status = 0;
    loop {
        match system::waitpid(child, &mut status, 0) {
            Ok(_) => return describe(status),
            Err(Errno(libc::EINTR)) => {}
            Err(_) => return "no child".into(),
        }
    }
}
