//! Objects out of files, as files change in all the ways that editors and mounts change them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postern::diagnostic::Level;
use postern::source::{Refresh, SETTLE, Source, WatchEvent, Watcher};
use postern_translator::{Change, Kind, Object, ObjectKey};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n"
    )
}

fn names(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change {
            Change::Upsert(object) => format!("+{}", object.key()),
            Change::Delete(key) => format!("-{key}"),
        })
        .collect()
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn write(path: &Path, text: impl AsRef<str>) {
    fs::write(path, text.as_ref()).expect("write a file");
}

/// A source over `path` that has read everything, and believes nothing bad at once.
fn opened(path: &Path) -> (Source, Vec<Change>) {
    let mut source = Source::new([path.to_owned()]);
    let changes = source.refresh(Instant::now()).changes;
    (source, changes)
}

/// Looks now, and again when the source wants to.
fn settled(source: &mut Source) -> Refresh {
    let now = Instant::now();
    let first = source.refresh(now);
    match first.again_after {
        Some(_) => {
            assert!(first.changes.is_empty(), "nothing bad is believed at once");
            source.refresh(now + SETTLE)
        }
        None => first,
    }
}

#[test]
fn reads_trees_streams_and_lists() {
    let root = directory();
    fs::create_dir_all(root.path().join("a/b")).expect("a directory");
    write(&root.path().join("a/b/two.yml"), format!("{}---\n{}", service("x", 1), service("y", 2)));
    write(
        &root.path().join("list.json"),
        r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "z", "namespace": "other"}, "spec": {}}]}"#,
    );
    write(&root.path().join("README.md"), "kind: Service");
    write(&root.path().join(".hidden.yaml"), "kind: [");
    let (source, changes) = opened(root.path());
    let names = names(&changes);
    let wanted = [
        "+Namespace default",
        "+Service default/x",
        "+Service default/y",
        "+Namespace other",
        "+Service other/z",
    ];
    assert_eq!(names, wanted);
    assert!(source.diagnostics().is_empty());
    let place =
        source.locate(&ObjectKey::new(Kind::Service, "default", "y"), "spec.ports[0].port").expect("a place");
    assert!(place.to_string().ends_with("two.yml:9:17"), "{place}");
}

#[test]
fn an_edit_changes_what_it_touches() {
    let root = directory();
    let file = root.path().join("all.yaml");
    let text = |port| format!("{}---\n{}---\n{}", service("x", 1), service("y", port), service("z", 3));
    write(&file, text(2));
    let (mut source, _) = opened(root.path());
    write(&file, text(20));
    assert_eq!(names(&source.refresh(Instant::now()).changes), ["+Service default/y"]);
    write(&file, format!("# a comment\n\n{}", text(20).replace("kind", "kind  ")));
    let refresh = source.refresh(Instant::now());
    assert!(refresh.changes.is_empty(), "layout and comments are no change: {:?}", names(&refresh.changes));
    let place = source.locate(&ObjectKey::new(Kind::Service, "default", "x"), "kind").expect("a place");
    assert_eq!(place.line, 4);
}

#[test]
fn keeps_the_last_good_version() {
    let root = directory();
    let file = root.path().join("all.yaml");
    write(&file, format!("{}---\n{}", service("x", 1), service("y", 2)));
    let (mut source, _) = opened(root.path());

    write(&file, format!("{}---\n{}", service("x", 10), "kind: [half"));
    assert_eq!(names(&settled(&mut source).changes), ["+Service default/x"]);
    let findings = source.diagnostics();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].message.contains("stays in force"), "{}", findings[0].message);

    write(&file, service("x", 10).replace("port: 10", "port: ten"));
    let refresh = settled(&mut source);
    assert_eq!(names(&refresh.changes), ["-Service default/y"], "the other document is known to be gone");
    assert_eq!(source.diagnostics()[0].field, "spec.ports[0].port");

    write(&file, service("x", 10));
    assert!(settled(&mut source).changes.is_empty());
    assert!(source.diagnostics().is_empty());
}

