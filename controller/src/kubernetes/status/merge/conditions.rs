//! Merges a list of conditions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::layout::MAX_CONDITIONS;

/// How conditions of one place are merged.
pub(super) struct Conditions<'a> {
    /// The types that are ours.
    pub(super) types: &'a [&'a str],
    /// The generation of the object as it is now.
    pub(super) generation: Option<i64>,
    pub(super) now: Timestamp,
}

/// A merged list of conditions.
pub(super) struct MergedConditions {
    pub(super) list: Vec<Value>,
    /// Whether conditions of others are in it.
    pub(super) foreign: bool,
    /// How many of ours found no place.
    pub(super) left_out: usize,
}

impl Conditions<'_> {
    /// Puts the `desired` conditions in the place of `present` ones of the same type, and new ones behind them.
    pub(super) fn merge(&self, present: &[Value], desired: &[Value]) -> MergedConditions {
        // What we no longer say was decided before this generation; a leader that is ahead of us may say it again.
        let decided_for = desired.iter().filter_map(observed_generation).max();
        let mut list = Vec::with_capacity(present.len() + desired.len());
        let mut foreign = false;
        for condition in present {
            let wanted = desired.iter().find(|wanted| wanted["type"] == condition["type"]);
            let is_ours = condition["type"].as_str().is_some_and(|kind| self.types.contains(&kind));
            if list.iter().any(|earlier: &Value| earlier["type"] == condition["type"]) {
                continue; // the API server admits no second one
            }
            match wanted {
                Some(wanted) if !self.is_newer(condition, observed_generation(wanted)) => {
                    list.push(self.replace(condition, wanted));
                }
                None if is_ours && !self.is_newer(condition, decided_for) => {}
                wanted => {
                    foreign |= wanted.is_none();
                    list.push(condition.clone());
                }
            }
        }
        let added =
            desired.iter().filter(|wanted| !present.iter().any(|there| there["type"] == wanted["type"]));
        let added: Vec<&Value> = added.collect();
        let room = MAX_CONDITIONS.saturating_sub(list.len());
        let left_out = added.len().saturating_sub(room);
        list.extend(added.into_iter().take(room).map(|wanted| self.stamped(wanted, None)));
        MergedConditions { list, foreign, left_out }
    }

    /// The condition that stands in the place of `present`; the very same if it says the same.
    fn replace(&self, present: &Value, wanted: &Value) -> Value {
        let since = present["lastTransitionTime"].as_str().filter(|_| present["status"] == wanted["status"]);
        let same = ["status", "reason", "message", "observedGeneration"];
        if since.is_some() && same.iter().all(|field| present[*field] == wanted[*field]) {
            return present.clone();
        }
        self.stamped(wanted, since)
    }

    fn stamped(&self, wanted: &Value, since: Option<&str>) -> Value {
        let mut condition = wanted.clone();
        condition["lastTransitionTime"] = match since {
            Some(since) => json!(since),
            None => json!(self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        };
        condition
    }

    /// Whether `present` was decided for a newer generation than `ours`. A generation that the object has not reached
    /// says nothing: nobody can have seen it.
    fn is_newer(&self, present: &Value, ours: Option<i64>) -> bool {
        let Some(theirs) = observed_generation(present) else { return false };
        ours.is_some_and(|ours| theirs > ours) && self.generation.is_none_or(|now| theirs <= now)
    }
}

fn observed_generation(condition: &Value) -> Option<i64> {
    condition["observedGeneration"].as_i64()
}
