//! 9. Signatures: every commit of the range, by a listed key that was valid when it was seen.

use std::fs;
use std::process::Command;

use crate::harness::{World, keys, short};

/// Makes a world at its baseline.
fn signed() -> World {
    let world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    world
}

/// Asserts SIGNATURE with a reason, that names the commit, while nothing is promoted and healing goes on.
#[track_caller]
fn assert_signature(world: &World, commit: &str, code: &str) {
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "SIGNATURE", &[code]);
    assert!(!status.writes("promotion") && status.writes("healing"), "{:#}", status.0);
    let message = status.reason("SIGNATURE", code)["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(short(commit)), "{commit} is not named: {message}");
    world.assert_printed(&["SIGNATURE", short(commit)]);
    let verdicts = world.holdfast(&["verify", "web", "--output", "json"]).stdout;
    assert!(verdicts.contains(code) && verdicts.contains(commit), "`verify` does not say it:\n{verdicts}");
    world.assert_heals("web", "f003.conf");
}

#[test]
fn s09_an_unsigned_commit_in_the_middle_holds_the_range() {
    let world = signed();
    world.repo.change("", 0..1, "omega");
    world.repo.commit("signed").by("alice");
    world.repo.change("", 1..2, "omega");
    let unsigned = world.repo.commit("not signed").unsigned_by("alice");
    world.repo.change("", 2..3, "omega");
    world.repo.publish("signed again");
    assert_signature(&world, &unsigned, "unsigned");
    // More signed commits on top do not help.
    world.repo.change("", 4..5, "omega");
    world.repo.publish("and again");
    assert_signature(&world, &unsigned, "unsigned");
}

#[test]
fn s09_a_back_dated_commit_with_an_expired_key_is_held() {
    let world = signed();
    world.repo.change("", 0..1, "omega");
    // 1 June 2023: erin's key was good until 2024.
    let commit = world.repo.commit("from long ago").dated(1_685_577_600).by("erin");
    world.repo.push();
    assert_signature(&world, &commit, "expired_key");
}

#[test]
fn s09_a_present_commit_with_an_expired_key_is_held() {
    let world = signed();
    world.repo.change("", 0..1, "omega");
    let commit = world.repo.commit("today").by("erin");
    world.repo.push();
    assert_signature(&world, &commit, "expired_key");
}

#[test]
fn s09_a_commit_that_adds_its_own_key_is_held() {
    let mut world = World::new();
    // A list of signers in the range being judged has no say, whatever it is called and whoever reads it otherwise.
    world.repo.fill("hosts", 0..12).write("trust/allowed_signers", &keys::allowed_signers());
    world.app("web").path("hosts");
    world.baseline();
    let mut text = keys::allowed_signers();
    text += &format!("{} {}\n", keys::address("mallory"), keys::public("mallory"));
    world.repo.write("trust/allowed_signers", &text).change("hosts", 0..1, "omega");
    let commit = world.repo.commit("add a colleague").by("mallory");
    world.repo.push();
    assert_signature(&world, &commit, "unknown_key");
}

#[test]
fn s09_a_damaged_signature_is_held() {
    let world = signed();
    world.repo.change("", 0..1, "omega");
    world.repo.commit("what was signed").by("alice");
    let commit = world.repo.damage_signature();
    world.repo.push();
    assert_signature(&world, &commit, "bad_signature");
}

#[test]
fn s09_a_known_signer_who_is_not_listed_is_held() {
    let mut world = World::new();
    world.app("web").trust(&format!("signers: [{}]", keys::address("alice")));
    world.repo.fill("", 0..12);
    world.baseline();
    world.repo.change("", 0..1, "omega");
    let commit = world.repo.commit("by somebody else").by("dave");
    world.repo.push();
    assert_signature(&world, &commit, "signer_not_allowed");
}

#[test]
fn s09_somebody_else_s_key_is_held_where_the_committer_must_match() {
    let mut world = World::new();
    world.app("web").trust("match: committer");
    world.repo.fill("", 0..12);
    world.baseline();
    world.repo.change("", 0..1, "omega");
    let commit = world.repo.commit("in another's name").by_with_key_of("alice", "dave");
    world.repo.push();
    assert_signature(&world, &commit, "principal_mismatch");
}

#[test]
fn s09_a_missing_revocation_list_is_held() {
    let mut world = World::new();
    let list = world.dir().join("revoked");
    fs::write(&list, "").expect("the list is written");
    world.app("web").ssh = vec![format!("revocations: {list:?}")];
    world.repo.fill("", 0..12);
    world.baseline();
    fs::remove_file(&list).expect("the list is removed");
    world.repo.change("", 0..1, "omega");
    let commit = world.repo.publish("while the list is gone");
    assert_signature(&world, &commit, "revocations_unreadable");
    fs::write(&list, "").expect("the list is written");
    world.converge("web");
    world.assert_free("web");
}

