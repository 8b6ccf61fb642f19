//! Lets proxies in: verifies whose token a stream presents, and that it belongs to the Gateway whose configuration is asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use postern_translator::infrastructure::infrastructure_name;
use postern_xds::{Admission, Authenticator, Peer, Refusal};
use tokio::time::{Instant, sleep};
use tonic::Code;
use tonic::metadata::MetadataMap;
use tracing::{debug, warn};

use super::cache::{TokenDigest, Tokens};
use super::jwks::{self, Keys};
use super::limiter::Limiter;
use super::review::{Reviewer, Unverified, Verify};
use super::token::{self, Bearer, Claims, ServiceAccount};
use super::{Clock, until};
use crate::bootstrap::TOKEN_AUDIENCE;
use crate::telemetry::Metrics;

/// How tokens are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// By a TokenReview, which needs the permission to create one (a ClusterRole). Notices deleted ServiceAccounts and Pods. While
    /// the API server does not answer, tokens that were verified before and have not expired are believed, and others are
    /// verified as by [`Verification::Keys`].
    #[default]
    Review,
    /// With the public keys of the API server, which needs no permission. A token is valid until it expires.
    Keys,
}

/// How streams are authenticated.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// The audience that tokens have to be made for.
    pub audience: String,
    /// How they are verified.
    pub verification: Verification,
    /// The longest life of a stream. One whose token expires earlier ends earlier. Then the proxy opens another one, and shows
    /// who it is.
    pub max_stream_age: Duration,
    /// The clock that decides what has expired.
    pub clock: Clock,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self {
            audience: TOKEN_AUDIENCE.to_owned(),
            verification: Verification::default(),
            max_stream_age: Duration::from_hours(1),
            clock: Clock::default(),
        }
    }
}

/// Why a stream is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    NoToken,
    InvalidToken,
    Expired,
    WrongAudience,
    WrongGateway,
    Unavailable,
}

impl Reason {
    const ALL: [Self; 6] = [
        Self::NoToken,
        Self::InvalidToken,
        Self::Expired,
        Self::WrongAudience,
        Self::WrongGateway,
        Self::Unavailable,
    ];

    const NAMES: [&'static str; 6] = {
        let mut names = [""; 6];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].as_str();
            index += 1;
        }
        names
    };

    const fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::InvalidToken => "invalid_token",
            Self::Expired => "expired",
            Self::WrongAudience => "wrong_audience",
            Self::WrongGateway => "wrong_gateway",
            Self::Unavailable => "unavailable",
        }
    }

    /// What the proxy is told: enough to find the mistake, nothing about others.
    fn to_refusal(self) -> Refusal {
        let (code, message) = match self {
            Self::NoToken => (Code::Unauthenticated, "a bearer token is required"),
            Self::InvalidToken => (Code::Unauthenticated, "the token is not valid"),
            Self::Expired => (Code::Unauthenticated, "the token has expired"),
            Self::WrongAudience => (Code::Unauthenticated, "the token is for another audience"),
            Self::WrongGateway => {
                (Code::PermissionDenied, "the token is not that of a proxy of this Gateway")
            }
            Self::Unavailable => (Code::Unavailable, "the token cannot be verified now"),
        };
        Refusal::new(self.as_str(), code, message)
    }
}

/// A refusal, with what the log says about it.
struct Refused {
    reason: Reason,
    detail: String,
}

fn refuse<T>(reason: Reason, detail: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { reason, detail: detail.into() })
}

/// Authenticates proxies by the tokens of their ServiceAccounts.
pub struct TokenAuthenticator {
    options: TokenOptions,
    verifier: Box<dyn Verify>,
    /// Asked if the verifier cannot be reached.
    fallback: Option<Box<dyn Verify>>,
    keys: Option<Arc<Keys<Client>>>,
    tokens: Mutex<Tokens>,
    limiter: Mutex<Limiter>,
}

impl TokenAuthenticator {
    /// Verifies with the API server of `client`. [`TokenAuthenticator::run`] has to run.
    pub fn new(client: Client, options: TokenOptions, metrics: Metrics) -> Self {
        let keys = Arc::new(Keys::new(client.clone(), &options.audience, options.clock.clone()));
        let (verifier, fallback): (Box<dyn Verify>, Option<Box<dyn Verify>>) = match options.verification {
            Verification::Keys => (Box::new(Arc::clone(&keys)), None),
            Verification::Review => {
                let reviewer = Reviewer::new(client, &options.audience, metrics);
                (Box::new(reviewer), Some(Box::new(Arc::clone(&keys))))
            }
        };
        Self { keys: Some(keys), ..Self::with(options, verifier, fallback) }
    }

    fn with(options: TokenOptions, verifier: Box<dyn Verify>, fallback: Option<Box<dyn Verify>>) -> Self {
        let (tokens, limiter) = (Mutex::default(), Mutex::default());
        Self { options, verifier, fallback, keys: None, tokens, limiter }
    }

    /// Reads the public keys of the API server again. If that fails, the ones that are known stay.
    pub async fn refresh_keys(&self) -> Result<(), String> {
        match &self.keys {
            Some(keys) => keys.refresh().await,
            None => Ok(()),
        }
    }

    /// Keeps the public keys of the API server at hand, for ever: they are needed when it does not answer.
    pub async fn run(&self) {
        loop {
            match (self.refresh_keys().await, self.options.verification) {
                (Ok(()), _) => {}
                (Err(error), Verification::Keys) => {
                    warn!(error, "proxies can only be verified with keys that were read before");
                }
                (Err(error), Verification::Review) => {
                    debug!(error, "no new keys to verify proxies with while the API server is away");
                }
            }
            sleep(jwks::REFRESH).await;
        }
    }

