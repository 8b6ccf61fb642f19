//! The kinds of the Gateway API v1.7.0, of the standard and of the experimental channel.
//!
//! Fields have the names of the API in Rust's case. Where the API has a default, the field is an `Option` that stays
//! `None` (files are not defaulted by an API server) and a method of the same name applies the default.

mod backend_tls_policy;
mod condition;
mod filter;
mod gateway;
mod gateway_class;
mod grpc_route;
mod http_route;
mod l4_route;
mod listener_set;
mod reference_grant;
mod session_persistence;
mod shared;
mod tcp_route;
mod tls_route;
mod udp_route;
mod x_backend;
mod x_backend_traffic_policy;
mod x_telemetry_policy;

pub use self::backend_tls_policy::*;
pub use self::condition::*;
pub use self::filter::*;
pub use self::gateway::*;
pub use self::gateway_class::*;
pub use self::grpc_route::*;
pub use self::http_route::*;
pub use self::l4_route::*;
pub use self::listener_set::*;
pub use self::reference_grant::*;
pub use self::session_persistence::*;
pub use self::shared::*;
pub use self::tcp_route::*;
pub use self::tls_route::*;
pub use self::udp_route::*;
pub use self::x_backend::*;
pub use self::x_backend_traffic_policy::*;
pub use self::x_telemetry_policy::*;
