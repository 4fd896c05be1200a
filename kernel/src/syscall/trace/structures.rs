//! Structures in a program's memory, abbreviated as strace abbreviates them.

use super::flags;
use super::memory::{Memory, number};
use super::strings::{Escapes, SHOWN, address, quote};
use crate::arch::{Current, Machine};
use crate::syscall::argument::{Structure, low_half};
use crate::syscall::names::{event, file, process};
use alloc::string::String;
use core::fmt::Write;

/// The longest structure of which anything is shown.
const LONGEST: usize = 392;

/// How many bytes of it are read.
fn size(structure: Structure) -> usize {
    match structure {
        Structure::Status => Current::LINUX.status.size,
        Structure::ExtendedStatus => 256,
        Structure::TimeSpecification | Structure::TimeValue | Structure::Limit => 16,
        Structure::TwoTimeSpecifications
        | Structure::IntervalValue
        | Structure::IntervalSpecification
        | Structure::SignalAction => 32,
        Structure::SignalSet | Structure::Descriptors | Structure::Offset => 8,
        Structure::WaitStatus | Structure::Integer => 4,
        Structure::SystemName => 390,
        Structure::SystemInformation => 112,
        Structure::Usage => 144,
        Structure::EpollEvent => Current::LINUX.epoll_event_size,
    }
}

/// Writes the structure at `pointer`, or the bare address.
pub(super) fn structure(line: &mut String, memory: &dyn Memory, kind: Structure, pointer: u64) {
    let mut buffer = [0; LONGEST];
    let Some(bytes) = buffer.get_mut(..size(kind)) else { return };
    if pointer == 0 || !memory.read(pointer, bytes) {
        address(line, pointer);
        return;
    }
    let _ = write(line, kind, bytes);
}

/// The signed number of 4 bytes.
pub(super) fn integer(bytes: &[u8], offset: usize) -> i32 {
    low_half(number(bytes, offset, 4)).cast_signed()
}

fn write(line: &mut String, kind: Structure, bytes: &[u8]) -> core::fmt::Result {
    match kind {
        Structure::Status => status(line, bytes),
        Structure::ExtendedStatus => extended_status(line, bytes),
        Structure::TimeSpecification => time(line, bytes, 0, "nsec"),
        Structure::TimeValue => time(line, bytes, 0, "usec"),
        Structure::TwoTimeSpecifications => {
            line.push('[');
            moment(line, bytes, 0)?;
            line.push_str(", ");
            moment(line, bytes, 16)?;
            line.push(']');
            Ok(())
        }
        Structure::IntervalValue => interval(line, bytes, "usec"),
        Structure::IntervalSpecification => interval(line, bytes, "nsec"),
        Structure::Limit => {
            line.push_str("{rlim_cur=");
            limit(line, number(bytes, 0, 8))?;
            line.push_str(", rlim_max=");
            limit(line, number(bytes, 8, 8))?;
            line.push('}');
            Ok(())
        }
        Structure::SignalAction => signal_action(line, bytes),
        Structure::SignalSet => {
            flags::signal_set(line, number(bytes, 0, 8));
            Ok(())
        }
        Structure::Descriptors => write!(line, "[{}, {}]", integer(bytes, 0), integer(bytes, 4)),
        Structure::WaitStatus => wait_status(line, low_half(number(bytes, 0, 4))),
        Structure::SystemName => {
            line.push_str("{sysname=");
            fixed_text(line, bytes.get(..65));
            line.push_str(", nodename=");
            fixed_text(line, bytes.get(65..130));
            line.push_str(", ...}");
            Ok(())
        }
        Structure::SystemInformation => system_information(line, bytes),
        Structure::Usage => {
            line.push_str("{ru_utime=");
            time(line, bytes, 0, "usec")?;
            line.push_str(", ru_stime=");
            time(line, bytes, 16, "usec")?;
            line.push_str(", ...}");
            Ok(())
        }
        Structure::EpollEvent => epoll_event(line, bytes),
        Structure::Integer => write!(line, "[{}]", integer(bytes, 0)),
        Structure::Offset => write!(line, "[{}]", number(bytes, 0, 8).cast_signed()),
    }
}

fn fixed_text(line: &mut String, field: Option<&[u8]>) {
    let field = field.unwrap_or_default();
    let length = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    quote(line, field.get(..length.min(SHOWN)).unwrap_or_default(), Escapes::Octal);
    if length > SHOWN {
        line.push_str("...");
    }
}

/// A structure's device number as `makedev` takes it.
fn device(line: &mut String, major: u64, minor: u64) -> core::fmt::Result {
    write!(line, "makedev({major:#x}, {minor:#x})")
}

