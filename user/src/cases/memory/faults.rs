//! Accesses that the protection of memory forbids.
#![allow(unsafe_code, reason = "data is executed on purpose")]

use crate::raw;
use crate::runner::in_child;
use crate::system::{Mapping, PAGE, READ_WRITE, jump_nowhere, read_nowhere, read_word_nowhere, write_word_nowhere};
use libc::{MAP_PRIVATE, PROT_EXEC, PROT_NONE, PROT_READ};

pub(super) fn read_only() {
    let memory = Mapping::anonymous(1, PROT_READ, MAP_PRIVATE);
    println!("read {}", memory.read(0));
    let write = || {
        in_child(|| {
            memory.write(0, 1);
            0
        })
    };
    println!("write: {}", write());
    println!("{:?}", memory.protect(0, PAGE, READ_WRITE));
    println!("write: {}", write());
}

pub(super) fn protect_none() {
    let memory = Mapping::private(1);
    memory.write(0, 7);
    println!("{:?}", memory.protect(0, PAGE, PROT_NONE));
    println!("read: {}", in_child(|| i32::from(memory.read(0))));
    println!("{:?}", memory.protect(0, PAGE, PROT_READ));
    println!("kept {}", memory.read(0));
    println!("unaligned {:?}", memory.protect(1, PAGE, PROT_READ));
    println!("hole {:?}", raw!(libc::SYS_mprotect, 0, PAGE, PROT_READ));
    println!("bad bits {:?}", memory.protect(0, PAGE, 0x1000));
    println!("zero length {:?}", memory.protect(0, 0, PROT_READ));
}

pub(super) fn null_faults() {
    println!("read: {}", in_child(|| i32::from(read_nowhere(4))));
    println!(
        "write: {}",
        in_child(|| {
            write_word_nowhere(8);
            0
        })
    );
    println!(
        "jump: {}",
        in_child(|| {
            jump_nowhere(16);
            0
        })
    );
    println!("kernel read: {}", in_child(|| i32::from(read_nowhere(0xffff_8000_0000_1000))));
    println!("non-canonical: {}", in_child(|| read_word_nowhere(0x0012_3456_7890_1000usize.wrapping_shl(3)) as i32));
}

pub(super) fn execute_data() {
    let memory = Mapping::private(1);
    memory.put_return(0);
    let call = || {
        in_child(|| {
            // SAFETY: the page is not executable, or returns at once.
            unsafe { memory.call(0) };
            0
        })
    };
    println!("without permission: {}", call());
    println!("{:?}", memory.protect(0, PAGE, PROT_READ | PROT_EXEC));
    println!("with: {}", call());
}
