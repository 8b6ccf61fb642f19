//! Waiting for conditions instead of sleeping for times.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long a condition may take before a test fails: generous, because machines of CI are slow, and
/// never spent when all is well.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Calls `probe` until it returns `Ok`, at most for [`PATIENCE`]; fails with its last `Err`.
pub async fn until<T, F, Fut>(what: &str, probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    until_within(PATIENCE, what, probe).await
}

/// The same with a patience of its own, for what takes longer than a process on this machine.
pub async fn until_within<T, F, Fut>(patience: Duration, what: &str, mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(last) => {
                assert!(begin.elapsed() < patience, "no {what} within {patience:?}: {last}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        }
    }
}
