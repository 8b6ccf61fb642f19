//! What translation costs: cold, after one changed route, after one changed EndpointSlice; each at two sizes, so
//! that one sees that a change costs the same in a small and in a large world.

#[path = "support/world.rs"]
mod world;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion};
use postern_translator::{Change, Object};

fn cold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cold");
    group.sample_size(10);
    for n in [1_000, 10_000] {
        let objects = world::world(n);
        group.bench_function(BenchmarkId::from_parameter(n), |bencher| {
            bencher.iter_batched(
                || objects.clone(),
                |objects| {
                    let mut translator = world::translator();
                    for object in objects {
                        translator.apply(Change::Upsert(object));
                    }
                    black_box(translator.translate());
                    translator
                },
                BatchSize::LargeInput,
            );
        });
    }
}

fn one_change(criterion: &mut Criterion, name: &str, object: fn(usize, usize) -> Object) {
    let mut group = criterion.benchmark_group(name);
    for n in [1_000, 10_000] {
        let mut translator = world::translator();
        for object in world::world(n) {
            translator.apply(Change::Upsert(object));
        }
        translator.translate();
        let mut revision = 0;
        group.bench_function(BenchmarkId::from_parameter(n), |bencher| {
            bencher.iter_batched(
                || {
                    revision += 1;
                    object((revision * 7919) % n, revision)
                },
                |object| {
                    translator.apply(Change::Upsert(object));
                    let update = translator.translate();
                    assert_eq!(update.gateways.values().map(|g| g.changes.len()).sum::<usize>(), 1);
                    update
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    cold(&mut criterion);
    one_change(&mut criterion, "one route", world::route);
    one_change(&mut criterion, "one endpoint slice", world::slice);
    criterion.final_summary();
}
