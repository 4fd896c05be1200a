//! What the device tree says: memory, the initial RAM disk, the command line, and the few devices that the machine itself uses.
//!
//! [`parse`] is pure and tested on any host with the tree of QEMU's `virt`. Everything in the tree is taken as a claim: what is missing, out of range or
//! malformed is left out, and nothing panics.

use crate::arch::boot_information::{BootInformation, MemoryKind, MemoryRegion, PhysicalRange};
use crate::base::{PAGE_SIZE, PhysicalAddress};
use arrayvec::ArrayVec;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::NodeStandard;
use dtoolkit::{Node, Property};

/// How firmware is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// `hvc #0`.
    Hypervisor,
    /// `smc #0`.
    SecureMonitor,
}

/// The interrupt controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gic {
    /// Version 2.
    V2 {
        /// The distributor's registers.
        distributor: PhysicalAddress,
        /// The CPU interface's.
        cpu_interface: PhysicalAddress,
    },
    /// Version 3 or 4.
    V3 {
        /// The distributor's registers.
        distributor: PhysicalAddress,
        /// The first region of redistributors.
        redistributors: PhysicalAddress,
    },
}

/// The most CPUs that are noted.
pub const MAXIMUM_CPUS: usize = 64;

/// The devices that the machine itself uses.
#[derive(Clone, Debug)]
pub struct Devices {
    /// The PL011 that the console is: its registers and its interrupt.
    pub uart: Option<(PhysicalAddress, u32)>,
    /// The PL031: its registers.
    pub rtc: Option<PhysicalAddress>,
    /// The interrupt controller.
    pub gic: Option<Gic>,
    /// The virtual timer's interrupt.
    pub timer_interrupt: u32,
    /// How PSCI is called, where there is one.
    pub psci: Option<Conduit>,
    /// The CPUs, in the tree's order.
    pub cpus: ArrayVec<ListedCpu, MAXIMUM_CPUS>,
}

/// A CPU of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListedCpu {
    /// Its affinity (`MPIDR_EL1`).
    pub affinity: u64,
    /// How it is started.
    pub start: StartMethod,
}

/// How a CPU is started (`enable-method`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartMethod {
    /// By a call of firmware.
    Firmware,
    /// It waits, with its caches off, until something other than zero stands at this place, and goes on there: Devicetree specification, 3.8; Linux's
    /// `booting.rst`.
    SpinTable(PhysicalAddress),
}

/// The tree is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// The virtual timer's private interrupt on every machine that follows Arm's base architecture.
const VIRTUAL_TIMER: u32 = 27;

/// Reads `tree`.
///
/// # Errors
/// [`Malformed`]: it has no proper header, or not the structure that the header promises.
pub fn parse(tree: &[u8]) -> Result<(BootInformation, Devices), Malformed> {
    let tree = Fdt::new(tree).map_err(|_| Malformed)?;
    let mut information = BootInformation::new();
    let root = tree.root();
    for node in root.children() {
        if text(&node, "device_type").is_some_and(|kind| kind == "memory") && is_enabled(&node) {
            read_memory(&node, &mut information);
        }
    }
    for reservation in tree.memory_reservations() {
        reserve(&mut information, reservation.address(), reservation.size());
    }
    for node in tree.reserved_memory().into_iter().flatten() {
        let is_mapped = node.property("no-map").is_none();
        for (start, length) in registers(&node) {
            reserve(&mut information, start, length);
            let end = PhysicalAddress::new(start.saturating_add(length));
            let range = PhysicalRange { start: PhysicalAddress::new(start), end };
            if !is_mapped && length != 0 && information.not_mapped.try_push(range).is_err() {
                information.memory_regions.clear();
            }
        }
    }
    let mut console = None;
    if let Some(chosen) = tree.find_node("/chosen") {
        if let Some(arguments) = text(&chosen, "bootargs") {
            let kept = arguments.len().min(information.command_line.capacity());
            let kept = (0..=kept).rev().find(|&end| arguments.is_char_boundary(end)).unwrap_or(0);
            information.command_line.push_str(arguments.get(..kept).unwrap_or_default());
        }
        let start = number(&chosen, "linux,initrd-start");
        let end = number(&chosen, "linux,initrd-end");
        if let (Some(start), Some(end)) = (start, end)
            && start < end
        {
            information.initrd =
                Some(PhysicalRange { start: PhysicalAddress::new(start), end: PhysicalAddress::new(end) });
            reserve(&mut information, start, end - start);
        }
        // "/pl011@9000000:115200n8"
        let path = text(&chosen, "stdout-path").and_then(|path| path.split(':').next());
        console = path.and_then(|path| tree.find_node(path)).and_then(|node| uart(&node));
    }
    let mut devices = Devices {
        uart: console,
        rtc: None,
        gic: None,
        timer_interrupt: VIRTUAL_TIMER,
        psci: None,
        cpus: ArrayVec::new(),
    };
    for node in root.children().filter(is_enabled) {
        read_device(&node, &mut devices);
        // Devices on a simple bus stand one level down.
        for child in node.children().filter(is_enabled) {
            read_device(&child, &mut devices);
        }
    }
    if let Some(cpus) = tree.find_node("/cpus") {
        for node in cpus.children().filter(is_cpu) {
            let Some(affinity) = first_register(&node) else { continue };
            let start = start_method(&node);
            if let StartMethod::SpinTable(release) = start {
                // The tree has it reserved, or should; the CPU waits in code beside it.
                reserve(&mut information, release.align_down().value(), PAGE_SIZE as u64);
            }
            // Further ones are not used.
            let _ = devices.cpus.try_push(ListedCpu { affinity, start });
        }
    }
    Ok((information, devices))
}

