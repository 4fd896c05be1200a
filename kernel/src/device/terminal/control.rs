//! `ioctl` on terminals (`ioctl_tty(2)`). A master's requests act on the slave's settings, as on Linux.

use super::job_control::{self, check_change, signal};
use super::termios::{InputFlags, Special, Termios, UserTermio, UserTermios, UserTermios2, WindowSize};
use super::{Side, Terminal, packet};
use crate::base::{Errno, Result, VirtualAddress};
use crate::memory::user::UserPointer;
use alloc::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The requests, the same on both machines.
pub mod request {
    #![expect(missing_docs, reason = "the names are those of ioctl_tty(2)")]
    pub const TCGETS: u32 = 0x5401;
    pub const TCSETS: u32 = 0x5402;
    pub const TCSETSW: u32 = 0x5403;
    pub const TCSETSF: u32 = 0x5404;
    pub const TCGETA: u32 = 0x5405;
    pub const TCSETA: u32 = 0x5406;
    pub const TCSETAW: u32 = 0x5407;
    pub const TCSETAF: u32 = 0x5408;
    pub const TCSBRK: u32 = 0x5409;
    pub const TCXONC: u32 = 0x540a;
    pub const TCFLSH: u32 = 0x540b;
    pub const TIOCEXCL: u32 = 0x540c;
    pub const TIOCNXCL: u32 = 0x540d;
    pub const TIOCSCTTY: u32 = 0x540e;
    pub const TIOCGPGRP: u32 = 0x540f;
    pub const TIOCSPGRP: u32 = 0x5410;
    pub const TIOCOUTQ: u32 = 0x5411;
    pub const TIOCSTI: u32 = 0x5412;
    pub const TIOCGWINSZ: u32 = 0x5413;
    pub const TIOCSWINSZ: u32 = 0x5414;
    pub const TIOCMGET: u32 = 0x5415;
    pub const TIOCGSERIAL: u32 = 0x541e;
    pub const FIONREAD: u32 = 0x541b;
    pub const TIOCPKT: u32 = 0x5420;
    pub const TIOCNOTTY: u32 = 0x5422;
    pub const TIOCSETD: u32 = 0x5423;
    pub const TIOCGETD: u32 = 0x5424;
    pub const TCSBRKP: u32 = 0x5425;
    pub const TIOCSBRK: u32 = 0x5427;
    pub const TIOCCBRK: u32 = 0x5428;
    pub const TIOCGSID: u32 = 0x5429;
    pub const TCGETS2: u32 = 0x802c_542a;
    pub const TCSETS2: u32 = 0x402c_542b;
    pub const TCSETSW2: u32 = 0x402c_542c;
    pub const TCSETSF2: u32 = 0x402c_542d;
    pub const TIOCGPTN: u32 = 0x8004_5430;
    pub const TIOCSPTLCK: u32 = 0x4004_5431;
    pub const TIOCGDEV: u32 = 0x8004_5432;
    pub const TIOCSIG: u32 = 0x4004_5436;
    pub const TIOCVHANGUP: u32 = 0x5437;
    pub const TIOCGPKT: u32 = 0x8004_5438;
    pub const TIOCGPTLCK: u32 = 0x8004_5439;
    pub const TIOCGEXCL: u32 = 0x8004_5440;
    pub const TIOCGPTPEER: u32 = 0x5441;
    pub const TIOCGLCKTRMIOS: u32 = 0x5456;
    pub const TIOCSLCKTRMIOS: u32 = 0x5457;
}

/// `struct serial_struct`, as much of it as is told: the first port, a 16550A.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SerialPort {
    kind: i32,
    line: i32,
    port: u32,
    interrupt: i32,
    flags: i32,
    fifo_size: i32,
    custom_divisor: i32,
    base_baud: i32,
    rest: [u64; 5],
}

const SERIAL_PORT: SerialPort = SerialPort {
    kind: 4,
    line: 0,
    port: 0x3f8,
    interrupt: 4,
    flags: 0,
    fifo_size: 16,
    custom_divisor: 0,
    base_baud: 115_200,
    rest: [0; 5],
};

const _: () = assert!(size_of::<SerialPort>() == 72);

/// When new settings take effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    Now,
    AfterOutput,
    AfterOutputWithoutInput,
}

fn pointer<T>(argument: u64) -> UserPointer<T> {
    UserPointer::new(VirtualAddress::new(argument))
}

