//! The GIC, version 2 or 3 (crate `arm-gic`): which line has interrupted, and which may.
//!
//! Every interrupt has the same priority: none interrupts another. Lock: a spinlock of this file around the driver's state, taken with interrupts
//! masked; version 3 acknowledges and ends by system registers, without it.

#![allow(unsafe_code, reason = "the GIC's registers")]

use super::Aarch64;
use super::device_tree::Gic;
use super::mmu::physmap;
use super::{processors, timer};
use crate::arch::interrupt_report::{Counter, InterruptRow};
use crate::arch::{Cpu, InterProcessorInterrupt};
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS, PhysicalAddress};
use alloc::format;
use alloc::string::ToString;
use arm_gic::gicv2::{self, GicV2};
use arm_gic::gicv3::registers::{Gicd, GicrSgi};
use arm_gic::gicv3::{self, GicCpuInterface, GicV3};
use arm_gic::{IntId, InterruptGroup, UniqueMmioPointer};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use spin::Mutex;

enum Controller {
    None,
    V2(GicV2<'static>),
    V3(GicV3<'static>),
}

static CONTROLLER: Mutex<Controller> = Mutex::new(Controller::None);
/// Whether it is version 3.
static SYSTEM_REGISTERS: AtomicBool = AtomicBool::new(false);

/// The one priority; lower ones are more urgent.
const PRIORITY: u8 = 0x80;
/// Lets every priority through.
const ALL_PRIORITIES: u8 = 0xff;

fn registers<T>(address: PhysicalAddress) -> Option<NonNull<T>> {
    NonNull::new(core::ptr::with_exposed_provenance_mut(physmap(address).value() as usize))
}

/// Which redistributor is each CPU's (version 3).
static REDISTRIBUTORS: [AtomicUsize; MAXIMUM_CPUS] = [const { AtomicUsize::new(0) }; MAXIMUM_CPUS];

/// The redistributor of this CPU.
fn redistributor() -> usize {
    REDISTRIBUTORS.get(Aarch64::id().0 as usize).map_or(0, |index| index.load(Relaxed))
}

/// Finds the redistributor of CPU `cpu`, which is this one.
fn find_redistributor(gic: &mut GicV3<'static>, cpu: CpuId, count: usize) {
    let Some(affinity) = processors::affinity_of(cpu) else { return };
    let found = (0..count).find(|&index| gic.gicr_typer(index).is_ok_and(|kind| kind.core_mpidr() == affinity));
    if let (Some(found), Some(place)) = (found, REDISTRIBUTORS.get(cpu.0 as usize)) {
        place.store(found, Relaxed);
    }
}

/// How many CPUs the controller serves.
static CPU_COUNT: AtomicUsize = AtomicUsize::new(1);

/// Takes the controller over for `count` CPUs, on the first one, interrupts masked. Nothing is enabled afterwards.
pub(super) fn initialize(gic: &Gic, count: usize) {
    CPU_COUNT.store(count, Relaxed);
    let controller = match *gic {
        Gic::V2 { distributor, cpu_interface } => {
            CPU_INTERFACE.store(physmap(cpu_interface).value(), Relaxed);
            let start = distributor;
            let (Some(distributor), Some(cpu_interface)) = (registers(distributor), registers(cpu_interface)) else {
                return;
            };
            TARGETS.store(physmap(start).value() + TARGETS_OFFSET, Relaxed);
            // SAFETY: the device tree says that the registers are there; physmap has them as Device; this is their only driver.
            let mut gic = unsafe { GicV2::new(distributor.as_ptr(), cpu_interface.as_ptr()) };
            gic.setup();
            gic.set_priority_mask(ALL_PRIORITIES);
            Controller::V2(gic)
        }
        Gic::V3 { distributor, redistributors } => {
            let (Some(distributor), Some(redistributors)) =
                (registers::<Gicd>(distributor), registers::<GicrSgi>(redistributors))
            else {
                return;
            };
            // SAFETY: as above.
            let gic = unsafe { GicV3::new(UniqueMmioPointer::new(distributor), redistributors, count) };
            let Ok(mut gic) = gic else { return };
            find_redistributor(&mut gic, CpuId(0), count);
            gic.setup(redistributor());
            GicCpuInterface::set_priority_mask(ALL_PRIORITIES);
            SYSTEM_REGISTERS.store(true, Relaxed);
            Controller::V3(gic)
        }
    };
    *CONTROLLER.lock() = controller;
}

/// Gets the interface of CPU `cpu`, which is this one and not the first, ready; interrupts are masked.
pub(super) fn initialize_secondary(cpu: CpuId) {
    match &mut *CONTROLLER.lock() {
        Controller::None => {}
        Controller::V2(gic) => {
            // What is not the CPU's own is set to what it is.
            gic.setup();
            gic.set_priority_mask(ALL_PRIORITIES);
        }
        Controller::V3(gic) => {
            find_redistributor(gic, cpu, CPU_COUNT.load(Relaxed));
            gic.init_cpu(redistributor());
            GicCpuInterface::set_priority_mask(ALL_PRIORITIES);
            GicCpuInterface::enable_group1(true);
        }
    }
    enable_private();
}

/// Lets the alarm and the other CPUs interrupt this one.
pub(super) fn enable_private() {
    enable(timer::line());
    for interrupt in [InterProcessorInterrupt::Reschedule, InterProcessorInterrupt::Call, InterProcessorInterrupt::Stop]
    {
        enable(interrupt as u32);
    }
}

/// Sends the software-generated interrupt `number` to each of `targets`.
pub(super) fn send(targets: CpuMask, number: u32) {
    let affinities = targets.iter().filter_map(processors::affinity_of);
    if SYSTEM_REGISTERS.load(Relaxed) {
        for affinity in affinities {
            let [aff0, affinity1, affinity2, _, affinity3, ..] = affinity.to_le_bytes();
            let target = gicv3::SgiTarget::List { affinity3, affinity2, affinity1, target_list: 1 << (aff0 & 15) };
            // It fails for numbers that are no SGI's only.
            let _ = GicCpuInterface::send_sgi(identifier(number), target, gicv3::SgiTargetGroup::CurrentGroup1);
        }
        return;
    }
    // Version 2 has at most eight CPUs, numbered by the lowest level of affinity.
    let target_list = affinities.fold(0, |list, affinity| list | 1 << (affinity & 7));
    let enabled = Aarch64::save_and_disable_interrupts();
    if let Controller::V2(gic) = &mut *CONTROLLER.lock() {
        let target_list_filter = gicv2::SgiTargetListFilter::CPUTargetList;
        gic.send_sgi(identifier(number), gicv2::SgiTarget::List { target_list_filter, target_list });
    }
    if enabled {
        Aarch64::enable_interrupts();
    }
}

/// The lines of devices, which can interrupt any CPU: those of the first 64 that have been enabled.
static DEVICE_LINES: AtomicU64 = AtomicU64::new(0);
/// The first register that says which CPUs a line interrupts (version 2), a byte for each line.
static TARGETS: AtomicU64 = AtomicU64::new(0);
/// Which it is in the distributor.
const TARGETS_OFFSET: u64 = 0x800;

/// Has the devices whose lines are enabled interrupt CPU `to`.
pub(super) fn route_devices(to: CpuId) {
    let lines = DEVICE_LINES.load(Relaxed);
    (0..u64::BITS).filter(|line| lines >> line & 1 != 0).for_each(|line| route(line + 32, to));
}

/// Has device line `line` interrupt CPU `to`.
fn route(line: u32, to: CpuId) {
    let Some(affinity) = processors::affinity_of(to) else { return };
    let enabled = Aarch64::save_and_disable_interrupts();
    match &mut *CONTROLLER.lock() {
        Controller::None => {}
        Controller::V2(_) => {
            let register = TARGETS.load(Relaxed) + u64::from(line);
            let place = core::ptr::with_exposed_provenance_mut::<u8>(register as usize);
            // SAFETY: `initialize` has put the distributor's address there, which physmap has as Device; the registers may be written by bytes, and
            // the lock keeps others away.
            unsafe { place.write_volatile(1 << (affinity & 7)) };
        }
        // It fails for what is no device's line.
        Controller::V3(gic) => drop(gic.distributor().set_routing(identifier(line), Some(affinity))),
    }
    if enabled {
        Aarch64::enable_interrupts();
    }
}

/// What the log calls it.
pub(super) fn name() -> &'static str {
    match *CONTROLLER.lock() {
        Controller::None => "no interrupt controller",
        Controller::V2(_) => "GICv2",
        Controller::V3(_) => "GICv3",
    }
}

/// The lines that may interrupt, and what each CPU tells others.
pub(super) fn rows(add: &mut dyn FnMut(InterruptRow)) {
    let devices = DEVICE_LINES.load(Relaxed);
    let controller = name();
    let timer = core::iter::once((timer::line(), "arch_timer"));
    let devices = (0..u64::BITS).filter(|line| devices >> line & 1 != 0).map(|line| line + 32);
    let devices = devices.map(|line| (line, if super::serial::is_line(line) { "uart-pl011" } else { "" }));
    for (line, device) in timer.chain(devices) {
        let detail = format!(" {controller:>8} {line:3} {:<8}  {device}", "Level");
        add(InterruptRow { label: line.to_string(), counter: Counter::Source(line as usize), detail });
    }
    let told = [
        (InterProcessorInterrupt::Reschedule, "Rescheduling interrupts"),
        (InterProcessorInterrupt::Call, "Function call interrupts"),
        (InterProcessorInterrupt::Stop, "CPU stop interrupts"),
    ];
    for (interrupt, detail) in told {
        let (number, detail) = (interrupt as usize, format!("      {detail}"));
        add(InterruptRow { label: format!("IPI{number}"), counter: Counter::Source(number), detail });
    }
}

/// The controller's name of line `line`.
fn identifier(line: u32) -> IntId {
    match line {
        0..16 => IntId::sgi(line),
        16..32 => IntId::ppi(line - 16),
        _ => IntId::spi((line - 32).min(IntId::MAX_SPI_COUNT - 1)),
    }
}

/// Lets the device on `line` interrupt the first CPU, until [`route_devices`] says otherwise.
pub(super) fn enable_device(line: u32) {
    enable(line);
    DEVICE_LINES.fetch_or(1u64.checked_shl(line.wrapping_sub(32)).unwrap_or(0), Relaxed);
    route(line, CpuId(0));
}

/// Lets `line` interrupt this CPU.
pub(super) fn enable(line: u32) {
    let identifier = identifier(line);
    let masked = Aarch64::save_and_disable_interrupts();
    match &mut *CONTROLLER.lock() {
        Controller::None => {}
        Controller::V2(gic) => {
            gic.set_interrupt_priority(identifier, PRIORITY);
            if gic.enable_interrupt(identifier, true).is_err() {
                log::error!("line {line} cannot be enabled");
            }
        }
        Controller::V3(gic) => {
            let cpu = Some(redistributor());
            let result = gic
                .set_interrupt_priority(identifier, cpu, PRIORITY)
                .and_then(|()| gic.enable_interrupt(identifier, cpu, true));
            if result.is_err() {
                log::error!("line {line} cannot be enabled");
            }
        }
    }
    if masked {
        Aarch64::enable_interrupts();
    }
}

/// An interrupt that has been acknowledged: what the controller calls it. Version 2 says of a software-generated one who sent it, and wants to
/// be told that again at its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Acknowledged(u32);

impl Acknowledged {
    /// The line.
    #[inline]
    pub(super) const fn line(self) -> u32 {
        self.0 & 0x3ff
    }
}

/// The first register of the CPU interface (version 2), which is each CPU's own.
static CPU_INTERFACE: AtomicU64 = AtomicU64::new(0);
const ACKNOWLEDGE_OFFSET: u64 = 0x0c;
const END_OFFSET: u64 = 0x10;

/// A register of the CPU interface, if there is one.
#[inline]
fn cpu_register(offset: u64) -> Option<NonNull<u32>> {
    let base = CPU_INTERFACE.load(Relaxed);
    NonNull::new(core::ptr::with_exposed_provenance_mut((base + offset) as usize)).filter(|_| base != 0)
}

/// What interrupts now; `None` when it has thought better of it. Interrupts are masked.
#[inline]
pub(super) fn acknowledge() -> Option<Acknowledged> {
    /// Numbers from here on say that there is nothing.
    const FIRST_SPECIAL: u32 = 1020;
    if SYSTEM_REGISTERS.load(Relaxed) {
        let identifier = GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1);
        return identifier.map(|identifier| Acknowledged(identifier.raw_value()));
    }
    // SAFETY: the register is there, physmap has it as Device, and reading it acknowledges on this CPU alone.
    let interrupt = Acknowledged(unsafe { cpu_register(ACKNOWLEDGE_OFFSET)?.read_volatile() });
    (interrupt.line() < FIRST_SPECIAL).then_some(interrupt)
}

/// Says that `interrupt` has been seen to. Interrupts are masked.
#[inline]
pub(super) fn end(interrupt: Acknowledged) {
    if SYSTEM_REGISTERS.load(Relaxed) {
        GicCpuInterface::end_interrupt(identifier(interrupt.line()), InterruptGroup::Group1);
    } else if let Some(register) = cpu_register(END_OFFSET) {
        // SAFETY: as above; it was acknowledged.
        unsafe { register.write_volatile(interrupt.0) };
    }
}
