//! The other CPUs: starting them by INIT and SIPI, and the interrupts that CPUs send one another.
//!
//! # The way of a CPU
//! 1. INIT, then SIPI: real mode at the page [`TRAMPOLINE_PAGE`], which is kept out of the frame allocator (`boot::start_information`). The code
//!    there was copied from [`trampoline`] and given what it needs in its last words: all CPUs run it at the same time, and it writes nothing.
//! 2. It goes to 64-bit mode on [`StartTable`]: the kernel's top table, plus the identity mapping of the first 2 MiB that boot code used.
//! 3. [`find_stack`] looks the CPU up by its APIC's number in [`STARTS`] and takes its stack from there.
//! 4. [`enter`] goes over to the kernel's own top table and sets the CPU up as the first one was, notes that it has come, and calls the kernel.
//!
//! A CPU that comes too late learns it from its [`Arrival`](crate::arch::arrival::Arrival) and halts. One that is taken off line halts too, interrupts masked, and comes back
//! by INIT and SIPI the same way, on the same stack and block.
//!
//! # Time
//! While CPUs come up all of them race through one maximum of the time-stamp counter ([`Race`]): a counter that is behind shows.

#![allow(unsafe_code, reason = "starts CPUs in assembly, on tables and stacks of their own")]
#![cfg_attr(not(target_os = "none"), allow(dead_code, reason = "called on bare metal alone"))]

use super::local_apic::{self, Command};
use super::{X86_64, vectors};
use crate::arch::Cpu;
use crate::arch::inter_processor::{Beyond, HotplugRules, InterProcessor, InterProcessorInterrupt, WithoutOthers};
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS};
use arrayvec::ArrayVec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::Relaxed};
use spin::Once;

/// Local APICs' numbers by CPU number, once they are known.
static PROCESSORS: Once<ArrayVec<u32, MAXIMUM_CPUS>> = Once::new();
/// Whether a non-maskable interrupt means to halt.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Says which CPUs firmware lists; this one becomes CPU 0. Once, at boot, when the local APIC is in use.
pub(super) fn set_processors(listed: &[u32]) {
    let me = local_apic::identifier();
    PROCESSORS.call_once(|| {
        let mut processors = ArrayVec::new();
        processors.push(me);
        for &other in listed.iter().filter(|other| **other != me) {
            // More than there is room for are left alone.
            let _ = processors.try_push(other);
        }
        processors
    });
}

/// The APIC's number of `cpu`.
pub(super) fn apic_identifier(cpu: CpuId) -> Option<u32> {
    PROCESSORS.get()?.get(cpu.0 as usize).copied()
}

/// Whether the machine is being stopped by another CPU.
pub(super) fn is_stopping() -> bool {
    STOPPING.load(Relaxed)
}

impl InterProcessor for X86_64 {
    const HOTPLUG: HotplugRules = HotplugRules { without_others: WithoutOthers::Impossible, beyond: Beyond::Listed };

    fn listed_cpus() -> CpuMask {
        CpuMask::first_cpus(PROCESSORS.get().map_or(1, ArrayVec::len))
    }

    /// As Linux has it: interrupts that firmware needs may know CPU 0 alone.
    fn can_leave(cpu: CpuId) -> bool {
        cpu.0 != 0
    }

    fn hardware_identifier_of(cpu: CpuId) -> Option<u64> {
        apic_identifier(cpu).map(u64::from)
    }

    #[cfg(target_os = "none")]
    fn start_secondaries(secondaries: &[crate::arch::inter_processor::Secondary], entry: fn() -> !) -> CpuMask {
        start::start(secondaries, entry)
    }

    fn interrupt(targets: CpuMask, interrupt: InterProcessorInterrupt) {
        let command = match interrupt {
            InterProcessorInterrupt::Reschedule => Command::Vector(vectors::RESCHEDULE_VECTOR),
            InterProcessorInterrupt::Call => Command::Vector(vectors::CALL_VECTOR),
            InterProcessorInterrupt::Stop => {
                STOPPING.store(true, Ordering::Release);
                Command::NonMaskable
            }
        };
        let enabled = X86_64::save_and_disable_interrupts();
        for target in targets.iter().filter_map(apic_identifier) {
            local_apic::send(target, command);
        }
        if enabled {
            X86_64::enable_interrupts();
        }
    }
}

/// The highest time-stamp counter that any CPU has seen, and how far one was behind it.
#[derive(Debug)]
struct Race {
    highest: AtomicU64,
    behind: AtomicU64,
}

impl Race {
    const fn new() -> Self {
        Self { highest: AtomicU64::new(0), behind: AtomicU64::new(0) }
    }