fn put(argument: u64, value: usize) -> Result<u64> {
    pointer::<i32>(argument).write(&i32::try_from(value).unwrap_or(i32::MAX))?;
    Ok(0)
}

/// Carries out a request made through a file of `side`.
///
/// # Errors
/// `ENOTTY` for an unknown request; as `ioctl_tty(2)`.
pub fn ioctl(terminal: &Arc<Terminal>, side: Side, request: u32, argument: u64) -> Result<u64> {
    use request::*;
    let master = side == Side::Master;
    if !master
        && matches!(request, TIOCSETD | TIOCSBRK | TIOCCBRK | TCSBRK | TCSBRKP | TCXONC | TCFLSH | TCSETS..=TCSETSF)
    {
        check_change(terminal, signal::WRITE)?;
    }
    match request {
        TCGETS => pointer(argument).write(&settings(terminal).to_user())?,
        TCGETS2 => pointer(argument).write(&settings(terminal).to_user2())?,
        TCGETA => pointer(argument).write(&settings(terminal).to_termio())?,
        TCSETS | TCSETSW | TCSETSF => {
            let user = pointer::<UserTermios>(argument).read()?;
            set(terminal, when(request - TCSETS), |old| old.with_user(&user))?;
        }
        TCSETS2 | TCSETSW2 | TCSETSF2 => {
            check_master(terminal, master)?;
            let user = pointer::<UserTermios2>(argument).read()?;
            set(terminal, when(request - TCSETS2), |old| old.with_user2(&user))?;
        }
        TCSETA | TCSETAW | TCSETAF => {
            check_master(terminal, master)?;
            let user = pointer::<UserTermio>(argument).read()?;
            set(terminal, when(request - TCSETA), |old| old.with_termio(&user))?;
        }
        // A break is not sent: the line has none. Waiting for the output is what `tcdrain` asks for.
        TCSBRK | TCSBRKP => terminal.drain()?,
        TIOCSBRK | TIOCCBRK => {}
        TCXONC => flow(terminal, argument)?,
        TCFLSH => match argument {
            0 => terminal.flush(true, false),
            1 => terminal.flush(false, true),
            2 => terminal.flush(true, true),
            _ => return Err(Errno::EINVAL),
        },
        TIOCEXCL => terminal.with_state(|state| state.exclusive = true),
        TIOCNXCL => terminal.with_state(|state| state.exclusive = false),
        TIOCGEXCL => return put(argument, usize::from(terminal.with_state(|state| state.exclusive))),
        TIOCSCTTY => job_control::set_controlling(terminal, argument)?,
        TIOCNOTTY => job_control::give_up(terminal)?,
        TIOCGPGRP => pointer(argument).write(&job_control::foreground_group(terminal, master)?)?,
        TIOCSPGRP => job_control::set_foreground_group(terminal, pointer(argument).read()?)?,
        TIOCGSID => pointer(argument).write(&job_control::session(terminal, master)?)?,
        TIOCOUTQ if master => return put(argument, 0),
        TIOCOUTQ => return put(argument, terminal.with_state(|state| state.output.len())),
        FIONREAD if master => return put(argument, terminal.with_state(|state| state.output.len())),
        FIONREAD => return put(argument, terminal.with_state(|state| state.discipline.readable_bytes())),
        TIOCGWINSZ => pointer(argument).write(&terminal.with_state(|state| state.window))?,
        TIOCSWINSZ => set_window(terminal, pointer(argument).read()?),
        TIOCGETD => return put(argument, 0),
        TIOCSETD => {
            if pointer::<i32>(argument).read()? != 0 {
                return Err(Errno::EINVAL);
            }
        }
        TIOCGDEV => return put(argument, usize::try_from(terminal.number().encode()).unwrap_or(0)),
        // Linux has had this off by default since 6.2: it lets one program type into another.
        TIOCSTI => return Err(Errno::EIO),
        TIOCMGET if !terminal.is_pty() => return put(argument, 0x1a6),
        TIOCGSERIAL if !terminal.is_pty() => pointer(argument).write(&SERIAL_PORT)?,
        TIOCGLCKTRMIOS => pointer(argument).write(&terminal.with_state(|state| state.locks))?,
        TIOCSLCKTRMIOS => {
            if !job_control::job_control().is_some_and(|control| control.is_administrator()) {
                return Err(Errno::EPERM);
            }
            let locks = pointer::<UserTermios>(argument).read()?;
            terminal.with_state(|state| state.locks = locks);
        }
        TIOCVHANGUP => {
            if !job_control::job_control().is_some_and(|control| control.is_administrator()) {
                return Err(Errno::EPERM);
            }
            terminal.hang_up();
        }
        TIOCPKT | TIOCGPKT | TIOCSIG | TIOCGPTN | TIOCSPTLCK | TIOCGPTLCK if master => {
            return master_ioctl(terminal, request, argument);
        }
        _ => return Err(Errno::ENOTTY),
    }
    Ok(0)
}

