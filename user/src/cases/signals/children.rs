//! Signals between parents and children, stopping, and what `execve` keeps.

use super::{COUNT, note};
use crate::runner::{describe, in_child};
use crate::system::{self, Delivery, Information, block, install};
use std::sync::atomic::Ordering::SeqCst;

pub(super) fn default_actions() {
    for signal in 1..=64 {
        if [32, 33].contains(&signal) || (libc::SIGSTOP..=libc::SIGTTOU).contains(&signal) {
            continue;
        }
        println!(
            "{signal}: {}",
            in_child(|| {
                system::set_default(signal);
                let _ = system::kill(system::getpid(), signal);
                0
            })
        );
    }
}

pub(super) fn stop_and_continue() {
    let child = system::fork_idle();
    let mut status = 0;
    let wait = |flags: i32, status: &mut i32| system::waitpid(child, status, flags) == Ok(child);
    for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        let _ = system::kill(child, signal);
        if signal == libc::SIGSTOP {
            println!("{} {}", wait(libc::WUNTRACED, &mut status), describe(status));
            println!("again {:?}", system::waitpid(child, &mut status, libc::WUNTRACED | libc::WNOHANG));
            let _ = system::kill(child, libc::SIGCONT);
            println!("{} {}", wait(libc::WCONTINUED, &mut status), describe(status));
        }
    }
    let _ = system::kill(child, libc::SIGSTOP);
    let _ = system::kill(child, libc::SIGKILL);
    println!("{} {}", wait(0, &mut status), describe(status));
}

pub(super) fn child_information() {
    fn show(delivery: &mut Delivery<'_>) {
        println!("{} code {} status {}", delivery.signal, delivery.code(), delivery.information.status());
        COUNT.fetch_add(1, SeqCst);
    }
    install(libc::SIGCHLD, show, libc::SA_RESTART);
    println!("{}", in_child(|| 7));
    println!(
        "{}",
        in_child(|| {
            let _ = system::raise(libc::SIGKILL);
            0
        })
    );
    install(libc::SIGCHLD, show, libc::SA_RESTART | libc::SA_NOCLDSTOP);
    let child = system::fork(|| {
        let _ = system::raise(libc::SIGSTOP);
        9
    });
    let mut status = 0;
    let _ = system::waitpid(child, &mut status, libc::WUNTRACED);
    println!("{}", describe(status));
    let _ = system::kill(child, libc::SIGCONT);
    let _ = system::waitpid(child, &mut status, 0);
    println!("{} {}", describe(status), COUNT.load(SeqCst));
}

pub(super) fn ignored_children() {
    system::ignore(libc::SIGCHLD);
    println!("{}", in_child(|| 3));
}

pub(super) fn exec_resets() {
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGUSR1, note, 0);
            system::ignore(libc::SIGUSR2);
            block(&[libc::SIGHUP]);
            let program = c"/proc/self/exe";
            let _ = system::execv(program, [program, c"--signal-state"]);
            1
        })
    );
}

/// What the exec'd program prints: which signals are caught, ignored and blocked.
pub fn print_state() {
    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGHUP] {
        println!("{signal}: action {} blocked {}", system::handler_of(signal), system::blocked().contains(signal));
    }
}
