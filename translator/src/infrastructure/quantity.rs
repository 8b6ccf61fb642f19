//! Quantities of Kubernetes, as in `500m` and `1.5Gi`.

/// The value of a quantity; `None` if it is none.
pub(crate) fn value(text: &str) -> Option<f64> {
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-');
    let end = text.find(|c| !digits(c)).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    if !unsigned.contains(|c: char| c.is_ascii_digit()) || unsigned.contains(['+', '-']) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10f64.powi(power)
        }
    };
    Some(number * factor)
}

/// Envoy counts bytes in 32 bits.
const LIMIT: f64 = 4.0 * 1024.0 * 1024.0 * 1024.0;

/// The value of a quantity of bytes, from 1 to less than 4Gi; `None` if it is none.
pub(crate) fn bytes(text: &str) -> Option<u32> {
    let bytes = value(text).filter(|bytes| *bytes >= 1.0 && *bytes < LIMIT);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the bounds are checked")]
    bytes.map(|bytes| bytes as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_a_value() {
        for (text, expected) in [
            ("0", 0.0),
            ("2", 2.0),
            ("500m", 0.5),
            ("1.5Gi", 1.5 * 1024.0 * 1024.0 * 1024.0),
            (".5", 0.5),
            ("1.", 1.0),
            ("+1k", 1000.0),
            ("-1", -1.0),
            ("1e3", 1000.0),
            ("1E-3", 0.001),
            ("2E", 2e18),
        ] {
            let found = value(text).unwrap();
            assert!((found - expected).abs() <= expected.abs() * 1e-12, "{text}: {found}");
        }
    }

    #[test]
    fn other_text_has_none() {
        for text in [
            "", "much", "1 Gi", "1gi", "1mb", "m", ".", "1.2.3", "1-2", "--1", "1e", "1e1.5", "0x10", "∞",
            "1K",
        ] {
            assert_eq!(value(text), None, "{text}");
        }
    }
}
