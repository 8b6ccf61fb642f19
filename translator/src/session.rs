//! Session persistence (GEP-1619): the requests of a session stay with one endpoint.
//!
//! Envoy puts the address of the endpoint into a cookie or a header. An endpoint that is gone is replaced by another one.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::{
    StatefulSession, StatefulSessionPerRoute, stateful_session_per_route,
};
use envoy_types::pb::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use envoy_types::pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use envoy_types::pb::envoy::r#type::http::v3::Cookie as EnvoyCookie;
use postern_api::duration;
use postern_api::gateway_api::{CookieLifetimeType, SessionPersistence, SessionPersistenceType};

use crate::envoy::{self, Any, any, extension};
use crate::problem::Fault;
use crate::resource::digest;
use crate::route::headers;

/// The name of the filter in the chain. Without a route's configuration it does nothing.
pub(crate) const FILTER: &str = "envoy.filters.http.stateful_session";

/// The limit of the API (`CookieConfig.name`, `HeaderConfig.name`).
const MAX_NAME_BYTES: usize = 128;
const DURATION_REMEDY: &str = "use a Gateway API duration such as 30m or 24h (GEP-2257)";

/// How a session is recognised.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Session {
    Cookie(Cookie),
    /// By the value of this header, in lower case, which the client gets with the first answer.
    Header(String),
}

/// A cookie that the client keeps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cookie {
    pub(crate) name: String,
    path: String,
    /// How long the client keeps it; `None`: until it ends its session.
    lifetime: Option<Duration>,
}

/// Reads the settings; `owner` is what they belong to, and makes up the name of a cookie that has none. What Envoy cannot do
/// but can do without comes as a second value.
pub(crate) fn parse(spec: &SessionPersistence, owner: &str) -> Result<(Session, Option<Fault>), Fault> {
    let timeout = spec
        .absolute_timeout
        .as_deref()
        .map(duration::parse)
        .transpose()
        .map_err(|error| Fault::new(".absoluteTimeout", error.to_string(), DURATION_REMEDY))?
        .filter(|timeout| !timeout.is_zero());
    match spec.type_.clone().unwrap_or_default() {
        SessionPersistenceType::Cookie => {
            let cookie = spec.cookie.clone().unwrap_or_default();
            let permanent = match cookie.lifetime_type.unwrap_or_default() {
                CookieLifetimeType::Session => false,
                CookieLifetimeType::Permanent => true,
                CookieLifetimeType::Unknown(other) => {
                    let message = format!("{other:?} is unknown");
                    return Err(Fault::new(".cookie.lifetimeType", message, "use Session or Permanent"));
                }
            };
            if permanent && timeout.is_none() {
                return Err(Fault::new(
                    ".absoluteTimeout",
                    "a permanent cookie needs to know how long it lasts",
                    "add absoluteTimeout, or use lifetimeType Session",
                ));
            }
            let name = match cookie.name.filter(|name| !name.is_empty()) {
                Some(name) => cookie_name(name)?,
                None => format!("postern-session-{}", digest(owner.as_bytes())),
            };
            let path = cookie_path(cookie.path)?;
            let unheeded = (!permanent && timeout.is_some()).then(|| {
                Fault::new(
                    ".absoluteTimeout",
                    "Envoy cannot end the session of a session cookie",
                    "use lifetimeType Permanent, or remove absoluteTimeout; until then the session ends with the client's",
                )
            });
            let lifetime = timeout.filter(|_| permanent);
            Ok((Session::Cookie(Cookie { name, path, lifetime }), unheeded))
        }
        SessionPersistenceType::Header => {
            let given = spec.header.as_ref().map(|header| header.name.as_str()).unwrap_or_default();
            let name = headers::name(given).map_err(|fault| fault.within(".header.name"))?;
            let unheeded = timeout.map(|_| {
                Fault::new(
                    ".absoluteTimeout",
                    "Envoy cannot end the session of a header",
                    "use a permanent cookie, or remove absoluteTimeout; until then the session does not end",
                )
            });
            Ok((Session::Header(name), unheeded))
        }
        SessionPersistenceType::Unknown(other) => {
            Err(Fault::new(".type", format!("{other:?} is unknown"), "use Cookie or Header"))
        }
    }
}

/// RFC 6265: the name of a cookie is a token.
pub(crate) fn cookie_name(name: String) -> Result<String, Fault> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.len() <= MAX_NAME_BYTES && name.chars().all(token) {
        return Ok(name);
    }
    Err(Fault::new(
        ".cookie.name",
        format!("{name:?} is not the name of a cookie"),
        format!("use at most {MAX_NAME_BYTES} letters, digits, - and _"),
    ))
}

