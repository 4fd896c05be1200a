//! The file tree that the kernel starts with: Debian's busybox with its applets, the Debian packages that were asked for, a script as
//! `/init`, and the files of the host that the command names.
//!
//! A package's program takes the place of busybox's applet of the same name, wherever the two are.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cpio::Archive;
use crate::debian;
use crate::elf::{self, Program};
use crate::feed::READY;
use crate::progress::quietly;
use crate::provision;
use crate::provision::packages::{self, PackageName};
use crate::target::Architecture;
use crate::usage;

/// What `/init` does once the file systems are mounted.
pub enum Job {
    /// An interactive shell on the console.
    Shell,
    /// The same, whose keys [`crate::feed`] types.
    FedShell,
    /// One program with its arguments; a name with a slash is a file of the host. It has the console as process 1 has it.
    Program(Vec<String>),
    /// The same joined with the user's own input and output, as `ssh` and `docker run` join a command.
    Command(Vec<String>, Streams),
}

/// What a command of the user's reads and writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Streams {
    /// Its standard input.
    pub input: Stream,
    /// Its standard output and error.
    pub output: Stream,
}

/// One of a command's streams.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stream {
    /// The console, as the controlling terminal.
    Terminal,
    /// A pipe: the user's is no terminal.
    Pipe,
    /// Nothing: `/dev/null`.
    Null,
    /// A file with this content, packed beside the program.
    File(Vec<u8>),
}

/// Which kernel `/init` runs under, and so how it ends the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kernel {
    /// Ours: process 1 just ends.
    #[default]
    Ashlar,
    /// Debian's Linux, where process 1 must not end.
    Linux,
}

/// What the shell should know of the user's terminal.
pub struct Terminal {
    /// `TERM`.
    pub kind: String,
    /// Columns and rows, where it is a real terminal.
    pub size: Option<(u16, u16)>,
}

/// The tree with busybox and its applets, and with `packages` and what they depend on, without `/init`.
pub fn base(architecture: Architecture, packages: &[PackageName]) -> Result<Archive> {
    let busybox = provision::busybox(architecture)?;
    let content = std::fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let mut archive = if packages.is_empty() {
        Archive::new()
    } else {
        debian::tree(&packages::unpack_with_dependencies(packages, architecture)?)?
    };
    for folder in [
        "bin",
        "sbin",
        "usr/bin",
        "usr/sbin",
        "usr/local/bin",
        "dev",
        "etc",
        "proc",
        "sys",
        "run",
        "root",
        "mnt",
        "var",
    ] {
        archive.directory(folder);
    }
    archive.directory_with_mode("tmp", 0o1777);
    archive.character_device("dev/console", 0o600, 5, 1);
    archive.character_device("dev/null", 0o666, 1, 3);
    archive.character_device("dev/tty", 0o666, 5, 0);
    archive.character_device(&format!("dev/{}", architecture.serial_console()), 0o600, serial_major(architecture), 64);
    for (file, content) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
        ("etc/hostname", "ashlar\n"),
    ] {
        if !archive.contains(file) {
            archive.file(file, 0o644, content.as_bytes());
        }
    }
    archive.file("bin/busybox", 0o755, &content);
    for applet in applets(&busybox, architecture)?.lines() {
        let name = applet.rsplit('/').next().unwrap_or_default();
        let is_known = PROGRAMS.iter().any(|folder| archive.contains(&format!("{folder}/{name}")));
        if !name.is_empty() && !is_known && name != "linuxrc" {
            archive.symlink(applet, "/bin/busybox");
        }
    }
    Ok(archive)
}

/// The folders where programs are.
const PROGRAMS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// The memory in MiB of a machine that starts with an initramfs of `size` bytes: `usual`, or what the archive, the files unpacked from it
/// and a program of some size need beside each other.
pub fn memory_for(size: u64, usual: u64) -> u64 {
    usual.max((2 * mebibytes(size) + 192).next_multiple_of(64))
}

/// The least memory in MiB with which such a machine gets to its first program.
pub fn least_memory_for(size: u64) -> u64 {
    2 * mebibytes(size) + 32
}

fn mebibytes(size: u64) -> u64 {
    size.div_ceil(1 << 20)
}

fn serial_major(architecture: Architecture) -> u32 {
    match architecture {
        Architecture::X86_64 => 4,
        Architecture::Aarch64 => 204,
    }
}

/// The paths of busybox's applets, asked of the program itself; for another machine, of the host's busybox.
fn applets(busybox: &Path, architecture: Architecture) -> Result<String> {
    let asked = match Architecture::host() {
        Some(host) if host != architecture => provision::busybox(host)?,
        _ => busybox.to_path_buf(),
    };
    quietly(Command::new(asked).arg("--list-full"))
}

