//! Why a hosting service did not do what it was asked, and when asking again can help.

use std::path::PathBuf;

use jiff::Timestamp;

/// Why a call brought nothing. Messages hold no credentials.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ForgeError {
    /// The file with the credentials cannot be used.
    #[error("credentials cannot be read from {}: {why}", path.display())]
    Credentials {
        /// Which file.
        path: PathBuf,
        /// Why, as a fragment.
        why: String,
    },
    /// The service does not know the credentials.
    #[error("the service refuses the credentials: {message}")]
    Unauthorized {
        /// What it said.
        message: String,
    },
    /// The credentials are known, and may not do this.
    #[error("the credentials may not do this: {message}")]
    Forbidden {
        /// What is missing, as far as the service says.
        message: String,
    },
    /// The service wants to be left alone for a while.
    #[error("the service asks to be left alone until {until}")]
    RateLimited {
        /// Until when.
        until: Timestamp,
    },
    /// It is not there, or these credentials may not see it.
    #[error("{what} is not there, or not visible with these credentials")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The service understood, and does not do it.
    #[error("the service answered {status}: {message}")]
    Rejected {
        /// What it answered.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The service was not reached, or failed at something that may be repeated.
    #[error("the service could not be reached: {message}")]
    Unreachable {
        /// Why.
        message: String,
    },
    /// Something that must not happen twice was sent, and no answer came: it may have happened.
    #[error("the service did not say whether it was done: {message}")]
    Unknown {
        /// What came instead.
        message: String,
    },
    /// The answer cannot be understood.
    #[error("the service's answer cannot be understood: {what}")]
    Unexpected {
        /// What is wrong with it.
        what: String,
    },
}

impl ForgeError {
    /// Returns when to try again at the earliest, if the service set a time.
    pub const fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::RateLimited { until } => Some(*until),
            _ => None,
        }
    }

    /// Tells whether trying again unchanged can help; what else there is wants a person.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Unreachable { .. } | Self::Unknown { .. })
    }

    /// Returns the name that metrics and the journal use.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Credentials { .. } => "credentials",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::RateLimited { .. } => "rate_limited",
            Self::NotFound { .. } => "not_found",
            Self::Rejected { .. } => "rejected",
            Self::Unreachable { .. } => "unreachable",
            Self::Unknown { .. } => "unknown",
            Self::Unexpected { .. } => "unexpected",
        }
    }

    pub(super) fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected { what: what.into() }
    }
}

/// Why no service can be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No client can be made, such as without certificate authorities.
    #[error("the client for {url} cannot be made: {why}")]
    Client {
        /// The service's address.
        url: String,
        /// Why.
        why: String,
    },
}
