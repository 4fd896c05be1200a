//! Devices: terminals, pseudo terminals, the memory devices, limits of latency, and their names under `/dev`.
//!
//! [`initialize`] registers every driver with `fs::device_registry` and its device file with [`names`], from which devtmpfs is
//! filled. Lock order: a terminal's lock (`FileObject`) before wait queues and hardware; none of this room's locks is
//! held when another room is called, except those.

pub mod console;
pub mod descriptors;
pub mod file_systems;
pub mod kernel_log;
pub mod latency_limit;
pub mod memory;
pub mod names;
pub mod pty;
pub mod terminal;

/// Registers all drivers, once, at boot, before the first program runs.
pub fn initialize() {
    crate::fs::fifo::set_opener(&crate::fs::pipe::FIFO_OPENER);
    crate::process::trap::set_device_interrupt(|line| {
        console::interrupt(line);
    });
    terminal::process_control::initialize();
    memory::initialize();
    kernel_log::initialize();
    latency_limit::initialize();
    console::initialize();
    pty::initialize();
    file_systems::initialize();
}

/// Starts the kernel threads of this room, once there is PID 1.
///
/// # Errors
/// `ENOMEM`.
pub fn start_threads() -> crate::base::Result<()> {
    let process = crate::process::create_process(None)?;
    process.signals.set_unkillable();
    let thread = crate::process::create_thread(&process, crate::process::Start::Kernel(console::feed))?;
    thread.set_name(b"console");
    thread.start();
    Ok(())
}
