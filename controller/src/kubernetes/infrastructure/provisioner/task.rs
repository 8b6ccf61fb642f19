//! The loop: one attempt per Gateway at a time, a few Gateways at once.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use postern_translator::NamespacedName;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::super::apply::{Applier, Outcome};
use super::super::drift::{self, Heard};
use super::super::error::ProvisionError;
use super::super::objects::ObjectKind;
use super::super::sweep::sweep;
use super::gateways::Gateways;
use super::{Command, ProvisionOptions, ProvisionReport, backoff};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Work {
    /// Look after the objects of a Gateway.
    Gateway(NamespacedName),
    /// Delete what is left of others.
    Sweep,
}

enum Ended {
    Gateway(NamespacedName, Outcome),
    Swept(Result<Vec<(ObjectKind, NamespacedName)>, ProvisionError>),
}

/// Why leading ended.
enum End {
    /// Another one leads.
    Deposed,
    /// Nobody says any more what is wanted.
    Closed,
}

/// The task of a [`Provisioner`](super::Provisioner).
pub struct ProvisionerTask {
    client: Client,
    options: ProvisionOptions,
    commands: mpsc::UnboundedReceiver<Command>,
    ca_bundle: watch::Receiver<String>,
    leader: watch::Receiver<bool>,
    reports: mpsc::UnboundedSender<ProvisionReport>,
    gateways: Gateways,
    complete: bool,
}

impl ProvisionerTask {
    pub(super) fn new(
        client: Client,
        options: ProvisionOptions,
        commands: mpsc::UnboundedReceiver<Command>,
        ca_bundle: watch::Receiver<String>,
        leader: watch::Receiver<bool>,
        reports: mpsc::UnboundedSender<ProvisionReport>,
    ) -> Self {
        let gateways = Gateways::default();
        Self { client, options, commands, ca_bundle, leader, reports, gateways, complete: false }
    }

    /// Works until the last handle is gone.
    pub async fn run(mut self) {
        loop {
            while !*self.leader.borrow_and_update() {
                tokio::select! {
                    command = self.commands.recv() => match command {
                        Some(command) => drop(self.take(command)),
                        None => return,
                    },
                    changed = self.leader.changed() => if changed.is_err() { return },
                }
            }
            self.gateways.forget();
            match self.lead().await {
                End::Closed => return,
                End::Deposed => tracing::info!("another replica provisions from now on"),
            }
        }
    }

    /// Takes a command, and says what has to be done for it.
    fn take(&mut self, command: Command) -> Option<Work> {
        match command {
            Command::Set(gateway, infrastructure) => {
                self.gateways.set(gateway.clone(), infrastructure).then_some(Work::Gateway(gateway))
            }
            Command::Complete => {
                let first = !std::mem::replace(&mut self.complete, true);
                first.then_some(Work::Sweep)
            }
        }
    }

