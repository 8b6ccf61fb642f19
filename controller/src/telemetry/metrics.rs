//! The registry, and what each part of the controller counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_xds::Hub;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{
    Build, ByCall, ByCertificate, ByKind, ByKindAndResult, ByResult, InfrastructureResult, StatusResult,
    TranslationResult,
};
use super::{process, text, xds};

/// All names begin with it, except those of the process.
const PREFIX: &str = "postern";

/// Everything that is measured, by name in `docs/reference/metrics.md`. A clone counts into the same registry.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    translations: Family<ByResult, Counter>,
    translation_duration: Histogram,
    units: Counter,
    objects: Family<ByKind, Gauge>,
    invalid_objects: Family<ByKind, Gauge>,
    watch_restarts: Family<ByKind, Counter>,
    watches: Arc<Watches>,
    forbidden: Family<ByCall, Counter>,
    status_writes: Family<ByKindAndResult, Counter>,
    status_pending: Gauge,
    infrastructure: Family<ByKindAndResult, Counter>,
    leader: Gauge,
    leader_transitions: Counter,
    certificate_expiry: Family<ByCertificate, Gauge>,
}

/// Since when each watch is broken; `None` while it stands.
#[derive(Debug, Default)]
struct Watches(Mutex<BTreeMap<String, Option<Instant>>>);

impl Metrics {
    /// A registry of its own, with all metrics in it.
    pub fn new() -> Self {
        let inner = Inner {
            registry: Mutex::default(),
            translations: Family::default(),
            // From 100 µs (one route) to 26 s (a cold start of a very large cluster).
            translation_duration: Histogram::new(exponential_buckets(0.0001, 4.0, 10)),
            units: Counter::default(),
            objects: Family::default(),
            invalid_objects: Family::default(),
            watch_restarts: Family::default(),
            watches: Arc::default(),
            forbidden: Family::default(),
            status_writes: Family::default(),
            status_pending: Gauge::default(),
            infrastructure: Family::default(),
            leader: Gauge::default(),
            leader_transitions: Counter::default(),
            certificate_expiry: Family::default(),
        };
        inner.register();
        Self(Arc::new(inner))
    }

    /// Shows what `hub` serves, too. Call it once.
    pub fn observe_hub(&self, hub: Hub) {
        let collector = Box::new(xds::HubCollector::new(hub));
        self.0.registry().sub_registry_with_prefix(PREFIX).register_collector(collector);
    }

    /// Counts a translation: how it ended, how long it took, and how many units ran.
    pub fn translated(&self, result: TranslationResult, took: Duration, units: u64) {
        self.0.translations.get_or_create(&ByResult { result: result.as_str() }).inc();
        self.0.translation_duration.observe(took.as_secs_f64());
        self.0.units.inc_by(units);
    }

    /// Sets how many objects of `kind` the translator holds.
    pub fn set_objects(&self, kind: &str, number: usize) {
        set(&self.0.objects.get_or_create(&by_kind(kind)), number);
    }

    /// Sets how many objects of `kind` the API server has that cannot be read.
    pub fn set_invalid_objects(&self, kind: &str, number: usize) {
        set(&self.0.invalid_objects.get_or_create(&by_kind(kind)), number);
    }

    /// Notes that the watch of `kind` stands, or stands again: it delivered something.
    pub fn watch_healthy(&self, kind: &str) {
        self.0.watches.set(kind, |_| None);
    }

    /// Notes that the watch of `kind` failed and is being started again; changes are not heard until it stands.
    pub fn watch_failed(&self, kind: &str) {
        self.0.watch_restarts.get_or_create(&by_kind(kind)).inc();
        self.0.watches.set(kind, |since| Some(since.unwrap_or_else(Instant::now)));
    }

    /// Forgets the watch of `kind`: it was given up on purpose, for example because its CRD is gone.
    pub fn watch_stopped(&self, kind: &str) {
        self.0.watches.remove(kind);
        self.0.objects.remove(&by_kind(kind));
        self.0.invalid_objects.remove(&by_kind(kind));
    }

    /// Counts a call that the API server answered with 403: the role of the controller lacks `verb` on `resource`
    /// (plural and lower case, as in a role).
    pub fn forbidden(&self, verb: &str, resource: &str) {
        let call = ByCall { verb: verb.to_owned(), resource: resource.to_owned() };
        self.0.forbidden.get_or_create(&call).inc();
    }

