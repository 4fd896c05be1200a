//! What can be done wrong with a heap, and how it is told: of a guarded heap by its [`super::guard`], of any by its slabs and its list.

/// Who called whom, as the platform keeps it; 0 is not known.
pub type TraceId = u32;

/// What was done wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MisuseKind {
    /// A free object was freed.
    FreedTwice,
    /// Bytes behind the object were written.
    Overrun,
    /// A free object was written.
    WrittenAfterFree,
    /// What was freed is no object.
    NotAllocated,
}

/// A misuse of the heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misuse {
    /// What was done.
    pub kind: MisuseKind,
    /// The object.
    pub address: *mut u8,
    /// Its bytes, or its storage's.
    pub size: usize,
    /// Who allocated it last.
    pub allocated: TraceId,
    /// Who freed it last.
    pub freed: TraceId,
}
