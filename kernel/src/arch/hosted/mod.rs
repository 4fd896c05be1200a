//! An emulated machine for unit tests: each host thread is a CPU, physical memory is one zeroed allocation that the
//! host commits as it is touched, and time stands still until a test moves it.
//!
//! User memory is reached through a translator that a test (or `memory`'s test support) registers with
//! [`set_translator`]; without one every access to user memory is a [`UserFault`].

#![allow(unsafe_code, reason = "reaches the emulated physical memory through raw pointers")]

use super::{
    AccessKind, ContextSwitch, Cpu, CpuLocal, Destination, ExtendedStateOperations, InterProcessorInterrupt,
    LinuxInterface, Machine, Mmu, Power, Registers, SavedSignalContext, SerialConsole, SignalDelivery, SignalFrame,
    SignalStack, TimerHardware, TrapFrame, UserAccess, UserFault,
};
use crate::base::{CpuId, CpuMask, MAXIMUM_CPUS, Nanoseconds, PAGE_SIZE, PhysicalAddress, VirtualAddress};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The emulated machine.
#[derive(Debug, Clone, Copy)]
pub struct Hosted;

/// Bytes of emulated physical memory.
pub const PHYSICAL_MEMORY_SIZE: u64 = 1 << 30;

/// Finds the physical address behind a user address of the table at a root, after letting the page-fault path run.
pub type Translator = fn(PhysicalAddress, VirtualAddress, AccessKind) -> Option<PhysicalAddress>;

static NOW: AtomicU64 = AtomicU64::new(0);

std::thread_local! {
    static INTERRUPTS: Cell<bool> = const { Cell::new(true) };
    static ROOT: Cell<u64> = const { Cell::new(0) };
    static THREAD_POINTER: Cell<u64> = const { Cell::new(0) };
    static SECOND_THREAD_POINTER: Cell<u64> = const { Cell::new(0) };
    static TRANSLATOR: Cell<Option<Translator>> = const { Cell::new(None) };
    static INVALIDATIONS: Cell<u64> = const { Cell::new(0) };
    static SYNCHRONISED: Cell<u64> = const { Cell::new(0) };
    static LOCAL: &'static CpuLocal = {
        // Numbers from behind those of CPUs that can be called: a host thread takes no interrupts and ends when its test does, so whoever waited
        // for its answer would wait for ever.
        static NEXT: AtomicU32 = AtomicU32::new(MAXIMUM_CPUS as u32);
        let local: &'static CpuLocal = Box::leak(Box::new(CpuLocal::new(CpuId(NEXT.fetch_add(1, Ordering::Relaxed)))));
        local.set_self_pointer();
        local
    };
}

/// Registers the translator for this host thread.
pub fn set_translator(translator: Translator) {
    TRANSLATOR.set(Some(translator));
}

/// Moves the clock on.
pub fn advance(by: Nanoseconds) {
    NOW.fetch_add(by.0, Ordering::Relaxed);
}

/// How many translations this host thread's CPU was told to forget: what tests of the TLB protocol count.
#[must_use]
pub fn invalidation_count() -> u64 {
    INVALIDATIONS.get()
}

/// How many bytes of code this host thread's CPU was told to fetch anew.
#[must_use]
pub fn synchronised_bytes() -> u64 {
    SYNCHRONISED.get()
}

fn physical_memory() -> u64 {
    static BASE: OnceLock<u64> = OnceLock::new();
    *BASE.get_or_init(|| {
        // Over-long and word-aligned: with a larger alignment the host would write every zero itself.
        let alignment = 1 << 21;
        let layout = std::alloc::Layout::from_size_align(PHYSICAL_MEMORY_SIZE as usize + alignment, 8)
            .unwrap_or(std::alloc::Layout::new::<u64>());
        // SAFETY: the layout's size is not zero. The allocation lives as long as the process.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        assert!(!base.is_null(), "the host has no memory for the emulated machine");
        (base.expose_provenance().next_multiple_of(alignment)) as u64
    })
}

impl Machine for Hosted {
    const LINUX: LinuxInterface = LinuxInterface::X86_64;
    const NAME: &'static str = "x86_64";
    const PLATFORM: &'static str = "x86_64";
    const AUDIT_ARCHITECTURE: u32 = 0xc000_003e;
    type TrapFrame = HostedFrame;
    type ExtendedState = HostedExtendedState;
}

impl super::Startup for Hosted {
    fn initialize_interrupts(_choice: super::ControllerChoice) {}
}

