//! The serial console: `/dev/ttyS0` or what the machine calls it, `/dev/console` and `/dev/tty`.
//!
//! The machine's interrupt calls [`interrupt`], which moves what came in into a small buffer; a kernel thread
//! ([`feed`]) hands it to the terminal, because what a key does (signals, echo) belongs into thread context. Where a step has no room
//! the one before waits, back to the hardware: nothing is lost on a line that can hold up its sender. Output goes straight to the hardware. Until the first interrupt arrives the thread also looks by itself now and then, so that input works on a
//! machine whose serial interrupt does not.

use super::terminal::file::{OpenedAs, TerminalFile};
use super::terminal::termios::Termios;
use super::terminal::{Backend, SerialLine, Terminal, TerminalReference, job_control};
use crate::arch::{Current, SerialConsole, TimerHardware};
use crate::base::{Errno, Nanoseconds, Result};
use crate::fs::device_registry::{DeviceOpen, DeviceOpenRequest, register_character_device};
use crate::fs::{DeviceNumber, FileOperations, OpenFile};
use crate::sync::{Interruptible, InterruptsDisabled, LockRank, SpinLock, WaitQueue};
use alloc::string::String;
use alloc::sync::Arc;
use arrayvec::ArrayVec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Bytes kept between the interrupt and the thread.
const INPUT_BUFFER: usize = 256;
/// How soon the thread first looks by itself, and how seldom it comes to do so while nothing is typed: an idle machine sleeps.
const FIRST_LOOK: Nanoseconds = Nanoseconds::from_milliseconds(50);
const SELDOM: Nanoseconds = Nanoseconds::from_milliseconds(800);

/// The line's settings at boot: the machine's, or what `console=` says.
static SETTINGS: SpinLock<Termios, InterruptsDisabled> =
    SpinLock::new(LockRank::Hardware, Termios::serial(Current::DEFAULT_SPEED));
/// Whether a `console=` named it.
static MENTIONED: AtomicBool = AtomicBool::new(false);
static TERMINAL: spin::Once<TerminalReference> = spin::Once::new();
static INPUT: SpinLock<ArrayVec<u8, INPUT_BUFFER>, InterruptsDisabled> =
    SpinLock::new(LockRank::Hardware, ArrayVec::new_const());
static INPUT_ARRIVED: WaitQueue = WaitQueue::new();
static INTERRUPTS_WORK: AtomicBool = AtomicBool::new(false);

/// The machine's serial console as a line.
struct ConsoleLine;

impl SerialLine for ConsoleLine {
    fn transmit(&self, bytes: &[u8]) {
        Current::write_console(bytes);
    }
}

/// The console's terminal.
pub fn terminal() -> &'static TerminalReference {
    TERMINAL.call_once(|| {
        let (major, minor) = Current::DEVICE_NUMBER;
        let number = DeviceNumber::new(major, minor);
        let settings = *SETTINGS.lock();
        Terminal::new(String::from(Current::DEVICE_NAME), number, settings, Backend::Serial(&ConsoleLine))
    })
}

/// What came of a `console=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Configured {
    /// It names the console.
    Done,
    /// There is no such device.
    NoSuchDevice,
}

/// Takes the value of a `console=`: a device, and after a comma the line's settings, as `ttyS0,115200n8`. There is one console, which
/// serves whatever is asked for. Called before anybody opens it.
pub fn configure(console: &str) -> Configured {
    let (device, settings) = console.split_once(',').unwrap_or((console, ""));
    if device != Current::DEVICE_NAME {
        return Configured::NoSuchDevice;
    }
    // As on Linux, the settings that come with the first mention stay.
    if !MENTIONED.swap(true, Relaxed)
        && let Some(settings) = Termios::serial_line(settings)
    {
        *SETTINGS.lock() = settings;
    }
    Configured::Done
}

/// The machine's interrupt `line` fired; gives whether it was the console's. Interrupt context.
pub fn interrupt(line: u32) -> bool {
    if line != Current::INPUT_LINE {
        return false;
    }
    INTERRUPTS_WORK.store(true, Relaxed);
    collect_input();
    true
}

/// Moves what the hardware has into our buffer. What does not fit stays there, and holds up the sender where the line can do that.
fn collect_input() {
    let arrived = {
        let mut input = INPUT.lock();
        while !input.is_full()
            && let Some(byte) = Current::read_console()
        {
            input.push(byte);
        }
        if input.is_full() {
            // A line that is not lowered would interrupt without end. The thread enables it again.
            Current::disable_console_interrupt();
        }
        !input.is_empty()
    };
    if arrived {
        INPUT_ARRIVED.wake_one();
    }
}

/// The kernel thread that feeds the terminal. Does not return.
pub fn feed() {
    Current::enable_console_interrupt();
    let mut interval = FIRST_LOOK;
    loop {
        let deadline = (!INTERRUPTS_WORK.load(Relaxed)).then(|| Current::now().saturating_add(interval));
        let taken = INPUT_ARRIVED.wait_until(deadline, Interruptible::No, || {
            let mut input = INPUT.lock();
            (!input.is_empty()).then(|| input.take())
        });
        match taken {
            Ok(bytes) => {
                interval = FIRST_LOOK;
                if bytes.is_full() {
                    Current::enable_console_interrupt();
                    collect_input();
                }
                terminal().receive_all(&bytes);
            }
            Err(_) => {
                interval = Nanoseconds(interval.0 * 2).min(SELDOM);
                collect_input();
            }
        }
    }
}

/// The serial port itself.
struct SerialOpener;

impl DeviceOpen for SerialOpener {
    fn open(&self, request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
        Ok(TerminalFile::open(terminal(), request.flags, OpenedAs::Itself)?)
    }
}

/// `/dev/console`: the same terminal, but opening it never makes it the controlling one.
struct ConsoleOpener;

impl DeviceOpen for ConsoleOpener {
    fn open(&self, request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
        Ok(TerminalFile::open(terminal(), request.flags, OpenedAs::Console)?)
    }
}

/// `/dev/tty`: the caller's controlling terminal.
struct ControllingOpener;

impl DeviceOpen for ControllingOpener {
    fn open(&self, request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
        let known = job_control::job_control().and_then(|control| control.controlling_terminal());
        Ok(TerminalFile::open(&known.ok_or(Errno::ENXIO)?, request.flags, OpenedAs::Controlling)?)
    }
}

/// The console for init's first three descriptors, where the initramfs has no `/dev/console`.
///
/// # Errors
/// None in practice; as [`TerminalFile::open`].
pub fn open_for_init() -> Result<Arc<OpenFile>> {
    terminal().open_file()
}

/// Registers the devices.
pub fn initialize() {
    let (major, minor) = Current::DEVICE_NUMBER;
    register_character_device(major, minor, Arc::new(SerialOpener));
    register_character_device(5, 0, Arc::new(ControllingOpener));
    register_character_device(5, 1, Arc::new(ConsoleOpener));
    super::names::add("console", 5, 1, 0o600);
    super::names::add("tty", 5, 0, 0o666);
    super::names::add(Current::DEVICE_NAME, major, minor, 0o600);
}
