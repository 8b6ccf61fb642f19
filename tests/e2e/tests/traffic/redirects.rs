//! RequestRedirect.

use postern_e2e::{ClientTls, World, gateway, http_route};

fn rule(path: &str, redirect: &str) -> String {
    format!(
        "- matches: [{{path: {{value: {path}}}}}]\n  filters: [{{type: RequestRedirect, requestRedirect: {{{redirect}}}}}]\n"
    )
}

#[tokio::test]
async fn every_part_of_the_target() {
    let mut world = World::with_backends(&[]).await;
    let rules: String = [
        ("/host", "hostname: other.example"),
        ("/host-and-port", "hostname: other.example, port: 8443"),
        ("/port-80", "hostname: other.example, port: 80"),
        ("/https", "scheme: https"),
        ("/https-443", "scheme: https, port: 443"),
        ("/https-80", "scheme: https, port: 80"),
        ("/https-8443", "scheme: https, port: 8443, hostname: other.example"),
        ("/http-443", "scheme: http, port: 443"),
        ("/301", "hostname: other.example, statusCode: 301"),
        ("/303", "hostname: other.example, statusCode: 303"),
        ("/307", "hostname: other.example, statusCode: 307"),
        ("/308", "hostname: other.example, statusCode: 308"),
        ("/full", "path: {type: ReplaceFullPath, replaceFullPath: /new}"),
        ("/prefix", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /other}"),
        ("/strip", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /}"),
        ("/slash", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /new/}"),
    ]
    .iter()
    .map(|(path, redirect)| rule(path, redirect))
    .collect();
    world.apply(&http_route("redirects", &format!("rules:\n{rules}"))).await;

    let port = world.port("PORT");
    for (path, status, location) in [
        // Without a scheme and a port the listener's port is kept.
        ("/host/x?a=b", 302, format!("http://other.example:{port}/host/x?a=b")),
        ("/host-and-port", 302, "http://other.example:8443/host-and-port".into()),
        ("/port-80", 302, "http://other.example/port-80".into()),
        // With a scheme and no port it is the scheme's well-known one.
        ("/https/x", 302, "https://example.org/https/x".into()),
        ("/https-443", 302, "https://example.org/https-443".into()),
        // A port may only be left out where it is the default of the scheme.
        ("/https-80", 302, "https://example.org:80/https-80".into()),
        ("/https-8443", 302, "https://other.example:8443/https-8443".into()),
        ("/http-443", 302, "http://example.org:443/http-443".into()),
        ("/301", 301, format!("http://other.example:{port}/301")),
        ("/303", 303, format!("http://other.example:{port}/303")),
        ("/307", 307, format!("http://other.example:{port}/307")),
        ("/308", 308, format!("http://other.example:{port}/308")),
        ("/full/x?q=1", 302, format!("http://example.org:{port}/new?q=1")),
        ("/prefix", 302, format!("http://example.org:{port}/other")),
        ("/prefix/x/y?q=1", 302, format!("http://example.org:{port}/other/x/y?q=1")),
        ("/strip", 302, format!("http://example.org:{port}/")),
        ("/strip/x?q=1", 302, format!("http://example.org:{port}/x?q=1")),
        ("/slash/x", 302, format!("http://example.org:{port}/new/x")),
    ] {
        let call = world.call("example.org", path);
        let answer = world
            .expect_that(call, &format!("{status} to {location}"), |answer| {
                answer.status == status && answer.header("location").as_deref() == Some(&location)
            })
            .await;
        assert!(answer.body.is_empty());
    }
    // The port of Host is the client's view; the target's is ours. It need not be spelled out where
    // the scheme implies it, but may be.
    let call = world.call("example.org:9999", "/https/x");
    world
        .expect_that(call, "the scheme's port", |it| {
            let location = it.header("location").unwrap_or_default();
            location.replacen(":443/", "/", 1) == "https://example.org/https/x"
        })
        .await;
    let call = world.call("example.org:9999", "/full");
    let own = format!("http://example.org:{port}/new");
    world.expect_that(call, "the listener's port", |it| it.header("location").as_deref() == Some(&own)).await;
}

#[tokio::test]
async fn from_https_to_http() {
    let mut world = World::with_backends(&[]).await;
    world.certificate("cert", &["*.example.org", "example.org"]).await;
    world
        .apply(
            &[
                gateway(
                    "
  - {name: https, port: ${PORT}, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
",
                ),
                http_route(
                    "redirects",
                    &[
                        "rules:\n".to_owned(),
                        rule("/http", "scheme: http"),
                        rule("/host", "hostname: other.example"),
                        rule("/443", "hostname: other.example, port: 443"),
                    ]
                    .concat(),
                ),
            ]
            .concat(),
        )
        .await;
    let port = world.port("PORT");
    for (path, location) in [
        ("/http", "http://example.org/http".to_owned()),
        ("/host", format!("https://other.example:{port}/host")),
        ("/443", "https://other.example/443".to_owned()),
    ] {
        let call = world.call("example.org", path).tls(ClientTls::any("example.org"));
        world.expect_that(call, &location, |it| it.header("location").as_deref() == Some(&location)).await;
    }
}
