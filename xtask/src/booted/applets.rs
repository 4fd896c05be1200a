//! The applet cases of `tests/applets/*.sh`, compared with their recording under Linux.
//!
//! A file is a group; in it each line `#: name` starts a case. `cargo xtask record` runs them under Debian's Linux in the
//! same QEMU with the same file tree, and writes `tests/applets/recorded/GROUP.txt`; with `--arch aarch64` it writes
//! `recorded/aarch64/GROUP.txt`, which holds only the cases where Linux says something else on that architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::batch::{self, Answer, Case};
use super::{Job, RECORDED_IN_COMMON, Setup, Verdict, applet_census};
use crate::initramfs;
use crate::target::Architecture;
use crate::workspace;

/// Output and status by case.
type Recording = BTreeMap<String, (String, u32)>;

/// A file of cases.
#[derive(Clone, Debug)]
pub struct Group {
    /// The file's stem.
    pub name: String,
    /// The cases in order.
    pub cases: Vec<Case>,
}

fn folder() -> PathBuf {
    workspace::root().join("tests/applets")
}

/// A group's recording, or what is different on `architecture`.
fn recording_file(architecture: Architecture, group: &str) -> PathBuf {
    let mut file = folder().join("recorded");
    if architecture != RECORDED_IN_COMMON {
        file.push(architecture.name());
    }
    file.join(format!("{group}.txt"))
}

/// Output and status of each case recorded in a file; of none where there is no file.
fn read(architecture: Architecture, group: &str) -> Recording {
    std::fs::read_to_string(recording_file(architecture, group)).map(|text| decode(&text)).unwrap_or_default()
}

/// What Linux says on `architecture`.
fn recorded(architecture: Architecture, group: &str) -> Recording {
    let mut recording = read(RECORDED_IN_COMMON, group);
    if architecture != RECORDED_IN_COMMON {
        recording.extend(read(architecture, group));
    }
    recording
}

/// All groups, by name. Only cases whose `group/name` contains `filter`.
pub fn groups(filter: Option<&str>) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    for entry in std::fs::read_dir(folder()).context("no tests/applets")?.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "sh") {
            continue;
        }
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut cases = parse(&std::fs::read_to_string(&path)?)?;
        cases.retain(|case| filter.is_none_or(|word| format!("applets/{name}/{}", case.name).contains(word)));
        if !cases.is_empty() {
            groups.push(Group { name, cases });
        }
    }
    groups.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(groups)
}

/// Splits a file into its cases.
fn parse(text: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("#: ") {
            if cases.iter().any(|case| case.name == name) {
                bail!("two cases are named {name}");
            }
            cases.push(Case { name: name.to_owned(), script: String::new(), limit: batch::LIMIT });
        } else if let Some(case) = cases.last_mut() {
            case.script.push_str(line);
            case.script.push('\n');
        }
    }
    Ok(cases)
}

/// The least number of applets that the cases run.
const LEAST_APPLETS: usize = 120;

/// Counts the applets that the cases run, and says which are left.
fn census(setup: &Setup) -> Result<()> {
    let applets = initramfs::applet_names(setup.architecture)?;
    let (mut run, mut cases) = (BTreeSet::new(), 0);
    for group in groups(None)? {
        let recorded = recorded(setup.architecture, &group.name);
        for case in group.cases {
            let (output, _) = recorded.get(&case.name).cloned().unwrap_or_default();
            let mut found = applet_census::of(&case.script, &applets);
            found
                .retain(|name| !output.contains(&format!("{name}: not found")) && !output.contains("applet not found"));
            run.append(&mut found);
            cases += 1;
        }
    }
    println!("applets: {cases} cases run {} different ones of busybox's {}", run.len(), applets.len());
    ensure!(run.len() >= LEAST_APPLETS, "fewer than {LEAST_APPLETS}: {run:?}");
    Ok(())
}

/// The jobs that compare: the groups cut into parts of about equal size, so that machines can run side by side.
pub fn jobs(filter: Option<&str>) -> Result<Vec<Job>> {
    let mut jobs = vec![Job::single("applets/census", census)];
    jobs.retain(|job| filter.is_none_or(|word| job.name.contains(word)));
    for group in groups(filter)? {
        let name = format!("applets/{}", group.name);
        jobs.push(Job::new(name.clone(), move |setup| match compare(setup, &group) {
            Ok(verdicts) => verdicts,
            Err(error) => vec![Verdict::of(name, Err(error))],
        }));
    }
    Ok(jobs)
}

fn compare(setup: &Setup, group: &Group) -> Result<Vec<Verdict>> {
    let recorded = recorded(setup.architecture, &group.name);
    let answers = batch::run(setup, &group.cases, |_| ())?;
    let verdicts = group.cases.iter().zip(answers).map(|(case, answer)| {
        let result = match recorded.get(&case.name) {
            Some(expected) => judge(expected, &answer),
            None => Err("not recorded yet: cargo xtask record".to_owned()),
        };
        Verdict { name: format!("applets/{}/{}", group.name, case.name), result }
    });
    Ok(verdicts.collect())
}

