//! What GitLab says, as the examples of its documentation shape it, and what is read from that. No package publishes its API's
//! description, so that these shapes were taken down by hand.

use serde_json::{Value, json};

use super::fake::{ME, Reply, Text, World, find};
use super::*;

fn user(login: &str) -> Value {
    json!({ "id": login.len(), "username": login, "name": login, "state": "active", "web_url": "http://site/u" })
}

fn note(text: &Text) -> Value {
    json!({
        "id": text.id, "type": null, "body": text.body, "author": user(&text.author), "system": text.author == "system",
        "created_at": text.created, "updated_at": text.updated, "noteable_type": "MergeRequest", "internal": false,
    })
}

fn issue(text: &Text) -> Value {
    json!({
        "id": 1000 + text.id, "iid": text.id, "web_url": format!("http://site/i/{}", text.id),
        "author": user(&text.author), "title": text.title, "description": text.body,
        "state": if text.open { "opened" } else { "closed" },
    })
}

/// One merge request, as a look at it shows it.
pub fn pull(number: u64, head: char, change: impl FnOnce(&mut Value)) -> Value {
    let mut merge = json!({
        "id": 9000 + number, "iid": number, "project_id": 3, "title": format!("change {number}"), "description": "",
        "state": "opened", "draft": false, "author": user("alice"), "web_url": format!("http://site/m/{number}"),
        "source_project_id": 3, "target_project_id": 3, "source_branch": format!("topic-{number}"),
        "target_branch": "main", "sha": head.to_string().repeat(40), "merge_commit_sha": null,
        "squash_commit_sha": null, "updated_at": "2026-11-01T10:00:00.123Z",
        "diff_refs": { "base_sha": "8".repeat(40), "head_sha": head.to_string().repeat(40), "start_sha": "b".repeat(40) },
    });
    change(&mut merge);
    merge
}

pub fn reply(world: &mut World, method: &str, names: &[&str], query: &[(String, String)], body: &Value) -> Reply {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let page = world.page;
    let names: Vec<&str> = match names {
        ["projects", "acme%2Ffleet", rest @ ..] => std::iter::once("fleet").chain(rest.iter().copied()).collect(),
        other => other.to_vec(),
    };
    match (method, &names[..]) {
        ("GET", ["user"]) => Reply::ok(user(ME)),
        ("GET", ["fleet", "merge_requests"]) => {
            let of = |merge: &&Value| merge["target_branch"] == find(query, "target_branch").unwrap();
            // Lists say less than a look at one.
            let mut all: Vec<Value> = world.pulls.iter().filter(of).cloned().collect();
            all.iter_mut().for_each(|merge| drop(merge.as_object_mut().unwrap().remove("diff_refs")));
            Reply::page(all, page, query)
        }
        ("GET", ["fleet", "merge_requests", number]) => {
            let found = world.pulls.iter().find(|merge| merge["iid"].as_u64() == number.parse().ok());
            found.map_or_else(Reply::missing, |merge| Reply::ok(merge.clone()))
        }
        ("GET", ["fleet", "merge_requests", number, "notes"]) => {
            let of = world.comments.iter().filter(|comment| comment.of.to_string() == *number).map(note);
            Reply::page(of.collect(), page, query)
        }
        ("POST", ["fleet", "merge_requests", number, "notes"]) => {
            let id = world.comment(number.parse().unwrap(), ME, &text("body"));
            Reply::made(note(world.comments.iter().find(|comment| comment.id == id).unwrap()))
        }
        ("PUT", ["fleet", "merge_requests", _, "notes", id]) => {
            let Some(found) = world.comments.iter_mut().find(|comment| comment.id.to_string() == *id) else {
                return Reply::missing();
            };
            found.body = text("body");
            found.updated = "2026-11-01T12:00:00Z";
            Reply::ok(note(found))
        }
        ("DELETE", ["fleet", "merge_requests", _, "notes", id]) => {
            let before = world.comments.len();
            world.comments.retain(|comment| comment.id.to_string() != *id);
            if world.comments.len() == before { Reply::missing() } else { Reply { status: 204, ..Reply::missing() } }
        }
        ("GET", ["fleet", "issues"]) => {
            assert_eq!(find(query, "scope"), Some("created_by_me"));
            let mine = world.issues.iter().filter(|issue| issue.open && issue.author == ME).map(issue).collect();
            Reply::page(mine, page, query)
        }
        ("POST", ["fleet", "issues"]) => {
            let id = world.issue(ME, &text("title"), &text("description"));
            Reply::made(issue(world.issues.iter().find(|issue| issue.id == id).unwrap()))
        }
        ("PUT", ["fleet", "issues", id]) => {
            let Some(found) = world.issues.iter_mut().find(|issue| issue.id.to_string() == *id) else {
                return Reply::missing();
            };
            (found.title, found.body) = (text("title"), text("description"));
            found.open = body["state_event"] == "reopen";
            Reply::ok(issue(found))
        }
        ("POST", ["fleet", "statuses", sha]) => {
            let told = ((*sha).to_owned(), body.clone());
            let same = |known: &&(String, Value)| known.0 == *sha && known.1["name"] == body["name"];
            if world.statuses.iter().rev().find(same).is_some_and(|known| known.1["state"] == body["state"]) {
                let message =
                    "Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition)";
                return Reply { status: 400, body: json!({ "message": message }), headers: Vec::new() };
            }
            world.statuses.push(told);
            Reply::made(json!({ "id": 1 }))
        }
        ("GET", ["fleet", "repository", "commits", sha, "statuses"]) => {
            let last = world.statuses.iter().rev().find(|(of, _)| of == sha);
            let last = last.map(|(_, told)| json!({ "id": 1, "name": told["name"], "status": told["state"] }));
            Reply::ok(last.into_iter().collect())
        }
        _ => Reply::missing(),
    }
}