fn check_master(terminal: &Arc<Terminal>, master: bool) -> Result<()> {
    if master { Ok(()) } else { check_change(terminal, signal::WRITE) }
}

fn settings(terminal: &Terminal) -> Termios {
    terminal.with_state(|state| *state.discipline.termios())
}

const fn when(step: u32) -> When {
    match step {
        0 => When::Now,
        1 => When::AfterOutput,
        _ => When::AfterOutputWithoutInput,
    }
}

fn set(terminal: &Arc<Terminal>, when: When, change: impl FnOnce(Termios) -> Termios) -> Result<()> {
    if when == When::AfterOutputWithoutInput {
        terminal.flush(true, false);
    }
    if when != When::Now {
        terminal.drain()?;
    }
    terminal.with_state(|state| {
        let old = *state.discipline.termios();
        let new = change(old).keeping(&old, &state.locks);
        if state.discipline.set_termios(new) {
            terminal.flow_changed(state);
        }
        let stops = |termios: &Termios| {
            termios.input.contains(InputFlags::IXON)
                && termios.character(Special::Start) == 0o21
                && termios.character(Special::Stop) == 0o23
        };
        if stops(&old) != stops(&new) {
            state.packet.status &= !(packet::DO_STOP | packet::NO_STOP);
            state.packet.status |= if stops(&new) { packet::DO_STOP } else { packet::NO_STOP };
        }
    });
    terminal.wake_everybody();
    Ok(())
}

/// `TCXONC`: stops and starts output. `TCIOFF` and `TCION` would send STOP and START to the line.
fn flow(terminal: &Arc<Terminal>, action: u64) -> Result<()> {
    let stop = match action {
        0 => true,
        1 => false,
        2 | 3 => {
            terminal.with_state(|state| {
                let special = if action == 2 { Special::Stop } else { Special::Start };
                let character = state.discipline.termios().character(special);
                if character != 0 {
                    state.output.push_back(character);
                }
                terminal.transmit(state);
            });
            terminal.wake_output();
            return Ok(());
        }
        _ => return Err(Errno::EINVAL),
    };
    terminal.with_state(|state| {
        if state.discipline.set_stopped(stop) {
            terminal.flow_changed(state);
        }
    });
    terminal.wake_output();
    Ok(())
}

/// `TIOCSWINSZ`: a change is told to the foreground group.
pub fn set_window(terminal: &Terminal, size: WindowSize) {
    let (changed, foreground) = terminal.with_state(|state| {
        let changed = state.window != size;
        state.window = size;
        (changed, state.foreground)
    });
    if changed
        && foreground != 0
        && let Some(control) = job_control::job_control()
    {
        control.signal_group(foreground, signal::WINDOW);
    }
}

fn master_ioctl(terminal: &Arc<Terminal>, request: u32, argument: u64) -> Result<u64> {
    use request::*;
    match request {
        TIOCPKT => {
            let on = pointer::<i32>(argument).read()? != 0;
            terminal.with_state(|state| {
                if on && !state.packet.enabled {
                    state.packet.status = 0;
                }
                state.packet.enabled = on;
            });
        }
        TIOCGPKT => return put(argument, usize::from(terminal.with_state(|state| state.packet.enabled))),
        TIOCGPTN => return put(argument, usize::try_from(terminal.number().minor).unwrap_or(0)),
        TIOCSPTLCK => {
            let locked = pointer::<i32>(argument).read()? != 0;
            terminal.with_state(|state| state.locked = locked);
        }
        TIOCGPTLCK => return put(argument, usize::from(terminal.with_state(|state| state.locked))),
        TIOCSIG => {
            let number = u32::try_from(argument).map_err(|_| Errno::EINVAL)?;
            if !matches!(number, signal::INTERRUPT | signal::QUIT | signal::STOP) {
                return Err(Errno::EINVAL);
            }
            let (_, foreground) = terminal.job();
            if foreground != 0
                && let Some(control) = job_control::job_control()
            {
                control.signal_group(foreground, number);
            }
        }
        _ => return Err(Errno::ENOTTY),
    }
    Ok(0)
}
