//! Of Secrets and ConfigMaps, what is referred to is known, and nothing else.

use postern::kubernetes::watch::Scope;
use postern_translator::{Kind, Object};

use crate::server::ApiServer;
use crate::watched::{Seen, Watched, key, options};

fn word(watched: &Watched, name: &postern_translator::ObjectKey) -> String {
    let Some(Object::Secret(secret)) = watched.objects.get(name) else { panic!("no {name}") };
    String::from_utf8(secret.data.as_ref().unwrap()["word"].0.clone()).unwrap()
}

#[tokio::test]
async fn what_is_referred_to_is_fetched_followed_and_forgotten() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("references", &[]).await;
    for name in ["a", "b", "unused"] {
        server.apply(&crate::secret(&namespace, name, "one"));
    }
    server.apply(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{namespace: {namespace}, name: ca}}\ndata: {{ca.crt: x}}\n"
    ));
    let mut watched = Watched::synced(server.client().await, options(Scope::All)).await;
    let is_kept =
        |seen: &Seen| matches!(seen, Seen::Upsert(key) if matches!(key.kind, Kind::Secret | Kind::ConfigMap));
    assert!(!watched.seen.iter().any(is_kept), "nobody refers to anything");
    watched.forget();

    let (a, b, ca) = (
        key(Kind::Secret, &namespace, "a"),
        key(Kind::Secret, &namespace, "b"),
        key(Kind::ConfigMap, &namespace, "ca"),
    );
    let missing = key(Kind::Secret, &namespace, "missing");
    // What a user writes as a name need not be one.
    let elsewhere = key(Kind::Secret, &namespace, "../secrets/b");
    let generation =
        watched.handle.set_references([a.clone(), ca.clone(), missing.clone(), elsewhere.clone()].into());
    watched.until("references", |seen| seen.contains(&Seen::Ready(generation))).await;
    let ready = watched.seen.iter().position(|seen| *seen == Seen::Ready(generation)).unwrap();
    for key in [&a, &ca] {
        let told = watched.seen.iter().position(|seen| *seen == Seen::Upsert(key.clone()));
        assert!(told.is_some_and(|told| told < ready), "{key} comes before: {:?}", watched.seen);
    }
    assert_eq!(watched.seen_in(&namespace).len(), 2);
    assert_eq!(word(&watched, &a), "one");

    // What changes is told, what nobody refers to is not.
    watched.forget();
    server.apply(&crate::secret(&namespace, "unused", "two"));
    server.apply(&crate::secret(&namespace, "a", "two"));
    watched.upserted(&a).await;
    assert_eq!(word(&watched, &a), "two");
    server.apply(&crate::secret(&namespace, "missing", "here"));
    watched.upserted(&missing).await;
    server.kubectl(&["delete", "secret", "a", "--namespace", &namespace]);
    watched.deleted(&a).await;
    server.apply(&crate::secret(&namespace, "a", "three"));
    watched
        .until("return", |seen| seen.iter().filter(|seen| **seen == Seen::Upsert(a.clone())).count() == 2)
        .await;
    assert_eq!(word(&watched, &a), "three");
    assert!(
        !watched
            .seen_in(&namespace)
            .iter()
            .any(|seen| matches!(seen, Seen::Upsert(key) if key.name == "unused"))
    );

    // Two calls in a row: the later one counts, and forgets what it does not name.
    watched.forget();
    watched.handle.set_references([b.clone()].into());
    let generation = watched.handle.set_references([b.clone(), a.clone()].into());
    watched.until("references", |seen| seen.contains(&Seen::Ready(generation))).await;
    assert_eq!(word(&watched, &b), "one");
    assert!(watched.objects.contains_key(&a));
    assert!(!watched.objects.contains_key(&ca) && !watched.objects.contains_key(&missing));
    let generation = watched.handle.set_references([].into());
    watched.until("nothing", |seen| seen.contains(&Seen::Ready(generation))).await;
    assert!(!watched.objects.keys().any(|key| key.namespace == namespace && key.kind == Kind::Secret));
    assert_eq!(watched.report("Secret").objects, 0);
}
