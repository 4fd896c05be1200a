//! Debian packages with all that they depend on, for the machine's file tree.
//!
//! apt works out what belongs to a set of packages, from a private state in which nothing is installed; each package is downloaded and
//! unpacked once, below `target/`, and a set that was asked for before needs no network. Nothing is configured: no script of a package runs.
//! What such scripts would have done, and a program misses, is [`crate::debian`]'s affair.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::apt::{self, PrivateState};
use crate::progress::{quietly, step};
use crate::target::Architecture;
use crate::{usage, workspace};

/// The name of a package, as Debian's policy allows it (section 5.6.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PackageName(String);

impl PackageName {
    /// Reads a word of the command line.
    pub fn parse(word: &str) -> Result<Self, String> {
        let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "+-.".contains(letter);
        let starts_well = word.starts_with(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
        if word.len() >= 2 && starts_well && word.chars().all(allowed) {
            return Ok(Self(word.to_owned()));
        }
        Err("a package's name has small letters, digits, `+`, `-` and `.`; several are separated by commas".to_owned())
    }

    /// It as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An unpacked package.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// The folder with its files.
    pub files: PathBuf,
    /// The folder with its control files: `postinst` and so on.
    pub control: PathBuf,
}

/// Which packages of a set are unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extent {
    /// Those that were named and all that they depend on.
    WithDependencies,
    /// Those that were named.
    Alone,
}

/// The packages `names` and what they depend on, unpacked, in the order in which they would be installed.
pub fn unpack_with_dependencies(names: &[PackageName], architecture: Architecture) -> Result<Vec<Unpacked>> {
    unpack_set(names, architecture, Extent::WithDependencies)
}

/// The packages `names` without what they depend on, unpacked: for files that are of use by themselves.
pub fn unpack_alone(names: &[PackageName], architecture: Architecture) -> Result<Vec<Unpacked>> {
    unpack_set(names, architecture, Extent::Alone)
}

fn unpack_set(names: &[PackageName], architecture: Architecture, extent: Extent) -> Result<Vec<Unpacked>> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    let base = workspace::downloads()?.join(architecture.debian());
    let set = base.join("sets").join(match extent {
        Extent::WithDependencies => set_name(&names),
        Extent::Alone => format!("{}!", set_name(&names)),
    });
    if let Some(found) = read_set(&base, &set) {
        return Ok(found);
    }
    for program in ["apt-get", "dpkg-deb"] {
        if apt::find_program(program).is_none() {
            bail!("--packages needs {program}, which Debian and Ubuntu have");
        }
    }
    // Tests that boot side by side, or another xtask, may want the same: one fetches, the others find it.
    std::fs::create_dir_all(base.join("sets"))?;
    let turn = std::fs::File::create(base.join("lock"))?;
    turn.lock()?;
    if let Some(found) = read_set(&base, &set) {
        return Ok(found);
    }
    let state = PrivateState::new(&base, architecture)?;
    let wanted: Vec<&str> = names.iter().map(PackageName::as_str).collect();
    let listed = wanted.join(", ");
    let members = step(&format!("Looking up {listed} for {}", architecture.debian()), || {
        state.update()?;
        resolve(&state, &wanted, architecture)
    })?;
    let members: Vec<Member> = match extent {
        Extent::WithDependencies => members,
        Extent::Alone => members.into_iter().filter(|member| wanted.contains(&member.name.as_str())).collect(),
    };
    let missing: Vec<&Member> = members.iter().filter(|member| member.find(&base).is_none()).collect();
    if !missing.is_empty() {
        let what = format!("{} packages ({listed} and what they need)", missing.len());
        step(&format!("Downloading {what}"), || download(&state, &base, &missing))?;
        step(&format!("Unpacking {what}"), || missing.iter().try_for_each(|member| unpack(&base, member)))?;
    }
    let text: String = members.iter().map(|member| format!("{}\n", member.folder_name())).collect();
    std::fs::write(&set, text).with_context(|| format!("cannot write {}", set.display()))?;
    read_set(&base, &set).context("a package that was unpacked is gone")
}

/// The file that lists a set's members, by the names asked for.
fn set_name(names: &[PackageName]) -> String {
    let joined = names.iter().map(PackageName::as_str).collect::<Vec<_>>().join(",");
    if joined.len() <= 100 {
        return joined;
    }
    let mut hasher = DefaultHasher::new();
    joined.hash(&mut hasher);
    format!("{}...{:016x}", joined.get(..80).unwrap_or_default(), hasher.finish())
}

/// The members of a set that was unpacked whole.
fn read_set(base: &Path, set: &Path) -> Option<Vec<Unpacked>> {
    let text = std::fs::read_to_string(set).ok()?;
    text.lines().map(|line| find(base, line)).collect()
}

/// A package that belongs to a set.
#[derive(PartialEq, Eq, Debug)]
struct Member {
    name: String,
    version: String,
    architecture: String,
}

impl Member {
    /// Where it is unpacked, and also how its archive is called, where a colon is quoted.
    fn folder_name(&self) -> String {
        format!("{}_{}_{}", self.name, self.version.replace(':', "%3a"), self.architecture)
    }

    fn find(&self, base: &Path) -> Option<Unpacked> {
        find(base, &self.folder_name())
    }
}

