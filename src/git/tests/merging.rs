//! Merging: what our own merges give beside what Git's give, in the same repositories.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::Here;
use super::repo::Repo;
use crate::core::commit::CommitId;
use crate::core::heads::Head;
use crate::core::tree::{Trees, lookup};
use crate::git::{Merge, MergeError, Snapshot};

/// What Git gives: a tree, or nothing where there is a conflict.
fn by_git(repo: &Repo, onto: &CommitId, head: &CommitId) -> Option<String> {
    let out = repo.try_git(&["merge-tree", "--write-tree", "--no-messages", onto.as_str(), head.as_str()]);
    match out.status.code() {
        Some(0) => Some(String::from_utf8(out.stdout).unwrap().trim().to_owned()),
        Some(1) => None,
        _ => panic!("git merge-tree: {}", String::from_utf8_lossy(&out.stderr)),
    }
}

/// What we give, in the same words.
fn by_us(merged: &Merge) -> Option<String> {
    match merged {
        Merge::Clean(merged) => Some(merged.tree.to_string()),
        Merge::Conflict { paths } => {
            assert!(!paths.is_empty(), "a conflict without a place");
            None
        }
    }
}

fn lines(from: usize, to: usize) -> String {
    (from..to).map(|n| format!("line {n}\n")).collect()
}

fn read(repo: &Repo) -> Snapshot {
    Snapshot::open_readonly(&repo.path()).unwrap()
}

/// Two branches of one commit.
struct Fork {
    repo: Repo,
    base: CommitId,
    ours: CommitId,
    theirs: CommitId,
}

impl Fork {
    fn of(base: impl Fn(&Repo), ours: impl Fn(&Repo), theirs: impl Fn(&Repo)) -> Self {
        let repo = Repo::new();
        base(&repo);
        let start = repo.commit("base");
        repo.git(&["checkout", "-q", "-b", "feature"]);
        theirs(&repo);
        let head = repo.commit("theirs");
        repo.git(&["checkout", "-q", "main"]);
        ours(&repo);
        let onto = repo.commit("ours");
        Self { repo, base: start, ours: onto, theirs: head }
    }

    /// Merges as Git does and as we do, both ways, and tells whether it is clean.
    #[track_caller]
    fn agrees(&self) -> bool {
        let snapshot = read(&self.repo);
        for (onto, head) in [(&self.ours, &self.theirs), (&self.theirs, &self.ours)] {
            let ours = snapshot.merge(onto, head).unwrap();
            assert_eq!(by_us(&ours), by_git(&self.repo, onto, head), "{ours:?}");
        }
        by_git(&self.repo, &self.ours, &self.theirs).is_some()
    }
}

