//! What chooses endpoints: load balancing, health checks, outlier detection.

use std::time::Duration;

use postern_api::kgateway::{self as api, HealthCheckMethod, LocalityType};

use super::{positive, time};
use crate::problem::Fault;
use crate::route::headers;
use crate::session::{cookie_name, cookie_path};

/// How requests are spread over the endpoints.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadBalancer {
    pub(crate) panic_percent: Option<u32>,
    /// Zero: at once.
    pub(crate) merge_window: Option<Duration>,
    pub(crate) algorithm: Algorithm,
    pub(crate) by_zone: bool,
    pub(crate) close_on_change: bool,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Algorithm {
    LeastRequest { choices: Option<u32>, slow_start: Option<SlowStart> },
    RoundRobin { slow_start: Option<SlowStart> },
    RingHash { smallest: Option<u64>, greatest: Option<u64>, by_name: bool, hashed: Vec<HashBy> },
    Maglev { by_name: bool, hashed: Vec<HashBy> },
    Random,
}

/// Fewer requests for endpoints that are new.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SlowStart {
    pub(crate) window: Option<Duration>,
    pub(crate) aggression: Option<f64>,
    pub(crate) first_percent: Option<u32>,
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HashBy {
    pub(crate) what: Hashed,
    pub(crate) terminal: bool,
}

/// A part of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Hashed {
    Header(String),
    Cookie {
        name: String,
        path: String,
        ttl: Option<Duration>,
        /// Name and value.
        attributes: Vec<(&'static str, String)>,
    },
    SourceIp,
}

/// Envoy's limit for the places on a ring.
const RING_LIMIT: u64 = 8_388_608;

impl LoadBalancer {
    pub(super) fn parse(given: &api::LoadBalancer) -> Result<Self, Fault> {
        let by_zone = match &given.locality_type {
            None => false,
            Some(LocalityType::WeightedLb) => true,
            Some(LocalityType::Unknown(other)) => {
                let message = format!("{other:?} is unknown");
                return Err(Fault::new(".localityType", message, "use WeightedLb"));
            }
        };
        if given.healthy_panic_threshold.is_some_and(|percent| percent > 100) {
            return Err(Fault::new(".healthyPanicThreshold", "it is not a percentage", "use 0 to 100"));
        }
        let window = given.update_merge_window.as_deref();
        Ok(Self {
            panic_percent: given.healthy_panic_threshold,
            merge_window: window.map(|text| time(text, ".updateMergeWindow")).transpose()?,
            algorithm: algorithm(given)?,
            by_zone,
            close_on_change: given.close_connections_on_host_set_change.unwrap_or_default(),
        })
    }

    /// What of a request is hashed.
    pub(crate) fn hashed(&self) -> &[HashBy] {
        match &self.algorithm {
            Algorithm::RingHash { hashed, .. } | Algorithm::Maglev { hashed, .. } => hashed,
            Algorithm::LeastRequest { .. } | Algorithm::RoundRobin { .. } | Algorithm::Random => &[],
        }
    }

    /// True if the names of endpoints are hashed.
    pub(crate) fn by_name(&self) -> bool {
        match &self.algorithm {
            Algorithm::RingHash { by_name, .. } | Algorithm::Maglev { by_name, .. } => *by_name,
            Algorithm::LeastRequest { .. } | Algorithm::RoundRobin { .. } | Algorithm::Random => false,
        }
    }
}

