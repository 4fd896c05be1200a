//! Files open on a terminal.

use super::transfer::Generation;
use super::{Side, Terminal, TerminalReference, control, job_control};
use crate::base::{Errno, Result};
use crate::fs::file::asynchronous::{Listeners, NaturalOwner};
use crate::fs::file::{FileTraits, anonymous_metadata};
use crate::fs::pipe::Waiting;
use crate::fs::{
    FileOperations, FileType, IoDestination, IoSource, Metadata, OpenFile, OpenFlags, PollEvents, PollTable,
};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

/// A file open on a serial line or a slave.
#[derive(Debug)]
pub struct TerminalFile {
    terminal: TerminalReference,
    generation: Generation,
}

impl TerminalFile {
    /// Opens a terminal. Without `O_NOCTTY` it may become the controlling terminal.
    ///
    /// # Errors
    /// `EIO` for a slave that is locked or has lost its master, `EBUSY` for one that is used exclusively.
    pub fn open(terminal: &TerminalReference, flags: OpenFlags, opened_as: OpenedAs) -> Result<Arc<Self>> {
        let administrator = job_control::job_control().is_none_or(|control| control.is_administrator());
        terminal.with_state(|state| {
            if state.locked || state.master_closed {
                return Err(Errno::EIO);
            }
            if state.exclusive && state.slaves != 0 && !administrator {
                return Err(Errno::EBUSY);
            }
            state.slaves += 1;
            state.slave_was_open = true;
            Ok(())
        })?;
        let reads = !flags.contains(OpenFlags::WRITE_ONLY);
        if opened_as == OpenedAs::Itself && reads && !flags.contains(OpenFlags::NO_CONTROLLING_TERMINAL) {
            job_control::opened(terminal);
        }
        let generation = if opened_as == OpenedAs::Console { Generation::PERMANENT } else { terminal.generation() };
        Ok(Arc::new(Self { terminal: terminal.clone(), generation }))
    }

    /// The terminal.
    #[must_use]
    pub const fn terminal(&self) -> &TerminalReference {
        &self.terminal
    }
}

/// By which device file a terminal is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenedAs {
    /// Its own: it may become the controlling terminal.
    Itself,
    /// `/dev/tty`: it is the controlling terminal.
    Controlling,
    /// `/dev/console`: it does not become the controlling terminal, and a hang-up does not reach the file, so that init keeps its voice.
    Console,
}

impl Drop for TerminalFile {
    fn drop(&mut self) {
        let last = self.terminal.with_state(|state| {
            state.slaves -= 1;
            if state.slaves == 0 {
                state.exclusive = false;
            }
            state.slaves == 0
        });
        if last && self.terminal.is_pty() {
            self.terminal.wake_everybody();
        }
    }
}

impl FileOperations for TerminalFile {
    fn traits(&self) -> FileTraits {
        FileTraits::Stream
    }
    fn read_at(&self, file: &OpenFile, _offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        self.terminal.read(self.generation, destination, Waiting::of(file))
    }
    fn write_at(&self, file: &OpenFile, _offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        self.terminal.write(self.generation, source, Waiting::of(file))
    }
    fn poll(&self, _file: &OpenFile, table: &mut PollTable) -> PollEvents {
        self.terminal.poll(self.generation, table)
    }
    fn ioctl(&self, _file: &OpenFile, request: u32, argument: u64) -> Result<u64> {
        if self.terminal.is_hung_up(self.generation) {
            return Err(if request == control::request::TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO });
        }
        control::ioctl(&self.terminal, Side::Slave, request, argument)
    }
    fn listeners(&self) -> Result<[Option<&Listeners>; 2]> {
        if self.terminal.is_hung_up(self.generation) {
            return Err(Errno::ENOTTY);
        }
        Ok([Some(self.terminal.listeners()), None])
    }
    fn natural_owner(&self) -> NaturalOwner {
        match self.terminal.job().1 {
            0 => NaturalOwner::Caller,
            group => NaturalOwner::Group(group),
        }
    }
    fn metadata(&self, _file: &OpenFile) -> Metadata {
        let permissions = FileType::CharacterDevice.mode_bits() | 0o620;
        Metadata { device_id: self.terminal.number(), ..anonymous_metadata(permissions) }
    }
    fn describe(&self) -> String {
        format!("/dev/{}", self.terminal.name())
    }
    fn reopen(&self, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        Ok(Self::open(&self.terminal, flags, OpenedAs::Itself)?)
    }
}

/// The terminal behind an open file, if it is a serial line or a slave.
#[must_use]
pub fn terminal_of(file: &OpenFile) -> Option<&TerminalReference> {
    file.operations_as::<TerminalFile>().map(TerminalFile::terminal)
}

impl Terminal {
    /// Opens it for the kernel: init's first descriptors.
    ///
    /// # Errors
    /// As [`TerminalFile::open`].
    pub fn open_file(self: &Arc<Self>) -> Result<Arc<OpenFile>> {
        let file = TerminalFile::open(self, OpenFlags::READ_WRITE, OpenedAs::Console)?;
        Ok(OpenFile::anonymous(file, OpenFlags::READ_WRITE))
    }
}
