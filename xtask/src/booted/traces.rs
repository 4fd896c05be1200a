//! The call tracer: what it writes about `user/src/bin/traced.rs` against what the host's `strace -f` writes about the same program, and
//! that it is switched on and off at run time.
//!
//! `cargo xtask record --filter trace` runs strace and writes `tests/trace.txt`. Both traces are brought into one form first
//! ([`normal_form`]): calls that strace splits are joined, each process's lines stand together, and process numbers and addresses have
//! names. Named exceptions, all of them on AArch64 and in [`of_common_form`]: the C library sets no restorer there, and `O_LARGEFILE` is
//! another bit.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::batch::{self, Answer, Case};
use super::recorded::differences;
use super::{Job, RECORDED_IN_COMMON, Setup, Verdict};
use crate::initramfs::Kernel;
use crate::target::Architecture;
use crate::{user_build, workspace};

/// The test's first call, and its last.
const FIRST: &str = "openat(AT_FDCWD, \"/tmp/traced.file\", O_RDWR";
const LAST: &str = "unlinkat(AT_FDCWD, \"/tmp/traced.file\", 0)";
/// An address has at least so many digits; shorter numbers are flags.
const ADDRESS_DIGITS: usize = 6;

const LINES: &str = "dmesg -c >/dev/null\n\
    echo all >/proc/sys/kernel/ashlar_trace\n\
    /usr/local/bin/traced\n\
    echo off >/proc/sys/kernel/ashlar_trace\n\
    dmesg\n";

/// Prints what the setting was and how many lines of `true`, of the chosen process and of anybody there are.
const SWITCH: &str = "setting=/proc/sys/kernel/ashlar_trace\n\
    cat $setting\n\
    dmesg -c >/dev/null; sleep 0; dmesg | grep -c 'sleep'\n\
    echo all >$setting; cat $setting; readlink /all-are-traced; echo off >$setting; cat $setting\n\
    dmesg | grep -c 'readlink.*\"/all-are-traced\".*= -1 ENOENT (No such file or directory)'\n\
    dmesg -c >/dev/null; readlink /nobody-is-traced; dmesg | grep -c '\\[pid'\n\
    echo $$ >$setting; : </; readlink /another-is-traced; echo off >$setting\n\
    dmesg | grep -c 'another-is-traced'; dmesg | grep -c 'O_RDONLY' | grep -vc '^0$'\n";
const SWITCHED: &str = "off\n0\nall\noff\n1\n0\n0\n1\n";

fn recording_file() -> PathBuf {
    workspace::root().join("tests/trace.txt")
}

/// The job, if it matches `filter`.
pub fn jobs(architecture: Architecture, filter: Option<&str>) -> Result<Vec<Job>> {
    if filter.is_some_and(|word| !["trace/lines", "trace/switch"].iter().any(|name| name.contains(word))) {
        return Ok(Vec::new());
    }
    let program = user_build::build(architecture)?.remove("traced").context("there is no program `traced`")?;
    Ok(vec![Job::new("trace", move |setup| match setup.system {
        // Linux has no such tracer.
        Kernel::Linux => Vec::new(),
        _ => compare(setup, &program).unwrap_or_else(|error| vec![Verdict::of("trace", Err(error))]),
    })])
}

fn compare(setup: &Setup, program: &PathBuf) -> Result<Vec<Verdict>> {
    let program = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let case = |name: &str, script: &str| Case { name: name.to_owned(), script: script.to_owned(), limit: 60 };
    let answers = batch::run(setup, &[case("lines", LINES), case("switch", SWITCH)], |archive| {
        archive.file("usr/local/bin/traced", 0o755, &program);
    })?;
    let mut recorded = std::fs::read_to_string(recording_file()).context("no recording: cargo xtask record")?;
    if setup.architecture != RECORDED_IN_COMMON {
        recorded = of_common_form(&recorded);
    }
    let judge = |answer: &Answer| match answer {
        Answer::Lost(reason) => Err(reason.clone()),
        Answer::Ended { output, .. } => Ok(output.replace('\r', "")),
    };
    let mut texts = answers.iter().map(judge);
    let lines = texts.next().context("no answer")?.and_then(|output| {
        let mut found = normal_form(&output).map_err(|error| format!("{error:#}\n{output}"))?;
        if setup.architecture != RECORDED_IN_COMMON {
            found = of_common_form(&found);
        }
        same(&recorded, &found)
    });
    let switch = texts.next().context("no answer")?.and_then(|output| same(SWITCHED, &output));
    Ok(vec![
        Verdict { name: "trace/lines".to_owned(), result: lines },
        Verdict { name: "trace/switch".to_owned(), result: switch },
    ])
}

fn same(expected: &str, found: &str) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(differences(expected, found)) }
}

/// Records strace's lines on this host; gives how many recordings that makes.
pub fn record(architecture: Architecture) -> Result<usize> {
    if architecture != RECORDED_IN_COMMON || Architecture::host() != Some(architecture) {
        return Ok(0);
    }
    let program = user_build::build(architecture)?.remove("traced").context("there is no program `traced`")?;
    let output = Command::new("strace")
        .args(["-f", "-o", "/dev/stdout"])
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .context("cannot run strace")?;
    if !output.status.success() {
        bail!("the traced program failed: {}", output.status);
    }
    std::fs::write(recording_file(), normal_form(&String::from_utf8_lossy(&output.stdout))?)?;
    Ok(1)
}

