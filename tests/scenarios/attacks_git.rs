//! What somebody could try with Git's own objects: trees, histories and signatures that no honest program makes.

use std::fs;
use std::process::Command;

use super::attacks::{assert_held, world};
use crate::harness::{Repo, World, keys};

/// Writes an object of any content, well-formed or not, and returns its id.
fn object(world: &World, kind: &str, content: &[u8]) -> String {
    let file = world.dir().join("object");
    fs::write(&file, content).expect("the object is written");
    world.repo.git(&["hash-object", "-t", kind, "-w", "--literally", &file.to_string_lossy()])
}

/// Adds one raw entry to a tree, whatever Git itself would say of it.
fn entry(tree: &mut Vec<u8>, mode: &str, name: &str, id: &str) {
    tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
    tree.extend((0..20).map(|at| u8::from_str_radix(&id[at * 2..at * 2 + 2], 16).expect("an id is hexadecimal")));
}

/// Makes a commit of a tree, signed by alice, moves main there and pushes.
#[track_caller]
fn publish_tree(world: &World, tree: &str, parents: &[&str]) -> String {
    let mut arguments = vec!["commit-tree", "-S", "-m", "a tree of its own"];
    for parent in parents {
        arguments.extend(["-p", parent]);
    }
    arguments.push(tree);
    let commit = world.repo.git_as("alice", &arguments);
    world.repo.git(&["push", "-q", "origin", &format!("{commit}:refs/heads/main")]);
    commit
}

// --- Trees ------------------------------------------------------------------------------------------------------------

#[test]
fn no_entry_of_a_tree_leads_out_of_the_root() {
    let world = world(6);
    let base = world.repo.head();
    let blob = object(&world, "blob", b"evil\n");
    let mut below = Vec::new();
    entry(&mut below, "100644", "evil", &blob);
    let below = object(&world, "tree", &below);
    let kept = format!("{base}^{{tree}}");
    let kept = world.repo.git(&["rev-parse", &kept]);
    for (mode, name) in [
        ("40000", ".."),
        ("40000", "."),
        ("40000", ".git"),
        ("40000", ".GIT"),
        ("100644", "../evil"),
        ("100644", "/evil"),
        ("100644", "a/evil"),
        ("100644", ".."),
        ("120000", ".git"),
        ("140000", "socket"),
    ] {
        let mut tree = Vec::new();
        entry(&mut tree, mode, name, if mode == "40000" { &below } else { &blob });
        let bad = object(&world, "tree", &tree);
        let mut root = Vec::new();
        entry(&mut root, "40000", "aaa", &bad);
        let mut whole = root.clone();
        for line in world.repo.git(&["ls-tree", &kept]).lines() {
            let (head, name) = line.split_once('\t').expect("a line of ls-tree has a tab");
            let words: Vec<_> = head.split(' ').collect();
            entry(&mut whole, words[0], name, words[2]);
        }
        let tree = object(&world, "tree", &whole);
        publish_tree(&world, &tree, &[&base]);
        let before = world.tree("web");
        world.counted_cycle();
        world.assert_unchanged("web", &before);
        let latches = world.status("web").latches();
        assert!(latches.contains_key("RENDER") || latches.contains_key("SIGNATURE"), "{mode} {name:?}: {latches:?}");
        assert!(!world.dir().join("roots/evil").exists() && !world.dir().join("evil").exists());
        world.repo.git(&["push", "-q", "--force", "origin", &format!("{base}:refs/heads/main")]);
        world.counted_cycle();
    }
    world.assert_converged("web");
}

#[test]
fn a_tree_with_one_name_twice_is_not_rendered() {
    let world = world(6);
    let base = world.repo.head();
    let (one, two) = (object(&world, "blob", b"shown\n"), object(&world, "blob", b"hidden\n"));
    let mut tree = Vec::new();
    entry(&mut tree, "100644", "f000.conf", &one);
    entry(&mut tree, "100644", "f000.conf", &two);
    let tree = object(&world, "tree", &tree);
    publish_tree(&world, &tree, &[&base]);
    assert_held(&world, "RENDER", "render");
}

#[test]
fn names_that_differ_by_case_or_normalisation_alone_are_different_files() {
    let world = world(6);
    for (path, text) in [
        ("Readme", "one\n"),
        ("readme", "two\n"),
        ("gr\u{f6}\u{df}e", "composed\n"),
        ("gro\u{308}\u{df}e", "decomposed\n"),
        ("D/x", "upper\n"),
        ("d/x", "lower\n"),
    ] {
        world.repo.write(path, text);
    }
    world.repo.publish("look-alikes");
    world.converge("web");
    world.assert_converged("web");
}

