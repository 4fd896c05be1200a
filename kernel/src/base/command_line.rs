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

/// Linux's parameters that are taken and change nothing, so that they are not passed to the first process: there is nothing to mitigate,
/// the root file system is the initramfs, or no such device is configured.
const WITHOUT_EFFECT: &[&str] = &[
    "BOOT_IMAGE",
    "acpi",
    "apparmor",
    "audit",
    "clocksource",
    "crashkernel",
    "earlycon",
    "earlyprintk",
    "idle",
    "init_on_alloc",
    "init_on_free",
    "initrd",
    "ip",
    "isolcpus",
    "kpti",
    "log_buf_len",
    "mitigations",
    "no_timer_check",
    "noresume",
    "nosmap",
    "nosmep",
    "nospectre_v2",
    "nowatchdog",
    "pci",
    "printk.time",
    "pti",
    "random.trust_cpu",
    "reboot",
    "resume",
    "ro",
    "root",
    "rootdelay",
    "rootflags",
    "rootfstype",
    "rootwait",
    "rw",
    "security",
    "selinux",
    "spectre_v2",
    "swiotlb",
    "tsc",
    "vga",
    "video",
];

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

/// The most arguments, and variables, of the first process: Linux's `CONFIG_INIT_ENV_ARG_LIMIT` beside its name, and beside one more.
const MOST_ARGUMENTS: usize = 32;
const MOST_VARIABLES: usize = 33;

/// Linux's `PATH` is the shell's affair; these two are its default environment for the first process.
const DEFAULT_ENVIRONMENT: [&str; 2] = ["HOME=/", "TERM=linux"];

/// More words for the first process than are passed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TooMany {
    /// Linux's word for the kind: `init` for arguments, `env` for variables.
    pub kind: &'static str,
    /// The first word that has no place.
    pub word: String,
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
    /// `nr_cpus=`: CPUs that there may be.
    pub possible_cpus: Option<u32>,
    /// `maxcpus=`: CPUs that are started at boot; `nosmp` is 0.
    pub initial_cpus: Option<u32>,
    /// `noapic` or `nolapic`: the 8259 pair and the PIT serve.
    pub legacy_interrupts: bool,
    /// `ashlar.trace=`.
    pub trace: TraceSelection,
    /// `ashlar.latency=on`.
    pub measures_latency: bool,
    /// `ashlar.exit=`.
    pub exit_report: ExitReport,
    /// Arguments for the first process.
    pub arguments: Vec<String>,
    /// Environment of the first process, `NAME=VALUE`, Linux's defaults first.
    pub environment: Vec<String>,
    /// What had no place there.
    pub too_many: Option<TooMany>,
    /// The words that the kernel does not know and passes on, as Linux logs them.
    pub unknown: Vec<String>,
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

fn parse_signed(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(digits) => i64::try_from(parse_number(digits)?).ok().map(|value| -value),
        None => i64::try_from(parse_number(text.strip_prefix('+').unwrap_or(text))?).ok(),
    }
}

fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u64::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

/// A word as it stands in the line, without its quotes: its name, and its value if it has one.
type RawWord<'a> = (&'a str, Option<&'a str>);

/// Splits the line into words, without allocating.
fn raw_words(line: &str) -> impl Iterator<Item = RawWord<'_>> {
    let mut rest = line;
    core::iter::from_fn(move || {
        rest = rest.trim_start_matches(is_blank);
        if rest.is_empty() {
            return None;
        }
        let mut quoted = false;
        let end = rest
            .char_indices()
            .find(|&(_, character)| {
                quoted ^= character == '"';
                is_blank(character) && !quoted
            })
            .map_or(rest.len(), |(index, _)| index);
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(split(word))
    })
}

/// Splits the line into words.
#[must_use]
pub fn words(line: &str) -> Vec<Word> {
    raw_words(line).map(|(name, value)| Word { name: name.into(), value: value.map(String::from) }).collect()
}

/// The `mem=` of a command line, found without allocating: the memory allocator wants it before the heap runs.
#[must_use]
pub fn memory_limit(line: &str) -> Option<u64> {
    let before_init = raw_words(line).take_while(|word| *word != ("--", None));
    let sizes = before_init.filter(|(name, _)| *name == "mem").filter_map(|(_, value)| parse_size(value?));
    sizes.filter(|&size| size > 0).last()
}

fn is_blank(character: char) -> bool {
    character.is_ascii_whitespace() || character == '\u{b}'
}

/// Splits a word at its first `=`, which does not count as its first character, and takes the quotes off.
fn split(word: &str) -> RawWord<'_> {
    let word = without_quotes(word);
    match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => (name, Some(without_quotes(value))),
        _ => (word, None),
    }
}

/// `text` without a quote at its start and the one at its end that belongs to it.
fn without_quotes(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
        None => text,
    }
}

