//! Subject alternative names that a certificate must have.

use std::net::IpAddr;

use crate::hostname::Hostname;

/// One name that a certificate may be for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SubjectName {
    /// A DNS name; a wildcard in the certificate counts (RFC 6125, section 6.4.3).
    Dns(String),
    /// Every DNS name with one label before this domain, and the wildcard of the domain itself.
    DnsBelow(String),
    /// A URI, such as a SPIFFE ID.
    Uri(String),
    /// An IP address.
    Ip(String),
}

impl SubjectName {
    /// A host name, perhaps with `*.` in front; `None` if it is none.
    pub(crate) fn host(text: &str) -> Option<Self> {
        match Hostname::parse(text).ok()? {
            Hostname::Exact(name) => Some(Self::Dns(name)),
            Hostname::Wildcard(domain) => Some(Self::DnsBelow(domain)),
            Hostname::Any => None,
        }
    }

    /// A URI with scheme and something behind it; `None` if it is none.
    pub(crate) fn uri(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let mut letters = scheme.bytes();
        let begins = letters.next().is_some_and(|b| b.is_ascii_alphabetic());
        let goes_on = letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        let readable = rest.bytes().all(|b| b.is_ascii_graphic());
        (begins && goes_on && readable && !rest.is_empty()).then(|| Self::Uri(text.to_owned()))
    }

    /// Whatever kind of name the text is: an address, a URI or a host name.
    pub(crate) fn any(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Ip(address.to_string()));
        }
        Self::host(text).or_else(|| Self::uri(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_name_is_told_by_its_form() {
        let own = ToOwned::to_owned;
        for (text, name) in [
            ("a.Example.com", Some(SubjectName::Dns(own("a.example.com")))),
            ("*.example.com", Some(SubjectName::DnsBelow(own("example.com")))),
            ("spiffe://a/ns/b", Some(SubjectName::Uri(own("spiffe://a/ns/b")))),
            ("urn:x", Some(SubjectName::Uri(own("urn:x")))),
            ("10.0.0.1", Some(SubjectName::Ip(own("10.0.0.1")))),
            ("FD00::0:1", Some(SubjectName::Ip(own("fd00::1")))),
            ("", None),
            ("*", None),
            ("a b", None),
            ("spiffe:", None),
            ("://x", None),
            ("1a:b", None),
            ("urn:a b", None),
        ] {
            assert_eq!(SubjectName::any(text), name, "{text}");
        }
        assert_eq!(SubjectName::host("10.0.0.1"), None);
    }
}
