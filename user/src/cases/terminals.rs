//! Pseudo-terminals and the line discipline.

use crate::runner::{Case, describe};
use crate::system::{self, Must};
use std::io::Write;

pub(super) const CASES: &[Case] = &[
    ("terminals/canonical", canonical),
    ("terminals/editing", editing),
    ("terminals/raw", raw_mode),
    ("terminals/output-processing", output),
    ("terminals/echo-of-control", echo_control),
    ("terminals/signals", signals),
    ("terminals/end-of-file", end_of_file),
    ("terminals/window-size", window_size),
    ("terminals/hang-up", hang_up),
    ("terminals/background", background),
    ("terminals/settings", settings),
    ("terminals/errors", errors),
];

fn pair() -> (i32, i32) {
    system::pseudo_terminals().must()
}

fn write(descriptor: i32, text: &str) {
    let _ = system::write(descriptor, text.as_bytes());
}

/// What can be read within a tenth of a second.
fn available(descriptor: i32) -> String {
    let mut text = Vec::new();
    let mut entry = [system::pollfd(descriptor, libc::POLLIN)];
    while system::poll(&mut entry, 100) == Ok(1) && entry[0].revents & libc::POLLIN != 0 {
        let mut buffer = [0u8; 256];
        match system::read(descriptor, &mut buffer) {
            Ok(count @ 1..) => text.extend(buffer.iter().take(count.unsigned_abs())),
            _ => break,
        }
    }
    String::from_utf8_lossy(&text).escape_debug().to_string()
}

fn change(descriptor: i32, action: impl FnOnce(&mut libc::termios)) {
    let mut settings = system::zeroed();
    let _ = system::tcgetattr(descriptor, &mut settings);
    action(&mut settings);
    let _ = system::tcsetattr(descriptor, libc::TCSANOW, &settings);
}

fn canonical() {
    let (master, slave) = pair();
    write(master, "half");
    println!("[{}] echo [{}]", available(slave), available(master));
    write(master, " line\rnext\nthird");
    println!("[{}] echo [{}]", available(slave), available(master));
    let mut buffer = [0u8; 3];
    write(master, "\n");
    println!("{:?} [{}]", system::read(slave, &mut buffer), available(slave));
}

fn editing() {
    let (master, slave) = pair();
    for keys in [
        "abc\x7f\x7fx\n",
        "one two\x17three\n",
        "gone\x15kept\n",
        "\x16\x03literal\n",
        "tab\there\x7f\x7f\n",
        "ü\x7fy\n",
        "re\x12print\n",
    ] {
        write(master, keys);
        println!("[{}] echo [{}]", available(slave), available(master));
    }
    change(slave, |settings| settings.c_iflag |= libc::IUTF8);
    write(master, "ü\x7fy\n");
    println!("[{}] echo [{}]", available(slave), available(master));
}

fn raw_mode() {
    let (master, slave) = pair();
    change(slave, system::cfmakeraw);
    write(master, "a\x03\r\n\x7f");
    println!("[{}] echo [{}]", available(slave), available(master));
    change(slave, |settings| {
        settings.c_cc[libc::VMIN] = 0;
        settings.c_cc[libc::VTIME] = 1;
    });
    let mut buffer = [0u8; 8];
    println!("{:?}", system::read(slave, &mut buffer));
    change(slave, |settings| {
        settings.c_cc[libc::VMIN] = 3;
        settings.c_cc[libc::VTIME] = 0;
    });
    write(master, "ab");
    println!("{:?}", system::poll(&mut [system::pollfd(slave, libc::POLLIN)], 50));
    write(master, "cd");
    println!("{:?}", system::read(slave, &mut buffer));
}

fn output() {
    let (master, slave) = pair();
    write(slave, "one\ntwo\r\n\tthree");
    println!("[{}]", available(master));
    change(slave, |settings| settings.c_oflag &= !libc::OPOST);
    write(slave, "one\n");
    println!("[{}]", available(master));
    change(slave, |settings| settings.c_oflag |= libc::OPOST | libc::TAB3 | libc::OCRNL);
    write(slave, "a\tb\rc");
    println!("[{}]", available(master));
}

fn echo_control() {
    let (master, slave) = pair();
    change(slave, |settings| settings.c_lflag &= !libc::ISIG);
    write(master, "\x01\x1b[A\n");
    println!("[{}] [{}]", available(slave), available(master));
    change(slave, |settings| settings.c_lflag &= !libc::ECHO);
    write(master, "secret\n");
    println!("[{}] [{}]", available(slave), available(master));
    change(slave, |settings| settings.c_lflag |= libc::ECHONL);
    write(master, "secret\n");
    println!("[{}] [{}]", available(slave), available(master));
}

