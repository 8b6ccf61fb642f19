//! Requests for one collection, and what the answers say.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use futures::io::AsyncBufReadExt;
use futures::stream::BoxStream;
use http::Request;
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::decode::Item;
use super::super::failure::{Failure, Verb};

/// How long a page of a list may take. The API server itself gives up after 60 s.
const LIST: Duration = Duration::from_mins(1);

/// How long it may take until a watch has begun, or one object is there.
const ANSWER: Duration = Duration::from_secs(15);

/// The longest life of a watch. The API server then ends it, and the next one follows.
const LIFE_SECONDS: u32 = 290;

/// The lines of a watch.
pub(super) type Lines = BoxStream<'static, std::io::Result<String>>;

/// A collection.
#[derive(Clone)]
pub(in super::super) struct Source {
    pub(in super::super) client: Client,
    /// The path of the collection.
    pub(in super::super) path: String,
    /// Only metadata is wanted.
    pub(in super::super) metadata: bool,
    /// Only objects with these labels.
    pub(in super::super) labels: Option<String>,
    /// Only objects with these fields.
    pub(in super::super) fields: Option<String>,
    /// How many objects a page may hold.
    pub(in super::super) page_size: u32,
}

/// Which page of a list comes next.
pub(super) enum Next {
    First,
    Continue(String),
    Done,
}

/// A part of a list.
pub(super) struct Page {
    pub(super) items: Vec<Item>,
    pub(super) version: String,
    pub(super) next: Next,
}

/// One line of a watch.
pub(super) enum Said {
    Changed(Item),
    Deleted(Item),
    Bookmark(String),
    Error(Failure),
}

impl Source {
    /// The same for another path.
    pub(super) fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    /// One page, as it is now: an older state, from a cache that lags behind, could take back what was told already.
    pub(super) async fn list(&self, next: &Next) -> Result<Page, Failure> {
        #[derive(Deserialize)]
        struct List {
            metadata: Metadata,
            #[serde(default)]
            items: Option<Vec<Box<RawValue>>>,
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            #[serde(default)]
            resource_version: String,
            #[serde(default, rename = "continue")]
            next: String,
        }

        let params = ListParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            limit: Some(self.page_size),
            continue_token: if let Next::Continue(token) = next { Some(token.clone()) } else { None },
            ..ListParams::default()
        };
        let request = kube::core::Request::new(&self.path);
        let request = if self.metadata { request.list_metadata(&params) } else { request.list(&params) };
        let unreadable =
            |error: serde_json::Error| Failure::Unreadable { verb: Verb::List, message: error.to_string() };
        let text = within(Verb::List, LIST, self.client.request_text(built(Verb::List, request)?)).await?;
        let list: List = serde_json::from_str(&text).map_err(unreadable)?;
        let items = list.items.into_iter().flatten().map(Item::new).collect::<Result<_, _>>();
        let (version, next) = (list.metadata.resource_version, list.metadata.next);
        if version.is_empty() && next.is_empty() {
            let message = "it has no resourceVersion, so the collection cannot be watched".to_owned();
            return Err(Failure::Unreadable { verb: Verb::List, message });
        }
        let next = if next.is_empty() { Next::Done } else { Next::Continue(next) };
        Ok(Page { items: items.map_err(unreadable)?, version, next })
    }

    /// Begins a watch.
    pub(super) async fn watch(&self, version: &str) -> Result<Lines, Failure> {
        let params = WatchParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            timeout: Some(LIFE_SECONDS),
            bookmarks: true,
            send_initial_events: false,
        };
        let request = kube::core::Request::new(&self.path);
        let request = if self.metadata {
            request.watch_metadata(&params, version)
        } else {
            request.watch(&params, version)
        };
        let request = built(Verb::Watch, request)?;
        let reader = within(Verb::Watch, ANSWER, self.client.request_stream(request)).await?;
        Ok(Box::pin(reader).lines().boxed())
    }
}

/// The content at a path.
pub(super) async fn get(client: &Client, path: &str) -> Result<Box<RawValue>, Failure> {
    let request = Request::get(path).body(Vec::new());
    let request =
        request.map_err(|error| Failure::Unreachable { verb: Verb::Get, message: error.to_string() })?;
    // Not parsed by the client, which would log what it cannot parse: this may be a Secret.
    let text = within(Verb::Get, ANSWER, client.request_text(request)).await?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::Unreadable { verb: Verb::Get, message: error.to_string() })
}

fn built(
    verb: Verb,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Request<Vec<u8>>, Failure> {
    request.map_err(|error| Failure::Unreachable { verb, message: error.to_string() })
}

async fn within<T>(
    verb: Verb,
    after: Duration,
    answer: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(after, answer).await {
        Ok(answer) => answer.map_err(|error| Failure::of(verb, &error)),
        Err(_) => Err(Failure::TimedOut { verb, after }),
    }
}

/// What a line of a watch says.
pub(super) fn read(line: &str) -> Result<Said, serde_json::Error> {
    #[derive(Deserialize)]
    struct Line {
        r#type: Type,
        object: Box<RawValue>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    enum Type {
        Added,
        Modified,
        Deleted,
        Bookmark,
        Error,
    }

    let Line { r#type, object } = serde_json::from_str(line)?;
    Ok(match r#type {
        Type::Added | Type::Modified => Said::Changed(Item::new(object)?),
        Type::Deleted => Said::Deleted(Item::new(object)?),
        Type::Bookmark => Said::Bookmark(Item::new(object)?.head.version),
        Type::Error => {
            let status: Status = serde_json::from_str(object.get())?;
            Said::Error(Failure::refused(Verb::Watch, &status))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_of_a_watch() {
        let object = r#"{"metadata": {"name": "a", "resourceVersion": "7"}}"#;
        let line = |kind: &str| read(&format!(r#"{{"object": {object}, "type": "{kind}"}}"#));
        assert!(matches!(line("ADDED"), Ok(Said::Changed(item)) if item.head.version == "7"));
        assert!(matches!(line("MODIFIED"), Ok(Said::Changed(_))));
        assert!(matches!(line("DELETED"), Ok(Said::Deleted(_))));
        assert!(matches!(line("BOOKMARK"), Ok(Said::Bookmark(version)) if version == "7"));
        assert!(line("OTHER").is_err());
    }

    #[test]
    fn reads_errors_and_lines_that_break_off() {
        let gone = r#"{"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old", "reason": "Expired"}}"#;
        assert!(matches!(read(gone), Ok(Said::Error(failure)) if failure.is_expired()));
        assert!(read(&gone[..50]).err().is_some_and(|error| error.is_eof()));
    }
}
