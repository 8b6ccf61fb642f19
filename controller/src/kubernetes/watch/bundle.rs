//! The version of the Gateway API, as the annotations of its CustomResourceDefinitions say.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::WatchEvent;
use super::batch::{Closed, Outlet};
use super::context::Context;
use super::feed::{Signal, Source};

/// The definition that is looked at. One is enough: a bundle is installed as a whole.
pub(super) const DEFINITION: &str = "gatewayclasses.gateway.networking.k8s.io";

const VERSION: &str = "gateway.networking.k8s.io/bundle-version";
const CHANNEL: &str = "gateway.networking.k8s.io/channel";

#[derive(Debug, Default, PartialEq, Eq)]
struct Bundle {
    version: Option<String>,
    channel: Option<String>,
}

/// Tells of the version, now and when it changes.
pub(super) async fn run(context: Context, outlet: Outlet) -> Result<(), Closed> {
    let monitor = context.health.monitor("CustomResourceDefinition", "customresourcedefinitions", None);
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned();
    let fields = Some(format!("metadata.name={DEFINITION}"));
    let mut feed = context.feed(Source { metadata: true, fields, ..context.source(path) });
    let mut told = None;
    let mut listed = Bundle::default();
    let mut settled = false;
    loop {
        let now = match feed.next().await {
            Signal::Listing => {
                listed = Bundle::default();
                None
            }
            Signal::Listed(item) => {
                listed = read(&item.raw);
                None
            }
            Signal::Complete => Some(std::mem::take(&mut listed)),
            Signal::Changed(item) => Some(read(&item.raw)),
            Signal::Deleted(_) => Some(Bundle::default()),
            Signal::Heard => {
                if let Some(event) = monitor.watching() {
                    outlet.event(event).await?;
                }
                None
            }
            Signal::Failed(failure) => {
                if let Some(event) = monitor.failed(&failure) {
                    outlet.event(event).await?;
                }
                // Not worth to wait for.
                let hopeless = failure.forbidden().is_some() || failure.is_not_found();
                (hopeless && told.is_none()).then(Bundle::default)
            }
        };
        if let Some(bundle) = now
            && told.as_ref() != Some(&bundle)
        {
            let (version, channel) = (bundle.version.clone(), bundle.channel.clone());
            outlet.event(WatchEvent::BundleVersion { version, channel }).await?;
            told = Some(bundle);
        }
        if told.is_some() && !settled {
            settled = true;
            monitor.settled();
            outlet.settled().await?;
        }
    }
}

fn read(raw: &RawValue) -> Bundle {
    #[derive(Default, Deserialize)]
    struct Definition {
        #[serde(default)]
        metadata: Metadata,
    }

    #[derive(Default, Deserialize)]
    struct Metadata {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }

    // Whatever else is there says nothing of the version.
    let mut annotations =
        serde_json::from_str::<Definition>(raw.get()).unwrap_or_default().metadata.annotations;
    Bundle { version: annotations.remove(VERSION), channel: annotations.remove(CHANNEL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_annotations() {
        let raw = |text: &str| serde_json::from_str::<Box<RawValue>>(text).unwrap();
        let bundle = read(&raw(
            r#"{"metadata": {"annotations": {"gateway.networking.k8s.io/bundle-version": "v1.7.0",
                "gateway.networking.k8s.io/channel": "standard", "other": "x"}}}"#,
        ));
        assert_eq!(bundle, Bundle { version: Some("v1.7.0".into()), channel: Some("standard".into()) });
        assert_eq!(read(&raw(r#"{"metadata": {}}"#)), Bundle::default());
        assert_eq!(read(&raw("[]")), Bundle::default());
    }
}
