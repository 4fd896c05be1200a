//! What a handler does to the code that it interrupted, and frames and stacks that are none.

use super::{KERNEL, catch_all, catch_nothing, own, report, try_to};
use crate::runner::in_child;
use crate::system::{self, Mapping, PAGE};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

pub(super) fn move_on() {
    static FAULTS: AtomicUsize = AtomicUsize::new(0);
    catch_all(|delivery| {
        FAULTS.fetch_add(1, SeqCst);
        own::pass_over_probe(delivery.context);
    });
    let values: Vec<u64> = [0, 0x1238, KERNEL].iter().map(|&address| own::probe(address)).collect();
    println!("{values:?} after {} faults", FAULTS.load(SeqCst));
}

/// A register of the interrupted code is what the handler makes of it.
pub(super) fn change_registers() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    catch_all(|delivery| {
        SEEN.store(own::kept(delivery.context), SeqCst);
        own::change_kept(delivery.context, 4321);
    });
    let value = own::keep_over_fault();
    println!("{} then {value}", SEEN.load(SeqCst));
}

/// A fault while the stack pointer is no stack: with an alternate stack the handler runs, without one the signal kills.
pub(super) fn bad_stack_pointers() {
    for (name, stack) in [("null", 0), ("low", 0x1000), ("kernel", KERNEL), ("end", usize::MAX & !15)] {
        try_to(name, || own::fault_on(stack));
        let end = in_child(|| {
            catch_nothing();
            system::install(libc::SIGILL, report, 0);
            own::fault_on(stack)
        });
        println!("{name} without an alternate stack: {end}");
    }
}

/// `rt_sigreturn` where there is no frame, or one that asks for too much.
pub(super) fn bad_frames() {
    let memory = Mapping::private(4);
    let (page, near_end) = (memory.start(), memory.at(4 * PAGE - 64));
    for (name, stack) in [("null", 0), ("kernel", KERNEL), ("end of memory", near_end), ("zeros", page)] {
        println!(
            "{name}: {}",
            in_child(|| {
                catch_nothing();
                own::return_with(stack)
            })
        );
    }
    own::damaged_frames();
}

/// A handler finds the interrupted code's vector registers in its context, and what it puts there comes back.
pub(super) fn vectors() {
    static FOUND: AtomicU64 = AtomicU64::new(0);
    catch_all(|delivery| {
        // The handler uses the registers itself.
        let sum: f64 = std::hint::black_box([1.25f64; 32]).iter().map(|value| value * 3.0).sum();
        std::hint::black_box(sum);
        FOUND.store(own::exchange_vector(delivery.context, 0x1122_3344_5566_7788), SeqCst);
    });
    let value = own::keep_vector_over_fault(0x8877_6655_4433_2211);
    println!("{:x} then {value:x}", FOUND.load(SeqCst));
}
