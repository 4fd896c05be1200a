//! Executing programs, good ones and hostile ones.

use super::flush;
use crate::runner::in_child;
use crate::{c, call, raw};

/// What the exec'd program prints.
pub fn print_state(words: &[String]) {
    println!("arguments {words:?}");
    let mut environment: Vec<_> = std::env::vars().filter(|(name, _)| name.starts_with("CASE_")).collect();
    environment.sort();
    println!("environment {environment:?}");
    let open: Vec<i32> =
        (3..20).filter(|descriptor| unsafe { libc::fcntl(*descriptor, libc::F_GETFD) } != -1).collect();
    println!("open {open:?}");
}

pub(super) fn exec(arguments: &[&str], environment: &[&str]) -> String {
    flush();
    in_child(|| {
        let arguments: Vec<_> = arguments.iter().map(|text| c(text)).collect();
        let environment: Vec<_> = environment.iter().map(|text| c(text)).collect();
        let vector = |strings: &[std::ffi::CString]| {
            strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        println!(
            "{:?}",
            call!(execve(c"/proc/self/exe".as_ptr(), vector(&arguments).as_ptr(), vector(&environment).as_ptr()))
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
        let arguments = [path.as_ptr(), std::ptr::null()];
        call!(execve(path.as_ptr(), arguments.as_ptr(), std::ptr::null()))
    };
    std::fs::write("/tmp/conformance-text", "hello").ok();
    println!(
        "missing {:?} directory {:?} not executable {:?}",
        try_exec("/nowhere"),
        try_exec("/tmp"),
        try_exec("/tmp/conformance-text")
    );
    let _ = call!(chmod(c"/tmp/conformance-text".as_ptr(), 0o755));
    println!(
        "text {:?} below a file {:?} empty {:?}",
        try_exec("/tmp/conformance-text"),
        try_exec("/tmp/conformance-text/x"),
        try_exec("")
    );
    std::fs::write("/tmp/conformance-text", "").ok();
    println!("empty file {:?}", try_exec("/tmp/conformance-text"));
    let loops = c("/tmp/conformance-loop");
    let _ = call!(symlink(loops.as_ptr(), loops.as_ptr()));
    println!("loop {:?} long {:?}", try_exec("/tmp/conformance-loop"), try_exec(&"a".repeat(300)));
    println!(
        "bad pointers {:?} {:?}",
        raw!(libc::SYS_execve, 8, 0, 0),
        raw!(libc::SYS_execve, c"/proc/self/exe".as_ptr(), 8, 0)
    );
    let _ = call!(unlink(loops.as_ptr()));
    let _ = call!(unlink(c"/tmp/conformance-text".as_ptr()));
}

pub(super) fn script(name: &str, text: &[u8], mode: u32) {
    let path = format!("/tmp/conformance-{name}");
    let _ = std::fs::write(&path, text);
    let _ = call!(chmod(c(&path).as_ptr(), mode));
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
                let arguments = [c"zero".as_ptr(), c"first".as_ptr(), std::ptr::null()];
                println!("{:?}", call!(execve(path.as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr())));
                1
            })
        );
        let _ = call!(unlink(path.as_ptr()));
    }
}

pub(super) fn exec_closes() {
    println!(
        "{}",
        in_child(|| {
            (3..20).for_each(|descriptor| unsafe {
                libc::close(descriptor);
            });
            let _ = call!(open(c"/".as_ptr(), libc::O_RDONLY));
            let _ = call!(open(c"/".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC));
            let _ = call!(dup2(3, 10));
            let _ = call!(dup3(3, 11, libc::O_CLOEXEC));
            let arguments = [c"x".as_ptr(), c"--process-state".as_ptr(), std::ptr::null()];
            let _ = call!(execve(c"/proc/self/exe".as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr()));
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
                let arguments = [path.as_ptr(), std::ptr::null()];
                println!("{:?}", call!(execve(path.as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr())));
                1
            })
        );
        let _ = call!(unlink(path.as_ptr()));
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
        println!("{name} {}", unsafe { libc::getauxval(kind) });
    }
    for (name, kind) in [
        ("PHDR", libc::AT_PHDR),
        ("ENTRY", libc::AT_ENTRY),
        ("RANDOM", libc::AT_RANDOM),
        ("EXECFN", libc::AT_EXECFN),
        ("PLATFORM", libc::AT_PLATFORM),
        ("SYSINFO_EHDR", libc::AT_SYSINFO_EHDR),
    ] {
        println!("{name} {}", unsafe { libc::getauxval(kind) } != 0);
    }
    println!(
        "{}",
        unsafe { std::ffi::CStr::from_ptr(libc::getauxval(libc::AT_PLATFORM) as *const _) }.to_string_lossy()
    );
}

/// What `execveat` says without leaving the program.
pub(super) fn execveat() {
    let link = c"/tmp/conformance-link";
    println!("{:?}", call!(symlink(c"/proc/self/exe".as_ptr(), link.as_ptr())));
    let none = [std::ptr::null::<libc::c_char>()];
    let attempt = |directory: i32, path: *const libc::c_char, flags: i32| {
        println!("{:?}", raw!(libc::SYS_execveat, directory, path, none.as_ptr(), none.as_ptr(), flags));
    };
    for directory in [libc::AT_FDCWD, 99] {
        attempt(directory, link.as_ptr(), libc::AT_SYMLINK_NOFOLLOW);
        attempt(directory, c"/tmp".as_ptr(), 0);
        attempt(directory, c"/tmp/none".as_ptr(), 0);
        attempt(directory, c"none".as_ptr(), 0);
        attempt(directory, c"".as_ptr(), libc::AT_EMPTY_PATH);
        attempt(directory, c"".as_ptr(), 0);
        attempt(directory, std::ptr::null(), libc::AT_EMPTY_PATH);
        attempt(directory, c"/proc/self/exe".as_ptr(), 0xffff);
    }
    println!("{:?}", call!(unlink(link.as_ptr())));
}