/// A trace without what differs between two runs.
fn normal_form(trace: &str) -> Result<String> {
    let events = joined(trace.lines().filter_map(event));
    let is_first = |(_, text): &(u32, String)| text.starts_with(FIRST);
    let first = events.iter().position(is_first).context("the program's first call is not there")?;
    let root = events.get(first).map_or(0, |(process, _)| *process);
    let is_last = |(process, text): &(u32, String)| *process == root && text.starts_with(LAST);
    let last = events.iter().skip(first).position(is_last).context("the program's last call is not there")?;
    let events: Vec<&(u32, String)> = events.iter().skip(first).take(last + 1).collect();
    let mut processes = vec![root];
    for (process, text) in &events {
        let child = text.rsplit_once(" = ").and_then(|(_, child)| child.parse().ok());
        if let (true, Some(child)) = (*process == root && text.starts_with("clone("), child) {
            processes.push(child);
        }
    }
    let mut form = String::new();
    for (index, process) in processes.iter().enumerate() {
        for (_, text) in events.iter().filter(|(found, _)| found == process) {
            form.push_str(&format!("P{index} {}\n", named(text, &processes)));
        }
    }
    Ok(form)
}

/// Process and text of a line of strace, `7 text`, or of the kernel log, `[    1.000000] [pid     7] text`.
fn event(line: &str) -> Option<(u32, String)> {
    let (process, text) = match line.split_once("[pid ") {
        Some((stamp, rest)) if stamp.starts_with('[') => rest.split_once("] ")?,
        _ => line.split_once(' ')?,
    };
    Some((process.trim().parse().ok()?, text.trim_start().to_owned()))
}

/// The lines with those joined that strace splits when another process's come in between, and one space before a result.
fn joined(events: impl Iterator<Item = (u32, String)>) -> Vec<(u32, String)> {
    let mut whole: Vec<(u32, String)> = Vec::new();
    let mut begun: Vec<(u32, String)> = Vec::new();
    for (process, text) in events {
        if let Some(start) = text.strip_suffix(" <unfinished ...>") {
            begun.push((process, start.to_owned()));
            continue;
        }
        let start = begun.iter().position(|(other, _)| *other == process).filter(|_| text.starts_with("<... "));
        let text = match (start, text.split_once(" resumed>")) {
            (Some(start), Some((_, rest))) => begun.remove(start).1 + rest,
            _ => text,
        };
        let text = match text.rsplit_once(" = ") {
            Some((call, result)) => format!("{} = {result}", call.trim_end()),
            None => text,
        };
        whole.push((process, text));
    }
    whole
}

/// The text with names for processes and addresses, and without the times of a child.
fn named(text: &str, processes: &[u32]) -> String {
    let mut form = String::new();
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
        if end == 0 {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            form.push_str(rest.get(..length).unwrap_or_default());
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        let (word, behind) = rest.split_at(end);
        let process = word.parse().ok().filter(|_| is_place_of_process(&form));
        let process = process.and_then(|number: u32| processes.iter().position(|process| *process == number));
        let is_time = form.ends_with("si_utime=") || form.ends_with("si_stime=");
        match (process, word.strip_prefix("0x")) {
            _ if is_time => form.push('T'),
            (Some(index), _) => form.push_str(&format!("P{index}")),
            (_, Some(digits)) if digits.len() >= ADDRESS_DIGITS => form.push_str("ADDRESS"),
            _ => form.push_str(word),
        }
        rest = behind;
    }
    form
}

/// Whether what comes behind `form` is the number of a process: any small number may equal one.
fn is_place_of_process(form: &str) -> bool {
    let gives_process = ["clone(", "wait4(", "getpid("].iter().any(|call| form.starts_with(call));
    ["kill(", "si_pid=", "tgkill(P0, "].iter().any(|start| form.ends_with(start))
        || gives_process && form.ends_with(" = ")
}

/// The form without what AArch64 does otherwise: no place to which a handler returns, and another bit for `O_LARGEFILE`.
fn of_common_form(form: &str) -> String {
    form.replace("SA_RESTORER|", "").replace(", sa_restorer=ADDRESS", "").replace("0x20002 (flags", "0x8002 (flags")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_trace_get_one_form() {
        let strace = "7 openat(AT_FDCWD, \"/tmp/traced.file\", O_RDWR) = 3\n\
            7 clone(child_stack=NULL, flags=SIGCHLD) = 8\n7 wait4(-1,  <unfinished ...>\n8 exit_group(7)     = ?\n\
            7 <... wait4 resumed>0x7ffdde87a0b0, 0, NULL) = 8\n7 unlinkat(AT_FDCWD, \"/tmp/traced.file\", 0) = 0\n";
        let ours = "[    1.000001] [pid     1] close(3)       = 0\n\
            [    1.000001] [pid    17] openat(AT_FDCWD, \"/tmp/traced.file\", O_RDWR) = 3\n\
            [    1.000001] [pid    17] clone(child_stack=NULL, flags=SIGCHLD) = 18\n\
            [    1.000001] [pid    18] exit_group(7)       = ?\n\
            [    1.000001] [pid    17] wait4(-1, 0x7ffdde870000, 0, NULL) = 18\n\
            [    1.000001] [pid    17] unlinkat(AT_FDCWD, \"/tmp/traced.file\", 0) = 0\n";
        let form = normal_form(strace).unwrap();
        assert_eq!(form, normal_form(ours).unwrap());
        assert!(
            form.contains("P0 wait4(-1, ADDRESS, 0, NULL) = P1\n") && form.contains("P1 exit_group(7) = ?\n"),
            "{form}"
        );
    }
}
