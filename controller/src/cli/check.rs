//! `postern check`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use postern_translator::Translator;

use super::CheckArgs;
use crate::diagnostic::{Diagnostic, Level};
use crate::engine;
use crate::run::diagnostic;
use crate::source::Source;
use crate::terminal::{Format, Paint, Style, count};

pub(super) fn check(args: CheckArgs, format: Format) -> anyhow::Result<ExitCode> {
    let (source, changes) = Source::read(args.paths)?;
    let mut translator = Translator::new(engine::options(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    for change in changes {
        translator.apply(change);
    }
    translator.translate();
    let findings = engine::diagnostics(&source, &translator);

    let mut out = io::stdout().lock();
    match format {
        Format::Human => human(&mut out, &source, &findings)?,
        Format::Json => {
            for finding in &findings {
                writeln!(out, "{}", serde_json::to_string(finding)?)?;
            }
        }
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Error);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn human(out: &mut impl Write, source: &Source, findings: &BTreeSet<Diagnostic>) -> io::Result<()> {
    let paint = Paint::stdout();
    for finding in findings {
        diagnostic(out, paint, finding)?;
    }
    if !findings.is_empty() {
        writeln!(out)?;
    }
    let number = |level| findings.iter().filter(|finding| finding.level == level).count();
    let read = format!("{} in {}", count(source.len(), "object"), count(source.files().len(), "file"));
    let read = paint.paint(Style::Dim, format!("· {read}"));
    match (number(Level::Error), number(Level::Warning)) {
        (0, 0) => writeln!(out, "{} {read}", paint.paint(Style::Good, "no mistakes found")),
        (0, warnings) => writeln!(out, "{} {read}", paint.paint(Style::Warn, count(warnings, "warning"))),
        (errors, 0) => writeln!(out, "{} {read}", paint.paint(Style::Bad, count(errors, "error"))),
        (errors, warnings) => {
            let errors = paint.paint(Style::Bad, count(errors, "error"));
            writeln!(out, "{errors}, {} {read}", paint.paint(Style::Warn, count(warnings, "warning")))
        }
    }
}
