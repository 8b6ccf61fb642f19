//! Durations as they are written in resources.
//!
//! The Gateway API has its own grammar, [GEP-2257](https://gateway-api.sigs.k8s.io/geps/gep-2257/): one to four
//! whole numbers of at most five digits, each with a unit `h`, `m`, `s` or `ms`, as in `1h30m` or `500ms`. The
//! extension kinds come from a project that uses Go's grammar, where fractions, signs and smaller units are possible
//! too, as in `1.5s`; [`parse_lenient`] reads both.

use std::fmt::Write as _;
use std::time::Duration;

use thiserror::Error;

/// Why a string is not a duration.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum DurationError {
    /// It does not follow GEP-2257.
    #[error(
        "invalid duration {value:?}: write one to four whole numbers of at most five digits, each with a unit h, m, s or \
         ms, for example 1h30m, 10s or 500ms"
    )]
    NotGep2257 {
        /// The string.
        value: String,
    },
    /// It does not follow Go's grammar either.
    #[error(
        "invalid duration {value:?}: write numbers with units h, m, s, ms, us or ns, for example 1m30s, 1.5s or 500ms"
    )]
    NotGo {
        /// The string.
        value: String,
    },
    /// It is less than zero.
    #[error("invalid duration {value:?}: a duration cannot be negative")]
    Negative {
        /// The string.
        value: String,
    },
    /// It does not fit.
    #[error("invalid duration {value:?}: it is longer than 292 years")]
    TooLong {
        /// The string.
        value: String,
    },
    /// The duration has no form in GEP-2257.
    #[error(
        "{duration:?} has no form as a duration of GEP-2257: it must be whole milliseconds below 100000h"
    )]
    NotExpressible {
        /// The duration.
        duration: Duration,
    },
}

/// Reads a duration of GEP-2257. `0s` is zero; what zero means depends on the field.
///
/// # Errors
/// [`DurationError::NotGep2257`] when the string does not follow the grammar.
pub fn parse(value: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::NotGep2257 { value: value.to_owned() };
    let mut rest = value;
    let mut total = Duration::ZERO;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        parts += 1;
        if digits == 0 || digits > 5 || parts > 4 {
            return Err(invalid());
        }
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        let (millis, after) = unit(&rest[digits..]).ok_or_else(invalid)?;
        total += Duration::from_millis(number * millis);
        rest = after;
    }
    if parts == 0 { Err(invalid()) } else { Ok(total) }
}

/// Writes a duration of GEP-2257, with the largest units first: 90 seconds are `1m30s`, zero is `0s`.
///
/// # Errors
/// [`DurationError::NotExpressible`] when the duration has a part below a millisecond or 100,000 hours or more.
pub fn format(duration: Duration) -> Result<String, DurationError> {
    let millis = duration.as_millis();
    let hours = millis / 3_600_000;
    if hours > 99_999 || !duration.subsec_nanos().is_multiple_of(1_000_000) {
        return Err(DurationError::NotExpressible { duration });
    }
    if millis == 0 {
        return Ok("0s".to_owned());
    }
    let parts = [(hours, "h"), (millis / 60_000 % 60, "m"), (millis / 1000 % 60, "s"), (millis % 1000, "ms")];
    let mut text = String::new();
    for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{number}{unit}");
    }
    Ok(text)
}

