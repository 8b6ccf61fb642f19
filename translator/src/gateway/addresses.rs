//! Addresses of a Gateway: where Envoy listens, and where clients find it.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use postern_api::gateway_api::{AddressType, Gateway, GatewayStatusAddress, reason};

use super::programmed::Obstacle;
use crate::Options;
use crate::dependency::Reader;
use crate::infrastructure::infrastructure_name;
use crate::object::ObjectKey;
use crate::problem::Problems;

/// What follows from the addresses that a Gateway asks for.
pub(super) struct Addresses {
    /// What the Envoy listeners bind to; empty if the Gateway cannot be served.
    pub(super) bind: Vec<IpAddr>,
    /// What the status lists.
    pub(super) assigned: Vec<GatewayStatusAddress>,
    /// Why the Gateway is not accepted.
    pub(super) refused: Option<(&'static str, String)>,
    /// Why it is not programmed.
    pub(super) obstacle: Option<Obstacle>,
}

/// A requested address that has been read.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    /// Its place in `spec.addresses`.
    index: usize,
    kind: AddressType,
    /// As the user wrote it; `None` means any of the kind.
    value: Option<String>,
    ip: Option<IpAddr>,
}

/// The addresses of proxies that run beside Postern: they bind to what the Gateway asks for.
pub(super) fn local(
    key: &ObjectKey,
    gateway: &Gateway,
    options: &Options,
    problems: &mut Problems,
) -> Addresses {
    let refuse = |refused| Addresses {
        bind: Vec::new(),
        assigned: Vec::new(),
        refused: Some(refused),
        obstacle: None,
    };
    let wanted = match wanted(key, gateway, problems) {
        Ok(wanted) => wanted,
        Err(refused) => return refuse(refused),
    };
    let name = wanted.iter().find(|wanted| wanted.kind == AddressType::Hostname && wanted.value.is_some());
    if let Some(Wanted { index, .. }) = name {
        let message = "addresses of type Hostname cannot be bound".to_owned();
        let field = format!("spec.addresses[{index}].type");
        problems.error(key, field, &message, "use type IPAddress, or leave spec.addresses out");
        return refuse((reason::UNSUPPORTED_ADDRESS, message));
    }
    let mut bind: Vec<IpAddr> = wanted.iter().filter_map(|wanted| wanted.ip).collect();
    if bind.is_empty() || !options.bind_gateway_addresses {
        bind = vec![options.listen_address];
    }
    let assigned = bind.iter().map(|ip| address(AddressType::IPAddress, ip.to_string())).collect();
    Addresses { bind, assigned, refused: None, obstacle: None }
}

/// The addresses of proxies in the cluster: those of their Service. A Gateway that asks for what it cannot have is
/// served as before; its conditions say what is missing.
pub(super) fn provisioned(
    reader: &Reader<'_>,
    key: &ObjectKey,
    gateway: &Gateway,
    self_managed: bool,
    options: &Options,
    problems: &mut Problems,
) -> Addresses {
    let bind = vec![options.listen_address];
    let wanted = match wanted(key, gateway, problems) {
        Ok(wanted) => wanted,
        Err((reason, message)) => {
            let obstacle = Some(Obstacle { reason: reason::INVALID, message: message.clone() });
            return Addresses { bind, assigned: Vec::new(), refused: Some((reason, message)), obstacle };
        }
    };
    if self_managed {
        // Nobody but the user knows; the addresses that the Gateway names are taken for true.
        let assigned = wanted.iter().filter_map(Wanted::named).collect();
        return Addresses { bind, assigned, refused: None, obstacle: None };
    }
    let (assigned, obstacle) = match of_service(reader, key, gateway, problems) {
        Ok(found) => assign(&wanted, found),
        Err(obstacle) => (Vec::new(), Some(obstacle)),
    };
    Addresses { bind, assigned, refused: None, obstacle }
}

impl Wanted {
    /// The address, if a certain one is wanted.
    fn named(&self) -> Option<GatewayStatusAddress> {
        self.value.clone().map(|value| address(self.kind.clone(), value))
    }
}

