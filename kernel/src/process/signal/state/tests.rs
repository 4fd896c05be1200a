//! Signals of processes without a scheduler.

use super::super::information::code;
use super::*;

fn process(threads: i32) -> (SignalState, Vec<Arc<ThreadSignals>>) {
    let state = SignalState::new();
    let threads: Vec<_> = (1..=threads).map(|id| ThreadSignals::new(id, SignalSet::EMPTY)).collect();
    threads.iter().for_each(|thread| state.attach(thread.clone()));
    (state, threads)
}

fn send(state: &SignalState, signal: Signal) -> Sent {
    let sent = state.send(Target::Process, signal, SignalInformation::from_kernel(signal), None).unwrap();
    state.validate();
    sent
}

fn catch(state: &SignalState, signal: Signal) {
    state.set_action(signal, SignalAction { handler: 0x1000, ..SignalAction::default() }).unwrap();
}

#[test]
fn a_signal_goes_to_a_thread_that_does_not_block_it() {
    let (state, threads) = process(2);
    catch(&state, Signal::SIGUSR1);
    state.set_mask(&threads[0], SignalSet::of(&[Signal::SIGUSR1]));
    send(&state, Signal::SIGUSR1);
    assert_eq!(threads[0].work(), SignalWork::empty());
    assert_eq!(threads[1].work(), SignalWork::PENDING);
    state.set_mask(&threads[1], SignalSet::of(&[Signal::SIGUSR1]));
    assert_eq!(threads[1].work(), SignalWork::empty());
    state.set_mask(&threads[0], SignalSet::EMPTY);
    assert_eq!(threads[0].work(), SignalWork::PENDING);
    let (information, action) = state.take(&threads[0], SignalSet::ALL).unwrap();
    assert_eq!((information.signal(), action.handler), (Some(Signal::SIGUSR1), 0x1000));
    assert!(!threads[0].has_work());
}

#[test]
fn blocking_hands_a_waiting_signal_to_another_thread() {
    let (state, threads) = process(2);
    catch(&state, Signal::SIGUSR1);
    send(&state, Signal::SIGUSR1);
    state.set_mask(&threads[0], SignalSet::of(&[Signal::SIGUSR1]));
    state.validate();
    assert_eq!(threads[1].work(), SignalWork::PENDING);
    assert_eq!(state.detach(&threads[1]), None);
    assert_eq!(state.pending(), SignalSet::of(&[Signal::SIGUSR1]));
}

#[test]
fn ignored_signals_are_not_kept_unless_blocked() {
    let (state, threads) = process(1);
    send(&state, Signal::SIGCHLD);
    assert!(state.pending().is_empty());
    state.set_mask(&threads[0], SignalSet::of(&[Signal::SIGCHLD]));
    send(&state, Signal::SIGCHLD);
    assert!(state.pending().contains(Signal::SIGCHLD));
    state.set_action(Signal::SIGCHLD, SignalAction::default()).unwrap();
    assert!(state.pending().is_empty(), "setting an ignoring action drops what waits");
}

#[test]
fn a_fatal_signal_ends_every_thread() {
    let (state, threads) = process(3);
    send(&state, Signal::SIGTERM);
    assert!(threads.iter().all(|thread| thread.work().contains(SignalWork::KILL)));
    assert_eq!(state.fatal_signal(), Some(Signal::SIGTERM));
    send(&state, Signal::SIGKILL);
    assert_eq!(state.fatal_signal(), Some(Signal::SIGTERM), "the first one counts");
}

#[test]
fn sigkill_passes_every_mask_and_wakes_the_stopped() {
    let (state, threads) = process(1);
    state.set_mask(&threads[0], SignalSet::ALL);
    state.begin_stop(Signal::SIGSTOP);
    assert_eq!(state.arrive_at_stop(&threads[0]), Some(JobChange::Stopped(Signal::SIGSTOP)));
    send(&state, Signal::SIGKILL);
    assert_eq!(threads[0].work(), SignalWork::KILL);
}

#[test]
fn the_first_process_is_immune_to_what_it_does_not_catch() {
    let (state, threads) = process(1);
    state.set_unkillable();
    send(&state, Signal::SIGTERM);
    let user = SignalInformation::from_user(Signal::SIGKILL, code::SI_USER, 5, 0);
    state.send(Target::Process, Signal::SIGKILL, user, None).unwrap();
    state.send(Target::Process, Signal::SIGSTOP, user, None).unwrap();
    assert!(!threads[0].has_work());
    catch(&state, Signal::SIGTERM);
    send(&state, Signal::SIGTERM);
    assert!(threads[0].has_work());
    state.force(&threads[0], Signal::SIGSEGV, SignalInformation::from_kernel(Signal::SIGSEGV));
    assert!(!state.is_unkillable(), "its own fault ends it");
}

