//! Several CPUs: which there are, starting them, and what they tell one another.
//!
//! # inter_processor(9)
//!
//! CPUs are numbered densely by [`CpuId`]: 0 booted, the others in the order of the firmware's list. Three sets, each a part of the last:
//!
//! | set | what | changes |
//! |---|---|---|
//! | [`possible`] | what firmware lists and the command line allows | once, at boot |
//! | [`present`] | those that may be started: no CPU is plugged in while the kernel runs | once, at boot |
//! | [`online`] | those that run threads and take interrupts | as each comes up or is taken off |
//!
//! **[`InterProcessor::start_secondaries`]** starts CPUs side by side. Each enters on the stack that it was given, sets itself up as the
//! first did (descriptor tables, control registers, interrupt controller, timer), and calls `entry`, interrupts masked, [`crate::arch::Cpu::id`]
//! right. That function makes itself the CPU's idle thread and calls [`set_online`]. A CPU that does not answer in time is left out, and what
//! was given to it is used for that CPU alone, in case it wakes up late.
//!
//! **[`InterProcessor::leave`]** is the way back: a CPU that runs no thread, whose timers somebody else has taken, calls [`set_offline`] and then this, interrupts
//! masked from the first on; it does not return. Once [`InterProcessor::has_left`] the CPU can be started again, on the same stack. It is
//! done to no CPU that [cannot leave](InterProcessor::can_leave).
//!
//! **[`send_interrupt`]** may be called anywhere, with any lock held, interrupts enabled or not. It never waits for the target. What was
//! stored before it is visible to the target's handler. Interrupts of one kind to one CPU may merge into one; a CPU that is not online is left out.
//! A CPU may name itself.
//!
//! | interrupt | what the target does |
//! |---|---|
//! | `Reschedule` | [`crate::arch::CpuLocal::request_reschedule`] on itself, so it passes the scheduler (and looks for signals) before the code that it interrupted goes on. An idle CPU wakes |
//! | `Call` | [`serve_calls`] |
//! | `Stop` | masks interrupts and halts for good; not to be masked where the machine can do that |
//!
//! **[`call_on`]** runs a function on other CPUs and waits until all have. The function runs with interrupts masked, inside whatever the target
//! was doing, *possibly while it holds or waits for any lock*: it takes no lock, allocates nothing, and reads only what is atomic or what its argument
//! lends. The caller may hold spinlocks, because who waits for a spinlock serves calls meanwhile ([`serve_calls`] in `sync::spinlock`), and so does who waits
//! for its own call; whoever waits otherwise for another CPU with interrupts masked must do the same. Two CPUs that call each other thus both go on.
//!
//! Nothing allocates: each CPU has one outgoing request, and a mask of the CPUs whose requests wait for it.

use super::call_table::CallTable;
use super::{Cpu, CpuLocal, Current};
use crate::base::{AtomicCpuMask, CpuId, CpuMask, MAXIMUM_CPUS, VirtualAddress};
use core::sync::atomic::{AtomicPtr, Ordering, Ordering::Relaxed};

/// What one CPU can tell another without memory between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum InterProcessorInterrupt {
    /// Look at the run queue, or for signals.
    Reschedule = 0,
    /// A request waits in [`call_on`]'s mailbox.
    Call = 1,
    /// Halt for good: the machine panics or is switched off.
    Stop = 2,
}

/// A CPU to start, and the top of the stack that it starts on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Secondary {
    /// Its number.
    pub cpu: CpuId,
    /// One past the last byte of its stack, page-aligned.
    pub stack: VirtualAddress,
}

/// What `nosmp` leaves of the other CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WithoutOthers {
    /// Nothing: they are not possible, and `offline` lists them as beyond.
    Impossible,
    /// They are possible, but not present: starting them is `EINVAL`.
    Absent,
}

/// Linux's rules for CPUs that come and go, where they are a machine's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HotplugRules {
    /// What `nosmp` leaves.
    pub without_others: WithoutOthers,
    /// Whether CPUs beyond `nr_cpus=` are listed as off line.
    pub beyond: Beyond,
}

/// Whether CPUs beyond those that are possible are listed as off line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beyond {
    /// They are.
    Listed,
    /// They are not.
    Unknown,
}

/// The machine's part.
pub trait InterProcessor {
    /// What is the machine's own in what programs see of CPUs that come and go.
    const HOTPLUG: HotplugRules = HotplugRules { without_others: WithoutOthers::Absent, beyond: Beyond::Unknown };
    /// What firmware lists, the booting CPU as 0. Called after [`crate::arch::Startup::initialize_interrupts`]; the same each time.
    fn listed_cpus() -> CpuMask {
        CpuMask::single(CpuId(0))
    }
    /// What firmware calls `cpu`, as [`crate::arch::Cpu::hardware_identifier`] says on that one; `None` for one that is not listed.
    fn hardware_identifier_of(cpu: CpuId) -> Option<u64> {
        Self::listed_cpus().contains(cpu).then_some(cpu.0.into())
    }
    /// Starts `secondaries`, on each of which `entry` is called as the module's description says, and gives those that have answered: that
    /// have set themselves up and are about to call it. Called when memory and the heap work, interrupts enabled or not; not twice at a time, and
    /// for a CPU that has answered only when it [has left](Self::has_left). What goes wrong is logged.
    fn start_secondaries(_secondaries: &[Secondary], _entry: fn() -> !) -> CpuMask {
        CpuMask::EMPTY
    }
    /// Interrupts each of `targets`, all of which are online. See [`send_interrupt`].
    fn interrupt(_targets: CpuMask, _interrupt: InterProcessorInterrupt) {}
    /// Whether `cpu` can be taken off line at all.
    fn can_leave(_cpu: CpuId) -> bool {
        true
    }
    /// Switches this CPU off, until it is started again. Interrupts are masked, no lock is held.
    fn leave() -> ! {
        Current::halt()
    }
    /// Whether `cpu`, which has called [`Self::leave`] or is about to, can be started again.
    fn has_left(_cpu: CpuId) -> bool {
        true
    }
    /// Has devices interrupt `to` from now on, where they interrupted a CPU that is about to leave.
    fn move_device_interrupts(_to: CpuId) {}
}

