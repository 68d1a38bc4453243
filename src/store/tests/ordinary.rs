//! Committing, loading, catching up, racing, pruning.

use proptest::collection::vec;
use proptest::prelude::*;

use super::facts::fact;
use super::{accepted, at, converged, dir, noticed, writer};
use crate::core::commit::CommitId;
use crate::core::ledger::Fact;
use crate::core::resource::Id;
use crate::core::state::State;
use crate::store::{CommitError, EVERY, Filter, FoldCheck, Ledger, Mode, StoreError};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_loaded_is_what_is_in_memory(batches in vec(vec(fact(), 0..6), 1..16), follow in vec(any::<bool>(), 16)) {
        let dir = dir();
        let ledger = writer(dir.path());
        let reader = Ledger::open(dir.path(), Mode::Reader).expect("opens");
        let (mut state, mut follower) = (State::default(), State::default());
        for (batch, follow) in batches.iter().zip(follow) {
            let seq = ledger.commit("web", state.seq, batch, &mut state, None).expect("commits");
            prop_assert_eq!(seq, state.seq);
            prop_assert_eq!(&ledger.load("web").expect("loads"), &state);
            if follow {
                let behind = follower.seq != state.seq;
                prop_assert_eq!(reader.refresh("web", &mut follower).expect("refreshes"), behind);
                prop_assert_eq!(&follower, &state);
            }
        }
        prop_assert_eq!(ledger.verify_fold("web").expect("reads"), FoldCheck::Same);
        prop_assert_eq!(ledger.tail("web", 0).expect("reads"), Some(batches.concat()));
    }
}

#[test]
fn a_new_ledger_is_made_once() {
    let dir = dir();
    let state_dir = dir.path().join("deep/state");
    let first = writer(&state_dir);
    let second = writer(&state_dir);
    assert!(first.created() && !second.created());
    assert_eq!(first.id(), second.id());
    assert_eq!(first.id().len(), 32);
    assert_ne!(first.id(), writer(&dir.path().join("other")).id());
    let left: Vec<_> =
        std::fs::read_dir(&state_dir).expect("a directory").map(|entry| entry.expect("reads").file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("new")), "{left:?}");
}

#[test]
fn many_makers_agree_on_one_ledger() {
    let dir = dir();
    let ledgers: Vec<_> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| writer(dir.path()))).collect();
        makers.into_iter().map(|maker| maker.join().expect("no panic")).collect()
    });
    assert_eq!(ledgers.iter().filter(|ledger| ledger.created()).count(), 1);
    assert!(ledgers.iter().all(|ledger| ledger.id() == ledgers[0].id()));
}

#[test]
fn of_two_that_race_one_is_told() {
    let dir = dir();
    let (one, two) = (writer(dir.path()), writer(dir.path()));
    let (mut mine, mut theirs) = (one.load("web").expect("loads"), two.load("web").expect("loads"));
    one.commit("web", 0, &[accepted("a", "1111")], &mut mine, None).expect("commits");
    let refused = two.commit("web", 0, &[accepted("b", "1111")], &mut theirs, None);
    assert!(matches!(refused, Err(CommitError::Moved { expected: 0, found: 1, .. })), "{refused:?}");
    assert_eq!(theirs, State::default());
    assert!(two.refresh("web", &mut theirs).expect("refreshes"));
    assert_eq!(theirs, mine);
    two.commit("web", 1, &[accepted("b", "1111")], &mut theirs, None).expect("commits");
    assert_eq!(one.load("web").expect("loads"), theirs);
}

