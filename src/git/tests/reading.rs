//! Reading: ranges, tags, freezes, trees.

use super::repo::Repo;
use super::{Here, ids, unchecked};
use crate::core::commit::{CommitId, Signature};
use crate::core::tree::{Kind, Side, TreeError, Trees, diff, lookup};
use crate::git::{Range, ReadError, Snapshot};

fn fetched(repo: &Repo) -> (Here, Snapshot) {
    let here = Here::new();
    here.fetch(&repo.remote()).unwrap();
    let snapshot = here.mirror.snapshot().unwrap();
    (here, snapshot)
}

fn range(snapshot: &Snapshot, base: &CommitId, tip: &CommitId) -> Range {
    snapshot.range(base, tip, &unchecked).unwrap()
}

#[test]
fn a_linear_range_is_oldest_first_without_its_base() {
    let repo = Repo::new();
    let base = repo.head();
    let commits: Vec<CommitId> = (1..=3).map(|n| repo.change(&format!("c{n}"))).collect();
    let (_here, snapshot) = fetched(&repo);
    let range = range(&snapshot, &base, &commits[2]);
    assert_eq!((ids(&range.first_parent), ids(&range.all)), (commits.clone(), commits));
    assert!(range.base_on_first_parent);
    let c1 = &range.all[0];
    assert_eq!(
        (c1.subject.as_str(), c1.author.email.as_str(), c1.committer.name.as_str()),
        ("c1", "alice@example.com", "Bob")
    );
    assert_eq!((c1.parents.as_slice(), &c1.signature), ([base].as_slice(), &Signature::Unsigned));
}

#[test]
fn an_empty_range_has_its_base_on_the_chain() {
    let repo = Repo::new();
    let (_here, snapshot) = fetched(&repo);
    let range = range(&snapshot, &repo.head(), &repo.head());
    assert!(range.all.is_empty() && range.base_on_first_parent);
}

#[test]
fn a_merge_brings_all_its_commits_each_once() {
    let repo = Repo::new();
    repo.git(&["branch", "feature"]);
    let base = repo.change("base");
    repo.git(&["checkout", "-q", "feature"]);
    repo.file("b", "1");
    let f1 = repo.commit("f1");
    repo.file("b", "2");
    let f2 = repo.commit("f2");
    repo.git(&["checkout", "-q", "main"]);
    let c1 = repo.change("c1");
    let merge = repo.merge("feature");
    let (_here, snapshot) = fetched(&repo);
    let range = range(&snapshot, &base, &merge);
    assert_eq!(ids(&range.first_parent), [c1.clone(), merge.clone()]);
    assert_eq!(ids(&range.all), [c1, f1, f2, merge]);
    assert!(range.base_on_first_parent);
}

#[test]
fn back_dated_commits_are_in_the_range() {
    let repo = Repo::new();
    let base = repo.change("base");
    repo.git(&["checkout", "-q", "-b", "old"]);
    repo.file("b", "1");
    let f1 = repo.at(1_000_000).commit("from 1970");
    repo.git(&["checkout", "-q", "main"]);
    let c1 = repo.at(2_000_000).change("also old");
    let merge = repo.at(900_000).merge("old");
    let (_here, snapshot) = fetched(&repo);
    assert_eq!(ids(&range(&snapshot, &base, &merge).all), [c1.clone(), f1, merge]);
    assert_eq!(ids(&range(&snapshot, &base, &c1).all), [c1]);
}

#[test]
fn what_the_base_has_by_another_way_is_not_in_the_range() {
    let repo = Repo::new();
    repo.git(&["checkout", "-q", "-b", "feature"]);
    repo.file("b", "1");
    // Dated into the future: met before the base when newest comes first.
    let f1 = repo.at(4_000_000_000).commit("f1");
    repo.git(&["checkout", "-q", "main"]);
    let base = repo.at(1_700_001_000).merge("feature");
    repo.git(&["checkout", "-q", "feature"]);
    repo.file("b", "2");
    let f2 = repo.commit("f2");
    repo.git(&["checkout", "-q", "main"]);
    let tip = repo.merge("feature");
    let (_here, snapshot) = fetched(&repo);
    let all = ids(&range(&snapshot, &base, &tip).all);
    assert_eq!(all, [f2, tip]);
    assert!(!all.contains(&f1));
}

