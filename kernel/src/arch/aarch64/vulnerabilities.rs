//! Which weaknesses an Arm CPU has: what its identification registers say, and where they are silent, its model.
//!
//! Arm's four are the ones that have Spectre's and Meltdown's names; the others are x86's. Sources: Arm's list of affected cores, `ID_AA64PFR0_EL1` (CSV2,
//! CSV3), `ID_AA64PFR1_EL1` (SSBS). Where the CPU has SSBS, programs choose for themselves, and the kernel does not choose for them.

use crate::arch::vulnerabilities::{Status, Vulnerability};

/// What is known of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Description {
    midr: u64,
    /// `ID_AA64PFR0_EL1`.
    features: u64,
}

/// Implementer and part of cores whose branches others cannot train: Cortex-A35, A53, A55, Brahma B53, HiSilicon's TSV110, Qualcomm's silver cores.
const NO_INDIRECT_PREDICTION: [(u64, u64); 8] = [
    (0x41, 0xd04),
    (0x41, 0xd03),
    (0x41, 0xd05),
    (0x42, 0x100),
    (0x48, 0xd01),
    (0x51, 0x801),
    (0x51, 0x803),
    (0x51, 0x805),
];
/// Of those, the ones whose loads do not overtake stores either.
const NO_STORE_BYPASS: [(u64, u64); 6] =
    [(0x41, 0xd04), (0x41, 0xd03), (0x41, 0xd05), (0x42, 0x100), (0x51, 0x803), (0x51, 0x805)];
/// Cores that do not read kernel memory ahead, though CSV3 does not say so: beside the above, Cortex-A57, A72, A73, ThunderX2, NVIDIA's Carmel, Qualcomm's gold core of 2016.
const NO_MELTDOWN: [(u64, u64); 7] =
    [(0x41, 0xd07), (0x41, 0xd08), (0x41, 0xd09), (0x42, 0x516), (0x43, 0x0af), (0x4e, 0x004), (0x51, 0x800)];
/// Cores that predict by the history of branches of one's own alone: Cortex-A35, A53, A55, A510, A520, Brahma B53, Qualcomm's silver ones.
const NO_BRANCH_HISTORY: [(u64, u64); 9] = [
    (0x41, 0xd04),
    (0x41, 0xd03),
    (0x41, 0xd05),
    (0x41, 0xd46),
    (0x41, 0xd80),
    (0x42, 0x100),
    (0x51, 0x801),
    (0x51, 0x803),
    (0x51, 0x805),
];

impl Description {
    fn is_in(&self, list: &[(u64, u64)]) -> bool {
        list.contains(&(self.midr >> 24 & 0xff, self.midr >> 4 & 0xfff))
    }

    /// The four-bit field at bit `shift`.
    const fn field(&self, shift: u32) -> u64 {
        self.features >> shift & 0xf
    }

    fn status(&self, vulnerability: Vulnerability) -> Status {
        let (branch_contexts, data_contexts) = (self.field(56), self.field(60));
        match vulnerability {
            Vulnerability::SpectreV1 => Status::Vulnerable,
            Vulnerability::SpectreV2 => {
                let is_kept_apart = branch_contexts >= 1 || self.is_in(&NO_INDIRECT_PREDICTION);
                // The third version of CSV2 keeps histories apart, too.
                let has_no_history = branch_contexts >= 3 || self.is_in(&NO_BRANCH_HISTORY);
                Status::open_if(!is_kept_apart || !has_no_history)
            }
            Vulnerability::Meltdown => {
                Status::open_if(data_contexts == 0 && !self.is_in(&NO_MELTDOWN) && !self.is_in(&NO_INDIRECT_PREDICTION))
            }
            Vulnerability::SpeculativeStoreBypass => Status::open_if(!self.is_in(&NO_STORE_BYPASS)),
            _ => Status::NotAffected,
        }
    }
}

#[cfg(target_os = "none")]
impl crate::arch::vulnerabilities::Speculation for super::Aarch64 {
    fn status(vulnerability: Vulnerability) -> Status {
        let (midr, features) = super::cpu_information::model();
        Description { midr, features }.status(vulnerability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(midr: u64, features: u64) -> String {
        let description = Description { midr, features };
        let open = Vulnerability::ALL.iter().filter(|(_, which)| description.status(*which) != Status::NotAffected);
        open.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
    }

    /// QEMU's models.
    #[test]
    fn what_cores_have() {
        assert_eq!(names(0x410f_d034, 0x2222), "spectre_v1", "Cortex-A53");
        assert_eq!(names(0x410f_d083, 0x2222), "spec_store_bypass spectre_v1 spectre_v2", "Cortex-A72");
        assert_eq!(
            names(0x413f_d0c1, 0x1100_0000_1111_2222),
            "spec_store_bypass spectre_v1 spectre_v2",
            "Neoverse N1: CSV2 and CSV3, but history"
        );
        assert_eq!(
            names(0x410f_d490, 0x1300_0000_0000_0022),
            "spec_store_bypass spectre_v1",
            "with CSV2's third version"
        );
        assert_eq!(names(0x411f_d0a0, 0x2222), "meltdown spec_store_bypass spectre_v1 spectre_v2", "Cortex-A75");
    }
}
