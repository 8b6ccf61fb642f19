use k8s_openapi::ByteString;
use prost::Message;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};

use super::*;
use crate::dependency::tests::{World, yaml};

fn secret(crt: &str, key: &str) -> Secret {
    let entry = |name: &str, text: &str| (name.to_owned(), ByteString(text.as_bytes().to_vec()));
    Secret { data: Some([entry(TLS_CERT, crt), entry(TLS_KEY, key)].into()), ..Secret::default() }
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn self_signed(key: &KeyPair) -> String {
    CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap().self_signed(key).unwrap().pem()
}

/// The field of what is wrong.
fn fault(crt: &str, key: &str) -> Option<&'static str> {
    pair(&secret(crt, key)).err().map(|(field, _, _)| field)
}

#[test]
fn certificate_and_key_belong_together() {
    let (one, other) = (key(), key());
    let certificate = self_signed(&one);
    assert_eq!(fault(&certificate, &one.serialize_pem()), None);
    assert_eq!(fault(&certificate, &other.serialize_pem()), Some("data[tls.key]"));
}

#[test]
fn a_chain_has_its_leaf_first() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, key()).unwrap();
    let leaf_key = key();
    let leaf = CertificateParams::new(vec!["a.example.com".to_owned()])
        .unwrap()
        .signed_by(&leaf_key, &authority)
        .unwrap()
        .pem();
    let pem = leaf_key.serialize_pem();
    let chain = format!("{leaf}{}", authority.pem());
    assert_eq!(fault(&chain, &pem), None);
    let (sent, _) = pair(&secret(&chain, &pem)).unwrap();
    assert_eq!(sent, chain.as_bytes(), "the chain goes to Envoy as it is");
    assert_eq!(fault(&format!("{}{leaf}", authority.pem()), &pem), Some("data[tls.key]"));
}

#[test]
fn what_is_no_certificate_or_key() {
    let own = key();
    let (certificate, pem) = (self_signed(&own), own.serialize_pem());
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    for (crt, key, field) in [
        ("", pem.as_str(), "data[tls.crt]"),
        (certificate.as_str(), "", "data[tls.key]"),
        ("garbage", &pem, "data[tls.crt]"),
        (&pem, &pem, "data[tls.crt]"),
        (&certificate, "garbage", "data[tls.key]"),
        (&certificate, &certificate, "data[tls.key]"),
        (&block("CERTIFICATE", "AAAA"), &pem, "data[tls.crt]"),
        (&block("CERTIFICATE", "not base64!"), &pem, "data[tls.crt]"),
        (&format!("{certificate}{}", block("CERTIFICATE", "AAAA")), &pem, "data[tls.crt]"),
        (&certificate, &block("PRIVATE KEY", "AAAA"), "data[tls.key]"),
        (&certificate, &block("ENCRYPTED PRIVATE KEY", "AAAA"), "data[tls.key]"),
        (&certificate[..certificate.len() / 2], &pem, "data[tls.crt]"),
    ] {
        assert_eq!(fault(crt, key), Some(field), "{crt}\n{key}");
    }
    assert_eq!(pair(&Secret::default()).err().map(|f| f.0), Some("data[tls.crt]"));
}

#[test]
fn files_may_hold_the_text_itself() {
    let own = key();
    let text = [(TLS_CERT, self_signed(&own)), (TLS_KEY, own.serialize_pem())];
    let text = text.map(|(name, value)| (name.to_owned(), value)).into();
    let secret = Secret { string_data: Some(text), ..Secret::default() };
    assert!(pair(&secret).is_ok());
}

#[test]
fn kinds_of_keys() {
    for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let own = KeyPair::generate_for(kind).unwrap();
        assert_eq!(fault(&self_signed(&own), &own.serialize_pem()), None, "{kind:?}");
    }
}

fn resolved(world: &World, tls: &str) -> (Vec<String>, BTreeMap<String, Arc<Resource>>, ListenerConditions) {
    let gateway = ObjectKey::new(Kind::Gateway, "a", "g");
    let spec: ListenerSpec = yaml(&format!("{{name: l, port: 443, protocol: HTTPS, tls: {tls}}}"));
    let (mut secrets, mut conditions, mut problems) = Default::default();
    let names = resolve(
        &world.reader(),
        &gateway,
        "spec.listeners[0]",
        &spec,
        &mut secrets,
        &mut conditions,
        &mut problems,
    );
    let faulty = conditions.unresolved.is_some() || conditions.not_accepted.is_some();
    assert_eq!(faulty, !problems.is_empty());
    (names, secrets, conditions)
}

fn world() -> World {
    let own = key();
    let (crt, pem) = (self_signed(&own), own.serialize_pem());
    let data = format!("stringData: {{tls.crt: {crt:?}, tls.key: {pem:?}}}");
    World::new(&[
        (Kind::Secret, "a/good", &data),
        (Kind::Secret, "b/far", &data),
        (Kind::Secret, "a/broken", "stringData: {tls.crt: x, tls.key: y}"),
    ])
}

#[test]
fn references_that_resolve_are_served() {
    let world = world();
    let (names, secrets, conditions) = resolved(&world, "{certificateRefs: [{name: good}]}");
    assert_eq!(names, ["a/good"]);
    assert!(conditions.unresolved.is_none() && conditions.not_programmed.is_none());
    let message = EnvoySecret::decode(secrets["a/good"].body.clone()).unwrap();
    assert_eq!(message.name, "a/good");
    // One of two is broken: the listener is served with the other, and says so.
    let (names, _, conditions) = resolved(&world, "{certificateRefs: [{name: broken}, {name: good}]}");
    assert_eq!(names, ["a/good"]);
    assert_eq!(conditions.unresolved.unwrap().0, reason::INVALID_CERTIFICATE_REF);
    assert_eq!(conditions.not_programmed, None);
}

#[test]
fn references_that_do_not_resolve_keep_the_listener_from_being_served() {
    let world = world();
    for (tls, expected) in [
        ("{}", reason::INVALID_CERTIFICATE_REF),
        ("{certificateRefs: [{name: gone}]}", reason::INVALID_CERTIFICATE_REF),
        ("{certificateRefs: [{name: broken}]}", reason::INVALID_CERTIFICATE_REF),
        ("{certificateRefs: [{name: good, kind: ConfigMap}]}", reason::INVALID_CERTIFICATE_REF),
        ("{certificateRefs: [{name: good, group: example.com}]}", reason::INVALID_CERTIFICATE_REF),
        ("{certificateRefs: [{name: far, namespace: b}]}", reason::REF_NOT_PERMITTED),
    ] {
        let (names, secrets, conditions) = resolved(&world, tls);
        assert!(names.is_empty() && secrets.is_empty(), "{tls}");
        assert_eq!(conditions.unresolved.unwrap().0, expected, "{tls}");
        assert!(conditions.not_programmed.is_some(), "{tls}");
    }
    let (_, _, conditions) = resolved(&world, "{mode: Passthrough}");
    assert_eq!(conditions.not_accepted.unwrap().0, reason::UNSUPPORTED_VALUE);
}
