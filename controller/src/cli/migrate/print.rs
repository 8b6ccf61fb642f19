//! The answer for people.

use std::fmt::Write as _;

use super::verdict::{Entry, Reason, Report, Verdict};
use crate::terminal::{Paint, Style, count};

const GUIDE: &str = "docs/migrate-from-kgateway.md says how to move without a failed request.";

pub(super) fn text(report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    let parts = [
        (Verdict::Unchanged, Style::Good, "applies unchanged", "apply unchanged"),
        (Verdict::Changes, Style::Warn, "changes", "change"),
        (Verdict::NoEquivalent, Style::Bad, "has no equivalent", "have no equivalent"),
    ];
    for (verdict, style, one, several) in parts {
        let entries: Vec<&Entry> = report.entries.iter().filter(|entry| entry.verdict == verdict).collect();
        if entries.is_empty() {
            continue;
        }
        let says = if entries.len() == 1 { one } else { several };
        let title = format!("{} {says}", count(entries.len(), "object"));
        let _ = writeln!(out, "{}", paint.paint(style, title));
        for entry in entries {
            describe(&mut out, entry, paint);
        }
        out.push('\n');
    }
    if report.entries.is_empty() {
        out.push_str("There is nothing of the Gateway API or of kgateway.\n\n");
    }
    if !report.not_read.is_empty() {
        let title = "References to objects that are not among them (Secrets of a cluster are not looked at)";
        let _ = writeln!(out, "{}", paint.paint(Style::Dim, title));
        out.extend(report.not_read.iter().map(|line| format!("  {line}\n")));
        out.push('\n');
    }
    out.extend(report.notes.iter().map(|note| format!("{note}\n")));
    let _ = writeln!(out, "{GUIDE}");
    out
}

fn describe(out: &mut String, Entry { object, reasons, .. }: &Entry, paint: Paint) {
    let _ = writeln!(out, "  {object}");
    for Reason { field, message, remedy } in reasons {
        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
        let _ = writeln!(out, "    {}{message}", paint.paint(Style::Dim, field));
        if !remedy.is_empty() {
            let _ = writeln!(out, "    → {remedy}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_verdict() {
        let entry = |object: &str, verdict, reasons| Entry { object: object.to_owned(), verdict, reasons };
        let reason =
            Reason { field: "spec.x".into(), message: "is lost".into(), remedy: "do without".into() };
        let report = Report {
            entries: vec![
                entry("A n/a", Verdict::NoEquivalent, vec![reason]),
                entry("B n/b", Verdict::Unchanged, vec![]),
                entry("C n/c", Verdict::Unchanged, vec![]),
            ],
            not_read: ["HTTPRoute n/r: Service n/s does not exist".to_owned()].into(),
            notes: ["You may not list objects of kind Gateway: they are left out.".to_owned()].into(),
        };
        assert_eq!(
            text(&report, Paint::plain()),
            "2 objects apply unchanged\n  B n/b\n  C n/c\n\n\
             1 object has no equivalent\n  A n/a\n    spec.x: is lost\n    → do without\n\n\
             References to objects that are not among them (Secrets of a cluster are not looked at)\n  \
             HTTPRoute n/r: Service n/s does not exist\n\n\
             You may not list objects of kind Gateway: they are left out.\n\
             docs/migrate-from-kgateway.md says how to move without a failed request.\n"
        );
    }
}
