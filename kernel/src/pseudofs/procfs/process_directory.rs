//! `/proc/PID` and `/proc/PID/task/TID`.

use super::area_listing::{AreaListing, Form};
use super::owner::{Owner, may_inspect};
use super::process_report::{self as report, Strings};
use super::system_report;
use super::{area_report, descriptors, numa_maps};
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::context::FsContext;
use crate::fs::file::{FileOperations, OpenFile};
use crate::fs::inode::{Inode, LinkTarget};
use crate::fs::io::{IoDestination, IoSource};
use crate::fs::mount::Location;
use crate::fs::pseudo::{self, Changes, Listed, PseudoDirectory, PseudoFile, PseudoLink};
use crate::fs::types::{DeviceNumber, FileType, OpenFlags};
use crate::memory::address_space::{AddressSpace, Detail, ForeignAccess};
use crate::process::{Process, current_thread, table};
use crate::pseudofs::append;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The directory of a process.
pub(super) fn process(device: DeviceNumber, process: &Arc<Process>) -> Arc<dyn Inode> {
    let name = alloc::format!("{}", process.pid());
    let owner = Owner::Process(process.clone());
    directory(device, pseudo::number(super::ROOT, name.as_bytes()), owner)
}

fn directory(device: DeviceNumber, number: u64, owner: Owner) -> Arc<dyn Inode> {
    let attributes = owner.attributes(device, number, 0o555).allowing(Changes::Nothing);
    pseudo::directory(attributes, Arc::new(Directory { device, number, owner }))
}

/// The process whose directory (`/proc/PID`) `file` is open on: such a file can stand for the process in place of a pidfd.
#[must_use]
pub fn process_of(file: &OpenFile) -> Option<Arc<Process>> {
    match &pseudo::directory_as::<Directory>(&**file.location()?.inode())?.owner {
        Owner::Process(process) => Some(process.clone()),
        Owner::Thread(_) => None,
    }
}

struct Directory {
    device: DeviceNumber,
    number: u64,
    owner: Owner,
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Report(Report),
    Link(Link),
    Descriptors,
    DescriptorInformation,
    Tasks,
}

/// Generated files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Report {
    AuxiliaryVector,
    Cgroup,
    CommandLine,
    Comm,
    CoreDumpFilter,
    Environment,
    Limits,
    LoginUser,
    Maps,
    Memory,
    MountInformation,
    Mounts,
    NumaMaps,
    OutOfMemoryScore,
    OutOfMemoryAdjustment,
    Personality,
    Smaps,
    SmapsRollup,
    Stat,
    Statm,
    Status,
    WaitChannel,
    SchedulerStatistics,
}

/// Magic links.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Executable,
    WorkingDirectory,
    Root,
}

/// Name, permissions and kind, in the order of the listing.
const ENTRIES: [(&str, u32, Entry); 29] = [
    ("task", 0o555, Entry::Tasks),
    ("fd", 0o500, Entry::Descriptors),
    ("fdinfo", 0o555, Entry::DescriptorInformation),
    ("environ", 0o400, Entry::Report(Report::Environment)),
    ("auxv", 0o400, Entry::Report(Report::AuxiliaryVector)),
    ("status", 0o444, Entry::Report(Report::Status)),
    ("personality", 0o400, Entry::Report(Report::Personality)),
    ("limits", 0o644, Entry::Report(Report::Limits)),
    ("comm", 0o644, Entry::Report(Report::Comm)),
    ("cmdline", 0o444, Entry::Report(Report::CommandLine)),
    ("stat", 0o444, Entry::Report(Report::Stat)),
    ("statm", 0o444, Entry::Report(Report::Statm)),
    ("maps", 0o444, Entry::Report(Report::Maps)),
    ("numa_maps", 0o444, Entry::Report(Report::NumaMaps)),
    ("mem", 0o600, Entry::Report(Report::Memory)),
    ("cwd", 0o777, Entry::Link(Link::WorkingDirectory)),
    ("root", 0o777, Entry::Link(Link::Root)),
    ("exe", 0o777, Entry::Link(Link::Executable)),
    ("mounts", 0o444, Entry::Report(Report::Mounts)),
    ("mountinfo", 0o444, Entry::Report(Report::MountInformation)),
    ("smaps", 0o444, Entry::Report(Report::Smaps)),
    ("smaps_rollup", 0o444, Entry::Report(Report::SmapsRollup)),
    ("wchan", 0o444, Entry::Report(Report::WaitChannel)),
    ("schedstat", 0o444, Entry::Report(Report::SchedulerStatistics)),
    ("cgroup", 0o444, Entry::Report(Report::Cgroup)),
    ("oom_score", 0o444, Entry::Report(Report::OutOfMemoryScore)),
    ("oom_score_adj", 0o444, Entry::Report(Report::OutOfMemoryAdjustment)),
    ("loginuid", 0o444, Entry::Report(Report::LoginUser)),
    ("coredump_filter", 0o444, Entry::Report(Report::CoreDumpFilter)),
];

