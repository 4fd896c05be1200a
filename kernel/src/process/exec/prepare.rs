//! Everything that is found out before the point of no return: the file, its interpreter, the strings, the credentials.

use super::arguments::Strings;
use super::elf::{self, Image};
use super::{load, script};
use crate::base::{Errno, Result};
use crate::fs::mount::MountFlags;
use crate::fs::open::open_checked;
use crate::fs::permission::{self, Access};
use crate::fs::walk::{LookupFlags, Walker};
use crate::fs::{FileType, Location, OpenFile, OpenFlags};
use crate::process::Thread;
use crate::process::program::DeniedWriters;
use crate::security::{Credentials, ExecIdentity};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How deep scripts may name scripts as their interpreters.
const SCRIPT_DEPTH: usize = 5;

/// Which file to execute.
#[derive(Debug)]
pub enum Target {
    /// This one, already found; `path` is what `AT_EXECFN` says.
    Found {
        /// Where it is.
        location: Location,
        /// Its name for the program.
        path: Vec<u8>,
        /// Whether the name leads to it after `execve` (it does not for a descriptor that is closed by it).
        reachable: Reachable,
    },
    /// The one at this path.
    Path(Vec<u8>),
}

/// See [`Target::Found`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reachable {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// Everything that was found out before the point of no return.
pub(super) struct Prepared {
    pub file: Arc<OpenFile>,
    pub image: Image,
    pub interpreter: Option<(Arc<OpenFile>, Image)>,
    pub path: Vec<u8>,
    pub arguments: Strings,
    pub environment: Strings,
    pub credentials: Credentials,
    pub secure: bool,
    /// Writers are kept out of these until the process has gone on to another program.
    pub denied: Vec<DeniedWriters>,
}

fn open_program(location: Location, credentials: &Credentials) -> Result<Arc<OpenFile>> {
    if location.inode().header().file_type() != FileType::Regular {
        return Err(Errno::EACCES);
    }
    permission::check_location(&location, credentials, Access::EXECUTE)?;
    open_checked(location, OpenFlags::empty(), credentials)
}

fn find_program(thread: &Thread, path: &[u8], credentials: &Credentials) -> Result<Arc<OpenFile>> {
    let context = thread.file_system();
    let walker = Walker { context: &context, credentials };
    open_program(walker.resolve(None, path, LookupFlags::FOLLOW)?, credentials)
}

/// Opens and reads what `target` names, without a change to the caller.
///
/// # Errors
/// As `execve(2)`.
pub(super) fn prepare(
    thread: &Arc<Thread>,
    target: Target,
    mut arguments: Strings,
    environment: Strings,
) -> Result<Prepared> {
    let credentials = thread.credentials();
    if arguments.count() == 0 {
        // A program without a name trips over itself; Linux gives it an empty one.
        arguments.push(b"")?;
    }
    let (mut file, path, reachable) = match target {
        Target::Path(path) => (find_program(thread, &path, &credentials)?, path, Reachable::Yes),
        Target::Found { location, path, reachable } => (open_program(location, &credentials)?, path, reachable),
    };
    let mut denied = Vec::new();
    denied.push(DeniedWriters::new(&file)?);
    let mut script_path = path.clone();
    let mut depth = 0;
    let image = loop {
        let head = load::read_head(&file)?;
        let Some(line) = script::parse(&head)? else { break load::read_image(&file, &head)? };
        depth += 1;
        if depth > SCRIPT_DEPTH {
            return Err(Errno::ELOOP);
        }
        if reachable == Reachable::No {
            return Err(Errno::ENOENT);
        }
        match line.argument {
            Some(argument) => arguments.replace_first(&[line.interpreter, argument, &script_path])?,
            None => arguments.replace_first(&[line.interpreter, &script_path])?,
        }
        script_path = line.interpreter.to_vec();
        file = find_program(thread, line.interpreter, &credentials)?;
        denied.push(DeniedWriters::new(&file)?);
    };
    let interpreter = match image.interpreter {
        Some((offset, length)) => Some(find_interpreter(thread, &file, offset, length, &credentials, &mut denied)?),
        None => None,
    };
    let (credentials, secure) = credentials.prepare_exec(identity_of(&file));
    Ok(Prepared { file, image, interpreter, path, arguments, environment, credentials, secure, denied })
}

fn find_interpreter(
    thread: &Arc<Thread>,
    file: &OpenFile,
    offset: u64,
    length: usize,
    credentials: &Credentials,
    denied: &mut Vec<DeniedWriters>,
) -> Result<(Arc<OpenFile>, Image)> {
    let name = load::read_exactly(file, offset, length)?;
    let Some((0, name)) = name.split_last() else { return Err(Errno::ENOEXEC) };
    let name = name.split(|byte| *byte == 0).next().unwrap_or(&[]);
    let interpreter = find_program(thread, name, credentials)?;
    denied.push(DeniedWriters::new(&interpreter)?);
    let head = load::read_head(&interpreter)?;
    if head.len() < elf::HEADER_SIZE {
        return Err(Errno::EIO);
    }
    let image = load::read_image(&interpreter, &head).map_err(|error| match error {
        Errno::ENOEXEC | Errno::EINVAL => Errno::ELIBBAD,
        other => other,
    })?;
    Ok((interpreter, image))
}

/// The set-ID bits that count.
fn identity_of(file: &OpenFile) -> ExecIdentity {
    const SET_UID: u32 = 0o4000;
    const SET_GID_AND_EXECUTE: u32 = 0o2010;
    let mut identity = ExecIdentity::default();
    if let Some(location) = file.location()
        && !location.mount.flags().contains(MountFlags::NO_SET_UID)
    {
        let header = location.inode().header();
        let mode = header.mode();
        if mode & SET_UID != 0 {
            identity.set_uid = Some(header.uid());
        }
        if mode & SET_GID_AND_EXECUTE == SET_GID_AND_EXECUTE {
            identity.set_gid = Some(header.gid());
        }
    }
    identity
}
