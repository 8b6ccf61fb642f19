//! What must be done about one name.

use std::sync::Arc;

use super::{Channel, Needed};
use crate::resource::{Resource, ResourceType};

/// What must be done about a name.
pub(super) enum Step {
    Nothing,
    Send(Arc<Resource>),
    Remove,
    /// A removal that must wait until nothing refers to the resource.
    Defer,
    /// The name was asked for and does not exist.
    Absent,
    /// Both of the last two.
    AbsentAndDefer,
    /// The resource is gone, but may still be in use, and was asked for.
    SendAndDefer(Arc<Resource>),
}

impl Channel {
    /// Whether a removal of this type waits until nothing refers to the resource.
    fn is_pruned(&self) -> bool {
        matches!(
            self.resource_type,
            ResourceType::Cluster
                | ResourceType::ClusterLoadAssignment
                | ResourceType::Secret
                | ResourceType::ExtensionConfig
        )
    }

    /// What must be done about a name now. `answer`: the proxy waits for an answer in any case; `needed`: see
    /// [`Gate`](super::Gate).
    pub(super) fn step(&self, name: &Arc<str>, answer: bool, needed: Needed<'_>) -> Step {
        if !self.subscription.covers(name) {
            return Step::Nothing;
        }
        let held = self.held.get(name);
        let Some(target) = self.target.get(name) else {
            return self.step_without_target(name, held, answer, needed);
        };
        if held == Some(target) {
            return if answer { Step::Send(Arc::clone(target)) } else { Step::Nothing };
        }
        if self.isolation.is_parked(target) {
            // Not again, unless asked: then what it took before, so that whatever waits for an answer gets one.
            return match held.filter(|held| !held.body().is_empty()) {
                _ if !answer => Step::Nothing,
                Some(held) => Step::Send(Arc::clone(held)),
                None => Step::Send(Arc::clone(target)),
            };
        }
        Step::Send(Arc::clone(target))
    }

    fn step_without_target(
        &self,
        name: &Arc<str>,
        held: Option<&Arc<Resource>>,
        answer: bool,
        needed: Needed<'_>,
    ) -> Step {
        let endpoints = self.resource_type == ResourceType::ClusterLoadAssignment;
        let held_with_body = held.is_some_and(|held| !held.body().is_empty());
        match held {
            None if !answer => Step::Nothing,
            None if endpoints => Step::Send(Arc::new(Resource::empty_load_assignment(name))),
            None => Step::Absent,
            Some(held) if endpoints && held.is_empty_load_assignment() => {
                if answer {
                    Step::Send(Arc::new(Resource::empty_load_assignment(name)))
                } else {
                    Step::Nothing
                }
            }
            Some(_) if endpoints && answer && !held_with_body && needed(name) => {
                Step::Send(Arc::new(Resource::empty_load_assignment(name)))
            }
            // What is gone stays in use until nothing leads there. Who asks for it meanwhile gets it once more.
            Some(held) if self.is_pruned() && answer && held_with_body => {
                Step::SendAndDefer(Arc::clone(held))
            }
            // Without its content (it was claimed by a proxy that reconnected) "does not exist" has to do, for the types
            // of which Envoy ignores it.
            Some(_) if answer && (endpoints || self.resource_type == ResourceType::Secret) => {
                Step::AbsentAndDefer
            }
            Some(_) if self.is_pruned() => Step::Defer,
            Some(_) => Step::Remove,
        }
    }
}
