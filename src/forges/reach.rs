//! What all three services share: as whom they are asked, lists that are read to their end, and who we are there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;

use super::ask::{Answer, Ask};
use super::credential::{self, Redacted};
use super::error::ForgeError;
use super::github::App;
use super::model::{Comment, Pull, Whoami};
use super::pages::{Page, Pages};
use super::repo::Repo;
use super::wire::{Identity, Wire};
use crate::core::commit::CommitId;

/// The most pages of one list: ten thousand of whatever it is, after which nobody reads on.
const PAGES: usize = 100;

/// As whom a service is asked.
#[derive(Debug)]
enum Auth {
    Token(PathBuf),
    App(App),
}

/// The way to a service, and what is remembered of it.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) wire: Wire,
    auth: Auth,
    pub(super) pulls: Pages<Pull>,
    pub(super) comments: Pages<Comment>,
    me: Mutex<Option<(Redacted, Whoami)>>,
}

impl Reach {
    /// Reaches a service by the token of a file.
    pub(super) fn by_token(wire: Wire, token_file: PathBuf) -> Self {
        Self::new(wire, Auth::Token(token_file))
    }

    /// Reaches GitHub as an App.
    pub(super) fn by_app(wire: Wire, app: App) -> Self {
        Self::new(wire, Auth::App(app))
    }

    fn new(wire: Wire, auth: Auth) -> Self {
        Self { wire, auth, pulls: Pages::default(), comments: Pages::default(), me: Mutex::default() }
    }

    /// Returns the App, if we are one.
    pub(super) const fn app(&self) -> Option<&App> {
        match &self.auth {
            Auth::Token(_) => None,
            Auth::App(app) => Some(app),
        }
    }

    /// Asks about a repository. A token of an App that was refused is replaced once: what was refused was not done.
    pub(super) async fn ask(&self, repo: &Repo, ask: Ask) -> Result<Answer, ForgeError> {
        match &self.auth {
            Auth::Token(file) => {
                let identity = Identity { secret: credential::token(file)?, account: String::new() };
                self.wire.send(&identity, &ask).await
            }
            Auth::App(app) => match self.wire.send(&app.identity(&self.wire, repo).await?, &ask).await {
                Err(ForgeError::Unauthorized { .. }) => {
                    app.forget(repo).await;
                    self.wire.send(&app.identity(&self.wire, repo).await?, &ask).await
                }
                other => other,
            },
        }
    }

    /// Reads one thing.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        repo: &Repo,
        path: String,
        what: &str,
    ) -> Result<T, ForgeError> {
        self.ask(repo, Ask::get(path, what)).await?.json()
    }

    /// Reads a list to its end; `path` has a query already. Pages that did not change are taken from memory.
    pub(super) async fn all<T: Clone>(
        &self,
        repo: &Repo,
        known: Option<&Pages<T>>,
        path: &str,
        what: &str,
        read: impl Fn(&Answer) -> Result<Vec<T>, ForgeError>,
    ) -> Result<Vec<T>, ForgeError> {
        let mut all = Vec::new();
        for number in 1..=PAGES {
            let path = format!("{path}&page={number}");
            let before = known.and_then(|known| known.get(&path));
            let tag = before.as_ref().and_then(|page| page.etag.as_deref());
            let answer = self.ask(repo, Ask::get(path.as_str(), what).unless(tag)).await?;
            let page = match before {
                Some(before) if answer.is_same() => before,
                _ => {
                    let etag = answer.etag().map(str::to_owned);
                    let page = Arc::new(Page { etag, items: read(&answer)?, next: answer.has_next(number) });
                    if let Some(known) = known {
                        known.put(&path, &page, answer.body.len());
                    }
                    page
                }
            };
            all.extend(page.items.iter().cloned());
            if !page.next {
                return Ok(all);
            }
        }
        Err(ForgeError::unexpected(format!("{what}: more than {PAGES} pages")))
    }

    /// Asks for a change of what does not exist, to hear whether it would be permitted: services check that first. `None` is that
    /// nobody knows.
    pub(super) async fn would_permit(&self, repo: &Repo, ask: Ask) -> Option<bool> {
        match self.ask(repo, ask).await {
            Ok(_) | Err(ForgeError::NotFound { .. } | ForgeError::Rejected { .. }) => Some(true),
            Err(ForgeError::Forbidden { .. } | ForgeError::Unauthorized { .. }) => Some(false),
            Err(_) => None,
        }
    }

    /// Returns who we are, asked once for each token.
    pub(super) async fn me(&self, ask: impl AsyncFnOnce() -> Result<Whoami, ForgeError>) -> Result<Whoami, ForgeError> {
        let Auth::Token(file) = &self.auth else { return ask().await };
        let secret = credential::token(file)?;
        {
            let known = self.me.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((of, me)) = &*known
                && *of == secret
            {
                return Ok(me.clone());
            }
        }
        let me = ask().await?;
        *self.me.lock().unwrap_or_else(PoisonError::into_inner) = Some((secret, me.clone()));
        Ok(me)
    }
}

/// Leaves out of a list what cannot be understood, so that one odd pull request does not hide the others.
pub(super) fn readable(all: impl Iterator<Item = Result<Pull, ForgeError>>) -> Vec<Pull> {
    all.filter_map(|pull| pull.inspect_err(|error| tracing::warn!(%error, "a pull request is left out")).ok()).collect()
}

/// Reads a commit's name, as it may become part of an address and of a ref.
pub(super) fn commit(text: &str) -> Result<CommitId, ForgeError> {
    let whole = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    whole.then(|| CommitId::new(text.to_lowercase())).ok_or_else(|| ForgeError::unexpected("a commit without a name"))
}

/// Returns a name as it may stand in an address; `None` if it is none that a person has.
pub(super) fn plain(login: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (!login.is_empty() && login.bytes().all(plain) && login.bytes().any(|byte| byte != b'.')).then_some(login)
}

/// Writes a text so that it is one part of an address, whatever it is.
pub(super) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_part_of_an_address() {
        assert_eq!(encode("release/2.0 é&x=%?#"), "release%2F2.0%20%C3%A9%26x%3D%25%3F%23");
        for login in ["", "a/b", "..", "a b", "é", "x[bot]"] {
            assert_eq!(plain(login), None, "{login}");
        }
        assert_eq!(plain("jo.e_acme-1"), Some("jo.e_acme-1"));
        assert!(commit(&"a".repeat(39)).is_err() && commit(&"g".repeat(40)).is_err() && commit("").is_err());
        assert_eq!(commit(&"A".repeat(64)), Ok(CommitId::new("a".repeat(64))));
    }
}