    /// Compares what others have read with what `read_counter` gives afterwards.
    fn run(&self, read_counter: impl FnOnce() -> u64) {
        let seen = self.highest.load(Ordering::SeqCst);
        let now = read_counter();
        self.behind.fetch_max(seen.saturating_sub(now), Relaxed);
        self.highest.fetch_max(now, Ordering::SeqCst);
    }

    /// How far a CPU's counter was behind what another had read earlier.
    fn behind(&self) -> u64 {
        self.behind.load(Relaxed)
    }
}

#[cfg(target_os = "none")]
mod start {
    use super::super::boot::tables::{IDENTITY_P3, P4, physical_address};
    use super::super::features::{self, Features};
    use super::super::segments::CpuBlock;
    use super::super::{boot, clock, entry, extended_state, interrupts, machine_check, mmu, model_specific, timer};
    use super::*;
    use crate::arch::arrival::{Arrival, Likeness, State};
    use crate::arch::boot_information::{PhysicalRange, boot_information};
    use crate::arch::inter_processor::Secondary;
    use crate::arch::{Mmu, TimerHardware};
    use crate::base::{Nanoseconds, PAGE_SIZE, PhysicalAddress};
    use core::arch::{asm, global_asm, naked_asm};
    use core::cell::UnsafeCell;
    use core::mem::offset_of;
    use core::sync::atomic::{AtomicPtr, AtomicU32};

    /// Where real mode begins: a page of the low memory that is never given out.
    const TRAMPOLINE_PAGE: u8 = 8;
    const TRAMPOLINE: u64 = (TRAMPOLINE_PAGE as u64) << 12;
    /// How long CPUs that were asked may take, all together: as long as Linux waits for one. An emulator on a busy host may need it.
    const PATIENCE: Nanoseconds = Nanoseconds::from_milliseconds(10_000);
    /// After this a CPU that has not come is sent a second SIPI.
    const SECOND_START: Nanoseconds = Nanoseconds::from_microseconds(300);
    /// How long a CPU takes to reset (Intel, volume 3, 9.4.4.1), where it is not known to be quick.
    const RESET_TIME: Nanoseconds = Nanoseconds::from_milliseconds(10);

    /// What a CPU finds of its own. Read by assembly.
    #[repr(C)]
    struct Start {
        apic: AtomicU32,
        arrival: Arrival,
        stack: AtomicU64,
        block: AtomicPtr<CpuBlock>,
    }

    static STARTS: [Start; MAXIMUM_CPUS] = [const {
        Start {
            apic: AtomicU32::new(u32::MAX),
            arrival: Arrival::new(),
            stack: AtomicU64::new(0),
            block: AtomicPtr::new(core::ptr::null_mut()),
        }
    }; MAXIMUM_CPUS];

    static ENTRY: Once<fn() -> !> = Once::new();
    static RACE: Race = Race::new();

    /// The top table on which CPUs enter 64-bit mode.
    #[repr(C, align(4096))]
    struct StartTable(UnsafeCell<[u64; 512]>);
    // SAFETY: written by the CPU that starts others, before they use it.
    unsafe impl Sync for StartTable {}
    static TABLE: StartTable = StartTable(UnsafeCell::new([0; 512]));

    fn physical<T>(image: &'static T) -> u64 {
        physical_address(core::ptr::from_ref(image).addr() as u64)
    }

    unsafe extern "C" {
        static ashlar_trampoline_start: u8;
        static ashlar_trampoline_parameters: u8;
        static ashlar_trampoline_end: u8;
    }

    global_asm!(
        // Copied to TRAMPOLINE; every address is an offset into that page.
        ".pushsection .rodata.ashlar_trampoline, \"a\"",
        ".p2align 4",
        ".code16",
        ".globl ashlar_trampoline_start",
        "ashlar_trampoline_start:",
        "cli",
        "cld",
        "movw %cs, %ax",
        "movw %ax, %ds",
        "lgdtl (ashlar_trampoline_gdt_pointer - ashlar_trampoline_start)",
        "movl $0x20, %eax", // PAE
        "movl %eax, %cr4",
        "movl (ashlar_trampoline_parameters - ashlar_trampoline_start), %eax",
        "movl %eax, %cr3",
        "movl $0xc0000080, %ecx",
        "rdmsr",
        "orl (ashlar_trampoline_parameters + 4 - ashlar_trampoline_start), %eax",
        "wrmsr",
        // Paging, alignment mask, write protection, numeric error, monitor coprocessor, protected mode; caches on.
        "movl $0x80050033, %eax",
        "movl %eax, %cr0",
        "ljmpl $8, $({trampoline} + ashlar_trampoline_64 - ashlar_trampoline_start)",
        ".code64",
        "ashlar_trampoline_64:",
        "movl $16, %eax",
        "movl %eax, %ss",
        "movl %eax, %ds",
        "movl %eax, %es",
        "jmpq *({trampoline} + ashlar_trampoline_parameters + 8 - ashlar_trampoline_start)",
        ".p2align 3",
        "ashlar_trampoline_gdt:",
        ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
        "ashlar_trampoline_gdt_pointer:",
        ".word 23",
        ".long {trampoline} + ashlar_trampoline_gdt - ashlar_trampoline_start",
        ".p2align 3",
        ".globl ashlar_trampoline_parameters",
        "ashlar_trampoline_parameters:",
        ".long 0", // the top table
        ".long 0", // bits of EFER
        ".quad 0", // where 64-bit code goes on
        ".globl ashlar_trampoline_end",
        "ashlar_trampoline_end:",
        ".popsection",
        trampoline = const TRAMPOLINE,
        options(att_syntax),
    );