fn status(line: &mut String, bytes: &[u8]) -> core::fmt::Result {
    let layout = &Current::LINUX.status;
    let mode = low_half(number(bytes, layout.st_mode.offset, layout.st_mode.width));
    line.push_str("{st_mode=");
    flags::file_mode(line, mode);
    if is_device(mode) {
        let raw = number(bytes, layout.st_rdev.offset, layout.st_rdev.width);
        line.push_str(", st_rdev=");
        device(line, (raw >> 8) & 0xfff | (raw >> 32) & !0xfff, raw & 0xff | (raw >> 12) & 0xfff_ff00)?;
    } else {
        write!(line, ", st_size={}", number(bytes, layout.st_size.offset, layout.st_size.width).cast_signed())?;
    }
    line.push_str(", ...}");
    Ok(())
}

fn is_device(mode: u32) -> bool {
    matches!(mode & 0o170_000, 0o020_000 | 0o060_000)
}

fn extended_status(line: &mut String, bytes: &[u8]) -> core::fmt::Result {
    line.push_str("{stx_mask=");
    flags::bits(line, &file::STATX_MASK, number(bytes, 0, 4));
    let attributes = number(bytes, 8, 8);
    if attributes == 0 {
        line.push_str(", stx_attributes=0");
    } else {
        write!(line, ", stx_attributes={attributes:#x}")?;
    }
    line.push_str(", stx_mode=");
    let mode = low_half(number(bytes, 28, 2));
    flags::file_mode(line, mode);
    write!(line, ", stx_size={}, ...}}", number(bytes, 40, 8))
}

fn time(line: &mut String, bytes: &[u8], offset: usize, fraction: &str) -> core::fmt::Result {
    let [seconds, parts] = [number(bytes, offset, 8), number(bytes, offset + 8, 8)].map(u64::cast_signed);
    write!(line, "{{tv_sec={seconds}, tv_{fraction}={parts}}}")
}

/// A time to give a file; two values of its nanoseconds have names.
fn moment(line: &mut String, bytes: &[u8], offset: usize) -> core::fmt::Result {
    match number(bytes, offset + 8, 8) {
        0x3fff_ffff => line.push_str("UTIME_NOW"),
        0x3fff_fffe => line.push_str("UTIME_OMIT"),
        _ => time(line, bytes, offset, "nsec")?,
    }
    Ok(())
}

fn interval(line: &mut String, bytes: &[u8], fraction: &str) -> core::fmt::Result {
    line.push_str("{it_interval=");
    time(line, bytes, 0, fraction)?;
    line.push_str(", it_value=");
    time(line, bytes, 16, fraction)?;
    line.push('}');
    Ok(())
}

fn limit(line: &mut String, limit: u64) -> core::fmt::Result {
    match limit {
        u64::MAX => write!(line, "RLIM64_INFINITY"),
        1025.. if limit.is_multiple_of(1024) => write!(line, "{}*1024", limit / 1024),
        _ => write!(line, "{limit}"),
    }
}

fn signal_action(line: &mut String, bytes: &[u8]) -> core::fmt::Result {
    line.push_str("{sa_handler=");
    match number(bytes, 0, 8) {
        0 => line.push_str("SIG_DFL"),
        1 => line.push_str("SIG_IGN"),
        handler => address(line, handler),
    }
    line.push_str(", sa_mask=");
    flags::signal_set(line, number(bytes, 24, 8));
    line.push_str(", sa_flags=");
    let action_flags = number(bytes, 8, 8);
    flags::bits(line, &process::ACTION, action_flags);
    if action_flags & 0x400_0000 != 0 {
        line.push_str(", sa_restorer=");
        address(line, number(bytes, 16, 8));
    }
    line.push('}');
    Ok(())
}

fn wait_status(line: &mut String, status: u32) -> core::fmt::Result {
    let code = (status >> 8 & 0xff).cast_signed();
    match status & 0x7f {
        _ if status == 0xffff => write!(line, "[{{WIFCONTINUED(s)}}]"),
        0 => write!(line, "[{{WIFEXITED(s) && WEXITSTATUS(s) == {code}}}]"),
        0x7f => {
            line.push_str("[{WIFSTOPPED(s) && WSTOPSIG(s) == ");
            flags::signal(line, code);
            line.push_str("}]");
            Ok(())
        }
        signal => {
            line.push_str("[{WIFSIGNALED(s) && WTERMSIG(s) == ");
            flags::signal(line, signal.cast_signed());
            line.push_str(if status & 0x80 == 0 { "}]" } else { " && WCOREDUMP(s)}]" });
            Ok(())
        }
    }
}

