//! Everything that one node should hold, as a persistent value.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::resource::{Resource, ResourceType};

/// Resources of one type by name.
pub(crate) type ResourceMap = OrdMap<Arc<str>, Arc<Resource>>;

/// One step from a [`Snapshot`] to the next.
#[derive(Clone, Debug)]
pub enum Change {
    /// The resource is new, or replaces the one of its type and name.
    Set(Arc<Resource>),
    /// The resource of this type and name is gone.
    Remove(ResourceType, Arc<str>),
}

/// How one name differs between two snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference<'a> {
    /// Only the newer snapshot has it.
    Added(&'a Arc<Resource>),
    /// Both have it, in different versions; this is the newer one.
    Changed(&'a Arc<Resource>),
    /// Only the older snapshot has it.
    Removed(&'a Arc<Resource>),
}

impl<'a> Difference<'a> {
    /// The resource that the difference is about.
    pub fn resource(self) -> &'a Arc<Resource> {
        match self {
            Self::Added(r) | Self::Changed(r) | Self::Removed(r) => r,
        }
    }
}

/// Everything that one node should hold: resources by type and name.
///
/// A persistent value: a clone costs a handful of reference counts, [`Snapshot::apply`] copies only the paths it
/// touches, and [`Snapshot::diff`] skips what two snapshots share. There is no version of the whole: each resource
/// carries its own, derived from its content.
#[derive(Clone, Default)]
pub struct Snapshot {
    maps: [ResourceMap; ResourceType::COUNT],
}

impl Snapshot {
    /// A snapshot without resources.
    pub fn new() -> Self {
        Self::default()
    }

    /// The snapshot of these resources, one map for each type in the order of [`ResourceType::ALL`].
    pub(crate) fn of(maps: [ResourceMap; ResourceType::COUNT]) -> Self {
        Self { maps }
    }

    /// The snapshot after these changes. A [`Change::Set`] to the version already held changes nothing.
    #[must_use]
    pub fn apply(&self, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut next = self.clone();
        for change in changes {
            match change {
                Change::Set(resource) => {
                    let map = &mut next.maps[resource.resource_type().index()];
                    if map.get(resource.name()) != Some(&resource) {
                        map.insert(Arc::clone(resource.shared_name()), resource);
                    }
                }
                Change::Remove(resource_type, name) => {
                    next.maps[resource_type.index()].remove(&name);
                }
            }
        }
        next
    }

    /// The resource of this type and name.
    pub fn get(&self, resource_type: ResourceType, name: &str) -> Option<&Arc<Resource>> {
        self.map(resource_type).get(name)
    }

    /// The resources of a type, by name.
    pub fn iter(&self, resource_type: ResourceType) -> impl Iterator<Item = &Arc<Resource>> {
        self.map(resource_type).values()
    }

    /// How many resources of a type there are.
    pub fn len(&self, resource_type: ResourceType) -> usize {
        self.map(resource_type).len()
    }

    /// Whether there is no resource of any type.
    pub fn is_empty(&self) -> bool {
        self.maps.iter().all(OrdMap::is_empty)
    }

    /// What changed in a type from `old` to `new`, by name. The cost is proportional to the difference when one was
    /// made from the other by [`Snapshot::apply`].
    pub fn diff<'a>(
        old: &'a Self,
        new: &'a Self,
        resource_type: ResourceType,
    ) -> impl Iterator<Item = Difference<'a>> {
        diff(old.map(resource_type), new.map(resource_type))
    }

    /// Whether both are known to hold the same, without a look inside: false does not mean that they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        self.ptr_eq(other)
    }

    /// Whether both are the same value in memory (a fast way to know that nothing changed).
    pub(crate) fn ptr_eq(&self, other: &Self) -> bool {
        self.maps.iter().zip(&other.maps).all(|(a, b)| same(a, b))
    }

    pub(crate) fn map(&self, resource_type: ResourceType) -> &ResourceMap {
        &self.maps[resource_type.index()]
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(ResourceType::ALL.into_iter().map(|t| (t.to_string(), self.len(t)))).finish()
    }
}

impl FromIterator<Arc<Resource>> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Arc<Resource>>>(resources: I) -> Self {
        Self::default().apply(resources.into_iter().map(Change::Set))
    }
}

pub(crate) fn same(a: &ResourceMap, b: &ResourceMap) -> bool {
    a.ptr_eq(b) || (a.is_empty() && b.is_empty())
}

pub(crate) fn diff<'a>(old: &'a ResourceMap, new: &'a ResourceMap) -> impl Iterator<Item = Difference<'a>> {
    old.diff(new).map(|item| match item {
        DiffItem::Add(_, resource) => Difference::Added(resource),
        DiffItem::Update { new: (_, resource), .. } => Difference::Changed(resource),
        DiffItem::Remove(_, resource) => Difference::Removed(resource),
    })
}
