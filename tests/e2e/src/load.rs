//! Constant load, and what became of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::client::{Answer, Call, Connection};
use crate::wait::until;

/// Only the first failures are kept in full.
const DETAILS: usize = 20;

type Check = dyn Fn(&Answer) -> Result<(), String> + Send + Sync;

/// One kind of request of a load.
#[derive(Clone)]
pub struct Stream {
    name: String,
    call: Call,
    rate: u32,
    keep_alive: bool,
    check: Arc<Check>,
}

impl Stream {
    /// `rate` requests a second like `call` on one kept connection. An answer counts as failed when
    /// its status is not 200; see [`Stream::check`].
    pub fn kept(name: &str, call: Call, rate: u32) -> Self {
        let check = Arc::new(|answer: &Answer| match answer.status {
            200 => Ok(()),
            status => Err(format!("status {status}, body {:?}", answer.text())),
        });
        Self { name: name.to_owned(), call, rate, keep_alive: true, check }
    }

    /// Like [`Stream::kept`], with a new connection for each request.
    pub fn fresh(name: &str, call: Call, rate: u32) -> Self {
        Self { keep_alive: false, ..Self::kept(name, call, rate) }
    }

    /// Replaces what counts as success.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&Answer) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.check = Arc::new(check);
        self
    }
}

/// What a load saw.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Requests that were answered as they should.
    pub succeeded: u64,
    /// Requests that were not: a wrong answer, no answer, or no connection.
    pub failed: u64,
    /// The first failures: when, which stream, what.
    pub details: Vec<String>,
    /// Kept connections that the server closed in an orderly way (`Connection: close`, GOAWAY).
    pub reconnects: u64,
    /// The longest time that one request took.
    pub slowest: Duration,
}

impl LoadReport {
    /// Fails when a request failed, or when fewer than `least` were answered.
    pub fn assert_clean(&self, least: u64) {
        assert!(
            self.failed == 0,
            "{} of {} requests failed:\n{}",
            self.failed,
            self.failed + self.succeeded,
            self.details.join("\n")
        );
        assert!(self.succeeded >= least, "only {} requests were sent, not {least}: {self:?}", self.succeeded);
    }
}

/// A running load; ends with [`Load::stop`] or when dropped.
pub struct Load {
    report: Arc<Mutex<LoadReport>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts all streams.
    pub fn start(streams: Vec<Stream>) -> Self {
        let report = Arc::new(Mutex::new(LoadReport::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let begin = Instant::now();
        let tasks = streams
            .into_iter()
            .map(|stream| tokio::spawn(run(stream, Arc::clone(&report), Arc::clone(&stop), begin)))
            .collect();
        Self { report, stop, tasks }
    }

    /// What was seen so far.
    pub fn report(&self) -> LoadReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `more` requests have succeeded from now on, so that what changes meets load, however fast the machine is.
    pub async fn goes_on(&self, more: u64) {
        let before = self.report().succeeded;
        until("requests go on", async || {
            let answered = self.report().succeeded - before;
            if answered >= more { Ok(()) } else { Err(format!("{answered} were answered")) }
        })
        .await;
    }

    /// Lets the requests under way finish, and returns the whole report.
    pub async fn stop(mut self) -> LoadReport {
        self.stop.store(true, Ordering::SeqCst);
        for task in std::mem::take(&mut self.tasks) {
            task.await.expect("a stream of the load panicked");
        }
        self.report()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn run(stream: Stream, report: Arc<Mutex<LoadReport>>, stop: Arc<AtomicBool>, begin: Instant) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / stream.rate);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut kept: Option<Connection> = None;
    while !stop.load(Ordering::SeqCst) {
        ticks.tick().await;
        let sent = Instant::now();
        let mut reconnected = false;
        let outcome = async {
            let mut connection = match kept.take() {
                // A client that was told that its connection ends opens another one.
                Some(connection) if !connection.is_closed() => connection,
                Some(_) => {
                    reconnected = true;
                    stream.call.connect().await?
                }
                None => stream.call.connect().await?,
            };
            let answer = connection.send(&stream.call).await?;
            (stream.check)(&answer).map_err(anyhow::Error::msg)?;
            let ends = answer.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
            if ends {
                reconnected = true;
            } else if stream.keep_alive {
                kept = Some(connection);
            }
            anyhow::Ok(())
        }
        .await;
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        report.slowest = report.slowest.max(sent.elapsed());
        report.reconnects += u64::from(reconnected && stream.keep_alive);
        match outcome {
            Ok(()) => report.succeeded += 1,
            Err(error) => {
                report.failed += 1;
                if report.details.len() < DETAILS {
                    let at = begin.elapsed().as_secs_f64();
                    report.details.push(format!("at {at:.3} s, {}: {error:#}", stream.name));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Backend, Reply};
    use crate::wait::until;

    async fn run_until(load: Load, requests: u64) -> LoadReport {
        until("requests", || {
            let report = load.report();
            async move {
                if report.succeeded + report.failed >= requests { Ok(()) } else { Err(format!("{report:?}")) }
            }
        })
        .await;
        load.stop().await
    }

    /// A load that cannot see failures would make every test that uses it worthless.
    #[tokio::test]
    async fn a_load_sees_what_fails() {
        let backend = Backend::replying("flaky", |seen| match seen.path.as_str() {
            "/bad" => Reply::Status(503),
            "/reset" => Reply::Reset,
            _ => Reply::Echo,
        })
        .await;
        let call = |path: &str| Call::get(backend.address().port(), "example.org", path);
        let good =
            Load::start(vec![Stream::kept("kept", call("/"), 200), Stream::fresh("fresh", call("/"), 200)]);
        let report = run_until(good, 40).await;
        report.assert_clean(40);
        assert_eq!(report.reconnects, 0);
        for (path, word) in [("/bad", "503"), ("/reset", "reset")] {
            let bad =
                Load::start(vec![Stream::kept("kept", call("/"), 200), Stream::fresh(word, call(path), 200)]);
            let report = run_until(bad, 40).await;
            assert!(report.failed > 0 && report.succeeded > 0, "{report:?}");
            assert!(report.details[0].contains(word), "{report:?}");
        }
        let port = crate::ports::Port::reserve();
        let nobody =
            Load::start(vec![Stream::fresh("new", Call::get(port.number(), "example.org", "/"), 200)]);
        let report = run_until(nobody, 5).await;
        assert!(report.succeeded == 0 && report.details[0].contains("cannot connect"), "{report:?}");
    }
}
