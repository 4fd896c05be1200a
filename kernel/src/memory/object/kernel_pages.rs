//! Pages that the kernel shows to programs.

use super::{MemoryObject, ObjectDetails, PageAccounting, PageError, PageIntent};
use crate::memory::frame::Frame;
use alloc::vec::Vec;

/// Frames that the kernel shows to user space: the vDSO and its data page. Each run of pages has its own name.
#[derive(Debug)]
pub struct KernelPages {
    /// Where each name begins, from the first page on.
    names: Vec<(u64, &'static str)>,
    frames: Vec<Frame>,
}

impl KernelPages {
    /// The runs one after the other; names are what `/proc/PID/maps` shows.
    #[must_use]
    pub fn new(runs: Vec<(&'static str, Vec<Frame>)>) -> Self {
        let (mut names, mut frames) = (Vec::new(), Vec::new());
        for (name, run) in runs {
            names.push((frames.len() as u64, name));
            frames.extend(run);
        }
        Self { names, frames }
    }
    /// The number of pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

impl MemoryObject for KernelPages {
    fn page(&self, index: u64, _intent: PageIntent) -> Result<Frame, PageError> {
        self.resident_page(index).ok_or(PageError::BeyondEnd)
    }
    fn resident_page(&self, index: u64) -> Option<Frame> {
        self.frames.get(usize::try_from(index).ok()?).cloned()
    }
    fn identity(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }
    fn details_at(&self, index: u64) -> ObjectDetails {
        let name = self.names.iter().rev().find(|(first, _)| *first <= index).map_or("", |(_, name)| name);
        ObjectDetails { name: name.as_bytes().to_vec(), ..ObjectDetails::default() }
    }
    fn accounting(&self) -> PageAccounting {
        PageAccounting::Uncounted
    }
}
