//! Cases that are shell scripts, compared with their recording under Linux: the files `tests/SUITE/*.sh`.
//!
//! A file is a group; in it each line `#: name` starts a case. Before the first case a line `#packages: a,b` names Debian packages that the
//! group's machine has (and `#alone: c,d` some that it has without what they depend on), `#nodes: N cpus: M` (and `#distance: from,to,value`) its NUMA nodes, `#limit: seconds` says how long each case may take, and
//! `#shell: path` which shell reads the cases: busybox's takes its own applets before any program in `PATH`, so a group about programs of those names
//! wants another. What a folder of the group's name holds is in the
//! machine's `/files`. `cargo xtask record` runs the cases under Debian's Linux in the
//! same QEMU with the same file tree, and writes `tests/SUITE/recorded/GROUP.txt`; with `--arch aarch64` it writes
//! `recorded/aarch64/GROUP.txt`, which holds only the cases where Linux says something else on that architecture.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::batch::{self, Answer, Case};
use super::{Job, RECORDED_IN_COMMON, Setup, Verdict, conformance};
use crate::cpio::Archive;
use crate::numa::Distance;
use crate::provision::packages::{self, PackageName};
use crate::target::Architecture;
use crate::workspace;

/// Output and status by case.
type Recording = BTreeMap<String, (String, u32)>;

/// What a package has at a path.
enum Content {
    File(Vec<u8>),
    Link(String),
}

/// A folder of `tests/` with files of cases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suite(&'static str);

/// What busybox's applets do.
pub const APPLETS: Suite = Suite("applets");
/// What programs of Debian's packages do.
pub const CLIENTS: Suite = Suite("clients");
/// What programs see of a machine with several NUMA nodes; the conformance cases are there, too.
pub const NUMA: Suite = Suite("numa");

/// A file of cases.
#[derive(Clone, Debug)]
pub struct Group {
    /// Where it is.
    suite: Suite,
    /// The file's stem.
    pub name: String,
    /// Debian packages that its machine has.
    packages: Vec<PackageName>,
    /// Debian packages whose files it has, but not what they depend on.
    alone: Vec<PackageName>,
    /// The shell that reads the cases, where it is not busybox's.
    shell: Option<String>,
    /// NUMA nodes and processors of its machine, where it says so.
    nodes: Option<(u32, u32)>,
    /// How far the nodes are from each other.
    distances: Vec<Distance>,
    /// The cases in order.
    pub cases: Vec<Case>,
}

impl Suite {
    fn folder(self) -> PathBuf {
        workspace::root().join("tests").join(self.0)
    }

    /// Its groups, by name. Only cases whose `suite/group/name` contains `filter`.
    pub fn groups(self, filter: Option<&str>) -> Result<Vec<Group>> {
        let mut groups = Vec::new();
        for entry in std::fs::read_dir(self.folder()).with_context(|| format!("no tests/{}", self.0))?.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "sh") {
                continue;
            }
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let mut group = Group::parse(self, &name, &std::fs::read_to_string(&path)?)?;
            let full_name = |case: &Case| format!("{}/{name}/{}", self.0, case.name);
            group.cases.retain(|case| filter.is_none_or(|word| full_name(case).contains(word)));
            if !group.cases.is_empty() {
                groups.push(group);
            }
        }
        groups.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(groups)
    }

    /// The jobs that compare, one for each group.
    pub fn jobs(self, filter: Option<&str>) -> Result<Vec<Job>> {
        let job = |group: Group| {
            let name = group.full_name();
            Job::new(name.clone(), move |setup| match group.compare(setup) {
                Ok(verdicts) => verdicts,
                Err(error) => vec![Verdict::of(name, Err(error))],
            })
        };
        Ok(self.groups(filter)?.into_iter().map(job).collect())
    }

    /// Runs every case under the kernel of `setup` and writes the recordings; gives how many cases there are.
    pub fn record(self, setup: &Setup, filter: Option<&str>) -> Result<usize> {
        let mut count = 0;
        for group in self.groups(filter)? {
            count += group.record(setup)?;
        }
        Ok(count)
    }
}

