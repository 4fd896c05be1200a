//! Opening FIFOs: `fifo(7)`'s rules about who waits for whom.

use super::{Partners, Pipe, PipeEnd, Sides};
use crate::base::{Errno, Result};
use crate::fs::fifo::FifoOpener;
use crate::fs::file::FileOperations;
use crate::fs::inode::Inode;
use crate::fs::types::OpenFlags;
use alloc::sync::{Arc, Weak};
use core::any::Any;

/// What opens FIFOs; boot registers it with [`crate::fs::fifo::set_opener`].
#[derive(Debug)]
pub struct Opener;

/// The one opener.
pub static FIFO_OPENER: Opener = Opener;

/// The sides that an access mode asks for.
pub(super) fn sides_of(flags: OpenFlags) -> Sides {
    if flags.contains(OpenFlags::READ_WRITE) {
        Sides::READ | Sides::WRITE
    } else if flags.contains(OpenFlags::WRITE_ONLY) {
        Sides::WRITE
    } else {
        Sides::READ
    }
}

/// The pipe of a FIFO's inode, made where nobody has it open.
pub fn fifo_of(inode: &Arc<dyn Inode>) -> Arc<Pipe> {
    let fresh = Arc::new(Pipe::new(inode.header().uid(), inode.header().gid()));
    let mut extras = inode.header().extras();
    let known = extras.attachment.as_ref().and_then(Weak::upgrade).and_then(|any| any.downcast::<Pipe>().ok());
    let pipe = known.unwrap_or_else(|| {
        let any: Arc<dyn Any + Send + Sync> = fresh.clone();
        extras.attachment = Some(Arc::downgrade(&any));
        fresh.clone()
    });
    drop(extras);
    pipe
}

impl FifoOpener for Opener {
    fn open(&self, inode: &Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        Ok(Arc::new(open(&fifo_of(inode), flags)?))
    }
}

/// Opens an end of a FIFO's pipe, waiting for the other side as `fifo(7)` says.
pub(super) fn open(pipe: &Arc<Pipe>, flags: OpenFlags) -> Result<PipeEnd> {
    let sides = sides_of(flags);
    let waits = !flags.contains(OpenFlags::NON_BLOCKING);
    if sides == Sides::WRITE && !waits && !pipe.has_readers() {
        return Err(Errno::ENXIO);
    }
    // Closed again by its drop when the wait is interrupted.
    let (mut end, partners) = PipeEnd::open(pipe, sides);
    pipe.openers.wake_all();
    if partners.present != 0 || sides == Sides::READ | Sides::WRITE {
        return Ok(end);
    }
    if !waits {
        end.writers_before = partners.openings;
        return Ok(end);
    }
    wait_for_partner(pipe, sides, partners)?;
    Ok(end)
}

/// Waits until somebody has opened the other side since `partners` was taken. Who did may have closed it again: the one who waits is
/// let in all the same.
pub(super) fn wait_for_partner(pipe: &Pipe, sides: Sides, partners: Partners) -> Result<()> {
    pipe.openers.wait(|| {
        let state = pipe.state.lock();
        let now = if sides == Sides::READ { state.writer_openings } else { state.reader_openings };
        (now != partners.openings).then_some(())
    })?;
    Ok(())
}
