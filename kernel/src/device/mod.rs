//! Devices: terminals, pseudo terminals, the memory devices.

pub mod terminal;
