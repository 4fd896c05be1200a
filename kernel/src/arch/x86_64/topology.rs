//! Where a CPU stands and what caches it has, as CPUID says; in Linux's reading, so that programs see the same numbers.
//!
//! | CPU | position | caches |
//! |---|---|---|
//! | with leaf 0x1f or 0xb | APIC number cut by the leaf's shifts | leaf 4; AMD with `topoext`: 0x8000_001d |
//! | AMD without `topoext` | APIC number cut by leaf 0x8000_0008 | leaves 0x8000_0005 and 0x8000_0006 |
//! | others | APIC number cut by leaves 1 and 4 | leaf 4 |
//!
//! [`decode`] is pure: it is handed what CPUID answers.

use super::X86_64;
use crate::arch::cpu_topology::{
    Cache, CacheGeometry, CacheKind, CpuDescription, CpuPosition, Dies, Topology, TopologyRules,
};
use crate::base::CpuId;
use core::arch::x86_64::__cpuid_count;

/// What CPUID answers to a leaf and a subleaf: `eax`, `ebx`, `ecx`, `edx`.
type Answer = [u32; 4];

impl Topology for X86_64 {
    const RULES: TopologyRules =
        TopologyRules { no_cluster: 65535, dies: Dies::Told, without_threads: "notsupported", with_threads: "on" };

    fn read_topology(_cpu: CpuId) -> CpuDescription {
        decode(read)
    }
}

fn read(leaf: u32, subleaf: u32) -> Answer {
    let answer = __cpuid_count(leaf, subleaf);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}

/// The levels that leaf 0xb and 0x1f tell apart.
const THREADS: u32 = 1;
const CORES: u32 = 2;
const DIES: u32 = 5;

struct Leaves<F> {
    read: F,
}

impl<F: Fn(u32, u32) -> Answer> Leaves<F> {
    fn answer(&self, leaf: u32, subleaf: u32) -> Answer {
        (self.read)(leaf, subleaf)
    }
    fn has(&self, leaf: u32) -> bool {
        self.answer(leaf & 0x8000_0000, 0)[0] >= leaf
    }
    fn is_amd(&self) -> bool {
        let [_, b, c, d] = self.answer(0, 0);
        // AuthenticAMD, HygonGenuine.
        [(0x6874_7541, 0x6974_6e65, 0x444d_4163), (0x6f67_7948, 0x6e65_476e, 0x656e_6975)].contains(&(b, d, c))
    }
    fn has_topology_extensions(&self) -> bool {
        self.is_amd() && self.has(0x8000_0001) && self.answer(0x8000_0001, 0)[2] >> 22 & 1 != 0
    }
    /// The extended topology leaf that answers, if one does.
    fn extended(&self) -> Option<u32> {
        [0x1f, 0xb].into_iter().find(|leaf| {
            let [_, b, c, _] = self.answer(*leaf, 0);
            self.has(*leaf) && b != 0 && c >> 8 & 0xff == THREADS
        })
    }
    fn apic_number(&self) -> u32 {
        match self.extended() {
            Some(leaf) => self.answer(leaf, 0)[3],
            None => self.answer(1, 0)[1] >> 24,
        }
    }

    fn position(&self, apic: u32) -> CpuPosition {
        if let Some(leaf) = self.extended().filter(|_| !self.is_amd() || self.has_topology_extensions()) {
            return self.position_by_levels(leaf, apic);
        }
        if self.is_amd() {
            let bits = if self.has(0x8000_0008) { core_bits(self.answer(0x8000_0008, 0)[2]) } else { 0 };
            let package = shift_right(apic, bits);
            return CpuPosition { package, die: package, cluster: None, core: low_bits(apic, bits) };
        }
        let [_, b, _, d] = self.answer(1, 0);
        const SEVERAL: u32 = 1 << 28;
        let logical = if d & SEVERAL == 0 { 1 } else { (b >> 16 & 0xff).max(1) };
        let cores = if self.has(4) { (self.answer(4, 0)[0] >> 26) + 1 } else { 1 };
        let thread_bits = order(logical.div_ceil(cores));
        let package_bits = thread_bits + order(cores);
        CpuPosition {
            package: shift_right(apic, package_bits),
            die: 0,
            cluster: None,
            core: shift_right(low_bits(apic, package_bits), thread_bits),
        }
    }

