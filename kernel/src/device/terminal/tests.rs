//! Terminals as programs see them: pseudo terminals with a fake session behind them.

use super::file::{OpenedAs, TerminalFile};
use super::job_control::{JobControl, set_job_control};
use super::termios::{LocalFlags, Special};
use super::*;
use crate::base::{Errno, Result};
use crate::device::pty::Master;
use crate::fs::{IoDestination, IoSource, OpenFile, OpenFlags, PollEvents, PollTable};
use std::cell::RefCell;

/// Each test thread is a process of its own session with what it was sent.
#[derive(Default, Clone)]
struct Caller {
    session: i32,
    group: i32,
    ignored: u32,
    orphaned: bool,
    terminal: Option<TerminalReference>,
    sent: Vec<(i32, u32)>,
}

std::thread_local! {
    static CALLER: RefCell<Caller> = RefCell::new(Caller { session: 10, group: 10, ..Caller::default() });
}

struct Fake;

impl JobControl for Fake {
    fn session(&self) -> i32 {
        CALLER.with_borrow(|caller| caller.session)
    }
    fn group(&self) -> i32 {
        CALLER.with_borrow(|caller| caller.group)
    }
    fn is_session_leader(&self) -> bool {
        CALLER.with_borrow(|caller| caller.session == caller.group)
    }
    fn is_administrator(&self) -> bool {
        true
    }
    fn controlling_terminal(&self) -> Option<TerminalReference> {
        CALLER.with_borrow(|caller| caller.terminal.clone())
    }
    fn set_controlling_terminal(&self, _session: i32, terminal: Option<&TerminalReference>) {
        CALLER.with_borrow_mut(|caller| caller.terminal = terminal.cloned());
    }
    fn ignores(&self, signal: u32) -> bool {
        CALLER.with_borrow(|caller| caller.ignored >> signal & 1 == 1)
    }
    fn group_is_orphaned(&self) -> bool {
        CALLER.with_borrow(|caller| caller.orphaned)
    }
    fn session_of_group(&self, group: i32) -> Option<i32> {
        (group < 100).then_some(10)
    }
    fn signal_group(&self, group: i32, signal: u32) {
        CALLER.with_borrow_mut(|caller| caller.sent.push((group, signal)));
    }
    fn signal_session_leader(&self, session: i32, signal: u32) {
        self.signal_group(session, signal);
    }
}

fn sent() -> Vec<(i32, u32)> {
    CALLER.with_borrow_mut(|caller| core::mem::take(&mut caller.sent))
}

fn pair() -> (Arc<OpenFile>, Arc<OpenFile>) {
    set_job_control(&Fake);
    let master = Master::new(0, 0).unwrap();
    master.terminal().with_state(|state| state.locked = false);
    let slave = master.open_peer(OpenFlags::READ_WRITE | OpenFlags::NON_BLOCKING).unwrap();
    (OpenFile::anonymous(Arc::new(master), OpenFlags::READ_WRITE | OpenFlags::NON_BLOCKING), slave)
}

fn read(file: &OpenFile, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let count = file.read(&mut IoDestination::kernel(&mut bytes))?;
    bytes.truncate(count);
    Ok(bytes)
}

fn write(file: &OpenFile, bytes: &[u8]) -> Result<usize> {
    file.write(&mut IoSource::kernel(bytes))
}

fn poll(file: &OpenFile) -> PollEvents {
    file.operations().poll(file, &mut PollTable::asking())
}

fn terminal(file: &OpenFile) -> TerminalReference {
    file::terminal_of(file).unwrap().clone()
}

fn change(file: &OpenFile, change: impl FnOnce(&mut Termios)) {
    terminal(file).with_state(|state| {
        let mut termios = *state.discipline.termios();
        change(&mut termios);
        state.discipline.set_termios(termios);
    });
}

