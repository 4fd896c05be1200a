//! The way out: what a program writes and what is echoed, as the line gets it; and where the cursor then is.

use super::{LineDiscipline, is_control};
use crate::device::terminal::termios::{LocalFlags, OutputFlags};
use alloc::collections::VecDeque;

impl LineDiscipline {
    /// Echoes a byte, control characters as `^X` where `ECHOCTL` says so.
    pub(super) fn echo_character(&mut self, byte: u8, echo: &mut VecDeque<u8>) {
        if self.has(LocalFlags::ECHOCTL) && is_control(byte) && byte != b'\t' {
            echo.push_back(b'^');
            echo.push_back(byte ^ 0o100);
            self.column += 2;
        } else {
            self.echo_raw(byte, echo);
        }
    }

    /// Echoes a byte as it is, by way of output processing where that is on.
    pub(super) fn echo_raw(&mut self, byte: u8, echo: &mut VecDeque<u8>) {
        if self.termios.output.contains(OutputFlags::OPOST) {
            self.process_output_byte(byte, echo);
        } else {
            echo.push_back(byte);
        }
    }

    /// Takes a program's bytes to the line, until `out` has `limit` bytes or more. Gives how many bytes were taken.
    pub fn process_output(&mut self, bytes: &[u8], out: &mut VecDeque<u8>, limit: usize) -> usize {
        if !self.termios.output.contains(OutputFlags::OPOST) {
            let count = bytes.len().min(limit.saturating_sub(out.len()));
            out.extend(bytes.iter().take(count));
            return count;
        }
        let mut taken = 0;
        for &byte in bytes {
            if out.len() >= limit {
                break;
            }
            self.process_output_byte(byte, out);
            taken += 1;
        }
        taken
    }

    #[inline]
    fn process_output_byte(&mut self, byte: u8, out: &mut VecDeque<u8>) {
        let flags = self.termios.output;
        match byte {
            b'\n' => {
                if flags.contains(OutputFlags::ONLRET) {
                    self.column = 0;
                }
                if flags.contains(OutputFlags::ONLCR) {
                    self.column = 0;
                    out.push_back(b'\r');
                }
                self.canonical_column = self.column;
                out.push_back(b'\n');
            }
            b'\r' => {
                if flags.contains(OutputFlags::ONOCR) && self.column == 0 {
                    return;
                }
                if flags.contains(OutputFlags::OCRNL) {
                    if flags.contains(OutputFlags::ONLRET) {
                        self.column = 0;
                        self.canonical_column = 0;
                    }
                    out.push_back(b'\n');
                } else {
                    self.column = 0;
                    self.canonical_column = 0;
                    out.push_back(b'\r');
                }
            }
            b'\t' => {
                let spaces = 8 - (self.column & 7);
                self.column += spaces;
                if flags.contains(OutputFlags::XTABS) {
                    out.extend(core::iter::repeat_n(b' ', spaces));
                } else {
                    out.push_back(b'\t');
                }
            }
            8 => {
                self.column = self.column.saturating_sub(1);
                out.push_back(8);
            }
            _ => {
                let byte = if flags.contains(OutputFlags::OLCUC) { byte.to_ascii_uppercase() } else { byte };
                if !is_control(byte) && !self.is_continuation(byte) {
                    self.column = self.column.wrapping_add(1);
                }
                out.push_back(byte);
            }
        }
    }
}
