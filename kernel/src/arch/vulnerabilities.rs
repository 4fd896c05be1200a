//! Which of the known weaknesses of speculating processors a CPU has, and what the kernel does about each: what
//! `/sys/devices/system/cpu/vulnerabilities` says.
//!
//! Ashlar does nothing against any of them: kernel and programs share page tables on x86, no barrier stands before an index that a program chose, no indirect branch
//! is fenced, no buffer is cleared on the way out. So a CPU that has a weakness is [`Status::Vulnerable`] to it, unless its microcode closes it by itself. What
//! remains is whether the CPU has it, which machines find out as Linux does: by what the CPU enumerates, and where that is silent by its model.
//!
//! `vmscape` is how a guest reads its hypervisor's program: no guest can run here, so no CPU is affected.

use super::{Cpu, Current, inter_processor};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

macro_rules! vulnerabilities {
    ($($variant:ident, $name:literal, $what:literal;)*) => {
        /// A weakness, by Linux's name.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Vulnerability {
            $(#[doc = $what] $variant,)*
        }

        impl Vulnerability {
            /// All of them, with their names, in the order of those.
            pub const ALL: &[(&'static str, Self)] = &[$(($name, Self::$variant)),*];
        }
    };
}

vulnerabilities! {
    GatherDataSampling, "gather_data_sampling", "Gather instructions leave stale vector registers.";
    IndirectTargetSelection, "indirect_target_selection", "Branches in the lower half of a line are predicted wrongly.";
    ItlbMultihit, "itlb_multihit", "A page that changes its size while it is executed stops the machine.";
    L1TerminalFault, "l1tf", "Entries that are not present are followed into the first cache.";
    MicroarchitecturalDataSampling, "mds", "Buffers of loads and stores leak.";
    Meltdown, "meltdown", "Kernel memory that is mapped can be read.";
    MmioStaleData, "mmio_stale_data", "Reading device registers leaks buffers.";
    RegisterFileDataSampling, "reg_file_data_sampling", "Stale vector registers leak.";
    Retbleed, "retbleed", "Returns are predicted like indirect branches.";
    SpeculativeReturnStackOverflow, "spec_rstack_overflow", "The return predictor can be filled by others.";
    SpeculativeStoreBypass, "spec_store_bypass", "Loads overtake stores to the same place.";
    SpectreV1, "spectre_v1", "Bounds checks are predicted.";
    SpectreV2, "spectre_v2", "Indirect branches are predicted by what others did.";
    SpecialRegisterDataSampling, "srbds", "Random numbers leak to other CPUs.";
    TransientScheduler, "tsa", "The timing of loads leaks.";
    TsxAsynchronousAbort, "tsx_async_abort", "Transactions that abort leak buffers.";
    Vmscape, "vmscape", "A guest's predictions reach its hypervisor's program.";
}

/// Where a CPU stands, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Status {
    /// It has not the weakness.
    NotAffected,
    /// Its microcode closes it.
    ClosedByMicrocode,
    /// A hypervisor hides what its microcode does.
    DependsOnHypervisor,
    /// Nobody has said whether it has it.
    Unknown,
    /// It has it, and nothing is done.
    Vulnerable,
    /// The same, where microcode would close it.
    WantsMicrocode,
    /// The processor has it; what is done concerns hypervisors alone.
    ProcessorVulnerable,
}

impl Status {
    const ALL: [Self; 7] = [
        Self::NotAffected,
        Self::ClosedByMicrocode,
        Self::DependsOnHypervisor,
        Self::Unknown,
        Self::Vulnerable,
        Self::WantsMicrocode,
        Self::ProcessorVulnerable,
    ];

    /// In Linux's words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotAffected => "Not affected",
            Self::ClosedByMicrocode => "Mitigation: Microcode",
            Self::DependsOnHypervisor => "Unknown: Dependent on hypervisor status",
            Self::Unknown => "Unknown: No mitigations",
            Self::Vulnerable => "Vulnerable",
            Self::WantsMicrocode => "Vulnerable: No microcode",
            Self::ProcessorVulnerable => "Processor vulnerable",
        }
    }

    /// Open where `is_affected`.
    #[must_use]
    pub const fn open_if(is_affected: bool) -> Self {
        if is_affected { Self::Vulnerable } else { Self::NotAffected }
    }
}

/// The machine's part.
pub trait Speculation {
    /// Where the CPU that executes this stands. It takes no lock.
    fn status(_vulnerability: Vulnerability) -> Status {
        Status::NotAffected
    }
}

/// Where the weakest of the CPUs online stands: they need not be of one model. Thread context.
#[must_use]
pub fn weakest(vulnerability: Vulnerability) -> Status {
    let look = |(vulnerability, worst): &(Vulnerability, AtomicU8)| {
        worst.fetch_max(Current::status(*vulnerability) as u8, Relaxed);
    };
    let found = (vulnerability, AtomicU8::new(0));
    // Moved to another CPU in between, it asks one of them twice.
    look(&found);
    inter_processor::call_on(inter_processor::online().without(Current::id()), look, &found);
    Status::ALL.get(usize::from(found.1.into_inner())).copied().unwrap_or(Status::Vulnerable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_states_are_in_order() {
        assert!(Vulnerability::ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(Status::ALL.iter().enumerate().all(|(index, status)| *status as usize == index));
    }
}