#[test]
fn what_is_typed_is_echoed_and_read_as_a_line() {
    let (master, slave) = pair();
    assert_eq!(read(&slave, 10), Err(Errno::EAGAIN));
    assert_eq!(write(&master, b"hi\r"), Ok(3));
    assert_eq!(read(&master, 10), Ok(b"hi\r\n".to_vec()));
    assert_eq!((poll(&slave), poll(&master)), (PollEvents::ALWAYS_READY, PollEvents::WRITABLE));
    assert_eq!(read(&slave, 10), Ok(b"hi\n".to_vec()));
    assert_eq!(write(&slave, b"out\n"), Ok(4));
    assert_eq!(read(&master, 2), Ok(b"ou".to_vec()));
    assert_eq!(read(&master, 10), Ok(b"t\r\n".to_vec()));
}

#[test]
fn opening_makes_a_leader_s_terminal_and_keys_signal_its_group() {
    let (master, slave) = pair();
    assert_eq!(terminal(&slave).job(), (10, 10));
    write(&master, b"\x03\x1a").unwrap();
    assert_eq!(sent(), [(10, signal::INTERRUPT), (10, signal::STOP)]);
    control::set_window(&terminal(&slave), WindowSize { rows: 24, ..WindowSize::default() });
    assert_eq!(sent(), [(10, signal::WINDOW)]);
}

#[test]
fn a_background_reader_is_stopped_or_refused() {
    let (master, slave) = pair();
    write(&master, b"line\n").unwrap();
    CALLER.with_borrow_mut(|caller| caller.group = 11);
    assert_eq!(read(&slave, 10), Err(Errno::ERESTARTSYS));
    assert_eq!(sent(), [(11, signal::READ)]);
    assert_eq!(write(&slave, b"x"), Ok(1));
    change(&slave, |termios| termios.local.insert(LocalFlags::TOSTOP));
    assert_eq!(write(&slave, b"x"), Err(Errno::ERESTARTSYS));
    assert_eq!(sent(), [(11, signal::WRITE)]);
    CALLER.with_borrow_mut(|caller| caller.orphaned = true);
    assert_eq!((read(&slave, 10), write(&slave, b"x")), (Err(Errno::EIO), Err(Errno::EIO)));
    CALLER.with_borrow_mut(|caller| caller.ignored = 1 << signal::READ | 1 << signal::WRITE);
    assert_eq!((read(&slave, 10), write(&slave, b"x")), (Err(Errno::EIO), Ok(1)));
    assert_eq!(sent(), []);
}

#[test]
fn the_foreground_group_is_changed_by_its_session_only() {
    let (_master, slave) = pair();
    let terminal = terminal(&slave);
    assert_eq!(job_control::set_foreground_group(&terminal, 100), Err(Errno::ESRCH));
    assert_eq!(job_control::set_foreground_group(&terminal, -1), Err(Errno::EINVAL));
    assert_eq!(job_control::set_foreground_group(&terminal, 12), Ok(()));
    assert_eq!(job_control::foreground_group(&terminal, false), Ok(12));
    CALLER.with_borrow_mut(|caller| caller.terminal = None);
    assert_eq!(job_control::foreground_group(&terminal, false), Err(Errno::ENOTTY));
    assert_eq!(job_control::set_controlling(&terminal, 0), Ok(()));
}

#[test]
fn closing_the_master_hangs_up() {
    let (master, slave) = pair();
    terminal(&slave).set_job(10, 12);
    drop(master);
    assert_eq!(sent(), [(10, signal::HANGUP), (10, signal::CONTINUE)]);
    assert_eq!((read(&slave, 10), write(&slave, b"x")), (Ok(vec![]), Err(Errno::EIO)));
    assert!(poll(&slave).contains(PollEvents::HUP));
    assert_eq!(
        TerminalFile::open(&terminal(&slave), OpenFlags::READ_WRITE, OpenedAs::Controlling).err(),
        Some(Errno::EIO)
    );
}

#[test]
fn closing_the_slave_ends_the_master_s_reads() {
    let (master, slave) = pair();
    write(&slave, b"last").unwrap();
    drop(slave);
    assert_eq!(read(&master, 10), Ok(b"last".to_vec()));
    assert_eq!(read(&master, 10), Err(Errno::EIO));
    assert!(poll(&master).contains(PollEvents::HUP));
}

