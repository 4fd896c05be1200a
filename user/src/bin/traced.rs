//! Makes a known sequence of system calls, for the call tracer: what it writes about this program is compared with strace's lines.
//!
//! The calls between the two to `getpid` count; what the C library does before and after is its own affair. Calls go by their number, and
//! all of them exist on both machines.

use ashlar_user::raw;
use ashlar_user::system::{self, nothing};
use std::io::IoSlice;

const FILE: &std::ffi::CStr = c"/tmp/traced.file";
const HERE: i32 = libc::AT_FDCWD;

fn main() {
    let _ = std::fs::remove_file("/tmp/traced.file");
    let _ = std::fs::remove_dir_all("/tmp/traced.folder");
    let _ = std::fs::create_dir("/tmp/traced.folder");
    let _ = raw!(libc::SYS_getpid);
    files();
    folders();
    memory();
    signals();
    pipes();
    waiting();
    children();
    mistakes();
    let _ = raw!(libc::SYS_getpid);
}

fn files() {
    let mut buffer = [0_u8; 64];
    let open = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC;
    let file = raw!(libc::SYS_openat, HERE, FILE, open, 0o644).unwrap_or(-1);
    let content = b"a\"b\\\n\t\x01\x017\xff and so on, longer than what is shown of it";
    let _ = raw!(libc::SYS_write, file, &content[..], content.len());
    let _ = raw!(libc::SYS_lseek, file, 0, libc::SEEK_SET);
    let _ = raw!(libc::SYS_read, file, &mut buffer[..], 10);
    let _ = raw!(libc::SYS_pread64, file, &mut buffer[..], buffer.len(), 20);
    let _ = raw!(libc::SYS_lseek, file, 0, libc::SEEK_END);
    let _ = raw!(libc::SYS_read, file, &mut buffer[..], 10);
    let _ = system::writev(number(file), &[IoSlice::new(b"ab"), IoSlice::new(b"cde")]);
    let _ = raw!(libc::SYS_fstat, file, &mut buffer_of_status()[..]);
    let _ = raw!(libc::SYS_newfstatat, HERE, c"/dev/null", &mut buffer_of_status()[..], libc::AT_SYMLINK_NOFOLLOW);
    let _ = raw!(libc::SYS_newfstatat, HERE, c"/tmp/traced.missing", &mut buffer_of_status()[..], 0);
    let _ = raw!(libc::SYS_faccessat, HERE, FILE, libc::R_OK | libc::W_OK);
    let _ = raw!(libc::SYS_fchmodat, HERE, FILE, 0o600);
    let _ = raw!(libc::SYS_ftruncate, file, 3);
    let _ = raw!(libc::SYS_fcntl, file, libc::F_GETFL, 0);
    let _ = raw!(libc::SYS_fcntl, file, libc::F_GETFD, 0);
    let _ = raw!(libc::SYS_fcntl, file, libc::F_SETFD, 0);
    let _ = raw!(libc::SYS_fcntl, file, libc::F_SETFL, libc::O_APPEND);
    let _ = raw!(libc::SYS_fcntl, file, libc::F_DUPFD_CLOEXEC, 20);
    let _ = raw!(libc::SYS_dup3, file, 21, libc::O_CLOEXEC);
    let _ = raw!(libc::SYS_ioctl, file, 0x1234, 0);
    let _ = raw!(libc::SYS_close, 20);
    let _ = raw!(libc::SYS_close, 21);
    let _ = raw!(libc::SYS_close, file);
    let _ = raw!(libc::SYS_close, file);
}

fn folders() {
    let mut buffer = [0_u64; 128];
    let _ = raw!(libc::SYS_mkdirat, HERE, c"/tmp/traced.folder/inner", 0o755);
    let _ = raw!(libc::SYS_symlinkat, c"inner", HERE, c"/tmp/traced.folder/link");
    let _ = raw!(libc::SYS_readlinkat, HERE, c"/tmp/traced.folder/link", &mut buffer[..], 64);
    let folder = raw!(libc::SYS_openat, HERE, c"/tmp/traced.folder", libc::O_DIRECTORY, 0).unwrap_or(-1);
    let _ = raw!(libc::SYS_getdents64, folder, &mut buffer[..], 1024);
    let _ = raw!(libc::SYS_getdents64, folder, &mut buffer[..], 1024);
    let _ = raw!(libc::SYS_close, folder);
    let _ = raw!(libc::SYS_unlinkat, HERE, c"/tmp/traced.folder/inner", libc::AT_REMOVEDIR);
    let _ = raw!(libc::SYS_unlinkat, HERE, c"/tmp/traced.folder/link", 0);
}

fn memory() {
    let mapping = system::Mapping::private(2);
    let _ = mapping.protect(0, 4096, libc::PROT_NONE);
    let _ = mapping.protect(0, 4096, libc::PROT_READ | libc::PROT_EXEC);
    let _ = mapping.advise(0, 4096, libc::MADV_DONTNEED);
    drop(mapping);
    let _ = raw!(libc::SYS_mmap, 0, 0, 0x47, libc::MAP_SHARED | libc::MAP_FIXED, -1, 4096);
    let _ = raw!(libc::SYS_brk, 0);
    let mut limit = [0_u64; 2];
    let _ = raw!(libc::SYS_prlimit64, 0, 7, &[512_u64, 512][..], 0);
    let _ = raw!(libc::SYS_prlimit64, 0, 7, 0, &mut limit[..]);
    let _ = raw!(libc::SYS_prlimit64, 0, 99, 0, &mut limit[..]);
}

