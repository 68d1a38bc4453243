//! Against a small hosting service on loopback that speaks each dialect, and that fails when and how it is told.

mod check;
mod contract;
mod failing;
mod fake;
mod gitea;
mod github;
mod gitlab;
mod ordinary;

use std::path::Path;
use std::time::Duration;

use fake::{Fake, How};

use super::wire::Pace;
use super::*;
use crate::clock::MachineClock;

/// Every service that the shared tests run against.
const KINDS: [ForgeKind; 3] = [ForgeKind::Github, ForgeKind::Gitlab, ForgeKind::Gitea];

/// A client of a fake, and the folder with its token.
struct Place {
    fake: Fake,
    client: Client,
    repo: Repo,
    dir: tempfile::TempDir,
}

const TOKEN: &str = "sekret-token-of-the-bot";

impl Place {
    async fn new(kind: ForgeKind) -> Self {
        // Long enough for whatever answers on loopback, also on a machine that is busy.
        Self::with(kind, Duration::from_secs(60)).await
    }

    async fn with(kind: ForgeKind, whole: Duration) -> Self {
        let fake = Fake::start(kind).await;
        let dir = tempfile::tempdir().unwrap();
        let token_file = dir.path().join("token");
        std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
        let client = client(&fake, kind, &token_file, whole);
        let repo = client.repo(&format!("{}/acme/fleet.git", fake.url)).unwrap();
        Self { fake, client, repo, dir }
    }

    /// A client that remembers nothing, as after a restart.
    fn restarted(&self) -> Client {
        client(&self.fake, self.client.kind(), &self.dir.path().join("token"), Duration::from_secs(60))
    }
}

fn client(fake: &Fake, kind: ForgeKind, token_file: &Path, whole: Duration) -> Client {
    let forge =
        Forge { kind, url: fake.url.clone(), auth: ForgeAuth::Token(token_file.to_owned()), comment_approvals: false };
    let pace = Pace { connect: Duration::from_secs(5), whole, between: Duration::ZERO };
    Client::with(&forge, &Network::default(), pace).unwrap()
}

fn commit(letter: char) -> CommitId {
    CommitId::new(letter.to_string().repeat(40))
}

fn mark() -> Mark {
    Mark::new("plan", "web")
}
