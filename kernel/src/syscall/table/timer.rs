//! Timers that send signals.

use crate::memory::user::UserPointer;
use crate::syscall::argument::Structure;
use crate::syscall::names::event as event_names;
use crate::syscall::timer::{self, EventArgument, IntervalArgument, SettingArgument};

crate::system_call_rows! {
    /// Shows an interval timer. EINVAL: no such timer. EFAULT: memory.
    getitimer { x86_64: 36, aarch64: 102, needs: Nothing, support: Full } = timer::getitimer,
        (which: i32 as Value(&event_names::INTERVAL_TIMER), current: UserPointer<IntervalArgument> as Filled(Structure::IntervalValue));
    /// Sets and shows an interval timer. EINVAL: no such timer, or a time out of range. EFAULT: memory.
    setitimer { x86_64: 38, aarch64: 103, needs: Nothing, support: Full } = timer::setitimer,
        (which: i32 as Value(&event_names::INTERVAL_TIMER), new: UserPointer<IntervalArgument> as Given(Structure::IntervalValue), old: UserPointer<IntervalArgument> as Filled(Structure::IntervalValue));
    /// Asks for SIGALRM after some seconds, 0 for never; gives the seconds that were left.
    alarm { x86_64: 37, aarch64: none, needs: Nothing, support: Full } = timer::alarm, (seconds: u32);
    /// Makes a timer. EINVAL: no such clock, signal or thread. EAGAIN: the user's limit of queued signals is reached.
    /// EOPNOTSUPP: a clock that timers cannot run on. EFAULT: memory.
    timer_create { x86_64: 222, aarch64: 107, needs: Nothing, support: Partial("not on alarm clocks") } = timer::timer_create,
        (clock: i32 as Value(&event_names::CLOCK), event: UserPointer<EventArgument>, identifier: UserPointer<i32> as Filled(Structure::Integer));
    /// Sets and shows a timer. EINVAL: no such timer, or a time out of range. EFAULT: memory.
    timer_settime { x86_64: 223, aarch64: 110, needs: Nothing, support: Full } = timer::timer_settime,
        (identifier: i32, flags: i32 as Bits(&event_names::TIMER), new: UserPointer<SettingArgument> as Given(Structure::IntervalSpecification), old: UserPointer<SettingArgument> as Filled(Structure::IntervalSpecification));
    /// Shows a timer. EINVAL: no such timer. EFAULT: memory.
    timer_gettime { x86_64: 224, aarch64: 108, needs: Nothing, support: Full } = timer::timer_gettime,
        (identifier: i32, current: UserPointer<SettingArgument> as Filled(Structure::IntervalSpecification));
    /// Shows how many expiries the last signal stood for beyond its own. EINVAL: no such timer.
    timer_getoverrun { x86_64: 225, aarch64: 109, needs: Nothing, support: Full } = timer::timer_getoverrun, (identifier: i32);
    /// Deletes a timer. EINVAL: no such timer.
    timer_delete { x86_64: 226, aarch64: 111, needs: Nothing, support: Full } = timer::timer_delete, (identifier: i32);
}
