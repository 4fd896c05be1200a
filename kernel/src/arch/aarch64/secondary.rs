//! The other CPUs: starting them by PSCI or the spin table, and the software-generated interrupts that CPUs send one another.
//!
//! # The way of a CPU
//! 1. `CPU_ON`, or the CPU's release address, leads to [`ashlar_secondary_start`](SECONDARY_ENTRY) at EL2 or EL1 with the MMU off. Nothing was set but
//!    what firmware sets; the code reaches everything relative to itself.
//! 2. It leaves EL2, takes the first CPU's translation registers from [`PARAMETERS`], which were cleaned to memory, and turns the MMU on in the identity
//!    mapping that boot code made (`boot::tables`; this code lies beside that one).
//! 3. At the image's own addresses it finds its own of [`STARTS`] by its affinity and waits until it is asked to come: firmware may have one release
//!    address for several CPUs. With the stack that it finds there it calls [`enter`], which sets the CPU up as the first one was.
//!
//! | interrupt | line |
//! |---|---|
//! | [`InterProcessorInterrupt`] | the SGI of its number |
//!
//! A CPU that is taken off line calls `CPU_OFF`, and comes back by `CPU_ON` as it came first. One from the spin table cannot be taken off line, as with
//! Linux: nobody would take it back.

#![allow(unsafe_code, reason = "starts CPUs in assembly; system registers")]

use super::boot::{self, tables};
use super::device_tree::{Conduit, ListedCpu, StartMethod};
use super::processors::{self, AFFINITY, affinity_of, listed};
use super::{Aarch64, cpu, entry, interrupt_controller, mmu, power, timer};
use crate::arch::arrival::{Arrival, Likeness, State};
use crate::arch::boot_information::{PhysicalRange, boot_information};
use crate::arch::inter_processor::{self, InterProcessor, InterProcessorInterrupt, Secondary};
use crate::arch::{Cpu, CpuLocal, TimerHardware};
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS, Nanoseconds, PhysicalAddress};
use alloc::boxed::Box;
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering, Ordering::Relaxed};
use smccc::{Hvc, Smc, psci};
use spin::Once;

/// How long CPUs that were asked may take, all together: as long as Linux waits for one. An emulator on a busy host may need it.
const PATIENCE: Nanoseconds = Nanoseconds::from_milliseconds(5_000);

impl InterProcessor for Aarch64 {
    fn listed_cpus() -> CpuMask {
        CpuMask::first_cpus(processors::count())
    }

    fn hardware_identifier_of(cpu: CpuId) -> Option<u64> {
        affinity_of(cpu)
    }

    fn start_secondaries(secondaries: &[Secondary], entry: fn() -> !) -> CpuMask {
        start(secondaries, entry)
    }

    fn can_leave(cpu: CpuId) -> bool {
        matches!(listed(cpu), Some(ListedCpu { start: StartMethod::Firmware, .. })) && power::conduit().is_some()
    }

    fn interrupt(targets: CpuMask, interrupt: InterProcessorInterrupt) {
        // What was stored before is visible to the targets when it arrives.
        // SAFETY: a barrier.
        unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
        interrupt_controller::send(targets, interrupt as u32);
    }

    fn leave() -> ! {
        timer::silence();
        // They return only where firmware refuses.
        let _ = match power::conduit() {
            Some(Conduit::Hypervisor) => psci::cpu_off::<Hvc>(),
            Some(Conduit::SecureMonitor) => psci::cpu_off::<Smc>(),
            None => Ok(()),
        };
        Aarch64::halt()
    }

    fn has_left(cpu: CpuId) -> bool {
        let Some(affinity) = affinity_of(cpu) else { return true };
        let state = match power::conduit() {
            Some(Conduit::Hypervisor) => psci::affinity_info::<Hvc>(affinity, psci::LowestAffinityLevel::All),
            Some(Conduit::SecureMonitor) => psci::affinity_info::<Smc>(affinity, psci::LowestAffinityLevel::All),
            None => return true,
        };
        // Firmware without the call is believed to be quick.
        !matches!(state, Ok(psci::AffinityState::On | psci::AffinityState::OnPending))
    }

    fn move_device_interrupts(to: CpuId) {
        interrupt_controller::route_devices(to);
    }
}

/// Does what the software-generated interrupt `line` asks for. False where it is none.
#[inline]
pub(super) fn interrupted(line: u32) -> bool {
    const RESCHEDULE: u32 = InterProcessorInterrupt::Reschedule as u32;
    const CALL: u32 = InterProcessorInterrupt::Call as u32;
    const STOP: u32 = InterProcessorInterrupt::Stop as u32;
    match line {
        RESCHEDULE => inter_processor::reschedule_arrived(Aarch64::local()),
        CALL => inter_processor::serve_calls(),
        STOP => Aarch64::halt(),
        _ => return false,
    }
    true
}

/// What a CPU finds of its own. Read by assembly.
#[repr(C)]
struct Start {
    /// [`NOBODY`] until it is known.
    affinity: AtomicU64,
    stack: AtomicU64,
    block: AtomicPtr<CpuLocal>,
    arrival: Arrival,
}