fn algorithm(given: &api::LoadBalancer) -> Result<Algorithm, Fault> {
    let slow = |slow: Option<&api::SlowStart>, at: &str| {
        slow.map(|slow| slow_start(slow).map_err(|fault| fault.within(&format!("{at}.slowStart"))))
            .transpose()
    };
    let parts =
        (&given.least_request, &given.round_robin, &given.ring_hash, &given.maglev, given.random.is_some());
    match parts {
        (Some(it), None, None, None, false) => {
            if it.choice_count.is_some_and(|count| count < 2) {
                let message = "there is no choice between less than two endpoints";
                return Err(Fault::new(".leastRequest.choiceCount", message, "use 2 or more, or random"));
            }
            let slow_start = slow(it.slow_start.as_ref(), ".leastRequest")?;
            Ok(Algorithm::LeastRequest { choices: it.choice_count, slow_start })
        }
        (None, Some(it), None, None, false) => {
            Ok(Algorithm::RoundRobin { slow_start: slow(it.slow_start.as_ref(), ".roundRobin")? })
        }
        (None, None, Some(it), None, false) => ring_hash(it).map_err(|fault| fault.within(".ringHash")),
        (None, None, None, Some(it), false) => Ok(Algorithm::Maglev {
            by_name: it.use_hostname_for_hashing.unwrap_or_default(),
            hashed: hashed(&it.hash_policies).map_err(|fault| fault.within(".maglev"))?,
        }),
        (None, None, None, None, true) => Ok(Algorithm::Random),
        _ => Err(Fault::new(
            "",
            "exactly one way of choosing endpoints is needed",
            "give one of leastRequest, roundRobin, ringHash, maglev and random",
        )),
    }
}

fn slow_start(given: &api::SlowStart) -> Result<SlowStart, Fault> {
    let aggression = given.aggression.as_deref().map(|text| {
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
        number.ok_or_else(|| {
            Fault::new(
                ".aggression",
                format!("{text:?} is not a number above 0"),
                "use a number such as \"1.5\"",
            )
        })
    });
    if given.min_weight_percent.is_some_and(|percent| percent > 100) {
        return Err(Fault::new(".minWeightPercent", "it is not a percentage", "use 0 to 100"));
    }
    Ok(SlowStart {
        window: given.window.as_deref().map(|text| positive(text, ".window")).transpose()?,
        aggression: aggression.transpose()?,
        first_percent: given.min_weight_percent,
    })
}

fn ring_hash(given: &api::RingHash) -> Result<Algorithm, Fault> {
    let (smallest, greatest) = (given.minimum_ring_size, given.maximum_ring_size);
    for (size, field) in [(smallest, ".minimumRingSize"), (greatest, ".maximumRingSize")] {
        if size.is_some_and(|size| size > RING_LIMIT) {
            return Err(Fault::new(field, format!("it is more than {RING_LIMIT}"), "use a smaller ring"));
        }
    }
    if let (Some(smallest), Some(greatest)) = (smallest, greatest)
        && smallest > greatest
    {
        let message = "it is more than maximumRingSize";
        return Err(Fault::new(".minimumRingSize", message, "lower it, or raise maximumRingSize"));
    }
    Ok(Algorithm::RingHash {
        smallest,
        greatest,
        by_name: given.use_hostname_for_hashing.unwrap_or_default(),
        hashed: hashed(&given.hash_policies)?,
    })
}

fn hashed(given: &[api::HashPolicy]) -> Result<Vec<HashBy>, Fault> {
    let all = given.iter().enumerate().map(|(index, policy)| {
        let what = match (&policy.header, &policy.cookie, &policy.source_ip) {
            (Some(header), None, None) => {
                headers::name(&header.name).map(hashed_header).map_err(|fault| fault.within(".header.name"))
            }
            (None, Some(cookie), None) => hashed_cookie(cookie),
            (None, None, Some(_)) => Ok(Hashed::SourceIp),
            _ => Err(Fault::new(
                "",
                "exactly one part of the request is needed",
                "give one of header, cookie and sourceIP",
            )),
        };
        let what = what.map_err(|fault| fault.within(&format!(".hashPolicies[{index}]")))?;
        Ok(HashBy { what, terminal: policy.terminal.unwrap_or_default() })
    });
    all.collect()
}

/// Envoy knows the Host header by its name in HTTP/2 only.
fn hashed_header(name: String) -> Hashed {
    Hashed::Header(if name == "host" { ":authority".to_owned() } else { name })
}

