//! Memory that is populated at once may be mapped in larger pieces than pages: whatever changes one page leaves its neighbours alone.

use crate::runner::in_child;
use crate::system::{Mapping, Must, PAGE, READ_WRITE};
use libc::{MADV_DONTNEED, MAP_ANONYMOUS, MAP_POPULATE, MAP_PRIVATE, PROT_READ};

const PAGES: usize = 256;

/// What stands at the beginning of a page.
fn mark(page: usize) -> u8 {
    page as u8 ^ 0x5a
}

/// How many pages do not begin with what is `expected` of them; where that is nothing the page is not touched.
fn wrong(memory: &Mapping, expected: impl Fn(usize) -> Option<u8>) -> usize {
    let pages = (0..PAGES).filter_map(|page| expected(page).map(|byte| (page, byte)));
    pages.filter(|&(page, byte)| memory.read(page * PAGE) != byte).count()
}

pub(super) fn pages_are_apart() {
    let memory = Mapping::new(PAGES * PAGE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1).must();
    println!("{} not zero", wrong(&memory, |_| Some(0)));
    (0..PAGES).for_each(|page| memory.write(page * PAGE, mark(page)));
    println!(
        "{}",
        in_child(|| {
            let inherited = wrong(&memory, |page| Some(mark(page)));
            (0..PAGES).step_by(3).for_each(|page| memory.write(page * PAGE, 1));
            let own = wrong(&memory, |page| Some(if page % 3 == 0 { 1 } else { mark(page) }));
            i32::from(inherited + own != 0)
        })
    );
    println!("{} changed by the child", wrong(&memory, |page| Some(mark(page))));
    // A hole, a page that was given back, one that cannot be written, one that moved.
    println!("{:?}", memory.unmap(37 * PAGE, PAGE));
    println!("{:?}", memory.advise(70 * PAGE, PAGE, MADV_DONTNEED));
    println!("{:?}", memory.protect(100 * PAGE, PAGE, PROT_READ));
    println!("{}", memory.move_page(133 * PAGE, 37 * PAGE) == Ok(memory.at(37 * PAGE) as i64));
    let expected = |page: usize| match page {
        37 => Some(mark(133)),
        70 => Some(0),
        133 => None,
        _ => Some(mark(page)),
    };
    println!("{} wrong", wrong(&memory, expected));
    for page in [100, 133] {
        println!(
            "{}",
            in_child(|| {
                memory.write(page * PAGE, 1);
                0
            })
        );
    }
    println!(
        "{}",
        in_child(|| {
            memory.write(101 * PAGE, 2);
            i32::from(wrong(&memory, |page| if page == 101 { Some(2) } else { expected(page) }) != 0)
        })
    );
    println!("{} wrong", wrong(&memory, expected));
    println!("{:?}", memory.unmap(0, PAGES * PAGE));
}