impl Entry {
    const fn file_type(self) -> FileType {
        match self {
            Self::Report(_) => FileType::Regular,
            Self::Link(_) => FileType::SymbolicLink,
            Self::Descriptors | Self::DescriptorInformation | Self::Tasks => FileType::Directory,
        }
    }
}

impl Directory {
    /// A thread's directory has no `task` of its own.
    fn has(&self, entry: Entry) -> bool {
        entry != Entry::Tasks || matches!(self.owner, Owner::Process(_))
    }
}

impl PseudoDirectory for Directory {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let found = ENTRIES.iter().find(|(known, _, entry)| known.as_bytes() == name && self.has(*entry));
        let (_, permissions, entry) = *found.ok_or(Errno::ENOENT)?;
        let number = pseudo::number(self.number, name);
        let attributes = self.owner.attributes(self.device, number, permissions);
        let owner = self.owner.clone();
        Ok(match entry {
            Entry::Report(report) => pseudo::file(attributes, ReportFile { owner, report }),
            Entry::Link(link) => pseudo::link(attributes, MagicLink { owner, link }),
            Entry::Descriptors => {
                pseudo::directory(attributes, Arc::new(descriptors::Descriptors::links(attributes, owner)))
            }
            Entry::DescriptorInformation => {
                pseudo::directory(attributes, Arc::new(descriptors::Descriptors::information(attributes, owner)))
            }
            Entry::Tasks => pseudo::directory(attributes, Arc::new(Tasks { device: self.device, number, owner })),
        })
    }
    fn list(&self, from: u64, add: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        for (position, (name, _, entry)) in (2u64..).zip(ENTRIES).filter(|(_, (.., entry))| self.has(*entry)) {
            let number = pseudo::number(self.number, name.as_bytes());
            let listed = Listed { position, name: name.as_bytes(), number, file_type: entry.file_type() };
            if position >= from && !add(listed) {
                break;
            }
        }
        Ok(())
    }
}

/// `/proc/PID/task`.
struct Tasks {
    device: DeviceNumber,
    number: u64,
    owner: Owner,
}

impl PseudoDirectory for Tasks {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let tid = super::parse_pid(name).ok_or(Errno::ENOENT)?;
        let thread = table::find_thread(tid).ok_or(Errno::ENOENT)?;
        if !Arc::ptr_eq(thread.process(), self.owner.process()) {
            return Err(Errno::ENOENT);
        }
        Ok(directory(self.device, pseudo::number(self.number, name), Owner::Thread(thread)))
    }
    fn list(&self, from: u64, add: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        let mut numbers: Vec<_> = self.owner.process().collect_threads().iter().map(|thread| thread.tid()).collect();
        numbers.sort_unstable();
        for tid in numbers {
            let position = u64::from(tid.unsigned_abs()) + 2;
            let name = alloc::format!("{tid}");
            let number = pseudo::number(self.number, name.as_bytes());
            let listed = Listed { position, name: name.as_bytes(), number, file_type: FileType::Directory };
            if position >= from && !add(listed) {
                break;
            }
        }
        Ok(())
    }
}

