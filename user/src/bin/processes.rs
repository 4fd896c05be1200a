//! Processes and threads: fork, exec, wait statuses, orphans, pipes between them.

use std::process::{Command, ExitCode};

use ashlar_user::Checks;
use ashlar_user::system::{self, Errno};

fn main() -> ExitCode {
    // Run again by ourselves below, to show that exec passes arguments and environment.
    if std::env::args().nth(1).as_deref() == Some("child") {
        let marked = std::env::var("MARK").is_ok_and(|value| value == "yes");
        return ExitCode::from(if marked { 42 } else { 1 });
    }
    let mut checks = Checks::new();
    wait_statuses(&mut checks);
    wait_errors(&mut checks);
    exec_again(&mut checks);
    threads(&mut checks);
    checks.finish()
}

fn wait_for(child: i32, options: i32) -> (Result<i32, Errno>, i32) {
    let mut status = 0;
    (system::waitpid(child, &mut status, options), status)
}

fn wait_statuses(checks: &mut Checks) {
    for code in [0, 1, 127, 255] {
        let child = system::fork(|| code);
        let (found, status) = wait_for(child, 0);
        checks.that("waitpid finds the child", found == Ok(child));
        checks.equal("exit status", (libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, code));
    }
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGUSR1] {
        let child = system::fork_idle();
        let _ = system::kill(child, signal);
        let (_, status) = wait_for(child, 0);
        checks.equal("death by signal", (libc::WIFSIGNALED(status), libc::WTERMSIG(status)), (true, signal));
    }
    let [waits, goes_on] = system::pipe();
    let child = system::fork(|| {
        let _ = system::raise(libc::SIGSTOP);
        // Or its end might come before the parent has looked, and hide that it was continued.
        let _ = system::read(waits, &mut [0]);
        7
    });
    let (_, status) = wait_for(child, libc::WUNTRACED);
    checks.equal("stopped", (libc::WIFSTOPPED(status), libc::WSTOPSIG(status)), (true, libc::SIGSTOP));
    let _ = system::kill(child, libc::SIGCONT);
    let (_, status) = wait_for(child, libc::WCONTINUED);
    checks.that("continued", libc::WIFCONTINUED(status));
    let _ = system::write(goes_on, b"!");
    let (_, status) = wait_for(child, 0);
    checks.equal("exit after being continued", libc::WEXITSTATUS(status), 7);
}

fn wait_errors(checks: &mut Checks) {
    checks.fails("waitpid without children", wait_for(-1, 0).0, libc::ECHILD);
    checks.fails("waitpid with unknown options", wait_for(-1, 0x40).0, libc::EINVAL);
    let child = system::fork_idle();
    checks.equal("WNOHANG with nothing to report", wait_for(child, libc::WNOHANG).0, Ok(0));
    let _ = system::kill(child, libc::SIGKILL);
    let _ = wait_for(child, 0);
    checks.fails("kill of nobody", system::kill(child, 0), libc::ESRCH);
    checks.fails("kill with a wrong signal", system::kill(system::getpid(), 1000), libc::EINVAL);
}

fn exec_again(checks: &mut Checks) {
    let Ok(own) = std::env::current_exe() else { return checks.that("current_exe", false) };
    let status = Command::new(&own).arg("child").env("MARK", "yes").status().ok().and_then(|status| status.code());
    checks.equal("exec with environment", status, Some(42));
    let missing = Command::new("/nonexistent/program").status().map_err(|error| error.raw_os_error());
    checks.equal("exec of nothing", missing.err(), Some(Some(libc::ENOENT)));
    let folder = Command::new("/").status().map_err(|error| error.raw_os_error());
    checks.equal("exec of a folder", folder.err(), Some(Some(libc::EACCES)));
}

fn threads(checks: &mut Checks) {
    let counter = std::sync::Arc::new(std::sync::Mutex::new(0_u32));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let counter = counter.clone();
            std::thread::spawn(move || {
                for _ in 0..1000 {
                    if let Ok(mut value) = counter.lock() {
                        *value += 1;
                    }
                }
            })
        })
        .collect();
    let joined = workers.into_iter().map(std::thread::JoinHandle::join).filter(Result::is_ok).count();
    checks.equal("threads joined", joined, 8);
    checks.equal("nothing lost under the mutex", counter.lock().map(|value| *value).ok(), Some(8000));
    let (sender, receiver) = std::sync::mpsc::channel();
    let worker = std::thread::spawn(move || receiver.iter().sum::<u64>());
    for number in 0..100_u64 {
        if sender.send(number).is_err() {
            break;
        }
    }
    drop(sender);
    checks.equal("sum through a channel", worker.join().ok(), Some(4950));
}
