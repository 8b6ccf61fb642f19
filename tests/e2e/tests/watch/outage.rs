//! The API server goes away and comes back.

use std::time::Instant;

use postern::kubernetes::watch::{Phase, Scope};
use postern_translator::Kind;

use crate::server::ApiServer;
use crate::watched::{Seen, Watched, key, options};

#[tokio::test]
async fn an_outage_changes_nothing_and_what_happened_since_is_told_as_a_difference() {
    let server = ApiServer::alone().await;
    server.install();
    let routes = (0..20).map(|index| crate::route("default", &format!("r-{index}"), 80));
    server.apply(&routes.collect::<Vec<_>>().join("---\n"));
    server.apply(&crate::secret("default", "kept", "one"));
    server.apply(&crate::secret("default", "gone", "one"));
    let mut watched = Watched::synced(server.client().await, options(Scope::All)).await;
    let (kept, gone) = (key(Kind::Secret, "default", "kept"), key(Kind::Secret, "default", "gone"));
    let generation = watched.handle.set_references([kept.clone(), gone.clone()].into());
    watched.until("references", |seen| seen.contains(&Seen::Ready(generation))).await;
    let known = watched.objects.len();

    for round in 0..2 {
        watched.forget();
        server.order("stop").await;
        watched
            .until("loss", |seen| {
                let lost =
                    |kind: &str| seen.iter().any(|seen| matches!(seen, Seen::Lost(k, _) if *k == kind));
                lost("HTTPRoute") && lost("Service") && lost("Secret") && lost("Namespace")
            })
            .await;
        assert!(matches!(watched.phase("HTTPRoute"), Phase::Lost { .. }));
        assert!(watched.metrics.registry_text().contains(r#"watch_lag_seconds{kind="HTTPRoute"}"#));
        let lost: Vec<_> = watched
            .seen
            .iter()
            .filter_map(|seen| if let Seen::Lost(kind, _) = seen { Some(*kind) } else { None })
            .collect();

        server.order("start").await;
        let began = Instant::now();
        // Before the watches are back, or after: both has to come to the same.
        server.kubectl(&["delete", "httproute", &format!("r-{round}"), "--namespace", "default"]);
        server.apply(&crate::route("default", &format!("r-{}", round + 10), 81));
        server.apply(&crate::route("default", &format!("new-{round}"), 80));
        server.apply(&crate::secret("default", "kept", &format!("after-{round}")));
        if round == 0 {
            server.kubectl(&["delete", "secret", "gone", "--namespace", "default"]);
        }
        watched.until("return", |seen| lost.iter().all(|kind| seen.contains(&Seen::Regained(kind)))).await;
        eprintln!("all {} watches are back {:?} after the API server", lost.len(), began.elapsed());
        watched.upserted(&key(Kind::HttpRoute, "default", &format!("new-{round}"))).await;
        watched.deleted(&key(Kind::HttpRoute, "default", &format!("r-{round}"))).await;
        watched.upserted(&kept).await;
        let mut expected = vec![
            Seen::Delete(key(Kind::HttpRoute, "default", &format!("r-{round}"))),
            Seen::Upsert(key(Kind::HttpRoute, "default", &format!("r-{}", round + 10))),
            Seen::Upsert(key(Kind::HttpRoute, "default", &format!("new-{round}"))),
            Seen::Upsert(kept.clone()),
        ];
        if round == 0 {
            watched.deleted(&gone).await;
            expected.push(Seen::Delete(gone.clone()));
        }
        // Nothing but that was told of any object of the test.
        let mut told = watched.seen_in("default");
        let order = |seen: &Seen| format!("{seen:?}");
        told.retain(
            |seen| !matches!(seen, Seen::Upsert(key) | Seen::Delete(key) if key.kind == Kind::EndpointSlice),
        );
        told.sort_by_key(order);
        expected.sort_by_key(order);
        assert_eq!(told, expected);
    }
    assert_eq!(watched.objects.len(), known - 1, "two routes went, two came, and a Secret went");
}
