//! The last thing before user mode: what becomes of the signals that wait.
//!
//! [`next_step`] does everything that concerns the thread's own registers and stack, and says what else has to happen to the
//! thread or its process; [`super::deliver`] does that. An interrupted system call starts again, or does not, exactly once: with
//! the first handler, or when there turns out to be none.

use super::action::{ActionFlags, SignalAction};
use super::description::Described;
use super::information::SignalInformation;
use super::number::{DefaultAction, Signal, SignalSet};
use super::state::SignalState;
use super::taken;
use super::thread::{AlternateStack, SignalWork, ThreadSignals};
use crate::arch::{Current, Destination, Machine, Registers, SignalDelivery, SignalFrame, SignalStack, TrapFrame};
use crate::base::{Errno, VirtualAddress};
use crate::process::{call_trace, current_thread};

/// What is to happen to the thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// It goes to user mode.
    Done,
    /// The process begins to stop because of this signal, unless it is an orphan's terminal stop.
    BeginStop(Signal),
    /// The thread stops with its process.
    Stop,
    /// The process ends by this signal.
    EndProcess(Signal),
    /// The thread ends.
    EndThread,
}

/// The error that a system call left in the result register, if it asks to be restarted.
#[inline]
pub(super) fn restart_request(frame: &TrapFrame) -> Option<Errno> {
    if !(512..=516).contains(&frame.result().wrapping_neg()) {
        return None;
    }
    frame.system_call_number()?;
    [Errno::ERESTARTSYS, Errno::ERESTARTNOINTR, Errno::ERESTARTNOHAND, Errno::ERESTARTBLOCK]
        .into_iter()
        .find(|error| frame.result() == error.to_register())
}

/// Looks at the thread's signals once. Called again until it says [`Step::Done`], or does not come back.
pub(super) fn next_step(frame: &mut TrapFrame, thread: &ThreadSignals, state: &SignalState) -> Step {
    let work = thread.work();
    if work.contains(SignalWork::KILL) {
        return match state.fatal_signal() {
            Some(signal) => Step::EndProcess(signal),
            None => Step::EndThread,
        };
    }
    if work.contains(SignalWork::STOP) {
        return Step::Stop;
    }
    if work.contains(SignalWork::PENDING) {
        while let Some((mut information, action)) = state.take(thread, thread.blocked().complement()) {
            let Some(signal) = information.signal() else { continue };
            taken::run_hook(&mut information);
            if call_trace::is_on() {
                trace(&information);
            }
            if action.is_ignore() {
                continue;
            }
            if action.is_handler() {
                return start_handler(frame, thread, state, signal, &information, action);
            }
            match signal.default_action() {
                DefaultAction::Ignore | DefaultAction::Continue => {}
                _ if state.is_unkillable() => {}
                DefaultAction::Stop => return Step::BeginStop(signal),
                DefaultAction::Terminate | DefaultAction::DumpCore => return Step::EndProcess(signal),
            }
        }
        state.settle(thread);
        if thread.work().intersects(SignalWork::KILL | SignalWork::STOP | SignalWork::PENDING) {
            return next_step_again(frame, thread, state);
        }
    }
    if let Some(error) = restart_request(frame) {
        match error {
            Errno::ERESTARTBLOCK => frame.rewind_as(Current::LINUX.restart_system_call),
            _ => frame.rewind_system_call(),
        }
        frame.forget_system_call();
    }
    if work.contains(SignalWork::RESTORE_MASK) {
        thread.remove_work(SignalWork::RESTORE_MASK);
        state.set_mask(thread, thread.saved_mask());
        if thread.has_work() {
            return next_step_again(frame, thread, state);
        }
    }
    Step::Done
}

/// Tells the call tracer of a signal that the running thread has taken.
#[cold]
fn trace(information: &SignalInformation) {
    let thread = current_thread();
    call_trace::event(thread.process().pid(), thread.tid(), "---", format_args!("{}", Described(information)));
}

/// More came while one was seen to.
#[cold]
fn next_step_again(frame: &mut TrapFrame, thread: &ThreadSignals, state: &SignalState) -> Step {
    next_step(frame, thread, state)
}

