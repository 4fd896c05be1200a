//! Values that calls about events, clocks and waiting take.

use super::{BitNames, ValueNames};

/// `CLOCK_*`.
pub static CLOCK: ValueNames = ValueNames {
    unknown: "CLOCK_???",
    values: &[
        (0, "CLOCK_REALTIME"),
        (1, "CLOCK_MONOTONIC"),
        (2, "CLOCK_PROCESS_CPUTIME_ID"),
        (3, "CLOCK_THREAD_CPUTIME_ID"),
        (4, "CLOCK_MONOTONIC_RAW"),
        (5, "CLOCK_REALTIME_COARSE"),
        (6, "CLOCK_MONOTONIC_COARSE"),
        (7, "CLOCK_BOOTTIME"),
        (8, "CLOCK_REALTIME_ALARM"),
        (9, "CLOCK_BOOTTIME_ALARM"),
        (11, "CLOCK_TAI"),
    ],
};

/// `clock_nanosleep` and `timer_settime`.
pub static TIMER: BitNames = BitNames { unknown: "TIMER_???", zero: "0", field: None, bits: &[(1, "TIMER_ABSTIME")] };

/// `timerfd_settime`.
pub static TIMER_FILE: BitNames = BitNames {
    unknown: "TFD_???",
    zero: "0",
    field: None,
    bits: &[(1, "TFD_TIMER_ABSTIME"), (2, "TFD_TIMER_CANCEL_ON_SET")],
};

/// `timerfd_create`.
pub static TIMER_FILE_FLAGS: BitNames = BitNames {
    unknown: "TFD_???",
    zero: "0",
    field: None,
    bits: &[(0o2_000_000, "TFD_CLOEXEC"), (0o4000, "TFD_NONBLOCK")],
};

/// `eventfd2`.
pub static EVENT_FILE: BitNames = BitNames {
    unknown: "EFD_???",
    zero: "0",
    field: None,
    bits: &[(1, "EFD_SEMAPHORE"), (0o2_000_000, "EFD_CLOEXEC"), (0o4000, "EFD_NONBLOCK")],
};

/// `signalfd4`.
pub static SIGNAL_FILE: BitNames = BitNames {
    unknown: "SFD_???",
    zero: "0",
    field: None,
    bits: &[(0o2_000_000, "SFD_CLOEXEC"), (0o4000, "SFD_NONBLOCK")],
};

/// Interval timers.
pub static INTERVAL_TIMER: ValueNames =
    ValueNames { unknown: "ITIMER_???", values: &[(0, "ITIMER_REAL"), (1, "ITIMER_VIRTUAL"), (2, "ITIMER_PROF")] };

/// `epoll_create1`.
pub static EPOLL_FILE: BitNames =
    BitNames { unknown: "EPOLL_???", zero: "0", field: None, bits: &[(0o2_000_000, "EPOLL_CLOEXEC")] };

/// `epoll_ctl`.
pub static EPOLL_OPERATION: ValueNames = ValueNames {
    unknown: "EPOLL_CTL_???",
    values: &[(1, "EPOLL_CTL_ADD"), (2, "EPOLL_CTL_DEL"), (3, "EPOLL_CTL_MOD")],
};

/// `EPOLL*`.
pub static EPOLL: BitNames = BitNames {
    unknown: "EPOLL???",
    zero: "0",
    field: None,
    bits: &[
        (0x1, "EPOLLIN"),
        (0x2, "EPOLLPRI"),
        (0x4, "EPOLLOUT"),
        (0x40, "EPOLLRDNORM"),
        (0x80, "EPOLLRDBAND"),
        (0x100, "EPOLLWRNORM"),
        (0x200, "EPOLLWRBAND"),
        (0x400, "EPOLLMSG"),
        (0x8, "EPOLLERR"),
        (0x10, "EPOLLHUP"),
        (0x2000, "EPOLLRDHUP"),
        (0x1000_0000, "EPOLLEXCLUSIVE"),
        (0x2000_0000, "EPOLLWAKEUP"),
        (0x4000_0000, "EPOLLONESHOT"),
        (0x8000_0000, "EPOLLET"),
    ],
};

/// `POLL*`.
pub static POLL: BitNames = BitNames {
    unknown: "POLL???",
    zero: "0",
    field: None,
    bits: &[
        (0x1, "POLLIN"),
        (0x2, "POLLPRI"),
        (0x4, "POLLOUT"),
        (0x40, "POLLRDNORM"),
        (0x100, "POLLWRNORM"),
        (0x80, "POLLRDBAND"),
        (0x200, "POLLWRBAND"),
        (0x8, "POLLERR"),
        (0x10, "POLLHUP"),
        (0x20, "POLLNVAL"),
        (0x2000, "POLLRDHUP"),
    ],
};

/// `getrandom`.
pub static RANDOM: BitNames = BitNames {
    unknown: "GRND_???",
    zero: "0",
    field: None,
    bits: &[(1, "GRND_NONBLOCK"), (2, "GRND_RANDOM"), (4, "GRND_INSECURE")],
};

/// `futex`, its flags included in the names as strace has them.
pub static FUTEX: ValueNames = ValueNames {
    unknown: "FUTEX_???",
    values: &[
        (0, "FUTEX_WAIT"),
        (1, "FUTEX_WAKE"),
        (2, "FUTEX_FD"),
        (3, "FUTEX_REQUEUE"),
        (4, "FUTEX_CMP_REQUEUE"),
        (5, "FUTEX_WAKE_OP"),
        (6, "FUTEX_LOCK_PI"),
        (7, "FUTEX_UNLOCK_PI"),
        (8, "FUTEX_TRYLOCK_PI"),
        (9, "FUTEX_WAIT_BITSET"),
        (10, "FUTEX_WAKE_BITSET"),
        (11, "FUTEX_WAIT_REQUEUE_PI"),
        (12, "FUTEX_CMP_REQUEUE_PI"),
        (13, "FUTEX_LOCK_PI2"),
    ],
};
