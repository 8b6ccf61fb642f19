//! The certificate authority of the xDS server: one Secret, shared by all replicas.
//!
//! Whoever comes first makes it; whoever sees that a step of its rotation is due takes it. Two that do so at the same time
//! are told apart by the API server: the later one finds that the Secret has changed, and takes what is there.
//!
//! Serving certificates are never stored: each replica issues its own, for a day, and has a new one after half of it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use postern_xds::{Tls, TlsFiles};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use self::material::{Material, Step};
use self::root::Issued;
use super::failure::{describe, is_conflict, is_forbidden, is_temporary};
use super::{after, until};
use crate::telemetry::Metrics;

mod material;
mod options;
mod root;

pub use material::Damage;
pub use options::{AuthorityError, AuthorityOptions, Lifetimes};
pub use root::RootError;

/// The keys of the Secret.
mod names {
    pub(super) const BUNDLE: &str = "ca.crt";
    pub(super) const CERTIFICATE: &str = "tls.crt";
    pub(super) const KEY: &str = "tls.key";
    pub(super) const NEXT_CERTIFICATE: &str = "next.crt";
    pub(super) const NEXT_KEY: &str = "next.key";
    pub(super) const PREVIOUS_CERTIFICATE: &str = "previous.crt";
    pub(super) const PREVIOUS_UNTIL: &str = "previous.until";
}

/// The name of the Secret.
pub const AUTHORITY_SECRET: &str = "postern-ca";

const FIELD_MANAGER: &str = "postern";

/// The longest sleep: somebody may set the clock.
const LONGEST_SLEEP: Duration = Duration::from_mins(10);

/// The pause after a call that failed.
const RETRY: Duration = Duration::from_secs(5);

/// The authority, as far as this replica knows it. Clones share it.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    api: Api<Secret>,
    options: AuthorityOptions,
    metrics: Metrics,
    tls: Tls,
    bundle: watch::Sender<String>,
    state: Mutex<State>,
}

/// What is known and in use.
struct State {
    /// The last good content of the Secret.
    material: Material,
    stored: Stored,
    serving: Serving,
}

/// What the cluster has.
enum Stored {
    /// The Secret with the content that is in use.
    Good(Box<Secret>),
    /// A Secret that cannot be read. It is not written either.
    Damaged,
    /// None.
    Missing,
}

/// The serving certificate in use.
struct Serving {
    /// The certificate of its issuer.
    issuer: String,
    renew_at: Timestamp,
}

impl Authority {
    /// Finds the authority in the cluster or makes it, and issues the first serving certificate. Waits for an API server that
    /// does not answer; every other trouble is an error. Then [`Authority::run`] has to run.
    pub async fn establish(
        client: Client,
        options: AuthorityOptions,
        metrics: Metrics,
    ) -> Result<Self, AuthorityError> {
        let api = Api::namespaced(client, &options.namespace);
        let stored = loop {
            match find_or_make(&api, &options).await {
                Err(AuthorityError::Api { verb, source, .. }) if is_temporary(&source) => {
                    let error = describe(&source);
                    warn!(verb, secret = %options.key(), %error, "the API server does not answer; waiting for it");
                    sleep(RETRY).await;
                }
                Err(error) => {
                    note(&error, &metrics);
                    return Err(error);
                }
                Ok(secret) => break secret,
            }
        };
        let material = read(&stored, &options)?;
        let now = options.clock.now();
        let issued = material.issue(&options.names, now, &options.lifetimes)?;
        let tls = Tls::new(&files(&issued))?;
        let bundle = watch::Sender::new(material.bundle());
        show_expiry(&metrics, &material, &issued);
        let serving = Serving::new(&material, &issued, now);
        let state = Mutex::new(State { material, stored: Stored::Good(Box::new(stored)), serving });
        Ok(Self(Arc::new(Inner { api, options, metrics, tls, bundle, state })))
    }

    /// The TLS of the xDS server, always with a valid certificate while [`Authority::run`] runs.
    pub fn tls(&self) -> Tls {
        self.0.tls.clone()
    }

