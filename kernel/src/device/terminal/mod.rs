//! Terminals: settings, the line discipline, job control.

pub mod termios;
pub mod input_buffer;
pub mod line_discipline;
