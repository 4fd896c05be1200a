//! Executing programs, good ones and hostile ones.

use super::flush;
use crate::runner::in_child;
use crate::system::{self, Strings};
use crate::{c, raw};
use std::ffi::CStr;

/// What the exec'd program prints.
pub fn print_state(words: &[String]) {
    println!("arguments {words:?}");
    let mut environment: Vec<_> = std::env::vars().filter(|(name, _)| name.starts_with("CASE_")).collect();
    environment.sort();
    println!("environment {environment:?}");
    let open: Vec<i32> = (3..20).filter(|descriptor| system::fcntl(*descriptor, libc::F_GETFD, 0).is_ok()).collect();
    println!("open {open:?}");
}

pub(super) fn exec(arguments: &[&str], environment: &[&str]) -> String {
    flush();
    in_child(|| {
        let strings = |texts: &[&str]| texts.iter().map(|text| c(text)).collect::<Vec<_>>();
        let (arguments, environment) = (strings(arguments), strings(environment));
        println!(
            "{:?}",
            system::execve(
                c"/proc/self/exe",
                arguments.iter().map(AsRef::as_ref),
                environment.iter().map(AsRef::as_ref)
            )
        );
        99
    })
}

pub(super) fn exec_arguments() {
    println!("{}", exec(&["x", "--process-state", "", "a b", "ü"], &["CASE_A=1", "CASE_B=", "CASE_A=2"]));
    let long = "y".repeat(100_000);
    println!("{}", exec(&["x", "--process-state"], &[&format!("CASE={long}")]));
    let too_long = "y".repeat(140_000);
    println!("{}", exec(&["x", "--process-state", &too_long], &[]));
    let many: Vec<&str> = std::iter::repeat_n("0123456789012345678901234567890123456789", 60_000).collect();
    println!("{}", exec(&many, &[]));
}

pub(super) fn exec_errors() {
    let try_exec = |path: &str| {
        let path = c(path);
        // Linux takes no list at all for an empty one.
        raw!(libc::SYS_execve, &path, &Strings::new([path.as_c_str()]), 0)
    };
    std::fs::write("/tmp/conformance-text", "hello").ok();
    println!(
        "missing {:?} directory {:?} not executable {:?}",
        try_exec("/nowhere"),
        try_exec("/tmp"),
        try_exec("/tmp/conformance-text")
    );
    let _ = system::chmod(c"/tmp/conformance-text", 0o755);
    println!(
        "text {:?} below a file {:?} empty {:?}",
        try_exec("/tmp/conformance-text"),
        try_exec("/tmp/conformance-text/x"),
        try_exec("")
    );
    std::fs::write("/tmp/conformance-text", "").ok();
    println!("empty file {:?}", try_exec("/tmp/conformance-text"));
    let loops = c("/tmp/conformance-loop");
    let _ = system::symlink(&loops, &loops);
    println!("loop {:?} long {:?}", try_exec("/tmp/conformance-loop"), try_exec(&"a".repeat(300)));
    println!(
        "bad pointers {:?} {:?}",
        raw!(libc::SYS_execve, 8, 0, 0),
        raw!(libc::SYS_execve, c"/proc/self/exe", 8, 0)
    );
    let _ = system::unlink(&loops);
    let _ = system::unlink(c"/tmp/conformance-text");
}

pub(super) fn script(name: &str, text: &[u8], mode: u32) {
    let path = format!("/tmp/conformance-{name}");
    let _ = std::fs::write(&path, text);
    let _ = system::chmod(&c(&path), mode);
}

pub(super) fn exec_script() {
    let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let own = own.to_string_lossy();
    script("one", format!("#!{own} --process-state\nrest").as_bytes(), 0o755);
    script("two", format!("#! {own}   --process-state x  \n").as_bytes(), 0o755);
    script("nested", b"#!/tmp/conformance-one\n", 0o755);
    script("loop", b"#!/tmp/conformance-loop\n", 0o755);
    script("missing", b"#!/nowhere\n", 0o755);
    script("blank", b"#!   \n", 0o755);
    for name in ["one", "two", "nested", "loop", "missing", "blank"] {
        let path = c(&format!("/tmp/conformance-{name}"));
        println!(
            "{name}: {}",
            in_child(|| {
                println!("{:?}", system::execve(&path, [c"zero", c"first"], []));
                1
            })
        );
        let _ = system::unlink(&path);
    }
}

