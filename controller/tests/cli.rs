//! The commands as a person or a script meets them.

use std::path::Path;
use std::process::{Command, Output};

fn postern(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("RUST_LOG")
        .output()
        .expect("run postern")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn check_names_place_object_field_and_remedy() {
    let output = postern(&["check", "tests/data/mistakes.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!("check_human", text(&output.stdout));
    let output = postern(&["check", "--output", "json", "tests/data/mistakes.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!("check_json", text(&output.stdout));
}

#[test]
fn check_is_content_with_the_examples() {
    for example in ["quickstart", "canary"] {
        let output = postern(&["check", &format!("../examples/{example}")]);
        assert!(output.status.success(), "{example}: {}", text(&output.stdout));
        assert!(text(&output.stdout).starts_with("no mistakes found"));
    }
}

#[test]
fn check_reads_the_standard_input() {
    use std::io::Write;
    let mut child = Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(["check", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("run postern");
    child.stdin.take().expect("its input").write_all(b"kind: Gateway\n").expect("write");
    let output = child.wait_with_output().expect("wait for postern");
    assert!(
        text(&output.stdout).starts_with("-:1:1: error: `apiVersion` is missing"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn translate_gives_the_same_bytes_whatever_the_order() {
    let example = Path::new("../examples/quickstart");
    let files =
        ["backends.yaml", "gateway.yaml", "policy.yaml", "routes.yaml"].map(|file| example.join(file));
    let files = files.each_ref().map(|file| file.to_str().expect("text"));
    for extra in [&["-o", "yaml"][..], &["-o", "json"], &["--status"]] {
        let run = |paths: &[&str]| {
            let output = postern(&[&["translate"], extra, paths].concat());
            assert!(output.status.success(), "{}", text(&output.stderr));
            output.stdout
        };
        let wanted = run(&["../examples/quickstart"]);
        assert!(!wanted.is_empty());
        assert_eq!(run(&["../examples/quickstart"]), wanted, "twice");
        let mut shuffled = files;
        shuffled.reverse();
        assert_eq!(run(&shuffled), wanted, "files in another order");
        // And the documents of one stream in another order.
        let all: Vec<String> = files
            .iter()
            .flat_map(|file| {
                let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
                    .expect("a file");
                text.split("---\n").map(str::to_owned).collect::<Vec<_>>()
            })
            .rev()
            .collect();
        let directory = tempfile::tempdir().expect("a directory");
        let one = directory.path().join("one.yaml");
        std::fs::write(&one, all.join("\n---\n")).expect("write a file");
        assert_eq!(run(&[one.to_str().expect("text")]), wanted, "documents in another order");
    }
}

#[test]
fn translate_expands_nested_messages_and_hides_private_keys() {
    let output = postern(&["translate", "../translator/tests/golden/certificates/input.yaml", "-o", "json"]);
    let out = text(&output.stdout);
    assert!(out.contains("\"@type\": \"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\""));
    assert!(out.contains("[redacted]") && !out.contains("PRIVATE KEY"));
}

#[test]
fn translate_knows_which_gateways_there_are() {
    let output = postern(&["translate", "../examples/quickstart", "--gateway", "default/nope"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("no Gateway default/nope") && said.contains("there is: default/quickstart"),
        "{said}"
    );
}

#[test]
fn bootstrap_is_printed_in_both_forms() {
    let yaml = postern(&["bootstrap", "default/web", "--xds-address", "unix:/run/xds.sock"]);
    insta::assert_snapshot!("bootstrap", text(&yaml.stdout));
    let json = postern(&["bootstrap", "default/web", "--xds-address", "unix:/run/xds.sock", "-o", "json"]);
    let yaml: serde_json::Value = serde_yaml::from_slice(&yaml.stdout).expect("YAML");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(yaml, json);
}

#[test]
fn crds_are_a_stream_of_documents() {
    let output = postern(&["crds"]);
    let documents = text(&output.stdout);
    let kinds = documents.matches("\nkind: CustomResourceDefinition\n").count();
    assert!(kinds >= 7 && kinds == documents.matches("---\n").count(), "{kinds}");
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = postern(&["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("postern"), "{shell}");
    }
}

#[test]
fn absent_paths_and_absent_envoys_are_told_plainly() {
    let output = postern(&["check", "tests/data/nope.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "error: tests/data/nope.yaml: no such file or directory\n");
    let output = postern(&["run", "--envoy", "/nowhere/envoy", "../examples/quickstart"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("/nowhere/envoy is not an executable file"),
        "{}",
        text(&output.stderr)
    );
    let output = Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(["run", "../examples/quickstart"])
        .env_clear()
        .env("XDG_CACHE_HOME", "/nowhere")
        .output()
        .expect("run postern");
    let said = text(&output.stderr);
    assert!(
        said.contains("hack/envoy.sh") && said.contains("--envoy PATH") && said.contains("--no-envoy"),
        "{said}"
    );
}
