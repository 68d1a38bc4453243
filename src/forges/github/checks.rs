//! Check runs: what an App shows where others show statuses, with a summary, changed in place.

use std::sync::PoisonError;

use serde_json::{Value, json};

use super::super::ask::Ask;
use super::super::error::ForgeError;
use super::super::model::{Status, StatusState};
use super::super::reach::encode;
use super::super::repo::Repo;
use super::json::{CheckRuns, Id};
use super::{Github, at};
use crate::core::commit::CommitId;

/// The longest summary of a check run.
const SUMMARY: usize = 65_535;

/// The most check runs whose numbers are remembered; then all are looked up again.
const MOST: usize = 10_000;

impl Github {
    /// Changes our check run of that name, or makes one; looked for before it is made, as notices are.
    pub async fn set_check_run(
        &self,
        app: u64,
        repo: &Repo,
        commit: &CommitId,
        status: &Status,
    ) -> Result<(), ForgeError> {
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

    pub async fn create_check_run(&self, repo: &Repo, commit: &CommitId, status: &Status) -> Result<u64, ForgeError> {
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
