//! What credentials are good for on GitLab: a token's scopes, and what its user may.

use serde::Deserialize;

use super::super::check::{Feature, Right};
use super::super::error::ForgeError;
use super::super::model::Whoami;
use super::super::repo::Repo;
use super::{Gitlab, at};

impl Gitlab {
    /// Says what works, from the token's scopes and what its user may.
    pub async fn rights(&self, repo: &Repo, me: &Whoami) -> Result<Vec<Right>, ForgeError> {
        let about: About = self.reach.get(repo, at(repo), &repo.path).await?;
        let levels = [about.permissions.project_access, about.permissions.group_access];
        let level = levels.into_iter().flatten().map(|access| access.access_level).max().unwrap_or(0);
        let scoped = |names: &[&str]| {
            let scopes = me.scopes.as_deref()?;
            Some(scopes.iter().any(|scope| names.contains(&scope.as_str())))
        };
        let both = |may: bool, scope: Option<bool>| if may { scope } else { Some(false) };
        let on = |access: &str| access != "disabled";
        let (merges, issues) = (on(&about.merge_requests_access_level), on(&about.issues_access_level));
        Ok(vec![
            Right::new(
                Feature::Pulls,
                both(merges, scoped(&["api", "read_api"])),
                "merge requests turned on, and the scope `api`",
            ),
            Right::new(Feature::Comments, both(merges, scoped(&["api"])), "the scope `api`"),
            Right::new(
                Feature::Statuses,
                both(level >= 30, scoped(&["api"])),
                "the role of a developer, and the scope `api`",
            ),
            Right::new(
                Feature::Issues,
                both(issues && level >= 10, scoped(&["api"])),
                "issues turned on, membership, and the scope `api`",
            ),
            Right::new(
                Feature::Approvals,
                both(level >= 10, scoped(&["api", "read_api"])),
                "membership, and the scope `api`",
            ),
        ])
    }
}

#[derive(Deserialize)]
struct About {
    #[serde(default)]
    permissions: Accesses,
    #[serde(default)]
    issues_access_level: String,
    #[serde(default)]
    merge_requests_access_level: String,
}

#[derive(Deserialize, Default)]
struct Accesses {
    project_access: Option<Access>,
    group_access: Option<Access>,
}

#[derive(Deserialize)]
struct Access {
    access_level: u32,
}
