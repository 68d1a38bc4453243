//! Keeping: pins, damage, many fetches, what a crash leaves.

use std::path::{Path, PathBuf};

use super::repo::Repo;
use super::{Here, ids, unchecked};
use crate::core::tree::{Trees, lookup};
use crate::git::directory_for;
use crate::git::remote::Url;

fn packs(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir.join("objects/pack")).unwrap().flatten().map(|entry| entry.path());
    all.filter(|path| path.extension().is_some_and(|e| e == "pack")).collect()
}

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A mirror with a pinned commit that the remote no longer has.
fn pinned() -> (Repo, Here, crate::core::commit::CommitId) {
    let repo = Repo::new();
    let c0 = repo.head();
    let accepted = repo.change("accepted");
    let here = Here::new();
    here.fetch(&repo.remote()).unwrap();
    here.mirror.pin(&accepted).unwrap();
    repo.git(&["reset", "-q", "--hard", c0.as_str()]);
    repo.change("rewritten");
    repo.git(&["reflog", "expire", "--expire=now", "--all"]);
    repo.git(&["gc", "-q", "--prune=now"]);
    here.fetch(&repo.remote()).unwrap();
    (repo, here, accepted)
}

fn assert_kept(here: &Here, accepted: &crate::core::commit::CommitId) {
    assert_eq!(here.mirror.pins().unwrap(), std::slice::from_ref(accepted));
    let snapshot = here.mirror.snapshot().unwrap();
    let root = snapshot.tree_of(accepted).unwrap();
    let (_, blob) = lookup(&snapshot, root, b"app/a.conf").unwrap().unwrap();
    assert_eq!(snapshot.blob(blob, 100).unwrap(), b"accepted");
    let chain = snapshot.first_parents(accepted, &unchecked);
    assert_eq!(chain.map(|commit| commit.unwrap().subject).collect::<Vec<_>>(), ["accepted", "c0"]);
}

