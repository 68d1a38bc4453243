//! What is told about credentials, and that looking changes nothing.

use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-11-20T00:00:00Z".parse().unwrap()
}

/// A place whose token may comment approvals be asked for, and what is found there.
async fn found(place: &Place) -> Vec<(Fits, String, String)> {
    let auth = ForgeAuth::Token(place.dir.path().join("token"));
    let (kind, url) = (place.client.kind(), place.fake.url.clone());
    let forge = Forge { kind, url, auth, comment_approvals: true };
    let client =
        Client::with(&forge, &Network::default(), Pace { between: Duration::ZERO, ..Pace::default() }).unwrap();
    let findings = client.check(&place.repo, now()).await;
    assert!(place.fake.world().comments.is_empty() && place.fake.world().issues.is_empty());
    assert!(place.fake.world().statuses.is_empty(), "something was written");
    findings.into_iter().map(|finding| (finding.fits, finding.what, finding.advice)).collect()
}

/// Returns what a finding of these words is.
#[track_caller]
fn fits(found: &[(Fits, String, String)], words: &str) -> Fits {
    let of: Vec<_> = found.iter().filter(|(_, what, _)| what.contains(words)).collect();
    assert_eq!(of.len(), 1, "{words:?}: {found:#?}");
    assert_eq!(of[0].0 == Fits::Works, of[0].2.is_empty(), "what to do: {:?}", of[0]);
    of[0].0
}

const REFUSED: &str = "{\"message\":\"token does not have at least one of required scope(s)\"}";

#[tokio::test]
async fn the_scopes_of_a_token_of_gitea_are_heard_from_what_is_refused() {
    let place = Place::new(ForgeKind::Gitea).await;
    let may = |admin: bool, push: bool| {
        json!({
            "permissions": { "admin": admin, "push": push, "pull": true }, "has_issues": true, "has_pull_requests": true,
        })
    };
    place.fake.fix("/repos/acme/fleet", 200, may(true, true));
    let all = found(&place).await;
    assert!(all.iter().all(|(fits, _, _)| *fits == Fits::Works) && all.len() == 6, "{all:#?}");
    place.fake.fix("/repos/acme/fleet", 200, may(false, true));
    for path in ["/issues/comments/0", "/releases/0", "/fleet/issues/0"] {
        place.fake.fail("PATCH", path, How::Answers(403, Vec::new(), REFUSED));
    }
    let some = found(&place).await;
    for missing in ["no comments", "no statuses", "no issues", "nobody's permission"] {
        assert_eq!(fits(&some, missing), Fits::Missing);
    }
    assert_eq!(fits(&some, "pull requests can be read"), Fits::Works);
    // That nobody else's permission is told matters only where comments approve.
    let unasked = place.client.check(&place.repo, now()).await;
    assert!(!unasked.iter().any(|finding| finding.what.contains("permission")), "{unasked:#?}");
    place.fake.fix("/repos/acme/fleet", 200, may(true, false));
    assert_eq!(fits(&found(&place).await, "no statuses"), Fits::Missing);
}

#[tokio::test]
async fn a_token_of_github_says_its_scopes_or_is_heard_to_be_refused() {
    let place = Place::new(ForgeKind::Github).await;
    let about = json!({ "private": true, "has_issues": true, "permissions": { "push": true, "pull": true } });
    place.fake.fix("/repos/acme/fleet", 200, about);
    let user = "{\"login\":\"holdfast-bot\",\"type\":\"User\"}";
    let scoped = |scopes: &str| How::Answers(200, vec![("x-oauth-scopes", scopes.to_owned())], user);
    place.fake.fail("GET", "/user", scoped("repo"));
    assert!(found(&place).await.iter().all(|(fits, _, _)| *fits == Fits::Works));
    place.fake.fail("GET", "/user", scoped("repo:status, public_repo"));
    let some = found(&place).await;
    assert_eq!(fits(&some, "statuses can be set"), Fits::Works);
    assert_eq!((fits(&some, "no comments"), fits(&some, "no issues")), (Fits::Missing, Fits::Missing));
    // A fine-grained one.
    place.fake.fail("POST", "/statuses/0000", How::Answers(403, Vec::new(), REFUSED));
    place.fake.fail("POST", "/statuses/0000", How::Answers(422, Vec::new(), "{}"));
    let fine = found(&place).await;
    assert_eq!(fits(&fine, "no statuses"), Fits::Missing);
    assert_eq!(fits(&fine, "whether pull requests can be commented"), Fits::Unsure);
    assert_eq!(fits(&found(&place).await, "whether statuses can be set"), Fits::Unsure);
}

#[tokio::test]
async fn a_token_of_gitlab_says_its_scopes_and_its_members_their_levels() {
    let place = Place::new(ForgeKind::Gitlab).await;
    let about = |level: u32| {
        json!({
            "issues_access_level": "enabled", "merge_requests_access_level": "enabled",
            "permissions": { "project_access": null, "group_access": { "access_level": level } },
        })
    };
    let token = |scope: &str| json!({ "scopes": [scope], "expires_at": "2026-11-30" });
    place.fake.fix("/projects/acme%2Ffleet", 200, about(30));
    place.fake.fix("/personal_access_tokens/self", 200, token("api"));
    let all = found(&place).await;
    assert_eq!(fits(&all, "the token ends at 2026-11-30"), Fits::Unsure);
    assert_eq!(all.iter().filter(|(fits, _, _)| *fits == Fits::Works).count(), 6, "{all:#?}");
    place.fake.fix("/projects/acme%2Ffleet", 200, about(20));
    assert_eq!(fits(&found(&place).await, "no statuses"), Fits::Missing);
    place.fake.fix("/personal_access_tokens/self", 200, token("read_api"));
    let read = found(&place).await;
    assert_eq!((fits(&read, "can be read"), fits(&read, "no comments")), (Fits::Works, Fits::Missing));
}

#[tokio::test]
async fn what_cannot_be_asked_is_one_finding() {
    for kind in KINDS {
        let place = Place::new(kind).await;
        place.fake.fail("GET", "/user", How::Answers(401, Vec::new(), "{}"));
        let refused = found(&place).await;
        assert_eq!(refused.len(), 1, "{refused:#?}");
        assert!(refused[0].1.contains("refuses the credentials") && refused[0].2.contains("renew"), "{refused:?}");
        // The repository is not there, or not for us.
        let unseen = found(&place).await;
        assert_eq!(fits(&unseen, "acme/fleet cannot be read"), Fits::Missing);
    }
}
