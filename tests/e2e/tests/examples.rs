//! Every example, by the commands of its README: what they print must contain what the README says.
//!
//! A copy of the folder runs, with each port replaced by a free one, in the files and in the README
//! alike.

#![allow(clippy::unwrap_used, clippy::format_collect)] // a test fails where it is surprised

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use postern_e2e::{Port, Postern, repository, until};
use tempfile::TempDir;

/// Attempts for what the README calls a matter of chance.
const ATTEMPTS: usize = 80;

struct Example {
    directory: TempDir,
    name: String,
    readme: String,
    ports: BTreeMap<u16, Port>,
}

impl Example {
    fn copy(name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("postern-example-").tempdir().unwrap();
        let from = repository().join("examples").join(name);
        let to = directory.path().join("examples").join(name);
        std::fs::create_dir_all(&to).unwrap();
        let texts: Vec<(PathBuf, String)> = std::fs::read_dir(&from)
            .unwrap_or_else(|error| panic!("{}: {error}", from.display()))
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .filter_map(|path| Some((path.clone(), std::fs::read_to_string(&path).ok()?)))
            .collect();
        let mut ports = BTreeMap::new();
        for (_, text) in texts.iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "yaml")) {
            for word in text.split("ort: ").skip(1) {
                let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
                // Ports of Services need not be free here.
                if let Some(port) = digits.parse().ok().filter(|port| *port >= 1024) {
                    ports.entry(port).or_insert_with(Port::reserve);
                }
            }
        }
        let mut readme = String::new();
        for (path, text) in texts {
            let text = replace_ports(&text, &ports);
            let target = to.join(path.file_name().unwrap());
            std::fs::write(&target, &text).unwrap();
            std::fs::set_permissions(&target, std::fs::metadata(&path).unwrap().permissions()).unwrap();
            if path.ends_with("README.md") {
                readme = text;
            }
        }
        Self { directory, name: name.to_owned(), readme, ports }
    }

    /// Runs the commands of the first code block; the last of them is `postern run`.
    async fn start(&self) -> Postern {
        let (_, rest) = self.readme.split_once("```sh\n").expect("the README has a code block");
        let (block, _) = rest.split_once("```").unwrap();
        let mut lines: Vec<&str> = block.lines().collect();
        let run = lines.pop().unwrap().strip_prefix("postern ").expect("the block ends with `postern run`");
        for line in lines {
            let (output, good) = self.shell(line);
            assert!(good, "{line}: {output}");
        }
        let mut arguments: Vec<&str> = run.split_whitespace().collect();
        arguments.extend(["--drain-time", "1"]);
        let postern = Postern::start(self.directory.path(), &arguments);
        let listeners =
            std::fs::read_to_string(self.path("gateway.yaml")).unwrap().matches("protocol:").count();
        until("served listeners", || {
            let output = postern.output();
            let served =
                ["http", "tcp", "tls", "udp"].map(|it| output.matches(&format!("serving {it}")).count());
            async move { if served.iter().sum::<usize>() >= listeners { Ok(()) } else { Err(output) } }
        })
        .await;
        postern
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join("examples").join(&self.name).join(file)
    }

    fn shell(&self, command: &str) -> (String, bool) {
        let output =
            Command::new("bash").args(["-c", command]).current_dir(self.directory.path()).output().unwrap();
        let text =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        (text, output.status.success())
    }

    /// The rows of the table of things to try: the command, and what to see.
    fn rows(&self) -> Vec<(String, String)> {
        let rows: Vec<_> = self
            .readme
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
            .filter_map(|line| line.split_once("` | "))
            .map(|(command, see)| (command.replace("\\|", "|"), see.replace("\\|", "|")))
            .collect();
        assert!(!rows.is_empty(), "the README of {} has no table of things to try", self.name);
        rows
    }

    /// Tries every row of the README.
    async fn try_everything(&self) {
        let postern = self.start().await;
        for (command, see) in self.rows() {
            let mut wanted: Vec<&str> = see.split('`').skip(1).step_by(2).collect();
            assert!(!wanted.is_empty(), "nothing to look for in {see:?}");
            let chance = ["about", "times of", "now and then"].iter().any(|it| see.contains(it));
            let mut last = String::new();
            for _ in 0..if chance { ATTEMPTS } else { 1 } {
                last = self.shell(&command).0;
                wanted.retain(|it| !last.contains(it));
                if wanted.is_empty() {
                    break;
                }
            }
            assert!(
                wanted.is_empty(),
                "{}: {command}\nshould print: {see}\nbut printed: {last}\npostern: {}",
                self.name,
                postern.output()
            );
        }
    }

    /// Changes a file in one go.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        let new = path.with_extension("new");
        std::fs::write(&new, text.replace(from, to)).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    /// Repeats a command until its output satisfies `holds`.
    async fn prints(&self, command: &str, holds: impl Fn(&str) -> bool) {
        until(&format!("expected output of {command}"), || {
            let (output, _) = self.shell(command);
            let good = holds(&output);
            async move { if good { Ok(()) } else { Err(output) } }
        })
        .await;
    }

    fn port(&self, port: u16) -> u16 {
        self.ports[&port].number()
    }
}

