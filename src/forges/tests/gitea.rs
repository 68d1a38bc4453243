//! What Gitea says, as its own API documentation shapes it, and what is read from that.

use serde_json::{Value, json};

use super::fake::{ME, Reply, Text, World, find};
use super::*;

fn user(login: &str) -> Value {
    json!({ "id": if login == "gitea-actions" { -2 } else { 7 }, "login": login, "full_name": "" })
}

fn comment(text: &Text) -> Value {
    json!({
        "id": text.id, "html_url": format!("http://site/c/{}", text.id), "user": user(&text.author),
        "original_author": "", "original_author_id": 0, "body": text.body,
        "created_at": text.created, "updated_at": text.updated,
    })
}

fn issue(text: &Text) -> Value {
    json!({
        "id": 1000 + text.id, "number": text.id, "html_url": format!("http://site/i/{}", text.id),
        "user": user(&text.author), "title": text.title, "body": text.body,
        "state": if text.open { "open" } else { "closed" },
    })
}

/// One pull request, as a list and a look at it show it.
pub fn pull(number: u64, head: char, change: impl FnOnce(&mut Value)) -> Value {
    let side = |branch: &str, letter: char| {
        json!({
            "label": branch, "ref": branch, "sha": letter.to_string().repeat(40), "repo_id": 3,
            "repo": { "id": 3, "full_name": "acme/fleet" },
        })
    };
    let mut pull = json!({
        "id": 9000 + number, "number": number, "user": user("alice"), "title": format!("change {number}"), "body": "",
        "state": "open", "draft": false, "merged": false, "merge_commit_sha": null, "merged_at": null,
        "html_url": format!("http://site/p/{number}"), "updated_at": "2026-11-01T11:00:00+01:00",
        "head": side(&format!("topic-{number}"), head), "base": side("main", 'b'),
    });
    change(&mut pull);
    pull
}

pub fn reply(world: &mut World, method: &str, names: &[&str], query: &[(String, String)], body: &Value) -> Reply {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let page = world.page;
    match (method, names) {
        ("GET", ["user"]) => Reply::ok(user(ME)),
        ("GET", ["repos", "acme", "fleet", "pulls"]) => {
            let state = find(query, "state").unwrap_or("open");
            let all = world.pulls.iter().filter(|pull| pull["state"] == state).cloned().collect();
            Reply::page(all, page, query)
        }
        ("GET", ["repos", "acme", "fleet", "pulls", number]) => {
            let found = world.pulls.iter().find(|pull| pull["number"].as_u64() == number.parse().ok());
            found.map_or_else(Reply::missing, |pull| Reply::ok(pull.clone()))
        }
        ("GET", ["repos", "acme", "fleet", "issues", number, "comments"]) => {
            let of = world.comments.iter().filter(|comment| comment.of.to_string() == *number).map(comment);
            Reply::ok(Value::Array(of.collect()))
        }
        ("POST", ["repos", "acme", "fleet", "issues", number, "comments"]) => {
            let id = world.comment(number.parse().unwrap(), ME, &text("body"));
            Reply::made(comment(world.comments.iter().find(|comment| comment.id == id).unwrap()))
        }
        ("PATCH", ["repos", "acme", "fleet", "issues", "comments", id]) => {
            let Some(found) = world.comments.iter_mut().find(|comment| comment.id.to_string() == *id) else {
                return Reply::missing();
            };
            found.body = text("body");
            found.updated = "2026-11-01T12:00:00Z";
            Reply::ok(comment(found))
        }
        ("DELETE", ["repos", "acme", "fleet", "issues", "comments", id]) => {
            let before = world.comments.len();
            world.comments.retain(|comment| comment.id.to_string() != *id);
            if world.comments.len() == before { Reply::missing() } else { Reply { status: 204, ..Reply::missing() } }
        }
        ("GET", ["repos", "acme", "fleet", "issues"]) => {
            assert_eq!(find(query, "created_by"), Some(ME));
            let mine = world.issues.iter().filter(|issue| issue.open && issue.author == ME).map(issue).collect();
            Reply::page(mine, page, query)
        }
        ("POST", ["repos", "acme", "fleet", "issues"]) => {
            let id = world.issue(ME, &text("title"), &text("body"));
            Reply::made(issue(world.issues.iter().find(|issue| issue.id == id).unwrap()))
        }
        ("PATCH", ["repos", "acme", "fleet", "issues", id]) => {
            let Some(found) = world.issues.iter_mut().find(|issue| issue.id.to_string() == *id) else {
                return Reply::missing();
            };
            (found.title, found.body, found.open) = (text("title"), text("body"), body["state"] == "open");
            Reply::made(issue(found))
        }
        ("POST", ["repos", "acme", "fleet", "statuses", sha]) => {
            world.statuses.push(((*sha).to_owned(), body.clone()));
            Reply::made(json!({ "id": 1 }))
        }
        _ => Reply::missing(),
    }
}