/// Thousandths of all memory that the process uses, as Linux's `oom_badness` counts them: resident pages and tables.
fn out_of_memory_score(process: &Process) -> u64 {
    let used = process
        .address_space()
        .map(|space| space.statistics())
        .map_or(0, |statistics| statistics.resident() + statistics.tables);
    let total = crate::memory::frame_allocator::statistics().total.max(1);
    666 + used * 1000 / total * 2 / 3
}

struct ReportFile {
    owner: Owner,
    report: Report,
}

impl ReportFile {
    fn space(&self) -> Result<Option<Arc<AddressSpace>>> {
        may_inspect(self.owner.process())?;
        Ok(self.owner.process().address_space())
    }
    fn write_mounts(
        &self,
        text: &mut Vec<u8>,
        write: fn(&mut Vec<u8>, &[Arc<crate::fs::Mount>], &Location),
    ) -> Result<()> {
        let context = self.owner.thread().ok().and_then(|thread| thread.try_file_system()).ok_or(Errno::EINVAL)?;
        write(text, &context.namespace().collect_mounts(), &context.root());
        Ok(())
    }
}

impl PseudoFile for ReportFile {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        let subject = self.owner.subject();
        let process = self.owner.process();
        if subject.thread.is_none() && process.has_been_reaped() {
            return Err(Errno::ESRCH);
        }
        match self.report {
            Report::AuxiliaryVector => {
                may_inspect(process)?;
                text.extend_from_slice(&report::auxiliary_vector(process));
            }
            Report::Cgroup => text.extend_from_slice(b"0::/\n"),
            Report::CommandLine => text.extend_from_slice(&report::strings(process, Strings::Arguments)),
            Report::Comm => {
                text.extend_from_slice(&subject.name());
                text.push(b'\n');
            }
            Report::CoreDumpFilter => text.extend_from_slice(b"00000033\n"),
            Report::Environment => {
                may_inspect(process)?;
                text.extend_from_slice(&report::strings(process, Strings::Environment));
            }
            Report::Limits => text.extend_from_slice(report::limits(process).as_bytes()),
            // No audit: nobody has logged in.
            Report::LoginUser => text.extend_from_slice(b"4294967295"),
            // These have operations of their own; see `open`.
            Report::Maps | Report::Memory | Report::NumaMaps | Report::Smaps => return Err(Errno::EIO),
            Report::MountInformation => self.write_mounts(text, system_report::mountinfo)?,
            Report::Mounts => self.write_mounts(text, system_report::mounts)?,
            Report::OutOfMemoryScore => append!(text, "{}\n", out_of_memory_score(process)),
            Report::OutOfMemoryAdjustment => text.extend_from_slice(b"0\n"),
            Report::Personality => append!(text, "{:08x}\n", process.personality()),
            Report::SmapsRollup => {
                if let Some(space) = self.space()? {
                    text.extend_from_slice(&area_report::smaps_rollup(&space));
                }
            }
            Report::SchedulerStatistics => text.extend_from_slice(report::schedstat(&subject).as_bytes()),
            Report::Stat => text.extend_from_slice(&report::stat(&subject)),
            Report::Statm => text.extend_from_slice(report::statm(&subject).as_bytes()),
            Report::Status => text.extend_from_slice(&report::status(&subject)),
            Report::WaitChannel => text.push(b'0'),
        }
        Ok(())
    }
    fn write(&self, _offset: u64, bytes: &[u8]) -> Result<()> {
        match self.report {
            Report::Comm => {
                let thread = self.owner.thread()?;
                if !Arc::ptr_eq(current_thread().process(), thread.process()) {
                    return Err(Errno::EINVAL);
                }
                let name = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                thread.set_name(name);
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }
    fn open(&self, _flags: OpenFlags) -> Result<Option<Arc<dyn FileOperations>>> {
        match self.report {
            Report::Memory => Ok(Some(Arc::new(ForeignMemory { space: self.space()? }))),
            Report::Maps => AreaListing::open(&self.owner, Form::new(Detail::Plain, area_report::write_area)).map(Some),
            Report::NumaMaps => {
                let policy = self.owner.thread().ok().and_then(|thread| thread.memory_policy.get());
                let form = Form { thread_policy: policy, ..Form::new(Detail::Nodes, numa_maps::write_area) };
                AreaListing::open(&self.owner, form).map(Some)
            }
            Report::Smaps => {
                AreaListing::open(&self.owner, Form::new(Detail::Usage, area_report::write_area_with_usage)).map(Some)
            }
            Report::Environment | Report::AuxiliaryVector | Report::SmapsRollup => {
                may_inspect(self.owner.process()).map(|()| None)
            }
            _ => Ok(None),
        }
    }
}

/// `/proc/PID/mem`: the position is the address.
struct ForeignMemory {
    space: Option<Arc<AddressSpace>>,
}

/// Bytes moved at a time between two address spaces.
const PIECE: usize = 1024;

impl FileOperations for ForeignMemory {
    fn read_at(&self, _file: &OpenFile, offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        let Some(space) = &self.space else { return Ok(0) };
        let mut buffer = [0; PIECE];
        let mut done = 0;
        while !destination.is_finished() {
            let length = destination.remaining().min(PIECE);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            let address = VirtualAddress::new(offset.wrapping_add(done as u64));
            let count = space.read_foreign(address, piece, ForeignAccess::Forced).unwrap_or(0);
            if count == 0 {
                return if done == 0 { Err(Errno::EIO) } else { Ok(done) };
            }
            done += destination.write(piece.get(..count).unwrap_or_default())?;
        }
        Ok(done)
    }
    fn write_at(&self, _file: &OpenFile, offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        let Some(space) = &self.space else { return Ok(0) };
        let mut buffer = [0; PIECE];
        let mut done = 0;
        while !source.is_finished() {
            let length = source.remaining().min(PIECE);
            let read = source.read(buffer.get_mut(..length).unwrap_or_default())?;
            let address = VirtualAddress::new(offset.wrapping_add(done as u64));
            let piece = buffer.get(..read).unwrap_or_default();
            let count = space.write_foreign(address, piece, ForeignAccess::Forced).unwrap_or(0);
            done += count;
            if count < read || read == 0 {
                return if done == 0 { Err(Errno::EIO) } else { Ok(done) };
            }
        }
        Ok(done)
    }
}

struct MagicLink {
    owner: Owner,
    link: Link,
}

impl MagicLink {
    /// The directories; `ENOENT` for a thread that has ended and for the kernel's own, as on Linux.
    fn file_system(&self) -> Result<Arc<FsContext>> {
        self.owner.thread()?.try_file_system().ok_or(Errno::ENOENT)
    }
}

impl PseudoLink for MagicLink {
    fn target(&self) -> Result<LinkTarget> {
        may_inspect(self.owner.process())?;
        let location = match self.link {
            Link::Executable => {
                let program = self.owner.process().program().ok_or(Errno::ENOENT)?;
                pseudo::location_of(&program.file)
            }
            Link::WorkingDirectory => self.file_system()?.working_directory(),
            Link::Root => self.file_system()?.root(),
        };
        Ok(LinkTarget::Jump(location))
    }
    fn text(&self) -> Result<Vec<u8>> {
        match self.target()? {
            LinkTarget::Jump(location) => Ok(location.display_path(&current_thread().file_system().root())),
            LinkTarget::Path(text) => Ok(text.to_vec()),
        }
    }
}
