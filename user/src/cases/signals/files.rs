//! Signals that tell of files: `O_ASYNC`, `F_SETOWN`, `F_SETSIG`.

use crate::raw;
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