fn read_memory(node: &FdtNode<'_>, information: &mut BootInformation) {
    for (start, length) in registers(node) {
        if length != 0 {
            let region = MemoryRegion { start: PhysicalAddress::new(start), length, kind: MemoryKind::Usable };
            // A map with more regions than there is room for loses the last ones.
            let _ = information.memory_regions.try_push(region);
        }
    }
}

/// Keeps `length` bytes from `start` out of use. When there is no room to remember it, the memory regions are forgotten: better none than one that is
/// written over.
fn reserve(information: &mut BootInformation, start: u64, length: u64) {
    let end = start.saturating_add(length);
    let range = PhysicalRange { start: PhysicalAddress::new(start), end: PhysicalAddress::new(end) };
    if information.reserved.iter().any(|reserved| reserved.contains(range)) {
        return;
    }
    if length != 0 && information.reserved.try_push(range).is_err() {
        information.memory_regions.clear();
    }
}

fn read_device(node: &FdtNode<'_>, devices: &mut Devices) {
    let mut regions = registers(node).map(|(start, _)| PhysicalAddress::new(start));
    if node.is_compatible("arm,gic-v3") {
        if let (Some(distributor), Some(redistributors)) = (regions.next(), regions.next()) {
            devices.gic = Some(Gic::V3 { distributor, redistributors });
        }
    } else if node.is_compatible("arm,cortex-a15-gic") || node.is_compatible("arm,gic-400") {
        if let (Some(distributor), Some(cpu_interface)) = (regions.next(), regions.next()) {
            devices.gic = Some(Gic::V2 { distributor, cpu_interface });
        }
    } else if node.is_compatible("arm,pl031") {
        devices.rtc = regions.next();
    } else if node.is_compatible("arm,armv8-timer") {
        // Secure, non-secure, virtual, hypervisor.
        if let Some(line) = interrupt(node, 2) {
            devices.timer_interrupt = line;
        }
    } else if node.is_compatible("arm,psci-1.0") || node.is_compatible("arm,psci-0.2") || node.is_compatible("arm,psci")
    {
        devices.psci = match text(node, "method") {
            Some("hvc") => Some(Conduit::Hypervisor),
            Some("smc") => Some(Conduit::SecureMonitor),
            _ => None,
        };
    } else if devices.uart.is_none() {
        devices.uart = uart(node);
    }
}

fn uart(node: &FdtNode<'_>) -> Option<(PhysicalAddress, u32)> {
    if !node.is_compatible("arm,pl011") || !is_enabled(node) {
        return None;
    }
    let (start, _) = registers(node).next()?;
    Some((PhysicalAddress::new(start), interrupt(node, 0)?))
}

