//! An owner that ends while another begins to wait for it, in every order that the memory model allows (`loom`): the accesses of
//! [`super::super::futex::priority`]'s `release_all` and `attempt`, and of its `wait` against `unlock`.

use loom::sync::atomic::{AtomicBool, Ordering::Relaxed};
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
