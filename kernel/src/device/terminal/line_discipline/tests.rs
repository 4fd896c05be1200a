//! Transcripts of Linux's own pseudo terminals (recorded on Linux 6.18 with a small Python program), replayed here.

use super::*;
use crate::device::terminal::input_buffer::LineEnd;
use crate::device::terminal::termios::OutputFlags;

/// The settings' input, output and local flags; changed characters; what a program writes first; what is typed; the size of
/// each read; what appears on the screen; what the reads give.
#[expect(clippy::too_many_arguments, reason = "one transcript per line")]
fn case(
    name: &str,
    flags: [u32; 3],
    characters: &[(usize, u8)],
    written: &[u8],
    typed: &[u8],
    chunk: usize,
    screen: &[u8],
    reads: &[&[u8]],
) {
    let mut termios = Termios::pty_slave();
    termios.input = InputFlags::from_bits_retain(flags[0]);
    termios.output = OutputFlags::from_bits_retain(flags[1]);
    termios.local = LocalFlags::from_bits_retain(flags[2]);
    for &(index, character) in characters {
        termios.special[index] = character;
    }
    let mut discipline = LineDiscipline::new(termios);
    let mut out = VecDeque::new();
    assert_eq!(discipline.process_output(written, &mut out, 4096), written.len());
    for &byte in typed {
        discipline.receive(byte, &mut out);
    }
    assert_eq!(out.make_contiguous().escape_ascii().to_string(), screen.escape_ascii().to_string(), "{name}: screen");
    let mut got = Vec::new();
    while discipline.is_readable(1) {
        let mut target = vec![0; chunk];
        let count = if discipline.is_canonical() {
            let (count, end) = discipline.input.read_line(&mut target);
            if end == LineEnd::NotReached {
                discipline.input.skip_end_of_file();
            }
            count
        } else {
            discipline.input.read_raw(&mut target)
        };
        got.push(target[..count].escape_ascii().to_string());
    }
    let expected: Vec<String> = reads.iter().map(|read| read.escape_ascii().to_string()).collect();
    assert_eq!(got, expected, "{name}: reads");
}

