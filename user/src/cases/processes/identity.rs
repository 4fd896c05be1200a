//! Groups, sessions, credentials, capabilities.

use crate::runner::in_child;
use crate::{call, raw, worked};

pub(super) fn groups() {
    println!(
        "{}",
        in_child(|| {
            let own = unsafe { libc::getpid() };
            println!("{:?}", call!(setpgid(0, 0)));
            println!("leader {}", unsafe { libc::getpgrp() } == own);
            println!("setsid as leader {:?}", call!(setsid()));
            println!("{:?} {:?}", call!(setpgid(0, -1)), call!(setpgid(0x3fff_ffff, 0)));
            println!(
                "{}",
                in_child(|| {
                    println!("in parent's group {}", unsafe { libc::getpgrp() } == own);
                    println!("{:?}", worked(call!(setsid())));
                    println!("{}", unsafe { libc::getsid(0) == libc::getpid() && libc::getpgrp() == libc::getpid() });
                    println!("{:?} {:?}", call!(setpgid(0, 0)), call!(setpgid(0, own)));
                    0
                })
            );
            println!("{:?} {:?}", call!(getsid(0x3fff_ffff)), call!(getpgid(0x3fff_ffff)));
            0
        })
    );
}

pub(super) fn credentials() {
    let ids = || {
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        unsafe { libc::getresuid(&mut real, &mut effective, &mut saved) };
        let (mut greal, mut geffective, mut gsaved) = (0, 0, 0);
        unsafe { libc::getresgid(&mut greal, &mut geffective, &mut gsaved) };
        println!("{real} {effective} {saved} / {greal} {geffective} {gsaved}");
    };
    println!(
        "{}",
        in_child(|| {
            ids();
            println!("{:?}", call!(setgroups(2, [5u32, 7].as_ptr())));
            let mut groups = [0u32; 8];
            println!("{:?} {:?}", call!(getgroups(8, groups.as_mut_ptr())), &groups[..2]);
            println!("{:?}", call!(getgroups(1, groups.as_mut_ptr())));
            println!("{:?}", call!(setresgid(100, 101, 102)));
            println!("{:?}", call!(setresuid(1000, 1001, 1002)));
            ids();
            println!("{:?} {:?} {:?}", call!(setuid(0)), call!(seteuid(1002)), call!(setresuid(0, 0, 0)));
            ids();
            println!("{:?} {:?}", call!(setgid(102)), call!(setgid(0)));
            ids();
            println!("{:?} {:?}", call!(setgroups(0, std::ptr::null())), call!(kill(1, 0)));
            println!("{:?}", call!(chown(c"/tmp".as_ptr(), 1000, 1000)));
            println!("{:?}", call!(sethostname(c"x".as_ptr(), 1)));
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            println!("{:?}", call!(setuid(1000)));
            ids();
            println!("{:?}", call!(setreuid(0, 0)));
            0
        })
    );
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Debug)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn capability_sets() -> [CapabilityData; 2] {
    let mut header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
    let mut data = [CapabilityData::default(), CapabilityData::default()];
    let _ = raw!(libc::SYS_capget, &raw mut header, data.as_mut_ptr());
    data
}

pub(super) fn capabilities() {
    println!(
        "{}",
        in_child(|| {
            let low = |data: &[CapabilityData; 2]| {
                format!("{:x} {:x} {:x}", data[0].effective, data[0].permitted, data[0].inheritable)
            };
            let mut header = CapabilityHeader { version: 7, pid: 0 };
            println!("{:?} {:x}", raw!(libc::SYS_capget, &raw mut header, 0), header.version);
            let mut header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
            let some = [CapabilityData { effective: 1, permitted: 3, inheritable: 2 }, CapabilityData::default()];
            println!("{:?} {}", raw!(libc::SYS_capset, &raw mut header, some.as_ptr()), low(&capability_sets()));
            let more = [CapabilityData { effective: 4, permitted: 7, inheritable: 0 }, CapabilityData::default()];
            println!("{:?} {}", raw!(libc::SYS_capset, &raw mut header, more.as_ptr()), low(&capability_sets()));
            println!(
                "{:?} {:?}",
                call!(sethostname(c"x".as_ptr(), 1)),
                call!(prctl(libc::PR_CAPBSET_READ, 21, 0, 0, 0))
            );
            println!("{:?}", call!(prctl(libc::PR_CAPBSET_DROP, 21, 0, 0, 0)));
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            println!("keep {:?} {:?}", call!(prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0)), call!(setuid(1000)));
            let sets = capability_sets();
            println!("{:x} {}", sets[0].effective, sets[0].permitted != 0);
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            println!(
                "{:?} {:?}",
                call!(prctl(libc::PR_CAPBSET_DROP, 10, 0, 0, 0)),
                call!(prctl(libc::PR_CAPBSET_READ, 10, 0, 0, 0))
            );
            println!("{:?}", call!(prctl(libc::PR_CAPBSET_READ, 99, 0, 0, 0)));
            0
        })
    );
}

pub(super) fn no_new_privileges() {
    println!(
        "{}",
        in_child(|| {
            println!("{:?}", call!(prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)));
            println!(
                "{:?} {:?}",
                call!(prctl(libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)),
                call!(prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
            );
            println!("{}", in_child(|| call!(prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)).unwrap_or(-1) as i32));
            0
        })
    );
}