#[test]
fn packet_mode_tells_what_happened() {
    let (master, slave) = pair();
    terminal(&slave).with_state(|state| state.packet.enabled = true);
    write(&slave, b"data").unwrap();
    assert_eq!(read(&master, 10), Ok(b"\0data".to_vec()));
    write(&master, &[0o23]).unwrap();
    assert!(poll(&master).contains(PollEvents::PRI));
    assert_eq!(read(&master, 10), Ok(vec![packet::STOP]));
    assert_eq!(write(&slave, b"x"), Err(Errno::EAGAIN));
    write(&master, &[0o21]).unwrap();
    assert_eq!(read(&master, 10), Ok(vec![packet::START]));
}

#[test]
fn a_long_paste_waits_for_its_reader() {
    let (master, slave) = pair();
    change(&slave, |termios| termios.local.remove(LocalFlags::ICANON | LocalFlags::ECHO));
    let bytes: Vec<u8> = (0..20_000u32).map(|number| b'a' + (number % 26) as u8).collect();
    assert_eq!(write(&master, &bytes), Ok(20_000));
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        got.extend(read(&slave, 7000).unwrap());
    }
    assert!(got == bytes);
}

#[test]
fn without_minimum_and_time_a_read_never_waits() {
    let (_master, slave) = pair();
    slave.set_flags(OpenFlags::READ_WRITE).unwrap();
    change(&slave, |termios| {
        termios.local.remove(LocalFlags::ICANON);
        termios.special[Special::Minimum as usize] = 0;
    });
    assert_eq!(read(&slave, 10), Ok(vec![]));
}

#[test]
fn stopped_output_keeps_writers_and_echo_back() {
    let (master, slave) = pair();
    write(&master, b"\x13abc").unwrap();
    assert_eq!(read(&master, 10), Err(Errno::EAGAIN));
    assert_eq!(write(&slave, b"out"), Err(Errno::EAGAIN));
    write(&master, b"\x11").unwrap();
    assert_eq!(read(&master, 10), Ok(b"abc".to_vec()));
}

/// A terminal on a serial line that nobody is at.
fn serial() -> TerminalReference {
    struct Nowhere;
    impl SerialLine for Nowhere {
        fn transmit(&self, _bytes: &[u8]) {}
    }
    Terminal::new(String::from("test"), DeviceNumber::new(4, 65), Termios::serial(9600), Backend::Serial(&Nowhere))
}

#[test]
fn a_serial_line_is_held_up_until_somebody_reads() {
    let terminal = serial();
    let file = TerminalFile::open(&terminal, OpenFlags::READ_WRITE, OpenedAs::Console).unwrap();
    let file = OpenFile::anonymous(file, OpenFlags::READ_WRITE);
    let bytes: Vec<u8> = (0..20_000u32).map(|number| if number % 50 == 49 { b'\n' } else { b'x' }).collect();
    let taken = terminal.receive(&bytes);
    assert!((4000..4096).contains(&taken), "{taken}");
    std::thread::scope(|scope| {
        scope.spawn(|| terminal.receive_all(&bytes[taken..]));
        for line in bytes.chunks(50) {
            assert_eq!(read(&file, 100).as_deref(), Ok(line));
        }
    });
}

#[test]
fn the_console_outlives_a_hang_up() {
    let terminal = serial();
    let open = |opened_as| {
        let file = TerminalFile::open(&terminal, OpenFlags::READ_WRITE, opened_as).unwrap();
        OpenFile::anonymous(file, OpenFlags::READ_WRITE | OpenFlags::NON_BLOCKING)
    };
    let (console, line) = (open(OpenedAs::Console), open(OpenedAs::Controlling));
    terminal.hang_up();
    assert_eq!((write(&console, b"x"), write(&line, b"x")), (Ok(1), Err(Errno::EIO)));
    assert_eq!((read(&console, 1), read(&line, 1)), (Err(Errno::EAGAIN), Ok(vec![])));
}
