//! Shared pages against a vector of bytes.

use super::*;
use proptest::prelude::*;

#[test]
fn holes_take_no_memory_and_read_as_zeros() {
    let pages = SharedPages::with_length(1 << 40);
    assert_eq!(pages.write_at((1 << 39) + 5, b"abc"), Ok(3));
    assert_eq!(pages.page_count(), 1);
    let mut bytes = [1; 8];
    assert_eq!(pages.read_at((1 << 39) + 3, &mut bytes), 8);
    assert_eq!(&bytes, b"\0\0abc\0\0\0");
    assert_eq!(pages.next_data(0), Some(1 << 39));
    assert_eq!(pages.next_hole(1 << 39), Some((1 << 39) + 4096));
    assert_eq!(pages.next_data((1 << 39) + 4096), None);
    assert_eq!(pages.read_at(1 << 40, &mut bytes), 0);
}

#[test]
fn numbers_near_the_end_are_refused() {
    let pages = SharedPages::new();
    assert_eq!(pages.write_at(u64::MAX, b"x"), Err(PageError::NoSpace));
    assert_eq!(pages.write_at(i64::MAX as u64, b"x"), Err(PageError::NoSpace));
    assert_eq!(pages.read_at(u64::MAX, &mut [0]), 0);
    assert_eq!(pages.page(u64::MAX, PageIntent::Read).err(), Some(PageError::BeyondEnd));
    pages.punch_hole(u64::MAX - 5, u64::MAX);
    pages.truncate(u64::MAX);
    pages.truncate(0);
    assert_eq!(pages.page_count(), 0);
}

#[test]
fn the_frames_go_with_the_object() {
    let pages = SharedPages::new();
    pages.write_at(0, &[1; 100]).unwrap();
    let frame = pages.page(0, PageIntent::Read).unwrap();
    assert_eq!(frame.reference_count(), 2);
    drop(pages);
    assert_eq!(frame.reference_count(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize, u8),
    Read(usize, usize),
    Truncate(usize),
    Punch(usize, usize),
    Dirty(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0usize..150_000;
    let step = prop_oneof![
        (at.clone(), 0usize..9000, any::<u8>()).prop_map(|(at, length, value)| Step::Write(at, length, value)),
        (at.clone(), 0usize..9000).prop_map(|(at, length)| Step::Read(at, length)),
        at.clone().prop_map(Step::Truncate),
        (at.clone(), 0usize..20_000).prop_map(|(at, length)| Step::Punch(at, length)),
        at.prop_map(Step::Dirty),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn they_agree_with_a_vector(steps in steps()) {
        let pages = SharedPages::new();
        let mut model: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Write(at, length, value) => {
                    prop_assert_eq!(pages.write_at(at as u64, &vec![value; length]), Ok(length));
                    if length > 0 {
                        model.resize(model.len().max(at + length), 0);
                        model[at..at + length].fill(value);
                    }
                }
                Step::Read(at, length) => {
                    let mut bytes = vec![0xee; length];
                    let count = pages.read_at(at as u64, &mut bytes);
                    let expected = model.get(at.min(model.len())..(at + length).min(model.len())).unwrap_or_default();
                    prop_assert_eq!(&bytes[..count], expected);
                }
                Step::Truncate(length) => {
                    pages.truncate(length as u64);
                    model.resize(length, 0);
                }
                Step::Punch(at, length) => {
                    pages.punch_hole(at as u64, (at + length) as u64);
                    let end = (at + length).min(model.len());
                    if at < end {
                        model[at..end].fill(0);
                    }
                }
                Step::Dirty(at) => {
                    // A mapping writes to the whole page, also beyond the end.
                    if let Ok(frame) = pages.page((at >> PAGE_SHIFT) as u64, PageIntent::Write) {
                        frame.write(0, &[0xdd; PAGE_SIZE]);
                        let start = at & !(PAGE_SIZE - 1);
                        let end = (start + PAGE_SIZE).min(model.len());
                        model[start..end].fill(0xdd);
                    }
                }
            }
            prop_assert_eq!(pages.length(), model.len() as u64);
        }
        let mut bytes = vec![0; model.len()];
        pages.read_at(0, &mut bytes);
        prop_assert_eq!(bytes, model);
    }
}
