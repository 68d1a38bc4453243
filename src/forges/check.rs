//! What the credentials are good for, asked without changing anything: what works, what does not, and what the service does not say.

use jiff::{SignedDuration, Timestamp};

use super::error::ForgeError;
use super::model::{Finding, Fits};
use super::repo::Repo;
use super::{Client, Service};

/// A token that ends within this is told of.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What a hosting service is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Feature {
    /// Plans of open pull requests.
    Pulls,
    /// Comments on them.
    Comments,
    /// Statuses or check runs of commits.
    Statuses,
    /// Issues, where no pull request brought a culprit.
    Issues,
    /// Approvals by comment.
    Approvals,
}

impl Feature {
    const fn works(self) -> &'static str {
        match self {
            Self::Pulls => "pull requests can be read",
            Self::Comments => "pull requests can be commented",
            Self::Statuses => "statuses can be set",
            Self::Issues => "issues can be opened and closed",
            Self::Approvals => "people's permissions can be asked for, as approvals by comment need",
        }
    }

    const fn missing(self) -> &'static str {
        match self {
            Self::Pulls => "pull requests cannot be read, so none shows what it would change",
            Self::Comments => "no comments: pull requests tell neither plans nor halts",
            Self::Statuses => "no statuses: nothing on a commit says whether it passes",
            Self::Issues => "no issues: a halt that no pull request brought is told by alerts and pages alone",
            Self::Approvals => "nobody's permission can be asked for, so no comment approves anything",
        }
    }
}

/// Whether one feature works: `None` is that the service does not say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Right {
    pub(super) feature: Feature,
    pub(super) granted: Option<bool>,
    /// What it takes, in the service's words.
    pub(super) takes: String,
}

impl Right {
    pub(super) fn new(feature: Feature, granted: Option<bool>, takes: impl Into<String>) -> Self {
        Self { feature, granted, takes: takes.into() }
    }

    fn finding(self) -> Finding {
        let Self { feature, granted, takes } = self;
        match granted {
            Some(true) => Finding { fits: Fits::Works, what: feature.works().to_owned(), advice: String::new() },
            Some(false) => {
                Finding { fits: Fits::Missing, what: feature.missing().to_owned(), advice: format!("it takes {takes}") }
            }
            None => Finding {
                fits: Fits::Unsure,
                what: format!("the service does not say whether {}", feature.works()),
                advice: format!("see that the credentials have {takes}"),
            },
        }
    }
}

impl Client {
    /// Looks at what the credentials are good for in a repository; nothing is changed.
    pub async fn check(&self, repo: &Repo, now: Timestamp) -> Vec<Finding> {
        let me = match self.whoami(repo).await {
            Ok(me) => me,
            Err(error) => return vec![failed("nothing can be asked", &error)],
        };
        let mut findings = vec![Finding {
            fits: Fits::Works,
            what: format!("what is written is by {}", me.login),
            advice: String::new(),
        }];
        if let Some(end) = me.expires
            && now.duration_until(end) < SOON
        {
            findings.push(Finding {
                fits: Fits::Unsure,
                what: format!("the token ends at {end}"),
                advice: "renew it: the file is read again when it changes".to_owned(),
            });
        }
        let rights = match &self.service {
            Service::Github(github) => github.rights(repo, &me).await,
            Service::Gitlab(gitlab) => gitlab.rights(repo, &me).await,
            Service::Gitea(gitea) => gitea.rights(repo).await,
        };
        match rights {
            Ok(rights) => {
                let wanted = |right: &Right| self.approvals || right.feature != Feature::Approvals;
                findings.extend(rights.into_iter().filter(wanted).map(Right::finding));
            }
            Err(error) => findings.push(failed(&format!("{} cannot be read", repo.path), &error)),
        }
        findings
    }
}

fn failed(what: &str, error: &ForgeError) -> Finding {
    let advice = match error {
        ForgeError::Credentials { .. } => "make the file readable for the user that holdfast runs as",
        ForgeError::Unauthorized { .. } => "renew what the file holds",
        ForgeError::Forbidden { .. } | ForgeError::NotFound { .. } => {
            "give the credentials access to the repository: docs/git-hosting.md says which"
        }
        ForgeError::Unreachable { .. } => "look at name resolution, firewall and proxy between here and the service",
        ForgeError::RateLimited { .. } => "try again then",
        _ => "try again; if it stays, see whether `forges.url` is the address of the API",
    };
    Finding { fits: Fits::Missing, what: format!("{what}: {error}"), advice: advice.to_owned() }
}
