//! Verification by the public keys of the API server (RFC 7517): needs no permission but to read them, which every
//! ServiceAccount has by the cluster's own role `system:service-account-issuer-discovery`. It cannot know whether a
//! ServiceAccount or a Pod was deleted after its token was made.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use kube::Client;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::debug;

use super::failure::describe;
use super::review::{Unverified, Verify};
use super::token::{ALGORITHMS, Bearer, Claims, ServiceAccount};
use super::{Clock, after};

/// How old keys may be before they are read again.
pub(super) const REFRESH: Duration = Duration::from_mins(5);

/// The pause between two readings, whoever asks for them.
const PAUSE: Duration = Duration::from_secs(10);

/// How long a reading may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How much clocks may differ where a token begins to be valid.
const SKEW: Duration = Duration::from_mins(1);

/// The issuer and the keys, as they are published.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) issuer: String,
    pub(super) keys: JwkSet,
}

/// Where the keys are published.
#[tonic::async_trait]
pub(super) trait Publisher: Send + Sync {
    async fn read(&self) -> Result<Published, String>;
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

#[tonic::async_trait]
impl Publisher for Client {
    async fn read(&self) -> Result<Published, String> {
        let get = |path: &str| http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string());
        let discovery: Discovery = self
            .request(get("/.well-known/openid-configuration")?)
            .await
            .map_err(|error| format!("cannot read the issuer of tokens: {}", describe(&error)))?;
        let keys = self
            .request_text(get("/openid/v1/jwks")?)
            .await
            .map_err(|error| format!("cannot read the keys of tokens: {}", describe(&error)))?;
        let keys = read_keys(&keys).map_err(|error| format!("cannot read the keys of tokens: {error}"))?;
        Ok(Published { issuer: discovery.issuer, keys })
    }
}

/// Reads a key set and leaves out keys of kinds that this library does not know.
fn read_keys(text: &str) -> Result<JwkSet, serde_json::Error> {
    #[derive(Deserialize)]
    struct Raw {
        keys: Vec<serde_json::Value>,
    }
    let raw: Raw = serde_json::from_str(text)?;
    let keys = raw.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
    Ok(JwkSet { keys })
}

/// A key with the one algorithm that it is used with.
#[derive(Clone)]
struct Key {
    key: DecodingKey,
    algorithm: Algorithm,
}

struct Known {
    issuer: String,
    keys: HashMap<String, Key>,
    at: Timestamp,
}

#[derive(Default)]
struct State {
    known: Option<Known>,
    /// When they were read last, with or without success.
    tried: Option<Timestamp>,
    /// Why that failed.
    failure: String,
}

/// Verifies tokens with keys that it keeps.
pub(super) struct Keys<P> {
    publisher: P,
    audience: String,
    clock: Clock,
    state: Mutex<State>,
}

impl<P: Publisher> Keys<P> {
    pub(super) fn new(publisher: P, audience: &str, clock: Clock) -> Self {
        Self { publisher, audience: audience.to_owned(), clock, state: Mutex::default() }
    }

    /// Reads the keys again, if they are old. If that fails the old ones stay.
    pub(super) async fn refresh(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        self.read(&mut state).await;
        if state.failure.is_empty() { Ok(()) } else { Err(state.failure.clone()) }
    }

    /// Reads the keys, unless that was done a moment ago.
    async fn read(&self, state: &mut State) {
        let now = self.clock.now();
        if state.tried.is_some_and(|at| now < after(at, PAUSE)) {
            return;
        }
        state.tried = Some(now);
        let read = timeout(TIMEOUT, self.publisher.read()).await;
        match read.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs()))) {
            Ok(published) => {
                let keys = usable(&published.keys);
                debug!(
                    issuer = published.issuer,
                    keys = keys.len(),
                    "read the keys of ServiceAccount tokens"
                );
                state.known = Some(Known { issuer: published.issuer, keys, at: now });
                state.failure.clear();
            }
            Err(failure) => state.failure = failure,
        }
    }

    /// The issuer, and the key with this id. Reads the keys again if there is none.
    async fn find(&self, id: &str) -> Result<(String, Key), Unverified> {
        // Held while the keys are read: one reading is enough for all who wait for it.
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let current = |state: &State| {
            state.known.as_ref().is_some_and(|it| it.keys.contains_key(id) && now < after(it.at, REFRESH))
        };
        if !current(&state) {
            self.read(&mut state).await;
        }
        let Some(known) = &state.known else { return Err(Unverified::Unreachable(state.failure.clone())) };
        match known.keys.get(id) {
            Some(key) => Ok((known.issuer.clone(), key.clone())),
            // Perhaps it is a new one, and nobody can be asked.
            None if !state.failure.is_empty() => Err(Unverified::Unreachable(state.failure.clone())),
            None => Err(Unverified::Invalid("it was signed with an unknown key".to_owned())),
        }
    }
}

#[tonic::async_trait]
impl<P: Publisher> Verify for Keys<P> {
    async fn verify(&self, token: &str, _claims: &Claims) -> Result<Bearer, Unverified> {
        let invalid = |why: &str| Unverified::Invalid(why.to_owned());
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid("it has no readable header"))?;
        let id = header.kid.ok_or_else(|| invalid("it names no key"))?;
        let (issuer, key) = self.find(&id).await?;
        let mut validation = Validation::new(key.algorithm);
        validation.required_spec_claims = ["exp", "iss", "aud", "sub"].map(str::to_owned).into();
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[&issuer]);
        // Times are compared below, with our clock.
        validation.validate_exp = false;
        let claims: Claims = jsonwebtoken::decode(token, &key.key, &validation)
            .map_err(|error| Unverified::Invalid(error.to_string()))?
            .claims;
        let now = self.clock.now();
        if claims.expires() <= now {
            return Err(invalid("it has expired"));
        }
        if after(now, SKEW) < claims.begins() {
            return Err(invalid("it is not valid yet"));
        }
        Ok(Bearer {
            pod: claims.pod().map(str::to_owned),
            expires: claims.expires(),
            account: ServiceAccount(claims.sub),
        })
    }
}

/// The keys that can verify signatures, by id.
fn usable(set: &JwkSet) -> HashMap<String, Key> {
    let of = |jwk: &jsonwebtoken::jwk::Jwk| {
        let algorithm = match (jwk.common.key_algorithm, &jwk.algorithm) {
            (Some(algorithm), _) => from_name(algorithm)?,
            (None, AlgorithmParameters::RSA(_)) => Algorithm::RS256,
            (None, AlgorithmParameters::EllipticCurve(it)) => match it.curve {
                EllipticCurve::P256 => Algorithm::ES256,
                EllipticCurve::P384 => Algorithm::ES384,
                _ => return None,
            },
            (None, _) => return None,
        };
        let key = DecodingKey::from_jwk(jwk).ok()?;
        Some((jwk.common.key_id.clone()?, Key { key, algorithm }))
    };
    set.keys.iter().filter_map(of).collect()
}

/// The algorithm of a key, if it is one whose keys may be published.
fn from_name(algorithm: KeyAlgorithm) -> Option<Algorithm> {
    algorithm.to_string().parse().ok().filter(|it| ALGORITHMS.contains(it))
}

#[cfg(test)]
mod tests;
