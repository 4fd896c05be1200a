//! The traits of the machine contract, a file for each thing that the kernel asks of a machine. The table in [`arch`](super) says who calls
//! what, and when.

mod context_switch;
mod cpu;
mod devices;
mod mmu;
mod registers;
mod traps;
mod user_access;

pub use context_switch::{ContextSwitch, ExtendedStateOperations};
pub use cpu::Cpu;
pub use devices::{ControllerChoice, Power, SerialConsole, SharedObject, Startup, TimerHardware};
pub use mmu::{Mmu, TableFormat};
pub use registers::{Destination, Registers, SavedSignalContext, SignalDelivery, SignalFrame, SignalStack};
pub use traps::{AccessKind, Exception, PageFault, TrapHandler};
pub use user_access::{UserAccess, UserFault};
