//! Prints what `postern run` tells: quietly, and only what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::event::RunEvent;
use crate::diagnostic::{Diagnostic, Level};
use crate::publish::Obstacle;
use crate::terminal::{Format, Paint, Style, count};
use crate::verdict::Verdict;

/// With more objects than this, those that are fine are only counted.
const MAX_ROWS: usize = 40;

/// Where events go.
pub trait Report: Send + Sync {
    /// Tells `event`.
    fn report(&self, event: &RunEvent);
}

/// Prints events.
pub struct Printer<W> {
    format: Format,
    paint: Paint,
    out: Mutex<W>,
}

impl Printer<io::Stdout> {
    /// Prints to standard output.
    pub fn stdout(format: Format) -> Self {
        Self::new(io::stdout(), format, Paint::stdout())
    }
}

impl<W: Write + Send> Printer<W> {
    /// Prints to `out`.
    pub fn new(out: W, format: Format, paint: Paint) -> Self {
        Self { format, paint, out: Mutex::new(out) }
    }
}

impl<W: Write + Send> Report for Printer<W> {
    fn report(&self, event: &RunEvent) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed pipe must not stop the Gateways.
        let _ = match self.format {
            Format::Human => human(&mut *out, self.paint, event),
            Format::Json => json(&mut *out, event),
        }
        .and_then(|()| out.flush());
    }
}

fn json(out: &mut impl Write, event: &RunEvent) -> io::Result<()> {
    if let RunEvent::Statuses { statuses, gone, .. } = event {
        for status in statuses {
            writeln!(
                out,
                "{}",
                serde_json::json!({"event": "status", "object": status.object, "parts": status.parts})
            )?;
        }
        for object in gone {
            writeln!(out, "{}", serde_json::json!({"event": "status_gone", "object": object}))?;
        }
        return Ok(());
    }
    writeln!(out, "{}", serde_json::to_string(event)?)
}

fn human(out: &mut impl Write, paint: Paint, event: &RunEvent) -> io::Result<()> {
    let dim = |text: String| paint.paint(Style::Dim, text);
    let bold = |text: String| paint.paint(Style::Bold, text);
    match event {
        RunEvent::Started { version, xds, envoy, echo, files, objects } => {
            let with = match envoy {
                Some(version) => format!("with Envoy {version}"),
                None => format!("serves xDS on {}", xds.join(" and ")),
            };
            let read = format!("{} in {}", count(*objects, "object"), count(*files, "file"));
            writeln!(out, "{} {with}  {}", bold(format!("Postern {version}")), dim(format!("· {read}")))?;
            for server in echo {
                writeln!(out, "{}", dim(format!("  echo {}", server.replacen('=', " on ", 1))))?;
            }
            Ok(())
        }
        RunEvent::Changed { files, objects, resources, read_ms, translate_ms } => {
            let names = match files.as_slice() {
                [] => "something".to_owned(),
                [one] => one.clone(),
                [one, rest @ ..] => format!("{one} and {}", count(rest.len(), "other")),
            };
            let sent = if *resources == 0 {
                "nothing to send".to_owned()
            } else {
                format!("{} sent", count(*resources, "resource"))
            };
            let detail = format!(
                "· {}, {sent} · read {read_ms:.1} ms, translate {translate_ms:.1} ms",
                count(*objects, "object")
            );
            writeln!(out, "\n{} {names} {}", paint.paint(Style::Bold, "changed"), dim(detail))
        }
        RunEvent::Statuses { statuses, gone, explained, first } => {
            table(out, paint, statuses, explained, *first)?;
            for object in gone {
                writeln!(out, "  {} {object} {}", paint.paint(Style::Dim, "-"), dim("removed".to_owned()))?;
            }
            Ok(())
        }
        RunEvent::Found(finding) | RunEvent::Mended(finding) if finding.level == Level::Note => Ok(()),
        RunEvent::Found(finding) => diagnostic(out, paint, finding),
        RunEvent::Mended(finding) => {
            let subject = subject(finding);
            let what = match (&finding.location, subject.is_empty()) {
                (Some(location), true) => location.file.display().to_string(),
                _ => subject,
            };
            writeln!(out, "{} {what}", paint.paint(Style::Good, "mended"))
        }
        RunEvent::Serving { gateway, listener, url, hostname } => {
            let host = hostname.as_ref().map(|host| format!("for {host}")).unwrap_or_default();
            let detail = dim(format!("{gateway} {listener} {host}").trim_end().to_owned());
            writeln!(out, "{} {url}  {detail}", paint.paint(Style::Good, "serving"))
        }
        RunEvent::PortInUse { gateway, blocked } => {
            let by = match &blocked.by {
                Obstacle::Gateway(other) => format!("Gateway {other} has it"),
                Obstacle::System(words) => words.clone(),
            };
            let what = format!(
                "Gateway {gateway}, listener {}: cannot listen on {}: {by}",
                blocked.listener, blocked.socket.address
            );
            trouble(
                out,
                paint,
                "held back",
                &what,
                &[&blocked.remedy, "it is tried again every second; all else serves"],
            )
        }
        RunEvent::Rejected { gateway, resource_type, names, error, remedy } => {
            let what = format!("Gateway {gateway}: Envoy refused {resource_type} {}", names.join(", "));
            trouble(
                out,
                paint,
                "rejected",
                &what,
                &[error, "what it had before under these names keeps serving", remedy],
            )
        }
        RunEvent::EnvoyDied { gateway, status, last_lines, restart_in_ms } => {
            let wait = seconds(Duration::from_millis(*restart_in_ms));
            let what = format!("Gateway {gateway}: Envoy ended ({status}); it is started again in {wait}");
            let lines: Vec<&str> = last_lines.iter().map(String::as_str).collect();
            trouble(out, paint, "died", &what, &lines)
        }
        RunEvent::EnvoyLog { gateway, level, component, text }
            if *level != "warning" && component != "config" =>
        {
            writeln!(
                out,
                "{} Gateway {gateway}: [{component}] {text}",
                paint.paint(Style::Warn, format!("envoy {level}"))
            )
        }
        RunEvent::Connected { node, peer, known: true } if peer.is_some() => {
            writeln!(
                out,
                "{} {node}  {}",
                paint.paint(Style::Good, "connected"),
                dim(peer.clone().unwrap_or_default())
            )
        }
        RunEvent::Connected { node, known: false, .. } => {
            let what = format!("an Envoy calls itself {node:?}, which is no Gateway that is served here");
            trouble(
                out,
                paint,
                "waiting",
                &what,
                &[
                    "its node id must be NAMESPACE/NAME of a Gateway; it gets its configuration once there is one",
                ],
            )
        }
        RunEvent::GatewayRemoved { gateway } => {
            writeln!(out, "{} Gateway {gateway}", paint.paint(Style::Dim, "removed"))
        }
        RunEvent::Bug { message } => trouble(
            out,
            paint,
            "bug",
            &format!("Postern failed on this input: {message}"),
            &["what was good before keeps serving; please report it with the files"],
        ),
        RunEvent::Stopping { envoys: envoys @ 1.. } => {
            writeln!(
                out,
                "\n{}",
                dim(format!("stopping, {} to drain (again to stop at once)", count(*envoys, "Envoy")))
            )
        }
        RunEvent::Stopped => writeln!(out, "{}", dim("stopped".to_owned())),
        RunEvent::EnvoyLog { .. }
        | RunEvent::Stopping { .. }
        | RunEvent::EnvoyStarted { .. }
        | RunEvent::Ready { .. }
        | RunEvent::Connected { .. }
        | RunEvent::Disconnected { .. } => Ok(()),
    }
}

