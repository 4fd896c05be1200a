//! Forgetting translations on every CPU that may have them; and which space each CPU has active.
//!
//! | machine | a change to a space's tables |
//! |---|---|
//! | broadcasts invalidations (AArch64) | is told to all CPUs by one instruction, under the space's tag ([`super::tags`]) |
//! | does not (x86_64) | is told by a call ([`inter_processor::call_on`]) to the CPUs that have the space active; where there are tags, the space gets a new *version* |
//!
//! # Versions (x86_64 with PCIDs)
//! A CPU has a few tags of its own, each with the space that it was last used for and that space's version then ([`TagTable`]). A space is
//! activated with what is cached under its tag if its version is still the same; else that is forgotten first. So a CPU on which the space is not active need
//! not be told of a change. The version stands in the descriptor of the space's top table (`index`); versions are never used twice, so neither is a
//! space taken for an older one with the same top table.
//!
//! # The order that makes it right
//! | who activates | who changes |
//! |---|---|
//! | says that the space is active here | changes the tables |
//! | reads the version | changes the version |
//! | loads the table | looks who has it active |
//!
//! Each step is ordered before the next for everybody (sequentially consistent). So either the second sees the first, and tells it; or the first sees
//! the new version, and its walks the new tables. A CPU that leaves a space counts as having it active until the other is loaded.
//!
//! # Idle CPUs
//! The last space stays active while a kernel thread or the idle thread runs: mostly it is the next one, too, and loading a table twice in between is dear
//! where it forgets everything. The CPU *rests* in it ([`rest`]): when it is asked to forget something of the space, it leaves the space, so that it is
//! interrupted once at most for a space that it does not use. Before a space's tables are freed, whatever CPU
//! still has it active leaves it ([`leave_everywhere`]); no thread of the space is left by then. Whoever wants to know what is active asks [`is_active`]:
//! a copy would not learn of that.
//!
//! The calls run anywhere (`arch::inter_processor`): they take no lock.

#![allow(unsafe_code, reason = "activates tables")]

use super::super::frame_allocator::descriptor;
use super::tags;
use crate::arch::{Cpu, Current, Mmu, inter_processor};
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS, PhysicalAddress, VirtualAddress};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::Relaxed, Ordering::SeqCst};

/// Tags that a CPU uses at a time: more make it forget less, but hardware keeps few translations per tag anyway (Linux has 6).
const TAGS_PER_CPU: usize = 8;

/// What a CPU has active. A line of its own: others look at it.
#[repr(align(64))]
struct CpuSpace {
    /// The space that it has active, or is about to.
    active: AtomicU64,
    /// The space that is loaded, until another is.
    loaded: AtomicU64,
    /// No thread of the active space runs. The CPU's own affair.
    resting: AtomicBool,
    /// Written by the CPU alone, interrupts masked.
    tags: TagTable<TAGS_PER_CPU>,
}

static CPUS: [CpuSpace; MAXIMUM_CPUS] = [const {
    CpuSpace {
        active: AtomicU64::new(0),
        loaded: AtomicU64::new(0),
        resting: AtomicBool::new(false),
        tags: TagTable::new(),
    }
}; MAXIMUM_CPUS];

/// The kernel's own top table, which every CPU can have active.
static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);

/// Remembers the table that maps the kernel alone: once, at boot.
pub fn set_kernel_root(root: PhysicalAddress) {
    KERNEL_ROOT.store(root.value(), Relaxed);
}

fn this_cpu() -> Option<&'static CpuSpace> {
    CPUS.get(Current::id().0 as usize)
}

/// Whether this CPU has the space with top table `root` active. Interrupts are disabled, or the answer may be old.
#[inline]
#[must_use]
pub fn is_active(root: PhysicalAddress) -> bool {
    this_cpu().is_some_and(|cpu| cpu.active.load(Relaxed) == root.value())
}

