//! The words of the kernel's command line, each in a machine of its own.
//!
//! What can be shown on Linux too is compared with its recording in `tests/command_line.txt`, made by `cargo xtask record`:
//! [`RECORDED`]. What Linux leaves to a real root file system or to hardware that is not there, and how long a panic waits, is asked
//! in so many words: [`OURS`], [`jobs`]. In a case's words `SERIAL` is the machine's serial device.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::console::Console;
use super::transcripts::{self, Recording, Transcripts};
use super::{Job, RECORDED_IN_COMMON, Setup, Verdict, recorded};
use crate::cpio::Archive;
use crate::initramfs::{self, Kernel};
use crate::qemu::{Configuration, Outcome, TemporaryFile};

const RECORDING: Recording = Recording("command_line");
const PATIENCE: Duration = Duration::from_secs(100);
/// Linux's words before the reason of a panic.
const PANIC: &str = "Kernel panic - not syncing: ";

/// What is looked at.
#[derive(Clone, Copy)]
enum Look {
    /// What this script prints, run by process 1.
    Script(&'static str),
    /// The reason of the panic.
    Panic,
}

/// The program of an initramfs without any.
const NOTHING: &str = "";

/// A machine to boot.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    words: &'static str,
    /// Where the script lies in the initramfs.
    program: &'static str,
    look: Look,
}

/// The arguments and the environment that the kernel gave to process 1, each word in a line.
const GIVEN: &str = "tr '\\0' '\\n' </proc/1/cmdline; echo; tr '\\0' '\\n' </proc/1/environ";
const CONSOLE_LEVEL: &str = "cut -f1 /proc/sys/kernel/printk";
const CPUS: &str = "nproc; grep -c '^processor' /proc/cpuinfo; cat /sys/devices/system/cpu/online";
const LINE: &str = "stty -a </dev/console 2>/dev/null | grep -o -w -e 'speed [0-9]*' -e 'cs[78]' -e '-*parenb'";

/// Compared with Linux.
const RECORDED: &[Case] = &[
    case(
        "words",
        "single colour=red TERM=vt100 colour=green vga.x=1 some.word a-b=c =odd single -- -x --long y=z quiet \"two words\" --",
        GIVEN,
    ),
    case(
        "quotes",
        "greeting=\"hello there\" \"whole word=quoted value\" half\"q uo\"ted=1 x=y\"z w\" \"bare word\"",
        GIVEN,
    ),
    case("words-before-the-program", "auto colour=blue one init=/nowhere two rdinit=/init three -- four", GIVEN),
    case(
        "words-of-the-kernel",
        "mitigations=off root=/dev/vda ro rootwait init_on_alloc=0 noresume net.ifnames=0 loglevel=2 mine",
        GIVEN,
    ),
    case("proc-cmdline", "one  two=\"a b\"   quiet -- three", "cat /proc/cmdline"),
    case("loglevel", "loglevel=3", CONSOLE_LEVEL),
    case("quiet-then-loglevel", "quiet loglevel=6", CONSOLE_LEVEL),
    case("quiet", "loglevel=6 quiet", CONSOLE_LEVEL),
    case("debug", "debug", CONSOLE_LEVEL),
    case("mem", "quiet mem=256M", "awk '/MemTotal/ { print ($2 > 140000 && $2 <= 262144) }' /proc/meminfo"),
    case("maxcpus", "quiet maxcpus=1", CPUS),
    case("nosmp", "quiet nosmp", CPUS),
    case("console-settings", "quiet console=tty0 console=SERIAL,115200n8", LINE),
    case("console-twice", "quiet console=SERIAL,115200n8 console=SERIAL,1200e7", LINE),
    Case { name: "rdinit", words: "rdinit=/other -- x", program: "other", look: Look::Script(GIVEN) },
    Case {
        name: "too-many-arguments",
        words: "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20 w21 w22 w23 w24 w25 w26 w27 w28 w29 w30 w31 w32 w33",
        program: "init",
        look: Look::Panic,
    },
    Case {
        name: "too-many-variables",
        words: "a=1 b=1 c=1 d=1 e=1 f=1 g=1 h=1 i=1 j=1 k=1 l=1 m=1 n=1 o=1 p=1 q=1 r=1 s=1 t=1 u=1 v=1 w=1 x=1 y=1 z=1 A=1 B=1 C=1 D=1 E=1 F=1 G=1",
        program: "init",
        look: Look::Panic,
    },
    Case { name: "the-end-of-init", words: "-- 3", program: "init", look: Look::Panic },
];