#[test]
fn ranges_of_random_histories_are_what_reachability_says() {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;
    const COMMITS: usize = 80;
    let repo = Repo::empty();
    let noise = Repo::noise(COMMITS * 4);
    let mut parents: Vec<Vec<usize>> = Vec::new();
    let mut stream = String::new();
    for (n, random) in noise.chunks(4).enumerate() {
        let pick = |byte: u8| n.saturating_sub(1 + usize::from(byte) % 6);
        let mut own = vec![pick(random[0])];
        if random[1] < 90 && !own.contains(&pick(random[2])) {
            own.push(pick(random[2]));
        }
        own.truncate(if n == 0 { 0 } else { 2 });
        // Dates in no order at all, within a week.
        let date = 1_700_000_000 + u32::from(random[3]) * 2000;
        writeln!(stream, "commit refs/heads/main\nmark :{}\ncommitter C <c@x> {date} +0000\ndata 1\nc", n + 1).unwrap();
        for (parent, word) in own.iter().zip(["from", "merge"]) {
            writeln!(stream, "{word} :{}", parent + 1).unwrap();
        }
        writeln!(stream, "M 100644 inline f\ndata {}\n{n}\n", n.to_string().len()).unwrap();
        parents.push(own);
    }
    // All are reachable from the last.
    let marks = repo.above().join("marks");
    repo.git_with(&["fast-import", "--quiet", "--force", &format!("--export-marks={}", marks.display())], &stream);
    let mut by_mark = vec![CommitId::new(""); COMMITS];
    for line in std::fs::read_to_string(marks).unwrap().lines() {
        let (mark, id) = line[1..].split_once(' ').unwrap();
        by_mark[mark.parse::<usize>().unwrap() - 1] = CommitId::new(id);
    }
    let octopus: Vec<String> = by_mark.iter().flat_map(|id| ["-p".to_owned(), id.to_string()]).collect();
    let tree = repo.git(&["rev-parse", &format!("{}^{{tree}}", by_mark[0])]);
    let mut args = vec!["commit-tree", "-m", "all", &tree];
    args.extend(octopus.iter().map(String::as_str));
    let all = repo.git(&args);
    repo.git(&["update-ref", "refs/heads/main", &all]);
    let (_here, snapshot) = fetched(&repo);
    let reach = |from: usize| {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
        while let Some(n) = todo.pop() {
            if seen.insert(n) {
                todo.extend(&parents[n]);
            }
        }
        seen
    };
    for (base, tip) in (0..COMMITS).flat_map(|base| [base + 1, base + 7, base + 30, base / 2].map(|tip| (base, tip))) {
        let Some(tip_id) = by_mark.get(tip) else { continue };
        let found = range(&snapshot, &by_mark[base], tip_id);
        let expected: BTreeSet<&CommitId> = reach(tip).difference(&reach(base)).map(|n| &by_mark[*n]).collect();
        assert_eq!(found.all.iter().map(|commit| &commit.id).collect::<BTreeSet<_>>(), expected, "{base}..{tip}");
        let mut chain = vec![tip];
        while let Some(parent) = parents[chain[chain.len() - 1]].first() {
            chain.push(*parent);
        }
        assert_eq!(found.base_on_first_parent, chain.contains(&base), "{base}..{tip}");
        let first: Vec<CommitId> =
            chain.iter().take_while(|n| !reach(base).contains(n)).map(|n| by_mark[*n].clone()).collect();
        assert!(ids(&found.first_parent).iter().rev().eq(&first), "{base}..{tip}");
        for (at, commit) in found.all.iter().enumerate() {
            let before = &found.all[..at];
            let inside = commit.parents.iter().filter(|parent| expected.contains(parent));
            assert!(inside.into_iter().all(|parent| before.iter().any(|b| b.id == *parent)), "parents come first");
        }
    }
}

#[test]
fn a_foxtrot_merge_takes_the_base_off_the_chain() {
    let repo = Repo::new();
    repo.git(&["checkout", "-q", "-b", "mine"]);
    repo.file("b", "1");
    let mine = repo.commit("mine");
    repo.git(&["checkout", "-q", "main"]);
    let base = repo.change("base");
    repo.git(&["checkout", "-q", "mine"]);
    let foxtrot = repo.merge("main");
    repo.git(&["checkout", "-q", "-B", "main"]);
    let (_here, snapshot) = fetched(&repo);
    let range = range(&snapshot, &base, &foxtrot);
    assert!(!range.base_on_first_parent);
    assert_eq!(ids(&range.first_parent), [mine.clone(), foxtrot.clone()]);
    assert_eq!(ids(&range.all), [mine, foxtrot]);
}

