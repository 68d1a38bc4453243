//! Reads what the directory holds: one pass over sorted identities, one `openat2` per directory, one `statx` per file.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustix::io::Errno;

use super::beneath::{Closed, Root, SEARCH, closed, explain, open_dir};
use super::cache::{Entry, StatCache};
use super::hook::step;
use super::look::{Look, look_from};
use super::path::{below, path_of, split};
use super::stat::{Kind, Stat};
use super::{Directory, anchor, list};
use crate::core::resource::{Digest, Health, Here, Id, Live, NatureRef, Natures, Observed, Version, Vitals};
use crate::targets::Expect;

/// How many identities a thread takes at once.
const CHUNK: usize = 512;
/// Below this many identities, starting threads costs more than it saves.
const ALONE: usize = 4 * CHUNK;

impl Directory {
    /// Reads everything that is expected, and all else that an exclusive directory holds, fresh.
    ///
    /// `now` is the wall clock before the call. Never fails: what could not be read says so, per resource or whole.
    pub fn observe(&self, expect: &[Expect<'_>], cache: &mut StatCache, now: Timestamp) -> Observed {
        let root = match Root::open(&self.config.root) {
            Ok(root) => root,
            Err(why) => return Observed { failure: Some(why), ..Observed::default() },
        };
        let anchor = anchor::read(&root);
        let listing = if self.config.exclusive { list::all(&root) } else { list::Listing::default() };
        if listing.failure.is_some() {
            return Observed { failure: listing.failure, ..Observed::default() };
        }
        let mut names = Cow::Borrowed(expect);
        if !names.is_sorted_by(|a, b| a.id < b.id) {
            let names = names.to_mut();
            names.sort_by(|a, b| a.id.cmp(b.id));
            names.dedup_by(|a, b| a.id == b.id);
        }
        let is_extra = |id: &&Id| names.binary_search_by(|name| name.id.cmp(id)).is_err();
        let extras: BTreeSet<&Id> = listing.files.iter().filter(is_extra).collect();
        if !extras.is_empty() {
            let names = names.to_mut();
            names.extend(extras.iter().map(|id| Expect::new(id)));
            names.sort_by(|a, b| a.id.cmp(b.id));
        }

        let (mut seen, fresh) = walk(&root, &names, cache, now);
        // What nobody asked for and vanished after it was listed is nobody's business.
        seen.retain(|(id, live)| *live != Live::Gone || !extras.contains(id));
        cache.absorb(fresh, now);
        for (id, why) in listing.unread {
            if let Err(at) = seen.binary_search_by(|(seen, _)| seen.cmp(&id)) {
                seen.insert(at, (id, Live::Unread(why)));
            }
        }
        // Everything may have been read from a directory that was removed, unmounted or replaced meanwhile.
        match root.check(&self.config.root) {
            Ok(()) => Observed { seen, failure: None, anchor, same: Vec::new() },
            Err(why) => Observed { failure: Some(why), ..Observed::default() },
        }
    }
}

/// What was seen of each name, in the order of the names.
type Seen = (Id, Live);

/// Looks at every name, in up to four threads.
fn walk(root: &Root, names: &[Expect<'_>], cache: &StatCache, now: Timestamp) -> (Vec<Seen>, Vec<Entry>) {
    let mut seen: Vec<Seen> = names.iter().map(|name| (name.id.clone(), Live::Gone)).collect();
    let one = |names: &[Expect<'_>], seen: &mut [Seen]| {
        let mut walker = Walker::new(root, cache, now, seen);
        names.iter().enumerate().for_each(|(at, name)| walker.visit(at, name));
        walker.finish()
    };
    let fresh = if names.len() < ALONE {
        one(names, &mut seen)
    } else {
        let shares = Mutex::new(names.chunks(CHUNK).zip(seen.chunks_mut(CHUNK)));
        let next = || shares.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || std::iter::from_fn(next).flat_map(|(names, seen)| one(names, seen)).collect::<Vec<_>>();
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().flat_map(join).collect()
        })
    };
    (seen, fresh)
}

/// A directory that the walk is in, or could not get into.
struct Frame {
    path: Vec<u8>,
    opened: Result<OwnedFd, Closed>,
    /// Which results say that something is gone; believed only if the directory is still in its place afterwards.
    gone: Vec<usize>,
}

/// One pass over sorted names, holding the directories above the current one open.
struct Walker<'a> {
    root: &'a Root,
    cache: &'a StatCache,
    now: Timestamp,
    words: Words,
    /// Where in the cache the next file may be.
    next: usize,
    frames: Vec<Frame>,
    seen: &'a mut [Seen],
    fresh: Vec<Entry>,
}

impl<'a> Walker<'a> {
    fn new(root: &'a Root, cache: &'a StatCache, now: Timestamp, seen: &'a mut [Seen]) -> Self {
        Self { root, cache, now, words: Words::default(), next: 0, frames: Vec::new(), seen, fresh: Vec::new() }
    }

