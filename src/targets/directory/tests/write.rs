//! Writing: preconditions that hold, what is kept, and what is refused.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt as _;
use std::rc::Rc;

use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;

use super::super::hook;
use super::*;
use crate::core::spelling::link_digest;

/// Runs `f` once, right before the named moment.
fn at(moment: &'static str, f: impl FnOnce() + 'static) -> hook::Hooked {
    let mut f = Some(f);
    hook::set(move |name| {
        if name == moment
            && let Some(f) = f.take()
        {
            f();
        }
        Ok(())
    })
}

/// Lets the named moment fail, always.
fn failing(moment: &'static str, error: Errno) -> hook::Hooked {
    hook::set(move |name| if name == moment { Err(error) } else { Ok(()) })
}

#[test]
fn a_resource_is_created_updated_and_deleted() {
    let fixture = Fixture::new();
    let live = assert_done(&fixture.write(&create("d/e/f", file("one")))).clone();
    assert_eq!(live, fixture.live("d/e/f"));
    assert_eq!(fixture.tree(), entries(&[("d/", ""), ("d/e/", ""), ("d/e/f", "one")]));
    let live = assert_done(&fixture.write(&fixture.update("d/e/f", "two"))).clone();
    assert_eq!(live, fixture.live("d/e/f"));
    assert_eq!(fixture.tree(), entries(&[("d/", ""), ("d/e/", ""), ("d/e/f", "two")]));
    assert_eq!(assert_done(&fixture.write(&fixture.delete("d/e/f"))), &Live::Gone);
    assert_eq!(fixture.tree(), entries(&[]));
    assert!(fixture.root.exists());
}