/// Compares an answer with the expected output and status.
pub fn judge(expected: &(String, u32), answer: &Answer) -> Result<(), String> {
    match answer {
        Answer::Lost(reason) => Err(reason.clone()),
        Answer::Ended { output, status } if (output, status) == (&expected.0, &expected.1) => Ok(()),
        Answer::Ended { output, status } => {
            let mut text = differences(&expected.0, output);
            if *status != expected.1 {
                text.push_str(&format!("status {status}, on Linux {}\n", expected.1));
            }
            Err(text)
        }
    }
}

/// The lines where two texts differ, Linux's with a minus, ours with a plus.
pub fn differences(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let same_start = expected.iter().zip(&found).take_while(|(left, right)| left == right).count();
    let rest = expected.len().min(found.len()) - same_start;
    let same_end =
        expected.iter().rev().zip(found.iter().rev()).take(rest).take_while(|(left, right)| left == right).count();
    let mut text = String::new();
    for (mark, lines) in [("-", &expected), ("+", &found)] {
        for line in lines.get(same_start..lines.len() - same_end).unwrap_or_default() {
            text.push_str(&format!("{mark} {line}\n"));
        }
    }
    if text.is_empty() { "the texts differ in their last newline only\n".to_owned() } else { text }
}

/// Runs every case under the kernel of `setup` and writes the recordings; gives how many cases there are.
pub fn record(setup: &Setup, filter: Option<&str>) -> Result<usize> {
    let mut count = 0;
    for group in groups(filter)? {
        let answers = batch::run(setup, &group.cases, |_| ())?;
        let file = recording_file(setup.architecture, &group.name);
        let mut recorded = recorded(setup.architecture, &group.name);
        for (case, answer) in group.cases.iter().zip(answers) {
            match answer {
                Answer::Ended { output, status } => recorded.insert(case.name.clone(), (output, status)),
                Answer::Lost(reason) => bail!("{}/{}: {reason}", group.name, case.name),
            };
            count += 1;
        }
        // In the order of the source, and without cases that are gone.
        let full = groups(None)?.into_iter().find(|other| other.name == group.name).context("the group is gone")?;
        let names: Vec<&str> = full.cases.iter().map(|case| case.name.as_str()).collect();
        if setup.architecture != RECORDED_IN_COMMON {
            let common = read(RECORDED_IN_COMMON, &group.name);
            recorded.retain(|name, answer| common.get(name) != Some(answer));
        }
        super::write_recording(&file, &text_of(&recorded, &names))?;
    }
    Ok(count)
}

/// The file of `recorded`, in the order of `names`.
fn text_of(recorded: &Recording, names: &[&str]) -> String {
    let found = |name: &&str| recorded.get(*name).map(|(output, status)| encode(name, output, *status));
    names.iter().filter_map(found).collect()
}

/// A case in a recording: a head line with the status, then the output indented by one column, so that no line of it can
/// be taken for a head; a last line without newline ends in a mark.
fn encode(name: &str, output: &str, status: u32) -> String {
    let mut text = format!("#: {name} {status}\n");
    for line in output.split_inclusive('\n') {
        text.push('|');
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ no newline\n");
        }
    }
    text
}

fn decode(text: &str) -> Recording {
    let mut recorded = BTreeMap::new();
    let mut current: Option<(String, String, u32)> = None;
    for line in text.split('\n') {
        if let Some((name, status)) = line.strip_prefix("#: ").and_then(|head| head.split_once(' ')) {
            if let Some((name, output, status)) = current.take() {
                recorded.insert(name, (output, status));
            }
            current = Some((name.to_owned(), String::new(), status.parse().unwrap_or(u32::MAX)));
        } else if let Some((_, output, _)) = &mut current {
            if let Some(line) = line.strip_prefix('|') {
                output.push_str(line);
                output.push('\n');
            } else if line.starts_with('\\') {
                output.pop();
            }
        }
    }
    if let Some((name, output, status)) = current {
        recorded.insert(name, (output, status));
    }
    recorded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_come_back() {
        let cases = [("a", "one\ntwo\n", 0), ("b", "", 3), ("c", "no newline", 137), ("d", "#: x 1\n|\n\\\n", 0)];
        let text: String = cases.iter().map(|(name, output, status)| encode(name, output, *status)).collect();
        let back = decode(&text);
        assert_eq!(back.len(), cases.len());
        for (name, output, status) in cases {
            assert_eq!(back[name], (output.to_owned(), status));
        }
    }

    #[test]
    fn every_case_has_a_name_and_a_recording() {
        let groups = groups(None).unwrap();
        assert!(groups.iter().map(|group| group.cases.len()).sum::<usize>() >= 120);
        for group in groups {
            let recorded = read(RECORDED_IN_COMMON, &group.name);
            for case in group.cases {
                assert!(recorded.contains_key(&case.name), "{} is not recorded", case.name);
            }
        }
    }

    #[test]
    fn differences_leave_out_what_is_equal() {
        assert_eq!(differences("a\nb\nc\n", "a\nx\nc\n"), "- b\n+ x\n");
        assert_eq!(differences("a\n", "a\nb\n"), "+ b\n");
    }
}
