//! What the authority is told, and what it complains about.

use std::time::Duration;

use postern_xds::TlsError;

use super::AUTHORITY_SECRET;
use super::material::Damage;
use crate::bootstrap::XdsService;
use crate::kubernetes::identity::Clock;
use crate::kubernetes::identity::failure::describe;

/// How long things are valid.
#[derive(Clone, Debug)]
pub struct Lifetimes {
    /// An authority. It gets a successor when two thirds are over.
    pub authority: Duration,
    /// From the making of a successor to its first signature. Until then, every proxy has to have read the new bundle: those that
    /// Postern runs do within two minutes, others when somebody hands it to them.
    pub propagation: Duration,
    /// A serving certificate. It is replaced when half is over.
    pub serving: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            authority: Duration::from_hours(365 * 24),
            propagation: Duration::from_hours(7 * 24),
            serving: Duration::from_hours(24),
        }
    }
}

/// Where the authority is kept, and what it certifies.
#[derive(Clone, Debug)]
pub struct AuthorityOptions {
    /// The namespace of the Secret.
    pub namespace: String,
    /// The name of the Secret.
    pub secret: String,
    /// The names that serving certificates are issued for.
    pub names: Vec<String>,
    /// How long things are valid.
    pub lifetimes: Lifetimes,
    /// The clock that decides about it.
    pub clock: Clock,
}

impl AuthorityOptions {
    /// Keeps the authority beside the Service of the xDS server, and certifies the names of that.
    pub fn new(service: &XdsService) -> Self {
        let XdsService { namespace, name, .. } = service;
        Self {
            namespace: namespace.clone(),
            secret: AUTHORITY_SECRET.to_owned(),
            names: vec![
                service.host(),
                format!("{name}.{namespace}.svc.cluster.local"),
                format!("{name}.{namespace}"),
                name.clone(),
            ],
            lifetimes: Lifetimes::default(),
            clock: Clock::default(),
        }
    }

    /// Namespace and name of the Secret.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.secret)
    }

    pub(super) fn failed(&self, verb: &'static str, source: kube::Error) -> AuthorityError {
        AuthorityError::Api { verb, secret: self.key(), source: Box::new(source) }
    }
}

/// Why there is no authority, or why it is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The Secret is there, and is not what Postern wrote. It is left alone.
    #[error(
        "Secret {secret} is damaged: {damage}; restore it, or delete it to have a new authority made (proxies that connect \
         anew then wait until they have read the new certificate, for about two minutes)"
    )]
    Damaged {
        /// Namespace and name.
        secret: String,
        /// What is wrong.
        damage: Damage,
    },
    /// The API server refused a call, or did not answer.
    #[error("cannot {verb} Secret {secret}: {error}", error = describe(source))]
    Api {
        /// What was tried.
        verb: &'static str,
        /// Namespace and name.
        secret: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A certificate was made that cannot be served.
    #[error("cannot serve with a new certificate")]
    Tls(#[from] TlsError),
}
