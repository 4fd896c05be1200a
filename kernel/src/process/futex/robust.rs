//! Robust futexes: locks that a thread holds when it ends are marked and their next waiter is woken.
//!
//! The list is in user memory and may be anything: the walk is bounded, touches nothing but the words it is told of, and stops at
//! the first thing that cannot be read.

use super::priority::{OWNER_DIED, OWNER_MASK, WAITERS};
use super::{MATCH_ANY, Sharing, wake};
use crate::base::{Result, VirtualAddress};
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
    /// The first entry, or the head itself; bit 0 says that the word is one of [`super::priority`].
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
    let pending = Entry::from_user(head.pending);
    let mut entry = Entry::from_user(head.next);
    for _ in 0..LIMIT {
        if entry.place == address {
            break;
        }
        // Read before the word is freed: who gets it may take the entry off.
        let next = UserPointer::<u64>::new(VirtualAddress::new(entry.place)).read();
        // The pending entry is handled below, once.
        let is_reached = entry.place == pending.place || release(entry, head.offset, Certainty::Listed, owner).is_ok();
        let Ok(next) = next else { return };
        if !is_reached {
            return;
        }
        entry = Entry::from_user(next);
    }
    if pending.place != 0 {
        // It is the last: whether it can be reached makes no difference.
        let _ = release(pending, head.offset, Certainty::Pending, owner);
    }
}

/// An entry as the list names it.
#[derive(Clone, Copy)]
struct Entry {
    /// Where it is.
    place: u64,
    kind: Kind,
}

/// What kind of futex an entry's word is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// One of [`super::priority`].
    Priority,
}

impl Entry {
    const fn from_user(value: u64) -> Self {
        Self { place: value & !1, kind: if value & 1 == 0 { Kind::Plain } else { Kind::Priority } }
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

/// Marks one word, and wakes one who waits for it. Who waits for one of [`super::priority`] is handed it when the thread has come to the end of its list.
fn release(entry: Entry, offset: i64, certainty: Certainty, owner: u32) -> Result<()> {
    let word = UserPointer::<u32>::new(VirtualAddress::new(entry.place.wrapping_add_signed(offset)));
    let mut found = word.load()?;
    if certainty == Certainty::Pending && entry.kind == Kind::Plain && found & OWNER_MASK == 0 {
        // Unlocked already, but perhaps nobody was woken yet.
        let _ = wake(word, Sharing::Shared, 1, MATCH_ANY);
        return Ok(());
    }
    while found & OWNER_MASK == owner {
        let now = word.compare_exchange(found, found & WAITERS | OWNER_DIED)?;
        if now == found {
            if entry.kind == Kind::Plain && found & WAITERS != 0 {
                let _ = wake(word, Sharing::Shared, 1, MATCH_ANY);
            }
            break;
        }
        found = now;
    }
    Ok(())
}