#[test]
fn a_rollback_and_a_rewritten_history_are_off_the_chain() {
    let repo = Repo::new();
    let c0 = repo.head();
    let c1 = repo.change("c1");
    let (here, snapshot) = fetched(&repo);
    let back = range(&snapshot, &c1, &c0);
    assert!(back.all.is_empty() && !back.base_on_first_parent);
    repo.git(&["reset", "-q", "--hard", c0.as_str()]);
    let other = repo.change("other");
    here.fetch(&repo.remote()).unwrap();
    let aside = range(&here.mirror.snapshot().unwrap(), &c1, &other);
    assert!(!aside.base_on_first_parent);
    assert_eq!(ids(&aside.all), [other]);
    repo.git(&["checkout", "-q", "--orphan", "fresh"]);
    let orphan = repo.commit("orphan");
    repo.git(&["branch", "-qM", "fresh", "main"]);
    here.fetch(&repo.remote()).unwrap();
    let unrelated = range(&here.mirror.snapshot().unwrap(), &c1, &orphan);
    assert_eq!((ids(&unrelated.all), unrelated.base_on_first_parent), (vec![orphan], false));
}

#[test]
fn a_base_that_is_not_here_proves_nothing() {
    let repo = Repo::new();
    let (_here, snapshot) = fetched(&repo);
    let gone = CommitId::new("0123456789012345678901234567890123456789");
    let error = snapshot.range(&gone, &repo.head(), &unchecked).unwrap_err();
    assert!(matches!(error, ReadError::AncestryUnproven { ref missing, .. } if *missing == gone), "{error:?}");
}

#[test]
fn a_shallow_remote_proves_nothing_behind_its_end_and_heals_when_deepened() {
    let origin = Repo::new();
    let base = origin.head();
    for n in 1..5 {
        origin.change(&format!("c{n}"));
    }
    let shallow = Repo::empty();
    let url = format!("file://{}", origin.path().display());
    shallow.git(&["fetch", "-q", "--depth", "2", &url, "main"]);
    shallow.git(&["reset", "-q", "--hard", "FETCH_HEAD"]);
    let here = Here::new();
    let fetched = here.fetch(&shallow.remote()).unwrap();
    assert!(fetched.shallow);
    let snapshot = here.mirror.snapshot().unwrap();
    let parent = CommitId::new(shallow.git(&["rev-parse", "HEAD~1"]));
    assert_eq!(ids(&range(&snapshot, &parent, &fetched.tip).all), std::slice::from_ref(&fetched.tip));
    assert!(matches!(snapshot.range(&base, &fetched.tip, &unchecked), Err(ReadError::AncestryUnproven { .. })));
    let walked: Vec<_> = snapshot.first_parents(&fetched.tip, &unchecked).collect();
    assert!(matches!(walked.last(), Some(Err(ReadError::AncestryUnproven { .. }))), "never an end: {walked:?}");
    shallow.git(&["fetch", "-q", "--unshallow", &url]);
    let healed = here.fetch(&shallow.remote()).unwrap();
    assert!(!healed.shallow);
    let range = range(&here.mirror.snapshot().unwrap(), &base, &healed.tip);
    assert_eq!((range.all.len(), range.base_on_first_parent), (4, true));
}

#[test]
fn replaced_objects_are_not_looked_at() {
    let repo = Repo::new();
    let base = repo.head();
    let c1 = repo.change("c1");
    let c2 = repo.change("c2");
    repo.git(&["replace", c2.as_str(), base.as_str()]);
    let (here, _) = fetched(&repo);
    // Even one that somehow got into the clone.
    let replace = here.mirror.dir().join("refs/replace");
    std::fs::create_dir_all(&replace).unwrap();
    std::fs::write(replace.join(c2.as_str()), format!("{base}\n")).unwrap();
    let snapshot = here.mirror.snapshot().unwrap();
    assert_eq!(ids(&range(&snapshot, &base, &c2).all), [c1, c2.clone()]);
    assert_eq!(snapshot.commit(&c2, &unchecked).unwrap().subject, "c2");
}

#[test]
fn history_is_read_lazily_newest_first() {
    let repo = Repo::new();
    let commits: Vec<CommitId> = (0..5).map(|n| repo.change(&format!("c{n}"))).collect();
    let (_here, snapshot) = fetched(&repo);
    let newest: Vec<CommitId> =
        snapshot.first_parents(&commits[4], &unchecked).take(2).map(|commit| commit.unwrap().id).collect();
    assert_eq!(newest, [commits[4].clone(), commits[3].clone()]);
    assert_eq!(snapshot.first_parents(&commits[4], &unchecked).count(), 6);
}

