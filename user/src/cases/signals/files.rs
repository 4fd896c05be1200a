//! Signals that tell of files: `O_ASYNC`, `F_SETOWN`, `F_SETSIG`.

use crate::raw;
use crate::runner::in_child;
use crate::system::{self, SignalSet, block};

const F_SETOWN: i32 = 8;
const F_GETOWN: i32 = 9;
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;

/// Shows what waits in a signalfd, and of which descriptor it tells.
fn show(signals: i32, names: &[(i32, &str)]) {
    let mut information: libc::signalfd_siginfo = system::zeroed();
    while raw!(libc::SYS_read, signals, &mut information, 128).is_ok() {
        let name = names.iter().find(|(number, _)| *number == information.ssi_fd).map_or("none", |(_, name)| name);
        print!("{} code {} band {:x} of {name}; ", information.ssi_signo, information.ssi_code, information.ssi_band);
    }
    println!();
}

pub(super) fn tell() {
    block(&[libc::SIGIO, 40]);
    let signals = system::signalfd(&SignalSet::of(&[libc::SIGIO, 40]), libc::SFD_NONBLOCK).unwrap_or(-1);
    let [reader, writer] = system::pipe();
    let names = [(reader, "reader"), (writer, "writer")];
    let mut buffer = [0; 8];
    // Without an owner nobody hears.
    println!("{:?}", system::fcntl(reader, libc::F_SETFL, libc::O_ASYNC));
    let _ = system::write(writer, b"x");
    show(signals, &names);
    println!("{:?}", system::fcntl(reader, F_SETOWN, system::getpid()));
    let _ = system::write(writer, b"y");
    show(signals, &names);
    println!("{:?} {:?}", system::fcntl(reader, F_SETSIG, 40), system::fcntl(reader, F_GETSIG, 0));
    // Each write tells, and real-time signals queue.
    let _ = system::write(writer, b"z");
    let _ = system::write(writer, b"z");
    show(signals, &names);
    // The writer hears of room.
    println!("{:?} {:?}", system::fcntl(writer, F_SETOWN, system::getpid()), system::fcntl(writer, F_SETSIG, 40));
    println!("{:?}", system::fcntl(writer, libc::F_SETFL, libc::O_ASYNC));
    println!("{:?}", system::read(reader, &mut buffer));
    show(signals, &names);
    // A copy of the descriptor tells by the number by which the flag was set.
    println!("{:?}", system::fcntl(writer, libc::F_SETFL, 0));
    let _ = system::dup2(reader, 60);
    let _ = system::write(60, b"z");
    let _ = system::write(writer, b"z");
    show(signals, &names);
    println!("{:?} {:?}", system::fcntl(reader, libc::F_SETFL, 0), system::fcntl(60, libc::F_SETFL, libc::O_ASYNC));
    let _ = system::write(writer, b"z");
    show(signals, &[(reader, "reader"), (60, "copy")]);
    // The end of the writers.
    let _ = system::close(writer);
    show(signals, &[(reader, "reader"), (60, "copy")]);
}

pub(super) fn owners() {
    let [reader, _] = system::pipe();
    for owner in [0x3fff_ffff, -0x3fff_ffff, i32::MIN, system::getpid(), 0] {
        let result = system::fcntl(reader, F_SETOWN, owner);
        println!("{result:?} {}", system::fcntl(reader, F_GETOWN, 0) == Ok(system::getpid()));
    }
    for (kind, id) in [(0, system::getpid()), (1, system::getpid()), (3, 1), (-1, 1), (0, 0x3fff_ffff), (1, 0)] {
        let mut given = [kind, id];
        let result = raw!(libc::SYS_fcntl, reader, F_SETOWN_EX, &given[..]);
        let shown = raw!(libc::SYS_fcntl, reader, F_GETOWN_EX, &mut given[..]);
        println!("{result:?} {shown:?} {} {}", given[0], given[1] == system::getpid());
    }
    for signal in [-1, 65, 64, 0] {
        println!("{:?} {:?}", system::fcntl(reader, F_SETSIG, signal), system::fcntl(reader, F_GETSIG, 0));
    }
    let on = [1];
    println!("{:?}", raw!(libc::SYS_ioctl, reader, libc::FIOASYNC, &on[..]));
    println!("{:?}", system::fcntl(reader, libc::F_GETFL, 0).map(|flags| flags & libc::O_ASYNC != 0));
    let event = raw!(libc::SYS_eventfd2, 0, 0).unwrap_or(-1);
    println!("{:?}", raw!(libc::SYS_ioctl, event, libc::FIOASYNC, &on[..]));
    println!("{:?}", system::fcntl(event as i32, libc::F_SETFL, libc::O_ASYNC));
    println!("{:?}", system::fcntl(event as i32, libc::F_GETFL, 0).map(|flags| flags & libc::O_ASYNC != 0));
}

/// What waits in a signalfd once the line has passed on what was written.
fn show_later(signals: i32, names: &[(i32, &str)]) {
    std::thread::sleep(std::time::Duration::from_millis(60));
    show(signals, names);
}

fn change_settings(terminal: i32, action: impl FnOnce(&mut libc::termios)) {
    let mut settings = system::zeroed();
    let _ = system::tcgetattr(terminal, &mut settings);
    action(&mut settings);
    let _ = system::tcsetattr(terminal, libc::TCSANOW, &settings);
}

