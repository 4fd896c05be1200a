//! Files in memory.

use super::mmap;
use crate::raw;
use crate::runner::in_child;
use crate::system::{self, Mapping, Must, PAGE, READ_WRITE, worked};
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_READ};

/// A file without a name whose bytes say where they are.
fn temporary(name: &str, length: usize) -> i32 {
    let name = system::c(&format!("/tmp/conformance-{name}"));
    let descriptor = system::open(&name, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o600).must();
    let _ = system::unlink(&name);
    let bytes: Vec<u8> = (0..length).map(|index| (index / 16) as u8).collect();
    assert_eq!(system::write(descriptor, &bytes), Ok(length as isize));
    descriptor
}

fn map_file(descriptor: i32, length: usize, flags: i32) -> Mapping {
    Mapping::new(length, READ_WRITE, flags, descriptor).must()
}

pub(super) fn file_private() {
    let file = temporary("private", 3 * PAGE);
    let memory = map_file(file, 3 * PAGE, MAP_PRIVATE);
    memory.write(20, 99);
    let mut byte = [0u8];
    println!("{:?} file has {}", system::pread(file, &mut byte, 20), byte[0]);
    println!("{:?}", system::pwrite(file, &[77], PAGE as i64));
    println!("untouched page follows the file: {}", memory.read(PAGE));
}

pub(super) fn file_shared() {
    let file = temporary("shared", PAGE);
    let memory = map_file(file, PAGE, MAP_SHARED);
    memory.write(5, 55);
    let mut byte = [0u8];
    let outcome = system::pread(file, &mut byte, 5);
    println!("{outcome:?} {}", byte[0]);
    let _ = system::pwrite(file, &[66], 6);
    println!("{} {:?}", memory.read(6), memory.synchronize(0, PAGE, libc::MS_SYNC));
    println!(
        "{:?} {:?}",
        memory.synchronize(0, PAGE, libc::MS_SYNC | libc::MS_ASYNC),
        memory.synchronize(1, PAGE, libc::MS_SYNC)
    );
}

pub(super) fn beyond_end() {
    let file = temporary("end", 100);
    let memory = map_file(file, 2 * PAGE, MAP_SHARED);
    println!("tail is zero: {}", memory.read(200));
    println!("next page: {}", in_child(|| i32::from(memory.read(PAGE))));
    println!("{:?}", system::ftruncate(file, 2 * PAGE as i64));
    println!("after growing: {}", in_child(|| i32::from(memory.read(PAGE))));
    println!("{:?}", system::ftruncate(file, 0));
    println!("after shrinking: {}", in_child(|| i32::from(memory.read(0))));
}

pub(super) fn memfd_seals() {
    let descriptor = system::memfd_create(c"x", libc::MFD_ALLOW_SEALING).unwrap_or(-1);
    println!("{:?}", system::ftruncate(descriptor, 8192));
    println!("{:?}", system::fcntl(descriptor, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW));
    println!("{:?} {:?}", system::ftruncate(descriptor, 4096), system::ftruncate(descriptor, 16384));
    println!("{:?}", system::fcntl(descriptor, libc::F_GET_SEALS, 0));
    println!("{:?}", system::fcntl(descriptor, libc::F_ADD_SEALS, libc::F_SEAL_WRITE));
    println!(
        "{:?} {:?}",
        system::write(descriptor, b"a"),
        worked(mmap(0, PAGE, READ_WRITE, MAP_SHARED, descriptor, 0))
    );
    // Sealed against writing, a file is still shared for reading, and stays so.
    for seal in [libc::F_SEAL_WRITE, libc::F_SEAL_FUTURE_WRITE] {
        let sealed = system::memfd_create(c"y", libc::MFD_ALLOW_SEALING).unwrap_or(-1);
        println!("{:?} {:?}", system::ftruncate(sealed, 8192), system::fcntl(sealed, libc::F_ADD_SEALS, seal));
        println!("private {:?}", worked(mmap(0, PAGE, READ_WRITE, MAP_PRIVATE, sealed, 0)));
        println!("shared {:?}", worked(mmap(0, PAGE, READ_WRITE, MAP_SHARED, sealed, 0)));
        let shared = mmap(0, PAGE, PROT_READ, MAP_SHARED, sealed, 0);
        println!("to read {:?}", worked(shared));
        let address = shared.unwrap_or(0);
        println!("then to write {:?}", raw!(libc::SYS_mprotect, address, PAGE, READ_WRITE));
        println!("unmapped {:?}", raw!(libc::SYS_munmap, address, PAGE));
    }
}
