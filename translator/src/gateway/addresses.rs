//! Addresses of a Gateway: where Envoy listens, and where clients find it.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use postern_api::gateway_api::{AddressType, Gateway, GatewayStatusAddress, reason};

use super::programmed::Obstacle;
use crate::Options;
use crate::dependency::Reader;
use crate::infrastructure::{Routability, infrastructure_name};
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
    /// What `AddressesAssigned` says, where anybody gives addresses.
    pub(super) assignment: Option<Assignment>,
}

/// How many of the requested addresses the Gateway has (GEP-5093).
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Assignment {
    /// All; or some, if it asks for none in particular.
    All,
    /// Some; with the others.
    Some(String),
    /// None, and why.
    None(String),
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
    routability: Routability,
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
        assignment: None,
    };
    let wanted = match wanted(key, gateway, problems) {
        Ok(wanted) => wanted,
        Err(refused) => return refuse(refused),
    };
    for Wanted { index, .. } in wanted.iter().filter(|it| it.routability != Routability::Default) {
        problems.warning(
            key,
            format!("spec.addresses[{index}].routability"),
            "there is no cluster here, so the routability has no effect",
            "remove it, or run the Gateway in a cluster",
        );
    }
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
    Addresses { bind, assigned, refused: None, obstacle: None, assignment: None }
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
            let assignment = Some(Assignment::None(message.clone()));
            let obstacle = Some(Obstacle { reason: reason::INVALID, message: message.clone() });
            let refused = Some((reason, message));
            return Addresses { bind, assigned: Vec::new(), refused, obstacle, assignment };
        }
    };
    for Wanted { index, routability, .. } in &wanted {
        if *routability == Routability::Unknown {
            let value = gateway.spec.addresses[*index].routability.as_deref().unwrap_or_default();
            problems.error(
                key,
                format!("spec.addresses[{index}].routability"),
                format!("nothing here is routable as {value:?}"),
                "use Cluster, or leave it out",
            );
        }
    }
    let (mut assigned, obstacle, assignment) = if self_managed {
        // Nobody but the user knows; the addresses that the Gateway names are taken for true.
        let named = wanted.iter().filter(|it| it.routability != Routability::Unknown);
        let named = named.filter_map(|it| it.named().map(|named| it.reporting(named, false)));
        (named.collect(), None, Assignment::All)
    } else {
        match of_service(reader, key, gateway, problems) {
            Ok(found) => assign(&wanted, found),
            Err(obstacle) => {
                let assignment = Assignment::None(obstacle.message.clone());
                (Vec::new(), Some(obstacle), assignment)
            }
        }
    };
    if !options.experimental {
        // The CRDs of the standard channel have no such field.
        for address in &mut assigned {
            address.routability = None;
        }
    }
    Addresses { bind, assigned, refused: None, obstacle, assignment: Some(assignment) }
}

impl Wanted {
    /// The address, if a certain one is wanted.
    fn named(&self) -> Option<GatewayStatusAddress> {
        self.value.clone().map(|value| address(self.kind.clone(), value))
    }

    /// `address`, saying from where it is reachable.
    fn reporting(&self, address: GatewayStatusAddress, is_cluster_ip: bool) -> GatewayStatusAddress {
        let routability = Some(self.routability.reported(is_cluster_ip).to_owned());
        GatewayStatusAddress { routability, ..address }
    }

