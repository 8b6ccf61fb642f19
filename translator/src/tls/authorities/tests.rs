use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::dependency::tests::World;

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn config_map(text: &str) -> Object {
    let data = [(CA_CERT.to_owned(), text.to_owned())].into();
    Object::from(ConfigMap { data: Some(data), ..ConfigMap::default() })
}

fn certificates(pem: &[u8]) -> usize {
    String::from_utf8_lossy(pem).matches("BEGIN CERTIFICATE").count()
}

/// What Envoy gets is PEM again, whatever stood around it.
#[test]
fn certificates_pass_and_nothing_else_does() {
    let (one, two) = (authority("one"), authority("two"));
    let key = KeyPair::generate().unwrap().serialize_pem();
    let text =
        format!("# the first\r\n{}\n{key}\nand another\n{}", one.pem().replace('\n', "\r\n"), two.pem());
    let pem = anchors(&config_map(&text)).unwrap();
    assert_eq!(certificates(&pem), 2);
    assert!(!String::from_utf8_lossy(&pem).contains("KEY"));
    let read: Vec<(SectionKind, Vec<u8>)> =
        <(SectionKind, Vec<u8>)>::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap();
    assert_eq!(read[0].1, one.der().to_vec());
    assert_eq!(read[1].1, two.der().to_vec());
    assert_eq!(
        anchors(&config_map(&String::from_utf8(pem.clone()).unwrap())),
        Ok(pem),
        "what is clean stays"
    );
}

#[test]
fn what_is_no_certificate_says_so() {
    let good = authority("good").pem();
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    for text in [
        String::new(),
        "garbage".to_owned(),
        KeyPair::generate().unwrap().serialize_pem(),
        block("CERTIFICATE", "AAAA"),
        block("CERTIFICATE", "not base64!"),
        good.clone() + &block("CERTIFICATE", "AAAA"),
        good.clone() + &block("X509 CRL", "AAAA"),
        good[..good.len() / 2].to_owned(),
    ] {
        let fault = anchors(&config_map(&text)).expect_err(&text);
        assert_eq!(fault.field, "data[ca.crt]", "{text}");
    }
    let empty = Object::from(ConfigMap::default());
    assert!(anchors(&empty).unwrap_err().message.contains("no ca.crt"));
}

const GATEWAY: (Kind, &str, &str) = (Kind::Gateway, "a", "g");

fn resolve_in(world: &World, references: &[(&str, &str, Option<&str>, &str)]) -> Resolved {
    let from = ObjectKey::new(GATEWAY.0, GATEWAY.1, GATEWAY.2);
    let references = references.iter().map(|(group, kind, namespace, name)| CaReference {
        group,
        kind,
        namespace: *namespace,
        name,
        field: "refs[0]".to_owned(),
    });
    resolve(&world.reader(), &from, references)
}

fn world() -> World {
    let pem = |name: &str| format!("{:?}", authority(name).pem());
    World::new(&[
        (Kind::ConfigMap, "a/one", &format!("data: {{ca.crt: {}}}", pem("one"))),
        (Kind::ConfigMap, "a/empty", "data: {ca.crt: ''}"),
        (Kind::ConfigMap, "b/far", &format!("data: {{ca.crt: {}}}", pem("far"))),
        (Kind::Secret, "a/two", &format!("stringData: {{ca.crt: {}}}", pem("two"))),
        (Kind::ClusterTrustBundle, "x.y:signer:v1", &format!("spec: {{trustBundle: {}}}", pem("three"))),
    ])
}

#[test]
fn every_kind_of_source_is_followed() {
    let world = world();
    for (reference, name) in [
        (("", "ConfigMap", None, "one"), "ca/configmap/a/one"),
        (("", "Secret", Some("a"), "two"), "ca/secret/a/two"),
        (
            ("certificates.k8s.io", "ClusterTrustBundle", None, "x.y:signer:v1"),
            "ca/clustertrustbundle/x.y:signer:v1",
        ),
    ] {
        let resolved = resolve_in(&world, &[reference]);
        let bundle = resolved.bundle.expect(name);
        assert_eq!((bundle.name().as_str(), resolved.refusals.as_slice()), (name, &[][..]));
        assert_eq!(BundleId::object(name).as_ref(), Some(&bundle.sources()[0]));
        assert!(resource(&world.reader(), &bundle).is_some(), "{name}");
    }
}

