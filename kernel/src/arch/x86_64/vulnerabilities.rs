//! Which weaknesses an x86 CPU has: what it enumerates, and where that is silent, its model.
//!
//! Sources: Intel's list of affected processors by model with `IA32_ARCH_CAPABILITIES` (SDM, volume 4), AMD's bulletins with `CPUID 8000_0008h`
//! and `8000_0021h`. Where both are silent, Linux 6.1's reading counts. Affected are CPUs of models that are named here or, for the older weaknesses, all that are
//! not exempt.

#![allow(unsafe_code, reason = "reads model-specific registers")]

use super::{X86_64, model_specific};
use crate::arch::vulnerabilities::{Speculation, Status, Vulnerability};
use bitflags::bitflags;
use core::arch::x86_64::__cpuid_count;
use raw_cpuid::CpuId;

bitflags! {
    /// `IA32_ARCH_CAPABILITIES`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    struct Capabilities: u64 {
        const RDCL_NO = 1 << 0;
        const RETURN_STACK_ALTERNATES = 1 << 2;
        const SSB_NO = 1 << 4;
        const MDS_NO = 1 << 5;
        const PAGE_SIZE_CHANGE_NO = 1 << 6;
        const TSX_CONTROL = 1 << 7;
        const TAA_NO = 1 << 8;
        const SBDR_SSDP_NO = 1 << 13;
        const FBSDP_NO = 1 << 14;
        const PSDP_NO = 1 << 15;
        const GDS_CONTROL = 1 << 25;
        const GDS_NO = 1 << 26;
        const RFDS_NO = 1 << 27;
        const RFDS_CLEAR = 1 << 28;
        const ITS_NO = 1 << 62;
        /// What makes a CPU immune to stale data of device registers.
        const MMIO_NO = Self::SBDR_SSDP_NO.bits() | Self::FBSDP_NO.bits() | Self::PSDP_NO.bits();
    }
}

bitflags! {
    /// What CPUID says beside them.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    struct Traits: u16 {
        const HYPERVISOR = 1 << 0;
        const RTM = 1 << 1;
        /// `IA32_MCU_OPT_CTRL` is there, for SRBDS.
        const SRBDS_CONTROL = 1 << 2;
        const SSB_NO = 1 << 3;
        const BTC_NO = 1 << 4;
        const SRSO_NO = 1 << 5;
        const TSA_SQ_NO = 1 << 6;
        const TSA_L1_NO = 1 << 7;
    }
}

bitflags! {
    /// Weaknesses of a model, and exemptions from those that all have.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    struct Issues: u16 {
        const SRBDS = 1 << 0;
        const MMIO = 1 << 1;
        const RETBLEED = 1 << 2;
        const GDS = 1 << 3;
        const RFDS = 1 << 4;
        const ITS = 1 << 5;
        /// It does not speculate.
        const IN_ORDER = 1 << 6;
        const NO_L1TF = 1 << 7;
        const NO_MDS = 1 << 8;
        const NO_SSB = 1 << 9;
        const NO_MULTIHIT = 1 << 10;
        const NO_MMIO = 1 << 11;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Vendor {
    Intel,
    /// Hygon's are AMD's.
    Amd,
    /// Centaur's successors.
    Zhaoxin,
    Other,
}

/// What is known of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Description {
    vendor: Vendor,
    family: u8,
    model: u8,
    stepping: u8,
    capabilities: Capabilities,
    traits: Traits,
    /// `IA32_MCU_OPT_CTRL`: bit 0 switches the microcode's answer to SRBDS off, bit 4 that to GDS.
    microcode_control: u64,
}

const SKYLAKE: Issues = Issues::MMIO.union(Issues::RETBLEED).union(Issues::GDS);
const SKYLAKE_CLIENT: Issues = SKYLAKE.union(Issues::SRBDS);
const ICE_LAKE: Issues = Issues::MMIO.union(Issues::GDS).union(Issues::ITS);
const SILVERMONT: Issues = Issues::NO_SSB.union(Issues::NO_L1TF).union(Issues::NO_MULTIHIT);
const GOLDMONT: Issues =
    Issues::RFDS.union(Issues::NO_MDS).union(Issues::NO_L1TF).union(Issues::NO_MULTIHIT).union(Issues::NO_MMIO);

