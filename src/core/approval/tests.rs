use super::*;

fn digest(value: u8) -> Digest {
    Digest::from_bytes([value; 32])
}

fn policy() -> TrustPolicy {
    TrustPolicy { approvers: vec!["bob@a".into(), "carol@a".into()], ..TrustPolicy::default() }
}

fn approval(value: u8, key: Option<&str>) -> Approval {
    let at = Timestamp::UNIX_EPOCH;
    Approval { digest: digest(value), by: "bob@a".into(), via: "tag".into(), at, used: false, key: key.map(Into::into) }
}

fn state(approvals: Vec<Approval>, age: SignedDuration) -> State {
    let mut state = State::default();
    let now = Timestamp::UNIX_EPOCH + age;
    state.app.clock = Some(super::super::clock::Clock { now, wall: now, boot: "".into(), uptime_ms: 0 });
    state.app.approvals = approvals;
    state
}

fn lets_go(state: &State, contributors: &[Contributor], policy: &TrustPolicy) -> bool {
    let wanted = Wanted { digest: &digest(1), change: Some(&digest(2)), seen: state.now(), contributors };
    find(state, &wanted, policy, &Guards::default()).is_some()
}

#[test]
fn one_key_is_one_person_whatever_the_address_says() {
    let state = state(vec![approval(1, Some("SHA256:abc"))], SignedDuration::ZERO);
    let by_key = [Contributor { names: vec!["dave@home".into(), "SHA256:abc".into()] }];
    assert!(!lets_go(&state, &by_key, &policy()));
    let other = [Contributor { names: vec!["dave@home".into(), "SHA256:xyz".into()] }];
    assert!(lets_go(&state, &other, &policy()));
    // Two keys of one person, as the policy maps them.
    let people = [("bob".into(), vec!["SHA256:abc".into(), "SHA256:xyz".into()])].into();
    assert!(!lets_go(&state, &other, &TrustPolicy { people, ..policy() }));
}

#[test]
fn an_approval_of_a_plan_lapses_and_one_of_a_change_lives_for_two_weeks() {
    let plan = |age| lets_go(&state(vec![approval(1, None)], age), &[], &policy());
    assert!(plan(SignedDuration::from_hours(4)));
    assert!(!plan(SignedDuration::from_hours(5)));
    let change = |age| lets_go(&state(vec![approval(2, None)], age), &[], &policy());
    assert!(change(SignedDuration::from_hours(14 * 24)));
    assert!(!change(SignedDuration::from_hours(14 * 24 + 1)));
    let late = state(vec![approval(1, None)], SignedDuration::from_hours(5));
    let wanted = Wanted { digest: &digest(1), change: None, seen: late.now(), contributors: &[] };
    let why = why_not(&late.app.approvals[0], &wanted, &policy(), &Guards::default(), late.now()).unwrap();
    assert!(why.contains("lapsed") && why.contains("4 h"), "{why}");
}

#[test]
fn what_is_forgotten_does_not_come_back_by_its_tag() {
    let mut used = approval(1, None);
    used.used = true;
    let young = state(vec![used.clone()], SignedDuration::from_hours(24));
    assert!(lapsed(&young).is_empty());
    let old = state(vec![used], SignedDuration::from_hours(15 * 24));
    assert_eq!(lapsed(&old), [digest(1)]);
    let empty = state(Vec::new(), SignedDuration::from_hours(15 * 24));
    let signer = || ("bob@a".into(), "SHA256:abc".into());
    let tag = |tagged| by_tag(digest(1), signer(), tagged, &empty, empty.now());
    assert_eq!(tag(Timestamp::UNIX_EPOCH), None);
    assert_eq!(
        tag(empty.now() + SignedDuration::from_hours(1)),
        None,
        "a date in the future would outlive its approval"
    );
    let ahead = empty.now() - SignedDuration::from_hours(14 * 24) + SignedDuration::from_mins(4);
    assert_eq!(tag(ahead), None, "made a little ahead of our clock, and used when it was first seen");
    assert_eq!(tag(empty.now()).and_then(|approval| approval.key), Some("SHA256:abc".into()));
}

#[test]
fn an_account_counts_only_beside_what_it_is_compared_by() {
    let by = |people: &[(&str, &[&str])]| {
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        let people = people.iter().map(|(person, all)| (Arc::from(*person), names(all))).collect();
        let approvers = vec!["bob@a".into(), "github:bob".into(), "github:carol".into()];
        TrustPolicy { approvers, people, ..TrustPolicy::default() }
    };
    let wanted = Wanted {
        digest: &digest(1),
        change: None,
        seen: Timestamp::UNIX_EPOCH,
        contributors: &[Contributor { names: vec!["carol@a".into()] }],
    };
    let why =
        |who: &str, policy: &TrustPolicy| refusal(who, &wanted, policy, &Guards::default(), Timestamp::UNIX_EPOCH);
    let known = by(&[("bob", &["bob@a", "github:bob"]), ("carol", &["carol@a", "GitHub:Carol"])]);
    assert_eq!(why("github:bob", &known), None);
    assert!(why("github:carol", &known).unwrap().contains("another listed person"));
    // Listed by the account alone, whoever wrote the change could approve it.
    for unknown in [by(&[]), by(&[("carol", &["github:carol"])])] {
        assert!(why("github:carol", &unknown).unwrap().contains("trust.people"));
    }
    assert!(why("github:mallory", &known).unwrap().contains("trust.people"));
}
