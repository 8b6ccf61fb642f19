//! ServiceAccount tokens: how they are presented, and what they say.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use tonic::metadata::MetadataMap;

/// The signatures that are accepted: those of a key that only the API server has.
pub(super) const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// A ServiceAccount, as RBAC names it: `system:serviceaccount:NAMESPACE:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceAccount(pub(super) String);

impl ServiceAccount {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Self(format!("system:serviceaccount:{namespace}:{name}"))
    }
}

/// Whose a token is, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) account: ServiceAccount,
    /// The Pod that the token was made for.
    pub(super) pod: Option<String>,
    pub(super) expires: Timestamp,
}

/// What a token says of itself. Believe it only after the token was verified.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    pub(super) sub: String,
    #[serde(default)]
    pub(super) aud: Audiences,
    pub(super) exp: Option<i64>,
    pub(super) nbf: Option<i64>,
    #[serde(rename = "kubernetes.io", default)]
    kubernetes: Option<KubernetesClaims>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

#[derive(Clone, Debug, Deserialize)]
struct KubernetesClaims {
    pod: Option<PodClaim>,
}

#[derive(Clone, Debug, Deserialize)]
struct PodClaim {
    name: String,
}

impl Claims {
    /// Reads what a token says, without verifying anything. `None` if it is no token of the kind that the API server makes.
    pub(super) fn unverified(token: &str) -> Option<Self> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        if !ALGORITHMS.contains(&header.alg) {
            return None;
        }
        let mut validation = Validation::default();
        validation.insecure_disable_signature_validation();
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let nothing = DecodingKey::from_secret(&[]);
        jsonwebtoken::decode(token, &nothing, &validation).ok().map(|it| it.claims)
    }

    /// When it expires; one that does not say so has expired.
    pub(super) fn expires(&self) -> Timestamp {
        seconds(self.exp.unwrap_or(i64::MIN))
    }

    /// From when on it is valid.
    pub(super) fn begins(&self) -> Timestamp {
        seconds(self.nbf.unwrap_or(i64::MIN))
    }

    /// Whether it was made for this audience.
    pub(super) fn is_for(&self, audience: &str) -> bool {
        match &self.aud {
            Audiences::One(one) => one == audience,
            Audiences::Many(many) => many.iter().any(|it| it == audience),
        }
    }

    /// The Pod that it was made for.
    pub(super) fn pod(&self) -> Option<&str> {
        self.kubernetes.as_ref()?.pod.as_ref().map(|pod| pod.name.as_str())
    }
}

fn seconds(number: i64) -> Timestamp {
    let end = if number < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(number).unwrap_or(end)
}

/// The token in the header `authorization`, if there is exactly one, of the scheme `Bearer` (RFC 6750).
pub(super) fn presented(metadata: &MetadataMap) -> Option<&str> {
    let mut values = metadata.get_all("authorization").iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(values: &[&str]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for value in values {
            metadata.append("authorization", value.parse().unwrap());
        }
        metadata
    }

    #[test]
    fn a_bearer_token_is_taken_from_its_header() {
        for (values, token) in [
            (&["Bearer abc"][..], Some("abc")),
            (&["bearer  abc "], Some("abc")),
            (&[], None),
            (&["abc"], None),
            (&["Basic abc"], None),
            (&["Bearer "], None),
            (&["Bearer a", "Bearer b"], None),
        ] {
            assert_eq!(presented(&metadata(values)), token, "{values:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        for text in ["", "abc", "a.b.c", "e30.e30.e30", "eyJhbGciOiJub25lIn0.e30."] {
            assert!(Claims::unverified(text).is_none(), "{text}");
        }
        // With a secret that everybody may have.
        assert!(Claims::unverified("eyJhbGciOiJIUzI1NiJ9.e30.AAAA").is_none());
        let claims = Claims::unverified("eyJhbGciOiJSUzI1NiJ9.e30.AAAA").unwrap();
        assert_eq!((claims.expires(), claims.is_for(""), claims.pod()), (Timestamp::MIN, false, None));
    }
}
