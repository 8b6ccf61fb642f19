//! Slots for HTTP filters that routes configure.
//!
//! A listener holds empty `composite` filters, and a route or a virtual host puts a filter into one of them. So a listener
//! does not change when something is protected, and the filter runs wherever the route was found, also after the fallback
//! (see `docs/adr/0002-scoped-routes.md`, "The trap"). A slot takes exactly one filter, or one chain of filters.

use envoy_types::pb::envoy::extensions::filters::http::composite::v3::{
    Composite, CompositePerRoute, ExecuteFilterAction, FilterChainConfiguration,
};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig as XdsExtension;
use envoy_types::pb::xds::r#type::matcher::v3::{Matcher, matcher};
use prost::{Message, Name};

use super::{Any, TypedExtensionConfig, any, extension};

/// Filters of a listener that run before the route is chosen (GEP-5224), in their order.
pub(crate) const BEFORE_ROUTING: [&str; 2] = ["postern.before_routing.1", "postern.before_routing.2"];
/// Users and passwords that an HTTPListenerPolicy asks for.
pub(crate) const BASIC_AUTH: &str = "postern.basic_auth";
/// Conditions on requests of an HTTPListenerPolicy.
pub(crate) const CEL_VALIDATION: &str = "postern.cel_validation";
/// Protection against forged requests of other sites.
pub(crate) const CSRF: &str = "postern.csrf";
/// External authorization that a rule asks for (GEP-1494).
pub(crate) const EXTERNAL_AUTH: &str = "postern.external_auth";
/// External authorization that a policy asks for.
pub(crate) const EXT_AUTH: &str = "postern.ext_auth";
/// Conditions on requests of a policy.
pub(crate) const RBAC: &str = "postern.rbac";
/// Rate limits that each proxy counts by itself.
pub(crate) const LOCAL_RATE_LIMIT: &str = "postern.local_rate_limit";
/// Rate limits that a service counts.
pub(crate) const RATE_LIMIT: &str = "postern.rate_limit";
/// External processing.
pub(crate) const EXT_PROC: &str = "postern.ext_proc";
/// Transformation of headers and bodies.
pub(crate) const TRANSFORMATION: &str = "postern.transformation";
/// Look-up of hosts that requests name.
pub(crate) const DYNAMIC_FORWARD_PROXY: &str = "postern.dynamic_forward_proxy";
/// Buffering of requests.
pub(crate) const BUFFER: &str = "postern.buffer";

/// The slots that run once the route is chosen, in their order: who is refused costs nobody anything, and a body is held back
/// only for those who may send it.
pub(crate) const OF_ROUTES: [&str; 12] = [
    CSRF,
    BASIC_AUTH,
    CEL_VALIDATION,
    EXTERNAL_AUTH,
    EXT_AUTH,
    RBAC,
    LOCAL_RATE_LIMIT,
    RATE_LIMIT,
    EXT_PROC,
    TRANSFORMATION,
    BUFFER,
    DYNAMIC_FORWARD_PROXY,
];

/// The empty slot, for the listener.
pub(crate) fn empty() -> Composite {
    Composite::default()
}

/// What a route or a virtual host says to have `filter` run in a slot.
pub(crate) fn filled<M: Message + Name>(name: &str, filter: M) -> Any {
    executed(ExecuteFilterAction {
        typed_config: Some(extension(name, filter)),
        ..ExecuteFilterAction::default()
    })
}

/// The same of several filters, one after the other; of responses in reverse. At most one of them may hold a message back: Envoy 1.40
/// passes over those behind it once it goes on.
pub(crate) fn filled_with(filters: Vec<TypedExtensionConfig>) -> Any {
    let chain = FilterChainConfiguration { typed_config: filters };
    executed(ExecuteFilterAction { filter_chain: Some(chain), ..ExecuteFilterAction::default() })
}

fn executed(action: ExecuteFilterAction) -> Any {
    any(CompositePerRoute {
        matcher: Some(Matcher {
            on_no_match: Some(Box::new(matcher::OnMatch {
                on_match: Some(matcher::on_match::OnMatch::Action(XdsExtension {
                    name: "execute".to_owned(),
                    typed_config: Some(any(action)),
                })),
                ..matcher::OnMatch::default()
            })),
            ..Matcher::default()
        }),
    })
}
