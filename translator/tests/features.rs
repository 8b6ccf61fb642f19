//! The table of features, against upstream's names and against the page about it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use postern_translator::features::FEATURES;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources of the package `sigs.k8s.io/gateway-api/pkg/features`, without those about meshes.
fn upstream() -> String {
    let module = env::var_os("POSTERN_GATEWAY_API_DIR").map_or_else(
        || {
            let script = repository().join("tests/setup/gateway-api.sh");
            let output = Command::new(script).output().expect("tests/setup/gateway-api.sh starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("gateway-api")
        },
        PathBuf::from,
    );
    let files = fs::read_dir(module.join("pkg/features")).expect("the module has the package");
    files
        .map(|file| file.expect("a readable directory").path())
        .filter(|path| !path.ends_with("mesh.go"))
        .map(|path| fs::read_to_string(path).expect("a readable file"))
        .collect()
}

#[test]
fn the_table_has_every_feature_of_the_suite() {
    let source = upstream();
    // const ( Support… FeatureName = "…" ), in places without the type
    let named: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Support")?.split_once("= \"")?.1.strip_suffix('"'))
        .collect();
    let known: BTreeSet<&str> = FEATURES.iter().map(|feature| feature.name).collect();
    assert_eq!(named, known);
}

/// What the first cells of a row of the page say: a feature, and whether it is supported.
fn row(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
    Some((name, rest.split_once(' ')?.0))
}

/// `INSTA_UPDATE=always` corrects the column.
#[test]
fn the_page_says_what_is_supported() {
    let path = repository().join("docs/reference/features.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let mut listed: Vec<&str> = page.lines().filter_map(row).map(|(name, _)| name).collect();
    listed.sort_unstable();
    assert_eq!(listed, FEATURES.map(|feature| feature.name));
    let expected: String = page
        .lines()
        .map(|line| {
            let corrected = row(line).map(|(name, said)| {
                let supported = FEATURES.iter().any(|feature| feature.name == name && feature.supported);
                let said = format!("` | {said} |");
                line.replacen(&said, if supported { "` | yes |" } else { "` | no |" }, 1)
            });
            corrected.unwrap_or_else(|| line.to_owned()) + "\n"
        })
        .collect();
    if env::var_os("INSTA_UPDATE").is_some_and(|value| value == "always") {
        fs::write(&path, &expected).expect("the page can be written");
        return;
    }
    assert!(
        page == expected,
        "docs/reference/features.md is out of date: INSTA_UPDATE=always cargo test -p postern-translator --test features"
    );
}