/// Replaces every number that is one of the ports.
fn replace_ports(text: &str, ports: &BTreeMap<u16, Port>) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|it: char| it.is_ascii_digit()) {
        let end =
            rest[start..].find(|it: char| !it.is_ascii_digit()).map_or(rest.len(), |length| start + length);
        let number = &rest[start..end];
        replaced.push_str(&rest[..start]);
        match number.parse().ok().and_then(|port: u16| ports.get(&port)) {
            Some(port) => replaced.push_str(&port.number().to_string()),
            None => replaced.push_str(number),
        }
        rest = &rest[end..];
    }
    replaced.push_str(rest);
    replaced
}

#[test]
fn every_example_is_tried() {
    // `cluster` is tried on a cluster, by the tests of the feature of that name.
    let tried = [
        "backends",
        "canary",
        "cluster",
        "connections",
        "delegation",
        "extensions",
        "https",
        "listener-policies",
        "listener-sets",
        "quickstart",
        "resilience",
        "transformation",
    ];
    let mut found: Vec<String> = std::fs::read_dir(repository().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, tried, "an example without a test");
}

#[tokio::test]
async fn backends() {
    let example = Example::copy("backends");
    example.try_everything().await;
}

#[tokio::test]
async fn canary() {
    let example = Example::copy("canary");
    example.try_everything().await;
}

#[tokio::test]
async fn connections() {
    let example = Example::copy("connections");
    example.try_everything().await;
}

#[tokio::test]
async fn delegation() {
    let example = Example::copy("delegation");
    example.try_everything().await;
}

#[tokio::test]
async fn extensions() {
    let example = Example::copy("extensions");
    example.try_everything().await;
}

#[tokio::test]
async fn https() {
    let example = Example::copy("https");
    example.try_everything().await;
}

#[tokio::test]
async fn listener_policies() {
    let example = Example::copy("listener-policies");
    example.try_everything().await;
}

#[tokio::test]
async fn listener_sets() {
    let example = Example::copy("listener-sets");
    example.try_everything().await;
}

#[tokio::test]
async fn quickstart() {
    let example = Example::copy("quickstart");
    example.try_everything().await;
}

#[tokio::test]
async fn resilience() {
    let example = Example::copy("resilience");
    example.try_everything().await;
}

#[tokio::test]
async fn transformation() {
    let example = Example::copy("transformation");
    example.try_everything().await;
}

#[tokio::test]
async fn quickstart_follows_edits() {
    let example = Example::copy("quickstart");
    let mut postern = example.start().await;
    let ask = format!("curl -s http://shop.localhost:{}/", example.port(8080));
    let many = format!("for i in $(seq 20); do {ask}; done");
    example.edit("routes.yaml", "weight: 9", "weight: 0");
    example.prints(&many, |it| it.contains(r#""name": "blue""#) && !it.contains(r#""name": "red""#)).await;
    // A mistake is named, and what was good keeps serving.
    example.edit("routes.yaml", "backendRefs:", "backendRef:");
    postern.prints("did you mean `backendRefs`?").await;
    example.edit("routes.yaml", "backendRef:", "backendRefs:");
    example.edit("routes.yaml", "weight: 0", "weight: 9");
    example.prints(&many, |it| it.contains(r#""name": "red""#)).await;
}

#[tokio::test]
async fn without_its_secret_a_policy_closes() {
    let example = Example::copy("listener-policies");
    let _postern = example.start().await;
    let ask = format!("curl -si -u anna:sesame http://api.localhost:{}/ | head -1", example.port(8080));
    example.edit("policy.yaml", "      name: users", "      name: nobody");
    example.prints(&ask, |it| it.contains("500")).await;
    example.edit("policy.yaml", "      name: nobody", "      name: users");
    example.prints(&ask, |it| it.contains("200")).await;
}

#[tokio::test]
async fn the_certificate_of_https_is_renewed() {
    let example = Example::copy("https");
    let _postern = example.start().await;
    let ask = format!("curl -s --cacert examples/https/ca.crt https://app.localhost:{}/", example.port(8443));
    example.prints(&ask, |it| it.contains(r#""name": "app""#)).await;
    std::fs::copy(example.path("ca.crt"), example.path("old.crt")).unwrap();
    let (output, good) = example.shell("examples/https/certificate.sh");
    assert!(good, "{output}");
    example.prints(&ask, |it| it.contains(r#""name": "app""#)).await;
    let old = ask.replace("ca.crt", "old.crt");
    assert!(!example.shell(&old).1, "the old authority is not trusted any more");
}

#[tokio::test]
async fn https_without_its_certificate_says_so() {
    let example = Example::copy("https");
    assert!(!Path::new(&example.path("certificate.yaml")).exists(), "certificates are not committed");
    let mut postern =
        Postern::start(example.directory.path(), &["run", "examples/https", "--drain-time", "1"]);
    postern.prints("app-localhost").await;
    let ask = format!("curl -si http://app.localhost:{}/", example.port(8080));
    example.prints(&ask, |it| it.contains("301")).await;
}
