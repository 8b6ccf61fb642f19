//! TLSRoute, TCPRoute and UDPRoute: rules about connections and datagrams. They have nothing to match on but the server
//! name, so a route has one rule, and what it adds to a listener is where the traffic of some hosts goes.

pub(crate) mod precedence;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_api::gateway_api::{L4RouteRule, reason};

use super::attach::Attachment;
use super::rule::MAX_WEIGHT;
use super::{Collected, Rules, Verdict};
use crate::backend::{ClusterId, Traffic, resolve};
use crate::dependency::{Parent, Reader};
use crate::gateway::{ListenerId, Protocol};
use crate::hostname::Hostname;
use crate::infrastructure::Port;
use crate::object::{Age, Kind, ObjectKey};
use crate::problem::{Fault, Problems};

/// What a route of connections or datagrams adds to one listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamShare {
    pub(crate) port: Port,
    pub(crate) listener: ListenerId,
    pub(crate) kind: Kind,
    pub(crate) age: Age,
    /// The server names, each with the hostname of the route that it came from; `Any` where nothing is matched.
    pub(crate) hosts: Vec<(Hostname, Hostname)>,
    /// Where the traffic goes; nowhere if there is none.
    pub(crate) targets: Arc<[Target]>,
}

impl StreamShare {
    /// The route object.
    pub(crate) fn route(&self) -> ObjectKey {
        self.age.key(self.kind)
    }
}

/// A share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// At least 1.
    pub(crate) weight: u32,
    /// `None` where the reference does not resolve: this share is refused.
    pub(crate) cluster: Option<ClusterId>,
}

