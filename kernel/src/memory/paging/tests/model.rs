//! Page tables against a map: random steps on several spaces, with every format and every way to reach tables, and a TLB that keeps
//! what it was not told to forget.

use super::*;
use crate::memory::paging::access::{EntryPointer, TableAccess, window_address};
use crate::memory::paging::format::Decoded;
use arrayvec::ArrayVec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// The recursive window as hardware would translate it, walked in software: for tests, where nothing is active.
#[derive(Clone, Copy, Debug)]
struct EmulatedWindow {
    root: FrameNumber,
}

impl From<FrameNumber> for EmulatedWindow {
    fn from(root: FrameNumber) -> Self {
        Self { root }
    }
}

impl TableAccess for EmulatedWindow {
    fn entry(self, _table: FrameNumber, level: u8, address: VirtualAddress) -> EntryPointer {
        let window = window_address(511, level, address);
        let mut table = self.root;
        for walked in (0..=TOP_LEVEL).rev() {
            let entry = Physmap.entry(table, walked, window).load();
            // What is absent leads to frame 0, which the comparison with the physmap then shows.
            table = X86_64Format::frame(entry);
        }
        Physmap.entry(table, 0, VirtualAddress::new((window.page_offset() as u64 / 8) << 12))
    }
}

fn page_at(slot: usize) -> VirtualAddress {
    // Several pages of one table, of neighbouring tables, and far apart.
    const PAGES: [u64; 12] =
        [0x0, 0x1, 0x1ff, 0x200, 0x201, 0x3ff, 0x400, 0x3_ffff, 0x4_0000, 0x7ff_ffff, 0x800_0000, 0x7_ffff_fffe];
    VirtualAddress::new(PAGES[slot % PAGES.len()] * PAGE)
}

fn range(start: VirtualAddress, end: VirtualAddress) -> VirtualRange {
    let (start, end) = if start <= end { (start, end) } else { (end, start) };
    VirtualRange { start, end: end.offset(PAGE) }
}

#[derive(Clone, Debug)]
enum Step {
    Map(usize, u32),
    MapRun(usize, u32),
    MapUncounted(usize, u32),
    Set(usize, u32),
    Unmap(usize),
    Protect(usize, u32),
    Software(usize, u64),
    UnmapRange(usize, usize),
    ProtectRange(usize, usize, u32),
    Move(usize, usize),
    Fork,
    Swap,
    Write(usize),
    Touch,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || 0usize..12;
    let flags = || 0u32..1 << 11;
    prop_oneof![
        4 => (slot(), flags()).prop_map(|(slot, flags)| Step::Map(slot, flags)),
        4 => (slot(), flags()).prop_map(|(slot, flags)| Step::MapRun(slot, flags)),
        2 => (slot(), flags()).prop_map(|(slot, flags)| Step::MapUncounted(slot, flags)),
        3 => (slot(), flags()).prop_map(|(slot, flags)| Step::Set(slot, flags)),
        3 => slot().prop_map(Step::Unmap),
        3 => (slot(), flags()).prop_map(|(slot, flags)| Step::Protect(slot, flags)),
        1 => (slot(), 0u64..1 << 50).prop_map(|(slot, value)| Step::Software(slot, value)),
        2 => (slot(), slot()).prop_map(|(first, last)| Step::UnmapRange(first, last)),
        2 => (slot(), slot(), flags()).prop_map(|(first, last, flags)| Step::ProtectRange(first, last, flags)),
        1 => (slot(), slot()).prop_map(|(from, to)| Step::Move(from, to)),
        2 => Just(Step::Fork),
        2 => Just(Step::Swap),
        3 => slot().prop_map(Step::Write),
        4 => Just(Step::Touch),
    ]
}