/// No CPU's affinity.
const NOBODY: u64 = u64::MAX;

static STARTS: [Start; MAXIMUM_CPUS] = [const {
    Start {
        affinity: AtomicU64::new(NOBODY),
        stack: AtomicU64::new(0),
        block: AtomicPtr::new(core::ptr::null_mut()),
        arrival: Arrival::new(),
    }
}; MAXIMUM_CPUS];

static ENTRY: Once<fn() -> !> = Once::new();

/// The first CPU's registers. Read with the MMU off.
#[repr(C, align(64))]
struct Parameters {
    memory_attributes: u64,
    translation_control: u64,
    user_table: u64,
    kernel_table: u64,
    control: u64,
}

#[repr(transparent)]
struct SharedParameters(UnsafeCell<Parameters>);
// SAFETY: written before any CPU is asked to come, then only read.
unsafe impl Sync for SharedParameters {}

static PARAMETERS: SharedParameters = SharedParameters(UnsafeCell::new(Parameters {
    memory_attributes: 0,
    translation_control: 0,
    user_table: 0,
    kernel_table: 0,
    control: 0,
}));

unsafe extern "C" {
    #[link_name = "ashlar_secondary_start"]
    static SECONDARY_ENTRY: u8;
}

global_asm!(
    ".pushsection .boot.secondary, \"ax\"",
    ".p2align 6",
    ".globl ashlar_secondary_start",
    "ashlar_secondary_start:",
    "bl ashlar_enter_el1", // `boot::exception_level`
    "adrp x20, {parameters}",
    "add x20, x20, :lo12:{parameters}",
    "ldr x0, [x20, #{memory_attributes}]",
    "msr mair_el1, x0",
    "ldr x0, [x20, #{translation_control}]",
    "msr tcr_el1, x0",
    "ldr x0, [x20, #{user_table}]",
    "msr ttbr0_el1, x0",
    "ldr x0, [x20, #{kernel_table}]",
    "msr ttbr1_el1, x0",
    "ldr x0, [x20, #{control}]",
    "ldr x1, =ashlar_secondary_high",
    "dsb sy",
    "isb",
    "tlbi vmalle1",
    "ic iallu",
    "dsb nsh",
    "isb",
    "msr sctlr_el1, x0",
    "isb",
    "br x1",
    ".ltorg",
    // From here on at the linked address.
    "ashlar_secondary_high:",
    "mrs x1, mpidr_el1",
    "ldr x0, ={affinity_bits}",
    "and x1, x1, x0",
    "adrp x20, {starts}",
    "add x20, x20, :lo12:{starts}",
    "mov x19, xzr",
    "2: ldr x0, [x20, #{affinity}]",
    "cmp x0, x1",
    "b.eq 3f",
    "add x20, x20, #{start_size}",
    "add x19, x19, #1",
    "cmp x19, #{count}",
    "b.lo 2b",
    // Nobody knows this CPU.
    "5: wfi",
    "b 5b",
    // It waits until it is asked; who asks sends an event.
    "4: wfe",
    "3: add x0, x20, #{arrival}",
    "ldar w0, [x0]",
    "cmp w0, #{asked}",
    "b.ne 4b",
    "ldr x0, [x20, #{stack}]",
    "mov sp, x0",
    "mov x0, x19",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl {enter}",
    "brk #1",
    ".ltorg",
    ".popsection",
    parameters = sym PARAMETERS,
    memory_attributes = const offset_of!(Parameters, memory_attributes),
    translation_control = const offset_of!(Parameters, translation_control),
    user_table = const offset_of!(Parameters, user_table),
    kernel_table = const offset_of!(Parameters, kernel_table),
    control = const offset_of!(Parameters, control),
    starts = sym STARTS,
    start_size = const size_of::<Start>(),
    affinity_bits = const AFFINITY,
    affinity = const offset_of!(Start, affinity),
    stack = const offset_of!(Start, stack),
    arrival = const offset_of!(Start, arrival),
    asked = const State::Asked as u32,
    count = const MAXIMUM_CPUS,
    enter = sym enter,
);

/// On the CPU's own stack, with the first CPU's tables, interrupts masked, nothing else set up.
extern "C" fn enter(number: u64) -> ! {
    let Some(start) = STARTS.get(number as usize) else { Aarch64::halt() };
    // SAFETY: the block was made for this CPU, for good.
    let Some(block) = (unsafe { start.block.load(Ordering::Acquire).as_ref() }) else { Aarch64::halt() };
    cpu::install(block);
    entry::install();
    boot::set_control_registers();
    // SAFETY: the table without translations takes the place of the identity mapping, which is not used any more; what was cached of it is forgotten.
    unsafe {
        asm!(
            "msr ttbr0_el1, {}", "isb", "tlbi vmalle1", "dsb nsh", "isb",
            in(reg) tables::empty_table().value(), options(nostack, preserves_flags),
        );
    }
    interrupt_controller::initialize_secondary(block.id());
    timer::silence();
    let is_wanted = start.arrival.arrive(Likeness::Like);
    match ENTRY.get() {
        Some(entry) if is_wanted => entry(),
        _ => Aarch64::halt(),
    }
}

