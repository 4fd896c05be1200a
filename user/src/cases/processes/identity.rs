//! Groups, sessions, credentials, capabilities.

use crate::runner::in_child;
use crate::{raw, system, worked};

pub(super) fn groups() {
    println!(
        "{}",
        in_child(|| {
            let own = system::getpid();
            println!("{:?}", system::setpgid(0, 0));
            println!("leader {}", system::getpgrp() == own);
            println!("setsid as leader {:?}", system::setsid());
            println!("{:?} {:?}", system::setpgid(0, -1), system::setpgid(0x3fff_ffff, 0));
            println!(
                "{}",
                in_child(|| {
                    println!("in parent's group {}", system::getpgrp() == own);
                    println!("{:?}", worked(system::setsid()));
                    println!("{}", system::getsid(0) == Ok(system::getpid()) && system::getpgrp() == system::getpid());
                    println!("{:?} {:?}", system::setpgid(0, 0), system::setpgid(0, own));
                    0
                })
            );
            println!("{:?} {:?}", system::getsid(0x3fff_ffff), system::getpgid(0x3fff_ffff));
            0
        })
    );
}

pub(super) fn credentials() {
    let ids = || {
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        let _ = system::getresuid(&mut real, &mut effective, &mut saved);
        let (mut greal, mut geffective, mut gsaved) = (0, 0, 0);
        let _ = system::getresgid(&mut greal, &mut geffective, &mut gsaved);
        println!("{real} {effective} {saved} / {greal} {geffective} {gsaved}");
    };
    println!(
        "{}",
        in_child(|| {
            ids();
            println!("{:?}", system::setgroups(&[5, 7]));
            let mut groups = [0u32; 8];
            println!("{:?} {:?}", system::getgroups(&mut groups), &groups[..2]);
            println!("{:?}", system::getgroups(&mut groups[..1]));
            println!("{:?}", system::setresgid(100, 101, 102));
            println!("{:?}", system::setresuid(1000, 1001, 1002));
            ids();
            println!("{:?} {:?} {:?}", system::setuid(0), system::seteuid(1002), system::setresuid(0, 0, 0));
            ids();
            println!("{:?} {:?}", system::setgid(102), system::setgid(0));
            ids();
            println!("{:?} {:?}", system::setgroups(&[]), system::kill(1, 0));
            println!("{:?}", system::chown(c"/tmp", 1000, 1000));
            println!("{:?}", system::sethostname(c"x"));
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            println!("{:?}", system::setuid(1000));
            ids();
            println!("{:?}", system::setreuid(0, 0));
            0
        })
    );
}

/// `struct __user_cap_header_struct`: the version, and the process (0 for this one).
type Header = [u32; 2];
/// The version with two structures of data.
const VERSION: u32 = 0x2008_0522;
/// Two of `struct __user_cap_data_struct`: what is effective, permitted, inheritable; the first holds capabilities 0 to 31.
type Sets = [[u32; 3]; 2];

fn capability_sets() -> Sets {
    let mut header: Header = [VERSION, 0];
    let mut data = Sets::default();
    let _ = raw!(libc::SYS_capget, &mut header, &mut data);
    data
}

pub(super) fn capabilities() {
    println!(
        "{}",
        in_child(|| {
            let low =
                |[[effective, permitted, inheritable], _]: Sets| format!("{effective:x} {permitted:x} {inheritable:x}");
            let mut header: Header = [7, 0];
            println!("{:?} {:x}", raw!(libc::SYS_capget, &mut header, 0), header[0]);
            let mut header: Header = [VERSION, 0];
            let some = [[1u32, 3, 2], [0; 3]];
            println!("{:?} {}", raw!(libc::SYS_capset, &mut header, &some), low(capability_sets()));
            let more = [[4u32, 7, 0], [0; 3]];
            println!("{:?} {}", raw!(libc::SYS_capset, &mut header, &more), low(capability_sets()));
            println!("{:?} {:?}", system::sethostname(c"x"), system::prctl(libc::PR_CAPBSET_READ, 21));
            println!("{:?}", system::prctl(libc::PR_CAPBSET_DROP, 21));
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            println!("keep {:?} {:?}", system::prctl(libc::PR_SET_KEEPCAPS, 1), system::setuid(1000));
            let sets = capability_sets();
            println!("{:x} {}", sets[0][0], sets[0][1] != 0);
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            println!("{:?} {:?}", system::prctl(libc::PR_CAPBSET_DROP, 10), system::prctl(libc::PR_CAPBSET_READ, 10));
            println!("{:?}", system::prctl(libc::PR_CAPBSET_READ, 99));
            0
        })
    );
}

pub(super) fn no_new_privileges() {
    println!(
        "{}",
        in_child(|| {
            println!("{:?}", system::prctl(libc::PR_GET_NO_NEW_PRIVS, 0));
            println!(
                "{:?} {:?}",
                system::prctl(libc::PR_SET_NO_NEW_PRIVS, 0),
                system::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
            );
            println!("{}", in_child(|| system::prctl(libc::PR_GET_NO_NEW_PRIVS, 0).unwrap_or(-1)));
            0
        })
    );
}
