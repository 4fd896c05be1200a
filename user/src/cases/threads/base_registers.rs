//! User mode's base registers, as far as the CPU lets it read and write them itself.
#![allow(unsafe_code, reason = "instructions of this machine")]

#[cfg(target_arch = "x86_64")]
use crate::raw;
#[cfg(target_arch = "x86_64")]
use crate::runner::in_child;
#[cfg(target_arch = "x86_64")]
use crate::system::{self, Must};
#[cfg(target_arch = "x86_64")]
use std::thread;

#[cfg(target_arch = "x86_64")]
mod base {
    use crate::raw;
    use crate::system::{self, Outcome};
    use std::arch::asm;

    pub const SET_GS: i32 = 0x1001;
    pub const GET_FS: i32 = 0x1003;
    pub const GET_GS: i32 = 0x1004;

    /// HWCAP2 bit 1: user mode may use the instructions.
    pub fn has_instructions() -> bool {
        system::auxiliary(libc::AT_HWCAP2) & 2 != 0
    }

    pub fn get(code: i32) -> Outcome {
        let mut value = 0i64;
        raw!(libc::SYS_arch_prctl, code, &mut value).map(|_| value)
    }

    pub fn write_gs(value: i64) {
        if has_instructions() {
            // SAFETY: the CPU has the instruction, and nothing of the program is reached through GS.
            unsafe { asm!("wrgsbase {}", in(reg) value, options(nostack, preserves_flags)) };
        } else {
            let _ = raw!(libc::SYS_arch_prctl, SET_GS, value);
        }
    }

    pub fn read_gs() -> i64 {
        if !has_instructions() {
            return get(GET_GS).unwrap_or(-1);
        }
        let value: i64;
        // SAFETY: the CPU has the instruction, which only reads.
        unsafe { asm!("rdgsbase {}", out(reg) value, options(nostack, preserves_flags)) };
        value
    }

    /// Gives way with `value` in FS base and says what is there afterwards. Nothing that needs thread-local storage runs meanwhile.
    pub fn yield_with_fs(value: i64, kept: i64) -> i64 {
        if !has_instructions() {
            std::thread::yield_now();
            return value;
        }
        let seen: i64;
        // SAFETY: the CPU has the instructions; between the two writes of FS base only the kernel runs, and `kept` is what was there.
        unsafe {
            asm!(
                "wrfsbase {value}", "mov eax, {yield_call}", "syscall", "rdfsbase {seen}", "wrfsbase {kept}",
                value = in(reg) value, seen = out(reg) seen, kept = in(reg) kept,
                yield_call = const libc::SYS_sched_yield,
                out("rax") _, out("rcx") _, out("r11") _, options(nostack),
            );
        }
        seen
    }
}

/// What a new program finds in its second base register.
#[cfg(target_arch = "x86_64")]
pub fn print_base_registers() {
    println!("{:?} {:#x}", base::get(base::GET_GS), base::read_gs());
}

/// What a new program finds in its second base register: such a machine has none.
#[cfg(not(target_arch = "x86_64"))]
pub fn print_base_registers() {}

/// The base registers that user mode writes itself belong to the thread: switches keep them apart, a new thread or process begins with
/// its maker's, a new program with none.
#[cfg(target_arch = "x86_64")]
pub(super) fn base_registers() {
    use base::{GET_FS, GET_GS, SET_GS, get, read_gs, write_gs, yield_with_fs};
    const OWN: i64 = 0x7000_0000_1000;
    print_base_registers();
    println!("set {:?} {:#x}", raw!(libc::SYS_arch_prctl, SET_GS, 0x1234_5000u64), read_gs());
    println!("kernel address {:?}", raw!(libc::SYS_arch_prctl, SET_GS, 0xffff_8000_0000_0000u64));
    println!("not an address {:?}", raw!(libc::SYS_arch_prctl, GET_GS, 16));
    write_gs(OWN);
    println!("written {}", get(GET_GS) == Ok(OWN));
    let count_wrong = |index: i64| {
        let inherited = read_gs() == OWN;
        write_gs(index << 12);
        let wrong = (0..200).filter(|_| {
            thread::yield_now();
            read_gs() != index << 12
        });
        wrong.count() + usize::from(!inherited)
    };
    let threads: Vec<_> = (1..=3).map(|index| thread::spawn(move || count_wrong(index))).collect();
    let wrong: usize = threads.into_iter().map(|handle| handle.join().must()).sum();
    println!("threads {wrong} {}", read_gs() == OWN);
    let status = in_child(|| {
        let kept = get(GET_FS).unwrap_or(0);
        let count_all = |index: i64| {
            let wrong = count_wrong(index);
            let with_fs = (0..200).filter(|_| yield_with_fs(index << 20, kept) != index << 20).count();
            wrong + with_fs + usize::from(read_gs() != index << 12)
        };
        let other = system::fork(|| i32::from(count_all(5) != 0));
        let wrong = count_all(6);
        let mut status = 0;
        let _ = system::waitpid(other, &mut status, 0);
        i32::from(wrong != 0) + 2 * i32::from(status != 0)
    });
    println!("processes {status} {}", read_gs() == OWN);
    in_child(|| system::execve(c"/proc/self/exe", [c"x", c"--base-registers"], []).map_or(1, |_| 0));
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn base_registers() {}
