//! Reading: what is there, what is not, and what nobody can know.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::rc::Rc;

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use super::super::hook;
use super::*;
use crate::core::commit::CommitId;
use crate::core::resource::{AnchorSeen, Vitals};
use crate::core::spelling::link_digest;
use crate::core::state::{About, Accepted};

fn accepted_as(live: Digest) -> Accepted {
    let (commit, nature) = (CommitId::new("c"), Arc::default());
    let about = About { commit, origin: None, nature, created: None, rank: 0, fields: None };
    Accepted { desired: live, live, about: about.into() }
}

#[test]
fn files_and_links_are_what_git_would_record() {
    let fixture = Fixture::new();
    fixture.put("a.conf", "hello\n");
    fs::set_permissions(fixture.put("bin/run", "#!/bin/sh\n"), fs::Permissions::from_mode(0o755)).unwrap();
    fixture.put("bin/empty", "");
    fixture.link("bin/dangling", "../../nowhere");
    let plain = fixture.here("a.conf");
    assert_eq!(plain.digest, file_digest("hello\n"));
    assert_eq!(plain.nature.identity.as_deref(), Some("file"));
    assert_eq!((plain.nature.vitals, plain.nature.group.as_deref()), (Vitals::CONTENT, None));
    assert!(plain.touch().at.is_some());
    let run = fixture.here("bin/run");
    assert_eq!(run.digest, crate::targets::content_digest(b"#!/bin/sh\n", true).unwrap());
    assert_eq!(run.nature.vitals, Vitals::CONTENT.with(Vitals::EXECUTABLE));
    assert_eq!(run.nature.group.as_deref(), Some("bin"));
    assert_eq!(fixture.here("bin/empty").nature.vitals, Vitals::default());
    let dangling = fixture.here("bin/dangling");
    assert_eq!(dangling.digest, link_digest(b"../../nowhere"));
    assert_eq!(dangling.nature.identity.as_deref(), Some("link"));
}

#[test]
fn what_was_not_asked_for_is_invisible_and_all_that_was_is_answered_in_order() {
    let fixture = Fixture::new();
    fixture.put("b", "");
    fixture.put("a/x", "");
    fixture.put("other", "");
    let observed = fixture.observe(&["b", "zz", "a/x", "a-b/c", "a/y/z", "b"]);
    let seen: Vec<_> = observed.seen.iter().map(|(id, live)| (id.as_str(), live.here().is_some())).collect();
    assert_eq!(seen, [("a-b/c", false), ("a/x", true), ("a/y/z", false), ("b", true), ("zz", false)]);
    assert!(observed.seen.iter().all(|(_, live)| matches!(live, Live::Here(_) | Live::Gone)));
    assert_eq!(observed.anchor, AnchorSeen::Absent);
}

#[test]
fn nothing_is_read_through_a_link() {
    let fixture = Fixture::new();
    fixture.put("real/file", "real");
    fixture.link("out", "../outside");
    fixture.link("abs", fixture.temp.path().join("outside").to_str().unwrap());
    fixture.link("in", "real");
    fixture.link("deep/one", "two");
    fixture.link("deep/two", "one");
    fixture.link("secret", "../outside/secret");
    for (id, link) in [
        ("out/secret", "`out`"),
        ("abs/secret", "`abs`"),
        ("in/file", "`in`"),
        ("in/none", "`in`"),
        ("deep/one/x/y", "`deep/one`"),
        ("out/../outside/secret", "`..`"),
    ] {
        assert_unread(&fixture.live(id), link);
    }
    assert_eq!(fixture.here("secret").digest, link_digest(b"../outside/secret"));
    // Whether or not a neighbour opened the directory above it first.
    let observed = fixture.observe(&["deep/a", "deep/one/x", "deep/one/y", "out/secret", "real/file"]);
    let unread = observed.seen.iter().filter(|(_, live)| matches!(live, Live::Unread(_))).count();
    assert_eq!(unread, 3, "{observed:?}");
}