    /// What proxies have to trust: certificates in PEM, as they are now and as they change.
    pub fn ca_bundle(&self) -> watch::Receiver<String> {
        self.0.bundle.subscribe()
    }

    /// Follows the Secret and the clock, for ever.
    pub async fn run(&self) {
        let inner = &self.0;
        let mut events = pin!(watch_object(inner.api.clone(), &inner.options.secret).default_backoff());
        let mut pause = inner.pause();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(Some(secret))) => inner.found(secret),
                    Some(Ok(None)) => inner.missing(),
                    Some(Err(error)) => {
                        let secret = inner.options.key();
                        warn!(%secret, %error, "the watch of the certificate authority failed and is started again");
                    }
                    None => return,
                },
                () = sleep(pause) => {}
            }
            pause = match inner.step().await {
                Ok(()) => inner.pause(),
                Err(error) => {
                    note(&error, &inner.metrics);
                    let secret = inner.options.key();
                    warn!(%secret, %error, "the certificate authority could not be brought up to date; trying again");
                    RETRY
                }
            };
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // No critical section can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the cluster has.
    fn found(&self, secret: Secret) {
        match read(&secret, &self.options) {
            Ok(material) => {
                let mut state = self.state();
                if state.material != material {
                    info!(secret = %self.options.key(), "the certificate authority has changed");
                    self.bundle.send_if_modified(|bundle| replace(bundle, material.bundle()));
                    state.material = material;
                }
                state.stored = Stored::Good(Box::new(secret));
            }
            Err(error) => {
                error!(secret = %self.options.key(), %error, "going on with the certificate authority as it was before");
                self.state().stored = Stored::Damaged;
            }
        }
    }

    /// Notes that the Secret was deleted.
    fn missing(&self) {
        warn!(secret = %self.options.key(), "the certificate authority was deleted");
        self.state().stored = Stored::Missing;
    }

    /// Does everything that is due.
    async fn step(&self) -> Result<(), AuthorityError> {
        while let Some(secret) = self.due_write()? {
            match self.write(secret).await {
                Ok(secret) => self.found(secret),
                Err(AuthorityError::Api { source, .. }) if is_conflict(&source) => {
                    debug!(secret = %self.options.key(), "another replica was faster");
                    self.found(find_or_make(&self.api, &self.options).await?);
                }
                Err(error) => return Err(error),
            }
        }
        self.renew()
    }

    /// What the Secret should be now, if that is something else than it is.
    fn due_write(&self) -> Result<Option<Secret>, AuthorityError> {
        let (now, lifetimes) = (self.options.clock.now(), &self.options.lifetimes);
        let state = self.state();
        match &state.stored {
            Stored::Damaged => Ok(None),
            Stored::Missing => {
                info!(secret = %self.options.key(), "making a new certificate authority");
                Ok(Some(make(&self.options)?))
            }
            Stored::Good(secret) => {
                let Some((material, step)) = state.material.advance(now, lifetimes)? else { return Ok(None) };
                let key = self.options.key();
                match step {
                    Step::Prepared => {
                        info!(secret = %key, "preparing a new certificate authority; proxies are told first");
                    }
                    Step::Promoted => {
                        info!(secret = %key, "the new certificate authority signs from now on");
                    }
                    Step::Retired => {
                        info!(secret = %key, "the previous certificate authority is not trusted any more");
                    }
                    Step::Replaced => {
                        warn!(secret = %key, "the certificate authority has expired; proxies cannot connect until they have read the new one");
                    }
                }
                Ok(Some(Secret { data: Some(to_data(&material)), ..Secret::clone(secret) }))
            }
        }
    }

    /// Creates the Secret, or replaces the version that it was made from.
    async fn write(&self, secret: Secret) -> Result<Secret, AuthorityError> {
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let (verb, result) = if secret.metadata.resource_version.is_some() {
            ("update", self.api.replace(&self.options.secret, &parameters, &secret).await)
        } else {
            ("create", self.api.create(&parameters, &secret).await)
        };
        result.map_err(|source| self.options.failed(verb, source))
    }

    /// Issues another serving certificate, if it is time to.
    fn renew(&self) -> Result<(), AuthorityError> {
        let now = self.options.clock.now();
        let mut state = self.state();
        if state.serving.issuer == state.material.signing.anchor.pem && now < state.serving.renew_at {
            return Ok(());
        }
        let issued = state.material.issue(&self.options.names, now, &self.options.lifetimes)?;
        self.tls.reload(&files(&issued))?;
        show_expiry(&self.metrics, &state.material, &issued);
        state.serving = Serving::new(&state.material, &issued, now);
        info!(not_after = %issued.not_after, "the xDS server has a new certificate");
        Ok(())
    }

    /// The time until something is due.
    fn pause(&self) -> Duration {
        let state = self.state();
        let due = match &state.stored {
            Stored::Good(_) => state.material.due(&self.options.lifetimes),
            Stored::Damaged => Timestamp::MAX,
            Stored::Missing => Timestamp::MIN,
        };
        until(due.min(state.serving.renew_at), self.options.clock.now()).min(LONGEST_SLEEP)
    }
}