/// Where Linux looks for a root file system on a disk, or has a screen.
const OURS: &[(Case, &str)] = &[
    (
        Case { name: "init-without-rdinit", words: "init=/other -- x", program: "other", look: Look::Script(GIVEN) },
        "/bin/sh\n/other\nx\n\nHOME=/\nTERM=linux\n",
    ),
    (Case { name: "sbin-init", words: "", program: "sbin/init", look: Look::Script("echo $0") }, "/sbin/init\n"),
    (
        Case {
            name: "rdinit-is-not-there",
            words: "rdinit=/nowhere init=/other",
            program: "other",
            look: Look::Script("echo $0"),
        },
        "/other\n",
    ),
    (
        Case { name: "init-is-not-there", words: "init=/nowhere", program: "other", look: Look::Panic },
        "Requested init /nowhere failed (error -2).\n",
    ),
    (Case { name: "nothing-to-run", words: "", program: NOTHING, look: Look::Panic }, "No working init found."),
    // Debian's Linux does not come up with such a line on x86_64; on AArch64 it keeps as much.
    (case("too-long", LONG, "wc -c </proc/cmdline; tail -c 8 /proc/cmdline"), "2048\nyyyyyyy\n"),
    (case("console-unknown", "quiet console=ttyUSB7", "echo here"), "here\n"),
    (case("console-last-unknown", "quiet console=SERIAL console=tty0", "echo here >/dev/console"), "here\n"),
    (
        case("console-last-unknown-is-told", "console=tty0", "dmesg | grep -o 'console=tty0: no such device.*;'"),
        "console=tty0: no such device here;\n",
    ),
];

/// 2,300 bytes that nobody gets.
const LONG: &str = {
    const BYTES: [u8; 2300] = {
        let mut bytes = [b'y'; 2300];
        let head = *b"filler.x=";
        let mut index = 0;
        while index < head.len() {
            bytes[index] = head[index];
            index += 1;
        }
        bytes
    };
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

/// A case whose script is `/init`.
const fn case(name: &'static str, words: &'static str, script: &'static str) -> Case {
    Case { name, words, program: "init", look: Look::Script(script) }
}

/// The jobs.
pub fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    for case in RECORDED {
        let name = format!("command-line/{}", case.name);
        jobs.push(Job::new(name.clone(), move |setup| vec![Verdict::of(name, compare(setup, case))]));
    }
    for (case, expected) in OURS {
        jobs.push(Job::single(&format!("command-line/{}", case.name), move |setup| {
            if setup.system == Kernel::Linux {
                return Ok(());
            }
            let found = transcript(setup, case)?;
            ensure!(found.starts_with(expected), "{}", recorded::differences(expected, &found));
            Ok(())
        }));
    }
    jobs.push(Job::single("command-line/panic-waits-for-ever", |setup| {
        let (outcome, _) = panic(setup, "panic=0", Duration::from_secs(5))?;
        ensure!(outcome == Outcome::TimedOut, "it ended: {outcome:?}");
        Ok(())
    }));
    jobs.push(Job::single("command-line/panic-waits", |setup| {
        let (outcome, time) = panic(setup, "panic=3", PATIENCE)?;
        ensure!(outcome == Outcome::PoweredOff, "the machine ended otherwise: {outcome:?}");
        ensure!(time > Duration::from_millis(2500), "it waited {time:?} only");
        Ok(())
    }));
    jobs.push(Job::single("command-line/panic-reboots-at-once", |setup| {
        let (outcome, _) = panic(setup, "panic=-1", PATIENCE)?;
        ensure!(outcome == Outcome::PoweredOff, "the machine ended otherwise: {outcome:?}");
        Ok(())
    }));
    jobs
}

fn compare(setup: &Setup, case: &Case) -> Result<()> {
    let found = transcript(setup, case)?;
    // Where Debian's Linux for the other architecture is not heard (its recording says absent), the common recording is the measure.
    let (own, common) = (RECORDING.recorded(setup.architecture), RECORDING.read(RECORDED_IN_COMMON));
    let expected = own.get(case.name).or_else(|| common.get(case.name));
    let expected = expected.context("not recorded yet: cargo xtask record --filter command-line")?;
    ensure!(*expected == found, "{}", recorded::differences(expected, &found));
    Ok(())
}