/// Flags that a test may ask for: `UNCOUNTED` is the walker's affair, device and write-combining, writable and
/// copy-on-write exclude each other.
fn allowed(bits: u32) -> PageFlags {
    let flags = PageFlags::from_bits_truncate(bits) - PageFlags::UNCOUNTED;
    let flags = if flags.contains(PageFlags::DEVICE) { flags - PageFlags::WRITE_COMBINING } else { flags };
    let flags = if flags.contains(PageFlags::WRITABLE) { flags - PageFlags::COPY_ON_WRITE } else { flags };
    if bits & 0x600 == 0x600 { flags | PageFlags::NO_ACCESS } else { flags }
}

/// As [`allowed`], for a page that is there: private memory becomes writable by a store alone, which gets it its own frame.
fn protection(bits: u32) -> PageFlags {
    let flags = allowed(bits);
    if flags.contains(PageFlags::SHARED) { flags } else { flags - PageFlags::WRITABLE }
}

/// What a page holds, as the test knows it; the frames themselves prove their reference counts at the end.
#[derive(Clone, Debug)]
enum Held {
    Counted(Frame, PageFlags),
    Uncounted(u64, PageFlags),
    Software(u64),
}

#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<u64, Held>);

impl Model {
    /// What `fork` does to private writable pages.
    fn fork(&mut self) -> Self {
        for held in self.0.values_mut() {
            if let Held::Counted(_, flags) | Held::Uncounted(_, flags) = held
                && flags.contains(PageFlags::WRITABLE)
                && !flags.contains(PageFlags::SHARED)
            {
                *flags = (*flags - PageFlags::WRITABLE) | PageFlags::COPY_ON_WRITE;
            }
        }
        self.clone()
    }
}

/// `holders` says how many spaces have a frame. The tables give exactly what the model holds. Memory that is shared may be read-only for a while after a fork.
fn check<F: Format, A: TableAccess>(
    space: &Space<F, A>,
    model: &Model,
    holders: &dyn Fn(FrameNumber) -> usize,
) -> Result<(), TestCaseError> {
    prop_assert!(F::RUN == 1 || space.walker().runs_are_whole(space.walker().root(), TOP_LEVEL));
    let mut seen = BTreeMap::new();
    let all = VirtualRange { start: VirtualAddress::new(0), end: VirtualAddress::new(1 << 47) };
    space.inspect_range(all, |page, entry| {
        seen.insert(page.value(), entry);
        ControlFlow::Continue(())
    });
    prop_assert_eq!(seen.keys().collect::<Vec<_>>(), model.0.keys().collect::<Vec<_>>());
    for (page, held) in &model.0 {
        let entry = space.entry(VirtualAddress::new(*page));
        prop_assert_eq!(entry, seen[page]);
        let (frame, flags) = match held {
            Held::Counted(frame, flags) => (frame.number(), *flags),
            Held::Uncounted(frame, flags) => (FrameNumber::new(*frame), *flags | PageFlags::UNCOUNTED),
            Held::Software(value) => {
                prop_assert_eq!(entry, Entry::Software(*value));
                continue;
            }
        };
        let Entry::Leaf(leaf) = entry else { return Err(TestCaseError::fail("no leaf")) };
        prop_assert_eq!(leaf.frame, frame);
        // A space that is alone with a table again keeps what it may write: nobody else has the frame then.
        let mut flags = flags;
        if flags.contains(PageFlags::COPY_ON_WRITE) && leaf.flags.contains(PageFlags::WRITABLE) {
            prop_assert!(matches!(held, Held::Uncounted(..)) || holders(frame) == 1);
            flags = (flags - PageFlags::COPY_ON_WRITE) | PageFlags::WRITABLE;
        }
        let relaxed = if flags.contains(PageFlags::SHARED) { PageFlags::WRITABLE } else { PageFlags::empty() };
        prop_assert_eq!(leaf.flags | relaxed, flags | relaxed, "page {:#x}", page);
        prop_assert_eq!(space.frame(VirtualAddress::new(*page)).is_some(), matches!(held, Held::Counted(..)));
    }
    Ok(())
}