    /// How it is called in messages.
    fn words(&self) -> String {
        let value =
            self.value.as_deref().map_or_else(|| format!("of type {}", self.kind.as_ref()), str::to_owned);
        format!("spec.addresses[{}] ({value})", self.index)
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
                out.push(Wanted { index, kind, value, ip, routability: Routability::of(address) });
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
    /// What whoever asks for nothing in particular is given.
    addresses: Vec<Given>,
    /// The cluster IPs, which every Service has.
    cluster: Vec<Given>,
}

/// An address that a Service has.
#[derive(Clone, Debug, PartialEq)]
struct Given {
    address: GatewayStatusAddress,
    is_cluster_ip: bool,
}

impl Given {
    fn outside(address: GatewayStatusAddress) -> Self {
        Self { address, is_cluster_ip: false }
    }
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
    let cluster = cluster_ips(service);
    let addresses = match kind {
        "LoadBalancer" => ingress(service).into_iter().map(Given::outside).collect(),
        _ => cluster.iter().cloned().chain(external_ips(service)).collect(),
    };
    Ok(Found { service: format!("{text} (type {kind})"), addresses, cluster })
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

fn cluster_ips(service: &Service) -> Vec<Given> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let mut ips = spec.cluster_ips.clone().unwrap_or_default();
    if ips.is_empty() {
        ips.extend(spec.cluster_ip.clone());
    }
    let ips = ips.into_iter().filter(|ip| !ip.is_empty() && ip != "None");
    ips.map(|ip| Given { address: address(AddressType::IPAddress, ip), is_cluster_ip: true }).collect()
}

fn external_ips(service: &Service) -> impl Iterator<Item = Given> {
    let ips = service.spec.iter().flat_map(|spec| spec.external_ips.iter().flatten());
    ips.filter(|ip| !ip.is_empty()).map(|ip| Given::outside(address(AddressType::IPAddress, ip.clone())))
}

/// Of what the Service has, what the Gateway asks for: one address for each request, all if it asks for nothing.
fn assign(wanted: &[Wanted], found: Found) -> (Vec<GatewayStatusAddress>, Option<Obstacle>, Assignment) {
    let Found { service, addresses, cluster } = found;
    let missing = |reason, message: String| Some(Obstacle { reason, message });
    if wanted.is_empty() {
        if addresses.is_empty() {
            let message = format!("{service} has no address yet");
            let obstacle = missing(reason::ADDRESS_NOT_ASSIGNED, message.clone());
            return (Vec::new(), obstacle, Assignment::None(message));
        }
        let report = |Given { address, is_cluster_ip }| GatewayStatusAddress {
            routability: Some(Routability::Default.reported(is_cluster_ip).to_owned()),
            ..address
        };
        return (addresses.into_iter().map(report).collect(), None, Assignment::All);
    }
    let has = if addresses.is_empty() {
        "has none yet".to_owned()
    } else {
        let values: Vec<&str> = addresses.iter().map(|given| given.address.value.as_str()).collect();
        format!("has {}", values.join(", "))
    };
    // Who names an address gets that one, then who can have few; the others share what is left.
    let turn = |wanted: &Wanted| match (&wanted.value, wanted.routability) {
        (Some(_), _) => 0,
        (None, Routability::Cluster) => 1,
        (None, _) => 2,
    };
    let mut taken: Vec<&Given> = Vec::new();
    let mut given: Vec<Option<&Given>> = vec![None; wanted.len()];
    for now in 0..=2 {
        for (wanted, place) in wanted.iter().zip(&mut given).filter(|(it, _)| turn(it) == now) {
            let pool = match wanted.routability {
                Routability::Default | Routability::Sentinel => &addresses[..],
                Routability::Cluster => &cluster[..],
                Routability::Unknown => &[],
            };
            let fits = |given: &&Given| match wanted.named() {
                Some(named) => named.type_ == given.address.type_ && same(&named.value, &given.address.value),
                None => given.address.type_.as_ref() == Some(&wanted.kind) && !taken.contains(given),
            };
            *place = pool.iter().find(fits);
            taken.extend(*place);
        }
    }
    let mut assigned: Vec<GatewayStatusAddress> = Vec::new();
    let mut unsatisfied = Vec::new();
    let mut obstacle: Option<Obstacle> = None;
    for (wanted, given) in wanted.iter().zip(given) {
        let Some(given) = given else {
            unsatisfied.push(wanted.words());
            let what = match (wanted.named(), wanted.routability) {
                (Some(named), Routability::Default) => missing(
                    reason::ADDRESS_NOT_USABLE,
                    format!("the address {} was not given to {service}, which {has}", named.value),
                ),
                (None, Routability::Default) => missing(
                    reason::ADDRESS_NOT_ASSIGNED,
                    format!("{service} has no address of type {} yet; it {has}", wanted.kind.as_ref()),
                ),
                _ => None,
            };
            // What the user has to mend goes before what only takes its time.
            if obstacle.as_ref().is_none_or(|o| o.reason == reason::ADDRESS_NOT_ASSIGNED) {
                obstacle = what.or(obstacle);
            }
            continue;
        };
        let named = wanted.named().unwrap_or_else(|| given.address.clone());
        let address = wanted.reporting(named, given.is_cluster_ip);
        if !assigned.contains(&address) {
            assigned.push(address);
        }
    }
    let message = format!("not assigned: {}", unsatisfied.join(", "));
    let assignment = match (unsatisfied.is_empty(), assigned.is_empty()) {
        (true, _) => Assignment::All,
        (false, false) => Assignment::Some(message),
        (false, true) => {
            obstacle = obstacle.or_else(|| missing(reason::ADDRESS_NOT_ASSIGNED, message.clone()));
            Assignment::None(message)
        }
    };
    (assigned, obstacle, assignment)
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