    fn visit(&mut self, at: usize, name: &Expect<'_>) {
        let live = match path_of(name.id) {
            Ok(path) => {
                let (dir, leaf) = split(&path);
                self.enter(dir);
                self.leaf(name, leaf)
            }
            Err(why) => Live::Unread(why.to_string().into()),
        };
        if live == Live::Gone
            && let Some(frame) = self.frames.last_mut()
        {
            frame.gone.push(at);
        }
        self.seen[at].1 = live;
    }

    /// Makes the top frame the directory `dir`, or the one above it that could not be opened.
    fn enter(&mut self, dir: &[u8]) {
        while let Some(frame) = self.frames.pop_if(|frame| below(dir, &frame.path).is_none()) {
            self.leave(frame);
        }
        let opened = match self.frames.last() {
            Some(Frame { opened: Err(_), .. }) => return,
            Some(Frame { path, .. }) if path == dir => return,
            Some(Frame { path, opened: Ok(above), .. }) => {
                let rest = below(dir, path).expect("frames that are not above were left");
                step("open directory")
                    .and_then(|()| open_dir(above.as_fd(), rest, SEARCH))
                    .map_err(|error| closed(above.as_fd(), rest, path, error))
            }
            None => match step("open directory") {
                Ok(()) => self.root.dir(dir, SEARCH),
                Err(error) => Err(Closed::Unread(explain(error).into())),
            },
        };
        self.frames.push(Frame { path: dir.to_vec(), opened, gone: Vec::new() });
    }

    fn leaf(&mut self, name: &Expect<'_>, leaf: &[u8]) -> Live {
        let dir = match self.frames.last().map(|frame| &frame.opened) {
            Some(Ok(dir)) => dir.as_fd(),
            Some(Err(Closed::Unread(why))) => return Live::Unread(Arc::clone(why)),
            Some(Err(Closed::Absent)) | None => return Live::Gone,
        };
        let stat = match step("stat").and_then(|()| Stat::of(dir, leaf)) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Live::Gone,
            Err(error) => return Live::Unread(format!("`{}`: {}", name.id, explain(error)).into()),
        };
        let known = self.cache.get(&stat.mark, self.now, &mut self.next);
        // A remembered digest that is not the accepted one would cause a write: that is worth reading it again.
        if let Some(digest) = known.filter(|known| name.digest().is_none_or(|accepted| accepted == known)) {
            return Live::Here(self.words.here(name.id, &stat, digest));
        }
        match look_from(dir, leaf, stat) {
            Look::There(stat, digest) => {
                if matches!(stat.kind, Kind::File | Kind::Link) {
                    self.fresh.push(Entry::new(stat.mark, self.now, digest));
                }
                Live::Here(self.words.here(name.id, &stat, digest))
            }
            Look::Absent => Live::Gone,
            Look::Unread(why) => Live::Unread(format!("`{}`: {why}", name.id).into()),
        }
    }

    /// Leaves a directory. What was missing in it is missing only if the path still leads to that directory: otherwise
    /// somebody swapped or removed it while it was read.
    fn leave(&mut self, frame: Frame) {
        if frame.gone.is_empty() {
            return;
        }
        let why = match (self.root.dir(&frame.path, SEARCH), frame.opened) {
            (Err(Closed::Absent), Err(Closed::Absent)) => return,
            (Ok(now), Ok(then)) => match (Stat::of_fd(&now), Stat::of_fd(&then)) {
                (Ok(now), Ok(then)) if (now.mark.dev, now.mark.ino) == (then.mark.dev, then.mark.ino) => return,
                (Ok(_), Ok(_)) => "its directory was replaced while it was being read".into(),
                (Err(error), _) | (_, Err(error)) => explain(error).into(),
            },
            (Err(Closed::Unread(why)), _) => why,
            (Ok(_), Err(_)) | (Err(Closed::Absent), _) => "its directory changed while it was being read".into(),
        };
        for at in frame.gone {
            self.seen[at].1 = Live::Unread(Arc::clone(&why));
        }
    }

    fn finish(mut self) -> Vec<Entry> {
        while let Some(frame) = self.frames.pop() {
            self.leave(frame);
        }
        self.fresh
    }
}

/// What most resources share, made once.
#[derive(Debug, Default)]
pub(super) struct Words(Natures);

impl Words {
    /// Describes what is there to core.
    pub(super) fn here(&mut self, id: &Id, stat: &Stat, digest: Digest) -> Here {
        let mut vitals = Vitals::default();
        let identity = match stat.kind {
            Kind::File => {
                if stat.mark.size > 0 {
                    vitals = vitals.with(Vitals::CONTENT);
                }
                if stat.executable() {
                    vitals = vitals.with(Vitals::EXECUTABLE);
                }
                "file"
            }
            Kind::Link => "link",
            Kind::Directory | Kind::Other(_) => "other",
        };
        let group = id.as_str().split_once('/').map(|(group, _)| group);
        let nature = NatureRef { identity: Some(identity), vitals, group, ..NatureRef::default() };
        Here {
            digest,
            version: Version::File(stat.mark),
            nature: self.0.get(nature),
            health: Health::Healthy,
            more: None,
        }
    }
}