#[test]
#[rustfmt::skip]
fn linux_transcripts() {
    case("a line", [0x500, 0x5, 0x8a3b], &[], b"", b"hello\x0a", 64, b"hello\x0d\x0a", &[b"hello\x0a"]);
    case("carriage return", [0x500, 0x5, 0x8a3b], &[], b"", b"hello\x0d", 64, b"hello\x0d\x0a", &[b"hello\x0a"]);
    case("erase", [0x500, 0x5, 0x8a3b], &[], b"", b"helo\x7flo\x0a", 64, b"helo\x08 \x08lo\x0d\x0a", &[b"hello\x0a"]);
    case("erase at start", [0x500, 0x5, 0x8a3b], &[], b"", b"\x7f\x7fa\x0a", 64, b"a\x0d\x0a", &[b"a\x0a"]);
    case("erase control", [0x500, 0x5, 0x8a3b], &[], b"", b"a\x01\x7fb\x0a", 64, b"a^A\x08 \x08\x08 \x08b\x0d\x0a", &[b"ab\x0a"]);
    case("kill", [0x500, 0x5, 0x8a3b], &[], b"", b"hello\x15bye\x0a", 64, b"hello\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08bye\x0d\x0a", &[b"bye\x0a"]);
    case("kill without ECHOKE", [0x500, 0x5, 0x823b], &[], b"", b"hello\x15bye\x0a", 64, b"hello^U\x0d\x0abye\x0d\x0a", &[b"bye\x0a"]);
    case("kill without ECHOK ECHOKE", [0x500, 0x5, 0x821b], &[], b"", b"hello\x15bye\x0a", 64, b"hello^Ubye\x0d\x0a", &[b"bye\x0a"]);
    case("word erase", [0x500, 0x5, 0x8a3b], &[], b"", b"one two\x17three  \x17x\x0a", 64, b"one two\x08 \x08\x08 \x08\x08 \x08three  \x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08x\x0d\x0a", &[b"one x\x0a"]);
    case("word erase punct", [0x500, 0x5, 0x8a3b], &[], b"", b"foo_bar.baz\x17\x17x\x0a", 64, b"foo_bar.baz\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08x\x0d\x0a", &[b"x\x0a"]);
    case("tab erase", [0x500, 0x5, 0x8a3b], &[], b"", b"ab\x09c\x7f\x7fd\x0a", 64, b"ab\x09c\x08 \x08\x08\x08\x08\x08\x08\x08d\x0d\x0a", &[b"abd\x0a"]);
    case("tab erase after tab", [0x500, 0x5, 0x8a3b], &[], b"", b"\x09\x09\x7fd\x0a", 64, b"\x09\x09\x08\x08\x08\x08\x08\x08\x08\x08d\x0d\x0a", &[b"\x09d\x0a"]);
    case("tab erase with prompt", [0x500, 0x5, 0x8a3b], &[], b"prompt> ", b"x\x09y\x7f\x7fz\x0a", 64, b"prompt> x\x09y\x08 \x08\x08\x08\x08\x08\x08\x08\x08z\x0d\x0a", &[b"xz\x0a"]);
    case("literal next", [0x500, 0x5, 0x8a3b], &[], b"", b"a\x16\x03b\x0a", 64, b"a^\x08^Cb\x0d\x0a", &[b"a\x03b\x0a"]);
    case("literal erase", [0x500, 0x5, 0x8a3b], &[], b"", b"a\x16\x7fb\x7f\x7f\x0a", 64, b"a^\x08^?b\x08 \x08\x08 \x08\x08 \x08\x0d\x0a", &[b"a\x0a"]);
    case("reprint", [0x500, 0x5, 0x8a3b], &[], b"", b"abc\x12d\x0a", 64, b"abc^R\x0d\x0aabcd\x0d\x0a", &[b"abcd\x0a"]);
    case("control chars", [0x500, 0x5, 0x8a3b], &[], b"", b"\x01\x02\x1b[A\x0a", 64, b"^A^B^[[A\x0d\x0a", &[b"\x01\x02\x1b[A\x0a"]);
    case("no ECHOCTL", [0x500, 0x5, 0x883b], &[], b"", b"\x01x\x7f\x7fy\x0a", 64, b"\x01x\x08 \x08y\x0d\x0a", &[b"y\x0a"]);
    case("no ECHO", [0x500, 0x5, 0x8a33], &[], b"", b"abc\x7f\x15d\x0a", 64, b"", &[b"d\x0a"]);
    case("ECHONL", [0x500, 0x5, 0x8a73], &[], b"", b"abc\x0a", 64, b"\x0d\x0a", &[b"abc\x0a"]);
    case("no ECHOE", [0x500, 0x5, 0x8a2b], &[], b"", b"abc\x7f\x7fd\x0a", 64, b"abc^?^?d\x0d\x0a", &[b"ad\x0a"]);
    case("ECHOPRT", [0x500, 0x5, 0x8e3b], &[], b"", b"abc\x7f\x7fd\x0a", 64, b"abc\x5ccb/d\x0d\x0a", &[b"ad\x0a"]);
    case("ECHOPRT all", [0x500, 0x5, 0x8e3b], &[], b"", b"ab\x7f\x7f\x0a", 64, b"ab\x5cba/\x0d\x0a", &[b"\x0a"]);
    case("eof", [0x500, 0x5, 0x8a3b], &[], b"", b"abc\x04\x04def\x0a", 64, b"abcdef\x0d\x0a", &[b"abc", b"", b"def\x0a"]);
    case("eof after filled read", [0x500, 0x5, 0x8a3b], &[], b"", b"abc\x04def\x0a", 3, b"abcdef\x0d\x0a", &[b"abc", b"def", b"\x0a"]);
    case("long read filled then eof", [0x500, 0x5, 0x8a3b], &[], b"", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\x04y\x0a", 100, b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxy\x0d\x0a", &[b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", b"y\x0a"]);
    case("short reads", [0x500, 0x5, 0x8a3b], &[], b"", b"abcdef\x0a", 4, b"abcdef\x0d\x0a", &[b"abcd", b"ef\x0a"]);
    case("INLCR", [0x540, 0x5, 0x8a3b], &[], b"", b"a\x0ab\x0d", 64, b"a^Mb\x0d\x0a", &[b"a\x0db\x0a"]);
    case("IGNCR", [0x580, 0x5, 0x8a3b], &[], b"", b"a\x0d\x0ab\x0a", 64, b"a\x0d\x0ab\x0d\x0a", &[b"a\x0a", b"b\x0a"]);
    case("no ICRNL", [0x400, 0x5, 0x8a3b], &[], b"", b"a\x0db\x0a", 64, b"a^Mb\x0d\x0a", &[b"a\x0db\x0a"]);
    case("ISTRIP", [0x520, 0x5, 0x8a3b], &[], b"", b"\xe1b\xff\x0a", 64, b"ab\x08 \x08\x0d\x0a", &[b"a\x0a"]);
    case("IUCLC", [0x700, 0x5, 0x8a3b], &[], b"", b"ABC\x0a", 64, b"abc\x0d\x0a", &[b"abc\x0a"]);
    case("IUTF8", [0x4500, 0x5, 0x8a3b], &[], b"", b"a\xc3\xa9\xe2\x82\xac\x7f\x7fb\x0a", 64, b"a\xc3\xa9\xe2\x82\xac\x08 \x08\x08 \x08b\x0d\x0a", &[b"ab\x0a"]);
    case("no IUTF8", [0x500, 0x5, 0x8a3b], &[], b"", b"a\xc3\xa9\x7fb\x0a", 64, b"a\xc3\xa9\x08 \x08b\x0d\x0a", &[b"a\xc3b\x0a"]);
    case("PARMRK", [0x508, 0x5, 0x8a3b], &[], b"", b"a\xffb\x0a", 64, b"a\xffb\x0d\x0a", &[b"a\xff\xffb\x0a"]);
    case("EOL", [0x500, 0x5, 0x8a3b], &[(11, 59)], b"", b"ab;c\x0a", 64, b"ab;c\x0d\x0a", &[b"ab;", b"c\x0a"]);
    case("EOL2", [0x500, 0x5, 0x8a3b], &[(16, 59)], b"", b"ab;c\x0a", 64, b"ab;c\x0d\x0a", &[b"ab;", b"c\x0a"]);
    case("no IEXTEN", [0x500, 0x5, 0xa3b], &[], b"", b"ab c\x17\x16\x12\x0a", 64, b"ab c^W^V^R\x0d\x0a", &[b"ab c\x17\x16\x12\x0a"]);
    case("raw", [0x0, 0x5, 0xa30], &[], b"", b"a\x0d\x7f\x15\x04\x0a\x16", 64, b"", &[b"a\x0d\x7f\x15\x04\x0a\x16"]);
    case("cbreak", [0x500, 0x5, 0x8a39], &[], b"", b"a\x0d\x7f\x15\x04\x16z", 64, b"a\x0d\x0a^?^U^D^Vz", &[b"a\x0a\x7f\x15\x04\x16z"]);
    case("cbreak short", [0x500, 0x5, 0x8a39], &[], b"", b"abcdefg", 3, b"abcdefg", &[b"abc", b"def", b"g"]);
    case("interrupt", [0x500, 0x5, 0x8a3b], &[], b"", b"abc\x03def\x0a", 64, b"^Cdef\x0d\x0a", &[b"def\x0a"]);
    case("interrupt NOFLSH", [0x500, 0x5, 0x8abb], &[], b"", b"abc\x03def\x0a", 64, b"abc^Cdef\x0d\x0a", &[b"abcdef\x0a"]);
    case("quit", [0x500, 0x5, 0x8a3b], &[], b"", b"abc\x1cdef\x0a", 64, b"^\x5cdef\x0d\x0a", &[b"def\x0a"]);
    case("suspend", [0x500, 0x5, 0x8a3b], &[], b"", b"abc\x1adef\x0a", 64, b"^Zdef\x0d\x0a", &[b"def\x0a"]);
    case("interrupt no ISIG", [0x500, 0x5, 0x8a3a], &[], b"", b"abc\x03def\x0a", 64, b"abc^Cdef\x0d\x0a", &[b"abc\x03def\x0a"]);
    case("interrupt no ECHO", [0x500, 0x5, 0x8a33], &[], b"", b"abc\x03def\x0a", 64, b"", &[b"def\x0a"]);
    case("stop and start", [0x500, 0x5, 0x8a3b], &[], b"", b"abc\x13de\x11f\x0a", 64, b"abcdef\x0d\x0a", &[b"abcdef\x0a"]);
    case("no IXON", [0x100, 0x5, 0x8a3b], &[], b"", b"abc\x13de\x11f\x0a", 64, b"abc^Sde^Qf\x0d\x0a", &[b"abc\x13de\x11f\x0a"]);
    case("no OPOST", [0x500, 0x4, 0x8a3b], &[], b"", b"abc\x0a\x01\x0a", 64, b"abc\x0a^A\x0a", &[b"abc\x0a", b"\x01\x0a"]);
    case("no ONLCR", [0x500, 0x1, 0x8a3b], &[], b"", b"abc\x0a\x01\x0a", 64, b"abc\x0a^A\x0a", &[b"abc\x0a", b"\x01\x0a"]);
    case("OCRNL", [0x500, 0x9, 0x8a3b], &[], b"x\x0dy\x0a", b"abc\x0a", 64, b"x\x0ay\x0aabc\x0a", &[b"abc\x0a"]);
    case("ONOCR", [0x500, 0x15, 0x8a3b], &[], b"\x0dxy\x0d\x0dz\x0a", b"abc\x0a", 64, b"xy\x0dz\x0d\x0aabc\x0d\x0a", &[b"abc\x0a"]);
    case("ONLRET", [0x500, 0x21, 0x8a3b], &[], b"xy\x0az\x09", b"a\x09\x0a", 64, b"xy\x0az\x09a\x09\x0a", &[b"a\x09\x0a"]);
    case("XTABS", [0x500, 0x1805, 0x8a3b], &[], b"ab\x09c\x09\x0a", b"a\x09b\x0a", 64, b"ab      c       \x0d\x0aa       b\x0d\x0a", &[b"a\x09b\x0a"]);
    case("OLCUC", [0x500, 0x7, 0x8a3b], &[], b"hello\x0a", b"abc\x0a", 64, b"HELLO\x0d\x0aABC\x0d\x0a", &[b"abc\x0a"]);
    case("output backspace", [0x500, 0x5, 0x8a3b], &[], b"abc\x08\x08", b"\x09\x7f\x0a", 64, b"abc\x08\x08\x09\x08\x08\x08\x08\x08\x08\x08\x0d\x0a", &[b"\x0a"]);
    case("kill with tab and control", [0x500, 0x5, 0x8a3b], &[], b"$ ", b"a\x09b\x01\x15z\x0a", 64, b"$ a\x09b^A\x08 \x08\x08 \x08\x08 \x08\x08\x08\x08\x08\x08\x08 \x08z\x0d\x0a", &[b"z\x0a"]);
    case("nul", [0x500, 0x5, 0x8a3b], &[], b"", b"a\x00b\x0a", 64, b"a^@b\x0d\x0a", &[b"a\x00b\x0a"]);
    case("high", [0x500, 0x5, 0x8a3b], &[], b"", b"\xc0\x80\x7f\xd7 \x17.\x0a", 64, b"\xc0\x80\x08 \x08\xd7 \x08 \x08\x08 \x08\x08 \x08.\x0d\x0a", &[b".\x0a"]);
}

#[test]
fn a_full_unfinished_line_takes_its_end_and_drops_the_rest() {
    let mut discipline = LineDiscipline::new(Termios::pty_slave());
    let mut out = VecDeque::new();
    for _ in 0..5000 {
        assert_ne!(discipline.room(), Room::Full);
        discipline.receive(b'x', &mut out);
    }
    assert!(discipline.receive(b'\n', &mut out).readable);
    assert_eq!(discipline.room(), Room::Full);
    let mut target = [0; 8192];
    let (count, end) = discipline.input.read_line(&mut target);
    assert_eq!((count, end, target[4094]), (4095, LineEnd::Reached, b'\n'));
    assert_eq!(discipline.room(), Room::Free);
}

#[test]
fn signals_and_flow_control_are_reported() {
    let mut discipline = LineDiscipline::new(Termios::pty_slave());
    let mut out = VecDeque::new();
    assert_eq!(discipline.receive(3, &mut out).signal, Some(KeySignal::Interrupt));
    assert_eq!(discipline.receive(0o34, &mut out).signal, Some(KeySignal::Quit));
    assert_eq!(discipline.receive(0o32, &mut out).signal, Some(KeySignal::Stop));
    assert!(discipline.receive(0o23, &mut out).flow_changed && discipline.is_stopped());
    let interrupt = discipline.receive(3, &mut out);
    assert!(interrupt.flow_changed && interrupt.flush && !discipline.is_stopped());
}

#[test]
fn changing_to_raw_gives_the_edited_line_at_once() {
    let mut discipline = LineDiscipline::new(Termios::pty_slave());
    let mut out = VecDeque::new();
    b"abc".iter().for_each(|&byte| {
        discipline.receive(byte, &mut out);
    });
    assert!(!discipline.is_readable(1));
    let mut raw = *discipline.termios();
    raw.local.remove(LocalFlags::ICANON);
    discipline.set_termios(raw);
    assert!(discipline.is_readable(1));
    assert_eq!(discipline.readable_bytes(), 3);
    discipline.set_termios(Termios::pty_slave());
    assert!(discipline.is_readable(1));
}

proptest::proptest! {
    #[test]
    fn any_bytes_and_flags_keep_the_buffer_whole(
        flags in proptest::array::uniform3(0u32..0x10_0000),
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..6000),
    ) {
        let mut termios = Termios::pty_slave();
        termios.input = InputFlags::from_bits_retain(flags[0]);
        termios.output = OutputFlags::from_bits_retain(flags[1]);
        termios.local = LocalFlags::from_bits_retain(flags[2]);
        let mut discipline = LineDiscipline::new(termios);
        let mut out = VecDeque::new();
        for byte in bytes {
            if discipline.room() == Room::Full {
                let mut target = [0; 64];
                if discipline.is_canonical() {
                    discipline.input.read_line(&mut target);
                } else {
                    discipline.input.read_raw(&mut target);
                }
            } else {
                discipline.receive(byte, &mut out);
            }
            out.clear();
            proptest::prop_assert!(discipline.input.count() <= SIZE);
            proptest::prop_assert!(discipline.input.line_bytes() <= discipline.input.count());
        }
    }
}
