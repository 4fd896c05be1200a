//! The file tree that the kernel starts with: Debian's busybox with its applets, a script as `/init`, and what the user
//! asked for.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cpio::Archive;
use crate::elf::{self, Program};
use crate::feed::READY;
use crate::progress::quietly;
use crate::provision;
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

/// The tree with busybox and its applets, without `/init`.
pub fn base(architecture: Architecture) -> Result<Archive> {
    let busybox = provision::busybox(architecture)?;
    let content = std::fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let mut archive = Archive::new();
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
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
    archive.file("etc/group", 0o644, b"root:x:0:\ntty:x:5:\nnogroup:x:65534:\n");
    archive.file("etc/hostname", 0o644, b"ashlar\n");
    archive.file("bin/busybox", 0o755, &content);
    for applet in applets(&busybox, architecture)?.lines() {
        if !applet.is_empty() && !archive.contains(applet) && applet != "linuxrc" {
            archive.symlink(applet, "/bin/busybox");
        }
    }
    Ok(archive)
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
pub fn for_job(architecture: Architecture, kernel: Kernel, job: &Job, terminal: &Terminal) -> Result<Vec<u8>> {
    let mut archive = base(architecture)?;
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
    let mut archive = base(architecture)?;
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

/// The words, their first one packed where it is a file of the host.
fn packed(archive: &mut Archive, words: &[String], architecture: Architecture) -> Result<Vec<String>> {
    let mut words = words.to_vec();
    if let Some(program) = words.first_mut().filter(|program| program.contains('/')) {
        *program = pack(archive, Path::new(program.as_str()), architecture)?;
    }
    Ok(words)
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
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quote("ls"), "ls");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), "'it'\\''s'");
        assert_eq!(program_action(&["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()]), "sh -c 'exit 3'");
    }
}
