//! Address spaces against a map of bytes: random steps on up to four spaces that fork from one another.

use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

/// What the model knows of a page.
#[derive(Clone)]
struct ModelPage {
    protection: Protection,
    shared: bool,
    bytes: Rc<RefCell<[u8; 4]>>,
}

const PAGES: u64 = 24;
type Model = Vec<Option<ModelPage>>;

fn fork_model(model: &Model) -> Model {
    let copy = |page: &ModelPage| {
        let bytes = if page.shared { page.bytes.clone() } else { Rc::new(RefCell::new(*page.bytes.borrow())) };
        ModelPage { bytes, ..page.clone() }
    };
    model.iter().map(|page| page.as_ref().map(copy)).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Map { shared: bool, protection: u32 },
    Unmap,
    Protect(u32),
    Write(u8),
    Read,
    Fork,
    Drop,
    Forget,
    Move(u64),
}

fn steps() -> impl Strategy<Value = Vec<(usize, u64, u64, Step)>> {
    let step = prop_oneof![
        3 => (any::<bool>(), 0u32..8).prop_map(|(shared, protection)| Step::Map { shared, protection }),
        2 => Just(Step::Unmap),
        3 => (0u32..8).prop_map(Step::Protect),
        8 => any::<u8>().prop_map(Step::Write),
        5 => Just(Step::Read),
        2 => Just(Step::Fork),
        1 => Just(Step::Drop),
        1 => Just(Step::Forget),
        2 => (0..PAGES).prop_map(Step::Move),
    ];
    prop::collection::vec((0usize..4, 0..PAGES, 1u64..6, step), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn spaces_agree_with_a_byte_map(steps in steps()) {
        let mut spaces: Vec<(Arc<AddressSpace>, Model)> = Vec::new();
        spaces.push((AddressSpace::new().unwrap(), vec![None; PAGES as usize]));
        for (which, start, length, step) in steps {
            let count = spaces.len();
            let which = which % count;
            let end = (start + length).min(PAGES);
            let bytes = (end - start) * PAGE;
            let (space, model) = &mut spaces[which];
            let range = start as usize..end as usize;
            match step {
                Step::Map { shared, protection } => {
                    let protection = Protection::from_bits_truncate(protection);
                    let source = if shared { MapSource::SharedAnonymous } else { MapSource::Anonymous };
                    space.map(&MapRequest::anonymous(bytes, protection).at(at(start)).of(source)).unwrap();
                    for page in &mut model[range] {
                        *page = Some(ModelPage { protection, shared, bytes: Rc::default() });
                    }
                }
                Step::Unmap => {
                    space.unmap(at(start), bytes).unwrap();
                    model[range].fill_with(|| None);
                }
                Step::Protect(protection) => {
                    let protection = Protection::from_bits_truncate(protection);
                    let result = space.protect(at(start), bytes, protection);
                    let mut holes = false;
                    for page in &mut model[range] {
                        match page {
                            Some(page) if !holes => page.protection = protection,
                            Some(_) => {}
                            None => holes = true,
                        }
                    }
                    prop_assert_eq!(result, if holes { Err(Errno::ENOMEM) } else { Ok(()) });
                }
                Step::Write(value) => {
                    enter(space);
                    let offset = u64::from(value) % 4;
                    let result = put(at(start).offset(offset), value);
                    let page = model[start as usize].as_ref();
                    let page = page.filter(|page| page.protection.contains(Protection::WRITE));
                    prop_assert_eq!(result.is_ok(), page.is_some());
                    if let Some(page) = page {
                        page.bytes.borrow_mut()[offset as usize] = value;
                    }
                }
                Step::Read => {
                    enter(space);
                    for page in start..end {
                        let mut found = [0; 4];
                        let result = copy_from_user(&mut found, at(page));
                        let page = model[page as usize].as_ref().filter(|page| !page.protection.is_empty());
                        prop_assert_eq!(result.ok().map(|()| found), page.map(|page| *page.bytes.borrow()));
                    }
                }
                Step::Fork => {
                    if count < 4 {
                        let child = (space.fork().unwrap(), fork_model(model));
                        spaces.push(child);
                    }
                }
                Step::Drop => {
                    if count > 1 {
                        leave();
                        spaces.remove(which);
                    }
                }
                Step::Forget => {
                    let result = space.advise(at(start), bytes, Advice::DontNeed);
                    prop_assert_eq!(result.is_ok(), model[range.clone()].iter().all(Option::is_some));
                    for page in model[range].iter_mut().flatten().filter(|page| !page.shared) {
                        page.bytes = Rc::default();
                    }
                }
                Step::Move(target) => {
                    let length = end - start;
                    let fits = target + length <= PAGES && (target + length <= start || end <= target);
                    let new_address = at(target);
                    let request = RemapRequest {
                        address: at(start),
                        old_length: bytes,
                        new_length: bytes,
                        flags: RemapFlags::MAY_MOVE | RemapFlags::FIXED,
                        new_address,
                        lock_limit: LockLimit::Enforced,
                    };
                    if fits {
                        let moved: Vec<_> = model[range.clone()].to_vec();
                        let is_one = space.areas(Detail::Plain).iter().any(|area| {
                            area.range.start <= at(start) && area.range.end >= at(end)
                        });
                        let result = space.remap(&request);
                        prop_assert_eq!(result.is_ok(), is_one);
                        // On Linux, too, the target is cleared before the source is looked at closely.
                        let source_exists = model[start as usize].is_some();
                        if source_exists {
                            model[target as usize..(target + length) as usize].fill_with(|| None);
                        }
                        if is_one {
                            model[range].fill_with(|| None);
                            model[target as usize..(target + length) as usize].clone_from_slice(&moved);
                        }
                    }
                }
            }
            for (space, model) in &spaces {
                prop_assert!(space.validate());
                prop_assert_eq!(space.statistics().total, model.iter().flatten().count() as u64);
            }
        }
        leave();
    }
}