fn hashed_cookie(given: &api::HashedCookie) -> Result<Hashed, Fault> {
    let mut attributes = Vec::new();
    if given.secure == Some(true) {
        attributes.push(("Secure", String::new()));
    }
    if given.http_only == Some(true) {
        attributes.push(("HttpOnly", String::new()));
    }
    if let Some(same_site) = &given.same_site {
        if !same_site.is_known() {
            let message = format!("{:?} is unknown", same_site.as_str());
            return Err(Fault::new(".cookie.sameSite", message, "use Strict, Lax or None"));
        }
        attributes.push(("SameSite", same_site.as_str().to_owned()));
    }
    // Without a path of its own, the cookie would be for the path of the first request only.
    let path = given.path.clone().filter(|path| !path.is_empty());
    Ok(Hashed::Cookie {
        name: cookie_name(given.name.clone())?,
        path: path.map(|path| cookie_path(Some(path))).transpose()?.unwrap_or_default(),
        ttl: given.ttl.as_deref().map(|text| time(text, ".cookie.ttl")).transpose()?,
        attributes,
    })
}

/// Requests that find out which endpoints are well.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HealthCheck {
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    pub(crate) unhealthy_threshold: u32,
    pub(crate) healthy_threshold: u32,
    pub(crate) request: CheckRequest,
}

/// What an endpoint is asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CheckRequest {
    Http { host: Option<String>, path: String, method: HealthCheckMethod },
    Grpc { service: String, authority: Option<String> },
}

impl HealthCheck {
    pub(super) fn parse(given: &api::BackendHealthCheck) -> Result<Self, Fault> {
        let text = |text: Option<&String>, field: &str| -> Result<Option<String>, Fault> {
            let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
            if text.chars().all(|c| c.is_ascii_graphic()) {
                return Ok(Some(text.clone()));
            }
            Err(Fault::new(
                field,
                format!("{text:?} has characters that it cannot have"),
                "use letters, digits, dots and hyphens",
            ))
        };
        let request = match (&given.http, &given.grpc) {
            (Some(http), None) => {
                if !http.path.starts_with('/') || !http.path.chars().all(|c| c.is_ascii_graphic()) {
                    let message = format!("{:?} is not a path", http.path);
                    return Err(Fault::new(".http.path", message, "start it with /, and leave out blanks"));
                }
                let method = http.method.clone().unwrap_or_default();
                if !method.is_known() {
                    let message = format!("{:?} is unknown", method.as_str());
                    return Err(Fault::new(
                        ".http.method",
                        message,
                        "use GET, HEAD or another method of HTTP",
                    ));
                }
                let host = text(http.host.as_ref(), ".http.host")?;
                CheckRequest::Http { host, path: http.path.clone(), method }
            }
            (None, Some(grpc)) => CheckRequest::Grpc {
                service: grpc.service_name.clone().unwrap_or_default(),
                authority: text(grpc.authority.as_ref(), ".grpc.authority")?,
            },
            _ => {
                return Err(Fault::new(
                    "",
                    "it is not said what endpoints are asked",
                    "give either http or grpc",
                ));
            }
        };
        Ok(Self {
            timeout: positive(&given.timeout, ".timeout")?,
            interval: positive(&given.interval, ".interval")?,
            unhealthy_threshold: given.unhealthy_threshold,
            healthy_threshold: given.healthy_threshold,
            request,
        })
    }
}

/// Leaving out endpoints that fail. The defaults are those of kgateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OutlierDetection {
    /// Zero: no number of failures takes an endpoint out.
    pub(crate) consecutive_5xx: u32,
    pub(crate) interval: Duration,
    pub(crate) base_ejection: Duration,
    pub(crate) max_percent: u32,
}

impl OutlierDetection {
    pub(super) fn parse(given: &api::OutlierDetection) -> Result<Self, Fault> {
        let or = |text: Option<&String>, field: &str, seconds| match text {
            Some(text) => positive(text, field),
            None => Ok(Duration::from_secs(seconds)),
        };
        let max_percent = given.max_ejection_percent.unwrap_or(10);
        if max_percent > 100 {
            return Err(Fault::new(".maxEjectionPercent", "it is not a percentage", "use 0 to 100"));
        }
        Ok(Self {
            consecutive_5xx: given.consecutive_5xx.unwrap_or(5),
            interval: or(given.interval.as_ref(), ".interval", 10)?,
            base_ejection: or(given.base_ejection_time.as_ref(), ".baseEjectionTime", 30)?,
            max_percent,
        })
    }
}