pub(super) fn exec_closes() {
    println!(
        "{}",
        in_child(|| {
            (3..20).for_each(|descriptor| _ = system::close(descriptor));
            let _ = system::open(c"/", libc::O_RDONLY, 0);
            let _ = system::open(c"/", libc::O_RDONLY | libc::O_CLOEXEC, 0);
            let _ = system::dup2(3, 10);
            let _ = system::dup3(3, 11, libc::O_CLOEXEC);
            let _ = system::execve(c"/proc/self/exe", [c"x", c"--process-state"], []);
            1
        })
    );
}

pub(super) fn hostile_elf() {
    let own = std::fs::read("/proc/self/exe").unwrap_or_default();
    let mut header = own.get(..4096).unwrap_or_default().to_vec();
    let machine_offset = 18;
    let mut variants: Vec<(&str, Vec<u8>)> =
        vec![("truncated header", header[..40].to_vec()), ("only a header", header[..64].to_vec())];
    let mut change = |name: &'static str, at: usize, bytes: &[u8]| {
        let mut copy = header.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        variants.push((name, copy));
    };
    change("wrong machine", machine_offset, &[0xf3, 0]);
    change("wrong type", 16, &[9, 0]);
    change("headers far away", 32, &u64::MAX.to_le_bytes());
    change("no headers", 56, &[0, 0]);
    change("many headers", 56, &[0xff, 0xff]);
    change("odd header size", 54, &[3, 0]);
    header.truncate(4096);
    for (name, bytes) in variants {
        script("elf", &bytes, 0o755);
        let path = c("/tmp/conformance-elf");
        println!(
            "{name}: {}",
            in_child(|| {
                println!("{:?}", system::execve(&path, [path.as_c_str()], []));
                1
            })
        );
        let _ = system::unlink(&path);
    }
}

pub(super) fn auxiliary_vector() {
    for (name, kind) in [
        ("PAGESZ", libc::AT_PAGESZ),
        ("CLKTCK", libc::AT_CLKTCK),
        ("PHENT", libc::AT_PHENT),
        ("UID", libc::AT_UID),
        ("EGID", libc::AT_EGID),
        ("SECURE", libc::AT_SECURE),
        ("FLAGS", libc::AT_FLAGS),
    ] {
        println!("{name} {}", system::auxiliary(kind));
    }
    for (name, kind) in [
        ("PHDR", libc::AT_PHDR),
        ("ENTRY", libc::AT_ENTRY),
        ("RANDOM", libc::AT_RANDOM),
        ("EXECFN", libc::AT_EXECFN),
        ("PLATFORM", libc::AT_PLATFORM),
        ("SYSINFO_EHDR", libc::AT_SYSINFO_EHDR),
    ] {
        println!("{name} {}", system::auxiliary(kind) != 0);
    }
    println!("{}", system::platform());
}

/// What `execveat` says without leaving the program.
pub(super) fn execveat() {
    let link = c"/tmp/conformance-link";
    println!("{:?}", system::symlink(c"/proc/self/exe", link));
    let none = Strings::new([]);
    let attempt = |directory: i32, path: Option<&CStr>, flags: i32| {
        println!("{:?}", raw!(libc::SYS_execveat, directory, path, &none, &none, flags));
    };
    for directory in [libc::AT_FDCWD, 99] {
        attempt(directory, Some(link), libc::AT_SYMLINK_NOFOLLOW);
        attempt(directory, Some(c"/tmp"), 0);
        attempt(directory, Some(c"/tmp/none"), 0);
        attempt(directory, Some(c"none"), 0);
        attempt(directory, Some(c""), libc::AT_EMPTY_PATH);
        attempt(directory, Some(c""), 0);
        attempt(directory, None, libc::AT_EMPTY_PATH);
        attempt(directory, Some(c"/proc/self/exe"), 0xffff);
    }
    println!("{:?}", system::unlink(link));
}
