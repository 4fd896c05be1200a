//! A signal's information as strace writes it: `SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=7, si_uid=0}`.

use super::information::{SignalInformation, code};
use super::number::Signal;
use core::fmt::{self, Display, Formatter};

/// Shows it so.
pub struct Described<'a>(pub &'a SignalInformation);

/// A signal's number, named where it is one.
struct Number(i32);

impl Display for Number {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match Signal::from_argument(self.0) {
            Some(signal) => write!(formatter, "{signal}"),
            None => write!(formatter, "{}", self.0),
        }
    }
}

/// An address, `NULL` for none.
struct Address(u64);

impl Display for Address {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { formatter.write_str("NULL") } else { write!(formatter, "{:#x}", self.0) }
    }
}

/// The name of a code, which depends on the signal where it is positive.
fn code_name(signal: Option<Signal>, code: i32) -> Option<&'static str> {
    Some(match (code, signal?) {
        (code::SI_USER, _) => "SI_USER",
        (code::SI_KERNEL, _) => "SI_KERNEL",
        (code::SI_QUEUE, _) => "SI_QUEUE",
        (code::SI_TIMER, _) => "SI_TIMER",
        (code::SI_MESGQ, _) => "SI_MESGQ",
        (code::SI_ASYNCIO, _) => "SI_ASYNCIO",
        (code::SI_TKILL, _) => "SI_TKILL",
        (code::CLD_EXITED, Signal::SIGCHLD) => "CLD_EXITED",
        (code::CLD_KILLED, Signal::SIGCHLD) => "CLD_KILLED",
        (code::CLD_DUMPED, Signal::SIGCHLD) => "CLD_DUMPED",
        (code::CLD_TRAPPED, Signal::SIGCHLD) => "CLD_TRAPPED",
        (code::CLD_STOPPED, Signal::SIGCHLD) => "CLD_STOPPED",
        (code::CLD_CONTINUED, Signal::SIGCHLD) => "CLD_CONTINUED",
        (code::SEGV_MAPERR, Signal::SIGSEGV) => "SEGV_MAPERR",
        (code::SEGV_ACCERR, Signal::SIGSEGV) => "SEGV_ACCERR",
        (code::BUS_ADRALN, Signal::SIGBUS) => "BUS_ADRALN",
        (code::BUS_ADRERR, Signal::SIGBUS) => "BUS_ADRERR",
        (code::TRAP_BRKPT, Signal::SIGTRAP) => "TRAP_BRKPT",
        (code::POLL_IN, Signal::SIGIO) => "POLL_IN",
        (code::POLL_OUT, Signal::SIGIO) => "POLL_OUT",
        _ => return None,
    })
}

impl Display for Described<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let information = self.0;
        let [first, second, third, fourth] = information.fields;
        write!(formatter, "{0} {{si_signo={0}, si_code=", Number(information.number))?;
        match code_name(information.signal(), information.code) {
            Some(name) => formatter.write_str(name)?,
            None => write!(formatter, "{:#x}", information.code)?,
        }
        match (information.code, information.signal()) {
            (code::SI_USER | code::SI_TKILL, _) => self.sender(formatter)?,
            (code::SI_TIMER, _) => {
                write!(formatter, ", si_timerid={:#x}, si_overrun={}", information.sender(), information.user())?;
                value(formatter, second)?;
            }
            (..0, _) => {
                self.sender(formatter)?;
                value(formatter, second)?;
            }
            (_, Some(Signal::SIGCHLD)) => {
                self.sender(formatter)?;
                match information.code {
                    code::CLD_EXITED => write!(formatter, ", si_status={}", information.status())?,
                    _ => write!(formatter, ", si_status={}", Number(information.status()))?,
                }
                write!(formatter, ", si_utime={third}, si_stime={fourth}")?;
            }
            (_, Some(Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE | Signal::SIGTRAP)) => {
                write!(formatter, ", si_addr={}", Address(first))?;
            }
            _ => {}
        }
        formatter.write_str("}")
    }
}

impl Described<'_> {
    fn sender(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, ", si_pid={}, si_uid={}", self.0.sender(), self.0.user())
    }
}

fn value(formatter: &mut Formatter<'_>, value: u64) -> fmt::Result {
    write!(formatter, ", si_int={}, si_ptr={}", (value as u32).cast_signed(), Address(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_look_as_strace_writes_them() {
        for (information, expected) in [
            (
                SignalInformation::from_user(Signal::SIGUSR1, code::SI_USER, 7, 0),
                "SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=7, si_uid=0}",
            ),
            (
                SignalInformation::child(code::CLD_EXITED, 8, 0, 7, 1, 2),
                "SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=8, si_uid=0, si_status=7, si_utime=1, si_stime=2}",
            ),
            (
                SignalInformation::child(code::CLD_KILLED, 8, 0, 9, 0, 0),
                "SIGCHLD {si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=8, si_uid=0, si_status=SIGKILL, si_utime=0, si_stime=0}",
            ),
            (
                SignalInformation::fault(Signal::SIGSEGV, code::SEGV_MAPERR, crate::base::VirtualAddress::new(0)),
                "SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL}",
            ),
            (SignalInformation::from_kernel(Signal::SIGINT), "SIGINT {si_signo=SIGINT, si_code=SI_KERNEL}"),
        ] {
            assert_eq!(format!("{}", Described(&information)), expected);
        }
    }
}
