use super::*;
use crate::core::commit::{CommitId, Grant, Ident, Revocation, Scheme, Signature};

const KEY: &str = "SHA256:key";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn grant(principals: &[&str]) -> Grant {
    let principals = principals.iter().map(|p| (*p).to_owned()).collect();
    Grant { principals, valid_after: None, valid_before: None, namespace_allowed: true }
}

fn good(grants: Vec<Grant>) -> Signature {
    Signature::Good { scheme: Scheme::Ssh, key: KEY.into(), grants, revocation: Revocation::None }
}

fn by(principal: &str) -> Signature {
    good(vec![grant(&[principal])])
}

fn commit(signature: Signature) -> Commit {
    let ident = Ident { name: "Alice".into(), email: "alice@x".into() };
    Commit {
        id: CommitId::new("3f2c9d1".to_owned() + &"0".repeat(33)),
        parents: Vec::new(),
        tree: "t".into(),
        author: ident.clone(),
        committer: ident,
        committed: at(1000),
        subject: "fix nginx".into(),
        signature,
    }
}

fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

fn policy(signers: &[&str]) -> TrustPolicy {
    TrustPolicy { signers: names(signers), approvers: names(&["bob@x"]), ..TrustPolicy::default() }
}

fn sighted(commit: &Commit) -> Sighted<'_> {
    Sighted { commit, first_seen: at(2000), first_parent: true, touches: true, freeze_only: false }
}

fn vouch(commit: &Commit, signature: Signature) -> (Tag, Timestamp) {
    let tag = Tag {
        name: format!("holdfast-vouch/{}", commit.id),
        target: commit.id.clone(),
        tagger: Ident { name: "Bob".into(), email: "bob@x".into() },
        tagged: at(1500),
        signature,
    };
    (tag, at(2000))
}

fn judge(signature: Signature, policy: &TrustPolicy) -> CommitVerdict {
    verdict(&sighted(&commit(signature)), policy, &[])
}

