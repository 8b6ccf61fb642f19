//! The control plane is killed and started again under load: no request fails, and nothing that had
//! not changed is sent again, by the count of a proxy that knows nothing of xDS.

#![allow(clippy::unwrap_used, clippy::format_collect)] // a test fails where it is surprised

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use postern_e2e::{
    Authority, Backend, Call, ClientTls, CountingProxy, Envoy, Load, Port, Postern, Stream, Want, expect,
    gateway, http_route, service, tls_secret, until,
};

const ROUTES: usize = 300;
/// Requests that must be answered while the control plane is away.
const WHILE_AWAY: u64 = 150;
/// More than the frames of a new HTTP/2 connection, the empty answers to first requests and one small
/// route; far less than the rest.
const LITTLE: u64 = 8 * 1024;

fn route(number: usize, prefix: &str) -> String {
    http_route(
        &format!("route-{number}"),
        &format!(
            "hostnames: [host-{number}.example.org]\nrules: [{{matches: [{{path: {{value: {prefix}}}}}], backendRefs: [{{name: v1, port: 8080}}]}}]"
        ),
    )
}

fn save(directory: &Path, name: &str, text: &str) {
    let new = directory.join(format!(".{name}.new"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, directory.join(name)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_costs_nothing() {
    let directory = tempfile::Builder::new().prefix("postern-e2e-").tempdir().unwrap();
    let site = directory.path().join("site");
    std::fs::create_dir(&site).unwrap();
    let (http, https) = (Port::reserve(), Port::reserve());
    let backend = Backend::start("v1").await;
    let authority = Authority::new("test");
    let certificate = authority.issue(&["*.example.org"]);
    let listeners = format!(
        "  - {{name: http, port: {}, protocol: HTTP}}\n  - {{name: https, port: {}, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}",
        http.number(),
        https.number()
    );
    save(&site, "gateway.yaml", &[gateway(&listeners), tls_secret("default", "cert", &certificate)].concat());
    save(&site, "service.yaml", &service("default", "v1", "", &[backend.address()]));
    for number in 0..ROUTES {
        // The two that will change must not answer for their later paths yet.
        let prefix = if matches!(number, 1 | 2) { "/first" } else { "/" };
        save(&site, &format!("route-{number}.yaml"), &route(number, prefix));
    }

    let xds = Port::reserve();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, xds.number())).to_string();
    let start =
        || Postern::start(directory.path(), &["run", "--no-envoy", "--xds-address", &address, "site"]);
    let mut postern = start();
    let proxy = CountingProxy::start(address.parse().unwrap()).await;
    let proxy_address = proxy.address().to_string();
    let bootstrap =
        Postern::finish(directory.path(), &["bootstrap", "default/gw", "--xds-address", &proxy_address]);
    assert!(bootstrap.status.success(), "{}", bootstrap.all());
    let envoy = Envoy::start_with(&directory.path().join("envoy"), &bootstrap.stdout).await;

    let plain = Call::get(http.number(), "host-7.example.org", "/");
    let tls = Call::get(https.number(), "host-8.example.org", "/")
        .tls(ClientTls::trusting("host-8.example.org", &authority));
    let last = Call::get(http.number(), &format!("host-{}.example.org", ROUTES - 1), "/");
    for call in [&plain, &tls, &last] {
        expect(call, Want::Backend("v1")).await;
    }
    let whole = proxy.from_server();
    assert!(whole > 5 * LITTLE, "the whole configuration has only {whole} bytes: the test proves nothing");
    let stats = r"^(cluster_manager\.cluster_(added|modified|removed)|listener_manager\.listener_(added|modified|removed|in_place_updated))$";
    let before = envoy.stats(stats).await;

    let load = Load::start(vec![
        Stream::kept("kept HTTP", plain.clone(), 100),
        Stream::fresh("new HTTP", plain, 60),
        Stream::kept("kept HTTP/2", tls.clone().h2(), 80),
        Stream::fresh("new HTTPS", tls, 40),
    ]);
    for (round, graceful) in [false, true, false].into_iter().enumerate() {
        if graceful {
            postern.terminate().await;
        } else {
            postern.kill();
        }
        let begin = load.report();
        until("requests while the control plane is away", || {
            let now = load.report();
            let done = now.succeeded + now.failed - begin.succeeded - begin.failed;
            async move { if done >= WHILE_AWAY { Ok(()) } else { Err(format!("{done} requests")) } }
        })
        .await;
        let sent = proxy.from_server();
        // One route changes while nobody looks, and one when the new process serves.
        save(&site, "route-1.yaml", &route(1, &format!("/away-{round}")));
        postern = start();
        let call = Call::get(http.number(), "host-1.example.org", &format!("/away-{round}"));
        expect(&call, Want::Backend("v1")).await;
        save(&site, "route-2.yaml", &route(2, &format!("/back-{round}")));
        let call = Call::get(http.number(), "host-2.example.org", &format!("/back-{round}"));
        expect(&call, Want::Backend("v1")).await;
        let again = proxy.from_server() - sent;
        assert!(
            again < LITTLE,
            "{again} bytes were sent after the restart for two small routes; everything has {whole}"
        );
    }
    load.stop().await.assert_clean(3 * WHILE_AWAY);
    assert_eq!(envoy.stats(stats).await, before, "no cluster and no listener was touched");
    assert!(envoy.rejected().await.is_empty());
    // One connection at first, one after each restart; a dying server may take one more and drop it.
    assert!(proxy.connections() >= 4);
}
