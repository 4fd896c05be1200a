//! Memory that runs out in the middle of a call: for each operation, the n-th allocation fails, for every n, once or from then on. The space is
//! then as it was, or as the operation leaves it, page by page; it works on; and every frame comes back in the end.

use super::tests::{PAGE, at, read_write};
use super::*;
use crate::arch::AccessKind;
use crate::memory::area::Backing;
use crate::memory::frame_ledger::{self, Shortage};
use crate::memory::object::SharedPages;
use std::vec::Vec;

/// The first table's worth of pages, twice and a bit: private, anonymous.
const PRIVATE: u64 = 1100;
/// A hole of 100 pages after it, then memory shared with children.
const SHARED: u64 = 1200;
/// Then a private mapping of an object.
const OBJECT: u64 = 1300;
/// Then what no child gets.
const OWN: u64 = 1400;
const END: u64 = 1500;
/// Where operations move things to, far from all that.
const ELSEWHERE: u64 = 0x4_0000;

const TOUCHED: [u64; 10] = [0, 1, 300, 511, 512, 513, 700, 1023, 1024, 1099];

/// A page as a program sees it: the area's flags and the first word.
type Page = Option<(AreaFlags, u64)>;

struct Scene {
    object: Arc<SharedPages>,
    space: Arc<AddressSpace>,
    /// Shares tables and frames with the space.
    relatives: Vec<Arc<AddressSpace>>,
}

/// Who is operated on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Alone,
    Parent,
    Child,
}

fn write(space: &AddressSpace, page: u64, value: u64) -> Result<()> {
    space.write_foreign(at(page), &value.to_le_bytes(), ForeignAccess::Checked).map(|_| ())
}

impl Scene {
    fn new(role: Role) -> Self {
        let object = Arc::new(SharedPages::new());
        for page in 0..130u64 {
            object.write_at(page * PAGE, &(7000 + page).to_le_bytes()).unwrap();
        }
        let space = AddressSpace::new().unwrap();
        let source = ObjectSource { object: object.clone(), offset: 0, maximum: Protection::all() };
        let anonymous = |pages: u64, first: u64| MapRequest::anonymous(pages * PAGE, read_write()).at(at(first));
        space.map(&anonymous(PRIVATE, 0)).unwrap();
        space.map(&anonymous(50, SHARED).of(MapSource::SharedAnonymous)).unwrap();
        space.map(&anonymous(90, OBJECT).of(MapSource::Private(source))).unwrap();
        space.map(&anonymous(100, OWN)).unwrap();
        space.advise(at(OWN), 40 * PAGE, Advice::DontFork).unwrap();
        space.advise(at(OWN + 40), 60 * PAGE, Advice::WipeOnFork).unwrap();
        for page in TOUCHED {
            write(&space, page, page + 1).unwrap();
        }
        for page in [SHARED, SHARED + 9, OBJECT + 3, OBJECT + 70, OWN, OWN + 41, OWN + 99] {
            write(&space, page, page + 1).unwrap();
        }
        // The zero page, and a page of the object's own.
        for page in [5, 600, OBJECT + 1] {
            space.lock().bring_in(at(page), AccessKind::Read).unwrap();
        }
        if role == Role::Alone {
            return Self { object, space, relatives: Vec::new() };
        }
        let child = space.fork().unwrap();
        // Tables and frames that both have to themselves, beside those that are common.
        write(&child, 1, 77).unwrap();
        let (space, relative) = if role == Role::Child { (child, space) } else { (space, child) };
        Self { object, space, relatives: std::vec![relative] }
    }

    fn look(space: &AddressSpace) -> Vec<Page> {
        (0..END).chain(ELSEWHERE..ELSEWHERE + 1200).map(|page| space.lock().look(at(page))).collect()
    }
}

impl State {
    /// The page without bringing anything in.
    fn look(&self, page: VirtualAddress) -> Page {
        let area = self.areas.find(page)?;
        let resident = match &area.backing {
            Backing::Anonymous => None,
            Backing::Object { object, .. } => object.resident_page(area.page_index(page)),
        };
        let mut word = [0; 8];
        if let Some(frame) = self.tables.frame(page).or(resident) {
            frame.read(0, &mut word);
        }
        Some((area.flags, u64::from_le_bytes(word)))
    }
}

/// How much of an operation a program may find done when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Done {
    /// Nothing.
    Nothing,
    /// Some pages: on Linux, too, it goes on area by area, or has two steps.
    Some,
}

struct Operation {
    name: &'static str,
    done: Done,
    run: fn(&Arc<AddressSpace>) -> Result<()>,
}

