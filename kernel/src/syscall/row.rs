//! A row of the table and the macro that writes rows.
//!
//! ```ignore
//! rows! {
//!     /// Reads up to `count` bytes from an open file.
//!     /// EBADF: `fd` is not open for reading. EFAULT: `buffer` is outside the address space.
//!     read { x86_64: 0, aarch64: 63, needs: Nothing, support: Full } = file::read,
//!         (descriptor: Descriptor, buffer: VirtualAddress as FilledBytes, count: usize);
//!     /// Makes a directory. (x86_64 only: arm64 has `mkdirat` alone.)
//!     mkdir { x86_64: 83, aarch64: none, needs: Nothing, support: Full } = path::mkdir(path: PathPointer, mode: u32);
//!     /// Sets the host's name.
//!     sethostname { x86_64: 170, aarch64: 161, needs: Always(Capability::SysAdmin), support: Full } = system::sethostname(name: VirtualAddress, length: i32);
//!     /// Loads a program into the kernel.
//!     bpf { x86_64: 321, aarch64: 280, needs: Nothing, support: Absent };
//! }
//! ```
//! `support` is `Full`, `Partial("what is missing")` or `Absent`; an absent row has no handler. The name before the braces becomes the call's
//! name; an argument is written by the tracer as its type says, or as the kind behind `as` does ([`ArgumentKind`]). The documentation becomes its entry in `docs/SYSCALLS.md`.

use super::argument::ArgumentKind;
use super::call::Call;
use crate::base::Result;
use crate::security::Capability;

/// A decoded call: takes its arguments from the frame, gives the result register's value.
pub type Handler = fn(&mut Call<'_>) -> Result<u64>;

/// What a caller must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Everybody may call it.
    Nothing,
    /// Refused with `EPERM` before the handler without this capability.
    Always(Capability),
    /// The handler asks for one of these, depending on its arguments.
    Conditional(&'static [Capability]),
}

/// How far a call is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// As Linux has it.
    Full,
    /// With the exceptions that the note names.
    Partial(&'static str),
    /// Answers `ENOSYS`.
    Absent,
}

/// An argument's name and kind, for the reference and the tracer.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentDescription {
    /// Its name in the manual.
    pub name: &'static str,
    /// How it is shown.
    pub kind: ArgumentKind,
}

/// One system call.
#[derive(Clone, Copy, Debug)]
pub struct SystemCall {
    /// Linux's name.
    pub name: &'static str,
    /// The number on x86_64, if it exists there.
    pub x86_64: Option<u16>,
    /// The number on AArch64, if it exists there.
    pub aarch64: Option<u16>,
    /// What the caller must be allowed to do.
    pub requirement: Requirement,
    /// How far it is there.
    pub support: Support,
    /// Its arguments, in register order.
    pub arguments: &'static [ArgumentDescription],
    /// Decoding and handler in one; `None` for an absent call.
    pub handler: Option<Handler>,
    /// What it does and its errors.
    pub documentation: &'static str,
}

/// Writes rows; see the module's documentation.
#[macro_export]
macro_rules! system_call_rows {
    ($($(#[doc = $doc:literal])* $name:ident { x86_64: $x86:tt, aarch64: $arm:tt, needs: $needs:expr, support: $support:expr }
        $(= $handler:path $(, ($($argument:ident: $kind:ty $(as $shown:ident $(($detail:expr))?)?),*))?)?;)*) => {
        /// This subject's rows.
        pub const ROWS: &[$crate::syscall::SystemCall] = {
            #[allow(unused_imports, reason = "a subject need not use every form")]
            use $crate::syscall::row::{Requirement::*, Support::*};
            &[$($crate::syscall::SystemCall {
                name: stringify!($name),
                x86_64: $crate::system_call_rows!(@number $x86),
                aarch64: $crate::system_call_rows!(@number $arm),
                requirement: $needs,
                support: $support,
                arguments: &[$($($($crate::syscall::ArgumentDescription {
                    name: stringify!($argument),
                    kind: $crate::system_call_rows!(@kind $kind $(, $shown $(($detail))?)?),
                }),*)?)?],
                handler: $crate::system_call_rows!(@handler $($handler $(, $($kind),*)?)?),
                documentation: concat!($($doc, "\n"),*),
            }),*]
        };
    };
    (@kind $kind:ty) => { <$kind as $crate::syscall::Argument>::KIND };
    (@kind $kind:ty, $shown:ident) => { $crate::syscall::ArgumentKind::$shown };
    (@kind $kind:ty, $shown:ident ($detail:expr)) => { $crate::syscall::ArgumentKind::$shown($detail) };
    (@number none) => { None };
    (@number $number:literal) => { Some($number) };
    (@handler) => { None };
    (@handler $h:path $(,)?) => { Some(|call| $crate::syscall::CallResult::into_register($h(call)?)) };
    (@handler $h:path, $a:ty) => { Some(|call| { let r = call.arguments();
        $crate::syscall::CallResult::into_register($h(call, <$a as $crate::syscall::Argument>::decode(r[0]))?) }) };
    (@handler $h:path, $a:ty, $b:ty) => { Some(|call| { let r = call.arguments(); $crate::syscall::CallResult::into_register(
        $h(call, <$a as $crate::syscall::Argument>::decode(r[0]), <$b as $crate::syscall::Argument>::decode(r[1]))?) }) };
    (@handler $h:path, $a:ty, $b:ty, $c:ty) => { Some(|call| { let r = call.arguments(); $crate::syscall::CallResult::into_register(
        $h(call, <$a as $crate::syscall::Argument>::decode(r[0]), <$b as $crate::syscall::Argument>::decode(r[1]),
           <$c as $crate::syscall::Argument>::decode(r[2]))?) }) };
    (@handler $h:path, $a:ty, $b:ty, $c:ty, $d:ty) => { Some(|call| { let r = call.arguments(); $crate::syscall::CallResult::into_register(
        $h(call, <$a as $crate::syscall::Argument>::decode(r[0]), <$b as $crate::syscall::Argument>::decode(r[1]),
           <$c as $crate::syscall::Argument>::decode(r[2]), <$d as $crate::syscall::Argument>::decode(r[3]))?) }) };
    (@handler $h:path, $a:ty, $b:ty, $c:ty, $d:ty, $e:ty) => { Some(|call| { let r = call.arguments(); $crate::syscall::CallResult::into_register(
        $h(call, <$a as $crate::syscall::Argument>::decode(r[0]), <$b as $crate::syscall::Argument>::decode(r[1]),
           <$c as $crate::syscall::Argument>::decode(r[2]), <$d as $crate::syscall::Argument>::decode(r[3]),
           <$e as $crate::syscall::Argument>::decode(r[4]))?) }) };
    (@handler $h:path, $a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $f:ty) => { Some(|call| { let r = call.arguments(); $crate::syscall::CallResult::into_register(
        $h(call, <$a as $crate::syscall::Argument>::decode(r[0]), <$b as $crate::syscall::Argument>::decode(r[1]),
           <$c as $crate::syscall::Argument>::decode(r[2]), <$d as $crate::syscall::Argument>::decode(r[3]),
           <$e as $crate::syscall::Argument>::decode(r[4]), <$f as $crate::syscall::Argument>::decode(r[5]))?) }) };
}
