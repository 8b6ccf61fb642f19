//! What the Secret of the authority holds, and how it changes in the course of time. Pure.
//!
//! ```text
//!        made      2/3 of its life      + propagation             + life of a serving certificate
//! old    signs ──► signs ─────────────► trusted only ───────────► gone
//! next             trusted only ──────► signs
//! ```

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::{after, before};
use super::root::{Anchor, BACKDATED, Issued, Root, RootError};
use super::{Lifetimes, names};

/// Why the data of the Secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Something is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Something is no text.
    #[error("{0} is not UTF-8")]
    NotText(&'static str),
    /// A certificate or a key cannot be used.
    #[error("{field}: {error}")]
    Root {
        /// The keys of the Secret that it is about.
        field: &'static str,
        /// Why.
        error: RootError,
    },
    /// The end of the time for which the previous authority is trusted is no time.
    #[error("{0} is not a time as in 2030-01-31T12:00:00Z")]
    Time(&'static str),
}

/// What happened to the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A successor was made. It is trusted, and signs nothing yet.
    Prepared,
    /// The successor signs from now on.
    Promoted,
    /// The previous authority is not trusted any more.
    Retired,
    /// There was no valid authority left.
    Replaced,
}

/// The authority that signs, the one that will, and the one that did.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    pub(super) signing: Root,
    next: Option<Root>,
    previous: Option<Previous>,
}

#[derive(Clone, PartialEq, Eq)]
struct Previous {
    anchor: Anchor,
    /// When nothing that it signed is valid any more.
    until: Timestamp,
}

impl Material {
    /// A new authority.
    pub(super) fn generate(now: Timestamp, lifetimes: &Lifetimes) -> Result<Self, rcgen::Error> {
        Ok(Self { signing: Root::generate(now, lifetimes.authority)?, next: None, previous: None })
    }

    /// Reads the data of the Secret.
    pub(super) fn parse(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, Damage> {
        let text = |key: &'static str| match data.get(key) {
            None => Ok(None),
            Some(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| Damage::NotText(key)),
        };
        let required = |key: &'static str| text(key)?.ok_or(Damage::Missing(key));
        let signing = Root::parse(required(names::CERTIFICATE)?, required(names::KEY)?)
            .map_err(|error| Damage::Root { field: "tls.crt and tls.key", error })?;
        let next = match (text(names::NEXT_CERTIFICATE)?, text(names::NEXT_KEY)?) {
            (None, None) => None,
            (None, Some(_)) => return Err(Damage::Missing(names::NEXT_CERTIFICATE)),
            (Some(_), None) => return Err(Damage::Missing(names::NEXT_KEY)),
            (Some(certificate), Some(key)) => Some(
                Root::parse(certificate, key)
                    .map_err(|error| Damage::Root { field: "next.crt and next.key", error })?,
            ),
        };
        let previous = match (text(names::PREVIOUS_CERTIFICATE)?, text(names::PREVIOUS_UNTIL)?) {
            (None, None) => None,
            (None, Some(_)) => return Err(Damage::Missing(names::PREVIOUS_CERTIFICATE)),
            (Some(_), None) => return Err(Damage::Missing(names::PREVIOUS_UNTIL)),
            (Some(certificate), Some(until)) => Some(Previous {
                anchor: Anchor::parse(certificate)
                    .map_err(|error| Damage::Root { field: names::PREVIOUS_CERTIFICATE, error })?,
                until: until.trim().parse().map_err(|_| Damage::Time(names::PREVIOUS_UNTIL))?,
            }),
        };
        Ok(Self { signing, next, previous })
    }

    /// The data of the Secret.
    pub(super) fn to_data(&self) -> BTreeMap<String, Vec<u8>> {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, text: &str| {
            data.insert(key.to_owned(), text.as_bytes().to_vec());
        };
        put(names::BUNDLE, &self.bundle());
        put(names::CERTIFICATE, &self.signing.anchor.pem);
        put(names::KEY, &self.signing.key);
        if let Some(next) = &self.next {
            put(names::NEXT_CERTIFICATE, &next.anchor.pem);
            put(names::NEXT_KEY, &next.key);
        }
        if let Some(previous) = &self.previous {
            put(names::PREVIOUS_CERTIFICATE, &previous.anchor.pem);
            put(names::PREVIOUS_UNTIL, &previous.until.to_string());
        }
        data
    }

    /// Every certificate that proxies have to trust, in PEM.
    pub(super) fn bundle(&self) -> String {
        let others =
            self.next.iter().map(|root| &root.anchor).chain(self.previous.iter().map(|it| &it.anchor));
        std::iter::once(&self.signing.anchor).chain(others).map(|anchor| anchor.pem.as_str()).collect()
    }

    /// Issues a serving certificate.
    pub(super) fn issue(
        &self,
        names: &[String],
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<Issued, rcgen::Error> {
        self.signing.issue(names, now, lifetimes.serving)
    }

    /// The next step, if one is due.
    pub(super) fn advance(
        &self,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<Option<(Self, Step)>, rcgen::Error> {
        let valid = |root: &Root| root.anchor.not_after > now;
        if let Some(previous) = &self.previous
            && previous.until <= now
        {
            return Ok(Some((Self { previous: None, ..self.clone() }, Step::Retired)));
        }
        if let Some(next) = self.next.as_ref().filter(|next| valid(next)) {
            let trusted_everywhere = after(next.anchor.made(), lifetimes.propagation) <= now;
            let ready = trusted_everywhere && self.previous.is_none();
            return Ok((ready || !valid(&self.signing))
                .then(|| (self.promoted(next, now, lifetimes), Step::Promoted)));
        }
        if !valid(&self.signing) {
            return Ok(Some((Self::generate(now, lifetimes)?, Step::Replaced)));
        }
        if self.successor_due(lifetimes) <= now {
            let next = Some(Root::generate(now, lifetimes.authority)?);
            return Ok(Some((Self { next, ..self.clone() }, Step::Prepared)));
        }
        Ok(None)
    }

    /// When the next step is due.
    pub(super) fn due(&self, lifetimes: &Lifetimes) -> Timestamp {
        let end = self.signing.anchor.not_after;
        let successor = match &self.next {
            None => self.successor_due(lifetimes),
            Some(next) => after(next.anchor.made(), lifetimes.propagation),
        };
        match &self.previous {
            // What waits for the retirement of the previous authority is looked at again then.
            Some(previous) => previous.until.min(end),
            None => successor.min(end),
        }
    }

    fn promoted(&self, next: &Root, now: Timestamp, lifetimes: &Lifetimes) -> Self {
        // Other replicas go on with what they hold until they have heard of this.
        let until = after(after(now, lifetimes.serving), BACKDATED);
        let previous = (self.signing.anchor.not_after > now)
            .then(|| Previous { anchor: self.signing.anchor.clone(), until });
        Self { signing: next.clone(), next: None, previous }
    }

    /// When two thirds of the life of the signing authority are over.
    fn successor_due(&self, lifetimes: &Lifetimes) -> Timestamp {
        before(self.signing.anchor.not_after, lifetimes.authority / 3)
    }
}

#[cfg(test)]
mod tests;
