//! Extension resources that others refer to: is the object itself valid?

use postern_api::gateway_api::{condition_type, reason};
use postern_api::kgateway::{Backend, DirectResponse};

use crate::Options;
use crate::backend::forward_proxy::ForwardProxy;
use crate::backend::{config, static_backend, traffic_policy, x_backend};
use crate::dependency::Reader;
use crate::infrastructure;
use crate::object::{Kind, ObjectKey};
use crate::problem::{Fault, Problems};
use crate::route::filters;
use crate::status::{Conditions, Status, condition};
use crate::{gateway_extension, listener_policy, telemetry, unsupported};

/// The status of an object that nothing but others read; `None` if it has none.
pub(crate) fn translate(
    reader: &Reader<'_>,
    key: &ObjectKey,
    options: &Options,
) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let (generation, fault) = match key.kind {
        Kind::Backend => {
            let Some(object) = reader.get::<Backend>(&key.namespace, &key.name) else {
                return (None, problems);
            };
            let fault = match ForwardProxy::of(object) {
                Some(_) => None,
                None => static_backend::parse(object, options.provision).err(),
            };
            (object.metadata.generation, fault)
        }
        Kind::DirectResponse => {
            let Some(object) = reader.get::<DirectResponse>(&key.namespace, &key.name) else {
                return (None, problems);
            };
            (object.metadata.generation, filters::answer(object).err())
        }
        Kind::BackendConfigPolicy => return config::status::translate(reader, key, options),
        Kind::XBackendTrafficPolicy => return traffic_policy::status::translate(reader, key, options),
        Kind::XBackend => return x_backend::status::translate(reader, key, options),
        Kind::GatewayExtension => return gateway_extension::status::translate(reader, key),
        Kind::HttpListenerPolicy => return listener_policy::status(reader, key, options),
        Kind::XTelemetryPolicy => return telemetry::status(reader, key, options),
        Kind::GatewayParameters => return infrastructure::status(reader, key, options),
        _ => return unsupported::translate(reader, key),
    };
    let accepted = match &fault {
        None => condition(
            condition_type::ACCEPTED,
            true,
            reason::ACCEPTED,
            format!("the {} is valid", key.kind),
            generation,
        ),
        Some(Fault { field, message, .. }) => condition(
            condition_type::ACCEPTED,
            false,
            reason::INVALID,
            format!("{field}: {message}"),
            generation,
        ),
    };
    if let Some(Fault { field, message, remedy }) = fault {
        problems.error(key, field, message, remedy);
    }
    (Some(Status::Conditions(Conditions { conditions: vec![accepted] })), problems)
}