fn executable(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_only_one_side_changes_is_taken() {
    let base = |repo: &Repo| {
        for name in ["a", "b", "c", "d"] {
            repo.file(&format!("app/{name}.conf"), name);
        }
    };
    let ours = |repo: &Repo| {
        repo.file("app/b.conf", "ours");
        repo.remove("app/c.conf");
        repo.file("new/ours", "1");
    };
    let theirs = |repo: &Repo| {
        repo.file("app/a.conf", "theirs");
        repo.remove("app/d.conf");
        executable(&repo.path().join("app/c.conf").with_file_name("a.conf"));
        repo.file("new/theirs", "1");
    };
    assert!(Fork::of(base, ours, theirs).agrees());
}

#[test]
fn lines_apart_merge_and_lines_that_touch_conflict() {
    let base = |repo: &Repo| repo.file("f", lines(0, 20));
    let edit =
        |at: usize, what: &'static str| move |repo: &Repo| repo.file("f", lines(0, at) + what + &lines(at + 1, 20));
    assert!(Fork::of(base, edit(2, "ours\n"), edit(17, "theirs\n")).agrees());
    let fork = Fork::of(base, edit(9, "ours\n"), edit(9, "theirs\n"));
    assert!(!fork.agrees());
    let conflict = read(&fork.repo).merge(&fork.ours, &fork.theirs).unwrap();
    assert_eq!(conflict, Merge::Conflict { paths: vec!["f".into()] });
    // The same change on both sides is none.
    assert!(Fork::of(base, edit(9, "same\n"), edit(9, "same\n")).agrees());
}

#[test]
fn a_file_renamed_on_one_side_is_changed_by_the_other() {
    let base = |repo: &Repo| repo.file("old", lines(0, 30));
    let renamed = |repo: &Repo| {
        repo.git(&["mv", "old", "new"]);
    };
    let changed = |repo: &Repo| repo.file("old", lines(0, 15) + "changed\n" + &lines(16, 30));
    assert!(Fork::of(base, renamed, changed).agrees());
    let both = |repo: &Repo| {
        repo.git(&["mv", "old", "new"]);
        repo.file("new", "first\n".to_owned() + &lines(1, 30));
    };
    assert!(Fork::of(base, both, changed).agrees());
}

#[test]
fn nothing_of_what_freezes_gets_into_anything_else() {
    let base = |repo: &Repo| repo.file("app/FREEZE", lines(0, 30));
    let renamed = |repo: &Repo| {
        repo.git(&["mv", "app/FREEZE", "app/a.conf.new"]);
    };
    let changed = |repo: &Repo| repo.file("app/FREEZE", lines(0, 15) + "unsigned\n" + &lines(16, 30));
    let fork = Fork::of(base, changed, renamed);
    for (onto, head) in [(&fork.ours, &fork.theirs), (&fork.theirs, &fork.ours)] {
        let merged = read(&fork.repo).merge(onto, head).unwrap();
        assert!(matches!(merged, Merge::Conflict { .. }), "{merged:?}");
    }
}

#[test]
fn what_cannot_be_decided_is_a_conflict() {
    let base = |repo: &Repo| repo.file("old", lines(0, 30));
    let to = |name: &'static str| {
        move |repo: &Repo| {
            repo.git(&["mv", "old", name]);
        }
    };
    let changed = |repo: &Repo| repo.file("old", lines(0, 15) + "changed\n" + &lines(16, 30));
    let gone = |repo: &Repo| repo.remove("old");
    let file = |content: &'static str| move |repo: &Repo| repo.file("added", content);
    let none = |_: &Repo| {};
    assert!(!Fork::of(base, to("one"), to("other")).agrees(), "renamed to two names");
    assert!(!Fork::of(base, gone, changed).agrees(), "deleted and changed");
    assert!(!Fork::of(none, file("1\n"), file("2\n")).agrees(), "added twice, differently");
    assert!(Fork::of(none, file("1\n"), file("1\n")).agrees(), "added twice, the same");
    let binary = |byte: u8| move |repo: &Repo| repo.file("old", [vec![byte, 0], Repo::noise(64)].concat());
    assert!(!Fork::of(binary(1), binary(2), binary(3)).agrees(), "binary");
    let link = |target: &'static str| move |repo: &Repo| symlink(target, repo.path().join("link")).unwrap();
    assert!(!Fork::of(none, link("a"), link("b")).agrees(), "links");
}

#[test]
fn modes_kinds_and_directories_are_merged_as_git_merges_them() {
    let base = |repo: &Repo| {
        repo.file("script", lines(0, 20));
        repo.file("dir/x", "x\n");
    };
    let runs = |repo: &Repo| executable(&repo.path().join("script"));
    let changed = |repo: &Repo| repo.file("script", lines(0, 10) + "changed\n" + &lines(11, 20));
    assert!(Fork::of(base, runs, changed).agrees(), "a mode on one side, content on the other");
    let to_link = |repo: &Repo| {
        repo.remove("script");
        symlink("dir/x", repo.path().join("script")).unwrap();
    };
    let elsewhere = |repo: &Repo| repo.file("dir/y", "y\n");
    assert!(Fork::of(base, to_link, elsewhere).agrees(), "a file becomes a link");
    assert!(!Fork::of(base, to_link, changed).agrees(), "a file becomes a link, and is changed");
    let to_directory = |repo: &Repo| {
        repo.remove("script");
        repo.file("script/inner", "1\n");
    };
    assert!(Fork::of(base, to_directory, elsewhere).agrees(), "a file becomes a directory");
    assert!(!Fork::of(base, to_directory, changed).agrees(), "a file becomes a directory, and is changed");
}

