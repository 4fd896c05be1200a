//! Arithmetic on rows: 64 frames in a word, 1 is free.

/// Frames in a row.
pub const ROW_FRAMES: usize = 64;
/// The largest order that lies within a row.
pub const ROW_ORDER: u8 = 6;

/// The lowest `count` set bits of `bits`, or all of them.
pub fn lowest_bits(bits: u64, count: u32) -> u64 {
    if bits.count_ones() <= count {
        return bits;
    }
    let mut rest = bits;
    for _ in 0..count {
        rest &= rest.wrapping_sub(1);
    }
    bits & !rest
}

/// The places at which a naturally aligned run of 2^`order` set bits begins (order 0..=6).
pub fn run_starts(bits: u64, order: u8) -> u64 {
    let mut runs = bits;
    for step in 0..order.min(ROW_ORDER) {
        runs &= runs >> (1u32 << step);
    }
    // Starts that are multiples of the run's length.
    runs & match order {
        0 => u64::MAX,
        1 => 0x5555_5555_5555_5555,
        2 => 0x1111_1111_1111_1111,
        3 => 0x0101_0101_0101_0101,
        4 => 0x0001_0001_0001_0001,
        5 => 0x0000_0001_0000_0001,
        _ => 1,
    }
}

/// The position of a naturally aligned run of 2^`order` set bits (order 0..=6): one that is no part of a larger run if there is such a
/// one, so that large runs stay.
pub fn aligned_run(bits: u64, order: u8) -> Option<u32> {
    let starts = run_starts(bits, order);
    if order < ROW_ORDER {
        let larger = run_starts(bits, order + 1);
        let small = starts & !(larger | larger << (1u32 << order));
        if small != 0 {
            return Some(small.trailing_zeros());
        }
    }
    (starts != 0).then(|| starts.trailing_zeros())
}

/// The bits of the run of 2^`order` frames at `position`.
pub fn run_mask(position: u32, order: u8) -> u64 {
    let ones = if order >= ROW_ORDER { u64::MAX } else { (1 << (1u32 << order)) - 1 };
    ones << position
}

/// Adds to `counts` how many free blocks of each order `bits` is made of, cut as a buddy allocator would.
pub fn count_blocks(bits: u64, counts: &mut [u64]) {
    let mut rest = bits;
    for order in (0..=ROW_ORDER).rev() {
        let mut starts = run_starts(rest, order);
        if let Some(count) = counts.get_mut(usize::from(order)) {
            *count += u64::from(starts.count_ones());
        }
        while starts != 0 {
            rest &= !run_mask(starts.trailing_zeros(), order);
            starts &= starts - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that differ in each way that matters: every pattern of 16 bits, spread, repeated and inverted.
    fn rows() -> impl Iterator<Item = u64> {
        (0..=u16::MAX).flat_map(|pattern| {
            let low = u64::from(pattern);
            let spread = (0..16).filter(|bit| low >> bit & 1 != 0).fold(0, |row, bit| row | 0xfu64 << (4 * bit));
            let repeated = low * 0x0001_0001_0001_0001;
            [low, low << 48, spread, repeated, !low, !spread, repeated ^ spread]
        })
    }

    fn is_run(bits: u64, position: u32, order: u8) -> bool {
        (position..position + (1 << order)).all(|bit| bits >> bit & 1 != 0)
    }

    #[test]
    fn runs_are_found_exactly_where_they_are() {
        for bits in rows() {
            for order in 0..=ROW_ORDER {
                let starts = run_starts(bits, order);
                for position in 0..64 {
                    let expected = position % (1 << order) == 0 && is_run(bits, position, order);
                    assert_eq!(starts >> position & 1 != 0, expected, "{bits:#x} {order} {position}");
                }
            }
        }
    }

    #[test]
    fn the_run_that_is_taken_breaks_no_larger_one_without_need() {
        for bits in rows() {
            for order in 0..=ROW_ORDER {
                let Some(position) = aligned_run(bits, order) else {
                    assert_eq!(run_starts(bits, order), 0);
                    continue;
                };
                assert!(is_run(bits, position, order) && position % (1 << order) == 0);
                assert_eq!(run_mask(position, order).count_ones(), 1 << order);
                assert_eq!(run_mask(position, order) & !bits, 0);
                let within = |position: u32| {
                    let larger = position & !((2 << order) - 1);
                    order < ROW_ORDER && is_run(bits, larger, order + 1)
                };
                let alone = (0..64).step_by(1 << order).any(|at| is_run(bits, at, order) && !within(at));
                assert!(!alone || !within(position), "{bits:#x} {order} {position}");
            }
        }
    }

    #[test]
    fn the_lowest_bits_are_taken() {
        for bits in rows().step_by(7) {
            for count in [0, 1, 2, 5, 31, 63, 64, 80] {
                let taken = lowest_bits(bits, count);
                assert_eq!(taken & !bits, 0);
                assert_eq!(taken.count_ones(), count.min(bits.count_ones()));
                assert!(taken == 0 || (bits & !taken).trailing_zeros() > 63 - taken.leading_zeros());
            }
        }
    }

    #[test]
    fn blocks_add_up_to_the_frames() {
        for bits in rows() {
            let mut counts = [0; 7];
            count_blocks(bits, &mut counts);
            let frames: u64 = (0..).zip(counts).map(|(order, count): (u32, u64)| count << order).sum();
            assert_eq!(frames, u64::from(bits.count_ones()));
        }
        let mut counts = [0; 7];
        count_blocks(!1, &mut counts);
        assert_eq!(counts, [1, 1, 1, 1, 1, 1, 0]);
    }
}
