//! `execve`: a process becomes another program.
//!
//! 1. The file is opened, checked and its headers read; `#!` scripts lead to their interpreter, at most five times. Arguments are
//!    copied out of the old program. Until here every failure is an error for the caller, who goes on.
//! 2. The point of no return: the other threads of the process end, and the caller takes the process's number.
//! 3. A new address space is filled (nothing is read but headers: pages come in when they are touched) and takes the old one's place.
//!    A failure from here on ends the process with `SIGSEGV`, as on Linux.
//! 4. What a program does not keep is reset: signal handlers, descriptors marked close-on-exec, vector registers, the alternate stack.
//!
//! Lock order: none of this room's locks is held over anything here; the address space's own lock is taken inside.

#![allow(unsafe_code, reason = "replaces the address space of the only thread of a process")]

pub mod arguments;
pub mod elf;
pub mod load;
pub mod script;
pub mod stack;

use super::dispatch;
use super::exit;
use super::program::{DeniedWriters, Program};
use super::signal::Ending;
use super::thread::current_thread;
use super::{ExitStatus, Process, Thread, table};
use crate::arch::{
    Current, ExtendedState, ExtendedStateOperations, Machine, Mmu, Registers, SharedObject, SignalFrame, TrapFrame,
};
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress, VirtualRange};
use crate::fs::file_table::close_file;
use crate::fs::mount::MountFlags;
use crate::fs::open::{open_checked, open_existing};
use crate::fs::permission::{self, Access};
use crate::fs::walk::{LookupFlags, Walker};
use crate::fs::{FileType, Location, OpenFile, OpenFlags};
use crate::memory::address_space::{AddressSpace, Layout, MapFlags, MapRequest, MapSource, MemoryLimits, ObjectSource};
use crate::memory::area::Protection;
use crate::memory::object::MemoryObject;
use crate::memory::user::UserSlice;
use crate::security::{Credentials, ExecIdentity, random};
use crate::sync::Interruptible;
use alloc::sync::Arc;
use alloc::vec::Vec;
use arguments::Strings;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use elf::{Image, Placement};
use load::Executable;
use spin::Once;
use stack::{Contents, Stack};

use super::resource_limits::Resource;

/// How deep scripts may name scripts as their interpreters.
const SCRIPT_DEPTH: usize = 5;
/// `ADDR_NO_RANDOMIZE` of personality(2).
const NO_RANDOMIZATION: u32 = 0x0004_0000;

/// The shared object that the kernel maps into every program.
pub struct Vdso {
    /// Its pages, and the data pages that lie before it.
    pub object: Arc<dyn MemoryObject>,
    /// Bytes of data pages at the object's start: readable.
    pub data_length: u64,
    /// Bytes of the image after them: readable and executable.
    pub image_length: u64,
}

static VDSO: Once<Vdso> = Once::new();
static HARDWARE_CAPABILITIES: Once<[u64; 2]> = Once::new();

/// Registers the vDSO.
pub fn set_vdso(vdso: Vdso) {
    VDSO.call_once(|| vdso);
}

/// Says what `AT_HWCAP` and `AT_HWCAP2` are on this machine.
pub fn set_hardware_capabilities(capabilities: [u64; 2]) {
    HARDWARE_CAPABILITIES.call_once(|| capabilities);
}

/// Which file to execute.
#[derive(Debug)]
pub enum Target {
    /// This one, already found; `path` is what `AT_EXECFN` says.
    Found {
        /// Where it is.
        location: Location,
        /// Its name for the program.
        path: Vec<u8>,
        /// Whether the name leads to it after `execve` (it does not for a descriptor that is closed by it).
        reachable: Reachable,
    },
    /// The one at this path.
    Path(Vec<u8>),
}

/// See [`Target::Found`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reachable {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// Everything that was found out before the point of no return.
struct Prepared {
    file: Arc<OpenFile>,
    image: Image,
    interpreter: Option<(Arc<OpenFile>, Image)>,
    path: Vec<u8>,
    arguments: Strings,
    environment: Strings,
    credentials: Credentials,
    secure: bool,
    /// Writers are kept out of these until the process has gone on to another program.
    denied: Vec<DeniedWriters>,
}

/// Becomes the program `target` with these strings. On success `frame` has the registers that it starts with.
///
/// # Errors
/// As `execve(2)`. Does not return when it fails after the point of no return, or when the process ends meanwhile.
pub fn execute(
    thread: &Arc<Thread>,
    frame: &mut TrapFrame,
    target: Target,
    arguments: Strings,
    environment: Strings,
) -> Result<()> {
    let prepared = prepare(thread, target, arguments, environment)?;
    become_only_thread(thread)?;
    match replace(thread, prepared) {
        Ok(new_frame) => {
            *frame = new_frame;
            Ok(())
        }
        Err(error) => {
            log::debug!("execve failed beyond the point of no return: {error}");
            exit::exit_group(ExitStatus::killed(SIGSEGV))
        }
    }
}

