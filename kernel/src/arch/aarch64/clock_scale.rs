//! From the counter's counts to nanoseconds and back, by 32.32 fixed-point factors.
//!
//! Both factors are rounded up, and alarms are counted from now, not from boot (a factor's error grows with what it multiplies): so an alarm
//! never rings before the clock shows the deadline, and hardly later, whatever the frequency. An alarm that rings early is set again at
//! once, and would ring without end until the clock has caught up.

/// Nanoseconds in a second.
const BILLION: u64 = 1_000_000_000;

/// `value` times the 32.32 fixed-point `scale`.
#[inline]
#[must_use]
pub const fn multiply(value: u64, scale: u64) -> u64 {
    ((value as u128 * scale as u128) >> 32) as u64
}

/// The quotient, rounded up; the largest value where it does not fit.
const fn ratio(numerator: u64, denominator: u64) -> u64 {
    if denominator == 0 {
        return u64::MAX;
    }
    let quotient = ((numerator as u128) << 32).div_ceil(denominator as u128);
    if quotient > u64::MAX as u128 { u64::MAX } else { quotient as u64 }
}

/// Nanoseconds per count and counts per nanosecond of a counter with `frequency` counts per second.
#[must_use]
pub const fn scales(frequency: u64) -> (u64, u64) {
    (ratio(BILLION, frequency), ratio(frequency, BILLION))
}

/// How many counts from now an alarm is to ring that is `delay` nanoseconds away.
#[inline]
#[must_use]
pub const fn alarm_counts(delay: u64, inverse_scale: u64) -> u64 {
    multiply(delay, inverse_scale).saturating_add(1)
}

/// The bit of the counter whose changes are events for `wfe`, at a counter of `frequency`: the nearest to 10 kHz, as Linux picks it.
pub(super) fn event_stream_bit(frequency: u64) -> u64 {
    // A bit changes from 0 to 1 at half the rate at which it changes.
    let counts = frequency / 10_000 / 2;
    let Some(highest) = counts.checked_ilog2() else { return 0 };
    let is_nearer_above = highest > 0 && counts >> (highest - 1) & 1 != 0;
    u64::from(highest + u32::from(is_nearer_above)).min(15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// QEMU's, a Raspberry Pi's, a phone's, and two of servers.
    const FREQUENCIES: [u64; 5] = [62_500_000, 54_000_000, 19_200_000, 25_000_000, 1_000_000_000];

    #[test]
    fn the_scale_turns_counts_into_nanoseconds() {
        assert_eq!(scales(62_500_000), (16 << 32, 1 << 28));
        for frequency in FREQUENCIES {
            let year = 31_536_000;
            let error = multiply(frequency * year, scales(frequency).0).abs_diff(BILLION * year);
            assert!(error < 50_000_000, "a year is right to 50 ms: {error}");
        }
    }

    #[test]
    fn an_alarm_never_rings_early_nor_late() {
        for frequency in FREQUENCIES {
            let (scale, inverse) = scales(frequency);
            for now in [0, 12_345, frequency * 3600, frequency * 31_536_000] {
                for delay in [0, 1, 999, 1_000_000, 10_000_000_000] {
                    let deadline = multiply(now, scale) + delay;
                    let shown = multiply(now + alarm_counts(delay, inverse), scale);
                    assert!(shown >= deadline, "{delay} at {frequency}: {shown} before {deadline}");
                    assert!(shown - deadline < 2_000, "{delay} at {frequency}: {shown} long after {deadline}");
                }
            }
        }
    }

    #[test]
    fn a_frequency_of_nothing_does_no_harm() {
        assert_eq!(scales(0), (u64::MAX, 0));
    }

    #[test]
    fn events_come_about_every_100_microseconds() {
        assert_eq!(event_stream_bit(62_500_000), 12);
        assert_eq!(event_stream_bit(24_000_000), 10);
        assert_eq!(event_stream_bit(1_000_000_000), 15);
        assert_eq!(event_stream_bit(1), 0);
    }
}
