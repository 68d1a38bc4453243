//! Looks at one name: what kind of thing it is, and the digest of what it holds.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::beneath::{explain, open_file};
use super::hook::step;
use super::stat::{Kind, Stat};
use crate::core::resource::Digest;
use crate::core::spelling::{file_digest, link_digest};
use crate::targets::blob_hasher;

/// How much of a file is read at once: large enough that the system call does not count, small enough for a stack of
/// threads to hold one each.
const CHUNK: usize = 128 * 1024;
/// How often a file that changes under our eyes is read again before it counts as unread.
const TRIES: usize = 3;

/// What a name held.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// Nothing.
    Absent,
    /// Something, unchanged from before its content was read until after.
    There(Stat, Digest),
    /// It could not be read, and why.
    Unread(Arc<str>),
}

/// Looks at a name right below an open directory.
pub(super) fn look(dir: BorrowedFd<'_>, name: &[u8]) -> Look {
    match Stat::of(dir, name) {
        Ok(stat) => look_from(dir, name, stat),
        Err(Errno::NOENT) => Look::Absent,
        Err(error) => Look::Unread(explain(error).into()),
    }
}

/// Reads what a name holds that was seen as `stat`.
pub(super) fn look_from(dir: BorrowedFd<'_>, name: &[u8], mut stat: Stat) -> Look {
    for _ in 0..TRIES {
        let digest = match stat.kind {
            Kind::File => file(dir, name, &stat),
            Kind::Link => rustix::fs::readlinkat(dir, name, Vec::new())
                .map(|target| link_digest(target.to_bytes()))
                .map_err(Unreadable::Errno),
            Kind::Directory | Kind::Other(_) => Ok(other_digest(stat.kind)),
        };
        let now = match Stat::of(dir, name) {
            Ok(now) => now,
            Err(Errno::NOENT) => return Look::Absent,
            Err(error) => return Look::Unread(explain(error).into()),
        };
        match digest {
            // A directory's times change with what is in it, which is nobody's content here.
            Ok(digest) if now == stat || stat.kind == Kind::Directory => return Look::There(now, digest),
            Err(why) if now == stat => return Look::Unread(why.to_string().into()),
            Ok(_) | Err(_) => stat = now,
        }
    }
    Look::Unread("it changes while it is being read".into())
}

/// Returns the digest of something that is neither file nor link; it is never opened.
pub(super) fn other_digest(kind: Kind) -> Digest {
    Digest::of_parts([b"other".as_slice(), kind.name().as_bytes()])
}

#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("{}", explain(*.0))]
    Errno(Errno),
    #[error("it changes while it is being read")]
    Changing,
    #[error("its content is a SHA-1 collision attack")]
    Collision,
}

/// Hashes a regular file as Git does a blob, in chunks.
fn file(dir: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Result<Digest, Unreadable> {
    let fd = open_file(dir, name).map_err(Unreadable::Errno)?;
    let opened = Stat::of_fd(&fd).map_err(Unreadable::Errno)?;
    if opened.mark != stat.mark || opened.kind != Kind::File {
        return Err(Unreadable::Changing);
    }
    step("read").map_err(Unreadable::Errno)?;
    let mut hash = blob_hasher(stat.mark.size);
    let mut buffer = vec![0; CHUNK.min(usize::try_from(stat.mark.size).unwrap_or(CHUNK).max(1))];
    let mut left = stat.mark.size;
    loop {
        step("chunk").map_err(Unreadable::Errno)?;
        match rustix::io::read(fd.as_fd(), &mut buffer) {
            Ok(0) if left == 0 => break,
            Ok(read) if read > 0 && read as u64 <= left => {
                hash.update(&buffer[..read]);
                left -= read as u64;
            }
            Ok(_) => return Err(Unreadable::Changing),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Unreadable::Errno(error)),
        }
    }
    let oid = hash.try_finalize().map_err(|_| Unreadable::Collision)?;
    Ok(file_digest(stat.executable(), oid.as_slice()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::hook;
    use super::*;
    use crate::targets::content_digest;

    fn at(dir: &std::path::Path) -> super::super::beneath::Root {
        super::super::beneath::Root::open(dir).unwrap()
    }

    #[test]
    fn digests_are_those_of_git() {
        let temp = tempfile::tempdir().unwrap();
        let root = at(temp.path());
        for content in [b"".as_slice(), b"hello\n", &[0; 300_000]] {
            fs::write(temp.path().join("f"), content).unwrap();
            let mut git = std::process::Command::new("git");
            let out = git.args(["hash-object", "--no-filters", "f"]).current_dir(&temp).output().unwrap();
            let oid = hex::decode(String::from_utf8(out.stdout).unwrap().trim()).unwrap();
            match look(root.as_fd(), b"f") {
                Look::There(stat, digest) => {
                    assert_eq!(digest, file_digest(false, &oid));
                    assert_eq!(Some(digest), content_digest(content, false));
                    assert_eq!(stat.mark.size, content.len() as u64);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_read_again() {
        let temp = tempfile::tempdir().unwrap();
        let root = at(temp.path());
        let path = temp.path().join("f");
        fs::write(&path, "one").unwrap();
        let mut once = true;
        let grown = path.clone();
        let _hook = hook::set(move |name| {
            if name == "read" && std::mem::take(&mut once) {
                fs::write(&grown, "two two").unwrap();
            }
            Ok(())
        });
        match look(root.as_fd(), b"f") {
            Look::There(_, digest) => assert_eq!(Some(digest), content_digest(b"two two", false)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn half_of_one_content_and_half_of_another_is_no_content() {
        let temp = tempfile::tempdir().unwrap();
        let root = at(temp.path());
        let path = temp.path().join("f");
        fs::write(&path, vec![b'a'; 2 * CHUNK]).unwrap();
        let mut chunks = 0;
        let _hook = hook::set(move |name| {
            chunks += u32::from(name == "chunk");
            if chunks == 2 {
                fs::write(&path, vec![b'b'; 2 * CHUNK]).unwrap();
            }
            Ok(())
        });
        match look(root.as_fd(), b"f") {
            Look::There(_, digest) => assert_eq!(Some(digest), content_digest(&[b'b'; 2 * CHUNK], false)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_that_never_rests_is_unread() {
        let temp = tempfile::tempdir().unwrap();
        let root = at(temp.path());
        let path = temp.path().join("f");
        fs::write(&path, "").unwrap();
        let mut size = 0;
        let _hook = hook::set(move |_| {
            size += 1;
            fs::write(&path, vec![0; size]).unwrap();
            Ok(())
        });
        assert!(matches!(look(root.as_fd(), b"f"), Look::Unread(why) if why.contains("changes")));
    }
}
