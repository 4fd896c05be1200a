//! Memory: mappings, protection and its signals, copy-on-write, shared memory, remapping.

use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use ashlar_user::system::{self, Delivery, Errno, Mapping, Must, PAGE, READ_WRITE};
use ashlar_user::{Checks, raw};

/// `si_code` and `si_addr` of the last fault, and how often one came.
static CODE: AtomicI32 = AtomicI32::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static FAULTS: AtomicI32 = AtomicI32::new(0);

fn main() -> ExitCode {
    let mut checks = Checks::new();
    mappings(&mut checks);
    faults(&mut checks);
    fork_copies(&mut checks);
    remapping(&mut checks);
    checks.finish()
}

fn mappings(checks: &mut Checks) {
    let area = Mapping::private(4);
    checks.that("fresh memory is zero", (0..4 * PAGE).all(|offset| area.read(offset) == 0));
    area.write(0, 1);
    area.write(3 * PAGE, 4);
    checks.equal("munmap of a page inside", area.unmap(PAGE, PAGE), Ok(0));
    checks.equal("its neighbours stay", (area.read(0), area.read(3 * PAGE)), (1, 4));
    checks.fails("mincore over the hole", area.resident(0, &mut [0; 4]), libc::ENOMEM);
    checks.fails("munmap of an odd address", area.unmap(1, PAGE), libc::EINVAL);
    checks.equal("madvise DONTNEED", area.advise(0, PAGE, libc::MADV_DONTNEED), Ok(0));
    checks.equal("which zeroes", area.read(0), 0);
    checks.equal("munmap of all", area.unmap(0, 4 * PAGE), Ok(0));
    let map = |length: usize, kind: i32| Mapping::new(length, READ_WRITE, kind, -1).err();
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    checks.that("mmap of nothing", map(0, anonymous) == Some(Errno(libc::EINVAL)));
    checks.that("mmap neither private nor shared", map(PAGE, libc::MAP_ANONYMOUS) == Some(Errno(libc::EINVAL)));
    checks.that("mmap of too much", map(1 << 47, anonymous) == Some(Errno(libc::ENOMEM)));
}

/// Notes the fault and lets the access succeed, so that the program goes on.
fn on_fault(delivery: &mut Delivery<'_>) {
    FAULTS.fetch_add(1, Ordering::Relaxed);
    CODE.store(delivery.code(), Ordering::Relaxed);
    let address = delivery.address();
    ADDRESS.store(address, Ordering::Relaxed);
    // The page belongs to the area of the test.
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    let _ = raw!(libc::SYS_mmap, address & !(PAGE - 1), PAGE, READ_WRITE, kind, -1, 0);
}

fn faults(checks: &mut Checks) {
    system::install(libc::SIGSEGV, on_fault, 0);
    let area = Mapping::anonymous(2, libc::PROT_READ, libc::MAP_PRIVATE);
    area.write(5, 1);
    checks.equal("write to read-only: code", CODE.load(Ordering::Relaxed), 2);
    checks.that("write to read-only: address", ADDRESS.load(Ordering::Relaxed) == area.at(5));
    let _ = area.unmap(PAGE, PAGE);
    checks.equal("read of nothing: value", area.read(PAGE + 9), 0);
    checks.equal("read of nothing: code", CODE.load(Ordering::Relaxed), 1);
    checks.that("read of nothing: address", ADDRESS.load(Ordering::Relaxed) == area.at(PAGE + 9));
    checks.equal("two faults", FAULTS.load(Ordering::Relaxed), 2);
    checks.equal("mprotect", area.protect(0, PAGE, libc::PROT_NONE), Ok(0));
    checks.equal("read of PROT_NONE", area.read(0), 0);
    checks.equal("three faults", FAULTS.load(Ordering::Relaxed), 3);
}

fn fork_copies(checks: &mut Checks) {
    let (private, shared) = (Mapping::private(3), Mapping::shared(1));
    private.write(0, 1);
    shared.write(0, 1);
    let child = system::fork(|| {
        private.write(0, 2);
        private.write(PAGE, 2);
        shared.write(0, 2);
        i32::from(private.read(0))
    });
    let mut status = 0;
    let _ = system::waitpid(child, &mut status, 0);
    checks.equal("the child saw its own write", libc::WEXITSTATUS(status), 2);
    checks.equal("private memory is not shared", (private.read(0), private.read(PAGE)), (1, 0));
    checks.equal("shared memory is", shared.read(0), 2);
}

fn remapping(checks: &mut Checks) {
    let area = Mapping::private(2);
    area.write(0, 9);
    let larger = area.remap(64 * PAGE, libc::MREMAP_MAYMOVE);
    checks.that("mremap grows", larger.length() == 64 * PAGE);
    checks.equal("content moves along", (larger.read(0), larger.read(63 * PAGE)), (9, 0));
    let place = larger.start();
    let smaller = larger.remap(PAGE, 0);
    checks.that("mremap shrinks in place", smaller.start() == place);
    checks.equal("content stays", smaller.read(0), 9);
    let heap = system::Heap::end().must();
    let grown = heap.grow(3 * PAGE);
    checks.that("brk grows", grown.is_ok());
    if let Ok(grown) = grown {
        grown.write(2 * PAGE, 7);
        checks.equal("brk memory works", grown.read(2 * PAGE), 7);
    }
}
