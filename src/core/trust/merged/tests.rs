use super::*;
use crate::core::commit::{Grant, Ident, Revocation, Scheme};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(digit: char) -> CommitId {
    CommitId::new(digit.to_string().repeat(40))
}

fn commit(digit: char, parents: &[char], signature: Signature) -> Commit {
    let ident = |who: &str| Ident { name: who.into(), email: format!("{who}@x") };
    Commit {
        id: id(digit),
        parents: parents.iter().map(|parent| id(*parent)).collect(),
        tree: "t".into(),
        author: ident("alice"),
        committer: ident("forge"),
        committed: at(1000),
        subject: "add a host (#7)".into(),
        signature,
    }
}

fn signed_by(who: &str) -> Signature {
    let grant =
        Grant { principals: vec![format!("{who}@x")], valid_after: None, valid_before: None, namespace_allowed: true };
    Signature::Good {
        scheme: Scheme::Ssh,
        key: format!("SHA256:{who}").into(),
        grants: vec![grant],
        revocation: Revocation::None,
    }
}

fn policy() -> TrustPolicy {
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    TrustPolicy {
        signers: names(&["alice@x", "bob@x"]),
        approvers: names(&["carol@x"]),
        service_merges: true,
        ..TrustPolicy::default()
    }
}

fn own(commit: Commit) -> Own {
    Own { commit, first_seen: at(2000), merge: None, covered: None }
}

fn attempt(compared: Compared, own: Vec<Own>) -> Attempt {
    Attempt { way: Way::Squash(Head::Pull(7)), head: Some(id('b')), compared, own }
}

fn signed(digit: char, who: &str) -> Own {
    own(commit(digit, &['0'], signed_by(who)))
}

/// Judges a commit with a signature of its own, and what it may have been made of.
fn judged(signature: Signature, attempts: &[Attempt], policy: &TrustPolicy) -> CommitVerdict {
    let commit = commit('c', &['0'], signature);
    let sighted =
        Sighted { commit: &commit, first_seen: at(2000), first_parent: true, touches: true, freeze_only: false };
    let verdict = verdict(&sighted, policy, &[]);
    if may_be_merged(&verdict, policy) { merged(&commit, verdict, attempts, policy, &[]) } else { verdict }
}

fn label(attempts: &[Attempt]) -> &'static str {
    judged(Signature::Unsigned, attempts, &policy()).label()
}

#[test]
fn what_is_our_own_merge_of_signed_commits_is_covered_by_their_keys() {
    let attempts = [attempt(Compared::Same, vec![signed('a', "alice"), signed('b', "bob"), signed('d', "bob")])];
    let verdict = judged(Signature::Unsigned, &attempts, &policy());
    let keys = vec!["SHA256:alice".into(), "SHA256:bob".into()];
    assert_eq!(verdict.outcome, Outcome::Merged { head: id('b'), keys });
}

#[test]
fn it_is_off_unless_asked_for() {
    let attempts = [attempt(Compared::Same, vec![signed('a', "alice")])];
    let off = TrustPolicy { service_merges: false, ..policy() };
    assert_eq!(judged(Signature::Unsigned, &attempts, &off).label(), "unsigned");
    assert!(!TrustPolicy::default().service_merges);
    // What its first parent has need not be anybody's there.
    let path = TrustPolicy { verify: Verify::Path, ..policy() };
    assert_eq!(judged(Signature::Unsigned, &attempts, &path).label(), "unsigned");
}

#[test]
fn the_service_s_own_key_is_as_good_as_none_and_a_bad_one_is_worse() {
    let attempts = [attempt(Compared::Same, vec![signed('a', "alice")])];
    let revoked = |revocation| match signed_by("alice") {
        Signature::Good { scheme, key, grants, .. } => Signature::Good { scheme, key, grants, revocation },
        other => other,
    };
    let expired = match signed_by("alice") {
        Signature::Good { scheme, key, mut grants, revocation } => {
            grants[0].valid_before = Some(at(1));
            Signature::Good { scheme, key, grants, revocation }
        }
        other => other,
    };
    for (signature, label) in [
        (Signature::Unsigned, "merged"),
        (Signature::UnknownKey { key: "forge".into() }, "merged"),
        (signed_by("forge"), "merged"),
        (Signature::Bad { why: "altered".into() }, "bad_signature"),
        (revoked(Revocation::Revoked), "revoked_key"),
        (revoked(Revocation::Unreadable("gone".into())), "revocations_unreadable"),
        (expired, "expired_key"),
    ] {
        assert_eq!(judged(signature.clone(), &attempts, &policy()).label(), label, "{signature:?}");
    }
    let strict = TrustPolicy { match_: crate::core::guards::Match::Committer, ..policy() };
    assert_eq!(judged(signed_by("alice"), &attempts, &strict).label(), "principal_mismatch");
}

