//! System calls about extended attributes.

use super::Call;
use super::argument::{Descriptor, Flags, PathPointer};
use super::path::{WORKING_DIRECTORY, resolve};
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::inode::SetAttributeMode;
use crate::fs::permission::{self, Access};
use crate::fs::types::mode;
use crate::fs::walk::LookupFlags;
use crate::fs::{FileDescriptor, FileType, Location, pseudo};
use crate::memory::user::{UserSlice, copy_to_user, read_c_string};
use crate::security::Capability;
use alloc::vec::Vec;

/// `XATTR_NAME_MAX`, `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`.
const NAME_MAX: usize = 255;
const SIZE_MAX: usize = 65_536;
const LIST_MAX: usize = 65_536;

fn name(address: VirtualAddress) -> Result<Vec<u8>> {
    let name = read_c_string(address, NAME_MAX + 1).map_err(|error| match error {
        Errno::ENAMETOOLONG => Errno::ERANGE,
        other => other,
    })?;
    if name.is_empty() { Err(Errno::ERANGE) } else { Ok(name) }
}

/// Who may read or write the attribute, by its name's first part.
fn check(call: &Call<'_>, location: &Location, name: &[u8], access: Access) -> Result<()> {
    let credentials = call.thread.credentials();
    let writes = access.contains(Access::WRITE);
    if writes {
        permission::want_write(location)?;
    }
    let inode = &**location.inode();
    if name.starts_with(b"trusted.") {
        if credentials.may(Capability::SysAdmin) {
            return Ok(());
        }
        return Err(if writes { Errno::EPERM } else { Errno::ENODATA });
    }
    if name.starts_with(b"user.") {
        let header = inode.header();
        if !matches!(header.file_type(), FileType::Regular | FileType::Directory) {
            return Err(if writes { Errno::EPERM } else { Errno::ENODATA });
        }
        let sticky = header.is_directory() && header.mode() & mode::STICKY != 0;
        if writes && sticky && !permission::is_owner_or_capable(inode, &credentials) {
            return Err(Errno::EPERM);
        }
        return permission::check_location(location, &credentials, access);
    }
    if name.starts_with(b"security.") {
        if writes && !credentials.may(Capability::SysAdmin) {
            return Err(Errno::EPERM);
        }
        return Ok(());
    }
    Err(Errno::EOPNOTSUPP)
}

fn set(
    call: &Call<'_>,
    location: &Location,
    attribute: VirtualAddress,
    value: VirtualAddress,
    size: usize,
    flags: Flags,
) -> Result<()> {
    let how = match flags.0 {
        0 => SetAttributeMode::Any,
        1 => SetAttributeMode::Create,
        2 => SetAttributeMode::Replace,
        _ => return Err(Errno::EINVAL),
    };
    let attribute = name(attribute)?;
    if size > SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let value = UserSlice::new(value, size).read_to_vec()?;
    check(call, location, &attribute, Access::WRITE)?;
    location.inode().set_extended_attribute(&attribute, &value, how)
}

/// Copies an answer out, or tells its size where no room was given.
fn answer(bytes: &[u8], target: VirtualAddress, size: usize) -> Result<usize> {
    if size != 0 {
        if bytes.len() > size {
            return Err(Errno::ERANGE);
        }
        copy_to_user(target, bytes)?;
    }
    Ok(bytes.len())
}

fn get(
    call: &Call<'_>,
    location: &Location,
    attribute: VirtualAddress,
    target: VirtualAddress,
    size: usize,
) -> Result<usize> {
    let attribute = name(attribute)?;
    check(call, location, &attribute, Access::READ)?;
    answer(&location.inode().extended_attribute(&attribute)?, target, size)
}

fn list(call: &Call<'_>, location: &Location, target: VirtualAddress, size: usize) -> Result<usize> {
    let shows_trusted = call.thread.credentials().may(Capability::SysAdmin);
    let mut names = Vec::new();
    let listed = location.inode().list_extended_attributes(&mut |name| {
        if shows_trusted || !name.starts_with(b"trusted.") {
            names.extend_from_slice(name);
            names.push(0);
        }
    });
    match listed {
        Ok(()) | Err(Errno::EOPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    if names.len() > LIST_MAX {
        return Err(Errno::E2BIG);
    }
    answer(&names, target, size)
}

fn remove(call: &Call<'_>, location: &Location, attribute: VirtualAddress) -> Result<()> {
    let attribute = name(attribute)?;
    check(call, location, &attribute, Access::WRITE)?;
    location.inode().remove_extended_attribute(&attribute)
}

fn followed(call: &Call<'_>, path: PathPointer) -> Result<Location> {
    resolve(call, WORKING_DIRECTORY, path, LookupFlags::FOLLOW)
}

fn itself(call: &Call<'_>, path: PathPointer) -> Result<Location> {
    resolve(call, WORKING_DIRECTORY, path, LookupFlags::empty())
}

fn opened(call: &Call<'_>, descriptor: Descriptor) -> Result<Location> {
    Ok(pseudo::location_of(&call.thread.files().get(FileDescriptor(descriptor.0))?))
}

macro_rules! calls {
    ($($manual:literal $set:ident $get:ident $list:ident $remove:ident = $find:ident($argument:ty);)*) => {$(
        #[doc = concat!("`", stringify!($set), "(2)`, ", $manual, ".")]
        pub fn $set(
            call: &mut Call<'_>,
            file: $argument,
            name: VirtualAddress,
            value: VirtualAddress,
            size: usize,
            flags: Flags,
        ) -> Result<()> {
            let location = $find(call, file)?;
            set(call, &location, name, value, size, flags)
        }
        #[doc = concat!("`", stringify!($get), "(2)`, ", $manual, ".")]
        pub fn $get(
            call: &mut Call<'_>,
            file: $argument,
            name: VirtualAddress,
            value: VirtualAddress,
            size: usize,
        ) -> Result<usize> {
            let location = $find(call, file)?;
            get(call, &location, name, value, size)
        }
        #[doc = concat!("`", stringify!($list), "(2)`, ", $manual, ".")]
        pub fn $list(call: &mut Call<'_>, file: $argument, names: VirtualAddress, size: usize) -> Result<usize> {
            let location = $find(call, file)?;
            list(call, &location, names, size)
        }
        #[doc = concat!("`", stringify!($remove), "(2)`, ", $manual, ".")]
        pub fn $remove(call: &mut Call<'_>, file: $argument, name: VirtualAddress) -> Result<()> {
            let location = $find(call, file)?;
            remove(call, &location, name)
        }
    )*};
}

calls! {
    "of the file at a path" setxattr getxattr listxattr removexattr = followed(PathPointer);
    "of a symbolic link itself" lsetxattr lgetxattr llistxattr lremovexattr = itself(PathPointer);
    "of an open file" fsetxattr fgetxattr flistxattr fremovexattr = opened(Descriptor);
}
