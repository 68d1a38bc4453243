use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn entry(text: &str) -> Vec<(Arc<str>, Vec<u8>)> {
    vec![("FREEZE".into(), text.into())]
}

fn id(digit: char) -> CommitId {
    CommitId::new(digit.to_string().repeat(40))
}

fn frozen(text: &str) -> FreezeState {
    FreezeState::default().at_tip(&id('1'), &entry(text), false, &|_| true, at(100)).unwrap().0
}

#[test]
fn whatever_is_written_freezes() {
    for text in [
        "",
        "# c\n",
        "db is on fire",
        "2024",
        "- a",
        "reason: [",
        "a: b\na: c",
        "reason: 5",
        "until: 2030-01-01",
        "x: y",
    ] {
        let parsed = parse(text.as_bytes(), at(100));
        assert!(parsed.scope.is_empty() && parsed.until.is_none(), "{text}");
    }
    assert_eq!(parse(b"db is on\n fire", at(0)).reason.as_deref(), Some("db is on fire"));
    assert_eq!(parse(b"", at(0)), Parsed::default());
    assert!(parse(&[b'a'; 65 * 1024], at(0)).note.unwrap().contains("64 KiB"));
    assert!(parse(b"\xff", at(0)).note.unwrap().contains("UTF-8"));
    assert!(parse(b"until: 2030-01-01T00:00:00", at(0)).note.unwrap().contains("offset"));
    let past = parse(b"reason: r\nuntil: 1970-01-01T00:01:00Z\nscope: [web]", at(60));
    assert!(past.note.unwrap().contains("already past") && past.until.is_none() && past.scope.is_empty());
    assert_eq!(past.reason.as_deref(), Some("r"));
    let wrong = parse(b"scope: web\nowner: ann", at(0));
    assert!(wrong.note.is_some() && wrong.owner.as_deref() == Some("ann"));
}

#[test]
fn what_can_be_followed_is() {
    let parsed = parse(b"reason: incident\nowner: ann\nuntil: 1970-01-01T01:01:00+01:00\nscope: [web, 'db-*']", at(0));
    assert_eq!((parsed.until, parsed.note), (Some(at(60)), None));
    assert_eq!(parsed.scope, ["web", "db-*"]);
}

#[test]
fn narrowing_is_told() {
    let parsed = |text: &str| parse(text.as_bytes(), at(0));
    let soon = "until: 1970-01-02T00:00:00Z";
    let late = "until: 1970-01-03T00:00:00Z";
    for (old, new, less) in [
        ("", "why", false),
        ("", soon, true),
        (soon, "", false),
        (soon, late, false),
        (late, soon, true),
        ("", "scope: [web]", true),
        ("scope: [web]", "", false),
        ("scope: [web]", "scope: [web, db]", false),
        ("scope: [web, db]", "scope: [web]", true),
        ("", "scope: ['*']", false),
        ("scope: ['*']", "scope: [web]", true),
    ] {
        assert_eq!(narrows(&parsed(old), Some(&parsed(new))), less, "{old:?} to {new:?}");
        assert!(narrows(&parsed(old), None));
    }
}

#[test]
fn a_freeze_at_the_tip_holds_at_once_and_is_told_once() {
    let (state, said) =
        FreezeState::default().at_tip(&id('3'), &entry("reason: x\nowner: ann"), false, &|_| false, at(100)).unwrap();
    assert_eq!(said, "frozen by FREEZE in commit 3333333: x (ann)");
    assert_eq!(state.active("web", at(100)).len(), 1);
    assert!(state.at_tip(&id('4'), &entry("reason: x\nowner: ann"), false, &|_| true, at(200)).is_none());
}

#[test]
fn only_a_verified_descendant_thaws() {
    let state = frozen("");
    assert!(state.at_tip(&id('2'), &[], false, &|_| true, at(200)).is_none());
    assert!(state.at_tip(&id('2'), &[], true, &|_| false, at(200)).is_none());
    let (thawed, said) = state.at_tip(&id('2'), &[], true, &|commit| *commit == id('1'), at(200)).unwrap();
    assert_eq!(thawed, FreezeState::default());
    assert_eq!(said, "FREEZE in commit 1111111 was removed in a verified commit");
}

#[test]
fn an_unverified_narrowing_is_beside_the_old() {
    let (state, _) = frozen("").at_tip(&id('2'), &entry("scope: [db]"), false, &|_| true, at(200)).unwrap();
    assert_eq!(state.freezes.len(), 2);
    assert_eq!(state.active("web", at(200)).len(), 1);
    let (state, _) = state.at_tip(&id('2'), &entry("scope: [db]"), true, &|_| true, at(300)).unwrap();
    assert_eq!(state.freezes.len(), 1);
    assert!(state.active("web", at(300)).is_empty());
    assert_eq!(state.freezes[0].since, at(200));
}