    async fn lead(&mut self) -> End {
        let (requests, receiver) = mpsc::unbounded_channel();
        let mut scheduler = pin!(scheduler(UnboundedReceiverStream::new(receiver)));
        let schedule = |work: Work, delay: Duration| {
            let request = ScheduleRequest { message: work, run_at: Instant::now() + delay };
            // The other end lives as long as this function.
            let _ = requests.send(request);
        };
        let mut heard = drift::watch(&self.client, &self.options.namespaces);
        let mut jobs: JoinSet<Ended> = JoinSet::new();
        let mut running: BTreeMap<Work, Running> = BTreeMap::new();
        let mut sweeps = 0;

        for gateway in self.gateways.wanted() {
            schedule(Work::Gateway(gateway.clone()), Duration::ZERO);
        }
        if self.complete {
            schedule(Work::Sweep, Duration::ZERO);
        }
        loop {
            let limit = self.options.concurrency.max(1);
            let due = |work: &Work| running.len() < limit && !running.contains_key(work);
            let mut hold = scheduler.as_mut().hold_unless(due);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => if let Some(work) = self.take(command) {
                        schedule(work, Duration::ZERO);
                    },
                    None => return End::Closed,
                },
                Some(work) = hold.next() => {
                    if let Some(id) = self.start(&work, &mut jobs) {
                        running.insert(work, Running { id, heard: Vec::new() });
                    }
                }
                Some(finished) = jobs.join_next_with_id() => {
                    let Some((work, late, finished)) = conclude(finished, &mut running) else { continue };
                    let retry = match finished {
                        Ended::Gateway(gateway, outcome) => self.finish(&gateway, outcome),
                        Ended::Swept(result) => {
                            sweeps = if result.is_err() { sweeps + 1 } else { 0 };
                            swept(&result);
                            result.is_err().then(|| backoff::after(sweeps))
                        }
                    };
                    if let Some(delay) = retry {
                        schedule(work, delay);
                    }
                    for heard in late {
                        self.hear(heard, &schedule);
                    }
                }
                Some(heard) = heard.next() => {
                    // What was heard during an attempt may be its own doing; when it is over, that can be told.
                    match heard.gateway().and_then(|it| running.get_mut(&Work::Gateway(it.clone()))) {
                        Some(running) => running.heard.push(heard),
                        None => self.hear(heard, &schedule),
                    }
                }
                Ok(()) = self.ca_bundle.changed() => for gateway in self.gateways.wanted() {
                    schedule(Work::Gateway(gateway.clone()), Duration::ZERO);
                },
                changed = self.leader.changed() => {
                    if changed.is_err() {
                        return End::Closed;
                    }
                    if !*self.leader.borrow() {
                        return End::Deposed;
                    }
                }
            }
        }
    }

    /// Starts an attempt, if there is something to attempt.
    fn start(&self, work: &Work, jobs: &mut JoinSet<Ended>) -> Option<Id> {
        let client = self.client.clone();
        let options = self.options.clone();
        let ca_bundle = self.ca_bundle.borrow().clone();
        let handle = match work {
            // Whoever sets it wakes us up.
            Work::Gateway(_) if ca_bundle.is_empty() => return None,
            Work::Gateway(gateway) => {
                let gateway = gateway.clone();
                let wanted = self.gateways.get(&gateway);
                jobs.spawn(async move {
                    let applier = Applier::new(client, gateway.clone());
                    match wanted {
                        Some((wanted, records)) => {
                            let outcome =
                                applier.provision(&wanted, &options.render, &ca_bundle, records).await;
                            Ended::Gateway(gateway, outcome)
                        }
                        None => {
                            let outcome = applier.release(&options.render.controller_name).await;
                            Ended::Gateway(gateway, outcome)
                        }
                    }
                })
            }
            Work::Sweep => {
                let known = self.gateways.uids();
                jobs.spawn(async move {
                    let name = &options.render.controller_name;
                    Ended::Swept(sweep(&client, &options.namespaces, name, &known).await)
                })
            }
        };
        Some(handle.id())
    }

    /// Takes an outcome, and says when to try again.
    fn finish(&mut self, gateway: &NamespacedName, outcome: Outcome) -> Option<Duration> {
        for (verb, kind) in &outcome.changes {
            tracing::debug!(object = %gateway, %kind, "{verb}");
        }
        for error in &outcome.errors {
            if error.is_passing() {
                tracing::debug!(object = %gateway, %error, "not provisioned yet");
            } else {
                tracing::warn!(object = %gateway, %error, "not provisioned");
            }
        }
        let verdict = self.gateways.finished(gateway, outcome, Instant::now());
        if let Some(report) = verdict.report {
            // Nobody has to listen.
            let _ = self.reports.send(report);
        }
        verdict.retry
    }

    fn hear(&self, heard: Heard, schedule: &impl Fn(Work, Duration)) {
        let now = Instant::now();
        match heard {
            Heard::Present(gateway, kind, metadata) => {
                if let Some(delay) = self.gateways.seen(&gateway, kind, &metadata, now) {
                    schedule(Work::Gateway(gateway), delay);
                }
            }
            Heard::Gone(gateway) => {
                if let Some(delay) = self.gateways.gone(&gateway, now) {
                    schedule(Work::Gateway(gateway), delay);
                }
            }
            Heard::Missed => {
                for gateway in self.gateways.wanted() {
                    schedule(Work::Gateway(gateway.clone()), Duration::ZERO);
                }
            }
        }
    }
}

/// An attempt under way.
struct Running {
    id: Id,
    /// What was heard of its objects meanwhile.
    heard: Vec<Heard>,
}

/// Takes an attempt off the list. One that panicked has failed.
fn conclude(
    finished: Result<(Id, Ended), JoinError>,
    running: &mut BTreeMap<Work, Running>,
) -> Option<(Work, Vec<Heard>, Ended)> {
    let id = match &finished {
        Ok((id, _)) => *id,
        Err(error) => error.id(),
    };
    let work = running.iter().find(|(_, it)| it.id == id)?.0.clone();
    let late = running.remove(&work)?.heard;
    let result = match finished {
        Ok((_, result)) => result,
        Err(error) => {
            let error = ProvisionError::Internal(error.to_string());
            match &work {
                Work::Gateway(gateway) => {
                    let outcome = Outcome { errors: vec![error], ..Outcome::default() };
                    Ended::Gateway(gateway.clone(), outcome)
                }
                Work::Sweep => Ended::Swept(Err(error)),
            }
        }
    };
    Some((work, late, result))
}

fn swept(result: &Result<Vec<(ObjectKind, NamespacedName)>, ProvisionError>) {
    match result {
        Ok(deleted) => {
            for (kind, object) in deleted {
                tracing::info!(%object, %kind, "deleted: its Gateway is gone or not ours any more");
            }
        }
        Err(error) => tracing::warn!(%error, "cannot look for what is left of former Gateways"),
    }
}
