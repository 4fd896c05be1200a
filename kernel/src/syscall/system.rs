//! System calls about sessions and groups of processes, and about the system as a whole.

use super::Call;
use super::argument::{Flags, ProcessIdentifier};
use crate::arch::{Current, Machine, Power};
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress};
use crate::memory::frame_allocator;
use crate::memory::user::{UserPointer, UserSlice, read_c_string};
use crate::process::fork::CloneFlags;
use crate::process::{Process, exit, load, membership, table, uts};
use crate::security::Capability;
use crate::time;
use alloc::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

fn find(call: &Call<'_>, pid: i32) -> Result<Arc<Process>> {
    match pid {
        0 => Ok(call.process.clone()),
        pid => table::find_process(pid).ok_or(Errno::ESRCH),
    }
}

/// `setpgid(2)`.
pub fn setpgid(call: &mut Call<'_>, pid: ProcessIdentifier, group: ProcessIdentifier) -> Result<()> {
    membership::set_group(call.process, pid.0, group.0)
}

/// `getpgid(2)`.
pub fn getpgid(call: &mut Call<'_>, pid: ProcessIdentifier) -> Result<i32> {
    Ok(find(call, pid.0)?.group_id())
}

/// `getpgrp(2)`.
pub fn getpgrp(call: &mut Call<'_>) -> Result<i32> {
    Ok(call.process.group_id())
}

/// `setsid(2)`.
pub fn setsid(call: &mut Call<'_>) -> Result<i32> {
    membership::become_session_leader(call.process)
}

/// `getsid(2)`.
pub fn getsid(call: &mut Call<'_>, pid: ProcessIdentifier) -> Result<i32> {
    Ok(find(call, pid.0)?.session_id())
}

/// Bytes of a name with its NUL.
const NAME_LENGTH: usize = 65;

/// `struct new_utsname`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SystemName {
    names: [[u8; NAME_LENGTH]; 6],
}

/// `UNAME26` of personality(2).
const UNAME26: u32 = 0x0002_0000;

/// `uname(2)`.
pub fn uname(call: &mut Call<'_>, name: UserPointer<SystemName>) -> Result<()> {
    let release = if call.process.personality() & UNAME26 == 0 { uts::RELEASE } else { "2.6.72" };
    let (host, domain) = (uts::host_name(), uts::domain_name());
    let mut shown = SystemName { names: [[0; NAME_LENGTH]; 6] };
    let texts: [&[u8]; 6] =
        [b"Linux", &host, release.as_bytes(), uts::VERSION.as_bytes(), Current::NAME.as_bytes(), &domain];
    for (target, text) in shown.names.iter_mut().zip(texts) {
        target.iter_mut().zip(text).take(NAME_LENGTH - 1).for_each(|(target, byte)| *target = *byte);
    }
    name.write(&shown)
}

fn read_name(name: VirtualAddress, length: i32) -> Result<uts::HostName> {
    let length = usize::try_from(length).ok().filter(|length| *length <= uts::NAME_MAX).ok_or(Errno::EINVAL)?;
    let mut bytes = [0; uts::NAME_MAX];
    let part = bytes.get_mut(..length).unwrap_or(&mut []);
    UserSlice::new(name, length).read(part)?;
    uts::HostName::try_from(&*part).map_err(|_| Errno::EINVAL)
}

/// `sethostname(2)`.
pub fn sethostname(_call: &mut Call<'_>, name: VirtualAddress, length: i32) -> Result<()> {
    uts::set_host_name(&read_name(name, length)?)
}

/// `setdomainname(2)`.
pub fn setdomainname(_call: &mut Call<'_>, name: VirtualAddress, length: i32) -> Result<()> {
    uts::set_domain_name(&read_name(name, length)?)
}

