//! Failed calls of the API server.

use std::error::Error as _;

/// What went wrong, with its causes, for people.
pub(super) fn describe(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} ({})", status.message, status.code);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Whether the API server did not answer, or said that it cannot now.
pub(super) fn is_temporary(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 408 | 429 | 500..),
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// Whether somebody else was faster.
pub(super) fn is_conflict(error: &kube::Error) -> bool {
    has_code(error, 409)
}

/// Whether the role of the controller does not allow the call.
pub(super) fn is_forbidden(error: &kube::Error) -> bool {
    has_code(error, 403)
}

fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