/// The names of busybox's applets.
pub fn applet_names(architecture: Architecture) -> Result<BTreeSet<String>> {
    let paths = applets(&provision::busybox(architecture)?, architecture)?;
    Ok(paths.lines().filter_map(|path| path.rsplit('/').next()).map(str::to_owned).collect())
}

/// The whole initramfs for a run.
pub fn for_job(
    architecture: Architecture,
    kernel: Kernel,
    packages: &[PackageName],
    job: &Job,
    terminal: &Terminal,
) -> Result<Vec<u8>> {
    let mut archive = base(architecture, packages)?;
    let action = match job {
        Job::Shell => shell_action(architecture, ""),
        Job::FedShell => shell_action(architecture, &say_ready()),
        Job::Program(words) => program_action(&packed(&mut archive, words, architecture)?),
        Job::Command(words, streams) => {
            let words = packed(&mut archive, words, architecture)?;
            if let Stream::File(content) = &streams.input {
                archive.file(INPUT, 0o600, content);
            }
            command_action(&words, streams, architecture)
        }
    };
    archive.file("init", 0o755, init_script(architecture, kernel, &action, terminal).as_bytes());
    Ok(archive.finish())
}

/// The whole initramfs of a disc: a shell, after which the machine is switched off.
pub fn for_disc(architecture: Architecture, terminal: &Terminal) -> Result<Vec<u8>> {
    let mut archive = base(architecture, &[])?;
    let action = format!("{}\npoweroff -f", shell_action(architecture, ""));
    archive.file("init", 0o755, init_script(architecture, Kernel::Ashlar, &action, terminal).as_bytes());
    Ok(archive.finish())
}

/// `/init`: mounts what programs expect, then acts and ends with the action's status.
pub fn init_script(architecture: Architecture, kernel: Kernel, action: &str, terminal: &Terminal) -> String {
    let size = match terminal.size {
        Some((columns, rows)) => format!("stty cols {columns} rows {rows} 2>/dev/null\n"),
        None => String::new(),
    };
    let end = match kernel {
        Kernel::Ashlar => "exit $?\n".to_owned(),
        Kernel::Linux => {
            let line = architecture.linux_status_line();
            format!("printf \"\\\\$(printf %o $?)\" >/dev/{line}\npoweroff -f\n")
        }
    };
    format!(
        "#!/bin/sh\n\
         # Made by `cargo xtask`: process 1 of the machine.\n\
         export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM={kind}\n\
         mount -t devtmpfs dev /dev 2>/dev/null\n\
         mkdir -p /dev/pts /dev/shm 2>/dev/null\n\
         mount -t proc proc /proc 2>/dev/null\n\
         mount -t sysfs sys /sys 2>/dev/null\n\
         mount -t devpts pts /dev/pts 2>/dev/null\n\
         mount -t tmpfs tmp /tmp 2>/dev/null\n\
         hostname ashlar 2>/dev/null\n\
         cd /root\n\
         {size}{action}\n{end}",
        kind = quote(&terminal.kind),
    )
}

/// Sets `tty` to the serial line.
fn find_terminal(architecture: Architecture) -> String {
    format!("tty=/dev/{}\n[ -c $tty ] || tty=/dev/console\n", architecture.serial_console())
}

/// A login shell that leads its own session on the serial line; its status is the machine's.
fn shell_action(architecture: Architecture, first: &str) -> String {
    format!(
        "{}export PS1='ashlar:\\w# '\n\
         {first}setsid -c sh <$tty >$tty 2>&1",
        find_terminal(architecture),
    )
}

/// Tells [`crate::feed`] that somebody listens.
fn say_ready() -> String {
    format!("printf '\\{:03o}' >$tty\n", READY)
}

/// Where a command's standard input is, without the slash: a pipe or a file.
const INPUT: &str = "run/input";

/// A command that leads its own session on the serial line, with pipes in the place of what is no terminal of the user's.
fn command_action(words: &[String], streams: &Streams, architecture: Architecture) -> String {
    let mut script = find_terminal(architecture);
    let mut settings = Vec::new();
    let (mut output, mut end) = (">$tty", "");
    if streams.output == Stream::Pipe {
        // No carriage returns. A process that the command has left may keep the pipe: it is waited for a second at most.
        settings.push("-opost");
        // What the shell says of the command (`Killed`) takes the same way, or it would come too early.
        script += "mkfifo /run/output\ncat </run/output >$tty &\ncopier=$!\nexec 2>/run/output\n";
        output = ">&2";
        end = "\nstatus=$?\nexec 2>/dev/null\n(sleep 1; kill $copier) &\nwait $copier\n(exit $status)";
    }
    let input = match streams.input {
        Stream::Terminal => "<$tty".to_owned(),
        Stream::Null => "</dev/null".to_owned(),
        Stream::File(_) => format!("</{INPUT}"),
        Stream::Pipe => {
            // What has a meaning of its own still is quoted by the other end.
            settings.push("-echo -isig -ixon -ixoff -icrnl");
            format!("</{INPUT}")
        }
    };
    if !settings.is_empty() {
        script += &format!("stty {} <$tty\n", settings.join(" "));
    }
    if streams.input == Stream::Pipe {
        script += &format!("mkfifo /{INPUT}\ncat <$tty >/{INPUT} 2>/dev/null &\n{}", say_ready());
    }
    // A command without a terminal leads a session all the same, but has no controlling terminal.
    let leader = if streams.input == Stream::Terminal { "setsid -c" } else { "setsid" };
    script + &format!("{leader} {} {input} {output} 2>&1{end}", program_action(words))
}