/// `SIGSEGV`, the same on both machines.
const SIGSEGV: u32 = 11;

/// Has the running kernel thread (the first process) become a program when its function returns.
///
/// # Errors
/// As [`execute`].
pub fn become_program(path: &[u8], arguments: &[&[u8]], environment: &[&[u8]]) -> Result<()> {
    let thread = current_thread();
    let (mut argument_strings, mut environment_strings) = (Strings::new(), Strings::new());
    for argument in arguments {
        argument_strings.push(argument)?;
    }
    for variable in environment {
        environment_strings.push(variable)?;
    }
    let mut frame = TrapFrame::default();
    execute(&thread, &mut frame, Target::Path(path.to_vec()), argument_strings, environment_strings)?;
    // SAFETY: the caller is the thread, which has not entered user mode; its function returns to where this frame is used.
    unsafe { thread.set_user_frame(&frame) };
    Ok(())
}

fn open_program(location: Location, credentials: &Credentials) -> Result<Arc<OpenFile>> {
    if location.inode().header().file_type() != FileType::Regular {
        return Err(Errno::EACCES);
    }
    permission::check_location(&location, credentials, Access::EXECUTE)?;
    open_checked(location, OpenFlags::empty(), credentials)
}

fn find_program(thread: &Thread, path: &[u8], credentials: &Credentials) -> Result<Arc<OpenFile>> {
    let context = thread.file_system();
    let walker = Walker { context: &context, credentials };
    open_program(walker.resolve(None, path, LookupFlags::FOLLOW)?, credentials)
}

fn prepare(thread: &Arc<Thread>, target: Target, mut arguments: Strings, environment: Strings) -> Result<Prepared> {
    let credentials = thread.credentials();
    if arguments.count() == 0 {
        // A program without a name trips over itself; Linux gives it an empty one.
        arguments.push(b"")?;
    }
    let (mut file, path, reachable) = match target {
        Target::Path(path) => (find_program(thread, &path, &credentials)?, path, Reachable::Yes),
        Target::Found { location, path, reachable } => (open_program(location, &credentials)?, path, reachable),
    };
    let mut denied = Vec::new();
    denied.push(DeniedWriters::new(&file)?);
    let mut script_path = path.clone();
    let mut depth = 0;
    let image = loop {
        let head = load::read_head(&file)?;
        let Some(line) = script::parse(&head)? else { break load::read_image(&file, &head)? };
        depth += 1;
        if depth > SCRIPT_DEPTH {
            return Err(Errno::ELOOP);
        }
        if reachable == Reachable::No {
            return Err(Errno::ENOENT);
        }
        match line.argument {
            Some(argument) => arguments.replace_first(&[line.interpreter, argument, &script_path])?,
            None => arguments.replace_first(&[line.interpreter, &script_path])?,
        }
        script_path = line.interpreter.to_vec();
        file = find_program(thread, line.interpreter, &credentials)?;
        denied.push(DeniedWriters::new(&file)?);
    };
    let interpreter = match image.interpreter {
        Some((offset, length)) => Some(find_interpreter(thread, &file, offset, length, &credentials, &mut denied)?),
        None => None,
    };
    let (credentials, secure) = credentials.prepare_exec(identity_of(&file));
    Ok(Prepared { file, image, interpreter, path, arguments, environment, credentials, secure, denied })
}

fn find_interpreter(
    thread: &Arc<Thread>,
    file: &OpenFile,
    offset: u64,
    length: usize,
    credentials: &Credentials,
    denied: &mut Vec<DeniedWriters>,
) -> Result<(Arc<OpenFile>, Image)> {
    let name = load::read_exactly(file, offset, length)?;
    let Some((0, name)) = name.split_last() else { return Err(Errno::ENOEXEC) };
    let name = name.split(|byte| *byte == 0).next().unwrap_or(&[]);
    let interpreter = find_program(thread, name, credentials)?;
    denied.push(DeniedWriters::new(&interpreter)?);
    let head = load::read_head(&interpreter)?;
    if head.len() < elf::HEADER_SIZE {
        return Err(Errno::EIO);
    }
    let image = load::read_image(&interpreter, &head).map_err(|error| match error {
        Errno::ENOEXEC | Errno::EINVAL => Errno::ELIBBAD,
        other => other,
    })?;
    Ok((interpreter, image))
}

