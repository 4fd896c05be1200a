//! Addresses where no memory of any program can be: accesses to them harm nobody, and the kernel must answer each with a signal.
#![allow(unsafe_code, reason = "accesses that fault on purpose")]

/// Nothing is ever mapped below: the kernel's `vm.mmap_min_addr`.
const LOWEST: usize = 0x1_0000;
/// The end of user space with tables of four levels.
#[cfg(target_arch = "x86_64")]
const END: usize = 1 << 47;
/// The end of user space with 48-bit addresses.
#[cfg(target_arch = "aarch64")]
const END: usize = 1 << 48;
/// The bits of an address that the machine looks at: on 64-bit Arm the top byte is a tag.
#[cfg(target_arch = "x86_64")]
const LOOKED_AT: usize = usize::MAX;
/// The bits of an address that the machine looks at: on 64-bit Arm the top byte is a tag.
#[cfg(target_arch = "aarch64")]
const LOOKED_AT: usize = usize::MAX >> 8;

/// Whether nothing that a program owns can be at `address` or in the word that begins there.
#[must_use]
pub fn is_nowhere(address: usize) -> bool {
    let address = address & LOOKED_AT;
    !(LOWEST - 8..END).contains(&address)
}

/// Ends the process where the address may be somewhere: the case is wrong.
fn insist(address: usize) {
    assert!(is_nowhere(address), "memory may be at {address:#x}");
}

/// Reads a byte; what comes back, if anything does, means nothing.
pub fn read_nowhere(address: usize) -> u8 {
    insist(address);
    // SAFETY: the read is of no Rust object: it faults.
    unsafe { std::ptr::with_exposed_provenance::<u8>(address).read_volatile() }
}

/// Reads a word.
pub fn read_word_nowhere(address: usize) -> u64 {
    insist(address);
    // SAFETY: the read is of no Rust object: it faults.
    unsafe { std::ptr::with_exposed_provenance::<u64>(address).read_volatile() }
}

/// Writes a byte.
pub fn write_nowhere(address: usize) {
    insist(address);
    // SAFETY: the write is to no Rust object: it faults.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) };
}

/// Writes a word.
pub fn write_word_nowhere(address: usize) {
    insist(address);
    // SAFETY: the write is to no Rust object: it faults.
    unsafe { std::ptr::with_exposed_provenance_mut::<u64>(address).write_volatile(1) };
}

/// Calls what is not there.
pub fn jump_nowhere(address: usize) {
    insist(address);
    // SAFETY: there is no instruction: the machine faults before anything runs.
    unsafe { jump(address) };
}

/// Calls `address`, which may be any number, 0 too: hence assembly, a function pointer is never null.
///
/// # Safety
/// What is there is a function without arguments and results, or the machine faults at its first instruction.
pub(super) unsafe fn jump(address: usize) {
    let address = std::hint::black_box(address);
    // SAFETY: the caller's promise; all registers that a function may change are given up.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("call {0}", in(reg) address, clobber_abi("C"));
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("blr {0}", in(reg) address, clobber_abi("C"));
    }
}
