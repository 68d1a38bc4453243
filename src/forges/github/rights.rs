//! What credentials are good for on GitHub: an App's rights, a token's scopes, or what it is refused.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::ask::Ask;
use super::super::check::{Feature, Right};
use super::super::error::ForgeError;
use super::super::model::Whoami;
use super::super::repo::Repo;
use super::{Github, at};

impl Github {
    /// Says what works, from an App's rights, or from a token's scopes and what its user may.
    pub async fn rights(&self, repo: &Repo, me: &Whoami) -> Result<Vec<Right>, ForgeError> {
        let about: About = self.reach.get(repo, at(repo), &repo.path).await?;
        let scopes = me.scopes.as_deref();
        let has = |all: &[&str]| scopes.is_some_and(|scopes| scopes.iter().any(|scope| all.contains(&scope.as_str())));
        let right = |feature, granted, takes: &str| Right::new(feature, granted, takes);
        if self.reach.app().is_some() {
            return Ok(vec![
                right(
                    Feature::Pulls,
                    Some(has(&["pull_requests=read", "pull_requests=write"])),
                    "`pull_requests: read`",
                ),
                right(
                    Feature::Comments,
                    Some(has(&["pull_requests=write", "issues=write"])),
                    "`pull_requests: write`, or `issues: write`",
                ),
                right(Feature::Statuses, Some(has(&["checks=write"])), "`checks: write`"),
                right(
                    Feature::Issues,
                    Some(about.has_issues && has(&["issues=write"])),
                    "`issues: write`, and issues turned on in the repository",
                ),
                right(Feature::Approvals, Some(has(&["metadata=read"])), "`metadata: read`"),
            ]);
        }
        let pushes = about.permissions.push;
        let classic = if about.private { vec!["repo"] } else { vec!["repo", "public_repo"] };
        let both = |may: bool, scope: Option<bool>| if may { scope } else { Some(false) };
        let scoped = scopes.filter(|scopes| !scopes.is_empty());
        // A fine-grained token has no scopes, and what it may is heard only when it may not: no comment or issue has the number 0.
        let refused = async |ask: Ask| self.reach.would_permit(repo, ask).await.filter(|permitted| !permitted);
        let (comments, status, issues) = if scoped.is_some() {
            let write = has(&classic);
            (Some(write), Some(write || has(&["repo:status"])), Some(write))
        } else {
            let zeros = "0".repeat(40);
            let status = json!({ "state": "pending", "context": "holdfast/doctor" });
            let change = |path: &str, body: Value| Ask::patch(format!("{}/{path}", at(repo)), body, "nothing");
            (
                refused(change("issues/comments/0", json!({ "body": "x" }))).await,
                refused(Ask::post(format!("{}/statuses/{zeros}", at(repo)), status, "nothing")).await,
                refused(change("issues/0", json!({}))).await,
            )
        };
        Ok(vec![
            right(
                Feature::Pulls,
                Some(about.permissions.pull),
                "`repo`, or `Pull requests: read` of a fine-grained token",
            ),
            right(Feature::Comments, comments, "`repo`, or `Pull requests: write` of a fine-grained token"),
            right(
                Feature::Statuses,
                both(pushes, status),
                "write access to the repository, and `repo:status`, or `Commit statuses: write` of a fine-grained token",
            ),
            right(
                Feature::Issues,
                both(about.has_issues, issues),
                "issues turned on, and `repo`, or `Issues: write` of a fine-grained token",
            ),
            right(Feature::Approvals, Some(pushes), "write access to the repository"),
        ])
    }
}

#[derive(Deserialize)]
struct About {
    private: bool,
    has_issues: bool,
    #[serde(default)]
    permissions: May,
}

#[derive(Deserialize, Default)]
struct May {
    #[serde(default)]
    push: bool,
    #[serde(default)]
    pull: bool,
}