#[test]
fn attributes_neither_expand_nor_convert_nor_run_anything() {
    let world = world(6);
    let ran = world.dir().join("ran");
    world.repo.git(&["config", "filter.evil.smudge", &format!("touch {ran:?}")]);
    // The origin itself would run it, if anybody let it.
    let config = world.repo.origin.join("config");
    let text = fs::read_to_string(&config).expect("the origin has a configuration");
    fs::write(&config, format!("{text}[filter \"evil\"]\n\tsmudge = touch {ran:?}\n\trequired = true\n"))
        .expect("the configuration is written");
    world
        .repo
        .write("expanded.txt", "$Format:%H$ $Id$\nline\n")
        .write(".gitattributes", "* export-subst ident text eol=crlf working-tree-encoding=UTF-16 filter=evil\n");
    world.repo.git(&["config", "core.attributesFile", "/dev/null"]);
    let info = world.repo.work.join(".git/info/attributes");
    fs::create_dir_all(info.parent().expect("it has a folder")).expect("the folder is made");
    fs::write(&info, "* -text -ident -filter !working-tree-encoding !eol\n").expect("the attributes are written");
    world.repo.publish("attributes");
    let _ = fs::remove_file(&ran);
    world.counted_cycles(2);
    assert_eq!(world.live("web", "expanded.txt"), "$Format:%H$ $Id$\nline\n");
    assert!(!ran.exists(), "a filter ran");
    world.assert_converged("web");
}

#[test]
fn a_source_path_that_becomes_a_link_is_not_followed() {
    let mut world = World::new();
    world.app("web").path("hosts/web");
    world.repo.fill("hosts/web", 0..12).fill("hosts/db", 20..24);
    world.baseline();
    world.repo.remove("hosts/web").link("hosts/web", "db");
    world.repo.publish("web is db now");
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let latches = world.status("web").latches();
    assert!(latches.contains_key("PLAN") || latches.contains_key("RENDER"), "{latches:?}");
}

// --- Histories --------------------------------------------------------------------------------------------------------

#[test]
fn replaced_objects_and_grafts_of_the_origin_change_nothing() {
    let world = world(12);
    let head = world.repo.head();
    // A stranger's commit stands in for the accepted one, as far as the origin is concerned.
    world.repo.drop("", 0..11);
    let evil = world.repo.commit("as if it always had been so").unsigned_by("mallory");
    world.repo.git(&["reset", "-q", "--hard", &head]);
    world.repo.git(&["push", "-q", "origin", &format!("{evil}:refs/replace/{head}")]);
    let tree = |commit: &str| world.repo.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
    world.repo.git(&["push", "-q", "origin", &format!("{}:refs/replace/{}", tree(&evil), tree(&head))]);
    fs::create_dir_all(world.repo.origin.join("info")).expect("the folder is made");
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_free("web");
    // A fresh clone, too.
    fs::remove_dir_all(world.dir().join("state/git")).unwrap_or_default();
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);

    // An unsigned commit below a signed one, and a graft of the origin that hides it.
    world.repo.change("", 0..1, "omega");
    let unsigned = world.repo.commit("not signed").unsigned_by("mallory");
    world.repo.change("", 1..2, "omega");
    let signed = world.repo.publish("signed");
    fs::write(world.repo.origin.join("info/grafts"), format!("{signed} {head}\n")).expect("the graft is written");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.status("web");
    assert!(!status.writes("promotion"), "a graft hid {unsigned}: {:?}", status.latches());
}

#[test]
fn an_octopus_brings_what_is_unsigned_on_any_of_its_arms() {
    let world = world(12);
    for (arm, number) in [("one", 0), ("two", 1), ("three", 2)] {
        world.repo.git(&["checkout", "-q", "-b", arm, "main"]);
        world.repo.change("", number..number + 1, "omega");
        let commit = world.repo.commit(arm);
        if arm == "two" {
            commit.unsigned_by("mallory")
        } else {
            commit.by("dave")
        };
    }
    world.repo.git(&["checkout", "-q", "main"]);
    world.repo.git_as("alice", &["merge", "-q", "--no-ff", "-m", "all three", "one", "two", "three"]);
    world.repo.push();
    assert_held(&world, "SIGNATURE", "unsigned");
}

#[test]
fn a_merge_that_brings_more_than_its_parents_is_judged_by_what_it_brings() {
    let world = world(60);
    let base = world.repo.head();
    world.repo.git(&["checkout", "-q", "-b", "feature"]);
    world.repo.change("", 0..1, "omega");
    let side = world.repo.commit("a small change").by("dave");
    world.repo.git(&["checkout", "-q", "main"]);
    world.repo.change("", 0..1, "omega").drop("", 20..50);
    world.repo.git(&["add", "-A"]);
    let tree = world.repo.git(&["write-tree"]);
    let merge = publish_tree(&world, &tree, &[&base, &side]);
    assert_held(&world, "PLAN", "delete_halt");
    assert_eq!(world.status("web").text("/plan/culprit/commit"), merge);
}

