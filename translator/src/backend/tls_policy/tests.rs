use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::dependency::tests::World;

/// A ConfigMap's or a Secret's rest with a certificate authority.
pub(super) fn authority() -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    format!("data: {{ca.crt: {:?}}}", issuer.pem())
}

fn reading(validation: &str, options: &str) -> Reading {
    let ca = authority();
    let spec = format!("spec: {{targetRefs: [], validation: {{{validation}}}, options: {{{options}}}}}");
    let world = World::new(&[
        (Kind::ConfigMap, "a/ca", &ca),
        (Kind::ConfigMap, "a/empty", "data: {}"),
        (Kind::BackendTlsPolicy, "a/p", &spec),
    ]);
    let reader = world.reader();
    read(&reader, reader.get::<BackendTlsPolicy>("a", "p").unwrap())
}

const CA: &str = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]";

#[test]
fn what_a_valid_policy_says() {
    let got = reading(&format!("hostname: A.example.com, {CA}"), "postern.dev/minimum-tls-version: '1.3'");
    let tls = got.tls.unwrap();
    assert_eq!(tls.server_name.as_deref(), Some("a.example.com"));
    assert_eq!(tls.names, [SubjectName::Dns("a.example.com".to_owned())]);
    assert!(matches!(&tls.trust, Trust::Bundle(bundle) if bundle.name() == "ca/configmap/a/ca"));
    assert_eq!(tls.options.minimum, options::Version::V1_3);
    assert_eq!((got.not_accepted, got.unresolved, got.errors), (None, None, vec![]));

    let system = reading("hostname: a.example.com, wellKnownCACertificates: System", "").tls.unwrap();
    assert_eq!(system.trust, Trust::System);
}

/// GEP-1897: with names of its own, the host name is only the server name.
#[test]
fn names_of_their_own_take_the_place_of_the_host_name() {
    let names = "[{type: Hostname, hostname: '*.example.org'}, {type: URI, uri: 'spiffe://x/y'}]";
    let tls = reading(&format!("hostname: a.example.com, {CA}, subjectAltNames: {names}"), "").tls.unwrap();
    assert_eq!(tls.server_name.as_deref(), Some("a.example.com"));
    assert_eq!(
        tls.names,
        [SubjectName::DnsBelow("example.org".to_owned()), SubjectName::Uri("spiffe://x/y".to_owned())]
    );
}

#[test]
fn one_good_authority_is_enough() {
    let refs = "[{group: '', kind: ConfigMap, name: gone}, {group: '', kind: ConfigMap, name: ca}]";
    let got = reading(&format!("hostname: a.example.com, caCertificateRefs: {refs}"), "");
    assert!(got.tls.is_some());
    assert_eq!(got.not_accepted, None);
    assert_eq!(got.unresolved.map(|it| it.0), Some(reason::INVALID_CA_CERTIFICATE_REF));
}

#[test]
fn policies_that_are_not_valid_say_why() {
    let host = "hostname: a.example.com";
    let refs =
        |kind: &str, name: &str| format!("caCertificateRefs: [{{group: '', kind: {kind}, name: {name}}}]");
    let invalid = Some(reason::INVALID);
    let no_ca = Some(reason::NO_VALID_CA_CERTIFICATE);
    let bad_ref = Some(reason::INVALID_CA_CERTIFICATE_REF);
    for (validation, accepted, resolved, field) in [
        (format!("hostname: '', {CA}"), invalid, None, "spec.validation.hostname"),
        (format!("hostname: '*.example.com', {CA}"), invalid, None, "spec.validation.hostname"),
        (format!("hostname: 10.0.0.1, {CA}"), invalid, None, "spec.validation.hostname"),
        (host.to_owned(), invalid, None, "spec.validation"),
        (
            format!("{host}, {CA}, wellKnownCACertificates: System"),
            invalid,
            None,
            "spec.validation.wellKnownCACertificates",
        ),
        (
            format!("{host}, wellKnownCACertificates: x.y/Own"),
            invalid,
            None,
            "spec.validation.wellKnownCACertificates",
        ),
        (
            format!(
                "{host}, {CA}, subjectAltNames: [{{type: Hostname, hostname: h}}, {{type: URI, uri: nope}}]"
            ),
            invalid,
            None,
            "spec.validation.subjectAltNames[1].uri",
        ),
        (
            format!("{host}, {CA}, subjectAltNames: [{{type: IP}}]"),
            invalid,
            None,
            "spec.validation.subjectAltNames[0].type",
        ),
        (
            format!("{host}, {}", refs("ConfigMap", "gone")),
            no_ca,
            bad_ref,
            "spec.validation.caCertificateRefs[0].name",
        ),
        (format!("{host}, {}", refs("ConfigMap", "empty")), no_ca, bad_ref, "data[ca.crt]"),
        (
            format!("{host}, {}", refs("Service", "ca")),
            no_ca,
            Some(reason::INVALID_KIND),
            "spec.validation.caCertificateRefs[0].kind",
        ),
    ] {
        let got = reading(&validation, "");
        assert!(got.tls.is_none(), "{validation}");
        assert_eq!(got.not_accepted.map(|it| it.0), accepted, "{validation}");
        assert_eq!(got.unresolved.map(|it| it.0), resolved, "{validation}");
        assert_eq!(got.errors[0].1.field, field, "{validation}");
    }
    let got = reading(&format!("{host}, {CA}"), "postern.dev/cipher-suites: RC4");
    assert_eq!(got.errors[0].1.field, "spec.options[postern.dev/cipher-suites]");
    assert!(got.tls.is_none(), "weaker than what was asked for is not good enough");
}

/// A policy on the port comes before one on the whole Service, then the older one.
#[test]
fn the_most_specific_and_oldest_policy_counts() {
    let policy = |time: &str, target: &str| {
        format!(
            "spec: {{targetRefs: [{{group: '', kind: Service, name: {target}}}], validation: {{hostname: h}}}}, \
             metadata: {time}"
        )
    };
    let mut world = World::default();
    for (name, day, target) in [
        ("z-oldest", 1, "s"),
        ("a-young", 3, "s, sectionName: one"),
        ("b-young", 3, "s, sectionName: one"),
        ("c-old", 2, "s"),
        ("other-port", 1, "s, sectionName: two"),
        ("other-service", 1, "t"),
    ] {
        let text = format!(
            "{{metadata: {{namespace: a, name: {name}, creationTimestamp: '2026-01-0{day}T00:00:00Z'}}, {}}}",
            policy("", target).trim_end_matches(", metadata: ")
        );
        let object = crate::object::Object::deserialize(
            Kind::BackendTlsPolicy,
            serde_yaml::Deserializer::from_str(&text),
        )
        .unwrap();
        world.store.apply(crate::store::Change::Upsert(object));
    }
    let backend = ObjectKey::new(Kind::Service, "a", "s");
    let order = |port: Option<&str>| -> Vec<String> {
        on(&world.reader(), &backend, port).iter().map(|(_, p)| p.metadata.name.clone().unwrap()).collect()
    };
    assert_eq!(order(Some("one")), ["a-young", "b-young", "z-oldest", "c-old"]);
    assert_eq!(order(None), ["z-oldest", "c-old"]);
    assert!(asks_for_tls(&world.reader(), &backend, Some("three")));
}
