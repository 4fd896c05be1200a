//! Starts room after room, from the hardware upwards; then the boot path becomes the idle thread, and [`init`] the first process.

#![allow(unsafe_code, reason = "vouches for the memory map that the boot protocol gave")]

use crate::panic;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use ashlar_kernel::arch::boot_information::{BootInformation, MemoryKind, PhysicalRange};
use ashlar_kernel::arch::latency;
use ashlar_kernel::arch::{
    ControllerChoice, Current, Mmu, Power, SerialConsole, SharedObject, Startup, boot_information,
};
use ashlar_kernel::base::command_line::{CommandLine, ExitReport, TraceSelection};
use ashlar_kernel::base::{Errno, FrameNumber, PAGE_SHIFT, PAGE_SIZE};
use ashlar_kernel::fs::{self, FileTable, FsContext};
use ashlar_kernel::memory::frame::Frame;
use ashlar_kernel::memory::frame_allocator::{self, FrameRange, MemoryMap};
use ashlar_kernel::memory::numa;
use ashlar_kernel::memory::object::KernelPages;
use ashlar_kernel::process::call_trace::TraceTarget;
use ashlar_kernel::{device, memory, process, pseudofs, syscall, time};
use spin::Once;

static COMMAND_LINE: Once<CommandLine> = Once::new();

/// The command line's meaning.
fn command_line() -> &'static CommandLine {
    COMMAND_LINE.call_once(|| CommandLine::parse(&boot_information().command_line))
}

/// Called by the machine's entry code when [`boot_information`] is there and faults are reported.
pub fn start() -> ! {
    ashlar_kernel::log::initialize();
    let information = boot_information();
    crate::heap::register();
    start_memory(information);
    apply_command_line();
    log::info!("Ashlar {} {}", env!("CARGO_PKG_VERSION"), <Current as ashlar_kernel::arch::Machine>::NAME);
    log::info!("Kernel command line: {}", information.command_line);
    if !command_line().unknown.is_empty() {
        let unknown = command_line().unknown.join(" ");
        log::info!("Unknown kernel command line parameters \"{unknown}\", will be passed to user space.");
    }
    let memory = frame_allocator::statistics();
    log::info!("Memory: {} KiB of {} KiB free", memory.free * 4, memory.total * 4);
    if numa::has_several_nodes() {
        // Found before the command line has said how much the console is to show.
        log::info!("NUMA: {} nodes", numa::topology().node_count());
    }
    let image = information.kernel_image;
    log::info!("Kernel image at {:#x}, {} KiB", image.start.value(), image.length() / 1024);
    let choice = if command_line().legacy_interrupts { ControllerChoice::Legacy } else { ControllerChoice::Best };
    Current::initialize_interrupts(choice);
    process::initialize();
    process::signal::initialize();
    process::out_of_memory::initialize();
    process::trap::set_system_call_dispatcher(syscall::dispatch::dispatch);
    process::futex::initialize();
    device::initialize();
    pseudofs::initialize();
    install_shared_object();
    Current::enable_console_interrupt();
    time::initialize();
    process::secondary::start(process::secondary::Wanted {
        possible: command_line().possible_cpus,
        initial: command_line().initial_cpus,
    });
    if process::start_init(init).is_err() {
        log::error!("no memory for the first process");
        Current::exit(1);
    }
    if let Err(error) = device::start_threads() {
        log::error!("no console thread: {error}");
    }
    process::run_idle()
}

