//! Pseudo-terminals and the line discipline.

use crate::call;
use crate::runner::{Case, describe};

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
    unsafe {
        let master = libc::open(c"/dev/ptmx".as_ptr(), libc::O_RDWR | libc::O_NOCTTY);
        assert!(libc::grantpt(master) == 0 && libc::unlockpt(master) == 0, "no pty");
        let mut name = [0; 64];
        libc::ptsname_r(master, name.as_mut_ptr(), 64);
        (master, libc::open(name.as_ptr(), libc::O_RDWR | libc::O_NOCTTY))
    }
}

fn write(descriptor: i32, text: &str) {
    unsafe { libc::write(descriptor, text.as_ptr().cast(), text.len()) };
}

/// What can be read within a tenth of a second.
fn available(descriptor: i32) -> String {
    let mut text = Vec::new();
    let mut entry = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    while unsafe { libc::poll(&mut entry, 1, 100) } == 1 && entry.revents & libc::POLLIN != 0 {
        let mut buffer = [0u8; 256];
        let count = unsafe { libc::read(descriptor, buffer.as_mut_ptr().cast(), 256) };
        if count <= 0 {
            break;
        }
        text.extend_from_slice(&buffer[..count as usize]);
    }
    String::from_utf8_lossy(&text).escape_debug().to_string()
}

fn change(descriptor: i32, action: impl FnOnce(&mut libc::termios)) {
    unsafe {
        let mut settings = std::mem::zeroed();
        libc::tcgetattr(descriptor, &mut settings);
        action(&mut settings);
        libc::tcsetattr(descriptor, libc::TCSANOW, &settings);
    }
}

fn canonical() {
    let (master, slave) = pair();
    write(master, "half");
    println!("[{}] echo [{}]", available(slave), available(master));
    write(master, " line\rnext\nthird");
    println!("[{}] echo [{}]", available(slave), available(master));
    let mut buffer = [0u8; 3];
    write(master, "\n");
    println!("{:?} [{}]", call!(read(slave, buffer.as_mut_ptr().cast(), 3)), available(slave));
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
    change(slave, |settings| unsafe { libc::cfmakeraw(settings) });
    write(master, "a\x03\r\n\x7f");
    println!("[{}] echo [{}]", available(slave), available(master));
    change(slave, |settings| {
        settings.c_cc[libc::VMIN] = 0;
        settings.c_cc[libc::VTIME] = 1;
    });
    let mut buffer = [0u8; 8];
    println!("{:?}", call!(read(slave, buffer.as_mut_ptr().cast(), 8)));
    change(slave, |settings| {
        settings.c_cc[libc::VMIN] = 3;
        settings.c_cc[libc::VTIME] = 0;
    });
    write(master, "ab");
    let mut entry = libc::pollfd { fd: slave, events: libc::POLLIN, revents: 0 };
    println!("{:?}", call!(poll(&mut entry, 1, 50)));
    write(master, "cd");
    println!("{:?}", call!(read(slave, buffer.as_mut_ptr().cast(), 8)));
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
    use std::io::Write;
    let _ = std::io::stdout().flush();
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe {
            libc::setsid();
            libc::ioctl(slave, libc::TIOCSCTTY, 0);
        }
        let status = action();
        let _ = std::io::stdout().flush();
        unsafe { libc::_exit(status) };
    }
    child
}

fn wait(child: i32, flags: i32) -> String {
    let mut status = 0;
    unsafe { libc::waitpid(child, &mut status, flags) };
    describe(status)
}

