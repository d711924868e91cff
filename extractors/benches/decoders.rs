//! Nanoseconds that the decoders take for a row: `cargo bench -p pipeline-extractors --features measuring`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pipeline_extractors::measured::{ROWS, cases};

fn decoders(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decoders");
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    for case in cases() {
        group.bench_function(case.name, |bencher| bencher.iter_batched(&case.prepare, |work| work(), BatchSize::SmallInput));
    }
    group.finish();
}

criterion_group!(benches, decoders);
criterion_main!(benches);
