//! How many clients a proxy has.

use crate::bootstrap::PROBE_PORT;
use crate::envoy::Admin;

/// The connections of clients that are open now; `None` if Envoy does not say. Those of its own, for its admin interface and
/// for probes, do not count: they come again and again.
pub(super) async fn active(admin: &Admin) -> Option<u64> {
    let (status, body) = admin.get("/stats?filter=downstream_cx_active").await.ok()?;
    status.is_success().then(|| sum(&String::from_utf8_lossy(&body)))
}

fn sum(stats: &str) -> u64 {
    stats
        .lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let listener = name.strip_prefix("listener.")?.strip_suffix(".downstream_cx_active")?;
            let own = listener == "admin" || listener.ends_with(&format!("_{PROBE_PORT}"));
            // Each listener is there once as a whole and once for each thread.
            let part = listener.ends_with(".main_thread") || listener.contains(".worker_");
            if own || part { None } else { value.parse::<u64>().ok() }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_clients_of_listeners_once() {
        let stats = "\
http.http.80.downstream_cx_active: 7
http.postern_probe.downstream_cx_active: 1
listener.0.0.0.0_19001.downstream_cx_active: 1
listener.0.0.0.0_19001.worker_0.downstream_cx_active: 1
listener.443.downstream_cx_active: 40
listener.443.worker_0.downstream_cx_active: 40
listener.80.downstream_cx_active: 2
listener.80.worker_0.downstream_cx_active: 1
listener.80.worker_1.downstream_cx_active: 1
listener.[__]_8080.downstream_cx_active: 3
listener.admin.downstream_cx_active: 1
listener.admin.main_thread.downstream_cx_active: 1
no stat
";
        assert_eq!(sum(stats), 45);
        assert_eq!(sum(""), 0);
    }
}