#[test]
fn a_directory_renamed_on_one_side_does_not_take_what_the_other_adds_along() {
    let base = |repo: &Repo| (0..4).for_each(|n| repo.file(&format!("old/{n}"), lines(n, n + 20)));
    let renamed = |repo: &Repo| {
        repo.git(&["mv", "old", "new"]);
    };
    let adds = |repo: &Repo| repo.file("old/added", "added\n");
    assert!(!Fork::of(base, renamed, adds).agrees(), "Git suggests a place, and leaves it to people");
}

#[test]
fn a_head_that_is_there_already_or_goes_straight_on_needs_no_merge() {
    let fork = Fork::of(|_| {}, |repo| repo.file("a", "1"), |repo| repo.file("b", "1"));
    let snapshot = read(&fork.repo);
    let tree = |commit: &CommitId| snapshot.tree_of(commit).unwrap().to_string();
    let merged = |onto, head| by_us(&snapshot.merge(onto, head).unwrap()).unwrap();
    assert_eq!(merged(&fork.base, &fork.theirs), tree(&fork.theirs));
    assert_eq!(merged(&fork.theirs, &fork.base), tree(&fork.theirs));
    assert_eq!(merged(&fork.theirs, &fork.theirs), tree(&fork.theirs));
}

#[test]
fn a_criss_cross_is_merged_by_the_merge_of_its_bases() {
    let fork = Fork::of(
        |repo| repo.file("f", lines(0, 40)),
        |repo| repo.file("f", "ours\n".to_owned() + &lines(1, 40)),
        |repo| repo.file("f", lines(0, 39) + "theirs\n"),
    );
    let repo = &fork.repo;
    // Each takes the other, and each goes on.
    repo.git(&["merge", "-q", "--no-ff", "-m", "criss", fork.theirs.as_str()]);
    let criss = repo.head();
    repo.git(&["checkout", "-q", "feature"]);
    repo.git(&["merge", "-q", "--no-ff", "-m", "cross", fork.ours.as_str()]);
    repo.file("f", "ours\n".to_owned() + &lines(1, 20) + "cross\n" + &lines(21, 39) + "theirs\n");
    let theirs = repo.commit("after cross");
    repo.git(&["checkout", "-q", "-B", "main", criss.as_str()]);
    repo.file("f", "ours\n".to_owned() + &lines(1, 10) + "criss\n" + &lines(11, 39) + "theirs\n");
    let ours = repo.commit("after criss");
    assert_eq!(repo.git(&["merge-base", "--all", ours.as_str(), theirs.as_str()]).lines().count(), 2);
    let merged = read(repo).merge(&ours, &theirs).unwrap();
    assert_eq!(by_us(&merged), by_git(repo, &ours, &theirs));
    assert!(by_us(&merged).is_some());
}

#[test]
fn what_has_nothing_in_common_is_not_merged() {
    let repo = Repo::new();
    let main = repo.head();
    repo.git(&["checkout", "-q", "--orphan", "other"]);
    let other = repo.commit("other");
    let error = read(&repo).merge(&main, &other).unwrap_err();
    assert_eq!(error, MergeError::Unrelated(main, other));
}