/// Reads a duration of GEP-2257 or of Go's `time.ParseDuration`: any number of parts, each with an optional
/// fraction and a unit `h`, `m`, `s`, `ms`, `us`, `µs` or `ns`; a lone `0`; an optional `+`. What is below a
/// nanosecond is cut off.
///
/// # Errors
/// [`DurationError::NotGo`] when the string does not follow the grammar, [`DurationError::Negative`] when it is
/// below zero, [`DurationError::TooLong`] when it does not fit into 2^63 nanoseconds.
pub fn parse_lenient(value: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::NotGo { value: value.to_owned() };
    let too_long = || DurationError::TooLong { value: value.to_owned() };
    let negative = value.starts_with('-');
    let mut rest = value.strip_prefix(['+', '-']).unwrap_or(value);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let (unit, after) = go_unit(after).ok_or_else(invalid)?;
        let number: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_long())? };
        nanos = number
            .checked_mul(unit)
            .and_then(|part| nanos.checked_add(part))
            .and_then(|sum| sum.checked_add(fraction_of(fraction, unit)))
            .ok_or_else(too_long)?;
        rest = after;
    }
    if negative && nanos > 0 {
        return Err(DurationError::Negative { value: value.to_owned() });
    }
    match u64::try_from(nanos) {
        Ok(nanos) if i64::try_from(nanos).is_ok() => Ok(Duration::from_nanos(nanos)),
        _ => Err(too_long()),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// The unit that `text` starts with, in milliseconds, and what follows it.
fn unit(text: &str) -> Option<(u64, &str)> {
    // "ms" before "m": the longer unit wins.
    [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        .into_iter()
        .find_map(|(name, millis)| text.strip_prefix(name).map(|rest| (millis, rest)))
}

/// The unit that `text` starts with, in nanoseconds, and what follows it.
fn go_unit(text: &str) -> Option<(u128, &str)> {
    let units = [
        ("ns", 1),
        ("us", 1000),
        ("\u{b5}s", 1000),
        ("\u{3bc}s", 1000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    units.into_iter().find_map(|(name, nanos)| text.strip_prefix(name).map(|rest| (nanos, rest)))
}

/// `0.digits` of a unit in nanoseconds, cut off below one.
fn fraction_of(digits: &str, unit: u128) -> u128 {
    // Digits beyond the 18th are below a nanosecond in every unit.
    let digits = &digits[..digits.len().min(18)];
    let (numerator, denominator) = digits.bytes().fold((0, 1), |(numerator, denominator), digit| {
        (numerator * 10 + u128::from(digit - b'0'), denominator * 10)
    });
    unit * numerator / denominator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_gep_allows() {
        for (text, millis) in [
            ("0h", 0),
            ("0s", 0),
            ("0h0m0s", 0),
            ("1h", 3_600_000),
            ("30m", 1_800_000),
            ("10s", 10_000),
            ("500ms", 500),
            ("2h30m", 9_000_000),
            ("150m", 9_000_000),
            ("7230s", 7_230_000),
            ("1h30m10s", 5_410_000),
            ("10s30m1h", 5_410_000),
            ("100ms200ms300ms", 600),
            ("99999h", 359_996_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_the_gep_forbids() {
        for text in [
            "",
            "1",
            "0",
            "1d",
            "1.5h",
            "-1s",
            "+1s",
            " 1s",
            "1s ",
            "1 s",
            "100000s",
            "1h1m1s1ms1s",
            "s",
            "1us",
            "1M",
            "١s",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, DurationError::NotGep2257 { value: text.to_owned() });
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for (millis, text) in [
            (0, "0s"),
            (500, "500ms"),
            (90_000, "1m30s"),
            (5_410_001, "1h30m10s1ms"),
            (359_996_400_000, "99999h"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(format(duration).as_deref(), Ok(text));
            assert_eq!(parse(text), Ok(duration));
        }
        assert!(format(Duration::from_micros(1500)).is_err());
        assert!(format(Duration::from_hours(100_000)).is_err());
    }

    #[test]
    fn lenient_reads_both_grammars() {
        for (text, nanos) in [
            ("1m30s", 90_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("500ms", 500_000_000),
            ("+250us", 250_000),
            ("3µs", 3000),
            ("7ns", 7),
            ("0", 0),
            ("-0", 0),
            ("-0s", 0),
            ("100000s", 100_000_000_000_000),
            ("1h1m1s1ms1s", 3_662_001_000_000),
            ("0.1000000000000000000000001h", 360_000_000_000),
        ] {
            assert_eq!(parse_lenient(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn lenient_refuses_the_rest() {
        for text in ["", "+", "1", "1.5", ".", ".s", "1d", "s", "1s2", "--1s", "1 s"] {
            assert_eq!(parse_lenient(text), Err(DurationError::NotGo { value: text.to_owned() }));
        }
        assert_eq!(parse_lenient("-1s"), Err(DurationError::Negative { value: "-1s".to_owned() }));
        for text in ["3000000h", "99999999999999999999999999999999999999999h"] {
            assert_eq!(parse_lenient(text), Err(DurationError::TooLong { value: text.to_owned() }));
        }
    }
}
