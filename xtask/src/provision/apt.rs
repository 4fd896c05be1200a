//! Debian packages: installed on the system where we may, or unpacked into a private folder where that is enough.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::progress::{quietly, step};
use crate::target::Architecture;
use crate::workspace;

/// Whether `program` is in `PATH`, and where.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Installs `packages` because of `purpose`: as root, or through `sudo` where that asks nothing; else the error names the
/// command to type.
pub fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let names = packages.join(" ");
    if find_program("apt-get").is_none() {
        bail!("{purpose} is missing: install it (Debian and Ubuntu call the packages: {names})");
    }
    let Some(prefix) = privilege() else {
        bail!("{purpose} is missing. Install it with:\n    sudo apt-get install {names}");
    };
    let run = |words: &[&str]| {
        let mut line: Vec<&str> = prefix.to_vec();
        line.extend_from_slice(words);
        let (program, arguments) = line.split_first().context("empty command")?;
        quietly(Command::new(program).args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let mut command = vec!["apt-get", "install", "--yes", "--no-install-recommends"];
    command.extend_from_slice(packages);
    step(&format!("Installing {names} ({purpose})"), || match run(&command) {
        Ok(_) => Ok(()),
        // A fresh machine has no package lists, an old one has stale ones.
        Err(_) => run(&["apt-get", "update"]).and_then(|_| run(&command)).map(|_| ()),
    })
    .with_context(|| format!("{purpose} could not be installed"))
}

/// What to put before a command that needs root: nothing, or `sudo`; `None` when neither works unasked.
fn privilege() -> Option<&'static [&'static str]> {
    if rustix::process::geteuid().is_root() {
        return Some(&[]);
    }
    let mut probe = Command::new("sudo");
    probe.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match probe.status() {
        Ok(status) if status.success() => Some(&["sudo", "-n"]),
        _ => None,
    }
}

/// Downloads a package for `architecture` with apt's state in a private folder and unpacks it; gives the folder. The
/// system's own package state is not touched, and root is not needed. A name that ends in `*` is resolved as apt does.
pub fn unpack(package: &str, architecture: Architecture) -> Result<PathBuf> {
    let base = workspace::downloads()?.join(architecture.debian());
    let tree = base.join("unpacked").join(package);
    let complete = tree.join(".complete");
    if complete.exists() {
        return Ok(tree);
    }
    // Tests that boot side by side, or another xtask, may want it at the same time: one fetches, the others find it.
    std::fs::create_dir_all(&base)?;
    let turn = std::fs::File::create(base.join("lock"))?;
    turn.lock()?;
    if complete.exists() {
        return Ok(tree);
    }
    let state = PrivateState::new(&base, architecture)?;
    step(&format!("Downloading {package} for {}", architecture.debian()), || {
        state.update()?;
        let archive = state.download(package)?;
        if tree.exists() {
            std::fs::remove_dir_all(&tree)?;
        }
        std::fs::create_dir_all(&tree)?;
        quietly(Command::new("dpkg").arg("-x").arg(&archive).arg(&tree))?;
        std::fs::write(&complete, "")?;
        Ok(())
    })?;
    Ok(tree)
}

/// The tree of a package unpacked earlier whose name starts with `prefix`.
pub fn unpacked(prefix: &str, architecture: Architecture) -> Result<Option<PathBuf>> {
    let trees = workspace::downloads()?.join(architecture.debian()).join("unpacked");
    let Ok(entries) = std::fs::read_dir(trees) else { return Ok(None) };
    let mut found = entries.flatten().map(|entry| entry.path()).filter(|tree| tree.join(".complete").exists());
    Ok(found.find(|tree| tree.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))))
}

