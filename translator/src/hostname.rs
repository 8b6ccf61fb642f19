//! Hostnames of listeners and routes (Gateway API `Hostname`): exact, or with one wildcard label in front.

use std::fmt;

/// A set of hosts: one exact host, everything below a domain, or everything.
///
/// The order is the order of precedence of GEP-1742 and of `HTTPRoute.spec.hostnames`: exact hosts first, then
/// wildcards from the longest to the shortest, then [`Hostname::Any`]; ties are ordered alphabetically.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hostname {
    /// One host, lower case, such as `www.example.com`.
    Exact(String),
    /// `*.example.com`, kept as `example.com`: every host with at least one label before it.
    Wildcard(String),
    /// No hostname given: every host.
    Any,
}

/// Why a string is not a [`Hostname`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a hostname: {reason}")]
pub struct HostnameError {
    value: String,
    reason: &'static str,
}

impl Hostname {
    /// Parses the optional `hostname` of a listener; absent, empty and `*` mean every host.
    pub fn parse_optional(value: Option<&str>) -> Result<Self, HostnameError> {
        match value {
            None | Some("" | "*") => Ok(Self::Any),
            Some(value) => Self::parse(value),
        }
    }

    /// Parses a hostname. Upper case is folded: hosts are compared without regard to case (RFC 9110 §4.2.3).
    pub fn parse(value: &str) -> Result<Self, HostnameError> {
        let refuse = |reason| Err(HostnameError { value: value.to_owned(), reason });
        if value.len() > 253 {
            return refuse("it is longer than 253 characters");
        }
        let (wildcard, domain) = match value.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        if domain.parse::<std::net::IpAddr>().is_ok() {
            return refuse("IP addresses are not allowed");
        }
        for label in domain.split('.') {
            if label.is_empty() {
                return refuse("it has an empty label");
            }
            if label.len() > 63 {
                return refuse("a label is longer than 63 characters");
            }
            if label.contains('*') {
                return refuse("a wildcard is allowed only as the whole first label");
            }
            let inside = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !inside || label.starts_with('-') || label.ends_with('-') {
                return refuse("labels hold letters, digits and inner hyphens only");
            }
        }
        let domain = domain.to_ascii_lowercase();
        Ok(if wildcard { Self::Wildcard(domain) } else { Self::Exact(domain) })
    }

    /// True if every host of `other` is a host of `self`.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Wildcard(a), Self::Exact(b)) => is_below(b, a),
            (Self::Wildcard(a), Self::Wildcard(b)) => a == b || is_below(b, a),
            (Self::Exact(_) | Self::Wildcard(_), _) => false,
        }
    }

    /// The hosts that both name; `None` if there is none. One of two intersecting hostnames always covers the other.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            Some(other.clone())
        } else if other.covers(self) {
            Some(self.clone())
        } else {
            None
        }
    }

    /// The hostname itself, and every one that covers it, from specific to general.
    pub fn and_wider(&self) -> impl Iterator<Item = Self> {
        let (own, domain) = match self {
            Self::Exact(host) => (Some(self.clone()), host.split_once('.').map(|(_, domain)| domain)),
            Self::Wildcard(domain) => (None, Some(domain.as_str())),
            Self::Any => (None, None),
        };
        let domains = std::iter::successors(domain, |domain| domain.split_once('.').map(|(_, rest)| rest));
        own.into_iter().chain(domains.map(|domain| Self::Wildcard(domain.to_owned()))).chain([Self::Any])
    }

    /// The domain of an Envoy virtual host, or the server name of a filter chain, for these hosts.
    pub fn domain(&self) -> String {
        match self {
            Self::Exact(host) => host.clone(),
            Self::Wildcard(domain) => format!("*.{domain}"),
            Self::Any => "*".to_owned(),
        }
    }

    fn rank(&self) -> (u8, std::cmp::Reverse<usize>, &str) {
        match self {
            Self::Exact(host) => (0, std::cmp::Reverse(host.len()), host),
            Self::Wildcard(domain) => (1, std::cmp::Reverse(domain.len()), domain),
            Self::Any => (2, std::cmp::Reverse(0), ""),
        }
    }
}

/// True if `host` is a proper subdomain of `domain`.
fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).and_then(|front| front.strip_suffix('.')).is_some_and(|label| !label.is_empty())
}

impl PartialOrd for Hostname {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Hostname {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.domain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(value: &str) -> Hostname {
        Hostname::parse_optional(Some(value)).unwrap()
    }

    #[test]
    fn parses_and_refuses() {
        assert_eq!(host("WWW.Example.com"), Hostname::Exact("www.example.com".into()));
        assert_eq!(host("*.example.com"), Hostname::Wildcard("example.com".into()));
        assert_eq!(Hostname::parse_optional(None), Ok(Hostname::Any));
        for bad in ["", "a..b", "*", "a.*.b", "*x.com", "1.2.3.4", "-a.com", "a_b.com", "a.com:80"] {
            assert!(Hostname::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wildcard_needs_a_label_and_takes_many() {
        assert!(host("*.example.com").covers(&host("a.example.com")));
        assert!(host("*.example.com").covers(&host("a.b.example.com")));
        assert!(host("*.example.com").covers(&host("*.b.example.com")));
        assert!(!host("*.example.com").covers(&host("example.com")));
        assert!(!host("*.example.com").covers(&host("xexample.com")));
        assert!(!host("a.example.com").covers(&host("*.example.com")));
    }

    #[test]
    fn intersection_is_the_narrower_one() {
        assert_eq!(host("*.example.com").intersection(&host("a.example.com")), Some(host("a.example.com")));
        assert_eq!(host("a.example.com").intersection(&host("*.example.com")), Some(host("a.example.com")));
        assert_eq!(host("*.a.com").intersection(&host("*.b.com")), None);
        assert_eq!(Hostname::Any.intersection(&host("*.b.com")), Some(host("*.b.com")));
    }

    #[test]
    fn wider_ones_are_those_that_cover() {
        for (hostname, expected) in [
            ("a.b.com", &["a.b.com", "*.b.com", "*.com", "*"][..]),
            ("*.b.com", &["*.b.com", "*.com", "*"]),
            ("localhost", &["localhost", "*"]),
            ("*", &["*"]),
        ] {
            let hostname = host(hostname);
            let wider: Vec<Hostname> = hostname.and_wider().collect();
            assert_eq!(wider.iter().map(Hostname::domain).collect::<Vec<_>>(), expected);
            assert!(wider.iter().all(|wider| wider.covers(&hostname)) && wider.is_sorted());
        }
    }

    #[test]
    fn orders_from_specific_to_general() {
        let mut hosts = [Hostname::Any, host("*.com"), host("a.com"), host("*.example.com"), host("aa.com")];
        hosts.sort();
        let sorted: Vec<String> = hosts.iter().map(Hostname::domain).collect();
        assert_eq!(sorted, ["aa.com", "a.com", "*.example.com", "*.com", "*"]);
    }
}
