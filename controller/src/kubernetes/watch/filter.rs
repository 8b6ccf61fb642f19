//! Which namespaces count.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::batch::Closed;

/// The names of the namespaces that match a selector; `None` until they have been listed.
pub(super) type Admitted = Option<Arc<BTreeSet<String>>>;

/// Which namespaces count.
#[derive(Clone, Debug)]
pub(super) enum Filter {
    /// All that one comes across.
    Everything,
    /// These and no others.
    Fixed(Arc<BTreeSet<String>>),
    /// Those that match a selector now.
    Selected {
        /// What matches.
        matching: watch::Receiver<Admitted>,
        /// What was told to whoever asked last.
        current: Arc<BTreeSet<String>>,
    },
}

/// Namespaces that came and went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) left: Vec<String>,
    pub(super) joined: Vec<String>,
}

impl Filter {
    /// True if objects of this namespace count; objects of no namespace always do.
    pub(super) fn admits(&self, namespace: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Fixed(names) | Self::Selected { current: names, .. } => {
                namespace.is_empty() || names.contains(namespace)
            }
        }
    }

    /// Waits until it is known what counts.
    pub(super) async fn ready(&mut self) -> Result<(), Closed> {
        if let Self::Selected { matching, current } = self {
            let names = matching.wait_for(Option::is_some).await.map_err(|_| Closed)?.clone();
            *current = names.unwrap_or_default();
            matching.mark_unchanged();
        }
        Ok(())
    }

    /// Waits for another set of namespaces. Nothing is lost when the future is dropped.
    pub(super) async fn moved(&mut self) -> Result<Moved, Closed> {
        let Self::Selected { matching, current } = self else { return std::future::pending().await };
        matching.changed().await.map_err(|_| Closed)?;
        let names = matching.borrow_and_update().clone().unwrap_or_default();
        let moved = difference(current, &names);
        *current = names;
        Ok(moved)
    }
}

fn difference(old: &BTreeSet<String>, new: &BTreeSet<String>) -> Moved {
    Moved { left: old.difference(new).cloned().collect(), joined: new.difference(old).cloned().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> Arc<BTreeSet<String>> {
        Arc::new(names.split_whitespace().map(str::to_owned).collect())
    }

    #[tokio::test]
    async fn tells_who_came_and_went() {
        let (sender, matching) = watch::channel(None);
        let mut filter = Filter::Selected { matching, current: Arc::default() };
        assert!(!filter.admits("a"));
        sender.send_replace(Some(set("a b")));
        filter.ready().await.unwrap();
        assert!(filter.admits("a") && !filter.admits("c") && filter.admits(""));
        sender.send_replace(Some(set("b c d")));
        let moved = filter.moved().await.unwrap();
        assert_eq!(moved, Moved { left: vec!["a".into()], joined: vec!["c".into(), "d".into()] });
        assert!(filter.admits("c") && !filter.admits("a"));
        drop(sender);
        filter.moved().await.unwrap_err();
    }

    #[test]
    fn fixed_namespaces_stay() {
        let filter = Filter::Fixed(set("a"));
        assert!(filter.admits("a") && !filter.admits("b"));
        assert!(Filter::Everything.admits("anything"));
    }
}
