//! What every service does alike when nothing goes wrong.

use serde_json::json;

use super::fake::ME;
use super::*;

/// Describes an open pull request in a service's words.
fn pull(kind: ForgeKind, number: u64, head: char, base: &str) -> serde_json::Value {
    match kind {
        ForgeKind::Gitea => gitea::pull(number, head, |pull| pull["base"]["ref"] = json!(base)),
        ForgeKind::Github => github::pull(number, head, |pull| pull["base"]["ref"] = json!(base)),
        ForgeKind::Gitlab => gitlab::pull(number, head, |pull| pull["target_branch"] = json!(base)),
    }
}

#[tokio::test]
async fn open_pull_requests_are_read_over_all_pages_and_told_once() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        {
            let mut world = place.fake.world();
            world.page = 2;
            world.tags = true;
            world.pulls = (1..=5).map(|number| pull(kind, number, 'a', "main")).collect();
            world.pulls.push(pull(kind, 6, 'c', "other"));
        }
        let open = async || place.client.open_pulls(&place.repo, "main").await.unwrap();
        let Fresh::New(pulls) = open().await else { panic!("nothing was known before") };
        assert_eq!(pulls.iter().map(|pull| pull.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5], "{kind:?}");
        assert_eq!(open().await, Fresh::Same);
        // The second time all pages were asked for by their tags.
        let tagged = place.fake.world().log.iter().filter(|seen| seen.headers.contains_key("if-none-match")).count();
        assert_eq!(tagged, 3, "{kind:?}");
        place.fake.world().pulls[4] = pull(kind, 5, 'e', "main");
        let Fresh::New(pulls) = open().await else { panic!("a head moved") };
        assert_eq!((pulls.len(), &pulls[4].head), (5, &commit('e')));
        // Another branch is another list.
        let Fresh::New(others) = place.client.open_pulls(&place.repo, "other").await.unwrap() else { panic!() };
        assert_eq!(others.iter().map(|pull| pull.number).collect::<Vec<_>>(), [6]);
        assert_eq!(open().await, Fresh::Same);
    }
}

#[tokio::test]
async fn a_comment_is_made_once_and_then_changed() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        // Somebody copies our mark, and we say something else.
        place.fake.world().comment(5, "mallory", &format!("look\n\n{}", mark()));
        place.fake.world().comment(5, ME, "something else");
        let put = async |client: &Client, text: &str| client.put_comment(&place.repo, 5, &mark(), text).await.unwrap();
        let first = put(&place.client, "one").await;
        assert_eq!(put(&place.client, "two").await, first);
        assert_eq!(put(&place.restarted(), "three").await, first, "it is found by its mark");
        let marked: Vec<String> = {
            let world = place.fake.world();
            let ours = world.comments.iter().filter(|comment| comment.author == ME && mark().is_on(&comment.body));
            ours.map(|comment| comment.body.clone()).collect()
        };
        assert_eq!(marked, [format!("three\n\n{}", mark())], "{kind:?}");
        assert!(place.fake.world().comments[0].body.starts_with("look"), "another's comment was changed");
        let found = place.client.find_comment(&place.repo, 5, &mark()).await.unwrap().unwrap();
        assert_eq!((found.id, found.edited(), found.author.login.as_str()), (first, true, ME));
        assert_eq!(place.client.find_comment(&place.repo, 6, &mark()).await, Ok(None));
    }
}

#[tokio::test]
async fn a_comment_that_somebody_deleted_is_made_again() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        let first = place.client.put_comment(&place.repo, 5, &mark(), "one").await.unwrap();
        place.fake.world().comments.clear();
        let edited = place.client.edit_comment(&place.repo, 5, first, &mark(), "two").await;
        assert!(matches!(edited, Err(ForgeError::NotFound { .. })), "{edited:?}");
        let second = place.client.put_comment(&place.repo, 5, &mark(), "two").await.unwrap();
        assert_ne!(first, second);
        assert_eq!(place.fake.world().comments.len(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn second_copies_are_taken_away() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        let marked = format!("old\n\n{}", mark());
        let first = place.fake.world().comment(5, ME, &marked);
        for _ in 0..2 {
            place.fake.world().comment(5, ME, &marked);
            place.fake.world().issue(ME, "halt", &marked);
        }
        assert_eq!(place.client.put_comment(&place.repo, 5, &mark(), "new").await, Ok(first));
        assert_eq!(place.fake.world().comments.len(), 1, "{kind:?}");
        let issue = Issue { title: "halt", body: "new", open: true };
        place.client.put_issue(&place.repo, &mark(), &issue, None).await.unwrap();
        let open: Vec<String> =
            place.fake.world().issues.iter().filter(|issue| issue.open).map(|issue| issue.body.clone()).collect();
        assert_eq!(open, [format!("new\n\n{}", mark())], "{kind:?}");
    }
}