#[test]
fn a_change_is_picked_as_git_picks_it() {
    let repo = Repo::new();
    repo.file("f", lines(0, 30));
    let base = repo.commit("base");
    repo.git(&["checkout", "-q", "-b", "feature"]);
    repo.file("f", lines(0, 5) + "one\n" + &lines(6, 30));
    let one = repo.commit("one");
    repo.file("f", lines(0, 5) + "one\n" + &lines(6, 20) + "two\n" + &lines(21, 30));
    repo.commit("two");
    repo.git(&["checkout", "-q", "main"]);
    repo.file("f", lines(0, 12) + "main\n" + &lines(13, 30));
    let main = repo.commit("main");
    let commits: Vec<CommitId> =
        repo.git(&["rev-list", "--reverse", "main..feature"]).lines().map(CommitId::new).collect();
    repo.git(&["checkout", "-q", "-b", "rebased", "feature"]);
    repo.git(&["rebase", "-q", "main"]);
    let rebased: Vec<CommitId> =
        repo.git(&["rev-list", "--reverse", "main..rebased"]).lines().map(CommitId::new).collect();
    let snapshot = read(&repo);
    let mut onto = main;
    for (commit, made) in commits.iter().zip(&rebased) {
        assert_ne!(commit, made);
        let picked = by_us(&snapshot.pick(commit, &onto).unwrap());
        assert_eq!(picked, Some(snapshot.tree_of(made).unwrap().to_string()));
        // Our own commits go on from each other.
        let Merge::Clean(merged) = snapshot.pick(commit, &onto).unwrap() else { panic!("clean") };
        assert_eq!(snapshot.tree_of(&merged.commit).unwrap(), merged.tree);
        onto = made.clone();
    }
    // Its own change once more is a conflict or nothing; that of a merge cannot be told.
    assert_eq!(by_us(&snapshot.pick(&one, &one).unwrap()), Some(snapshot.tree_of(&one).unwrap().to_string()));
    repo.git(&["checkout", "-q", "feature"]);
    let merge = repo.merge("main");
    assert_eq!(read(&repo).pick(&merge, &base).unwrap_err(), MergeError::NoChange(merge));
}

#[test]
fn merges_can_be_read_and_are_written_nowhere() {
    let fork = Fork::of(
        |repo| repo.file("dir/f", lines(0, 20)),
        |repo| repo.file("dir/f", "ours\n".to_owned() + &lines(1, 20)),
        |repo| repo.file("dir/f", lines(0, 19) + "theirs\n"),
    );
    let here = Here::new();
    here.fetch(&fork.repo.remote()).unwrap();
    fork.repo.git(&["update-ref", "refs/pull/7/head", fork.theirs.as_str()]);
    here.mirror.fetch_heads(&fork.repo.remote(), &[Head::Pull(7)], &AtomicBool::new(false)).unwrap();
    let snapshot = here.mirror.snapshot().unwrap();
    let Merge::Clean(merged) = snapshot.merge(&fork.ours, &fork.theirs).unwrap() else { panic!("clean") };
    let (_, blob) = lookup(&snapshot, merged.tree, b"dir/f").unwrap().unwrap();
    let text = String::from_utf8(snapshot.blob(blob, 1000).unwrap()).unwrap();
    assert!(text.starts_with("ours\n") && text.ends_with("theirs\n"), "{text}");
    let range = snapshot.range(&fork.ours, &merged.commit, &super::unchecked).unwrap();
    assert_eq!(range.all.len(), 2, "their commit, and the merge");
    assert!(range.base_on_first_parent);
    let again = here.mirror.snapshot().unwrap();
    assert!(!again.has(&merged.commit) && again.tree(merged.tree).is_err());
}

#[test]
fn attributes_and_drivers_of_a_repository_have_no_say() {
    let base = |repo: &Repo| {
        repo.file(".gitattributes", "f merge=union\ng merge=evil filter=evil diff=evil\n");
        repo.file("f", lines(0, 3));
        repo.file("g", lines(0, 3));
    };
    let edit = |what: &'static str| {
        move |repo: &Repo| {
            repo.file("f", lines(0, 1) + what + &lines(2, 3));
            repo.file("g", lines(0, 1) + what + &lines(2, 3));
        }
    };
    let fork = Fork::of(base, edit("ours\n"), edit("theirs\n"));
    let ran = fork.repo.above().join("ran");
    let evil = format!("touch {}; cat", ran.display());
    for key in
        ["merge.evil.driver", "filter.evil.clean", "filter.evil.smudge", "diff.evil.textconv", "diff.evil.command"]
    {
        fork.repo.git(&["config", key, &evil]);
    }
    std::fs::write(fork.repo.path().join(".git/info/attributes"), "* merge=evil filter=evil diff=evil\n").unwrap();
    let merged = read(&fork.repo).merge(&fork.ours, &fork.theirs).unwrap();
    assert_eq!(merged, Merge::Conflict { paths: vec!["f".into(), "g".into()] });
    assert!(!ran.exists(), "a program of the repository ran");
}

