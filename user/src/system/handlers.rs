//! Signal handlers.
//!
//! The kernel enters `enter` (or `enter_plain`, where no information was asked for), which calls the [`Handler`] that was installed last
//! for that signal.
//!
//! # The handlers' rule
//! A handler may come between any two instructions. So it touches atomics and makes system calls; it prints or allocates only where the
//! case raises the signal itself, in its own thread and outside the allocator and the standard streams (by `raise`, `kill` of itself, or
//! an instruction that faults).
//!
//! Invariant: `HANDLERS` and `PLAIN` hold zero or the address of a function of their type.
#![allow(unsafe_code, reason = "the kernel calls handlers, with pointers")]

use super::machine::Context;
use super::{Errno, Information, Mapping, Returned, zeroed};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What a handler is told.
pub struct Delivery<'a> {
    /// The signal's number.
    pub signal: i32,
    /// Why it came.
    pub information: &'a libc::siginfo_t,
    /// The registers that it interrupted, which return as they are left here.
    pub context: &'a mut Context,
}

impl Delivery<'_> {
    /// `si_code`.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.information.si_code
    }

    /// `si_addr`.
    #[must_use]
    pub fn address(&self) -> usize {
        self.information.address()
    }
}

impl fmt::Debug for Delivery<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Delivery").field("signal", &self.signal).field("code", &self.code()).finish()
    }
}

/// A handler that is told why (`SA_SIGINFO`).
pub type Handler = fn(&mut Delivery<'_>);
/// A handler that is told the signal's number.
pub type PlainHandler = fn(i32);

static HANDLERS: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];
static PLAIN: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];

/// The slot of a signal: what the kernel refuses has the one of no signal.
fn slot(table: &'static [AtomicUsize; 65], signal: i32) -> &'static AtomicUsize {
    let [none, ..] = table;
    usize::try_from(signal).ok().and_then(|index| table.get(index)).unwrap_or(none)
}

extern "C" fn enter(signal: i32, information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let handler = slot(&HANDLERS, signal).load(SeqCst);
    if handler == 0 {
        return;
    }
    // SAFETY: only `install` stores there, and it stores handlers.
    let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
    // SAFETY: with SA_SIGINFO the kernel gives both, on this handler's stack, for this handler alone; a `Context` is a `ucontext_t`.
    let (information, context) = unsafe { (&*information, &mut *context.cast::<Context>()) };
    handler(&mut Delivery { signal, information, context });
}

extern "C" fn enter_plain(signal: i32) {
    let handler = slot(&PLAIN, signal).load(SeqCst);
    if handler != 0 {
        // SAFETY: only `install_plain` stores there, and it stores plain handlers.
        unsafe { std::mem::transmute::<usize, PlainHandler>(handler)(signal) };
    }
}

fn set_action(signal: i32, address: usize, flags: i32) -> Result<i32, Errno> {
    let mut action: libc::sigaction = zeroed();
    action.sa_sigaction = address;
    action.sa_flags = flags;
    // SAFETY: the address is SIG_DFL, SIG_IGN or an entry above that suits the flags; the old action is not asked for.
    unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }.check()
}

/// Installs `handler`, with `SA_SIGINFO` beside `flags`. The handlers' rule is the module's.
pub fn install(signal: i32, handler: Handler, flags: i32) {
    slot(&HANDLERS, signal).store(handler as usize, SeqCst);
    let result = set_action(signal, enter as *const () as usize, flags | libc::SA_SIGINFO);
    assert_eq!(result, Ok(0));
}

/// Installs `handler` without `SA_SIGINFO`.
///
/// # Errors
/// As the kernel gives them.
pub fn install_plain(signal: i32, handler: PlainHandler, flags: i32) -> Result<i32, Errno> {
    slot(&PLAIN, signal).store(handler as usize, SeqCst);
    set_action(signal, enter_plain as *const () as usize, flags)
}

/// Installs `handler` as `signal(2)` does: calls that it interrupts begin again.
pub fn catch(signal: i32, handler: PlainHandler) {
    let _ = install_plain(signal, handler, libc::SA_RESTART);
}

/// A handler that does nothing.
pub fn nothing(_signal: i32) {}

/// Gives a signal its default action.
pub fn set_default(signal: i32) {
    // SAFETY: no handler is named.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Ignores a signal.
pub fn ignore(signal: i32) {
    // SAFETY: no handler is named.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// `sigaction(2)` with an action that is the default one, or none.
///
/// # Errors
/// As the kernel gives them.
pub fn sigaction(signal: i32, action: Option<DefaultAction>) -> Result<i32, Errno> {
    let default: libc::sigaction = zeroed();
    let action = action.map_or(std::ptr::null(), |DefaultAction| std::ptr::from_ref(&default));
    // SAFETY: null or the default action; the old one is not asked for.
    unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) }.check()
}

/// SIG_DFL without flags.
#[derive(Clone, Copy, Debug)]
pub struct DefaultAction;

/// The address of a signal's handler: 0 for the default action, 1 where it is ignored.
#[must_use]
pub fn handler_of(signal: i32) -> usize {
    let mut action: libc::sigaction = zeroed();
    // SAFETY: a place for the action, which stays as it is.
    unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    action.sa_sigaction
}

/// Gives this thread's handlers of `SA_ONSTACK` the whole of `memory` for a stack.
///
/// # Errors
/// As the kernel gives them.
pub fn set_alternate_stack(memory: &'static Mapping) -> Result<i32, Errno> {
    let start = std::ptr::with_exposed_provenance_mut(memory.start());
    let stack = libc::stack_t { ss_sp: start, ss_flags: 0, ss_size: memory.length() };
    // SAFETY: memory that stays mapped and that nobody else uses; the old stack is not asked for.
    unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) }.check()
}