fn signals() {
    let (master, slave) = pair();
    for key in ["\x03", "\x1c"] {
        let child = in_session(slave, || {
            write(slave, "ready\n");
            loop {
                unsafe { libc::pause() };
            }
        });
        println!("[{}]", available(master));
        write(master, key);
        println!("{} [{}]", wait(child, 0), available(master));
    }
    let child = in_session(slave, || {
        let inner = unsafe { libc::fork() };
        if inner == 0 {
            unsafe {
                libc::setpgid(0, 0);
                loop {
                    libc::pause();
                }
            }
        }
        unsafe {
            libc::setpgid(inner, inner);
            libc::signal(libc::SIGTTOU, libc::SIG_IGN);
            println!("{}", libc::tcsetpgrp(slave, inner));
        }
        write(slave, "ready\n");
        println!("{}", wait(inner, libc::WUNTRACED));
        unsafe { libc::kill(inner, libc::SIGKILL) };
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
    println!("{:?}", call!(read(slave, buffer.as_mut_ptr().cast(), 8)));
    write(master, "abc\x04");
    println!("{:?}", call!(read(slave, buffer.as_mut_ptr().cast(), 8)));
    println!("[{}]", available(master));
}

fn window_size() {
    let (master, slave) = pair();
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    println!("{:?} {} {}", call!(ioctl(slave, libc::TIOCGWINSZ, &raw mut size)), size.ws_row, size.ws_col);
    size.ws_row = 25;
    size.ws_col = 90;
    println!("{:?}", call!(ioctl(master, libc::TIOCSWINSZ, &raw const size)));
    let mut now: libc::winsize = unsafe { std::mem::zeroed() };
    println!("{:?} {} {}", call!(ioctl(slave, libc::TIOCGWINSZ, &raw mut now)), now.ws_row, now.ws_col);
}

fn hang_up() {
    let (master, slave) = pair();
    let child = in_session(slave, || {
        // The terminal hangs up when the last descriptor of its master is closed.
        let _ = call!(close(master));
        write(slave, "ready\n");
        loop {
            unsafe { libc::pause() };
        }
    });
    println!("[{}]", available(master));
    let _ = call!(close(master));
    println!("{}", wait(child, 0));
    let mut buffer = [0u8; 8];
    println!(
        "{:?} {:?}",
        call!(read(slave, buffer.as_mut_ptr().cast(), 8)),
        call!(write(slave, buffer.as_ptr().cast(), 1))
    );
    let (master, slave) = pair();
    let _ = call!(close(slave));
    println!("{:?}", call!(read(master, buffer.as_mut_ptr().cast(), 8)));
}

fn background() {
    let (master, slave) = pair();
    let child = in_session(slave, || {
        let inner = unsafe { libc::fork() };
        if inner == 0 {
            unsafe { libc::setpgid(0, 0) };
            let mut byte = 0u8;
            let _ = call!(read(slave, (&raw mut byte).cast(), 1));
            unsafe { libc::_exit(0) };
        }
        unsafe { libc::setpgid(inner, inner) };
        println!("{}", wait(inner, libc::WUNTRACED));
        unsafe { libc::kill(inner, libc::SIGKILL) };
        println!("{}", wait(inner, 0));
        0
    });
    println!("{}", wait(child, 0));
    let _ = master;
}

fn settings() {
    let (_master, slave) = pair();
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    println!("{:?}", call!(tcgetattr(slave, &mut settings)));
    println!(
        "{:o} {:o} {:o} {:o} {:?}",
        settings.c_iflag,
        settings.c_oflag,
        settings.c_cflag,
        settings.c_lflag,
        &settings.c_cc[..17]
    );
    println!("{:?} {:?}", call!(tcflush(slave, libc::TCIOFLUSH)), call!(tcflush(slave, 9)));
    println!("{:?} {:?}", call!(tcdrain(slave)), call!(isatty(slave)));
}

fn errors() {
    let (master, slave) = pair();
    println!("{:?} {:?}", call!(isatty(99)), call!(ioctl(slave, 0x7777_7777)));
    let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    println!("{:?} {:?}", call!(tcgetattr(null, &mut settings)), call!(ioctl(slave, libc::TCGETS, 8)));
    println!("{:?} {:?}", call!(tcgetpgrp(slave)), call!(tcsetpgrp(slave, libc::getpid())));
    println!("{:?}", call!(ioctl(master, libc::TIOCSWINSZ, 8)));
}
