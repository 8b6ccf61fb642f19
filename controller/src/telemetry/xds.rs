//! What the xDS server does, read from its hub at every scrape.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use postern_xds::{Connection, Hub, ResourceType, Snapshot};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::inspect::digest;

/// Reads a hub.
#[derive(Debug)]
pub(super) struct HubCollector {
    hub: Hub,
    /// Digests of the snapshots of the last scrape, which mostly are those of this one.
    digests: Mutex<BTreeMap<Arc<str>, (Snapshot, String)>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByType {
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByGateway {
    gateway: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Digest {
    gateway: String,
    digest: String,
}

impl HubCollector {
    pub(super) fn new(hub: Hub) -> Self {
        Self { hub, digests: Mutex::default() }
    }

    fn digests(&self) -> Vec<Digest> {
        let mut known = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = BTreeMap::new();
        for (node, snapshot) in self.hub.snapshots() {
            let digest = match known.remove(&node) {
                Some((old, digest)) if old.is_same(&snapshot) => digest,
                _ => digest(&snapshot),
            };
            now.insert(node, (snapshot, digest));
        }
        *known = now;
        known
            .iter()
            .map(|(node, (_, digest))| Digest { gateway: node.to_string(), digest: digest.clone() })
            .collect()
    }
}

impl Collector for HubCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.hub.metrics();
        let mut out = Out(&mut encoder);
        out.counter(
            "xds_streams_opened",
            "Streams of proxies that were let in.",
            None,
            totals.streams_opened,
        )?;
        out.counter("xds_streams_closed", "Streams of proxies that ended.", None, totals.streams_closed)?;
        out.counters(
            "xds_streams_refused",
            "Streams that were refused, by reason: no_token, invalid_token, expired, wrong_audience, wrong_gateway (the token of another Gateway), unavailable (nobody could verify the token), and others.",
            self.hub.refused().into_iter().map(|(reason, number)| (ByReason { reason }, number)),
        )?;
        out.counter(
            "xds_streams_expired",
            "Streams ended so that the proxy is authenticated again.",
            None,
            totals.streams_expired,
        )?;
        out.counter(
            "xds_streams_stalled",
            "Streams ended because the proxy did not read.",
            None,
            totals.streams_stalled,
        )?;
        out.counter(
            "xds_requests",
            "Requests of proxies, acknowledgements included.",
            None,
            totals.requests,
        )?;
        out.counter("xds_responses", "Responses to proxies.", None, totals.responses)?;
        out.counter("xds_sent", "Payload sent to proxies.", Some(&Unit::Bytes), totals.bytes_sent)?;
        out.counter(
            "xds_waits_expired",
            "Waits for a proxy that were given up.",
            None,
            totals.waits_expired,
        )?;
        let by_type = |number: fn(&postern_xds::TypeMetrics) -> u64| {
            ResourceType::ALL
                .into_iter()
                .map(move |t| (ByType { r#type: t.to_string() }, number(&totals.of_type(t))))
        };
        out.counters(
            "xds_resources_pushed",
            "Resources sent to proxies, by type.",
            by_type(|t| t.resources_sent),
        )?;
        out.counters("xds_acks", "Responses that proxies acknowledged, by type.", by_type(|t| t.acks))?;
        out.counters("xds_nacks", "Responses that proxies rejected, by type.", by_type(|t| t.nacks))?;

        let digests = self.digests();
        let gateways = gateways(digests.iter().map(|d| d.gateway.as_str()), &self.hub.connections());
        let by_gateway = |number: fn(&Proxies) -> u64| {
            gateways.iter().map(move |(gateway, p)| (ByGateway { gateway: gateway.clone() }, number(p)))
        };
        out.gauges("connected_proxies", "Connected proxies, by Gateway.", by_gateway(|p| p.connected))?;
        out.gauges(
            "proxies_in_sync",
            "Connected proxies that acknowledged all they were sent, by Gateway.",
            by_gateway(|p| p.in_sync),
        )?;
        out.gauges(
            "rejected_resources",
            "Resources that proxies rejected and that have not changed since, by Gateway.",
            by_gateway(|p| p.rejected),
        )?;
        out.gauges(
            "config_digest",
            "1, with a digest of everything that the proxies of a Gateway should have: it differs between replicas only while one of them is behind.",
            digests.into_iter().map(|labels| (labels, 1)),
        )
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Proxies {
    connected: u64,
    in_sync: u64,
    rejected: u64,
}

fn gateways<'a>(
    published: impl Iterator<Item = &'a str>,
    connections: &[Connection],
) -> BTreeMap<String, Proxies> {
    let mut out: BTreeMap<String, Proxies> =
        published.map(|gateway| (gateway.to_owned(), Proxies::default())).collect();
    for connection in connections {
        let proxies = out.entry(connection.node.to_string()).or_default();
        proxies.connected += 1;
        proxies.in_sync += u64::from(connection.in_sync);
        proxies.rejected += connection.rejections.len() as u64;
    }
    out
}

struct Out<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Out<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, unit, counter.metric_type())?)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