    /// Whose `token` is.
    async fn identify(&self, token: &str) -> Result<(Bearer, TokenDigest), Refused> {
        let now = self.options.clock.now();
        let Some(claims) = Claims::unverified(token) else {
            return refuse(Reason::InvalidToken, "it is no signed token of a ServiceAccount");
        };
        // What the token says against itself can be believed.
        if claims.expires() <= now {
            return refuse(
                Reason::Expired,
                format!("a token of {} expired at {}", claims.sub, claims.expires()),
            );
        }
        if !claims.is_for(&self.options.audience) {
            return refuse(
                Reason::WrongAudience,
                format!("a token of {} is for {:?}", claims.sub, claims.aud),
            );
        }
        let digest = TokenDigest::of(token);
        if let Some(known) = self.known(digest, now) {
            return known.map(|bearer| (bearer, digest));
        }
        match self.verify(token, &claims, digest, now).await {
            Ok(bearer) => Ok((bearer, digest)),
            Err(Unverified::Invalid(why)) => {
                self.tokens().refused(digest, why.clone(), now);
                refuse(Reason::InvalidToken, why)
            }
            Err(Unverified::Unreachable(why) | Unverified::NotAllowed(why)) => {
                refuse(Reason::Unavailable, why)
            }
        }
    }

    /// What was found out about a token just now.
    fn known(&self, token: TokenDigest, now: Timestamp) -> Option<Result<Bearer, Refused>> {
        let tokens = self.tokens();
        if let Some(bearer) = tokens.fresh(token, now) {
            return Some(Ok(bearer.clone()));
        }
        tokens.refusal(token, now).map(|why| refuse(Reason::InvalidToken, why))
    }

    async fn verify(
        &self,
        token: &str,
        claims: &Claims,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Bearer, Unverified> {
        let unreachable = match self.verifier.verify(token, claims).await {
            Ok(bearer) => {
                self.tokens().verified(digest, bearer.clone(), now);
                return Ok(bearer);
            }
            Err(Unverified::Unreachable(why)) => why,
            Err(other) => return Err(other),
        };
        // Not noted as verified: it is asked about again when there is somebody to ask.
        if let Some(bearer) = self.tokens().remembered(digest, now) {
            debug!(error = unreachable, "believing a token that was verified before");
            return Ok(bearer.clone());
        }
        let Some(fallback) = &self.fallback else { return Err(Unverified::Unreachable(unreachable)) };
        debug!(error = unreachable, "verifying a token with the keys of the API server");
        fallback.verify(token, claims).await.map_err(|error| match error {
            Unverified::Unreachable(_) => Unverified::Unreachable(unreachable),
            other => other,
        })
    }

    /// Whether the bearer may read the configuration of the Gateway that it claims to serve.
    fn authorize(node: &str, bearer: &Bearer) -> Result<(), Refused> {
        let Some((namespace, gateway)) = node.split_once('/') else {
            return refuse(Reason::WrongGateway, "the node id is not NAMESPACE/GATEWAY");
        };
        let expected = ServiceAccount::new(namespace, &infrastructure_name(gateway));
        if bearer.account != expected {
            let (pod, account) = (bearer.pod.as_deref().unwrap_or("none"), &bearer.account.0);
            return refuse(
                Reason::WrongGateway,
                format!("the token is of {account} (Pod {pod}); proxies of this Gateway are {}", expected.0),
            );
        }
        Ok(())
    }

    /// When the stream of this token ends. A little early and not at the same moment for all: proxies that were started
    /// together have tokens that expire together.
    fn stream_end(&self, token: TokenDigest, bearer: &Bearer) -> Instant {
        let left = until(bearer.expires, self.options.clock.now()).min(self.options.max_stream_age);
        Instant::now() + left.mul_f64(1.0 - token.fraction() / 10.0)
    }

    async fn admit(&self, metadata: &MetadataMap, node: &str) -> Result<Admission, Refused> {
        let Some(token) = token::presented(metadata) else {
            return refuse(Reason::NoToken, "the stream has no header `authorization: Bearer TOKEN`");
        };
        let (bearer, digest) = self.identify(token).await?;
        Self::authorize(node, &bearer)?;
        let end = self.stream_end(digest, &bearer);
        Ok(Admission { node: node.to_owned(), name: bearer.pod, until: Some(end) })
    }

    fn log(&self, refused: &Refused, peer: &Peer, node: &str) {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = refused.reason.as_str();
        let node = shortened(node);
        if let Some(suppressed) = limiter.allow(reason, node, self.options.clock.now()) {
            let peer = peer.address.map(|it| it.to_string()).unwrap_or_default();
            let detail = &refused.detail;
            warn!(reason, gateway = node, peer, detail, suppressed, "a proxy was refused");
        }
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As much of a name as Kubernetes could have given.
fn shortened(node: &str) -> &str {
    node.char_indices().nth(320).map_or(node, |(end, _)| &node[..end])
}

#[tonic::async_trait]
impl Authenticator for TokenAuthenticator {
    async fn authenticate(
        &self,
        peer: &Peer,
        metadata: &MetadataMap,
        node_id: &str,
    ) -> Result<Admission, Refusal> {
        self.admit(metadata, node_id).await.map_err(|refused| {
            self.log(&refused, peer, node_id);
            refused.reason.to_refusal()
        })
    }

    fn reasons(&self) -> &'static [&'static str] {
        &Reason::NAMES
    }
}

impl std::fmt::Debug for TokenAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAuthenticator").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
