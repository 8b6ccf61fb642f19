//! What policies can say, each thing once, whatever the dialect.

use std::collections::BTreeSet;
use std::time::Duration;

use super::buffer::Buffer;
use super::csrf::Csrf;
use super::local_rate_limit::LocalRateLimit;
use super::rbac::Rbac;
use super::setting::Setting;
use crate::envoy::{Any, slot};
use crate::gateway_extension::Uses;
use crate::route::cors::Cors;
use crate::route::headers::HeaderModifier;
use crate::route::retry::Retry;
use crate::transformation::Transformation;

/// The size of bodies up to which transformations hold messages back, if the policy does not say (as in kgateway v2.1).
const BODY_BYTES: u64 = 1024 * 1024;

/// The name of a field, as statuses have it.
pub(crate) type FieldName = &'static str;

/// The fields that a policy can set; `None` leaves the field to others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields {
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) request_headers: Option<HeaderModifier>,
    pub(crate) response_headers: Option<HeaderModifier>,
    pub(crate) cors: Option<Setting<Cors>>,
    pub(crate) csrf: Option<Csrf>,
    pub(crate) rbac: Option<Rbac>,
    pub(crate) local_rate_limit: Option<Setting<LocalRateLimit>>,
    pub(crate) buffer: Option<Setting<Buffer>>,
    pub(crate) transformation: Option<Transformation>,
    pub(crate) extensions: Uses,
    /// The Host header becomes the name of the backend.
    pub(crate) auto_host: Option<bool>,
}

/// What is done with each field alike.
macro_rules! each_field {
    ($( $name:literal $($field:ident).+, )+) => {
        impl Fields {
            /// The fields that are set.
            pub(crate) fn names(&self) -> impl Iterator<Item = FieldName> {
                [$( ($name, self.$($field).+.is_some()), )+].into_iter().filter_map(|(name, set)| set.then_some(name))
            }

            /// Takes every field that is still open from `other`.
            pub(super) fn fill(&mut self, other: &Self) {
                $( if self.$($field).+.is_none() {
                    self.$($field).+.clone_from(&other.$($field).+);
                } )+
            }

            /// Leaves the fields `names` to others.
            pub(super) fn clear(&mut self, names: &BTreeSet<FieldName>) {
                $( if names.contains($name) {
                    self.$($field).+ = None;
                } )+
            }
        }
    };
}

each_field! {
    "timeout.request" request_timeout,
    "timeout.idle" idle_timeout,
    "retries" retry,
    "requestHeaderModifier" request_headers,
    "responseHeaderModifier" response_headers,
    "cors" cors,
    "csrf" csrf,
    "rbac" rbac,
    "rateLimit.local" local_rate_limit,
    "rateLimit.global" extensions.limits,
    "buffer" buffer,
    "transformation" transformation,
    "extAuth" extensions.authorization,
    "extProc" extensions.processing,
    "autoHostRewrite" auto_host,
}

/// The fields that keep requests out. A policy with a more specific target, in another namespace, changes none of them unless the owner of
/// the less specific one allows it.
pub(crate) const PROTECTING: [FieldName; 3] = ["csrf", "extAuth", "rbac"];

impl Fields {
    /// Takes what `other` says of headers in addition; where both speak of one header, `self` has the last word.
    pub(super) fn combine(&mut self, other: &Self) {
        let both = |own: &mut Option<HeaderModifier>, other: &Option<HeaderModifier>| {
            if let (Some(own), Some(other)) = (own, other) {
                *own = other.clone().then(own);
            }
        };
        both(&mut self.request_headers, &other.request_headers);
        both(&mut self.response_headers, &other.response_headers);
        if let (Some(own), Some(other)) = (&mut self.transformation, &other.transformation) {
            *own = other.clone().then(own);
        }
        self.fill(other);
    }

    /// The filters that the policies bring, each with the slot of the listener that it goes into.
    pub(crate) fn slots(&self) -> Vec<(&'static str, Any)> {
        fn enabled<T>(setting: Option<&Setting<T>>) -> Option<&T> {
            setting.and_then(Setting::enabled)
        }
        let filters = [
            (slot::CSRF, self.csrf.as_ref().map(Csrf::envoy)),
            (slot::RBAC, self.rbac.as_ref().map(Rbac::envoy)),
            (slot::LOCAL_RATE_LIMIT, enabled(self.local_rate_limit.as_ref()).map(|it| it.envoy())),
            (slot::TRANSFORMATION, self.transformation.as_ref().and_then(Transformation::envoy)),
            (slot::BUFFER, enabled(self.buffer.as_ref()).map(|it| it.envoy())),
        ];
        filters.into_iter().filter_map(|(slot, filter)| Some((slot, filter?))).collect()
    }

    /// The size of bodies up to which messages can be held back, where a transformation has to.
    pub(crate) fn body_limit(&self) -> Option<u64> {
        let transforms = self.transformation.as_ref().is_some_and(Transformation::buffers);
        let own = self.buffer.as_ref().and_then(Setting::enabled).map(|buffer| buffer.max_bytes().into());
        transforms.then(|| own.unwrap_or(BODY_BYTES))
    }
}