/// The interrupt number of entry `index`: three cells of the GIC's binding, the kind first.
fn interrupt(node: &FdtNode<'_>, index: usize) -> Option<u32> {
    const SHARED: u32 = 0;
    const PRIVATE: u32 = 1;
    let property = node.property("interrupts")?;
    let cell = |at: usize| {
        let bytes = property.value().get(at * 4..at * 4 + 4)?;
        bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    };
    match (cell(index * 3)?, cell(index * 3 + 1)?) {
        (SHARED, number @ 0..988) => Some(number + 32),
        (PRIVATE, number @ 0..16) => Some(number + 16),
        _ => None,
    }
}

/// The (address, length) pairs of `reg`; those that do not fit into 64 bits are left out.
pub(super) fn registers<'a>(node: &FdtNode<'a>) -> impl Iterator<Item = (u64, u64)> + 'a {
    let entries = node.reg().ok().flatten();
    entries.into_iter().flatten().filter_map(|entry| Some((entry.address::<u64>().ok()?, entry.size::<u64>().ok()?)))
}

/// Whether a node below `/cpus` is a CPU.
pub(super) fn is_cpu(node: &FdtNode<'_>) -> bool {
    text(node, "device_type") == Some("cpu")
}

fn start_method(cpu: &FdtNode<'_>) -> StartMethod {
    // A word across the end of a line could not be written at once.
    let release = number(cpu, "cpu-release-addr").filter(|address| address.is_multiple_of(8));
    match (text(cpu, "enable-method"), release) {
        (Some("spin-table"), Some(address)) => StartMethod::SpinTable(PhysicalAddress::new(address)),
        _ => StartMethod::Firmware,
    }
}

/// The first address of `reg`.
pub(super) fn first_register(node: &FdtNode<'_>) -> Option<u64> {
    registers(node).next().map(|(address, _)| address)
}

/// A property of one or two cells.
fn number(node: &FdtNode<'_>, name: &str) -> Option<u64> {
    let property = node.property(name)?;
    match property.value().len() {
        4 => property.value_as::<u32>().ok().map(u64::from),
        _ => property.value_as::<u64>().ok(),
    }
}

pub(super) fn text<'a>(node: &FdtNode<'a>, name: &str) -> Option<&'a str> {
    node.property(name)?.value_as::<&str>().ok()
}

fn is_enabled(node: &FdtNode<'_>) -> bool {
    matches!(text(node, "status"), None | Some("okay" | "ok"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// QEMU's `virt` with GICv3, two CPUs and 512 MiB, started with an initial RAM disk and `console=ttyAMA0 quiet`.
    const VIRT: &[u8] = include_bytes!("device_tree/virt.dtb");

    fn address(value: u64) -> PhysicalAddress {
        PhysicalAddress::new(value)
    }

    #[test]
    fn the_tree_of_virt_is_understood() {
        let (information, devices) = parse(VIRT).unwrap();
        let regions: Vec<_> =
            information.memory_regions.iter().map(|region| (region.start.value(), region.length)).collect();
        assert_eq!(regions, [(0x4000_0000, 512 << 20)]);
        assert_eq!(information.command_line.as_str(), "console=ttyAMA0 quiet");
        let initrd = information.initrd.unwrap();
        assert!(initrd.start.value() > 0x4000_0000 && initrd.length() > 1 << 20);
        assert!(information.reserved.contains(&initrd));
        assert_eq!(devices.uart, Some((address(0x0900_0000), 33)));
        assert_eq!(devices.rtc, Some(address(0x0901_0000)));
        let gic = Gic::V3 { distributor: address(0x0800_0000), redistributors: address(0x080a_0000) };
        assert_eq!(devices.gic, Some(gic));
        assert_eq!((devices.timer_interrupt, devices.psci), (27, Some(Conduit::Hypervisor)));
        let cpu = |affinity| ListedCpu { affinity, start: StartMethod::Firmware };
        assert_eq!(devices.cpus.as_slice(), [cpu(0), cpu(1)]);
    }

    #[test]
    fn what_is_no_tree_is_refused_and_a_damaged_one_does_no_harm() {
        assert!(parse(b"").is_err());
        assert!(parse(&VIRT[..100]).is_err());
        for place in (0..VIRT.len()).step_by(7) {
            let mut damaged = VIRT.to_vec();
            damaged[place] ^= 0x5a;
            let _ = parse(&damaged);
        }
    }
}
