//! The page about conformance, against the reports that it is about.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use serde::Deserialize;

const PROFILES: [&str; 5] = ["GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP"];

/// A report of the suite: `sigs.k8s.io/gateway-api/conformance/apis/v1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(rename = "gatewayAPIVersion")]
    version: String,
    #[serde(rename = "gatewayAPIChannel")]
    channel: String,
    profiles: Vec<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    name: String,
    core: Status,
    #[serde(default)]
    extended: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    statistics: Statistics,
    supported_features: Vec<String>,
    unsupported_features: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statistics {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Statistics {
    fn say(&self) -> String {
        format!("{} of {}", self.passed, self.passed + self.failed + self.skipped)
    }
}

fn table(report: &Report) -> String {
    let mut table = "| profile | core tests | extended tests | extended features | not supported |\n\
                     |---|---|---|---|---|\n"
        .to_owned();
    for name in PROFILES {
        let Some(profile) = report.profiles.iter().find(|profile| profile.name == name) else {
            let _ = writeln!(table, "| {name} | not claimed | | | |");
            continue;
        };
        let Status { statistics, supported_features: supported, unsupported_features: not } =
            &profile.extended;
        let all = supported.len() + not.len();
        let missing = if not.is_empty() { "none".to_owned() } else { format!("`{}`", not.join("`, `")) };
        let _ = writeln!(
            table,
            "| {name} | {} | {} | {} of {all} | {missing} |",
            profile.core.statistics.say(),
            statistics.say(),
            supported.len(),
        );
    }
    table
}

/// `INSTA_UPDATE=always` writes the tables.
#[test]
fn the_page_says_what_the_reports_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance");
    let path = directory.join("README.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let mut expected = page.clone();
    for channel in ["standard", "experimental"] {
        let report =
            fs::read_to_string(directory.join(format!("{channel}.yaml"))).expect("the report is there");
        let report: Report = serde_yaml::from_str(&report).expect("a report of the suite");
        assert_eq!((report.version.as_str(), report.channel.as_str()), ("v1.7.0", channel));
        let begin = format!("<!-- {channel} -->\n");
        let (before, rest) = expected.split_once(&begin).expect("the page has a place for the table");
        let (_, after) = rest.split_once("<!-- end -->\n").expect("the place has an end");
        expected = format!("{before}{begin}{}<!-- end -->\n{after}", table(&report));
    }
    if env::var_os("INSTA_UPDATE").is_some_and(|value| value == "always") {
        fs::write(&path, &expected).expect("the page can be written");
        return;
    }
    assert!(
        page == expected,
        "docs/conformance/README.md is out of date: INSTA_UPDATE=always cargo test -p postern-translator --test conformance_page"
    );
}