/// Makes the space with top table `root` this CPU's. Interrupts are disabled.
///
/// # Safety
/// As for [`Mmu::activate`]; `root` is the root of [`super::Tables`], which call [`leave_everywhere`] before they go.
#[inline]
pub unsafe fn activate(root: PhysicalAddress) {
    let Some(cpu) = this_cpu() else {
        // SAFETY: the caller's promise.
        return unsafe { Current::activate(root, 0) };
    };
    cpu.resting.store(false, Relaxed);
    cpu.active.swap(root.value(), SeqCst);
    if Current::BROADCASTS_INVALIDATIONS {
        // SAFETY: the caller's promise.
        unsafe { tags::activate(root) };
    } else if Current::tag_count() > 1
        && let Some(descriptor) = descriptor(root.frame())
    {
        let version = match descriptor.version() {
            0 => descriptor.set_first_version(new_version()),
            version => version,
        };
        let (tag, before) = cpu.tags.find(root, version);
        // SAFETY: the caller's promise. What is cached under the tag is this space's, and as new as its version; or it is forgotten before user
        // addresses are used again.
        unsafe { Current::activate(root, tag) };
        if before == tags::Before::Forget {
            Current::invalidate_all();
        }
    } else {
        // SAFETY: the caller's promise.
        unsafe { Current::activate(root, 0) };
    }
    cpu.loaded.store(root.value(), Ordering::Release);
}

/// No thread of the active space runs from now on, until [`resume`] or [`activate`]: whoever changes the space need not have this CPU follow. Interrupts are
/// disabled.
#[inline]
pub fn rest() {
    if let Some(cpu) = this_cpu() {
        cpu.resting.store(true, Relaxed);
    }
}

/// A thread of the space with top table `root` is about to run here. Says whether the space is active; if not, [`activate`] must follow. Interrupts are disabled.
#[inline]
#[must_use]
pub fn resume(root: PhysicalAddress) -> bool {
    this_cpu().is_some_and(|cpu| {
        cpu.resting.store(false, Relaxed);
        cpu.active.load(Relaxed) == root.value()
    })
}

/// Leaves user space: makes the kernel's own table this CPU's, if it is not. Interrupts are disabled.
#[inline]
pub fn activate_kernel() {
    let root = KERNEL_ROOT.load(Relaxed);
    if root != 0 && !is_active(PhysicalAddress::new(root)) {
        activate_kernel_table(root);
    }
}

fn activate_kernel_table(root: u64) {
    if let Some(cpu) = this_cpu() {
        cpu.active.swap(root, SeqCst);
    }
    // SAFETY: the kernel's own table is there for good and has no user translations.
    unsafe { Current::activate(PhysicalAddress::new(root), 0) };
    if let Some(cpu) = this_cpu() {
        cpu.loaded.store(root, Ordering::Release);
    }
}

/// The CPUs but this one that may have the space with top table `root` active. What is to count for who activates it later (changed tables, the version) has been
/// written before.
#[inline]
#[must_use]
pub fn others_with(root: PhysicalAddress) -> CpuMask {
    let others = inter_processor::online().without(Current::id());
    if others.is_empty() {
        return others;
    }
    core::sync::atomic::fence(SeqCst);
    others.iter().filter(|cpu| may_have(*cpu, root)).collect()
}

fn may_have(cpu: CpuId, root: PhysicalAddress) -> bool {
    let Some(cpu) = CPUS.get(cpu.0 as usize) else { return false };
    // In this order: a CPU stores `active` before it loads and `loaded` afterwards.
    cpu.active.load(SeqCst) == root.value() || cpu.loaded.load(SeqCst) == root.value()
}

/// What a CPU is asked to forget.
#[derive(Debug)]
struct Request<'a> {
    root: PhysicalAddress,
    /// All, where there are none.
    pages: Option<&'a [VirtualAddress]>,
    /// The space's version before and after the change; both 0 where there are none.
    versions: (u64, u64),
}

