//! The inputs of the translator's golden tests.

use std::path::PathBuf;

/// Every `translator/tests/golden/<capability>/input.yaml`: the capability and the file, by name.
pub fn golden_inputs() -> Vec<(String, PathBuf)> {
    let root = crate::postern::repository().join("translator/tests/golden");
    let mut found: Vec<_> = std::fs::read_dir(&root)
        .expect("the golden inputs exist")
        .filter_map(Result::ok)
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path().join("input.yaml")))
        .filter(|(_, path)| path.is_file())
        .collect();
    found.sort();
    found
}