/// `struct sysinfo`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SystemInformation {
    uptime: i64,
    loads: [u64; 3],
    total_memory: u64,
    free_memory: u64,
    shared_memory: u64,
    buffer_memory: u64,
    total_swap: u64,
    free_swap: u64,
    processes: u16,
    padding: u16,
    padding2: u32,
    total_high: u64,
    free_high: u64,
    unit: u32,
    padding3: u32,
}

const _: () = assert!(size_of::<SystemInformation>() == 112);

/// `sysinfo(2)`.
pub fn sysinfo(_call: &mut Call<'_>, information: UserPointer<SystemInformation>) -> Result<()> {
    let frames = frame_allocator::statistics();
    let (seconds, rest) = time::boottime().split();
    information.write(&SystemInformation {
        uptime: (seconds + u64::from(rest != 0)).cast_signed(),
        loads: load::for_sysinfo(),
        total_memory: frames.total * PAGE_SIZE as u64,
        free_memory: frames.free * PAGE_SIZE as u64,
        processes: u16::try_from(table::lock().thread_count()).unwrap_or(u16::MAX),
        unit: 1,
        ..SystemInformation::default()
    })
}

/// `personality(2)`.
pub fn personality(call: &mut Call<'_>, personality: u32) -> Result<u32> {
    const ASK: u32 = u32::MAX;
    Ok(match personality {
        ASK => call.process.personality(),
        value => call.process.set_personality(value),
    })
}

/// `reboot(2)`.
pub fn reboot(call: &mut Call<'_>, magic: u32, magic2: u32, command: u32, argument: VirtualAddress) -> Result<()> {
    const MAGIC: u32 = 0xfee1_dead;
    const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const RESTART: u32 = 0x0123_4567;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    const RESTART2: u32 = 0xa1b2_c3d4;
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    if !call.thread.credentials().may(Capability::SysBoot) {
        return Err(Errno::EPERM);
    }
    if magic != MAGIC || !MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    match command {
        RESTART => {
            log::warn!("reboot: Restarting system");
            Current::reboot()
        }
        RESTART2 => {
            let command = read_c_string(argument, 256)?;
            log::warn!("reboot: Restarting system with command '{}'", command.escape_ascii());
            Current::reboot()
        }
        HALT => {
            // Nothing but the switch ends a halted machine; an emulator is better ended.
            log::warn!("reboot: System halted");
            Current::power_off()
        }
        POWER_OFF => {
            log::warn!("reboot: Power down");
            Current::power_off()
        }
        // Nobody sends Ctrl-Alt-Del here.
        CAD_ON | CAD_OFF => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// `unshare(2)`.
pub fn unshare(call: &mut Call<'_>, flags: Flags) -> Result<()> {
    let known = CloneFlags::THREAD
        | CloneFlags::FS
        | CloneFlags::SIGHAND
        | CloneFlags::VM
        | CloneFlags::FILES
        | CloneFlags::SYSVSEM
        | CloneFlags::NAMESPACES;
    let flags =
        CloneFlags::from_bits(u64::from(flags.0)).filter(|flags| known.contains(*flags)).ok_or(Errno::EINVAL)?;
    if flags.intersects(CloneFlags::NAMESPACES) {
        let privileged = call.thread.credentials().may(Capability::SysAdmin) || flags.contains(CloneFlags::NEWUSER);
        return Err(if privileged { Errno::EINVAL } else { Errno::EPERM });
    }
    let alone = CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM;
    if flags.intersects(alone) && call.process.live_threads() > 1 {
        return Err(Errno::EINVAL);
    }
    if flags.contains(CloneFlags::FS) {
        let own = call.thread.file_system().duplicate();
        call.thread.set_file_system(Some(own));
    }
    if flags.contains(CloneFlags::FILES) {
        let files = call.thread.files();
        if Arc::strong_count(&files) > 2 {
            let own = Arc::new(files.duplicate());
            drop(files);
            if let Some(shared) = call.thread.replace_files(Some(own)) {
                exit::release_files(shared);
            }
        }
    }
    Ok(())
}
