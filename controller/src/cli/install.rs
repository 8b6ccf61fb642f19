//! `postern install`.

mod apply;
mod manifests;
mod rollout;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::GroupVersion;
use kube::{Api, Client, discovery};
use serde_json::Value;

use self::apply::{Applier, Outcome};
use self::manifests::{Changes, Overlay, crds, summary, title, to_yaml};
use super::cluster::{ClusterArgs, explain};
use super::commands::runtime;
use crate::terminal::{Paint, Style, count};

/// The version of the Gateway API that is tested.
const GATEWAY_API: &str = "v1.7.0";

/// Options of `install`.
#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    /// How to install.
    #[arg(long, value_name = "NAME", default_value = "default")]
    overlay: Overlay,

    /// Print what would be applied, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// The namespace to install into.
    #[arg(short = 'n', long, value_name = "NAMESPACE", default_value = manifests::NAMESPACE)]
    namespace: String,

    /// The image of the controller, from your own registry.
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,

    /// Leave the CustomResourceDefinitions of the extension kinds alone.
    #[arg(long)]
    skip_crds: bool,

    /// Take over fields that another tool has set.
    #[arg(long)]
    force_conflicts: bool,

    /// Do not wait until the controller is ready.
    #[arg(long)]
    no_wait: bool,

    /// How long to wait, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,

    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) fn install(args: InstallArgs) -> anyhow::Result<ExitCode> {
    let changes = Changes {
        namespace: (args.namespace != manifests::NAMESPACE).then(|| args.namespace.clone()),
        image: args.image.clone(),
    };
    let definitions = if args.skip_crds { Vec::new() } else { crds()? };
    let objects = args.overlay.objects(&changes)?;
    if args.dry_run {
        let text = to_yaml(&definitions)? + &to_yaml(&objects)?;
        io::stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    runtime()?.block_on(run(args, definitions, objects))
}

async fn run(args: InstallArgs, definitions: Vec<Value>, objects: Vec<Value>) -> anyhow::Result<ExitCode> {
    let paint = Paint::stdout();
    let cluster = args.cluster.connect().await?;
    gateway_api(&cluster.client, paint).await?;
    let mut applier = Applier::new(cluster.client.clone(), args.force_conflicts);
    for object in definitions.iter().chain(&objects) {
        let outcome = applier.apply(object).await?;
        let style = if outcome == Outcome::Unchanged { Style::Dim } else { Style::Good };
        println!("{}  {}", title(object), paint.paint(style, outcome.as_str()));
    }
    for definition in &definitions {
        applier.established(definition).await?;
    }
    let deployments: Vec<&str> = objects
        .iter()
        .filter(|object| object.get("kind").and_then(Value::as_str) == Some("Deployment"))
        .filter_map(|object| object.pointer("/metadata/name").and_then(Value::as_str))
        .collect();
    if args.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    for name in deployments {
        let patience = Duration::from_secs(args.timeout);
        rollout::wait(&cluster.client, &args.namespace, name, patience, |progress| {
            println!(
                "waiting for Deployment {}/{name}: {} of {} ready",
                args.namespace, progress.ready, progress.wanted
            );
        })
        .await?;
    }
    let number: usize = summary(&objects).values().sum::<usize>() + definitions.len();
    let words = format!("Postern {} is installed", env!("CARGO_PKG_VERSION"));
    println!(
        "{} ({}); `postern status -A` shows what it serves",
        paint.paint(Style::Good, words),
        count(number, "object")
    );
    Ok(ExitCode::SUCCESS)
}

/// Looks whether the Gateway API is there, before anything is changed.
async fn gateway_api(client: &Client, paint: Paint) -> anyhow::Result<()> {
    let group = GroupVersion::gv(postern_api::gateway_api::GATEWAY_GROUP, "v1");
    let served = match discovery::pinned_group(client, &group).await {
        Ok(served) => Some(served),
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(error) => return Err(anyhow!("{}", explain(&error))),
    };
    if served.is_none_or(|served| served.recommended_kind("Gateway").is_none()) {
        return Err(anyhow!(
            "the Gateway API is not installed in this cluster, and nothing was changed; install it first:\n  {}",
            gateway_api_command()
        ));
    }
    // Who may not read it has no need to know.
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    if let Ok(Some(crd)) = crds.get_metadata_opt("gatewayclasses.gateway.networking.k8s.io").await {
        let annotations = crd.metadata.annotations.unwrap_or_default();
        let version = annotations.get("gateway.networking.k8s.io/bundle-version").map(String::as_str);
        if let Some(version) = version.filter(|version| minor(version) != minor(GATEWAY_API)) {
            let word = paint.paint(Style::Warn, "warning");
            println!(
                "{word}: the Gateway API of this cluster is {version}; Postern is made for {GATEWAY_API}"
            );
        }
    }
    Ok(())
}

/// Installs the Gateway API.
fn gateway_api_command() -> String {
    format!(
        "kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/download/{GATEWAY_API}/standard-install.yaml"
    )
}

/// `v1.7` of `v1.7.0`.
fn minor(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}