#[test]
fn signatures_of_commits_are_given_with_what_was_signed() {
    let repo = Repo::new();
    let key = repo.above().join("key");
    let status =
        std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(status.unwrap().success());
    repo.git(&["config", "gpg.format", "ssh"]);
    repo.git(&["config", "user.signingkey", key.to_str().unwrap()]);
    repo.git(&["commit", "-q", "--allow-empty", "-S", "-m", "signed"]);
    repo.git(&["tag", "-s", "-m", "yes", "holdfast-approve/sha256-abc"]);
    repo.git(&["tag", "-a", "-m", "plain", "holdfast-vouch/1"]);
    repo.git(&["tag", "holdfast-vouch/light"]);
    repo.git(&["tag", "-a", "-m", "other", "v1"]);
    let tag = repo.git(&["rev-parse", "refs/tags/holdfast-approve/sha256-abc"]);
    repo.git(&["update-ref", "refs/tags/holdfast-approve/moved", &tag]);
    let (here, snapshot) = fetched(&repo);
    // What was signed, as `ssh-keygen -Y check-novalidate` confirms it.
    let dir = here.path().to_path_buf();
    let check = move |payload: &[u8], signature: &[u8]| {
        std::fs::write(dir.join("sig"), signature).unwrap();
        std::fs::write(dir.join("payload"), payload).unwrap();
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(["-Y", "check-novalidate", "-n", "git", "-s"]).arg(dir.join("sig"));
        command.stdin(std::fs::File::open(dir.join("payload")).unwrap()).stdout(std::process::Stdio::null());
        if command.status().unwrap().success() {
            Signature::UnknownKey { key: "verified".into() }
        } else {
            Signature::Bad { why: "ssh-keygen refused".into() }
        }
    };
    let verified = Signature::UnknownKey { key: "verified".into() };
    assert_eq!(snapshot.commit(&repo.head(), &check).unwrap().signature, verified);
    let tags = snapshot.tags(&check).unwrap();
    let found: Vec<_> = tags.iter().map(|tag| (tag.name.as_str(), &tag.target, tag.signature.clone())).collect();
    let head = repo.head();
    assert_eq!(
        found,
        [("holdfast-approve/sha256-abc", &head, verified), ("holdfast-vouch/1", &head, Signature::Unsigned)]
    );
    repo.git(&["tag", "-d", "holdfast-approve/sha256-abc", "holdfast-approve/moved"]);
    assert!(here.fetch(&repo.remote()).unwrap().changed);
    let left = here.mirror.snapshot().unwrap().tags(&check).unwrap();
    assert_eq!(left.len(), 1, "a tag that was taken back approves nothing: {left:?}");
}

#[test]
fn freezes_are_found_at_the_root_and_at_the_path_only() {
    let repo = Repo::new();
    repo.file("FREEZE", "reason: root\n");
    repo.file("apps/web/freeze.yml", "reason: web\n");
    repo.file("apps/api/Freeze", "");
    repo.file("apps/web/deep/FREEZE", "");
    repo.file("apps/web/freezer", "");
    repo.file("apps/dir/FREEZE.d/x", "");
    std::os::unix::fs::symlink("nowhere", repo.path().join("apps/dir/freeze")).unwrap();
    let head = repo.commit("freeze");
    let (_here, snapshot) = fetched(&repo);
    let found = |path: &str| -> Vec<(String, Vec<u8>)> {
        let entries = snapshot.freeze_entries(&head, path).unwrap();
        entries.into_iter().map(|entry| (entry.path.to_string(), entry.bytes)).collect()
    };
    let root = ("FREEZE".to_owned(), b"reason: root\n".to_vec());
    assert_eq!(found("."), std::slice::from_ref(&root));
    assert_eq!(found("apps/web"), [root.clone(), ("apps/web/freeze.yml".into(), b"reason: web\n".to_vec())]);
    assert_eq!(found("./apps/api/"), [root.clone(), ("apps/api/Freeze".into(), Vec::new())]);
    assert_eq!(
        found("apps/dir"),
        [root.clone(), ("apps/dir/FREEZE.d".into(), vec![]), ("apps/dir/freeze".into(), vec![])]
    );
    assert_eq!(found("apps/none"), [root]);
}