#[test]
fn what_would_take_too_long_is_refused() {
    let fill = |dir: &'static str, seed: usize| {
        move |repo: &Repo| {
            (0..120)
                .for_each(|n| repo.file(&format!("{dir}/{n}"), lines(n * 100_000 + seed, n * 100_000 + 8_000 + seed)));
        }
    };
    let moved = move |repo: &Repo| {
        repo.remove("a");
        fill("b", 50_000)(repo);
    };
    let fork = Fork::of(fill("a", 0), moved, |repo| repo.file("c", "1"));
    let error = read(&fork.repo).merge(&fork.ours, &fork.theirs).unwrap_err();
    assert!(matches!(error, MergeError::TooLarge(_)), "{error:?}");
}

#[test]
fn a_tree_that_is_none_is_refused_before_it_is_merged() {
    let repo = Repo::new();
    let base = repo.head();
    let main = repo.change("main");
    let blob = repo.object("blob", b"x");
    let entry = |name: &str| [format!("100644 {name}\0").into_bytes(), hex::decode(&blob).unwrap()].concat();
    for names in [["b", "a"], ["a", "a"], [".git", "a"], ["..", "a"]] {
        let tree = repo.object("tree", &names.map(entry).concat());
        let head = CommitId::new(repo.git(&["commit-tree", "-m", "crafted", "-p", base.as_str(), &tree]));
        let error = read(&repo).merge(&main, &head).unwrap_err();
        assert!(matches!(error, MergeError::Read(_)), "{names:?}: {error:?}");
    }
}

/// A small generator: the same histories each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }
}

