//! Reads the text form of metrics.

use std::collections::BTreeMap;

/// A family of metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricFamily {
    /// The help text.
    pub help: String,
    /// `counter`, `gauge`, `histogram`, `info`.
    pub kind: String,
    /// The unit, such as `seconds`; may be empty.
    pub unit: String,
    /// The values by sample, `name{label="value",…}` with the labels in order of their names.
    pub samples: BTreeMap<String, f64>,
}

/// Families by name, without the suffixes of their samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition(pub BTreeMap<String, MetricFamily>);

/// A line that is not of the text form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl Exposition {
    /// The value of a sample. The labels may be in any order.
    pub fn value(&self, sample: &str) -> Option<f64> {
        let (name, labels, rest) = split_sample(sample).ok()?;
        let wanted = canonical(name, &labels);
        if !rest.is_empty() {
            return None;
        }
        self.0.values().find_map(|family| family.samples.get(&wanted).copied())
    }
}

/// Reads the OpenMetrics text form: what [`Metrics::registry_text`](super::Metrics::registry_text) writes.
pub fn parse(text: &str) -> Result<Exposition, ParseError> {
    let mut out = Exposition::default();
    let mut ended = false;
    for (number, line) in text.lines().enumerate() {
        let error = |message: String| ParseError { line: number + 1, message };
        if ended {
            return Err(error("something follows the end".to_owned()));
        }
        if line == "# EOF" {
            ended = true;
        } else if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name, rest) = (words.next(), words.next(), words.next().unwrap_or_default());
            let Some(name) = name else { return Err(error("a name is missing".to_owned())) };
            let family = out.0.entry(name.to_owned()).or_default();
            match what {
                Some("HELP") => rest.clone_into(&mut family.help),
                Some("TYPE") => rest.clone_into(&mut family.kind),
                Some("UNIT") => rest.clone_into(&mut family.unit),
                _ => return Err(error(format!("unknown comment {comment:?}"))),
            }
        } else {
            let (name, labels, rest) = split_sample(line).map_err(error)?;
            let value = rest.split_whitespace().next().unwrap_or_default();
            let value = value.parse().map_err(|_| error(format!("{value:?} is no number")))?;
            let family = family_of(&out, name)
                .ok_or_else(|| error(format!("nothing was said about {name} before")))?;
            let samples = &mut out.0.entry(family).or_default().samples;
            if samples.insert(canonical(name, &labels), value).is_some() {
                return Err(error("the sample is there already".to_owned()));
            }
        }
    }
    if ended { Ok(out) } else { Err(ParseError { line: 0, message: "# EOF is missing".to_owned() }) }
}

fn family_of(families: &Exposition, sample: &str) -> Option<String> {
    let known = |name: &str| families.0.contains_key(name);
    let suffixes = ["_total", "_info", "_sum", "_count", "_bucket", "_created"];
    if known(sample) {
        return Some(sample.to_owned());
    }
    suffixes
        .iter()
        .filter_map(|suffix| sample.strip_suffix(suffix))
        .find(|name| known(name))
        .map(str::to_owned)
}

fn canonical(name: &str, labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return name.to_owned();
    }
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

type Sample<'a> = (&'a str, BTreeMap<String, String>, &'a str);

/// The name, the labels, and what follows.
fn split_sample(line: &str) -> Result<Sample<'_>, String> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let (name, mut rest) = line.split_at(end);
    if name.is_empty() {
        return Err("a name is missing".to_owned());
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").ok_or("expected label=\"value\"")?;
            let (value, after) = quoted(after).ok_or("a quote is missing")?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("the label {label} is there twice"));
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    Ok((name, labels, rest.trim_start()))
}

/// The text up to the closing quote, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_families_labels_and_values() {
        let text = "# HELP a Help, with = and {.\n# TYPE a counter\na_total{x=\"1\",b=\"say \\\"hi\\\"\"} 3\n# EOF\n";
        let read = parse(text).expect("well formed");
        assert_eq!(read.0["a"].kind, "counter");
        assert_eq!(read.value(r#"a_total{b="say \"hi\"",x="1"}"#), Some(3.0));
        assert_eq!(read.value("a_total"), None);
    }

    #[test]
    fn refuses_what_is_not_of_the_form() {
        for (text, message) in [
            ("a 1\n# EOF\n", "nothing was said about a"),
            ("# TYPE a gauge\na one\n# EOF\n", "no number"),
            ("# TYPE a gauge\na 1\na 2\n# EOF\n", "there already"),
            ("# TYPE a gauge\na{b=\"c} 1\n# EOF\n", "quote is missing"),
            ("# TYPE a gauge\n", "EOF is missing"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
