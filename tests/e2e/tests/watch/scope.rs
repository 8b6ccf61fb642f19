//! Only a part of the cluster is watched.

use std::collections::BTreeSet;

use postern::kubernetes::selector;
use postern::kubernetes::watch::{Scope, WatchOptions, rules};
use postern_translator::{Kind, Object};

use crate::server::ApiServer;
use crate::watched::{Seen, Watched, key, options};

#[tokio::test]
async fn namespaces_join_and_leave_by_their_labels() {
    let server = ApiServer::shared().await;
    let label = "postern-test-scope";
    let inside = server.namespace("inside", &[(label, "yes")]).await;
    let outside = server.namespace("outside", &[]).await;
    for namespace in [&inside, &outside] {
        server.apply(&crate::route(namespace, "r", 80));
        server.apply(&crate::secret(namespace, "s", "one"));
    }
    let scope = Scope::Selector(selector::parse(&format!("{label} in (yes, too)")).unwrap());
    let mut watched = Watched::synced(server.client().await, options(scope)).await;
    let (inside_route, outside_route) =
        (key(Kind::HttpRoute, &inside, "r"), key(Kind::HttpRoute, &outside, "r"));
    assert!(watched.objects.contains_key(&inside_route));
    assert!(watched.seen_in(&outside).is_empty() && watched.seen_in("default").is_empty());
    assert!(!watched.objects.contains_key(&key(Kind::Namespace, "", &outside)));
    assert!(watched.objects.contains_key(&key(Kind::Namespace, "", &inside)));

    let (inside_secret, outside_secret) = (key(Kind::Secret, &inside, "s"), key(Kind::Secret, &outside, "s"));
    let generation = watched.handle.set_references([inside_secret.clone(), outside_secret.clone()].into());
    watched.until("references", |seen| seen.contains(&Seen::Ready(generation))).await;
    assert!(watched.objects.contains_key(&inside_secret) && !watched.objects.contains_key(&outside_secret));

    server.kubectl(&["label", "namespace", &outside, &format!("{label}=yes")]);
    watched.upserted(&outside_route).await;
    watched.upserted(&outside_secret).await;
    watched.upserted(&key(Kind::Namespace, "", &outside)).await;
    watched.forget();
    server.apply(&crate::route(&outside, "later", 80));
    watched.upserted(&key(Kind::HttpRoute, &outside, "later")).await;
    assert_eq!(watched.seen_in(&outside).len(), 1, "nothing is told twice: {:?}", watched.seen_in(&outside));

    watched.forget();
    server.kubectl(&["label", "namespace", &outside, &format!("{label}-")]);
    watched.deleted(&outside_route).await;
    watched.deleted(&outside_secret).await;
    watched.deleted(&key(Kind::Namespace, "", &outside)).await;
    watched.forget();
    server.apply(&crate::route(&outside, "r", 81));
    server.apply(&crate::route(&inside, "r", 81));
    watched.upserted(&inside_route).await;
    assert!(watched.seen_in(&outside).is_empty());
    assert!(!watched.objects.keys().any(|key| key.namespace == outside));
}

#[tokio::test]
async fn namespaces_by_name_need_roles_only() {
    let server = ApiServer::shared().await;
    let first = server.namespace("first", &[]).await;
    let second = server.namespace("second", &[]).await;
    let other = server.namespace("other", &[]).await;
    let rules = serde_json::to_string(&rules().namespaced).unwrap();
    server.kubectl(&["create", "serviceaccount", "postern", "--namespace", &first]);
    for namespace in [&first, &second] {
        server.apply(&format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{namespace: {namespace}, name: postern}}\nrules: {rules}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{namespace: {namespace}, name: postern}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: postern}}\n\
             subjects: [{{kind: ServiceAccount, namespace: {first}, name: postern}}]\n"
        ));
    }
    for namespace in [&first, &second, &other] {
        server.apply(&crate::route(namespace, "r", 80));
        server.apply(&crate::secret(namespace, "s", "one"));
    }
    let client = server.client_of(&first, "postern").await;
    let namespaces = BTreeSet::from([first.clone(), second.clone()]);
    let options = WatchOptions {
        gateway_classes: BTreeSet::from(["ours".to_owned()]),
        ..options(Scope::Namespaces(namespaces))
    };
    let mut watched = Watched::synced(client, options).await;
    let Some(Object::GatewayClass(class)) = watched.objects.get(&key(Kind::GatewayClass, "", "ours")) else {
        panic!("no GatewayClass")
    };
    assert_eq!(class.spec.controller_name, "postern.dev/gateway-controller");
    for namespace in [&first, &second] {
        assert!(watched.objects.contains_key(&key(Kind::Namespace, "", namespace)));
        assert!(watched.objects.contains_key(&key(Kind::HttpRoute, namespace, "r")));
    }

    let secrets = [&first, &second, &other].map(|namespace| key(Kind::Secret, namespace, "s"));
    let generation = watched.handle.set_references(secrets.clone().into());
    watched.until("references", |seen| seen.contains(&Seen::Ready(generation))).await;
    let found = secrets.each_ref().map(|secret| watched.objects.contains_key(secret));
    assert_eq!(found, [true, true, false], "a namespace that is not watched is not asked");
    watched.forget();
    server.apply(&crate::secret(&second, "s", "two"));
    watched.upserted(&secrets[1]).await;

    assert!(watched.seen_in(&other).is_empty());
    watched.all_watching().await;
}
