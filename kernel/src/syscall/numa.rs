//! System calls on where memory is: policies of threads and areas, and moving pages. Behaviour and the order of errors are those of Linux 6.1.
//!
//! No cpusets: every thread may use every node that has memory.

use super::argument::{LongFlags, ProcessIdentifier};
use super::call::Call;
use crate::arch::{Current, Machine};
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress};
use crate::memory::address_space::{AddressSpace, Misplaced, Reach};
use crate::memory::node_frames::nodes_with_memory;
use crate::memory::numa::{self, MemoryPolicy, NamedMode, NamedNodes, NodeId, NodeMask};
use crate::memory::user::UserPointer;
use crate::process::table;
use crate::security::Capability;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

const MPOL_F_NODE: u64 = 1;
const MPOL_F_ADDR: u64 = 2;
const MPOL_F_MEMS_ALLOWED: u64 = 4;
const MPOL_MF_STRICT: u32 = 1;
const MPOL_MF_MOVE: u32 = 2;
const MPOL_MF_MOVE_ALL: u32 = 4;
const WORD_BITS: u64 = 64;
/// `MPOL_DEFAULT`, as `get_mempolicy` tells it.
const DEFAULT: u32 = 0;

fn space(call: &Call<'_>) -> Result<Arc<AddressSpace>> {
    call.process.address_space().ok_or(Errno::EFAULT)
}

/// The `count` lowest bits.
const fn low_bits(count: u64) -> u64 {
    if count >= WORD_BITS { u64::MAX } else { (1 << count) - 1 }
}

/// The word `index` of a mask in user memory.
fn read_word(mask: UserPointer<u64>, index: u64) -> Result<u64> {
    let offset = index.checked_mul(8).and_then(|offset| mask.address().checked_add(offset)).ok_or(Errno::EFAULT)?;
    UserPointer::<u64>::new(offset).read()
}

/// The nodes that `mask` names, of which `maximum` less one bits count. More bits than Linux has nodes must be zero.
///
/// # Errors
/// `EINVAL`: a node that can never be, or more than a page of bits. `EFAULT`.
fn read_nodes(mask: UserPointer<u64>, maximum: u64) -> Result<NamedNodes> {
    let most = Current::LINUX.most_nodes;
    let mut nodes = NamedNodes::NONE;
    let mut bits = maximum.wrapping_sub(1);
    if bits == 0 || mask.is_null() {
        return Ok(nodes);
    }
    if bits > PAGE_SIZE as u64 * 8 {
        return Err(Errno::EINVAL);
    }
    // The excess, a word at a time from the end.
    while bits > most {
        let count = bits.min(WORD_BITS);
        let mut word = read_word(mask, (bits - 1) / WORD_BITS)? & low_bits(count);
        if bits - count >= most {
            bits -= count;
        } else {
            bits = most;
            word &= !low_bits(most % WORD_BITS);
        }
        if word != 0 {
            return Err(Errno::EINVAL);
        }
    }
    for (index, word) in (0..bits.div_ceil(WORD_BITS)).zip(&mut nodes.0) {
        *word = read_word(mask, index)? & low_bits(bits - index * WORD_BITS);
    }
    Ok(nodes)
}

/// Writes `nodes` to a mask of `maximum` less one bits.
fn write_nodes(mask: UserPointer<u64>, maximum: u64, nodes: NodeMask) -> Result<()> {
    const KNOWN: u64 = 8;
    let length = maximum.saturating_sub(1).div_ceil(WORD_BITS) * KNOWN;
    if length > KNOWN {
        if length > PAGE_SIZE as u64 {
            return Err(Errno::EINVAL);
        }
        let rest = usize::try_from(length - KNOWN).map_err(|_| Errno::EINVAL)?;
        mask.field::<u8>(8).bytes(rest)?.zero()?;
    }
    if length == 0 { Ok(()) } else { mask.write(&nodes.bits()) }
}