#[test]
fn permissions_are_those_of_git_and_survive_an_update() {
    let fixture = Fixture::new();
    let mode = |path: &str| fs::metadata(fixture.root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_done(&fixture.write(&create("d/plain", file("x"))));
    let script = Content::File { bytes: b"x".as_slice().into(), executable: true };
    assert_done(&fixture.write(&create("d/script", script.clone())));
    assert_eq!((mode("d"), mode("d/plain"), mode("d/script")), (0o755, 0o644, 0o755));
    fs::set_permissions(fixture.root.join("d/plain"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_done(&fixture.write(&fixture.update("d/plain", "y")));
    assert_eq!(mode("d/plain"), 0o640);
    let op = WriteOp { content: Some(script), ..fixture.update("d/plain", "") };
    assert_done(&fixture.write(&op));
    assert_eq!(mode("d/plain"), 0o750);
    assert_done(&fixture.write(&fixture.update("d/plain", "z")));
    assert_eq!(mode("d/plain"), 0o640);
}

#[test]
fn owner_and_attributes_survive_an_update_as_far_as_permitted() {
    let fixture = Fixture::new();
    let path = fixture.put("a", "one");
    // Only root may give files away; anybody keeps his own.
    let _ = std::os::unix::fs::chown(&path, Some(12345), Some(23456));
    let before = fs::metadata(&path).unwrap();
    let xattrs = rustix::fs::setxattr(&path, "user.note", b"kept", XattrFlags::empty());
    assert_done(&fixture.write(&fixture.update("a", "two")));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.uid(), before.gid()), (after.uid(), after.gid()));
    let mut value = [0; 16];
    match xattrs {
        Ok(()) => {
            let length = rustix::fs::getxattr(&path, "user.note", &mut value).unwrap();
            assert_eq!(&value[..length], b"kept");
        }
        Err(error) => assert_eq!(error, Errno::OPNOTSUPP, "a file system without attributes"),
    }
}

#[test]
fn links_are_written_as_links_wherever_they_point() {
    let fixture = Fixture::new();
    assert_done(&fixture.write(&create("d/link", link("../../outside/secret"))));
    assert_eq!(fixture.here("d/link").digest, link_digest(b"../../outside/secret"));
    // From a link to a file and back: the name is replaced, its target never written.
    assert_done(&fixture.write(&fixture.update("d/link", "file now")));
    assert_eq!(fixture.read("d/link"), "file now");
    let op = WriteOp { content: Some(link("dangling")), ..fixture.update("d/link", "") };
    assert_done(&fixture.write(&op));
    assert_eq!(fixture.tree(), entries(&[("d/", ""), ("d/link", "-> dangling")]));
    assert_done(&fixture.write(&fixture.delete("d/link")));
    fixture.assert_outside_untouched();
}

#[test]
fn an_update_replaces_the_name_and_never_the_content_of_a_hard_link() {
    let fixture = Fixture::new();
    let path = fixture.put("a", "shared");
    fs::hard_link(&path, fixture.root.join("b")).unwrap();
    fs::hard_link(&path, fixture.temp.path().join("outside/linked")).unwrap();
    assert_done(&fixture.write(&fixture.update("a", "mine")));
    assert_eq!((fixture.read("a").as_str(), fixture.read("b").as_str()), ("mine", "shared"));
    assert_eq!(fs::read_to_string(fixture.temp.path().join("outside/linked")).unwrap(), "shared");
}

#[test]
fn nothing_is_written_through_a_link() {
    let fixture = Fixture::new();
    fixture.link("out", "../outside");
    fixture.put("real/file", "x");
    let version = fixture.expected("real/file");
    for id in ["out/new", "out/d/new"] {
        assert_refused(&fixture.write(&create(id, file("x"))), "not followed");
    }
    let delete = WriteOp {
        id: Id::new("out/secret"),
        verb: Verb::Delete,
        expected: version,
        content: None,
        force: false,
        replace: false,
        reclaims: Vec::new(),
        ignore: Vec::new(),
    };
    assert_refused(&fixture.write(&delete), "not followed");
    for id in ["../outside/new", "/tmp/new", "out/../../new", ".holdfast", "d/.holdfast-tmp-x"] {
        assert!(matches!(fixture.write(&create(id, file("x"))), Outcome::Refused(_)), "{id}");
    }
    fixture.assert_outside_untouched();
}

#[test]
fn a_directory_replaced_by_a_link_between_staging_and_writing_leads_nowhere() {
    let fixture = Fixture::new();
    fixture.put("d/a", "one");
    let op = fixture.update("d/a", "two");
    let root = fixture.root.clone();
    let _hook = at("rename exchange", move || {
        fs::rename(root.join("d"), root.join("moved")).unwrap();
        symlink("../outside", root.join("d")).unwrap();
    });
    let _ = fixture.write(&op);
    fixture.assert_outside_untouched();
}

#[test]
fn a_creation_never_replaces() {
    let fixture = Fixture::new();
    fixture.put("a", "theirs");
    assert_moved(&fixture.write(&create("a", file("ours"))), "already");
    let path = fixture.root.join("b");
    let _hook = at("rename noreplace", move || fs::write(path, "theirs").unwrap());
    assert_moved(&fixture.write(&create("b", file("ours"))), "already");
    assert_eq!(fixture.tree(), entries(&[("a", "theirs"), ("b", "theirs")]));
}

#[test]
fn what_changed_since_it_was_observed_is_left_alone() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("rewritten", |path| fs::write(path, "theirs").unwrap()),
        ("replaced", |path| {
            fs::write(path.with_extension("new"), "theirs").unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("a link now", |path| {
            fs::remove_file(path).unwrap();
            symlink("elsewhere", path).unwrap();
        }),
        ("a directory now", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
            fs::write(path.join("inside"), "theirs").unwrap();
        }),
        ("executable now", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap()),
    ];
    // Before anything is staged, right before the rename, or between the rename and the look (on a copy of the name).
    for moment in ["check", "rename exchange", "rename noreplace"] {
        for (what, change) in changes {
            for delete in [false, true] {
                if delete && moment == "rename exchange" || !delete && moment == "rename noreplace" {
                    continue;
                }
                let fixture = Fixture::new();
                let path = fixture.put("a", "one");
                let op = if delete { fixture.delete("a") } else { fixture.update("a", "ours") };
                let reference = Fixture::new();
                change(&reference.put("a", "one"));
                let _hook = at(moment, move || change(&path));
                let outcome = fixture.write(&op);
                assert!(matches!(outcome, Outcome::Moved(_)), "{what}, {moment}, {delete}: {outcome:?}");
                assert_eq!(fixture.tree(), reference.tree(), "{what}, {moment}, {delete}");
            }
        }
    }
}

