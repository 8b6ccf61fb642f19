//! `Backend` of type DynamicForwardProxy: each request goes to the host that it names.
//!
//! All such Backends share two clusters, one with TLS and one without: Envoy finds the hosts of one by their names alone, whatever
//! cluster a request was sent to, so clusters that differ would get into each other's way.
//!
//! Clients choose the host, so what no client may reach is refused by its address, as Envoy found it in the DNS.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use postern_api::kgateway::{Backend, BackendType};

use super::{BackendObject, ClusterId, Security, Traffic, Upstream};
use crate::dependency::Reader;
use crate::object::{Kind, ObjectKey};
use crate::problem::Fault;

/// A valid Backend of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForwardProxy {
    tls: bool,
}

impl ForwardProxy {
    /// `None` if the Backend is of another type.
    pub(crate) fn of(backend: &Backend) -> Option<Self> {
        let spec = &backend.spec;
        (spec.backend_type() == Some(BackendType::DynamicForwardProxy)).then(|| {
            let given = spec.dynamic_forward_proxy.as_ref();
            Self { tls: given.and_then(|it| it.enable_tls).unwrap_or_default() }
        })
    }

    /// Its cluster, or why it cannot take this traffic, with the remedy.
    pub(crate) fn cluster(self, traffic: Traffic) -> Result<ClusterId, (&'static str, &'static str)> {
        match traffic {
            Traffic::Requests => {}
            Traffic::Grpc if self.tls => {}
            Traffic::Grpc => {
                return Err((
                    "speaks HTTP/1.1 to hosts, which gRPC cannot use",
                    "set spec.dynamicForwardProxy.enableTls of the Backend: with TLS, hosts say that they speak HTTP/2",
                ));
            }
            Traffic::Connections | Traffic::Ciphertext | Traffic::Datagrams => {
                return Err((
                    "needs the host that a request names, and here are no requests",
                    "refer to a Service, or to a Backend of type Static",
                ));
            }
        }
        let security = if self.tls { Security::Tls } else { Security::Cleartext };
        Ok(ClusterId { backend: BackendObject::ForwardProxy, upstream: Upstream::Http1, security })
    }
}

/// Why no policy about backends can be on `backend`, which `field` of it names; `None` unless it is a Backend of the type.
pub(crate) fn without_policies(reader: &Reader<'_>, backend: &ObjectKey, field: &str) -> Option<Fault> {
    if backend.kind != Kind::Backend {
        return None;
    }
    ForwardProxy::of(reader.get::<Backend>(&backend.namespace, &backend.name)?)?;
    Some(Fault::new(
        field,
        format!("{backend} is of type DynamicForwardProxy, whose connections all such Backends share"),
        "target a Service, or a Backend of type Static; for TLS, set spec.dynamicForwardProxy.enableTls of the Backend",
    ))
}

/// Addresses that nobody can be asked at, and those of the services by which machines in a cloud learn who they are.
const NEVER: [Ipv4Net; 7] = [
    UNSPECIFIED,
    // Link-local, the metadata services of most clouds among it (RFC 3927).
    v4([169, 254, 0, 0], 16),
    // Metadata services of Alibaba, Oracle and Azure.
    v4([100, 100, 100, 200], 32),
    v4([192, 0, 0, 192], 32),
    v4([168, 63, 129, 16], 32),
    // Multicast and broadcast.
    v4([224, 0, 0, 0], 4),
    v4([255, 255, 255, 255], 32),
];

const NEVER_V6: [Ipv6Net; 5] = [
    UNSPECIFIED_V6,
    v6(0xfe80 << 112, 10),
    v6(0xff << 120, 8),
    // Metadata services of Amazon and Google.
    v6(0xfd00_0ec2 << 96 | 0x254, 128),
    v6(0xfd20_00ce << 96 | 0x254, 128),
];

/// "This network", which Linux takes for its own machine.
const UNSPECIFIED: Ipv4Net = v4([0, 0, 0, 0], 8);
const UNSPECIFIED_V6: Ipv6Net = v6(0, 128);

/// The machine of the proxy itself.
const OWN: Ipv4Net = v4([127, 0, 0, 0], 8);
const OWN_V6: Ipv6Net = v6(1, 128);

/// Prefixes of IPv6 in which IPv4 addresses are written (RFC 4291 section 2.5.5.2, RFC 6052 section 2.1).
const EMBEDDING: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0)];

const fn v4(address: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = address;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(bits: u128, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), prefix)
}

/// The addresses to which no request is sent where the client names the host: those above, `others`, and, where proxies run in pods, their own.
pub(crate) fn denied(in_cluster: bool, others: &[IpNet]) -> Vec<IpNet> {
    let never = NEVER.map(IpNet::V4).into_iter().chain(NEVER_V6.map(IpNet::V6));
    let others = others.iter().map(IpNet::trunc);
    let mut out = in_all_spellings(never.chain(others));
    if in_cluster {
        out.extend(own());
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// The addresses of the proxy itself.
pub(crate) fn own() -> Vec<IpNet> {
    in_all_spellings(
        [IpNet::V4(OWN), IpNet::V4(UNSPECIFIED), IpNet::V6(OWN_V6), IpNet::V6(UNSPECIFIED_V6)].into_iter(),
    )
}

fn in_all_spellings(ranges: impl Iterator<Item = IpNet>) -> Vec<IpNet> {
    let mut out = Vec::new();
    for range in ranges {
        out.push(range);
        if let IpNet::V4(inner) = range {
            out.extend(EMBEDDING.iter().filter_map(|prefix| embedded(inner, *prefix)).map(IpNet::V6));
        }
    }
    out
}

fn embedded(inner: Ipv4Net, prefix: Ipv6Addr) -> Option<Ipv6Net> {
    let address = Ipv6Addr::from_bits(prefix.to_bits() | u128::from(inner.addr().to_bits()));
    Ipv6Net::new(address, 96 + inner.prefix_len()).ok()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn addresses_that_are_refused() {
        let others = ["10.96.0.1/12".parse().unwrap()];
        let refuses = |in_cluster: bool, text: &str| {
            let address: IpAddr = text.parse().unwrap();
            denied(in_cluster, &others).iter().any(|range| range.contains(&address))
        };
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            assert!(refuses(true, own), "{own}");
            assert!(!refuses(false, own), "{own}");
        }
        for never in [
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "168.63.129.16",
            "224.0.0.1",
            "10.100.2.3",
            "::ffff:10.100.2.3",
        ] {
            assert!(refuses(false, never), "{never}");
        }
        for open in ["93.184.216.34", "10.1.2.3", "2606:2800:220:1::1", "fd00::1", "192.168.1.1"] {
            assert!(!refuses(true, open), "{open}");
        }
    }
}
