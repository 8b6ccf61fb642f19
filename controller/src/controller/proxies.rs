//! What the proxies say, those of this replica and those of the others.
//!
//! A proxy is connected to one replica; the one that writes the statuses may be another. So each replica shows what its own
//! proxies say in a ConfigMap of its own, and reads those of the others ([`super::peers`]).

use std::collections::BTreeMap;

use postern_translator::{NamespacedName, ProxyReport};
use postern_xds::{Connection, ResourceType};

use crate::publish::translator_type;

/// Reports by Gateway.
pub(super) type Reports = BTreeMap<NamespacedName, ProxyReport>;

/// What the proxies of all replicas say.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    own: Reports,
    others: BTreeMap<String, Reports>,
}

impl Proxies {
    /// Takes in the present connections of a Gateway; true if they say something else than before.
    pub(super) fn connected(&mut self, gateway: &NamespacedName, connections: &[Connection]) -> bool {
        let report = report(connections);
        if connections.is_empty() {
            return self.own.remove(gateway).is_some();
        }
        self.own.insert(gateway.clone(), report.clone()).as_ref() != Some(&report)
    }

    /// Takes in what the proxies of another replica say, nothing if it is gone; answers the Gateways it is about.
    pub(super) fn told(&mut self, replica: &str, reports: Option<Reports>) -> Vec<NamespacedName> {
        let new = reports.unwrap_or_default();
        let old = self.others.insert(replica.to_owned(), new.clone()).unwrap_or_default();
        if new.is_empty() {
            self.others.remove(replica);
        }
        let changed = |name: &&NamespacedName| old.get(*name) != new.get(*name);
        let mut names: Vec<_> = old.keys().chain(new.keys()).filter(changed).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// What all proxies of a Gateway say.
    pub(super) fn of(&self, gateway: &NamespacedName) -> ProxyReport {
        let mut sum = self.own.get(gateway).cloned().unwrap_or_default();
        for report in self.others.values().filter_map(|reports| reports.get(gateway)) {
            sum.merge(report);
        }
        sum
    }

    /// What the proxies of this replica say.
    pub(super) fn own(&self) -> &Reports {
        &self.own
    }
}

fn report(connections: &[Connection]) -> ProxyReport {
    let mut report = ProxyReport::default();
    for connection in connections {
        let listeners = connection.held.iter(ResourceType::Listener);
        let rejections = &connection.rejections;
        report.add(
            listeners.map(|listener| (listener.name(), listener.version())),
            rejections.iter().filter_map(|r| Some((translator_type(r.resource_type)?, &*r.name, &*r.error))),
        );
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(gateway: &str, proxies: usize) -> Reports {
        let report = ProxyReport { proxies, ..ProxyReport::default() };
        [(NamespacedName::new("a", gateway), report)].into()
    }

    #[test]
    fn the_reports_of_replicas_add_up() {
        let mut proxies = Proxies::default();
        let (one, two) = (NamespacedName::new("a", "one"), NamespacedName::new("a", "two"));
        assert_eq!(proxies.told("x", Some(reports("one", 2))), *std::slice::from_ref(&one));
        assert_eq!(proxies.told("y", Some(reports("one", 3))), *std::slice::from_ref(&one));
        assert_eq!(proxies.told("y", Some(reports("one", 3))), [], "nothing new");
        assert_eq!(proxies.of(&one).proxies, 5);
        assert_eq!(proxies.told("y", Some(reports("two", 1))), [one.clone(), two.clone()]);
        assert_eq!((proxies.of(&one).proxies, proxies.of(&two).proxies), (2, 1));
        assert_eq!(proxies.told("x", None), *std::slice::from_ref(&one));
        assert_eq!(proxies.of(&one).proxies, 0);
    }

    #[test]
    fn a_gateway_without_proxies_is_forgotten() {
        let mut proxies = Proxies { own: reports("one", 1), ..Proxies::default() };
        let one = NamespacedName::new("a", "one");
        assert!(proxies.connected(&one, &[]));
        assert!(!proxies.connected(&one, &[]));
        assert!(proxies.own().is_empty());
    }
}
