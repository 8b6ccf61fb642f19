//! YAML written for kgateway v2.1 applies, attaches and works unchanged: the documents in `kgateway/`, in the style of its documentation.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::api::{DeleteParams, ListParams};
use postern_api::gateway_api::{Condition, ConditionStatus, Gateway, GatewayClass, HttpRoute};
use postern_api::kgateway::{
    Backend, BackendConfigPolicy, DirectResponse, GatewayExtension, HttpListenerPolicy, ObjectStatus,
    PolicyStatus, TrafficPolicy,
};
use postern_e2e::{Answer, Call, Cluster, EchoReply, Namespace, repository};
use serde::de::DeserializeOwned;

const DOCUMENTS: &str = "tests/e2e/tests/cluster/kgateway";
/// Kgateway's class, with Postern as its controller.
const CLASS: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: kgateway}, \
                     spec: {controllerName: postern.dev/gateway-controller}}";

/// All documents, in one text.
fn documents() -> String {
    let directory = repository().join(DOCUMENTS);
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let texts: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    texts.join("\n---\n")
}

/// Waits until all objects of a kind are well.
async fn all_are<K>(space: &Namespace<'_>, least: usize, well: impl Fn(&K) -> Result<(), String>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let objects = space.api::<K>().list(&ListParams::default()).await.unwrap().items;
    assert!(objects.len() >= least, "only {} of kind {}", objects.len(), K::kind(&()));
    for object in objects {
        let name = object.meta().name.clone().unwrap_or_default();
        space.until(&name, "good status", &well).await;
    }
}

/// Each of these conditions is there and true.
fn are_true(conditions: &[Condition], wanted: &[&str]) -> Result<(), String> {
    let is_true =
        |type_: &&str| conditions.iter().any(|it| it.type_ == *type_ && it.status == ConditionStatus::True);
    if wanted.iter().all(is_true) { Ok(()) } else { Err(format!("{conditions:?}")) }
}

fn object(status: Option<&ObjectStatus>) -> Result<(), String> {
    are_true(status.map_or(&[], |it| &it.conditions), &["Accepted"])
}

fn policy(status: Option<&PolicyStatus>) -> Result<(), String> {
    let ancestors = status.map_or(&[][..], |it| &it.ancestors);
    if ancestors.is_empty() {
        return Err("it has no ancestor".to_owned());
    }
    ancestors.iter().try_for_each(|it| are_true(&it.conditions, &["Accepted", "Attached"]))
}

fn route(route: &HttpRoute) -> Result<(), String> {
    let parents = route.status.as_ref().map_or(&[][..], |it| &it.parents);
    if parents.is_empty() {
        return Err("it has no parent".to_owned());
    }
    parents.iter().try_for_each(|it| are_true(&it.conditions, &["Accepted", "ResolvedRefs"]))
}

struct World<'a> {
    space: &'a Namespace<'a>,
    address: IpAddr,
}

impl World<'_> {
    fn call(&self, route: &str, path: &str) -> Call {
        Call::get(8080, &format!("{route}.example"), path).at(SocketAddr::new(self.address, 8080))
    }

    async fn expect(&self, call: Call, what: &str, well: impl Fn(&Answer) -> bool) -> Answer {
        let check = |answer: &Answer| {
            if well(answer) {
                Ok(())
            } else {
                Err(format!("{what}: {} {:?} {}", answer.status, answer.headers, answer.text()))
            }
        };
        self.space.answers(&call, check).await
    }
}

fn echoed(answer: &Answer, header: &str) -> Option<String> {
    let headers = EchoReply::of(answer).ok()?.headers;
    let found = headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(header));
    found.and_then(|(_, values)| values.into_iter().next())
}

#[tokio::test]
async fn the_examples_of_the_reference_are_taken() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("reference").await;
    let examples = repository().join("tests/e2e/tests/kind_reference");
    let taken = space.kubectl(&["apply", "--dry-run=server", "-f", &examples.display().to_string()]).await;
    assert!(taken.lines().count() >= 30, "{taken}");
}

#[tokio::test]
async fn yaml_of_kgateway_applies_attaches_and_works() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("kgateway").await;
    space.echo("httpbin", 1).await;
    space.apply(CLASS).await;
    let documents = documents();
    let count = documents.lines().filter(|line| line.starts_with("kind: ")).count();
    assert!(count >= 40, "{count}");
    space.apply(&documents).await;

    let address = space.gateway_address("http").await;
    all_are(&space, 1, |it: &Gateway| {
        are_true(it.status.as_ref().map_or(&[], |it| &it.conditions), &["Accepted", "Programmed"])
    })
    .await;
    all_are(&space, 18, route).await;
    all_are(&space, 17, |it: &TrafficPolicy| policy(it.status.as_ref())).await;
    all_are(&space, 1, |it: &HttpListenerPolicy| policy(it.status.as_ref())).await;
    all_are(&space, 2, |it: &BackendConfigPolicy| policy(it.status.as_ref())).await;
    all_are(&space, 2, |it: &Backend| object(it.status.as_ref())).await;
    all_are(&space, 1, |it: &DirectResponse| object(it.status.as_ref())).await;
    all_are(&space, 3, |it: &GatewayExtension| object(it.status.as_ref())).await;

    let world = World { space: &space, address };
    works(&world).await;

    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), documents.replace("$NAMESPACE", "default")).unwrap();
    let asked = cluster.postern(&["migrate", "kgateway", &file.path().display().to_string()]).await;
    assert!(asked.status.success() && !asked.stdout.contains("no equivalent"), "{asked:?}");
    let asked = cluster.postern(&["migrate", "kgateway"]).await;
    let unchanged = asked.stdout.split("\n\n").next().unwrap_or_default();
    for object in ["TrafficPolicy", "HTTPRoute"] {
        let line = format!("  {object} {}/timeouts", space.name());
        assert!(unchanged.lines().any(|it| it == line), "{line} is missing in {asked:?}");
    }
    let classes = kube::Api::<GatewayClass>::all(cluster.client());
    classes.delete("kgateway", &DeleteParams::default()).await.unwrap();
}

