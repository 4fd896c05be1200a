//! The conformance cases of `user/src/cases/`: transcripts of system calls, compared with those recorded under Debian's Linux.
//!
//! The program `conformance` prints `== group/name` before each transcript. Each group runs on its own, so that one that hangs
//! takes only its group along. `cargo xtask record --filter conformance` writes `tests/conformance.txt`; with `--arch aarch64` it writes
//! `tests/conformance.aarch64.txt`, which holds only the cases that say something else there, and by a line
//! `== group/name (absent)` those that do not exist there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::batch::{self, Answer, Case};
use super::{Job, RECORDED_IN_COMMON, Setup, Verdict, applets};
use crate::target::Architecture;
use crate::{user_build, workspace};

/// How many seconds a group may take.
const LIMIT: u64 = 100;

/// What follows the name of a case that does not exist on the architecture.
const ABSENT: &str = " (absent)";

/// The recording, or what is different on `architecture`.
fn recording_file(architecture: Architecture) -> PathBuf {
    let name = match architecture {
        RECORDED_IN_COMMON => "conformance.txt".to_owned(),
        other => format!("conformance.{}.txt", other.name()),
    };
    workspace::root().join("tests").join(name)
}

fn read(architecture: Architecture) -> Transcripts {
    split(&std::fs::read_to_string(recording_file(architecture)).unwrap_or_default())
}

/// What Linux says on `architecture`.
fn recorded(architecture: Architecture) -> Transcripts {
    let mut transcripts = read(RECORDED_IN_COMMON);
    if architecture != RECORDED_IN_COMMON {
        overlay(&mut transcripts, read(architecture));
    }
    transcripts
}

/// Makes `transcripts` those of another architecture, which differ by `differences`.
fn overlay(transcripts: &mut Transcripts, differences: Transcripts) {
    for (name, transcript) in differences {
        match name.strip_suffix(ABSENT) {
            Some(gone) => drop(transcripts.remove(gone)),
            None => drop(transcripts.insert(name, transcript)),
        }
    }
}

/// By what `found` differs from `common`, as a recording.
fn difference(common: &Transcripts, found: &Transcripts) -> String {
    let mut text = String::new();
    for (name, transcript) in found.iter().filter(|(name, transcript)| common.get(*name) != Some(transcript)) {
        text.push_str(&format!("== {name}\n{transcript}"));
    }
    for name in common.keys().filter(|name| !found.contains_key(*name)) {
        text.push_str(&format!("== {name}{ABSENT}\n"));
    }
    text
}

/// A group is a file of cases.
fn groups() -> Result<Vec<Case>> {
    let folder = workspace::root().join("user/src/cases");
    let mut names: Vec<String> = std::fs::read_dir(folder)?
        .flatten()
        .filter_map(|entry| entry.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .filter(|name| name != "mod")
        .collect();
    names.sort();
    let case = |name: String| Case { script: format!("exec /usr/local/bin/conformance {name}/\n"), name, limit: LIMIT };
    Ok(names.into_iter().map(case).collect())
}

/// The jobs, one for each group with a case that matches `filter`.
pub fn jobs(architecture: Architecture, filter: Option<&str>) -> Result<Vec<Job>> {
    let recorded = recorded(architecture);
    let matches = |group: &str| {
        let start = format!("{group}/");
        let mut names = recorded.keys().filter(|name| name.starts_with(&start));
        filter.is_none_or(|word| names.any(|name| format!("conformance/{name}").contains(word)))
    };
    let wanted: Vec<Case> = groups()?.into_iter().filter(|group| matches(&group.name)).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let program = program(architecture)?;
    let job = |group: Case| {
        let (program, recorded) = (program.clone(), recorded.clone());
        let name = format!("conformance/{}", group.name);
        Job::new(name.clone(), move |setup| match compare(setup, &group, &program, &recorded) {
            Ok(verdicts) => verdicts,
            Err(error) => vec![Verdict::of(name, Err(error))],
        })
    };
    Ok(wanted.into_iter().map(job).collect())
}

fn program(architecture: Architecture) -> Result<Vec<u8>> {
    let programs = user_build::build(architecture)?;
    std::fs::read(programs.get("conformance").context("user/ has no conformance")?).context("cannot read conformance")
}

fn compare(setup: &Setup, group: &Case, program: &[u8], recorded: &Transcripts) -> Result<Vec<Verdict>> {
    let answers = run(setup, std::slice::from_ref(group), program)?;
    let (output, ending) = match answers.into_iter().next() {
        Some(Answer::Ended { output, status: 0 }) => (output, String::new()),
        Some(Answer::Ended { output, status }) => (output, format!("the program ended with {status} before it")),
        Some(Answer::Lost(reason)) => (String::new(), reason),
        None => bail!("no answer"),
    };
    let found = split(&output);
    let start = format!("{}/", group.name);
    let judge = |(name, expected): (&String, &String)| {
        let result = match found.get(name) {
            Some(transcript) if transcript == expected => Ok(()),
            Some(transcript) => Err(applets::differences(expected, transcript)),
            None => Err(format!("no transcript: {ending}")),
        };
        Verdict { name: format!("conformance/{name}"), result }
    };
    Ok(recorded.iter().filter(|(name, _)| name.starts_with(&start)).map(judge).collect())
}

fn run(setup: &Setup, groups: &[Case], program: &[u8]) -> Result<Vec<Answer>> {
    batch::run(setup, groups, |archive| archive.file("usr/local/bin/conformance", 0o755, program))
}

/// Records every group under the kernel of `setup`; gives how many cases there are.
pub fn record(setup: &Setup) -> Result<usize> {
    let program = program(setup.architecture)?;
    let groups = groups()?;
    let mut text = String::new();
    for (group, answer) in groups.iter().zip(run(setup, &groups, &program)?) {
        match answer {
            Answer::Ended { output, status: 0 } => text.push_str(&output),
            other => bail!("the group {} did not end well: {other:?}", group.name),
        }
    }
    let found = split(&text);
    if setup.architecture != RECORDED_IN_COMMON {
        text = difference(&read(RECORDED_IN_COMMON), &found);
    }
    super::write_recording(&recording_file(setup.architecture), &text)?;
    Ok(found.len())
}

/// Transcripts by case.
type Transcripts = BTreeMap<String, String>;

fn split(text: &str) -> Transcripts {
    let mut transcripts = Transcripts::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(next) = line.strip_prefix("== ") {
            name = next;
            transcripts.insert(name.to_owned(), String::new());
        } else if let Some(transcript) = transcripts.get_mut(name) {
            transcript.push_str(line);
            transcript.push('\n');
        }
    }
    transcripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcripts_are_split() {
        let found = split("== a/b\none\ntwo\n== a/c\n== d/e\nthree\n");
        assert_eq!(found["a/b"], "one\ntwo\n");
        assert_eq!(found["a/c"], "");
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn another_architecture_is_kept_as_a_difference() {
        let common = split("== a/b\none\n== a/c\ntwo\n== d/e\nthree\n");
        let found = split("== a/b\none\n== a/c\nother\n== f/g\nnew\n");
        let text = difference(&common, &found);
        assert_eq!(text, "== a/c\nother\n== f/g\nnew\n== d/e (absent)\n");
        let mut restored = common;
        overlay(&mut restored, split(&text));
        assert_eq!(restored, found);
    }

    #[test]
    fn every_group_is_recorded() {
        let recorded = read(RECORDED_IN_COMMON);
        for group in groups().unwrap() {
            let start = format!("{}/", group.name);
            assert!(recorded.keys().any(|name| name.starts_with(&start)), "{} is not recorded", group.name);
        }
    }
}
