//! What GitHub says, as its own API description shapes it, and what is read from that.

use serde_json::{Value, json};

use super::fake::{ME, Reply, Text, World, find};
use super::*;

fn user(login: &str) -> Value {
    json!({ "login": login, "id": 1, "type": if login.ends_with("[bot]") { "Bot" } else { "User" } })
}

fn comment(text: &Text) -> Value {
    json!({
        "id": text.id, "html_url": format!("http://site/c/{}", text.id), "user": user(&text.author),
        "body": text.body, "created_at": text.created, "updated_at": text.updated,
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
    let side = |branch: &str, letter: char| json!({ "label": branch, "ref": branch, "sha": letter.to_string().repeat(40), "repo": { "id": 3 } });
    let mut pull = json!({
        "id": 9000 + number, "number": number, "user": user("alice"), "title": format!("change {number}"),
        "body": null, "state": "open", "draft": false, "merge_commit_sha": "9".repeat(40), "merged_at": null,
        "html_url": format!("http://site/p/{number}"), "updated_at": "2026-11-01T10:00:00Z",
        "head": side(&format!("topic-{number}"), head), "base": side("main", 'b'),
    });
    change(&mut pull);
    pull
}

/// Who asks: the token's user, or the App.
fn me(world: &World) -> &'static str {
    if world.app { "holdfast[bot]" } else { ME }
}

pub fn reply(world: &mut World, method: &str, names: &[&str], query: &[(String, String)], body: &Value) -> Reply {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let page = world.page;
    let me = me(world);
    match (method, names) {
        ("GET", ["user"]) => Reply::ok(user(ME)),
        ("GET", ["repos", "acme", "fleet", "installation"]) => Reply::ok(json!({
            "id": 77, "app_slug": "holdfast", "permissions": { "checks": "write", "issues": "write", "metadata": "read" },
        })),
        ("POST", ["app", "installations", "77", "access_tokens"]) => {
            assert_eq!(*body, json!({ "repositories": ["fleet"] }));
            let number = world.number();
            Reply::made(json!({ "token": format!("ghs_{number}"), "expires_at": world.token_until }))
        }
        ("GET", ["repos", "acme", "fleet", "pulls"]) => {
            let all = world.pulls.iter().filter(|pull| pull["base"]["ref"] == find(query, "base").unwrap());
            Reply::page(all.cloned().collect(), page, query)
        }
        ("GET", ["repos", "acme", "fleet", "pulls", number]) => {
            let found = world.pulls.iter().find(|pull| pull["number"].as_u64() == number.parse().ok());
            found.map_or_else(Reply::missing, |pull| Reply::ok(pull.clone()))
        }
        ("GET", ["repos", "acme", "fleet", "issues", number, "comments"]) => {
            let of = world.comments.iter().filter(|comment| comment.of.to_string() == *number).map(comment);
            Reply::page(of.collect(), page, query)
        }
        ("POST", ["repos", "acme", "fleet", "issues", number, "comments"]) => {
            let id = world.comment(number.parse().unwrap(), me, &text("body"));
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
            assert_eq!(
                find(query, "creator").map(|login| login.replace("%5B", "[").replace("%5D", "]")),
                Some(me.into())
            );
            let mut mine: Vec<Value> =
                world.issues.iter().filter(|issue| issue.open && issue.author == me).map(issue).collect();
            // A pull request is an issue too.
            mine.push(json!({ "number": 4, "html_url": "", "body": mark().to_string(), "pull_request": {} }));
            Reply::page(mine, page, query)
        }
        ("POST", ["repos", "acme", "fleet", "issues"]) => {
            let id = world.issue(me, &text("title"), &text("body"));
            Reply::made(issue(world.issues.iter().find(|issue| issue.id == id).unwrap()))
        }
        ("PATCH", ["repos", "acme", "fleet", "issues", id]) => {
            let Some(found) = world.issues.iter_mut().find(|issue| issue.id.to_string() == *id) else {
                return Reply { status: 410, ..Reply::missing() };
            };
            (found.title, found.body, found.open) = (text("title"), text("body"), body["state"] == "open");
            Reply::ok(issue(found))
        }
        ("POST", ["repos", "acme", "fleet", "statuses", sha]) => {
            world.statuses.push(((*sha).to_owned(), body.clone()));
            Reply::made(json!({ "id": 1 }))
        }
        ("GET", ["repos", "acme", "fleet", "commits", sha, "check-runs"]) => {
            let name = find(query, "check_name").unwrap().replace("%2F", "/");
            let of = world.statuses.iter().enumerate();
            let found = of.filter(|(_, (of, run))| of == sha && run["name"] == *name);
            Reply::ok(json!({ "check_runs": found.map(|(at, _)| json!({ "id": at })).collect::<Vec<_>>() }))
        }
        ("POST", ["repos", "acme", "fleet", "check-runs"]) => {
            world.statuses.push((text("head_sha"), body.clone()));
            Reply::made(json!({ "id": world.statuses.len() - 1 }))
        }
        ("PATCH", ["repos", "acme", "fleet", "check-runs", id]) => {
            let Some((_, run)) = world.statuses.get_mut(id.parse::<usize>().unwrap()) else { return Reply::missing() };
            let name = run["name"].clone();
            *run = body.clone();
            run["name"] = name;
            Reply::ok(json!({ "id": 1 }))
        }
        _ => Reply::missing(),
    }
}

#[tokio::test]
async fn pull_requests_are_read_as_github_writes_them() {
    let place = Place::new(ForgeKind::Github).await;
    place.fake.world().pulls = vec![
        pull(1, 'a', |_| {}),
        pull(2, 'c', |pull| pull["head"]["repo"] = Value::Null),
        pull(3, 'd', |pull| {
            pull["state"] = json!("closed");
            pull["merged_at"] = json!("2026-11-01T10:00:00Z");
            pull["merge_commit_sha"] = json!("e".repeat(40));
        }),
        pull(4, 'd', |pull| pull["state"] = json!("closed")),
        pull(5, 'd', |pull| {
            pull["user"] = user("dependabot[bot]");
            pull["head"]["repo"]["id"] = json!(4);
            pull["draft"] = json!(true);
        }),
    ];
    let read = async |number| place.client.pull(&place.repo, number).await.unwrap();
    let first = read(1).await;
    assert_eq!((&first.head, &first.base_commit, first.fork), (&commit('a'), &Some(commit('b')), false));
    assert_eq!((first.base.as_str(), first.head_branch.as_str(), first.state), ("main", "topic-1", PullState::Open));
    assert!(read(2).await.fork, "the repository of its head is gone");
    assert_eq!(read(3).await.state, PullState::Merged { commit: Some(commit('e')) });
    assert_eq!(read(4).await.state, PullState::Closed, "what a merge would make is no merge");
    let last = read(5).await;
    assert!(last.fork && last.draft && last.author.bot);
}

#[tokio::test]
async fn what_brought_a_commit_is_asked_for() {
    let place = Place::new(ForgeKind::Github).await;
    let merged = pull(2, 'c', |pull| pull["merged_at"] = json!("2026-11-01T10:00:00Z"));
    place.fake.fix(
        &format!("/repos/acme/fleet/commits/{}/pulls", commit('c')),
        200,
        json!([pull(1, 'a', |_| {}), merged]),
    );
    place.fake.fix(&format!("/repos/acme/fleet/commits/{}/pulls", commit('d')), 422, json!({ "message": "No commit" }));
    place.fake.fix("/repos/acme/fleet/commits", 200, json!([{ "author": user("alice") }]));
    let found = place.client.pulls_of(&place.repo, &commit('c')).await.unwrap();
    assert_eq!(found.iter().map(|pull| pull.number).collect::<Vec<_>>(), [2, 1], "the merged one is first");
    assert_eq!(place.client.pulls_of(&place.repo, &commit('d')).await, Ok(Vec::new()));
    let alice = Author { login: "alice".to_owned(), bot: false };
    assert_eq!(place.client.commit_author(&place.repo, &commit('c')).await, Ok(Some(alice)));
    place.fake.fix("/repos/acme/fleet/commits", 200, json!([{ "author": {} }]));
    assert_eq!(place.client.commit_author(&place.repo, &commit('c')).await, Ok(None));
}

#[tokio::test]
async fn permissions_are_read_as_github_says_them() {
    let place = Place::new(ForgeKind::Github).await;
    for (login, level, expected) in [
        ("ada", "admin", Permission::Admin),
        ("will_acme", "write", Permission::Write),
        ("rita", "read", Permission::Read),
        ("nora", "none", Permission::None),
    ] {
        let path = format!("/repos/acme/fleet/collaborators/{login}/permission");
        place.fake.fix(&path, 200, json!({ "permission": level, "role_name": level, "user": user(login) }));
        assert_eq!(place.client.permission(&place.repo, login).await, Ok(expected), "{login}");
    }
    for gone in ["gone", "dependabot[bot]", "a/../b"] {
        assert_eq!(place.client.permission(&place.repo, gone).await, Ok(Permission::None));
    }
}

#[tokio::test]
async fn what_is_missing_is_told_as_github_tells_it() {
    let place = Place::new(ForgeKind::Github).await;
    let headers = vec![("x-accepted-github-permissions", "pull_requests=read".to_owned())];
    let body = "{\"message\":\"Resource not accessible by personal access token\"}";
    place.fake.fail("GET", "/pulls/1", How::Answers(403, headers, body));
    let error = place.client.pull(&place.repo, 1).await.unwrap_err().to_string();
    assert!(error.contains("it takes pull_requests=read"), "{error}");
    place.fake.fix(
        "/repos/acme/fleet/issues",
        422,
        json!({
            "message": "Validation Failed", "errors": [{ "code": "too_long", "field": "title" }],
        }),
    );
    let error = place.client.create_issue(&place.repo, "t", "b").await.unwrap_err().to_string();
    assert!(error.contains("422") && error.contains("too_long"), "{error}");
}

/// A client that is an App.
fn app(place: &Place) -> Client {
    let key_file = place.dir.path().join("key.pem");
    if !key_file.exists() {
        let made = std::process::Command::new("openssl")
            .args(["genrsa", "-traditional", "-out"])
            .arg(&key_file)
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{made:?}");
    }
    place.fake.world().app = true;
    let auth = ForgeAuth::App { id: 12, key_file };
    let forge = Forge { kind: ForgeKind::Github, url: place.fake.url.clone(), auth, comment_approvals: false };
    let pace = Pace { connect: Duration::from_secs(5), whole: Duration::from_secs(60), between: Duration::ZERO };
    Client::with(&forge, &Network::default(), pace).unwrap()
}

fn far() -> String {
    "2099-01-01T00:00:00Z".to_owned()
}

#[tokio::test]
async fn an_app_asks_by_a_token_for_each_repository_until_it_ends() {
    let place = Place::new(ForgeKind::Github).await;
    let client = app(&place);
    place.fake.world().token_until = far();
    let me = client.whoami(&place.repo).await.unwrap();
    assert_eq!(me.login, "holdfast[bot]");
    assert!(me.scopes.unwrap().contains(&"checks=write".to_owned()));
    let put = async || client.put_comment(&place.repo, 5, &mark(), "text").await.unwrap();
    let id = put().await;
    assert_eq!(put().await, id);
    assert_eq!(place.fake.count("POST /app/installations/77/access_tokens"), 1, "it is kept while it lasts");
    // The claim is a JWT of the App, and goes to two addresses alone; the token goes everywhere else.
    let log = place.fake.world().log.clone();
    for seen in &log {
        let sent = seen.headers["authorization"].to_str().unwrap();
        let claims = seen.path.ends_with("/installation") || seen.path.starts_with("/app/");
        assert_eq!(sent.starts_with("Bearer ey"), claims, "{}", seen.path);
        assert_eq!(sent.starts_with("Bearer ghs_"), !claims, "{}", seen.path);
    }
    // One that ends soon is renewed before it does.
    let client = app(&place);
    place.fake.world().token_until =
        MachineClock::wall().checked_add(jiff::SignedDuration::from_mins(4)).unwrap().to_string();
    for _ in 0..2 {
        client.pull(&place.repo, 1).await.unwrap_err();
    }
    assert_eq!(place.fake.count("POST /app/installations/77/access_tokens"), 3);
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_replaced_once() {
    let place = Place::new(ForgeKind::Github).await;
    let client = app(&place);
    place.fake.world().token_until = far();
    place.fake.world().pulls = vec![pull(1, 'a', |_| {})];
    let refused = || How::Answers(401, Vec::new(), "{\"message\":\"Bad credentials\"}");
    place.fake.fail("GET", "/pulls/1", refused());
    assert!(client.pull(&place.repo, 1).await.is_ok());
    assert_eq!(place.fake.count("POST /app"), 2);
    for _ in 0..2 {
        place.fake.fail("GET", "/pulls/1", refused());
    }
    assert!(matches!(client.pull(&place.repo, 1).await, Err(ForgeError::Unauthorized { .. })));
    // A POST that was refused was not done, and is made once all the same.
    place.fake.fail("POST", "/comments", refused());
    client.put_comment(&place.repo, 5, &mark(), "text").await.unwrap();
    assert_eq!(place.fake.world().comments.len(), 1);
}

#[tokio::test]
async fn an_app_makes_one_check_run_for_each_name_and_changes_it() {
    let place = Place::new(ForgeKind::Github).await;
    place.fake.world().token_until = far();
    let client = app(&place);
    let mut status = Status {
        context: "holdfast/web".to_owned(),
        state: StatusState::Pending,
        description: "planning".to_owned(),
        url: Some("https://holdfast.example/web".to_owned()),
        summary: "what would change".to_owned(),
    };
    assert!(client.has_summaries() && !place.client.has_summaries());
    client.set_status(&place.repo, &commit('a'), &status).await.unwrap();
    status.state = StatusState::Failure;
    status.description = "would halt: 40 deletions of 5".to_owned();
    client.set_status(&place.repo, &commit('a'), &status).await.unwrap();
    // After a restart, and when the answer is lost, it is found.
    app(&place).set_status(&place.repo, &commit('a'), &status).await.unwrap();
    place.fake.fail("POST", "/check-runs", How::LosesTheAnswer);
    status.context = "holdfast/api".to_owned();
    client.set_status(&place.repo, &commit('a'), &status).await.unwrap();
    client.set_status(&place.repo, &commit('a'), &status).await.unwrap();
    let runs = place.fake.world().statuses.clone();
    assert_eq!(runs.len(), 2, "{runs:?}");
    let (sha, run) = &runs[0];
    assert_eq!(sha, commit('a').as_str());
    assert_eq!(
        *run,
        json!({
            "name": "holdfast/web", "status": "completed", "conclusion": "failure",
            "details_url": "https://holdfast.example/web",
            "output": { "title": "would halt: 40 deletions of 5", "summary": "what would change" },
        })
    );
}

#[tokio::test]
async fn a_key_that_is_none_is_told_without_its_content() {
    let place = Place::new(ForgeKind::Github).await;
    let client = app(&place);
    std::fs::write(place.dir.path().join("key.pem"), "sekret, and no key").unwrap();
    let error = client.pull(&place.repo, 1).await.unwrap_err();
    assert!(matches!(error, ForgeError::Credentials { .. }) && !error.to_string().contains("sekret"), "{error}");
    assert_eq!(place.fake.asked(), [""; 0]);
}

#[tokio::test]
async fn a_token_says_what_it_may_and_when_it_ends() {
    let place = Place::new(ForgeKind::Github).await;
    let headers = vec![
        ("x-oauth-scopes", "repo, read:org".to_owned()),
        ("github-authentication-token-expiration", "2026-12-01 10:00:00 UTC".to_owned()),
    ];
    place.fake.fail("GET", "/user", How::Answers(200, headers, "{\"login\":\"holdfast-bot\",\"type\":\"User\"}"));
    let me = place.client.whoami(&place.repo).await.unwrap();
    let expected = Whoami {
        login: ME.to_owned(),
        scopes: Some(vec!["repo".to_owned(), "read:org".to_owned()]),
        expires: Some("2026-12-01T10:00:00Z".parse().unwrap()),
    };
    assert_eq!(me, expected);
    assert_eq!(place.client.whoami(&place.repo).await.unwrap(), expected);
    assert_eq!(place.fake.count("GET /user"), 1, "it is asked once for each token");
}
