//! What `/proc/cpuinfo` says of a CPU, in Linux's format for x86.
//!
//! Programs read the flags line to choose their code, so it holds Linux's names for what CPUID reports, in the order of the bits.

use super::{clock, secondary};
use crate::arch::cpu_topology::{self, Relation};
use crate::arch::inter_processor;
use crate::base::CpuId as CpuNumber;
use alloc::vec::Vec;
use core::arch::x86_64::__cpuid_count;
use raw_cpuid::CpuId;

/// CPUID leaf, register (0 to 3 for a, b, c, d) and the names of the bits from the lowest up; `-` for a bit without one.
const FLAGS: [(u32, u32, usize, &str); 6] = [
    (
        1,
        0,
        3,
        "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe",
    ),
    (
        0x8000_0001,
        0,
        3,
        "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow",
    ),
    (
        1,
        0,
        2,
        "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor",
    ),
    (
        0x8000_0001,
        0,
        2,
        "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx",
    ),
    (
        7,
        0,
        1,
        "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl",
    ),
    (
        7,
        0,
        2,
        "- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid",
    ),
];

/// Appends the lines of CPU `number`.
pub(super) fn describe(number: CpuNumber, text: &mut Vec<u8>) {
    let cpuid = CpuId::new();
    let mut line = |name: &str, value: &dyn core::fmt::Display| {
        // Names are padded with tabs to 16 columns.
        let tabs = if name.len() < 8 { "\t\t" } else { "\t" };
        text.extend_from_slice(alloc::format!("{name}{tabs}: {value}\n").as_bytes());
    };
    let vendor = cpuid.get_vendor_info();
    let features = cpuid.get_feature_info();
    let brand = cpuid.get_processor_brand_string();
    let kilohertz = clock::counter_kilohertz();
    line("processor", &number.0);
    line("vendor_id", &vendor.as_ref().map_or("unknown", |vendor| vendor.as_str()));
    if let Some(features) = &features {
        line("cpu family", &features.family_id());
        line("model", &features.model_id());
    }
    line("model name", &brand.as_ref().map_or("unknown", |brand| brand.as_str()));
    if let Some(features) = &features {
        line("stepping", &features.stepping_id());
    }
    line("cpu MHz", &format_args!("{}.{:03}", kilohertz / 1000, kilohertz % 1000));
    if let Some(cache) = shown_cache(number) {
        line("cache size", &format_args!("{cache} KB"));
    }
    if let Some(description) = cpu_topology::description(number) {
        let siblings = cpu_topology::related(number, Relation::Package, inter_processor::online());
        let threads = cpu_topology::related(number, Relation::Core, siblings).count().max(1);
        line("physical id", &description.position.package);
        line("siblings", &siblings.count());
        line("core id", &description.position.core);
        line("cpu cores", &(siblings.count() / threads));
    }
    let apic = secondary::apic_identifier(number).unwrap_or(number.0);
    line("apicid", &apic);
    line("initial apicid", &apic);
    line("fpu", &"yes");
    line("fpu_exception", &"yes");
    line("cpuid level", &__cpuid_count(0, 0).eax);
    line("wp", &"yes");
    line("flags", &Flags);
    line("bogomips", &format_args!("{}.{:02}", kilohertz * 2 / 1000, kilohertz * 2 % 1000 / 10));
    let line_size = features.as_ref().map_or(64, |features| u32::from(features.cflush_cache_line_size()) * 8);
    line("clflush size", &line_size);
    line("cache_alignment", &line_size);
    let sizes = cpuid.get_processor_capacity_feature_info();
    let (physical, linear) =
        sizes.map_or((36, 48), |sizes| (sizes.physical_address_bits(), sizes.linear_address_bits()));
    line("address sizes", &format_args!("{physical} bits physical, {linear} bits virtual"));
}

/// The size in KiB of the cache that Linux shows: AMD's second level, the last one of others.
fn shown_cache(number: CpuNumber) -> Option<u64> {
    let caches = &cpu_topology::description(number)?.caches;
    let is_amd = CpuId::new().get_vendor_info().is_some_and(|vendor| vendor.as_str() == "AuthenticAMD");
    let cache = if is_amd { caches.iter().find(|cache| cache.level == 2) } else { caches.last() };
    Some(cache?.geometry?.size() >> 10)
}

/// The flags that the CPU has, by name.
struct Flags;

impl core::fmt::Display for Flags {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut separator = "";
        for (leaf, subleaf, register, names) in FLAGS {
            // A leaf beyond the highest answers with another's contents.
            if __cpuid_count(leaf & 0x8000_0000, 0).eax < leaf {
                continue;
            }
            let result = __cpuid_count(leaf, subleaf);
            let bits = [result.eax, result.ebx, result.ecx, result.edx].get(register).copied().unwrap_or(0);
            for (bit, name) in names.split(' ').enumerate().filter(|(_, name)| *name != "-") {
                if bits >> bit & 1 != 0 {
                    write!(formatter, "{separator}{name}")?;
                    separator = " ";
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_has_at_most_32_names() {
        for (.., names) in FLAGS {
            assert!(names.split(' ').count() <= 32, "{names}");
        }
    }

    #[test]
    fn the_host_is_described_as_linux_describes_it() {
        let mut text = Vec::new();
        describe(CpuNumber(0), &mut text);
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("processor\t: 0\nvendor_id\t: "), "{text}");
        let flags = text.lines().find(|line| line.starts_with("flags")).unwrap();
        assert!([" fpu ", " sse2 ", " syscall ", " lm "].iter().all(|flag| format!("{flags} ").contains(flag)));
    }
}
