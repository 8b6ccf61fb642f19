//! Verification by the API server: it knows whether a ServiceAccount, and the Pod that a token was made for, still exist.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::failure::{describe, is_forbidden};
use super::token::{Bearer, Claims, ServiceAccount};
use crate::telemetry::Metrics;

/// How many reviews run at the same time.
const CONCURRENT: usize = 16;

/// How long a review may take, the wait for its turn included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where the name of the Pod is in the answer.
const POD: &str = "authentication.kubernetes.io/pod-name";

/// Why a token was not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unverified {
    /// It is not valid.
    Invalid(String),
    /// Nobody answers who could tell.
    Unreachable(String),
    /// The API server answers, but not to us.
    NotAllowed(String),
}

/// Verifies a token for one audience.
#[tonic::async_trait]
pub(super) trait Verify: Send + Sync {
    /// Whose `token` is. `claims` are what it says of itself.
    async fn verify(&self, token: &str, claims: &Claims) -> Result<Bearer, Unverified>;
}

#[tonic::async_trait]
impl<V: Verify> Verify for Arc<V> {
    async fn verify(&self, token: &str, claims: &Claims) -> Result<Bearer, Unverified> {
        V::verify(self, token, claims).await
    }
}

/// Asks for a `TokenReview`.
pub(super) struct Reviewer {
    api: Api<TokenReview>,
    audience: String,
    metrics: Metrics,
    turns: Semaphore,
}

impl Reviewer {
    pub(super) fn new(client: Client, audience: &str, metrics: Metrics) -> Self {
        Self {
            api: Api::all(client),
            audience: audience.to_owned(),
            metrics,
            turns: Semaphore::new(CONCURRENT),
        }
    }

    async fn review(&self, token: &str) -> Result<TokenReviewStatus, Unverified> {
        let spec =
            TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![self.audience.clone()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let asked = async {
            // The semaphore is never closed.
            let _turn = self.turns.acquire().await;
            self.api.create(&PostParams::default(), &review).await
        };
        let answer = timeout(TIMEOUT, asked)
            .await
            .map_err(|_| Unverified::Unreachable(format!("no TokenReview within {} s", TIMEOUT.as_secs())))?;
        match answer {
            Ok(review) => Ok(review.status.unwrap_or_default()),
            Err(error) if is_forbidden(&error) => {
                self.metrics.forbidden("create", "tokenreviews");
                Err(Unverified::NotAllowed(describe(&error)))
            }
            Err(error) => Err(Unverified::Unreachable(describe(&error))),
        }
    }
}

#[tonic::async_trait]
impl Verify for Reviewer {
    async fn verify(&self, token: &str, claims: &Claims) -> Result<Bearer, Unverified> {
        let status = self.review(token).await?;
        read(status, &self.audience, claims)
    }
}

/// What the API server says about a token. The time of expiry is that of the token, which is verified as a whole.
fn read(status: TokenReviewStatus, audience: &str, claims: &Claims) -> Result<Bearer, Unverified> {
    if status.authenticated != Some(true) {
        let error = status.error.filter(|error| !error.is_empty());
        return Err(Unverified::Invalid(
            error.unwrap_or_else(|| "the API server does not accept it".to_owned()),
        ));
    }
    // An authenticator that knows nothing of audiences leaves them out, and vouches for none.
    if !status.audiences.iter().flatten().any(|it| it == audience) {
        return Err(Unverified::Invalid(format!("it is not for the audience {audience}")));
    }
    let user = status.user.unwrap_or_default();
    let pod = user.extra.as_ref().and_then(|extra| extra.get(POD)?.first().cloned());
    Ok(Bearer { account: ServiceAccount(user.username.unwrap_or_default()), pod, expires: claims.expires() })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    const AUDIENCE: &str = "postern.dev/xds";

    fn claims() -> Claims {
        serde_json::from_str(r#"{"sub": "someone else", "exp": 1900000000}"#).unwrap()
    }

    fn accepted() -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec![AUDIENCE.to_owned()]),
            user: Some(UserInfo {
                username: Some("system:serviceaccount:default:web".to_owned()),
                extra: Some([(POD.to_owned(), vec!["web-1".to_owned()])].into()),
                ..UserInfo::default()
            }),
            error: None,
        }
    }

    #[test]
    fn the_api_server_says_whose_a_token_is() {
        let bearer = read(accepted(), AUDIENCE, &claims()).unwrap();
        assert_eq!(bearer.account, ServiceAccount::new("default", "web"));
        assert_eq!(bearer.pod.as_deref(), Some("web-1"));
        assert_eq!(bearer.expires.as_second(), 1_900_000_000);
    }

    #[test]
    fn only_a_clear_yes_for_the_audience_is_a_yes() {
        let refused = |status| match read(status, AUDIENCE, &claims()) {
            Err(Unverified::Invalid(why)) => why,
            other => panic!("{other:?}"),
        };
        let error = Some("token has been invalidated".to_owned());
        let invalid = TokenReviewStatus { error, ..TokenReviewStatus::default() };
        assert_eq!(refused(invalid), "token has been invalidated");
        assert_eq!(refused(TokenReviewStatus::default()), "the API server does not accept it");
        for audiences in [None, Some(vec![]), Some(vec!["other".to_owned()])] {
            assert_eq!(
                refused(TokenReviewStatus { audiences, ..accepted() }),
                "it is not for the audience postern.dev/xds"
            );
        }
    }
}
