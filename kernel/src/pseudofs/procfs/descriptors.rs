//! `/proc/PID/fd` and `/proc/PID/fdinfo`.

use super::owner::{Owner, may_inspect};
use crate::base::{Errno, Result};
use crate::fs::file::{FileMode, OpenFile};
use crate::fs::inode::{Inode, LinkTarget};
use crate::fs::pseudo::{self, Attributes, Listed, PseudoDirectory, PseudoFile, PseudoLink};
use crate::fs::types::{FileDescriptor, FileType};
use crate::process::current_thread;
use crate::pseudofs::append;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What is shown of each descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Links,
    Information,
}

/// One of the two directories.
pub(super) struct Descriptors {
    attributes: Attributes,
    owner: Owner,
    view: View,
}

impl Descriptors {
    /// `fd`.
    pub(super) fn links(attributes: Attributes, owner: Owner) -> Self {
        Self { attributes, owner, view: View::Links }
    }
    /// `fdinfo`.
    pub(super) fn information(attributes: Attributes, owner: Owner) -> Self {
        Self { attributes, owner, view: View::Information }
    }
    fn file(&self, name: &[u8]) -> Result<(FileDescriptor, Arc<OpenFile>)> {
        let number: i32 = if name == b"0" { 0 } else { super::parse_pid(name).ok_or(Errno::ENOENT)? };
        let descriptor = FileDescriptor(number);
        let files = self.owner.thread()?.try_files().ok_or(Errno::ENOENT)?;
        Ok((descriptor, files.get_any(descriptor).map_err(|_| Errno::ENOENT)?))
    }
}

impl PseudoDirectory for Descriptors {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        may_inspect(self.owner.process())?;
        let (descriptor, file) = self.file(name)?;
        let number = pseudo::number(self.attributes.number, name);
        Ok(match self.view {
            View::Links => {
                let mut permissions = 0;
                if file.mode().contains(FileMode::READ) {
                    permissions |= 0o500;
                }
                if file.mode().contains(FileMode::WRITE) {
                    permissions |= 0o300;
                }
                pseudo::link(Attributes { number, permissions, ..self.attributes }, DescriptorLink(file))
            }
            View::Information => {
                let attributes = Attributes { number, permissions: 0o400, ..self.attributes };
                pseudo::file(attributes, Information { owner: self.owner.clone(), descriptor, file })
            }
        })
    }
    fn list(&self, from: u64, add: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        may_inspect(self.owner.process())?;
        let Some(files) = self.owner.thread()?.try_files() else { return Ok(()) };
        let file_type = match self.view {
            View::Links => FileType::SymbolicLink,
            View::Information => FileType::Regular,
        };
        let first = usize::try_from(from.saturating_sub(2)).unwrap_or(usize::MAX);
        for (descriptor, _) in files.collect_from(first) {
            let name = alloc::format!("{}", descriptor.0);
            let number = pseudo::number(self.attributes.number, name.as_bytes());
            let position = u64::from(descriptor.0.unsigned_abs()) + 2;
            if !add(Listed { position, name: name.as_bytes(), number, file_type }) {
                break;
            }
        }
        Ok(())
    }
}

struct DescriptorLink(Arc<OpenFile>);

impl PseudoLink for DescriptorLink {
    fn target(&self) -> Result<LinkTarget> {
        Ok(LinkTarget::Jump(pseudo::location_of(&self.0)))
    }
    fn text(&self) -> Result<Vec<u8>> {
        Ok(pseudo::describe(&self.0, &current_thread().file_system().root()))
    }
}

struct Information {
    owner: Owner,
    descriptor: FileDescriptor,
    file: Arc<OpenFile>,
}

impl PseudoFile for Information {
    fn read(&self, text: &mut Vec<u8>) -> Result<()> {
        use crate::fs::file_table::CloseOnExec;
        const CLOSE_ON_EXEC: u32 = 0o2_000_000;
        let files = self.owner.thread()?.try_files().ok_or(Errno::ENOENT)?;
        let mut flags = self.file.flags().bits();
        if files.close_on_exec(self.descriptor).is_ok_and(|kept| kept == CloseOnExec::Yes) {
            flags |= CLOSE_ON_EXEC;
        }
        let (mount, inode) = self.file.location().map_or((0, self.file.metadata().inode), |location| {
            (location.mount.id(), location.inode().header().number())
        });
        append!(text, "pos:\t{}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{inode}\n", self.file.position());
        Ok(())
    }
}
