//! What programs learn of the CPU: `AT_HWCAP`, `AT_HWCAP2`, `/proc/cpuinfo`, and the identification registers that they may read.
//!
//! Linux's rules: a capability stands for a field of an identification register that has at least a certain value, *and* for the
//! kernel's keeping the state that it needs. SVE, SME, MTE, pointer authentication and branch targets need such state (or keys, or
//! page attributes), which Ashlar does not keep, so they are hidden: their bits are never set and their fields read as zero.
//!
//! With `HWCAP_CPUID` programs may read the registers of the range `S3_0_C0_*`; the CPU traps the instruction and the kernel
//! answers with [`emulate`].

#![allow(unsafe_code, reason = "reads identification registers")]

use crate::base::CpuId;
use alloc::vec::Vec;

/// The identification registers that say something to programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
enum Register {
    Isar0,
    Isar1,
    Isar2,
    Pfr0,
    Pfr1,
    Mmfr0,
    Mmfr1,
    Mmfr2,
}

/// How many there are.
const REGISTER_COUNT: usize = 8;

/// Their values, in the order of [`Register`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Identification([u64; REGISTER_COUNT]);

impl Identification {
    fn value(&self, register: Register) -> u64 {
        self.0.get(register as usize).copied().unwrap_or(0)
    }
    /// The four-bit field that begins at bit `shift`.
    fn field(&self, register: Register, shift: u32) -> u64 {
        self.value(register) >> shift & 0xf
    }
}

/// Which of the two words a capability is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    First,
    Second,
}
use Register::{Isar0, Isar1, Isar2, Mmfr0, Mmfr1, Mmfr2, Pfr0, Pfr1};
use Word::{First, Second};

/// A capability: its name in `/proc/cpuinfo`, word and bit, and the field with the least value that it stands for.
struct Capability {
    name: &'static str,
    word: Word,
    bit: u32,
    register: Register,
    shift: u32,
    least: u64,
}

const fn capability(name: &'static str, word: Word, bit: u32, field: (Register, u32), least: u64) -> Capability {
    Capability { name, word, bit, register: field.0, shift: field.1, least }
}

/// In the order of the bits, which is the order in `/proc/cpuinfo`.
const CAPABILITIES: [Capability; 38] = [
    capability("aes", First, 3, (Isar0, 4), 1),
    capability("pmull", First, 4, (Isar0, 4), 2),
    capability("sha1", First, 5, (Isar0, 8), 1),
    capability("sha2", First, 6, (Isar0, 12), 1),
    capability("crc32", First, 7, (Isar0, 16), 1),
    capability("atomics", First, 8, (Isar0, 20), 2),
    capability("fphp", First, 9, (Pfr0, 16), 1),
    capability("asimdhp", First, 10, (Pfr0, 20), 1),
    capability("asimdrdm", First, 12, (Isar0, 28), 1),
    capability("jscvt", First, 13, (Isar1, 12), 1),
    capability("fcma", First, 14, (Isar1, 16), 1),
    capability("lrcpc", First, 15, (Isar1, 20), 1),
    capability("dcpop", First, 16, (Isar1, 0), 1),
    capability("sha3", First, 17, (Isar0, 32), 1),
    capability("sm3", First, 18, (Isar0, 36), 1),
    capability("sm4", First, 19, (Isar0, 40), 1),
    capability("asimddp", First, 20, (Isar0, 44), 1),
    capability("sha512", First, 21, (Isar0, 12), 2),
    capability("asimdfhm", First, 23, (Isar0, 48), 1),
    capability("dit", First, 24, (Pfr0, 48), 1),
    capability("uscat", First, 25, (Mmfr2, 32), 1),
    capability("ilrcpc", First, 26, (Isar1, 20), 2),
    capability("flagm", First, 27, (Isar0, 52), 1),
    capability("ssbs", First, 28, (Pfr1, 4), 2),
    capability("sb", First, 29, (Isar1, 36), 1),
    capability("dcpodp", Second, 0, (Isar1, 0), 2),
    capability("flagm2", Second, 7, (Isar0, 52), 2),
    capability("frint", Second, 8, (Isar1, 32), 1),
    capability("i8mm", Second, 13, (Isar1, 52), 1),
    capability("bf16", Second, 14, (Isar1, 44), 1),
    capability("dgh", Second, 15, (Isar1, 48), 1),
    capability("rng", Second, 16, (Isar0, 60), 1),
    capability("ecv", Second, 19, (Mmfr0, 60), 1),
    capability("afp", Second, 20, (Mmfr1, 44), 1),
    capability("rpres", Second, 21, (Isar2, 4), 1),
    capability("wfxt", Second, 31, (Isar2, 0), 2),
    capability("ebf16", Second, 32, (Isar1, 44), 2),
    capability("cssc", Second, 34, (Isar2, 52), 1),
];

