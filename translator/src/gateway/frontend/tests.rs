use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::Options;
use crate::dependency::tests::{World, object};
use crate::gateway::{GatewayOutput, translate};
use crate::object::Kind;
use crate::store::Change;
use crate::tls::secret::SecretId;

fn authority() -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    format!("data: {{ca.crt: {:?}}}", issuer.pem())
}

fn certificate() -> String {
    let key = KeyPair::generate().unwrap();
    let pem = CertificateParams::new(vec!["x.org".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    format!("stringData: {{tls.crt: {pem:?}, tls.key: {:?}}}", key.serialize_pem())
}

const LISTENERS: &str = "{name: one, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}, \
                         {name: two, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}, \
                         {name: plain, port: 80, protocol: HTTP}";

/// A Gateway `a/g` with these settings; `a/ca` holds an authority, `a/empty` does not, and `b/far` may not be read.
fn output(frontend: &str, listeners: &str) -> GatewayOutput {
    let spec =
        format!("spec: {{gatewayClassName: c, tls: {{frontend: {{{frontend}}}}}, listeners: [{listeners}]}}");
    let (ca, cert) = (authority(), certificate());
    let world = World::new(&[
        (Kind::GatewayClass, "c", "spec: {controllerName: postern.dev/gateway-controller}"),
        (Kind::Gateway, "a/g", &spec),
        (Kind::ConfigMap, "a/ca", &ca),
        (Kind::ConfigMap, "a/empty", "data: {}"),
        (Kind::ConfigMap, "b/far", &ca),
        (Kind::Secret, "a/cert", &cert),
    ]);
    let reader = world.reader();
    translate(&reader, reader.get::<Gateway>("a", "g").unwrap(), &Options::default())
}

/// `name: Accepted ResolvedRefs Programmed`, with the reasons of those that are not true.
fn listeners(output: &GatewayOutput) -> Vec<String> {
    let word = |listener: &postern_api::gateway_api::ListenerStatus, kind: &str| {
        let found = listener.conditions.iter().find(|it| it.type_ == kind).unwrap();
        if found.is_true() { "ok".to_owned() } else { found.reason.clone() }
    };
    let words = output.status.listeners.iter().map(|it| {
        format!(
            "{}: {} {} {}",
            it.name,
            word(it, "Accepted"),
            word(it, "ResolvedRefs"),
            word(it, "Programmed")
        )
    });
    words.collect()
}

fn refs(kind: &str, name: &str) -> String {
    format!("caCertificateRefs: [{{group: '', kind: {kind}, name: {name}}}]")
}

/// The mode of each listener that asks for certificates.
fn asking(output: &GatewayOutput) -> Vec<(&str, Mode)> {
    let serving = output.plan.serving.iter();
    serving.filter_map(|it| Some((it.listener.id.name.as_str(), it.tls.clients.as_ref()?.mode))).collect()
}

#[test]
fn the_port_decides_and_the_default_is_for_the_rest() {
    let default = format!("default: {{validation: {{{}}}}}", refs("ConfigMap", "ca"));
    assert_eq!(asking(&output(&default, LISTENERS)), [("one", Mode::ValidOnly), ("two", Mode::ValidOnly)]);
    let insecure = format!("validation: {{{}, mode: AllowInsecureFallback}}", refs("ConfigMap", "ca"));
    let port = |tls: &str| format!("{default}, perPort: [{{port: 8443, tls: {{{tls}}}}}]");
    let both = output(&port(&insecure), LISTENERS);
    assert_eq!(asking(&both), [("one", Mode::ValidOnly), ("two", Mode::InsecureFallback)]);
    assert_eq!(both.shared_secrets.len(), 1, "they trust the same");
    // An entry for a port takes the place of the default as a whole.
    assert_eq!(asking(&output(&port(""), LISTENERS)), [("one", Mode::ValidOnly)]);
    assert_eq!(asking(&output("default: {}", LISTENERS)), []);
}

#[test]
fn listeners_without_a_valid_authority_are_not_served() {
    for (settings, conditions) in [
        (refs("ConfigMap", "gone"), "NoValidCACertificate InvalidCACertificateRef Invalid"),
        (refs("ConfigMap", "empty"), "NoValidCACertificate InvalidCACertificateRef Invalid"),
        (refs("Service", "ca"), "NoValidCACertificate InvalidCACertificateKind Invalid"),
        (refs("ConfigMap", "far, namespace: b"), "NoValidCACertificate RefNotPermitted Invalid"),
        ("caCertificateRefs: []".to_owned(), "NoValidCACertificate InvalidCACertificateRef Invalid"),
        (refs("ConfigMap", "ca") + ", mode: Sometimes", "UnsupportedValue ok Invalid"),
        // A fallback is no reason to let in everybody because of a mistake.
        (
            refs("ConfigMap", "gone") + ", mode: AllowInsecureFallback",
            "NoValidCACertificate InvalidCACertificateRef Invalid",
        ),
    ] {
        let frontend =
            format!("default: {{}}, perPort: [{{port: 443, tls: {{validation: {{{settings}}}}}}}]");
        let output = output(&frontend, LISTENERS);
        assert_eq!(
            listeners(&output),
            [format!("one: {conditions}"), "two: ok ok ok".to_owned(), "plain: ok ok ok".to_owned()],
            "{settings}"
        );
        assert!(!output.problems.is_empty(), "{settings}");
    }
}

#[test]
fn one_of_several_authorities_is_enough() {
    let both = "caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}, {group: '', kind: ConfigMap, name: ca}]";
    let output = output(&format!("default: {{validation: {{{both}}}}}"), LISTENERS);
    assert_eq!(listeners(&output)[0], "one: ok InvalidCACertificateRef ok");
    let names: Vec<String> = output.shared_secrets.iter().map(SecretId::name).collect();
    assert_eq!(names, ["ca/configmap/a/ca,configmap/a/gone"]);
}

#[test]
fn authorities_of_other_namespaces_need_a_grant() {
    let spec = format!(
        "spec: {{gatewayClassName: c, tls: {{frontend: {{default: {{validation: {{{}}}}}}}}}, listeners: [{LISTENERS}]}}",
        refs("ConfigMap", "far, namespace: b")
    );
    let mut world = World::new(&[
        (Kind::Gateway, "a/g", &spec),
        (Kind::ConfigMap, "b/far", &authority()),
        (Kind::Secret, "a/cert", &certificate()),
    ]);
    let asked = |world: &World| {
        let reader = world.reader();
        let output = translate(&reader, reader.get::<Gateway>("a", "g").unwrap(), &Options::default());
        asking(&output).len()
    };
    assert_eq!(asked(&world), 0);
    world.store.apply(Change::Upsert(object(
        Kind::ReferenceGrant,
        "b/g",
        "spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: a}], to: [{group: '', kind: ConfigMap, name: far}]}",
    )));
    assert_eq!(asked(&world), 2);
}

/// The condition is there as long as somebody is let in without a certificate, and says where.
#[test]
fn a_fallback_is_told() {
    let told = |frontend: &str| {
        let output = output(frontend, LISTENERS);
        let found = output.status.conditions.iter().find(|it| it.type_ == "InsecureFrontendValidationMode");
        found.map(|it| (it.is_true(), it.reason.clone(), it.message.clone()))
    };
    let valid = format!("validation: {{{}}}", refs("ConfigMap", "ca"));
    let insecure = format!("validation: {{{}, mode: AllowInsecureFallback}}", refs("ConfigMap", "ca"));
    assert_eq!(told(&format!("default: {{{valid}}}")), None);
    let (holds, reason, message) =
        told(&format!("default: {{{valid}}}, perPort: [{{port: 8443, tls: {{{insecure}}}}}]")).unwrap();
    assert!(holds && message.ends_with("port 8443"), "{message}");
    assert_eq!(reason, "ConfigurationChanged");
    assert!(
        told(&format!("default: {{{insecure}}}")).unwrap().2.ends_with("ports without settings of their own")
    );
}

#[test]
fn settings_for_no_listener_are_pointed_out() {
    let entry = |port: u16| format!("{{port: {port}, tls: {{validation: {{{}}}}}}}", refs("ConfigMap", "ca"));
    let output = output(&format!("default: {{}}, perPort: [{}, {}]", entry(443), entry(80)), LISTENERS);
    let fields: Vec<&str> = output.problems.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, ["spec.tls.frontend.perPort[1].port"]);
}

/// Options that verify more need certificates that are verified at all.
#[test]
fn options_cannot_verify_what_nobody_asks_for() {
    let listener = "{name: one, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}], options: \
                    {kgateway.dev/verify-subject-alt-names: x.org}}}";
    let validation =
        |mode: &str| format!("default: {{validation: {{{}, mode: {mode}}}}}", refs("ConfigMap", "ca"));
    for (frontend, accepted) in [
        (validation("AllowValidOnly"), "one: ok ok ok"),
        (validation("AllowInsecureFallback"), "one: UnsupportedValue ok Invalid"),
        ("default: {}".to_owned(), "one: UnsupportedValue ok Invalid"),
    ] {
        assert_eq!(listeners(&output(&frontend, listener)), [accepted], "{frontend}");
    }
}
