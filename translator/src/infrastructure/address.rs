//! Addresses that a Gateway asks for.

use postern_api::gateway_api::{AddressType, GatewaySpecAddress};

use super::RequestedAddress;
use crate::hostname::Hostname;
use crate::problem::Fault;

impl RequestedAddress {
    /// Reads an address of `spec.addresses`; `None` if it leaves the choice to us. The fault's field is relative to it.
    ///
    /// # Errors
    /// When addresses of the type cannot be asked for, or the value is not of the type.
    pub(crate) fn parse(address: &GatewaySpecAddress) -> Result<Option<Self>, Fault> {
        let value = address.value.as_deref().filter(|value| !value.is_empty());
        match address.type_.as_ref().unwrap_or(&AddressType::IPAddress) {
            AddressType::IPAddress => value.map_or(Ok(None), |value| {
                value.parse().map(|ip| Some(Self::Ip(ip))).map_err(|_| {
                    Fault::new(
                        ".value",
                        format!("{value:?} is not an IP address"),
                        "give an IPv4 or IPv6 address",
                    )
                })
            }),
            AddressType::Hostname => value.map_or(Ok(None), |value| match Hostname::parse(value) {
                Ok(name @ Hostname::Exact(_)) => Ok(Some(Self::Hostname(name.domain()))),
                _ => Err(Fault::new(
                    ".value",
                    format!("{value:?} is not the name of a host"),
                    "give a DNS name, as in gateway.example.com",
                )),
            }),
            other => Err(Fault::new(
                ".type",
                format!("addresses of type {other} are not supported"),
                "use type IPAddress or Hostname, or leave spec.addresses out",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_two_types() {
        let parse = |type_: Option<&str>, value: Option<&str>| {
            RequestedAddress::parse(&GatewaySpecAddress {
                type_: type_.map(AddressType::from),
                value: value.map(str::to_owned),
                ..GatewaySpecAddress::default()
            })
        };
        let ip = |text: &str| Ok(Some(RequestedAddress::Ip(text.parse().unwrap())));
        assert_eq!(parse(None, Some("192.0.2.1")), ip("192.0.2.1"));
        assert_eq!(parse(Some("IPAddress"), Some("2001:db8::1")), ip("2001:db8::1"));
        assert_eq!(
            parse(Some("Hostname"), Some("Gateway.Example.com")),
            Ok(Some(RequestedAddress::Hostname("gateway.example.com".to_owned())))
        );
        for type_ in [None, Some("IPAddress"), Some("Hostname")] {
            assert_eq!(parse(type_, None), Ok(None), "any will do");
            assert_eq!(parse(type_, Some("")), Ok(None));
        }
        for (type_, value, field) in [
            (None, "gateway.example.com", ".value"),
            (Some("Hostname"), "*.example.com", ".value"),
            (Some("Hostname"), "not a name", ".value"),
            (Some("NamedAddress"), "public", ".type"),
            (Some("example.com/own"), "public", ".type"),
        ] {
            assert_eq!(parse(type_, Some(value)).unwrap_err().field, field, "{type_:?} {value}");
        }
        assert!(parse(Some("NamedAddress"), None).is_err());
    }
}
