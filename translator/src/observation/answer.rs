//! Is a listener programmed? What the proxies say now, and what they said before.
//!
//! A listener that has been acknowledged stays programmed while no proxy is connected: between the old and the new
//! pods of a rolling restart, or while the controller itself starts, nothing about the listener is wrong. Whether any proxy
//! runs at all is what the Deployment says.

use std::collections::BTreeMap;

use super::{ProxyReport, Rejection};
use crate::resource::ResourceType;

/// The longest quotation of a proxy in a condition, in characters.
const LONGEST_QUOTE: usize = 500;

/// What is known of the proxies of one Gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    report: ProxyReport,
    /// By name of the Envoy listener: the version that a proxy acknowledged last, empty if none did.
    acknowledged: BTreeMap<String, String>,
}

/// What the proxies say about the present version of an Envoy listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// It was acknowledged, by all or by some: `but` is what others say.
    Acknowledged { but: Option<&'a Rejection> },
    /// It was refused, and nobody holds it. `earlier` if proxies still serve an earlier version.
    Refused { by: &'a Rejection, earlier: bool },
    /// Nobody has said anything yet; so many proxies are connected.
    Waiting { proxies: usize },
}

impl Observation {
    /// Takes in a report; true if it says something new.
    pub(crate) fn take(&mut self, report: ProxyReport) -> bool {
        let news = self.report != report;
        self.report = report;
        news
    }

    /// Everything that was refused.
    pub(crate) fn rejections(&self) -> &[Rejection] {
        &self.report.rejections
    }

    /// Remembers which of the `present` Envoy listeners (name, version) have been acknowledged. Those that have never been
    /// seen before count as acknowledged if `programmed` says so: a controller that starts finds what another one saw in
    /// the status.
    pub(crate) fn remember<'a>(
        &mut self,
        present: impl Iterator<Item = (&'a str, &'a str)>,
        programmed: impl Fn(&str) -> bool,
    ) {
        let mut gone: Vec<String> = self.acknowledged.keys().cloned().collect();
        for (name, version) in present {
            gone.retain(|other| other != name);
            let held = self.report.listeners.get(name).is_some_and(|versions| versions.contains_key(version));
            let known = self.acknowledged.contains_key(name);
            if held || (!known && programmed(name)) {
                self.acknowledged.insert(name.to_owned(), version.to_owned());
            } else if !known {
                self.acknowledged.insert(name.to_owned(), String::new());
            }
        }
        // Whoever lets a listener go has to acknowledge it again.
        for name in gone {
            self.acknowledged.insert(name, String::new());
        }
    }

    /// What the proxies say about `version` of the Envoy listener `name`.
    pub(crate) fn answer(&self, name: &str, version: &str) -> Answer<'_> {
        let versions = self.report.listeners.get(name);
        let refused = self
            .report
            .rejections
            .iter()
            .find(|r| r.resource_type == ResourceType::Listener && r.name == name && r.proxies > 0);
        if versions.is_some_and(|versions| versions.get(version).is_some_and(|proxies| *proxies > 0)) {
            return Answer::Acknowledged { but: refused };
        }
        if let Some(by) = refused {
            let earlier = versions.is_some_and(|versions| versions.values().any(|proxies| *proxies > 0));
            return Answer::Refused { by, earlier };
        }
        if self.acknowledged.get(name).is_some_and(|acknowledged| acknowledged == version) {
            return Answer::Acknowledged { but: None };
        }
        Answer::Waiting { proxies: self.report.proxies }
    }
}

/// The words of a proxy as they fit into a condition.
pub(crate) fn words(error: &str) -> String {
    let error = error.trim();
    match error.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "80/tcp";

    fn report(holding: &[&str], refusing: usize) -> ProxyReport {
        let mut report = ProxyReport::default();
        for version in holding {
            report.add([(NAME, *version)], []);
        }
        for _ in 0..refusing {
            report.add([], [(ResourceType::Listener, NAME, "no")]);
        }
        report
    }

    fn say(observation: &mut Observation, report: ProxyReport, version: &str) -> &'static str {
        observation.take(report);
        observation.remember([(NAME, version)].into_iter(), |_| false);
        match observation.answer(NAME, version) {
            Answer::Acknowledged { but: None } => "yes",
            Answer::Acknowledged { but: Some(_) } => "yes, but",
            Answer::Refused { earlier: true, .. } => "no, earlier",
            Answer::Refused { earlier: false, .. } => "no",
            Answer::Waiting { proxies: 0 } => "nobody",
            Answer::Waiting { .. } => "waiting",
        }
    }

    #[test]
    fn the_life_of_a_listener() {
        let mut o = Observation::default();
        assert_eq!(say(&mut o, report(&[], 0), "1"), "nobody");
        assert_eq!(say(&mut o, report(&[""], 0), "1"), "waiting");
        assert_eq!(say(&mut o, report(&["1"], 0), "1"), "yes");
        assert_eq!(say(&mut o, report(&[], 0), "1"), "yes", "nobody is connected for a moment");
        assert_eq!(say(&mut o, report(&[""], 0), "1"), "yes", "a new pod has not answered yet");
        assert_eq!(say(&mut o, report(&["1"], 0), "2"), "waiting", "a new version");
        assert_eq!(say(&mut o, report(&["1"], 1), "2"), "no, earlier");
        assert_eq!(say(&mut o, report(&["1", "2"], 1), "2"), "yes, but");
        assert_eq!(say(&mut o, report(&["1"], 0), "2"), "yes", "it has been seen");
        assert_eq!(say(&mut o, report(&[], 2), "2"), "no", "all refuse it");
    }

    #[test]
    fn a_listener_that_went_and_came_back_is_asked_for_again() {
        let mut o = Observation::default();
        assert_eq!(say(&mut o, report(&["1"], 0), "1"), "yes");
        o.take(report(&[], 0));
        o.remember([].into_iter(), |_| true);
        o.remember([(NAME, "1")].into_iter(), |_| true);
        assert_eq!(o.answer(NAME, "1"), Answer::Waiting { proxies: 0 });
    }

    /// After a restart of the controller the status in the cluster is the memory.
    #[test]
    fn what_the_status_says_is_believed_once() {
        let mut o = Observation::default();
        o.remember([(NAME, "1")].into_iter(), |_| true);
        assert_eq!(o.answer(NAME, "1"), Answer::Acknowledged { but: None });
        o.remember([(NAME, "2")].into_iter(), |_| true);
        assert_eq!(o.answer(NAME, "2"), Answer::Waiting { proxies: 0 });
    }

    #[test]
    fn quotations_are_bounded() {
        assert_eq!(words(" a\n"), "a");
        assert_eq!(words(&"é".repeat(2 * LONGEST_QUOTE)).chars().count(), LONGEST_QUOTE + 1);
    }
}