#[tokio::test]
async fn an_issue_is_made_once_changed_closed_and_opened_again_by_its_number() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        place.fake.world().issue("mallory", "look", &format!("look\n\n{}", mark()));
        let put = async |client: &Client, body: &str, open: bool, known: Option<u64>| {
            let issue = Issue { title: "halted", body, open };
            client.put_issue(&place.repo, &mark(), &issue, known).await.unwrap()
        };
        assert_eq!(put(&place.client, "nothing to close", false, None).await, None);
        let first = put(&place.client, "one", true, None).await.unwrap();
        assert_eq!(put(&place.client, "two", true, None).await.unwrap(), first);
        assert_eq!(put(&place.restarted(), "three", true, None).await.unwrap(), first);
        assert_eq!(put(&place.client, "over", false, None).await.unwrap(), first);
        let state = |number: u64| {
            let world = place.fake.world();
            let issue = world.issues.iter().find(|issue| issue.id == number).unwrap();
            (issue.title.clone(), issue.body.clone(), issue.open)
        };
        assert_eq!(state(first.number), ("halted".to_owned(), format!("over\n\n{}", mark()), false), "{kind:?}");
        // A closed one is not looked for: it is reached by its number alone.
        assert_eq!(put(&place.restarted(), "again", true, Some(first.number)).await.unwrap(), first);
        assert!(state(first.number).2);
        let gone = put(&place.restarted(), "anew", true, Some(99_999)).await.unwrap();
        assert_eq!(gone, first, "the number leads nowhere, the mark does");
        assert_eq!(place.fake.world().issues.len(), 2, "{kind:?}");
        let anothers = place.fake.world().issues[0].id;
        assert!(state(anothers).1.starts_with("look"), "another's issue was changed");
    }
}

#[tokio::test]
async fn comments_are_read_from_a_time_on() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        for (body, updated) in [("old", "2026-11-01T10:00:00Z"), ("edited", "2026-11-02T10:00:00Z")] {
            place.fake.world().comment(5, "alice", body);
            place.fake.world().comments.last_mut().unwrap().updated = updated;
        }
        place.fake.world().comment(6, "alice", "of another one");
        let read = async |since: Option<&str>| -> Vec<(String, bool)> {
            let since = since.map(|since| since.parse().unwrap());
            let comments = place.client.comments(&place.repo, 5, since).await.unwrap();
            comments.into_iter().map(|comment| (comment.body.clone(), comment.edited())).collect()
        };
        let both = [("old".to_owned(), false), ("edited".to_owned(), true)];
        assert_eq!(read(None).await, both, "{kind:?}");
        assert_eq!(read(Some("2026-11-02T10:00:00Z")).await, both[1..]);
        assert_eq!(read(Some("2026-11-02T10:00:01Z")).await, []);
    }
}

#[tokio::test]
async fn the_token_is_read_anew_and_goes_nowhere_else() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        place.client.put_comment(&place.repo, 5, &mark(), "one").await.unwrap();
        std::fs::write(place.dir.path().join("token"), "another-token").unwrap();
        place.client.put_comment(&place.repo, 5, &mark(), "two").await.unwrap();
        let world = place.fake.world();
        let sent: Vec<&str> = world.log.iter().map(|seen| seen.headers["authorization"].to_str().unwrap()).collect();
        assert!(sent[0].ends_with(TOKEN), "{kind:?}");
        assert!(sent.last().unwrap().ends_with("another-token"), "{kind:?}");
        assert!(world.log.iter().all(|seen| !seen.path.contains(TOKEN) && seen.headers.contains_key("user-agent")));
    }
}

#[tokio::test]
async fn a_status_is_one_line() {
    let place = Place::new(ForgeKind::Gitea).await;
    let mut status = Status {
        context: "holdfast/web".to_owned(),
        state: StatusState::Failure,
        description: format!("would halt:\n{}", "x".repeat(300)),
        url: Some("https://holdfast.example/web".to_owned()),
        summary: String::new(),
    };
    place.client.set_status(&place.repo, &commit('a'), &status).await.unwrap();
    status.state = StatusState::Pending;
    status.url = None;
    place.client.set_status(&place.repo, &commit('a'), &status).await.unwrap();
    let statuses = place.fake.world().statuses.clone();
    let (sha, body) = &statuses[0];
    let description = body["description"].as_str().unwrap();
    assert_eq!((sha.as_str(), description.chars().count()), (commit('a').as_str(), 140));
    assert!(description.starts_with("would halt: xx") && description.ends_with('…'), "{description}");
    assert_eq!(body["context"], "holdfast/web");
    assert_eq!((&body["state"], &statuses[1].1["state"]), (&json!("failure"), &json!("pending")));
}
