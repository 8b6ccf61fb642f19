//! List and watch of one collection, over every kind of failure.
//!
//! A lost watch is taken up again at the version that was heard last; a version that the API server has forgotten, or that it
//! refuses again and again, leads to a new list. Whoever listens hears of each failed attempt, and of each sign of life.

mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::StreamExt;
use kube::Client;
use postern_translator::NamespacedName;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub(super) use self::wire::Source;
use self::wire::{Lines, Next, Said};
use super::Timing;
use super::decode::Item;
use super::failure::{Failure, Verb};

/// A watch that lasted this long was sound: when it ends, the next one follows at once.
const SOUND: Duration = Duration::from_secs(10);

/// Bookmarks come about once a minute; a connection that is silent for longer than this is taken for dead.
const SILENCE: Duration = Duration::from_secs(150);

/// So many refusals to go on from a version lead to a new list.
const REFUSALS: u32 = 3;

/// What a feed says.
#[derive(Debug)]
pub(super) enum Signal {
    /// A full list begins.
    Listing,
    /// The list mentions this object.
    Listed(Item),
    /// The list is complete.
    Complete,
    /// The object is new or has changed.
    Changed(Item),
    /// The object is gone.
    Deleted(Item),
    /// The watch is there, and up to date.
    Heard,
    /// An attempt has failed. The next one follows by itself.
    Failed(Failure),
}

/// List and watch of one collection.
pub(super) struct Feed {
    source: Source,
    state: State,
    backoff: Backoff,
    wait_until: Option<Instant>,
    refusals: u32,
    back: watch::Receiver<u64>,
}

enum State {
    Empty,
    Listing { items: VecDeque<Item>, version: String, next: Next },
    Listed { version: String },
    Watching { version: String, lines: Lines, since: Instant, heard: Instant },
}

impl Feed {
    /// A feed that begins with a list. `back` changes when the API server is back after it was away: then nothing waits
    /// any longer, and no old connection is trusted.
    pub(super) fn new(source: Source, timing: Timing, back: watch::Receiver<u64>) -> Self {
        Self {
            source,
            state: State::Empty,
            backoff: Backoff::new(timing),
            wait_until: None,
            refusals: 0,
            back,
        }
    }

    /// True while a watch is there.
    pub(super) fn is_watching(&self) -> bool {
        matches!(self.state, State::Watching { .. })
    }

    /// Begins anew with a full list, after a wait.
    pub(super) fn start_over(&mut self) {
        self.state = State::Empty;
        self.wait();
    }

