//! Hosts outside of the cluster that somebody names by DNS: what may be such a name.
//!
//! A reference to a backend of another namespace needs a ReferenceGrant, and nothing on the proxy's own machine is a backend at all.
//! A name that leads there by DNS would go around both (CVE-2021-25740), so such names are refused. What the DNS answers is not
//! known here: Envoy refuses requests to the proxy's own addresses (`forward_proxy::own`); whoever must be sure about others restricts what
//! proxies may connect to.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;

use super::static_backend::StaticHost;
use crate::hostname::Hostname;

/// Names of the proxy's own machine. All below `localhost` belong to it (RFC 6761 section 6.3), the others stand in the hosts
/// files of common systems.
const LOOPBACK: [&str; 7] = [
    "localhost",
    "localhost.localdomain",
    "localhost4.localdomain4",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
    "localhost6",
];

/// Why a name is not one of a host outside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Continues "the host … ".
    pub(crate) why: &'static str,
    pub(crate) remedy: &'static str,
}

/// The host that `text` names: lower case, without the dot of the root.
pub(crate) fn host(text: &str) -> Result<String, Refused> {
    const NO_NAME: &str = "give the complete DNS name of a host outside of the cluster";
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.parse::<IpAddr>().is_ok() {
        return Err(Refused {
            why: "is an IP address, not a DNS name",
            remedy: "use a Backend of type Static, or an EndpointSlice of a Service without selector, for addresses",
        });
    }
    let Ok(Hostname::Exact(name)) = Hostname::parse(text) else {
        return Err(Refused { why: "is not a DNS name", remedy: NO_NAME });
    };
    if is_loopback_name(&name) {
        return Err(Refused {
            why: "is the proxy itself, whose own interfaces are no backends",
            remedy: "refer to the Service of what should answer",
        });
    }
    if is_of_cluster(&name) {
        return Err(Refused {
            why: "is inside of the cluster, where it would go around ReferenceGrants",
            remedy: "refer to the Service itself, with a ReferenceGrant if it is in another namespace",
        });
    }
    if !name.contains('.') || name.split('.').next_back().is_some_and(is_number) {
        return Err(Refused { why: "is not a complete DNS name", remedy: NO_NAME });
    }
    Ok(name)
}

/// True if a host, a name or an address, leads to the machine of the proxy itself, in whatever spelling.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        // Linux takes "no address" for its own.
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.octets()[0] == 0,
        Ok(IpAddr::V6(address)) => {
            let inner = address.to_ipv4();
            address.is_loopback()
                || address.is_unspecified()
                || inner.is_some_and(|inner| inner.is_loopback() || inner.octets()[0] == 0)
        }
        Err(_) => is_loopback_name(&name) || name.split('.').next_back().is_some_and(is_number),
    }
}

fn is_loopback_name(name: &str) -> bool {
    LOOPBACK.contains(&name) || name.ends_with(".localhost")
}

/// `<service>.<namespace>.svc` with whatever domain the cluster has, and everything below the usual domains of clusters and of
/// sets of them.
fn is_of_cluster(name: &str) -> bool {
    let is_below =
        |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    is_below("cluster.local") || is_below("clusterset.local") || name.split('.').skip(2).any(|it| it == "svc")
}

/// Some resolvers take a name that ends in a number for an address, `127.1` for 127.0.0.1. No top-level domain is one.
fn is_number(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
        || label.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// True if the Service is of type ExternalName.
pub(crate) fn is_external_name(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName")
}

/// The host that a Service of type ExternalName names.
pub(crate) fn name_of(service: &Service) -> Result<String, Refused> {
    host(service.spec.as_ref().and_then(|spec| spec.external_name.as_deref()).unwrap_or_default())
}

/// The host as an endpoint; with `tls`, its own name is what its certificate has to show.
pub(crate) fn endpoint(name: String, port: u16, tls: bool) -> StaticHost {
    StaticHost { sni: tls.then(|| name.clone()), host: name, port, is_absolute: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_hosts() {
        for (text, name) in [
            ("example.org", "example.org"),
            ("API.Example.org.", "api.example.org"),
            ("svc.example.org", "svc.example.org"),
            ("a.svc.example.org", "a.svc.example.org"),
            ("localhost.example.org", "localhost.example.org"),
            ("db.corp.local", "db.corp.local"),
            ("notcluster.local", "notcluster.local"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(name), "{text}");
        }
    }

    #[test]
    fn the_machine_of_the_proxy_has_many_names() {
        for host in [
            "localhost",
            "LocalHost.",
            "a.localhost",
            "ip6-loopback",
            "127.0.0.1",
            "127.8.9.1",
            "::1",
            "0.0.0.0",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["10.0.0.1", "128.0.0.1", "fd00::1", "example.org", "localhost.example.org", "a.svc", "1.example"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn what_is_no_other_host_is_refused() {
        for (text, why) in [
            ("", "is not a DNS name"),
            ("http://example.org", "is not a DNS name"),
            ("*.example.org", "is not a DNS name"),
            ("example..org", "is not a DNS name"),
            ("169.254.169.254", "is an IP address"),
            ("::1", "is an IP address"),
            ("127.1", "is not a complete"),
            ("0x7f.0x1", "is not a complete"),
            ("2130706433", "is not a complete"),
            ("localhost", "is the proxy"),
            ("LOCALHOST.", "is the proxy"),
            ("x.localhost", "is the proxy"),
            ("localhost.localdomain", "is the proxy"),
            ("ip6-loopback", "is the proxy"),
            ("api", "is not a complete"),
            ("api.payments.svc", "is inside"),
            ("api.payments.svc.cluster.local", "is inside"),
            ("api.payments.svc.other.domain", "is inside"),
            ("pod-0.api.payments.svc.other.domain", "is inside"),
            ("10-0-0-1.payments.pod.cluster.local", "is inside"),
            ("clusterset.local", "is inside"),
        ] {
            let refused = host(text).expect_err(text);
            assert!(refused.why.starts_with(why), "{text}: {}", refused.why);
        }
    }
}