    /// 64-bit mode, no stack: finds this CPU's entry by what CPUID says of its APIC, and its stack there.
    #[unsafe(naked)]
    unsafe extern "sysv64" fn find_stack() -> ! {
        naked_asm!(
            // The extended identifier, where there is one.
            "xor eax, eax",
            "cpuid",
            "cmp eax, 0x0b",
            "jb 2f",
            "mov eax, 0x0b",
            "xor ecx, ecx",
            "cpuid",
            "test ebx, ebx",
            "jz 2f",
            "mov edi, edx",
            "jmp 3f",
            "2:",
            "mov eax, 1",
            "cpuid",
            "shr ebx, 24",
            "mov edi, ebx",
            "3:",
            "lea rsi, [rip + {starts}]",
            "xor ecx, ecx",
            "4:",
            "cmp [rsi + {apic}], edi",
            "je 5f",
            "add rsi, {size}",
            "inc ecx",
            "cmp ecx, {count}",
            "jb 4b",
            // Nobody knows this CPU.
            "6: cli",
            "hlt",
            "jmp 6b",
            "5:",
            "mov rsp, [rsi + {stack}]",
            "xor ebp, ebp",
            "mov edi, ecx",
            "call {enter}",
            "ud2",
            starts = sym STARTS,
            apic = const offset_of!(Start, apic),
            stack = const offset_of!(Start, stack),
            size = const size_of::<Start>(),
            count = const MAXIMUM_CPUS,
            enter = sym enter,
        )
    }

    /// Stops a CPU that has no block yet.
    fn park() -> ! {
        X86_64::halt()
    }

    /// On the CPU's own stack, on [`StartTable`], interrupts masked, nothing else set up.
    extern "sysv64" fn enter(number: u32) -> ! {
        let Some(start) = STARTS.get(number as usize) else { park() };
        let is_like_the_first = features::read().contains(features::all());
        let likeness = if is_like_the_first { Likeness::Like } else { Likeness::Unlike };
        // SAFETY: the kernel's own table maps what the present one does, but for the identity mapping, which is not used any more.
        unsafe { asm!("mov cr3, {}", in(reg) physical(&P4), options(nostack, preserves_flags)) };
        // SAFETY: the block was made for this CPU, for good.
        let Some(block) = (unsafe { start.block.load(Ordering::Acquire).as_ref() }) else { park() };
        if is_like_the_first {
            // SAFETY: the first call for this CPU and block since the CPU was reset; the interrupt table was filled by the first CPU.
            unsafe {
                block.install();
                interrupts::load();
            }
            entry::enable_system_calls();
            boot::set_control_registers();
            machine_check::initialize();
            extended_state::initialize();
            if features::has(Features::RDTSCP) {
                // SAFETY: the CPU has the register.
                unsafe { model_specific::write(model_specific::TSC_AUX, number.into()) };
            }
            // The identity mapping may be cached, and the table's address is that of another space for the caches.
            X86_64::invalidate_everything();
            local_apic::enable();
            timer::use_local_apic();
            for _ in 0..1000 {
                RACE.run(clock::read_counter);
            }
        }
        let is_wanted = start.arrival.arrive(likeness);
        match ENTRY.get() {
            Some(entry) if is_wanted => entry(),
            _ => park(),
        }
    }

    fn wait(span: Nanoseconds, mut is_over: impl FnMut() -> bool) {
        let end = X86_64::now().saturating_add(span);
        while X86_64::now() < end && !is_over() {
            RACE.run(clock::read_counter);
            X86_64::relax();
        }
    }