#[test]
fn stopping_is_complete_when_every_thread_arrived() {
    let (state, threads) = process(3);
    state.begin_stop(Signal::SIGTSTP);
    assert_eq!(state.arrive_at_stop(&threads[0]), None);
    assert_eq!(state.arrive_at_stop(&threads[0]), None, "arriving twice counts once");
    assert_eq!(state.arrive_at_stop(&threads[1]), None);
    assert_eq!(state.stopped_by(), None);
    assert_eq!(state.detach(&threads[2]), Some(JobChange::Stopped(Signal::SIGTSTP)));
    assert_eq!(state.take_stop_report(Consume::No), Some(Signal::SIGTSTP));
    assert_eq!(state.take_stop_report(Consume::Yes), Some(Signal::SIGTSTP));
    assert_eq!(state.take_stop_report(Consume::Yes), None);
    assert_eq!(send(&state, Signal::SIGCONT), Sent::Continued);
    assert_eq!(send(&state, Signal::SIGCONT), Sent::Dropped);
    assert!(state.take_continue_report(Consume::Yes));
    assert!(!state.take_continue_report(Consume::Yes));
    assert!(!threads[0].work().contains(SignalWork::STOP));
    state.begin_stop(Signal::SIGSTOP);
    assert_eq!(state.arrive_at_stop(&threads[0]), None);
    assert_eq!(state.arrive_at_stop(&threads[1]), Some(JobChange::Stopped(Signal::SIGSTOP)));
}

#[test]
fn continue_and_stop_signals_cancel_each_other_while_they_wait() {
    let (state, threads) = process(1);
    state.set_mask(&threads[0], SignalSet::ALL);
    send(&state, Signal::SIGTSTP);
    send(&state, Signal::SIGTTIN);
    send(&state, Signal::SIGCONT);
    assert_eq!(state.pending(), SignalSet::of(&[Signal::SIGCONT]));
    send(&state, Signal::SIGTTOU);
    assert_eq!(state.pending(), SignalSet::of(&[Signal::SIGTTOU]));
}

#[test]
fn a_forced_signal_that_is_blocked_gets_its_default_action() {
    let (state, threads) = process(1);
    catch(&state, Signal::SIGSEGV);
    state.force(&threads[0], Signal::SIGSEGV, SignalInformation::from_kernel(Signal::SIGSEGV));
    assert_eq!(state.take(&threads[0], SignalSet::ALL).unwrap().1.handler, 0x1000);
    state.set_mask(&threads[0], SignalSet::of(&[Signal::SIGSEGV]));
    state.force(&threads[0], Signal::SIGSEGV, SignalInformation::from_kernel(Signal::SIGSEGV));
    assert!(state.take(&threads[0], SignalSet::ALL).unwrap().1.is_default());
    assert!(!threads[0].blocked().contains(Signal::SIGSEGV));
}

#[test]
fn forked_actions_are_copies_and_shared_ones_are_not() {
    let (state, _) = process(1);
    catch(&state, Signal::SIGUSR1);
    let (forked, shared) = (state.fork(), state.share());
    catch(&state, Signal::SIGUSR2);
    assert!(forked.action(Signal::SIGUSR1).is_handler() && !forked.action(Signal::SIGUSR2).is_handler());
    assert!(shared.action(Signal::SIGUSR2).is_handler());
    shared.reset_for_exec(&ThreadSignals::new(9, SignalSet::EMPTY));
    assert!(state.action(Signal::SIGUSR1).is_handler() && !shared.action(Signal::SIGUSR1).is_handler());
}

#[test]
fn a_one_shot_action_is_reset_when_taken() {
    let (state, threads) = process(1);
    let flags = super::super::ActionFlags::RESET_HANDLER.bits();
    state.set_action(Signal::SIGUSR1, SignalAction { handler: 5, flags, ..SignalAction::default() }).unwrap();
    send(&state, Signal::SIGUSR1);
    assert_eq!(state.take(&threads[0], SignalSet::ALL).unwrap().1.handler, 5);
    assert!(state.action(Signal::SIGUSR1).is_default());
}

#[test]
fn a_waited_for_signal_does_not_kill() {
    let (state, threads) = process(1);
    let set = SignalSet::of(&[Signal::SIGTERM]);
    threads[0].store_real_blocked(set);
    send(&state, Signal::SIGTERM);
    assert_eq!(threads[0].work(), SignalWork::PENDING);
    assert_eq!(state.take_waited(&threads[0], set).unwrap().signal(), Some(Signal::SIGTERM));
    assert_eq!(threads[0].work(), SignalWork::empty());
}
