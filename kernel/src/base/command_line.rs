//! The kernel's command line, read as Linux reads it.
//!
//! Words are separated by blanks; a double-quoted part keeps its blanks, and the quotes go when they enclose the whole word or the
//! whole value. `-` and `_` are the same in a parameter's name. Words that nobody knows, and all after `--`, go to the
//! first process: with `=` into its environment, without into its arguments.

use alloc::string::String;
use alloc::vec::Vec;

/// A word of the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// The part before `=`, or the whole word.
    pub name: String,
    /// The part after `=`.
    pub value: Option<String>,
}

/// What happens after a panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PanicAction {
    /// Stop for good.
    #[default]
    Halt,
    /// Reboot at once.
    RebootNow,
    /// Reboot after so many seconds.
    RebootAfter(u32),
}

/// How the end of the first process is told to the emulator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExitReport {
    /// Not at all: it is a panic, as on Linux.
    #[default]
    None,
    /// Through QEMU's debug ports; see `arch::Power`.
    Qemu,
}

/// Which processes' system calls are traced from the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TraceSelection {
    /// None.
    #[default]
    None,
    /// One.
    Process(u32),
    /// All.
    All,
}

/// The command line's meaning.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommandLine {
    /// `rdinit=`: the first program in the initial file system.
    pub initial_program: Option<String>,
    /// `init=`: the first program, tried after the former.
    pub program: Option<String>,
    /// Each `console=`.
    pub consoles: Vec<String>,
    /// `loglevel=`, or 4 for `quiet`, or 10 for `debug`.
    pub log_level: Option<u8>,
    /// `panic=`.
    pub panic_action: PanicAction,
    /// `mem=` in bytes.
    pub memory_limit: Option<u64>,
    /// `maxcpus=`.
    pub maximum_cpus: Option<u32>,
    /// `noapic` or `nolapic`: the 8259 pair and the PIT serve.
    pub legacy_interrupts: bool,
    /// `ashlar.trace=`.
    pub trace: TraceSelection,
    /// `ashlar.exit=`.
    pub exit_report: ExitReport,
    /// Arguments for the first process.
    pub arguments: Vec<String>,
    /// Environment of the first process, `NAME=VALUE`.
    pub environment: Vec<String>,
}

/// A size as Linux's `memparse` reads it: a number (0x for hexadecimal, 0 for octal) with an optional suffix K, M, G, T.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.get(..text.len() - 1)?, 10),
        b'm' | b'M' => (text.get(..text.len() - 1)?, 20),
        b'g' | b'G' => (text.get(..text.len() - 1)?, 30),
        b't' | b'T' => (text.get(..text.len() - 1)?, 40),
        _ => (text, 0),
    };
    parse_number(digits)?.checked_mul(1 << shift)
}

fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u64::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

/// Splits the line into words.
#[must_use]
pub fn words(line: &str) -> Vec<Word> {
    let mut result = Vec::new();
    let mut rest = line.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let mut quoted = false;
        let end = rest
            .char_indices()
            .find(|&(_, character)| {
                quoted ^= character == '"';
                is_blank(character) && !quoted
            })
            .map_or(rest.len(), |(index, _)| index);
        let (word, after) = rest.split_at(end);
        result.push(split(word));
        rest = after.trim_start_matches(is_blank);
    }
    result
}

/// The `mem=` of a command line, found without allocating: the memory allocator wants it before the heap runs.
#[must_use]
pub fn memory_limit(line: &str) -> Option<u64> {
    let before_init = line.split(is_blank).take_while(|word| *word != "--");
    before_init.filter_map(|word| parse_size(word.strip_prefix("mem=")?)).filter(|&size| size > 0).last()
}

fn is_blank(character: char) -> bool {
    character.is_ascii_whitespace() || character == '\u{b}'
}

/// Splits a word at its first `=` and takes the quotes off.
fn split(word: &str) -> Word {
    let word = match word.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
        None => word,
    };
    match word.split_once('=') {
        None => Word { name: word.into(), value: None },
        Some((name, value)) => {
            let value = match value.strip_prefix('"') {
                Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
                None => value,
            };
            Word { name: name.into(), value: Some(value.into()) }
        }
    }
}

