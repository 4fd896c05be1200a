//! Pseudo terminals (`pty(7)`): `/dev/ptmx`, masters, and which slaves exist.
//!
//! Opening `ptmx` makes a [`Terminal`] whose other end is the master file. The slave is opened through devpts (or
//! `TIOCGPTPEER`) by its number. When the master is closed the slave is hung up and its number is free again.

use super::terminal::Side;
use super::terminal::control::{self, request};
use super::terminal::file::{OpenedAs, TerminalFile};
use super::terminal::termios::Termios;
use super::terminal::{Backend, Terminal, TerminalReference};
use crate::base::{Errno, Result};
use crate::fs::device_registry::{
    DeviceOpen, DeviceOpenRequest, register_character_device, register_character_devices,
};
use crate::fs::file::FileTraits;
use crate::fs::file::asynchronous::{Listeners, NaturalOwner};
use crate::fs::pipe::Waiting;
use crate::fs::{DeviceNumber, FileOperations, IoDestination, IoSource, OpenFile, OpenFlags, PollEvents, PollTable};
use crate::sync::{LockRank, SpinLock};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The major number of slaves; 136 to 143 are reserved, one is enough for 2^20 of them.
pub const SLAVE_MAJOR: u32 = 136;
/// How many there may be (`/proc/sys/kernel/pty/max`).
pub const MAXIMUM: u32 = 4096;

/// The slaves that exist, by number, and who made each (its device file's owner).
static SLAVES: SpinLock<Vec<Option<Slave>>> = SpinLock::new(LockRank::FileSystem, Vec::new());

/// A slave that exists.
#[derive(Clone, Debug)]
pub struct Slave {
    /// The terminal.
    pub terminal: TerminalReference,
    /// Its device file's owner.
    pub uid: u32,
    /// Its device file's group.
    pub gid: u32,
}

/// The slave numbered `number`.
#[must_use]
pub fn slave(number: u32) -> Option<Slave> {
    SLAVES.lock().get(usize::try_from(number).ok()?).cloned().flatten()
}

/// The numbers of all slaves, rising.
#[must_use]
pub fn numbers() -> Vec<u32> {
    let slaves = SLAVES.lock();
    (0u32..).zip(slaves.iter()).filter(|(_, slave)| slave.is_some()).map(|(number, _)| number).collect()
}

/// A master.
#[derive(Debug)]
pub struct Master {
    terminal: TerminalReference,
}

impl Master {
    /// Makes a pseudo terminal whose slave belongs to a user.
    ///
    /// # Errors
    /// `ENOSPC` when there are too many.
    pub fn new(uid: u32, gid: u32) -> Result<Self> {
        let mut slaves = SLAVES.lock();
        let index = slaves.iter().position(Option::is_none).unwrap_or(slaves.len());
        let number = u32::try_from(index).ok().filter(|&number| number < MAXIMUM).ok_or(Errno::ENOSPC)?;
        let terminal = Terminal::new(
            format!("pts/{number}"),
            DeviceNumber::new(SLAVE_MAJOR, number),
            Termios::pty_slave(),
            Backend::Pty,
        );
        terminal.with_state(|state| state.locked = true);
        if index == slaves.len() {
            slaves.push(None);
        }
        if let Some(slot) = slaves.get_mut(index) {
            *slot = Some(Slave { terminal: terminal.clone(), uid, gid });
        }
        Ok(Self { terminal })
    }

    /// The terminal between master and slave.
    #[must_use]
    pub const fn terminal(&self) -> &TerminalReference {
        &self.terminal
    }

    /// Opens the slave, for `TIOCGPTPEER`.
    ///
    /// # Errors
    /// As [`TerminalFile::open`].
    pub fn open_peer(&self, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        let file = TerminalFile::open(&self.terminal, flags, OpenedAs::Itself)?;
        Ok(OpenFile::anonymous(file, flags))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.terminal.with_state(|state| state.master_closed = true);
        let old = usize::try_from(self.terminal.number().minor)
            .ok()
            .and_then(|index| SLAVES.lock().get_mut(index).and_then(Option::take));
        drop(old);
        self.terminal.hang_up();
    }
}

impl FileOperations for Master {
    fn traits(&self) -> FileTraits {
        FileTraits::Stream
    }
    fn read_at(&self, file: &OpenFile, _offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        self.terminal.read_as_master(destination, Waiting::of(file))
    }
    fn write_at(&self, file: &OpenFile, _offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        self.terminal.write_as_master(source, Waiting::of(file))
    }
    fn poll(&self, _file: &OpenFile, table: &mut PollTable) -> PollEvents {
        self.terminal.poll_as_master(table)
    }
    fn ioctl(&self, _file: &OpenFile, number: u32, argument: u64) -> Result<u64> {
        if number == request::TIOCGPTPEER {
            let flags = OpenFlags::from_bits_retain(u32::try_from(argument).map_err(|_| Errno::EINVAL)?);
            return super::descriptors::install(self.open_peer(flags)?, flags);
        }
        control::ioctl(&self.terminal, Side::Master, number, argument)
    }
    fn listeners(&self) -> Result<[Option<&Listeners>; 2]> {
        Ok([Some(self.terminal.master_listeners()), None])
    }
    fn natural_owner(&self) -> NaturalOwner {
        NaturalOwner::Caller
    }
    fn describe(&self) -> String {
        String::from("/dev/ptmx")
    }
}

/// Opens `/dev/ptmx`.
struct MasterOpener;

impl DeviceOpen for MasterOpener {
    fn open(&self, _request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
        let (uid, gid) = super::descriptors::caller();
        Ok(Arc::new(Master::new(uid, gid)?))
    }
}

/// Opens slaves by their device number.
struct SlaveOpener;

impl DeviceOpen for SlaveOpener {
    fn open(&self, request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
        // A number without a terminal is EIO, as on Linux.
        let slave = slave(request.number.minor).ok_or(Errno::EIO)?;
        Ok(TerminalFile::open(&slave.terminal, request.flags, OpenedAs::Itself)?)
    }
}

/// Registers `ptmx` and the slaves.
pub fn initialize() {
    register_character_device(5, 2, Arc::new(MasterOpener));
    register_character_devices(SLAVE_MAJOR, 0..MAXIMUM, Arc::new(SlaveOpener));
    super::names::add("ptmx", 5, 2, 0o666);
}