/// The set-ID bits that count.
fn identity_of(file: &OpenFile) -> ExecIdentity {
    const SET_UID: u32 = 0o4000;
    const SET_GID_AND_EXECUTE: u32 = 0o2010;
    let mut identity = ExecIdentity::default();
    if let Some(location) = file.location()
        && !location.mount.flags().contains(MountFlags::NO_SET_UID)
    {
        let header = location.inode().header();
        let mode = header.mode();
        if mode & SET_UID != 0 {
            identity.set_uid = Some(header.uid());
        }
        if mode & SET_GID_AND_EXECUTE == SET_GID_AND_EXECUTE {
            identity.set_gid = Some(header.gid());
        }
    }
    identity
}

/// The point of no return: the other threads end, and the caller takes the process's number.
fn become_only_thread(thread: &Arc<Thread>) -> Result<()> {
    let process = thread.process();
    if process.live_threads.load(Acquire) > 1 {
        if process.executing.swap(true, AcqRel) {
            return Err(Errno::EAGAIN);
        }
        let alone = loop {
            process.signals.kill_threads(Some(&thread.signals), Ending::Threads);
            let count = process.live_threads.load(Acquire);
            if count == 1 {
                break Ok(());
            }
            // Again after each that ends: it may have made another one just before.
            let fewer = process
                .end_event
                .wait_until(None, Interruptible::ByKill, || (process.live_threads.load(Acquire) < count).then_some(()));
            if fewer.is_err() || process.is_exiting() {
                break Err(Errno::EAGAIN);
            }
        };
        process.executing.store(false, Release);
        alone?;
    }
    if thread.tid() != process.pid() {
        let mut table = table::lock();
        let entry = table.remove_thread(thread.tid());
        thread.set_tid(process.pid());
        table.insert_thread(process.pid(), thread.clone());
        drop(table);
        drop(entry);
    }
    Ok(())
}

/// The addresses that are drawn for a program.
struct Places {
    stack_end: VirtualAddress,
    mmap_base: VirtualAddress,
    dynamic_base: u64,
}

fn random_pages(bits: u32) -> u64 {
    (random::number() & ((1 << bits) - 1)) * PAGE_SIZE as u64
}

fn draw_places(process: &Process, stack_limit: u64) -> Places {
    const SMALLEST_GAP: u64 = 128 << 20;
    const STACK_BITS: u32 = 22;
    const MMAP_BITS: u32 = 28;
    let user_end = Current::USER_END.value();
    let draws = process.personality() & NO_RANDOMIZATION == 0;
    let draw = |bits| if draws { random_pages(bits) } else { 0 };
    let gap = stack_limit.clamp(SMALLEST_GAP, user_end / 6 * 5) + if draws { 17 << 30 } else { 2 << 20 };
    let gap = gap.min(user_end / 6 * 5) & !(PAGE_SIZE as u64 - 1);
    Places {
        stack_end: VirtualAddress::new(user_end - draw(STACK_BITS)),
        mmap_base: VirtualAddress::new(user_end - gap - draw(MMAP_BITS)),
        dynamic_base: (user_end / 3 * 2 + draw(MMAP_BITS)) & !(PAGE_SIZE as u64 - 1),
    }
}

/// Where the parts of an image go.
fn base_of(image: &Image, wanted: u64) -> u64 {
    match image.placement {
        Placement::Fixed => image.first,
        Placement::Relative => wanted & !(image.alignment - 1),
    }
}

