//! An owner that ends while another begins to wait for it, in every order that the memory model allows (`loom`): the accesses of
//! [`super::super::futex::priority`]'s `release_all` and `attempt`, and of its `wait` against `unlock`.

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// Either the waiter sees that the owner has left, or the owner finds the waiter and hands over to it.
#[test]
fn nobody_waits_for_an_owner_that_has_ended() {
    loom::model(|| {
        let has_left = Arc::new(AtomicBool::new(false));
        // Whether somebody waits in the graph.
        let graph = Arc::new(Mutex::new(false));
        let (their_flag, their_graph) = (has_left.clone(), graph.clone());
        let owner = thread::spawn(move || {
            their_flag.store(true, Relaxed);
            core::mem::take(&mut *their_graph.lock().unwrap())
        });
        let waits = {
            let mut waiting = graph.lock().unwrap();
            *waiting = !has_left.load(Relaxed);
            *waiting
        };
        assert_eq!(owner.join().unwrap(), waits, "a waiter is left behind, or one that left is handed the lock");
    });
}

/// A waiter that gives up (its time is over) and an owner that unlocks at the same time: the lock is the waiter's if and only if it goes on with it.
#[test]
fn a_lock_is_handed_over_or_left_and_never_both() {
    loom::model(|| {
        // The graph's lock guards both: the word's owner, and whether the waiter stands in the graph.
        let state = Arc::new(Mutex::new((1u32, true)));
        let theirs = state.clone();
        let owner = thread::spawn(move || {
            let mut state = theirs.lock().unwrap();
            if state.1 {
                *state = (2, false);
            } else {
                state.0 = 0;
            }
        });
        let has_lock = {
            let mut state = state.lock().unwrap();
            let was_handed = !state.1;
            state.1 = false;
            was_handed
        };
        owner.join().unwrap();
        assert_eq!(state.lock().unwrap().0 == 2, has_lock);
    });
}

const FREE: usize = 0;
const CONTENDED: usize = 1;
const OWNER: usize = 4;
const WAITER: usize = 8;

/// One of the kernel's own locks ([`crate::sync::lending`]): its word, freed without the graph's lock, and the graph, by which the holder learns whom to wake. The waiter has the lock
/// or is woken; and while it enters the holder's name in the graph, the holder has not ended.
#[test]
fn a_kernel_lock_that_is_let_go_is_taken_and_its_holder_lives_while_it_is_named() {
    loom::model(|| {
        let word = Arc::new(AtomicUsize::new(OWNER));
        // Who waits, as the graph has it.
        let graph = Arc::new(Mutex::new(None::<usize>));
        let has_ended = Arc::new(AtomicBool::new(false));
        let (their_word, their_graph, their_end) = (word.clone(), graph.clone(), has_ended.clone());
        let owner = thread::spawn(move || {
            let woken =
                if their_word.swap(FREE, Release) & CONTENDED != 0 { their_graph.lock().unwrap().take() } else { None };
            their_end.store(true, Relaxed);
            woken
        });
        let taken = {
            let mut waiting = graph.lock().unwrap();
            let mut seen = word.load(Relaxed);
            let taken = loop {
                let new = if seen == FREE { WAITER } else { seen } | CONTENDED;
                match word.compare_exchange(seen, new, Acquire, Relaxed) {
                    Ok(old) => break old == FREE,
                    Err(now) => seen = now,
                }
            };
            if !taken {
                assert!(!has_ended.load(Relaxed), "a name of one that may be gone");
                *waiting = Some(WAITER);
            }
            taken
        };
        let woken = owner.join().unwrap();
        assert_eq!(woken.is_some(), !taken, "it waits for good, or is woken for nothing");
        assert!(taken || word.load(Relaxed) == FREE);
    });
}
