//! Families, waits, sessions: everything about relations, with processes that have no threads.
//!
//! The process table is one for all tests; each test has a family of its own in it.

use super::super::wait::{Event, WaitFor, WaitOptions, wait};
use super::super::{Start, create_process, create_thread, membership};
use super::*;
use crate::base::Errno;
use crate::process::signal::SignalAction;

const NOW: WaitOptions = WaitOptions::WEXITED.union(WaitOptions::WNOHANG);

fn family(children: usize) -> (Arc<Process>, Vec<Arc<Process>>) {
    let parent = create_process(None).unwrap();
    let children = (0..children).map(|_| create_process(Some(&parent)).unwrap()).collect();
    (parent, children)
}

fn waited(parent: &Arc<Process>, which: WaitFor) -> Result<Option<i32>, Errno> {
    wait(parent, &which, NOW).map(|report| report.map(|report| report.pid))
}

#[test]
fn a_zombie_is_found_once() {
    let (parent, children) = family(2);
    let [first, second] = [&children[0], &children[1]];
    assert_eq!(waited(first, WaitFor::Any), Err(Errno::ECHILD));
    assert_eq!(waited(&parent, WaitFor::Any), Ok(None));
    end_without_threads(second, ExitStatus::exited(3));
    assert_eq!(waited(&parent, WaitFor::Process(first.pid())), Ok(None));
    let report = wait(&parent, &WaitFor::Any, NOW | WaitOptions::WNOWAIT).unwrap().unwrap();
    assert_eq!((report.pid, report.event), (second.pid(), Event::Ended(ExitStatus::exited(3))));
    assert_eq!((report.status_word(), report.code_and_status()), (0x300, (1, 3)));
    assert_eq!(waited(&parent, WaitFor::Process(second.pid())), Ok(Some(second.pid())));
    assert_eq!(waited(&parent, WaitFor::Process(second.pid())), Err(Errno::ECHILD));
    assert_eq!(waited(&parent, WaitFor::Any), Ok(None));
    assert!(table::find_process(second.pid()).is_none(), "a number is free once it was waited for");
    end_without_threads(first, ExitStatus::killed(9));
    let report = wait(&parent, &WaitFor::Exactly(first.clone()), NOW).unwrap().unwrap();
    assert_eq!((report.status_word(), report.code_and_status()), (9, (2, 9)));
    assert_eq!(waited(&parent, WaitFor::Any), Err(Errno::ECHILD));
}

#[test]
fn zombies_are_found_in_the_order_of_their_ends() {
    let (parent, children) = family(4);
    for index in [2, 0, 3, 1] {
        end_without_threads(&children[index], ExitStatus::exited(0));
    }
    let order: Vec<_> = (0..4).map(|_| waited(&parent, WaitFor::Any).unwrap().unwrap()).collect();
    assert_eq!(order, [2, 0, 3, 1].map(|index: usize| children[index].pid()));
}

#[test]
fn children_of_another_kind_need_the_option() {
    let (parent, children) = family(1);
    children[0].exit_signal.store(0, Relaxed);
    end_without_threads(&children[0], ExitStatus::exited(0));
    assert_eq!(waited(&parent, WaitFor::Any), Err(Errno::ECHILD));
    let clone = wait(&parent, &WaitFor::Any, NOW | WaitOptions::CLONE | WaitOptions::WNOWAIT).unwrap();
    assert!(clone.is_some());
    assert!(wait(&parent, &WaitFor::Any, NOW | WaitOptions::ALL).unwrap().is_some());
}

#[test]
fn a_parent_that_ignores_its_children_leaves_no_zombies() {
    let (parent, children) = family(1);
    parent.signals.set_action(Signal::SIGCHLD, SignalAction { handler: 1, ..SignalAction::default() }).unwrap();
    end_without_threads(&children[0], ExitStatus::exited(0));
    assert_eq!(waited(&parent, WaitFor::Any), Err(Errno::ECHILD));
    assert!(table::find_process(children[0].pid()).is_none());
}

#[test]
fn orphans_and_zombies_go_to_the_nearest_subreaper() {
    let (reaper, children) = family(1);
    reaper.set_subreaper(true);
    let middle = create_process(Some(&children[0])).unwrap();
    let [orphan, zombie] = [create_process(Some(&middle)).unwrap(), create_process(Some(&middle)).unwrap()];
    end_without_threads(&zombie, ExitStatus::exited(7));
    end_without_threads(&middle, ExitStatus::exited(0));
    assert_eq!(orphan.parent_pid(), reaper.pid());
    assert_eq!(waited(&reaper, WaitFor::Any), Ok(Some(zombie.pid())));
    assert_eq!(waited(&children[0], WaitFor::Any), Ok(Some(middle.pid())));
    end_without_threads(&orphan, ExitStatus::exited(0));
    assert_eq!(waited(&reaper, WaitFor::Process(orphan.pid())), Ok(Some(orphan.pid())));
}

