//! What credentials are good for on Gitea: what the user may, and what the token is refused.

use serde::Deserialize;
use serde_json::json;

use super::super::ask::Ask;
use super::super::check::{Feature, Right};
use super::super::error::ForgeError;
use super::super::repo::Repo;
use super::{Gitea, at};

impl Gitea {
    /// Says what works: from what the user may, and of the token's scopes, which nobody tells, from what is refused. No comment,
    /// issue or release has the number 0.
    pub async fn rights(&self, repo: &Repo) -> Result<Vec<Right>, ForgeError> {
        let about: About = self.reach.get(repo, at(repo), &repo.path).await?;
        let may = about.permissions;
        let would = async |what: &str| {
            self.reach
                .would_permit(repo, Ask::patch(format!("{}/{what}/0", at(repo)), json!({ "body": "" }), what))
                .await
        };
        let statuses = if may.push { would("releases").await } else { Some(false) };
        let issues = if about.has_issues { would("issues").await } else { Some(false) };
        Ok(vec![
            Right::new(
                Feature::Pulls,
                Some(may.pull && about.has_pull_requests),
                "pull requests turned on, and the scope `read:repository`",
            ),
            Right::new(Feature::Comments, would("issues/comments").await, "the scope `write:issue`"),
            Right::new(Feature::Statuses, statuses, "write access to the repository, and the scope `write:repository`"),
            Right::new(Feature::Issues, issues, "issues turned on, and the scope `write:issue`"),
            Right::new(Feature::Approvals, Some(may.admin), "administration of the repository: nobody else is told"),
        ])
    }
}

#[derive(Deserialize)]
struct About {
    permissions: May,
    #[serde(default)]
    has_issues: bool,
    #[serde(default)]
    has_pull_requests: bool,
}

#[derive(Deserialize)]
struct May {
    admin: bool,
    push: bool,
    pull: bool,
}
