//! `postern proxy`: what a proxy has, and what runs inside of its pod.

mod diff;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use postern_xds::ResourceType;
use serde_json::Value;

use super::cluster::{Cluster, ClusterArgs, View, explain};
use super::commands::runtime;
use super::proxy_drain::{DrainArgs, InstallBinaryArgs};
use super::status::{GATEWAY_LABEL, controller_pods, document, is_ready};
use crate::bootstrap::ADMIN_PORT;
use crate::inspect::compare::compare;
use crate::inspect::document::Config;
use crate::inspect::dump::{self, Dump};
use crate::kubernetes::forward;
use crate::terminal::{Format, Paint};

/// What to do with a proxy.
#[derive(Debug, Subcommand)]
pub(super) enum ProxyCommand {
    /// Show what the proxies of a Gateway have, or where that differs from what they should have.
    ///
    /// Reads the admin interface of the Envoy in a pod and, for `diff`, the debug documents of the controller, both
    /// through port-forwards. The exit code of `diff` is 0 if nothing differs, 1 if something does, and 2 if it could
    /// not be found out.
    Config(ConfigArgs),
    /// Take the proxy beside this program out of service, and return when it may be stopped.
    #[command(hide = true)]
    Drain(DrainArgs),
    /// Copy this program into a directory.
    #[command(hide = true)]
    InstallBinary(InstallBinaryArgs),
}

/// Options of `proxy config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The Gateway.
    #[arg(value_name = "[NAMESPACE/]GATEWAY")]
    gateway: String,

    /// What to show.
    #[arg(value_name = "WHAT", default_value = "all")]
    what: What,

    /// The pod to ask. Default: the first one that is ready; for `diff`, all.
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,

    /// The namespace of the Gateway. Default: that of the context.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// The form of the output.
    #[arg(short = 'o', long = "format", value_name = "FORM", default_value = "table")]
    view: View,

    /// Show the values that differ, too.
    #[arg(short = 'v', long)]
    verbose: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What to show of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Addresses, stages and versions.
    Listeners,
    /// Every route: its host, what it matches and where it leads.
    Routes,
    /// Backends, and how they are spoken to.
    Clusters,
    /// The addresses behind the clusters.
    Endpoints,
    /// Certificates, without their keys.
    Secrets,
    /// All of it.
    All,
    /// What differs from what the controller wants.
    Diff,
}

impl What {
    fn types(self) -> &'static [ResourceType] {
        use ResourceType as T;
        match self {
            Self::Listeners => &[T::Listener],
            Self::Routes => &[T::ScopedRouteConfiguration, T::RouteConfiguration],
            Self::Clusters => &[T::Cluster],
            Self::Endpoints => &[T::ClusterLoadAssignment],
            Self::Secrets => &[T::Secret],
            Self::All | Self::Diff => &[
                T::Listener,
                T::ScopedRouteConfiguration,
                T::RouteConfiguration,
                T::Cluster,
                T::ClusterLoadAssignment,
                T::Secret,
            ],
        }
    }
}

pub(super) fn config(args: ConfigArgs, format: Format) -> anyhow::Result<ExitCode> {
    let view = if format == Format::Json { View::Json } else { args.view };
    runtime()?.block_on(async {
        let Cluster { client, namespace } = args.cluster.connect().await?;
        let (namespace, name) = match args.gateway.split_once('/') {
            Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
            None => (args.namespace.unwrap_or(namespace), args.gateway),
        };
        let pods = pods(&client, &namespace, &name, args.pod.as_deref()).await?;
        let api = Api::<Pod>::namespaced(client.clone(), &namespace);
        if args.what == What::Diff {
            let wanted = wanted(&client, &args.cluster.controller_namespace, &namespace, &name).await?;
            let dumps = join_all(pods.iter().map(|pod| dump_of(&api, pod))).await;
            let mut found = Vec::new();
            for (pod, dump) in pods.into_iter().zip(dumps) {
                found.push((pod, compare(&wanted, &dump?)));
            }
            let same = found.iter().all(|(_, differences)| differences.is_empty());
            write(&diff::render(&found, &wanted, view, args.verbose, Paint::stdout())?)?;
            return Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let pod = pods.first().context("there is no proxy to ask")?;
        let dump = dump_of(&api, pod).await?;
        write(&show(&dump, args.what, view, Paint::stdout())?)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The names of the pods to ask, those that are ready first.
async fn pods(
    client: &Client,
    namespace: &str,
    gateway: &str,
    wanted: Option<&str>,
) -> anyhow::Result<Vec<String>> {
    if let Some(pod) = wanted {
        return Ok(vec![pod.to_owned()]);
    }
    let labels = format!("{GATEWAY_LABEL}={gateway},app.kubernetes.io/component=proxy");
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let listed = api.list(&ListParams::default().labels(&labels)).await;
    let mut pods = listed.map_err(|error| anyhow!("cannot list pods: {}", explain(&error)))?.items;
    pods.retain(|pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
    });
    pods.sort_by_key(|pod| (!is_ready(pod), pod.metadata.name.clone()));
    if pods.is_empty() {
        return Err(anyhow!(
            "the Gateway {namespace}/{gateway} has no running pods; `postern status {namespace}/{gateway}` says more"
        ));
    }
    Ok(pods.into_iter().filter_map(|pod| pod.metadata.name).collect())
}

async fn dump_of(pods: &Api<Pod>, pod: &str) -> anyhow::Result<Dump> {
    let text = forward::get(pods, pod, ADMIN_PORT, dump::PATH).await;
    let text = text.with_context(|| format!("cannot ask the pod {pod}"))?;
    Dump::parse(&text).with_context(|| format!("cannot understand the pod {pod}"))
}

/// What the controller wants the proxies of a Gateway to have: the word of any replica, since all want the same.
async fn wanted(
    client: &Client,
    controller_namespace: &str,
    namespace: &str,
    gateway: &str,
) -> anyhow::Result<Config> {
    let (api, mut pods) = controller_pods(client, controller_namespace)
        .await
        .map_err(|error| anyhow!("cannot find the controller: {}", explain(&error)))?;
    pods.sort_by_key(|pod| (!is_ready(pod), pod.metadata.name.clone()));
    let path = format!("/debug/gateways/{namespace}/{gateway}/config");
    let mut last = anyhow!(
        "there is no controller in the namespace {controller_namespace}; --controller-namespace says where it is"
    );
    for name in pods.into_iter().filter_map(|pod| pod.metadata.name) {
        match document(&api, &name, &path).await {
            Ok(config) => return Ok(config),
            Err(error) => {
                last = anyhow::Error::new(error).context(format!("cannot ask the controller {name}"));
            }
        }
    }
    Err(last)
}

fn show(dump: &Dump, what: What, view: View, paint: Paint) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(dump)?;
    if let Value::Object(types) = &mut value {
        let wanted: Vec<&str> = what.types().iter().map(|t| dump::label(*t)).collect();
        types.retain(|name, _| wanted.contains(&name.as_str()));
    }
    Ok(match view {
        View::Table | View::Wide => tables::render(dump, what, view == View::Wide, paint, Timestamp::now()),
        View::Json => serde_json::to_string_pretty(&value)? + "\n",
        View::Yaml => serde_yaml::to_string(&value)?,
        View::Name => {
            let names = what.types().iter().flat_map(|t| dump.of_type(*t).map(|(name, _)| name));
            lines(names)
        }
    })
}

/// One line for each.
fn lines(items: impl Iterator<Item = impl Display>) -> String {
    items.fold(String::new(), |out, item| format!("{out}{item}\n"))
}

fn write(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}