    /// The next signal. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Signal {
        loop {
            if let Some(until) = self.wait_until {
                tokio::select! {
                    () = sleep_until(until) => {}
                    // It may still refuse for a moment: not for long, so waits begin short again.
                    Ok(()) = self.back.changed() => self.backoff.reset(),
                }
                self.wait_until = None;
            }
            if let Some(signal) = self.step().await {
                return signal;
            }
        }
    }

    async fn step(&mut self) -> Option<Signal> {
        match &mut self.state {
            State::Empty => {
                self.state =
                    State::Listing { items: VecDeque::new(), version: String::new(), next: Next::First };
                Some(Signal::Listing)
            }
            State::Listing { items, version, next } => {
                if let Some(item) = items.pop_front() {
                    return Some(Signal::Listed(item));
                }
                if matches!(next, Next::Done) {
                    let version = std::mem::take(version);
                    self.state = State::Listed { version };
                    return Some(Signal::Complete);
                }
                match self.source.list(next).await {
                    Ok(page) => {
                        let (items, version, next) = (page.items.into(), page.version, page.next);
                        self.state = State::Listing { items, version, next };
                        None
                    }
                    Err(failure) => {
                        self.state = State::Empty;
                        self.failed(failure)
                    }
                }
            }
            State::Listed { version } => match self.source.watch(version).await {
                Ok(lines) => {
                    self.back.mark_unchanged();
                    let (version, now) = (std::mem::take(version), Instant::now());
                    self.state = State::Watching { version, lines, since: now, heard: now };
                    Some(Signal::Heard)
                }
                Err(failure) => {
                    self.refusals += u32::from(failure.is_answer());
                    self.give_up_version(failure.is_expired());
                    self.failed(failure)
                }
            },
            State::Watching { lines, heard, .. } => {
                let line = tokio::select! {
                    // What has arrived is read first, also after a long time in which nobody took it.
                    biased;
                    line = lines.next() => line,
                    () = sleep_until(*heard + SILENCE) => None,
                    Ok(()) = self.back.changed() => None,
                };
                self.hear(line)
            }
        }
    }

    fn hear(&mut self, line: Option<std::io::Result<String>>) -> Option<Signal> {
        let State::Watching { version, since, heard, .. } = &mut self.state else { return None };
        let now = Instant::now();
        let sound = now.duration_since(*since) >= SOUND;
        if sound {
            self.backoff.reset();
        }
        let said = line.and_then(Result::ok).map(|line| wire::read(&line));
        let lost = match said {
            Some(Ok(Said::Changed(item))) => {
                (*heard, self.refusals) = (now, 0);
                version.clone_from(&item.head.version);
                return Some(Signal::Changed(item));
            }
            Some(Ok(Said::Deleted(item))) => {
                (*heard, self.refusals) = (now, 0);
                version.clone_from(&item.head.version);
                return Some(Signal::Deleted(item));
            }
            Some(Ok(Said::Bookmark(at))) => {
                (*heard, self.refusals) = (now, 0);
                *version = at;
                return Some(Signal::Heard);
            }
            Some(Ok(Said::Error(failure))) => {
                self.refusals += 1;
                Some(failure)
            }
            // A line that breaks off is the end of the connection, like no line at all.
            Some(Err(error)) if error.is_eof() => None,
            Some(Err(error)) => Some(Failure::Unreadable { verb: Verb::Watch, message: error.to_string() }),
            None => None,
        };
        let version = std::mem::take(version);
        self.state = State::Listed { version };
        self.give_up_version(lost.as_ref().is_some_and(Failure::is_expired));
        match lost {
            Some(failure) => self.failed(failure),
            None if sound => None,
            None => {
                self.wait();
                None
            }
        }
    }

    fn give_up_version(&mut self, expired: bool) {
        if expired || self.refusals >= REFUSALS {
            self.refusals = 0;
            self.state = State::Empty;
        }
    }

    fn failed(&mut self, failure: Failure) -> Option<Signal> {
        self.wait();
        // To be told that a version is forgotten is part of the protocol.
        (!failure.is_expired()).then_some(Signal::Failed(failure))
    }

    fn wait(&mut self) {
        self.wait_until = Some(Instant::now() + self.backoff.next());
    }

    /// Lists a part of the collection, beside the watch. The version is that of the last page.
    pub(super) async fn list_namespace(&mut self, path: &str) -> Result<(Vec<Item>, String), Failure> {
        let source = self.source.at(path);
        let (mut all, mut next) = (Vec::new(), Next::First);
        loop {
            let page = source.list(&next).await?;
            all.extend(page.items);
            if matches!(page.next, Next::Done) {
                return Ok((all, page.version));
            }
            next = page.next;
        }
    }
}

/// How long to wait after failures: longer each time, and at random, so that not all replicas come at once.
pub(super) struct Backoff {
    builder: ExponentialBuilder,
    waits: ExponentialBackoff,
}

impl Backoff {
    pub(super) fn new(timing: Timing) -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(timing.first_wait)
            .with_max_delay(timing.longest_wait)
            .without_max_times()
            .with_jitter();
        Self { builder, waits: builder.build() }
    }

    pub(super) fn next(&mut self) -> Duration {
        // There is always a next one: the number of times is not limited.
        self.waits.next().unwrap_or_default()
    }

    pub(super) fn reset(&mut self) {
        self.waits = self.builder.build();
    }
}

/// The object of this name, by path.
pub(super) async fn get(client: &Client, path: &str, name: &NamespacedName) -> Result<Item, Failure> {
    let unreadable = |message: String| Failure::Unreadable { verb: Verb::Get, message };
    let raw: Box<RawValue> = wire::get(client, path).await?;
    let item = Item::new(raw).map_err(|error| unreadable(error.to_string()))?;
    if item.head.name == *name { Ok(item) } else { Err(unreadable(format!("it is of {}", item.head.name))) }
}
