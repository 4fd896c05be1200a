//! What firmware says of nearness: which memory and which CPUs belong together, and how far groups of them are from each other.
//!
//! [`Affinity`] is plain data that a machine's parser fills (`x86_64::affinity` from ACPI's SRAT and SLIT, `aarch64::affinity` from the device
//! tree). Groups are named as firmware names them (*domains*); `memory::numa` checks what is said here and makes nodes of it.
//! Machines keep it in a static: it is too large for boot's stack to have it several times.

use super::boot_information::PhysicalRange;
use crate::base::MAXIMUM_CPUS;
use arrayvec::ArrayVec;

/// The most memory ranges that are noted.
pub const MAXIMUM_AFFINE_RANGES: usize = 64;
/// The most distances: those of 16 domains to each other.
pub const MAXIMUM_DISTANCES: usize = 256;

/// Why firmware's words were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AffinityError {
    /// A table ends before what it says is in it, or has another signature.
    Malformed,
    /// More ranges or distances than are managed.
    TooMany,
}

/// How domains become numbered nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Numbering {
    /// In the order in which they appear, CPUs before memory: Linux with ACPI.
    #[default]
    ByAppearance,
    /// In rising order: with a device tree Linux takes the domains themselves, which are 0 and so on in practice.
    ByDomain,
}

/// The distance from one domain to another: 10 is local, 255 unreachable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Distance {
    /// From this domain.
    pub from: u32,
    /// To that one.
    pub to: u32,
    /// As firmware says.
    pub value: u8,
}

/// What firmware says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Affinity {
    /// How domains are numbered.
    pub numbering: Numbering,
    /// CPUs by firmware's identifier (the local APIC's, `MPIDR_EL1`), with their domains.
    pub cpus: ArrayVec<(u64, u32), MAXIMUM_CPUS>,
    /// Memory ranges with their domains.
    pub memory: ArrayVec<(PhysicalRange, u32), MAXIMUM_AFFINE_RANGES>,
    /// Distances, as far as any were said.
    pub distances: ArrayVec<Distance, MAXIMUM_DISTANCES>,
    /// Why distances that were said are not among them.
    pub distances_refused: Option<AffinityError>,
}

impl Affinity {
    /// Notes a CPU. Those past the room there is are left out, as they are not used either.
    pub fn add_cpu(&mut self, identifier: u64, domain: u32) {
        let _ = self.cpus.try_push((identifier, domain));
    }
    /// Notes a memory range.
    ///
    /// # Errors
    /// [`AffinityError::TooMany`].
    pub fn add_memory(&mut self, range: PhysicalRange, domain: u32) -> Result<(), AffinityError> {
        self.memory.try_push((range, domain)).map_err(|_| AffinityError::TooMany)
    }
    /// Notes a distance.
    ///
    /// # Errors
    /// [`AffinityError::TooMany`].
    pub fn add_distance(&mut self, distance: Distance) -> Result<(), AffinityError> {
        self.distances.try_push(distance).map_err(|_| AffinityError::TooMany)
    }
}