fn signals() {
    let mut set = [0_u64; 1];
    system::catch(libc::SIGUSR1, nothing);
    system::catch(libc::SIGCHLD, nothing);
    let _ = raw!(libc::SYS_rt_sigaction, libc::SIGUSR2, &[1_u64, 0, 0, 1 << 9][..], 0, 8);
    let _ = raw!(libc::SYS_rt_sigaction, libc::SIGKILL, &[1_u64, 0, 0, 0][..], 0, 8);
    let _ = raw!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &[1_u64 << 9 | 1 << 39][..], 0, 8);
    let process = raw!(libc::SYS_getpid).unwrap_or(0);
    let _ = raw!(libc::SYS_kill, process, libc::SIGUSR1);
    let _ = raw!(libc::SYS_rt_sigpending, &mut set[..], 8);
    let _ = raw!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &[0_u64][..], &mut set[..], 8);
    let _ = raw!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &[!0_u64][..], 0, 8);
    let _ = raw!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &[0_u64][..], &mut set[..], 8);
    let _ = raw!(libc::SYS_tgkill, process, process, 0);
}

fn pipes() {
    let mut ends = [0_i32; 2];
    let _ = raw!(libc::SYS_pipe2, &mut ends[..], libc::O_CLOEXEC | libc::O_NONBLOCK);
    let _ = raw!(libc::SYS_read, ends[0], &mut [0_u8; 8][..], 8);
    let polled = [u64::from(ends[1].cast_unsigned()) | 0x5 << 32];
    let _ = raw!(libc::SYS_ppoll, &polled[..], 1, &[0_i64, 0][..], 0, 0);
    let polled = [u64::from(ends[0].cast_unsigned()) | 0x1 << 32];
    let _ = raw!(libc::SYS_ppoll, &polled[..], 1, &[0_i64, 0][..], 0, 0);
    let epoll = raw!(libc::SYS_epoll_create1, libc::EPOLL_CLOEXEC).unwrap_or(-1);
    let _ = raw!(libc::SYS_epoll_ctl, epoll, libc::EPOLL_CTL_DEL, ends[0], 0);
    let _ = raw!(libc::SYS_close, epoll);
    let _ = raw!(libc::SYS_close, ends[0]);
    let _ = raw!(libc::SYS_close, ends[1]);
}

fn waiting() {
    let word = std::sync::atomic::AtomicU32::new(1);
    let _ = raw!(libc::SYS_futex, &word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
    let _ = raw!(libc::SYS_futex, &word, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 2, &[0_i64, 5][..]);
    let _ = raw!(libc::SYS_nanosleep, &[0_i64, 1000][..], 0);
    let _ = raw!(libc::SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &[1_i64, 0][..], 0);
    let _ = raw!(libc::SYS_umask, 0o22);
}

fn children() {
    let mut status = [0_i32; 1];
    // Blocked, the news of a child comes after the wait in every run.
    let _ = raw!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &[1_u64 << 16][..], 0, 8);
    for ends_by_signal in [false, true] {
        // `clone` with the flags of `fork`: their order of arguments does not matter, as all are 0.
        match raw!(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) {
            Ok(0) if ends_by_signal => {
                let process = raw!(libc::SYS_getpid).unwrap_or(0);
                let _ = raw!(libc::SYS_kill, process, libc::SIGKILL);
            }
            Ok(0) => system::exit_now(7),
            _ => {}
        }
        let _ = raw!(libc::SYS_wait4, -1, &mut status[..], 0, 0);
    }
    let _ = raw!(libc::SYS_wait4, -1, &mut status[..], libc::WNOHANG, 0);
    let _ = raw!(libc::SYS_rt_sigprocmask, libc::SIG_UNBLOCK, &[1_u64 << 16][..], 0, 8);
}

fn mistakes() {
    let _ = raw!(libc::SYS_openat, HERE, 1, 0, 0);
    let _ = raw!(libc::SYS_openat, HERE, 0, 0, 0);
    let _ = raw!(libc::SYS_read, 99, 8, 5);
    let _ = raw!(libc::SYS_pipe2, 1, 0);
    let _ = raw!(libc::SYS_fcntl, 0, 12345, 1);
    let _ = raw!(libc::SYS_rt_sigaction, libc::SIGUSR1, 16, 0, 8);
    let (arguments, variables) = (system::Strings::new([c"a", c"b c"]), system::Strings::new([c"A=1", c"B="]));
    let _ = raw!(libc::SYS_execve, c"/tmp/traced.missing", &arguments, &variables);
    let _ = raw!(5000, 1, 2, 3, 4, 5, 6);
    let _ = raw!(libc::SYS_unlinkat, HERE, FILE, 0);
}

/// Room for a status of either machine.
fn buffer_of_status() -> [u64; 18] {
    [0; 18]
}

fn number(descriptor: i64) -> i32 {
    i32::try_from(descriptor).unwrap_or(-1)
}