#[test]
fn every_other_comparison_fails_with_its_own_code_and_words() {
    let all = || vec![signed('a', "alice")];
    for (compared, code, words) in [
        (Compared::Differs, "merge_differs", "its tree is not the one"),
        (Compared::Conflict(vec!["app/a.conf".into()]), "merge_differs", "a conflict here (app/a.conf)"),
        (Compared::Unknown("it is too large".into()), "merge_unproven", "it is too large"),
    ] {
        let verdict = judged(Signature::Unsigned, &[attempt(compared.clone(), all())], &policy());
        let (failed, message) = verdict.failure().unwrap();
        assert_eq!(failed.as_str(), code, "{compared:?}");
        for said in [words, "ccccccc", "#7", "bbbbbbb", "forge@x", "unsigned", "holdfast-vouch/"] {
            assert!(message.contains(said), "{said} is not in: {message}");
        }
    }
    let headless = Attempt { head: None, ..attempt(Compared::Same, all()) };
    assert_eq!(label(&[headless]), "merge_unproven");
    assert_eq!(label(&[]), "unsigned");
    let message = judged(Signature::Unsigned, &[], &policy()).failure().unwrap().1.to_owned();
    assert!(message.contains("names no pull request"), "{message}");
}

#[test]
fn each_commit_of_the_head_must_verify_by_the_ordinary_rules() {
    let with = |other: Own| label(&[attempt(Compared::Same, vec![signed('a', "alice"), other, signed('d', "bob")])]);
    assert_eq!(with(signed('b', "bob")), "merged");
    assert_eq!(with(signed('b', "mallory")), "head_unverified");
    assert_eq!(with(own(commit('b', &['a'], Signature::Unsigned))), "head_unverified");
    assert_eq!(with(own(commit('b', &['a'], Signature::Bad { why: "w".into() }))), "head_unverified");
    let Signature::Good { scheme, key, mut grants, revocation } = signed_by("bob") else { panic!("good") };
    grants[0].valid_before = Some(at(1500));
    let late = Signature::Good { scheme, key, grants, revocation };
    // Made at 1000, in time; first seen at 2000.
    assert_eq!(with(own(commit('b', &['a'], late))), "head_unverified");
    let attempts = [attempt(Compared::Same, vec![own(commit('b', &['a'], Signature::Unsigned))])];
    let verdict = judged(Signature::Unsigned, &attempts, &policy());
    let message = verdict.failure().unwrap().1;
    assert!(message.contains("bbbbbbb") && message.contains("unsigned"), "the commit is not named: {message}");
}

#[test]
fn a_merge_among_the_head_s_commits_may_be_the_service_s_too() {
    let update = |parents: &[char], merge, signature| {
        let update = Own { merge, ..own(commit('b', parents, signature)) };
        label(&[attempt(Compared::Same, vec![signed('a', "alice"), update])])
    };
    let same = Some(Compared::Same);
    assert_eq!(update(&['a', '0'], same.clone(), Signature::Unsigned), "merged");
    assert_eq!(update(&['a', '0'], Some(Compared::Differs), Signature::Unsigned), "head_unverified");
    assert_eq!(update(&['a', '0'], None, Signature::Unsigned), "head_unverified");
    assert_eq!(update(&['a'], same.clone(), Signature::Unsigned), "head_unverified", "no merge at all");
    assert_eq!(update(&['a', '0', '1'], same.clone(), Signature::Unsigned), "head_unverified", "an octopus");
    assert_eq!(update(&['a', '0'], same, Signature::Bad { why: "w".into() }), "head_unverified");
}

#[test]
fn a_commit_made_anew_that_is_covered_may_be_merged_in_turn() {
    let made = |signature| {
        let made = Own { covered: Some(vec!["SHA256:bob".into()]), ..own(commit('b', &['a'], signature)) };
        judged(Signature::Unsigned, &[attempt(Compared::Same, vec![signed('a', "alice"), made])], &policy()).outcome
    };
    let keys = vec!["SHA256:alice".into(), "SHA256:bob".into()];
    assert_eq!(made(Signature::Unsigned), Outcome::Merged { head: id('b'), keys });
    assert!(matches!(made(Signature::Bad { why: "w".into() }), Outcome::Failed { .. }));
}

#[test]
fn one_way_that_covers_is_enough_and_the_nearest_explains() {
    let unsigned = || vec![own(commit('b', &['0'], Signature::Unsigned))];
    let unknown = Attempt::unknown(Way::Squash(Head::Pull(6)), "no such head");
    let differs = attempt(Compared::Differs, Vec::new());
    assert_eq!(label(&[unknown.clone(), differs.clone()]), "merge_differs");
    assert_eq!(label(&[attempt(Compared::Same, unsigned()), differs.clone(), unknown.clone()]), "head_unverified");
    assert_eq!(label(&[unknown, differs, attempt(Compared::Same, vec![signed('b', "bob")])]), "merged");
}

#[test]
fn whoever_has_a_part_in_the_head_is_named() {
    let names = signed('a', "bob").contributor().names;
    for name in ["alice@x", "forge@x", "bob@x", "SHA256:bob"] {
        assert!(names.iter().any(|known| &**known == name), "{name} is not in {names:?}");
    }
}