/// Intel's models of family 6, the steppings up to which, and what they have.
const INTEL: &[(&[u8], u8, Issues)] = &[
    // Bonnell and Saltwell.
    (&[0x1c, 0x26, 0x27, 0x35, 0x36], u8::MAX, Issues::IN_ORDER),
    (&[0x37, 0x4a, 0x4c, 0x4d, 0x57, 0x85], u8::MAX, SILVERMONT),
    (&[0x5a, 0x75], u8::MAX, Issues::NO_L1TF.union(Issues::NO_MULTIHIT)),
    (&[0x5c, 0x5f, 0x7a], u8::MAX, GOLDMONT),
    // Tremont.
    (&[0x86, 0x96, 0x9c], u8::MAX, Issues::MMIO.union(Issues::RFDS).union(Issues::NO_MULTIHIT)),
    // Ivy Bridge, Haswell, Broadwell; and their servers.
    (&[0x3a, 0x3c, 0x45, 0x46, 0x3d, 0x47], u8::MAX, Issues::SRBDS),
    (&[0x3f, 0x4f, 0x56], u8::MAX, Issues::MMIO),
    // Skylake and what followed from it: Cascade Lake, Cooper Lake, Kaby Lake, Coffee Lake, Comet Lake.
    (&[0x4e, 0x5e], u8::MAX, SKYLAKE_CLIENT),
    (&[0x55], 5, SKYLAKE),
    (&[0x55], u8::MAX, SKYLAKE.union(Issues::ITS)),
    (&[0x8e], 0xb, SKYLAKE_CLIENT),
    (&[0x9e], 0xc, SKYLAKE_CLIENT),
    (&[0x8e, 0x9e], u8::MAX, SKYLAKE_CLIENT.union(Issues::ITS)),
    (&[0xa6], 0, Issues::MMIO.union(Issues::RETBLEED).union(Issues::ITS)),
    (&[0xa5, 0xa6, 0xa7], u8::MAX, SKYLAKE.union(Issues::ITS)),
    (&[0x66], u8::MAX, Issues::RETBLEED),
    (&[0x8a], u8::MAX, Issues::MMIO.union(Issues::RETBLEED)),
    // Ice Lake, Tiger Lake, Alder Lake, Raptor Lake.
    (&[0x7e], u8::MAX, ICE_LAKE.union(Issues::RETBLEED)),
    (&[0x6a, 0x6c], u8::MAX, ICE_LAKE),
    (&[0x8c, 0x8d], u8::MAX, Issues::GDS.union(Issues::ITS).union(Issues::NO_MMIO)),
    (&[0x97, 0x9a, 0xb7, 0xba, 0xbe, 0xbf], u8::MAX, Issues::RFDS.union(Issues::NO_MMIO)),
];

impl Description {
    fn has(&self, capability: Capabilities) -> bool {
        self.capabilities.contains(capability)
    }

    /// What its model has.
    fn issues(&self) -> Issues {
        match (self.vendor, self.family) {
            (Vendor::Intel, 6) => {
                let rows = INTEL.iter().filter(|(models, ..)| models.contains(&self.model));
                let mut fitting = rows.filter(|(_, last_stepping, _)| self.stepping <= *last_stepping);
                fitting.next().map_or(Issues::empty(), |(.., issues)| *issues)
            }
            (Vendor::Intel, _) => Issues::NO_MULTIHIT,
            (Vendor::Amd, family) => {
                let common = Issues::NO_L1TF | Issues::NO_MDS | Issues::NO_MULTIHIT | Issues::NO_MMIO;
                match family {
                    0xf..=0x12 => common | Issues::NO_SSB,
                    0x15..=0x18 => common | Issues::RETBLEED,
                    _ => common,
                }
            }
            (Vendor::Zhaoxin, _) => Issues::NO_MMIO,
            (Vendor::Other, _) => Issues::empty(),
        }
    }

