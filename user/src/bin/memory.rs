//! Memory: mappings, protection and its signals, copy-on-write, shared memory, remapping.

#![allow(unsafe_code, reason = "system calls through libc, and deliberate wild accesses")]

use std::process::ExitCode;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use ashlar_user::Checks;

const PAGE: usize = 4096;

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

/// Anonymous memory.
fn map(pages: usize, protection: i32, kind: i32) -> *mut u8 {
    // SAFETY: a new mapping, wherever there is room.
    unsafe { libc::mmap(null_mut(), pages * PAGE, protection, kind | libc::MAP_ANONYMOUS, -1, 0) }.cast()
}

fn mappings(checks: &mut Checks) {
    let both = libc::PROT_READ | libc::PROT_WRITE;
    let area = map(4, both, libc::MAP_PRIVATE);
    // SAFETY: the four pages are ours; what follows unmaps one of them and does not touch that.
    unsafe {
        checks.that("fresh memory is zero", (0..4 * PAGE).all(|offset| area.add(offset).read() == 0));
        area.write(1);
        area.add(3 * PAGE).write(4);
        checks.equal("munmap of a page inside", libc::munmap(area.add(PAGE).cast(), PAGE), 0);
        checks.equal("its neighbours stay", (area.read(), area.add(3 * PAGE).read()), (1, 4));
        checks.fails(
            "mincore over the hole",
            libc::mincore(area.cast(), 4 * PAGE, [0_u8; 4].as_mut_ptr()),
            libc::ENOMEM,
        );
        checks.fails("munmap of an odd address", libc::munmap(area.add(1).cast(), PAGE), libc::EINVAL);
        checks.equal("madvise DONTNEED", libc::madvise(area.cast(), PAGE, libc::MADV_DONTNEED), 0);
        checks.equal("which zeroes", area.read(), 0);
        checks.equal("munmap of all", libc::munmap(area.cast(), 4 * PAGE), 0);
        let nothing = libc::mmap(null_mut(), 0, both, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        checks.that("mmap of nothing", nothing == libc::MAP_FAILED && ashlar_user::last_errno() == libc::EINVAL);
        let neither = libc::mmap(null_mut(), PAGE, both, libc::MAP_ANONYMOUS, -1, 0);
        checks.that(
            "mmap neither private nor shared",
            neither == libc::MAP_FAILED && ashlar_user::last_errno() == libc::EINVAL,
        );
        let huge = libc::mmap(null_mut(), 1 << 47, both, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        checks.that("mmap of too much", huge == libc::MAP_FAILED && ashlar_user::last_errno() == libc::ENOMEM);
    }
}

/// Notes the fault and lets the access succeed, so that the program goes on.
extern "C" fn on_fault(_signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    FAULTS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel gives a valid siginfo for this fault; the page belongs to this test.
    unsafe {
        CODE.store((*information).si_code, Ordering::Relaxed);
        let address = (*information).si_addr() as usize;
        ADDRESS.store(address, Ordering::Relaxed);
        let page = address & !(PAGE - 1);
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        libc::mmap(page as *mut libc::c_void, PAGE, libc::PROT_READ | libc::PROT_WRITE, kind, -1, 0);
    }
}

fn faults(checks: &mut Checks) {
    // SAFETY: a handler with the three-argument form, as SA_SIGINFO says; the accesses below hit the test's own area.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSEGV, &raw const action, null_mut());
        let area = map(2, libc::PROT_READ, libc::MAP_PRIVATE);
        area.add(5).write_volatile(1);
        checks.equal("write to read-only: code", CODE.load(Ordering::Relaxed), 2);
        checks.that("write to read-only: address", ADDRESS.load(Ordering::Relaxed) == area as usize + 5);
        libc::munmap(area.add(PAGE).cast(), PAGE);
        checks.equal("read of nothing: value", area.add(PAGE + 9).read_volatile(), 0);
        checks.equal("read of nothing: code", CODE.load(Ordering::Relaxed), 1);
        checks.that("read of nothing: address", ADDRESS.load(Ordering::Relaxed) == area as usize + PAGE + 9);
        checks.equal("two faults", FAULTS.load(Ordering::Relaxed), 2);
        checks.equal("mprotect", libc::mprotect(area.cast(), PAGE, libc::PROT_NONE), 0);
        checks.equal("read of PROT_NONE", area.read_volatile(), 0);
        checks.equal("three faults", FAULTS.load(Ordering::Relaxed), 3);
    }
}

fn fork_copies(checks: &mut Checks) {
    let both = libc::PROT_READ | libc::PROT_WRITE;
    let (private, shared) = (map(3, both, libc::MAP_PRIVATE), map(1, both, libc::MAP_SHARED));
    // SAFETY: one thread; both areas stay mapped; the child only writes to them and ends.
    unsafe {
        private.write(1);
        shared.write(1);
        let child = libc::fork();
        if child == 0 {
            private.write(2);
            private.add(PAGE).write(2);
            shared.write(2);
            libc::_exit(i32::from(private.read()));
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        checks.equal("the child saw its own write", libc::WEXITSTATUS(status), 2);
        checks.equal("private memory is not shared", (private.read(), private.add(PAGE).read()), (1, 0));
        checks.equal("shared memory is", shared.read_volatile(), 2);
    }
}

fn remapping(checks: &mut Checks) {
    let area = map(2, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
    // SAFETY: the area is ours, and after a move only the new place is touched.
    unsafe {
        area.write(9);
        let larger = libc::mremap(area.cast(), 2 * PAGE, 64 * PAGE, libc::MREMAP_MAYMOVE).cast::<u8>();
        checks.that("mremap grows", larger.cast() != libc::MAP_FAILED);
        checks.equal("content moves along", (larger.read(), larger.add(63 * PAGE).read()), (9, 0));
        let smaller = libc::mremap(larger.cast(), 64 * PAGE, PAGE, 0).cast::<u8>();
        checks.that("mremap shrinks in place", smaller == larger);
        checks.equal("content stays", smaller.read(), 9);
        let heap = libc::sbrk(0).cast::<u8>();
        checks.that("brk grows", libc::sbrk(3 * 4096).cast::<u8>() == heap);
        heap.add(2 * PAGE).write(7);
        checks.equal("brk memory works", heap.add(2 * PAGE).read(), 7);
    }
}