fn start_handler(
    frame: &mut TrapFrame,
    thread: &ThreadSignals,
    state: &SignalState,
    signal: Signal,
    information: &SignalInformation,
    action: SignalAction,
) -> Step {
    let flags = action.action_flags();
    match restart_request(frame) {
        Some(Errno::ERESTARTSYS) if !flags.contains(ActionFlags::RESTART) => {
            frame.set_result(Errno::EINTR.to_register())
        }
        Some(Errno::ERESTARTSYS | Errno::ERESTARTNOINTR) => frame.rewind_system_call(),
        Some(_) => frame.set_result(Errno::EINTR.to_register()),
        None => {}
    }
    frame.forget_system_call();
    let is_left = current_thread().sequences.leave(frame).is_ok();
    if !is_left || push(frame, thread, signal, information, action).is_err() {
        // No stack to stand on, or a sequence that is none: SIGSEGV, and if that was what could not be delivered, its default action.
        if signal == Signal::SIGSEGV {
            state.reset_action(signal);
        }
        state.force(thread, Signal::SIGSEGV, SignalInformation::from_kernel(Signal::SIGSEGV));
        return next_step_again(frame, thread, state);
    }
    thread.remove_work(SignalWork::RESTORE_MASK);
    let stack = thread.alternate_stack();
    if stack.flags & AlternateStack::AUTO_DISARM != 0 {
        thread.set_alternate_stack(AlternateStack { base: 0, size: 0, flags: AlternateStack::DISABLE });
    }
    let mut mask = thread.blocked().union(action.mask);
    if !flags.contains(ActionFlags::NO_DEFER) {
        mask = mask.with(signal);
    }
    state.set_mask(thread, mask);
    if thread.has_work() { next_step_again(frame, thread, state) } else { Step::Done }
}

/// Where handlers return to when the program named no place: into the vDSO, on machines whose vDSO has code for it.
fn machine_restorer() -> VirtualAddress {
    let space = crate::process::current_process().address_space();
    space.map_or(VirtualAddress::new(0), |space| space.signal_return())
}

fn push(
    frame: &mut TrapFrame,
    thread: &ThreadSignals,
    signal: Signal,
    information: &SignalInformation,
    action: SignalAction,
) -> Result<(), crate::arch::UserFault> {
    let flags = action.action_flags();
    let stack = thread.alternate_stack();
    let stack_pointer = frame.stack_pointer().value();
    let is_on_it = stack.holds(stack_pointer);
    let switches = flags.contains(ActionFlags::ON_STACK) && stack.size != 0 && !is_on_it;
    let exception = thread.last_exception();
    let user_information;
    let delivery = SignalDelivery {
        signal: signal.number(),
        handler: VirtualAddress::new(action.handler),
        restorer: if flags.contains(ActionFlags::RESTORER) {
            VirtualAddress::new(action.restorer)
        } else {
            machine_restorer()
        },
        information: if flags.contains(ActionFlags::SIGINFO) {
            user_information = information.to_user();
            Some(&user_information)
        } else {
            None
        },
        mask: thread.mask_to_save().bits(),
        stack: SignalStack { base: stack.base, size: stack.size, flags: stack.flags },
        switch_to: switches.then(|| VirtualAddress::new(stack.base.wrapping_add(stack.size))),
        limit: (switches || is_on_it).then(|| VirtualAddress::new(stack.base)),
        vector: exception.vector,
        error_code: exception.error_code,
        fault_address: VirtualAddress::new(exception.address),
    };
    frame.push_signal(&delivery)
}

/// `rt_sigreturn`: back to what was interrupted. An error, or a [`Destination::Refused`], makes the caller send SIGSEGV.
///
/// # Errors
/// [`UserFault`](crate::arch::UserFault) when the frame is bad; the registers are unchanged then.
pub fn return_from_handler(
    frame: &mut TrapFrame,
    thread: &ThreadSignals,
    state: &SignalState,
) -> Result<Destination, crate::arch::UserFault> {
    let saved = frame.pop_signal()?;
    thread.set_restart(super::Restart::None);
    state.set_mask(thread, SignalSet::from_bits(saved.mask));
    // As Linux does, a stack that cannot be set is silently kept.
    let _ = super::alternate_stack::set(
        thread,
        frame.stack_pointer().value(),
        AlternateStack { base: saved.stack.base, size: saved.stack.size, flags: saved.stack.flags },
    );
    Ok(saved.destination)
}
