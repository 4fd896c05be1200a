//! Pipes, waiting on many files, event objects, random numbers, the kernel log.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::process::signal::SignalSet;
use crate::security::Capability;
use crate::syscall::argument::Structure;
use crate::syscall::argument::{Descriptor, Flags};
use crate::syscall::event::{self, IntervalSpecification};
use crate::syscall::names::event as event_names;
use crate::syscall::names::file as file_names;
use crate::syscall::poll::{PollDescriptor, SignalSetArgument};
use crate::syscall::time_values::{TimeSpecification, TimeValue};
use crate::syscall::{log, pipe, poll, random, splice};

crate::system_call_rows! {
    /// Makes a pipe. EMFILE: too many descriptors. EFAULT: memory.
    pipe { x86_64: 22, aarch64: none, needs: Nothing, support: Full } = pipe::pipe, (descriptors: UserPointer<[i32; 2]> as Filled(Structure::Descriptors));
    /// Makes a pipe. EINVAL: unknown flags. EMFILE: too many descriptors. EFAULT: memory.
    pipe2 { x86_64: 293, aarch64: 59, needs: Nothing, support: Partial("no notification pipes") } = pipe::pipe2,
        (descriptors: UserPointer<[i32; 2]> as Filled(Structure::Descriptors), flags: Flags as Bits(&file_names::DESCRIPTOR_FLAGS));
    /// Waits for events on descriptors. EINVAL: more than the limit of open files. EINTR: a signal. EFAULT: memory.
    poll { x86_64: 7, aarch64: none, needs: Nothing, support: Full } = poll::poll,
        (descriptors: UserPointer<PollDescriptor> as Polled, count: u32, timeout: i32);
    /// As `poll`, with a finer timeout and a signal mask. EINVAL: also a bad time or mask size.
    ppoll { x86_64: 271, aarch64: 73, needs: Nothing, support: Full } = poll::ppoll,
        (descriptors: UserPointer<PollDescriptor> as Polled, count: u32, timeout: UserPointer<TimeSpecification> as Given(Structure::TimeSpecification),
         mask: UserPointer<SignalSet> as Given(Structure::SignalSet), mask_size: usize);
    /// Waits for sets of descriptors. EBADF: one is not open. EINVAL: negative count or time. EINTR: a signal. EFAULT: memory.
    select { x86_64: 23, aarch64: none, needs: Nothing, support: Full } = poll::select,
        (count: i32, readable: UserPointer<u64>, writable: UserPointer<u64>, exceptional: UserPointer<u64>,
         timeout: UserPointer<TimeValue>);
    /// As `select`, with a finer timeout and a signal mask.
    pselect6 { x86_64: 270, aarch64: 72, needs: Nothing, support: Full } = poll::pselect6,
        (count: i32, readable: UserPointer<u64>, writable: UserPointer<u64>, exceptional: UserPointer<u64>,
         timeout: UserPointer<TimeSpecification>, mask: UserPointer<SignalSetArgument>);
    /// Fills memory with random bytes. EINVAL: unknown flags. EFAULT: memory.
    getrandom { x86_64: 318, aarch64: 278, needs: Nothing, support: Full } = random::getrandom,
        (buffer: VirtualAddress as FilledNoise, length: usize, flags: Flags as Bits(&event_names::RANDOM));
    /// Makes an epoll instance. EINVAL: a size that is not positive. EMFILE: too many descriptors.
    epoll_create { x86_64: 213, aarch64: none, needs: Nothing, support: Full } = event::epoll_create, (size: i32);
    /// Makes an epoll instance. EINVAL: unknown flags. EMFILE: too many descriptors.
    epoll_create1 { x86_64: 291, aarch64: 20, needs: Nothing, support: Full } = event::epoll_create1, (flags: Flags as Bits(&event_names::EPOLL_FILE));
    /// Changes an epoll instance's interest. EBADF: not open. EEXIST, ENOENT: the file is there or not. EPERM: a file that is always ready.
    /// EINVAL: no epoll instance, itself, or a bad combination. ELOOP: a circle, or more than five deep. EFAULT: memory.
    epoll_ctl { x86_64: 233, aarch64: 21, needs: Nothing, support: Full } = event::epoll_ctl,
        (epoll: Descriptor, operation: i32 as Value(&event_names::EPOLL_OPERATION), descriptor: Descriptor, event: VirtualAddress as Given(Structure::EpollEvent));
    /// Waits for events. EBADF: not open. EINVAL: no epoll instance, or a limit that is not positive. EINTR: a signal. EFAULT: memory.
    epoll_wait { x86_64: 232, aarch64: none, needs: Nothing, support: Full } = event::epoll_wait,
        (epoll: Descriptor, events: VirtualAddress as EpollEvents, limit: i32, timeout: i32);
    /// As `epoll_wait`, with a signal mask.
    epoll_pwait { x86_64: 281, aarch64: 22, needs: Nothing, support: Full } = event::epoll_pwait,
        (epoll: Descriptor, events: VirtualAddress as EpollEvents, limit: i32, timeout: i32, mask: UserPointer<SignalSet> as Given(Structure::SignalSet), mask_size: usize);
    /// As `epoll_pwait`, with a finer timeout.
    epoll_pwait2 { x86_64: 441, aarch64: 441, needs: Nothing, support: Full } = event::epoll_pwait2,
        (epoll: Descriptor, events: VirtualAddress as EpollEvents, limit: i32, timeout: UserPointer<TimeSpecification> as Given(Structure::TimeSpecification),
         mask: UserPointer<SignalSet> as Given(Structure::SignalSet), mask_size: usize);
    /// Makes an event counter. EMFILE: too many descriptors.
    eventfd { x86_64: 284, aarch64: none, needs: Nothing, support: Full } = event::eventfd, (count: u32);
    /// Makes an event counter. EINVAL: unknown flags. EMFILE: too many descriptors.
    eventfd2 { x86_64: 290, aarch64: 19, needs: Nothing, support: Full } = event::eventfd2, (count: u32, flags: Flags as Bits(&event_names::EVENT_FILE));
    /// Makes a timer that is a file. EINVAL: unknown clock or flags. EPERM: an alarm clock. EMFILE: too many descriptors.
    timerfd_create { x86_64: 283, aarch64: 85, needs: Nothing, support: Partial("no alarm clocks") } = event::timerfd_create,
        (clock: i32 as Value(&event_names::CLOCK), flags: Flags as Bits(&event_names::TIMER_FILE_FLAGS));
    /// Arms or disarms it. EBADF: not open. EINVAL: no timer, unknown flags, a bad time. EFAULT: memory.
    timerfd_settime { x86_64: 286, aarch64: 86, needs: Nothing, support: Full } = event::timerfd_settime,
        (timer: Descriptor, flags: Flags as Bits(&event_names::TIMER_FILE), new: UserPointer<IntervalSpecification> as Given(Structure::IntervalSpecification), old: UserPointer<IntervalSpecification> as Filled(Structure::IntervalSpecification));
    /// Shows the time left. EBADF: not open. EINVAL: no timer. EFAULT: memory.
    timerfd_gettime { x86_64: 287, aarch64: 87, needs: Nothing, support: Full } = event::timerfd_gettime,
        (timer: Descriptor, current: UserPointer<IntervalSpecification> as Filled(Structure::IntervalSpecification));
    /// Moves bytes from or to a pipe. EBADF: not open so. ESPIPE: an offset into a pipe. EINVAL: no pipe, one pipe twice, unknown flags.
    /// EAGAIN: it would wait. EFAULT: memory.
    splice { x86_64: 275, aarch64: 76, needs: Nothing, support: Partial("copies; pages are not moved") } = splice::splice,
        (source: Descriptor, source_offset: UserPointer<i64> as Given(Structure::Offset), target: Descriptor, target_offset: UserPointer<i64> as Given(Structure::Offset),
         length: usize, flags: Flags as Bits(&file_names::SPLICE));
    /// Copies from a pipe to another without taking. EBADF: not open so. EINVAL: not two pipes, unknown flags. EAGAIN: it would wait.
    tee { x86_64: 276, aarch64: 77, needs: Nothing, support: Partial("copies; pages are not shared") } = splice::tee,
        (source: Descriptor, target: Descriptor, length: usize, flags: Flags as Bits(&file_names::SPLICE));
    /// Copies between memory and a pipe. EBADF: no pipe. EINVAL: too many buffers, unknown flags. EAGAIN: it would wait. EFAULT: memory.
    vmsplice { x86_64: 278, aarch64: 75, needs: Nothing, support: Partial("copies; pages are not given") } = splice::vmsplice,
        (descriptor: Descriptor, vectors: VirtualAddress as Vectors, count: usize, flags: Flags as Bits(&file_names::SPLICE));
    /// Copies from a file to another. EBADF: not open so. EINVAL: a source without a position, a target in append mode. EFAULT: memory.
    sendfile { x86_64: 40, aarch64: 71, needs: Nothing, support: Full } = splice::sendfile,
        (target: Descriptor, source: Descriptor, source_offset: UserPointer<i64> as Given(Structure::Offset), count: usize);
    /// Reads and controls the kernel log. EPERM: without CAP_SYSLOG, for all but reading everything and the size.
    /// EINVAL: unknown action, no buffer, a bad level. EFAULT: memory.
    syslog { x86_64: 103, aarch64: 116, needs: Conditional(&[Capability::Syslog, Capability::SysAdmin]), support: Full } = log::syslog,
        (action: i32, buffer: VirtualAddress, length: i32);
}
