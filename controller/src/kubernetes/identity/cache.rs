//! Verified tokens, and those that were found to be invalid a moment ago. Tokens themselves are not kept, only their digests.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::after;
use super::token::Bearer;

/// How long a verified token is believed without asking again.
const FRESH: Duration = Duration::from_mins(1);

/// How long a token that was found to be invalid is refused without asking again. Short: an API server may not know a new
/// signing key yet.
const REFUSED: Duration = Duration::from_secs(5);

/// How many tokens are remembered, of each kind.
const CAPACITY: usize = 16_384;

/// The name of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// A number between 0 and 1 that is always the same for the same token.
    pub(super) fn fraction(self) -> f64 {
        f64::from(u16::from_be_bytes([self.0[0], self.0[1]])) / f64::from(u16::MAX)
    }
}

#[derive(Clone, Debug)]
struct Verified {
    bearer: Bearer,
    at: Timestamp,
}

/// What is known of tokens.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    verified: HashMap<TokenDigest, Verified>,
    refused: HashMap<TokenDigest, Refused>,
}

#[derive(Clone, Debug)]
struct Refused {
    why: String,
    at: Timestamp,
}

impl Tokens {
    /// Notes that a token is valid.
    pub(super) fn verified(&mut self, token: TokenDigest, bearer: Bearer, now: Timestamp) {
        make_room(&mut self.verified, |it| it.bearer.expires <= now, |it| it.at);
        self.refused.remove(&token);
        self.verified.insert(token, Verified { bearer, at: now });
    }

    /// Notes that a token is not valid (any more).
    pub(super) fn refused(&mut self, token: TokenDigest, why: String, now: Timestamp) {
        make_room(&mut self.refused, |it| after(it.at, REFUSED) <= now, |it| it.at);
        self.verified.remove(&token);
        self.refused.insert(token, Refused { why, at: now });
    }

    /// Whose a token is, if it was verified just now.
    pub(super) fn fresh(&self, token: TokenDigest, now: Timestamp) -> Option<&Bearer> {
        let known = self.verified.get(&token)?;
        (now < after(known.at, FRESH) && now < known.bearer.expires).then_some(&known.bearer)
    }

    /// Whose a token is, if it was ever verified and has not expired: for when nobody can be asked.
    pub(super) fn remembered(&self, token: TokenDigest, now: Timestamp) -> Option<&Bearer> {
        self.verified.get(&token).map(|known| &known.bearer).filter(|bearer| now < bearer.expires)
    }

    /// Why a token was refused, if that was just now.
    pub(super) fn refusal(&self, token: TokenDigest, now: Timestamp) -> Option<&str> {
        let known = self.refused.get(&token)?;
        (now < after(known.at, REFUSED)).then_some(known.why.as_str())
    }
}

/// Makes room for one more: what is of no use any more goes, else the oldest.
fn make_room<T>(
    map: &mut HashMap<TokenDigest, T>,
    useless: impl Fn(&T) -> bool,
    age: impl Fn(&T) -> Timestamp,
) {
    if map.len() < CAPACITY {
        return;
    }
    map.retain(|_, value| !useless(value));
    if map.len() >= CAPACITY
        && let Some(oldest) = map.iter().min_by_key(|(_, value)| age(value)).map(|(token, _)| *token)
    {
        map.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::ServiceAccount;
    use super::*;

    fn at(second: u64) -> Timestamp {
        after("2030-01-01T00:00:00Z".parse().unwrap(), Duration::from_secs(second))
    }

    fn bearer(expires: Timestamp) -> Bearer {
        Bearer { account: ServiceAccount::new("default", "web"), pod: None, expires }
    }

    #[test]
    fn a_verified_token_is_fresh_for_a_minute_and_remembered_until_it_expires() {
        let mut tokens = Tokens::default();
        let (long, short) = (TokenDigest::of("long"), TokenDigest::of("short"));
        tokens.verified(long, bearer(at(3600)), at(0));
        tokens.verified(short, bearer(at(30)), at(0));
        for (token, second, fresh, remembered) in [
            (long, 59, true, true),
            (long, 60, false, true),
            (long, 3599, false, true),
            (long, 3600, false, false),
            (short, 29, true, true),
            (short, 30, false, false),
            (TokenDigest::of("other"), 0, false, false),
        ] {
            assert_eq!(tokens.fresh(token, at(second)).is_some(), fresh, "{second}");
            assert_eq!(tokens.remembered(token, at(second)).is_some(), remembered, "{second}");
        }
    }

    #[test]
    fn a_refused_token_is_forgotten_soon_and_not_remembered_as_valid() {
        let mut tokens = Tokens::default();
        let token = TokenDigest::of("token");
        tokens.verified(token, bearer(at(3600)), at(0));
        tokens.refused(token, "deleted".to_owned(), at(100));
        assert_eq!(tokens.remembered(token, at(100)), None);
        assert_eq!(tokens.refusal(token, at(104)), Some("deleted"));
        assert_eq!(tokens.refusal(token, at(105)), None);
        tokens.verified(token, bearer(at(3600)), at(102));
        assert_eq!(tokens.refusal(token, at(102)), None);
    }

    #[test]
    fn the_number_of_tokens_is_bounded() {
        let mut tokens = Tokens::default();
        let digest = |number: usize| TokenDigest::of(&number.to_string());
        for number in 0..CAPACITY + 10 {
            let second = u64::try_from(number).unwrap();
            tokens.verified(digest(number), bearer(at(1_000_000)), at(second));
            tokens.refused(digest(number + 1_000_000), String::new(), at(0));
        }
        assert_eq!((tokens.verified.len(), tokens.refused.len()), (CAPACITY, CAPACITY));
        let now = at(100_000);
        assert!(tokens.remembered(digest(9), now).is_none(), "the oldest went");
        assert!(tokens.remembered(digest(10), now).is_some());
        tokens.refused(digest(0), String::new(), at(10));
        assert_eq!(tokens.refused.len(), 1, "what is of no use goes first");
    }
}
