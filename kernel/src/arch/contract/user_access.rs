//! Reaching memory of user space: [`UserAccess`], and what comes of it where nothing is: [`UserFault`].

use crate::base::VirtualAddress;

/// A user address could not be reached: nothing is mapped there, or not with the needed permission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserFault;

/// Reaching user memory of the active address space. Each function returns [`UserFault`] instead of faulting for
/// good; a page that is merely absent is brought in by the page-fault path, so these may sleep.
/// Callers check first that the range ends at or below [`Mmu::USER_END`](super::Mmu::USER_END); implementations check it again.
pub trait UserAccess {
    /// Copies `target.len()` bytes from `source`.
    fn copy_from_user(target: &mut [u8], source: VirtualAddress) -> Result<(), UserFault>;
    /// Copies `source.len()` bytes to `target`.
    fn copy_to_user(target: VirtualAddress, source: &[u8]) -> Result<(), UserFault>;
    /// Writes `length` zero bytes to `target`.
    fn zero_user(target: VirtualAddress, length: usize) -> Result<(), UserFault>;
    /// Copies bytes up to and including the first NUL, at most `target.len()`; gives the number copied without the NUL
    /// in `Ok(Some(n))`, `Ok(None)` where there was no NUL within the limit.
    fn copy_string_from_user(target: &mut [u8], source: VirtualAddress) -> Result<Option<usize>, UserFault>;
    /// Reads an aligned 32-bit word once, atomically.
    fn load_u32(source: VirtualAddress) -> Result<u32, UserFault>;
    /// Compares and exchanges an aligned 32-bit word; gives the value found.
    fn compare_exchange_u32(target: VirtualAddress, expected: u32, new: u32) -> Result<u32, UserFault>;
}