#[test]
fn pins_outlive_force_pushes_and_repacking() {
    let (_repo, here, accepted) = pinned();
    crate::git::upkeep::repack(here.mirror.dir(), &Default::default(), std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(packs(here.mirror.dir()).len(), 1);
    assert_kept(&here, &accepted);
    here.mirror.unpin(&accepted).unwrap();
    here.mirror.unpin(&accepted).unwrap();
    assert!(here.mirror.pins().unwrap().is_empty());
}

#[test]
fn pins_that_another_one_reaches_are_let_go_and_nothing_else() {
    let (repo, here, accepted) = pinned();
    let chain: Vec<_> = (0..3).map(|at| repo.change(&format!("c{at}"))).collect();
    here.fetch(&repo.remote()).unwrap();
    for commit in &chain {
        here.mirror.pin(commit).unwrap();
    }
    let pins = |expected: &[&crate::core::commit::CommitId]| {
        let mut expected: Vec<_> = expected.iter().map(|commit| (*commit).clone()).collect();
        expected.sort();
        assert_eq!(here.mirror.pins().unwrap(), expected);
    };
    here.mirror.unpin_reached(&[&chain[0]].into()).unwrap();
    pins(&[&accepted, &chain[0], &chain[1], &chain[2]]);
    here.mirror.unpin_reached(&[&chain[1], &chain[2]].into()).unwrap();
    pins(&[&accepted, &chain[1], &chain[2]]);
    here.mirror.unpin_reached(&[&chain[2]].into()).unwrap();
    pins(&[&accepted, &chain[2]]);
    // What was reached outlives a remote that no longer has it.
    repo.git(&["reset", "-q", "--hard", "HEAD~4"]);
    repo.change("again");
    here.fetch(&repo.remote()).unwrap();
    crate::git::upkeep::repack(here.mirror.dir(), &Default::default(), std::time::Duration::from_secs(60)).unwrap();
    assert!(here.mirror.snapshot().unwrap().tree_of(&chain[0]).is_ok());
}

#[test]
fn pins_outlive_a_new_clone() {
    let (repo, here, accepted) = pinned();
    here.mirror.suspect("a test says so");
    let fetched = here.fetch(&repo.remote()).unwrap();
    assert_eq!((fetched.rebuilt.as_deref(), fetched.lost), (Some("a test says so"), vec![]));
    assert_kept(&here, &accepted);
    assert_eq!(here.fetch(&repo.remote()).unwrap().rebuilt, None, "once");
    here.mirror.suspect("a test says so");
    assert_eq!(here.fetch(&repo.remote()).unwrap().rebuilt, None, "what a new clone did not mend, another will not");
    here.mirror.suspect("another reason");
    assert_eq!(here.fetch(&repo.remote()).unwrap().rebuilt.as_deref(), Some("another reason"));
    assert_kept(&here, &accepted);
}

#[test]
fn only_commits_that_are_here_can_be_pinned() {
    let (_repo, here, _) = pinned();
    for id in ["0123456789012345678901234567890123456789", "nonsense", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"] {
        assert!(here.mirror.pin(&crate::core::commit::CommitId::new(id)).is_err(), "{id}");
    }
}

#[test]
fn a_damaged_clone_is_made_anew() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("a pack cut off", |dir| overwrite(&packs(dir)[0], |bytes| bytes.truncate(bytes.len() / 2))),
        ("a pack overwritten", |dir| overwrite(&packs(dir)[0], |bytes| bytes[12..].fill(0x55))),
        ("an index lost", |dir| std::fs::remove_file(packs(dir)[0].with_extension("idx")).unwrap()),
        ("all packs lost", |dir| {
            std::fs::remove_dir_all(dir.join("objects/pack")).unwrap();
            std::fs::create_dir(dir.join("objects/pack")).unwrap();
        }),
        ("HEAD lost", |dir| std::fs::remove_file(dir.join("HEAD")).unwrap()),
        ("references garbled", |dir| std::fs::write(dir.join("packed-refs"), "garbage\n").unwrap()),
    ];
    let repo = Repo::new();
    for (what, damage) in damages {
        let here = Here::new();
        let tip = here.fetch(&repo.remote()).unwrap().tip;
        damage(here.mirror.dir());
        let fetched = here.fetch(&repo.remote()).unwrap();
        assert!(fetched.tip == tip && fetched.rebuilt.is_some(), "{what}: {fetched:?}");
        let snapshot = here.mirror.snapshot().unwrap();
        assert_eq!(snapshot.commit(&tip, &unchecked).unwrap().id, tip, "{what}");
        assert_eq!(here.fetch(&repo.remote()).unwrap().rebuilt, None, "{what}: once");
    }
}

#[test]
fn damage_that_a_reader_meets_is_mended_by_the_next_fetch() {
    let repo = Repo::new();
    let noise = Repo::noise(50_000);
    repo.file("app/noise", &noise);
    let head = repo.commit("noise");
    let here = Here::new();
    here.fetch(&repo.remote()).unwrap();
    // In the middle of the one large blob; both ends of the pack still agree.
    overwrite(&packs(here.mirror.dir())[0], |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 1000].fill(0x55);
    });
    let read = |snapshot: &crate::git::Snapshot| {
        let root = snapshot.tree_of(&head)?;
        let (_, blob) = lookup(snapshot, root, b"app/noise")?.unwrap();
        snapshot.blob(blob, 1 << 20)
    };
    assert!(read(&here.mirror.snapshot().unwrap()).is_err());
    assert!(here.fetch(&repo.remote()).unwrap().rebuilt.is_some());
    assert_eq!(read(&here.mirror.snapshot().unwrap()).unwrap(), noise);
}

#[test]
fn what_a_killed_process_left_does_not_hinder() {
    let repo = Repo::new();
    let here = Here::new();
    here.fetch(&repo.remote()).unwrap();
    let dir = here.mirror.dir();
    for file in
        ["packed-refs.lock", "HEAD.lock", "refs/heads/x.lock", "objects/pack/.tmpAbCd", "objects/pack/pack-1.keep"]
    {
        std::fs::write(dir.join(file), "").unwrap();
    }
    std::fs::create_dir_all(crate::git::upkeep::beside(dir).join("objects")).unwrap();
    let tip = repo.change("after");
    assert_eq!(here.fetch(&repo.remote()).unwrap().tip, tip);
    assert!(!crate::git::upkeep::beside(dir).exists() && !dir.join("packed-refs.lock").exists());
}