type Files = std::collections::BTreeMap<String, (&'static str, String)>;

const NAMES: [&str; 8] = ["a", "b", "c", "d/a", "d/b", "d/e/a", "e/a", "e/b"];

fn written(dice: &mut Dice) -> String {
    let start = dice.roll(4) * 100;
    lines(start, start + dice.roll(12))
}

/// Changes some files as people do: edit, add, delete, rename, change the mode or kind.
fn changed(files: &Files, dice: &mut Dice) -> Files {
    let mut files = files.clone();
    for _ in 0..=dice.roll(4) {
        let name = NAMES[dice.roll(NAMES.len())].to_owned();
        let other = NAMES[dice.roll(NAMES.len())].to_owned();
        match dice.roll(8) {
            0..=2 => {
                let Some((_, text)) = files.get_mut(&name) else { continue };
                let mut all: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
                let at = dice.roll(all.len() + 1);
                match dice.roll(3) {
                    0 => all.insert(at, format!("new {}\n", dice.roll(3))),
                    1 if at < all.len() => drop(all.remove(at)),
                    _ if at < all.len() => all[at] = format!("changed {}\n", dice.roll(3)),
                    _ => {}
                }
                *text = all.concat();
            }
            3 => drop(files.insert(name, ("100644", written(dice)))),
            4 => drop(files.remove(&name)),
            5 | 6 => {
                if let Some(moved) = files.remove(&name) {
                    files.insert(other, moved);
                }
            }
            _ => {
                if let Some((mode, _)) = files.get_mut(&name) {
                    *mode = ["100644", "100755", "120000"][dice.roll(3)];
                }
            }
        }
    }
    files
}

/// Makes histories of two sides, and how they were forked, as one stream for `git fast-import`.
fn histories(count: usize, seed: u64) -> String {
    let mut dice = Dice(seed);
    let mut stream = String::new();
    let mut mark = 0;
    let mut commit = |stream: &mut String, branch: String, from: &[usize], files: &Files| {
        mark += 1;
        *stream += &format!("commit refs/heads/{branch}\nmark :{mark}\n");
        *stream += &format!("committer A <a@x> {} +0000\ndata 0\n", 1_700_000_000 + mark);
        for (at, parent) in from.iter().enumerate() {
            *stream += &format!("{} :{parent}\n", if at == 0 { "from" } else { "merge" });
        }
        *stream += "deleteall\n";
        for (name, (mode, text)) in files {
            let text = if *mode == "120000" { text.lines().next().unwrap_or("x") } else { text };
            *stream += &format!("M {mode} inline {name}\ndata {}\n{text}\n", text.len());
        }
        mark
    };
    for n in 0..count {
        let mut base = Files::new();
        for name in NAMES {
            if dice.roll(3) > 0 {
                base.insert(name.into(), ("100644", written(&mut dice)));
            }
        }
        let (ours, theirs) = (changed(&base, &mut dice), changed(&base, &mut dice));
        let start = commit(&mut stream, format!("{n}/base"), &[], &base);
        let (mut one, mut two) = (
            commit(&mut stream, format!("{n}/ours"), &[start], &ours),
            commit(&mut stream, format!("{n}/theirs"), &[start], &theirs),
        );
        if dice.roll(4) == 0 {
            // A criss-cross, with whatever came of merging.
            let (more, other) = (changed(&ours, &mut dice), changed(&theirs, &mut dice));
            (one, two) = (
                commit(&mut stream, format!("{n}/ours"), &[one, two], &more),
                commit(&mut stream, format!("{n}/theirs"), &[two, one], &other),
            );
        }
        let (ours, theirs) = (changed(&ours, &mut dice), changed(&theirs, &mut dice));
        commit(&mut stream, format!("{n}/ours"), &[one], &ours);
        commit(&mut stream, format!("{n}/theirs"), &[two], &theirs);
    }
    stream
}

#[test]
fn what_both_merge_they_merge_to_the_same() {
    let count = std::env::var("HOLDFAST_MERGES").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let seed = std::env::var("HOLDFAST_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0x9e37_79b9_7f4a_7c15);
    let repo = Repo::empty();
    repo.git_with(&["fast-import", "--quiet"], &histories(count, seed));
    let snapshot = read(&repo);
    let (mut same, mut stricter, mut conflicts) = (0, 0, 0);
    let mut looser = Vec::new();
    for n in 0..count {
        let id = |side: &str| CommitId::new(repo.git(&["rev-parse", &format!("refs/heads/{n}/{side}")]));
        let (ours, theirs) = (id("ours"), id("theirs"));
        let merged = snapshot.merge(&ours, &theirs);
        let us = merged.as_ref().ok().and_then(by_us);
        match (by_git(&repo, &ours, &theirs), us) {
            (Some(git), Some(us)) => {
                assert_eq!(git, us, "{n}: {ours} and {theirs}: both clean, and differently");
                same += 1;
            }
            (None, None) => conflicts += 1,
            (Some(_), None) => stricter += 1,
            (None, Some(us)) => {
                let said = repo.try_git(&["merge-tree", "--write-tree", ours.as_str(), theirs.as_str()]).stdout;
                looser.push(format!("{n}: {us} for us: {}", String::from_utf8_lossy(&said)));
            }
        }
    }
    eprintln!("{count} histories: {same} the same, {conflicts} conflicts, {stricter} that only git merges");
    // Changes to lines that touch without overlapping.
    assert!(
        looser.len() * 20 < count,
        "a conflict for git alone in {} of {count}: {}",
        looser.len(),
        looser.join("\n")
    );
    assert!(same > count / 10 && stricter < count / 10, "{same} the same, {conflicts} conflicts, {stricter} stricter");
}
