//! A GitHub App: a signed claim who we are, for an installation, for a token that lasts an hour.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use octocrab::auth::{AppAuth, EncodingKey};
use octocrab::models::AppId;
use serde::Deserialize;
use serde_json::json;

use super::super::ask::Ask;
use super::super::credential::{self, Redacted};
use super::super::error::ForgeError;
use super::super::repo::Repo;
use super::super::wire::{Identity, Wire};
use crate::clock::MachineClock;

/// A token is renewed this long before it ends, so that none ends on its way.
const BEFORE_THE_END: SignedDuration = SignedDuration::from_mins(5);

/// The most repositories whose tokens are kept; then all are asked for again.
const MOST: usize = 1000;

/// As which App we ask, and the tokens that were given to it.
#[derive(Debug)]
pub struct App {
    /// The App's number.
    pub id: u64,
    key_file: PathBuf,
    given: tokio::sync::Mutex<BTreeMap<Repo, Given>>,
}

/// A token for one repository, and what goes with it.
#[derive(Clone, Debug)]
pub struct Given {
    secret: Redacted,
    until: Timestamp,
    installation: u64,
    /// The App's name in addresses; its account is that with `[bot]` after it.
    pub slug: String,
    /// What its installation may do.
    pub rights: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
    app_slug: String,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Token {
    token: String,
    expires_at: Timestamp,
}

impl App {
    pub fn new(id: u64, key_file: PathBuf) -> Self {
        Self { id, key_file, given: tokio::sync::Mutex::default() }
    }

    /// Returns a token for a repository and what goes with it.
    pub async fn given(&self, wire: &Wire, repo: &Repo) -> Result<Given, ForgeError> {
        let mut all = self.given.lock().await;
        if let Some(given) = all.get(repo)
            && MachineClock::wall().duration_until(given.until) > BEFORE_THE_END
        {
            return Ok(given.clone());
        }
        let given = self.ask(wire, repo).await?;
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(repo.clone(), given.clone());
        Ok(given)
    }

    /// Returns as whom something about a repository is asked.
    pub async fn identity(&self, wire: &Wire, repo: &Repo) -> Result<Identity, ForgeError> {
        let given = self.given(wire, repo).await?;
        Ok(Identity { secret: given.secret, account: format!("installation {}", given.installation) })
    }

    /// Forgets the token for a repository, which was refused.
    pub async fn forget(&self, repo: &Repo) {
        self.given.lock().await.remove(repo);
    }

    async fn ask(&self, wire: &Wire, repo: &Repo) -> Result<Given, ForgeError> {
        let me = Identity { secret: self.claim()?, account: "app".to_owned() };
        let what = format!("the App's installation for {}", repo.path);
        let installation = Ask::get(format!("/repos/{}/installation", repo.path), &what);
        let installation: Installation = wire.send(&me, &installation).await?.json()?;
        let path = format!("/app/installations/{}/access_tokens", installation.id);
        // For this repository alone. One token more than is used harms nobody, so this may be repeated.
        let token = Ask::post(path, json!({ "repositories": [repo.name()] }), what);
        let token: Token = wire.send(&me, &token).await?.json()?;
        Ok(Given {
            secret: Redacted::new(token.token),
            until: token.expires_at,
            installation: installation.id,
            slug: installation.app_slug,
            rights: installation.permissions,
        })
    }

    /// Signs who we are, for ten minutes; the key is read anew.
    fn claim(&self) -> Result<Redacted, ForgeError> {
        let pem = credential::key(&self.key_file)?;
        let bad = |why: &str| credential::unreadable(&self.key_file, why);
        let key = EncodingKey::from_rsa_pem(pem.expose().as_bytes()).map_err(|_| bad("it is no RSA key in PEM"))?;
        let claim = AppAuth { app_id: AppId(self.id), key }.generate_bearer_token();
        Ok(Redacted::new(claim.map_err(|_| bad("it signs nothing"))?))
    }
}
