//! The weights of backends, spread over their endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

/// Nothing can listen there, and nothing leaves the proxy: where datagrams go that nobody takes.
pub(super) const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What Envoy takes as the sum of the weights of all endpoints, with room for rounding.
const MOST: u128 = (u32::MAX / 2) as u128;
/// The parts into which a weight is cut where no common multiple of the numbers of endpoints is in reach.
const PARTS: u128 = 1_000_000;

/// One backend.
pub(super) struct Share {
    pub(super) weight: u32,
    /// None: the share is dropped.
    pub(super) endpoints: BTreeSet<SocketAddr>,
}

/// The weight of each endpoint: that of each of its backends, divided by the number of their endpoints. Exact wherever the
/// numbers allow it.
pub(super) fn weights(shares: &[Share]) -> BTreeMap<SocketAddr, u32> {
    let parts = shares.iter().try_fold(1, |so_far, share| {
        let common = lcm(so_far, share.endpoints.len().max(1) as u128);
        (common <= MOST).then_some(common)
    });
    let parts = parts.unwrap_or(PARTS);
    let mut out: BTreeMap<SocketAddr, u128> = BTreeMap::new();
    let nobody = BTreeSet::from([NOWHERE]);
    for Share { weight, endpoints } in shares {
        let endpoints = if endpoints.is_empty() { &nobody } else { endpoints };
        for endpoint in endpoints {
            *out.entry(*endpoint).or_default() += u128::from(*weight) * parts / endpoints.len() as u128;
        }
    }
    let divisor = out.values().copied().fold(0, gcd).max(1);
    let sum = out.values().sum::<u128>() / divisor;
    let fit = |weight: u128| {
        let weight = weight / divisor;
        let weight = if sum > MOST { weight * MOST / sum } else { weight };
        u32::try_from(weight).unwrap_or(u32::MAX).max(1)
    };
    out.into_iter().map(|(endpoint, weight)| (endpoint, fit(weight))).collect()
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Of numbers above zero.
fn lcm(a: u128, b: u128) -> u128 {
    a / gcd(a, b) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, (number >> 8) as u8, (number & 255) as u8], 53))
    }

    fn share(weight: u32, endpoints: impl IntoIterator<Item = u16>) -> Share {
        Share { weight, endpoints: endpoints.into_iter().map(address).collect() }
    }

    /// Panics where Envoy would refuse the endpoints.
    fn sum(weights: impl Iterator<Item = u32>) -> u32 {
        weights.reduce(|a, b| a.checked_add(b).expect("in the range of Envoy")).unwrap_or_default()
    }

    fn of(shares: &[Share]) -> Vec<(SocketAddr, u32)> {
        weights(shares).into_iter().collect()
    }

    #[test]
    fn a_weight_is_that_of_the_backend_however_many_endpoints_it_has() {
        assert_eq!(of(&[share(1, [1])]), [(address(1), 1)]);
        assert_eq!(of(&[share(5, [1, 2])]), [(address(1), 1), (address(2), 1)]);
        // 70 % for two and 30 % for three.
        let split = of(&[share(70, [1, 2]), share(30, [3, 4, 5])]);
        assert_eq!(split, [(1, 7), (2, 7), (3, 2), (4, 2), (5, 2)].map(|(n, w)| (address(n), w)));
        // A maximum that only rounding can serve is served in proportion.
        let most = of(&[share(1_000_000, 0..1009), share(1, [2000])]);
        let sum = sum(most.iter().map(|(_, weight)| *weight));
        let last = most.last().unwrap().1;
        let parts = sum / last;
        assert!((990_000..1_010_000).contains(&parts), "{last} of {sum}");
    }

    #[test]
    fn an_endpoint_of_two_backends_gets_both_parts() {
        let shared = of(&[share(50, [1, 2]), share(50, [2])]);
        assert_eq!(shared, [(address(1), 1), (address(2), 3)]);
    }

    #[test]
    fn what_has_no_endpoint_is_dropped() {
        let dropped = of(&[share(60, [1]), share(30, []), share(10, [])]);
        assert_eq!(dropped, [(address(1), 3), (NOWHERE, 2)]);
        assert_eq!(of(&[share(1, [])]), [(NOWHERE, 1)]);
        assert_eq!(of(&[]), []);
    }

    #[test]
    fn many_backends_with_many_endpoints_stay_in_range() {
        // No common multiple of these is in reach.
        let sizes = [997u16, 991, 983, 977, 971, 967, 953, 947];
        let mut next = 0;
        let shares: Vec<Share> = sizes
            .iter()
            .map(|size| {
                next += size;
                share(1_000_000, next - size..next)
            })
            .collect();
        let all = weights(&shares);
        assert_eq!(all.len(), sizes.iter().map(|size| usize::from(*size)).sum::<usize>());
        let whole = sum(all.values().copied());
        let first = sum((0..997).map(|n| all[&address(n)]));
        assert!((first * 8).abs_diff(whole) < whole / 10_000, "{first} of {whole}");
    }
}
