//! Which Secrets and ConfigMaps are asked for by name: the only ones that whoever watches a cluster has to keep.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Unit;
use crate::object::ObjectKey;

/// Counts for each key how many units asked for it. A unit costs as much as it asks, whatever the others ask.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// Sorted, without duplicates; units that ask for nothing are not listed.
    by_unit: BTreeMap<Unit, Box<[ObjectKey]>>,
    counts: HashMap<ObjectKey, usize>,
    all: BTreeSet<ObjectKey>,
    /// What was in `all` at the last [`take_changed`](Self::take_changed) and is not now, or the other way round.
    toggled: BTreeSet<ObjectKey>,
}

impl References {
    /// Replaces what `unit` asked for; `keys` is sorted and has no duplicates.
    pub(crate) fn record(&mut self, unit: &Unit, keys: &[ObjectKey]) {
        let old = if keys.is_empty() {
            self.by_unit.remove(unit).unwrap_or_default()
        } else if let Some(old) = self.by_unit.get_mut(unit) {
            if **old == *keys {
                return;
            }
            std::mem::replace(old, keys.into())
        } else {
            self.by_unit.insert(unit.clone(), keys.into()).unwrap_or_default()
        };
        for key in keys.iter().filter(|key| old.binary_search(key).is_err()) {
            *self.counts.entry(key.clone()).or_insert(0) += 1;
            if self.all.insert(key.clone()) {
                self.toggle(key);
            }
        }
        for key in old.iter().filter(|key| keys.binary_search(key).is_err()) {
            let Some(count) = self.counts.get_mut(key) else { continue };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(key);
                self.all.remove(key);
                self.toggle(key);
            }
        }
    }

    /// Adds to what `unit` asked for. After a panic: its last good output stays, and so does what that was made of.
    pub(crate) fn extend(&mut self, unit: &Unit, keys: Vec<ObjectKey>) {
        let mut all: Vec<ObjectKey> = self.by_unit.get(unit).into_iter().flatten().cloned().collect();
        all.extend(keys);
        all.sort();
        all.dedup();
        self.record(unit, &all);
    }

    /// All keys that some unit asked for.
    pub(crate) fn all(&self) -> &BTreeSet<ObjectKey> {
        &self.all
    }

    /// True if [`all`](Self::all) is not what it was when this was last called.
    pub(crate) fn take_changed(&mut self) -> bool {
        !std::mem::take(&mut self.toggled).is_empty()
    }

    fn toggle(&mut self, key: &ObjectKey) {
        if !self.toggled.remove(key) {
            self.toggled.insert(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Kind, NamespacedName};

    fn unit(name: &str) -> Unit {
        Unit::Gateway(NamespacedName::new("a", name))
    }

    fn keys(names: &[&str]) -> Vec<ObjectKey> {
        names.iter().map(|name| ObjectKey::new(Kind::Secret, "a", *name)).collect()
    }

    fn all(references: &References) -> Vec<&str> {
        references.all().iter().map(|key| key.name.as_str()).collect()
    }

    #[test]
    fn a_key_stays_as_long_as_somebody_asks_for_it() {
        let mut references = References::default();
        references.record(&unit("1"), &keys(&["x", "y"]));
        references.record(&unit("2"), &keys(&["y"]));
        assert_eq!(all(&references), ["x", "y"]);
        assert!(references.take_changed());
        references.record(&unit("1"), &keys(&["z"]));
        assert_eq!(all(&references), ["y", "z"]);
        assert!(references.take_changed());
        references.record(&unit("2"), &[]);
        references.record(&unit("1"), &[]);
        assert_eq!(all(&references), [""; 0]);
        assert!(references.take_changed());
        assert!(references.by_unit.is_empty() && references.counts.is_empty());
    }

    #[test]
    fn what_comes_back_has_not_changed() {
        let mut references = References::default();
        references.record(&unit("1"), &keys(&["x"]));
        assert!(references.take_changed());
        references.record(&unit("1"), &keys(&["x"]));
        assert!(!references.take_changed());
        references.record(&unit("1"), &[]);
        references.record(&unit("2"), &keys(&["x"]));
        assert!(!references.take_changed(), "another unit asks for it now");
    }

    #[test]
    fn a_panic_takes_nothing_away() {
        let mut references = References::default();
        references.record(&unit("1"), &keys(&["x", "z"]));
        references.extend(&unit("1"), keys(&["y", "z"]));
        assert_eq!(all(&references), ["x", "y", "z"]);
        references.record(&unit("1"), &keys(&["y"]));
        assert_eq!(all(&references), ["y"], "the next good run says what is needed");
    }
}
