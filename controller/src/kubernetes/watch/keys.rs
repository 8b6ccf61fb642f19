//! What is known of the objects of one collection, so that the next list can be compared with it.

use std::collections::BTreeMap;

use postern_translator::NamespacedName;

use super::decode::Head;

/// The keys of a collection, with the version that was told last.
///
/// A full list is taken in between [`KeySet::begin`] and [`KeySet::complete`]; what was not mentioned in between is gone.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    known: BTreeMap<NamespacedName, Known>,
    list: u64,
    invalid: usize,
}

#[derive(Debug)]
struct Known {
    uid: Box<str>,
    version: Box<str>,
    /// The list that has mentioned it last.
    list: u64,
    /// The last version could not be read.
    invalid: bool,
    /// There is a good version, of the object with this uid, that was told.
    told: bool,
}

/// An object that is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) name: NamespacedName,
    /// It was reported as invalid.
    pub(super) invalid: bool,
}

/// What a version that cannot be read means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// A good version was told of an older object with this name, which is gone.
    pub(super) replaced: bool,
}

impl KeySet {
    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// How many of them could not be read.
    pub(super) fn invalid(&self) -> usize {
        self.invalid
    }

    /// The names of all objects.
    pub(super) fn names(&self) -> impl Iterator<Item = &NamespacedName> {
        self.known.keys()
    }

    /// A full list begins.
    pub(super) fn begin(&mut self) {
        self.list += 1;
    }

    /// The list is complete: what it has not mentioned is gone.
    pub(super) fn complete(&mut self) -> Vec<Gone> {
        let list = self.list;
        self.remove_where(|_, known| known.list != list)
    }

    /// Notes that the object exists. True if this version has been told already.
    pub(super) fn is_unchanged(&mut self, head: &Head) -> bool {
        let list = self.list;
        self.known.get_mut(&head.name).is_some_and(|known| {
            known.list = list;
            *known.version == *head.version && *known.uid == *head.uid
        })
    }

    /// A version that could be read. True if the one before could not.
    pub(super) fn readable(&mut self, head: &Head) -> bool {
        let old = self.known.insert(head.name.clone(), self.entry(head, false, true));
        let recovered = old.is_some_and(|known| known.invalid);
        self.invalid -= usize::from(recovered);
        recovered
    }

    /// A version that could not be read.
    pub(super) fn unreadable(&mut self, head: &Head) -> Unreadable {
        let old = self.known.get(&head.name);
        let same = old.is_some_and(|known| *known.uid == *head.uid);
        let told = old.is_some_and(|known| known.told);
        let was_invalid = old.is_some_and(|known| known.invalid);
        let entry = self.entry(head, true, same && told);
        self.known.insert(head.name.clone(), entry);
        self.invalid += usize::from(!was_invalid);
        Unreadable { replaced: told && !same }
    }

    fn entry(&self, head: &Head, invalid: bool, told: bool) -> Known {
        Known {
            uid: head.uid.as_str().into(),
            version: head.version.as_str().into(),
            list: self.list,
            invalid,
            told,
        }
    }

    /// The object is gone; `None` if it was not known.
    pub(super) fn remove(&mut self, name: &NamespacedName) -> Option<Gone> {
        let known = self.known.remove(name)?;
        self.invalid -= usize::from(known.invalid);
        Some(Gone { name: name.clone(), invalid: known.invalid })
    }

    /// All objects of a namespace are to be forgotten.
    pub(super) fn leave(&mut self, namespace: &str) -> Vec<Gone> {
        self.remove_where(|name, _| name.namespace == namespace)
    }

    /// All objects are to be forgotten.
    pub(super) fn clear(&mut self) -> Vec<Gone> {
        self.remove_where(|_, _| true)
    }

    /// Everything is to be told again, for example because another version of the kind is read from now on.
    pub(super) fn forget_versions(&mut self) {
        for known in self.known.values_mut() {
            known.version = Box::default();
        }
    }

    fn remove_where(&mut self, gone: impl Fn(&NamespacedName, &Known) -> bool) -> Vec<Gone> {
        let removed = self.known.extract_if(.., |name, known| gone(name, known));
        let removed: Vec<_> = removed.map(|(name, known)| Gone { name, invalid: known.invalid }).collect();
        self.invalid -= removed.iter().filter(|gone| gone.invalid).count();
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, uid: &str, version: &str) -> Head {
        let (namespace, name) = name.split_once('/').unwrap();
        Head {
            name: NamespacedName::new(namespace, name),
            uid: uid.into(),
            version: version.into(),
            generation: None,
        }
    }

