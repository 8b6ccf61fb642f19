//! Names of generated objects.

use xxhash_rust::xxh3::xxh3_64;

/// The longest DNS label, and the longest label value.
const LONGEST: usize = 63;

/// Digits of the digest at the end of a name that had to be changed.
const DIGITS: usize = 10;

/// The name of every object that is generated for the Gateway with this name: a DNS label (RFC 1035), as a Service
/// needs it. It is the Gateway's name, if that is one; else what is left of the name, with a digest of all of it, so that
/// two Gateways never share objects.
///
/// # Examples
/// ```
/// # use postern_translator::infrastructure::infrastructure_name;
/// assert_eq!(infrastructure_name("public"), "public");
/// assert!(infrastructure_name("a.example").starts_with("a-example-"));
/// ```
pub fn infrastructure_name(gateway: &str) -> String {
    let letter = gateway.starts_with(|c: char| c.is_ascii_lowercase());
    let plain = gateway.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if letter && plain && gateway.len() <= LONGEST && !gateway.ends_with('-') {
        return gateway.to_owned();
    }
    let readable = gateway.chars().map(|c| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => '-',
    });
    let prefix = if letter { "" } else { "gw-" };
    let readable: String = prefix.chars().chain(readable).take(LONGEST - 1 - DIGITS).collect();
    with_digest(readable.trim_end_matches('-'), gateway)
}

/// The value of a label that names an object: the name, or, if it is too long for a label, its beginning and a digest.
pub fn label_value(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let end = (0..LONGEST - DIGITS).rev().find(|end| name.is_char_boundary(*end)).unwrap_or_default();
    with_digest(name[..end].trim_end_matches(['-', '.', '_']), name)
}

fn with_digest(readable: &str, of: &str) -> String {
    let digest = format!("{:016x}", xxh3_64(of.as_bytes()));
    format!("{readable}-{}", &digest[..DIGITS])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_label_stays_as_it_is() {
        for name in ["a", "public", "a-1", &"a".repeat(63)] {
            assert_eq!(infrastructure_name(name), name);
        }
    }

    #[test]
    fn any_name_becomes_a_label_of_its_own() {
        let long = "x".repeat(253);
        let names = [
            "a.b".to_owned(),
            "a-b".to_owned(),
            "1".to_owned(),
            "gw-1".to_owned(),
            "8.8.8.8".to_owned(),
            "a".repeat(64),
            "a".repeat(65),
            format!("{}.tail", "b".repeat(51)),
            format!("{}-.tail", "b".repeat(50)),
            long.clone(),
            format!("{}y", &long[1..]),
            "-".to_owned(),
            String::new(),
            "É".repeat(60),
        ];
        let made: BTreeSet<String> = names.iter().map(|name| infrastructure_name(name)).collect();
        assert_eq!(made.len(), names.len(), "{made:?}");
        for name in made {
            assert!(name.len() <= 63, "{name}");
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            assert!(name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        }
    }

    #[test]
    fn names_never_move() {
        assert_eq!(infrastructure_name("a.b"), "a-b-390c9ebbbb");
        assert_eq!(label_value("a.b"), "a.b");
    }

    #[test]
    fn label_values_are_bounded() {
        let long = |end: &str| format!("{}{end}", "a.".repeat(100));
        assert!(label_value(&long("b")).len() <= 63);
        assert_ne!(label_value(&long("b")), label_value(&long("c")));
        assert!(label_value(&"é".repeat(60)).len() <= 63);
    }
}