/// Gives every program the machine's vDSO.
fn install_shared_object() {
    process::exec::set_hardware_capabilities(Current::hardware_capabilities());
    let Some(image) = Current::shared_object() else { return };
    let mut code = Vec::new();
    let Some(data) = Frame::allocate_zeroed() else { return };
    // SAFETY: the frame is owned by the object below for good; programs map it without the right to write.
    unsafe { Current::set_shared_data(memory::physmap::address_of(data.number().address())) };
    for page in image.chunks(PAGE_SIZE) {
        let Some(frame) = Frame::allocate_zeroed() else { return };
        frame.write(0, page);
        code.push(frame);
    }
    let object = Arc::new(KernelPages::new(Vec::from([("[vvar]", Vec::from([data])), ("[vdso]", code)])));
    let (data_length, image_length) = (PAGE_SIZE as u64, image.len() as u64);
    process::exec::set_vdso(process::exec::Vdso { object, data_length, image_length });
}

/// A physical range in whole frames: all that it touches, or only those that lie in it.
fn frames(range: PhysicalRange, touched: Touched) -> FrameRange {
    let mask = PAGE_SIZE as u64 - 1;
    let (start, end) = match touched {
        Touched::Partly => (range.start.value() >> PAGE_SHIFT, range.end.value().saturating_add(mask) >> PAGE_SHIFT),
        Touched::Wholly => (range.start.value().saturating_add(mask) >> PAGE_SHIFT, range.end.value() >> PAGE_SHIFT),
    };
    FrameRange { start: FrameNumber::new(start), count: end.saturating_sub(start) }
}

/// Which frames at a range's edges belong to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touched {
    Partly,
    Wholly,
}

fn start_memory(information: &BootInformation) {
    let mut usable: ArrayVec<FrameRange, 64> = ArrayVec::new();
    for region in &information.memory_regions {
        let end = region.start.offset(region.length);
        if region.kind == MemoryKind::Usable && !usable.is_full() {
            usable.push(frames(PhysicalRange { start: region.start, end }, Touched::Wholly));
        }
    }
    let reserved: ArrayVec<FrameRange, 8> =
        information.reserved.iter().map(|range| frames(*range, Touched::Partly)).collect();
    // `mem=` is an amount: the first memory is at 0 on one machine, at 1 GiB on another.
    let first = usable.iter().map(|range| range.start.value()).min().unwrap_or(0);
    let limit = ashlar_kernel::base::command_line::memory_limit(&information.command_line);
    numa::initialize(&usable);
    let nodes: ArrayVec<_, 64> = numa::topology().memory().take(64).collect();
    let map = MemoryMap {
        usable: &usable,
        reserved: &reserved,
        limit: limit.map(|bytes| FrameNumber::new(first.saturating_add(bytes >> PAGE_SHIFT))),
        nodes: &nodes,
    };
    // SAFETY: the boot protocol says that the usable ranges are memory; all that is in use of it is reserved, and physmap maps it.
    if let Err(error) = unsafe { frame_allocator::init_frame_allocator(&map) } {
        log::error!("the frame allocator cannot start: {error:?}");
    }
    if let Err(error) = memory::paging::kernel::initialize(Current::kernel_root()) {
        log::error!("the kernel's page tables cannot be taken over: {error:?}");
    }
}

fn apply_command_line() {
    let line = command_line();
    if let Some(level) = line.log_level {
        ashlar_kernel::log::set_console_level(level);
    }
    panic::set_action(line.panic_action);
    for console in &line.consoles {
        if device::console::configure(console) == device::console::Configured::NoSuchDevice {
            log::warn!("console={console}: no such device here; the console is {}", Current::DEVICE_NAME);
        }
    }
    let traced = match line.trace {
        TraceSelection::None => None,
        TraceSelection::Process(pid) => i32::try_from(pid).ok().map(TraceTarget::Process),
        TraceSelection::All => Some(TraceTarget::Everybody),
    };
    if let Some(target) = traced {
        process::call_trace::set(target);
        if line.log_level.is_none() {
            ashlar_kernel::log::set_console_level(ashlar_kernel::log::DEFAULT_CONSOLE_LEVEL + 1);
        }
    }
    match (line.measures_latency, latency::BUILT_IN) {
        (true, true) => latency::start(),
        (true, false) => {
            log::warn!("ashlar.latency=on: this kernel is built without debug assertions and cannot measure")
        }
        (false, _) => {}
    }
    if line.exit_report == ExitReport::Qemu {
        Current::enable_exit_report();
        process::exit::power_off_with_init();
    }
}