/// RFC 6265: the path of a cookie ends at a semicolon.
pub(crate) fn cookie_path(path: Option<String>) -> Result<String, Fault> {
    let path = path.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    if path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic() && c != ';') {
        return Ok(path);
    }
    Err(Fault::new(
        ".cookie.path",
        format!("{path:?} is not a path"),
        "start it with /, and leave out blanks and semicolons",
    ))
}

impl Session {
    /// What a route or one of its clusters says to keep sessions.
    pub(crate) fn envoy(&self) -> Any {
        let state = match self {
            Self::Cookie(cookie) => extension(
                "envoy.http.stateful_session.cookie",
                CookieBasedSessionState {
                    cookie: Some(EnvoyCookie {
                        name: cookie.name.clone(),
                        ttl: cookie.lifetime.and_then(envoy::duration),
                        path: cookie.path.clone(),
                        ..EnvoyCookie::default()
                    }),
                },
            ),
            Self::Header(name) => extension(
                "envoy.http.stateful_session.header",
                HeaderBasedSessionState { name: name.clone() },
            ),
        };
        any(StatefulSessionPerRoute {
            r#override: Some(stateful_session_per_route::Override::StatefulSession(StatefulSession {
                session_state: Some(state),
                ..StatefulSession::default()
            })),
        })
    }
}

impl Cookie {
    /// The name of a second cookie, which says which backend of several the session is with.
    pub(crate) fn backend_name(&self) -> String {
        format!("{}-backend", self.name)
    }

    /// The second cookie, as the client gets it.
    pub(crate) fn backend(&self, value: &str) -> String {
        let lifetime = self.lifetime.map(|lifetime| format!("; Max-Age={}", lifetime.as_secs()));
        let lifetime = lifetime.unwrap_or_default();
        format!("{}={value}{lifetime}; Path={}; HttpOnly", self.backend_name(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    fn read(spec: &str) -> Result<(Session, Option<String>), String> {
        let read = parse(&yaml(spec), "owner");
        read.map(|(session, unheeded)| (session, unheeded.map(|fault| fault.field)))
            .map_err(|fault| fault.field)
    }

    fn cookie(spec: &str) -> Cookie {
        match read(spec).unwrap() {
            (Session::Cookie(cookie), None) => cookie,
            other => panic!("{spec}: {other:?}"),
        }
    }

    #[test]
    fn defaults_of_a_cookie() {
        let plain = cookie("{}");
        assert_eq!((plain.path.as_str(), plain.lifetime), ("/", None));
        assert!(plain.name.starts_with("postern-session-"), "{}", plain.name);
        assert_eq!(plain, cookie("{type: Cookie, cookie: {}}"));
        let (Session::Cookie(other), _) = parse(&yaml("{}"), "another").unwrap() else { panic!("a cookie") };
        assert_ne!(plain.name, other.name, "sessions of two owners do not mix");
    }

    #[test]
    fn the_second_cookie_lives_as_long_as_the_first() {
        let session = cookie("{cookie: {name: s, path: /shop}}");
        assert_eq!(session.backend("ab"), "s-backend=ab; Path=/shop; HttpOnly");
        let permanent = cookie("{absoluteTimeout: 1h, cookie: {name: s, lifetimeType: Permanent}}");
        assert_eq!(permanent.backend("ab"), "s-backend=ab; Max-Age=3600; Path=/; HttpOnly");
    }

    #[test]
    fn what_envoy_cannot_do_is_said() {
        assert_eq!(
            read("{type: Header, header: {name: X-S}}"),
            Ok((Session::Header("x-s".to_owned()), None))
        );
        for spec in [
            "{absoluteTimeout: 1h, cookie: {lifetimeType: Session}}",
            "{absoluteTimeout: 1h, type: Header, header: {name: x-s}}",
        ] {
            assert_eq!(read(spec).unwrap().1.as_deref(), Some(".absoluteTimeout"), "{spec}");
        }
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        for (spec, field) in [
            ("{type: Url}", ".type"),
            ("{type: Header}", ".header.name"),
            ("{type: Header, header: {name: 'a b'}}", ".header.name"),
            ("{absoluteTimeout: long}", ".absoluteTimeout"),
            ("{cookie: {lifetimeType: Permanent}}", ".absoluteTimeout"),
            ("{cookie: {lifetimeType: Eternal}}", ".cookie.lifetimeType"),
            ("{cookie: {name: 'a;b'}}", ".cookie.name"),
            ("{cookie: {path: shop}}", ".cookie.path"),
            ("{cookie: {path: '/a;b'}}", ".cookie.path"),
        ] {
            assert_eq!(read(spec).unwrap_err(), field, "{spec}");
        }
    }
}
