//! How far a CPU is that was asked to come: the agreement between the one that asks and the one that comes.
//!
//! [`Arrival`] is one word. The asking CPU says [`ask`](Arrival::ask), waits while [`is_awaited`](Arrival::is_awaited), and settles what it got by
//! [`give_up`](Arrival::give_up). The coming one says [`arrive`](Arrival::arrive) when it has set itself up; only one of the two succeeds, so a CPU that
//! comes too late learns it, and halts.

use core::sync::atomic::{AtomicU32, Ordering, Ordering::Relaxed};

/// How far a CPU is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum State {
    /// Nobody wants it.
    Unused = 0,
    /// It may come.
    Asked = 1,
    /// It has set itself up.
    Here = 2,
    /// It was not waited for any longer.
    LeftOut = 3,
    /// It has not what the first CPU has.
    Unlike = 4,
}

/// Whether a CPU is like the first one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Likeness {
    /// It has all that the first one has.
    Like,
    /// It lacks something.
    Unlike,
}

/// One CPU's word. Assembly may read it.
#[derive(Debug)]
#[repr(transparent)]
pub struct Arrival(AtomicU32);

impl Arrival {
    /// Of a CPU that nobody wants.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU32::new(State::Unused as u32))
    }

    /// The CPU may come. What it needs was stored before.
    pub fn ask(&self) {
        self.0.store(State::Asked as u32, Ordering::Release);
    }

    /// Whether it was asked and has not come.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.0.load(Ordering::Acquire) == State::Asked as u32
    }

    /// This CPU has come. False where nobody waits for it any more, or nobody can use it: it halts.
    #[must_use]
    pub fn arrive(&self, likeness: Likeness) -> bool {
        let next = match likeness {
            Likeness::Like => State::Here,
            Likeness::Unlike => State::Unlike,
        };
        let is_awaited = self.0.compare_exchange(State::Asked as u32, next as u32, Ordering::AcqRel, Relaxed).is_ok();
        is_awaited && likeness == Likeness::Like
    }

    /// Ends the waiting for the CPU: gives [`State::Here`], or why it is not.
    pub fn give_up(&self) -> State {
        let (from, to) = (State::Asked as u32, State::LeftOut as u32);
        match self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire) {
            Err(state) if state == State::Here as u32 => State::Here,
            Err(state) if state == State::Unlike as u32 => State::Unlike,
            Ok(_) | Err(_) => State::LeftOut,
        }
    }
}

impl Default for Arrival {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_in_time_is_here_and_who_is_late_learns_it() {
        let arrival = Arrival::new();
        assert!(!arrival.is_awaited() && !arrival.arrive(Likeness::Like), "nobody has asked");
        arrival.ask();
        assert!(arrival.is_awaited());
        assert!(arrival.arrive(Likeness::Like) && !arrival.is_awaited());
        assert_eq!(arrival.give_up(), State::Here);
        arrival.ask();
        assert_eq!(arrival.give_up(), State::LeftOut);
        assert!(!arrival.arrive(Likeness::Like));
        arrival.ask();
        assert!(!arrival.arrive(Likeness::Unlike));
        assert_eq!(arrival.give_up(), State::Unlike);
    }
}
