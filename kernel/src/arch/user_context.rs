//! What the signal frames of all machines have in common: the head of `struct ucontext`, and where a frame may go.
//!
//! The frames themselves are each machine's own, in Linux's layout: `signal_frame` of each machine.

use super::{SignalDelivery, SignalStack};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a `siginfo`.
pub const INFORMATION_SIZE: u64 = 128;

/// `uc_flags`, `uc_link` and `uc_stack`: the first 40 bytes of `struct ucontext`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ContextHead {
    /// `uc_flags`.
    pub flags: u64,
    link: u64,
    stack_base: u64,
    stack_flags: u32,
    padding: u32,
    stack_size: u64,
}

const _: () = assert!(size_of::<ContextHead>() == 40);

impl ContextHead {
    /// The head that says `flags` and `stack`.
    #[must_use]
    pub const fn new(flags: u64, stack: SignalStack) -> Self {
        Self { flags, link: 0, stack_base: stack.base, stack_flags: stack.flags, padding: 0, stack_size: stack.size }
    }

    /// The alternate stack that it says.
    #[must_use]
    pub const fn stack(&self) -> SignalStack {
        SignalStack { base: self.stack_base, size: self.stack_size, flags: self.stack_flags }
    }
}

impl SignalDelivery<'_> {
    /// The address that the frame goes below: the top of the stack to switch to, or `interrupted`.
    #[must_use]
    pub fn top(&self, interrupted: u64) -> u64 {
        self.switch_to.map_or(interrupted, |top| top.value())
    }

    /// Whether a frame whose lowest byte is at `lowest` stays on its stack.
    #[must_use]
    pub fn has_room_for(&self, lowest: u64) -> bool {
        self.limit.is_none_or(|limit| lowest > limit.value())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::VirtualAddress;

    /// A delivery for the machines' tests: SIGSEGV on the interrupted stack.
    pub fn delivery() -> SignalDelivery<'static> {
        SignalDelivery {
            signal: 11,
            handler: VirtualAddress::new(0x1000),
            restorer: VirtualAddress::new(0x7fb6_98fb_c050),
            information: None,
            mask: 0x5a,
            stack: SignalStack { base: 0x1111, size: 0x2222, flags: 2 },
            switch_to: None,
            limit: None,
            vector: 14,
            error_code: 6,
            fault_address: VirtualAddress::new(0x1234),
        }
    }

    #[test]
    fn the_head_lies_as_linux_lays_it() {
        let head = ContextHead::new(7, delivery().stack);
        let words: Vec<u64> =
            head.as_bytes().chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [7, 0, 0x1111, 2, 0x2222]);
        assert_eq!(head.stack(), delivery().stack);
    }

    #[test]
    fn a_frame_stays_above_its_limit_and_below_its_top() {
        let plain = delivery();
        assert_eq!(plain.top(0x8000), 0x8000);
        assert!(plain.has_room_for(0));
        let alternate = SignalDelivery {
            switch_to: Some(VirtualAddress::new(0x6000)),
            limit: Some(VirtualAddress::new(0x5000)),
            ..delivery()
        };
        assert_eq!(alternate.top(0x8000), 0x6000);
        assert!(alternate.has_room_for(0x5001) && !alternate.has_room_for(0x5000));
    }
}