    fn names(gone: &[Gone]) -> Vec<String> {
        gone.iter().map(|gone| gone.name.to_string()).collect()
    }

    fn of(heads: &[&Head]) -> KeySet {
        let mut keys = KeySet::default();
        keys.begin();
        for head in heads {
            assert!(!keys.is_unchanged(head));
            keys.readable(head);
        }
        assert!(keys.complete().is_empty());
        keys
    }

    #[test]
    fn a_second_list_is_a_difference() {
        let (a, b, c) = (head("x/a", "1", "5"), head("x/b", "2", "6"), head("y/c", "3", "7"));
        let mut keys = of(&[&a, &b, &c]);
        keys.begin();
        assert!(keys.is_unchanged(&a));
        let changed = head("y/c", "3", "9");
        assert!(!keys.is_unchanged(&changed));
        keys.readable(&changed);
        assert_eq!(names(&keys.complete()), ["x/b"]);
        assert_eq!(keys.len(), 2);
        keys.begin();
        assert!(keys.is_unchanged(&changed) && keys.is_unchanged(&a));
        assert!(keys.complete().is_empty());
    }

    #[test]
    fn what_the_watch_tells_counts_for_the_next_list_only_if_that_mentions_it() {
        let mut keys = of(&[]);
        keys.readable(&head("x/a", "1", "5"));
        assert!(keys.remove(&NamespacedName::new("x", "b")).is_none());
        keys.begin();
        assert_eq!(names(&keys.complete()), ["x/a"]);
    }

    #[test]
    fn an_object_made_anew_has_changed_whatever_its_version() {
        let mut keys = of(&[&head("x/a", "1", "5")]);
        assert!(!keys.is_unchanged(&head("x/a", "2", "5")));
    }

    #[test]
    fn a_good_version_outlives_bad_ones_of_the_same_object_only() {
        let mut keys = of(&[&head("x/a", "1", "5")]);
        assert_eq!(keys.unreadable(&head("x/a", "1", "6")), Unreadable { replaced: false });
        assert_eq!(keys.unreadable(&head("x/a", "1", "7")), Unreadable { replaced: false });
        assert_eq!(keys.invalid(), 1);
        assert!(keys.is_unchanged(&head("x/a", "1", "7")), "a bad version is reported once");
        assert_eq!(keys.unreadable(&head("x/a", "2", "8")), Unreadable { replaced: true });
        assert_eq!(keys.unreadable(&head("x/a", "3", "9")), Unreadable { replaced: false }, "gone already");
        assert!(keys.readable(&head("x/a", "3", "10")));
        assert!(!keys.readable(&head("x/a", "3", "11")));
        assert_eq!(keys.invalid(), 0);
    }

    #[test]
    fn an_invalid_object_that_goes_is_not_invalid_any_more() {
        let mut keys = of(&[]);
        keys.unreadable(&head("x/a", "1", "5"));
        keys.unreadable(&head("x/b", "2", "6"));
        assert!(keys.remove(&NamespacedName::new("x", "a")).unwrap().invalid);
        assert_eq!(keys.invalid(), 1);
        keys.begin();
        assert!(keys.complete()[0].invalid);
        assert_eq!((keys.invalid(), keys.len()), (0, 0));
    }

    #[test]
    fn a_namespace_leaves_with_all_that_is_in_it() {
        let mut keys = of(&[&head("x/a", "1", "5"), &head("xy/b", "2", "6"), &head("x/c", "3", "7")]);
        assert_eq!(names(&keys.leave("x")), ["x/a", "x/c"]);
        assert_eq!(names(&keys.clear()), ["xy/b"]);
    }

    #[test]
    fn after_a_switch_of_versions_all_is_told_again_and_nothing_is_gone() {
        let a = head("x/a", "1", "5");
        let mut keys = of(&[&a]);
        keys.forget_versions();
        keys.begin();
        assert!(!keys.is_unchanged(&a));
        assert!(keys.complete().is_empty());
    }
}