impl Group {
    /// Reads a file of cases.
    fn parse(suite: Suite, name: &str, text: &str) -> Result<Self> {
        let mut group = Self {
            suite,
            name: name.to_owned(),
            packages: Vec::new(),
            alone: Vec::new(),
            shell: None,
            nodes: None,
            distances: Vec::new(),
            cases: Vec::new(),
        };
        let mut limit = batch::LIMIT;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("#: ") {
                if group.cases.iter().any(|case| case.name == name) {
                    bail!("two cases are named {name}");
                }
                group.cases.push(Case { name: name.to_owned(), script: String::new(), limit });
            } else if let Some(case) = group.cases.last_mut() {
                case.script.push_str(line);
                case.script.push('\n');
            } else if let Some(names) = line.strip_prefix("#packages: ") {
                group.packages = package_names(names)?;
            } else if let Some(names) = line.strip_prefix("#alone: ") {
                group.alone = package_names(names)?;
            } else if let Some(path) = line.strip_prefix("#shell: ") {
                group.shell = Some(path.trim().to_owned());
            } else if let Some(numbers) = line.strip_prefix("#nodes: ") {
                let (nodes, cpus) = numbers.split_once(" cpus: ").with_context(|| format!("no processors: {line}"))?;
                group.nodes = Some((nodes.parse()?, cpus.parse()?));
            } else if let Some(distance) = line.strip_prefix("#distance: ") {
                group.distances.push(Distance::parse(distance).map_err(|error| anyhow!(error))?);
            } else if let Some(seconds) = line.strip_prefix("#limit: ") {
                limit = seconds.parse().with_context(|| format!("no seconds: {line}"))?;
            }
        }
        Ok(group)
    }

    /// `suite/name`, which is also what its job is called.
    fn full_name(&self) -> String {
        format!("{}/{}", self.suite.0, self.name)
    }

    /// The file of its recording, or of what is different on `architecture`.
    fn recording_file(&self, architecture: Architecture) -> PathBuf {
        let mut file = self.suite.folder().join("recorded");
        if architecture != RECORDED_IN_COMMON {
            file.push(architecture.name());
        }
        file.join(format!("{}.txt", self.name))
    }

    /// Output and status of each case recorded in a file; of none where there is no file.
    fn read(&self, architecture: Architecture) -> Recording {
        let file = self.recording_file(architecture);
        std::fs::read_to_string(file).map(|text| decode(&text)).unwrap_or_default()
    }

    /// What Linux says on `architecture`.
    pub fn recorded(&self, architecture: Architecture) -> Recording {
        let mut recording = self.read(RECORDED_IN_COMMON);
        if architecture != RECORDED_IN_COMMON {
            recording.extend(self.read(architecture));
        }
        recording
    }

    /// Runs its cases.
    fn run(&self, setup: &Setup) -> Result<Vec<Answer>> {
        let mut setup = setup.clone();
        setup.packages.clone_from(&self.packages);
        if let Some((nodes, cpus)) = self.nodes {
            setup.nodes = Some(nodes);
            setup.cpus = cpus;
            setup.distances.clone_from(&self.distances);
        }
        let program = if self.suite == NUMA { Some(conformance::program(setup.architecture)?) } else { None };
        let mut files = Vec::new();
        if let Ok(entries) = std::fs::read_dir(self.suite.folder().join(&self.name)) {
            for entry in entries.flatten() {
                let content = std::fs::read(entry.path()).with_context(|| format!("cannot read {entry:?}"))?;
                files.push((entry.file_name().to_string_lossy().into_owned(), content));
            }
        }
        let mut cases = self.cases.clone();
        if let Some(shell) = &self.shell {
            for case in &mut cases {
                case.script = format!("exec {shell} /scripts/{}\n", case.name);
            }
        }
        let mut alone = Vec::new();
        if !self.alone.is_empty() {
            for package in packages::unpack_alone(&self.alone, setup.architecture)? {
                collect_below(&package.files, "", &mut alone)?;
            }
        }
        batch::run(&setup, &cases, |archive: &mut Archive| {
            for (path, content) in &alone {
                match content {
                    Content::File(content) => archive.file(path, 0o644, content),
                    Content::Link(target) => archive.symlink(path, target),
                };
            }
            for (name, content) in &files {
                archive.file(&format!("files/{name}"), 0o755, content);
            }
            for case in self.cases.iter().filter(|_| self.shell.is_some()) {
                archive.file(&format!("scripts/{}", case.name), 0o644, case.script.as_bytes());
            }
            if let Some(program) = &program {
                archive.file("usr/local/bin/conformance", 0o755, program);
            }
        })
    }

    fn compare(&self, setup: &Setup) -> Result<Vec<Verdict>> {
        let recorded = self.recorded(setup.architecture);
        let verdicts = self.cases.iter().zip(self.run(setup)?).map(|(case, answer)| {
            let result = match recorded.get(&case.name) {
                Some(expected) => judge(expected, &answer),
                None => Err("not recorded yet: cargo xtask record".to_owned()),
            };
            Verdict { name: format!("{}/{}", self.full_name(), case.name), result }
        });
        Ok(verdicts.collect())
    }

    fn record(&self, setup: &Setup) -> Result<usize> {
        let mut recorded = self.recorded(setup.architecture);
        for (case, answer) in self.cases.iter().zip(self.run(setup)?) {
            match answer {
                Answer::Ended { output, status } => recorded.insert(case.name.clone(), (output, status)),
                Answer::Lost(reason) => bail!("{}/{}: {reason}", self.full_name(), case.name),
            };
        }
        // In the order of the source, and without cases that are gone.
        let full = self.suite.groups(None)?;
        let full = full.into_iter().find(|other| other.name == self.name).context("the group is gone")?;
        let names: Vec<&str> = full.cases.iter().map(|case| case.name.as_str()).collect();
        if setup.architecture != RECORDED_IN_COMMON {
            let common = self.read(RECORDED_IN_COMMON);
            recorded.retain(|name, answer| common.get(name) != Some(answer));
        }
        super::write_recording(&self.recording_file(setup.architecture), &text_of(&recorded, &names))?;
        Ok(self.cases.len())
    }
}

