//! Remembers the digests of files that did not change, so that a cycle costs one `statx` each.
//!
//! A file is known by (device, inode, size, mtime, ctime). As in Git's index, an entry is *racy* and not taken if the
//! file changed so shortly before it was read that another change could carry the same times. Nothing is believed for
//! longer than a day.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::stat::Mark;
use crate::core::resource::Digest;

/// How much older than the reading the times must be: the coarsest clock of a file system in use, FAT's two seconds.
const MARGIN: Duration = Duration::from_secs(2);
/// After this time everything is read again, spread over [`SPREAD`] before it so that not all falls due at once.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
const SPREAD: Duration = Duration::from_secs(6 * 60 * 60);
/// First bytes of the file; another format has another number.
const MAGIC: &[u8; 16] = b"holdfast-stat-1\n";
const ENTRY: usize = 6 * 8 + 32;

/// One remembered digest, 80 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    mark: Mark,
    /// When reading began, in nanoseconds since 1970.
    read: i64,
    digest: Digest,
}

/// The remembered digests, sorted by device and inode.
#[derive(Clone, Debug, Default)]
pub struct StatCache {
    entries: Vec<Entry>,
    changed: bool,
}

impl StatCache {
    /// Starts with nothing remembered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many files are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Tells whether there is anything to save since it was loaded or saved.
    pub const fn changed(&self) -> bool {
        self.changed
    }

    /// Loads what [`Self::save`] wrote. A missing file is an empty cache.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read: go on with an empty cache, it costs one reading of everything.
    pub fn load(path: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::new()),
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the stat cache is damaged");
        let (body, sum) = bytes.split_last_chunk::<32>().ok_or_else(damaged)?;
        if Sha256::digest(body).as_slice() != sum {
            return Err(damaged());
        }
        let body = body.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (entries, []) = body.as_chunks::<ENTRY>() else { return Err(damaged()) };
        let entries: Vec<Entry> = entries.iter().map(Entry::from_bytes).collect();
        let sorted = entries.is_sorted_by(|a, b| a.key() < b.key());
        if sorted { Ok(Self { entries, changed: false }) } else { Err(damaged()) }
    }

    /// Writes the cache beside `path` and renames it there. Not synced: a torn file is noticed and costs a reading.
    ///
    /// # Errors
    /// Whatever writing a file meets.
    pub fn save(&mut self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(folder)?;
        let mut out = io::BufWriter::new(&file);
        let mut sum = Sha256::new();
        let mut put = |bytes: &[u8]| {
            sum.update(bytes);
            out.write_all(bytes)
        };
        put(MAGIC)?;
        for entry in &self.entries {
            put(&entry.to_bytes())?;
        }
        out.write_all(&sum.finalize())?;
        out.flush()?;
        drop(out);
        file.persist(path).map_err(|error| error.error)?;
        self.changed = false;
        Ok(())
    }

    /// Returns the digest of a file seen as `mark`, if it can be relied on at `now`.
    ///
    /// `next` is where it may be, and after that where the next one may: files that were made one after the other, as most
    /// are, have inodes in the order of their names, and are found without a search.
    pub(super) fn get(&self, mark: &Mark, now: Timestamp, next: &mut usize) -> Option<Digest> {
        let key = (mark.dev, mark.ino);
        let at = match self.entries.get(*next) {
            Some(entry) if entry.key() == key => *next,
            _ => self.entries.binary_search_by(|entry| entry.key().cmp(&key)).ok()?,
        };
        *next = at + 1;
        let entry = self.entries.get(at)?;
        (entry.mark == *mark && !entry.racy() && entry.current(now)).then_some(entry.digest)
    }

    /// Adds what was read, and forgets what nobody could rely on any more.
    pub(super) fn absorb(&mut self, mut fresh: Vec<Entry>, now: Timestamp) {
        fresh.retain(|entry| !entry.racy());
        if fresh.is_empty() {
            return;
        }
        // Of two names of one inode, or an old and a new entry, the later reading stays.
        fresh.extend(self.entries.iter().filter(|entry| entry.current(now)));
        fresh.sort_unstable_by_key(|entry| (entry.key(), std::cmp::Reverse(entry.read)));
        fresh.dedup_by_key(|entry| entry.key());
        fresh.shrink_to_fit();
        self.entries = fresh;
        self.changed = true;
    }
}

impl Entry {
    /// Remembers a digest; `read` is a time before the reading began.
    pub(super) fn new(mark: Mark, read: Timestamp, digest: Digest) -> Self {
        Self { mark, read: nanoseconds(read), digest }
    }

    const fn key(&self) -> (u64, u64) {
        (self.mark.dev, self.mark.ino)
    }

    /// Tells whether the file changed so shortly before the reading, or after it by its own clock, that another change
    /// could carry the same times.
    fn racy(&self) -> bool {
        let settled = self.read.saturating_sub(nanos(MARGIN));
        self.mark.mtime >= settled || self.mark.ctime >= settled
    }