#[test]
fn what_is_neither_file_nor_link_is_there_and_is_never_opened() {
    let fixture = Fixture::new();
    fixture.put("dir/inside", "");
    rustix::fs::mknodat(CWD, fixture.root.join("fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = UnixListener::bind(fixture.root.join("socket")).unwrap();
    let digests: Vec<Digest> = ["dir", "fifo", "socket"]
        .iter()
        .map(|id| {
            let here = fixture.here(id);
            assert_eq!(here.nature.identity.as_deref(), Some("other"), "{id}");
            here.digest
        })
        .collect();
    assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
    assert_eq!(fixture.live("fifo/below"), Live::Gone);
}

#[test]
fn a_missing_or_impossible_root_is_a_failure_and_nothing_is_gone() {
    let fixture = Fixture::new();
    let fail = |observed: Observed, part: &str| {
        assert!(observed.failure.as_deref().is_some_and(|why| why.contains(part)), "{observed:?}");
        assert!(observed.seen.is_empty());
    };
    fs::remove_dir(&fixture.root).unwrap();
    fail(fixture.observe(&["a"]), "does not exist");
    fs::write(&fixture.root, "").unwrap();
    fail(fixture.observe(&["a"]), "is no directory");
    fs::remove_file(&fixture.root).unwrap();
    symlink("root", &fixture.root).unwrap();
    fail(fixture.observe(&["a"]), "symbolic link");
    assert!(matches!(fixture.directory().read_anchor(), AnchorSeen::Unread(_)));
}

#[test]
fn a_root_that_goes_away_while_it_is_read_is_a_failure() {
    for replace in [false, true] {
        let fixture = Fixture::new();
        fixture.put("a", "");
        let root = fixture.root.clone();
        let _hook = hook::set(move |name| {
            if name == "stat" && root.join("a").exists() {
                fs::rename(&root, root.with_file_name("old")).unwrap();
                if replace {
                    fs::create_dir(&root).unwrap();
                }
            }
            Ok(())
        });
        let observed = fixture.observe(&["a", "b"]);
        assert!(observed.failure.is_some(), "{observed:?}");
        assert!(observed.seen.is_empty());
    }
}

#[test]
fn a_directory_that_is_swapped_while_it_is_read_leaves_nothing_gone() {
    let fixture = Fixture::new();
    fixture.put("d/a", "old");
    fixture.put("next/a", "new");
    fixture.put("next/b", "new");
    let root = fixture.root.clone();
    let _hook = hook::set(move |name| {
        if name == "stat" && root.join("next").exists() {
            fs::rename(root.join("d"), root.join("gone")).unwrap();
            fs::rename(root.join("next"), root.join("d")).unwrap();
        }
        Ok(())
    });
    let observed = fixture.observe(&["d/a", "d/b"]);
    assert_eq!(observed.failure, None);
    assert_unread(observed.get(&Id::new("d/b")).unwrap(), "replaced");
}

#[test]
fn errors_of_the_system_are_unread_with_their_reason() {
    for (error, part) in [
        (Errno::IO, "input/output"),
        (Errno::ACCESS, "permission"),
        (Errno::STALE, "stale"),
        (Errno::MFILE, "too many open files"),
        (Errno::LOOP, "link"),
    ] {
        let fixture = Fixture::new();
        fixture.put("a", "");
        let _hook = hook::set(move |name| if name == "stat" { Err(error) } else { Ok(()) });
        assert_unread(&fixture.live("a"), part);
    }
}

#[test]
fn a_name_that_cannot_exist_and_one_that_is_ours_are_unread() {
    let fixture = Fixture::new();
    assert_unread(&fixture.live(&"x".repeat(300)), "too long");
    for id in ["", "/etc/passwd", "../outside/secret", "a//b", ".holdfast", "d/.holdfast-tmp-1", "a\\x00b", "a\\"] {
        assert!(matches!(fixture.live(id), Live::Unread(_)), "{id:?}");
    }
}

#[test]
fn names_are_any_bytes() {
    let fixture = Fixture::new();
    let names: [&[u8]; 7] =
        [b"\xff\xfe", b"new\nline", b"back\\slash", "ü".as_bytes(), b" ", b"-rf", b"d\x80/\x01\x02"];
    for name in names {
        let id = id_from_bytes(name);
        let path = fixture.root.join(std::ffi::OsStr::from_bytes(name));
        let op = create(id.as_str(), file("x"));
        assert_done(&fixture.write(&op));
        assert_eq!(fs::read(&path).unwrap(), b"x");
        assert_eq!(fixture.here(id.as_str()).digest, file_digest("x"));
        assert_done(&fixture.write(&fixture.update(id.as_str(), "y")));
        assert_eq!(fs::read(&path).unwrap(), b"y");
    }
    let observed = observe(&fixture.with(true, vec![]), &[]);
    assert_eq!(observed.seen.len(), names.len());
    for name in names {
        assert_done(&fixture.write(&fixture.delete(id_from_bytes(name).as_str())));
    }
    assert_eq!(fixture.tree(), entries(&[]));
}

#[test]
fn an_exclusive_directory_shows_everything_but_ours() {
    let fixture = Fixture::new();
    fixture.put("a", "");
    fixture.put("d/e/f", "");
    fixture.put("d/.holdfast", "a file of theirs");
    fixture.put("d/.holdfast-tmp-1", "");
    fixture.put(".holdfast", "");
    fixture.link("d/link", "../../outside");
    fs::create_dir(fixture.root.join("empty")).unwrap();
    let observed = observe(&fixture.with(true, vec![]), &["a", "gone"]);
    let seen: Vec<_> = observed.seen.iter().map(|(id, live)| (id.as_str(), live.here().is_some())).collect();
    assert_eq!(seen, [("a", true), ("d/.holdfast", true), ("d/e/f", true), ("d/link", true), ("gone", false)]);
}

#[test]
fn an_extra_that_vanishes_while_it_is_looked_at_is_not_reported() {
    let fixture = Fixture::new();
    let extra = fixture.put("extra", "");
    let _hook = hook::set(move |name| {
        if name == "stat" {
            let _ = fs::remove_file(&extra);
        }
        Ok(())
    });
    let observed = observe(&fixture.with(true, vec![]), &["asked"]);
    assert_eq!(observed.seen, [(Id::new("asked"), Live::Gone)]);
}

#[test]
fn each_directory_is_opened_once_and_each_name_looked_at_once() {
    let fixture = Fixture::new();
    let paths = ["a", "a-b/x", "b/a", "b/c/d/e", "b/c/d/f", "b/c/g", "b/h", "c", "d/e"];
    for path in paths {
        fixture.put(path, "");
    }
    let (opened, stats) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (count_opened, count_stats) = (Rc::clone(&opened), Rc::clone(&stats));
    let _hook = hook::set(move |name| {
        count_opened.set(count_opened.get() + u32::from(name == "open directory"));
        count_stats.set(count_stats.get() + u32::from(name == "stat"));
        Ok(())
    });
    fixture.observe(&paths);
    // The root, a-b, b, b/c/d, b/c and d; b/c is opened after what is deeper, as its names come later.
    assert_eq!((opened.get(), stats.get()), (6, 9));
}

#[test]
fn a_known_file_is_not_read_again_unless_it_would_cause_a_write() {
    let fixture = Fixture::new();
    let path = fixture.put("a", "one");
    let reads = Rc::new(Cell::new(0));
    let count = Rc::clone(&reads);
    let _hook = hook::set(move |name| {
        count.set(count.get() + u32::from(name == "read"));
        Ok(())
    });
    let directory = fixture.directory();
    let id = Id::new("a");
    let mut cache = StatCache::new();
    // A minute after the file was written, as the argument says.
    let later = Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let mut look = |digest: Option<Digest>, now| {
        let before = reads.get();
        let accepted = digest.map(accepted_as);
        let expect = Expect { accepted: accepted.as_ref(), ..Expect::new(&id) };
        let observed = directory.observe(&[expect], &mut cache, now);
        (observed.get(&id).unwrap().here().unwrap().digest, reads.get() - before)
    };
    let one = file_digest("one");
    assert_eq!(look(None, later), (one, 1));
    assert_eq!(look(None, later), (one, 0));
    assert_eq!(look(Some(one), later), (one, 0));
    assert_eq!(look(Some(file_digest("two")), later), (one, 1));
    assert_eq!(look(Some(one), later + jiff::SignedDuration::from_hours(25)), (one, 1));
    fs::write(&path, "six").unwrap();
    assert_eq!(look(None, later), (file_digest("six"), 1));
}

#[test]
fn a_file_that_was_just_written_is_read_every_time() {
    let fixture = Fixture::new();
    let path = fixture.put("a", "one");
    let directory = fixture.directory();
    let id = Id::new("a");
    let mut cache = StatCache::new();
    let now = Timestamp::now();
    let mut digest = || {
        let observed = directory.observe(&[Expect::new(&id)], &mut cache, now);
        observed.get(&id).unwrap().here().unwrap().digest
    };
    assert_eq!(digest(), file_digest("one"));
    // The same size and, by force, the same mtime: only reading tells.
    let times = fs::FileTimes::new().set_modified(fs::metadata(&path).unwrap().modified().unwrap());
    fs::write(&path, "two").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    assert_eq!(digest(), file_digest("two"));
    assert!(cache.is_empty());
}

#[test]
fn large_and_sparse_files_are_read_in_pieces() {
    let fixture = Fixture::new();
    let size = 100 << 20;
    fs::File::create(fixture.root.join("sparse")).unwrap().set_len(size).unwrap();
    let here = fixture.here("sparse");
    let zeros = vec![0; usize::try_from(size).unwrap()];
    assert_eq!(here.digest, crate::targets::content_digest(&zeros, false).unwrap());
}
