//! Mounts and another root.

use super::{enter, must_open, open, shape};
use crate::call;
use crate::runner::in_child;
use libc::{O_CREAT, O_RDONLY};

pub(super) fn mounts() {
    enter();
    println!(
        "{}",
        in_child(|| {
            let _ = call!(unshare(libc::CLONE_NEWNS));
            let _ = call!(mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null()
            ));
            std::fs::create_dir("m").unwrap();
            std::fs::write("m/below", "").unwrap();
            println!(
                "{:?}",
                call!(mount(c"none".as_ptr(), c"m".as_ptr(), c"tmpfs".as_ptr(), 0, c"size=64k".as_ptr().cast()))
            );
            println!(
                "{} {}",
                shape("m/below"),
                std::fs::read_to_string("/proc/self/mounts")
                    .unwrap_or_default()
                    .lines()
                    .filter(|line| line.contains("/m tmpfs"))
                    .count()
            );
            println!("{:?}", std::fs::write("m/big", vec![1u8; 100_000]).map_err(|error| error.raw_os_error()));
            println!("{:?} {:?}", call!(rmdir(c"m".as_ptr())), call!(rename(c"m".as_ptr(), c"n".as_ptr())));
            let busy = must_open("m/big", O_RDONLY);
            println!("{:?}", call!(umount2(c"m".as_ptr(), 0)));
            let _ = call!(close(busy));
            println!(
                "{:?} {:?}",
                call!(link(c"m/big".as_ptr(), c"x".as_ptr())),
                call!(rename(c"m/big".as_ptr(), c"x".as_ptr()))
            );
            println!(
                "{:?} {:?}",
                call!(mount(
                    c"none".as_ptr(),
                    c"m".as_ptr(),
                    c"tmpfs".as_ptr(),
                    libc::MS_REMOUNT | libc::MS_RDONLY,
                    std::ptr::null()
                )),
                open("m/new", O_CREAT, 0o600)
            );
            println!("{:?} {:?}", call!(umount2(c"m".as_ptr(), 0)), shape("m/below"));
            println!(
                "{:?} {:?}",
                call!(umount2(c"m".as_ptr(), 0)),
                call!(mount(c"none".as_ptr(), c"m".as_ptr(), c"nonsense".as_ptr(), 0, std::ptr::null()))
            );
            println!(
                "{:?} {:?}",
                call!(mount(c"m".as_ptr(), c"m".as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null())),
                shape("m/below")
            );
            println!("{:?}", call!(umount2(c"m".as_ptr(), libc::MNT_DETACH)));
            0
        })
    );
}

pub(super) fn chroot() {
    enter();
    std::fs::create_dir_all("jail/inside").unwrap();
    println!(
        "{}",
        in_child(|| {
            println!("{:?} {:?}", call!(chroot(c"jail".as_ptr())), call!(chdir(c"/".as_ptr())));
            println!("{:?} {}", std::env::current_dir(), shape("/../../inside"));
            println!("{:?}", open("/etc", O_RDONLY, 0));
            0
        })
    );
}
