//! System calls about memory barriers and restartable sequences.

use super::Call;
use super::argument::Flags;
use crate::base::{CpuId, Errno, Result, VirtualAddress};
use crate::process::membarrier::{self, command};

/// `membarrier(2)`.
pub fn membarrier(call: &mut Call<'_>, command: i32, flags: Flags, cpu: i32) -> Result<u32> {
    /// `MEMBARRIER_CMD_FLAG_CPU`.
    const ONE_CPU: u32 = 1;
    let command = command.cast_unsigned();
    let may_name_cpu = command == command::PRIVATE_EXPEDITED_RSEQ;
    if flags.0 != 0 && !(may_name_cpu && flags.0 == ONE_CPU) {
        return Err(Errno::EINVAL);
    }
    if command == 0 {
        return Ok(command::ALL);
    }
    // A negative number names none.
    let cpu = u32::try_from(cpu).ok().filter(|_| flags.0 == ONE_CPU).map(CpuId);
    let space = call.process.address_space().ok_or(Errno::EINVAL)?;
    membarrier::run(command, &space, cpu).map(|()| 0)
}

/// `rseq(2)`.
pub fn rseq(call: &mut Call<'_>, area: VirtualAddress, length: u32, flags: Flags, signature: u32) -> Result<()> {
    /// `RSEQ_FLAG_UNREGISTER`.
    const UNREGISTER: u32 = 1;
    match flags.0 {
        0 => call.thread.sequences.register(area, length, signature),
        UNREGISTER => call.thread.sequences.unregister(area, length, signature),
        _ => Err(Errno::EINVAL),
    }
}