#[tokio::test]
async fn merge_requests_are_read_as_gitlab_writes_them() {
    let place = Place::new(ForgeKind::Gitlab).await;
    let merged = |number, merge: Value, squash: Value| {
        pull(number, 'd', |pull| {
            pull["state"] = json!("merged");
            pull["merge_commit_sha"] = merge;
            pull["squash_commit_sha"] = squash;
        })
    };
    place.fake.world().pulls = vec![
        pull(1, 'a', |_| {}),
        pull(2, 'c', |pull| pull["source_project_id"] = json!(4)),
        merged(3, json!("e".repeat(40)), json!("f".repeat(40))),
        merged(4, Value::Null, json!("f".repeat(40))),
        merged(5, Value::Null, Value::Null),
        pull(6, 'a', |pull| pull["state"] = json!("locked")),
        pull(7, 'a', |pull| pull["state"] = json!("closed")),
        pull(8, 'a', |pull| pull["source_project_id"] = Value::Null),
        // Its branch is gone.
        pull(9, 'a', |pull| pull["sha"] = Value::Null),
    ];
    let read = async |number| place.client.pull(&place.repo, number).await.unwrap();
    let first = read(1).await;
    assert_eq!((&first.head, &first.base_commit, first.fork), (&commit('a'), &Some(commit('b')), false));
    assert_eq!((first.base.as_str(), first.head_branch.as_str(), first.state), ("main", "topic-1", PullState::Open));
    assert!(read(2).await.fork && read(8).await.fork);
    for (number, made) in [(3, 'e'), (4, 'f'), (5, 'd')] {
        assert_eq!(read(number).await.state, PullState::Merged { commit: Some(commit(made)) }, "{number}");
    }
    assert_eq!((read(6).await.state, read(7).await.state), (PullState::Open, PullState::Closed));
    let Fresh::New(open) = place.client.open_pulls(&place.repo, "main").await.unwrap() else { panic!() };
    assert_eq!(open.iter().map(|pull| pull.number).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert_eq!(open[0].base_commit, None);
    assert_eq!(place.client.head_ref(5), "refs/merge-requests/5/head");
    let page = place.client.commit_url(&place.repo, &commit('a'));
    assert_eq!(page, format!("{}/acme/fleet/-/commit/{}", place.fake.url, commit('a')));
}

#[tokio::test]
async fn what_gitlab_itself_wrote_is_no_comment() {
    let place = Place::new(ForgeKind::Gitlab).await;
    place.fake.world().comment(5, "system", "added 1 commit");
    let id = place.fake.world().comment(5, "project_3_bot_9f3c", "hello");
    let comments = place.client.comments(&place.repo, 5, None).await.unwrap();
    assert_eq!(comments.len(), 1);
    assert_eq!(comments[0].url, format!("{}/acme/fleet/-/merge_requests/5#note_{id}", place.fake.url));
    assert!(comments[0].author.bot);
}

#[tokio::test]
async fn permissions_are_read_as_gitlab_says_them() {
    let place = Place::new(ForgeKind::Gitlab).await;
    place.fake.fix("/users", 200, json!([user("alice")]));
    for (level, state, expected) in [
        (50, "active", Permission::Admin),
        (40, "active", Permission::Admin),
        (30, "active", Permission::Write),
        (20, "active", Permission::Read),
        (10, "active", Permission::Read),
        (5, "active", Permission::None),
        (40, "blocked", Permission::None),
        (40, "awaiting", Permission::None),
    ] {
        let member = json!({ "id": 5, "username": "alice", "state": state, "access_level": level });
        place.fake.fix("/projects/acme%2Ffleet/members/all/5", 200, member);
        assert_eq!(place.client.permission(&place.repo, "Alice").await, Ok(expected), "{level} {state}");
    }
    place.fake.fix("/projects/acme%2Ffleet/members/all/5", 404, json!({ "message": "404 Not found" }));
    assert_eq!(place.client.permission(&place.repo, "alice").await, Ok(Permission::None), "no member");
    assert_eq!(place.client.permission(&place.repo, "bob").await, Ok(Permission::None), "another user than asked for");
    place.fake.fix("/users", 200, json!([]));
    assert_eq!(place.client.permission(&place.repo, "alice").await, Ok(Permission::None), "no user");
}

#[tokio::test]
async fn a_state_that_is_told_again_is_told_already() {
    let place = Place::new(ForgeKind::Gitlab).await;
    let mut status = Status {
        context: "holdfast/web".to_owned(),
        state: StatusState::Pending,
        description: "planning".to_owned(),
        url: None,
        summary: String::new(),
    };
    for _ in 0..2 {
        place.client.set_status(&place.repo, &commit('a'), &status).await.unwrap();
    }
    status.state = StatusState::Error;
    place.client.set_status(&place.repo, &commit('a'), &status).await.unwrap();
    let states: Vec<Value> = place.fake.world().statuses.iter().map(|(_, told)| told["state"].clone()).collect();
    assert_eq!(states, ["pending", "failed"]);
    // What cannot be told for another reason is an error.
    let body = "{\"message\":\"Cannot transition status via :run from :failed\"}";
    place.fake.fail("POST", "/statuses/", How::Answers(400, Vec::new(), body));
    status.state = StatusState::Success;
    let error = place.client.set_status(&place.repo, &commit('a'), &status).await.unwrap_err();
    assert!(matches!(error, ForgeError::Rejected { status: 400, .. }), "{error}");
}

#[tokio::test]
async fn what_is_quoted_commands_nobody() {
    let place = Place::new(ForgeKind::Gitlab).await;
    let body = "the title of it:\n/merge\n/assign @mallory";
    place.client.put_comment(&place.repo, 5, &mark(), body).await.unwrap();
    let issue = Issue { title: "halt", body, open: true };
    place.client.put_issue(&place.repo, &mark(), &issue, None).await.unwrap();
    let world = place.fake.world();
    for text in [&world.comments[0].body, &world.issues[0].body] {
        assert!(!text.lines().any(|line| line.starts_with('/')), "{text}");
    }
}

#[tokio::test]
async fn a_token_says_what_it_may_and_when_it_ends() {
    let place = Place::new(ForgeKind::Gitlab).await;
    let token = json!({ "id": 1, "scopes": ["api"], "active": true, "expires_at": "2026-12-01" });
    place.fake.fix("/personal_access_tokens/self", 200, token);
    let me = place.client.whoami(&place.repo).await.unwrap();
    assert_eq!((me.login.as_str(), me.scopes), (ME, Some(vec!["api".to_owned()])));
    assert_eq!(me.expires, Some("2026-12-01T00:00:00Z".parse().unwrap()));
    // Other tokens are not told about themselves.
    place.fake.fix("/personal_access_tokens/self", 404, json!({}));
    assert_eq!(place.restarted().whoami(&place.repo).await.unwrap().scopes, None);
}