    /// Counts what became of a status for an object of `kind`.
    pub fn status_write(&self, kind: &str, result: StatusResult) {
        self.0
            .status_writes
            .get_or_create(&ByKindAndResult { kind: kind.to_owned(), result: result.as_str() })
            .inc();
    }

    /// Sets how many statuses wait to be written.
    pub fn set_status_pending(&self, number: usize) {
        set(&self.0.status_pending, number);
    }

    /// Counts what became of an object of `kind` (`Deployment`, `Service`, …) that a Gateway needs.
    pub fn infrastructure(&self, kind: &str, result: InfrastructureResult) {
        self.0
            .infrastructure
            .get_or_create(&ByKindAndResult { kind: kind.to_owned(), result: result.as_str() })
            .inc();
    }

    /// Sets whether this replica leads, and counts the change if it is one.
    pub fn set_leader(&self, leads: bool) {
        if self.0.leader.set(i64::from(leads)) != i64::from(leads) {
            self.0.leader_transitions.inc();
        }
    }

    /// Sets when a certificate (`ca` or `serving`) ends.
    pub fn set_certificate_expiry(&self, certificate: &str, at: Timestamp) {
        let label = ByCertificate { certificate: certificate.to_owned() };
        self.0.certificate_expiry.get_or_create(&label).set(at.as_second());
    }

    /// All metrics in the OpenMetrics text form.
    pub fn registry_text(&self) -> String {
        let mut out = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut out, &self.0.registry()) {
            // Writing to a String does not fail; a collector might.
            tracing::error!(%error, "cannot encode the metrics");
        }
        out
    }

    /// The present value of a sample, named as in the text form: `postern_leader`,
    /// `postern_status_writes_total{kind="Gateway",result="written"}`. For tests.
    pub fn value(&self, sample: &str) -> Option<f64> {
        text::parse(&self.registry_text()).ok()?.value(sample)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Inner {
    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self) {
        let mut root = self.registry();
        root.register_collector(Box::new(process::ProcessCollector));
        let r = root.sub_registry_with_prefix(PREFIX);
        r.register(
            "build",
            "The version of Postern, as a label",
            Info::new(Build { version: env!("CARGO_PKG_VERSION") }),
        );
        r.register(
            "translations",
            "Translations of a batch of changes, by how they ended",
            self.translations.clone(),
        );
        r.register_with_unit(
            "translation_duration",
            "Time from a batch of changes to published resources",
            Unit::Seconds,
            self.translation_duration.clone(),
        );
        r.register("translation_units", "Units of translation that ran", self.units.clone());
        r.register("objects", "Objects that the translator holds, by kind", self.objects.clone());
        r.register(
            "invalid_objects",
            "Objects in the cluster that cannot be read, by kind",
            self.invalid_objects.clone(),
        );
        r.register(
            "watch_restarts",
            "Watches that failed and were started again, by kind",
            self.watch_restarts.clone(),
        );
        r.register_collector(Box::new(Arc::clone(&self.watches)));
        r.register(
            "forbidden_calls",
            "Calls that the API server refused with 403, by verb and resource: the role lacks a permission",
            self.forbidden.clone(),
        );
        r.register(
            "status_writes",
            "What became of statuses, by kind of object and result",
            self.status_writes.clone(),
        );
        r.register("status_pending", "Statuses that wait to be written", self.status_pending.clone());
        r.register(
            "infrastructure_applies",
            "What became of the objects that Gateways need, by kind and result",
            self.infrastructure.clone(),
        );
        r.register("leader", "1 on the replica that writes statuses and infrastructure", self.leader.clone());
        r.register(
            "leader_transitions",
            "How often this replica began or ceased to lead",
            self.leader_transitions.clone(),
        );
        r.register_with_unit(
            "certificate_expiry_timestamp",
            "When the certificates of the xDS server end, in seconds since 1970",
            Unit::Seconds,
            self.certificate_expiry.clone(),
        );
    }
}

impl Watches {
    fn set(&self, kind: &str, change: impl FnOnce(Option<Instant>) -> Option<Instant>) {
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match watches.get_mut(kind) {
            Some(since) => *since = change(*since),
            None => {
                watches.insert(kind.to_owned(), change(None));
            }
        }
    }

    fn remove(&self, kind: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(kind);
    }
}

