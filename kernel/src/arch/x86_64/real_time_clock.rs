//! The battery clock (CMOS, MC146818).

#![allow(unsafe_code, reason = "port input and output")]

use super::port;

/// The clock's registers as read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Seconds, minutes, hours, day of month, month, year, as the registers have them.
    pub fields: [u8; 6],
    /// The century register; 0 where there is none.
    pub century: u8,
    /// Status register B: binary or BCD, 24 or 12 hours.
    pub mode: u8,
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, which must not be before it.
#[must_use]
pub fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    // Years begin in March, so that the leap day is the last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// The seconds since 1970 that a reading means; `None` where the fields are no date.
#[must_use]
pub fn decode(reading: Reading) -> Option<u64> {
    const BINARY: u8 = 1 << 2;
    const TWENTY_FOUR_HOURS: u8 = 1 << 1;
    const AFTERNOON: u8 = 1 << 7;
    let number = |value: u8| {
        if reading.mode & BINARY != 0 { u64::from(value) } else { u64::from(value >> 4) * 10 + u64::from(value & 15) }
    };
    let [second, minute, hour, day, month, year] = reading.fields;
    let hour = if reading.mode & TWENTY_FOUR_HOURS != 0 {
        number(hour)
    } else {
        let base = number(hour & !AFTERNOON) % 12;
        if hour & AFTERNOON != 0 { base + 12 } else { base }
    };
    let century = match number(reading.century) {
        century @ 19..=29 => century,
        _ if number(year) < 70 => 20,
        _ => 19,
    };
    let year = century * 100 + number(year);
    let (second, minute, day, month) = (number(second), number(minute), number(day), number(month));
    let plausible = second < 61 && minute < 60 && hour < 24 && (1..=31).contains(&day) && (1..=12).contains(&month);
    (plausible && year >= 1970)
        .then(|| days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn register(index: u8) -> u8 {
    // SAFETY: the clock's index and data ports; the top bit of the index keeps NMI as it is after reset.
    unsafe {
        port::write_u8(0x70, index);
        port::read_u8(0x71)
    }
}

/// Reads the clock; `None` where there is none.
pub fn read() -> Option<u64> {
    const UPDATE_IN_PROGRESS: u8 = 1 << 7;
    let reading =
        || Reading { fields: [0, 2, 4, 7, 8, 9].map(register), century: register(0x32), mode: register(0x0b) };
    if register(0x0b) == 0xff {
        return None;
    }
    for _ in 0..10_000 {
        if register(0x0a) & UPDATE_IN_PROGRESS == 0 {
            let first = reading();
            if first == reading() {
                return decode(first);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_days() {
        assert_eq!(days_since_epoch(1970, 1, 1), 0);
        assert_eq!(days_since_epoch(2000, 3, 1), 11_017);
        assert_eq!(days_since_epoch(2024, 2, 29), 19_782);
    }

    #[test]
    fn binary_and_bcd_readings_agree() {
        let bcd = Reading { fields: [0x59, 0x30, 0x23, 0x22, 0x11, 0x26], century: 0x20, mode: 0b010 };
        let binary = Reading { fields: [59, 30, 23, 22, 11, 26], century: 20, mode: 0b110 };
        let twelve = Reading { fields: [0x59, 0x30, 0x91, 0x22, 0x11, 0x26], century: 0, mode: 0 };
        let expected = Some(days_since_epoch(2026, 11, 22) * 86_400 + 23 * 3600 + 30 * 60 + 59);
        assert_eq!(decode(bcd), expected);
        assert_eq!(decode(binary), expected);
        assert_eq!(decode(twelve), expected);
    }

    #[test]
    fn midnight_and_noon_on_a_twelve_hour_clock() {
        let at = |hour| Reading { fields: [0, 0, hour, 1, 1, 0x70], century: 0x19, mode: 0 };
        assert_eq!(decode(at(0x12)), Some(0));
        assert_eq!(decode(at(0x92)), Some(12 * 3600));
    }

    #[test]
    fn nonsense_is_no_date() {
        assert_eq!(decode(Reading { fields: [0xff; 6], century: 0xff, mode: 0xff }), None);
    }
}