#[test]
fn a_commit_that_does_nothing_but_freeze_is_known() {
    let repo = Repo::new();
    let only = |paths: &[&str]| {
        let (_here, snapshot) = fetched(&repo);
        snapshot.freeze_only(&repo.head(), paths).unwrap()
    };
    assert!(!only(&["app"]), "the first commit adds more");
    repo.file("FREEZE", "");
    repo.commit("freeze");
    assert!(only(&["app"]));
    repo.file("app/freeze.yaml", "reason: x");
    repo.commit("freeze app");
    assert!(only(&["app"]) && !only(&["other"]));
    repo.file("FREEZE", "until: x");
    repo.file("app/a.conf", "poison");
    repo.commit("freeze and more");
    assert!(!only(&["app"]));
    repo.remove("FREEZE");
    repo.commit("thaw");
    assert!(only(&["app"]), "whether it widens is not judged here");
    repo.file("FREEZE/anything", "");
    repo.commit("a directory");
    assert!(!only(&["app"]), "a directory freezes, and needs a signature");
    repo.commit("empty");
    assert!(!only(&["app"]), "a commit that changes nothing freezes nothing");
}

#[test]
fn trees_are_walked_compared_and_looked_into() {
    let repo = Repo::new();
    repo.file("app/b/c.txt", "c");
    let old = repo.commit("old");
    repo.file("app/b/c.txt", "changed");
    repo.remove("app/a.conf");
    repo.file("app/a.conf/now-a-directory", "x");
    let new = repo.commit("new");
    let (_here, snapshot) = fetched(&repo);
    let (a, b) = (snapshot.tree_of(&old).unwrap(), snapshot.tree_of(&new).unwrap());
    let mut seen = Vec::new();
    let mut leaf = |path: &[u8], old: Side, new: Side| -> Result<(), TreeError> {
        seen.push((String::from_utf8(path.into()).unwrap(), old.is_some(), new.is_some()));
        Ok(())
    };
    diff(&snapshot, Some(a), Some(b), &mut leaf).unwrap();
    assert_eq!(
        seen,
        [
            ("app/a.conf".into(), true, false),
            ("app/a.conf/now-a-directory".into(), false, true),
            ("app/b/c.txt".into(), true, true)
        ]
    );
    let (kind, oid) = lookup(&snapshot, b, b"app/b/c.txt").unwrap().unwrap();
    assert_eq!(
        (kind, snapshot.blob_size(oid).unwrap(), snapshot.blob(oid, 7).unwrap()),
        (Kind::File, 7, b"changed".to_vec())
    );
    assert!(matches!(snapshot.blob(oid, 6), Err(TreeError::TooLarge { size: 7, cap: 6, .. })));
    assert_eq!(lookup(&snapshot, b, b"app/none/x").unwrap(), None);
    assert_eq!(lookup(&snapshot, b, b"app/b/c.txt/x").unwrap(), None);
}

#[test]
fn a_tree_out_of_order_is_damaged_for_us() {
    let repo = Repo::new();
    let blob = repo.object("blob", b"x");
    let entry = |name: &str| [format!("100644 {name}\0").into_bytes(), hex::decode(&blob).unwrap()].concat();
    for names in [["b", "a"], ["a", "a"]] {
        let tree = repo.object("tree", &names.map(entry).concat());
        let commit = repo.git(&["commit-tree", "-m", "crafted", &tree]);
        repo.git(&["update-ref", "refs/heads/main", &commit]);
        let (_here, snapshot) = fetched(&repo);
        let root = snapshot.tree_of(&CommitId::new(commit)).unwrap();
        assert!(matches!(lookup(&snapshot, root, b"a"), Err(TreeError::Damaged { .. })), "{names:?}");
    }
}

#[test]
fn a_malformed_commit_is_an_error_and_no_end_of_history() {
    let repo = Repo::new();
    let base = repo.head();
    let (here, _) = fetched(&repo);
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    let text =
        format!("tree {tree}\nauthor A <a@x> 1 +0000\ncommitter C <c@x> 1 +0000\nparent {base}\n\nparent too late\n");
    let odd = repo.object("commit", text.as_bytes());
    repo.git(&["update-ref", "refs/heads/main", &odd]);
    here.fetch(&repo.remote()).unwrap();
    let snapshot = here.mirror.snapshot().unwrap();
    let read = snapshot.range(&base, &CommitId::new(odd), &unchecked);
    assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
}
