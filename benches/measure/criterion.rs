//! The subjects of the table with criterion's statistics and its comparison to the last run.

use criterion::{Criterion, criterion_group, criterion_main};
use unskew_benches::record::RECORDS;
use unskew_benches::subject::{self, Variant};

fn translate(criterion: &mut Criterion) {
    let runtime = subject::runtime().expect("the incident's pack loads");
    for record in RECORDS {
        measure(criterion, &format!("translate/{}", record.size), subject::translate(&runtime, record));
    }
    measure(criterion, "normalize/already-right-4k", subject::already_right(&runtime, RECORDS[2]));
    measure(criterion, "boundary/detect-2b", subject::detect_empty(&runtime));
    measure(criterion, "boundary/copy-1k", subject::copy_string(&runtime));
}

fn route(criterion: &mut Criterion) {
    let runtime = subject::runtime().expect("the incident's pack loads");
    for (servers, name) in [(16, "route/16"), (1000, "route/1000")] {
        measure(criterion, name, vec![("decide", subject::route(&runtime, servers))]);
    }
}

fn swap(criterion: &mut Criterion) {
    measure(criterion, "swap/push-to-answer", vec![("pack", subject::swap())]);
}

fn measure(criterion: &mut Criterion, subject: &str, variants: Vec<Variant>) {
    for (name, mut run) in variants {
        criterion.bench_function(&format!("{subject}/{name}"), |bencher| bencher.iter(&mut run));
    }
}

criterion_group!(benches, translate, route, swap);
criterion_main!(benches);
