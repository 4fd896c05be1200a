//! Physical frames, the kernel heap, page tables, address spaces.
//!
//! # The address map
//!
//! x86_64, four levels; each P4 slot spans 512 GiB. AArch64 has the same kernel addresses under TTBR1, without the last row: physmap is slot
//! 256 alone there. User space is all 512 slots of TTBR0's table, up to `0x0000_ffff_ffff_ffff`.
//!
//! | P4 slot | from | what | module |
//! |---|---|---|---|
//! | 0..=255 | `0x0000_0000_0000_0000` | user space, one set per [`paging::PageTables`] | `address_space` |
//! | 256..=383 | `0xffff_8000_0000_0000` | all physical memory, with the largest pages | [`physmap`] |
//! | 400 | `0xffff_c800_0000_0000` | kernel stacks, each above an unmapped guard page | [`kernel_stack`] |
//! | 401 | `0xffff_c880_0000_0000` | kernel mappings of scattered frames and of device registers | [`paging::kernel`] |
//! | 510 | `0xffff_ff00_0000_0000` | the kernel image | `boot` |
//! | 511 | `0xffff_ff80_0000_0000` | the page tables themselves (recursive) | [`paging::x86_64_paging`] |
//!
//! On x86_64 slots 256..=510 of every table are copies of the kernel's own, whose second-level tables exist from boot on and are never
//! freed: a kernel mapping made later is seen by every address space at once.
//!
//! # Who builds on whom
//!
//! [`frame_descriptor`] and [`frame_allocator`] (one descriptor and one bit per frame) carry [`frame::Frame`], the counted
//! owner that everything else passes around; [`paging`] maps frames, [`heap`] cuts them up. [`numa`] is plain data.

pub mod address_space;
pub mod area;
pub mod area_map;
pub mod frame;
pub mod frame_allocator;
#[cfg(test)]
pub mod frame_ledger;
pub mod frame_soak;
pub mod heap;
pub mod kernel_stack;
pub mod node_frames;
pub mod numa;
pub mod object;
pub mod frame_descriptor;
pub mod paging;
pub mod physmap;
mod traces;
pub mod user;
