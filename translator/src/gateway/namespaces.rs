//! From which namespaces other objects may attach: routes to a listener (`allowedRoutes.namespaces`), ListenerSets to a Gateway
//! (`allowedListeners.namespaces`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_api::gateway_api::FromNamespaces;

use crate::dependency::Reader;
use crate::object::{Kind, ObjectKey};
use crate::problem::Fault;
use crate::selector;

/// From which namespaces objects may attach.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Namespaces {
    Same,
    All,
    Selected(LabelSelector),
    None,
}

impl Namespaces {
    /// Reads `from` and `selector`; `None` if `from` is absent. What cannot be read admits nobody.
    ///
    /// # Errors
    /// When `from` is unknown, or asks for a selector that is not there.
    pub(crate) fn parse(
        from: Option<&FromNamespaces>,
        selector: Option<&LabelSelector>,
    ) -> Result<Option<Self>, Fault> {
        let Some(from) = from else { return Ok(None) };
        Ok(Some(match from.as_ref() {
            "All" => Self::All,
            "Same" => Self::Same,
            "None" => Self::None,
            "Selector" => Self::Selected(selector.cloned().ok_or_else(|| {
                Fault::new(
                    ".selector",
                    "from is Selector, but there is no selector: nothing can attach",
                    "add a selector, or use from: All or from: Same",
                )
            })?),
            other => {
                return Err(Fault::new(
                    ".from",
                    format!("{other:?} is unknown: nothing can attach"),
                    "use All, Same, Selector or None",
                ));
            }
        }))
    }

    /// True if objects of `namespace` may attach to an object in `home`.
    pub(crate) fn admit(&self, reader: &Reader<'_>, home: &str, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Same => namespace == home,
            Self::None => false,
            Self::Selected(selector) => {
                let labels = reader.labels(&ObjectKey::new(Kind::Namespace, "", namespace));
                let mut labels = labels.unwrap_or_default();
                // The API server sets this label on every namespace; files may leave it out.
                labels
                    .entry("kubernetes.io/metadata.name".to_owned())
                    .or_insert_with(|| namespace.to_owned());
                selector::matches(selector, &labels)
            }
        }
    }
}
