//! What the test programs share: a list of checks that prints one line each and ends with a total.
//!
//! A program of `src/bin/` is an ordinary static Linux program. It checks what the manual promises, prints nothing that
//! differs from run to run (no addresses, process numbers or times) and ends with status 0 when all checks passed. `cargo xtask test`
//! runs each on the host's Linux first and then on Ashlar, and compares output and status.

use crate::system::Errno;
use std::fmt::Debug;
use std::process::ExitCode;

/// The checks of one program.
#[derive(Default, Debug)]
pub struct Checks {
    passed: u32,
    failed: u32,
}

impl Checks {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Something must hold.
    pub fn that(&mut self, name: &str, holds: bool) {
        if holds {
            self.passed += 1;
            println!("ok {name}");
        } else {
            self.failed += 1;
            println!("FAILED {name}");
        }
    }

    /// Two values must be equal; both are shown when they are not.
    pub fn equal<T: PartialEq + Debug>(&mut self, name: &str, found: T, expected: T) {
        if found == expected {
            self.passed += 1;
            println!("ok {name}");
        } else {
            self.failed += 1;
            println!("FAILED {name}: found {found:?}, expected {expected:?}");
        }
    }

    /// A system call must have failed with `errno`.
    pub fn fails<T>(&mut self, name: &str, result: Result<T, Errno>, errno: i32) {
        self.equal(name, result.err().map_or(0, |error| error.0), errno);
    }

    /// Prints the total; the program's status.
    #[must_use]
    pub fn finish(self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
