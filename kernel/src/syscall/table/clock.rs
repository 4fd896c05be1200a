//! Clocks and sleeping.

use crate::memory::user::UserPointer;
use crate::security::Capability;
use crate::syscall::argument::Structure;
use crate::syscall::clock::{self, ClockAdjustment, TimeZone};
use crate::syscall::names::event as event_names;
use crate::syscall::time_values::{TimeSpecification, TimeValue};

crate::system_call_rows! {
    /// Sleeps. EINTR: a signal's handler ran; the time left is stored. EINVAL: the length is out of range. EFAULT: memory.
    nanosleep { x86_64: 35, aarch64: 101, needs: Nothing, support: Full } = clock::nanosleep,
        (length: UserPointer<TimeSpecification> as Given(Structure::TimeSpecification), remaining: UserPointer<TimeSpecification> as Filled(Structure::TimeSpecification));
    /// Shows realtime. EFAULT: memory. The time zone is always UTC.
    gettimeofday { x86_64: 96, aarch64: 169, needs: Nothing, support: Full } = clock::gettimeofday,
        (now: UserPointer<TimeValue> as Filled(Structure::TimeValue), zone: UserPointer<TimeZone>);
    /// Shows and changes the clock's discipline.
    /// EPERM: it would be changed without CAP_SYS_TIME. EINVAL: it would be changed. EFAULT: memory.
    adjtimex { x86_64: 159, aarch64: 171, needs: Conditional(&[Capability::SysTime]), support: Partial("reads the state of an undisciplined clock") } = clock::adjtimex,
        (adjustment: UserPointer<ClockAdjustment>);
    /// Sets realtime. EPERM: without CAP_SYS_TIME. EINVAL: out of range, or a time zone other than UTC. EFAULT: memory.
    settimeofday { x86_64: 164, aarch64: 170, needs: Conditional(&[Capability::SysTime]), support: Partial("no time zone but UTC") } = clock::settimeofday,
        (now: UserPointer<TimeValue> as Given(Structure::TimeValue), zone: UserPointer<TimeZone>);
    /// Shows realtime in seconds. EFAULT: memory.
    time { x86_64: 201, aarch64: none, needs: Nothing, support: Full } = clock::time, (target: UserPointer<i64>);
    /// Sets a clock. EPERM: without CAP_SYS_TIME, or a CPU-time clock. EINVAL: no such clock, one that cannot be set, or out of range.
    clock_settime { x86_64: 227, aarch64: 112, needs: Conditional(&[Capability::SysTime]), support: Full } = clock::clock_settime,
        (clock: i32 as Value(&event_names::CLOCK), time: UserPointer<TimeSpecification> as Given(Structure::TimeSpecification));
    /// Shows a clock. EINVAL: no such clock, process or thread. EFAULT: memory.
    clock_gettime { x86_64: 228, aarch64: 113, needs: Nothing, support: Partial("no alarm clocks, no clocks behind descriptors") } = clock::clock_gettime,
        (clock: i32 as Value(&event_names::CLOCK), time: UserPointer<TimeSpecification> as Filled(Structure::TimeSpecification));
    /// Shows a clock's smallest step. EINVAL: no such clock, process or thread. EFAULT: memory.
    clock_getres { x86_64: 229, aarch64: 114, needs: Nothing, support: Partial("no alarm clocks, no clocks behind descriptors") } = clock::clock_getres,
        (clock: i32 as Value(&event_names::CLOCK), resolution: UserPointer<TimeSpecification> as Filled(Structure::TimeSpecification));
    /// Sleeps on a clock, for a length of time or (flag 1) until a point. EINTR: a signal's handler ran. EINVAL: no such clock, or
    /// out of range. EOPNOTSUPP: a clock that cannot be slept on. EFAULT: memory.
    clock_nanosleep { x86_64: 230, aarch64: 115, needs: Nothing, support: Partial("not on alarm clocks") } = clock::clock_nanosleep,
        (clock: i32 as Value(&event_names::CLOCK), flags: i32 as Bits(&event_names::TIMER), length: UserPointer<TimeSpecification> as Given(Structure::TimeSpecification), remaining: UserPointer<TimeSpecification> as Filled(Structure::TimeSpecification));
    /// As `adjtimex` for a clock. EOPNOTSUPP: not realtime.
    clock_adjtime { x86_64: 305, aarch64: 266, needs: Conditional(&[Capability::SysTime]), support: Partial("reads the state of an undisciplined clock") } = clock::clock_adjtime,
        (clock: i32 as Value(&event_names::CLOCK), adjustment: UserPointer<ClockAdjustment>);
}