/// Runs `action` in a new session whose controlling terminal is `slave`.
fn in_session(slave: i32, action: impl FnOnce() -> i32) -> i32 {
    let _ = std::io::stdout().flush();
    system::fork(|| {
        let _ = system::setsid();
        let _ = system::ioctl(slave, libc::TIOCSCTTY, 0);
        let status = action();
        let _ = std::io::stdout().flush();
        status
    })
}

fn wait(child: i32, flags: i32) -> String {
    let mut status = 0;
    let _ = system::waitpid(child, &mut status, flags);
    describe(status)
}

fn signals() {
    let (master, slave) = pair();
    for key in ["\x03", "\x1c"] {
        let child = in_session(slave, || {
            write(slave, "ready\n");
            system::idle()
        });
        println!("[{}]", available(master));
        write(master, key);
        println!("{} [{}]", wait(child, 0), available(master));
    }
    let child = in_session(slave, || {
        let inner = system::fork(|| {
            let _ = system::setpgid(0, 0);
            system::idle()
        });
        let _ = system::setpgid(inner, inner);
        system::ignore(libc::SIGTTOU);
        println!("{}", system::tcsetpgrp(slave, inner).unwrap_or(-1));
        write(slave, "ready\n");
        println!("{}", wait(inner, libc::WUNTRACED));
        let _ = system::kill(inner, libc::SIGKILL);
        println!("{}", wait(inner, 0));
        0
    });
    println!("[{}]", available(master));
    write(master, "\x1a");
    println!("{} [{}]", wait(child, 0), available(master));
}

fn end_of_file() {
    let (master, slave) = pair();
    write(master, "\x04");
    let mut buffer = [0u8; 8];
    println!("{:?}", system::read(slave, &mut buffer));
    write(master, "abc\x04");
    println!("{:?}", system::read(slave, &mut buffer));
    println!("[{}]", available(master));
}

fn window_size() {
    let (master, slave) = pair();
    let mut size: libc::winsize = system::zeroed();
    println!("{:?} {} {}", system::ioctl(slave, libc::TIOCGWINSZ, &mut size), size.ws_row, size.ws_col);
    size.ws_row = 25;
    size.ws_col = 90;
    println!("{:?}", system::ioctl(master, libc::TIOCSWINSZ, &size));
    let mut now: libc::winsize = system::zeroed();
    println!("{:?} {} {}", system::ioctl(slave, libc::TIOCGWINSZ, &mut now), now.ws_row, now.ws_col);
}

fn hang_up() {
    let (master, slave) = pair();
    let child = in_session(slave, || {
        // The terminal hangs up when the last descriptor of its master is closed.
        let _ = system::close(master);
        write(slave, "ready\n");
        system::idle()
    });
    println!("[{}]", available(master));
    let _ = system::close(master);
    println!("{}", wait(child, 0));
    let mut buffer = [0u8; 8];
    println!("{:?} {:?}", system::read(slave, &mut buffer), system::write(slave, &buffer[..1]));
    let (master, slave) = pair();
    let _ = system::close(slave);
    println!("{:?}", system::read(master, &mut buffer));
}

fn background() {
    let (master, slave) = pair();
    let child = in_session(slave, || {
        let inner = system::fork(|| {
            let _ = system::setpgid(0, 0);
            let _ = system::read(slave, &mut [0u8]);
            0
        });
        let _ = system::setpgid(inner, inner);
        println!("{}", wait(inner, libc::WUNTRACED));
        let _ = system::kill(inner, libc::SIGKILL);
        println!("{}", wait(inner, 0));
        0
    });
    println!("{}", wait(child, 0));
    let _ = master;
}

fn settings() {
    let (_master, slave) = pair();
    let mut settings: libc::termios = system::zeroed();
    println!("{:?}", system::tcgetattr(slave, &mut settings));
    println!(
        "{:o} {:o} {:o} {:o} {:?}",
        settings.c_iflag,
        settings.c_oflag,
        settings.c_cflag,
        settings.c_lflag,
        &settings.c_cc[..17]
    );
    println!("{:?} {:?}", system::tcflush(slave, libc::TCIOFLUSH), system::tcflush(slave, 9));
    println!("{:?} {:?}", system::tcdrain(slave), system::isatty(slave));
}

fn errors() {
    let (master, slave) = pair();
    println!("{:?} {:?}", system::isatty(99), system::ioctl(slave, 0x7777_7777, 0));
    let null = system::open(c"/dev/null", libc::O_RDWR, 0).unwrap_or(-1);
    let mut settings: libc::termios = system::zeroed();
    println!("{:?} {:?}", system::tcgetattr(null, &mut settings), system::ioctl(slave, libc::TCGETS, 8));
    println!("{:?} {:?}", system::tcgetpgrp(slave), system::tcsetpgrp(slave, system::getpid()));
    println!("{:?}", system::ioctl(master, libc::TIOCSWINSZ, 8));
}