/// The package that the meta-package `package` stands for: its first dependency that starts with `prefix`.
pub fn resolve(package: &str, prefix: &str, architecture: Architecture) -> Result<String> {
    let base = workspace::downloads()?.join(architecture.debian());
    let state = PrivateState::new(&base, architecture)?;
    step(&format!("Looking up {package}"), || state.update())?;
    let said = quietly(state.command("apt-cache").args(["depends", package]))?;
    said.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("{package} depends on no package {prefix}*"))
}

/// The file of a private state that names where packages come from, where that is not where the system's come from.
const SOURCES: &str = "sources.list";

/// Where the packages of `architecture` come from when the system's own places do not have them: Ubuntu keeps those of the PC and
/// those of all others on two servers.
fn other_sources(os_release: &str, architecture: Architecture, host: Option<Architecture>) -> Option<String> {
    let value = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim_matches('"'))
    };
    if value("ID") != Some("ubuntu") || host == Some(architecture) {
        return None;
    }
    let server = match architecture {
        Architecture::X86_64 => "http://archive.ubuntu.com/ubuntu",
        Architecture::Aarch64 => "http://ports.ubuntu.com/ubuntu-ports",
    };
    let suite = value("VERSION_CODENAME")?;
    let key = "/usr/share/keyrings/ubuntu-archive-keyring.gpg";
    let line = |suite: String| format!("deb [signed-by={key}] {server} {suite} main universe\n");
    Some([suite.to_owned(), format!("{suite}-updates"), format!("{suite}-security")].map(line).concat())
}

/// Apt's state for one architecture in a folder of ours.
pub(super) struct PrivateState {
    folder: PathBuf,
    architecture: Architecture,
}

impl PrivateState {
    /// The state in `folder`, made if need be.
    pub(super) fn new(folder: &Path, architecture: Architecture) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial", "archives"] {
            std::fs::create_dir_all(folder.join(part))
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        if let Some(text) = other_sources(&system, architecture, Architecture::host()) {
            std::fs::write(folder.join(SOURCES), text)?;
        }
        Ok(Self { folder: folder.to_path_buf(), architecture })
    }

    /// One of apt's programs, told where the state is.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder.display();
        for option in [
            format!("APT::Architecture={}", self.architecture.debian()),
            format!("APT::Architectures={}", self.architecture.debian()),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            "Dir::State::status=/dev/null".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Debug::NoLocking=1".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        if self.folder.join(SOURCES).exists() {
            command.arg("-o").arg(format!("Dir::Etc::sourcelist={folder}/{SOURCES}"));
            command.args(["-o", "Dir::Etc::sourceparts=/dev/null"]);
        }
        command
    }

    /// Fetches the package lists unless they are younger than a day.
    pub(super) fn update(&self) -> Result<()> {
        let stamp = self.folder.join("lists/.updated");
        let age = std::fs::metadata(&stamp).and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age.as_secs() < 24 * 3600) {
            return Ok(());
        }
        quietly(self.command("apt-get").arg("update"))?;
        std::fs::write(&stamp, "").context("cannot write below target/")
    }

    fn download(&self, package: &str) -> Result<PathBuf> {
        let archives = self.folder.join("archives");
        quietly(self.command("apt-get").current_dir(&archives).args(["download", package]))?;
        let start = format!("{package}_");
        std::fs::read_dir(&archives)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)))
            .with_context(|| format!("apt-get downloaded no {package}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ubuntu_has_other_places_for_other_machines() {
        let (pc, arm) = (Architecture::X86_64, Architecture::Aarch64);
        let ubuntu = "NAME=\"Ubuntu\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n";
        assert_eq!(other_sources("ID=debian\nVERSION_CODENAME=bookworm\n", arm, Some(pc)), None);
        assert_eq!(other_sources(ubuntu, pc, Some(pc)), None);
        let text = other_sources(ubuntu, arm, Some(pc)).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("ports.ubuntu.com/ubuntu-ports noble-security main universe\n"));
        assert!(other_sources(ubuntu, pc, Some(arm)).unwrap().contains("archive.ubuntu.com/ubuntu noble main"));
    }
}