/// Fills the parameters with this CPU's registers and cleans them to memory, where the MMU-less read finds them.
fn prepare() {
    let parameters = PARAMETERS.0.get();
    // SAFETY: no CPU that was asked reads them yet; reads system registers, and cleans cache lines.
    unsafe {
        let (attributes, control, kernel, system): (u64, u64, u64, u64);
        asm!("mrs {}, mair_el1", out(reg) attributes, options(nomem, nostack, preserves_flags));
        asm!("mrs {}, tcr_el1", out(reg) control, options(nomem, nostack, preserves_flags));
        asm!("mrs {}, ttbr1_el1", out(reg) kernel, options(nomem, nostack, preserves_flags));
        asm!("mrs {}, sctlr_el1", out(reg) system, options(nomem, nostack, preserves_flags));
        parameters.write(Parameters {
            memory_attributes: attributes,
            translation_control: control,
            user_table: tables::identity_table().value(),
            kernel_table: kernel,
            control: system,
        });
        asm!("dc civac, {}", "dsb sy", in(reg) parameters, options(nostack, preserves_flags));
    }
}

/// Lets the CPU that waits at `release` go to `target`. False where the place cannot be written.
fn release(release: PhysicalAddress, target: PhysicalAddress) -> bool {
    let word = PhysicalRange { start: release, end: release.offset(8) };
    if boot_information().not_mapped.iter().any(|hole| hole.contains(word)) {
        return false;
    }
    let place = core::ptr::with_exposed_provenance_mut::<u64>(mmu::physmap(release).value() as usize);
    // SAFETY: the device tree says that the word is there for this, physmap has it, and nobody else uses it; cleaned, for the CPU has no caches on.
    unsafe {
        place.write_volatile(target.value().to_le());
        asm!("dc civac, {}", "dsb sy", "sev", in(reg) place, options(nostack, preserves_flags));
    }
    true
}

/// Asks `cpu` to come to `target`. False where that is not possible.
fn ask(cpu: CpuId, listed: ListedCpu, target: PhysicalAddress) -> bool {
    let result = match (listed.start, power::conduit()) {
        (StartMethod::SpinTable(address), _) => {
            let is_released = release(address, target);
            if !is_released {
                log::warn!("CPU {}: the place that it waits at is out of reach", cpu.0);
            }
            return is_released;
        }
        (StartMethod::Firmware, Some(Conduit::Hypervisor)) => psci::cpu_on::<Hvc>(listed.affinity, target.value(), 0),
        (StartMethod::Firmware, Some(Conduit::SecureMonitor)) => {
            psci::cpu_on::<Smc>(listed.affinity, target.value(), 0)
        }
        (StartMethod::Firmware, None) => {
            log::warn!("CPU {}: no firmware that starts it", cpu.0);
            return false;
        }
    };
    match result {
        Ok(()) => true,
        Err(error) => {
            log::warn!("CPU {} is not started: {error:?}", cpu.0);
            false
        }
    }
}

/// See [`InterProcessor::start_secondaries`].
fn start(secondaries: &[Secondary], entry: fn() -> !) -> CpuMask {
    ENTRY.call_once(|| entry);
    prepare();
    for (start, listed) in STARTS.iter().zip(processors::all()) {
        start.affinity.store(listed.affinity, Relaxed);
    }
    let target = tables::image_physical((&raw const SECONDARY_ENTRY).addr() as u64);
    let mut asked = CpuMask::EMPTY;
    for &Secondary { cpu, stack } in secondaries {
        let (Some(start), Some(listed)) = (STARTS.get(cpu.0 as usize), listed(cpu)) else { continue };
        if start.block.load(Relaxed).is_null() {
            let block: &'static CpuLocal = match cpu {
                CpuId(0) => &cpu::BOOT_CPU,
                cpu => Box::leak(Box::new(CpuLocal::new(cpu))),
            };
            start.block.store(core::ptr::from_ref(block).cast_mut(), Ordering::Release);
        }
        start.stack.store(stack.value(), Relaxed);
        start.arrival.ask();
        if ask(cpu, listed, target) {
            asked.insert(cpu);
        }
    }
    let is_awaited = |cpu: CpuId| STARTS.get(cpu.0 as usize).is_some_and(|start| start.arrival.is_awaited());
    let end = Aarch64::now().saturating_add(PATIENCE);
    while asked.iter().any(is_awaited) && Aarch64::now() < end {
        Aarch64::relax();
    }
    let mut here = CpuMask::EMPTY;
    for cpu in asked {
        let Some(start) = STARTS.get(cpu.0 as usize) else { continue };
        match start.arrival.give_up() {
            State::Here => here.insert(cpu),
            _ => log::warn!("CPU {} does not answer", cpu.0),
        }
    }
    here
}