    fn status(&self, vulnerability: Vulnerability) -> Status {
        let issues = self.issues();
        let of_model = |issue: Issues| issues.contains(issue);
        if of_model(Issues::IN_ORDER) {
            return Status::NotAffected;
        }
        let is_zen = self.vendor == Vendor::Amd && matches!(self.family, 0x17..=0x19);
        match vulnerability {
            Vulnerability::SpectreV1 => Status::Vulnerable,
            Vulnerability::SpectreV2 => Status::open_if(self.vendor != Vendor::Zhaoxin),
            Vulnerability::Meltdown => Status::open_if(self.vendor != Vendor::Amd && !self.has(Capabilities::RDCL_NO)),
            Vulnerability::L1TerminalFault => {
                Status::open_if(!of_model(Issues::NO_L1TF) && !self.has(Capabilities::RDCL_NO))
            }
            Vulnerability::MicroarchitecturalDataSampling => {
                Status::open_if(!of_model(Issues::NO_MDS) && !self.has(Capabilities::MDS_NO))
            }
            Vulnerability::SpeculativeStoreBypass => Status::open_if(
                !of_model(Issues::NO_SSB) && !self.has(Capabilities::SSB_NO) && !self.traits.contains(Traits::SSB_NO),
            ),
            Vulnerability::TsxAsynchronousAbort => Status::open_if(
                !self.has(Capabilities::TAA_NO)
                    && (self.traits.contains(Traits::RTM) || self.has(Capabilities::TSX_CONTROL)),
            ),
            Vulnerability::ItlbMultihit => {
                let is_affected = self.vendor == Vendor::Intel
                    && !of_model(Issues::NO_MULTIHIT)
                    && !self.has(Capabilities::PAGE_SIZE_CHANGE_NO);
                if is_affected { Status::ProcessorVulnerable } else { Status::NotAffected }
            }
            Vulnerability::MmioStaleData => {
                if self.has(Capabilities::MMIO_NO) || of_model(Issues::NO_MMIO) {
                    Status::NotAffected
                } else if of_model(Issues::MMIO) {
                    Status::Vulnerable
                } else {
                    Status::Unknown
                }
            }
            Vulnerability::Retbleed => Status::open_if(
                !self.traits.contains(Traits::BTC_NO)
                    && (of_model(Issues::RETBLEED) || self.has(Capabilities::RETURN_STACK_ALTERNATES)),
            ),
            Vulnerability::SpeculativeReturnStackOverflow => {
                Status::open_if(is_zen && !self.traits.contains(Traits::SRSO_NO))
            }
            Vulnerability::TransientScheduler => Status::open_if(
                is_zen && self.family == 0x19 && !self.traits.contains(Traits::TSA_SQ_NO | Traits::TSA_L1_NO),
            ),
            Vulnerability::RegisterFileDataSampling => Status::open_if(
                !self.has(Capabilities::RFDS_NO) && (of_model(Issues::RFDS) || self.has(Capabilities::RFDS_CLEAR)),
            ),
            Vulnerability::IndirectTargetSelection => {
                Status::open_if(of_model(Issues::ITS) && !self.has(Capabilities::ITS_NO))
            }
            Vulnerability::GatherDataSampling => self.by_microcode(
                of_model(Issues::GDS) && !self.has(Capabilities::GDS_NO),
                self.has(Capabilities::GDS_CONTROL),
                1 << 4,
            ),
            Vulnerability::SpecialRegisterDataSampling => {
                self.by_microcode(of_model(Issues::SRBDS), self.traits.contains(Traits::SRBDS_CONTROL), 1)
            }
            Vulnerability::Vmscape => Status::NotAffected,
        }
    }

    /// Of a weakness that microcode closes, unless bit `off` of its control says otherwise.
    const fn by_microcode(&self, is_affected: bool, has_control: bool, off: u64) -> Status {
        match (is_affected, has_control) {
            (false, _) => Status::NotAffected,
            (true, true) if self.microcode_control & off == 0 => Status::ClosedByMicrocode,
            (true, true) => Status::Vulnerable,
            (true, false) if self.traits.contains(Traits::HYPERVISOR) => Status::DependsOnHypervisor,
            (true, false) => Status::WantsMicrocode,
        }
    }
}

