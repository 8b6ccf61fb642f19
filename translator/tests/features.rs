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
    let known: BTreeSet<&str> = FEATURES.into();
    assert_eq!(named, known);
}

/// A feature that the suite has no more, or that the page forgets, is as bad as one that it misses.
#[test]
fn the_page_has_every_feature() {
    let page =
        fs::read_to_string(repository().join("docs/reference/features.md")).expect("the page is there");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let mut listed: Vec<&str> = rows.map(|(name, _)| name).collect();
    listed.sort_unstable();
    assert_eq!(listed, FEATURES);
}
