//! `sigaltstack`: the rules for changing the alternate stack.

use super::thread::{AlternateStack, ThreadSignals};
use crate::arch::{Current, Machine};
use crate::base::{Errno, Result};

/// Sets the stack, for a thread whose stack pointer is `stack_pointer`.
///
/// # Errors
/// `EPERM` while the thread runs on the present one; `EINVAL` for unknown flags; `ENOMEM` when it is too small.
pub fn set(thread: &ThreadSignals, stack_pointer: u64, new: AlternateStack) -> Result<()> {
    let old = thread.alternate_stack();
    if old.holds(stack_pointer) {
        return Err(Errno::EPERM);
    }
    let mode = new.flags & !AlternateStack::AUTO_DISARM;
    if !matches!(mode, 0 | AlternateStack::ON_STACK | AlternateStack::DISABLE) {
        return Err(Errno::EINVAL);
    }
    if new == old {
        return Ok(());
    }
    if mode == AlternateStack::DISABLE {
        thread.set_alternate_stack(AlternateStack { base: 0, size: 0, flags: new.flags });
        return Ok(());
    }
    // As Linux does, although the machine's frames may be longer.
    if new.size < Current::LINUX.shortest_signal_stack {
        return Err(Errno::ENOMEM);
    }
    thread.set_alternate_stack(new);
    Ok(())
}

/// The stack as `sigaltstack` shows it: the flags tell whether it is in use.
#[must_use]
pub fn shown(thread: &ThreadSignals, stack_pointer: u64) -> AlternateStack {
    let stack = thread.alternate_stack();
    let state = if stack.size == 0 {
        AlternateStack::DISABLE
    } else if stack.holds(stack_pointer) {
        AlternateStack::ON_STACK
    } else {
        0
    };
    AlternateStack { flags: state | stack.flags & AlternateStack::AUTO_DISARM, ..stack }
}

#[cfg(test)]
mod tests {
    use super::super::SignalSet;
    use super::*;

    #[test]
    fn the_rules_are_linux_s() {
        let thread = ThreadSignals::new(1, SignalSet::EMPTY);
        let stack = AlternateStack { base: 0x10000, size: 8192, flags: 0 };
        assert_eq!(shown(&thread, 5).flags, AlternateStack::DISABLE);
        assert_eq!(set(&thread, 5, AlternateStack { size: 2047, ..stack }), Err(Errno::ENOMEM));
        assert_eq!(set(&thread, 5, AlternateStack { flags: 4, ..stack }), Err(Errno::EINVAL));
        assert_eq!(set(&thread, 5, AlternateStack { flags: 3, ..stack }), Err(Errno::EINVAL));
        assert_eq!(set(&thread, 5, stack), Ok(()));
        assert_eq!(shown(&thread, 0x10800), AlternateStack { flags: AlternateStack::ON_STACK, ..stack });
        assert_eq!(set(&thread, 0x10800, AlternateStack::default()), Err(Errno::EPERM));
        assert_eq!(set(&thread, 5, AlternateStack { base: 1, size: 2, flags: AlternateStack::DISABLE }), Ok(()));
        assert_eq!(shown(&thread, 2), AlternateStack { base: 0, size: 0, flags: AlternateStack::DISABLE });
        let disarming = AlternateStack { flags: AlternateStack::AUTO_DISARM, ..stack };
        assert_eq!(set(&thread, 5, disarming), Ok(()));
        assert_eq!(set(&thread, 0x10800, stack), Ok(()), "a stack that disarms itself is never in use");
    }
}