#[test]
fn believes_in_removal_only_when_it_lasts() {
    let root = directory();
    let file = root.path().join("all.yaml");
    write(&file, service("x", 1));
    let (mut source, _) = opened(root.path());
    let now = Instant::now();

    write(&file, "");
    assert_eq!(source.refresh(now).again_after, Some(SETTLE));
    write(&file, service("x", 2));
    assert_eq!(names(&source.refresh(now).changes), ["+Service default/x"]);

    fs::remove_file(&file).expect("remove the file");
    assert!(source.refresh(now).changes.is_empty());
    let gone = source.refresh(now + SETTLE);
    assert_eq!(names(&gone.changes), ["-Service default/x", "-Namespace default"]);
    assert_eq!(source.files().len(), 0);
}

#[test]
fn one_object_in_two_places_is_an_error_and_the_first_counts() {
    let root = directory();
    write(&root.path().join("a.yaml"), service("x", 1));
    write(
        &root.path().join("b.yaml"),
        format!("{}---\n{}---\n{}", service("x", 2), service("y", 3), service("y", 4)),
    );
    let (mut source, _) = opened(root.path());
    let findings = source.diagnostics();
    let lines: Vec<_> = findings.iter().map(|f| f.location.as_ref().map(|l| l.line)).collect();
    assert_eq!(lines, [Some(3), Some(13)]);
    assert!(findings.iter().all(|f| f.level == Level::Error && f.message.contains("a second time")));

    fs::remove_file(root.path().join("a.yaml")).expect("remove the file");
    assert_eq!(names(&settled(&mut source).changes), ["+Service default/x"], "now the other one counts");
}

#[test]
fn namespaces_are_implied_unless_they_are_given() {
    let root = directory();
    write(&root.path().join("a.yaml"), service("x", 1));
    let (mut source, _) = opened(root.path());
    let given = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {team: red}}\n";
    write(&root.path().join("b.yaml"), given);
    let changes = source.refresh(Instant::now()).changes;
    let [Change::Upsert(object)] = changes.as_slice() else {
        panic!("one object, not {:?}", names(&changes))
    };
    let labels = object.metadata().labels.clone().expect("labels");
    let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["kubernetes.io/metadata.name=default", "team=red"]);

    fs::remove_file(root.path().join("b.yaml")).expect("remove the file");
    let changes = settled(&mut source).changes;
    assert_eq!(names(&changes), ["+Namespace default"], "it is still used, so it lives on");
}

/// Statuses are written by controllers, and what others say of Pods and ServiceImports is where they are.
#[test]
fn statuses_count_where_they_say_where_something_is() {
    let directory = directory();
    let object = |version: &str, kind: &str, spec: &str, status: &str| {
        format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{{spec}}}\nstatus: {{{status}}}\n---\n"
        )
    };
    let gateway = "gatewayClassName: c, listeners: [{name: http, port: 80, protocol: HTTP}]";
    let all = [
        object("v1", "Pod", "containers: []", "podIP: 127.0.0.1"),
        object("multicluster.x-k8s.io/v1beta1", "ServiceImport", "ports: []", "endpointSliceObjects: Absent"),
        object("gateway.networking.k8s.io/v1", "Gateway", gateway, "addresses: [{value: 10.0.0.1}]"),
    ];
    write(&directory.path().join("a.yaml"), all.concat());
    let (source, changes) = opened(directory.path());
    assert_eq!(source.diagnostics().len(), 0, "{:?}", source.diagnostics());
    let statuses: Vec<bool> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Upsert(Object::Pod(pod)) => Some(pod.status.is_some()),
            Change::Upsert(Object::ServiceImport(import)) => Some(import.status.is_some()),
            Change::Upsert(Object::Gateway(gateway)) => Some(gateway.status.is_none()),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [true; 3]);
}

#[test]
fn absent_paths_are_refused() {
    let root = directory();
    let error = Source::new([root.path().join("nope")]).check().expect_err("there is nothing there");
    assert!(error.to_string().ends_with("nope: no such file or directory"), "{error}");
}

