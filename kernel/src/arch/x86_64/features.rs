//! What this CPU can do, found once at boot and kept in one word; and the control registers set accordingly.

#![allow(unsafe_code, reason = "control registers")]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use raw_cpuid::CpuId;

bitflags::bitflags! {
    /// Features that the kernel uses where they are there.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Features: u32 {
        /// RDRAND.
        const RDRAND = 1 << 0;
        /// Supervisor-mode execution prevention.
        const SMEP = 1 << 1;
        /// Supervisor-mode access prevention.
        const SMAP = 1 << 2;
        /// User-mode instruction prevention.
        const UMIP = 1 << 3;
        /// `rdfsbase` and its kin.
        const FSGSBASE = 1 << 4;
        /// Process-context identifiers.
        const PCID = 1 << 5;
        /// Global pages.
        const PGE = 1 << 6;
        /// XSAVE.
        const XSAVE = 1 << 7;
        /// XSAVEOPT.
        const XSAVEOPT = 1 << 8;
        /// x2APIC.
        const X2APIC = 1 << 9;
        /// Local APIC.
        const APIC = 1 << 10;
        /// TSC-deadline timer.
        const TSC_DEADLINE = 1 << 11;
        /// No-execute pages.
        const NX = 1 << 12;
        /// 1 GiB pages.
        const GIGABYTE_PAGES = 1 << 13;
        /// RDTSCP and RDPID's MSR.
        const RDTSCP = 1 << 14;
        /// The TSC runs at one rate in every state.
        const INVARIANT_TSC = 1 << 15;
        /// INVPCID.
        const INVPCID = 1 << 16;
        /// AVX.
        const AVX = 1 << 17;
        /// The machine-check exception.
        const MACHINE_CHECK = 1 << 18;
        /// The machine-check architecture's banks.
        const MACHINE_CHECK_BANKS = 1 << 19;
    }
}

static FEATURES: AtomicU32 = AtomicU32::new(0);

/// Whether the CPU has all of `features`. False before [`detect`].
#[inline]
#[must_use]
pub fn has(features: Features) -> bool {
    FEATURES.load(Relaxed) & features.bits() == features.bits()
}

/// All that were found.
#[must_use]
pub fn all() -> Features {
    Features::from_bits_truncate(FEATURES.load(Relaxed))
}

/// Asks the booting CPU.
pub fn detect() {
    FEATURES.store(read().bits(), Relaxed);
}

/// What this CPU has.
#[must_use]
pub fn read() -> Features {
    let cpuid = CpuId::new();
    let mut found = Features::empty();
    let mut note = |present: bool, feature: Features| found.set(feature, present);
    if let Some(basic) = cpuid.get_feature_info() {
        note(basic.has_rdrand(), Features::RDRAND);
        note(basic.has_pcid(), Features::PCID);
        note(basic.has_pge(), Features::PGE);
        note(basic.has_xsave(), Features::XSAVE);
        note(basic.has_x2apic(), Features::X2APIC);
        note(basic.has_apic(), Features::APIC);
        note(basic.has_tsc_deadline(), Features::TSC_DEADLINE);
        note(basic.has_avx(), Features::AVX);
        note(basic.has_mce(), Features::MACHINE_CHECK);
        note(basic.has_mce() && basic.has_mca(), Features::MACHINE_CHECK_BANKS);
    }
    if let Some(extended) = cpuid.get_extended_feature_info() {
        note(extended.has_smep(), Features::SMEP);
        note(extended.has_smap(), Features::SMAP);
        note(extended.has_umip(), Features::UMIP);
        note(extended.has_fsgsbase(), Features::FSGSBASE);
        note(extended.has_invpcid(), Features::INVPCID);
    }
    if let Some(state) = cpuid.get_extended_state_info() {
        note(state.has_xsaveopt(), Features::XSAVEOPT);
    }
    if let Some(identity) = cpuid.get_extended_processor_and_feature_identifiers() {
        note(identity.has_execute_disable(), Features::NX);
        note(identity.has_1gib_pages(), Features::GIGABYTE_PAGES);
        note(identity.has_rdtscp(), Features::RDTSCP);
    }
    if let Some(power) = cpuid.get_advanced_power_mgmt_info() {
        note(power.has_invariant_tsc(), Features::INVARIANT_TSC);
    }
    found
}