#[test]
fn widening_needs_nothing() {
    let (state, said) = frozen("scope: [db]").at_tip(&id('2'), &entry(""), false, &|_| false, at(200)).unwrap();
    assert_eq!((state.freezes.len(), state.active("web", at(200)).len()), (1, 1));
    assert!(said.contains("freezes no less"), "{said}");
}

#[test]
fn an_expiry_that_passes_is_no_mistake() {
    let text = "until: 1970-01-01T00:10:00Z";
    let state = frozen(text);
    assert_eq!(state.active("web", at(599)).len(), 1);
    assert!(state.active("web", at(600)).is_empty());
    assert!(state.at_tip(&id('2'), &entry(text), false, &|_| true, at(700)).is_none());
    // Extending it anew to a time that is past already freezes for good.
    let (again, _) = state.at_tip(&id('2'), &entry("until: 1970-01-01T00:11:00Z"), false, &|_| true, at(700)).unwrap();
    assert_eq!((again.freezes.len(), again.active("web", at(700)).len()), (1, 1));
    // What is over holds nothing, so that its removal is no thaw.
    assert_eq!(state.at_tip(&id('2'), &[], false, &|_| false, at(700)).unwrap().0, FreezeState::default());
}

#[test]
fn after_a_rewrite_that_keeps_it_a_verified_commit_can_thaw() {
    let state = frozen("");
    let (moved, _) = state.at_tip(&id('9'), &entry(""), false, &|_| false, at(200)).unwrap();
    assert_eq!((moved.freezes.len(), moved.freezes[0].since), (1, at(100)));
    assert!(moved.at_tip(&id('a'), &[], true, &|commit| *commit == id('9'), at(300)).is_some());
}

#[test]
fn operators_lift_what_operators_froze() {
    let what = Parsed { reason: Some("r".into()), ..Parsed::default() };
    let (state, said) = frozen("").with_operator("ann", "cli", what.clone(), at(200)).unwrap();
    assert_eq!(said, "frozen by ann (cli): r");
    assert!(state.with_operator("ann", "cli", what, at(300)).is_none());
    let (state, said) = state.without_operator("web").unwrap();
    assert_eq!((state.clone(), said.as_str()), (frozen(""), "the freeze by ann (cli) lifted"));
    assert!(state.without_operator("web").is_none());
    let db = Parsed { scope: vec!["db".into()], ..Parsed::default() };
    assert!(state.with_operator("ann", "cli", db, at(200)).unwrap().0.without_operator("web").is_none());
}

#[test]
fn the_state_directory_and_the_configuration_freeze_while_they_say_so() {
    let none = FreezeState::default();
    let (state, _) = none.with_state_dir(&[b"why".to_vec()], at(1)).unwrap();
    assert!(state.with_state_dir(&[b"why".to_vec()], at(2)).is_none());
    let (state, _) = state.with_config(Some(&Parsed { until: Some(at(50)), ..Parsed::default() }), at(2)).unwrap();
    assert_eq!(state.active("web", at(10)).len(), 2);
    assert!(state.with_config(Some(&Parsed { until: Some(at(50)), ..Parsed::default() }), at(60)).is_none());
    assert_eq!(state.active("web", at(60)).len(), 1);
    let (state, _) = state.with_state_dir(&[], at(3)).unwrap();
    assert_eq!(state.with_config(None, at(3)).unwrap().0, none);
    let (late, _) = none.with_config(Some(&Parsed { until: Some(at(50)), ..Parsed::default() }), at(50)).unwrap();
    assert_eq!(late.active("web", at(1000)).len(), 1);
}

#[test]
fn it_survives_the_ledger() {
    let (state, _) = frozen("until: 2030-01-01T00:00:00Z").with_state_dir(&[Vec::new()], at(1)).unwrap();
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<FreezeState>(&json).unwrap(), state);
    assert!(json.contains(r#"{"branch":{"commit":"#), "{json}");
    assert_eq!(serde_json::from_str::<FreezeState>("{}").unwrap(), FreezeState::default());
}

#[test]
fn a_file_in_the_state_directory_that_expires_is_read_as_of_its_first_sight() {
    let file = [b"until: 1970-01-01T00:10:00Z".to_vec(), b"scope: [db]".to_vec()];
    let (state, _) = FreezeState::default().with_state_dir(&file, at(100)).unwrap();
    assert_eq!((state.active("web", at(599)).len(), state.active("db", at(599)).len()), (1, 2));
    assert!(state.with_state_dir(&file, at(700)).is_none(), "it was followed to its end");
    assert!(state.active("web", at(700)).is_empty());
    let (state, said) = state.with_state_dir(&file[..1], at(700)).unwrap();
    assert_eq!((state.freezes.len(), said.as_str()), (1, "FREEZE in the state directory was taken away"));
}
