//! The labels of metrics.

use prometheus_client::encoding::EncodeLabelSet;

/// How the translation of a batch of changes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TranslationResult {
    /// As it should.
    Ok,
    /// With a bug of Postern: it panicked, and everything is translated anew.
    Panicked,
}

/// How the wish for a status ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusResult {
    /// It was written.
    Written,
    /// The object had it already: nothing was sent.
    Unchanged,
    /// Somebody wrote the object in the meantime; it is tried again.
    Conflict,
    /// The object is gone.
    Gone,
    /// The API server refused it, or did not answer.
    Error,
}

/// How the wish for an object of a Gateway's infrastructure ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InfrastructureResult {
    /// It was applied.
    Applied,
    /// The cluster has it as it should be: nothing was sent.
    Unchanged,
    /// It was deleted.
    Deleted,
    /// An object of this name belongs to somebody else and is left alone.
    NotOwned,
    /// The API server refused it, or did not answer.
    Error,
}

macro_rules! values {
    ($($ty:ident { $($variant:ident = $text:literal),+ $(,)? })+) => {
        $(
            impl $ty {
                /// The value of the label `result`.
                pub const fn as_str(self) -> &'static str {
                    match self { $(Self::$variant => $text,)+ }
                }
            }
        )+
    };
}

values! {
    TranslationResult { Ok = "ok", Panicked = "panicked" }
    StatusResult {
        Written = "written",
        Unchanged = "unchanged",
        Conflict = "conflict",
        Gone = "gone",
        Error = "error",
    }
    InfrastructureResult {
        Applied = "applied",
        Unchanged = "unchanged",
        Deleted = "deleted",
        NotOwned = "not_owned",
        Error = "error",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByResult {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByKind {
    pub(super) kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByKindAndResult {
    pub(super) kind: String,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByCall {
    pub(super) verb: String,
    pub(super) resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByCertificate {
    pub(super) certificate: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Build {
    pub(super) version: &'static str,
}
