//! Signals: delivery, masks, queues, restarts, faults, stops.

mod calls;
pub mod children;
pub(super) mod faults;
mod files;
mod registers;

use crate::runner::{Case, in_child};
use crate::system::{self, Delivery, Information, SignalSet, block, install, unblock};
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
    ("signals/files-that-tell", files::tell),
    ("signals/owners-of-files", files::owners),
    ("signals/terminals-that-tell", files::terminals_tell),
    ("signals/terminals-that-tell-of-room", files::terminals_tell_of_room),
    ("signals/owners-of-terminals", files::terminals_and_their_owners),
    ("signals/exec-resets-handlers", children::exec_resets),
    ("signals/divide-and-trap", faults::divide_and_trap),
];

static COUNT: AtomicUsize = AtomicUsize::new(0);

static SEEN: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

static LAST: AtomicI32 = AtomicI32::new(0);

/// Notes a signal and its code among the first eight, and its value.
fn note(delivery: &mut Delivery<'_>) {
    let index = COUNT.fetch_add(1, SeqCst);
    SEEN[index % 8].store((delivery.signal as u64) << 32 | u64::from(delivery.code() as u32), SeqCst);
    LAST.store(delivery.information.value() as i32, SeqCst);
}

fn seen() -> Vec<String> {
    (0..COUNT.load(SeqCst).min(8))
        .map(|index| SEEN[index].load(SeqCst))
        .map(|both| format!("{}:{}", both >> 32, both as u32 as i32))
        .collect()
}

fn handler_runs() {
    install(libc::SIGUSR1, note, 0);
    println!("{:?}", system::raise(libc::SIGUSR1));
    println!("{:?}", system::kill(system::getpid(), libc::SIGUSR1));
    println!("{:?}", seen());
}

fn blocked() {
    install(libc::SIGUSR1, note, 0);
    install(libc::SIGUSR2, note, 0);
    block(&[libc::SIGUSR1, libc::SIGUSR2]);
    for _ in 0..3 {
        let _ = system::raise(libc::SIGUSR2);
        let _ = system::raise(libc::SIGUSR1);
    }
    let mut pending = SignalSet::of(&[]);
    println!(
        "{:?} usr1 {} usr2 {} hup {}",
        system::sigpending(&mut pending),
        pending.contains(libc::SIGUSR1),
        pending.contains(libc::SIGUSR2),
        pending.contains(libc::SIGHUP)
    );
    println!("before {:?}", seen());
    unblock(&[libc::SIGUSR1, libc::SIGUSR2]);
    println!("after {:?}", seen());
}

fn realtime_queue() {
    fn show(delivery: &mut Delivery<'_>) {
        println!("{} code {} value {}", delivery.signal, delivery.code(), delivery.information.value());
    }
    for signal in [34, 40, 64] {
        install(signal, show, 0);
    }
    block(&[34, 40, 64]);
    for value in 1..=3usize {
        for signal in [64, 34, 40] {
            let _ = system::sigqueue(system::getpid(), signal, value * 100 + signal as usize);
        }
    }
    unblock(&[34, 40, 64]);
}

fn nodefer() {
    static DEPTH: AtomicUsize = AtomicUsize::new(0);
    fn again(delivery: &mut Delivery<'_>) {
        let depth = DEPTH.fetch_add(1, SeqCst);
        println!("enter {depth}");
        if depth < 2 {
            let _ = system::raise(delivery.signal);
        }
        println!("leave {depth}");
    }
    install(libc::SIGUSR1, again, libc::SA_NODEFER);
    let _ = system::raise(libc::SIGUSR1);
    DEPTH.store(1, SeqCst);
    install(libc::SIGUSR1, again, 0);
    let _ = system::raise(libc::SIGUSR1);
}

fn resethand() {
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGUSR1, note, libc::SA_RESETHAND);
            let _ = system::raise(libc::SIGUSR1);
            println!("{:?}", seen());
            let _ = system::raise(libc::SIGUSR1);
            0
        })
    );
}

fn nested() {
    fn outer(_delivery: &mut Delivery<'_>) {
        println!("outer in");
        let _ = system::raise(libc::SIGUSR2);
        println!("outer out");
    }
    fn inner(_delivery: &mut Delivery<'_>) {
        println!("inner");
    }
    install(libc::SIGUSR1, outer, 0);
    install(libc::SIGUSR2, inner, 0);
    let _ = system::raise(libc::SIGUSR1);
}
