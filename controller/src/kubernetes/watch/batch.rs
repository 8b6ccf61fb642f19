//! One bounded channel: what is ready together goes out together.

use std::collections::VecDeque;

use postern_translator::Change;
use tokio::sync::mpsc;

use super::WatchEvent;

/// How many events may wait between the feeds and the batches; more, and the feeds wait.
const WAITING: usize = 256;

/// How many changes are collected while the receiver is busy; more, and the feeds wait.
const COLLECTED: usize = 4096;

/// The receiver is gone, and with it the reason to go on.
#[derive(Debug)]
pub(super) struct Closed;

#[derive(Debug)]
enum Report {
    Change(Change),
    Event(WatchEvent),
    Settled,
}

/// Where the feeds put what they have; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Outlet(mpsc::Sender<Report>);

/// The other end of all outlets.
#[derive(Debug)]
pub(super) struct Batches {
    reports: mpsc::Receiver<Report>,
    events: mpsc::Sender<WatchEvent>,
    /// How many feeds have not been listed for the first time.
    unsettled: usize,
    queue: VecDeque<WatchEvent>,
    changes: usize,
}

impl Outlet {
    /// A change of an object.
    pub(super) async fn change(&self, change: Change) -> Result<(), Closed> {
        self.0.send(Report::Change(change)).await.map_err(|_| Closed)
    }

    /// Anything else.
    pub(super) async fn event(&self, event: WatchEvent) -> Result<(), Closed> {
        self.0.send(Report::Event(event)).await.map_err(|_| Closed)
    }

    /// A feed has told everything that was there when it began. Each one says this once.
    pub(super) async fn settled(&self) -> Result<(), Closed> {
        self.0.send(Report::Settled).await.map_err(|_| Closed)
    }
}

impl Batches {
    /// Sends to `events`, with [`WatchEvent::Synced`] after `feeds` feeds have settled.
    pub(super) fn new(events: mpsc::Sender<WatchEvent>, feeds: usize) -> (Outlet, Self) {
        let (sender, reports) = mpsc::channel(WAITING);
        (Outlet(sender), Self { reports, events, unsettled: feeds, queue: VecDeque::new(), changes: 0 })
    }

    /// Runs until the receiver or all feeds are gone.
    pub(super) async fn run(mut self) -> Result<(), Closed> {
        loop {
            let report = tokio::select! {
                biased;
                permit = self.events.reserve(), if !self.queue.is_empty() => {
                    let permit = permit.map_err(|_| Closed)?;
                    if let Some(event) = self.queue.pop_front() {
                        if let WatchEvent::Changes(changes) = &event {
                            self.changes -= changes.len();
                        }
                        permit.send(event);
                    }
                    continue;
                }
                report = self.reports.recv(), if self.changes < COLLECTED => report.ok_or(Closed)?,
                () = self.events.closed() => return Err(Closed),
            };
            self.push(report);
            while self.changes < COLLECTED
                && let Ok(report) = self.reports.try_recv()
            {
                self.push(report);
            }
        }
    }

    fn push(&mut self, report: Report) {
        match report {
            Report::Change(change) => {
                self.changes += 1;
                if let Some(WatchEvent::Changes(changes)) = self.queue.back_mut() {
                    changes.push(change);
                } else {
                    self.queue.push_back(WatchEvent::Changes(vec![change]));
                }
            }
            Report::Event(event) => self.queue.push_back(event),
            Report::Settled => {
                self.unsettled = self.unsettled.saturating_sub(1);
                if self.unsettled == 0 {
                    self.queue.push_back(WatchEvent::Synced);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_translator::{Kind, ObjectKey};

    use super::*;

    fn change(name: &str) -> Change {
        Change::Delete(ObjectKey::new(Kind::Service, "a", name))
    }

    fn summary(event: &WatchEvent) -> String {
        match event {
            WatchEvent::Changes(changes) => format!("{} changes", changes.len()),
            WatchEvent::Synced => "synced".into(),
            WatchEvent::ReferencesReady { generation } => format!("ready {generation}"),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_ready_goes_out_together_and_in_order() {
        let (events, mut received) = mpsc::channel(8);
        let (outlet, batches) = Batches::new(events, 2);
        outlet.change(change("1")).await.unwrap();
        outlet.change(change("2")).await.unwrap();
        outlet.settled().await.unwrap();
        outlet.change(change("3")).await.unwrap();
        outlet.event(WatchEvent::ReferencesReady { generation: 1 }).await.unwrap();
        outlet.change(change("4")).await.unwrap();
        outlet.settled().await.unwrap();
        outlet.change(change("5")).await.unwrap();
        tokio::spawn(batches.run());
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(summary(&received.recv().await.unwrap()));
        }
        assert_eq!(seen, ["3 changes", "ready 1", "1 changes", "synced", "1 changes"]);
    }

    #[tokio::test]
    async fn a_slow_receiver_gets_larger_batches_and_stops_the_feeds() {
        let (events, mut received) = mpsc::channel(1);
        let (outlet, batches) = Batches::new(events, 0);
        tokio::spawn(batches.run());
        let sender = tokio::spawn(async move {
            for _ in 0..100_000 {
                outlet.change(change("x")).await.unwrap();
            }
        });
        let mut total = 0;
        let mut batches = 0;
        while total < 100_000 {
            let Some(WatchEvent::Changes(changes)) = received.recv().await else { panic!("only changes") };
            assert!(changes.len() <= COLLECTED);
            total += changes.len();
            batches += 1;
            tokio::task::yield_now().await;
        }
        assert_eq!(total, 100_000);
        assert!(batches < 50_000, "{batches}");
        sender.await.unwrap();
    }

    #[tokio::test]
    async fn ends_with_the_receiver() {
        let (events, received) = mpsc::channel(1);
        let (outlet, batches) = Batches::new(events, 1);
        drop(received);
        batches.run().await.unwrap_err();
        outlet.settled().await.unwrap_err();
    }
}