impl Serving {
    fn new(material: &Material, issued: &Issued, now: Timestamp) -> Self {
        // Never in a loop, also if the authority itself is about to end.
        let half = (until(issued.not_after, now) / 2).max(Duration::from_mins(1));
        Self { issuer: material.signing.anchor.pem.clone(), renew_at: after(now, half) }
    }
}

/// The Secret as it is, or as it is after it was made by whoever was first.
async fn find_or_make(api: &Api<Secret>, options: &AuthorityOptions) -> Result<Secret, AuthorityError> {
    loop {
        let found = api.get_opt(&options.secret).await.map_err(|source| options.failed("get", source))?;
        if let Some(secret) = found {
            return Ok(secret);
        }
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match api.create(&parameters, &make(options)?).await {
            Ok(secret) => {
                info!(secret = %options.key(), "made a certificate authority for the xDS server");
                return Ok(secret);
            }
            Err(source) if is_conflict(&source) => {
                debug!(secret = %options.key(), "another replica was faster");
            }
            Err(source) => return Err(options.failed("create", source)),
        }
    }
}

/// A Secret with a new authority.
fn make(options: &AuthorityOptions) -> Result<Secret, AuthorityError> {
    let material = Material::generate(options.clock.now(), &options.lifetimes)?;
    let labels = [("app.kubernetes.io/name", "postern"), ("app.kubernetes.io/managed-by", "postern")];
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(options.secret.clone()),
            namespace: Some(options.namespace.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(to_data(&material)),
        ..Secret::default()
    })
}

fn to_data(material: &Material) -> BTreeMap<String, ByteString> {
    material.to_data().into_iter().map(|(key, value)| (key, ByteString(value))).collect()
}

fn read(secret: &Secret, options: &AuthorityOptions) -> Result<Material, AuthorityError> {
    let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    Material::parse(&data).map_err(|damage| AuthorityError::Damaged { secret: options.key(), damage })
}

fn files(issued: &Issued) -> TlsFiles {
    TlsFiles {
        certificates: issued.certificate.clone().into(),
        private_key: issued.key.clone().into(),
        client_ca: None,
    }
}

fn replace(bundle: &mut String, with: String) -> bool {
    let changed = *bundle != with;
    *bundle = with;
    changed
}

fn show_expiry(metrics: &Metrics, material: &Material, issued: &Issued) {
    metrics.set_certificate_expiry("ca", material.signing.anchor.not_after);
    metrics.set_certificate_expiry("serving", issued.not_after);
}

/// Counts a call that the role of the controller does not allow.
fn note(error: &AuthorityError, metrics: &Metrics) {
    if let AuthorityError::Api { verb, source, .. } = error
        && is_forbidden(source)
    {
        metrics.forbidden(verb, "secrets");
    }
}
