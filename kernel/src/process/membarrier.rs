//! Memory barriers on other CPUs, `membarrier(2)`: by calls between CPUs.
//!
//! What is registered stands with the address space ([`AddressSpace::membarrier`]), as bits of the commands that register it; a child
//! made by `fork` has the same. The caller's own barriers, before the calls and after them, order what it did with what the others see.
//!
//! A thread that does not run now passes through a switch before it does, which is a barrier; and if its address space has to be loaded for it, or it returns
//! from an exception, its CPU fetches instructions anew. So only CPUs that have the space active are called.

use super::thread::try_current_thread;
use crate::arch::{Cpu, Current, inter_processor};
use crate::base::{CpuId, CpuMask, Errno, PhysicalAddress, Result};
use crate::memory::address_space::AddressSpace;
use crate::memory::paging::shootdown;
use core::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst, fence};

/// The commands, each a bit.
pub mod command {
    /// A barrier on every CPU that runs a thread.
    pub const GLOBAL: u32 = 1;
    /// On those that run processes which have registered for it.
    pub const GLOBAL_EXPEDITED: u32 = 2;
    /// Registers for that.
    pub const REGISTER_GLOBAL_EXPEDITED: u32 = 4;
    /// On those that run threads of the caller's process.
    pub const PRIVATE_EXPEDITED: u32 = 8;
    /// Registers for that.
    pub const REGISTER_PRIVATE_EXPEDITED: u32 = 16;
    /// Those fetch instructions anew, too.
    pub const PRIVATE_EXPEDITED_SYNC_CORE: u32 = 32;
    /// Registers for that.
    pub const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: u32 = 64;
    /// Those begin their restartable sequences anew, too.
    pub const PRIVATE_EXPEDITED_RSEQ: u32 = 128;
    /// Registers for that.
    pub const REGISTER_PRIVATE_EXPEDITED_RSEQ: u32 = 256;
    /// All of them: the answer to the query.
    pub const ALL: u32 = 511;
}

/// What is done on another CPU beside the barrier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beside {
    Nothing,
    FetchAnew,
    RestartSequences,
}

struct Request {
    root: PhysicalAddress,
    beside: Beside,
}

/// On the CPU that is called; interrupts are masked there.
fn serve(request: &Request) {
    fence(SeqCst);
    match request.beside {
        Beside::Nothing => {}
        Beside::FetchAnew => Current::synchronize_instructions(),
        Beside::RestartSequences => {
            if let Some(thread) = try_current_thread()
                && thread.space_root.load(Relaxed) == request.root.value()
            {
                thread.sequences.note_away();
                Current::local().request_work();
            }
        }
    }
}

fn call(targets: CpuMask, request: &Request) {
    fence(SeqCst);
    inter_processor::call_on(targets, serve, request);
    fence(SeqCst);
}

/// Does what `command` says, one of [`command`], for a thread of the process with `space`; `cpu` names the one CPU that is meant.
///
/// # Errors
/// `EINVAL`: there is no such command. `EPERM`: the process has not registered for it.
pub fn run(command: u32, space: &AddressSpace, cpu: Option<CpuId>) -> Result<()> {
    let root = space.root();
    match command {
        command::GLOBAL | command::GLOBAL_EXPEDITED => {
            call(inter_processor::online(), &Request { root, beside: Beside::Nothing });
        }
        command::REGISTER_GLOBAL_EXPEDITED
        | command::REGISTER_PRIVATE_EXPEDITED
        | command::REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
        | command::REGISTER_PRIVATE_EXPEDITED_RSEQ => {
            space.membarrier().fetch_or(command, SeqCst);
        }
        command::PRIVATE_EXPEDITED | command::PRIVATE_EXPEDITED_SYNC_CORE | command::PRIVATE_EXPEDITED_RSEQ => {
            // The bit that registers a command is the next one.
            if space.membarrier().load(SeqCst) & command << 1 == 0 {
                return Err(Errno::EPERM);
            }
            let beside = match command {
                command::PRIVATE_EXPEDITED_SYNC_CORE => Beside::FetchAnew,
                command::PRIVATE_EXPEDITED_RSEQ => Beside::RestartSequences,
                _ => Beside::Nothing,
            };
            if beside == Beside::FetchAnew {
                Current::synchronize_instructions();
            }
            let users = shootdown::others_with(root);
            let targets = cpu.map_or(users, |cpu| users.intersection(CpuMask::single(cpu)));
            call(targets, &Request { root, beside });
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}