/// Records the cases under the kernel of `setup`; gives how many there are.
pub fn record(setup: &Setup) -> Result<usize> {
    let mut found = Transcripts::new();
    let mut failures = Vec::new();
    for case in RECORDED {
        match transcript(setup, case) {
            Ok(text) => drop(found.insert(case.name.to_owned(), text)),
            Err(error) => failures.push(format!("{}: {error:#}", case.name)),
        }
    }
    let common = match setup.architecture {
        RECORDED_IN_COMMON => Transcripts::new(),
        _ => RECORDING.read(RECORDED_IN_COMMON),
    };
    RECORDING.write(setup.architecture, &transcripts::difference(&common, &found))?;
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(RECORDED.len())
}

/// A machine with the case's program and words, and no others that tell it how to end.
fn machine(setup: &Setup, program: &str, script: &str, words: &str) -> Result<(TemporaryFile, Configuration)> {
    let mut archive = match program {
        NOTHING => Archive::new(),
        _ => initramfs::base(setup.architecture, &setup.packages)?,
    };
    match program {
        NOTHING => archive.directory("dev"),
        _ => archive.file(program, 0o755, script.as_bytes()),
    }
    let initrd = TemporaryFile::new("command-line.cpio", &archive.finish())?;
    let mut configuration = setup.machine(initrd.path().to_path_buf());
    "512M".clone_into(&mut configuration.memory);
    configuration.cpus = 2;
    let serial = setup.architecture.serial_console();
    configuration.append = words.replace("SERIAL", serial);
    Ok((initrd, configuration))
}

/// What the case shows, without the kernel's own messages; the serial device is `SERIAL`.
fn transcript(setup: &Setup, case: &Case) -> Result<String> {
    let script = match case.look {
        Look::Script(script) => format!(
            "#!/bin/sh\nmount -t proc proc /proc\nmount -t sysfs sys /sys\necho MARK\n{script}\necho KRAM\npoweroff -f\n"
        ),
        Look::Panic => "#!/bin/sh\nexit ${1:-0}\n".to_owned(),
    };
    let console = if case.words.contains("console=") { "" } else { "console=SERIAL " };
    let words = format!("{console}panic=-1 {}", case.words);
    let (_initrd, configuration) = machine(setup, case.program, &script, &words)?;
    let mut machine = Console::start(&configuration)?;
    let text = match case.look {
        Look::Script(_) => {
            machine.expect("MARK\r\n", PATIENCE)?;
            machine.expect("KRAM\r\n", PATIENCE)?
        }
        Look::Panic => {
            machine.expect(PANIC, PATIENCE)?;
            machine.expect("\r\n", PATIENCE)? + "\n"
        }
    };
    let ended = machine.finish(PATIENCE)?;
    ensure!(ended == Outcome::PoweredOff, "the machine ended otherwise: {ended:?}");
    let is_said = |line: &&str| !(line.starts_with('[') && line.contains("] "));
    let lines = text.split_inclusive('\n').filter(is_said).collect::<String>();
    Ok(lines.replace(setup.architecture.serial_console(), "SERIAL"))
}

/// Lets process 1 end, with `word` to say what then; gives how the machine ended and how long after the panic.
fn panic(setup: &Setup, word: &str, patience: Duration) -> Result<(Outcome, Duration)> {
    let words = format!("console=SERIAL quiet {word}");
    let (_initrd, configuration) = machine(setup, "init", "#!/bin/sh\nexit 0\n", &words)?;
    let mut console = Console::start(&configuration)?;
    console.expect(PANIC, PATIENCE)?;
    console.expect("Attempted to kill init! exitcode=0x00000000", PATIENCE)?;
    console.expect("end Kernel panic", PATIENCE)?;
    let start = Instant::now();
    Ok((console.finish(patience)?, start.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_recorded() {
        let recorded = RECORDING.read(RECORDED_IN_COMMON);
        for case in RECORDED {
            assert!(recorded.contains_key(case.name), "{} is not recorded", case.name);
        }
    }
}
