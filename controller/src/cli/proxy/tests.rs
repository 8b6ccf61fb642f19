use super::*;
use crate::inspect::compare::{Difference, ValueDifference, What as Kind};

fn dump() -> Dump {
    Dump::parse(include_bytes!("../../../tests/data/proxy/config_dump.json")).expect("a dump")
}

fn refused() -> Dump {
    Dump::parse(include_bytes!("../../../tests/data/proxy/config_dump_refused.json")).expect("a dump")
}

fn wanted() -> Config {
    serde_json::from_slice(include_bytes!("../../../tests/data/proxy/wanted.json")).expect("a document")
}

fn tables(dump: &Dump, what: What) -> String {
    let now = "2026-11-21T16:00:00Z".parse().expect("a time");
    tables::render(dump, what, false, Paint::plain(), now)
}

#[test]
fn what_a_real_envoy_has() {
    insta::assert_snapshot!(tables(&dump(), What::All));
}

#[test]
fn a_refused_listener_says_why() {
    insta::assert_snapshot!(tables(&refused(), What::Listeners));
    assert_eq!(tables(&refused(), What::Clusters).lines().count(), 1, "headers of what was asked for");
}

#[test]
fn one_type_as_json() {
    let text = show(&dump(), What::Clusters, View::Json, Paint::plain()).expect("JSON");
    let read: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read.as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(read.pointer("/CDS/default~1app:80/content/connectTimeout"), Some(&"5s".into()));
    let names = show(&dump(), What::Endpoints, View::Name, Paint::plain()).expect("text");
    assert_eq!(names, "default/app:80\ndefault/grpc:9000~h2\n");
}

#[test]
fn differences_for_people_and_for_programs() {
    let found = vec![
        ("web-a".to_owned(), Vec::new()),
        (
            "web-b".to_owned(),
            vec![
                Difference {
                    resource_type: "LDS",
                    name: "443/tcp".to_owned(),
                    what: Kind::Refused { reason: "cannot bind '0.0.0.0:443': Permission denied".to_owned() },
                    wanted: Some("80fde44be39ef717382ba80a8a3fb6de".to_owned()),
                    actual: None,
                    values: Vec::new(),
                },
                Difference {
                    resource_type: "CDS",
                    name: "default/app:80".to_owned(),
                    what: Kind::Differs,
                    wanted: Some("be45d73e62cdfd2457e64e1d10aa6c25".to_owned()),
                    actual: Some("cab053373a44a88817798443b75ff799".to_owned()),
                    values: vec![
                        ValueDifference {
                            path: "connectTimeout".to_owned(),
                            wanted: Some("5s".into()),
                            actual: Some("7s".into()),
                        },
                        ValueDifference {
                            path: "lbPolicy".to_owned(),
                            wanted: Some("LEAST_REQUEST".into()),
                            actual: None,
                        },
                    ],
                },
            ],
        ),
    ];
    let render = |view, verbose| {
        diff::render(&found, &wanted(), view, verbose, Paint::plain()).expect("it has this form")
    };
    insta::assert_snapshot!("differences", render(View::Table, false));
    insta::assert_snapshot!("differences_verbose", render(View::Wide, true));
    insta::assert_snapshot!("differences_json", render(View::Json, false));
    assert_eq!(render(View::Name, false), "LDS/443/tcp\nCDS/default/app:80\n");
}
