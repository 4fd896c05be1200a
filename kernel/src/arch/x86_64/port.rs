//! Port input and output.

#![allow(unsafe_code, reason = "the in and out instructions")]

/// Reads a byte from `port`.
///
/// # Safety
/// Reading that port disturbs no device that the kernel depends on.
#[inline]
pub unsafe fn read_u8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: the caller vouches for the device; memory is not touched.
    unsafe { core::arch::asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a byte to `port`.
///
/// # Safety
/// The device behind the port may be told that.
#[inline]
pub unsafe fn write_u8(port: u16, value: u8) {
    // SAFETY: the caller vouches for the device; memory is not touched.
    unsafe { core::arch::asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// Reads 16 bits from `port`.
///
/// # Safety
/// As [`read_u8`].
#[inline]
pub unsafe fn read_u16(port: u16) -> u16 {
    let value: u16;
    // SAFETY: the caller vouches for the device; memory is not touched.
    unsafe { core::arch::asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes 16 bits to `port`.
///
/// # Safety
/// As [`write_u8`].
#[inline]
pub unsafe fn write_u16(port: u16, value: u16) {
    // SAFETY: the caller vouches for the device; memory is not touched.
    unsafe { core::arch::asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes 32 bits to `port`.
///
/// # Safety
/// As [`write_u8`].
#[inline]
pub unsafe fn write_u32(port: u16, value: u32) {
    // SAFETY: the caller vouches for the device; memory is not touched.
    unsafe {
        core::arch::asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags))
    };
}