/// The interrupts that CPUs below 64 were sent and a test has not taken: a bit for each kind.
static SENT: [AtomicU32; MAXIMUM_CPUS] = [const { AtomicU32::new(0) }; MAXIMUM_CPUS];

/// Whether `cpu` was sent `interrupt` since this was asked last. Nothing arrives by itself on this machine: who plays the CPU looks.
#[must_use]
pub fn take_interrupt(cpu: CpuId, interrupt: InterProcessorInterrupt) -> bool {
    let bit = 1 << interrupt as u32;
    SENT.get(cpu.0 as usize).is_some_and(|sent| sent.fetch_and(!bit, Ordering::SeqCst) & bit != 0)
}

impl super::Topology for Hosted {}
impl super::InterruptReport for Hosted {}
impl super::Speculation for Hosted {}

impl super::InterProcessor for Hosted {
    fn listed_cpus() -> CpuMask {
        CpuMask::ALL
    }
    fn interrupt(targets: CpuMask, interrupt: InterProcessorInterrupt) {
        for sent in targets.iter().filter_map(|cpu| SENT.get(cpu.0 as usize)) {
            sent.fetch_or(1 << interrupt as u32, Ordering::SeqCst);
        }
    }
}

impl Cpu for Hosted {
    fn interrupts_are_enabled() -> bool {
        INTERRUPTS.get()
    }
    fn enable_interrupts() {
        INTERRUPTS.set(true);
    }
    fn disable_interrupts() {
        INTERRUPTS.set(false);
    }
    fn wait_for_interrupt() {
        INTERRUPTS.set(true);
        std::thread::yield_now();
    }
    fn relax() {
        std::hint::spin_loop();
        std::thread::yield_now();
    }
    fn synchronize_instructions() {}
    fn local() -> &'static CpuLocal {
        LOCAL.with(|local| *local)
    }
    fn disable_preemption() {
        Self::local().preemption_counter().fetch_add(1, Ordering::Relaxed);
    }
    fn enable_preemption() -> bool {
        let local = Self::local();
        local.preemption_counter().fetch_sub(1, Ordering::Relaxed) == 1 && local.need_reschedule()
    }
    fn preemption_count() -> u32 {
        Self::local().preemption_counter().load(Ordering::Relaxed)
    }
    fn current_thread() -> *const super::ThreadHead {
        Self::local().current_thread()
    }
    unsafe fn set_current_thread(thread: *const super::ThreadHead) {
        Self::local().set_current_thread(thread);
    }
    fn frame_pointer() -> VirtualAddress {
        VirtualAddress::new(0)
    }
    fn random() -> Option<u64> {
        None
    }
    fn halt() -> ! {
        std::process::abort()
    }
}

impl Mmu for Hosted {
    const COHERENT_INSTRUCTIONS: bool = false;
    const USER_END: VirtualAddress = VirtualAddress::new(0x7fff_ffff_f000);
    fn physmap_base() -> VirtualAddress {
        VirtualAddress::new(physical_memory())
    }
    fn active_root() -> PhysicalAddress {
        PhysicalAddress::new(ROOT.get())
    }
    unsafe fn activate(root: PhysicalAddress, _tag: u16) {
        ROOT.set(root.value());
    }
    fn invalidate_page(_address: VirtualAddress) {
        INVALIDATIONS.set(INVALIDATIONS.get() + 1);
    }
    fn invalidate_all() {
        INVALIDATIONS.set(INVALIDATIONS.get() + 1);
    }
    fn synchronise_instructions(_start: VirtualAddress, length: usize) {
        SYNCHRONISED.set(SYNCHRONISED.get() + length as u64);
    }
}

/// Calls `each` with a host pointer and length for every piece of the user range that lies in one page.
fn for_each_piece(
    start: VirtualAddress,
    length: usize,
    access: AccessKind,
    mut each: impl FnMut(usize, *mut u8, usize),
) -> Result<(), UserFault> {
    let translator = TRANSLATOR.get().ok_or(UserFault)?;
    let end = start.checked_add(length as u64).ok_or(UserFault)?;
    if end > Hosted::USER_END {
        return Err(UserFault);
    }
    let mut done = 0;
    while done < length {
        let address = start.offset(done as u64);
        let count = (PAGE_SIZE - address.page_offset()).min(length - done);
        let physical = translator(Hosted::active_root(), address, access).ok_or(UserFault)?;
        each(done, (Hosted::physmap_base().value() + physical.value()) as *mut u8, count);
        done += count;
    }
    Ok(())
}

