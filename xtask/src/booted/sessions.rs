//! A person at the shell: job control by keys, line editing, `vi`, `top`, less, as `cargo xtask run` gives them.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::console::Console;
use super::{Job, Setup};
use crate::initramfs::{self, Job as Task, Terminal};
use crate::qemu::{Outcome, TemporaryFile};

const PATIENCE: Duration = Duration::from_secs(30);
const PROMPT: &str = "ashlar:";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_U: &str = "\x15";
const CTRL_Z: &str = "\x1a";
const CTRL_BACKSLASH: &str = "\x1c";
const ESCAPE: &str = "\x1b";

/// The jobs.
pub fn jobs() -> Vec<Job> {
    vec![
        Job::single("sessions/interrupt", |setup| session(setup, interrupt)),
        Job::single("sessions/job-control", |setup| session(setup, job_control)),
        Job::single("sessions/line-discipline", |setup| session(setup, line_discipline)),
        Job::single("sessions/shell-editing", |setup| session(setup, shell_editing)),
        Job::single("sessions/vi", |setup| session(setup, vi)),
        Job::single("sessions/top-and-less", |setup| session(setup, top_and_less)),
    ]
}

/// Boots to a shell, does `work` there and ends the shell with a status that must come back.
fn session(setup: &Setup, work: fn(&mut Console) -> Result<()>) -> Result<()> {
    // Wide, so that the shell does not break the lines that are typed.
    let terminal = Terminal { kind: "vt100".to_owned(), size: Some((200, 24)) };
    let content = initramfs::for_job(setup.architecture, setup.system, &setup.packages, &Task::Shell, &terminal)?;
    let initrd = TemporaryFile::new("session.cpio", &content)?;
    let mut console = Console::start(&setup.machine(initrd.path().to_path_buf()))?;
    console.expect(PROMPT, Duration::from_secs(60))?;
    work(&mut console)?;
    console.send("\nexit 5\n")?;
    match console.finish(PATIENCE)? {
        Outcome::Exited(5) => Ok(()),
        other => bail!("the machine ended otherwise than by `exit 5`: {other:?}"),
    }
}

/// Runs a command line that prints `marker` when it is over, and gives what it printed. The marker is typed in two
/// halves, so that the echo of the typing is not taken for it.
fn command(console: &mut Console, line: &str) -> Result<String> {
    console.send(&format!("{line}; echo EN''D $?\n"))?;
    console.expect("\r\n", PATIENCE)?;
    let output = console.expect("END ", PATIENCE)?;
    let status = console.expect("\r\n", PATIENCE)?;
    console.expect(PROMPT, PATIENCE)?;
    Ok(format!("{output}{status}"))
}

fn check(console: &mut Console, line: &str, expected: &str) -> Result<()> {
    let found = command(console, line)?;
    ensure!(found == expected, "`{line}` gave {found:?}, expected {expected:?}");
    Ok(())
}

fn interrupt(console: &mut Console) -> Result<()> {
    check(console, "echo hello", "hello\n0")?;
    console.send("sleep 1000\n")?;
    std::thread::sleep(Duration::from_millis(700));
    console.send(CTRL_C)?;
    console.expect(PROMPT, PATIENCE)?;
    check(console, "echo after $?", "after 130\n0")?;
    console.send("cat\n")?;
    std::thread::sleep(Duration::from_millis(700));
    console.send("some text\n")?;
    console.expect("some text\r\nsome text\r\n", PATIENCE)?;
    console.send(CTRL_D)?;
    console.expect(PROMPT, PATIENCE)?;
    console.send("sleep 1000\n")?;
    std::thread::sleep(Duration::from_millis(700));
    console.send(CTRL_BACKSLASH)?;
    console.expect(PROMPT, PATIENCE)?;
    check(console, "echo after $?", "after 131\n0")?;
    // A loop in the shell itself, and a pipeline, end together.
    console.send("while :; do :; done\n")?;
    std::thread::sleep(Duration::from_millis(700));
    console.send(CTRL_C)?;
    console.expect(PROMPT, PATIENCE)?;
    console.send("yes | cat | cat > /dev/null\n")?;
    std::thread::sleep(Duration::from_millis(700));
    console.send(CTRL_C)?;
    console.expect(PROMPT, PATIENCE)?;
    check(console, "trap 'echo caught' INT; kill -INT $$; trap - INT", "caught\n0")
}

