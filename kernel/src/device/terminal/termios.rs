//! Terminal settings: the flags and the special characters. The structures that `ioctl` moves are in `user`.
//!
//! Numbers are those of Linux's `asm-generic/termbits.h`, the same on both machines.

mod user;

use bitflags::bitflags;
pub use user::{UserTermio, UserTermios, UserTermios2, WindowSize};

bitflags! {
    /// `c_iflag`: what happens to bytes that arrive.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct InputFlags: u32 {
        /// Ignore breaks.
        const IGNBRK = 0o1;
        /// A break is an interrupt.
        const BRKINT = 0o2;
        /// Ignore bytes with parity errors.
        const IGNPAR = 0o4;
        /// Mark parity errors.
        const PARMRK = 0o10;
        /// Check parity.
        const INPCK = 0o20;
        /// Clear the eighth bit.
        const ISTRIP = 0o40;
        /// Newline becomes carriage return.
        const INLCR = 0o100;
        /// Drop carriage returns.
        const IGNCR = 0o200;
        /// Carriage return becomes newline.
        const ICRNL = 0o400;
        /// Upper case becomes lower case.
        const IUCLC = 0o1000;
        /// STOP and START control output.
        const IXON = 0o2000;
        /// Any byte restarts stopped output.
        const IXANY = 0o4000;
        /// Send STOP and START as the input fills and empties.
        const IXOFF = 0o10000;
        /// Ring the bell when the input is full.
        const IMAXBEL = 0o20000;
        /// Input is UTF-8, so that an erase takes whole characters.
        const IUTF8 = 0o40000;
        const _ = !0;
    }

    /// `c_oflag`: what happens to bytes that are written.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OutputFlags: u32 {
        /// Process output at all.
        const OPOST = 0o1;
        /// Lower case becomes upper case.
        const OLCUC = 0o2;
        /// Newline becomes carriage return and newline.
        const ONLCR = 0o4;
        /// Carriage return becomes newline.
        const OCRNL = 0o10;
        /// No carriage return at column 0.
        const ONOCR = 0o20;
        /// A newline returns the carriage.
        const ONLRET = 0o40;
        /// Tabs become spaces (all bits of the tab delay).
        const XTABS = 0o14000;
        const _ = !0;
    }

    /// `c_lflag`: line editing, echo and signals.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct LocalFlags: u32 {
        /// INTR, QUIT and SUSP send signals.
        const ISIG = 0o1;
        /// Input comes in lines that can be edited.
        const ICANON = 0o2;
        /// Historic; kept and not acted upon, as on Linux.
        const XCASE = 0o4;
        /// Echo.
        const ECHO = 0o10;
        /// Show an erase as backspace, space, backspace.
        const ECHOE = 0o20;
        /// A newline after KILL.
        const ECHOK = 0o40;
        /// Echo newlines even without `ECHO`.
        const ECHONL = 0o100;
        /// Keep the queues when a signal is sent.
        const NOFLSH = 0o200;
        /// Background writers are stopped.
        const TOSTOP = 0o400;
        /// Show control characters as `^X`.
        const ECHOCTL = 0o1000;
        /// Show erased characters between `\` and `/`.
        const ECHOPRT = 0o2000;
        /// Show KILL as an erase of every character.
        const ECHOKE = 0o4000;
        /// Historic.
        const FLUSHO = 0o10000;
        /// Historic.
        const PENDIN = 0o40000;
        /// WERASE, LNEXT, REPRINT and EOL2 work.
        const IEXTEN = 0o100000;
        /// The peer edits lines.
        const EXTPROC = 0o200000;
        const _ = !0;
    }
}

/// `c_cflag` bits that the kernel looks at; the others are kept as given.
pub mod control {
    /// The speed's bits.
    pub const CBAUD: u32 = 0o10017;
    /// Hang up the line, as a speed.
    pub const B0: u32 = 0;
    /// 9600 baud.
    pub const B9600: u32 = 0o15;
    /// 38400 baud.
    pub const B38400: u32 = 0o17;
    /// 115200 baud.
    pub const B115200: u32 = 0o10002;
    /// The speed is in `c_ospeed`.
    pub const BOTHER: u32 = 0o10000;
    /// Character size bits.
    pub const CSIZE: u32 = 0o60;
    /// Seven bits.
    pub const CS7: u32 = 0o40;
    /// Eight bits.
    pub const CS8: u32 = 0o60;
    /// Receive.
    pub const CREAD: u32 = 0o200;
    /// Parity.
    pub const PARENB: u32 = 0o400;
    /// The parity is odd.
    pub const PARODD: u32 = 0o1000;
    /// Hang up on the last close.
    pub const HUPCL: u32 = 0o2000;
    /// Ignore modem lines.
    pub const CLOCAL: u32 = 0o4000;
    /// Flow control by the line's wires.
    pub const CRTSCTS: u32 = 0o20_000_000_000;
}

