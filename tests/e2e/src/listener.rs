//! Listeners with one filter more than Postern puts there, for what Postern itself never sets off.

use bytes::Bytes;
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message as _, Name as _};

/// The encoded `listener` with `first` before the HTTP filters of each filter chain.
pub(crate) fn with_filter(listener: &[u8], first: &HttpFilter) -> Bytes {
    let mut listener = Listener::decode(listener).expect("a listener of the translator");
    let chains = listener.filter_chains.iter_mut().chain(&mut listener.default_filter_chain);
    for config in chains.flat_map(|chain| &mut chain.filters).filter_map(|it| it.config_type.as_mut()) {
        if let filter::ConfigType::TypedConfig(config) = config
            && config.type_url == HttpConnectionManager::type_url()
        {
            let mut manager =
                HttpConnectionManager::decode(&*config.value).expect("an HTTP connection manager");
            manager.http_filters.insert(0, first.clone());
            *config = Any { type_url: HttpConnectionManager::type_url(), value: manager.encode_to_vec() };
        }
    }
    listener.encode_to_vec().into()
}