/// The rules of a TLSRoute, a TCPRoute or a UDPRoute.
pub(super) struct StreamRules {
    kind: Kind,
    age: Age,
    /// Reason and message, for each rule that cannot be carried out.
    refused: Vec<Option<(&'static str, String)>>,
    unresolved: Option<(&'static str, String)>,
    targets: BTreeMap<Traffic, Arc<[Target]>>,
}

impl StreamRules {
    /// Reads the rules for listeners of these protocols.
    pub(super) fn parse(
        reader: &Reader<'_>,
        key: &ObjectKey,
        metadata: &ObjectMeta,
        rules: &[L4RouteRule],
        protocols: &BTreeSet<Protocol>,
        problems: &mut Problems,
    ) -> Self {
        let mut out = Self {
            kind: key.kind,
            age: Age::of(metadata),
            refused: vec![None; rules.len()],
            unresolved: None,
            targets: BTreeMap::new(),
        };
        for (index, refused) in out.refused.iter_mut().enumerate().skip(1) {
            let fault = Fault::new(
                format!("spec.rules[{index}]"),
                "the first rule takes all the traffic: there is nothing that rules could tell apart",
                format!("remove it, or make another {} of it", key.kind),
            );
            *refused = Some((reason::UNSUPPORTED_VALUE, format!("{}: {}", fault.field, fault.message)));
            problems.error(key, fault.field, fault.message, fault.remedy);
        }
        let rule = rules.first();
        if rule.is_none() {
            problems.error(
                key,
                "spec.rules",
                "there is no rule, so the traffic goes nowhere",
                "add a rule with backendRefs",
            );
        }
        if let Some(fault) = rule.and_then(too_heavy) {
            out.refused[0] = Some((reason::UNSUPPORTED_VALUE, format!("{}: {}", fault.field, fault.message)));
            problems.error(key, fault.field, fault.message, fault.remedy);
        }
        let mut carried: BTreeSet<Traffic> = protocols.iter().filter_map(|p| traffic(*p)).collect();
        if carried.is_empty() {
            // Attached to nothing; whether the references resolve is said all the same.
            carried.insert(if key.kind == Kind::UdpRoute { Traffic::Datagrams } else { Traffic::Ciphertext });
        }
        for traffic in carried {
            let mut targets =
                rule.map_or_else(Vec::new, |rule| out.resolve(reader, key, rule, traffic, problems));
            if out.refused.first().is_some_and(Option::is_some) {
                targets.clear();
            }
            out.targets.insert(traffic, targets.into());
        }
        out
    }

    /// The targets of a rule, one for each cluster and one for everything that does not resolve.
    fn resolve(
        &mut self,
        reader: &Reader<'_>,
        key: &ObjectKey,
        rule: &L4RouteRule,
        traffic: Traffic,
        problems: &mut Problems,
    ) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        for (index, reference) in rule.backend_refs.iter().enumerate() {
            let cluster = match resolve::carrying(reader, key, reference, traffic) {
                Ok(cluster) => Some(cluster),
                Err(fault) => {
                    let field = format!("spec.rules[0].backendRefs[{index}]{}", fault.field);
                    self.unresolved.get_or_insert((fault.reason, fault.message.clone()));
                    problems.error(key, field, fault.message, fault.remedy);
                    None
                }
            };
            let weight = reference.weight();
            if weight == 0 {
                continue;
            }
            match targets.iter_mut().find(|target| target.cluster == cluster) {
                Some(target) => target.weight = target.weight.saturating_add(weight),
                None => targets.push(Target { weight, cluster }),
            }
        }
        targets
    }
}

/// The targets as the Gateway of `parent` has them: where TLS is spoken to them, it may have a certificate to show.
fn shown_by(parent: &Parent<'_, '_>, targets: &Arc<[Target]>) -> Arc<[Target]> {
    if parent.client_certificate().is_none() {
        return Arc::clone(targets);
    }
    let shown = |target: &Target| Target {
        weight: target.weight,
        cluster: target.cluster.as_ref().map(|cluster| cluster.shown_by(parent.gateway())),
    };
    targets.iter().map(shown).collect()
}

/// The first weight that is beyond what the API allows.
fn too_heavy(rule: &L4RouteRule) -> Option<Fault> {
    let (index, reference) =
        rule.backend_refs.iter().enumerate().find(|(_, reference)| reference.weight() > MAX_WEIGHT)?;
    Some(Fault::new(
        format!("spec.rules[0].backendRefs[{index}].weight"),
        format!("{} is too much", reference.weight()),
        format!("use 0 to {MAX_WEIGHT}"),
    ))
}

/// What goes from a listener to the backends; `None` if it takes requests.
const fn traffic(protocol: Protocol) -> Option<Traffic> {
    match protocol {
        Protocol::Http | Protocol::Https => None,
        Protocol::TlsTerminate | Protocol::Tcp => Some(Traffic::Connections),
        Protocol::TlsPassthrough => Some(Traffic::Ciphertext),
        Protocol::Udp => Some(Traffic::Datagrams),
    }
}

impl Rules for StreamRules {
    fn verdicts(&self) -> Vec<Verdict<'_>> {
        self.refused
            .iter()
            .enumerate()
            .map(|(index, refused)| Verdict {
                refused: refused.as_ref(),
                is_served: false,
                unresolved: self.unresolved.as_ref().filter(|_| index == 0),
            })
            .collect()
    }

    fn serve(
        &self,
        _: &Reader<'_>,
        parent: &Parent<'_, '_>,
        attachment: &Attachment<'_>,
        share: &mut Collected,
    ) {
        let listener = attachment.listener;
        let Some(targets) = traffic(listener.protocol).and_then(|traffic| self.targets.get(&traffic)) else {
            return;
        };
        let mut hosts: BTreeMap<&Hostname, &Hostname> = BTreeMap::new();
        for (host, own) in &attachment.hosts {
            // A server name belongs to the most specific listener of the port; routes of the others do not reach it.
            let owner = parent.owner(listener.port, host).map(|owner| &owner.id);
            if listener.protocol.has_hostname() && owner != Some(&listener.id) {
                continue;
            }
            let best = hosts.entry(host).or_insert(own);
            *best = own.min(*best);
        }
        if hosts.is_empty() {
            return;
        }
        let targets = shown_by(parent, targets);
        share.clusters.extend(targets.iter().filter_map(|target| target.cluster.clone()));
        let stream = StreamShare {
            port: listener.socket(),
            listener: listener.id.clone(),
            kind: self.kind,
            age: self.age.clone(),
            hosts: hosts.into_iter().map(|(host, own)| (host.clone(), own.clone())).collect(),
            targets,
        };
        share.streams.insert((stream.port, stream.listener.clone()), Arc::new(stream));
    }
}

#[cfg(test)]
mod tests;