/// Names separated by commas.
fn package_names(text: &str) -> Result<Vec<PackageName>> {
    text.split(',').map(|name| PackageName::parse(name.trim()).map_err(|error| anyhow!(error))).collect()
}

/// Adds the files and links below `folder` to `found`, with their paths in the machine, which begin with `prefix`.
fn collect_below(folder: &Path, prefix: &str, found: &mut Vec<(String, Content)>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect_below(&entry.path(), &format!("{path}/"), found)?;
        } else if kind.is_symlink() {
            found.push((path, Content::Link(std::fs::read_link(entry.path())?.to_string_lossy().into_owned())));
        } else {
            found.push((path, Content::File(std::fs::read(entry.path())?)));
        }
    }
    Ok(())
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
        assert!(APPLETS.groups(None).unwrap().iter().map(|group| group.cases.len()).sum::<usize>() >= 120);
        for suite in [APPLETS, CLIENTS, NUMA] {
            for group in suite.groups(None).unwrap() {
                let recorded = group.read(RECORDED_IN_COMMON);
                for case in &group.cases {
                    assert!(recorded.contains_key(&case.name), "{} is not recorded", case.name);
                }
            }
        }
    }

    #[test]
    fn a_group_says_what_its_machine_needs() {
        let text = "# About it.\n#packages: python3, strace\n#limit: 90\n#shell: /usr/bin/dash\n#: one\necho 1\n#: two\n#limit: 5\n";
        let group = Group::parse(CLIENTS, "some", text).unwrap();
        let packages: Vec<_> = group.packages.iter().map(PackageName::as_str).collect();
        assert_eq!(packages, ["python3", "strace"]);
        assert_eq!(group.shell.as_deref(), Some("/usr/bin/dash"));
        assert_eq!(group.cases.iter().map(|case| case.limit).collect::<Vec<_>>(), [90, 90]);
        assert_eq!(
            group.cases.iter().map(|case| case.script.as_str()).collect::<Vec<_>>(),
            ["echo 1\n", "#limit: 5\n"]
        );
        assert!(Group::parse(CLIENTS, "some", "#packages: No\n").is_err());
        let nodes = Group::parse(NUMA, "some", "#nodes: 2 cpus: 4\n#distance: 0,1,30\n#: one\n").unwrap();
        assert_eq!((nodes.nodes, nodes.distances.len()), (Some((2, 4)), 1));
        assert!(Group::parse(NUMA, "some", "#nodes: 2\n").is_err());
        assert!(Group::parse(CLIENTS, "some", "#: one\n#: one\n").is_err());
    }

    #[test]
    fn differences_leave_out_what_is_equal() {
        assert_eq!(differences("a\nb\nc\n", "a\nx\nc\n"), "- b\n+ x\n");
        assert_eq!(differences("a\n", "a\nb\n"), "+ b\n");
    }
}
