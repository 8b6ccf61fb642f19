//! Addresses as the command line writes them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Value, json};

/// Where a server listens: a TCP address or a Unix domain socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host name or IP address, and port.
    Tcp(String, u16),
    /// The path of a Unix domain socket.
    Unix(PathBuf),
}

impl Address {
    pub(super) fn to_envoy(&self) -> Value {
        match self {
            Self::Tcp(host, port) => json!({"socket_address": {"address": host, "port_value": port}}),
            Self::Unix(path) => json!({"pipe": {"path": path}}),
        }
    }

    pub(super) fn is_host_name(&self) -> bool {
        matches!(self, Self::Tcp(host, _) if host.parse::<std::net::IpAddr>().is_err())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.ip().to_string(), address.port())
    }
}

/// Text that is neither `HOST:PORT` nor `unix:PATH`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT, [IPV6]:PORT or unix:PATH")]
pub struct InvalidAddress;

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(InvalidAddress) } else { Ok(Self::Unix(path.into())) };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress)?;
        let port = port.parse().map_err(|_| InvalidAddress)?;
        if host.is_empty() || host.contains([':', '/', ' ']) {
            return Err(InvalidAddress);
        }
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_prints_them_as_they_were() {
        for text in ["127.0.0.1:18000", "[::1]:18000", "xds.example:443", "unix:/run/x.sock"] {
            assert_eq!(text.parse::<Address>().expect("a valid address").to_string(), text);
        }
        for text in ["", "127.0.0.1", "::1:70000", "host:99999", "unix:", ":80", "http://x:80"] {
            assert_eq!(text.parse::<Address>(), Err(InvalidAddress), "{text}");
        }
    }
}