impl Collector for Watches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let gauge = |lag: f64| ConstGauge::new(lag);
        let mut out = encoder.encode_descriptor(
            "watch_lag",
            "How long changes of a kind may have gone unheard: the time since its watch broke, 0 while it stands.",
            Some(&Unit::Seconds),
            gauge(0.0).metric_type(),
        )?;
        for (kind, since) in watches {
            let lag = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
            gauge(lag).encode(out.encode_family(&ByKind { kind })?)?;
        }
        Ok(())
    }
}

fn by_kind(kind: &str) -> ByKind {
    ByKind { kind: kind.to_owned() }
}

fn set(gauge: &Gauge, number: usize) {
    gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const REFERENCE: &str = include_str!("../../../docs/reference/metrics.md");

    fn everything() -> Metrics {
        let metrics = Metrics::new();
        metrics.observe_hub(Hub::new());
        metrics.translated(TranslationResult::Ok, Duration::from_millis(3), 7);
        metrics.set_objects("HTTPRoute", 4);
        metrics.set_invalid_objects("HTTPRoute", 1);
        metrics.watch_failed("HTTPRoute");
        metrics.forbidden("list", "secrets");
        metrics.status_write("Gateway", StatusResult::Written);
        metrics.set_status_pending(2);
        metrics.infrastructure("Deployment", InfrastructureResult::Applied);
        metrics.set_leader(true);
        metrics.set_certificate_expiry("ca", Timestamp::UNIX_EPOCH);
        metrics
    }

    #[test]
    fn the_text_form_is_well_formed_and_says_what_was_counted() {
        let metrics = everything();
        let read = text::parse(&metrics.registry_text()).expect("well formed");
        for (sample, value) in [
            (r#"postern_translations_total{result="ok"}"#, 1.0),
            ("postern_translation_duration_seconds_count", 1.0),
            ("postern_translation_units_total", 7.0),
            (r#"postern_objects{kind="HTTPRoute"}"#, 4.0),
            (r#"postern_watch_restarts_total{kind="HTTPRoute"}"#, 1.0),
            (r#"postern_forbidden_calls_total{verb="list",resource="secrets"}"#, 1.0),
            (r#"postern_status_writes_total{result="written",kind="Gateway"}"#, 1.0),
            (r#"postern_xds_streams_refused_total{reason="no_node"}"#, 0.0),
            (r#"postern_xds_nacks_total{type="LDS"}"#, 0.0),
            ("postern_leader_transitions_total", 1.0),
        ] {
            assert_eq!(read.value(sample), Some(value), "{sample}");
        }
        for (name, family) in &read.0 {
            assert!(family.help.len() > 10 && family.help.ends_with('.'), "{name}: {}", family.help);
            assert!(name.starts_with("postern_") || name.starts_with("process_"), "{name}");
        }
    }

    #[test]
    fn every_metric_is_in_the_reference_and_nothing_else_is() {
        let read = text::parse(&everything().registry_text()).expect("well formed");
        let exposed: BTreeSet<String> = read
            .0
            .iter()
            .map(|(name, family)| match family.kind.as_str() {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.clone(),
            })
            .collect();
        let (tables, _) = REFERENCE.split_once("## What to be woken for").expect("the section");
        let written: BTreeSet<String> = tables
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
            .map(str::to_owned)
            .collect();
        assert_eq!(exposed, written);
    }

    #[test]
    fn a_watch_lags_from_its_first_failure_until_it_stands_again() {
        let metrics = Metrics::new();
        let lag = || metrics.value(r#"postern_watch_lag_seconds{kind="Service"}"#);
        assert_eq!(lag(), None);
        metrics.watch_healthy("Service");
        assert_eq!(lag(), Some(0.0));
        metrics.watch_failed("Service");
        let first = lag().expect("a value");
        metrics.watch_failed("Service");
        assert!(first > 0.0 && lag() > Some(first), "the second failure does not begin anew");
        metrics.watch_healthy("Service");
        assert_eq!(lag(), Some(0.0));
        metrics.watch_stopped("Service");
        assert_eq!(lag(), None);
    }

    #[test]
    fn leading_twice_is_one_transition() {
        let metrics = Metrics::new();
        for leads in [false, true, true, false] {
            metrics.set_leader(leads);
        }
        assert_eq!(metrics.value("postern_leader_transitions_total"), Some(2.0));
        assert_eq!(metrics.value("postern_leader"), Some(0.0));
    }
}