    fn position_by_levels(&self, leaf: u32, apic: u32) -> CpuPosition {
        let thread_bits = self.answer(leaf, 0)[0] & 0x1f;
        let (mut core_bits, mut package_bits) = (thread_bits, thread_bits);
        let mut die_bits = None;
        for subleaf in 1..8 {
            let [a, _, c, _] = self.answer(leaf, subleaf);
            let bits = a & 0x1f;
            match c >> 8 & 0xff {
                0 => break,
                CORES => core_bits = bits,
                DIES => die_bits = Some(bits),
                _ => {}
            }
            package_bits = bits;
        }
        CpuPosition {
            package: shift_right(apic, package_bits),
            die: die_bits.map_or(0, |bits| shift_right(low_bits(apic, bits), core_bits)),
            cluster: None,
            core: shift_right(low_bits(apic, package_bits), thread_bits),
        }
    }

    fn caches(&self, apic: u32, position: &mut CpuPosition, description: &mut CpuDescription) {
        let leaf = if self.has_topology_extensions() {
            0x8000_001d
        } else if self.is_amd() {
            return self.caches_of_old(apic, position.package, description);
        } else {
            4
        };
        if !self.has(leaf) {
            return;
        }
        for subleaf in 0..8 {
            let [a, b, c, _] = self.answer(leaf, subleaf);
            let kind = match a & 0x1f {
                1 => CacheKind::Data,
                2 => CacheKind::Instruction,
                3 => CacheKind::Unified,
                _ => break,
            };
            let level = (a >> 5 & 7) as u8;
            let bits = order((a >> 14 & 0xfff) + 1);
            let group = shift_right(apic, bits);
            let geometry = CacheGeometry {
                line_size: (b & 0xfff) + 1,
                partitions: (b >> 12 & 0x3ff) + 1,
                ways: (b >> 22) + 1,
                sets: c.saturating_add(1),
            };
            if level == 2 && leaf == 4 {
                // Cores that share a second-level cache are a cluster, called by their first.
                position.cluster = Some(apic & !low_bits(u32::MAX, bits));
            }
            let cache = Cache { level, kind, geometry: Some(geometry), identifier: Some(group), group };
            // Further ones are not shown.
            let _ = description.caches.try_push(cache);
        }
    }

    /// The leaves that AMD had before: sizes of four caches; the last is the package's.
    fn caches_of_old(&self, apic: u32, package: u32, description: &mut CpuDescription) {
        if !self.has(0x8000_0006) {
            return;
        }
        let [_, _, l1_data, l1_code] = self.answer(0x8000_0005, 0);
        let [_, _, l2, l3] = self.answer(0x8000_0006, 0);
        let first = |word: u32| (word & 0xff, word >> 8 & 0xff, word >> 16 & 0xff, word >> 24 << 10);
        let second = |word: u32, size| (word & 0xff, word >> 8 & 0xf, word >> 12 & 0xf, size);
        let found = [
            (1, CacheKind::Data, first(l1_data), apic),
            (1, CacheKind::Instruction, first(l1_code), apic),
            (2, CacheKind::Unified, second(l2, l2 >> 16 << 10), apic),
            (3, CacheKind::Unified, second(l3, (l3 >> 18).saturating_mul(512 << 10)), package),
        ];
        for (level, kind, (line_size, partitions, encoded, size), group) in found {
            let ways = associativity(encoded, size, line_size);
            let Some(sets) = size.checked_div(line_size.saturating_mul(ways)).filter(|sets| *sets != 0) else {
                continue;
            };
            let geometry = CacheGeometry { line_size, partitions: partitions.max(1), ways, sets };
            let cache = Cache { level, kind, geometry: Some(geometry), identifier: Some(apic), group };
            let _ = description.caches.try_push(cache);
        }
    }
}

/// How many ways a code of leaf 0x8000_0006 stands for.
fn associativity(code: u32, size: u32, line_size: u32) -> u32 {
    match code {
        1 | 2 | 4 => code,
        6 => 8,
        8 => 16,
        0xa => 32,
        0xb => 48,
        0xc => 64,
        0xd => 96,
        0xe => 128,
        // Fully associative.
        0xf => size.checked_div(line_size).unwrap_or(0),
        _ => 0,
    }
}

/// How many bits of the APIC's number are the core's, from `ecx` of leaf 0x8000_0008.
const fn core_bits(word: u32) -> u32 {
    match word >> 12 & 0xf {
        0 => order((word & 0xff) + 1),
        bits => bits,
    }
}

/// The bits that `count` things need.
const fn order(count: u32) -> u32 {
    u32::BITS - count.saturating_sub(1).leading_zeros()
}

fn shift_right(value: u32, bits: u32) -> u32 {
    value.checked_shr(bits).unwrap_or(0)
}

fn low_bits(value: u32, bits: u32) -> u32 {
    value & 1u32.checked_shl(bits).map_or(u32::MAX, |bit| bit - 1)
}

