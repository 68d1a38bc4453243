//! What the server asks of the controller. It decides nothing about freezes, approvals or states itself.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::core::hosting::Named;
use crate::core::resource::Digest;

/// What the server asks of the controller. Every method may block; the server calls them on threads for that.
pub trait Backend: Send + Sync + 'static {
    /// Reads the wall clock, by which signed requests are dated.
    fn now(&self) -> Timestamp;

    /// Tells whether every application has been looked at since the start.
    ///
    /// # Errors
    /// Why not yet, or no longer, as a lower-case fragment.
    fn ready(&self) -> Result<(), String>;

    /// Returns what a command of the same name prints with `--output json`.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where there is no such application.
    fn read(&self, view: View, query: &Query) -> Result<Value, Refusal>;

    /// Returns the metrics in the text format of OpenMetrics.
    ///
    /// # Errors
    /// Why they cannot be had.
    fn metrics(&self) -> Result<String, Refusal>;

    /// Freezes, durably; no applications means all. Returns what is told to the caller.
    ///
    /// # Errors
    /// Why nothing was frozen.
    fn freeze(&self, request: &FreezeRequest, by: &Caller) -> Result<Value, Refusal>;

    /// Lifts what people froze by webhook, API or command.
    ///
    /// # Errors
    /// Why nothing was lifted.
    fn thaw(&self, request: &ThawRequest, by: &Caller) -> Result<Value, Refusal>;

    /// Approves a plan, an operation or a configuration by its digest.
    ///
    /// # Errors
    /// Why it does not count, such as that the caller is not a listed approver.
    fn approve(&self, request: &ApproveRequest, by: &Caller) -> Result<Value, Refusal>;

    /// Wakes the loop; carries no data, since every cycle reads everything it acts on.
    fn wake(&self);

    /// Wakes the loop for the applications of one repository; returns of how many groups of them.
    fn wake_for(&self, repository: &Named) -> usize;

    /// Remembers durably that something was delivered, and tells whether it had been before; of two that race, one is told no.
    ///
    /// # Errors
    /// Why it could not be remembered; then the delivery is refused, so that it is sent again.
    fn delivery_seen(&self, id: &str) -> Result<bool, Refusal>;
}

/// What can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// State and latches.
    Status,
    /// Live drift.
    Drift,
    /// What would be promoted.
    Plan,
    /// The journal, newest first.
    History,
}

/// What is wanted of a view.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Query {
    /// One application; absent means all.
    pub application: Option<String>,
    /// How many rows of the journal at most.
    pub last: Option<usize>,
}

/// A request to freeze.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FreezeRequest {
    /// Which applications; none means all.
    pub applications: Vec<String>,
    /// Why.
    pub reason: Option<String>,
    /// Who asks, as they say.
    pub owner: Option<String>,
    /// Until when; in the future when it was received.
    pub until: Option<Timestamp>,
}

/// A request to thaw. Unlike a freeze it names its applications, or says `all`: thawing is dear.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThawRequest {
    /// Which applications; empty only with `all`.
    pub applications: Vec<String>,
    /// All applications, and a freeze of all.
    pub all: bool,
    /// Why.
    pub reason: Option<String>,
}

/// A request to approve.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// Which application.
    pub application: String,
    /// What is approved.
    pub digest: Digest,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Who asks, as far as it is proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Whoever has a token that is nobody's in particular: an operator, but no approver.
    Operator,
    /// The principal that a token was given to.
    Principal(String),
    /// Whoever has the secret that can freeze and nothing else.
    FreezeSecret,
}

impl Caller {
    /// Returns how the journal names the caller; a principal is spelt as policies list it.
    pub fn name(&self) -> &str {
        match self {
            Self::Operator => "api",
            Self::Principal(name) => name,
            Self::FreezeSecret => "webhook",
        }
    }
}

/// Why a request was not done. The text goes to the caller, as a lower-case fragment.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such application.
    #[error("{0}")]
    NotFound(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The caller may not.
    #[error("{0}")]
    Forbidden(String),
    /// It does not fit what is there now, such as an approval of a plan that has changed.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be done now.
    #[error("{0}")]
    Unavailable(String),
}