fn remap(space: &AddressSpace, from: u64, pages: u64, to: u64, new_pages: u64, flags: RemapFlags) -> Result<()> {
    let request = RemapRequest {
        address: at(from),
        old_length: pages * PAGE,
        new_length: new_pages * PAGE,
        flags: flags | RemapFlags::MAY_MOVE,
        new_address: at(to),
        lock_limit: LockLimit::Exempt,
    };
    space.remap(&request).map(|_| ())
}

fn bring_in(space: &AddressSpace, page: u64, access: AccessKind) -> Result<()> {
    space.lock().bring_in(at(page), access).map_err(|_| Errno::ENOMEM)
}

const OPERATIONS: &[Operation] = &[
    Operation {
        name: "map over what is there",
        done: Done::Nothing,
        run: |space| space.map(&MapRequest::anonymous(600 * PAGE, Protection::READ).at(at(200))).map(|_| ()),
    },
    Operation {
        name: "map over many areas",
        done: Done::Nothing,
        run: |space| space.map(&MapRequest::anonymous(1250 * PAGE, Protection::READ).at(at(200))).map(|_| ()),
    },
    Operation { name: "unmap a middle", done: Done::Nothing, run: |space| space.unmap(at(300), 500 * PAGE) },
    Operation { name: "unmap one page", done: Done::Nothing, run: |space| space.unmap(at(512), PAGE) },
    Operation { name: "unmap many areas", done: Done::Nothing, run: |space| space.unmap(at(700), 750 * PAGE) },
    Operation { name: "unmap everything", done: Done::Nothing, run: |space| space.unmap(at(0), END * PAGE) },
    Operation {
        name: "protect a middle",
        done: Done::Nothing,
        run: |space| space.protect(at(290), 800 * PAGE, Protection::READ),
    },
    Operation {
        name: "forbid everything",
        done: Done::Nothing,
        run: |space| space.protect(at(0), PRIVATE * PAGE, Protection::empty()),
    },
    Operation {
        name: "protect several areas",
        done: Done::Some,
        run: |space| {
            space
                .protect(at(SHARED + 20), 30 * PAGE, Protection::READ)
                .and_then(|()| space.protect(at(OBJECT), 90 * PAGE, Protection::READ | Protection::EXECUTE))
        },
    },
    Operation {
        name: "forget pages",
        done: Done::Nothing,
        run: |space| space.advise(at(100), 930 * PAGE, Advice::DontNeed),
    },
    Operation {
        name: "forget an object's pages",
        done: Done::Nothing,
        run: |space| space.advise(at(OBJECT + 2), 80 * PAGE, Advice::DontNeed),
    },
    Operation {
        name: "move",
        done: Done::Nothing,
        run: |space| remap(space, 0, PRIVATE, ELSEWHERE + 3, PRIVATE, RemapFlags::FIXED),
    },
    Operation {
        name: "move by whole tables",
        done: Done::Nothing,
        run: |space| remap(space, 0, 1024, ELSEWHERE, 1024, RemapFlags::FIXED),
    },
    Operation {
        name: "move and leave the place",
        done: Done::Nothing,
        run: |space| remap(space, 200, 800, ELSEWHERE + 1, 800, RemapFlags::FIXED | RemapFlags::DONT_UNMAP),
    },
    Operation {
        name: "move over something",
        done: Done::Some,
        run: |space| remap(space, 0, 20, OBJECT + 10, 20, RemapFlags::FIXED),
    },
    Operation {
        name: "grow by moving",
        done: Done::Nothing,
        run: |space| remap(space, OBJECT, 90, 0, 120, RemapFlags::empty()),
    },
    Operation {
        name: "shrink",
        done: Done::Nothing,
        run: |space| remap(space, 0, PRIVATE, 0, 301, RemapFlags::empty()),
    },
    Operation { name: "fork", done: Done::Nothing, run: |space| space.fork().map(|_| ()) },
    Operation { name: "first store", done: Done::Nothing, run: |space| bring_in(space, 900, AccessKind::Write) },
    Operation {
        name: "store to a zero page",
        done: Done::Nothing,
        run: |space| bring_in(space, 600, AccessKind::Write),
    },
    Operation {
        name: "store to a common page",
        done: Done::Nothing,
        run: |space| bring_in(space, 1024, AccessKind::Write),
    },
    Operation { name: "load", done: Done::Nothing, run: |space| bring_in(space, 901, AccessKind::Read) },
    Operation {
        name: "load of an object",
        done: Done::Nothing,
        run: |space| bring_in(space, OBJECT + 40, AccessKind::Read),
    },
    Operation {
        name: "store to an object's copy",
        done: Done::Nothing,
        run: |space| bring_in(space, OBJECT + 1, AccessKind::Write),
    },
    Operation {
        name: "store to shared memory",
        done: Done::Nothing,
        run: |space| bring_in(space, SHARED + 30, AccessKind::Write),
    },
    Operation {
        name: "populate",
        done: Done::Nothing,
        run: |space| space.advise(at(495), 40 * PAGE, Advice::PopulateWrite),
    },
];