impl UserAccess for Hosted {
    fn copy_from_user(target: &mut [u8], source: VirtualAddress) -> Result<(), UserFault> {
        let out = target.as_mut_ptr();
        // SAFETY: the translator gives addresses inside the emulated memory; pieces lie inside `target`.
        for_each_piece(source, target.len(), AccessKind::Read, |at, pointer, count| unsafe {
            core::ptr::copy_nonoverlapping(pointer, out.add(at), count);
        })
    }
    fn copy_to_user(target: VirtualAddress, source: &[u8]) -> Result<(), UserFault> {
        let from = source.as_ptr();
        // SAFETY: as above.
        for_each_piece(target, source.len(), AccessKind::Write, |at, pointer, count| unsafe {
            core::ptr::copy_nonoverlapping(from.add(at), pointer, count);
        })
    }
    fn zero_user(target: VirtualAddress, length: usize) -> Result<(), UserFault> {
        // SAFETY: as above.
        for_each_piece(target, length, AccessKind::Write, |_, pointer, count| unsafe {
            core::ptr::write_bytes(pointer, 0, count);
        })
    }
    fn copy_string_from_user(target: &mut [u8], source: VirtualAddress) -> Result<Option<usize>, UserFault> {
        for (index, byte) in target.iter_mut().enumerate() {
            Self::copy_from_user(core::slice::from_mut(byte), source.offset(index as u64))?;
            if *byte == 0 {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }
    fn load_u32(source: VirtualAddress) -> Result<u32, UserFault> {
        let mut bytes = [0; 4];
        Self::copy_from_user(&mut bytes, source)?;
        Ok(u32::from_ne_bytes(bytes))
    }
    fn compare_exchange_u32(target: VirtualAddress, expected: u32, new: u32) -> Result<u32, UserFault> {
        let mut found = 0;
        for_each_piece(target, 4, AccessKind::Write, |_, pointer, _| {
            // SAFETY: an aligned word inside the emulated memory (callers check alignment).
            let word = unsafe { AtomicU32::from_ptr(pointer.cast()) };
            found = match word.compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(value) | Err(value) => value,
            };
        })?;
        Ok(found)
    }
}

impl ContextSwitch for Hosted {
    unsafe fn switch(_save: *mut (), _load: *const ()) {}
    const OFFSETS: &'static [usize] = &[];
    fn set_kernel_stack(top: VirtualAddress) {
        Self::local().set_kernel_stack(top);
    }
    fn set_thread_pointer(value: u64) {
        THREAD_POINTER.set(value);
    }
    fn thread_pointer() -> u64 {
        THREAD_POINTER.get()
    }
    fn set_second_thread_pointer(value: u64) {
        SECOND_THREAD_POINTER.set(value);
    }
    fn second_thread_pointer() -> u64 {
        SECOND_THREAD_POINTER.get()
    }
    unsafe fn enter_user(_frame: &TrapFrame) -> ! {
        std::process::abort()
    }
}

impl TimerHardware for Hosted {
    fn now() -> Nanoseconds {
        Nanoseconds(NOW.load(Ordering::Relaxed))
    }
    fn set_alarm(_deadline: Nanoseconds) {}
    fn read_wall_clock() -> Option<u64> {
        Some(1_000_000_000)
    }
}

impl SerialConsole for Hosted {
    const INPUT_LINE: u32 = 4;
    const DRIVER: &'static str = "ttyS";
    const DEVICE_NAME: &'static str = "ttyS0";
    const DEFAULT_SPEED: u32 = 9600;
    const DEVICE_NUMBER: (u32, u32) = (4, 64);
    fn write_console(bytes: &[u8]) {
        use std::io::Write;
        // Like a serial port with nothing attached, a closed standard error loses what is written.
        let _ = std::io::stderr().write_all(bytes);
    }
    fn read_console() -> Option<u8> {
        None
    }
    fn enable_console_interrupt() {}
    fn disable_console_interrupt() {}
}

impl super::SharedObject for Hosted {}

impl Power for Hosted {
    fn power_off() -> ! {
        std::process::exit(0)
    }
    fn exit(status: u8) -> ! {
        std::process::exit(status.into())
    }
    fn reboot() -> ! {
        std::process::exit(0)
    }
}

/// The emulated machine's registers.
#[derive(Clone, Default, Debug)]
pub struct HostedFrame {
    /// Arguments.
    pub arguments: [u64; 6],
    /// The call number.
    pub number: Option<u64>,
    /// The result.
    pub result: u64,
    /// Program counter.
    pub instruction_pointer: u64,
    /// Stack pointer.
    pub stack_pointer: u64,
}

impl core::fmt::Display for HostedFrame {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{self:x?}")
    }
}

