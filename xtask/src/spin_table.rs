//! A 64-bit Arm machine without PSCI: CPUs that wait at a release address, as on boards whose firmware is only a boot loader.
//!
//! QEMU's `virt` has PSCI unless firmware runs in its secure world. [`FIRMWARE`] is such firmware, the least there can be: every CPU leaves
//! the secure world for EL2, the first one enters the kernel, the others wait until an address stands at their place in memory. [`Board::prepare`] takes the
//! device tree of the machine from QEMU and says in it how the CPUs are started, where the initramfs is, and the command line; QEMU's `loader` lays
//! everything into memory.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeProperty};

use crate::qemu::TemporaryFile;

/// Where the kernel lies.
const KERNEL: u64 = 0x4020_0000;
/// Where the device tree lies.
const TREE: u64 = 0x4400_0000;
/// Where the release addresses are, 8 bytes for each CPU.
const RELEASE: u64 = 0x4480_0000;
/// Where the initramfs lies.
const INITRAMFS: u64 = 0x4800_0000;

/// Which release address a CPU has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Release {
    /// One of its own.
    Own,
    /// The same as all others.
    Shared,
}

/// At address 0, where every CPU begins in the secure world's EL3. GICv2.
const FIRMWARE: [u32; 34] = [
    0xd280_b620, // mov x0, #0x5b1
    0xd51e_1100, // msr SCR_EL3, x0    (EL2 is AArch64, non-secure, with HVC and without SMC)
    0xd51e_115f, // msr CPTR_EL3, xzr    (nothing is trapped)
    0xd2a1_0001, // mov x1, #0x8000000
    0x2a3f_03e2, // mvn w2, wzr
    0xb900_8022, // str w2, [x1, #0x80]    (GICD_IGROUPR0, one for each CPU: non-secure)
    0xd2a1_0023, // mov x3, #0x8010000
    0x5280_1fe4, // mov w4, #0xff
    0xb900_0464, // str w4, [x3, #0x4]    (GICC_PMR: non-secure code may set its half)
    0xd538_00a5, // mrs x5, MPIDR_EL1
    0xf240_1ca5, // ands x5, x5, #0xff
    0x5400_0121, // b.ne 0x50    (all but the first)
    0x9102_1026, // add x6, x1, #0x84
    0x5280_03e7, // mov w7, #0x1f
    0xb800_44c2, // str w2, [x6], #0x4    (GICD_IGROUPR1 and on)
    0x7100_04e7, // subs w7, w7, #0x1
    0x54ff_ffc1, // b.ne 0x38
    0xd2a8_0408, // mov x8, #0x40200000
    0xd2a8_8000, // mov x0, #0x44000000
    0x1400_0007, // b 0x68
    0xd2a8_9000, // mov x0, #0x44800000
    0x8b05_0c00, // add x0, x0, x5, lsl #3
    0xd503_205f, // wfe    (the others wait here)
    0xf940_0008, // ldr x8, [x0]    (their release address)
    0xb4ff_ffc8, // cbz x8, 0x58
    0xaa1f_03e0, // mov x0, xzr
    0xd280_7929, // mov x9, #0x3c9
    0xd51e_4009, // msr SPSR_EL3, x9    (EL2 with its own stack pointer, everything masked)
    0xd51e_4028, // msr ELR_EL3, x8
    0xaa1f_03e1, // mov x1, xzr
    0xaa1f_03e2, // mov x2, xzr
    0xaa1f_03e3, // mov x3, xzr
    0xd503_3fdf, // isb
    0xd69f_03e0, // eret
];
/// Which of these words gives each CPU a place of its own, and what stands there when it has none.
const OWN_PLACE: (u32, u32) = (0x8b05_0c00, 0xd503_201f); // nop

/// The files of such a machine.
#[derive(Debug)]
pub struct Board {
    firmware: TemporaryFile,
    tree: TemporaryFile,
}

impl Board {
    /// Makes them: QEMU is `emulator`, and `machine` its arguments that say which CPUs and memory there are.
    pub fn prepare(
        emulator: &Path,
        machine: &[&str],
        release: Release,
        initramfs: u64,
        command_line: &str,
    ) -> Result<Self> {
        let tree = TemporaryFile::new("tree.dtb", &[])?;
        let mut words = machine.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let board = words.iter_mut().find(|word| word.starts_with("virt")).context("not the board virt")?;
        board.push_str(&format!(",dumpdtb={}", tree.path().display()));
        let output = Command::new(emulator).args(&words).args(["-display", "none", "-bios", "/dev/null"]).output()?;
        ensure!(output.status.success(), "QEMU gives no device tree: {}", String::from_utf8_lossy(&output.stderr));
        let edited = edit(&std::fs::read(tree.path())?, release, initramfs, command_line)?;
        std::fs::write(tree.path(), edited)?;
        let words = FIRMWARE.iter().map(|&word| match release {
            Release::Shared if word == OWN_PLACE.0 => OWN_PLACE.1,
            _ => word,
        });
        let firmware: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        Ok(Self { firmware: TemporaryFile::new("firmware.bin", &firmware)?, tree })
    }

    /// The files, which must be there as long as QEMU.
    pub fn into_files(self) -> Vec<TemporaryFile> {
        vec![self.firmware, self.tree]
    }

    /// QEMU's arguments that lay everything into memory.
    pub fn arguments(&self, kernel: &Path, initramfs: &Path) -> Vec<String> {
        let mut words = vec!["-bios".to_owned(), self.firmware.path().display().to_string()];
        for (file, address) in [(kernel, KERNEL), (initramfs, INITRAMFS), (self.tree.path(), TREE)] {
            words.push("-device".to_owned());
            words.push(format!("loader,file={},addr={address:#x},force-raw=on", file.display()));
        }
        words
    }
}

/// The tree with what a boot loader adds to it.
fn edit(tree: &[u8], release: Release, initramfs: u64, command_line: &str) -> Result<Vec<u8>> {
    let parsed = Fdt::new(tree).map_err(|error| anyhow::anyhow!("QEMU's device tree: {error}"))?;
    let mut tree = DeviceTree::from_fdt(&parsed);
    let cpus = tree.root.child_mut("cpus").context("no CPUs")?;
    let mut place = RELEASE;
    for cpu in cpus.children_mut() {
        if cpu.property_mut("device_type").is_none() {
            continue;
        }
        let _ = cpu.remove_property("enable-method");
        cpu.add_property(property("enable-method", "spin-table")?);
        cpu.add_property(property("cpu-release-addr", place)?);
        if release == Release::Own {
            place += 8;
        }
    }
    let chosen = tree.root.child_mut("chosen").context("no place for the command line")?;
    for (name, value) in [("linux,initrd-start", INITRAMFS), ("linux,initrd-end", INITRAMFS + initramfs)] {
        chosen.add_property(property(name, value)?);
    }
    chosen.add_property(property("bootargs", command_line)?);
    Ok(tree.to_dtb())
}

fn property<T: dtoolkit::ToPropertyValue>(name: &str, value: T) -> Result<DeviceTreeProperty> {
    DeviceTreeProperty::new(name, value).map_err(|error| anyhow::anyhow!("{name}: {error}"))
}