/// The number of special characters.
pub const SPECIAL_CHARACTERS: usize = 19;

/// A special character's index in `c_cc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Special {
    /// Sends SIGINT.
    Interrupt = 0,
    /// Sends SIGQUIT.
    Quit = 1,
    /// Erases a character.
    Erase = 2,
    /// Erases the line.
    Kill = 3,
    /// Ends the input.
    EndOfFile = 4,
    /// Read timeout in tenths of a second.
    Time = 5,
    /// Fewest bytes of a read.
    Minimum = 6,
    /// Restarts output.
    Start = 8,
    /// Stops output.
    Stop = 9,
    /// Sends SIGTSTP.
    Suspend = 10,
    /// Another line end.
    EndOfLine = 11,
    /// Shows the line again.
    Reprint = 12,
    /// Erases a word.
    WordErase = 14,
    /// Takes the next byte literally.
    LiteralNext = 15,
    /// Yet another line end.
    EndOfLine2 = 16,
}

/// A special character that is switched off (`_POSIX_VDISABLE`).
pub const DISABLED: u8 = 0;

/// `INIT_C_CC`: `^C ^\ DEL ^U ^D`, `VTIME` 0, `VMIN` 1, `^Q ^S ^Z`, `^R ^O ^W ^V`.
const DEFAULT_SPECIAL: [u8; SPECIAL_CHARACTERS] =
    [3, 0o34, 0o177, 0o25, 4, 0, 1, 0, 0o21, 0o23, 0o32, 0, 0o22, 0o17, 0o27, 0o26, 0, 0, 0];

/// A terminal's settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Termios {
    /// `c_iflag`.
    pub input: InputFlags,
    /// `c_oflag`.
    pub output: OutputFlags,
    /// `c_cflag`; see [`control`].
    pub control: u32,
    /// `c_lflag`.
    pub local: LocalFlags,
    /// `c_line`: the line discipline's number; `N_TTY` (0) alone.
    pub line: u8,
    /// `c_cc`.
    pub special: [u8; SPECIAL_CHARACTERS],
    /// Input speed in baud.
    pub input_speed: u32,
    /// Output speed in baud.
    pub output_speed: u32,
}

impl Termios {
    /// Linux's `tty_std_termios` with `control` in place of its modem settings.
    #[must_use]
    pub const fn standard(control: u32, speed: u32) -> Self {
        Self {
            input: InputFlags::ICRNL.union(InputFlags::IXON),
            output: OutputFlags::OPOST.union(OutputFlags::ONLCR),
            control,
            local: LocalFlags::ISIG
                .union(LocalFlags::ICANON)
                .union(LocalFlags::ECHO)
                .union(LocalFlags::ECHOE)
                .union(LocalFlags::ECHOK)
                .union(LocalFlags::ECHOCTL)
                .union(LocalFlags::ECHOKE)
                .union(LocalFlags::IEXTEN),
            line: 0,
            special: DEFAULT_SPECIAL,
            input_speed: speed,
            output_speed: speed,
        }
    }

    /// A serial line's settings at boot, with `speed` bits per second: 9600 or 38400.
    #[must_use]
    pub const fn serial(speed: u32) -> Self {
        let code = if speed == 38_400 { control::B38400 } else { control::B9600 };
        Self::standard(code | control::CS8 | control::CREAD | control::HUPCL | control::CLOCAL, speed)
    }

    /// A serial line's settings as the command line gives them: speed, parity `n`, `o` or `e`, data bits, `r` for flow control by its
    /// wires, as `115200n8`; what is left out is 8 bits without parity. `None` where it does not begin with a speed that lines have.
    #[must_use]
    pub fn serial_line(text: &str) -> Option<Self> {
        let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
        let (speed, rest) = text.split_at_checked(digits)?;
        let speed = speed.parse().ok()?;
        let code = code_of(speed)?;
        let mut rest = rest.bytes();
        let parity = match rest.next() {
            Some(b'o') => control::PARENB | control::PARODD,
            Some(b'e') => control::PARENB,
            _ => 0,
        };
        let size = if rest.next() == Some(b'7') { control::CS7 } else { control::CS8 };
        let flow = if rest.next() == Some(b'r') { control::CRTSCTS } else { 0 };
        let always = control::CREAD | control::HUPCL | control::CLOCAL;
        Some(Self::standard(code | size | parity | flow | always, speed))
    }

