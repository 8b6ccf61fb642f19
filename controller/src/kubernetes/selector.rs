//! Label selectors as `kubectl --selector` writes them.

use std::collections::BTreeSet;

use kube::core::{Expression, Selector};

/// Why a selector cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{requirement:?} is no requirement; expected KEY, !KEY, KEY=VALUE, KEY!=VALUE, KEY in (A, B) or KEY notin (A, B)"
)]
pub struct InvalidSelector {
    requirement: String,
}

/// Reads requirements that are separated by commas, such as `team in (red, blue), !legacy`.
///
/// # Errors
/// Names the requirement that cannot be read. An empty selector has one, which is empty.
pub fn parse(text: &str) -> Result<Selector, InvalidSelector> {
    let invalid = |requirement: &str| InvalidSelector { requirement: requirement.trim().to_owned() };
    split(text)
        .into_iter()
        .map(|requirement| expression(requirement.trim()).ok_or_else(|| invalid(requirement)))
        .collect()
}

/// Splits at the commas that are not in parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let separator = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(separator).collect()
}

fn expression(text: &str) -> Option<Expression> {
    if let Some((key, rest)) = text.split_once(char::is_whitespace)
        && let rest = rest.trim()
        && let Some((operator, values)) = rest.split_once('(')
    {
        let values = values.strip_suffix(')')?;
        let values: BTreeSet<String> = values.split(',').map(|v| v.trim().to_owned()).collect();
        if values.iter().any(|value| !is_value(value) || value.is_empty()) {
            return None;
        }
        let key = self::key(key)?;
        return match operator.trim() {
            "in" => Some(Expression::In(key, values)),
            "notin" => Some(Expression::NotIn(key, values)),
            _ => None,
        };
    }
    let pair = |(name, value): (&str, &str)| {
        let value = value.trim();
        is_value(value).then(|| Some((key(name)?, value.to_owned()))).flatten()
    };
    if let Some(both) = text.split_once("!=") {
        return pair(both).map(|(key, value)| Expression::NotEqual(key, value));
    }
    if let Some(both) = text.split_once("==").or_else(|| text.split_once('=')) {
        return pair(both).map(|(key, value)| Expression::Equal(key, value));
    }
    match text.strip_prefix('!') {
        Some(name) => key(name).map(Expression::DoesNotExist),
        None => key(text).map(Expression::Exists),
    }
}

fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let good = !name.is_empty() && is_value(name) && prefix.is_none_or(|p| !p.is_empty() && is_value(p));
    good.then(|| text.to_owned())
}

fn is_value(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubectl_reads() {
        let text = "team in (red, blue), env notin (dev),a.b/c=d,e==f , g!=h, i, !j,k=";
        let selector = parse(text).expect("a valid selector");
        assert_eq!(selector.to_string(), "team in (blue,red),env notin (dev),a.b/c=d,e=f,g!=h,i,!j,k=");
    }

    #[test]
    fn names_the_requirement_that_cannot_be_read() {
        for (text, bad) in [
            ("", ""),
            ("a=b,", ""),
            ("a in (b", "a in (b"),
            ("x, a within (b)", "a within (b)"),
            ("a in ()", "a in ()"),
            ("a b", "a b"),
            ("=b", "=b"),
            ("a=b c", "a=b c"),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.requirement, bad, "{text}");
        }
    }
}