/// Nothing that the TLB still holds allows more, or leads elsewhere, than the tables say.
fn check_tlb<F: Format, A: TableAccess>(space: &Space<F, A>) -> Result<(), TestCaseError> {
    for ((owner, page), cached) in space.tlb().cached.borrow().iter() {
        if *owner != space.root().value() {
            continue;
        }
        let Some(now) = space.translate(VirtualAddress::new(*page)) else {
            return Err(TestCaseError::fail(format!("page {page:#x} is gone but cached")));
        };
        let rights = PageFlags::WRITABLE | PageFlags::USER | PageFlags::EXECUTABLE;
        prop_assert_eq!(now.frame, cached.frame);
        prop_assert!(now.flags.contains(cached.flags & rights), "page {:#x}: {:?} cached {:?}", page, now, cached);
        prop_assert!(!now.flags.contains(PageFlags::NO_ACCESS));
    }
    for (owner, page) in space.tlb().runs.borrow().iter() {
        let found = space.walker().find(VirtualAddress::new(*page));
        let is_run = F::is_joined(found.entry, found.level);
        prop_assert!(*owner != space.root().value() || is_run, "run {:#x} is none any more but cached", page);
    }
    Ok(())
}

fn touch<F: Format, A: TableAccess>(space: &Space<F, A>) {
    for slot in 0..12 {
        let page = page_at(slot);
        if let Some(leaf) = space.translate(page)
            && !leaf.flags.contains(PageFlags::NO_ACCESS)
        {
            space.tlb().cached.borrow_mut().insert((space.root().value(), page.value()), leaf);
            let found = space.walker().find(page);
            if F::is_joined(found.entry, found.level) {
                // One entry of the run stands for all.
                let (start, place) = (page.value() & !(RUN - 1), page.value() / PAGE % F::RUN);
                space.tlb().runs.borrow_mut().insert((space.root().value(), start));
                for index in 0..F::RUN {
                    let leaf = Leaf { frame: FrameNumber::new(leaf.frame.value() - place + index), ..leaf };
                    space.tlb().cached.borrow_mut().insert((space.root().value(), start + index * PAGE), leaf);
                }
            }
        }
    }
}

/// A store by a program: permitted, or resolved as the fault path does.
fn store<F: Format, A: TableAccess>(
    space: &mut Space<F, A>,
    model: &mut Model,
    page: VirtualAddress,
) -> Result<(), TestCaseError> {
    let Some(Held::Counted(frame, flags)) = model.0.get_mut(&page.value()) else { return Ok(()) };
    if !flags.contains(PageFlags::COPY_ON_WRITE) {
        return Ok(());
    }
    let mut batch = Batch::for_tables(space);
    space.unshare(page).unwrap();
    let writable = (*flags - PageFlags::COPY_ON_WRITE) | PageFlags::WRITABLE;
    let copy = Frame::allocate().unwrap();
    copy.copy_from(frame);
    space.set(page, copy.clone(), writable, &mut batch).unwrap();
    *frame = copy;
    *flags = writable;
    Ok(())
}

