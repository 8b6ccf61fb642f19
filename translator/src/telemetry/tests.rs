use super::*;
use crate::dependency::tests::{World, named, yaml};

fn read(tracing: &str) -> Result<Option<Tracing>, Error> {
    let world = World::new(&[(Kind::Service, "a/otel", "spec: {ports: [{port: 4317}]}")]);
    let spec =
        format!("{{metadata: {{namespace: a, name: p}}, spec: {{targetRefs: [], tracing: {tracing}}}}}");
    parse(&world.reader(), &yaml(&spec), &named("a/g"))
}

const PROVIDER: &str = "mode: Enabled, provider: {backendRef: {name: otel, port: 4317}}";

fn good(rest: &str) -> Tracing {
    read(&format!("{{{PROVIDER}, {rest}}}")).unwrap_or_else(|error| panic!("{rest}: {error:?}")).unwrap()
}

#[test]
fn without_being_enabled_nothing_is_traced() {
    for spec in ["{}", "{mode: Disabled}", "{mode: ImplementationDefault}"] {
        assert_eq!(read(spec).unwrap(), None, "{spec}");
    }
}

#[test]
fn defaults() {
    let tracing = good("");
    assert_eq!(tracing.cluster.name(), "a/otel:4317~h2");
    assert_eq!(
        (tracing.service_name.as_str(), tracing.sampled, tracing.ignore_parent),
        ("g.a", 1_000_000, false)
    );
}

#[test]
fn shares() {
    for (rate, expected) in
        [("{numerator: 5}", 50_000), ("{numerator: 0}", 0), ("{numerator: 1, denominator: 3}", 333_333)]
    {
        assert_eq!(good(&format!("samplingRate: {rate}")).sampled, expected, "{rate}");
    }
}

#[test]
fn what_is_wrong_names_its_field() {
    for (rest, field) in [
        ("samplingRate: {numerator: 101}", ".samplingRate"),
        ("samplingRate: {numerator: 1, denominator: 0}", ".samplingRate"),
        (
            "parentBasedSampling: {mode: Enabled, samplingRate: {numerator: 50}}",
            ".parentBasedSampling.samplingRate",
        ),
        ("parentBasedSampling: {mode: Perhaps}", ".parentBasedSampling.mode"),
        ("attributes: [{name: a, sourceType: Literal}]", ".attributes[0].literalValue"),
        ("attributes: [{name: a, sourceType: Header, headerName: 'a b'}]", ".attributes[0].headerName"),
        (
            "attributes: [{name: a, sourceType: Attribute, attributeKey: http.made.up}]",
            ".attributes[0].attributeKey",
        ),
        ("attributes: [{name: a, sourceType: Dream}]", ".attributes[0].sourceType"),
    ] {
        match read(&format!("{{{PROVIDER}, {rest}}}")) {
            Err(Error::Invalid(fault)) => assert_eq!(fault.field, format!("spec.tracing{field}"), "{rest}"),
            other => panic!("{rest}: {other:?}"),
        }
    }
    let without = read("{mode: Enabled}");
    assert!(matches!(without, Err(Error::Invalid(fault)) if fault.field == "spec.tracing.provider"));
    let gone = read("{mode: Enabled, provider: {backendRef: {name: gone, port: 1}}}");
    assert!(matches!(gone, Err(Error::Unresolved(why)) if why.field == ".name"));
}

#[test]
fn the_list_of_attributes_is_in_order() {
    assert!(ATTRIBUTES.is_sorted());
}

/// Doubled, as elsewhere in Envoy's formats, the percent sign would be sent doubled.
#[test]
fn headers_have_no_percent_sign() {
    let headers = |value: &str| {
        read(&format!(
            "{{mode: Enabled, provider: {{backendRef: {{name: otel, port: 4317}}, headers: [{{name: x-tenant, value: '{value}'}}]}}}}"
        ))
    };
    assert!(headers("shop 100").is_ok());
    let Err(Error::Invalid(fault)) = headers("shop 100%") else { panic!("it is accepted") };
    assert_eq!(fault.field, "spec.tracing.provider.headers[0].value");
}