fn system_information(line: &mut String, bytes: &[u8]) -> core::fmt::Result {
    let word = |index: usize| number(bytes, index * 8, 8);
    write!(line, "{{uptime={}, loads=[{}, {}, {}]", word(0).cast_signed(), word(1), word(2), word(3))?;
    for (index, name) in ["totalram", "freeram", "sharedram", "bufferram", "totalswap", "freeswap"].iter().enumerate() {
        write!(line, ", {name}={}", word(index + 4))?;
    }
    write!(line, ", procs={}, totalhigh={}, freehigh={}", number(bytes, 80, 2), word(11), word(12))?;
    write!(line, ", mem_unit={}}}", number(bytes, 104, 4))
}

/// Writes one event of an epoll file; its data is the last 8 bytes on either machine.
pub(super) fn epoll_event(line: &mut String, bytes: &[u8]) -> core::fmt::Result {
    line.push_str("{events=");
    flags::bits(line, &event::EPOLL, number(bytes, 0, 4));
    let data = number(bytes, bytes.len().saturating_sub(8), 8);
    write!(line, ", data={{u32={}, u64={data}}}}}", low_half(data))
}

#[cfg(test)]
mod tests {
    use super::super::memory::fake::Fake;
    use super::*;
    use alloc::vec::Vec;

    fn written(kind: Structure, words: &[u64]) -> String {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(400, 0);
        let mut line = String::new();
        structure(&mut line, &Fake(0x1000, bytes), kind, 0x1000);
        line
    }

    #[test]
    fn structures_look_as_strace_writes_them() {
        for (kind, words, expected) in [
            (Structure::TimeSpecification, &[1, 5][..], "{tv_sec=1, tv_nsec=5}"),
            (Structure::Limit, &[8 << 20, u64::MAX], "{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}"),
            (Structure::Limit, &[0, 1024], "{rlim_cur=0, rlim_max=1024}"),
            (Structure::Descriptors, &[4 << 32 | 3], "[3, 4]"),
            (Structure::WaitStatus, &[7 << 8], "[{WIFEXITED(s) && WEXITSTATUS(s) == 7}]"),
            (Structure::WaitStatus, &[9], "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]"),
            (Structure::WaitStatus, &[0x8b], "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}]"),
            (Structure::WaitStatus, &[0x137f], "[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}]"),
            (Structure::WaitStatus, &[0xffff], "[{WIFCONTINUED(s)}]"),
            (Structure::SignalSet, &[1 << 9], "[USR1]"),
            (
                Structure::SignalAction,
                &[0x401000, 0x1400_0000, 0x402000, 1 << 11],
                "{sa_handler=0x401000, sa_mask=[USR2], sa_flags=SA_RESTORER|SA_RESTART, sa_restorer=0x402000}",
            ),
            (Structure::SignalAction, &[0, 0, 0, 0], "{sa_handler=SIG_DFL, sa_mask=[], sa_flags=0}"),
            (Structure::TwoTimeSpecifications, &[0, 0x3fff_ffff, 1, 2], "[UTIME_NOW, {tv_sec=1, tv_nsec=2}]"),
            (Structure::Offset, &[u64::MAX], "[-1]"),
        ] {
            assert_eq!(written(kind, words), expected);
        }
    }

    #[test]
    fn a_status_shows_size_or_device() {
        let layout = &Current::LINUX.status;
        let mut bytes = vec![0; 400];
        layout.st_mode.put(&mut bytes, 0o100_644);
        layout.st_size.put(&mut bytes, 50);
        let mut line = String::new();
        structure(&mut line, &Fake(0x1000, bytes.clone()), Structure::Status, 0x1000);
        assert_eq!(line, "{st_mode=S_IFREG|0644, st_size=50, ...}");
        layout.st_mode.put(&mut bytes, 0o020_666);
        layout.st_rdev.put(&mut bytes, 0x103);
        line.clear();
        structure(&mut line, &Fake(0x1000, bytes), Structure::Status, 0x1000);
        assert_eq!(line, "{st_mode=S_IFCHR|0666, st_rdev=makedev(0x1, 0x3), ...}");
    }

    #[test]
    fn missing_memory_is_a_bare_address() {
        let mut line = String::new();
        let memory = Fake(0x1000, vec![0; 8]);
        structure(&mut line, &memory, Structure::Limit, 0x1000);
        line.push(' ');
        structure(&mut line, &memory, Structure::Limit, u64::MAX);
        line.push(' ');
        structure(&mut line, &memory, Structure::Limit, 0);
        assert_eq!(line, "0x1000 0xffffffffffffffff NULL");
    }
}