/// Floating point and vectors are there where their fields are not `0xf`: these come before [`CAPABILITIES`].
const FLOATING_POINT: [(&str, u32, u32); 2] = [("fp", 0, 16), ("asimd", 1, 20)];
/// The bit of `HWCAP_EVTSTRM`: the timer wakes `wfe` regularly ([`super::timer`]), as Linux has it do.
const EVENT_STREAM_BIT: u32 = 2;
/// The bit of `HWCAP_CPUID`, which the kernel itself provides, between `asimdhp` and `asimdrdm`.
const IDENTIFICATION_BIT: u32 = 11;

/// The two words, and for each capability its name to `name`, in the order of the bits.
fn capabilities(identification: &Identification, mut name: impl FnMut(&'static str)) -> [u64; 2] {
    let mut words = [0; 2];
    for (text, bit, shift) in FLOATING_POINT {
        if identification.field(Pfr0, shift) != 0xf {
            words[0] |= 1 << bit;
            name(text);
        }
    }
    words[0] |= 1 << EVENT_STREAM_BIT;
    name("evtstrm");
    for Capability { name: text, word, bit, register, shift, least } in CAPABILITIES {
        if word == First && bit > IDENTIFICATION_BIT && words[0] >> IDENTIFICATION_BIT & 1 == 0 {
            words[0] |= 1 << IDENTIFICATION_BIT;
            name("cpuid");
        }
        let value = identification.field(register, shift);
        // The two floating-point fields are signed: 0xf is "none".
        if value >= least && !(register == Pfr0 && shift <= 20 && value == 0xf) {
            words[word as usize] |= 1 << bit;
            name(text);
        }
    }
    words
}

/// The bits of each register that programs may see, all of fields that need no state which the kernel would have to keep.
const VISIBLE: [u64; REGISTER_COUNT] = [
    0xf0ff_ffff_f0ff_fff0, // everything but TLB and TME
    0x00ff_f0ff_00ff_f00f, // without APA, API, GPA, GPI, SPECRES, XS, LS64
    0x00f0_0000_0000_00ff, // CSSC, RPRES, WFxT
    0x000f_0000_00ff_0000, // FP, AdvSIMD, DIT
    0x0000_0000_0000_00f0, // SSBS
    0xf000_0000_0000_0000, // ECV
    0x0000_f000_0000_0000, // AFP
    0x0000_000f_0000_0000, // AT
];

/// What Linux lets user space read at `S3_0_C0_C<m>_<op2>`; `None` where that is undefined. `names` are MIDR_EL1 and REVIDR_EL1.
fn emulated(cr_m: u32, op2: u32, identification: &Identification, names: [u64; 2]) -> Option<u64> {
    let visible =
        |register: Register| identification.value(register) & VISIBLE.get(register as usize).copied().unwrap_or(0);
    Some(match (cr_m, op2) {
        // MIDR_EL1, MPIDR_EL1 (bit 31 alone), REVIDR_EL1.
        (0, 0) => names[0],
        (0, 5) => 1 << 31,
        (0, 6) => names[1],
        // Exception levels 0 and 1 run 64-bit code.
        (4, 0) => visible(Pfr0) | 0x11,
        (4, 1) => visible(Pfr1),
        (6, 0) => visible(Isar0),
        (6, 1) => visible(Isar1),
        (6, 2) => visible(Isar2),
        // No granule is said to exist: what page size there is, programs learn elsewhere.
        (7, 0) => visible(Mmfr0) | 0xff00_0000,
        (7, 1) => visible(Mmfr1),
        (7, 2) => visible(Mmfr2),
        // The debug architecture's version.
        (5, 0) => 6,
        // Other registers of the range are reserved and read as zero.
        (2..=7, 0..=7) => 0,
        _ => return None,
    })
}

#[cfg(target_os = "none")]
mod machine {
    use super::{CpuId, Identification, Vec, capabilities, emulated};
    use core::arch::asm;

    /// Reads an identification register by its encoded name.
    macro_rules! read {
        ($name:literal) => {{
            let value: u64;
            // SAFETY: reads an identification register, which has no effect. Those that the CPU does not have read as zero.
            unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
            value
        }};
    }

    fn identification() -> Identification {
        Identification([
            read!("s3_0_c0_c6_0"),
            read!("s3_0_c0_c6_1"),
            read!("s3_0_c0_c6_2"),
            read!("s3_0_c0_c4_0"),
            read!("s3_0_c0_c4_1"),
            read!("s3_0_c0_c7_0"),
            read!("s3_0_c0_c7_1"),
            read!("s3_0_c0_c7_2"),
        ])
    }

    /// `MIDR_EL1` and `ID_AA64PFR0_EL1` of this CPU.
    #[must_use]
    pub fn model() -> (u64, u64) {
        (read!("midr_el1"), read!("s3_0_c0_c4_0"))
    }

    /// `AT_HWCAP` and `AT_HWCAP2`.
    #[must_use]
    pub fn hardware_capabilities() -> [u64; 2] {
        capabilities(&identification(), |_| {})
    }

    /// Appends what `/proc/cpuinfo` says of CPU `number`.
    pub fn describe(number: CpuId, text: &mut Vec<u8>) {
        super::describe_with(number, &identification(), read!("midr_el1"), read!("cntfrq_el0"), text);
    }

    /// The answer to an instruction of user mode that would read a system register, from the syndrome of its trap: the
    /// register that it goes to, and the value. `None` where programs may not read the system register.
    #[must_use]
    pub fn emulate(syndrome: u64) -> Option<(usize, u64)> {
        let field = |shift: u32, mask: u64| (syndrome >> shift & mask) as u32;
        let (direction, cr_m, target, cr_n) = (field(0, 1), field(1, 0xf), field(5, 0x1f), field(10, 0xf));
        let (op1, op2, op0) = (field(14, 7), field(17, 7), field(20, 3));
        if (direction, op0, op1, cr_n) != (1, 3, 0, 0) {
            return None;
        }
        let names = [read!("midr_el1"), read!("revidr_el1")];
        Some((target as usize, emulated(cr_m, op2, &identification(), names)?))
    }
}
#[cfg(target_os = "none")]
pub use machine::{describe, emulate, hardware_capabilities, model};

/// The lines of `/proc/cpuinfo` as Linux writes them on arm64, for a CPU called `midr` whose counter runs at `frequency`.
fn describe_with(number: CpuId, identification: &Identification, midr: u64, frequency: u64, text: &mut Vec<u8>) {
    let mut write =
        |arguments: core::fmt::Arguments<'_>| text.extend_from_slice(alloc::fmt::format(arguments).as_bytes());
    write(format_args!("processor\t: {}\n", number.0));
    // Two per tick of the counter, as the kernel's delay loop would count.
    write(format_args!("BogoMIPS\t: {}.{:02}\nFeatures\t:", frequency / 500_000, frequency / 5_000 % 100));
    capabilities(identification, |name| write(format_args!(" {name}")));
    write(format_args!("\nCPU implementer\t: 0x{:02x}\nCPU architecture: 8\n", midr >> 24 & 0xff));
    write(format_args!("CPU variant\t: 0x{:x}\nCPU part\t: 0x{:03x}\n", midr >> 20 & 0xf, midr >> 4 & 0xfff));
    write(format_args!("CPU revision\t: {}\n", midr & 0xf));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// QEMU's Cortex-A72 and Neoverse N1.
    const CORTEX_A72: Identification = Identification([0x1_1120, 0, 0, 0x2222, 0, 0x1124, 0, 0]);
    const NEOVERSE_N1: Identification = Identification([
        0x0000_1000_1021_1120,
        0x0010_0001,
        0,
        0x1100_0000_1111_2222,
        0x0000_0020,
        0x0000_0000_0010_1125,
        0x1021_2122,
        0x0000_0001_0000_1011,
    ]);

    fn names(identification: &Identification) -> String {
        let mut names = Vec::new();
        capabilities(identification, |name| names.push(name));
        names.join(" ")
    }

    #[test]
    fn the_bits_rise_in_each_word_and_none_needs_hidden_state() {
        for pair in CAPABILITIES.windows(2) {
            assert!((pair[0].word as u32, pair[0].bit) < (pair[1].word as u32, pair[1].bit), "{}", pair[1].name);
        }
        for capability in CAPABILITIES {
            let hidden = ["sve", "paca", "pacg", "bti", "mte", "mte3", "sme"];
            assert!(!hidden.contains(&capability.name));
            assert_eq!(VISIBLE[capability.register as usize] >> capability.shift & 0xf, 0xf, "{}", capability.name);
        }
        assert_eq!(capabilities(&NEOVERSE_N1, |_| {})[0] & 1 << 22, 0);
    }

    /// As Debian's Linux says on the same models.
    #[test]
    fn the_models_have_linux_s_capabilities() {
        assert_eq!(names(&CORTEX_A72), "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid");
        assert_eq!(
            names(&NEOVERSE_N1),
            "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp uscat ssbs"
        );
        assert_eq!(capabilities(&CORTEX_A72, |_| {}), [0x8ff, 0]);
    }

    #[test]
    fn a_cpu_without_floating_point_has_neither_it_nor_half_precision() {
        let bare = Identification([0, 0, 0, 0xff_2222, 0, 0, 0, 0]);
        assert_eq!(names(&bare), "evtstrm cpuid");
    }

    #[test]
    fn programs_see_names_and_visible_fields() {
        let read = |cr_m, op2| emulated(cr_m, op2, &NEOVERSE_N1, [0x413f_d0c1, 0]);
        assert_eq!(read(0, 0), Some(0x413f_d0c1));
        assert_eq!(read(0, 5), Some(0x8000_0000));
        assert_eq!(read(4, 0), Some(0x0000_0000_0011_0011), "RAS, CSV2 and the interrupt controller are hidden");
        assert_eq!(read(6, 0), Some(0x0000_1000_1021_1120));
        assert_eq!(read(4, 4), Some(0), "SVE");
        assert_eq!(read(1, 0), None);
        assert_eq!(read(0, 1), None);
    }

    #[test]
    fn the_text_is_linux_s() {
        let mut text = Vec::new();
        describe_with(CpuId(1), &CORTEX_A72, 0x410f_d083, 62_500_000, &mut text);
        let expected = "processor\t: 1\nBogoMIPS\t: 125.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid\n\
            CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