    /// Tells whether the reading is less than a day old, and not in the future (the clock was set back).
    fn current(&self, now: Timestamp) -> bool {
        let spread = self.mark.ino.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
        let spread = i64::try_from(spread).unwrap_or(0) % nanos(SPREAD);
        let age = nanoseconds(now).saturating_sub(self.read);
        (0..nanos(MAX_AGE) - spread).contains(&age)
    }

    fn to_bytes(self) -> [u8; ENTRY] {
        let Mark { dev, ino, size, mtime, ctime } = self.mark;
        let mut bytes = [0; ENTRY];
        let words = [dev, ino, size, mtime.cast_unsigned(), ctime.cast_unsigned(), self.read.cast_unsigned()];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes[6 * 8..].copy_from_slice(self.digest.as_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY]) -> Self {
        let word = |at: usize| {
            let word: [u8; 8] = bytes[at * 8..][..8].try_into().expect("eight bytes make a word");
            u64::from_le_bytes(word)
        };
        let digest: [u8; 32] = bytes[6 * 8..].try_into().expect("an entry ends in 32 bytes");
        Self {
            mark: Mark {
                dev: word(0),
                ino: word(1),
                size: word(2),
                mtime: word(3).cast_signed(),
                ctime: word(4).cast_signed(),
            },
            read: word(5).cast_signed(),
            digest: Digest::from_bytes(digest),
        }
    }
}

fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn mark(ino: u64, changed: Timestamp) -> Mark {
        let changed = nanoseconds(changed);
        Mark { dev: 1, ino, size: 3, mtime: changed - 1_000_000_000_000, ctime: changed }
    }

    fn get(cache: &StatCache, mark: &Mark, now: Timestamp) -> Option<Digest> {
        cache.get(mark, now, &mut 0)
    }

    const DIGEST: Digest = Digest::from_bytes([7; 32]);

    fn cache(mark: Mark, read: Timestamp) -> StatCache {
        let mut cache = StatCache::new();
        cache.absorb(vec![Entry::new(mark, read, DIGEST)], read);
        cache
    }

    #[test]
    fn a_settled_file_is_known_until_any_part_of_its_mark_moves() {
        let seen = mark(5, at(0));
        let cache = cache(seen, at(10));
        assert_eq!(get(&cache, &seen, at(20)), Some(DIGEST));
        for moved in [
            Mark { dev: 2, ..seen },
            Mark { ino: 6, ..seen },
            Mark { size: 4, ..seen },
            Mark { mtime: seen.mtime + 1, ..seen },
            Mark { ctime: seen.ctime + 1, ..seen },
        ] {
            assert_eq!(get(&cache, &moved, at(20)), None, "{moved:?}");
        }
    }

    #[test]
    fn a_file_read_right_after_its_change_is_not_remembered() {
        assert!(cache(mark(5, at(9)), at(10)).is_empty());
        assert!(cache(mark(5, at(8)), at(10)).is_empty(), "the margin itself is still racy");
        assert!(cache(mark(5, at(11)), at(10)).is_empty(), "a server's clock ahead of ours");
        let late_mtime = Mark { mtime: nanoseconds(at(10)), ..mark(5, at(0)) };
        assert!(cache(late_mtime, at(10)).is_empty());
        assert_eq!(cache(mark(5, at(7)), at(10)).len(), 1);
    }

    #[test]
    fn nothing_is_believed_for_more_than_a_day_or_from_the_future() {
        for ino in 0..1000 {
            let seen = mark(ino, at(0));
            let cache = cache(seen, at(10));
            assert!(
                get(&cache, &seen, at(10) + SignedDuration::from_hours(18) - SignedDuration::from_secs(1)).is_some()
            );
            assert!(get(&cache, &seen, at(10) + SignedDuration::from_hours(24)).is_none());
            assert!(get(&cache, &seen, at(9)).is_none());
        }
    }

    #[test]
    fn what_expired_goes_when_something_new_comes() {
        let mut cache = cache(mark(5, at(0)), at(10));
        let later = at(10) + SignedDuration::from_hours(30);
        cache.absorb(vec![Entry::new(mark(6, at(0)), later, DIGEST)], later);
        assert_eq!(cache.len(), 1);
        assert!(get(&cache, &mark(6, at(0)), later).is_some());
    }

    #[test]
    fn it_survives_a_restart_and_notices_any_damage() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("cache");
        assert!(StatCache::load(&path).unwrap().is_empty());
        let mut cache = cache(mark(5, at(0)), at(10));
        cache.absorb(vec![Entry::new(mark(4, at(0)), at(10), DIGEST)], at(10));
        assert!(cache.changed());
        cache.save(&path).unwrap();
        assert!(!cache.changed());
        let again = StatCache::load(&path).unwrap();
        assert_eq!((again.len(), get(&again, &mark(4, at(0)), at(11))), (2, Some(DIGEST)));
        let good = fs::read(&path).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            fs::write(&path, bad).unwrap();
            assert!(StatCache::load(&path).is_err(), "byte {position}");
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(StatCache::load(&path).is_err());
        fs::write(&path, "").unwrap();
        assert!(StatCache::load(&path).is_err());
    }
}
