//! Heads of pull requests: fetched when asked for, kept under names of ours, within bounds.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::Here;
use super::repo::{Repo, Server};
use crate::core::commit::CommitId;
use crate::core::heads::Head;
use crate::git::{FetchError, Heads, Remote};

fn fetch(here: &Here, remote: &Remote, heads: &[Head]) -> Result<Heads, FetchError> {
    here.mirror.fetch_heads(remote, heads, &AtomicBool::new(false))
}

/// A repository with a proposal beside its branch.
fn proposed(name: &str) -> (Repo, CommitId) {
    let repo = Repo::new();
    repo.git(&["checkout", "-q", "-b", "feature"]);
    repo.file("app/b.conf", "b");
    let head = repo.commit("proposed");
    repo.git(&["checkout", "-q", "main"]);
    repo.git(&["branch", "-D", "-q", "feature"]);
    repo.git(&["update-ref", name, head.as_str()]);
    (repo, head)
}

#[test]
fn heads_come_by_number_and_nothing_else_does() {
    let (repo, head) = proposed("refs/pull/7/head");
    repo.git(&["update-ref", "refs/pull/8/head", head.as_str()]);
    repo.git(&["update-ref", "refs/merge-requests/7/head", repo.head().as_str()]);
    let server = Server::of(&repo);
    for remote in [repo.remote(), server.remote("")] {
        let here = Here::new();
        here.fetch(&remote).unwrap();
        assert!(!here.mirror.snapshot().unwrap().has(&head));
        let heads = [Head::Pull(7), Head::Pull(9), Head::Request(7)];
        let first = fetch(&here, &remote, &heads).unwrap();
        assert_eq!(first.found, BTreeMap::from([(Head::Pull(7), head.clone()), (Head::Request(7), repo.head())]));
        assert!(first.received > 0);
        assert_eq!(fetch(&here, &remote, &heads).unwrap().received, 0, "nothing is new");
        let snapshot = here.mirror.snapshot().unwrap();
        assert!(snapshot.has(&head));
        assert_eq!(snapshot.head(Head::Pull(7)), Some(head.clone()));
        assert_eq!((snapshot.head(Head::Pull(8)), snapshot.head(Head::Pull(9))), (None, None));
        assert_eq!(snapshot.tip("main"), Some(repo.head()));
    }
}

#[test]
fn a_head_that_moves_is_followed_and_one_that_goes_stays_here() {
    let (repo, old) = proposed("refs/pull/7/head");
    let here = Here::new();
    here.fetch(&repo.remote()).unwrap();
    let seven = [Head::Pull(7)];
    assert_eq!(fetch(&here, &repo.remote(), &seven).unwrap().found[&seven[0]], old);
    let new = repo.change("another");
    repo.git(&["update-ref", "refs/pull/7/head", new.as_str()]);
    assert_eq!(fetch(&here, &repo.remote(), &seven).unwrap().found[&seven[0]], new);
    repo.git(&["update-ref", "-d", "refs/pull/7/head"]);
    assert!(fetch(&here, &repo.remote(), &seven).unwrap().found.is_empty());
    assert_eq!(here.mirror.snapshot().unwrap().head(seven[0]), Some(new));
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_clone_goes_on() {
    let (repo, _) = proposed("refs/pull/7/head");
    repo.git(&["checkout", "-q", "--detach"]);
    repo.file("large", Repo::noise(2 << 20));
    let large = repo.commit("large");
    repo.git(&["update-ref", "refs/pull/8/head", large.as_str()]);
    repo.git(&["checkout", "-q", "main"]);
    let here = Here::new();
    here.fetch(&repo.remote()).unwrap();
    let mut remote = repo.remote();
    remote.limits.pack = 1 << 20;
    let error = fetch(&here, &remote, &[Head::Pull(7), Head::Pull(8)]).unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { what: "pack", .. }), "{error:?}");
    assert_eq!(fetch(&here, &remote, &[Head::Pull(7)]).unwrap().found.len(), 1);
    assert_eq!(here.fetch(&repo.remote()).unwrap().rebuilt, None);
}

#[test]
fn what_is_no_commit_is_no_head() {
    let repo = Repo::new();
    let blob = repo.object("blob", b"x");
    repo.git(&["update-ref", "refs/pull/7/head", &blob]);
    repo.git(&["tag", "-a", "-m", "t", "t"]);
    let tag = repo.git(&["rev-parse", "refs/tags/t"]);
    repo.git(&["update-ref", "refs/pull/8/head", &tag]);
    let here = Here::new();
    here.fetch(&repo.remote()).unwrap();
    let found = fetch(&here, &repo.remote(), &[Head::Pull(7), Head::Pull(8)]).unwrap().found;
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(here.fetch(&repo.remote()).unwrap().rebuilt, None);
}

#[test]
fn heads_are_there_after_the_clone_was_packed_anew() {
    let (repo, head) = proposed("refs/pull/7/head");
    let here = Here::new();
    here.fetch(&repo.remote()).unwrap();
    fetch(&here, &repo.remote(), &[Head::Pull(7)]).unwrap();
    for n in 0..45 {
        repo.change(&format!("c{n}"));
        here.fetch(&repo.remote()).unwrap();
    }
    let packs = std::fs::read_dir(here.mirror.dir().join("objects/pack")).unwrap().count();
    assert!(packs < 60, "{packs} files");
    let snapshot = here.mirror.snapshot().unwrap();
    assert_eq!(snapshot.head(Head::Pull(7)), Some(head));
}