/// Asks the CPU that executes this.
fn describe() -> Description {
    let cpuid = CpuId::new();
    let features = cpuid.get_feature_info();
    let number = |read: fn(&raw_cpuid::FeatureInfo) -> u8| features.as_ref().map_or(0, read);
    let vendor = match cpuid.get_vendor_info().as_ref().map(raw_cpuid::VendorInfo::as_str) {
        Some("GenuineIntel") => Vendor::Intel,
        Some("AuthenticAMD" | "HygonGenuine") => Vendor::Amd,
        Some("  Shanghai  " | "CentaurHauls") => Vendor::Zhaoxin,
        _ => Vendor::Other,
    };
    // A leaf beyond the highest answers with another's contents.
    let leaf = |leaf: u32| (__cpuid_count(leaf & 0x8000_0000, 0).eax >= leaf).then(|| __cpuid_count(leaf, 0));
    let bit = |register: Option<u32>, bit: u32| register.is_some_and(|register| register >> bit & 1 != 0);
    let (basic, extended) = (leaf(1), leaf(7));
    let (amd, amd_further) = (leaf(0x8000_0008), leaf(0x8000_0021));
    let extended_edx = extended.as_ref().map(|leaf| leaf.edx);
    let mut traits = Traits::empty();
    traits.set(Traits::HYPERVISOR, bit(basic.as_ref().map(|leaf| leaf.ecx), 31));
    traits.set(Traits::RTM, bit(extended.as_ref().map(|leaf| leaf.ebx), 11));
    traits.set(Traits::SRBDS_CONTROL, vendor == Vendor::Intel && bit(extended_edx, 9));
    traits.set(Traits::SSB_NO, bit(amd.as_ref().map(|leaf| leaf.ebx), 26));
    traits.set(Traits::BTC_NO, bit(amd.as_ref().map(|leaf| leaf.ebx), 29));
    traits.set(Traits::SRSO_NO, bit(amd_further.as_ref().map(|leaf| leaf.eax), 29));
    traits.set(Traits::TSA_SQ_NO, bit(amd_further.as_ref().map(|leaf| leaf.ecx), 1));
    traits.set(Traits::TSA_L1_NO, bit(amd_further.as_ref().map(|leaf| leaf.ecx), 2));
    let mut description = Description {
        vendor,
        family: number(raw_cpuid::FeatureInfo::family_id),
        model: number(raw_cpuid::FeatureInfo::model_id),
        stepping: number(raw_cpuid::FeatureInfo::stepping_id),
        capabilities: Capabilities::empty(),
        traits,
        microcode_control: 0,
    };
    if vendor == Vendor::Intel && bit(extended_edx, 29) {
        description.capabilities = Capabilities::from_bits_retain(read(model_specific::ARCHITECTURAL_CAPABILITIES));
    }
    if traits.contains(Traits::SRBDS_CONTROL) || description.has(Capabilities::GDS_CONTROL) {
        description.microcode_control = read(model_specific::MICROCODE_OPTIONS);
    }
    description
}

#[cfg(target_os = "none")]
fn read(register: u32) -> u64 {
    // SAFETY: CPUID or the capabilities have said that it is there.
    unsafe { model_specific::read(register) }
}
#[cfg(not(target_os = "none"))]
const fn read(_register: u32) -> u64 {
    0
}

