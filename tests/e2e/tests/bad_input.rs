//! What the shipped binary does with mistakes: it names them, and keeps serving what was good.

#![allow(clippy::unwrap_used, clippy::format_collect)] // a test fails where it is surprised

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use postern_e2e::{
    Authority, Backend, Call, ClientTls, Port, Postern, Want, expect, gateway, http_route, service,
    tls_secret, until,
};
use tempfile::TempDir;

/// A directory of YAML with one Gateway, one backend and one route that works.
struct Site {
    directory: TempDir,
    port: Port,
    backend: Backend,
}

impl Site {
    async fn new() -> Self {
        let site = Self {
            directory: tempfile::Builder::new().prefix("postern-e2e-").tempdir().unwrap(),
            port: Port::reserve(),
            backend: Backend::start("v1").await,
        };
        site.write(
            "gateway.yaml",
            &gateway(&format!("  - {{name: http, port: {}, protocol: HTTP}}", site.port.number())),
        );
        site.write("service.yaml", &service("default", "v1", "", &[site.backend.address()]));
        site.write("route.yaml", &rules("good", "[{backendRefs: [{name: v1, port: 8080}]}]"));
        site
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file as editors do: all at once.
    fn write(&self, name: &str, text: &str) {
        let new = self.path().join(format!(".{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path().join(name)).unwrap();
    }

    fn call(&self, path: &str) -> Call {
        Call::get(self.port.number(), "example.org", path)
    }

    fn run(&self) -> Postern {
        Postern::start(self.path(), &["run", ".", "--drain-time", "1"])
    }
}

fn rules(name: &str, rules: &str) -> String {
    http_route(name, &format!("rules: {rules}\n"))
}

/// The number of the first line that contains `part`.
fn line_of(text: &str, part: &str) -> usize {
    text.lines().position(|line| line.contains(part)).unwrap() + 1
}

#[tokio::test]
async fn check_finds_every_mistake() {
    let site = Site::new().await;
    let finished = Postern::finish(site.path(), &["check", "."]);
    assert!(finished.status.success(), "{}", finished.all());

    let mut garbage = Authority::new("test").issue(&["example.org"]);
    garbage.pem = "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n".to_owned();
    let listeners = "
  - {name: one, port: 9001, protocol: HTTP, hostname: same.example.org}
  - {name: two, port: 9001, protocol: HTTP, hostname: same.example.org}
  - {name: lost, port: 9002, protocol: HTTPS, tls: {certificateRefs: [{name: nowhere}]}}
  - {name: bad, port: 9003, protocol: HTTPS, tls: {certificateRefs: [{name: garbage}]}}
";
    let conflicts = gateway(listeners).replace("metadata: {name: gw,", "metadata: {name: conflicts,");
    let (_, conflicts) = conflicts.split_once("kubernetes.io/metadata.name: default}}\n---\n").unwrap();
    let files = [
        ("unparsable.yaml", "apiVersion: v1\nkind: Service\nmetadata: [\n".to_owned()),
        (
            "kind.yaml",
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoutes\nmetadata: {name: typo}\n".to_owned(),
        ),
        ("field.yaml", rules("field", "[{backendRefs: [{name: v1, port: 8080, wieght: 3}]}]")),
        ("type.yaml", rules("type", "[{backendRefs: [{name: v1, port: eighty}]}]")),
        (
            "regex.yaml",
            rules(
                "regex",
                "\n  - matches: [{path: {type: RegularExpression, value: '/(['}}]\n    backendRefs: [{name: v1, port: 8080}]",
            ),
        ),
        ("missing.yaml", rules("missing", "[{backendRefs: [{name: nobody, port: 8080}]}]")),
        ("secret.yaml", tls_secret("default", "garbage", &garbage)),
        ("conflict.yaml", conflicts.to_owned()),
    ];
    for (name, text) in &files {
        site.write(name, text);
    }
    let finished = Postern::finish(site.path(), &["check", "."]);
    assert_eq!(finished.status.code(), Some(1), "{}", finished.all());
    let all = finished.all();
    for (file, line_part, words) in [
        ("unparsable.yaml", "", &[][..]),
        ("kind.yaml", "kind: HTTPRoutes", &["HTTPRoutes", "HTTPRoute"]),
        ("field.yaml", "wieght", &["wieght", "weight"]),
        ("type.yaml", "eighty", &["port"]),
        ("regex.yaml", "/([", &["spec.rules[0].matches[0].path.value"]),
        ("missing.yaml", "nobody", &["spec.rules[0].backendRefs[0]", "nobody"]),
        ("conflict.yaml", "nowhere", &["conflicts", "nowhere"]),
        ("secret.yaml", "", &["garbage", "tls.crt"]),
        ("conflict.yaml", "name: two", &["conflicts", "same.example.org"]),
    ] {
        let text = &files.iter().find(|it| it.0 == file).unwrap().1;
        // The parser may see the end of an unclosed list only on the line after it.
        let place = if line_part.is_empty() {
            format!("{file}:")
        } else {
            format!("{file}:{}", line_of(text, line_part))
        };
        assert!(all.contains(&place), "no finding at {place}:\n{all}");
        for word in words {
            assert!(all.contains(word), "no {word:?} for {file}:\n{all}");
        }
    }
    assert!(!all.contains("route.yaml"), "nothing is wrong there:\n{all}");
}

#[tokio::test]
async fn what_was_good_keeps_serving() {
    let site = Site::new().await;
    let mut postern = site.run();
    expect(&site.call("/"), Want::Backend("v1")).await;

    // A file that cannot be read any more: the last good content stays.
    site.write(
        "route.yaml",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: good\n",
    );
    postern.prints("route.yaml").await;
    expect(&site.call("/"), Want::Backend("v1")).await;
    // A misspelled field: the object is not what its author means, so the one before stays too.
    site.write("route.yaml", &rules("good", "[{backendRef: [{name: v1, port: 8080}]}]"));
    postern.prints("`backendRef`").await;
    expect(&site.call("/"), Want::Backend("v1")).await;
    // Other files go on being read meanwhile.
    site.write("more.yaml", &rules("more", "[{matches: [{path: {value: /more}}], filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301}}]}]"));
    expect(&site.call("/more"), Want::Status(301)).await;
    expect(&site.call("/"), Want::Backend("v1")).await;
    // Mended.
    site.write(
        "route.yaml",
        &rules("good", "[{matches: [{path: {value: /new}}], backendRefs: [{name: v1, port: 8080}]}]"),
    );
    expect(&site.call("/new"), Want::Backend("v1")).await;
    expect(&site.call("/"), Want::Status(404)).await;
    // A rule that cannot work fails alone.
    site.write(
        "route.yaml",
        &rules("good", "[{matches: [{path: {value: /bad}}], backendRefs: [{name: nobody, port: 8080}]}, {backendRefs: [{name: v1, port: 8080}]}]"),
    );
    expect(&site.call("/bad"), Want::Status(500)).await;
    expect(&site.call("/"), Want::Backend("v1")).await;
    postern.prints("nobody").await;
    // A deleted file takes its objects along.
    std::fs::remove_file(site.path().join("more.yaml")).unwrap();
    expect(&site.call("/more"), Want::Backend("v1")).await;
    assert!(postern.is_alive());
}

/// The `stringData` of a Secret is what people write into files.
#[tokio::test]
async fn a_certificate_breaks_and_is_mended() {
    let site = Site::new().await;
    let authority = Authority::new("test");
    let good = authority.issue(&["example.org"]);
    let tls_port = Port::reserve();
    let secret = |pem: &str| {
        let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
        format!(
            "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: cert, namespace: default}}\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
            indented(pem),
            indented(&good.key_pem)
        )
    };
    site.write(
        "gateway.yaml",
        &gateway(&format!(
            "  - {{name: http, port: {}, protocol: HTTP}}\n  - {{name: https, port: {}, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}",
            site.port.number(),
            tls_port.number()
        )),
    );
    site.write("secret.yaml", &secret(&good.pem));
    let mut postern = site.run();
    let https =
        Call::get(tls_port.number(), "example.org", "/").tls(ClientTls::trusting("example.org", &authority));
    expect(&https, Want::Backend("v1")).await;
    site.write("secret.yaml", &secret("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n"));
    postern.prints("InvalidCertificateRef").await;
    expect(&site.call("/"), Want::Backend("v1")).await;
    site.write("secret.yaml", &secret(&good.pem));
    expect(&https, Want::Backend("v1")).await;
}

#[tokio::test]
async fn a_port_in_use_stops_only_its_listener() {
    let site = Site::new().await;
    let busy = Port::reserve();
    let holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, busy.number())).unwrap();
    site.write(
        "gateway.yaml",
        &gateway(&format!(
            "  - {{name: http, port: {}, protocol: HTTP}}\n  - {{name: busy, port: {}, protocol: HTTP}}",
            site.port.number(),
            busy.number()
        )),
    );
    let mut postern = site.run();
    expect(&site.call("/"), Want::Backend("v1")).await;
    // The message names the port, and how to find out who has it.
    postern.prints(&format!("sport = :{}", busy.number())).await;
    expect(&site.call("/"), Want::Backend("v1")).await;
    // The port becomes free: the listener is served without anyone's doing.
    drop(holder);
    expect(&Call::get(busy.number(), "example.org", "/"), Want::Backend("v1")).await;
}

/// The processes that `parent` started and that run now.
fn children(parent: u32) -> Vec<u32> {
    let stat = |id: u32| {
        let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // After the command in parentheses: state, parent.
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?.to_owned();
        Some((state, fields.next()?.parse::<u32>().ok()?))
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|id| stat(*id).is_some_and(|(state, of)| of == parent && state != "Z"))
        .collect()
}

#[tokio::test]
async fn an_envoy_that_dies_is_started_again() {
    let site = Site::new().await;
    let mut postern = site.run();
    expect(&site.call("/"), Want::Backend("v1")).await;
    let envoys = children(postern.id());
    assert_eq!(envoys.len(), 1, "one Envoy for one Gateway");
    let killed = std::process::Command::new("kill").arg("-KILL").arg(envoys[0].to_string()).status().unwrap();
    assert!(killed.success());
    until("another Envoy", || {
        let now = children(postern.id());
        let gone = !now.contains(&envoys[0]);
        async move { if gone && now.len() == 1 { Ok(()) } else { Err(format!("{now:?}")) } }
    })
    .await;
    expect(&site.call("/"), Want::Backend("v1")).await;
    assert!(postern.is_alive());
}

#[tokio::test]
async fn it_stops_cleanly() {
    let site = Site::new().await;
    let mut postern = site.run();
    expect(&site.call("/"), Want::Backend("v1")).await;
    let envoys = children(postern.id());
    let status = postern.terminate().await;
    assert!(status.success(), "{status}: {}", postern.output());
    for envoy in envoys {
        until("end of Envoy", || async move {
            let state = std::fs::read_to_string(format!("/proc/{envoy}/stat"));
            if state.is_ok_and(|it| !it.contains(") Z ")) { Err(format!("{envoy} runs")) } else { Ok(()) }
        })
        .await;
    }
    assert!(site.call("/").send().await.is_err());
}

#[tokio::test]
async fn mistakes_on_the_command_line_are_named() {
    let site = Site::new().await;
    for (arguments, word) in [
        (&["check", "nowhere"][..], "nowhere"),
        (&["run", "nowhere"], "nowhere"),
        (&["run", ".", "--envoy", "/nonexistent/envoy"], "/nonexistent/envoy"),
        (&["translate", ".", "--gateway", "default/unknown"], "unknown"),
    ] {
        let begin = std::time::Instant::now();
        let finished = Postern::finish(site.path(), arguments);
        assert!(!finished.status.success(), "{arguments:?}: {}", finished.all());
        assert!(finished.stderr.contains(word), "{arguments:?}: {}", finished.all());
        assert!(!finished.all().contains("panicked"), "{arguments:?}: {}", finished.all());
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}

/// The same input, twice and in another order, gives the same bytes.
#[tokio::test]
async fn translation_is_deterministic() {
    let site = Site::new().await;
    for index in 0..20 {
        site.write(
            &format!("more-{index}.yaml"),
            &rules(&format!("more-{index}"), &format!("[{{matches: [{{path: {{value: /more/{index}}}}}], backendRefs: [{{name: v1, port: 8080}}]}}]")),
        );
    }
    let translate = |paths: &[&str]| {
        let arguments: Vec<_> =
            ["translate"].into_iter().chain(paths.iter().copied()).chain(["-o", "json"]).collect();
        let finished = Postern::finish(site.path(), &arguments);
        assert!(finished.status.success(), "{}", finished.all());
        assert!(finished.stdout.len() > 1000);
        finished.stdout
    };
    let first = translate(&["."]);
    assert_eq!(translate(&["."]), first);
    let mut names: Vec<String> = std::fs::read_dir(site.path())
        .unwrap()
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.reverse();
    let mut shuffled: Vec<&str> = names.iter().map(String::as_str).collect();
    let middle = shuffled.len() / 2;
    shuffled.rotate_left(middle);
    assert_eq!(translate(&shuffled), first);
}
