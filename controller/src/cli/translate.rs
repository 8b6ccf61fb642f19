//! `postern translate`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::bail;
use postern_translator::{NamespacedName, ObjectKey, Status, Translator};
use serde::Serialize;

use super::{Form, TranslateArgs};
use crate::config::GatewayConfig;
use crate::diagnostic::Level;
use crate::engine;
use crate::run::diagnostic;
use crate::source::Source;
use crate::terminal::{Format, Paint};

/// The output for one Gateway.
#[derive(Serialize)]
struct Configured {
    gateway: String,
    resources: GatewayConfig,
}

/// One object and its status.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Judged<'a> {
    api_version: String,
    kind: &'static str,
    metadata: Metadata<'a>,
    status: &'a Status,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    name: &'a str,
}

pub(super) fn translate(args: &TranslateArgs, format: Format) -> anyhow::Result<ExitCode> {
    let (source, changes) = Source::read(args.paths.iter().cloned())?;
    let mut translator = Translator::new(engine::options(args.listen_address));
    for change in changes {
        translator.apply(change);
    }
    translator.translate();

    let gateways = gateways(&translator, args.gateway.as_ref())?;
    let form = if format == Format::Json { Form::Json } else { args.form };
    let mut out = io::stdout().lock();
    if args.status {
        let all = translator.statuses();
        let statuses: BTreeMap<&ObjectKey, &Status> = all.iter().collect();
        let judged: Vec<_> = statuses
            .into_iter()
            .map(|(key, status)| Judged {
                api_version: key.kind.api_version(),
                kind: key.kind.as_str(),
                metadata: Metadata { namespace: &key.namespace, name: &key.name },
                status,
            })
            .collect();
        print(&mut out, form, &judged)?;
    } else {
        let mut configured = Vec::new();
        for gateway in gateways {
            let resources = GatewayConfig::of(&translator, &gateway)?;
            configured.push(Configured { gateway: gateway.to_string(), resources });
        }
        print(&mut out, form, &configured)?;
    }

    // What is wrong goes to standard error, so that the output can be piped on.
    let mut complaints = io::stderr().lock();
    for finding in
        engine::diagnostics(&source, &translator).iter().filter(|finding| finding.level == Level::Error)
    {
        diagnostic(&mut complaints, Paint::stderr(), finding)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn gateways(translator: &Translator, wanted: Option<&NamespacedName>) -> anyhow::Result<Vec<NamespacedName>> {
    let mut all: Vec<NamespacedName> = translator.gateways().cloned().collect();
    all.sort();
    let Some(wanted) = wanted else { return Ok(all) };
    if !all.contains(wanted) {
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        bail!("there is no Gateway {wanted} of the class of this controller; there is: {there}");
    }
    Ok(vec![wanted.clone()])
}

/// Prints `items`: as YAML one document each, as JSON one list.
fn print(out: &mut impl Write, form: Form, items: &[impl Serialize]) -> anyhow::Result<()> {
    match form {
        Form::Yaml => {
            for item in items {
                write!(out, "---\n{}", serde_yaml::to_string(&serde_json::to_value(item)?)?)?;
            }
        }
        Form::Json => writeln!(out, "{}", serde_json::to_string_pretty(&serde_json::to_value(items)?)?)?,
    }
    Ok(())
}