static POSSIBLE: AtomicCpuMask = AtomicCpuMask::new(CpuMask::single(CpuId(0)));
static PRESENT: AtomicCpuMask = AtomicCpuMask::new(CpuMask::single(CpuId(0)));
static ONLINE: AtomicCpuMask = AtomicCpuMask::new(CpuMask::single(CpuId(0)));

/// The CPUs that there may be. CPU 0 alone until boot has looked.
#[inline]
#[must_use]
pub fn possible() -> CpuMask {
    POSSIBLE.load(Relaxed)
}

/// Those of them that may be started.
#[must_use]
pub fn present() -> CpuMask {
    PRESENT.load(Relaxed)
}

/// Says which there may be, and which of these may be started; boot's alone.
pub fn set_possible(possible: CpuMask, present: CpuMask) {
    register_block();
    POSSIBLE.store(possible.with(CpuId(0)), Relaxed);
    PRESENT.store(present.intersection(possible).with(CpuId(0)), Relaxed);
}

/// The CPUs that run threads.
#[inline]
#[must_use]
pub fn online() -> CpuMask {
    ONLINE.load(Ordering::Acquire)
}

/// Each CPU's block, once the CPU is online.
static BLOCKS: [AtomicPtr<CpuLocal>; MAXIMUM_CPUS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAXIMUM_CPUS];

/// Notes this CPU's block.
fn register_block() {
    if let Some(place) = BLOCKS.get(Current::id().0 as usize) {
        place.store(core::ptr::from_ref(Current::local()).cast_mut(), Ordering::Release);
    }
}

/// The block of `cpu`, for its counters; `None` before it has been online.
#[must_use]
#[allow(unsafe_code, reason = "follows a pointer that was made from a reference")]
pub fn local_of(cpu: CpuId) -> Option<&'static CpuLocal> {
    let block = BLOCKS.get(cpu.0 as usize)?.load(Ordering::Acquire);
    // SAFETY: null, or made from a `&'static`.
    unsafe { block.as_ref() }
}

/// This CPU is ready: it takes interrupts from others and may be given threads. Interrupts are masked.
pub fn set_online() {
    register_block();
    ONLINE.insert(Current::id(), Ordering::SeqCst);
}

/// This CPU runs no more threads and is asked for nothing any more: what was asked of it has been served when this returns. Interrupts are masked.
pub fn set_offline() {
    let me = Current::id();
    ONLINE.remove(me, Ordering::SeqCst);
    CALLS.retire(me, CpuMask::ALL);
}

/// Interrupts those of `targets` that are online. Any context; never waits for them.
#[inline]
pub fn send_interrupt(targets: CpuMask, interrupt: InterProcessorInterrupt) {
    let targets = targets.intersection(online());
    if !targets.is_empty() {
        Current::interrupt(targets, interrupt);
    }
}

/// Halts the other CPUs for good, as far as they can be interrupted: the machine panics or ends.
pub fn stop_others() {
    send_interrupt(online().without(Current::id()), InterProcessorInterrupt::Stop);
}

/// Runs `function` with `argument` on those of `targets` that are online, this CPU excepted, and returns when all have. The module's
/// description says what `function` may do.
pub fn call_on<T: Sync>(targets: CpuMask, function: fn(&T), argument: &T) {
    let targets = targets.intersection(online());
    if targets.without(Current::id()).is_empty() && targets.count() <= 1 {
        return;
    }
    let interrupts = Current::save_and_disable_interrupts();
    CALLS.call(
        Current::id(),
        targets,
        function,
        argument,
        |targets| {
            send_interrupt(targets, InterProcessorInterrupt::Call);
        },
        online,
    );
    if interrupts {
        Current::enable_interrupts();
    }
}

/// Does what other CPUs have asked of this one. Interrupts are masked. Called by the interrupt's handler and by everyone who waits for
/// another CPU with interrupts masked; costs one load when there is nothing.
#[inline]
pub fn serve_calls() {
    CALLS.serve(Current::id());
}

/// As [`serve_calls`], wherever interrupts stand.
#[inline]
pub fn serve_calls_while_spinning() {
    // With interrupts enabled the interrupt itself does it.
    if CALLS.is_asked(Current::id()) && !Current::interrupts_are_enabled() {
        serve_calls();
    }
}

static CALLS: CallTable<MAXIMUM_CPUS> = CallTable::new();

/// How many calls of others `cpu` has served since boot (`CAL` of `/proc/interrupts`).
#[must_use]
pub fn calls_served(cpu: CpuId) -> u32 {
    CALLS.served(cpu)
}

/// What a machine does when a reschedule interrupt arrives.
#[inline]
pub fn reschedule_arrived(local: &CpuLocal) {
    local.count_reschedule();
    local.request_reschedule();
}