type Refusal = (&'static str, String);

/// Reads `spec.addresses`.
fn wanted(key: &ObjectKey, gateway: &Gateway, problems: &mut Problems) -> Result<Vec<Wanted>, Refusal> {
    let mut out = Vec::new();
    for (index, address) in gateway.spec.addresses.iter().enumerate() {
        let value = address.value.clone().filter(|value| !value.is_empty());
        let kind = address.type_.clone().unwrap_or_default();
        let ip = value.as_deref().and_then(|value| value.parse().ok());
        let (field, message, remedy) = match (&kind, &value) {
            (AddressType::IPAddress, Some(value)) if ip.is_none() => {
                ("value", format!("{value:?} is not an IP address"), "give an IPv4 or IPv6 address")
            }
            (AddressType::IPAddress | AddressType::Hostname, _) => {
                out.push(Wanted { index, kind, value, ip });
                continue;
            }
            (other, _) => (
                "type",
                format!("addresses of type {} are not supported", other.as_ref()),
                "use type IPAddress or Hostname, or leave spec.addresses out",
            ),
        };
        problems.error(key, format!("spec.addresses[{index}].{field}"), &message, remedy);
        return Err((reason::UNSUPPORTED_ADDRESS, message));
    }
    Ok(out)
}

/// What the Service of a Gateway has.
struct Found {
    service: String,
    addresses: Vec<GatewayStatusAddress>,
}

fn of_service(
    reader: &Reader<'_>,
    key: &ObjectKey,
    gateway: &Gateway,
    problems: &mut Problems,
) -> Result<Found, Obstacle> {
    let name = infrastructure_name(&key.name);
    let text = format!("Service {}/{name}", key.namespace);
    let Some(service) = reader.get::<Service>(&key.namespace, &name) else {
        let message = format!("{text} does not exist yet");
        return Err(Obstacle { reason: reason::ADDRESS_NOT_ASSIGNED, message });
    };
    let uid = gateway.metadata.uid.as_deref();
    let owners = service.metadata.owner_references.as_deref().unwrap_or_default();
    if !owners.iter().any(|owner| Some(owner.uid.as_str()) == uid) {
        let message =
            format!("{text} exists already and does not belong to the Gateway, so it is left alone");
        let remedy = "delete or rename the Service, or give the Gateway another name";
        problems.error(key, "metadata.name", &message, remedy);
        return Err(Obstacle { reason: reason::INVALID, message });
    }
    let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
    let addresses = match kind {
        "LoadBalancer" => ingress(service),
        _ => cluster_ips(service),
    };
    Ok(Found { service: format!("{text} (type {kind})"), addresses })
}

fn ingress(service: &Service) -> Vec<GatewayStatusAddress> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    let mut out = Vec::new();
    for point in ingress {
        let ip = point.ip.clone().filter(|ip| !ip.is_empty());
        out.extend(ip.map(|ip| address(AddressType::IPAddress, ip)));
        let name = point.hostname.clone().filter(|name| !name.is_empty());
        out.extend(name.map(|name| address(AddressType::Hostname, name)));
    }
    out
}

fn cluster_ips(service: &Service) -> Vec<GatewayStatusAddress> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let mut ips = spec.cluster_ips.clone().unwrap_or_default();
    if ips.is_empty() {
        ips.extend(spec.cluster_ip.clone());
    }
    ips.extend(spec.external_ips.iter().flatten().cloned());
    let ips = ips.into_iter().filter(|ip| !ip.is_empty() && ip != "None");
    ips.map(|ip| address(AddressType::IPAddress, ip)).collect()
}

/// Of what the Service has, what the Gateway asks for: all, if it asks for nothing.
fn assign(wanted: &[Wanted], found: Found) -> (Vec<GatewayStatusAddress>, Option<Obstacle>) {
    let Found { service, addresses } = found;
    let has = if addresses.is_empty() {
        "has none yet".to_owned()
    } else {
        let values: Vec<&str> = addresses.iter().map(|a| a.value.as_str()).collect();
        format!("has {}", values.join(", "))
    };
    let none = |message| Some(Obstacle { reason: reason::ADDRESS_NOT_ASSIGNED, message });
    if wanted.is_empty() {
        let obstacle = addresses.is_empty().then(|| format!("{service} has no address yet"));
        return (addresses, obstacle.and_then(none));
    }
    let mut assigned: Vec<GatewayStatusAddress> = Vec::new();
    let mut obstacle: Option<Obstacle> = None;
    for wanted in wanted {
        let fits = |address: &&GatewayStatusAddress| match wanted.named() {
            Some(named) => named.type_ == address.type_ && same(&named.value, &address.value),
            None => address.type_.as_ref() == Some(&wanted.kind),
        };
        let mut fitting = addresses.iter().filter(fits).peekable();
        if fitting.peek().is_none() {
            let missing = match wanted.named() {
                Some(named) => Obstacle {
                    reason: reason::ADDRESS_NOT_USABLE,
                    message: format!("the address {} was not given to {service}, which {has}", named.value),
                },
                None => Obstacle {
                    reason: reason::ADDRESS_NOT_ASSIGNED,
                    message: format!(
                        "{service} has no address of type {} yet; it {has}",
                        wanted.kind.as_ref()
                    ),
                },
            };
            // What the user has to mend goes before what only takes its time.
            if obstacle.as_ref().is_none_or(|o| o.reason == reason::ADDRESS_NOT_ASSIGNED) {
                obstacle = Some(missing);
            }
        }
        for address in fitting {
            let named = wanted.named().unwrap_or_else(|| address.clone());
            if !assigned.contains(&named) {
                assigned.push(named);
            }
        }
    }
    (assigned, obstacle)
}

/// True if two spellings mean one address.
fn same(a: &str, b: &str) -> bool {
    match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a.trim_end_matches('.').eq_ignore_ascii_case(b.trim_end_matches('.')),
    }
}

fn address(kind: AddressType, value: String) -> GatewayStatusAddress {
    GatewayStatusAddress { type_: Some(kind), value, ..GatewayStatusAddress::default() }
}

#[cfg(test)]
mod tests;