/// Writes a list of revoked keys as plain public keys.
fn revoke(world: &World, who: &str) {
    fs::write(world.dir().join("revoked"), format!("{}\n", keys::public(who))).expect("the list is written");
}

#[test]
fn s09_a_revoked_key_is_held() {
    let mut world = World::new();
    let list = world.dir().join("revoked");
    fs::write(&list, "").expect("the list is written");
    world.app("web").ssh = vec![format!("revocations: {list:?}")];
    world.repo.fill("", 0..12);
    world.baseline();
    revoke(&world, "dave");
    world.repo.change("", 0..1, "omega");
    let commit = world.repo.commit("with a stolen key").by("dave");
    world.repo.push();
    assert_signature(&world, &commit, "revoked_key");
}

#[test]
fn s09_a_revocation_list_in_openssh_s_binary_form_is_read() {
    let mut world = World::new();
    let list = world.dir().join("revoked");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-k", "-f"])
        .arg(&list)
        .arg(keys::private("dave").with_extension("pub"))
        .status()
        .expect("ssh-keygen runs");
    assert!(made.success());
    world.app("web").ssh = vec![format!("revocations: {list:?}")];
    world.repo.fill("", 0..12);
    world.baseline();
    world.repo.change("", 0..1, "omega");
    let commit = world.repo.commit("with a stolen key").by("dave");
    world.repo.push();
    assert_signature(&world, &commit, "revoked_key");
}

#[test]
fn s09_a_revoked_key_that_vouched_for_the_accepted_state_stops_healing_too() {
    let mut world = World::new();
    let list = world.dir().join("revoked");
    fs::write(&list, "").expect("the list is written");
    world.app("web").ssh = vec![format!("revocations: {list:?}")];
    world.repo.fill("", 0..12);
    world.baseline();
    revoke(&world, "alice");
    world.assert_reports_but_does_not_heal("web", "f002.conf");
    let status = world.assert_latch("web", "SIGNATURE", &["revoked_key"]);
    assert!(!status.writes("healing"));
}

#[test]
fn s09_an_openpgp_signature_is_as_good() {
    let mut world = World::new();
    let (fingerprint, certificate) = world.repo.openpgp_key("grace");
    let (stranger, _) = world.repo.openpgp_key("trudy");
    let ring = world.dir().join("keys.asc");
    fs::write(&ring, certificate).expect("the keyring is written");
    world.app("web").trust(&format!("openpgp: {{ keyring: {ring:?} }}"));
    world.repo.fill("", 0..12);
    world.baseline();
    world.repo.change("", 0..1, "omega");
    world.repo.commit("by a known key").by_openpgp("grace", &fingerprint);
    world.repo.push();
    world.converge("web");
    world.repo.change("", 1..2, "omega");
    let commit = world.repo.commit("by an unknown key").by_openpgp("trudy", &stranger);
    world.repo.push();
    assert_signature(&world, &commit, "unknown_key");
}

#[test]
fn s09_an_approver_s_tag_vouches_for_an_unsigned_commit_and_magnitudes_still_apply() {
    let world = signed();
    world.repo.drop("", 4..12);
    let commit = world.repo.commit("by the bot").unsigned_by("mallory");
    world.repo.push();
    assert_signature(&world, &commit, "unsigned");
    world.repo.tag(&format!("holdfast-vouch/{commit}"), "dave");
    assert_signature(&world, &commit, "unsigned");
    let before = world.tree("web");
    world.repo.git(&["push", "-q", "origin", &format!(":refs/tags/holdfast-vouch/{commit}")]);
    world.repo.git(&["tag", "-d", &format!("holdfast-vouch/{commit}")]);
    world.repo.tag(&format!("holdfast-vouch/{commit}"), "bob");
    world.counted_cycles(2);
    world.assert_no_latch("web", "SIGNATURE");
    world.assert_latch("web", "PLAN", &["delete_halt"]);
    world.assert_unchanged("web", &before);
}

#[test]
fn s09_a_vouching_tag_never_supplies_for_a_revoked_key() {
    let mut world = World::new();
    let list = world.dir().join("revoked");
    fs::write(&list, "").expect("the list is written");
    world.app("web").ssh = vec![format!("revocations: {list:?}")];
    world.repo.fill("", 0..12);
    world.baseline();
    revoke(&world, "dave");
    world.repo.change("", 0..1, "omega");
    let commit = world.repo.commit("with a stolen key").by("dave");
    world.repo.push();
    world.repo.tag(&format!("holdfast-vouch/{commit}"), "bob");
    assert_signature(&world, &commit, "revoked_key");
}

