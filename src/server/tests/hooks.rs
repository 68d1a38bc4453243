//! Webhooks.

use super::*;

#[test]
fn a_delivery_wakes_once() {
    let world = World::new();
    assert_eq!(world.push("hub", "one", "{}").json()["duplicate"], false);
    assert_eq!(world.asked(), ["wake all"]);
    assert_eq!(world.push("hub", "one", "{}").json()["duplicate"], true);
    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.push("hub", "two", "{}").status, 202);
    assert_eq!(world.asked(), ["wake all"]);
}

#[test]
fn a_delivery_without_proof_is_refused_without_saying_why() {
    let world = World::new();
    let signed_other = format!("sha256={}", hmac("hub", "{\"other\":1}"));
    let refused = [
        world.push("wrong", "id", "{}"),
        world.push("", "id", "{}"),
        world.ask("POST", "/hooks/github", &[("X-GitHub-Delivery", "id")], "{}"),
        world.ask(
            "POST",
            "/hooks/github",
            &[("X-GitHub-Delivery", "id"), ("X-Hub-Signature-256", &signed_other)],
            "{}",
        ),
        world.ask("POST", "/hooks/github", &[("X-GitHub-Delivery", "id"), ("X-Hub-Signature", "sha1=00")], "{}"),
        world.ask("POST", "/hooks/gitlab", &[("X-Gitlab-Token", "hub")], "{}"),
        world.ask("POST", "/hooks/gitlab", &[], "{}"),
    ];
    for answer in refused {
        assert_eq!((answer.status, answer.body.as_str()), (401, "{\"error\":\"refused\"}"));
    }
    // No secret is configured for it, or it is no service: they look alike.
    assert_eq!(world.ask("POST", "/hooks/gitea", &[("X-Gitea-Signature", &hmac("", "{}"))], "{}").status, 404);
    assert_eq!(world.ask("POST", "/hooks/bitbucket", &[], "{}").status, 404);
    assert_eq!(world.asked(), Vec::<String>::new());
    // What was refused used up no id.
    assert_eq!(world.push("hub", "id", "{}").json()["duplicate"], false);
    let unnamed = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", signed_other.as_str())];
    assert_eq!(world.ask("POST", "/hooks/github", &unnamed, "{\"other\":1}").status, 400, "it has no id");
}

#[test]
fn a_ping_wakes_nothing_and_gitlab_is_known_by_its_token() {
    let world = World::new();
    let signature = format!("sha256={}", hmac("hub", "{}"));
    let ping = [("X-GitHub-Event", "ping"), ("X-Hub-Signature-256", signature.as_str())];
    assert_eq!(world.ask("POST", "/hooks/github", &ping, "{}").status, 200);
    assert_eq!(world.asked(), Vec::<String>::new());
    for (id, duplicate) in [("a", false), ("b", false), ("a", true)] {
        let headers = [("X-Gitlab-Token", "lab"), ("Idempotency-Key", id)];
        assert_eq!(
            world.ask("POST", "/hooks/gitlab", &headers, "{\"object_kind\":\"push\"}").json()["duplicate"],
            duplicate,
            "{id}"
        );
    }
    // Without an id, the body is it.
    for (body, duplicate) in [("1", false), ("1", true), ("2", false)] {
        let body = format!("{{\"object_kind\":\"push\",\"after\":{body}}}");
        let answer = world.ask("POST", "/hooks/gitlab", &[("X-Gitlab-Token", "lab")], &body);
        assert_eq!(answer.json()["duplicate"], duplicate);
    }
}

#[test]
fn a_delivery_that_cannot_be_remembered_is_asked_for_again() {
    let world = World::new();
    assert_eq!(world.push("hub", "broken", "{}").status, 503);
    assert_eq!(world.asked(), Vec::<String>::new());
}

#[test]
fn a_secret_is_replaced_while_it_runs() {
    let world = World::new();
    assert_eq!(world.push("new", "one", "{}").status, 401);
    std::fs::write(world.dir.path().join("next"), "new\nhub\n").unwrap();
    std::fs::rename(world.dir.path().join("next"), world.dir.path().join("github")).unwrap();
    assert_eq!(world.push("new", "one", "{}").status, 202);
    assert_eq!(world.push("hub", "two", "{}").status, 202);
    std::fs::write(world.dir.path().join("next"), "new\n").unwrap();
    std::fs::rename(world.dir.path().join("next"), world.dir.path().join("github")).unwrap();
    assert_eq!(world.push("hub", "three", "{}").status, 401);
    std::fs::remove_file(world.dir.path().join("github")).unwrap();
    assert_eq!(world.push("new", "four", "{}").status, 401, "a secret that is gone lets nobody in");
}

#[test]
fn a_delivery_wakes_for_its_repository_and_only_if_its_event_matters() {
    let world = World::new();
    let send = |event: &str, id: &str, body: &str| {
        let signature = format!("sha256={}", hmac("hub", body));
        let headers = [("X-GitHub-Event", event), ("X-GitHub-Delivery", id), ("X-Hub-Signature-256", &signature)];
        world.ask("POST", "/hooks/github", &headers, body).status
    };
    let body = |action: &str| format!("{{\"action\":\"{action}\",\"repository\":{{\"full_name\":\"acme/fleet\"}}}}");
    assert_eq!(send("push", "1", "{\"repository\":{\"full_name\":\"acme/fleet\"}}"), 202);
    assert_eq!(send("pull_request", "2", &body("synchronize")), 202);
    assert_eq!(send("issue_comment", "3", &body("created")), 202);
    assert_eq!(world.asked(), ["wake acme/fleet", "wake acme/fleet", "wake acme/fleet"]);
    assert_eq!(send("issue_comment", "4", &body("edited")), 202);
    assert_eq!(send("star", "5", &body("created")), 202);
    // Signed, and no delivery all the same: refused without detail.
    assert_eq!(send("push", "6", "payload=%7B%7D"), 400);
    let answer = world.push("hub", "7", "[]");
    assert_eq!((answer.status, answer.body.as_str()), (400, "{\"error\":\"refused\"}"));
    assert_eq!(world.asked(), Vec::<String>::new());
    // What was refused used up no id.
    assert_eq!(world.push("hub", "6", "{}").json()["duplicate"], false);
}