impl Request<'_> {
    /// Does it on this CPU; interrupts are masked.
    fn serve(&self) {
        let Some(cpu) = this_cpu() else { return };
        Current::local().count_shootdown();
        if !may_have(Current::id(), self.root) {
            return;
        }
        if cpu.resting.load(Relaxed) && cpu.active.load(Relaxed) == self.root.value() {
            // What it has cached is forgotten with the load of the other table, or when the space, which has a new version, is activated again.
            return activate_kernel();
        }
        match self.pages {
            Some(pages) => pages.iter().for_each(|page| Current::invalidate_page(*page)),
            None => Current::invalidate_all(),
        }
        cpu.tags.renew(self.root, self.versions, self.pages.is_none());
    }
}

/// Forgets `pages` (or all) of the space with top table `root`, whose tables have been changed, wherever they may be cached.
/// Returns when that is done.
pub(super) fn invalidate(root: PhysicalAddress, pages: Option<&[VirtualAddress]>) {
    if pages.is_some_and(<[_]>::is_empty) {
        return;
    }
    let interrupts = Current::save_and_disable_interrupts();
    let is_active_here = Current::active_root() == root;
    if Current::BROADCASTS_INVALIDATIONS {
        match pages {
            Some(pages) if is_active_here => Current::shoot_down_pages(pages),
            None if is_active_here => Current::invalidate_all(),
            // All of it: the space is rarely changed from elsewhere.
            _ => tags::invalidate_space(root),
        }
    } else {
        let versions = next_version(root);
        let request = Request { root, pages, versions };
        let others = others_with(root);
        if is_active_here {
            match pages {
                Some(pages) => Current::shoot_down_pages(pages),
                None => Current::invalidate_all(),
            }
            if let Some(cpu) = this_cpu() {
                cpu.tags.renew(root, versions, pages.is_none());
            }
        }
        if !others.is_empty() {
            inter_processor::call_on(others, Request::serve, &request);
        }
    }
    if interrupts {
        Current::enable_interrupts();
    }
}

/// Forgets the translations of the kernel's `pages`, which have been unmapped, on every CPU.
pub(super) fn invalidate_kernel_pages(pages: &[VirtualAddress]) {
    if pages.is_empty() {
        return;
    }
    // Masked, so that "this CPU" and "the others" are said of the same one.
    let interrupts = Current::save_and_disable_interrupts();
    Current::shoot_down_pages(pages);
    if !Current::BROADCASTS_INVALIDATIONS {
        let forget = |pages: &&[VirtualAddress]| pages.iter().for_each(|page| Current::invalidate_page(*page));
        inter_processor::call_on(CpuMask::ALL, forget, &pages);
    }
    if interrupts {
        Current::enable_interrupts();
    }
}

/// Forgets everything on every CPU.
pub(super) fn invalidate_everything() {
    let interrupts = Current::save_and_disable_interrupts();
    Current::invalidate_everything();
    if !Current::BROADCASTS_INVALIDATIONS {
        inter_processor::call_on(CpuMask::ALL, |()| Current::invalidate_everything(), &());
    }
    if interrupts {
        Current::enable_interrupts();
    }
}

/// No CPU has the space with top table `root` active when this returns. No thread of it is left, so none will again.
pub(super) fn leave_everywhere(root: PhysicalAddress) {
    fn leave(root: &PhysicalAddress) {
        if this_cpu().is_some_and(|cpu| cpu.active.load(Relaxed) == root.value()) {
            activate_kernel();
        }
    }
    let interrupts = Current::save_and_disable_interrupts();
    leave(&root);
    let others = others_with(root);
    if !others.is_empty() {
        inter_processor::call_on(others, leave, &root);
    }
    if interrupts {
        Current::enable_interrupts();
    }
}

static NEXT_VERSION: AtomicU64 = AtomicU64::new(1);

fn new_version() -> u64 {
    NEXT_VERSION.fetch_add(1, SeqCst)
}

/// The space's tables have changed: its version before and from now on.
fn next_version(root: PhysicalAddress) -> (u64, u64) {
    if Current::tag_count() > 1
        && let Some(descriptor) = descriptor(root.frame())
    {
        let new = new_version();
        return (descriptor.replace_version(new), new);
    }
    (0, 0)
}

