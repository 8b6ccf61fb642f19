//! The committed descriptor set is the one that the locked version of `envoy-types` was generated from.

use std::path::PathBuf;
use std::process::Command;

use postern_translator::descriptor;
use prost::Message;
use prost_reflect::prost_types::FileDescriptorSet;
use serde_json::Value;

const REGENERATE: &str = "regenerate it: cargo run -p postern-translator --example strip-descriptor -- \
                          <envoy-types>/src/generated/types.bin translator/src/descriptor.bin";

/// This platform; what other platforms need may never have been downloaded.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host").to_owned()
}

/// The source folder of the `envoy-types` that this workspace is locked to.
fn envoy_types() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", &host()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let found: Vec<&Value> = packages.iter().filter(|p| p["name"] == "envoy-types").collect();
    let [package] = found.as_slice() else { panic!("{} versions of envoy-types are locked", found.len()) };
    let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a manifest path"));
    manifest.parent().expect("a folder").to_owned()
}

fn set(bytes: &[u8]) -> FileDescriptorSet {
    FileDescriptorSet::decode(bytes).expect("a FileDescriptorSet")
}

#[test]
fn the_committed_set_is_that_of_the_locked_crate() {
    let path = envoy_types().join("src/generated/types.bin");
    let mut expected =
        set(&std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    for file in &mut expected.file {
        file.source_code_info = None;
    }
    let committed = set(descriptor::FILE_DESCRIPTOR_SET);
    let names = |set: &FileDescriptorSet| -> Vec<String> {
        set.file.iter().map(|file| file.name().to_owned()).collect()
    };
    assert_eq!(names(&committed), names(&expected), "descriptor.bin has other files; {REGENERATE}");
    for (committed, expected) in committed.file.iter().zip(&expected.file) {
        // Printing both files would fill the screen.
        assert!(committed == expected, "{} differs in descriptor.bin; {REGENERATE}", expected.name());
    }
    assert_eq!(
        descriptor::FILE_DESCRIPTOR_SET.len(),
        expected.encoded_len(),
        "descriptor.bin holds more than the descriptors; {REGENERATE}"
    );
}

#[test]
fn every_resource_type_has_a_descriptor() {
    for resource_type in postern_translator::ResourceType::ALL {
        let name = resource_type.message_name();
        assert!(descriptor::pool().get_message_by_name(name).is_some(), "{name}");
    }
}
