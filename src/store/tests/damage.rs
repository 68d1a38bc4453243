//! Files that are damaged, full, gone, newer or not to be written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;

use super::{accepted, dir, noticed, writer};
use crate::core::state::State;
use crate::store::{CommitError, ControllerLock, FoldCheck, Ledger, Mode, StoreError};

/// Makes a ledger with some pages and closes it, so that all of it is in the one file.
fn filled(dir: &Path) -> (PathBuf, State) {
    let ledger = writer(dir);
    let mut state = State::default();
    let facts: Vec<_> = (0..400).map(|n| accepted(&format!("r{n:03}"), "1111")).collect();
    ledger.commit("web", 0, &facts, &mut state, None).expect("commits");
    let path = ledger.path().to_path_buf();
    drop(ledger);
    assert!(!dir.join("ledger.db-wal").exists());
    (path, state)
}

fn assert_corrupt_and_untouched(path: &Path) {
    let before = fs::read(path).ok();
    let opened = Ledger::open(path.parent().expect("a parent"), Mode::Writer);
    assert!(matches!(opened, Err(StoreError::Corrupt { .. })), "{opened:?}");
    assert!(fs::read(path).ok() == before, "the damaged file was changed");
}

#[test]
fn cut_short() {
    for keep in [0, 1, 99, 100, 4096, 5000, 8192, 40_960] {
        let dir = dir();
        let (path, _) = filled(dir.path());
        let file = fs::OpenOptions::new().write(true).open(&path).expect("opens");
        assert!(file.metadata().expect("reads").len() > keep);
        file.set_len(keep).expect("cuts");
        assert_corrupt_and_untouched(&path);
    }
}

#[test]
fn overwritten_pages() {
    for page in [0, 1, 3, 8, 20] {
        let dir = dir();
        let (path, _) = filled(dir.path());
        let mut bytes = fs::read(&path).expect("reads");
        bytes[page * 4096..(page + 1) * 4096].fill(0xA5);
        fs::write(&path, bytes).expect("writes");
        assert_corrupt_and_untouched(&path);
    }
}

#[test]
fn something_else() {
    let dir = dir();
    let path = dir.path().join("ledger.db");
    fs::write(&path, "not a database at all, but long enough to look at".repeat(100)).expect("writes");
    assert_corrupt_and_untouched(&path);
    fs::remove_file(&path).expect("removes");
    Connection::open(&path).and_then(|conn| conn.execute_batch("CREATE TABLE t (x)")).expect("another program's");
    assert_corrupt_and_untouched(&path);
}

#[test]
fn gone_while_its_log_is_there() {
    let dir = dir();
    let ledger = writer(dir.path());
    ledger.commit("web", 0, &[noticed("x")], &mut State::default(), None).expect("commits");
    let other = super::dir();
    fs::copy(dir.path().join("ledger.db-wal"), other.path().join("ledger.db-wal")).expect("copies");
    assert_corrupt_and_untouched(&other.path().join("ledger.db"));
    let lock = ControllerLock::take(other.path()).expect("free");
    let aside = Ledger::set_aside(other.path(), &lock).expect("moves").expect("something was there");
    assert!(fs::metadata(format!("{}-wal", aside.display())).is_ok());
    assert!(writer(other.path()).created());
}

#[test]
fn set_aside_is_whole() {
    let dir = dir();
    let (path, state) = filled(dir.path());
    let lock = ControllerLock::take(dir.path()).expect("free");
    let aside = Ledger::set_aside(dir.path(), &lock).expect("moves").expect("something was there");
    assert!(!path.exists());
    assert!(writer(dir.path()).created());
    let back = super::dir();
    fs::rename(aside, back.path().join("ledger.db")).expect("moves");
    assert_eq!(writer(back.path()).load("web").expect("loads"), state);
    assert_eq!(Ledger::set_aside(super::dir().path(), &lock).expect("nothing to move"), None);
}

#[test]
fn gone_or_exchanged_while_open() {
    let dir = dir();
    let (path, mut state) = filled(dir.path());
    let ledger = writer(dir.path());
    let copy = dir.path().join("copy");
    fs::copy(&path, &copy).expect("copies");
    fs::rename(&copy, &path).expect("exchanges");
    let refused = ledger.commit("web", state.seq, &[noticed("x")], &mut state, None);
    assert!(matches!(refused, Err(CommitError::Store(StoreError::Replaced { .. }))), "{refused:?}");
    fs::remove_file(&path).expect("removes");
    assert!(matches!(ledger.refresh("web", &mut state), Err(StoreError::Replaced { .. })));
    assert!(matches!(ledger.data_version(), Err(StoreError::Replaced { .. })));
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = dir();
    let (path, _) = filled(dir.path());
    Connection::open(&path).and_then(|conn| conn.pragma_update(None, "user_version", 99)).expect("writes");
    for mode in [Mode::Writer, Mode::Reader] {
        let opened = Ledger::open(dir.path(), mode);
        assert!(matches!(opened, Err(StoreError::Newer { found: 99, .. })), "{opened:?}");
    }
}

