//! The memory devices, major 1: `null`, `zero`, `full`, `random`, `urandom`. (`mem` and `port` are absent: `ENXIO`.)
//! `kmsg` is in [`super::kernel_log`].

use crate::base::{Errno, Result};
use crate::fs::device_registry::{DeviceOpen, DeviceOpenRequest, register_character_device};
use crate::fs::{FileOperations, IoDestination, IoSource, OpenFile, PollEvents, PollTable, SeekFrom};
use crate::security::random;
use alloc::sync::Arc;

/// Bytes of random data made at a time.
const RANDOM_CHUNK: usize = 256;

/// Which memory device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum MemoryDevice {
    /// Takes everything, gives nothing.
    Null = 3,
    /// Takes everything, gives zeroes.
    Zero = 5,
    /// Takes nothing (`ENOSPC`), gives zeroes.
    Full = 7,
    /// Random bytes.
    Random = 8,
    /// Random bytes.
    UnlimitedRandom = 9,
}

impl FileOperations for MemoryDevice {
    #[inline]
    fn read_at(&self, _file: &OpenFile, _offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        match self {
            Self::Null => Ok(0),
            Self::Zero | Self::Full => destination.write_zeroes(destination.remaining()),
            Self::Random | Self::UnlimitedRandom => read_random(destination),
        }
    }
    fn write_at(&self, _file: &OpenFile, _offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        match self {
            Self::Null | Self::Zero => Ok(source.remaining()),
            Self::Full => Err(Errno::ENOSPC),
            Self::Random | Self::UnlimitedRandom => {
                let mut chunk = [0; 64];
                while !source.is_finished() {
                    let count = source.read(&mut chunk)?;
                    random::mix(chunk.get(..count).unwrap_or(&[]));
                }
                Ok(source.transferred())
            }
        }
    }
    fn append(&self, file: &OpenFile, source: &mut IoSource<'_>) -> Result<(usize, u64)> {
        Ok((self.write_at(file, 0, source)?, 0))
    }
    fn poll(&self, _file: &OpenFile, _table: &mut PollTable) -> PollEvents {
        PollEvents::ALWAYS_READY
    }
    fn can_poll(&self) -> bool {
        matches!(self, Self::Random | Self::UnlimitedRandom)
    }
    fn seek(&self, _file: &OpenFile, position: u64, offset: i64, from: SeekFrom) -> Result<u64> {
        match self {
            // As on Linux: the position stays at the beginning, whatever is asked.
            Self::Null | Self::Zero | Self::Full => Ok(0),
            Self::Random | Self::UnlimitedRandom => {
                let base =
                    if from == SeekFrom::Current { i64::try_from(position).map_err(|_| Errno::EINVAL)? } else { 0 };
                base.checked_add(offset).and_then(|target| u64::try_from(target).ok()).ok_or(Errno::EINVAL)
            }
        }
    }
    fn ioctl(&self, _file: &OpenFile, request: u32, argument: u64) -> Result<u64> {
        const RNDGETENTCNT: u32 = 0x8004_5200;
        match self {
            Self::Random | Self::UnlimitedRandom if request == RNDGETENTCNT => {
                let target = crate::memory::user::UserPointer::<i32>::new(crate::base::VirtualAddress::new(argument));
                target.write(&256)?;
                Ok(0)
            }
            Self::Random | Self::UnlimitedRandom => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTTY),
        }
    }
    fn memory_object(&self, _file: &OpenFile) -> Result<Arc<dyn crate::memory::object::MemoryObject>> {
        match self {
            // A private mapping of zero is anonymous memory; a shared one is memory of its own.
            Self::Zero => Ok(Arc::new(crate::memory::object::SharedPages::with_length(i64::MAX.cast_unsigned()))),
            _ => Err(Errno::ENODEV),
        }
    }
}

/// Fills `destination` with random bytes. A call that is interrupted by a fault answers with what was moved.
///
/// # Errors
/// `EFAULT` with nothing moved.
pub fn read_random(destination: &mut IoDestination<'_>) -> Result<usize> {
    let mut chunk = [0; RANDOM_CHUNK];
    if destination.remaining() <= RANDOM_CHUNK {
        let wanted = chunk.get_mut(..destination.remaining()).ok_or(Errno::EFAULT)?;
        random::fill(wanted);
        return destination.write(wanted);
    }
    let mut stream = random::own_stream();
    while !destination.is_finished() {
        stream.fill_bytes(&mut chunk);
        let result = destination.write(&chunk);
        if destination.transferred() == 0 {
            result?;
        } else if result.is_err() {
            break;
        }
    }
    Ok(destination.transferred())
}

impl DeviceOpen for MemoryDevice {
    fn open(&self, _request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
        Ok(Arc::new(*self))
    }
}

/// The devices with their names.
pub const DEVICES: [(&str, MemoryDevice); 5] = [
    ("null", MemoryDevice::Null),
    ("zero", MemoryDevice::Zero),
    ("full", MemoryDevice::Full),
    ("random", MemoryDevice::Random),
    ("urandom", MemoryDevice::UnlimitedRandom),
];

/// Registers them.
pub fn initialize() {
    for (name, device) in DEVICES {
        register_character_device(1, device as u32, Arc::new(device));
        super::names::add(name, 1, device as u32, 0o666);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::OpenFlags;

    fn open(device: MemoryDevice) -> Arc<OpenFile> {
        OpenFile::anonymous(Arc::new(device), OpenFlags::READ_WRITE)
    }

    #[test]
    fn each_device_reads_and_writes_as_linux_has_it() {
        let mut bytes = [9; 1000];
        let mut read = |device| {
            bytes.fill(9);
            let count = open(device).read(&mut IoDestination::kernel(&mut bytes));
            (count, bytes[0], bytes[999])
        };
        assert_eq!(read(MemoryDevice::Null), (Ok(0), 9, 9));
        assert_eq!(read(MemoryDevice::Zero), (Ok(1000), 0, 0));
        assert_eq!(read(MemoryDevice::Full), (Ok(1000), 0, 0));
        assert_eq!(read(MemoryDevice::Random).0, Ok(1000));
        let write = |device| open(device).write(&mut IoSource::kernel(b"abc"));
        assert_eq!(write(MemoryDevice::Null), Ok(3));
        assert_eq!(write(MemoryDevice::Full), Err(Errno::ENOSPC));
        assert_eq!(write(MemoryDevice::UnlimitedRandom), Ok(3));
        assert_eq!(open(MemoryDevice::Null).seek(77, SeekFrom::Start), Ok(0));
    }
}
