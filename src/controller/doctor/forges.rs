//! The hosting services: are they reached, and what are the credentials good for?

use std::collections::BTreeSet;

use super::{Notes, chain};
use crate::clock::MachineClock;
use crate::config::Config;
use crate::forges::{Client, Finding, Fits, Network, Repo};

/// Asks each hosting service what may be done in each repository of it that an application tracks; nothing is changed there.
pub(super) fn forges(config: &Config, notes: &mut Notes<'_>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return notes.problem("", format!("nothing can be asked: {error}"), "try again"),
    };
    for forge in &config.controller.forges {
        let client = match Client::new(forge, &Network::default()) {
            Ok(client) => client,
            Err(error) => {
                notes.problem(&forge.url, chain(&error), "correct `forges.url`");
                continue;
            }
        };
        let repos: BTreeSet<Repo> = config.applications.iter().filter_map(|app| client.repo(&app.source.url)).collect();
        if repos.is_empty() {
            notes.warning(
                &forge.url,
                "no application's repository is there, so nothing is told there",
                "compare `source.url` with `forges.url`, or take the service out",
            );
        }
        for repo in repos {
            for finding in runtime.block_on(client.check(&repo, MachineClock::wall())) {
                tell(&repo, finding, notes);
            }
        }
    }
}

fn tell(repo: &Repo, finding: Finding, notes: &mut Notes<'_>) {
    let Finding { fits, what, advice } = finding;
    match fits {
        Fits::Works => notes.ok(repo, what),
        Fits::Unsure => notes.warning(repo, what, advice),
        Fits::Missing => notes.problem(repo, what, advice),
    }
}