#[test]
fn a_log_cut_anywhere_gives_an_earlier_whole_state() {
    let dir = dir();
    let ledger = writer(dir.path());
    let mut state = State::default();
    for n in 0..10 {
        ledger.commit("web", state.seq, &[accepted(&format!("r{n}"), "1111")], &mut state, None).expect("commits");
    }
    let log = fs::read(dir.path().join("ledger.db-wal")).expect("reads");
    let mut seen = std::collections::BTreeSet::new();
    for part in 0..=24 {
        let other = super::dir();
        fs::copy(dir.path().join("ledger.db"), other.path().join("ledger.db")).expect("copies");
        fs::write(other.path().join("ledger.db-wal"), &log[..log.len() * part / 24]).expect("writes");
        let cut = writer(other.path());
        assert_eq!(cut.verify_fold("web").expect("reads"), FoldCheck::Same);
        seen.insert(cut.seq("web").expect("reads"));
    }
    assert_eq!(seen.first(), Some(&0));
    assert_eq!(seen.last(), Some(&10));
    assert!(seen.len() > 4, "{seen:?}");
}

fn limit_pages(ledger: &Ledger, pages: i64) {
    ledger
        .with(|inner| inner.conn.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0)))
        .expect("sets");
}

#[test]
fn a_full_disk_loses_nothing() {
    let dir = dir();
    let (_, mut state) = filled(dir.path());
    let before = state.clone();
    let ledger = writer(dir.path());
    limit_pages(&ledger, 1);
    let large = [accepted("new", "2222"), noticed("x".repeat(100_000))];
    let refused = ledger.commit("web", state.seq, &large, &mut state, None);
    assert!(matches!(refused, Err(CommitError::Store(StoreError::Full { .. }))), "{refused:?}");
    assert_eq!(state, before);
    assert_eq!(ledger.load("web").expect("loads"), before);
    limit_pages(&ledger, 1_000_000);
    ledger.commit("web", state.seq, &large, &mut state, None).expect("commits");
    assert_eq!(writer(dir.path()).load("web").expect("loads"), state);
}

#[test]
fn memory_ahead_of_a_broken_disk_is_not_used() {
    let dir = dir();
    let (path, mut state) = filled(dir.path());
    let before = state.clone();
    let ledger = writer(dir.path());
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        Connection::open(&path).and_then(|conn| conn.execute_batch(&sql)).expect("renames");
    };
    rename("resource", "hidden");
    ledger.commit("web", state.seq, &[accepted("new", "2222")], &mut state, None).expect_err("no such table");
    assert_ne!(state, before);
    let seq = state.seq;
    let stale = ledger.commit("web", seq, &[noticed("x")], &mut state, None);
    assert!(matches!(stale, Err(CommitError::Stale { .. })), "{stale:?}");
    ledger.refresh("web", &mut state).expect_err("no such table");
    rename("hidden", "resource");
    let stale = ledger.commit("web", seq, &[noticed("x")], &mut state, None);
    assert!(matches!(stale, Err(CommitError::Stale { .. })), "{stale:?}");
    assert!(ledger.refresh("web", &mut state).expect("refreshes"));
    assert_eq!(state, before);
    ledger.commit("web", state.seq, &[noticed("x")], &mut state, None).expect("commits");
}

#[test]
fn a_locked_file_is_busy() {
    let dir = dir();
    let (path, mut state) = filled(dir.path());
    let before = state.clone();
    let ledger = writer(dir.path());
    ledger.with(|inner| inner.conn.busy_timeout(std::time::Duration::ZERO)).expect("sets");
    let other = Connection::open(path).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let refused = ledger.commit("web", state.seq, &[noticed("x")], &mut state, None);
    assert!(matches!(refused, Err(CommitError::Store(StoreError::Busy { .. }))), "{refused:?}");
    assert_eq!(state, before);
    other.execute_batch("ROLLBACK").expect("unlocks");
    ledger.commit("web", state.seq, &[noticed("x")], &mut state, None).expect("commits");
}

#[test]
fn a_place_where_nothing_can_be_made() {
    let dir = dir();
    fs::write(dir.path().join("file"), "").expect("writes");
    let opened = Ledger::open(&dir.path().join("file/state"), Mode::Writer);
    assert!(matches!(opened, Err(StoreError::Io { .. })), "{opened:?}");
}

/// Needs to mount: without the right to do so (some containers) it says that nothing was tested.
#[test]
fn a_read_only_file_system_can_be_read() {
    let dir = dir();
    let (_, state) = filled(dir.path());
    let run = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--map-root-user", "sh", "-euc", script]).env("DIR", dir.path());
        unshare.env("HOLDFAST_STORE_SEQ", state.seq.to_string());
        unshare.arg("sh").arg(std::env::current_exe().expect("a path"));
        unshare.output()
    };
    let mount = r#"mount --bind "$DIR" "$DIR"; mount -o remount,ro,bind "$DIR""#;
    if !run(mount).is_ok_and(|output| output.status.success()) {
        eprintln!("not tested: this process may not mount");
        return;
    }
    let name = "store::tests::damage::child_on_a_read_only_file_system";
    let output = run(&format!(r#"{mount}; exec "$1" --exact {name} --ignored --nocapture"#)).expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "runs as the child of another test"]
fn child_on_a_read_only_file_system() {
    let dir = PathBuf::from(std::env::var_os("DIR").expect("set by the parent"));
    let seq: u64 = std::env::var("HOLDFAST_STORE_SEQ").expect("set by the parent").parse().expect("a number");
    let opened = Ledger::open(&dir, Mode::Writer);
    assert!(matches!(opened, Err(StoreError::ReadOnly { .. })), "{opened:?}");
    let opened = Ledger::open(&dir.join("new"), Mode::Writer);
    assert!(matches!(opened, Err(StoreError::ReadOnly { .. })), "{opened:?}");
    let reader = Ledger::open(&dir, Mode::Reader).expect("opens");
    assert_eq!(reader.load("web").expect("loads").seq, seq);
}