#[test]
fn the_same_size_and_time_do_not_hide_other_content() {
    for delete in [false, true] {
        let fixture = Fixture::new();
        let path = fixture.put("a", "one");
        let op = if delete { fixture.delete("a") } else { fixture.update("a", "ours") };
        let _hook = at(if delete { "rename noreplace" } else { "rename exchange" }, move || {
            let times = fs::FileTimes::new().set_modified(fs::metadata(&path).unwrap().modified().unwrap());
            let file = fs::File::options().write(true).open(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"two", 0).unwrap();
            file.set_times(times).unwrap();
        });
        assert_moved(&fixture.write(&op), "changed");
        assert_eq!(fixture.tree(), entries(&[("a", "two")]));
    }
}

#[test]
fn two_strangers_in_a_row_lose_nothing() {
    // The first replaces the file before the exchange, the second before it is exchanged back.
    let fixture = Fixture::new();
    let path = fixture.put("a", "one");
    let op = fixture.update("a", "ours");
    let mut turn = 0;
    let _hook = hook::set(move |name| {
        if name == "rename exchange" {
            turn += 1;
            if turn <= 2 {
                fs::write(path.with_extension("new"), format!("stranger {turn}")).unwrap();
                fs::rename(path.with_extension("new"), &path).unwrap();
            }
        }
        Ok(())
    });
    assert_moved(&fixture.write(&op), "changed");
    let tree = fixture.tree();
    assert_eq!(tree["a"], "stranger 2");
    let saved: Vec<_> = tree.iter().filter(|(name, _)| name.starts_with(".holdfast-saved-")).collect();
    assert_eq!((saved.len(), saved[0].1.as_str(), tree.len()), (1, "stranger 1", 2), "{tree:?}");
}

