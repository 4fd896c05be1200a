//! Descriptors that stand for a process: `pidfd_open`, `CLONE_PIDFD`, and the look-up for `pidfd_send_signal` and `P_PIDFD`.

use super::resource_limits::Resource;
use super::{Lifecycle, Process, Thread, table};
use crate::base::{Errno, Result};
use crate::fs::file::FileOperations;
use crate::fs::file_table::close_file;
use crate::fs::{CloseOnExec, FileDescriptor, FileTraits, OpenFile, OpenFlags, PollEvents, PollTable};
use alloc::string::String;
use alloc::sync::Arc;

/// What a pidfd refers to.
#[derive(Debug)]
pub struct ProcessFile {
    process: Arc<Process>,
}

impl FileOperations for ProcessFile {
    fn traits(&self) -> FileTraits {
        FileTraits::Stream
    }
    fn poll(&self, _file: &OpenFile, poll: &mut PollTable) -> PollEvents {
        poll.wait_on(&self.process.end_poll, PollEvents::IN);
        let table = table::lock();
        match self.process.family(&table).lifecycle {
            Lifecycle::Alive => PollEvents::empty(),
            Lifecycle::Zombie(_) => PollEvents::IN | PollEvents::RDNORM,
            Lifecycle::Reaped => PollEvents::IN | PollEvents::RDNORM | PollEvents::HUP,
        }
    }
    fn describe(&self) -> String {
        String::from("anon_inode:[pidfd]")
    }
}

/// Whether waiting through the descriptor sleeps (`PIDFD_NONBLOCK`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocking {
    /// It does.
    Yes,
    /// `EAGAIN` instead.
    No,
}

/// Opens a descriptor for `process` in the caller's table; `execve` closes it.
///
/// # Errors
/// `EMFILE`.
pub fn open(caller: &Arc<Thread>, process: &Arc<Process>, blocking: Blocking) -> Result<FileDescriptor> {
    let flags = match blocking {
        Blocking::Yes => OpenFlags::READ_WRITE,
        Blocking::No => OpenFlags::READ_WRITE | OpenFlags::NON_BLOCKING,
    };
    let file = OpenFile::anonymous(Arc::new(ProcessFile { process: process.clone() }), flags);
    caller.files().install(file, caller.process().limit(Resource::OpenFiles), CloseOnExec::Yes)
}

/// Takes back a descriptor that [`open`] has just made.
pub(super) fn close(caller: &Arc<Thread>, descriptor: FileDescriptor) {
    let files = caller.files();
    if let Ok(file) = files.remove(descriptor) {
        close_file(file, Arc::as_ptr(&files).addr() as u64);
    }
}

/// The process that a descriptor refers to, and whether waiting through it sleeps.
///
/// # Errors
/// `EBADF` for what is no pidfd.
pub fn process_of(file: &OpenFile) -> Result<(Arc<Process>, Blocking)> {
    let process = file.operations_as::<ProcessFile>().ok_or(Errno::EBADF)?.process.clone();
    let blocking = if file.flags().contains(OpenFlags::NON_BLOCKING) { Blocking::No } else { Blocking::Yes };
    Ok((process, blocking))
}