impl Registers for HostedFrame {
    fn for_program(entry: VirtualAddress, stack: VirtualAddress) -> Self {
        Self { instruction_pointer: entry.value(), stack_pointer: stack.value(), ..Self::default() }
    }
    fn is_user(&self) -> bool {
        true
    }
    fn system_call_number(&self) -> Option<u64> {
        self.number
    }
    fn arguments(&self) -> [u64; 6] {
        self.arguments
    }
    fn result(&self) -> u64 {
        self.result
    }
    fn set_result(&mut self, value: u64) {
        self.result = value;
    }
    fn instruction_pointer(&self) -> VirtualAddress {
        VirtualAddress::new(self.instruction_pointer)
    }
    fn set_instruction_pointer(&mut self, address: VirtualAddress) {
        self.instruction_pointer = address.value();
    }
    fn stack_pointer(&self) -> VirtualAddress {
        VirtualAddress::new(self.stack_pointer)
    }
    fn set_stack_pointer(&mut self, address: VirtualAddress) {
        self.stack_pointer = address.value();
    }
    fn frame_pointer(&self) -> VirtualAddress {
        VirtualAddress::new(0)
    }
    fn rewind_system_call(&mut self) {
        self.instruction_pointer = self.instruction_pointer.wrapping_sub(2);
    }
    fn rewind_as(&mut self, number: u64) {
        self.number = Some(number);
        self.rewind_system_call();
    }
    fn forget_system_call(&mut self) {
        self.number = None;
    }
}

/// The emulated machine's signal frame: the context as words, then the `siginfo`.
const FRAME_WORDS: usize = 8;

impl SignalFrame for HostedFrame {
    fn push_signal(&mut self, delivery: &SignalDelivery<'_>) -> Result<(), UserFault> {
        let top = delivery.switch_to.map_or(self.stack_pointer, VirtualAddress::value);
        let frame = top.checked_sub(FRAME_WORDS as u64 * 8 + 128).ok_or(UserFault)? & !15;
        if delivery.limit.is_some_and(|limit| frame <= limit.value()) {
            return Err(UserFault);
        }
        let words = [
            delivery.mask,
            delivery.stack.base,
            delivery.stack.size,
            delivery.stack.flags.into(),
            self.instruction_pointer,
            self.stack_pointer,
            self.result,
            delivery.restorer.value(),
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Hosted::copy_to_user(VirtualAddress::new(frame), &bytes)?;
        if let Some(information) = delivery.information {
            Hosted::copy_to_user(VirtualAddress::new(frame + bytes.len() as u64), information)?;
        }
        self.arguments = [delivery.signal.into(), frame + bytes.len() as u64, frame, 0, 0, 0];
        self.stack_pointer = frame;
        self.instruction_pointer = delivery.handler.value();
        self.number = None;
        Ok(())
    }
    fn pop_signal(&mut self) -> Result<SavedSignalContext, UserFault> {
        let mut bytes = [0; FRAME_WORDS * 8];
        Hosted::copy_from_user(&mut bytes, VirtualAddress::new(self.stack_pointer))?;
        let mut words = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
        let mut next = || words.next().unwrap_or(0);
        let saved = SavedSignalContext {
            mask: next(),
            stack: SignalStack { base: next(), size: next(), flags: next() as u32 },
            destination: Destination::Reachable,
        };
        (self.instruction_pointer, self.stack_pointer, self.result) = (next(), next(), next());
        self.number = None;
        Ok(saved)
    }
    fn signal_frame_size() -> usize {
        FRAME_WORDS * 8 + 128 + 15
    }
}

/// The emulated machine has no vector registers.
#[derive(Debug)]
pub struct HostedExtendedState;

impl ExtendedStateOperations for HostedExtendedState {
    fn initial() -> Option<Self> {
        Some(Self)
    }
    fn try_clone(&self) -> Option<Self> {
        Some(Self)
    }
    fn save(&mut self) {}
    fn restore(&self) {}
    fn reset(&mut self) {}
}
