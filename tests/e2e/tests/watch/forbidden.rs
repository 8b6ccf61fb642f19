//! What the role allows, and what it does not.

use k8s_openapi::api::rbac::v1::PolicyRule;
use postern::kubernetes::watch::{Scope, rules};
use postern_translator::Kind;

use crate::server::ApiServer;
use crate::watched::{Seen, Watched, key, options};

/// Binds `rules` to the ServiceAccount `postern` of a namespace.
fn role(server: &ApiServer, namespace: &str, rules: &[PolicyRule]) {
    bind(
        server,
        namespace,
        &format!("{{kind: ServiceAccount, namespace: {namespace}, name: postern}}"),
        rules,
    );
}

fn bind(server: &ApiServer, name: &str, subject: &str, rules: &[PolicyRule]) {
    let rules = serde_json::to_string(rules).unwrap();
    server.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {name}}}\nrules: {rules}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {name}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}\n\
         subjects: [{subject}]\n"
    ));
}

fn all_rules() -> Vec<PolicyRule> {
    let rules = rules();
    [rules.namespaced, rules.cluster].concat()
}

#[tokio::test]
async fn the_rules_are_enough() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("allowed", &[]).await;
    server.kubectl(&["create", "serviceaccount", "postern", "--namespace", &namespace]);
    role(&server, &namespace, &all_rules());
    server.apply(&crate::secret(&namespace, "s", "one"));
    let mut watched =
        Watched::synced(server.client_of(&namespace, "postern").await, options(Scope::All)).await;
    let secret = key(Kind::Secret, &namespace, "s");
    watched.handle.set_references([secret.clone()].into());
    watched.upserted(&secret).await;
    watched.all_watching().await;
    assert!(!watched.metrics.registry_text().contains("forbidden_calls_total{"));
}

#[tokio::test]
async fn a_refusal_is_counted_and_holds_everything_back_until_it_is_mended() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("refused", &[]).await;
    server.kubectl(&["create", "serviceaccount", "postern", "--namespace", &namespace]);
    let mut short = all_rules();
    for rule in &mut short {
        rule.resources.as_mut().unwrap().retain(|resource| resource != "trafficpolicies");
    }
    role(&server, &namespace, &short);
    let mut watched = Watched::start(server.client_of(&namespace, "postern").await, options(Scope::All));
    watched
        .until("loss", |seen| {
            seen.iter()
                .any(|seen| matches!(seen, Seen::Lost("TrafficPolicy", error) if error.contains("403")))
        })
        .await;
    let counted = r#"forbidden_calls_total{verb="list",resource="trafficpolicies"}"#;
    assert!(watched.metrics.registry_text().contains(counted));
    assert!(!watched.report("TrafficPolicy").settled && watched.report("TrafficPolicy").forbidden > 0);

    role(&server, &namespace, &all_rules());
    watched.until("Synced", |seen| seen.contains(&Seen::Synced)).await;
    let refused = |seen: &&Seen| matches!(seen, Seen::Lost(..));
    assert_eq!(watched.seen.iter().filter(refused).count(), 1, "{:?}", watched.seen);
    watched.until("return", |seen| seen.contains(&Seen::Regained("TrafficPolicy"))).await;
}

/// An owner of a cluster may hide its ClusterTrustBundles, ServiceImports and Pods: nobody waits for them, and they are there when they are
/// shown. Kubernetes lets every ServiceAccount read the former, so this is a user.
#[tokio::test]
async fn what_a_cluster_may_go_without_holds_nothing_back() {
    let server = ApiServer::shared().await;
    let user = server.namespace("hidden", &[]).await;
    let subject = format!("{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}");
    let mut short = all_rules();
    for rule in &mut short {
        let hidden = ["clustertrustbundles", "serviceimports", "pods"];
        rule.resources.as_mut().unwrap().retain(|resource| !hidden.contains(&resource.as_str()));
    }
    short.retain(|rule| rule.resources.as_ref().is_some_and(|resources| !resources.is_empty()));
    bind(&server, &user, &subject, &short);
    let mut watched = Watched::synced(server.client_as(&user).await, options(Scope::All)).await;
    let told = |served| {
        [Kind::ClusterTrustBundle, Kind::ServiceImport, Kind::Pod].map(|kind| Seen::Served(kind, served))
    };
    for hidden in told(false) {
        assert!(watched.seen.contains(&hidden), "{:?}", watched.seen);
    }

    bind(&server, &user, &subject, &all_rules());
    for shown in told(true) {
        watched.until("what was hidden", |seen| seen.contains(&shown)).await;
    }
}
