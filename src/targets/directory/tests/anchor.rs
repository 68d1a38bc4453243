//! The anchor and the lock.

use rustix::io::Errno;

use super::super::hook;
use super::*;
use crate::core::resource::{Anchor, AnchorSeen};

fn anchor(token: &str) -> Anchor {
    Anchor {
        target: "t".into(),
        application: "web".into(),
        ledger: "l".into(),
        epoch: 1,
        token: token.into(),
        last_verified: None,
        seq: 7,
    }
}

#[test]
fn an_anchor_is_claimed_read_and_swapped() {
    let fixture = Fixture::new();
    let directory = fixture.directory();
    assert_eq!(directory.read_anchor(), AnchorSeen::Absent);
    let mut session = directory.lock().unwrap();
    session.swap(&AnchorSeen::Absent, &anchor("one")).unwrap();
    let one = AnchorSeen::Present(anchor("one"));
    assert_eq!(session.read_anchor(), one);
    assert_eq!(fixture.observe(&[]).anchor, one);
    session.swap(&one, &anchor("two")).unwrap();
    assert_eq!(directory.read_anchor(), AnchorSeen::Present(anchor("two")));
    assert_eq!(fixture.tree().len(), 1);
}

#[test]
fn an_anchor_that_is_not_the_expected_one_is_not_swapped() {
    let fixture = Fixture::new();
    let mut session = fixture.directory().lock().unwrap();
    let absent = AnchorSeen::Absent;
    session.swap(&absent, &anchor("one")).unwrap();
    for wrong in [absent.clone(), AnchorSeen::Present(anchor("other")), AnchorSeen::Unread("x".into())] {
        assert!(matches!(session.swap(&wrong, &anchor("two")), Err(SwapError::Moved(_))), "{wrong:?}");
    }
    // What cannot be read is not replaced even where just that was seen.
    fixture.put(".holdfast", "{}");
    let unread = session.read_anchor();
    assert!(matches!(unread, AnchorSeen::Foreign(_)));
    assert!(matches!(session.swap(&unread, &anchor("two")), Err(SwapError::Moved(_))));
    assert_eq!(fixture.read(".holdfast"), "{}");
}

#[test]
fn whatever_is_no_anchor_is_foreign() {
    let fixture = Fixture::new();
    let foreign = |part: &str| match fixture.directory().read_anchor() {
        AnchorSeen::Foreign(why) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?}"),
    };
    let path = fixture.put(".holdfast", "");
    foreign("is no anchor");
    fs::write(&path, vec![b' '; 100_000]).unwrap();
    foreign("too large");
    fs::remove_file(&path).unwrap();
    fixture.link(".holdfast", "../outside/secret");
    foreign("is a link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    foreign("is a directory");
}

#[test]
fn an_anchor_put_there_by_somebody_else_meanwhile_stays() {
    let fixture = Fixture::new();
    let mut session = fixture.directory().lock().unwrap();
    let path = fixture.root.join(".holdfast");
    let _hook = hook::set(move |name| {
        if name == "anchor swap" {
            fs::write(&path, serde_json::to_vec(&anchor("theirs")).unwrap()).unwrap();
        }
        Ok(())
    });
    let swapped = session.swap(&AnchorSeen::Absent, &anchor("ours"));
    assert!(matches!(swapped, Err(SwapError::Moved(seen)) if *seen == AnchorSeen::Present(anchor("theirs"))));
    assert_eq!(fixture.tree().len(), 1);
}

#[test]
fn a_failed_swap_says_whether_it_happened() {
    let fixture = Fixture::new();
    let mut session = fixture.directory().lock().unwrap();
    {
        let _hook = hook::set(|name| if name == "anchor swap" { Err(Errno::NOSPC) } else { Ok(()) });
        assert!(matches!(session.swap(&AnchorSeen::Absent, &anchor("one")), Err(SwapError::Refused(_))));
        assert_eq!(fixture.tree(), entries(&[]));
    }
    let _hook = hook::set(|name| if name == "anchor sync" { Err(Errno::IO) } else { Ok(()) });
    assert!(matches!(session.swap(&AnchorSeen::Absent, &anchor("one")), Err(SwapError::Unknown(_))));
    assert_eq!(session.read_anchor(), AnchorSeen::Present(anchor("one")));
}

#[test]
fn only_one_session_at_a_time_even_by_another_path_and_after_a_swap() {
    let fixture = Fixture::new();
    symlink(&fixture.root, fixture.temp.path().join("alias")).unwrap();
    let alias = fixture.temp.path().join("alias");
    let alias = Directory::open(Config { root: alias, exclusive: false, reload: vec![] }).unwrap();
    let mut session = fixture.directory().lock().unwrap();
    for swap in ["one", "two"] {
        assert!(matches!(fixture.directory().lock(), Err(LockError::Held)));
        assert!(matches!(alias.lock(), Err(LockError::Held)));
        let seen = session.read_anchor();
        session.swap(&seen, &anchor(swap)).unwrap();
    }
    drop(session);
    alias.lock().unwrap();
}

#[test]
fn another_program_that_locks_the_anchor_itself_is_respected() {
    let fixture = Fixture::new();
    let path = fixture.put(".holdfast", serde_json::to_vec(&anchor("one")).unwrap());
    let held = fs::File::open(&path).unwrap();
    held.lock().unwrap();
    assert!(matches!(fixture.directory().lock(), Err(LockError::Held)));
    held.unlock().unwrap();
    let mut session = fixture.directory().lock().unwrap();
    let locked = || fs::File::open(&path).unwrap().try_lock().is_err();
    assert!(locked());
    session.swap(&AnchorSeen::Present(anchor("one")), &anchor("two")).unwrap();
    assert!(locked(), "the new one as well");
    drop(session);
    assert!(!locked());
}

#[test]
fn a_root_that_cannot_be_opened_cannot_be_locked() {
    let fixture = Fixture::new();
    fs::remove_dir(&fixture.root).unwrap();
    assert!(matches!(fixture.directory().lock(), Err(LockError::Root(_))));
}

#[test]
fn a_journal_that_is_not_ours_stops_everything() {
    let fixture = Fixture::new();
    fixture.put("a", "one");
    fixture.link(".holdfast-tmp-journal", "../outside/secret");
    assert!(matches!(fixture.directory().lock(), Err(LockError::Recovery(_))));
    fs::remove_file(fixture.root.join(".holdfast-tmp-journal")).unwrap();
    // A journal that would have us remove something else.
    let plan = |dir: &str, leaf: &str, temp: &str| {
        format!(r#"{{"plan":{{"dir":"{dir}","leaf":"{leaf}","temp":"{temp}","aside":".holdfast-tmp-y"}}}}"#) + "\n"
    };
    for bad in [plan("", "a", "a"), plan("", "a", ".holdfast-tmp-/../a"), plan("../outside", "a", ".holdfast-tmp-x")] {
        fixture.put(".holdfast-tmp-journal", bad);
        assert!(matches!(fixture.directory().lock(), Err(LockError::Recovery(_))));
    }
    // A torn end was not durable, so that nothing was renamed after it.
    fixture.put(".holdfast-tmp-journal", plan("", "a", ".holdfast-tmp-x") + "{\"staged\":{\"te");
    fixture.put(".holdfast-tmp-x", "half");
    drop(fixture.directory().lock().unwrap());
    assert_eq!(fixture.tree(), entries(&[("a", "one")]));
    fixture.assert_outside_untouched();
}
