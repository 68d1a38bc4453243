//! GitHub, hosted or Enterprise Server, by its API of 2022-11-28.
//!
//! octocrab carries the requests and signs as an App. It neither retries, which would post comments twice, nor reads answers.

mod app;
mod json;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use octocrab::service::middleware::retry::RetryConfig;
use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{Feature, Right};
use super::error::ForgeError;
use super::model::{Author, Comment, Issue, IssueRef, Permission, Pull, Status, StatusState, Whoami};
use super::put::Ours;
use super::reach::{Reach, encode, plain};
use super::repo::Repo;
use super::wire::{Answer, Ask, Wire};
use crate::core::commit::CommitId;
pub(super) use app::App;
use json::{CheckRuns, Id, Level, RawComment, RawCommit, RawIssue, RawPull, RawUser, author};

/// As many as a page has at most.
const PAGE: usize = 100;

/// The longest summary of a check run.
const SUMMARY: usize = 65_535;

/// The most check runs whose numbers are remembered; then all are looked up again.
const MOST: usize = 10_000;

/// Makes what carries requests.
pub(super) fn carrier(base: &str, client: reqwest::Client) -> Result<octocrab::Octocrab, String> {
    let builder = octocrab::Octocrab::builder().base_uri(base).map_err(|error| error.to_string())?;
    builder.add_retry_config(RetryConfig::None).build_with_reqwest(client).map_err(|error| error.to_string())
}

/// A GitHub.
#[derive(Debug)]
pub(super) struct Github {
    pub(super) reach: Reach,
    /// The numbers of check runs, by where they are.
    runs: Mutex<BTreeMap<(Repo, CommitId, String), u64>>,
}

fn pulls(answer: &Answer) -> Result<Vec<Pull>, ForgeError> {
    answer.json::<Vec<RawPull>>()?.into_iter().map(Pull::try_from).collect()
}

impl Github {
    pub(super) fn by_token(wire: Wire, token_file: PathBuf) -> Self {
        Self { reach: Reach::by_token(wire, token_file), runs: Mutex::default() }
    }

    pub(super) fn by_app(wire: Wire, id: u64, key_file: PathBuf) -> Self {
        Self { reach: Reach::by_app(wire, App::new(id, key_file)), runs: Mutex::default() }
    }

    pub(super) async fn open_pulls(&self, repo: &Repo, branch: &str) -> Result<Vec<Pull>, ForgeError> {
        let base = encode(branch);
        let path = format!("{}/pulls?state=open&base={base}&sort=created&direction=asc&per_page={PAGE}", at(repo));
        let mut all = self.reach.all(repo, Some(&self.reach.pulls), &path, "the open pull requests", pulls).await?;
        all.retain(|pull| pull.base == branch);
        Ok(all)
    }

    pub(super) async fn pull(&self, repo: &Repo, number: u64) -> Result<Pull, ForgeError> {
        let path = format!("{}/pulls/{number}", at(repo));
        self.reach.get::<RawPull>(repo, path, &format!("pull request {number}")).await?.try_into()
    }

