//! Signals between parents and children, stopping, and what `execve` keeps.

use super::{COUNT, block, install, note, set_of};
use crate::call;
use crate::runner::{describe, in_child};
use std::sync::atomic::Ordering::SeqCst;

pub(super) fn default_actions() {
    for signal in 1..=64 {
        if [32, 33].contains(&signal) || (libc::SIGSTOP..=libc::SIGTTOU).contains(&signal) {
            continue;
        }
        println!(
            "{signal}: {}",
            in_child(|| {
                unsafe { libc::signal(signal, libc::SIG_DFL) };
                let _ = call!(kill(libc::getpid(), signal));
                0
            })
        );
    }
}

pub(super) fn stop_and_continue() {
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            unsafe { libc::pause() };
        }
    }
    let mut status = 0;
    let wait = |flags: i32, status: &mut i32| unsafe { libc::waitpid(child, status, flags) } == child;
    for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        let _ = call!(kill(child, signal));
        if signal == libc::SIGSTOP {
            println!("{} {}", wait(libc::WUNTRACED, &mut status), describe(status));
            println!("again {:?}", call!(waitpid(child, &mut status, libc::WUNTRACED | libc::WNOHANG)));
            let _ = call!(kill(child, libc::SIGCONT));
            println!("{} {}", wait(libc::WCONTINUED, &mut status), describe(status));
        }
    }
    let _ = call!(kill(child, libc::SIGSTOP));
    let _ = call!(kill(child, libc::SIGKILL));
    println!("{} {}", wait(0, &mut status), describe(status));
}

pub(super) fn child_information() {
    extern "C" fn show(signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        println!("{signal} code {} status {}", unsafe { (*information).si_code }, unsafe {
            (*information).si_status()
        });
        COUNT.fetch_add(1, SeqCst);
    }
    install(libc::SIGCHLD, show, libc::SA_RESTART);
    println!("{}", in_child(|| 7));
    println!(
        "{}",
        in_child(|| {
            let _ = call!(raise(libc::SIGKILL));
            0
        })
    );
    install(libc::SIGCHLD, show, libc::SA_RESTART | libc::SA_NOCLDSTOP);
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = call!(raise(libc::SIGSTOP));
        unsafe { libc::_exit(9) };
    }
    let mut status = 0;
    let _ = call!(waitpid(child, &mut status, libc::WUNTRACED));
    println!("{}", describe(status));
    let _ = call!(kill(child, libc::SIGCONT));
    let _ = call!(waitpid(child, &mut status, 0));
    println!("{} {}", describe(status), COUNT.load(SeqCst));
}

pub(super) fn ignored_children() {
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    println!("{}", in_child(|| 3));
}

pub(super) fn exec_resets() {
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGUSR1, note, 0);
            unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
            block(&[libc::SIGHUP]);
            let program = c"/proc/self/exe".as_ptr();
            let arguments = [program, c"--signal-state".as_ptr(), std::ptr::null()];
            let _ = call!(execv(program, arguments.as_ptr()));
            1
        })
    );
}

/// What the exec'd program prints: which signals are caught, ignored and blocked.
pub fn print_state() {
    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGHUP] {
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
        let mut mask = set_of(&[]);
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask) };
        println!("{signal}: action {} blocked {}", action.sa_sigaction, unsafe { libc::sigismember(&mask, signal) });
    }
}