    /// A pseudo terminal's slave side.
    #[must_use]
    pub const fn pty_slave() -> Self {
        Self::standard(control::B38400 | control::CS8 | control::CREAD, 38400)
    }

    /// A pseudo terminal's master side: nothing is processed there.
    #[must_use]
    pub const fn pty_master() -> Self {
        Self {
            input: InputFlags::empty(),
            output: OutputFlags::empty(),
            local: LocalFlags::empty(),
            ..Self::pty_slave()
        }
    }

    /// The special character, or [`DISABLED`].
    #[inline]
    #[must_use]
    pub const fn character(&self, special: Special) -> u8 {
        self.special[special as usize]
    }

    /// Whether `byte` is that special character (a disabled one never matches).
    #[inline]
    #[must_use]
    pub const fn is(&self, byte: u8, special: Special) -> bool {
        byte != DISABLED && byte == self.character(special)
    }
}

/// The speed in baud that control flags name; `None` for `BOTHER`.
fn speed_of(flags: u32) -> Option<u32> {
    let index = (flags & 0o17) as usize;
    if flags & control::BOTHER == 0 { LOW.get(index).copied() } else { HIGH.get(index.checked_sub(1)?).copied() }
}

/// The control flags of a speed, if it has some of its own.
fn code_of(speed: u32) -> Option<u32> {
    let index =
        |speeds: &[u32]| speeds.iter().position(|other| *other == speed).and_then(|index| u32::try_from(index).ok());
    match index(&LOW) {
        Some(0) => None,
        Some(index) => Some(index),
        None => index(&HIGH).map(|index| control::BOTHER | (index + 1)),
    }
}

/// The speeds by the low bits of the control flags, without and with [`control::BOTHER`].
const LOW: [u32; 16] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
const HIGH: [u32; 15] = [
    57600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000,
    3_000_000, 3_500_000, 4_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_settings_stay() {
        let old = Termios::serial(9600);
        let raw = Termios { local: LocalFlags::empty(), special: [7; SPECIAL_CHARACTERS], ..old };
        let mut locks = Termios { special: [0; SPECIAL_CHARACTERS], ..old }.to_user();
        locks.flags = [0, 0, 0, LocalFlags::ECHO.bits()];
        locks.special[0] = 1;
        let new = raw.keeping(&old, &locks);
        assert_eq!(new.local, old.local & LocalFlags::ECHO);
        assert_eq!((new.special[0], new.special[1]), (old.special[0], 7));
    }

    #[test]
    fn speeds_follow_the_control_flags() {
        assert_eq!(speed_of(control::B9600), Some(9600));
        assert_eq!(speed_of(control::B115200), Some(115_200));
        assert_eq!(speed_of(control::BOTHER), None);
        let mut user = Termios::serial(9600).to_user2();
        user.base.flags[2] = control::BOTHER;
        user.output_speed = 12345;
        assert_eq!(Termios::serial(9600).with_user2(&user).output_speed, 12345);
    }

    #[test]
    fn a_line_is_set_as_the_command_line_says() {
        assert_eq!(Termios::serial_line("9600n8"), Some(Termios::serial(9600)));
        let line = Termios::serial_line("115200").unwrap();
        assert_eq!((line.output_speed, line.control & control::CBAUD), (115_200, control::B115200));
        let line = Termios::serial_line("1200e7r").unwrap();
        assert_eq!(line.control & (control::CSIZE | control::PARENB | control::PARODD), control::CS7 | control::PARENB);
        assert_ne!(line.control & control::CRTSCTS, 0);
        for none in ["", "n8", "0", "12345", "99999999999999"] {
            assert_eq!(Termios::serial_line(none), None, "{none}");
        }
    }

    #[test]
    fn a_disabled_character_matches_nothing() {
        assert!(!Termios::serial(9600).is(0, Special::EndOfLine));
        assert!(Termios::serial(9600).is(3, Special::Interrupt));
    }
}
