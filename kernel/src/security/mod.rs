//! Who may do what: credentials and capability sets as plain values.
//!
//! Nothing here looks anything up: a caller that needs a decision is handed [`Credentials`] and asks them. A process holds
//! its credentials behind an `Arc` that is replaced as a whole when a call changes them, so that a reader's copy never
//! changes under it.

pub mod capability;
pub mod credentials;
pub mod random;

pub use capability::{Capability, CapabilitySet};
pub use credentials::{Credentials, ExecIdentity, GroupList, SecureBits};
