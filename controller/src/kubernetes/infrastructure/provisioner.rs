//! The task that keeps the objects of all Gateways what they shall be.

mod backoff;
mod gateways;
mod task;

use std::sync::Arc;

use kube::Client;
use postern_translator::{Infrastructure, NamespacedName};
use tokio::sync::{mpsc, watch};

pub use self::task::ProvisionerTask;
use super::options::RenderOptions;

/// How a [`Provisioner`] works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionOptions {
    /// What the objects say.
    pub render: RenderOptions,
    /// The namespaces to watch and to sweep; empty means all.
    pub namespaces: Vec<String>,
    /// How many Gateways are worked on at the same time, at least 1.
    pub concurrency: usize,
}

/// What became of the objects of a Gateway, told when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvisionReport {
    /// They are what they shall be.
    Provisioned {
        /// The Gateway.
        gateway: NamespacedName,
        /// Its uid.
        uid: String,
        /// What was done, as in "created Deployment"; empty if nothing had to be.
        changes: Vec<String>,
    },
    /// Some are not. It is tried again.
    Failed {
        /// The Gateway.
        gateway: NamespacedName,
        /// Its uid.
        uid: String,
        /// What is in the way and what helps.
        message: String,
    },
}

#[derive(Debug)]
enum Command {
    Set(NamespacedName, Option<Arc<Infrastructure>>),
    Complete,
}

/// Says what the objects of Gateways shall be. Cheap to clone; the task ends with the last one.
#[derive(Clone, Debug)]
pub struct Provisioner(mpsc::UnboundedSender<Command>);

impl Provisioner {
    /// The handle, the task to run, and what it reports. `ca_bundle` are the certificates (PEM) by which proxies know the
    /// control plane; nothing is made while it is empty. The task writes only while `leader` is true.
    pub fn new(
        client: Client,
        options: ProvisionOptions,
        ca_bundle: watch::Receiver<String>,
        leader: watch::Receiver<bool>,
    ) -> (Self, ProvisionerTask, mpsc::UnboundedReceiver<ProvisionReport>) {
        let (sender, commands) = mpsc::unbounded_channel();
        let (reports, receiver) = mpsc::unbounded_channel();
        let task = ProvisionerTask::new(client, options, commands, ca_bundle, leader, reports);
        (Self(sender), task, receiver)
    }

    /// Sets what a Gateway needs; `None` if it is gone or not Postern's. A Gateway that is gone takes its objects along (the
    /// garbage collector sees to it); those of one that went to another class are deleted.
    pub fn set(&self, gateway: NamespacedName, infrastructure: Option<Arc<Infrastructure>>) {
        // There is no task while the process ends.
        let _ = self.0.send(Command::Set(gateway, infrastructure));
    }

    /// Says that every Gateway was told. Only then is it known what is left of others, and deleted.
    pub fn complete(&self) {
        let _ = self.0.send(Command::Complete);
    }
}