#[test]
fn racing_threads_lose_nothing() {
    let dir = dir();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let ledger = writer(dir.path());
            scope.spawn(move || {
                let mut state = ledger.load("web").expect("loads");
                for n in 0..30 {
                    let fact = accepted(&format!("{name}{n}"), "1111");
                    while let Err(error) =
                        ledger.commit("web", state.seq, std::slice::from_ref(&fact), &mut state, None)
                    {
                        assert!(matches!(error, CommitError::Moved { .. }), "{error}");
                        ledger.refresh("web", &mut state).expect("refreshes");
                    }
                }
            });
        }
    });
    let ledger = writer(dir.path());
    assert_eq!(ledger.load("web").expect("loads").resources.len(), 90);
    assert_eq!(ledger.verify_fold("web").expect("reads"), FoldCheck::Same);
}

#[test]
fn a_freeze_of_all_is_not_overlooked() {
    let dir = dir();
    let (controller, command) = (writer(dir.path()), writer(dir.path()));
    let mut state = State::default();
    controller.commit("web", 0, &[noticed("one")], &mut state, Some((EVERY, 0))).expect("commits");
    command.commit(EVERY, 0, &[noticed("freeze")], &mut State::default(), None).expect("commits");
    let refused = controller.commit("web", 1, &[noticed("two")], &mut state, Some((EVERY, 0)));
    match refused {
        Err(CommitError::Moved { app, expected: 0, found: 1 }) => assert_eq!(app, EVERY),
        other => panic!("{other:?}"),
    }
    assert_eq!(state.seq, 1);
    controller.commit("web", 1, &[noticed("two")], &mut state, Some((EVERY, 1))).expect("commits");
    assert_eq!(controller.apps().expect("reads"), [("web".to_owned(), 2)]);
}

#[test]
fn commits_of_others_are_noticed_cheaply() {
    let dir = dir();
    let (one, two) = (writer(dir.path()), writer(dir.path()));
    let before = one.data_version().expect("reads");
    let mut state = State::default();
    one.commit("web", 0, &[noticed("mine")], &mut state, None).expect("commits");
    assert_eq!(one.data_version().expect("reads"), before);
    two.commit("web", 1, &[noticed("theirs")], &mut state, None).expect("commits");
    assert_ne!(one.data_version().expect("reads"), before);
}

#[test]
fn a_state_that_is_not_at_the_number_is_refused() {
    let dir = dir();
    let ledger = writer(dir.path());
    ledger.commit("web", 0, &[noticed("one")], &mut State::default(), None).expect("commits");
    let mut other = State::default();
    assert!(matches!(ledger.commit("web", 1, &[noticed("two")], &mut other, None), Err(CommitError::Moved { .. })));
    assert_eq!(ledger.seq("web").expect("reads"), 1);
}

#[test]
fn converging_rewrites_no_resource() {
    let dir = dir();
    let ledger = writer(dir.path());
    let mut state = State::default();
    let mut facts: Vec<_> = (0..500).map(|n| accepted(&format!("r{n:03}"), "1111")).collect();
    facts.push(converged("1111"));
    ledger.commit("web", 0, &facts, &mut state, None).expect("commits");
    ledger.commit("web", state.seq, &[converged("2222")], &mut state, None).expect("commits");
    let changes = |ledger: &Ledger| ledger.with(|inner| Ok(inner.conn.total_changes())).expect("reads");
    let before = changes(&ledger);
    ledger.commit("web", state.seq, &[converged("3333")], &mut state, None).expect("commits");
    assert!(changes(&ledger) - before < 10, "{}", changes(&ledger) - before);
    let loaded = ledger.load("web").expect("loads");
    assert!(loaded.resources.values().all(|resource| {
        resource.accepted.as_deref().is_some_and(|accepted| accepted.about.commit == CommitId::new("3333"))
    }));
    assert_eq!(loaded, state);
}