#[test]
fn a_stranger_who_removes_the_new_content_gets_the_old_back() {
    let fixture = Fixture::new();
    let path = fixture.put("a", "one");
    let op = fixture.update("a", "ours");
    let mut turn = 0;
    let _hook = hook::set(move |name| {
        if name == "rename exchange" {
            turn += 1;
            if turn == 1 {
                fs::write(&path, "stranger").unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
        }
        Ok(())
    });
    assert_moved(&fixture.write(&op), "changed");
    assert_eq!(fixture.tree(), entries(&[("a", "stranger")]));
}

#[test]
fn a_file_system_without_the_renames_keeps_every_promise() {
    let lacking = |name| matches!(name, "rename exchange" | "rename noreplace");
    let lack = move || hook::set(move |name| if lacking(name) { Err(Errno::INVAL) } else { Ok(()) });
    let fixture = Fixture::new();
    {
        let _hook = lack();
        assert_done(&fixture.write(&create("d/a", file("one"))));
        assert_moved(&fixture.write(&create("d/a", file("two"))), "already");
        let live = assert_done(&fixture.write(&fixture.update("d/a", "two"))).clone();
        assert_eq!(live, fixture.live("d/a"));
        assert_done(&fixture.write(&create("d/link", link("x"))));
        assert_eq!(fixture.tree(), entries(&[("d/", ""), ("d/a", "two"), ("d/link", "-> x")]));
        assert_done(&fixture.write(&fixture.delete("d/link")));
        assert_done(&fixture.write(&fixture.delete("d/a")));
        assert_eq!(fixture.tree(), entries(&[]));
    }
    for delete in [false, true] {
        let path = fixture.put("a", "one");
        let op = if delete { fixture.delete("a") } else { fixture.update("a", "two") };
        let _hook = hook::set(move |name| {
            if name == "rename noreplace" && fs::read(&path).unwrap_or_default() == b"one" {
                fs::write(&path, "theirs").unwrap();
            }
            if lacking(name) { Err(Errno::INVAL) } else { Ok(()) }
        });
        assert_moved(&fixture.write(&op), "changed");
        assert_eq!(fixture.tree(), entries(&[("a", "theirs")]));
    }
    // Somebody fills the gap of a moment.
    let path = fixture.put("a", "one");
    let op = fixture.update("a", "two");
    let _hook = hook::set(move |name| {
        if name == "put in place" {
            fs::write(&path, "theirs").unwrap();
        }
        if lacking(name) { Err(Errno::INVAL) } else { Ok(()) }
    });
    assert_moved(&fixture.write(&op), "meanwhile");
    let tree = fixture.tree();
    assert_eq!((tree["a"].as_str(), tree.len()), ("theirs", 2), "{tree:?}");
}

#[test]
fn a_full_quota_read_only_or_forbidding_file_system_refuses_and_loses_nothing() {
    let moments = [
        "journal plan",
        "journal staged",
        "journal sync",
        "check",
        "stage file",
        "write content",
        "attributes",
        "sync content",
        "rename exchange",
        "rename noreplace",
        "mkdir",
        "look",
    ];
    for (error, part) in [
        (Errno::NOSPC, "no space"),
        (Errno::DQUOT, "quota"),
        (Errno::ROFS, "read-only"),
        (Errno::ACCESS, "permission"),
        (Errno::IO, "input/output"),
    ] {
        for moment in moments {
            let fixture = Fixture::new();
            fixture.put("a", "one");
            fixture.put("b", "one");
            let ops = [fixture.update("a", "two"), fixture.delete("b"), create("c/d", file("new"))];
            let before = fixture.tree();
            let fired = Rc::new(Cell::new(0));
            for (op, concerned) in ops.iter().zip([
                !matches!(moment, "mkdir" | "rename noreplace"),
                !matches!(
                    moment,
                    "stage file" | "write content" | "attributes" | "sync content" | "rename exchange" | "mkdir"
                ),
                !matches!(moment, "rename exchange" | "look"),
            ]) {
                let count = Rc::clone(&fired);
                let _hook = hook::set(move |name| {
                    if name == moment {
                        count.set(count.get() + 1);
                        return Err(error);
                    }
                    Ok(())
                });
                if concerned {
                    assert_refused(&fixture.write(op), part);
                    assert_eq!(fixture.tree(), before, "{error:?} at {moment}");
                }
            }
            assert!(fired.get() > 0, "{moment} never came");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_synced_leaves_the_outcome_unknown() {
    let fixture = Fixture::new();
    let _hook = failing("sync directory", Errno::IO);
    assert!(matches!(fixture.write(&create("a", file("x"))), Outcome::Unknown(_)));
}

#[test]
fn old_content_that_cannot_be_removed_is_made_good_by_the_next_session() {
    let fixture = Fixture::new();
    fixture.put("a", "one");
    let op = fixture.update("a", "two");
    {
        let _hook = failing("unlink old", Errno::IO);
        assert_done(&fixture.write(&op));
    }
    assert_eq!(fixture.tree().len(), 3, "the old content and the journal are still there");
    let session = fixture.directory().lock().unwrap();
    assert_eq!(session.recovery().resolved, 1);
    assert_eq!(fixture.tree(), entries(&[("a", "two")]));
}

#[test]
fn something_that_is_no_file_is_replaced_but_a_directory_only_if_it_is_empty() {
    let fixture = Fixture::new();
    let fifo = fixture.root.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_done(&fixture.write(&fixture.update("fifo", "file now")));
    fs::create_dir(fixture.root.join("empty")).unwrap();
    assert_done(&fixture.write(&fixture.update("empty", "file now")));
    fixture.put("full/inside", "theirs");
    assert_refused(&fixture.write(&fixture.update("full", "file")), "something in it");
    assert_refused(&fixture.write(&fixture.delete("full")), "something in it");
    fs::create_dir(fixture.root.join("gone")).unwrap();
    assert_done(&fixture.write(&fixture.delete("gone")));
    assert_eq!(
        fixture.tree(),
        entries(&[("empty", "file now"), ("fifo", "file now"), ("full/", ""), ("full/inside", "theirs")])
    );
    assert_refused(&fixture.write(&create("fifo/below", file("x"))), "a directory is needed");
}

#[test]
fn directories_go_when_they_are_emptied_up_to_the_first_that_is_not() {
    let fixture = Fixture::new();
    fixture.put("a/b/c/d", "");
    fixture.put("a/other", "");
    assert_done(&fixture.write(&fixture.delete("a/b/c/d")));
    assert_eq!(fixture.tree(), entries(&[("a/", ""), ("a/other", "")]));
    // What was made for a creation that did not happen goes too; what was there before stays.
    fs::create_dir(fixture.root.join("mine")).unwrap();
    let _hook = failing("sync content", Errno::NOSPC);
    assert_refused(&fixture.write(&create("mine/x/y/z", file(""))), "no space");
    assert_eq!(fixture.tree(), entries(&[("a/", ""), ("a/other", ""), ("mine/", "")]));
}

#[test]
fn a_batch_answers_each_in_order_and_shares_its_syncs() {
    let fixture = Fixture::new();
    fixture.put("d/update", "one");
    fixture.put("d/delete", "one");
    fixture.put("d/moved", "one");
    let mut moved = fixture.update("d/moved", "ours");
    moved.expected = fixture.expected("d/update");
    let ops = [
        create("d/new", file("new")),
        fixture.update("d/update", "two"),
        moved,
        create("../bad", file("")),
        fixture.delete("d/delete"),
        create("d/new", file("again")),
    ];
    let syncs = Rc::new(Cell::new(0));
    let count = Rc::clone(&syncs);
    let _hook = hook::set(move |name| {
        count.set(count.get() + u32::from(name == "sync directory"));
        Ok(())
    });
    let outcomes = fixture.directory().lock().unwrap().write_batch(&ops);
    assert_done(&outcomes[0]);
    assert_done(&outcomes[1]);
    assert_moved(&outcomes[2], "d/moved");
    assert!(matches!(outcomes[3], Outcome::Refused(_)));
    assert_done(&outcomes[4]);
    assert_moved(&outcomes[5], "already");
    assert_eq!(syncs.get(), 1);
    assert_eq!(fixture.tree(), entries(&[("d/", ""), ("d/moved", "one"), ("d/new", "new"), ("d/update", "two")]));
}

#[test]
fn a_batch_stops_where_it_is_no_longer_permitted() {
    let fixture = Fixture::new();
    let ops: Vec<WriteOp> = (0..4).map(|n| create(&format!("d{n}/f"), file("x"))).collect();
    let mut left = 2;
    let outcomes = fixture.directory().lock().unwrap().write_batch_while(&ops, &mut |_| {
        left -= 1;
        left >= 0
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_some()).count(), 2);
    assert_eq!(fixture.tree(), entries(&[("d0/", ""), ("d0/f", "x"), ("d1/", ""), ("d1/f", "x")]));
}

#[test]
fn a_write_that_contradicts_itself_is_refused() {
    let fixture = Fixture::new();
    fixture.put("a", "one");
    let good = fixture.update("a", "two");
    let version = Version::new("somebody else's");
    for bad in [
        WriteOp { verb: Verb::Create, ..good.clone() },
        WriteOp { expected: None, ..good.clone() },
        WriteOp { content: None, ..good.clone() },
        WriteOp { verb: Verb::Delete, ..good.clone() },
        WriteOp { expected: Some((file_digest("one"), version)), ..good.clone() },
    ] {
        assert!(matches!(fixture.write(&bad), Outcome::Refused(_)), "{bad:?}");
    }
    assert_eq!(fixture.read("a"), "one");
}

#[test]
fn a_root_that_is_replaced_during_a_session_is_not_written_to() {
    let fixture = Fixture::new();
    let mut session = fixture.directory().lock().unwrap();
    fs::rename(&fixture.root, fixture.temp.path().join("old")).unwrap();
    assert_refused(&session.write(&create("a", file(""))), "does not exist");
    fs::create_dir(&fixture.root).unwrap();
    assert_refused(&session.write(&create("a", file(""))), "replaced");
    assert_eq!(fixture.tree(), entries(&[]));
}

#[test]
fn content_that_is_a_link_away_from_the_open_file_is_still_the_observed_one() {
    // The same content in another inode is not what was observed.
    let fixture = Fixture::new();
    let path = fixture.put("a", "one");
    let op = fixture.update("a", "two");
    let first = inode(&path);
    fs::write(path.with_extension("new"), "one").unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    assert_ne!(inode(&path), first);
    assert_moved(&fixture.write(&op), "changed");
}
