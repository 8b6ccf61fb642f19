//! What differs, as text.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::lines;
use crate::cli::cluster::View;
use crate::cli::table::{Styled, Table, or_none};
use crate::inspect::compare::{Difference, What};
use crate::inspect::document::Config;
use crate::terminal::{Paint, Style, count};

/// So much of a version tells it from others.
const VERSION: usize = 12;

/// The longest value that is printed as it is.
const MAX_VALUE: usize = 400;

/// The differences of each pod.
pub(super) fn render(
    found: &[(String, Vec<Difference>)],
    wanted: &Config,
    view: View,
    verbose: bool,
    paint: Paint,
) -> anyhow::Result<String> {
    let document = || -> Value {
        let pods: serde_json::Map<String, Value> =
            found.iter().map(|(pod, differences)| (pod.clone(), json!(differences))).collect();
        json!({"digest": wanted.digest, "pods": pods})
    };
    Ok(match view {
        View::Json => serde_json::to_string_pretty(&document())? + "\n",
        View::Yaml => serde_yaml::to_string(&document())?,
        View::Name => {
            let names = found.iter().flat_map(|(_, differences)| differences);
            lines(names.map(|difference| format!("{}/{}", difference.resource_type, difference.name)))
        }
        View::Table | View::Wide => text(found, wanted, view == View::Wide, verbose, paint),
    })
}

fn text(
    found: &[(String, Vec<Difference>)],
    wanted: &Config,
    wide: bool,
    verbose: bool,
    paint: Paint,
) -> String {
    let mut out = String::new();
    let number = wanted.resources.values().map(std::collections::BTreeMap::len).sum();
    for (pod, differences) in found {
        if differences.is_empty() {
            let words = format!("has what it should have: {}", count(number, "resource"));
            line(&mut out, format!("{pod}  {}", paint.paint(Style::Good, words)));
            continue;
        }
        let words = format!("differs in {} of {number} resources", differences.len());
        line(&mut out, format!("{pod}  {}", paint.paint(Style::Bad, words)));
        let mut table = Table::new(paint, &["TYPE", "NAME", "WHAT", "WANTED", "ACTUAL"]);
        for difference in differences {
            let style = if difference.what == What::Warming { Style::Warn } else { Style::Bad };
            table.row(vec![
                difference.resource_type.into(),
                difference.name.as_str().into(),
                Styled::new(style, difference.what.to_string()),
                version(difference.wanted.as_deref(), wide),
                version(difference.actual.as_deref(), wide),
            ]);
        }
        out.push_str(&table.render(2));
        for difference in differences {
            details(&mut out, difference, verbose, paint);
        }
    }
    out
}

fn details(out: &mut String, difference: &Difference, verbose: bool, paint: Paint) {
    let title = format!("\n  {} {}", difference.resource_type, difference.name);
    if let What::Refused { reason } = &difference.what {
        line(out, format!("{}: {}", paint.paint(Style::Bold, &title), reason.trim()));
    } else if verbose && !difference.values.is_empty() {
        line(out, paint.paint(Style::Bold, &title));
        for value in &difference.values {
            let path = if value.path.is_empty() { "all of it" } else { &value.path };
            line(out, format!("    {path}"));
            line(out, paint.paint(Style::Good, format!("      + {}", short(value.wanted.as_ref()))));
            line(out, paint.paint(Style::Bad, format!("      - {}", short(value.actual.as_ref()))));
        }
    }
}

fn version(version: Option<&str>, wide: bool) -> Styled {
    let Some(version) = version else { return or_none("") };
    if wide { version.into() } else { version.chars().take(VERSION).collect::<String>().into() }
}

fn short(value: Option<&Value>) -> String {
    let Some(value) = value else { return "<none>".to_owned() };
    let text = value.to_string();
    if text.chars().count() <= MAX_VALUE {
        return text;
    }
    text.chars().take(MAX_VALUE).chain(" …".chars()).collect()
}

fn line(out: &mut String, text: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}
