//! Where the parts of a program go: the places that are drawn, the layout that follows from them, the vDSO, and the auxiliary vector that
//! tells the program of it.

use super::elf::{self, Image, Placement};
use super::prepare::Prepared;
use super::stack::{self, Stack};
use crate::arch::{Current, Mmu, SignalFrame, TrapFrame};
use crate::base::{PAGE_SIZE, Result, VirtualAddress, VirtualRange};
use crate::memory::address_space::{AddressSpace, Layout, MapFlags, MapRequest, MapSource, ObjectSource};
use crate::memory::area::Protection;
use crate::memory::object::MemoryObject;
use crate::process::Process;
use crate::security::random;
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Once;

/// `ADDR_NO_RANDOMIZE` of personality(2).
const NO_RANDOMIZATION: u32 = 0x0004_0000;

/// The shared object that the kernel maps into every program.
pub struct Vdso {
    /// Its pages, and the data pages that lie before it.
    pub object: Arc<dyn MemoryObject>,
    /// Bytes of data pages at the object's start: readable.
    pub data_length: u64,
    /// Bytes of the image after them: readable and executable.
    pub image_length: u64,
}

static VDSO: Once<Vdso> = Once::new();
static HARDWARE_CAPABILITIES: Once<[u64; 2]> = Once::new();

/// Registers the vDSO.
pub fn set_vdso(vdso: Vdso) {
    VDSO.call_once(|| vdso);
}

/// The vDSO, once there is one.
pub(super) fn vdso() -> Option<&'static Vdso> {
    VDSO.get()
}

/// Says what `AT_HWCAP` and `AT_HWCAP2` are on this machine.
pub fn set_hardware_capabilities(capabilities: [u64; 2]) {
    HARDWARE_CAPABILITIES.call_once(|| capabilities);
}

/// The addresses that are drawn for a program.
pub(super) struct Places {
    pub stack_end: VirtualAddress,
    pub mmap_base: VirtualAddress,
    pub dynamic_base: u64,
}

fn random_pages(bits: u32) -> u64 {
    (random::number() & ((1 << bits) - 1)) * PAGE_SIZE as u64
}

pub(super) fn draw_places(process: &Process, stack_limit: u64) -> Places {
    const SMALLEST_GAP: u64 = 128 << 20;
    const STACK_BITS: u32 = 22;
    const MMAP_BITS: u32 = 28;
    let user_end = Current::USER_END.value();
    let draws = process.personality() & NO_RANDOMIZATION == 0;
    let draw = |bits| if draws { random_pages(bits) } else { 0 };
    let gap = stack_limit.clamp(SMALLEST_GAP, user_end / 6 * 5) + if draws { 17 << 30 } else { 2 << 20 };
    let gap = gap.min(user_end / 6 * 5) & !(PAGE_SIZE as u64 - 1);
    Places {
        stack_end: VirtualAddress::new(user_end - draw(STACK_BITS)),
        mmap_base: VirtualAddress::new(user_end - gap - draw(MMAP_BITS)),
        dynamic_base: (user_end / 3 * 2 + draw(MMAP_BITS)) & !(PAGE_SIZE as u64 - 1),
    }
}

/// Where the parts of an image go.
pub(super) fn base_of(image: &Image, wanted: u64) -> u64 {
    match image.placement {
        Placement::Fixed => image.first,
        Placement::Relative => wanted & !(image.alignment - 1),
    }
}

pub(super) fn auxiliary_vector(
    prepared: &Prepared,
    bias: u64,
    entry: u64,
    interpreter_base: Option<u64>,
    vdso: Option<(u64, &Vdso)>,
) -> Vec<[u64; 2]> {
    let image = &prepared.image;
    let credentials = &prepared.credentials;
    let [capabilities, more_capabilities] = HARDWARE_CAPABILITIES.get().copied().unwrap_or_default();
    let table = if image.table_address == 0 { 0 } else { image.table_address.wrapping_add(bias) };
    let mut vector = Vec::with_capacity(24);
    if let Some((base, vdso)) = vdso {
        vector.push([stack::AT_SYSINFO_EHDR, base + vdso.data_length]);
    }
    vector.extend([
        [stack::AT_MINSIGSTKSZ, <TrapFrame as SignalFrame>::signal_frame_size() as u64],
        [stack::AT_HWCAP, capabilities],
        [stack::AT_PAGESZ, PAGE_SIZE as u64],
        [stack::AT_CLKTCK, 100],
        [stack::AT_PHDR, table],
        [stack::AT_PHENT, elf::PROGRAM_HEADER_SIZE as u64],
        [stack::AT_PHNUM, u64::from(image.table_count)],
        [stack::AT_BASE, interpreter_base.unwrap_or(0)],
        [stack::AT_FLAGS, 0],
        [stack::AT_ENTRY, entry],
        [stack::AT_UID, u64::from(credentials.uid)],
        [stack::AT_EUID, u64::from(credentials.euid)],
        [stack::AT_GID, u64::from(credentials.gid)],
        [stack::AT_EGID, u64::from(credentials.egid)],
        [stack::AT_SECURE, u64::from(prepared.secure)],
        [stack::AT_HWCAP2, more_capabilities],
    ]);
    vector
}

pub(super) fn layout(
    image: &Image,
    bias: u64,
    heap_base: Option<u64>,
    places: &Places,
    stack: &Stack,
    process: &Process,
) -> Layout {
    const HEAP_BITS: u32 = 13;
    let (mut code, mut data) = (VirtualRange::default(), VirtualRange::default());
    for segment in &image.segments {
        let start = VirtualAddress::new(segment.start.wrapping_add(bias));
        let range = VirtualRange { start, end: start.offset(segment.file_size) };
        if segment.flags & ::elf::abi::PF_X != 0 && code == VirtualRange::default() {
            code = range;
        }
        data = range;
    }
    let mut heap = heap_base.unwrap_or_else(|| image.end.wrapping_add(bias));
    if process.personality() & NO_RANDOMIZATION == 0 {
        heap += random_pages(HEAP_BITS);
    }
    Layout {
        mmap_base: places.mmap_base,
        code,
        data,
        heap_start: VirtualAddress::new(heap),
        stack_start: stack.pointer,
        arguments: stack.arguments,
        environment: stack.environment,
        signal_return: VirtualAddress::default(),
    }
}

pub(super) fn map_vdso(space: &AddressSpace, vdso: &Vdso, base: u64) -> Result<()> {
    let parts = [
        (0, vdso.data_length, Protection::READ),
        (vdso.data_length, vdso.image_length, Protection::READ | Protection::EXECUTE),
    ];
    for (offset, length, protection) in parts {
        if length == 0 {
            continue;
        }
        let source = ObjectSource { object: vdso.object.clone(), offset, maximum: protection };
        let request = MapRequest::anonymous(length, protection)
            .at(VirtualAddress::new(base + offset))
            .of(MapSource::Private(source))
            .with(MapFlags::SPECIAL);
        space.map(&request)?;
    }
    Ok(())
}