#[test]
fn old_rows_go_and_the_state_stays() {
    let dir = dir();
    let ledger = writer(dir.path());
    ledger
        .with(|inner| {
            inner.keep = 10;
            Ok(())
        })
        .expect("sets");
    let (mut state, mut early) = (State::default(), State::default());
    for n in 0..25 {
        ledger.commit("web", state.seq, &[accepted(&format!("r{n}"), "1111")], &mut state, None).expect("commits");
        if n == 3 {
            early = state.clone();
        }
    }
    let rows = ledger.history("web", &Filter::default(), 100).expect("reads");
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), (16..=25).rev().collect::<Vec<_>>());
    assert_eq!(ledger.load("web").expect("loads"), state);
    assert_eq!(ledger.tail("web", 14).expect("reads"), None);
    assert_eq!(ledger.tail("web", 15).expect("reads").map(|facts| facts.len()), Some(10));
    assert!(ledger.refresh("web", &mut early).expect("refreshes"));
    assert_eq!(early, state);
    assert_eq!(ledger.verify_fold("web").expect("reads"), FoldCheck::Pruned);
}

#[test]
fn history_is_filtered_and_newest_first() {
    let dir = dir();
    let ledger = writer(dir.path());
    let mut state = State::default();
    let facts = [accepted("a", "1111"), noticed("x"), accepted("b", "1111"), Fact::Forgotten { id: Id::new("a") }];
    ledger.commit("web", 0, &facts, &mut state, None).expect("commits");
    let seqs = |filter: Filter, limit| -> Vec<u64> {
        ledger.history("web", &filter, limit).expect("reads").iter().map(|row| row.seq).collect()
    };
    assert_eq!(seqs(Filter::default(), 10), [4, 3, 2, 1]);
    assert_eq!(seqs(Filter::default(), 2), [4, 3]);
    assert_eq!(seqs(Filter { before: Some(3), ..Filter::default() }, 10), [2, 1]);
    assert_eq!(seqs(Filter { kinds: vec!["accepted".into()], ..Filter::default() }, 10), [3, 1]);
    assert_eq!(seqs(Filter { resource: Some(Id::new("a")), ..Filter::default() }, 10), [4, 1]);
    assert_eq!(seqs(Filter { since: Some(at(4_000_000_000)), ..Filter::default() }, 10), [0u64; 0]);
    assert_eq!(seqs(Filter { until: Some(at(4_000_000_000)), ..Filter::default() }, 10), [4, 3, 2, 1]);
    let rows = ledger.history("web", &Filter::default(), 1).expect("reads");
    assert_eq!((rows[0].kind.as_str(), rows[0].fact().expect("a fact")), ("forgotten", facts[3].clone()));
    assert!(ledger.history("nobody", &Filter::default(), 1).expect("reads").is_empty());
}

#[test]
fn a_reader_reads_and_does_not_write() {
    let dir = dir();
    assert!(matches!(Ledger::open(dir.path(), Mode::Reader), Err(StoreError::Missing { .. })));
    let ledger = writer(dir.path());
    let mut state = State::default();
    ledger.commit("web", 0, &[accepted("a", "1111")], &mut state, None).expect("commits");
    let reader = Ledger::open(dir.path(), Mode::Reader).expect("opens");
    let mut read = reader.load("web").expect("loads");
    assert_eq!(read, state);
    let refused = reader.commit("web", 1, &[noticed("no")], &mut read, None);
    assert!(matches!(refused, Err(CommitError::Store(StoreError::ReadOnly { .. }))), "{refused:?}");
    assert_eq!(read, state);
}

#[test]
fn a_ledger_of_an_older_schema_is_brought_up_to_date_and_loses_nothing() {
    let dir = dir();
    let mut state = State::default();
    writer(dir.path())
        .commit("web", 0, &[accepted("a", "c1"), accepted("b", "c2")], &mut state, None)
        .expect("commits");
    let older =
        "ALTER TABLE resource DROP COLUMN owned; ALTER TABLE resource DROP COLUMN remains; PRAGMA user_version = 2";
    let conn = rusqlite::Connection::open(dir.path().join("ledger.db")).expect("opens");
    conn.execute_batch(older).expect("writes");
    drop(conn);
    assert_eq!(writer(dir.path()).load("web").expect("loads"), state);
}
