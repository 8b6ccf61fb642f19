//! The peak resident memory of a process that holds and translates 10,000 HTTPRoutes and 10,000 Services.

#[path = "support/world.rs"]
mod world;

use std::time::Instant;

use postern_translator::Change;

/// `VmHWM` or `VmRSS` of this process in MiB (proc(5)).
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

fn main() {
    let n = 10_000;
    let empty = memory("VmRSS");
    let mut translator = world::translator();
    for object in world::world(n) {
        translator.apply(Change::Upsert(object));
    }
    let stored = memory("VmRSS");
    let start = Instant::now();
    translator.translate();
    let took = start.elapsed();
    println!(
        "| routes | empty MiB | objects stored MiB | translated MiB | peak MiB | one-shot translation ms |"
    );
    println!("|---|---|---|---|---|---|");
    println!(
        "| {n} | {empty:.0} | {stored:.0} | {:.0} | {:.0} | {:.0} |",
        memory("VmRSS"),
        memory("VmHWM"),
        took.as_secs_f64() * 1000.0
    );
}