fn trouble(out: &mut impl Write, paint: Paint, word: &str, what: &str, more: &[&str]) -> io::Result<()> {
    writeln!(out, "{} {what}", paint.paint(Style::Bad, word))?;
    for line in more.iter().filter(|line| !line.is_empty()) {
        writeln!(out, "  {}", paint.paint(Style::Dim, line))?;
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{} s", duration.as_secs())
    }
}

/// Prints `finding` as compilers do: place first, so that terminals and editors can jump to it.
pub fn diagnostic(out: &mut impl Write, paint: Paint, finding: &Diagnostic) -> io::Result<()> {
    let style = match finding.level {
        Level::Error => Style::Bad,
        Level::Warning => Style::Warn,
        Level::Note => Style::Dim,
    };
    if let Some(location) = &finding.location {
        write!(out, "{}: ", paint.paint(Style::Bold, location))?;
    }
    writeln!(out, "{}: {}", paint.paint(style, finding.level.as_str()), finding.message)?;
    let subject = subject(finding);
    if !subject.is_empty() {
        writeln!(out, "  {}", paint.paint(Style::Dim, subject))?;
    }
    if !finding.remedy.is_empty() {
        writeln!(out, "  {} {}", paint.paint(Style::Good, "→"), finding.remedy)?;
    }
    Ok(())
}

fn subject(finding: &Diagnostic) -> String {
    let object = finding.object.as_deref().unwrap_or_default();
    let parts = [object, &finding.field].into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" · ")
}

/// Prints the statuses. The message of a condition is left out where a finding explains it.
fn table(
    out: &mut impl Write,
    paint: Paint,
    statuses: &[Verdict],
    explained: &BTreeSet<String>,
    first: bool,
) -> io::Result<()> {
    if first && !statuses.is_empty() {
        writeln!(out)?;
    }
    let brief = statuses.len() > MAX_ROWS;
    let rows: Vec<&Verdict> = statuses.iter().filter(|s| !brief || !s.is_fine()).take(MAX_ROWS).collect();
    let width = rows.iter().map(|row| row.object.len()).max().unwrap_or_default();
    for row in &rows {
        let (mark, style) = if row.is_fine() { ("✓", Style::Good) } else { ("✗", Style::Bad) };
        let merits = paint.paint(Style::Dim, row.merits().join(", "));
        writeln!(out, "  {} {:<width$}  {merits}", paint.paint(style, mark), row.object)?;
        for (part, condition) in row.troubles() {
            let place = if part.name.is_empty() { String::new() } else { format!("{}: ", part.name) };
            let what = format!("{}={} {}", condition.type_, condition.status.as_str(), condition.reason);
            let message = if explained.contains(&row.object) { "" } else { condition.message.as_str() };
            let line = format!("    {place}{}  {message}", paint.paint(Style::Warn, what));
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    if brief {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for row in statuses.iter().filter(|row| row.is_fine()) {
            *kinds.entry(row.object.split(' ').next().unwrap_or_default()).or_default() += 1;
        }
        let fine: Vec<String> = kinds.iter().map(|(kind, number)| format!("{number} {kind}")).collect();
        writeln!(out, "  {} {}", paint.paint(Style::Good, "✓"), fine.join(", "))?;
        let bad = statuses.iter().filter(|row| !row.is_fine()).count();
        if bad > MAX_ROWS {
            writeln!(out, "  {} and {} more", paint.paint(Style::Bad, "✗"), bad - MAX_ROWS)?;
        }
    }
    if first && !statuses.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}