/// Every page that may be written can be, with what was there before still in its neighbours.
fn use_on(space: &Arc<AddressSpace>) {
    for (page, seen) in (0..END).zip(Scene::look(space)) {
        if page % 37 != 0 && !TOUCHED.contains(&page) {
            continue;
        }
        let Some((flags, word)) = seen else { continue };
        let mut found = [0; 8];
        let read = space.read_foreign(at(page), &mut found, ForeignAccess::Checked);
        assert_eq!(read.is_ok(), flags.is_accessible(), "page {page}");
        if read.is_ok() {
            assert_eq!(u64::from_le_bytes(found), word, "page {page}");
        }
        assert_eq!(write(space, page, word).is_ok(), flags.contains(AreaFlags::WRITE), "page {page}");
    }
    assert!(space.validate());
}

fn starve(operation: &Operation, role: Role, shortage: Shortage) -> u64 {
    let expected = {
        let scene = Scene::new(role);
        let space = &scene.space;
        (operation.run)(space).unwrap();
        Scene::look(space)
    };
    let mut number = 0;
    loop {
        let name = format!("{} ({role:?}, {shortage:?}, allocation {number})", operation.name);
        let scene = Scene::new(role);
        let space = &scene.space;
        let before = Scene::look(space);
        let relatives: Vec<_> = scene.relatives.iter().map(|space| Scene::look(space)).collect();
        let (result, refused) = frame_ledger::with_shortage(number, shortage, || (operation.run)(space));
        let after = Scene::look(space);
        assert!(space.validate(), "{name}");
        if result.is_ok() {
            assert!(after == expected, "{name}: done wrongly");
        } else {
            assert_eq!((result, refused > 0), (Err(Errno::ENOMEM), true), "{name}");
            match operation.done {
                Done::Nothing => assert!(after == before, "{name}: half done"),
                Done::Some => {
                    for (page, (now, (was, will))) in after.iter().zip(before.iter().zip(&expected)).enumerate() {
                        // The target of a move is cleared before the source is looked at.
                        assert!(now == was || now == will || now.is_none(), "{name}: page {page}");
                    }
                }
            }
            use_on(space);
            (operation.run)(space).unwrap_or_else(|error| panic!("{name}: the second time: {error:?}"));
            let later = Scene::look(space);
            assert!(later == expected, "{name}: done wrongly the second time");
        }
        for (space, was) in scene.relatives.iter().zip(relatives) {
            assert!(Scene::look(space) == was && space.validate(), "{name}: a relative changed");
        }
        use_on(space);
        if refused == 0 {
            assert_eq!(scene.object.page_count(), 130);
            return number;
        }
        number += 1;
    }
}

#[test]
fn an_operation_without_memory_changes_all_or_nothing_and_loses_no_frame() {
    drop(Scene::new(Role::Child));
    // Whoever needs the page of zeros first pays for it.
    let _ = super::zero_page();
    let held = frame_ledger::held_when_quiet();
    let mut allocations = 0;
    for operation in OPERATIONS {
        for role in [Role::Alone, Role::Parent, Role::Child] {
            for shortage in [Shortage::Once, Shortage::Lasting] {
                allocations += starve(operation, role, shortage);
                assert_eq!(frame_ledger::held_at_last(held), held, "{} ({role:?}): frames were lost", operation.name);
            }
        }
    }
    assert!(allocations > 200, "only {allocations} allocations failed: does the injector work?");
}

#[test]
fn a_space_without_memory_is_not_made() {
    drop(AddressSpace::new());
    // Whoever needs the page of zeros first pays for it.
    let _ = super::zero_page();
    let held = frame_ledger::held_when_quiet();
    // Top tables that are kept for reuse serve the first few.
    let mut spaces = Vec::new();
    frame_ledger::with_shortage(0, Shortage::Lasting, || {
        while let Some(space) = AddressSpace::new() {
            spaces.push(space);
        }
        assert!(spaces.iter().all(|space| space.fork().is_err()));
    });
    drop(spaces);
    assert_eq!(frame_ledger::held_at_last(held), held);
}