/// `set_mempolicy(2)`.
pub fn set_mempolicy(call: &mut Call<'_>, mode: i32, nodes: UserPointer<u64>, maximum: u64) -> Result<()> {
    let (mode, flags) = NamedMode::parse(mode)?;
    let named = read_nodes(nodes, maximum)?;
    let policy = MemoryPolicy::new(mode, flags, &named, nodes_with_memory())?;
    call.thread.memory_policy.set(policy);
    Ok(())
}

/// `get_mempolicy(2)`.
pub fn get_mempolicy(
    call: &mut Call<'_>,
    mode: UserPointer<u32>,
    nodes: UserPointer<u64>,
    maximum: u64,
    address: VirtualAddress,
    flags: LongFlags,
) -> Result<()> {
    if !nodes.is_null() && maximum < numa::topology().node_count() as u64 {
        return Err(Errno::EINVAL);
    }
    let (number, told) = find_policy(call, address, flags.0)?;
    mode.write_optional(&number)?;
    if nodes.is_null() { Ok(()) } else { write_nodes(nodes, maximum, told) }
}

/// The number and the nodes that `get_mempolicy` tells.
fn find_policy(call: &Call<'_>, address: VirtualAddress, flags: u64) -> Result<(u32, NodeMask)> {
    if flags & !(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & MPOL_F_MEMS_ALLOWED != 0 {
        return if flags == MPOL_F_MEMS_ALLOWED { Ok((0, nodes_with_memory())) } else { Err(Errno::EINVAL) };
    }
    let of_address = flags & MPOL_F_ADDR != 0;
    if !of_address && address.value() != 0 {
        return Err(Errno::EINVAL);
    }
    let policy = if of_address { space(call)?.policy_at(address)? } else { call.thread.memory_policy.get() };
    let number = match (flags & MPOL_F_NODE != 0, of_address) {
        (false, _) => policy.map_or(DEFAULT, |policy| policy.number()),
        (true, true) => space(call)?.node_of(address)?.0.into(),
        (true, false) => policy.and_then(|policy| policy.next_node()).ok_or(Errno::EINVAL)?.0.into(),
    };
    Ok((number, policy.map_or(NodeMask::EMPTY, |policy| policy.told_nodes())))
}

/// The pages that a call may move, by its flags.
///
/// # Errors
/// `EPERM`: all of them, without the capability.
fn reach(call: &Call<'_>, flags: u32) -> Result<Option<Reach>> {
    if flags & MPOL_MF_MOVE_ALL != 0 {
        return if call.thread.credentials().may(Capability::SysNice) {
            Ok(Some(Reach::All))
        } else {
            Err(Errno::EPERM)
        };
    }
    Ok((flags & MPOL_MF_MOVE != 0).then_some(Reach::Own))
}

/// `mbind(2)`.
pub fn mbind(
    call: &mut Call<'_>,
    start: VirtualAddress,
    length: u64,
    mode: i32,
    nodes: UserPointer<u64>,
    maximum: u64,
    flags: u32,
) -> Result<()> {
    let (mode, mode_flags) = NamedMode::parse(mode)?;
    let named = read_nodes(nodes, maximum)?;
    if flags & !(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL) != 0 {
        return Err(Errno::EINVAL);
    }
    let moves = reach(call, flags)?;
    let misplaced = Misplaced { is_error: flags & MPOL_MF_STRICT != 0, moves };
    let policy = || MemoryPolicy::new(mode, mode_flags, &named, nodes_with_memory());
    space(call)?.set_policy(start, length, policy, named.low(), misplaced)
}

/// `set_mempolicy_home_node(2)`.
pub fn set_mempolicy_home_node(
    call: &mut Call<'_>,
    start: VirtualAddress,
    length: u64,
    home: u64,
    flags: LongFlags,
) -> Result<()> {
    if !start.is_page_aligned() || flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let node = u8::try_from(home).map(NodeId).map_err(|_| Errno::EINVAL)?;
    if !numa::nodes().contains(node) {
        return Err(Errno::EINVAL);
    }
    space(call)?.set_home_node(start, length, node)
}

/// The memory of the process that `pid` names, 0 being the caller's, if the caller may look into it.
///
/// # Errors
/// `ESRCH`: no such process. `EPERM`. `EINVAL` from `check` or because it has no memory.
fn target(call: &Call<'_>, pid: ProcessIdentifier, check: impl FnOnce() -> Result<()>) -> Result<Arc<AddressSpace>> {
    let process = if pid.0 == 0 {
        call.process.clone()
    } else {
        let thread = table::find_thread(pid.0).ok_or(Errno::ESRCH)?;
        if !Arc::ptr_eq(thread.process(), call.process) && !call.thread.credentials().may_trace(&thread.credentials()) {
            return Err(Errno::EPERM);
        }
        thread.process().clone()
    };
    check()?;
    process.address_space().ok_or(Errno::EINVAL)
}

/// `migrate_pages(2)`: how many pages could not be moved.
pub fn migrate_pages(
    call: &mut Call<'_>,
    pid: ProcessIdentifier,
    maximum: u64,
    from: UserPointer<u64>,
    to: UserPointer<u64>,
) -> Result<u64> {
    let from = read_nodes(from, maximum)?;
    let to = read_nodes(to, maximum)?;
    let is_privileged = call.thread.credentials().may(Capability::SysNice);
    let allowed = nodes_with_memory();
    let space = target(call, pid, || {
        if !to.is_subset_of(allowed) && !is_privileged {
            return Err(Errno::EPERM);
        }
        if to.low().intersection(allowed).is_empty() { Err(Errno::EINVAL) } else { Ok(()) }
    })?;
    let reach = if is_privileged { Reach::All } else { Reach::Own };
    space.move_between_nodes(from.low(), to.low().intersection(allowed), reach)
}

/// `move_pages(2)`: how many pages were not moved; 0 where only their nodes were asked for.
pub fn move_pages(
    call: &mut Call<'_>,
    pid: ProcessIdentifier,
    count: u64,
    pages: UserPointer<u64>,
    nodes: UserPointer<i32>,
    status: UserPointer<i32>,
    flags: u32,
) -> Result<u64> {
    if flags & !(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL) != 0 {
        return Err(Errno::EINVAL);
    }
    let reach = reach(call, flags)?.unwrap_or(Reach::Own);
    let space = target(call, pid, || Ok(()))?;
    if nodes.is_null() {
        return tell_nodes(&space, count, pages, status).map(|()| 0);
    }
    Movement { space, count, status, reach, queue: Vec::new(), queued: BTreeSet::new() }.run(pages, nodes)
}

/// The element `index` of an array in user memory.
fn element<T>(array: UserPointer<T>, index: u64) -> Result<UserPointer<T>> {
    let offset = index.checked_mul(size_of::<T>() as u64);
    let address = offset.and_then(|offset| array.address().checked_add(offset)).ok_or(Errno::EFAULT)?;
    Ok(UserPointer::new(address))
}

/// A node or a negative error as a status.
fn status_of(node: Result<NodeId>) -> i32 {
    node.map_or_else(|error| -error.number(), |node| node.0.into())
}

fn tell_nodes(space: &AddressSpace, count: u64, pages: UserPointer<u64>, status: UserPointer<i32>) -> Result<()> {
    const CHUNK: u64 = 16;
    let mut done = 0;
    while done < count {
        let size = (count - done).min(CHUNK);
        let size_here = usize::try_from(size).map_err(|_| Errno::EFAULT)?;
        let addresses = element(pages, done)?.read_vector(size_here)?;
        let told: Vec<i32> =
            addresses.into_iter().map(|address| status_of(space.resident_node(VirtualAddress::new(address)))).collect();
        element(status, done)?.write_slice(&told)?;
        done += size;
    }
    Ok(())
}

/// `move_pages` under way. As on Linux pages for the same node are gathered until another node or a page that is not to be moved comes, and then moved.
struct Movement {
    space: Arc<AddressSpace>,
    count: u64,
    status: UserPointer<i32>,
    reach: Reach,
    /// The pages gathered.
    queue: Vec<VirtualAddress>,
    queued: BTreeSet<u64>,
}

/// Why it ends before the last page.
enum End {
    Error(Errno),
    /// So many pages were not moved.
    Left(u64),
}

impl From<Errno> for End {
    fn from(error: Errno) -> Self {
        Self::Error(error)
    }
}

impl Movement {
    fn run(mut self, pages: UserPointer<u64>, nodes: UserPointer<i32>) -> Result<u64> {
        let allowed = nodes_with_memory();
        let mut current = None;
        let mut start = 0;
        for index in 0..self.count {
            let request = element(pages, index).and_then(UserPointer::read).and_then(|page| {
                let node = element(nodes, index).and_then(UserPointer::read)?;
                let node = u8::try_from(node).map(NodeId).map_err(|_| Errno::ENODEV)?;
                if allowed.contains(node) { Ok((page, node)) } else { Err(Errno::ENODEV) }
            });
            let (page, node) = match request {
                Ok(request) => request,
                Err(error) => {
                    // What was gathered is moved all the same.
                    let _ = self.flush(current, start, index);
                    return Err(error);
                }
            };
            if current != Some(node) {
                if let Some(ended) = self.flush(current, start, index) {
                    return ended.into_result(0);
                }
                (current, start) = (Some(node), index);
            }
            match self.gather(VirtualAddress::new(page), node) {
                Ok(true) => continue,
                told => {
                    let told = status_of(told.map(|_| node));
                    if let Err(error) = element(self.status, index).and_then(|status| status.write(&told)) {
                        let _ = self.flush(current, start, index);
                        return Err(error);
                    }
                }
            }
            if let Some(ended) = self.flush(current, start, index) {
                // This page was seen to.
                return ended.into_result(1);
            }
            current = None;
        }
        let count = self.count;
        self.flush(current, start, count).map_or(Ok(0), |ended| ended.into_result(0))
    }

    /// Queues a page that has to be moved; `false` for one that is in place.
    fn gather(&mut self, address: VirtualAddress, node: NodeId) -> Result<bool> {
        if !self.space.may_move(address, node, self.reach)? {
            return Ok(false);
        }
        // It is taken off the lists already.
        if !self.queued.insert(address.page_number()) {
            return Err(Errno::EBUSY);
        }
        self.queue.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.queue.push(address);
        Ok(true)
    }

    /// Moves what was gathered, the pages from `start` to before `index`, and notes where they are then.
    fn flush(&mut self, node: Option<NodeId>, start: u64, index: u64) -> Option<End> {
        let node = node.filter(|_| !self.queue.is_empty())?;
        self.queued.clear();
        let mut left = 0;
        for address in core::mem::take(&mut self.queue) {
            match self.space.move_page(address, node, self.reach) {
                Ok(()) => {}
                Err(Errno::ENOMEM) => return Some(End::Error(Errno::ENOMEM)),
                Err(_) => left += 1,
            }
        }
        if left > 0 {
            return Some(End::Left(left + self.count - index));
        }
        let told = i32::from(node.0);
        let note = |index| element(self.status, index).and_then(|status| status.write(&told));
        (start..index).try_for_each(note).err().map(End::Error)
    }
}

impl End {
    fn into_result(self, accounted: u64) -> Result<u64> {
        match self {
            Self::Error(error) => Err(error),
            Self::Left(count) => Ok(count.saturating_sub(accounted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_end_within_a_word() {
        assert_eq!((low_bits(0), low_bits(1), low_bits(63)), (0, 1, u64::MAX >> 1));
        assert_eq!((low_bits(64), low_bits(1000)), (u64::MAX, u64::MAX));
    }

    #[test]
    fn a_status_is_a_node_or_an_error() {
        assert_eq!((status_of(Ok(NodeId(3))), status_of(Err(Errno::ENOENT))), (3, -2));
    }
}