/// What a CPU is that answers CPUID so.
fn decode(read: impl Fn(u32, u32) -> Answer) -> CpuDescription {
    let leaves = Leaves { read };
    let apic = leaves.apic_number();
    let mut description = CpuDescription::default();
    let mut position = leaves.position(apic);
    leaves.caches(apic, &mut position, &mut description);
    description.position = position;
    description
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMD: Answer = [0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65];
    const INTEL: Answer = [0x1f, 0x756e_6547, 0x6c65_746e, 0x4965_6e69];

    fn answers(table: &[(u32, u32, Answer)]) -> impl Fn(u32, u32) -> Answer {
        move |leaf, subleaf| {
            table.iter().find(|(own, sub, _)| (*own, *sub) == (leaf, subleaf)).map_or([0; 4], |(.., answer)| *answer)
        }
    }

    /// QEMU's `max` under TCG, two packages of four: Linux calls the cores so and gives each its own number of the third-level cache.
    #[test]
    fn amd_of_old_is_read_as_linux_reads_it() {
        let table = |apic: u32| {
            [
                (0, 0, AMD),
                (1, 0, [0, apic << 24 | 4 << 16, 0, 1 << 28]),
                (0x8000_0000, 0, [0x8000_000a, 0, 0, 0]),
                (0x8000_0005, 0, [0, 0, 0x4002_0140, 0x4002_0140]),
                (0x8000_0006, 0, [0, 0, 0x0200_8140, 0x0080_8140]),
                (0x8000_0008, 0, [0x3028, 0, 3, 0]),
            ]
        };
        let description = decode(answers(&table(5)));
        assert_eq!(description.position, CpuPosition { package: 1, die: 1, cluster: None, core: 1 });
        let shown: Vec<_> = description
            .caches
            .iter()
            .map(|cache| {
                let geometry = cache.geometry.unwrap();
                (
                    cache.level,
                    cache.kind.name(),
                    geometry.size() >> 10,
                    geometry.ways,
                    geometry.sets,
                    cache.identifier,
                    cache.group,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (1, "Data", 64, 2, 512, Some(5), 5),
                (1, "Instruction", 64, 2, 512, Some(5), 5),
                (2, "Unified", 512, 16, 512, Some(5), 5),
                (3, "Unified", 16384, 16, 16384, Some(5), 1),
            ]
        );
    }

    /// Two threads a core, four cores a die, two dies a package.
    #[test]
    fn the_extended_leaf_cuts_the_number() {
        let apic = 0b11_101;
        let table = [
            (0, 0, INTEL),
            (1, 0, [0, 0, 0, 1 << 28]),
            (4, 0, [1 << 5 | 1 | 1 << 14, 7 << 22 | 63, 63, 0]),
            (4, 1, [2 << 5 | 3 | 3 << 14, 15 << 22 | 63, 1023, 0]),
            (4, 2, [3 << 5 | 3 | 15 << 14, 15 << 22 | 63, 16383, 0]),
            (0x1f, 0, [1, 2, 1 << 8, apic]),
            (0x1f, 1, [3, 8, 2 << 8 | 1, apic]),
            (0x1f, 2, [4, 16, 5 << 8 | 2, apic]),
        ];
        let description = decode(answers(&table));
        assert_eq!(description.position, CpuPosition { package: 1, die: 1, cluster: Some(0b11100), core: 0b110 });
        let groups: Vec<_> = description.caches.iter().map(|cache| (cache.level, cache.group)).collect();
        assert_eq!(groups, [(1, 0b1110), (2, 0b111), (3, 0b1)]);
    }

    #[test]
    fn amd_with_extensions_says_who_shares() {
        let table = [
            (0, 0, AMD),
            (0xb, 0, [1, 2, 1 << 8, 13]),
            (0xb, 1, [4, 16, 2 << 8 | 1, 13]),
            (0x8000_0000, 0, [0x8000_001e, 0, 0, 0]),
            (0x8000_0001, 0, [0, 0, 1 << 22, 0]),
            (0x8000_001d, 0, [1 << 14 | 1 << 5 | 1, 7 << 22 | 63, 63, 0]),
            (0x8000_001d, 1, [7 << 14 | 3 << 5 | 3, 15 << 22 | 63, 8191, 0]),
        ];
        let description = decode(answers(&table));
        assert_eq!(description.position, CpuPosition { package: 0, die: 0, cluster: None, core: 6 });
        let groups: Vec<_> = description.caches.iter().map(|cache| (cache.level, cache.group)).collect();
        assert_eq!(groups, [(1, 6), (3, 1)]);
    }

    #[test]
    fn without_any_leaf_there_is_one_core() {
        let description = decode(|_, _| [0; 4]);
        assert_eq!((description.position, description.caches.len()), (CpuPosition::default(), 0));
        let _ = decode(|_, _| [u32::MAX; 4]);
        let _ = decode(read);
    }
}
