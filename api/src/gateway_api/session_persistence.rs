//! Session persistence (GEP-1619, experimental).

use serde::{Deserialize, Serialize};

/// Keeps the requests of a session at one backend.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// Lifetime of a session, as a duration of GEP-2257; needed for permanent cookies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<String>,
    /// How a session is recognised; absent means `Cookie`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<SessionPersistenceType>,
    /// Settings for the type `Cookie`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieConfig>,
    /// Settings for the type `Header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderConfig>,
}

open_enum! {
    /// How a session is recognised.
    pub enum SessionPersistenceType, default Cookie {
        /// By a cookie.
        Cookie,
        /// By a header.
        Header,
    }
}

/// The cookie of a session.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// Name of the cookie; absent means that the controller chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long the client keeps it; absent means `Session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_type: Option<CookieLifetimeType>,
    /// Path of the cookie; absent means `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

open_enum! {
    /// How long a client keeps a cookie.
    pub enum CookieLifetimeType, default Session {
        /// Until the client ends its session.
        Session,
        /// Until `absoluteTimeout` has passed.
        Permanent,
    }
}

/// The header of a session.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderConfig {
    /// Name of the header.
    pub name: String,
}