fn job_control(console: &mut Console) -> Result<()> {
    console.send("sleep 1000\n")?;
    std::thread::sleep(Duration::from_millis(700));
    console.send(CTRL_Z)?;
    console.expect("Stopped", PATIENCE)?;
    console.expect(PROMPT, PATIENCE)?;
    let jobs = command(console, "jobs")?;
    ensure!(jobs.contains("[1]+") && jobs.contains("Stopped") && jobs.contains("sleep 1000"), "jobs said {jobs:?}");
    console.send("bg\n")?;
    console.expect("sleep 1000", PATIENCE)?;
    console.expect(PROMPT, PATIENCE)?;
    let jobs = command(console, "jobs")?;
    ensure!(jobs.contains("Running"), "after bg, jobs said {jobs:?}");
    console.send("fg\n")?;
    console.expect("sleep 1000", PATIENCE)?;
    std::thread::sleep(Duration::from_millis(700));
    console.send(CTRL_C)?;
    console.expect(PROMPT, PATIENCE)?;
    check(console, "jobs", "0")?;
    // Whoever reads the terminal in the background is stopped.
    console.send("cat &\n")?;
    console.expect(PROMPT, PATIENCE)?;
    std::thread::sleep(Duration::from_millis(700));
    let jobs = command(console, "jobs")?;
    ensure!(jobs.contains("Stopped (tty input)"), "a background reader: jobs said {jobs:?}");
    console.send("fg\n")?;
    console.expect("cat", PATIENCE)?;
    std::thread::sleep(Duration::from_millis(700));
    console.send("to the foreground\n")?;
    console.expect("to the foreground\r\nto the foreground\r\n", PATIENCE)?;
    console.send(CTRL_D)?;
    console.expect(PROMPT, PATIENCE)?;
    check(console, "stty tostop; (echo written; echo done > /tmp/f) & sleep 1; jobs | grep -c 'tty output'; stty -tostop; kill -9 %1; wait", "1\n0").or_else(
        |_| check(console, "echo recovered", "recovered\n0"),
    )
}

fn line_discipline(console: &mut Console) -> Result<()> {
    console.send("head -n 1 | od -c\n")?;
    std::thread::sleep(Duration::from_millis(1000));
    // Erase with DEL, kill the line, quote the next character.
    console.send(&format!("wrong{CTRL_U}abx\x7fc\x16\x03\n"))?;
    console.expect("a   b   c 003  \\n", PATIENCE)?;
    console.expect(PROMPT, PATIENCE)?;
    check(console, "stty size", "24 200\n0")?;
    check(console, "stty -a | grep -o 'intr = ..;'", "intr = ^C;\n0")?;
    check(console, "stty rows 30 cols 100; stty size; stty rows 24 cols 200", "30 100\n0")?;
    check(console, "tty | cut -c1-8", "/dev/tty\n0")?;
    // Raw reading with a time-out, and of single keys.
    console.send("stty raw -echo min 0 time 5; dd bs=10 count=1 2>/dev/null | wc -c; stty sane\n")?;
    console.expect("stty sane\r\n", PATIENCE)?;
    console.expect("0\n", PATIENCE)?;
    console.expect(PROMPT, PATIENCE)?;
    console.send("read -s -n 1 key; echo \"key=$key\"\n")?;
    std::thread::sleep(Duration::from_millis(700));
    console.send("q")?;
    console.expect("key=q", PATIENCE)?;
    console.expect(PROMPT, PATIENCE)?;
    Ok(())
}

fn shell_editing(console: &mut Console) -> Result<()> {
    // Cursor left twice, insert; then history by the up key; then completion by the tab key.
    console.send("echo acd\x1b[D\x1b[Db\n")?;
    console.expect("\r\nabcd\r\n", PATIENCE)?;
    console.expect(PROMPT, PATIENCE)?;
    console.send("\x1b[A!\n")?;
    console.expect("\r\nabcd!\r\n", PATIENCE)?;
    console.expect(PROMPT, PATIENCE)?;
    check(console, "mkdir -p /tmp/unique-folder && cd /tmp", "0")?;
    console.send("cd uniq\t\n")?;
    console.expect("/tmp/unique-folder# ", PATIENCE)?;
    check(console, "pwd", "/tmp/unique-folder\n0")
}

fn vi(console: &mut Console) -> Result<()> {
    check(console, "cd /tmp; printf 'first line\\nsecond line\\nthird line\\n' > text", "0")?;
    console.send("vi text\n")?;
    console.expect("third line", PATIENCE)?;
    std::thread::sleep(Duration::from_millis(1000));
    // Delete a line, change a word, open a line, substitute, write and quit.
    for keys in ["jdd", "0cwTHIRD", ESCAPE, "onew text", ESCAPE, "ggx", ":%s/line/LINE/g\n", "yyp", "u", "GA!", ESCAPE]
    {
        console.send(keys)?;
        std::thread::sleep(Duration::from_millis(300));
    }
    console.send(":wq\n")?;
    console.expect(PROMPT, PATIENCE)?;
    check(console, "cat text", "irst LINE\nTHIRD LINE\nnew text!\n0")?;
    console.send("vi text\n")?;
    console.expect("new text!", PATIENCE)?;
    std::thread::sleep(Duration::from_millis(500));
    console.send(CTRL_Z)?;
    console.expect("Stopped", PATIENCE)?;
    console.expect(PROMPT, PATIENCE)?;
    console.send("fg\n")?;
    console.expect("new text!", PATIENCE)?;
    std::thread::sleep(Duration::from_millis(500));
    console.send(":q!\n")?;
    console.expect(PROMPT, PATIENCE)?;
    check(console, "wc -l < text", "3\n0")
}

fn top_and_less(console: &mut Console) -> Result<()> {
    console.send("top\n")?;
    console.expect("Mem:", PATIENCE)?;
    console.expect("COMMAND", PATIENCE)?;
    console.send("q")?;
    console.expect(PROMPT, PATIENCE)?;
    console.send("seq 100 | less\n")?;
    console.expect("20", PATIENCE)?;
    std::thread::sleep(Duration::from_millis(500));
    console.send("G")?;
    console.expect("100", PATIENCE)?;
    console.send("q")?;
    console.expect(PROMPT, PATIENCE)?;
    check(console, "echo over", "over\n0")
}
