//! Slots for HTTP filters that routes configure.
//!
//! A listener holds empty `composite` filters, and a route or a virtual host puts a filter into one of them. So a listener
//! does not change when something is protected, and the filter runs wherever the route was found, also after the fallback
//! (see `docs/adr/0002-scoped-routes.md`, "The trap"). A slot takes exactly one filter.

use envoy_types::pb::envoy::extensions::filters::http::composite::v3::{
    Composite, CompositePerRoute, ExecuteFilterAction,
};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig as XdsExtension;
use envoy_types::pb::xds::r#type::matcher::v3::{Matcher, matcher};
use prost::{Message, Name};

use super::{Any, any, extension};

/// Filters of a listener that run before the route is chosen (GEP-5224), in their order.
pub(crate) const BEFORE_ROUTING: [&str; 2] = ["postern.before_routing.1", "postern.before_routing.2"];
/// External authorization that a rule asks for.
pub(crate) const EXTERNAL_AUTH: &str = "postern.external_auth";

/// The empty slot, for the listener.
pub(crate) fn empty() -> Composite {
    Composite::default()
}

/// What a route or a virtual host says to have `filter` run in a slot.
pub(crate) fn filled<M: Message + Name>(name: &str, filter: M) -> Any {
    let action =
        ExecuteFilterAction { typed_config: Some(extension(name, filter)), ..ExecuteFilterAction::default() };
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
