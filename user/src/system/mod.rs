//! The safe layer between the test programs and the kernel: typed calls, so that a case says what it asks and not how.
//!
//! | module | holds |
//! |---|---|
//! | [`errno`] | [`Errno`], and how a C result becomes a `Result` |
//! | [`plain`] | [`Plain`], the structures whose every bit pattern is a value, and [`zeroed`] |
//! | [`number`] | [`by_number`] and [`raw!`](crate::raw): a call by its number, with the arguments that no typed function takes |
//! | [`descriptors`], [`files`], [`events`], [`terminals`], [`time`] | calls by subject |
//! | [`processes`], [`identity`], [`resources`], [`threads`], [`sequences`] | calls by subject |
//! | [`signals`], [`handlers`] | signal sets, waiting for signals; handlers and what they are told |
//! | [`mapping`], [`nowhere`] | memory of a case's own, and addresses where no memory can be |
//! | [`machine`] | the registers in a handler's context |
//!
//! Invariants:
//! - A typed function takes numbers, strings that end in NUL, and borrowed places of the type that the C library's prototype names, with
//!   their true lengths. The kernel writes nowhere else, so those functions are sound for every argument.
//! - Bad addresses on purpose go through [`by_number`], whose rule is stated there.
//! - `unsafe` stands in these modules, in those programs that start without Rust's runtime, and in the cases whose subject is an
//!   instruction; each such file allows it by name.

pub mod descriptors;
pub mod errno;
pub mod events;
pub mod files;
pub mod handlers;
pub mod identity;
pub mod machine;
pub mod mapping;
pub mod nowhere;
pub mod number;
pub mod plain;
pub mod processes;
mod prototypes;
pub mod resources;
pub mod sequences;
pub mod signals;
pub mod terminals;
pub mod threads;
pub mod time;

pub use descriptors::*;
pub use errno::*;
pub use events::*;
pub use files::*;
pub use handlers::*;
pub use identity::*;
pub use machine::Context;
pub use mapping::*;
pub use nowhere::*;
pub use number::*;
pub use plain::*;
pub use processes::*;
pub use resources::*;
pub use sequences::*;
pub use signals::*;
pub use terminals::*;
pub use threads::*;
pub use time::*;
