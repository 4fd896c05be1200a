//! One argument, by its kind.

use super::memory::Memory;
use super::strings::{self, Escapes, SHOWN, address};
use super::structures::structure;
use super::{arrays, flags};
use crate::syscall::argument::{ArgumentKind, Structure, low_half};
use crate::syscall::names::{event, file};
use alloc::string::String;
use core::fmt::Write;

/// Whether arguments behind one are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// The next argument is.
    Argument,
    /// This was the last.
    End,
}

/// The registers of a call and what they point to.
pub(super) struct Arguments<'a> {
    /// All six.
    pub registers: [u64; 6],
    /// The caller's memory.
    pub memory: &'a dyn Memory,
    /// The call's value, once it has succeeded.
    pub value: Option<u64>,
}

/// Whether an argument can be written only when the call is over.
pub(super) const fn is_filled(kind: ArgumentKind) -> bool {
    matches!(
        kind,
        ArgumentKind::FilledBytes
            | ArgumentKind::FilledNoise
            | ArgumentKind::Entries
            | ArgumentKind::Filled(_)
            | ArgumentKind::FilledVectors
            | ArgumentKind::EpollEvents
            | ArgumentKind::RequestArgument
    )
}

impl Arguments<'_> {
    fn register(&self, position: usize) -> u64 {
        self.registers.get(position).copied().unwrap_or_default()
    }

    /// Whether an optional argument behind the flags at `position - 1` is left out.
    fn is_left_out(&self, kind: ArgumentKind, position: usize) -> bool {
        let before = self.register(position.saturating_sub(1));
        match kind {
            // O_CREAT or O_TMPFILE.
            ArgumentKind::CreationMode => before & 0o100 == 0 && before & 0o20_000_000 == 0,
            ArgumentKind::FixedAddress => before & 2 == 0,
            ArgumentKind::FileControl => matches!(low_half(before), 1 | 3 | 9 | 11 | 1025 | 1032 | 1034),
            ArgumentKind::FutexRest => !matches!(low_half(before_by(self, position, 2)) & 0x7f, 0 | 3..=6 | 9..=13),
            ArgumentKind::OptionArgument => matches!(before, 3 | 7 | 14 | 21 | 27 | 30),
            _ => false,
        }
    }

    /// Writes the argument at `position`, with the comma before it.
    pub(super) fn write(&self, line: &mut String, kind: ArgumentKind, position: usize) -> Next {
        if self.is_left_out(kind, position) {
            return Next::End;
        }
        if position > 0 {
            line.push_str(", ");
        }
        let register = self.register(position);
        let low = low_half(register);
        let next = self.register(position + 1);
        let _ = match kind {
            ArgumentKind::Signed if register <= u64::from(u32::MAX) => write!(line, "{}", low.cast_signed()),
            ArgumentKind::Signed => write!(line, "{}", register.cast_signed()),
            ArgumentKind::ProcessId => write!(line, "{}", low.cast_signed()),
            ArgumentKind::UserId if low == u32::MAX => write!(line, "-1"),
            ArgumentKind::UserId => write!(line, "{low}"),
            ArgumentKind::Unsigned => write!(line, "{register}"),
            ArgumentKind::Flags if register == 0 => write!(line, "0"),
            ArgumentKind::Flags => write!(line, "{register:#x}"),
            ArgumentKind::FileDescriptor if low.cast_signed() == -100 => write!(line, "AT_FDCWD"),
            ArgumentKind::FileDescriptor => write!(line, "{}", low.cast_signed()),
            ArgumentKind::FileControl => {
                self.file_control(line, low_half(self.register(position.saturating_sub(1))), register)
            }
            ArgumentKind::Request => request(line, low),
            ArgumentKind::FutexOperation => futex_operation(line, low),
            ArgumentKind::FutexRest => {
                self.futex_rest(line, position, register);
                return Next::End;
            }
            ArgumentKind::OptionArgument => {
                self.option(line, low_half(self.register(position.saturating_sub(1))), position);
                return Next::End;
            }
            ArgumentKind::RequestArgument => {
                self.request_argument(line, low_half(self.register(position.saturating_sub(1))), register);
                Ok(())
            }
            _ => {
                self.pointer(line, kind, register, next);
                Ok(())
            }
        };
        Next::Argument
    }

    /// The kinds that cannot fail to be written.
    fn pointer(&self, line: &mut String, kind: ArgumentKind, register: u64, next: u64) {
        let (memory, low) = (self.memory, low_half(register));
        match kind {
            ArgumentKind::Mode | ArgumentKind::CreationMode => flags::mode(line, low),
            ArgumentKind::Signal => flags::signal(line, low.cast_signed()),
            ArgumentKind::Bits(names) => flags::bits(line, names, register),
            ArgumentKind::Value(names) => flags::value(line, names, u64::from(low)),
            ArgumentKind::Path => strings::path(line, memory, register),
            ArgumentKind::Text => strings::text(line, memory, register, SHOWN),
            ArgumentKind::Bytes => strings::bytes(line, memory, register, next, Escapes::Octal),
            ArgumentKind::Given(kind) => structure(line, memory, kind, register),
            ArgumentKind::Vectors => arrays::vectors(line, memory, register, next, u64::MAX),
            ArgumentKind::Polled => arrays::polled(line, memory, register, next),
            ArgumentKind::Strings => strings::array(line, memory, register),
            ArgumentKind::Environment => strings::environment(line, memory, register),
            _ => match self.value {
                Some(value) => self.filled(line, kind, register, next, value),
                None => address(line, register),
            },
        }
    }

    /// What a call that succeeded has filled.
    fn filled(&self, line: &mut String, kind: ArgumentKind, register: u64, next: u64, value: u64) {
        let memory = self.memory;
        match kind {
            ArgumentKind::FilledBytes => strings::bytes(line, memory, register, value, Escapes::Octal),
            ArgumentKind::FilledNoise => strings::bytes(line, memory, register, value, Escapes::Hexadecimal),
            ArgumentKind::Entries => arrays::entries(line, memory, register, value),
            // Nobody was waited for.
            ArgumentKind::Filled(Structure::WaitStatus | Structure::Usage) if value == 0 && self.is_wait() => {
                address(line, register);
            }
            ArgumentKind::Filled(kind) => structure(line, memory, kind, register),
            ArgumentKind::FilledVectors => arrays::vectors(line, memory, register, next, value),
            ArgumentKind::EpollEvents => arrays::epoll_events(line, memory, register, value),
            _ => address(line, register),
        }
    }

    /// Whether the value 0 of the call means that there was nothing: `wait4`, whose third argument is `WNOHANG`.
    fn is_wait(&self) -> bool {
        self.register(2) & 1 != 0
    }

    fn file_control(&self, line: &mut String, command: u32, argument: u64) -> core::fmt::Result {
        match command {
            2 => flags::bits(line, &file::CLOSE_ON_EXEC, argument),
            4 => flags::bits(line, &file::OPEN, argument),
            5..=7 | 36..=38 => return self.file_lock(line, argument),
            10 => flags::signal(line, low_half(argument).cast_signed()),
            0 | 8 | 1024 | 1030 | 1031 => return write!(line, "{}", low_half(argument).cast_signed()),
            _ if argument == 0 => line.push('0'),
            _ => return write!(line, "{argument:#x}"),
        }
        Ok(())
    }

    fn file_lock(&self, line: &mut String, pointer: u64) -> core::fmt::Result {
        use super::memory::number;
        let mut lock = [0; 32];
        if !self.memory.read(pointer, &mut lock) {
            address(line, pointer);
            return Ok(());
        }
        line.push_str("{l_type=");
        flags::value(line, &file::LOCK_KIND, number(&lock, 0, 2));
        line.push_str(", l_whence=");
        flags::value(line, &file::WHENCE, number(&lock, 2, 2));
        let [start, length] = [number(&lock, 8, 8), number(&lock, 16, 8)].map(u64::cast_signed);
        write!(line, ", l_start={start}, l_len={length}}}")
    }

    fn futex_rest(&self, line: &mut String, position: usize, timeout: u64) {
        let operation = low_half(before_by(self, position, 2)) & 0x7f;
        match operation {
            0 | 6 | 9 | 11 | 13 => structure(line, self.memory, Structure::TimeSpecification, timeout),
            10 => address(line, timeout),
            _ => {
                let _ = write!(line, "{}", low_half(timeout));
            }
        }
        let (second, third) = (self.register(position + 1), low_half(self.register(position + 2)));
        match operation {
            9 | 10 => {
                line.push_str(", NULL, ");
                let _ = match third {
                    u32::MAX => write!(line, "FUTEX_BITSET_MATCH_ANY"),
                    third => write!(line, "{third:#x}"),
                };
            }
            3 | 4 | 5 | 11 | 12 => {
                line.push_str(", ");
                address(line, second);
                if operation != 3 && operation != 11 {
                    let _ = write!(line, ", {third}");
                }
            }
            _ => {}
        }
    }

    fn option(&self, line: &mut String, option: u32, position: usize) {
        let argument = self.register(position);
        match option {
            // PR_SET_NAME
            15 => strings::text(line, self.memory, argument, 15),
            1 => flags::signal(line, low_half(argument).cast_signed()),
            // PR_SET_NO_NEW_PRIVS has to be told the zeros as well.
            38 | 39 | 41 | 42 => {
                let _ = write!(line, "{argument}, {}, {}, {}", self.register(2), self.register(3), self.register(4));
            }
            4 | 8 | 24 | 28 | 29 | 36 => {
                let _ = write!(line, "{argument}");
            }
            _ => {
                let _ = write!(
                    line,
                    "{argument:#x}, {:#x}, {:#x}, {:#x}",
                    self.register(2),
                    self.register(3),
                    self.register(4)
                );
            }
        }
    }

    fn request_argument(&self, line: &mut String, request: u32, pointer: u64) {
        let reads = matches!(request, 0x5410 | 0x5421 | 0x5452);
        let mut number = [0; 4];
        match request {
            // TIOCGPGRP, TIOCSPGRP, FIONREAD, FIONBIO and the like.
            0x540f..=0x5411 | 0x541b | 0x5421 | 0x5429 | 0x5452 | 0x8004_5430
                if (reads || self.value.is_some()) && self.memory.read(pointer, &mut number) =>
            {
                let _ = write!(line, "[{}]", i32::from_le_bytes(number));
            }
            // TIOCGWINSZ and TIOCSWINSZ.
            0x5413 | 0x5414 if request == 0x5414 || self.value.is_some() => {
                use super::memory::number;
                let mut size = [0; 8];
                if !self.memory.read(pointer, &mut size) {
                    address(line, pointer);
                    return;
                }
                let [rows, columns, width, height] = [0, 2, 4, 6].map(|offset| number(&size, offset, 2));
                let _ = write!(line, "{{ws_row={rows}, ws_col={columns}, ws_xpixel={width}, ws_ypixel={height}}}");
            }
            _ if pointer == 0 => line.push('0'),
            _ => address(line, pointer),
        }
    }
}