#[test]
fn groups_and_sessions_keep_linux_s_rules() {
    let (leader, children) = family(2);
    let [first, second] = [&children[0], &children[1]];
    assert_eq!((first.group_id(), first.session_id()), (leader.pid(), leader.pid()));
    assert_eq!(membership::become_session_leader(&leader), Err(Errno::EPERM));
    assert_eq!(membership::set_group(&leader, 0, 0), Err(Errno::EPERM), "a session leader stays");
    assert_eq!(membership::set_group(&leader, first.pid(), 0), Ok(()));
    assert_eq!(membership::set_group(&leader, second.pid(), first.pid()), Ok(()));
    assert_eq!((first.group_id(), second.group_id()), (first.pid(), first.pid()));
    assert_eq!(membership::set_group(first, second.pid(), 0), Err(Errno::ESRCH), "neither itself nor a child");
    assert_eq!(membership::set_group(second, 0, leader.pid()), Ok(()));
    assert_eq!(membership::set_group(second, 0, i32::MAX), Err(Errno::EPERM));
    assert_eq!(membership::set_group(second, 0, -1), Err(Errno::EINVAL));
    first.executed.store(true, Relaxed);
    assert_eq!(membership::set_group(&leader, first.pid(), leader.pid()), Err(Errno::EACCES));
    assert_eq!(membership::become_session_leader(first), Err(Errno::EPERM), "it leads a group");
    assert_eq!(membership::become_session_leader(second), Ok(second.pid()));
    assert_eq!((second.group_id(), second.session_id()), (second.pid(), second.pid()));
    assert_eq!(membership::set_group(&leader, second.pid(), leader.pid()), Err(Errno::EPERM), "another session");
    assert_eq!(waited(&leader, WaitFor::Group(leader.pid())), Err(Errno::ECHILD));
    assert_eq!(waited(&leader, WaitFor::Group(first.pid())), Ok(None));
}

/// Makes `process` a stopped one.
fn stop(process: &Arc<Process>) {
    let thread = create_thread(process, Start::Kernel(|| {})).unwrap();
    process.signals.begin_stop(Signal::SIGSTOP);
    process.signals.arrive_at_stop(&thread.signals);
    assert!(process.signals.stopped_by().is_some());
}

#[test]
fn a_group_that_was_orphaned_before_is_not_hung_up() {
    let (leader, children) = family(2);
    let [stopped, parent] = [&children[0], &children[1]];
    let child = create_process(Some(parent)).unwrap();
    stop(stopped);
    end_without_threads(parent, ExitStatus::exited(0));
    assert!(stopped.signals.stopped_by().is_some(), "the end of a member with children orphans nobody");
    assert!(child.signals.pending().is_empty() && leader.signals.pending().without(Signal::SIGCHLD).is_empty());
}

#[test]
fn a_group_that_loses_its_only_link_is_hung_up() {
    let (leader, children) = family(1);
    let middle = &children[0];
    let stopped = create_process(Some(middle)).unwrap();
    assert_eq!(membership::set_group(middle, stopped.pid(), 0), Ok(()));
    stop(&stopped);
    end_without_threads(middle, ExitStatus::exited(0));
    assert!(stopped.signals.stopped_by().is_none(), "SIGHUP and SIGCONT");
    assert!(leader.signals.pending().without(Signal::SIGCHLD).is_empty());
}

#[test]
fn a_group_goes_with_its_last_member() {
    let (leader, children) = family(1);
    let child = &children[0];
    membership::set_group(&leader, child.pid(), 0).unwrap();
    assert!(table::lock().group(child.pid()).is_some());
    end_without_threads(child, ExitStatus::exited(0));
    assert!(table::lock().group(child.pid()).is_some(), "a zombie is a member");
    assert_eq!(waited(&leader, WaitFor::Any), Ok(Some(child.pid())));
    assert!(table::lock().group(child.pid()).is_none());
}

#[test]
fn a_process_keeps_its_leader_s_last_name() {
    let process = create_process(None).unwrap();
    let leader = create_thread(&process, Start::Kernel(|| {})).unwrap();
    let other = create_thread(&process, Start::Kernel(|| {})).unwrap();
    leader.set_name(b"leader");
    other.set_name(b"other");
    assert_eq!(&process.name()[..7], b"leader\0");
    leader.set_name(b"renamed");
    drop(remove_thread(&leader, &process, &mut table::lock()));
    assert_eq!(&process.name()[..8], b"renamed\0", "while others go on");
    drop(remove_thread(&other, &process, &mut table::lock()));
    assert_eq!(&process.name()[..8], b"renamed\0", "as a zombie");
}