/// The package unpacked as `folder`; folders get their names when they are complete.
fn find(base: &Path, folder: &str) -> Option<Unpacked> {
    let tree = base.join("packages").join(folder);
    tree.is_dir().then(|| Unpacked { files: tree.join("files"), control: tree.join("control") })
}

/// What apt would install on an empty system.
fn resolve(state: &PrivateState, names: &[&str], architecture: Architecture) -> Result<Vec<Member>> {
    let mut command = state.command("apt-get");
    command.args(["install", "--simulate", "--no-install-recommends", "--"]).args(names);
    command.env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().context("cannot run apt-get")?;
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        return Ok(said.lines().filter_map(member).collect());
    }
    match misnamed(&complaint) {
        Some(name) => match providers(&said).as_slice() {
            [] => usage!("--packages: Debian has no package `{name}` for {}", architecture.debian()),
            providers => usage!("--packages: `{name}` is provided by several: name one of {}", providers.join(", ")),
        },
        None => bail!("apt-get cannot install {} together:\n{said}{complaint}", names.join(", ")),
    }
}

/// Reads a line of `apt-get --simulate`: `Inst libc6 (2.36-9 Debian:12.1/stable [amd64]) []`.
fn member(line: &str) -> Option<Member> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    let (version, rest) = rest.strip_prefix('(')?.split_once(' ')?;
    let (before, _) = rest.split_once(']')?;
    let (_, architecture) = before.rsplit_once('[')?;
    Some(Member { name: name.to_owned(), version: version.to_owned(), architecture: architecture.to_owned() })
}

/// The name that apt does not know, or knows only as something that packages provide.
fn misnamed(complaint: &str) -> Option<&str> {
    complaint.lines().find_map(|line| {
        let line = line.strip_prefix("E: ")?;
        line.strip_prefix("Unable to locate package ")
            .or_else(|| line.strip_prefix("Couldn't find any package by ")?.split('\'').nth(1))
            .or_else(|| line.strip_prefix("Package '")?.strip_suffix("' has no installation candidate"))
    })
}

/// The packages that apt lists below `Package awk is a virtual package provided by:`.
fn providers(said: &str) -> Vec<&str> {
    said.lines()
        .skip_while(|line| !line.ends_with("is a virtual package provided by:"))
        .skip(1)
        .map_while(|line| line.strip_prefix("  ")?.split(' ').next())
        .collect()
}

/// Where archives wait until they are unpacked.
fn archives(base: &Path) -> PathBuf {
    base.join("archives")
}

fn download(state: &PrivateState, base: &Path, members: &[&Member]) -> Result<()> {
    let mut command = state.command("apt-get");
    command.current_dir(archives(base)).args(["download", "--"]);
    command.args(members.iter().map(|member| format!("{}={}", member.name, member.version)));
    quietly(&mut command).map(|_| ())
}

fn unpack(base: &Path, member: &Member) -> Result<()> {
    let name = member.folder_name();
    let archive = archives(base).join(format!("{name}.deb"));
    let folders = base.join("packages");
    let half = folders.join(format!(".{name}.half"));
    if half.exists() {
        std::fs::remove_dir_all(&half)?;
    }
    std::fs::create_dir_all(&half)?;
    for (action, folder) in [("--extract", "files"), ("--control", "control")] {
        quietly(Command::new("dpkg-deb").arg(action).arg(&archive).arg(half.join(folder)))?;
    }
    std::fs::rename(&half, folders.join(&name))?;
    std::fs::remove_file(&archive).context("cannot remove an archive that was unpacked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_policy_allows() {
        for good in ["python3", "g++-12", "libstdc++6", "7zip"] {
            assert_eq!(PackageName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a", "Python", "-x", "--reinstall", "a b", "a;b", "../a", "libc6:arm64", "a=1"] {
            assert!(PackageName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_simulation_is_read() {
        let line = "Inst zlib1g (1:1.2.13-1 Debian:12.1/stable, Debian-Security:12/stable-security [arm64]) []";
        let found = member(line).unwrap();
        assert_eq!(found.folder_name(), "zlib1g_1%3a1.2.13-1_arm64");
        assert_eq!(member("Conf zlib1g (1:1.2.13-1 Debian:12.1/stable [arm64])"), None);
        assert_eq!(member("The following NEW packages will be installed:"), None);
    }

    #[test]
    fn what_apt_does_not_know_is_named() {
        assert_eq!(misnamed("E: Unable to locate package nosuch\n"), Some("nosuch"));
        assert_eq!(misnamed("W: old\nE: Package 'awk' has no installation candidate\n"), Some("awk"));
        assert_eq!(misnamed("E: Couldn't find any package by glob 'a.b'\n"), Some("a.b"));
        assert_eq!(misnamed("E: Unable to correct problems, you have held broken packages.\n"), None);
        let said = "Reading...\nPackage awk is a virtual package provided by:\n  mawk 1.3\n  gawk 1:5.2\n\nx\n";
        assert_eq!(providers(said), ["mawk", "gawk"]);
    }

    #[test]
    fn a_long_set_has_a_short_name() {
        let names: Vec<_> = (0..80).map(|number| PackageName(format!("package{number}"))).collect();
        let name = set_name(&names);
        assert!(name.len() < 120 && name.starts_with("package0,package1,"));
        assert_ne!(name, set_name(names.get(1..).unwrap()));
        assert_eq!(set_name(&[PackageName("a1".to_owned()), PackageName("b2".to_owned())]), "a1,b2");
    }
}
