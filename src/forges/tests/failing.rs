//! A service that fails at every call: before it does something, while it does it, and after.

use super::fake::ME;
use super::*;

fn says(status: u16) -> How {
    How::Answers(status, Vec::new(), "{\"message\":\"no: sekret-token-of-the-bot\"}")
}

fn is_ours(body: &str) -> bool {
    mark().is_on(body)
}

/// How many comments and open issues of ours there are.
fn copies(place: &Place) -> (usize, usize) {
    let world = place.fake.world();
    let comments = world.comments.iter().filter(|text| text.author == ME && is_ours(&text.body)).count();
    (comments, world.issues.iter().filter(|text| text.open && text.author == ME && is_ours(&text.body)).count())
}

const ISSUE: Issue<'static> = Issue { title: "halted", body: "why", open: true };

/// Puts a comment or an issue.
async fn put(client: &Client, repo: &Repo, comment: bool) -> Result<(), ForgeError> {
    if comment {
        client.put_comment(repo, 5, &mark(), "text").await.map(|_| ())
    } else {
        client.put_issue(repo, &mark(), &ISSUE, None).await.map(|_| ())
    }
}

/// Every status and failure with the error that it is, for something that must not happen twice and for what may.
fn faults() -> Vec<(How, &'static str, &'static str)> {
    let limited = |status, headers: &[(&'static str, &str)]| {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        How::Answers(status, headers, "{\"message\":\"slow down\"}")
    };
    vec![
        (says(401), "unauthorized", "unauthorized"),
        (says(403), "forbidden", "forbidden"),
        (
            limited(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4000000000")]),
            "rate_limited",
            "rate_limited",
        ),
        (limited(403, &[("retry-after", "30")]), "rate_limited", "rate_limited"),
        (limited(429, &[]), "rate_limited", "rate_limited"),
        (says(404), "not_found", "not_found"),
        (says(410), "not_found", "not_found"),
        (says(409), "rejected", "rejected"),
        (says(422), "rejected", "rejected"),
        (says(301), "rejected", "rejected"),
        (says(500), "unknown", "unreachable"),
        (says(502), "unknown", "unreachable"),
        (How::BreaksOff, "unknown", "unreachable"),
        (How::Babbles, "unexpected", "unexpected"),
    ]
}

#[tokio::test]
async fn every_failure_to_make_something_is_told_as_what_it_is_and_repeated_without_a_copy() {
    for kind in KINDS {
        for comment in [true, false] {
            for (how, expected, _) in faults() {
                let place = Place::new(kind).await;
                let done = matches!(how, How::Babbles);
                place.fake.fail("POST", "", how.clone());
                let first = put(&place.client, &place.repo, comment).await;
                let name = first.as_ref().map_or_else(ForgeError::name, |()| "done");
                // Whatever was made after all is found at once.
                assert_eq!(name, if done { "done" } else { expected }, "{kind:?} {how:?}");
                if let Err(error) = first {
                    assert!(!error.to_string().contains("sekret"), "{error}");
                    assert_eq!(error.retry_at().is_some(), expected == "rate_limited", "{error}");
                    let transient = ["rate_limited", "unknown"].contains(&expected);
                    assert_eq!(error.is_transient(), transient, "{error}");
                }
                // Tried again, by a process that knows nothing and by one that does.
                put(&place.restarted(), &place.repo, comment).await.unwrap();
                if expected != "rate_limited" {
                    put(&place.client, &place.repo, comment).await.unwrap();
                }
                let expected = if comment { (1, 0) } else { (0, 1) };
                assert_eq!(copies(&place), expected, "{kind:?} {how:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_no_copy() {
    for kind in KINDS {
        for comment in [true, false] {
            let place = Place::new(kind).await;
            place.fake.fail("POST", "", How::LosesTheAnswer);
            assert_eq!(put(&place.client, &place.repo, comment).await, Ok(()), "it is found");
            put(&place.client, &place.repo, comment).await.unwrap();
            put(&place.restarted(), &place.repo, comment).await.unwrap();
            let posted = place.fake.count("POST");
            assert_eq!((copies(&place), posted), (if comment { (1, 0) } else { (0, 1) }, 1), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn what_was_made_late_is_taken_away() {
    for kind in KINDS {
        for comment in [true, false] {
            let place = Place::new(kind).await;
            place.fake.fail("POST", "", How::BreaksOff);
            let first = put(&place.client, &place.repo, comment).await;
            assert!(matches!(first, Err(ForgeError::Unknown { .. })), "{first:?}");
            put(&place.client, &place.repo, comment).await.unwrap();
            // Somewhere between us the first request had waited.
            let text = format!("text\n\n{}", mark());
            if comment {
                place.fake.world().comment(5, ME, &text);
            } else {
                place.fake.world().issue(ME, "halted", &text);
            }
            put(&place.client, &place.repo, comment).await.unwrap();
            assert_eq!(copies(&place), if comment { (1, 0) } else { (0, 1) }, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_failed_look_makes_nothing() {
    for kind in KINDS {
        for comment in [true, false] {
            for (how, _, expected) in faults() {
                // That a list is not there says that we may not see it; then we may not write there either.
                let place = Place::new(kind).await;
                place.fake.fail("GET", if comment { "/5/" } else { "issues" }, how.clone());
                let name = put(&place.client, &place.repo, comment).await.err().map(|error| error.name());
                assert_eq!(name, Some(expected), "{kind:?} {how:?}");
                assert_eq!((place.fake.count("POST"), copies(&place)), (0, (0, 0)), "{kind:?} {how:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_change_is_told_and_makes_no_copy() {
    for kind in KINDS {
        for comment in [true, false] {
            for (how, _, expected) in faults() {
                let place = Place::new(kind).await;
                put(&place.client, &place.repo, comment).await.unwrap();
                let method = if kind == ForgeKind::Gitlab { "PUT" } else { "PATCH" };
                place.fake.fail(method, "", how.clone());
                let name = put(&place.client, &place.repo, comment).await.err().map(|error| error.name());
                // Whether it is gone is asked anew; and a comment's answer is not read.
                let gone = expected == "not_found" || (comment && matches!(how, How::Babbles));
                assert_eq!(name, if gone { None } else { Some(expected) }, "{kind:?} {how:?}");
                put(&place.restarted(), &place.repo, comment).await.unwrap();
                assert_eq!(copies(&place), if comment { (1, 0) } else { (0, 1) }, "{kind:?} {how:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_service_that_never_answers_is_given_up() {
    for kind in KINDS {
        for (how, made) in [(How::Hangs, 0), (How::DoesItAndHangs, 1)] {
            let place = Place::with(kind, Duration::from_millis(400)).await;
            place.client.whoami(&place.repo).await.unwrap();
            place.fake.fail("POST", "", how.clone());
            let first = put(&place.client, &place.repo, true).await;
            match made {
                0 => assert!(matches!(first, Err(ForgeError::Unknown { .. })), "{first:?}"),
                _ => assert_eq!(first, Ok(())),
            }
            put(&place.restarted(), &place.repo, true).await.unwrap();
            assert_eq!(copies(&place), (1, 0), "{kind:?} {how:?}");
        }
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unreachable_and_nothing_is_in_doubt() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let token = ForgeAuth::Token(place.dir.path().join("token"));
        let client =
            Client::new(&Forge { kind, url, auth: token, comment_approvals: false }, &Network::default()).unwrap();
        let made = client.create_comment(&place.repo, 5, "text").await;
        assert!(matches!(made, Err(ForgeError::Unreachable { .. })), "{made:?}");
    }
}

#[tokio::test]
async fn who_asks_to_be_left_alone_is_left_alone() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        let headers = vec![("retry-after", "600".to_owned())];
        place.fake.fail("GET", "", How::Answers(429, headers, "{}"));
        let first = place.client.pull(&place.repo, 1).await.unwrap_err();
        let until = first.retry_at().unwrap();
        let asked = place.fake.asked().len();
        for _ in 0..3 {
            assert_eq!(place.client.whoami(&place.repo).await.unwrap_err().retry_at(), Some(until), "{kind:?}");
        }
        assert_eq!(place.fake.asked().len(), asked, "it was asked all the same");
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_a_size() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        let huge = "x".repeat(17 << 20);
        place.fake.world().comment(5, "mallory", &huge);
        let read = place.client.comments(&place.repo, 5, None).await;
        assert!(matches!(read, Err(ForgeError::Unexpected { .. })), "{kind:?}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        std::fs::remove_file(place.dir.path().join("token")).unwrap();
        let error = put(&place.client, &place.repo, true).await.unwrap_err();
        assert!(matches!(error, ForgeError::Credentials { .. }), "{error}");
        assert_eq!(place.fake.asked(), [""; 0]);
    }
}