impl CommandLine {
    /// Reads the line. A known parameter with a value that means nothing is ignored.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let mut result = Self::default();
        result.environment.extend(DEFAULT_ENVIRONMENT.map(String::from));
        let mut words = words(line).into_iter();
        for word in words.by_ref() {
            if word.name == "--" && word.value.is_none() {
                break;
            }
            if !result.accept(&word) {
                result.give_to_init(word);
            }
        }
        // A second `--` ends the line, as on Linux.
        for word in words.take_while(|word| word.name != "--" || word.value.is_some()) {
            result.add_argument(word.into_text());
        }
        result
    }

    /// Takes a parameter that the kernel knows.
    fn accept(&mut self, word: &Word) -> bool {
        let value = word.value.as_deref();
        let text = value.unwrap_or("");
        match word.name.replace('-', "_").as_str() {
            "console" => self.consoles.push(text.into()),
            "rdinit" => {
                self.initial_program = Some(text.into());
                self.forget_arguments();
            }
            "init" => {
                self.program = Some(text.into());
                self.forget_arguments();
            }
            "quiet" if value.is_none() => self.log_level = Some(4),
            "debug" if value.is_none() => self.log_level = Some(10),
            "loglevel" => {
                self.log_level = parse_signed(text).and_then(|level| u8::try_from(level).ok()).or(self.log_level)
            }
            "panic" => {
                self.panic_action = match parse_signed(text) {
                    None => self.panic_action,
                    Some(0) => PanicAction::Halt,
                    Some(seconds) => u32::try_from(seconds).map_or(PanicAction::RebootNow, PanicAction::RebootAfter),
                }
            }
            "mem" => self.memory_limit = parse_size(text).filter(|&size| size > 0).or(self.memory_limit),
            "maxcpus" => self.initial_cpus = text.parse().ok().or(self.initial_cpus),
            "nr_cpus" => {
                self.possible_cpus = text.parse().ok().filter(|count| *count != 0).or(self.possible_cpus);
            }
            "nosmp" => self.initial_cpus = Some(0),
            "noapic" | "nolapic" => self.legacy_interrupts = true,
            "ashlar.trace" => {
                self.trace = match text {
                    "all" => TraceSelection::All,
                    _ => text.parse().map_or(TraceSelection::None, TraceSelection::Process),
                }
            }
            "ashlar.latency" => self.measures_latency = text == "on",
            "ashlar.exit" if text == "qemu" => self.exit_report = ExitReport::Qemu,
            other => return WITHOUT_EFFECT.contains(&other),
        }
        true
    }

    /// What stood before `init=` and `rdinit=` is not for the program that they name: boot loaders put words of their own there.
    fn forget_arguments(&mut self) {
        self.arguments.clear();
    }

    /// A word with a dot in its name is a module's parameter, which nobody has; others are the first process's.
    fn give_to_init(&mut self, word: Word) {
        if word.name.contains('.') {
            return;
        }
        let is_variable = word.value.is_some();
        let text = word.into_text();
        self.unknown.push(text.clone());
        if is_variable { self.set_variable(text) } else { self.add_argument(text) }
    }

    fn add_argument(&mut self, text: String) {
        if self.arguments.len() < MOST_ARGUMENTS {
            self.arguments.push(text);
        } else {
            self.too_many.get_or_insert(TooMany { kind: "init", word: text });
        }
    }

    /// Sets a variable where it stood before, or at the end.
    fn set_variable(&mut self, text: String) {
        let name = |variable: &str| variable.split_once('=').map_or(0, |(name, _)| name.len() + 1);
        let length = name(&text);
        if let Some(old) = self.environment.iter_mut().find(|old| old.get(..length) == text.get(..length)) {
            *old = text;
        } else if self.environment.len() < MOST_VARIABLES {
            self.environment.push(text);
        } else {
            self.too_many.get_or_insert(TooMany { kind: "env", word: text });
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
        assert_eq!(line.environment, ["HOME=/root", "TERM=linux"]);
        assert_eq!(line.unknown, ["single", "HOME=/root"]);
        assert_eq!(line.consoles, ["ttyS0"]);
        assert_eq!(line.log_level, Some(4));
    }

    #[test]
    fn a_variable_keeps_its_place_and_its_last_value() {
        let line = CommandLine::parse("colour=red TERM=vt100 colour=green colour2=x");
        assert_eq!(line.environment, ["HOME=/", "TERM=vt100", "colour=green", "colour2=x"]);
        assert!(CommandLine::parse("=value").arguments == ["=value"]);
    }

    #[test]
    fn words_before_the_programs_name_are_not_its_arguments() {
        assert_eq!(
            CommandLine::parse("auto init=/x one rdinit=/y two init=/z three -- four").arguments,
            ["three", "four"]
        );
    }

    #[test]
    fn too_many_words_are_told() {
        let many = |form: &str, count: usize| -> String {
            (0..count).map(|index| form.replace('#', &index.to_string())).collect()
        };
        assert_eq!(CommandLine::parse(&many("w# ", 32)).too_many, None);
        let line = CommandLine::parse(&many("w# ", 34));
        assert_eq!(line.too_many, Some(TooMany { kind: "init", word: "w32".into() }));
        assert_eq!(line.arguments.len(), 32);
        assert_eq!(CommandLine::parse(&many("v#=1 ", 31)).too_many, None);
        let line = CommandLine::parse(&many("v#=1 ", 32));
        assert_eq!(line.too_many, Some(TooMany { kind: "env", word: "v31=1".into() }));
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
        assert_eq!((line.initial_cpus, line.possible_cpus), (Some(2), None));
        assert_eq!(line.trace, TraceSelection::All);
        assert_eq!(line.exit_report, ExitReport::Qemu);
        assert!(line.arguments.is_empty() && line.environment == DEFAULT_ENVIRONMENT);
        assert_eq!(CommandLine::parse("nosmp").initial_cpus, Some(0));
        assert_eq!(CommandLine::parse("maxcpus=0").initial_cpus, Some(0));
        assert_eq!(CommandLine::parse("nr_cpus=3 nr_cpus=0").possible_cpus, Some(3));
        assert_eq!(CommandLine::parse("loglevel=0x5 loglevel=much").log_level, Some(5));
        assert_eq!(CommandLine::parse("panic=0x10 panic=soon").panic_action, PanicAction::RebootAfter(16));
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
        assert_eq!(memory_limit("mem=\"48M\" greeting=\"the mem=1M of it\""), Some(48 << 20));
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