    /// Puts the code where real mode begins, and fills the table that it uses.
    fn prepare() {
        // SAFETY: the image holds the code between the two symbols; the page is kept for it, physmap maps it, and no CPU is on its way there
        // that was waited for. The top tables are read and written one entry at a time.
        unsafe {
            let start = &raw const ashlar_trampoline_start;
            let length = (&raw const ashlar_trampoline_end).addr() - start.addr();
            let parameters = (&raw const ashlar_trampoline_parameters).addr() - start.addr();
            let page = mmu::physmap(PhysicalAddress::new(TRAMPOLINE)).value() as *mut u8;
            core::ptr::copy_nonoverlapping(start, page, length);
            let words = page.add(parameters).cast::<u32>();
            const LONG_MODE: u32 = 1 << 8;
            const NO_EXECUTE: u32 = 1 << 11;
            words.write_unaligned(physical(&TABLE) as u32);
            words.add(1).write_unaligned(if features::has(Features::NX) { LONG_MODE | NO_EXECUTE } else { LONG_MODE });
            words.add(2).cast::<u64>().write_unaligned(find_stack as *const () as u64);
            let kernel = core::ptr::from_ref(&P4).cast::<u64>();
            let table = TABLE.0.get().cast::<u64>();
            for index in 256..511 {
                table.add(index).write_volatile(kernel.add(index).read_volatile());
            }
            const PRESENT_WRITABLE: u64 = 3;
            table.write_volatile(physical(&IDENTITY_P3) | PRESENT_WRITABLE);
        }
    }

    /// See [`InterProcessor::start_secondaries`].
    pub(super) fn start(secondaries: &[Secondary], entry: fn() -> !) -> CpuMask {
        let page = PhysicalAddress::new(TRAMPOLINE);
        if !boot_information().is_usable(PhysicalRange { start: page, end: page.offset(PAGE_SIZE as u64) }) {
            log::warn!("firmware has the page at {TRAMPOLINE:#x}: other CPUs cannot be started");
            return CpuMask::EMPTY;
        }
        ENTRY.call_once(|| entry);
        prepare();
        let mut asked = CpuMask::EMPTY;
        for &Secondary { cpu, stack } in secondaries {
            let (Some(start), Some(apic)) = (STARTS.get(cpu.0 as usize), apic_identifier(cpu)) else { continue };
            if start.block.load(Relaxed).is_null() {
                let Some(block) = CpuBlock::allocate(cpu) else {
                    log::error!("CPU {}: no memory", cpu.0);
                    continue;
                };
                start.block.store(core::ptr::from_ref(block).cast_mut(), Ordering::Release);
            }
            start.stack.store(stack.value(), Relaxed);
            start.arrival.ask();
            start.apic.store(apic, Ordering::Release);
            asked.insert(cpu);
        }
        let has_come = |cpu: &CpuId| STARTS.get(cpu.0 as usize).is_none_or(|start| !start.arrival.is_awaited());
        let all_are_here = || asked.iter().all(|cpu| has_come(&cpu));
        let send = |command: Command| {
            for apic in asked.iter().filter(|cpu| !has_come(cpu)).filter_map(apic_identifier) {
                let enabled = X86_64::save_and_disable_interrupts();
                local_apic::send(apic, command);
                if enabled {
                    X86_64::enable_interrupts();
                }
            }
        };
        // CPUs of this century reset at once; who does not come is given the time that the manual says.
        for reset_time in [Nanoseconds::ZERO, RESET_TIME] {
            send(Command::Initialize);
            wait(reset_time, || false);
            send(Command::Start(TRAMPOLINE_PAGE));
            wait(SECOND_START, all_are_here);
            send(Command::Start(TRAMPOLINE_PAGE));
            wait(PATIENCE, all_are_here);
            if all_are_here() {
                break;
            }
        }
        let mut here = CpuMask::EMPTY;
        for cpu in asked {
            let Some(start) = STARTS.get(cpu.0 as usize) else { continue };
            match start.arrival.give_up() {
                State::Here => here.insert(cpu),
                State::Unlike => log::warn!("CPU {} lacks what the first one has and is left alone", cpu.0),
                _ => log::warn!("CPU {} does not answer", cpu.0),
            }
        }
        if RACE.behind() > 0 {
            log::warn!("time-stamp counters differ by {} counts between CPUs", RACE.behind());
            clock::distrust_counter();
        }
        here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_behind_shows() {
        let race = Race::new();
        [1000, 1000, 500_000, 500_001].into_iter().for_each(|counter| race.run(|| counter));
        assert_eq!(race.behind(), 0);
        race.run(|| 400_000);
        race.run(|| 500_000);
        assert_eq!(race.behind(), 100_001);
    }
}
