//! The kernel as the allocator's user: descriptors beside the bits, pinning by the preemption count, calls to other CPUs.

#![allow(unsafe_code, reason = "promises what the caches rely on, and makes descriptors of raw memory")]

use super::map::OverMemory;
use super::platform::Platform;
use super::region::Companion;
use crate::arch::{Cpu, Current, inter_processor};
use crate::base::FrameNumber;
use crate::memory::frame_descriptor::FrameDescriptor;
use crate::memory::numa::{self, NodeId};
use crate::sync;

/// The kernel.
#[derive(Debug)]
pub struct Kernel;

/// A raised preemption count.
#[derive(Debug)]
pub struct Pin(());

impl Drop for Pin {
    #[inline]
    fn drop(&mut self) {
        if Current::enable_preemption() {
            sync::preempt();
        }
    }
}

// SAFETY: a thread that may not be preempted stays on its CPU, whose number is its own; interrupt handlers, and what other CPUs ask of this
// one, end before the code that they interrupted goes on. The emulated machine's CPUs have numbers beyond the own caches.
unsafe impl Platform for Kernel {
    type Companion = Descriptors;
    type Pin = Pin;
    #[inline]
    fn pin() -> Pin {
        Current::disable_preemption();
        Pin(())
    }
    #[inline]
    fn cpu(_pin: &Pin) -> usize {
        Current::id().0 as usize
    }
    fn home_node() -> u8 {
        numa::topology().node_of_cpu(Current::hardware_identifier()).0
    }
    fn distance(from: u8, to: u8) -> u8 {
        numa::topology().distance(NodeId(from), NodeId(to))
    }
    #[inline]
    fn keeps(frame: &'static FrameDescriptor) -> bool {
        // What comes next here wants memory that is near.
        !numa::has_several_nodes() || frame.node() == numa::current_node().0
    }
    fn on_other_cpus<T: Sync>(work: fn(&T), argument: &T) {
        inter_processor::call_on(inter_processor::online(), work, argument);
    }
}

/// A descriptor for each frame.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors(&'static [FrameDescriptor]);

impl Companion for Descriptors {
    type Handle = &'static FrameDescriptor;
    #[inline]
    fn handle(&self, _first: u64, index: usize) -> Option<&'static FrameDescriptor> {
        self.0.get(index)
    }
    #[inline]
    fn number(frame: &'static FrameDescriptor) -> u64 {
        frame.number().value()
    }
    fn prepare(&self, first: u64, node: u8, index: usize, count: usize) {
        let descriptors = self.0.get(index..index + count).unwrap_or_default();
        for (number, descriptor) in (first + index as u64..).zip(descriptors) {
            descriptor.initialize(FrameNumber::new(number), node);
        }
    }
}

impl OverMemory for Descriptors {
    const SIZE: usize = size_of::<FrameDescriptor>();
    unsafe fn over(memory: *mut u8, count: usize) -> Self {
        // SAFETY: the caller's promise; descriptors are made of atomic integers, for which any bytes are a value.
        Self(unsafe { core::slice::from_raw_parts(memory.cast::<FrameDescriptor>(), count) })
    }
}