impl Speculation for X86_64 {
    fn status(vulnerability: Vulnerability) -> Status {
        describe().status(vulnerability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(vendor: Vendor, family: u8, model: u8, stepping: u8) -> Description {
        Description {
            vendor,
            family,
            model,
            stepping,
            capabilities: Capabilities::empty(),
            traits: Traits::empty(),
            microcode_control: 0,
        }
    }

    /// The names of those that are not "Not affected", with what is said of them.
    fn open(description: &Description) -> Vec<(&'static str, Status)> {
        let states = Vulnerability::ALL.iter().map(|(name, which)| (*name, description.status(*which)));
        states.filter(|(_, status)| *status != Status::NotAffected).collect()
    }

    fn names(description: &Description) -> String {
        open(description).iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
    }

    /// As Debian's Linux says on QEMU's `max`, which is an Athlon by its number; what differs is what Linux does about the two.
    #[test]
    fn an_athlon_has_what_every_one_has() {
        assert_eq!(names(&cpu(Vendor::Amd, 0xf, 107, 1)), "spectre_v1 spectre_v2");
    }

    #[test]
    fn old_intel_processors_have_the_most() {
        let skylake = cpu(Vendor::Intel, 6, 0x5e, 3);
        assert_eq!(
            names(&skylake),
            "gather_data_sampling itlb_multihit l1tf mds meltdown mmio_stale_data retbleed spec_store_bypass spectre_v1 \
             spectre_v2 srbds"
        );
        assert_eq!(skylake.status(Vulnerability::SpecialRegisterDataSampling), Status::WantsMicrocode);
        let updated = Description { traits: Traits::SRBDS_CONTROL | Traits::RTM, ..skylake };
        assert_eq!(updated.status(Vulnerability::SpecialRegisterDataSampling), Status::ClosedByMicrocode);
        assert_eq!(updated.status(Vulnerability::TsxAsynchronousAbort), Status::Vulnerable);
        let switched_off = Description { microcode_control: 1, ..updated };
        assert_eq!(switched_off.status(Vulnerability::SpecialRegisterDataSampling), Status::Vulnerable);
        let guest = Description { traits: Traits::HYPERVISOR, ..skylake };
        assert_eq!(guest.status(Vulnerability::GatherDataSampling), Status::DependsOnHypervisor);
        assert_eq!(names(&cpu(Vendor::Intel, 6, 0x36, 1)), "");
        // Ivy Bridge's server: nobody has said.
        assert_eq!(cpu(Vendor::Intel, 6, 0x3e, 4).status(Vulnerability::MmioStaleData), Status::Unknown);
    }

    /// Linux 6.18 says the same of a Sapphire Rapids, but for what it does about the last three.
    #[test]
    fn new_ones_enumerate_what_they_have_not() {
        let capabilities = Capabilities::RDCL_NO
            | Capabilities::MDS_NO
            | Capabilities::PAGE_SIZE_CHANGE_NO
            | Capabilities::TAA_NO
            | Capabilities::MMIO_NO
            | Capabilities::GDS_NO
            | Capabilities::RFDS_NO;
        let sapphire_rapids = Description { capabilities, traits: Traits::RTM, ..cpu(Vendor::Intel, 6, 0x8f, 8) };
        assert_eq!(names(&sapphire_rapids), "spec_store_bypass spectre_v1 spectre_v2");
    }

    #[test]
    fn steppings_count() {
        let cascade_lake = cpu(Vendor::Intel, 6, 0x55, 7);
        assert_eq!(cascade_lake.status(Vulnerability::IndirectTargetSelection), Status::Vulnerable);
        let skylake = cpu(Vendor::Intel, 6, 0x55, 4);
        assert_eq!(skylake.status(Vulnerability::IndirectTargetSelection), Status::NotAffected);
    }

    #[test]
    fn amd_s_say_so_themselves() {
        let zen_3 = cpu(Vendor::Amd, 0x19, 0x21, 0);
        assert_eq!(names(&zen_3), "spec_rstack_overflow spec_store_bypass spectre_v1 spectre_v2 tsa");
        let immune = Traits::SRSO_NO | Traits::TSA_SQ_NO | Traits::TSA_L1_NO | Traits::SSB_NO;
        assert_eq!(names(&Description { traits: immune, ..zen_3 }), "spectre_v1 spectre_v2");
        assert_eq!(cpu(Vendor::Amd, 0x17, 0x31, 0).status(Vulnerability::Retbleed), Status::Vulnerable);
    }

    #[test]
    fn the_host_can_be_asked() {
        assert_eq!(describe().status(Vulnerability::SpectreV1), Status::Vulnerable);
    }
}