/// The tags of one CPU: tag `n + 1` is described by place `n`.
#[derive(Debug)]
struct TagTable<const COUNT: usize> {
    places: [Place; COUNT],
    next: AtomicU64,
}

#[derive(Debug)]
struct Place {
    root: AtomicU64,
    version: AtomicU64,
}

impl<const COUNT: usize> TagTable<COUNT> {
    const fn new() -> Self {
        Self {
            places: [const { Place { root: AtomicU64::new(0), version: AtomicU64::new(0) } }; COUNT],
            next: AtomicU64::new(0),
        }
    }

    /// The tag for `root` at `version`, and what to do with what is cached under it. It is taken for that from now on.
    fn find(&self, root: PhysicalAddress, version: u64) -> (u16, tags::Before) {
        let known = self.places.iter().position(|place| place.root.load(Relaxed) == root.value());
        let index = known.unwrap_or_else(|| {
            let next = self.next.load(Relaxed);
            self.next.store(next.wrapping_add(1), Relaxed);
            next as usize % COUNT
        });
        let tag = index as u16 + 1;
        let Some(place) = self.places.get(index) else { return (0, tags::Before::Forget) };
        if known.is_some() && place.version.load(Relaxed) == version {
            return (tag, tags::Before::Keep);
        }
        place.root.store(root.value(), Relaxed);
        place.version.store(version, Relaxed);
        (tag, tags::Before::Forget)
    }

    /// What the change from `versions.0` to `versions.1` made old is forgotten. Where changes were missed in between, the version
    /// stays behind, unless `everything` is forgotten; then all is forgotten when the space is next activated.
    fn renew(&self, root: PhysicalAddress, versions: (u64, u64), everything: bool) {
        let Some(place) = self.places.iter().find(|place| place.root.load(Relaxed) == root.value()) else { return };
        let held = place.version.load(Relaxed);
        if held == versions.0 || everything && held < versions.1 {
            place.version.store(versions.1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::tags::Before::{Forget, Keep};
    use super::*;

    fn root(number: u64) -> PhysicalAddress {
        PhysicalAddress::new(number << 12)
    }

    #[test]
    fn a_space_keeps_its_translations_while_its_version_is_the_same() {
        let table = TagTable::<2>::new();
        assert_eq!(table.find(root(1), 10), (1, Forget), "nothing is known of what is cached under a tag");
        assert_eq!(table.find(root(2), 11), (2, Forget));
        assert_eq!(table.find(root(1), 10), (1, Keep));
        assert_eq!(table.find(root(1), 12), (1, Forget), "it changed while it was away");
        assert_eq!(table.find(root(1), 12), (1, Keep));
        assert_eq!(table.find(root(3), 13), (1, Forget), "the tags go round");
        assert_eq!(table.find(root(1), 12), (2, Forget));
    }

    #[test]
    fn a_change_that_was_missed_is_not_forgotten() {
        let table = TagTable::<2>::new();
        table.find(root(1), 10);
        table.renew(root(1), (10, 11), false);
        assert_eq!(table.find(root(1), 11).1, Keep);
        table.renew(root(1), (12, 13), false);
        assert_eq!(table.find(root(1), 13).1, Forget, "the change to 12 was not served here");
        table.renew(root(1), (14, 15), true);
        assert_eq!(table.find(root(1), 15).1, Keep);
        table.renew(root(9), (15, 16), true);
        assert_eq!(table.find(root(1), 15).1, Keep, "another's");
    }

    #[test]
    fn who_has_a_space_active_is_known_until_another_is_loaded() {
        let root = root(0x77);
        CPUS[61].loaded.store(root.value(), SeqCst);
        assert!(may_have(CpuId(61), root));
        CPUS[61].loaded.store(0, SeqCst);
        CPUS[61].active.store(root.value(), SeqCst);
        assert!(may_have(CpuId(61), root));
        CPUS[61].active.store(0, SeqCst);
        assert!(!may_have(CpuId(61), root));
    }
}
