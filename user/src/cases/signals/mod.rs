//! Signals: delivery, masks, queues, restarts, faults, stops.

mod calls;
pub mod children;
pub(super) mod faults;
mod registers;

use crate::call;
use crate::runner::{Case, in_child};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};

pub(super) const CASES: &[Case] = &[
    ("signals/handler-runs", handler_runs),
    ("signals/fault-information", faults::fault_information),
    ("signals/default-actions", children::default_actions),
    ("signals/blocked-stay-pending", blocked),
    ("signals/realtime-queue-in-order", realtime_queue),
    ("signals/restart", calls::restart),
    ("signals/interrupt", calls::interrupt),
    ("signals/nodefer-and-mask", nodefer),
    ("signals/resethand", resethand),
    ("signals/alternate-stack", faults::alternate_stack),
    ("signals/sigsuspend", calls::sigsuspend),
    ("signals/sigtimedwait", calls::sigtimedwait),
    ("signals/stop-and-continue", children::stop_and_continue),
    ("signals/child-signal-information", children::child_information),
    ("signals/ignored-children-are-reaped", children::ignored_children),
    ("signals/errors", calls::errors),
    ("signals/registers-survive", registers::registers_survive),
    ("signals/vector-registers-survive", registers::vector_registers),
    ("signals/nested", nested),
    ("signals/signalfd", calls::signalfd),
    ("signals/blocked-fault-kills", faults::blocked_fault),
    ("signals/pipe", calls::sigpipe),
    ("signals/exec-resets-handlers", children::exec_resets),
    ("signals/divide-and-trap", faults::divide_and_trap),
];

static COUNT: AtomicUsize = AtomicUsize::new(0);

static SEEN: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

static LAST: AtomicI32 = AtomicI32::new(0);

pub(super) type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

extern "C" fn note(signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let index = COUNT.fetch_add(1, SeqCst);
    let information = unsafe { &*information };
    SEEN[index % 8].store((signal as u64) << 32 | u64::from(information.si_code as u32), SeqCst);
    LAST.store(unsafe { information.si_value().sival_ptr } as i32, SeqCst);
}

pub(super) fn install(signal: i32, handler: Handler, flags: i32) {
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = flags | libc::SA_SIGINFO;
    assert_eq!(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }, 0);
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        signals.iter().for_each(|signal| {
            libc::sigaddset(&mut set, *signal);
        });
        set
    }
}

fn block(signals: &[i32]) {
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set_of(signals), std::ptr::null_mut()) };
}

fn unblock(signals: &[i32]) {
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &set_of(signals), std::ptr::null_mut()) };
}

fn seen() -> Vec<String> {
    (0..COUNT.load(SeqCst).min(8))
        .map(|index| SEEN[index].load(SeqCst))
        .map(|both| format!("{}:{}", both >> 32, both as u32 as i32))
        .collect()
}

fn handler_runs() {
    install(libc::SIGUSR1, note, 0);
    println!("{:?}", call!(raise(libc::SIGUSR1)));
    println!("{:?}", call!(kill(libc::getpid(), libc::SIGUSR1)));
    println!("{:?}", seen());
}

fn blocked() {
    install(libc::SIGUSR1, note, 0);
    install(libc::SIGUSR2, note, 0);
    block(&[libc::SIGUSR1, libc::SIGUSR2]);
    for _ in 0..3 {
        let _ = call!(raise(libc::SIGUSR2));
        let _ = call!(raise(libc::SIGUSR1));
    }
    let mut pending = set_of(&[]);
    println!(
        "{:?} usr1 {} usr2 {} hup {}",
        call!(sigpending(&mut pending)),
        unsafe { libc::sigismember(&pending, libc::SIGUSR1) },
        unsafe { libc::sigismember(&pending, libc::SIGUSR2) },
        unsafe { libc::sigismember(&pending, libc::SIGHUP) }
    );
    println!("before {:?}", seen());
    unblock(&[libc::SIGUSR1, libc::SIGUSR2]);
    println!("after {:?}", seen());
}

fn realtime_queue() {
    extern "C" fn show(signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        println!("{signal} code {} value {}", unsafe { (*information).si_code }, unsafe {
            (*information).si_value().sival_ptr as usize
        });
    }
    for signal in [34, 40, 64] {
        install(signal, show, 0);
    }
    block(&[34, 40, 64]);
    for value in 1..=3usize {
        for signal in [64, 34, 40] {
            let value = libc::sigval { sival_ptr: (value * 100 + signal as usize) as *mut _ };
            let _ = call!(sigqueue(libc::getpid(), signal, value));
        }
    }
    unblock(&[34, 40, 64]);
}

fn nodefer() {
    static DEPTH: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn again(signal: i32, _information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        let depth = DEPTH.fetch_add(1, SeqCst);
        println!("enter {depth}");
        if depth < 2 {
            unsafe { libc::raise(signal) };
        }
        println!("leave {depth}");
    }
    install(libc::SIGUSR1, again, libc::SA_NODEFER);
    let _ = call!(raise(libc::SIGUSR1));
    DEPTH.store(1, SeqCst);
    install(libc::SIGUSR1, again, 0);
    let _ = call!(raise(libc::SIGUSR1));
}

fn resethand() {
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGUSR1, note, libc::SA_RESETHAND);
            let _ = call!(raise(libc::SIGUSR1));
            println!("{:?}", seen());
            let _ = call!(raise(libc::SIGUSR1));
            0
        })
    );
}

fn nested() {
    extern "C" fn outer(_signal: i32, _information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        println!("outer in");
        unsafe { libc::raise(libc::SIGUSR2) };
        println!("outer out");
    }
    extern "C" fn inner(_signal: i32, _information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        println!("inner");
    }
    install(libc::SIGUSR1, outer, 0);
    install(libc::SIGUSR2, inner, 0);
    let _ = call!(raise(libc::SIGUSR1));
}
