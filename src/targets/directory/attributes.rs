//! Owner, permissions and extended attributes of what replaces a file: those of the file, as far as we may.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::stat::{Kind, Stat};

/// Permissions of a new file, as Git's checkout has them.
const NEW: Mode = Mode::from_raw_mode(0o644);
const NEW_EXECUTABLE: Mode = Mode::from_raw_mode(0o755);
/// Who may execute.
const EXECUTE: Mode = Mode::from_raw_mode(0o111);
/// Runs as the file's owner or group: never kept if the owner could not be.
const SET_ID: Mode = Mode::SUID.union(Mode::SGID);
/// Attributes that vouch for the old content, or belong to the file system itself.
const NOT_COPIED: [&[u8]; 3] = [b"security.capability", b"security.ima", b"security.evm"];

/// Gives a new file the attributes of the one that it replaces, and the executable bit that is wanted.
///
/// What we may not set (another owner, a label) is left as the file system made it; set-id bits then go.
pub(super) fn give(new: &OwnedFd, old: Option<(&OwnedFd, &Stat)>, executable: bool) -> rustix::io::Result<()> {
    let Some((old, stat)) = old.filter(|(_, stat)| stat.kind == Kind::File) else {
        return rustix::fs::fchmod(new, if executable { NEW_EXECUTABLE } else { NEW });
    };
    let owner = rustix::fs::fchown(new, Some(Uid::from_raw(stat.uid)), Some(Gid::from_raw(stat.gid)));
    let owned = owner.is_ok() || {
        // The group alone may be ours to give.
        let _ = rustix::fs::fchown(new, None, Some(Gid::from_raw(stat.gid)));
        false
    };
    copy_xattrs(old, new)?;
    let mut mode = wanted(stat.mode, stat.executable(), executable);
    if !owned {
        mode.remove(SET_ID);
    }
    // Last: changing the owner clears set-id bits, and an access list's mask is the group's permission.
    rustix::fs::fchmod(new, mode)
}

/// Returns the permissions with the executable bit as wanted: for everybody who may read, or for nobody.
fn wanted(mode: Mode, is: bool, shall: bool) -> Mode {
    match (is, shall) {
        (true, false) => mode.difference(EXECUTE),
        (false, true) => {
            let readers = Mode::from_raw_mode((mode.as_raw_mode() & 0o444) >> 2);
            mode | readers | Mode::XUSR
        }
        (true, true) | (false, false) => mode,
    }
}

/// Copies access lists, labels and users' attributes, each as far as permitted.
fn copy_xattrs(old: &OwnedFd, new: &OwnedFd) -> rustix::io::Result<()> {
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::flistxattr(old, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::ACCESS) => return Ok(()),
        Err(error) => return Err(error),
    };
    names.truncate(length);
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if NOT_COPIED.contains(&name.to_bytes()) || name.to_bytes().starts_with(b"trusted.") {
            continue;
        }
        // The kernel's limit for one attribute's value.
        let mut value = vec![0; 64 * 1024];
        let Ok(length) = rustix::fs::fgetxattr(old, name, value.as_mut_slice()) else { continue };
        match rustix::fs::fsetxattr(new, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_executable_bit_is_ours() {
        let mode = |bits| Mode::from_raw_mode(bits);
        assert_eq!(wanted(mode(0o640), false, false), mode(0o640));
        assert_eq!(wanted(mode(0o640), false, true), mode(0o750));
        assert_eq!(wanted(mode(0o755), true, false), mode(0o644));
        assert_eq!(wanted(mode(0o700), true, true), mode(0o700));
        assert_eq!(wanted(mode(0o600), false, true), mode(0o700));
        assert_eq!(wanted(mode(0o4755), true, true), mode(0o4755));
    }
}
