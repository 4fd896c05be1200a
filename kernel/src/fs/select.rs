//! Waiting on many files at once: what `poll`, `ppoll`, `select` and `pselect6` share.

use super::file::OpenFile;
use super::poll::{PollEvents, PollTable};
use crate::base::{Errno, Nanoseconds, Result};
use crate::sync::{Interruptible, WakeReason, parking};

/// Asks `file` which of `interest` (and of what is always reported) there is, registering with `table`.
#[inline]
pub fn poll_file(file: &OpenFile, interest: PollEvents, table: &mut PollTable) -> PollEvents {
    table.set_interest(interest);
    file.operations().poll(file, table) & (interest | PollEvents::ALWAYS)
}

/// Calls `scan` until it counts something ready, the deadline passes, or a signal comes. `scan` asks every file through
/// the table that it is given; it is called with a fresh look after each wake-up, and once more after the deadline.
///
/// # Errors
/// `ERESTARTNOHAND` when a signal came first; what `scan` fails with.
pub fn wait(deadline: Option<Nanoseconds>, mut scan: impl FnMut(&mut PollTable) -> Result<usize>) -> Result<usize> {
    // A deadline of zero has passed already: nobody needs to be registered.
    if deadline == Some(Nanoseconds::ZERO) {
        return scan(&mut PollTable::asking());
    }
    let mut table = PollTable::for_current_thread();
    loop {
        let ready = scan(&mut table)?;
        if ready != 0 {
            return Ok(ready);
        }
        match parking::park(deadline, Interruptible::BySignal) {
            WakeReason::Woken => {}
            WakeReason::TimedOut => {
                table.stop_registering();
                return scan(&mut table);
            }
            WakeReason::Interrupted => {
                table.stop_registering();
                return match scan(&mut table)? {
                    0 => Err(Errno::ERESTARTNOHAND),
                    ready => Ok(ready),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::OpenFlags;
    use crate::fs::io::{IoDestination, IoSource};
    use crate::fs::pipe;

    #[test]
    fn a_write_ends_the_wait() {
        let (reader, writer) = pipe::create(0, 0, OpenFlags::empty());
        std::thread::scope(|scope| {
            scope.spawn(|| writer.write(&mut IoSource::kernel(b"x")).unwrap());
            let ready =
                wait(None, |table| Ok(usize::from(poll_file(&reader, PollEvents::IN, table).contains(PollEvents::IN))));
            assert_eq!(ready, Ok(1));
        });
        let mut byte = [0];
        reader.read(&mut IoDestination::kernel(&mut byte)).unwrap();
        let none = wait(Some(Nanoseconds::ZERO), |table| {
            Ok(usize::from(!poll_file(&reader, PollEvents::IN, table).is_empty()))
        });
        assert_eq!(none, Ok(0));
    }

    #[test]
    fn only_what_was_asked_for_is_reported() {
        let (reader, writer) = pipe::create(0, 0, OpenFlags::empty());
        assert_eq!(poll_file(&writer, PollEvents::IN, &mut PollTable::asking()), PollEvents::empty());
        drop(reader);
        assert_eq!(poll_file(&writer, PollEvents::empty(), &mut PollTable::asking()), PollEvents::ERR);
    }
}