/// The name says where the certificates stand: it is the same in any order, and while one of the objects is broken.
#[test]
fn several_sources_are_one_bundle() {
    let mut world = world();
    let one = ("", "ConfigMap", None, "one");
    let two = ("", "Secret", None, "two");
    let broken = ("", "ConfigMap", None, "empty");
    let all = "ca/configmap/a/empty,configmap/a/one,secret/a/two";
    for references in [[two, broken, one], [one, two, broken]] {
        let resolved = resolve_in(&world, &references);
        assert_eq!(resolved.bundle.as_ref().map(BundleId::name).as_deref(), Some(all));
        assert_eq!(resolved.refusals.len(), 1);
        let before = resource(&world.reader(), resolved.bundle.as_ref().unwrap()).unwrap();
        assert_eq!(certificates(&before.body), 2);
    }
    let mended = crate::dependency::tests::object(
        Kind::ConfigMap,
        "a/empty",
        &format!("data: {{ca.crt: {:?}}}", authority("new").pem()),
    );
    world.store.apply(crate::store::Change::Upsert(mended));
    let resolved = resolve_in(&world, &[one, two, broken]);
    let bundle = resolved.bundle.unwrap();
    assert_eq!((bundle.name().as_str(), resolved.refusals.len()), (all, 0));
    assert_eq!(certificates(&resource(&world.reader(), &bundle).unwrap().body), 3);
}

#[test]
fn references_that_lead_nowhere() {
    let world = world();
    let trust = "certificates.k8s.io";
    for (reference, mistake, field) in [
        (("", "Service", None, "one"), Mistake::Kind, "refs[0].kind"),
        (("x", "ConfigMap", None, "one"), Mistake::Kind, "refs[0].kind"),
        (("", "ConfigMap", None, "gone"), Mistake::Content, "refs[0].name"),
        (("", "ConfigMap", None, "empty"), Mistake::Content, "data[ca.crt]"),
        (("", "ConfigMap", Some("b"), "far"), Mistake::NotPermitted, "refs[0].namespace"),
        ((trust, "ClusterTrustBundle", None, "gone"), Mistake::Content, "refs[0].name"),
        ((trust, "ClusterTrustBundle", Some("a"), "x.y:signer:v1"), Mistake::Content, "refs[0].namespace"),
    ] {
        let resolved = resolve_in(&world, &[reference]);
        assert_eq!(resolved.bundle, None, "{reference:?}");
        let refusal = &resolved.refusals[0];
        assert_eq!((refusal.mistake, refusal.fault.field.as_str()), (mistake, field), "{reference:?}");
    }
}

/// GEP-5075: a cluster that does not serve the kind is another mistake than a bundle that is not there.
#[test]
fn a_cluster_may_have_no_trust_bundles() {
    let mut world = world();
    let reference = ("certificates.k8s.io", "ClusterTrustBundle", None, "x.y:signer:v1");
    let _ = world.store.set_served(Kind::ClusterTrustBundle, false);
    assert_eq!(resolve_in(&world, &[reference]).refusals[0].mistake, Mistake::Kind);
    let _ = world.store.set_served(Kind::ClusterTrustBundle, true);
    assert!(resolve_in(&world, &[reference]).bundle.is_some());
}

#[test]
fn grants_allow_certificates_of_other_namespaces() {
    let mut world = world();
    world.store.apply(crate::store::Change::Upsert(crate::dependency::tests::object(
        Kind::ReferenceGrant,
        "b/g",
        "spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: a}], to: [{group: '', kind: ConfigMap}]}",
    )));
    let resolved = resolve_in(&world, &[("", "ConfigMap", Some("b"), "far")]);
    assert_eq!(resolved.bundle.unwrap().name(), "ca/configmap/b/far");
}
