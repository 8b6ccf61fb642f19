//! What a listener speaks to its clients, and what follows from it.

use crate::infrastructure::PortProtocol;
use crate::object::Kind;

/// What a listener speaks to its clients (`Listener.protocol`, and `tls.mode` where it matters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    /// Cleartext HTTP/1.1 and HTTP/2.
    Http,
    /// The same behind TLS that ends here.
    Https,
    /// TLS that ends here, around any protocol.
    TlsTerminate,
    /// TLS that ends at the backend; only the server name is read.
    TlsPassthrough,
    /// TCP connections.
    Tcp,
    /// UDP datagrams.
    Udp,
}

/// What listeners of one port have to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// Cleartext HTTP: the host of a request chooses the listener.
    Http,
    /// TLS: the server name of a connection chooses the listener.
    Tls,
    /// Nothing chooses: there is one listener.
    Tcp,
    /// Nothing chooses: there is one listener.
    Udp,
}

impl Protocol {
    /// The transport protocol of the port.
    pub(crate) const fn transport(self) -> PortProtocol {
        match self {
            Self::Udp => PortProtocol::Udp,
            _ => PortProtocol::Tcp,
        }
    }

    /// With whom a port can be shared.
    pub(crate) const fn family(self) -> Family {
        match self {
            Self::Http => Family::Http,
            Self::Https | Self::TlsTerminate | Self::TlsPassthrough => Family::Tls,
            Self::Tcp => Family::Tcp,
            Self::Udp => Family::Udp,
        }
    }

    /// The kinds of routes that can attach.
    pub(crate) const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Http | Self::Https => &[Kind::HttpRoute, Kind::GrpcRoute],
            Self::TlsTerminate => &[Kind::TlsRoute, Kind::TcpRoute],
            Self::TlsPassthrough => &[Kind::TlsRoute],
            Self::Tcp => &[Kind::TcpRoute],
            Self::Udp => &[Kind::UdpRoute],
        }
    }

    /// The scheme of URLs that lead there.
    pub(crate) const fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::TlsTerminate | Self::TlsPassthrough => "tls",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// True if requests are routed, not connections.
    pub(crate) const fn takes_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// True if a hostname tells listeners of one port apart.
    pub(crate) const fn has_hostname(self) -> bool {
        !matches!(self, Self::Tcp | Self::Udp)
    }

    /// True if TLS ends here, so that the listener needs a certificate.
    pub(crate) const fn terminates_tls(self) -> bool {
        matches!(self, Self::Https | Self::TlsTerminate)
    }
}
