//! Every golden input of the translator, served by a real Envoy: nothing is rejected, and what the
//! statuses call programmed is what listens.

#![allow(clippy::unwrap_used, clippy::format_collect)] // a test fails where it is surprised

use std::collections::BTreeSet;
use std::path::Path;

use postern_e2e::{Vars, World, golden_inputs, until};
use serde::Deserialize as _;
use serde_json::Value;

/// The documents of a golden input with each listener at a free port, and the parents by port moved
/// with them.
fn with_free_ports(path: &Path, vars: &mut Vars) -> String {
    let text = std::fs::read_to_string(path).expect("read a golden input");
    let mut move_port = |it: &mut Value| {
        if let Some(port) = it.get("port").and_then(Value::as_u64) {
            it["port"] = vars.port(&format!("PORT_{port}")).into();
        }
    };
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).expect("a golden input is YAML"))
        .map(|mut document| {
            let ported: &[&str] = match document["kind"].as_str() {
                Some("Gateway") => &["/spec/listeners", "/spec/tls/frontend/perPort"],
                Some("ListenerSet") => &["/spec/listeners"],
                Some(kind) if kind.ends_with("Route") => &["/spec/parentRefs"],
                _ => &[],
            };
            for list in ported {
                let list = document.pointer_mut(list).and_then(Value::as_array_mut);
                list.into_iter().flatten().for_each(&mut move_port);
            }
            format!("{document}\n---\n")
        })
        .collect()
}

fn conditions_true(listener: &Value, kind: &str) -> bool {
    let conditions = listener["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|it| it["type"] == kind && it["status"] == "True")
}

async fn serve(path: &Path) {
    // The ports stay reserved as long as Envoy holds them.
    let mut vars = Vars::default();
    let yaml = with_free_ports(path, &mut vars);
    let mut world = World::empty().await;
    world.apply(&yaml).await;
    for node in world.nodes() {
        let programmed: BTreeSet<u16> = with_listeners(&yaml, &node)
            .iter()
            .flat_map(|object| {
                let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
                programmed(
                    object,
                    &world.status(object["kind"].as_str().unwrap(), of("namespace"), of("name")),
                )
            })
            .collect();
        until("listeners as the status says, everything warm", || async {
            let envoy = world.envoy_of(&node);
            let listening: BTreeSet<u16> = envoy.listening().await.into_iter().collect();
            let warming =
                envoy.stats("(listener_manager.total_listeners|cluster_manager.warming_clusters)").await;
            let warming: u64 = warming.iter().filter(|it| it.0.contains("warming")).map(|it| it.1).sum();
            if listening == programmed && warming == 0 {
                Ok(())
            } else {
                Err(format!("programmed {programmed:?}, listening {listening:?}, warming {warming}"))
            }
        })
        .await;
    }
    world.assert_nothing_rejected().await;
}

/// The Gateway of a node, and the ListenerSets that name it.
fn with_listeners(yaml: &str, node: &str) -> Vec<Value> {
    let is_of = |object: &Value| {
        let namespace = &object["metadata"]["namespace"];
        let (at, name) = match object["kind"].as_str() {
            Some("Gateway") => (namespace, &object["metadata"]["name"]),
            Some("ListenerSet") => {
                let parent = &object["spec"]["parentRef"];
                (parent.get("namespace").unwrap_or(namespace), &parent["name"])
            }
            _ => return false,
        };
        at.as_str().zip(name.as_str()).is_some_and(|(at, name)| format!("{at}/{name}") == node)
    };
    yaml.split("\n---\n").filter_map(|it| serde_json::from_str::<Value>(it).ok()).filter(is_of).collect()
}

/// The ports of the listeners of an object that its status calls programmed.
fn programmed(object: &Value, status: &Value) -> Vec<u16> {
    let listeners = status["listeners"].as_array().into_iter().flatten();
    listeners
        .filter(|listener| conditions_true(listener, "Programmed"))
        .filter_map(|listener| {
            let wanted = object["spec"]["listeners"].as_array()?;
            let found = wanted.iter().find(|it| it["name"] == listener["name"])?;
            u16::try_from(found["port"].as_u64()?).ok()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_envoy_takes_every_golden() {
    let inputs = golden_inputs();
    assert!(inputs.len() >= 25, "only {} golden inputs", inputs.len());
    let mut failed = Vec::new();
    for (name, path) in inputs {
        // On a task of its own, a failure does not hide those that follow.
        if tokio::spawn(async move { serve(&path).await }).await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "these goldens failed (see above): {failed:?}");
}