fn replace(thread: &Arc<Thread>, prepared: Prepared) -> Result<TrapFrame> {
    let process = thread.process();
    let space = AddressSpace::new().ok_or(Errno::ENOMEM)?;
    let limits = memory_limits(process);
    space.set_limits(limits);
    let places = draw_places(process, limits.stack);
    let image = &prepared.image;
    // A program that loads itself (no interpreter) goes where libraries go; so does an interpreter.
    let mut top = places.mmap_base.value();
    let mut below = |image: &Image| {
        let base = base_of(image, top.saturating_sub(image.span()));
        if image.placement == Placement::Relative {
            top = base;
        }
        base
    };
    let (base, heap_base) = match (&prepared.interpreter, image.placement) {
        (Some(_), Placement::Relative) => (base_of(image, places.dynamic_base), None),
        (None, Placement::Relative) => (below(image), Some(places.dynamic_base)),
        (_, Placement::Fixed) => (image.first, None),
    };
    let bias = base.wrapping_sub(image.first);
    let interpreter_base = prepared.interpreter.as_ref().map(|(_, interpreter)| below(interpreter));
    let vdso = VDSO.get();
    let vdso_base = vdso.map(|vdso| (top - vdso.data_length - vdso.image_length) & !(PAGE_SIZE as u64 - 1));

    let contents = Contents {
        end: places.stack_end,
        arguments: &prepared.arguments,
        environment: &prepared.environment,
        path: &prepared.path,
        platform: Current::PLATFORM.as_bytes(),
        random: random_bytes(),
        gap: random::number() % 8192,
    };
    let entry = image.entry.wrapping_add(bias);
    let auxiliary = auxiliary_vector(&prepared, bias, entry, interpreter_base, vdso_base.zip(vdso));
    let stack = Stack::build(&contents, auxiliary)?;
    let mut layout = layout(image, bias, heap_base, &places, &stack, process);
    if let Some(((base, vdso), offset)) = vdso_base.zip(vdso).zip(Current::signal_return_offset()) {
        layout.signal_return = VirtualAddress::new(base + vdso.data_length + offset);
    }
    space.set_layout(layout);
    let executable = if image.executable_stack { Executable::Yes } else { Executable::No };
    load::map_stack(&space, places.stack_end, places.stack_end.value() - stack.pointer.value(), executable)?;
    let loaded = load::map_image(&space, &prepared.file, image, base)?;
    let mut start = entry;
    let mut interpreter_loaded = None;
    if let (Some((file, interpreter)), Some(base)) = (&prepared.interpreter, interpreter_base) {
        let loaded = load::map_image(&space, file, interpreter, base)?;
        start = interpreter.entry.wrapping_add(loaded.bias);
        interpreter_loaded = Some(loaded);
    }
    if let (Some(vdso), Some(base)) = (vdso, vdso_base) {
        map_vdso(&space, vdso, base)?;
    }

    switch_space(thread, space);
    loaded.zero_tails();
    if let Some(loaded) = interpreter_loaded {
        loaded.zero_tails();
    }
    for (address, bytes) in [
        (stack.pointer, stack.bytes.as_slice()),
        (stack.arguments.start, prepared.arguments.bytes()),
        (stack.environment.start, prepared.environment.bytes()),
        (stack.environment.end, stack.tail.as_slice()),
    ] {
        UserSlice::new(address, bytes.len()).write(bytes)?;
    }
    settle(thread, prepared, stack.auxiliary)?;
    Ok(TrapFrame::for_program(VirtualAddress::new(start), stack.pointer))
}

/// The limits of `process` that its address space enforces.
fn memory_limits(process: &Process) -> MemoryLimits {
    let limits = process.limits.lock();
    MemoryLimits {
        address_space: limits.soft(Resource::AddressSpace),
        data: limits.soft(Resource::Data),
        stack: limits.soft(Resource::Stack),
        locked: limits.soft(Resource::LockedMemory),
    }
}

fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    bytes
}

fn auxiliary_vector(
    prepared: &Prepared,
    bias: u64,
    entry: u64,
    interpreter_base: Option<u64>,
    vdso: Option<(u64, &Vdso)>,
) -> Vec<[u64; 2]> {
    let image = &prepared.image;
    let credentials = &prepared.credentials;
    let [capabilities, more_capabilities] = HARDWARE_CAPABILITIES.get().copied().unwrap_or_default();
    let table = if image.table_address == 0 { 0 } else { image.table_address.wrapping_add(bias) };
    let mut vector = Vec::with_capacity(24);
    if let Some((base, vdso)) = vdso {
        vector.push([stack::AT_SYSINFO_EHDR, base + vdso.data_length]);
    }
    vector.extend([
        [stack::AT_MINSIGSTKSZ, <TrapFrame as SignalFrame>::signal_frame_size() as u64],
        [stack::AT_HWCAP, capabilities],
        [stack::AT_PAGESZ, PAGE_SIZE as u64],
        [stack::AT_CLKTCK, 100],
        [stack::AT_PHDR, table],
        [stack::AT_PHENT, elf::PROGRAM_HEADER_SIZE as u64],
        [stack::AT_PHNUM, u64::from(image.table_count)],
        [stack::AT_BASE, interpreter_base.unwrap_or(0)],
        [stack::AT_FLAGS, 0],
        [stack::AT_ENTRY, entry],
        [stack::AT_UID, u64::from(credentials.uid)],
        [stack::AT_EUID, u64::from(credentials.euid)],
        [stack::AT_GID, u64::from(credentials.gid)],
        [stack::AT_EGID, u64::from(credentials.egid)],
        [stack::AT_SECURE, u64::from(prepared.secure)],
        [stack::AT_HWCAP2, more_capabilities],
    ]);
    vector
}

