//! Which of several routes gets the connections of a listener, or of one server name of it.
//!
//! Requests can be told apart, so several routes share a listener; connections and datagrams cannot. The more specific
//! hostname wins (`TLSRoute.spec.hostnames`), in the form in which the route gives it
//! (`GatewayRouteHostnameIntersectionPrecedence`); then the older route; then the first name. The others are accepted and
//! counted all the same.

use std::collections::{BTreeMap, BTreeSet};

use super::StreamShare;
use crate::gateway::ListenerId;
use crate::hostname::Hostname;
use crate::infrastructure::PortProtocol;
use crate::object::{Age, Kind, ObjectKey};
use crate::problem::Problems;

/// What the routes of one port have of it.
#[derive(Debug, Default)]
pub(crate) struct Precedence<'a> {
    /// Who gets what, in the order of listeners, then hosts.
    winners: BTreeMap<(&'a ListenerId, &'a Hostname), &'a StreamShare>,
    losses: Vec<Loss<'a>>,
}

/// Something that a route does not get.
#[derive(Debug)]
struct Loss<'a> {
    share: &'a StreamShare,
    host: &'a Hostname,
    to: &'a StreamShare,
}

impl<'a> Precedence<'a> {
    /// Decides about the shares of one port.
    pub(crate) fn of(shares: impl IntoIterator<Item = &'a StreamShare>) -> Self {
        let mut claims: BTreeMap<(&ListenerId, &Hostname), Vec<(Claim<'a>, &'a StreamShare)>> =
            BTreeMap::new();
        for share in shares {
            for (host, own) in &share.hosts {
                let claim = (own, &share.age, share.kind);
                claims.entry((&share.listener, host)).or_default().push((claim, share));
            }
        }
        let mut out = Self::default();
        for ((listener, host), mut claims) in claims {
            claims.sort_by_key(|(claim, _)| *claim);
            let mut claims = claims.into_iter().map(|(_, share)| share);
            let Some(winner) = claims.next() else { continue };
            out.losses.extend(claims.map(|share| Loss { share, host, to: winner }));
            out.winners.insert((listener, host), winner);
        }
        out
    }

    /// The hosts of a listener that somebody gets, in their order, each with its winner.
    pub(crate) fn of_listener<'b>(
        &'b self,
        listener: &'b ListenerId,
    ) -> impl Iterator<Item = (&'a Hostname, &'a StreamShare)> + use<'a, 'b> {
        let of = self.winners.iter().filter(move |((of, _), _)| *of == listener);
        of.map(|((_, host), share)| (*host, *share))
    }

    /// The routes that get something.
    pub(crate) fn routes(&self) -> BTreeSet<ObjectKey> {
        self.winners.values().map(|share| share.route()).collect()
    }

    /// Warns of what nobody reaches.
    pub(crate) fn problems(&self, gateway: &str) -> Problems {
        let mut losses: BTreeMap<(ObjectKey, &ListenerId, ObjectKey), Vec<&Loss<'_>>> = BTreeMap::new();
        for loss in &self.losses {
            let at = (loss.share.route(), &loss.share.listener, loss.to.route());
            losses.entry(at).or_default().push(loss);
        }
        let mut problems = Problems::default();
        for ((route, listener, winner), losses) in losses {
            let Some(Loss { share, host, .. }) = losses.first() else { continue };
            let what = if share.port.protocol == PortProtocol::Udp { "datagrams" } else { "connections" };
            let hosts = match (host, losses.len() - 1) {
                (Hostname::Any, _) => String::new(),
                (host, 0) => format!(" for {host}"),
                (host, 1) => format!(" for {host} and one more host"),
                (host, more) => format!(" for {host} and {more} more hosts"),
            };
            problems.warning(
                &route,
                if route.kind == Kind::TlsRoute { "spec.hostnames" } else { "spec.parentRefs" },
                format!(
                    "the {what}{hosts} to listener {listener} of Gateway {gateway} go to {winner}, which takes precedence"
                ),
                "remove one of the two routes, or give them different listeners or hostnames",
            );
        }
        problems
    }
}

/// What decides, the smallest first.
type Claim<'a> = (&'a Hostname, &'a Age, Kind);

#[cfg(test)]
mod tests;
