//! What can go wrong between the API server and us.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What was asked of the API server, as RBAC calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
        })
    }
}

/// A request that failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The API server said no.
    #[error("{verb} was answered with {code}: {message}")]
    Refused { verb: Verb, code: u16, reason: String, message: String },
    /// There was no answer.
    #[error("{verb} failed: {message}")]
    Unreachable { verb: Verb, message: String },
    /// There was no answer in time.
    #[error("{verb} had no answer within {} s", .after.as_secs())]
    TimedOut { verb: Verb, after: Duration },
    /// The answer is not what was asked for.
    #[error("the answer to {verb} cannot be read: {message}")]
    Unreadable { verb: Verb, message: String },
}

impl Failure {
    /// What a request of the client came to.
    pub(super) fn of(verb: Verb, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::refused(verb, status.as_ref()),
            kube::Error::SerdeError(error) => Self::Unreadable { verb, message: error.to_string() },
            error => Self::Unreachable { verb, message: words(error) },
        }
    }

    /// What a `Status` of the API server says.
    pub(super) fn refused(verb: Verb, status: &kube::core::Status) -> Self {
        let message = status.message.trim();
        let message = if message.is_empty() { status.reason.clone() } else { message.to_owned() };
        Self::Refused { verb, code: status.code, reason: status.reason.clone(), message }
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The verb that RBAC does not allow.
    pub(super) fn forbidden(&self) -> Option<Verb> {
        match self {
            Self::Refused { verb, code: 403, .. } => Some(*verb),
            _ => None,
        }
    }

    /// There is nothing at this path.
    pub(super) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The API server has looked for the object, and there is none. A 404 of something in between does not say this.
    pub(super) fn says_absent(&self) -> bool {
        matches!(self, Self::Refused { code: 404, reason, .. } if reason == "NotFound")
    }

    /// What happened since is not known any more; the whole list is needed.
    pub(super) fn is_expired(&self) -> bool {
        self.code() == Some(410)
    }

    /// The API server has answered.
    pub(super) fn is_answer(&self) -> bool {
        self.code().is_some()
    }
}

/// An error with all its causes.
fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16, reason: &str) -> Failure {
        Failure::refused(Verb::List, &Status::failure("no", reason).with_code(code))
    }

    #[test]
    fn only_the_api_server_says_that_something_is_absent() {
        assert!(refused(404, "NotFound").says_absent());
        let by_a_proxy = refused(404, "Failed to parse error data");
        assert!(by_a_proxy.is_not_found() && !by_a_proxy.says_absent());
        assert!(refused(410, "Expired").is_expired() && !refused(410, "Expired").is_not_found());
    }

    #[test]
    fn names_the_verb() {
        assert_eq!(refused(403, "Forbidden").forbidden(), Some(Verb::List));
        assert_eq!(refused(403, "Forbidden").to_string(), "list was answered with 403: no");
        let late = Failure::TimedOut { verb: Verb::Watch, after: Duration::from_secs(15) };
        assert_eq!(late.to_string(), "watch had no answer within 15 s");
        assert!(!late.is_answer());
    }

    #[test]
    fn tells_all_causes_once() {
        let inner = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = kube::Error::Service(Box::new(inner));
        assert_eq!(words(&error), "ServiceError: connection refused");
    }
}
