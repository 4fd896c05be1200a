//! How a register becomes an argument and a result becomes a register.
//!
//! Decoding is total: as on Linux, a 32-bit argument is the register's low half, whatever the high half holds. Checking a value and choosing
//! its errno belong to the handler.

use super::names::{BitNames, ValueNames};
use crate::base::VirtualAddress;

/// What an argument is, so that the tracer can write it. A type has the kind that needs no table; a row names a better one behind `as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A signed number.
    Signed,
    /// An unsigned number, in decimal.
    Unsigned,
    /// Bits without names, or an offset in memory: in hexadecimal.
    Flags,
    /// A mode, in octal.
    Mode,
    /// The mode of a file that `open` makes: there only if the flags before it ask for one.
    CreationMode,
    /// An address.
    Address,
    /// The address of a NUL-terminated path.
    Path,
    /// The address of a NUL-terminated text.
    Text,
    /// A file descriptor; `AT_FDCWD` by name.
    FileDescriptor,
    /// A signal number.
    Signal,
    /// A process or thread identifier.
    ProcessId,
    /// A user or group identifier, of which -1 is "leave as it is".
    UserId,
    /// Bits with names.
    Bits(&'static BitNames),
    /// One value of several.
    Value(&'static ValueNames),
    /// Bytes that the call reads; the next argument is their number.
    Bytes,
    /// Bytes that the call has filled; its result is their number.
    FilledBytes,
    /// The same, of which none is text.
    FilledNoise,
    /// Directory entries that the call has filled.
    Entries,
    /// A structure that the call reads.
    Given(Structure),
    /// A structure that the call has filled.
    Filled(Structure),
    /// Buffers that the call reads (`writev`); the next argument is their number.
    Vectors,
    /// Buffers that the call has filled (`readv`); the next argument is their number.
    FilledVectors,
    /// Descriptors to poll; the next argument is their number.
    Polled,
    /// Events of an epoll file that the call has filled; its result is their number.
    EpollEvents,
    /// The arguments of a program.
    Strings,
    /// The environment of a program.
    Environment,
    /// The third argument of `fcntl`.
    FileControl,
    /// The request of `ioctl`.
    Request,
    /// The third argument of `ioctl`.
    RequestArgument,
    /// The operation of `futex`.
    FutexOperation,
    /// The fourth argument of `futex`, and the two behind it.
    FutexRest,
    /// The second argument of `prctl`, and those behind it.
    OptionArgument,
    /// The new address of `mremap`: there only if the flags before it ask for it.
    FixedAddress,
}

/// Structures whose content the tracer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// `struct stat`.
    Status,
    /// `struct statx`.
    ExtendedStatus,
    /// `struct timespec`.
    TimeSpecification,
    /// Two of them.
    TwoTimeSpecifications,
    /// `struct timeval`.
    TimeValue,
    /// `struct itimerval`.
    IntervalValue,
    /// `struct itimerspec`.
    IntervalSpecification,
    /// `struct rlimit64`.
    Limit,
    /// The kernel's `struct sigaction`.
    SignalAction,
    /// The kernel's `sigset_t`, 8 bytes.
    SignalSet,
    /// Two descriptors, of a pipe.
    Descriptors,
    /// A status as `wait4` stores it.
    WaitStatus,
    /// `struct utsname`.
    SystemName,
    /// `struct sysinfo`.
    SystemInformation,
    /// `struct rusage`.
    Usage,
    /// `struct epoll_event`.
    EpollEvent,
    /// An `int`.
    Integer,
    /// A `long`.
    Offset,
}

/// A type that a register decodes to.
pub trait Argument: Sized {
    /// How it is shown.
    const KIND: ArgumentKind;
    /// The value in a register.
    fn decode(register: u64) -> Self;
}

/// The low 32 bits: what Linux keeps where its structure or its parameter has no more.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "that is its purpose")]
pub const fn low_half(value: u64) -> u32 {
    value as u32
}

/// A type that a handler returns.
pub trait CallResult {
    /// The result register's value.
    ///
    /// # Errors
    /// None of its own; a result that is itself fallible passes its error on.
    fn into_register(self) -> crate::base::Result<u64>;
}

macro_rules! integers {
    ($($type:ty: $kind:ident),*) => {$(
        impl Argument for $type {
            const KIND: ArgumentKind = ArgumentKind::$kind;
            #[inline]
            #[expect(clippy::allow_attributes, reason = "the cast is exact for some widths only")]
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "Linux takes the register's low part")]
            fn decode(register: u64) -> Self {
                register as Self
            }
        }
        impl CallResult for $type {
            #[inline]
            #[expect(clippy::allow_attributes, reason = "the cast loses a sign for some types only")]
            #[allow(clippy::cast_sign_loss, clippy::cast_lossless, reason = "a register holds the sign-extended value")]
            fn into_register(self) -> crate::base::Result<u64> {
                Ok(self as u64)
            }
        }
    )*};
}

integers!(i32: Signed, u32: Unsigned, i64: Signed, u64: Unsigned, usize: Unsigned);

impl CallResult for () {
    #[inline]
    fn into_register(self) -> crate::base::Result<u64> {
        Ok(0)
    }
}

impl CallResult for VirtualAddress {
    #[inline]
    fn into_register(self) -> crate::base::Result<u64> {
        Ok(self.value())
    }
}

impl Argument for VirtualAddress {
    const KIND: ArgumentKind = ArgumentKind::Address;
    #[inline]
    fn decode(register: u64) -> Self {
        Self::new(register)
    }
}

impl<T> Argument for crate::memory::user::UserPointer<T> {
    const KIND: ArgumentKind = ArgumentKind::Address;
    #[inline]
    fn decode(register: u64) -> Self {
        Self::new(VirtualAddress::new(register))
    }
}

macro_rules! newtypes {
    ($($(#[$doc:meta])* $name:ident($inner:ty): $kind:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name(pub $inner);
        impl Argument for $name {
            const KIND: ArgumentKind = ArgumentKind::$kind;
            #[inline]
            fn decode(register: u64) -> Self {
                Self(<$inner as Argument>::decode(register))
            }
        }
    )*};
}

newtypes! {
    /// The address of a NUL-terminated path in user space.
    PathPointer(VirtualAddress): Path;
    /// A file descriptor as the caller gave it, or `AT_FDCWD` (-100).
    Descriptor(i32): FileDescriptor;
    /// Flag bits.
    Flags(u32): Flags;
    /// Flag bits, 64 of them.
    LongFlags(u64): Flags;
    /// File mode bits.
    ModeBits(u32): Mode;
    /// A signal number, unchecked.
    SignalNumber(i32): Signal;
    /// A process, thread or group identifier, unchecked.
    ProcessIdentifier(i32): ProcessId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_takes_the_low_half_as_linux_does() {
        assert_eq!(i32::decode(0xdead_beef_ffff_ffff), -1);
        assert_eq!(u32::decode(0x1_0000_0002), 2);
        assert_eq!(Descriptor::decode(0xffff_ff9c), Descriptor(-100));
        assert_eq!((-1i32).into_register(), Ok(u64::MAX));
    }
}
