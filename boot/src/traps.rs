//! The kernel as the machine calls it.