/// Where commands start: what a word names by a relative path is below it.
const WORKING_FOLDER: &str = "root";
/// The largest file of the host that is packed because a word names it; the machine keeps two copies for a while.
const LARGEST_PACKED: u64 = 256 << 20;

/// The words, with what they name on the host packed: the first one where it is a path, but not one that the packages have; the
/// others where they are relative paths of files, which then are in the machine under the same name.
fn packed(archive: &mut Archive, words: &[String], architecture: Architecture) -> Result<Vec<String>> {
    let mut words = words.to_vec();
    let Some((program, arguments)) = words.split_first_mut() else { return Ok(words) };
    if program.contains('/') && !(program.starts_with('/') && archive.contains(program)) {
        *program = pack(archive, Path::new(program.as_str()), architecture)?;
    }
    for word in arguments {
        let Some(place) = place_in_machine(word) else { continue };
        let Ok(metadata) = std::fs::metadata(word.as_str()) else { continue };
        if !metadata.is_file() || archive.contains(&place) {
            continue;
        }
        if metadata.len() > LARGEST_PACKED {
            usage!("{word} is too large to be packed into the machine's first files");
        }
        match std::fs::read(word.as_str()) {
            Ok(content) => archive.file(&place, metadata.permissions().mode() & 0o777, &content),
            Err(error) => usage!("cannot read {word}: {error}"),
        }
    }
    Ok(words)
}

/// Where a word that may name a file of the host names it in the machine; a path that leaves the folder is the machine's own.
fn place_in_machine(word: &str) -> Option<String> {
    let mut place = PathBuf::from(WORKING_FOLDER);
    for component in Path::new(word).components() {
        match component {
            Component::Normal(name) => place.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(place.to_str()?.to_owned()).filter(|place| place != WORKING_FOLDER)
}

fn program_action(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    quoted.join(" ")
}

/// A word for the shell, whatever is in it.
pub fn quote(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./=:,+@%".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Packs a program of the host, with interpreter and libraries where it needs them; gives its path in the machine.
fn pack(archive: &mut Archive, path: &Path, architecture: Architecture) -> Result<String> {
    let (program, content) = elf::inspect(path, architecture)?;
    let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
        usage!("{} is no file", path.display());
    };
    if let Program::Dynamic { interpreter } = program {
        if Architecture::host() != Some(architecture) {
            usage!("{} is dynamically linked, for a machine whose libraries this host has not", path.display());
        }
        for file in elf::libraries(path, &interpreter)? {
            let content = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let place = file.to_string_lossy().into_owned();
            if !archive.contains(&place) {
                archive.file(&place, 0o755, &content);
            }
        }
    }
    let place = format!("/usr/local/bin/{name}");
    archive.file(&place, 0o755, &content);
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_keep_their_names() {
        assert_eq!(place_in_machine("x.py").unwrap(), "root/x.py");
        assert_eq!(place_in_machine("./tests//x.py").unwrap(), "root/tests/x.py");
        for word in ["/etc/passwd", "../x.py", "a/../../x", ".", "", "/"] {
            assert_eq!(place_in_machine(word), None, "{word}");
        }
    }

    #[test]
    fn files_that_words_name_are_packed() {
        let mut archive = Archive::new();
        archive.file("usr/bin/python3", 0o755, b"");
        let words = ["/usr/bin/python3", "src/main.rs", "src", "-c", "no such file"].map(str::to_owned);
        assert_eq!(packed(&mut archive, &words, Architecture::X86_64).unwrap(), words);
        assert!(archive.contains("/root/src/main.rs") && !archive.contains("/root/src/cpio.rs"));
        assert!(!archive.contains("/root/no such file"));
    }

    #[test]
    fn memory_follows_the_files() {
        assert_eq!(memory_for(3 << 20, 256), 256);
        assert_eq!(memory_for(100 << 20, 256), 448);
        assert!(least_memory_for(100 << 20) < memory_for(100 << 20, 256));
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quote("ls"), "ls");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), "'it'\\''s'");
        assert_eq!(program_action(&["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()]), "sh -c 'exit 3'");
    }
}
