//! The extension kinds of the group `gateway.kgateway.dev`, version `v1alpha1`.
//!
//! Two dialects are read: that of the kgateway API description (the fields' own names), and the one that kgateway
//! v2.1 serves, where it differs. Where both have a field for the same thing, an object may have one of the two only.

#![expect(clippy::duplicated_attributes, reason = "several printer columns have the same type")]
#![expect(unreachable_pub, reason = "the derive of kube copies public structs into functions")]

mod ai_backend;
mod backend;
mod backend_ai;
mod backend_aws;
mod backend_balancing;
mod backend_config_policy;
mod backend_mcp;
mod backend_tls;
mod direct_response;
mod gateway_extension;
mod gateway_parameters;
mod http_listener_policy;
mod schema;
mod shared;
mod traffic_policy;
mod traffic_policy_fields;

pub use self::ai_backend::*;
pub use self::backend::*;
pub use self::backend_ai::*;
pub use self::backend_aws::*;
pub use self::backend_balancing::*;
pub use self::backend_config_policy::*;
pub use self::backend_mcp::*;
pub use self::backend_tls::*;
pub use self::direct_response::*;
pub use self::gateway_extension::*;
pub use self::gateway_parameters::*;
pub use self::http_listener_policy::*;
pub use self::shared::*;
pub use self::traffic_policy::*;
pub use self::traffic_policy_fields::*;
