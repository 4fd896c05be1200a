//! The 8254 interval timer: the 100 Hz tick where there is no local APIC, and the yardstick for other clocks.

#![allow(unsafe_code, reason = "port input and output")]

use super::{clock, port};

/// Oscillations per second.
pub const FREQUENCY: u64 = 1_193_182;
/// Ticks per second that the fallback timer gives.
pub const TICK_FREQUENCY: u64 = 100;
/// The line that channel 0 interrupts on.
pub const LINE: u8 = 0;

const CHANNEL_0: u16 = 0x40;
const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
const SPEAKER: u16 = 0x61;

/// The reload value that gives `frequency` interrupts per second, rounded to the nearest; at most 65536.
#[must_use]
pub const fn divisor(frequency: u64) -> u64 {
    let frequency = if frequency == 0 { 1 } else { frequency };
    let divisor = (FREQUENCY + frequency / 2) / frequency;
    match divisor {
        0 => 1,
        1..=65536 => divisor,
        _ => 65536,
    }
}

fn write(register: u16, value: u8) {
    // SAFETY: the timer's and the speaker's registers on every PC.
    unsafe { port::write_u8(register, value) };
}

/// Starts channel 0 as a square wave of [`TICK_FREQUENCY`].
pub fn start_tick() {
    let [low, high, ..] = divisor(TICK_FREQUENCY).to_le_bytes();
    write(COMMAND, 0x36);
    write(CHANNEL_0, low);
    write(CHANNEL_0, high);
}

/// Counts down `oscillations` (at most 65535) on channel 2 and gives what `read` said before and after; `None` where
/// there is no timer. Interrupts are disabled.
pub fn measure<T>(oscillations: u16, mut read: impl FnMut() -> T) -> Option<(T, T)> {
    const OUTPUT: u8 = 1 << 5;
    let [low, high] = oscillations.to_le_bytes();
    // SAFETY: the speaker's register: gate of channel 2 on, speaker off.
    let speaker = unsafe { port::read_u8(SPEAKER) };
    write(SPEAKER, speaker & !0b11 | 0b01);
    write(COMMAND, 0xb0);
    write(CHANNEL_2, low);
    write(CHANNEL_2, high);
    let before = read();
    let start = clock::read_counter();
    // SAFETY: as above. The output is low until the count is over; where there is no timer it reads as a constant.
    unsafe {
        if port::read_u8(SPEAKER) & OUTPUT != 0 {
            return None;
        }
        while port::read_u8(SPEAKER) & OUTPUT == 0 {
            // No CPU runs a hundred times faster than 10 GHz.
            if clock::read_counter().wrapping_sub(start) > 10_000_000_000 {
                return None;
            }
        }
    }
    let after = read();
    Some((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tick_is_a_hundred_hertz_to_a_part_in_ten_thousand() {
        let frequency = FREQUENCY as f64 / divisor(TICK_FREQUENCY) as f64;
        assert!((frequency - 100.0).abs() < 0.01, "{frequency}");
        assert_eq!(divisor(1), 65536);
        assert_eq!(divisor(u64::MAX / 2), 1);
    }
}