#[test]
fn dates_neither_order_the_range_nor_excuse_anybody() {
    let world = world(12);
    // The unsigned commit claims to be older than everything, the signed one above it to be from the future.
    world.repo.change("", 0..1, "omega");
    world.repo.commit("from 1980").dated(315_532_800).unsigned_by("mallory");
    world.repo.change("", 1..2, "omega");
    world.repo.commit("from 2100").dated(4_102_444_800).by("alice");
    world.repo.git(&["checkout", "-q", "-b", "side"]);
    world.repo.change("", 2..3, "omega");
    world.repo.commit("aside").by("dave");
    world.repo.git(&["checkout", "-q", "main"]);
    world.repo.merge_no_ff("side", "merge", "alice");
    world.repo.push();
    assert_held(&world, "SIGNATURE", "unsigned");
}

#[test]
fn a_signature_of_another_commit_or_in_the_message_is_none() {
    let world = world(12);
    world.repo.change("", 0..1, "omega");
    world.repo.commit("well signed").by("alice");
    let raw = world.repo.git(&["cat-file", "commit", "HEAD"]);
    let (head, message) = raw.split_once("\n\n").expect("headers end with an empty line");
    let signature = head.find("gpgsig ").expect("it is signed");
    let stripped = format!("{}\n\n{message}\n{}\n", head[..signature].trim_end(), &head[signature..]);
    let twice = format!("{head}\n{}\n\n{message}\n", &head[signature..]);
    for (text, code) in [(stripped, "unsigned"), (twice, "bad_signature")] {
        let commit = object(&world, "commit", text.as_bytes());
        world.repo.git(&["push", "-q", "--force", "origin", &format!("{commit}:refs/heads/main")]);
        assert_held(&world, "SIGNATURE", code);
    }
}

// --- Freezes ----------------------------------------------------------------------------------------------------------

#[test]
fn a_submodule_of_that_name_freezes() {
    let world = world(12);
    let head = world.repo.head();
    world.repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},FREEZE")]);
    world.repo.git_as("alice", &["commit", "-q", "-m", "a freeze of another kind"]);
    world.repo.push();
    world.counted_cycle();
    world.assert_latch("web", "FREEZE", &["freeze"]);
    world.assert_reports_but_does_not_heal("web", "f003.conf");
}

#[test]
fn rewriting_history_does_not_thaw() {
    let world = world(12);
    let base = world.repo.head();
    world.repo.write("FREEZE", "reason: incident\n");
    world.repo.commit("stop").unsigned_by("mallory");
    world.repo.push();
    world.counted_cycle();
    world.assert_latch("web", "FREEZE", &["freeze"]);
    // Back to before it, and on from there with a signed commit that never knew of it.
    world.repo.git(&["reset", "-q", "--hard", &base]);
    world.repo.force_push();
    world.counted_cycle();
    world.assert_latch("web", "FREEZE", &["freeze"]);
    world.repo.change("", 0..1, "omega");
    world.repo.publish("as if nothing had been");
    world.assert_reports_but_does_not_heal("web", "f003.conf");
    world.assert_latch("web", "FREEZE", &["freeze"]);
    // The way back: freeze again, and take it away in a verified commit.
    world.repo.write("FREEZE", "reason: incident\n");
    world.repo.publish("so that it can be lifted");
    world.counted_cycle();
    world.repo.remove("FREEZE");
    world.repo.publish("go");
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn an_unsigned_freeze_carries_nothing_else_along() {
    // Neither a file of the application under a name that freezes elsewhere, nor a mode or a link that does more.
    let mut world = World::new();
    world.app("web").path("hosts");
    world.repo.fill("hosts", 0..12);
    world.baseline();
    world.repo.write("hosts/web/FREEZE", "rendered, since it is below another folder\n");
    world.repo.commit("looks like a freeze").unsigned_by("mallory");
    world.repo.push();
    assert_held(&world, "SIGNATURE", "unsigned");
    assert!(!world.exists("web", "web/FREEZE"));
}

#[test]
fn a_signature_made_for_something_else_is_none() {
    // A file that alice signed, with another namespace, is put where a commit's signature belongs.
    let world = world(12);
    world.repo.change("", 0..1, "omega");
    world.repo.commit("not signed").unsigned_by("alice");
    let raw = world.repo.git(&["cat-file", "commit", "HEAD"]) + "\n";
    let file = world.dir().join("payload");
    fs::write(&file, &raw).expect("the payload is written");
    let signed = Command::new("ssh-keygen")
        .env_clear()
        .envs(Repo::environment(world.dir()))
        .args(["-q", "-Y", "sign", "-n", "file", "-f"])
        .arg(keys::private("alice"))
        .arg(&file)
        .output()
        .expect("ssh-keygen runs");
    assert!(signed.status.success());
    let signature = fs::read_to_string(file.with_extension("sig")).expect("the signature is readable");
    let (head, message) = raw.split_once("\n\n").expect("headers end with an empty line");
    let signature = signature.trim_end().replace('\n', "\n ");
    let commit = object(&world, "commit", format!("{head}\ngpgsig {signature}\n\n{message}").as_bytes());
    world.repo.git(&["push", "-q", "--force", "origin", &format!("{commit}:refs/heads/main")]);
    assert_held(&world, "SIGNATURE", "bad_signature");
}