/// Feeds `source` from `watcher` until `done` says so.
async fn follow(source: &mut Source, watcher: &mut Watcher, done: impl Fn(&Source) -> bool) -> Vec<PathBuf> {
    let mut read = Vec::new();
    let work = async {
        let mut again = None;
        while !done(source) {
            let timer = async {
                match again {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            let refresh = tokio::select! {
                event = watcher.next() => match event {
                    WatchEvent::Files(files) => {
                        source.refresh_files(files.iter().map(PathBuf::as_path), Instant::now())
                    }
                    WatchEvent::Anything => {
                        watcher.update();
                        source.refresh(Instant::now())
                    }
                },
                () = timer => source.refresh(Instant::now()),
            };
            again = refresh.again_after;
            read.extend(refresh.files.iter().map(|path| path.as_ref().clone()));
        }
    };
    tokio::time::timeout(PATIENCE, work).await.expect("the change is heard");
    read
}

fn port(source: &Source, name: &str) -> Option<i32> {
    let object = source.get(&ObjectKey::new(Kind::Service, "default", name))?;
    let postern_translator::Object::Service(service) = object else { return None };
    Some(service.spec.as_ref()?.ports.as_ref()?.first()?.port)
}

#[tokio::test]
async fn hears_of_writing_replacing_moving_and_new_directories() {
    let root = directory();
    let file = root.path().join("a.yaml");
    write(&file, service("x", 1));
    write(&root.path().join("b.yaml"), service("b", 1));
    let mut watcher = Watcher::new(&[root.path().to_owned()]);
    let (mut source, _) = opened(root.path());

    write(&file, service("x", 2));
    let read = follow(&mut source, &mut watcher, |s| port(s, "x") == Some(2)).await;
    assert_eq!(
        read.iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([&file]),
        "only the changed file is read"
    );

    // As `sed -i` and most editors: a new file takes the name.
    write(&root.path().join("a.tmp"), service("x", 3));
    fs::rename(root.path().join("a.tmp"), &file).expect("rename");
    follow(&mut source, &mut watcher, |s| port(s, "x") == Some(3)).await;

    // As vim: the old file is put aside, and there is none for a moment.
    fs::rename(&file, root.path().join("a.yaml~")).expect("rename");
    write(&file, service("x", 4));
    follow(&mut source, &mut watcher, |s| port(s, "x") == Some(4)).await;

    fs::create_dir(root.path().join("new")).expect("a directory");
    write(&root.path().join("new/c.yaml"), service("c", 5));
    follow(&mut source, &mut watcher, |s| port(s, "c") == Some(5)).await;
    write(&root.path().join("new/c.yaml"), service("c", 6));
    follow(&mut source, &mut watcher, |s| port(s, "c") == Some(6)).await;

    fs::remove_dir_all(root.path().join("new")).expect("remove the directory");
    follow(&mut source, &mut watcher, |s| port(s, "c").is_none()).await;
}

#[tokio::test]
async fn hears_of_config_map_mounts() {
    let root = directory();
    let mount = root.path();
    let version = |name: &str, port| {
        fs::create_dir(mount.join(name)).expect("a directory");
        write(&mount.join(name).join("x.yaml"), service("x", port));
    };
    version("..2026_1", 1);
    symlink("..2026_1", mount.join("..data")).expect("a link");
    symlink("..data/x.yaml", mount.join("x.yaml")).expect("a link");
    let mut watcher = Watcher::new(&[mount.to_owned()]);
    let (mut source, _) = opened(mount);
    assert_eq!(port(&source, "x"), Some(1));

    version("..2026_2", 2);
    symlink("..2026_2", mount.join("..data_tmp")).expect("a link");
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("rename");
    fs::remove_dir_all(mount.join("..2026_1")).expect("remove the directory");
    follow(&mut source, &mut watcher, |s| port(s, "x") == Some(2)).await;
}

#[tokio::test]
async fn hears_of_a_root_that_points_elsewhere() {
    let root = directory();
    for (name, port) in [("v1", 1), ("v2", 2)] {
        fs::create_dir(root.path().join(name)).expect("a directory");
        write(&root.path().join(name).join("x.yaml"), service("x", port));
    }
    let current = root.path().join("current");
    symlink("v1", &current).expect("a link");
    let mut watcher = Watcher::new(std::slice::from_ref(&current));
    let (mut source, _) = opened(&current);
    symlink("v2", root.path().join("next")).expect("a link");
    fs::rename(root.path().join("next"), &current).expect("rename");
    follow(&mut source, &mut watcher, |s| port(s, "x") == Some(2)).await;
    // And what it points to now is watched too.
    write(&root.path().join("v2/x.yaml"), service("x", 3));
    follow(&mut source, &mut watcher, |s| port(s, "x") == Some(3)).await;
}
