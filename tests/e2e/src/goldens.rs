//! The inputs of the translator's golden tests.

use std::path::PathBuf;

/// Every `translator/tests/golden/<capability>/input.yaml`: the capability and the file, by name. Those about the
/// infrastructure of Gateways say nothing to an Envoy.
pub fn golden_inputs() -> Vec<(String, PathBuf)> {
    let root = crate::postern::repository().join("translator/tests/golden");
    let mut found: Vec<_> = std::fs::read_dir(&root)
        .expect("the golden inputs exist")
        .filter_map(Result::ok)
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path().join("input.yaml")))
        .filter(|(name, path)| path.is_file() && !name.starts_with("infrastructure"))
        .collect();
    found.sort();
    found
}