async fn works(world: &World<'_>) {
    let ok = |answer: &Answer| answer.status == 200;
    for name in ["timeouts", "retries", "static", "authorized", "processed", "counted", "rule", "open"] {
        world.expect(world.call(name, "/"), name, ok).await;
    }
    let has = |name: &'static str, value: &'static str| {
        move |answer: &Answer| answer.status == 200 && answer.header(name).as_deref() == Some(value)
    };
    world.expect(world.call("plain", "/"), "selected by its labels", has("x-selected", "yes")).await;
    world.expect(world.call("rule", "/"), "policy of a rule", has("x-rule", "main")).await;
    let guarded = Call::get(8081, "timeouts.example", "/").at(SocketAddr::new(world.address, 8081));
    world.expect(guarded, "policy of a listener", has("x-listener", "guarded")).await;
    world.expect(world.call("modified", "/"), "response header", has("x-served-by", "gateway")).await;
    let secret = world.call("modified", "/").header("x-secret", "s");
    world
        .expect(secret, "request headers", |it| {
            echoed(it, "x-env").as_deref() == Some("test") && echoed(it, "x-secret").is_none()
        })
        .await;
    world
        .expect(world.call("static", "/"), "host of the backend", |it| {
            EchoReply::of(it).is_ok_and(|reply| reply.host.starts_with("httpbin."))
        })
        .await;

    let origin = |call: Call, origin: &str| call.header("origin", origin);
    world
        .expect(
            origin(world.call("cors", "/"), "https://a.partner.example"),
            "CORS",
            has("access-control-allow-origin", "https://a.partner.example"),
        )
        .await;
    let is = |status: u16| move |answer: &Answer| answer.status == status;
    let post = |from: &str| origin(world.call("csrf", "/").method("POST"), from);
    world.expect(post("https://evil.example"), "CSRF", is(403)).await;
    world.expect(post("https://friend.example"), "CSRF of a friend", is(200)).await;
    world.expect(world.call("rbac", "/"), "not an admin", is(403)).await;
    world.expect(world.call("rbac", "/").header("x-role", "admin"), "an admin", is(200)).await;
    world.expect(world.call("denied", "/private/a"), "denied path", is(403)).await;
    world.expect(world.call("denied", "/public"), "other path", is(200)).await;
    world.expect(world.call("limited", "/"), "rate limit", is(429)).await;
    let large = |name: &str| world.call(name, "/").method("POST").body(&"x".repeat(3000));
    world.expect(large("small"), "large request", is(413)).await;
    let at_guarded = |name: &str| large(name).at(SocketAddr::new(world.address, 8081));
    world.expect(at_guarded("plain"), "large request at the listener", is(413)).await;
    world.expect(at_guarded("open"), "switched off by the route", is(200)).await;
    world
        .expect(world.call("teapot", "/"), "direct response", |it| {
            it.status == 418 && it.text() == "short and stout"
        })
        .await;
    world.expect(world.call("moved", "/"), "redirect", is(301)).await;
    let transformed = world.call("transformed", "/a").header("x-solo-request", "my value");
    world
        .expect(transformed, "templates", |it| {
            it.header("x-solo-response").as_deref() == Some("my value")
                && it.header("x-served-path").as_deref() == Some("/a")
                && it.text() == r#"{"served": "/a"}"#
        })
        .await;
    for (path, status) in
        [("/anything/team1/foo", 200), ("/anything/team2/bar", 200), ("/anything/team1/other", 404)]
    {
        world.expect(world.call("delegate", path), path, is(status)).await;
    }
    // Where requests say where they go, a Service of the cluster answers, and the proxy's own interfaces do not.
    let to = |host: &str| Call::get(8080, host, "/dynamic").at(SocketAddr::new(world.address, 8080));
    let service = format!("httpbin.{}.svc.cluster.local", world.space.name());
    world.expect(to(&service), "the host of the request", ok).await;
    for own in ["127.0.0.1:19000", "localhost:19000", "127.0.0.1:8080", "169.254.169.254"] {
        world.expect(to(own), own, is(403)).await;
    }
    world.expect(world.call("nobody", "/gateway/healthz"), "health check", is(200)).await;
}