#[test]
fn many_fetches_keep_few_packs_with_and_without_git_to_repack() {
    for repacks in [true, false] {
        let repo = Repo::new();
        let base = repo.head();
        let here = Here::new();
        here.fetch(&repo.remote()).unwrap();
        here.mirror.pin(&base).unwrap();
        let mut most = 0;
        let rounds = if repacks { 120 } else { 50 };
        for n in 0..rounds {
            let tip = repo.change(&format!("c{n}"));
            let mut remote = repo.remote();
            if !repacks {
                remote.network.git = no_repack(&here);
            }
            let fetched = here.fetch(&remote).unwrap();
            assert_eq!((fetched.tip, fetched.rebuilt, fetched.lost), (tip, None, vec![]));
            most = most.max(packs(here.mirror.dir()).len());
        }
        assert!(most <= 41, "{most} packs");
        assert!(packs(here.mirror.dir()).len() < 41);
        let snapshot = here.mirror.snapshot().unwrap();
        let range = snapshot.range(&base, &repo.head(), &unchecked).unwrap();
        assert_eq!(ids(&range.all).len(), rounds);
        assert_eq!(here.mirror.pins().unwrap(), [base]);
    }
}

/// A git that serves repositories and cannot repack.
fn no_repack(here: &Here) -> PathBuf {
    here.program("git", "[ \"$1\" = upload-pack ] && exec git \"$@\"\nexit 1")
}

#[test]
fn a_reader_that_was_open_reads_on_while_the_clone_is_replaced() {
    let repo = Repo::new();
    let head = repo.head();
    let here = Here::new();
    here.fetch(&repo.remote()).unwrap();
    let before = here.mirror.snapshot().unwrap();
    here.mirror.suspect("a test says so");
    here.fetch(&repo.remote()).unwrap();
    assert_eq!(before.commit(&head, &unchecked).unwrap().id, head);
}

#[test]
fn two_that_fetch_at_once_both_succeed() {
    let repo = Repo::new();
    let here = Here::new();
    let remote = repo.remote();
    for n in 0..5 {
        let tip = repo.change(&format!("c{n}"));
        let fetch = || {
            let mirror = crate::git::Mirror::open(here.mirror.dir()).unwrap();
            mirror.fetch(&remote, &Default::default(), &std::sync::atomic::AtomicBool::new(false)).unwrap()
        };
        std::thread::scope(|scope| {
            let both = [scope.spawn(fetch), scope.spawn(fetch)].map(|thread| thread.join().unwrap());
            assert!(both.iter().all(|fetched| fetched.tip == tip && fetched.rebuilt.is_none()), "{both:?}");
            assert_eq!(both.iter().filter(|fetched| fetched.changed).count(), 1, "the second finds it done");
        });
    }
}

#[test]
fn a_held_lock_is_waited_for_no_longer_than_the_fetch_may_take() {
    let repo = Repo::new();
    let here = Here::new();
    let lock = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(here.mirror.dir().with_extension("lock"))
        .unwrap();
    lock.lock().unwrap();
    let mut remote = repo.remote();
    remote.limits.total = std::time::Duration::from_millis(100);
    let error = here.fetch(&remote).unwrap_err();
    assert!(matches!(error, crate::git::FetchError::TimedOut { phase: crate::git::Phase::Lock, .. }), "{error:?}");
    drop(lock);
    here.fetch(&repo.remote()).unwrap();
}

#[test]
fn a_clone_has_a_directory_of_its_own() {
    let state = Path::new("/state");
    let directory = |url: &str| directory_for(state, &Url::from(url));
    let one = directory("https://a/../../etc");
    assert!(one.parent() == Some(&state.join("repos")) && one != directory("https://b"), "{one:?}");
    assert_eq!(one, directory("https://a/../../etc"));
}
