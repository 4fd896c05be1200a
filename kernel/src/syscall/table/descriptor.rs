//! Descriptors and locks.

use crate::syscall::argument::{Descriptor, Flags};
use crate::syscall::names::file as file_names;
use crate::syscall::{descriptor, lock};

crate::system_call_rows! {
    /// Closes a descriptor. EBADF: it is not open.
    close { x86_64: 3, aarch64: 57, needs: Nothing, support: Full } = descriptor::close, (descriptor: Descriptor);
    /// Controls a device or file. ENOTTY: the kind of file does not know the request.
    ioctl { x86_64: 16, aarch64: 29, needs: Nothing, support: Full } = descriptor::ioctl,
        (descriptor: Descriptor, request: Flags as Request, argument: u64 as RequestArgument);
    /// Gives an open file one more descriptor, the lowest free one. EBADF, EMFILE.
    dup { x86_64: 32, aarch64: 23, needs: Nothing, support: Full } = descriptor::dup, (descriptor: Descriptor);
    /// Gives an open file the descriptor `new`, closing what it was. EBADF: one of them is none. EBUSY: an open under way has it.
    dup2 { x86_64: 33, aarch64: none, needs: Nothing, support: Full } = descriptor::dup2, (descriptor: Descriptor, new: Descriptor);
    /// Controls a descriptor or open file: duplicates, flags, locks, owner, pipe size, seals. EINVAL: no such command. EBADF. EAGAIN, EDEADLK: locks.
    fcntl { x86_64: 72, aarch64: 25, needs: Nothing, support: Partial("no leases, no notification, no write hints") } = descriptor::fcntl,
        (descriptor: Descriptor, command: u32 as Value(&file_names::CONTROL), argument: u64 as FileControl);
    /// Locks a whole file. EAGAIN: it would have to wait and may not. EINTR: a signal came. EINVAL: no such operation.
    flock { x86_64: 73, aarch64: 32, needs: Nothing, support: Full } = lock::flock, (descriptor: Descriptor, operation: u32 as Bits(&file_names::LOCK));
    /// As dup2, with O_CLOEXEC. EINVAL: other flags, or the same number twice.
    dup3 { x86_64: 292, aarch64: 24, needs: Nothing, support: Full } = descriptor::dup3,
        (descriptor: Descriptor, new: Descriptor, flags: Flags as Bits(&file_names::DESCRIPTOR_FLAGS));
    /// Closes or marks a range of descriptors. EINVAL: the range is reversed, or unknown flags.
    close_range { x86_64: 436, aarch64: 436, needs: Nothing, support: Full } = descriptor::close_range,
        (first: u32, last: u32, flags: Flags as Bits(&file_names::CLOSE_RANGE));
}
