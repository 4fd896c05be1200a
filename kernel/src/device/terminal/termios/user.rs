//! The structures by which `ioctl` moves settings, and the way from and to [`Termios`].

use super::{InputFlags, LocalFlags, OutputFlags, SPECIAL_CHARACTERS, Termios, speed_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

impl Termios {
    /// As `TCGETS` stores it.
    #[must_use]
    pub fn to_user(&self) -> UserTermios {
        UserTermios {
            flags: [self.input.bits(), self.output.bits(), self.control, self.local.bits()],
            line: self.line,
            special: self.special,
        }
    }

    /// As `TCGETS2` stores it.
    #[must_use]
    pub fn to_user2(&self) -> UserTermios2 {
        UserTermios2 { base: self.to_user(), input_speed: self.input_speed, output_speed: self.output_speed }
    }

    /// These settings with what `TCSETS` brought; speeds follow from the control flags.
    #[must_use]
    pub fn with_user(self, user: &UserTermios) -> Self {
        let [input, output, control, local] = user.flags;
        let mut new = Self {
            input: InputFlags::from_bits_retain(input),
            output: OutputFlags::from_bits_retain(output),
            control,
            local: LocalFlags::from_bits_retain(local),
            line: user.line,
            special: user.special,
            ..self
        };
        if let Some(speed) = speed_of(control) {
            (new.input_speed, new.output_speed) = (speed, speed);
        }
        new
    }

    /// These settings with what `TCSETS2` brought.
    #[must_use]
    pub fn with_user2(self, user: &UserTermios2) -> Self {
        let mut new = self.with_user(&user.base);
        if speed_of(new.control).is_none() {
            (new.input_speed, new.output_speed) = (user.input_speed, user.output_speed);
        }
        new
    }

    /// These settings, but `old`'s where `locks` has a bit or a character (`TIOCSLCKTRMIOS`).
    #[must_use]
    pub fn keeping(mut self, old: &Self, locks: &UserTermios) -> Self {
        let kept = |new: u32, old: u32, lock: u32| new & !lock | old & lock;
        let [input, output, control, local] = locks.flags;
        self.input = InputFlags::from_bits_retain(kept(self.input.bits(), old.input.bits(), input));
        self.output = OutputFlags::from_bits_retain(kept(self.output.bits(), old.output.bits(), output));
        self.control = kept(self.control, old.control, control);
        self.local = LocalFlags::from_bits_retain(kept(self.local.bits(), old.local.bits(), local));
        if locks.line != 0 {
            self.line = old.line;
        }
        for ((new, old), lock) in self.special.iter_mut().zip(old.special).zip(locks.special) {
            if lock != 0 {
                *new = old;
            }
        }
        self
    }

    /// As `TCGETA` stores it: the historic short form.
    #[must_use]
    pub fn to_termio(&self) -> UserTermio {
        #[expect(clippy::cast_possible_truncation, reason = "the historic form has 16 bits of each")]
        let low = |value: u32| value as u16;
        let mut special = [0; 8];
        special.copy_from_slice(self.special.first_chunk::<8>().unwrap_or(&[0; 8]));
        UserTermio {
            flags: [low(self.input.bits()), low(self.output.bits()), low(self.control), low(self.local.bits())],
            line: self.line,
            special,
            padding: 0,
        }
    }

    /// These settings with what `TCSETA` brought: the low halves of the flags and eight characters.
    #[must_use]
    pub fn with_termio(self, user: &UserTermio) -> Self {
        let merge = |old: u32, new: u16| old & 0xffff_0000 | u32::from(new);
        let mut base = self.to_user();
        for (old, new) in base.flags.iter_mut().zip(user.flags) {
            *old = merge(*old, new);
        }
        base.line = user.line;
        for (old, new) in base.special.iter_mut().zip(user.special) {
            *old = new;
        }
        self.with_user(&base)
    }
}

/// `struct termios` as the kernel and libc's wrappers exchange it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Debug)]
#[repr(C)]
pub struct UserTermios {
    /// Input, output, control and local flags.
    pub flags: [u32; 4],
    /// Line discipline.
    pub line: u8,
    /// Special characters.
    pub special: [u8; SPECIAL_CHARACTERS],
}

/// `struct termios2`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Debug)]
#[repr(C)]
pub struct UserTermios2 {
    /// The common part.
    pub base: UserTermios,
    /// Input speed.
    pub input_speed: u32,
    /// Output speed.
    pub output_speed: u32,
}

/// `struct termio`, the historic form.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Debug)]
#[repr(C)]
pub struct UserTermio {
    /// The flags' low halves.
    pub flags: [u16; 4],
    /// Line discipline.
    pub line: u8,
    /// The first eight special characters.
    pub special: [u8; 8],
    /// The structure's last byte.
    pub padding: u8,
}

/// `struct winsize`.
#[derive(Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Debug)]
#[repr(C)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
}

const _: () =
    assert!(size_of::<UserTermios>() == 36 && size_of::<UserTermios2>() == 44 && size_of::<UserTermio>() == 18);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_way_to_user_space_and_back() {
        let settings = Termios::serial(9600);
        assert_eq!(settings.with_user(&settings.to_user()), settings);
        assert_eq!(settings.with_user2(&settings.to_user2()), settings);
        assert_eq!(settings.with_termio(&settings.to_termio()), settings);
    }
}
