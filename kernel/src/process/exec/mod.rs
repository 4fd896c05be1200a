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
mod place;
mod prepare;
pub mod script;
pub mod stack;

pub use place::{Vdso, set_hardware_capabilities, set_vdso};
pub use prepare::{Reachable, Target};

use super::dispatch;
use super::exit;
use super::program::Program;
use super::signal::Ending;
use super::thread::current_thread;
use super::{ExitStatus, Process, Thread, table};
use crate::arch::{Current, ExtendedState, ExtendedStateOperations, Machine, Registers, SharedObject, TrapFrame};
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress};
use crate::fs::file_table::close_file;
use crate::fs::open::open_existing;
use crate::fs::walk::{LookupFlags, Walker};
use crate::fs::{OpenFile, OpenFlags};
use crate::memory::address_space::{AddressSpace, MemoryLimits};
use crate::memory::user::UserSlice;
use crate::security::random;
use crate::sync::Interruptible;
use alloc::sync::Arc;
use alloc::vec::Vec;
use arguments::Strings;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use elf::{Image, Placement};
use load::Executable;
use place::{auxiliary_vector, base_of, draw_places, layout, map_vdso};
use prepare::{Prepared, prepare};
use stack::{Contents, Stack};

use super::resource_limits::Resource;

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
    let vdso = place::vdso();
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
    thread.has_left_futexes.store(false, Relaxed);
    thread.set_child_tid.store(0, Relaxed);
    thread.sequences.clear();
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