impl CommandLine {
    /// Reads the line. A known parameter with a value that means nothing is ignored.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let mut result = Self::default();
        let mut words = words(line).into_iter();
        for word in words.by_ref() {
            if word.name == "--" && word.value.is_none() {
                break;
            }
            if !result.accept(&word) {
                result.give_to_init(word);
            }
        }
        result.arguments.extend(words.map(Word::into_text));
        result
    }

    /// Takes a parameter that the kernel knows.
    fn accept(&mut self, word: &Word) -> bool {
        let value = word.value.as_deref();
        let text = value.unwrap_or("");
        match word.name.replace('-', "_").as_str() {
            "console" => self.consoles.push(text.into()),
            "rdinit" => self.initial_program = Some(text.into()),
            "init" => self.program = Some(text.into()),
            "quiet" if value.is_none() => self.log_level = Some(4),
            "debug" if value.is_none() => self.log_level = Some(10),
            "loglevel" => self.log_level = text.parse().ok().or(self.log_level),
            "panic" => {
                self.panic_action = match text.parse::<i64>() {
                    Ok(0) | Err(_) => PanicAction::Halt,
                    Ok(seconds) if seconds < 0 => PanicAction::RebootNow,
                    Ok(seconds) => PanicAction::RebootAfter(u32::try_from(seconds).unwrap_or(u32::MAX)),
                }
            }
            "mem" => self.memory_limit = parse_size(text).filter(|&size| size > 0).or(self.memory_limit),
            "maxcpus" | "nr_cpus" => self.maximum_cpus = text.parse().ok().or(self.maximum_cpus),
            "noapic" | "nolapic" => self.legacy_interrupts = true,
            "ashlar.trace" => {
                self.trace = match text {
                    "all" => TraceSelection::All,
                    _ => text.parse().map_or(TraceSelection::None, TraceSelection::Process),
                }
            }
            "ashlar.exit" if text == "qemu" => self.exit_report = ExitReport::Qemu,
            // Accepted and without effect: there is nothing to mitigate, or no such device to configure.
            "mitigations" | "root" | "rootfstype" | "rootflags" | "ro" | "rw" | "earlyprintk" | "earlycon"
            | "init_on_alloc" | "init_on_free" | "nokaslr" | "tsc" | "clocksource" | "acpi" | "BOOT_IMAGE" => {}
            _ => return false,
        }
        true
    }

    /// A word with a dot in its name is a module's parameter, which nobody has; others are the first process's.
    fn give_to_init(&mut self, word: Word) {
        if word.name.contains('.') {
            return;
        }
        match word.value {
            Some(_) => self.environment.push(word.into_text()),
            None => self.arguments.push(word.name),
        }
    }
}

impl Word {
    fn into_text(self) -> String {
        match self.value {
            None => self.name,
            Some(value) => {
                let mut text = self.name;
                text.push('=');
                text.push_str(&value);
                text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_keep_blanks_and_go() {
        let found = words("  a=\"x y\" \"b c=d e\" f=g\"h i\"\tlast ");
        let text: Vec<_> = found.iter().map(|word| (word.name.as_str(), word.value.as_deref())).collect();
        assert_eq!(text, [("a", Some("x y")), ("b c", Some("d e")), ("f", Some("g\"h i\"")), ("last", None)]);
    }

    #[test]
    fn unknown_words_go_to_init() {
        let line = CommandLine::parse("console=ttyS0 quiet single HOME=/root vga.x=1 -- ls -l A=B quiet");
        assert_eq!(line.arguments, ["single", "ls", "-l", "A=B", "quiet"]);
        assert_eq!(line.environment, ["HOME=/root"]);
        assert_eq!(line.consoles, ["ttyS0"]);
        assert_eq!(line.log_level, Some(4));
    }

    #[test]
    fn the_kernels_own_parameters() {
        let line = CommandLine::parse(
            "rdinit=/bin/sh init=/x panic=-1 loglevel=3 mem=64M maxcpus=2 mitigations=off ashlar.trace=all ashlar.exit=qemu",
        );
        assert_eq!(line.initial_program.as_deref(), Some("/bin/sh"));
        assert_eq!(line.program.as_deref(), Some("/x"));
        assert_eq!(line.panic_action, PanicAction::RebootNow);
        assert_eq!(line.log_level, Some(3));
        assert_eq!(line.memory_limit, Some(64 << 20));
        assert_eq!(line.maximum_cpus, Some(2));
        assert_eq!(line.trace, TraceSelection::All);
        assert_eq!(line.exit_report, ExitReport::Qemu);
        assert!(line.arguments.is_empty() && line.environment.is_empty());
        assert_eq!(CommandLine::parse("panic=5").panic_action, PanicAction::RebootAfter(5));
        assert_eq!(CommandLine::parse("ashlar.trace=7").trace, TraceSelection::Process(7));
    }

    #[test]
    fn sizes_have_suffixes_and_bases() {
        assert_eq!(parse_size("128M"), Some(128 << 20));
        assert_eq!(parse_size("0x10k"), Some(16 << 10));
        assert_eq!(parse_size("010"), Some(8));
        assert_eq!(parse_size(""), None);
        assert_eq!(parse_size("99999999999T"), None);
        assert_eq!(parse_size("M"), None);
    }

    #[test]
    fn the_memory_limit_is_found_early() {
        assert_eq!(memory_limit("quiet mem=64M mem=32M x"), Some(32 << 20));
        assert_eq!(memory_limit("quiet -- mem=64M"), None);
        assert_eq!(memory_limit("mem=lots"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_taken(line in "\\PC{0,200}") {
            let _ = CommandLine::parse(&line);
        }

        #[test]
        fn plain_words_are_kept(names in proptest::collection::vec("[a-z]{1,8}", 0..20)) {
            let found: Vec<_> = words(&names.join("  ")).into_iter().map(|word| word.name).collect();
            prop_assert_eq!(found, names);
        }
    }
}