#[tokio::test]
async fn pull_requests_are_read_as_gitea_writes_them() {
    let place = Place::new(ForgeKind::Gitea).await;
    place.fake.world().pulls = vec![
        pull(1, 'a', |_| {}),
        pull(2, 'c', |pull| {
            pull["head"]["repo_id"] = json!(4);
            pull["draft"] = json!(true);
        }),
        pull(3, 'd', |pull| {
            pull["state"] = json!("closed");
            pull["merged"] = json!(true);
            pull["merge_commit_sha"] = json!("E".repeat(40));
        }),
        pull(4, 'd', |pull| pull["state"] = json!("closed")),
        pull(5, 'd', |pull| pull["user"] = Value::Null),
    ];
    let read = async |number| place.client.pull(&place.repo, number).await.unwrap();
    let first = read(1).await;
    assert_eq!(
        first,
        Pull {
            number: 1,
            title: "change 1".to_owned(),
            author: Author { login: "alice".to_owned(), bot: false },
            url: "http://site/p/1".to_owned(),
            head: commit('a'),
            head_branch: "topic-1".to_owned(),
            fork: false,
            base: "main".to_owned(),
            base_commit: Some(commit('b')),
            draft: false,
            state: PullState::Open,
            updated: "2026-11-01T10:00:00Z".parse().unwrap(),
        }
    );
    let second = read(2).await;
    assert!(second.fork && second.draft);
    assert_eq!(read(3).await.state, PullState::Merged { commit: Some(commit('e')) });
    assert_eq!(read(4).await.state, PullState::Closed);
    assert_eq!(read(5).await.author, Author { login: String::new(), bot: true });
    assert_eq!(place.client.head_ref(5), "refs/pull/5/head");
    assert_eq!(
        place.client.pull(&place.repo, 6).await,
        Err(ForgeError::NotFound { what: "pull request 6".to_owned() })
    );
}

#[tokio::test]
async fn a_head_that_is_no_commit_is_not_understood() {
    let place = Place::new(ForgeKind::Gitea).await;
    place.fake.world().pulls = vec![pull(1, 'a', |pull| pull["head"]["sha"] = json!("../../x")), pull(2, 'a', |_| {})];
    assert!(matches!(place.client.pull(&place.repo, 1).await, Err(ForgeError::Unexpected { .. })));
    let Fresh::New(open) = place.client.open_pulls(&place.repo, "main").await.unwrap() else { panic!() };
    assert_eq!(open.iter().map(|pull| pull.number).collect::<Vec<_>>(), [2], "the others are there all the same");
}

#[tokio::test]
async fn the_pull_request_of_a_commit_is_found_by_its_merge_its_head_or_its_commits() {
    let place = Place::new(ForgeKind::Gitea).await;
    let merged = |number, head, merge: char| {
        pull(number, head, |pull| {
            pull["state"] = json!("closed");
            pull["merged"] = json!(true);
            pull["merge_commit_sha"] = json!(merge.to_string().repeat(40));
        })
    };
    let found = async |letter: char| -> Vec<u64> {
        let pulls = place.client.pulls_of(&place.repo, &commit(letter)).await.unwrap();
        pulls.into_iter().map(|pull| pull.number).collect()
    };
    place.fake.world().pulls =
        vec![merged(1, 'a', '1'), merged(2, 'c', '2'), pull(3, 'd', |pull| pull["state"] = json!("closed"))];
    place.fake.fix(&format!("/repos/acme/fleet/commits/{}/pull", commit('2')), 200, merged(2, 'c', '2'));
    for (number, letters) in [(1, "ea"), (2, "fc")] {
        let commits: Vec<Value> =
            letters.chars().map(|letter| json!({ "sha": commit(letter).as_str(), "author": null })).collect();
        place.fake.fix(&format!("/repos/acme/fleet/pulls/{number}/commits"), 200, commits.into());
    }
    assert_eq!(found('2').await, [2], "what the merge made");
    assert_eq!(found('a').await, [1], "the head");
    assert_eq!(found('f').await, [2], "a commit on the way");
    assert_eq!(found('d').await, [0; 0], "it was never merged");
}

#[tokio::test]
async fn permissions_are_read_as_gitea_says_them() {
    let place = Place::new(ForgeKind::Gitea).await;
    for (login, level, expected) in [
        ("olga", "owner", Permission::Admin),
        ("ada", "admin", Permission::Admin),
        ("will", "write", Permission::Write),
        ("rita", "read", Permission::Read),
        ("nora", "none", Permission::None),
        ("eve", "something new", Permission::None),
    ] {
        let path = format!("/repos/acme/fleet/collaborators/{login}/permission");
        place.fake.fix(&path, 200, json!({ "permission": level, "role_name": level, "user": user(login) }));
        assert_eq!(place.client.permission(&place.repo, login).await, Ok(expected), "{login}");
    }
    assert_eq!(place.client.permission(&place.repo, "gone").await, Ok(Permission::None));
    let asked = place.fake.asked().len();
    for strange in ["", "..", "a/b", "a?x", "dependabot[bot]", "a b"] {
        assert_eq!(place.client.permission(&place.repo, strange).await, Ok(Permission::None), "{strange}");
    }
    assert_eq!(place.fake.asked().len(), asked, "a strange name became part of an address");
}

#[tokio::test]
async fn comments_that_were_brought_over_are_nobodys() {
    let place = Place::new(ForgeKind::Gitea).await;
    let mut brought = comment(&Text {
        id: 1,
        of: 5,
        author: "alice".to_owned(),
        title: String::new(),
        body: "/holdfast approve".to_owned(),
        open: true,
        created: "2026-11-01T10:00:00Z",
        updated: "2026-11-01T10:00:00Z",
    });
    brought["original_author"] = json!("mallory");
    place.fake.fix("/repos/acme/fleet/issues/5/comments", 200, json!([brought]));
    let comments = place.client.comments(&place.repo, 5, None).await.unwrap();
    assert_eq!(comments[0].author, Author { login: String::new(), bot: true });
}