/// The register `back` places before `position`.
fn before_by(arguments: &Arguments<'_>, position: usize, back: usize) -> u64 {
    arguments.register(position.saturating_sub(back))
}

/// A request by name, or taken to pieces.
fn request(line: &mut String, request: u32) -> core::fmt::Result {
    if let Some(name) = file::REQUEST.name(u64::from(request)) {
        return write!(line, "{name}");
    }
    let direction = match request >> 30 {
        0 => "_IOC_NONE",
        1 => "_IOC_WRITE",
        2 => "_IOC_READ",
        _ => "_IOC_READ|_IOC_WRITE",
    };
    let [kind, number, size] = [request >> 8 & 0xff, request & 0xff, request >> 16 & 0x3fff];
    write!(line, "_IOC({direction}, {}, {}, {})", Hexadecimal(kind), Hexadecimal(number), Hexadecimal(size))
}

/// As C's `%#x`: 0 has no prefix.
struct Hexadecimal(u32);

impl core::fmt::Display for Hexadecimal {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.0 == 0 { formatter.write_str("0") } else { write!(formatter, "{:#x}", self.0) }
    }
}

fn futex_operation(line: &mut String, operation: u32) -> core::fmt::Result {
    flags::value(line, &event::FUTEX, u64::from(operation & !0x180));
    line.push_str(if operation & 0x80 == 0 { "" } else { "_PRIVATE" });
    line.push_str(if operation & 0x100 == 0 { "" } else { "|FUTEX_CLOCK_REALTIME" });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::memory::fake::Fake;
    use super::*;
    use crate::syscall::lookup;
    use crate::syscall::table::TABLE;

    /// All arguments of a call.
    fn written(name: &str, registers: [u64; 6], value: Option<u64>) -> String {
        let memory = Fake(0x1000, b"text\0".iter().copied().chain([0; 251]).collect());
        let arguments = Arguments { registers, memory: &memory, value };
        let row = TABLE.iter().find(|row| row.name == name).unwrap();
        let mut line = String::new();
        for (position, argument) in row.arguments.iter().enumerate() {
            if arguments.write(&mut line, argument.kind, position) == Next::End {
                break;
            }
        }
        line
    }

    #[test]
    fn arguments_look_as_strace_writes_them() {
        for (name, registers, value, expected) in [
            ("openat", [0xffff_ff9c, 0x1000, 0o102, 0o644, 0, 0], None, r#"AT_FDCWD, "text", O_RDWR|O_CREAT, 0644"#),
            ("openat", [3, 0, 0, 0o644, 0, 0], None, "3, NULL, O_RDONLY"),
            ("read", [3, 0x1000, 10, 0, 0, 0], Some(2), r#"3, "te", 10"#),
            ("read", [3, 0x1000, 10, 0, 0, 0], None, "3, 0x1000, 10"),
            ("write", [1, 0x8, 5, 0, 0, 0], None, "1, 0x8, 5"),
            (
                "mmap",
                [0, 8192, 3, 0x22, u64::MAX, 0],
                None,
                "NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0",
            ),
            ("fcntl", [3, 3, 9, 0, 0, 0], None, "3, F_GETFL"),
            ("fcntl", [3, 4, 0o2000, 0, 0, 0], None, "3, F_SETFL, O_RDONLY|O_APPEND"),
            ("fcntl", [3, 12345, 1, 0, 0, 0], None, "3, 0x3039 /* F_??? */, 0x1"),
            ("ioctl", [0, 0x1234, 0x9000, 0, 0, 0], None, "0, _IOC(_IOC_NONE, 0x12, 0x34, 0), 0x9000"),
            ("futex", [0x9000, 129, 1, 0, 0, 0], None, "0x9000, FUTEX_WAKE_PRIVATE, 1"),
            ("futex", [0x9000, 0x180, 1, 0, 0, 0], None, "0x9000, FUTEX_WAIT_PRIVATE|FUTEX_CLOCK_REALTIME, 1, NULL"),
            ("fchownat", [3, 0x1000, 0xffff_ffff, 5, 0x100, 0], None, r#"3, "text", -1, 5, AT_SYMLINK_NOFOLLOW"#),
            ("wait4", [u64::MAX, 0x1000, 1, 0, 0, 0], Some(0), "-1, 0x1000, WNOHANG, NULL"),
            ("kill", [7, 9, 0, 0, 0, 0], None, "7, SIGKILL"),
        ] {
            assert_eq!(written(name, registers, value), expected, "{name}");
        }
    }

    /// Nothing that a program puts into its registers makes the tracer fail or write without end.
    #[test]
    fn every_call_with_every_kind_of_bad_argument_is_written() {
        for row in &TABLE {
            for register in [0, 1, 0x1000, 0x10ff, 0x8000_0000_0000, u64::from(u32::MAX), u64::MAX - 7, u64::MAX] {
                for value in [None, Some(0), Some(1), Some(u64::MAX)] {
                    assert!(written(row.name, [register; 6], value).len() < 8192, "{} {register:#x}", row.name);
                }
            }
        }
        assert!(lookup::row(u64::MAX).is_none());
    }
}