    pub(super) async fn pulls_of(&self, repo: &Repo, commit: &CommitId) -> Result<Vec<Pull>, ForgeError> {
        let path = format!("{}/commits/{commit}/pulls?per_page={PAGE}", at(repo));
        match self.reach.all(repo, None, &path, "the pull requests of a commit", pulls).await {
            // It does not know the commit.
            Err(ForgeError::Rejected { status: 422, .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Asks for a list of one, since a commit alone comes with its changes.
    pub(super) async fn commit_author(&self, repo: &Repo, commit: &CommitId) -> Result<Option<Author>, ForgeError> {
        let path = format!("{}/commits?sha={commit}&per_page=1", at(repo));
        let commits: Vec<RawCommit> = self.reach.get(repo, path, "a commit").await?;
        let user = commits.into_iter().next().and_then(|commit| commit.author);
        Ok(user.filter(|user| !user.login.is_empty()).map(|user| author(Some(user))))
    }

    pub(super) async fn comments(
        &self,
        repo: &Repo,
        number: u64,
        since: Option<Timestamp>,
    ) -> Result<Vec<Comment>, ForgeError> {
        let since = since.map_or(String::new(), |since| format!("&since={}", since.strftime("%Y-%m-%dT%H:%M:%SZ")));
        let path = format!("{}/issues/{number}/comments?per_page={PAGE}{since}", at(repo));
        let read = |answer: &Answer| Ok(answer.json::<Vec<RawComment>>()?.into_iter().map(Comment::from).collect());
        self.reach.all(repo, Some(&self.reach.comments), &path, &format!("the comments of {number}"), read).await
    }

    pub(super) async fn create_comment(&self, repo: &Repo, number: u64, body: &str) -> Result<u64, ForgeError> {
        let path = format!("{}/issues/{number}/comments", at(repo));
        let ask = Ask::create(path, json!({ "body": body }), format!("pull request {number}"));
        Ok(self.reach.ask(repo, ask).await?.json::<Id>()?.id)
    }

    pub(super) async fn update_comment(
        &self,
        repo: &Repo,
        _number: u64,
        id: u64,
        body: &str,
    ) -> Result<(), ForgeError> {
        let path = format!("{}/issues/comments/{id}", at(repo));
        self.reach.ask(repo, Ask::patch(path, json!({ "body": body }), format!("comment {id}"))).await.map(|_| ())
    }

    pub(super) async fn delete_comment(&self, repo: &Repo, _number: u64, id: u64) -> Result<(), ForgeError> {
        let path = format!("{}/issues/comments/{id}", at(repo));
        self.reach.ask(repo, Ask::delete(path, format!("comment {id}"))).await.map(|_| ())
    }

    pub(super) async fn set_status(&self, repo: &Repo, commit: &CommitId, status: &Status) -> Result<(), ForgeError> {
        match self.reach.app() {
            None => self.set_commit_status(repo, commit, status).await,
            Some(app) => self.set_check_run(app.id, repo, commit, status).await,
        }
    }

    async fn set_commit_status(&self, repo: &Repo, commit: &CommitId, status: &Status) -> Result<(), ForgeError> {
        let state = match status.state {
            StatusState::Pending => "pending",
            StatusState::Success => "success",
            StatusState::Failure => "failure",
            StatusState::Error => "error",
        };
        let mut body = json!({ "state": state, "context": status.context, "description": status.description });
        if let Some(url) = &status.url {
            body["target_url"] = json!(url);
        }
        let ask = Ask::post(format!("{}/statuses/{commit}", at(repo)), body, format!("commit {}", commit.short()));
        self.reach.ask(repo, ask).await.map(|_| ())
    }

    /// Changes our check run of that name, or makes one; looked for before it is made, as notices are.
    async fn set_check_run(&self, app: u64, repo: &Repo, commit: &CommitId, status: &Status) -> Result<(), ForgeError> {
        let place = (repo.clone(), commit.clone(), status.context.clone());
        let run = check_run(status);
        let known = self.runs.lock().unwrap_or_else(PoisonError::into_inner).get(&place).copied();
        let found = match known {
            Some(id) => Some(id),
            None => self.find_check_run(app, &place).await?,
        };
        if let Some(id) = found {
            match self.update_check_run(repo, id, &run).await {
                Err(ForgeError::NotFound { .. }) => {}
                other => return other.map(|()| self.learn(place, id)),
            }
        }
        match self.create_check_run(repo, commit, status).await {
            Ok(id) => {
                self.learn(place, id);
                Ok(())
            }
            Err(unknown @ (ForgeError::Unknown { .. } | ForgeError::Unexpected { .. })) => {
                let id = self.find_check_run(app, &place).await?.ok_or(unknown)?;
                self.update_check_run(repo, id, &run).await.map(|()| self.learn(place, id))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn create_check_run(
        &self,
        repo: &Repo,
        commit: &CommitId,
        status: &Status,
    ) -> Result<u64, ForgeError> {
        let mut body = check_run(status);
        body["name"] = json!(status.context);
        body["head_sha"] = json!(commit.as_str());
        let ask = Ask::create(format!("{}/check-runs", at(repo)), body, format!("commit {}", commit.short()));
        Ok(self.reach.ask(repo, ask).await?.json::<Id>()?.id)
    }

    async fn find_check_run(&self, app: u64, place: &(Repo, CommitId, String)) -> Result<Option<u64>, ForgeError> {
        let (repo, commit, name) = place;
        let name = encode(name);
        let path =
            format!("{}/commits/{commit}/check-runs?check_name={name}&app_id={app}&filter=latest&per_page=1", at(repo));
        let found: CheckRuns = self.reach.get(repo, path, &format!("commit {}", commit.short())).await?;
        Ok(found.check_runs.first().map(|run| run.id))
    }

    async fn update_check_run(&self, repo: &Repo, id: u64, run: &Value) -> Result<(), ForgeError> {
        let path = format!("{}/check-runs/{id}", at(repo));
        self.reach.ask(repo, Ask::patch(path, run.clone(), format!("check run {id}"))).await.map(|_| ())
    }

    fn learn(&self, place: (Repo, CommitId, String), id: u64) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() >= MOST {
            runs.clear();
        }
        runs.insert(place, id);
    }

    pub(super) async fn open_issues(&self, repo: &Repo) -> Result<Vec<Ours>, ForgeError> {
        let login = encode(&self.whoami(repo).await?.login);
        let path = format!("{}/issues?state=open&creator={login}&per_page={PAGE}", at(repo));
        let read = |answer: &Answer| {
            let all = answer.json::<Vec<RawIssue>>()?.into_iter();
            Ok(all.filter(|issue| issue.pull_request.is_none()).map(Ours::from).collect())
        };
        self.reach.all(repo, None, &path, "the open issues", read).await
    }

    pub(super) async fn create_issue(&self, repo: &Repo, title: &str, body: &str) -> Result<IssueRef, ForgeError> {
        let ask =
            Ask::create(format!("{}/issues", at(repo)), json!({ "title": title, "body": body }), "the repository");
        Ok(Ours::from(self.reach.ask(repo, ask).await?.json::<RawIssue>()?).reference())
    }

    pub(super) async fn update_issue(
        &self,
        repo: &Repo,
        number: u64,
        issue: &Issue<'_>,
    ) -> Result<IssueRef, ForgeError> {
        let mut body = json!({ "title": issue.title, "body": issue.body, "state": "open" });
        if !issue.open {
            body["state"] = json!("closed");
            body["state_reason"] = json!("completed");
        }
        let ask = Ask::patch(format!("{}/issues/{number}", at(repo)), body, format!("issue {number}"));
        Ok(Ours::from(self.reach.ask(repo, ask).await?.json::<RawIssue>()?).reference())
    }

    pub(super) async fn permission(&self, repo: &Repo, login: &str) -> Result<Permission, ForgeError> {
        let Some(login) = plain(login) else { return Ok(Permission::None) };
        let path = format!("{}/collaborators/{login}/permission", at(repo));
        let level: Level = match self.reach.get(repo, path, "a permission").await {
            Err(ForgeError::NotFound { .. }) => return Ok(Permission::None),
            other => other?,
        };
        // `maintain` is told as `write` here, and `triage` as `read`.
        Ok(match level.permission.as_str() {
            "admin" => Permission::Admin,
            "write" => Permission::Write,
            "read" => Permission::Read,
            _ => Permission::None,
        })
    }

    pub(super) async fn whoami(&self, repo: &Repo) -> Result<Whoami, ForgeError> {
        if let Some(app) = self.reach.app() {
            let given = app.given(&self.reach.wire, repo).await?;
            let scopes = given.rights.iter().map(|(what, level)| format!("{what}={level}")).collect();
            return Ok(Whoami { login: format!("{}[bot]", given.slug), scopes: Some(scopes), expires: None });
        }
        let ask = async || {
            let answer = self.reach.ask(repo, Ask::get("/user", "the token's user")).await?;
            let user: RawUser = answer.json()?;
            // Of fine-grained tokens it does not say.
            let scopes = answer.text("x-oauth-scopes").map(|scopes| {
                scopes.split(',').map(|scope| scope.trim().to_owned()).filter(|scope| !scope.is_empty()).collect()
            });
            let expires = answer.text("github-authentication-token-expiration").and_then(json::ends);
            Ok(Whoami { login: user.login, scopes, expires })
        };
        self.reach.me(ask).await
    }
}

impl Github {
    /// Says what works, from an App's rights, or from a token's scopes and what its user may.
    pub(super) async fn rights(&self, repo: &Repo, me: &Whoami) -> Result<Vec<Right>, ForgeError> {
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
        // A fine-grained token has no scopes, and what it may nobody says.
        let write = scopes.filter(|scopes| !scopes.is_empty()).map(|_| has(&classic));
        let both = |may: bool, scope: Option<bool>| if may { scope } else { Some(false) };
        let status = write.map(|write| write || has(&["repo:status"]));
        Ok(vec![
            right(
                Feature::Pulls,
                Some(about.permissions.pull),
                "`repo`, or `Pull requests: read` of a fine-grained token",
            ),
            right(Feature::Comments, write, "`repo`, or `Pull requests: write` of a fine-grained token"),
            right(
                Feature::Statuses,
                both(pushes, status),
                "write access to the repository, and `repo:status`, or `Commit statuses: write` of a fine-grained token",
            ),
            right(
                Feature::Issues,
                both(about.has_issues, write),
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

/// Describes a check run: its line is the title, since that is what lists of checks show.
fn check_run(status: &Status) -> Value {
    let conclusion = match status.state {
        StatusState::Pending => None,
        StatusState::Success => Some("success"),
        StatusState::Failure | StatusState::Error => Some("failure"),
    };
    let summary: String = status.summary.chars().take(SUMMARY).collect();
    let title = if status.description.is_empty() { &status.context } else { &status.description };
    let mut run = json!({
        "status": if conclusion.is_some() { "completed" } else { "in_progress" },
        "output": { "title": title, "summary": summary },
    });
    if let Some(conclusion) = conclusion {
        run["conclusion"] = json!(conclusion);
    }
    if let Some(url) = &status.url {
        run["details_url"] = json!(url);
    }
    run
}

fn at(repo: &Repo) -> String {
    format!("/repos/{}", repo.path)
}