#[test]
fn s09_a_merge_brings_an_unsigned_commit_of_its_branch() {
    let world = signed();
    world.repo.git(&["checkout", "-q", "-b", "feature"]);
    world.repo.change("", 0..1, "omega");
    let commit = world.repo.commit("on the branch").unsigned_by("mallory");
    world.repo.git(&["checkout", "-q", "main"]);
    world.repo.merge_no_ff("feature", "Merge the feature", "alice");
    world.repo.push();
    assert_signature(&world, &commit, "unsigned");
}

#[test]
fn s09_verifying_by_path_passes_over_what_the_application_does_not_read() {
    let mut world = World::new();
    world.app("web").path("hosts/web").trust("verify: path");
    world.repo.fill("hosts/web", 0..12).fill("hosts/db", 20..24);
    world.baseline();
    world.repo.change("hosts/db", 20..21, "omega");
    world.repo.commit("elsewhere, unsigned").unsigned_by("mallory");
    world.repo.change("hosts/web", 0..1, "omega");
    world.repo.publish("here, signed");
    world.converge("web");
    world.repo.change("hosts/web", 1..2, "omega");
    let commit = world.repo.commit("here, unsigned").unsigned_by("mallory");
    world.repo.push();
    assert_signature(&world, &commit, "unsigned");
}

#[test]
fn s09_first_use_needs_a_tip_that_verifies_or_an_anchor() {
    let mut world = World::new();
    world.repo.fill("", 0..4);
    let unsigned = world.repo.commit("as it always was").unsigned_by("alice");
    world.repo.push();
    world.counted_cycles(3);
    assert!(world.tree("web").is_empty(), "written from a tip that nobody vouches for");
    world.assert_latch("web", "SIGNATURE", &["unsigned"]);

    world.app("web").trust(&format!("anchor: {unsigned}"));
    world.counted_cycles(3);
    world.assert_converged("web");
    assert!(world.everything_said("web").contains(short(&unsigned)), "the anchor is not shown");
}

/// What `git verify-commit` and `holdfast verify` say of the same commits: where they differ, holdfast is stricter, and the
/// list is that of docs/signatures.md.
#[test]
fn s09_what_git_takes_and_what_is_taken_here_differ_only_where_that_is_documented() {
    let mut world = World::new();
    let revoked = world.dir().join("revoked");
    fs::write(&revoked, format!("{}\n", keys::public("carol"))).expect("the list is written");
    world.app("web").ssh = vec![format!("revocations: {revoked:?}")];
    world.app("web").trust(&format!("signers: [{}, {}]", keys::address("alice"), keys::address("erin")));
    world.repo.fill("", 0..12);
    world.baseline();
    let base = world.repo.head();
    let change = |number: usize| {
        world.repo.change("", number..number + 1, "omega");
        world.repo.commit(&format!("change {number}"))
    };
    let mut made: Vec<(String, bool, &str)> = vec![
        (change(0).by("alice"), true, "verified"),
        (change(1).unsigned_by("alice"), false, "unsigned"),
        (change(2).by("mallory"), false, "unknown_key"),
        (change(3).by("carol"), false, "revoked_key"),
        // Today, with a key that was good until 2024.
        (change(4).by("erin"), false, "expired_key"),
        // Stricter: git looks at the commit's own date alone, which whoever has the key can choose.
        (change(5).dated(1_685_577_600).by("erin"), true, "expired_key"),
        // Stricter: git takes every principal of the file.
        (change(6).by("dave"), true, "signer_not_allowed"),
    ];
    change(7).by("alice");
    made.push((world.repo.damage_signature(), false, "bad_signature"));
    world.repo.push();
    let options = [
        "gpg.format=ssh".to_owned(),
        format!("gpg.ssh.allowedSignersFile={}", world.dir().join("allowed_signers").display()),
        format!("gpg.ssh.revocationFile={}", revoked.display()),
    ];
    let range = format!("{base}..{}", world.repo.head());
    let said = world.holdfast(&["verify", "web", &range, "--output", "json"]).json();
    let commits = said["applications"][0]["commits"].as_array().cloned().unwrap_or_default();
    assert_eq!(commits.len(), made.len(), "{said:#}");
    for (commit, git, verdict) in &made {
        let ours = commits.iter().find(|one| one["commit"] == **commit).unwrap_or_else(|| panic!("{commit}: {said:#}"));
        assert_eq!(ours["verdict"], **verdict, "{ours:#}");
        assert_eq!(world.repo.git_verifies(&options, commit), *git, "git on what is {verdict} here");
    }
}
