//! What the proxies of a Gateway say about the configuration they were sent, and what follows from it.

mod answer;
mod culprit;

use std::collections::BTreeMap;

pub(crate) use self::answer::{Answer, Observation, words};
pub(crate) use self::culprit::{Culprit, culprit};
use crate::resource::ResourceType;

/// What the connected proxies of one Gateway say, those of all replicas of the controller together.
///
/// Versions are digests of the content and equal on every replica, so reports can be added up wherever they come from,
/// and one that is late does no harm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyReport {
    /// How many proxies are connected.
    pub proxies: usize,
    /// By name and version of the Envoy listener: how many of them hold it, so have acknowledged it.
    pub listeners: BTreeMap<String, BTreeMap<String, usize>>,
    /// What proxies refused and what has not changed since, ordered.
    pub rejections: Vec<Rejection>,
}

/// A resource that proxies refused. They keep its last good version, if they had one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// The type of the resource.
    pub resource_type: ResourceType,
    /// The name of the resource.
    pub name: String,
    /// The proxy's words.
    pub error: String,
    /// How many proxies said so.
    pub proxies: usize,
}

impl ProxyReport {
    /// Adds one proxy: name and version of the Envoy listeners that it holds; type, name and error of the resources that it
    /// refused.
    ///
    /// # Examples
    /// ```
    /// # use postern_translator::{ProxyReport, ResourceType};
    /// let mut report = ProxyReport::default();
    /// report.add([("80/tcp", "b5a1")], []);
    /// report.add([("80/tcp", "b5a1")], [(ResourceType::Cluster, "shop/cart:80", "no such field")]);
    /// assert_eq!(report.proxies, 2);
    /// assert_eq!(report.listeners["80/tcp"]["b5a1"], 2);
    /// assert_eq!(report.rejections[0].proxies, 1);
    /// ```
    pub fn add<'a>(
        &mut self,
        listeners: impl IntoIterator<Item = (&'a str, &'a str)>,
        rejections: impl IntoIterator<Item = (ResourceType, &'a str, &'a str)>,
    ) {
        self.proxies += 1;
        for (name, version) in listeners {
            let versions = self.listeners.entry(name.to_owned()).or_default();
            *versions.entry(version.to_owned()).or_insert(0) += 1;
        }
        for (resource_type, name, error) in rejections {
            self.reject(resource_type, name, error, 1);
        }
    }

    /// Adds the report of another replica.
    pub fn merge(&mut self, other: &Self) {
        self.proxies += other.proxies;
        for (name, versions) in &other.listeners {
            let own = self.listeners.entry(name.clone()).or_default();
            for (version, proxies) in versions {
                *own.entry(version.clone()).or_insert(0) += proxies;
            }
        }
        for Rejection { resource_type, name, error, proxies } in &other.rejections {
            self.reject(*resource_type, name, error, *proxies);
        }
    }

    fn reject(&mut self, resource_type: ResourceType, name: &str, error: &str, proxies: usize) {
        let at = |r: &Rejection| {
            (r.resource_type, r.name.as_str(), r.error.as_str()).cmp(&(resource_type, name, error))
        };
        match self.rejections.binary_search_by(at) {
            Ok(index) => self.rejections[index].proxies += proxies,
            Err(index) => {
                let (name, error) = (name.to_owned(), error.to_owned());
                self.rejections.insert(index, Rejection { resource_type, name, error, proxies });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_add_up_in_any_order() {
        let one = |error| {
            let mut report = ProxyReport::default();
            report.add([("80/tcp", "v1")], [(ResourceType::Cluster, "a/s:80", error)]);
            report
        };
        let mut forward = ProxyReport::default();
        let mut backward = ProxyReport::default();
        let all = [one("b"), one("a"), one("b")];
        for report in &all {
            forward.merge(report);
        }
        for report in all.iter().rev() {
            backward.merge(report);
        }
        assert_eq!(forward, backward);
        assert_eq!(forward.listeners["80/tcp"]["v1"], 3);
        let rejections: Vec<_> = forward.rejections.iter().map(|r| (r.error.as_str(), r.proxies)).collect();
        assert_eq!(rejections, [("a", 1), ("b", 2)]);
    }
}
