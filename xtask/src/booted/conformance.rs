//! The conformance cases of `user/src/cases/`: transcripts of system calls, compared with those recorded under Debian's Linux.
//!
//! The program `conformance` prints `== group/name` before each transcript. Each group runs on its own, so that one that hangs
//! takes only its group along. `cargo xtask record --filter conformance` writes `tests/conformance.txt`; with `--arch aarch64` it writes
//! `tests/conformance.aarch64.txt`, which holds only the cases that say something else there, and by a line
//! `== group/name (absent)` those that do not exist there.

use anyhow::{Context, Result, bail};

use super::batch::{self, Answer, Case};
use super::transcripts::{self, Recording, Transcripts, split};
use super::{Job, RECORDED_IN_COMMON, Setup, Verdict, recorded};
use crate::target::Architecture;
use crate::{user_build, workspace};

/// `tests/conformance.txt` and what goes with it.
const RECORDING: Recording = Recording("conformance");
/// How many seconds a group may take.
const LIMIT: u64 = 100;

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
    let recorded = RECORDING.recorded(architecture);
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

pub(super) fn program(architecture: Architecture) -> Result<Vec<u8>> {
    let programs = user_build::build(architecture)?;
    std::fs::read(programs.get("conformance").context("user/ has no conformance")?).context("cannot read conformance")
}

fn compare(setup: &Setup, group: &Case, program: &[u8], recorded: &Transcripts) -> Result<Vec<Verdict>> {
    let answers = run(setup, std::slice::from_ref(group), program)?;
    Ok(judge(group, answers.into_iter().next().context("no answer")?, recorded))
}

/// All groups in one machine, for an emulator that takes long to start.
pub fn together(setup: &Setup) -> Result<Vec<Verdict>> {
    let (groups, recorded) = (groups()?, RECORDING.recorded(setup.architecture));
    let answers = run(setup, &groups, &program(setup.architecture)?)?;
    Ok(groups.iter().zip(answers).flat_map(|(group, answer)| judge(group, answer, &recorded)).collect())
}

fn judge(group: &Case, answer: Answer, recorded: &Transcripts) -> Vec<Verdict> {
    let (output, ending) = match answer {
        Answer::Ended { output, status: 0 } => (output, String::new()),
        Answer::Ended { output, status } => (output, format!("the program ended with {status} before it")),
        Answer::Lost(reason) => (String::new(), reason),
    };
    let found = split(&output);
    let start = format!("{}/", group.name);
    let judge = |(name, expected): (&String, &String)| {
        let result = match found.get(name) {
            Some(transcript) if transcript == expected => Ok(()),
            Some(transcript) => Err(recorded::differences(expected, transcript)),
            None => Err(format!("no transcript: {ending}")),
        };
        Verdict { name: format!("conformance/{name}"), result }
    };
    recorded.iter().filter(|(name, _)| name.starts_with(&start)).map(judge).collect()
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
        text = transcripts::difference(&RECORDING.read(RECORDED_IN_COMMON), &found);
    }
    RECORDING.write(setup.architecture, &text)?;
    Ok(found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_is_recorded() {
        let recorded = RECORDING.read(RECORDED_IN_COMMON);
        for group in groups().unwrap() {
            let start = format!("{}/", group.name);
            assert!(recorded.keys().any(|name| name.starts_with(&start)), "{} is not recorded", group.name);
        }
    }
}
