//! The standard metrics of a process, out of `/proc`. Where there is no such thing, they are left out.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads `/proc/self` at every scrape.
#[derive(Debug)]
pub(super) struct ProcessCollector;

/// What `/proc/self` says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Process {
    cpu_seconds: f64,
    start_seconds: f64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
    open_fds: u64,
    max_fds: u64,
}

impl Process {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let boot =
            fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text)).unwrap_or_default();
        let mut process = parse_stat(&stat, boot, rustix::param::clock_ticks_per_second())?;
        process.resident_bytes *= rustix::param::page_size() as u64;
        process.open_fds = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        // No limit is told as none.
        process.max_fds =
            rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        Some(process)
    }
}

/// The members of `/proc/<pid>/stat` that are of interest (see proc_pid_stat(5)); memory in pages.
#[allow(clippy::cast_precision_loss)]
fn parse_stat(stat: &str, boot: u64, ticks: u64) -> Option<Process> {
    // The name of the program, in parentheses, may hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The first field after the name is number 3 in the manual.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticked: u64| ticked as f64 / ticks.max(1) as f64;
    Some(Process {
        cpu_seconds: seconds(field(14)? + field(15)?),
        start_seconds: boot as f64 + seconds(field(22)?),
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)?,
        ..Process::default()
    })
}

fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

impl Collector for ProcessCollector {
    #[allow(clippy::cast_precision_loss)]
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(process) = Process::read() else { return Ok(()) };
        let cpu = ConstCounter::new(process.cpu_seconds);
        let help = "Processor time that the process used.";
        cpu.encode(encoder.encode_descriptor(
            "process_cpu",
            help,
            Some(&Unit::Seconds),
            cpu.metric_type(),
        )?)?;
        let gauges: [(&str, &str, Option<Unit>, f64); 6] = [
            (
                "process_start_time",
                "When the process started, in seconds since 1970.",
                Some(Unit::Seconds),
                process.start_seconds,
            ),
            (
                "process_resident_memory",
                "Memory that the process has in RAM.",
                Some(Unit::Bytes),
                process.resident_bytes as f64,
            ),
            (
                "process_virtual_memory",
                "Address space of the process.",
                Some(Unit::Bytes),
                process.virtual_bytes as f64,
            ),
            ("process_threads", "Threads of the process.", None, process.threads as f64),
            ("process_open_fds", "Open file descriptors.", None, process.open_fds as f64),
            ("process_max_fds", "How many file descriptors may be open.", None, process.max_fds as f64),
        ];
        for (name, help, unit, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_numbers_of_the_manual() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1000 0 0 0 150 50 0 0 20 0 9 0 300 8192000 25 18446744073709551615 1";
        let process = parse_stat(stat, 1000, 100).expect("complete");
        assert_eq!((process.cpu_seconds, process.start_seconds, process.threads), (2.0, 1003.0, 9));
        assert_eq!((process.virtual_bytes, process.resident_bytes), (8_192_000, 25));
        assert_eq!(parse_stat("7 (a) S 1", 0, 100), None);
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_alive() {
        let process = Process::read().expect("/proc");
        assert!(process.resident_bytes > 1 << 20 && process.threads > 0, "{process:?}");
        assert!(process.open_fds > 2 && process.max_fds >= process.open_fds, "{process:?}");
    }
}
