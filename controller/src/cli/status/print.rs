//! An overview as text.

use std::fmt::Write as _;

use jiff::Timestamp;
use postern_api::gateway_api::Condition;

use super::judge::short;
use super::model::{Gateway, Overview, Problem, Proxy, Severity};
use crate::cli::table::{Styled, Table, or_none};
use crate::terminal::{Paint, Style, count};
use crate::verdict::is_fine;

/// With more problems than this, only so many are printed, unless asked to be wide.
const MAX_PROBLEMS: usize = 30;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Colours.
    pub(crate) paint: Paint,
    /// More columns and lines.
    pub(crate) wide: bool,
    /// One Gateway in all detail.
    pub(crate) detail: bool,
    /// The present, to tell ages.
    pub(crate) now: Timestamp,
}

/// The text for people.
pub(crate) fn text(overview: &Overview, look: Look) -> String {
    let mut out = String::new();
    controllers(&mut out, overview, look);
    if look.detail {
        for gateway in &overview.gateways {
            detail(&mut out, gateway, look);
        }
    } else if !overview.gateways.is_empty() {
        out.push_str(&table(&overview.gateways, look));
    }
    problems(&mut out, &overview.problems, look);
    if !overview.notes.is_empty() && !out.is_empty() {
        out.push('\n');
    }
    for note in &overview.notes {
        line(&mut out, look.paint.paint(Style::Dim, note));
    }
    out
}

/// One name a line, as `kubectl get` takes them.
pub(crate) fn names(overview: &Overview) -> String {
    let line = |gateway: &Gateway| format!("gateway.gateway.networking.k8s.io/{}\n", gateway.name);
    overview.gateways.iter().map(line).collect()
}

fn controllers(out: &mut String, overview: &Overview, look: Look) {
    if overview.controllers.is_empty() {
        return;
    }
    let words = overview.controllers.iter().map(|controller| {
        let state = match &controller.replica {
            Some(replica) if replica.leader => " leads",
            Some(_) => " follows",
            None if controller.ready => " is ready",
            None => " is not ready",
        };
        let style = if controller.ready { Style::Plain } else { Style::Bad };
        look.paint.paint(style, format!("{}{state}", controller.pod)).to_string()
    });
    let words: Vec<String> = words.collect();
    let version = overview.controllers.iter().find_map(|c| c.replica.as_ref()).map(|r| r.version.as_str());
    let version = version.map(|version| format!(" {version}")).unwrap_or_default();
    line(
        out,
        format!("{}  {}\n", look.paint.paint(Style::Bold, format!("Postern{version}")), words.join(", ")),
    );
}

fn table(gateways: &[Gateway], look: Look) -> String {
    let mut headers =
        vec!["NAMESPACE", "NAME", "CLASS", "ADDRESS", "PROGRAMMED", "LISTENERS", "ROUTES", "PROXIES", "AGE"];
    if look.wide {
        headers.extend(["POLICIES", "PORTS", "ACCEPTED"]);
    }
    let mut table = Table::new(look.paint, &headers);
    for gateway in gateways {
        let mut row = vec![
            gateway.namespace.as_str().into(),
            gateway.name.as_str().into(),
            gateway.class.as_str().into(),
            or_none(addresses(gateway)),
            state(&gateway.conditions, "Programmed"),
            share(gateway.listeners.iter().map(|listener| holds(&listener.conditions, "Programmed"))),
            share(gateway.routes.iter().map(|route| holds(&route.conditions, "Accepted"))),
            proxies(gateway),
            age(&gateway.created, look.now).into(),
        ];
        if look.wide {
            let mut ports: Vec<u16> = gateway.listeners.iter().map(|listener| listener.port).collect();
            ports.sort_unstable();
            ports.dedup();
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            row.push(gateway.policies.len().to_string().into());
            row.push(or_none(ports.join(",")));
            row.push(state(&gateway.conditions, "Accepted"));
        }
        table.row(row);
    }
    table.render(0)
}

