//! Mounts and another root.

use super::{enter, must_open, open, shape};
use crate::runner::in_child;
use crate::system::{self, Must};
use libc::{O_CREAT, O_RDONLY};

pub(super) fn mounts() {
    enter();
    println!(
        "{}",
        in_child(|| {
            let _ = system::unshare(libc::CLONE_NEWNS);
            let _ = system::mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None);
            std::fs::create_dir("m").must();
            std::fs::write("m/below", "").must();
            println!("{:?}", system::mount(Some(c"none"), c"m", Some(c"tmpfs"), 0, Some(c"size=64k")));
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
            println!("{:?} {:?}", system::rmdir(c"m"), system::rename(c"m", c"n"));
            let busy = must_open("m/big", O_RDONLY);
            println!("{:?}", system::umount2(c"m", 0));
            let _ = system::close(busy);
            println!("{:?} {:?}", system::link(c"m/big", c"x"), system::rename(c"m/big", c"x"));
            println!(
                "{:?} {:?}",
                system::mount(Some(c"none"), c"m", Some(c"tmpfs"), libc::MS_REMOUNT | libc::MS_RDONLY, None),
                open("m/new", O_CREAT, 0o600)
            );
            println!("{:?} {:?}", system::umount2(c"m", 0), shape("m/below"));
            println!(
                "{:?} {:?}",
                system::umount2(c"m", 0),
                system::mount(Some(c"none"), c"m", Some(c"nonsense"), 0, None)
            );
            println!("{:?} {:?}", system::mount(Some(c"m"), c"m", None, libc::MS_BIND, None), shape("m/below"));
            println!("{:?}", system::umount2(c"m", libc::MNT_DETACH));
            0
        })
    );
}

pub(super) fn chroot() {
    enter();
    std::fs::create_dir_all("jail/inside").must();
    println!(
        "{}",
        in_child(|| {
            println!("{:?} {:?}", system::chroot(c"jail"), system::chdir(c"/"));
            println!("{:?} {}", std::env::current_dir(), shape("/../../inside"));
            println!("{:?}", open("/etc", O_RDONLY, 0));
            0
        })
    );
}