fn run<F: Format, A: TableAccess + From<FrameNumber>>(steps: &[Step]) -> Result<(), TestCaseError> {
    let tlb = RecordingTlb::default();
    let mut space: Space<F, A> = Tables::with(A::from, tlb.clone()).unwrap();
    let mut model = Model::default();
    let mut others: Vec<(Space<F, A>, Model)> = Vec::new();
    for step in steps {
        let mut batch = Batch::for_tables(&space);
        match step.clone() {
            Step::Map(slot, bits) => {
                let (page, flags) = (page_at(slot), allowed(bits));
                let frame = Frame::allocate().unwrap();
                let result = space.map(page, frame.clone(), flags);
                prop_assert_eq!(result.is_err(), model.0.contains_key(&page.value()));
                if result.is_ok() {
                    model.0.insert(page.value(), Held::Counted(frame, flags));
                }
            }
            Step::MapRun(slot, bits) => {
                let page = VirtualAddress::new(page_at(slot).value() & !(RUN - 1));
                let mut flags = allowed(bits & 0x3ff) | PageFlags::ACCESSED;
                flags.set(PageFlags::DIRTY, flags.contains(PageFlags::WRITABLE) || bits & 1 << 7 != 0);
                let frames: ArrayVec<Frame, 16> = Frame::allocate_block(4).unwrap().into_pages().unwrap();
                let result = space.map_run(page, frames.clone(), flags);
                if F::RUN == 1 {
                    prop_assert_eq!(result, Err(MapError::Unaligned));
                    continue;
                }
                let pages = (0..F::RUN).map(|index| page.value() + index * PAGE);
                prop_assert_eq!(result.is_err(), pages.clone().any(|page| model.0.contains_key(&page)));
                if result.is_ok() {
                    model.0.extend(pages.zip(frames.into_iter().map(|frame| Held::Counted(frame, flags))));
                }
            }
            Step::MapUncounted(slot, bits) => {
                let (page, flags) = (page_at(slot), allowed(bits));
                let result = space.map_uncounted(page, FrameNumber::new(u64::from(bits) + 1), flags);
                prop_assert_eq!(result.is_err(), model.0.contains_key(&page.value()));
                if result.is_ok() {
                    model.0.insert(page.value(), Held::Uncounted(u64::from(bits) + 1, flags));
                }
            }
            Step::Set(slot, bits) => {
                let (page, flags) = (page_at(slot), allowed(bits));
                let frame = Frame::allocate().unwrap();
                space.set(page, frame.clone(), flags, &mut batch).unwrap();
                model.0.insert(page.value(), Held::Counted(frame, flags));
            }
            Step::Unmap(slot) => {
                let page = page_at(slot);
                let leaf = space.unmap(page, &mut batch).unwrap();
                let held = model.0.remove(&page.value());
                prop_assert_eq!(leaf.is_some(), held.is_some_and(|held| !matches!(held, Held::Software(_))));
            }
            Step::Protect(slot, bits) => {
                let (page, flags) = (page_at(slot), protection(bits));
                let changed = space.protect(page, flags, &mut batch).unwrap();
                match model.0.get_mut(&page.value()) {
                    Some(Held::Counted(_, old) | Held::Uncounted(_, old)) => {
                        prop_assert!(changed);
                        *old = flags;
                    }
                    _ => prop_assert!(!changed),
                }
            }
            Step::Software(slot, value) => {
                let page = page_at(slot);
                space.set_software(page, value, &mut batch).unwrap();
                if value == 0 {
                    model.0.remove(&page.value());
                } else {
                    model.0.insert(page.value(), Held::Software(value));
                }
            }
            Step::UnmapRange(first, last) => {
                let range = range(page_at(first), page_at(last));
                let pages = space.unmap_range(range, &mut batch).unwrap();
                let before = model.0.values().filter(|held| !matches!(held, Held::Software(_))).count();
                model.0.retain(|page, _| !range.contains(VirtualAddress::new(*page)));
                let after = model.0.values().filter(|held| !matches!(held, Held::Software(_))).count();
                prop_assert_eq!(pages, (before - after) as u64);
            }
            Step::ProtectRange(first, last, bits) => {
                let (range, flags) = (range(page_at(first), page_at(last)), protection(bits));
                let mut visited = Vec::new();
                space
                    .visit_range(range, &mut batch, |slot| {
                        visited.push(slot.page().value());
                        slot.protect(flags);
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                let mut expected = Vec::new();
                for (page, held) in &mut model.0 {
                    if range.contains(VirtualAddress::new(*page)) {
                        expected.push(*page);
                        if let Held::Counted(_, old) | Held::Uncounted(_, old) = held {
                            *old = flags;
                        }
                    }
                }
                prop_assert_eq!(visited, expected);
            }
            Step::Move(from, to) => {
                let (from, to) = (page_at(from), page_at(to));
                if from == to {
                    continue;
                }
                let result = space.move_range(range(from, from), to, &mut batch);
                let occupied = model.0.contains_key(&to.value());
                if let Some(held) = model.0.get(&from.value()).cloned() {
                    prop_assert_eq!(result.is_err(), occupied);
                    if !occupied {
                        model.0.remove(&from.value());
                        model.0.insert(to.value(), held);
                    }
                }
            }
            Step::Fork if others.len() < 3 => {
                let child = space.fork(&mut batch).unwrap();
                others.push((child, model.fork()));
            }
            Step::Fork => {
                // A space that ends is active nowhere, so nothing of it is cached.
                if let Some((other, _)) = others.pop() {
                    tlb.invalidate_all(other.root());
                }
            }
            Step::Swap => {
                drop(batch);
                if let Some((other, held)) = others.pop() {
                    others.insert(0, (std::mem::replace(&mut space, other), std::mem::replace(&mut model, held)));
                }
                continue;
            }
            Step::Write(slot) => store(&mut space, &mut model, page_at(slot))?,
            Step::Touch => touch(&space),
        }
        drop(batch);
        let holders = |frame: FrameNumber| {
            let models = others.iter().map(|(_, model)| model).chain([&model]);
            let held = models.flat_map(|model| model.0.values());
            held.filter(|held| matches!(held, Held::Counted(other, _) if other.number() == frame)).count()
        };
        check(&space, &model, &holders)?;
        check_tlb(&space)?;
        for (other, held) in &others {
            check(other, held, &holders)?;
            check_tlb(other)?;
        }
    }
    // Every reference that the tables took is given back.
    drop(space);
    let mut models: Vec<Model> = others.into_iter().map(|(_, model)| model).collect();
    models.push(model);
    let mut counts: HashMap<u64, (Frame, u32)> = HashMap::new();
    for model in models {
        for held in model.0.into_values() {
            if let Held::Counted(frame, _) = held {
                counts.entry(frame.number().value()).or_insert_with(|| (frame.clone(), 1)).1 += 1;
            }
        }
    }
    for (frame, expected) in counts.values() {
        // The models' frames are gone by now; the map's own clone is the only reference left.
        prop_assert!(*expected >= 2);
        prop_assert_eq!(frame.reference_count(), 1);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn x86_64_agrees_with_a_map(steps in proptest::collection::vec(step(), 1..60)) {
        run::<X86_64Format, Physmap>(&steps)?;
    }
    #[test]
    fn x86_64_through_the_recursive_window_agrees_with_a_map(steps in proptest::collection::vec(step(), 1..40)) {
        run::<X86_64Format, EmulatedWindow>(&steps)?;
    }
    #[test]
    fn lpae_agrees_with_a_map(steps in proptest::collection::vec(step(), 1..60)) {
        run::<ArmLpaeFormat, Physmap>(&steps)?;
    }
    #[test]
    fn every_leaf_survives_encoding(frame in 0u64..1 << 35, bits in 0u32..1 << 12, level in 0u8..=2) {
        let frame = FrameNumber::new(frame << 9 & !0x1ff & ((1 << 36) - 1));
        let mut flags = allowed(bits);
        flags.set(PageFlags::UNCOUNTED, bits & 1 << 10 != 0);
        prop_assert_eq!(X86_64Format::decode(X86_64Format::leaf(frame, flags, level), level), Decoded::Leaf(frame, flags));
        prop_assert_eq!(ArmLpaeFormat::decode(ArmLpaeFormat::leaf(frame, flags, level), level), Decoded::Leaf(frame, flags));
    }
    #[test]
    fn every_software_value_survives_encoding(value in 1u64..1 << 50) {
        prop_assert_eq!(X86_64Format::decode(X86_64Format::software(value), 0), Decoded::Software(value));
        prop_assert_eq!(ArmLpaeFormat::decode(ArmLpaeFormat::software(value), 0), Decoded::Software(value));
    }
}