fn detail(out: &mut String, gateway: &Gateway, look: Look) {
    let paint = look.paint;
    let title = format!("Gateway {}/{}", gateway.namespace, gateway.name);
    line(out, paint.paint(Style::Bold, title));
    let mut facts = Table::new(paint, &[]);
    let mut fact = |name: &str, value: Styled| facts.row(vec![Styled::new(Style::Dim, name), value]);
    fact("class", gateway.class.as_str().into());
    fact("age", age(&gateway.created, look.now).into());
    fact("address", or_none(addresses(gateway)));
    for condition in &gateway.conditions {
        fact(&condition.type_, state(&gateway.conditions, &condition.type_));
    }
    out.push_str(&facts.render(2));

    if !gateway.listeners.is_empty() {
        let mut table = Table::new(paint, &["LISTENER", "PORT", "PROTOCOL", "HOSTNAME", "ROUTES", "STATUS"]);
        for listener in &gateway.listeners {
            let set = &listener.listener_set;
            let name = if set.is_empty() { String::new() } else { format!("{set}#") };
            table.row(vec![
                format!("{name}{}", listener.name).into(),
                listener.port.to_string().into(),
                listener.protocol.as_str().into(),
                any(&listener.hostname),
                listener.attached_routes.to_string().into(),
                verdict(&listener.conditions),
            ]);
        }
        section(out, table);
    }
    if !gateway.routes.is_empty() {
        let mut table = Table::new(paint, &["ROUTE", "HOSTNAMES", "LISTENER", "STATUS"]);
        for route in &gateway.routes {
            table.row(vec![
                format!("{} {}/{}", route.kind, route.namespace, route.name).into(),
                any(&several(&route.hostnames, look.wide)),
                any(&route.parent),
                verdict(&route.conditions),
            ]);
        }
        section(out, table);
    }
    if !gateway.policies.is_empty() {
        let mut table = Table::new(paint, &["POLICY", "TARGETS", "STATUS"]);
        for policy in &gateway.policies {
            table.row(vec![
                format!("{} {}/{}", policy.kind, policy.namespace, policy.name).into(),
                or_none(several(&policy.targets, look.wide)),
                attachment(&policy.conditions),
            ]);
        }
        section(out, table);
    }
    if let Some(proxies) = gateway.proxies.as_deref().filter(|proxies| !proxies.is_empty()) {
        section(out, proxy_table(proxies, paint));
    }
}

fn proxy_table(proxies: &[Proxy], paint: Paint) -> Table {
    let mut kinds: Vec<&str> =
        proxies.iter().flat_map(|p| p.acknowledged.keys()).map(String::as_str).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut headers = vec!["PROXY", "ADDRESS", "CONTROLLER", "STATUS"];
    headers.extend(&kinds);
    let mut table = Table::new(paint, &headers);
    for proxy in proxies {
        let mut row = vec![
            or_none(proxy.pod.clone().unwrap_or_default()),
            or_none(proxy.address.as_str()),
            or_none(proxy.controller.clone().unwrap_or_default()),
            proxy_state(proxy),
        ];
        row.extend(kinds.iter().map(|kind| match proxy.acknowledged.get(*kind) {
            Some(share) if share.have < share.want => Styled::new(Style::Warn, share.to_string()),
            Some(share) => share.to_string().into(),
            None => Styled::new(Style::Dim, "-"),
        }));
        table.row(row);
    }
    table
}

fn proxy_state(proxy: &Proxy) -> Styled {
    match (proxy.in_sync, proxy.ready) {
        _ if !proxy.rejections.is_empty() => {
            Styled::new(Style::Bad, format!("refused {}", count(proxy.rejections.len(), "resource")))
        }
        (_, Some(false)) => Styled::new(Style::Bad, "not ready"),
        (Some(true), _) => Styled::new(Style::Good, "in sync"),
        (Some(false), _) => Styled::new(Style::Warn, "behind"),
        (None, _) => Styled::new(Style::Dim, "unknown"),
    }
}

fn problems(out: &mut String, problems: &[Problem], look: Look) {
    if problems.is_empty() {
        return;
    }
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let (title, style) = match (errors, problems.len() - errors) {
        (0, warnings) => (count(warnings, "warning"), Style::Warn),
        (errors, 0) => (count(errors, "problem"), Style::Bad),
        (errors, warnings) => {
            (format!("{}, {}", count(errors, "problem"), count(warnings, "warning")), Style::Bad)
        }
    };
    line(out, format!("\n{}", look.paint.paint(style, title)));
    let shown = if look.wide { problems.len() } else { MAX_PROBLEMS };
    for problem in problems.iter().take(shown) {
        let style = match problem.severity {
            Severity::Error => Style::Bad,
            Severity::Warning => Style::Warn,
        };
        line(out, format!("  {}  {}", problem.object, look.paint.paint(style, &problem.what)));
        for text in problem.message.lines().filter(|text| !text.trim().is_empty()) {
            line(out, format!("    {}", look.paint.paint(Style::Dim, text.trim_end())));
        }
    }
    if problems.len() > shown {
        let more = format!("  and {} more: -o wide lists all", problems.len() - shown);
        line(out, look.paint.paint(Style::Dim, more));
    }
}

