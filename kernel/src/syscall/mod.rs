//! The system-call interface: one table from which dispatch, the tracer and `docs/SYSCALLS.md` all come.
//!
//! A row ([`SystemCall`]) says everything about a call: its name, its number on each machine, the capability it needs, how far it is
//! supported, its typed arguments and its handler. Rows stand in `table/<subject>.rs`, handlers in `<subject>.rs` beside this file.
//!
//! # From entry to handler
//! 1. The machine saves the registers and calls [`dispatch`] on the thread's kernel stack, interrupts enabled.
//! 2. The number indexes a const-built array for this machine; an unknown or absent number is `ENOSYS`.
//! 3. A row with [`Requirement::Always`] is refused with `EPERM` before its handler runs; a handler whose need depends on its arguments
//!    ([`Requirement::Conditional`]) asks for it itself.
//! 4. The row's shim decodes each register to its argument type (total: it wraps and truncates as Linux does) and calls the handler.
//! 5. The result, or the error negated, goes into the result register.
//!
//! Invariants: two rows never share a number (it does not compile); dispatch takes no lock and allocates nothing.

// What a program hands over is never an index unchecked, and where a value loses bits the code says that Linux drops them too.
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod argument;
pub mod barrier;
pub mod clock;
pub mod credential;
pub mod call;
pub mod dispatch;
pub mod futex;
pub mod limits;
pub mod lookup;
pub mod memory;
pub mod prctl;
pub mod process;
pub mod descriptor;
pub mod extended_attribute;
pub mod mount;
pub mod names;
pub mod numa;
pub mod directory;
pub mod file;
pub mod lock;
pub mod metadata;
pub mod path;
pub mod reference;
pub mod row;
pub mod pipe;
pub mod poll;
pub mod random;
pub mod log;
pub mod event;
pub mod splice;
pub mod scheduling;
mod scheduling_attributes;
pub mod signal;
pub mod system;
pub mod table;
pub mod time_values;
pub mod timer;
pub mod trace;

pub use argument::{Argument, ArgumentKind, CallResult};
pub use call::Call;
pub use dispatch::dispatch;
pub use row::{ArgumentDescription, Handler, Requirement, Support, SystemCall};
