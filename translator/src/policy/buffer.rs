//! Buffering of requests: a body is held back until all of it is there, and refused with 413 where it is too large.

use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::Buffer as EnvoyBuffer;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_api::kgateway::RequestBuffer;

use super::setting::Setting;
use crate::envoy::slot;
use crate::envoy::{Any, u32_value};
use crate::infrastructure::quantity;
use crate::problem::Fault;

/// The filter's name in Envoy.
const FILTER: &str = "envoy.filters.http.buffer";

/// The largest body, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Buffer {
    max_bytes: u32,
}

impl Buffer {
    /// Reads the field `buffer`; the fields of faults are relative to it.
    pub(crate) fn parse(spec: &RequestBuffer) -> Result<Setting<Self>, Fault> {
        let disabled = spec.disable.as_ref().is_some_and(|it| it.is_set());
        match (&spec.max_request_size, disabled) {
            (None, true) => Ok(Setting::Disabled),
            (Some(size), false) => Self::of_quantity(&text(size)).map(Setting::Enabled),
            _ => Err(Fault::new(
                "",
                "it says neither or both of maxRequestSize and disable",
                "give one of them",
            )),
        }
    }

    fn of_quantity(text: &str) -> Result<Self, Fault> {
        let max_bytes = quantity::bytes(text).ok_or_else(|| {
            Fault::new(
                ".maxRequestSize",
                format!("{text:?} is not a quantity of bytes between 1 and 4Gi"),
                "use a quantity such as 64Ki or 10Mi",
            )
        })?;
        Ok(Self { max_bytes })
    }

    /// The largest body, in bytes.
    pub(crate) const fn max_bytes(self) -> u32 {
        self.max_bytes
    }

    /// What fills the slot of the route.
    pub(crate) fn envoy(self) -> Any {
        slot::filled(FILTER, EnvoyBuffer { max_request_bytes: u32_value(self.max_bytes) })
    }
}

fn text(quantity: &IntOrString) -> String {
    match quantity {
        IntOrString::Int(bytes) => bytes.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    #[test]
    fn sizes_are_quantities_of_bytes() {
        let parse = |text: &str| Buffer::parse(&yaml(text));
        for (text, bytes) in [("64Ki", 65536), ("1k", 1000), ("10", 10), ("4095Mi", 4095 * 1024 * 1024)] {
            assert_eq!(
                parse(&format!("maxRequestSize: '{text}'")),
                Ok(Setting::Enabled(Buffer { max_bytes: bytes }))
            );
        }
        for text in ["0", "-1", "500m", "4Gi", "many", "1Ei"] {
            let fault = parse(&format!("maxRequestSize: '{text}'")).unwrap_err();
            assert_eq!(fault.field, ".maxRequestSize", "{text}");
        }
        assert_eq!(parse("disable: {}"), Ok(Setting::Disabled));
        for both in ["{}", "disable: false", "{disable: true, maxRequestSize: 1Ki}"] {
            assert_eq!(parse(both).unwrap_err().field, "", "{both}");
        }
    }
}