fn section(out: &mut String, table: Table) {
    out.push('\n');
    out.push_str(&table.render(2));
}

fn line(out: &mut String, text: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

fn addresses(gateway: &Gateway) -> String {
    let values: Vec<&str> = gateway.addresses.iter().map(|address| address.value.as_str()).collect();
    values.join(",")
}

fn holds(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.is_true())
}

/// `True`, or `False Pending`.
fn state(conditions: &[Condition], type_: &str) -> Styled {
    let Some(condition) = conditions.iter().find(|condition| condition.type_ == type_) else {
        return Styled::new(Style::Warn, "Unknown");
    };
    let good = is_fine(condition);
    let style = if good { Style::Good } else { Style::Bad };
    let reason = if good { String::new() } else { format!(" {}", condition.reason) };
    Styled::new(style, format!("{}{reason}", condition.status).trim_end())
}

/// `ok`, or what is not.
fn verdict(conditions: &[Condition]) -> Styled {
    if conditions.is_empty() {
        return Styled::new(Style::Bad, "no status");
    }
    let bad: Vec<String> = conditions.iter().filter(|condition| !is_fine(condition)).map(short).collect();
    if bad.is_empty() { Styled::new(Style::Good, "ok") } else { Styled::new(Style::Bad, bad.join(", ")) }
}

/// The reason of `Attached`, where all else is well.
fn attachment(conditions: &[Condition]) -> Styled {
    let attached = conditions.iter().find(|condition| condition.type_ == "Attached");
    let rest: Vec<&Condition> =
        conditions.iter().filter(|condition| condition.type_ != "Attached" && !is_fine(condition)).collect();
    match attached {
        Some(condition) if rest.is_empty() => {
            let style = match (condition.is_true(), condition.reason.as_str()) {
                (true, _) => Style::Good,
                (false, "Overridden") => Style::Warn,
                (false, _) => Style::Bad,
            };
            Styled::new(style, condition.reason.as_str())
        }
        _ => verdict(conditions),
    }
}

fn share(parts: impl Iterator<Item = bool>) -> Styled {
    let (mut have, mut want) = (0, 0);
    for part in parts {
        have += usize::from(part);
        want += 1;
    }
    let style = if have < want { Style::Bad } else { Style::Plain };
    Styled::new(style, if want == 0 { "0".to_owned() } else { format!("{have}/{want}") })
}

fn proxies(gateway: &Gateway) -> Styled {
    match &gateway.proxies {
        None => Styled::new(Style::Dim, "?"),
        Some(proxies) if proxies.is_empty() => Styled::new(Style::Bad, "0"),
        // Without the controller's word only the pods are known.
        Some(proxies) if proxies.iter().all(|proxy| proxy.in_sync.is_none()) => {
            share(proxies.iter().map(|proxy| proxy.ready == Some(true)))
        }
        Some(proxies) => {
            share(proxies.iter().map(|proxy| proxy.in_sync == Some(true) && proxy.ready != Some(false)))
        }
    }
}

fn any(text: &str) -> Styled {
    if text.is_empty() { Styled::new(Style::Dim, "*") } else { text.into() }
}

/// A list of a few, or of all.
fn several(items: &[String], all: bool) -> String {
    const FEW: usize = 3;
    if all || items.len() <= FEW {
        return items.join(",");
    }
    format!("{} + {} more", items[..FEW].join(","), items.len() - FEW)
}

/// How long ago, as `kubectl` writes it.
pub(crate) fn age(created: &str, now: Timestamp) -> String {
    let Ok(created) = created.parse::<Timestamp>() else { return "<unknown>".to_owned() };
    let seconds = now.duration_since(created).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        _ if days < 730 => format!("{days}d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_kubectl() {
        let now: Timestamp = "2026-03-10T12:00:00Z".parse().expect("a time");
        for (created, text) in [
            ("2026-03-10T11:59:15Z", "45s"),
            ("2026-03-10T11:57:30Z", "2m30s"),
            ("2026-03-10T11:15:00Z", "45m"),
            ("2026-03-10T07:30:00Z", "4h30m"),
            ("2026-03-09T12:00:00Z", "24h"),
            ("2026-03-06T10:00:00Z", "4d2h"),
            ("2026-02-10T10:00:00Z", "28d"),
            ("2023-02-10T10:00:00Z", "3y"),
            ("", "<unknown>"),
        ] {
            assert_eq!(age(created, now), text, "{created}");
        }
    }
}
