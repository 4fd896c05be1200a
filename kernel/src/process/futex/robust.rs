//! Robust futexes: locks that a thread holds when it ends are marked and their next waiter is woken.
//!
//! The list is in user memory and may be anything: the walk is bounded, touches nothing but the words it is told of, and stops at
//! the first thing that cannot be read.

use super::priority::{OWNER_DIED, OWNER_MASK, WAITERS};
use super::{MATCH_ANY, Sharing, wake};
use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::process::Thread;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The most entries that are looked at (`ROBUST_LIST_LIMIT`).
const LIMIT: usize = 2048;
/// `sizeof(struct robust_list_head)`.
pub const HEAD_SIZE: usize = 24;

/// `struct robust_list_head`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Head {
    /// The first entry, or the head itself; bit 0 says that the word is a priority-inheritance futex.
    next: u64,
    /// From an entry to its word.
    offset: i64,
    /// An entry that is being added or removed.
    pending: u64,
}

const _: () = assert!(size_of::<Head>() == HEAD_SIZE);

/// Frees what the ending thread `thread`, which runs, has on its list.
pub fn release_all(thread: &Arc<Thread>) {
    let address = thread.robust_list.swap(0, Relaxed);
    if address == 0 {
        return;
    }
    let owner = thread.tid().cast_unsigned() & OWNER_MASK;
    let Ok(head) = UserPointer::<Head>::new(VirtualAddress::new(address)).read() else { return };
    let mut entry = head.next;
    for _ in 0..LIMIT {
        let place = entry & !1;
        if place == address {
            break;
        }
        let Ok(next) = UserPointer::<u64>::new(VirtualAddress::new(place)).read() else { break };
        // The pending entry is handled below, once.
        if place != head.pending & !1 && !release(place, head.offset, entry & 1 != 0, Certainty::Listed, owner) {
            break;
        }
        entry = next;
    }
    if head.pending & !1 != 0 {
        release(head.pending & !1, head.offset, head.pending & 1 != 0, Certainty::Pending, owner);
    }
}

/// How an entry was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Certainty {
    /// On the list: the word is held.
    Listed,
    /// Being added or removed: perhaps.
    Pending,
}

/// Marks one word. False when it cannot be reached.
fn release(entry: u64, offset: i64, is_priority: bool, certainty: Certainty, owner: u32) -> bool {
    let word = UserPointer::<u32>::new(VirtualAddress::new(entry.wrapping_add_signed(offset)));
    let Ok(mut found) = word.load() else { return false };
    if certainty == Certainty::Pending && !is_priority && found == 0 {
        // Unlocked already, but perhaps nobody was woken yet.
        let _ = wake(word, Sharing::Shared, 1, MATCH_ANY);
        return true;
    }
    while found & OWNER_MASK == owner {
        match word.compare_exchange(found, found & WAITERS | OWNER_DIED) {
            Ok(old) if old == found => {
                if found & WAITERS != 0 {
                    // One that waits for a priority-inheritance futex looks at the word again and takes it.
                    let _ = wake(word, Sharing::Shared, 1, MATCH_ANY);
                }
                break;
            }
            Ok(other) => found = other,
            Err(_) => return false,
        }
    }
    true
}