/// A pseudo terminal without echo whose slave tells by signal 40, and a signalfd for that.
fn telling_terminal() -> (i32, i32, i32) {
    block(&[libc::SIGIO, libc::SIGHUP, 40]);
    let signals = system::signalfd(&SignalSet::of(&[libc::SIGIO, 40]), libc::SFD_NONBLOCK).unwrap_or(-1);
    let (master, slave) = system::pseudo_terminals().unwrap_or((-1, -1));
    change_settings(slave, |settings| settings.c_lflag &= !libc::ECHO);
    let _ = system::fcntl(slave, F_SETSIG, 40);
    let _ = system::fcntl(slave, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK);
    (master, slave, signals)
}

pub(super) fn terminals_tell() {
    let (master, slave, signals) = telling_terminal();
    let names = [(master, "master"), (slave, "slave")];
    // A terminal has an owner at once: who set the flag, where it is nobody's controlling terminal.
    println!("{}", system::fcntl(slave, F_GETOWN, 0) == Ok(system::getpid()));
    // Lines, each for itself; a part of one tells nothing.
    for text in ["ha", "lf\n", "a\nb\n", "\x04", "gone\x15"] {
        let _ = system::write(master, text.as_bytes());
        show_later(signals, &names);
    }
    // Without lines, what came together.
    change_settings(slave, system::cfmakeraw);
    show_later(signals, &names);
    for text in ["x", "yz\n\x03"] {
        let _ = system::write(master, text.as_bytes());
        show_later(signals, &names);
    }
    // What the slave writes is the master's input.
    let _ = system::write(slave, b"unheard");
    show_later(signals, &names);
    let _ = system::fcntl(master, F_SETSIG, 40);
    println!(
        "{:?} {}",
        system::fcntl(master, libc::F_SETFL, libc::O_ASYNC),
        system::fcntl(master, F_GETOWN, 0) == Ok(system::getpid())
    );
    let _ = system::write(slave, b"heard");
    show_later(signals, &names);
    change_settings(slave, |settings| settings.c_lflag |= libc::ECHO | libc::ICANON);
    let _ = system::write(master, b"e");
    show_later(signals, &names);
    // No more.
    let off = [0];
    println!("{:?}", raw!(libc::SYS_ioctl, master, libc::FIOASYNC, &off[..]));
    println!("{:?}", system::fcntl(slave, libc::F_SETFL, libc::O_NONBLOCK));
    let _ = system::write(master, b"\n");
    let _ = system::write(slave, b"unheard");
    show_later(signals, &names);
}

pub(super) fn terminals_tell_of_room() {
    let (master, slave, signals) = telling_terminal();
    // Only who found none hears of room.
    let mut buffer = [0; 4096];
    let _ = system::write(slave, b"little");
    std::thread::sleep(std::time::Duration::from_millis(20));
    let _ = system::read(master, &mut buffer);
    show_later(signals, &[(slave, "slave")]);
    while system::write(slave, &[b'x'; 1000]).is_ok() {}
    show_later(signals, &[(slave, "slave")]);
    let mut entry = [system::pollfd(master, libc::POLLIN)];
    while system::poll(&mut entry, 100) == Ok(1) && system::read(master, &mut buffer).is_ok() {}
    let mut information: libc::signalfd_siginfo = system::zeroed();
    let heard = raw!(libc::SYS_read, signals, &mut information, 128).is_ok();
    println!("{heard} {} {} {:x}", information.ssi_signo, information.ssi_code, information.ssi_band);
}

pub(super) fn terminals_and_their_owners() {
    let (_master, slave, _) = telling_terminal();
    let _ = system::fcntl(slave, libc::F_SETFL, 0);
    let _ = system::fcntl(slave, F_SETOWN, 0);
    let outcome = in_child(|| {
        let _ = system::setsid();
        let _ = system::ioctl(slave, libc::TIOCSCTTY, 0);
        println!("{:?} {:?}", system::tcgetpgrp(slave) == Ok(system::getpid()), system::fcntl(slave, F_GETOWN, 0));
        println!("{:?}", system::fcntl(slave, libc::F_SETFL, libc::O_ASYNC));
        let mut owner = [0; 2];
        println!("{:?}", raw!(libc::SYS_fcntl, slave, F_GETOWN_EX, &mut owner[..]));
        println!("{} {}", owner[0], owner[1] == system::getpid());
        // An owner that was named stays.
        let _ = system::fcntl(slave, libc::F_SETFL, 0);
        let _ = system::fcntl(slave, F_SETOWN, system::getpid());
        let _ = system::fcntl(slave, libc::F_SETFL, libc::O_ASYNC);
        println!("{}", system::fcntl(slave, F_GETOWN, 0) == Ok(system::getpid()));
        0
    });
    println!("{outcome}");
    let (master, slave, signals) = telling_terminal();
    let _ = system::close(master);
    show_later(signals, &[(slave, "slave")]);
    println!("{:?}", system::fcntl(slave, libc::F_GETFL, 0).map(|flags| flags & libc::O_ASYNC != 0));
    println!("{:?} {:?}", system::fcntl(slave, libc::F_SETFL, 0), system::fcntl(slave, libc::F_SETFL, libc::O_ASYNC));
    println!("{:?}", system::fcntl(slave, libc::F_GETFL, 0).map(|flags| flags & libc::O_ASYNC != 0));
}