/// The principal, or the code of what failed.
fn result(signature: Signature, policy: &TrustPolicy) -> String {
    match judge(signature, policy).outcome {
        Outcome::Verified { principal, key } if &*key == KEY => principal.to_string(),
        Outcome::Failed { code, .. } => code.as_str().to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn facts_become_codes() {
    let all = policy(&[]);
    assert_eq!(result(Signature::Unsigned, &all), "unsigned");
    assert_eq!(result(Signature::Bad { why: "w".into() }, &all), "bad_signature");
    assert_eq!(result(Signature::UnknownKey { key: "k".into() }, &all), "unknown_key");
    assert_eq!(result(by("alice@x"), &all), "alice@x");
    assert_eq!(result(by("mallory@x"), &policy(&["alice@x"])), "signer_not_allowed");
    let elsewhere = Grant { namespace_allowed: false, ..grant(&["alice@x"]) };
    assert_eq!(result(good(vec![elsewhere]), &all), "signer_not_allowed");
    let taken = |revocation| Signature::Good {
        scheme: Scheme::Ssh,
        key: KEY.into(),
        grants: vec![grant(&["alice@x"])],
        revocation,
    };
    assert_eq!(result(taken(Revocation::Revoked), &all), "revoked_key");
    assert_eq!(result(taken(Revocation::Unreadable("gone".into())), &all), "revocations_unreadable");
}

#[test]
fn a_key_must_be_valid_when_made_and_when_seen() {
    // Made at 1000, seen at 2000.
    for (after, before, ok) in [
        (None, None, true),
        (Some(1000), Some(2001), true),
        (Some(1001), None, false),
        (None, Some(2000), false),
        (None, Some(1000), false),
        // Back-dated into the key's life.
        (Some(500), Some(1500), false),
    ] {
        let grant = Grant { valid_after: after.map(at), valid_before: before.map(at), ..grant(&["alice@x"]) };
        let want = if ok { "alice@x" } else { "expired_key" };
        assert_eq!(result(good(vec![grant]), &policy(&[])), want, "{after:?} to {before:?}");
    }
}

#[test]
fn any_line_of_a_key_will_do_and_the_nearest_explains() {
    let old = Grant { valid_before: Some(at(1)), ..grant(&["alice@x"]) };
    assert_eq!(result(good(vec![old.clone(), grant(&["alice@x"])]), &policy(&["alice@x"])), "alice@x");
    assert_eq!(result(good(vec![grant(&["eve@x"]), old.clone()]), &policy(&["alice@x"])), "expired_key");
    assert_eq!(result(good(vec![old, grant(&["eve@x"])]), &policy(&["alice@x"])), "expired_key");
    assert_eq!(result(good(Vec::new()), &policy(&[])), "unknown_key");
}

#[test]
fn patterns_are_openssh_s() {
    for (patterns, text, matched) in [
        (vec!["*@x"], "alice@x", true),
        (vec!["*@x"], "alice@xy", false),
        (vec!["?lice@x"], "alice@x", true),
        (vec!["?lice@x"], "lice@x", false),
        (vec!["*", "!eve@x"], "alice@x", true),
        (vec!["*", "!eve@x"], "eve@x", false),
        (vec!["!eve@x"], "alice@x", false),
        (vec!["a*b*c"], "aXbXbXc", true),
        (vec!["a*b*c"], "aXbXbX", false),
        (vec!["*a*a*a*a*a*a*b"], "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        (vec![], "a", false),
        (vec![""], "", true),
    ] {
        assert_eq!(pattern_list(&patterns, text), matched, "{patterns:?} {text}");
    }
}

#[test]
fn a_wildcard_line_speaks_for_whoever_claims_it_and_is_listed() {
    let anybody = good(vec![grant(&["*@x", "!mallory@x"])]);
    assert_eq!(result(anybody.clone(), &policy(&[])), "alice@x");
    assert_eq!(result(anybody.clone(), &policy(&["bob@x"])), "bob@x");
    assert_eq!(result(anybody, &policy(&["mallory@x"])), "signer_not_allowed");
}

#[test]
fn a_person_is_one_by_every_name_and_key() {
    let mut policy = policy(&["alice@x"]);
    assert_eq!(result(by("alice@home"), &policy), "signer_not_allowed");
    policy.people = [("alice".into(), names(&["alice@x", "alice@home"]))].into();
    assert_eq!(result(by("alice@home"), &policy), "alice@home");
    policy.people = [("alice".into(), names(&["alice@x", KEY]))].into();
    assert_eq!(result(by("laptop"), &policy), "alice@x");
    policy.signers = names(&["alice"]);
    assert_eq!(result(by("alice@x"), &policy), "alice@x");
    policy.signers = names(&[KEY]);
    policy.people.clear();
    assert_eq!(result(by("laptop"), &policy), KEY);
}

#[test]
fn the_committer_must_match_where_that_is_asked() {
    let policy = TrustPolicy { match_: Match::Committer, ..policy(&["alice@x", "carol@x"]) };
    assert_eq!(result(by("alice@x"), &policy), "alice@x");
    assert_eq!(result(by("carol@x"), &policy), "principal_mismatch");
    let open = TrustPolicy { signers: Vec::new(), ..policy.clone() };
    assert_eq!(result(by("carol@x"), &open), "principal_mismatch");
    // The committer's address is the key's, and it is not the listed one of the two.
    let both = good(vec![grant(&["alice@x", "carol@x"])]);
    let only_carol = TrustPolicy { signers: names(&["carol@x"]), ..policy };
    assert_eq!(result(both, &only_carol), "principal_mismatch");
}

#[test]
fn verify_path_covers_first_parent_commits_that_touch() {
    let commit = commit(Signature::Unsigned);
    let path = TrustPolicy { verify: Verify::Path, ..policy(&[]) };
    for (first_parent, touches, policy, label) in [
        (true, true, &path, "unsigned"),
        (true, false, &path, "exempt"),
        (false, true, &path, "exempt"),
        (false, false, &policy(&[]), "unsigned"),
    ] {
        let sighted = Sighted { first_parent, touches, ..sighted(&commit) };
        assert_eq!(verdict(&sighted, policy, &[]).label(), label);
    }
}

#[test]
fn freezing_needs_no_signature() {
    let commit = commit(Signature::Unsigned);
    assert_eq!(verdict(&Sighted { freeze_only: true, ..sighted(&commit) }, &policy(&[]), &[]).label(), "exempt");
}

#[test]
fn an_approver_vouches_for_what_is_missing() {
    let policy = policy(&["alice@x"]);
    for (signature, label) in [
        (Signature::Unsigned, "vouched"),
        (Signature::UnknownKey { key: "k".into() }, "vouched"),
        (by("carol@x"), "vouched"),
        (Signature::Bad { why: "w".into() }, "bad_signature"),
        (good(vec![Grant { valid_before: Some(at(1)), ..grant(&["alice@x"]) }]), "expired_key"),
        (
            Signature::Good {
                scheme: Scheme::Ssh,
                key: KEY.into(),
                grants: Vec::new(),
                revocation: Revocation::Revoked,
            },
            "revoked_key",
        ),
    ] {
        let commit = commit(signature);
        let tag = vouch(&commit, by("bob@x"));
        assert_eq!(verdict(&sighted(&commit), &policy, &[tag]).label(), label);
    }
}

#[test]
fn not_every_tag_vouches() {
    let policy = policy(&["alice@x"]);
    let commit = commit(Signature::Unsigned);
    let good = vouch(&commit, by("bob@x"));
    let mut renamed = good.clone();
    renamed.0.name = format!("holdfast-vouch/{}", commit.id.short());
    let mut moved = good.clone();
    moved.0.target = CommitId::new("0".repeat(40));
    for tag in [renamed, moved, vouch(&commit, by("alice@x")), vouch(&commit, Signature::Unsigned)] {
        assert_eq!(verdict(&sighted(&commit), &policy, std::slice::from_ref(&tag)).label(), "unsigned", "{tag:?}");
    }
    let both = [vouch(&commit, Signature::Unsigned), good];
    let want = Outcome::Vouched { by: "bob@x".into(), key: KEY.into() };
    assert_eq!(verdict(&sighted(&commit), &policy, &both).outcome, want);
    // Nobody is listed, so that nobody can.
    let nobody = TrustPolicy { approvers: Vec::new(), ..policy };
    assert_eq!(verdict(&sighted(&commit), &nobody, &both).label(), "unsigned");
}

#[test]
fn a_tag_s_key_must_be_valid_when_it_is_first_seen() {
    let commit = commit(Signature::Unsigned);
    let ends = |before| good(vec![Grant { valid_before: Some(at(before)), ..grant(&["bob@x"]) }]);
    let (tag, _) = vouch(&commit, ends(1900));
    assert_eq!(tag_signer(&tag, at(1800), &policy(&[])), Ok(("bob@x".into(), KEY.into())));
    assert_eq!(tag_signer(&tag, at(1900), &policy(&[])).unwrap_err().0, SignatureCode::ExpiredKey);
}

#[test]
fn messages_say_which_whose_why_and_what_to_do() {
    let unsigned = judge(Signature::Unsigned, &policy(&[]));
    assert_eq!(
        unsigned.failure().unwrap().1,
        "commit 3f2c9d1 \"fix nginx\" by alice@x is not signed: sign it (`git commit --amend -S`) and push it anew; or \
         have an approver push the signed tag holdfast-vouch/3f2c9d1000000000000000000000000000000000"
    );
    let old = good(vec![Grant { valid_before: Some(at(1500)), ..grant(&["alice@x"]) }]);
    assert_eq!(
        judge(old, &policy(&[])).failure().unwrap().1,
        "commit 3f2c9d1 \"fix nginx\" by alice@x is signed by alice@x, whose key SHA256:key was valid only until \
         1970-01-01T00:25:00Z, while it was first seen at 1970-01-01T00:33:20Z: sign it anew with a valid key, or \
         correct the key's dates in the trust files"
    );
    let commit = commit(Signature::Unsigned);
    let (tag, seen) = vouch(&commit, by("eve@x"));
    assert!(tag_signer(&tag, seen, &policy(&[])).unwrap_err().1.contains("by bob@x is signed by eve@x (key SHA256:key), who is not listed: have somebody sign who is listed in `trust.approvers`"));
}

#[test]
fn codes_are_spelt_as_json_has_them() {
    for code in [SignatureCode::Unsigned, SignatureCode::RevocationsUnreadable, SignatureCode::AncestryUnproven] {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}