/// The first process, still in the kernel: fills the root file system and becomes a program.
fn init() {
    let context = match fs::root::mount_root() {
        Ok(context) => context,
        Err(error) => fail(&format!("no root file system: {error}")),
    };
    if let Err(error) = fs::initramfs::make_defaults(&context) {
        log::error!("the root file system's defaults: {error}");
    }
    unpack(&context);
    let thread = process::current_thread();
    process::thread::set_initial_file_system(context.clone());
    thread.set_file_system(Some(context));
    let _ = thread.replace_files(Some(Arc::new(FileTable::new())));
    open_console();
    run_first_program();
}

/// Becomes the first program that can be executed, tried in Linux's order.
fn run_first_program() {
    let line = command_line();
    if let Some(excess) = &line.too_many {
        fail(&format!("Too many boot {} vars at `{}'", excess.kind, excess.word));
    }
    let environment: Vec<&[u8]> = line.environment.iter().map(|variable| variable.as_bytes()).collect();
    let run = |path: &str| {
        let mut arguments: Vec<&[u8]> = Vec::from([path.as_bytes()]);
        arguments.extend(line.arguments.iter().map(|argument| argument.as_bytes()));
        log::info!("Run {path} as init process");
        process::exec::become_program(path.as_bytes(), &arguments, &environment)
    };
    let given = line.initial_program.as_deref().unwrap_or("/init");
    match run(given) {
        Ok(()) => return,
        // Without a word about it, as the programs below may be meant.
        Err(Errno::ENOENT) if line.initial_program.is_none() => {}
        Err(error) => log::error!("Failed to execute {given} (error -{})", error.number()),
    }
    if let Some(program) = line.program.as_deref() {
        match run(program) {
            Ok(()) => return,
            Err(error) => fail(&format!("Requested init {program} failed (error -{}).", error.number())),
        }
    }
    for path in ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"] {
        match run(path) {
            Ok(()) => return,
            Err(Errno::ENOENT) => {}
            Err(error) => {
                log::error!("Starting init: {path} exists but couldn't execute it (error -{})", error.number())
            }
        }
    }
    fail("No working init found.  Try passing init= or rdinit= to the kernel; docs/COMMAND_LINE.md says what is tried.")
}

#[expect(clippy::panic, reason = "as on Linux: without a first process there is nothing to do")]
fn fail(what: &str) -> ! {
    panic!("{what}")
}

/// Unpacks the initial RAM disk and gives its memory back.
fn unpack(context: &FsContext) {
    let Some(range) = boot_information().initrd else { return };
    let pointer = memory::physmap::pointer::<u8>(range.start);
    // SAFETY: the range was reserved from the frame allocator, and physmap maps it.
    let image = unsafe { core::slice::from_raw_parts(pointer, range.length() as usize) };
    let outcome = fs::initramfs::unpack(image, context);
    match outcome.failure {
        None => log::info!("Unpacked the initramfs: {} entries from {} KiB", outcome.entries, range.length() / 1024),
        Some(failure) => log::error!("Initramfs unpacking failed: {failure}"),
    }
    // SAFETY: the range was reserved at boot, and the image is not used after this.
    unsafe { frame_allocator::release_reserved(frames(range, Touched::Partly)) };
}

/// The console as descriptors 0, 1 and 2.
fn open_console() {
    let thread = process::current_thread();
    let files: Vec<_> = (0..3).filter_map(|_| device::console::open_for_init().ok()).collect();
    for file in files {
        if let Err(error) = thread.files().install(file, u64::MAX, fs::file_table::CloseOnExec::No) {
            log::error!("no console: {error}");
        }
    }
}