fn layout(
    image: &Image,
    bias: u64,
    heap_base: Option<u64>,
    places: &Places,
    stack: &Stack,
    process: &Process,
) -> Layout {
    const HEAP_BITS: u32 = 13;
    let (mut code, mut data) = (VirtualRange::default(), VirtualRange::default());
    for segment in &image.segments {
        let start = VirtualAddress::new(segment.start.wrapping_add(bias));
        let range = VirtualRange { start, end: start.offset(segment.file_size) };
        if segment.flags & ::elf::abi::PF_X != 0 && code == VirtualRange::default() {
            code = range;
        }
        data = range;
    }
    let mut heap = heap_base.unwrap_or_else(|| image.end.wrapping_add(bias));
    if process.personality() & NO_RANDOMIZATION == 0 {
        heap += random_pages(HEAP_BITS);
    }
    Layout {
        mmap_base: places.mmap_base,
        code,
        data,
        heap_start: VirtualAddress::new(heap),
        stack_start: stack.pointer,
        arguments: stack.arguments,
        environment: stack.environment,
        signal_return: VirtualAddress::default(),
    }
}

fn map_vdso(space: &AddressSpace, vdso: &Vdso, base: u64) -> Result<()> {
    let parts = [
        (0, vdso.data_length, Protection::READ),
        (vdso.data_length, vdso.image_length, Protection::READ | Protection::EXECUTE),
    ];
    for (offset, length, protection) in parts {
        if length == 0 {
            continue;
        }
        let source = ObjectSource { object: vdso.object.clone(), offset, maximum: protection };
        let request = MapRequest::anonymous(length, protection)
            .at(VirtualAddress::new(base + offset))
            .of(MapSource::Private(source))
            .with(MapFlags::SPECIAL);
        space.map(&request)?;
    }
    Ok(())
}

/// Puts the new address space in the old one's place; what waits for the old one to be left hears of it.
fn switch_space(thread: &Arc<Thread>, space: Arc<AddressSpace>) {
    if thread.is_user() {
        exit::leave_memory(thread);
    }
    let root = space.root();
    // SAFETY: the caller is the only thread of its process.
    let old = unsafe { thread.process().replace_address_space(Some(space)) };
    dispatch::use_address_space(thread, root);
    drop(old);
}

/// What a program does not keep from the one before it.
fn settle(thread: &Arc<Thread>, prepared: Prepared, auxiliary_vector: Vec<[u64; 2]>) -> Result<()> {
    let process = thread.process();
    process.signals.reset_for_exec(&thread.signals);
    process.timers.posix.clear();
    process.exit_signal.store(17, Relaxed);
    process.executed.store(true, Relaxed);
    thread.robust_list.store(0, Relaxed);
    thread.set_child_tid.store(0, Relaxed);
    if prepared.secure {
        thread.parent_death_signal.store(0, Relaxed);
    }
    unshare_files(thread)?;
    let name = prepared.path.rsplit(|byte| *byte == b'/').next().unwrap_or(&[]);
    thread.set_name(name);
    process.set_program(Some(Arc::new(Program { file: prepared.file, auxiliary_vector, _denied: prepared.denied })));
    thread.set_credentials(Arc::new(prepared.credentials));
    // SAFETY: the area is the running thread's own.
    let state = unsafe { &mut *thread.extended_state.get() };
    if state.is_none() {
        *state = Some(ExtendedState::initial().ok_or(Errno::ENOMEM)?);
    }
    dispatch::reset_user_registers(thread);
    Ok(())
}

/// Gives the thread descriptors of its own, without those that are marked close-on-exec.
fn unshare_files(thread: &Arc<Thread>) -> Result<()> {
    let mut files = thread.files();
    if Arc::strong_count(&files) > 2 {
        let own = Arc::new(files.duplicate());
        if let Some(shared) = thread.replace_files(Some(own.clone())) {
            exit::release_files(shared);
        }
        files = own;
    }
    let owner = Arc::as_ptr(&files).addr() as u64;
    for file in files.remove_marked() {
        close_file(file, owner);
    }
    Ok(())
}

/// Opens a file for the kernel's own use by path, as the running thread: `/init`, the console.
///
/// # Errors
/// As `open(2)`.
pub fn open_by_path(path: &[u8], flags: OpenFlags) -> Result<Arc<OpenFile>> {
    let thread = current_thread();
    let (context, credentials) = (thread.file_system(), thread.credentials());
    let walker = Walker { context: &context, credentials: &credentials };
    open_existing(walker.resolve(None, path, LookupFlags::FOLLOW)?, flags, &credentials)
}
