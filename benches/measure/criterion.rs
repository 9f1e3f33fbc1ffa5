//! The subjects of the table with criterion's statistics and its comparison to the last run.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use unskew_benches::contest::Contest;
use unskew_benches::record::SESSIONS;
use unskew_benches::subject::{self, Routing, Sandboxes, With};

fn all(criterion: &mut Criterion) {
    let sandboxes = Sandboxes::new().expect("the packs of testdata/ load");
    for record in SESSIONS {
        let contest = subject::translate(&sandboxes, record, &[], With::Libraries);
        measure(criterion, contest.expect("everybody writes the same"));
    }
    measure(criterion, subject::already_right(&sandboxes, SESSIONS[2]));
    measure(criterion, subject::detect_empty(&sandboxes));
    measure(criterion, subject::copy_string(&sandboxes));
    for (servers, name) in [(16, "fleet-16"), (1000, "fleet-1000")] {
        measure(criterion, Routing::new(&sandboxes, servers).contest(name));
    }
    measure(criterion, subject::push(0).expect("the pack loads"));
}

fn measure(criterion: &mut Criterion, contest: Contest<'_>) {
    for (name, mut run) in contest.into_variants() {
        criterion.bench_function(&name, |bencher| {
            bencher.iter_custom(|runs| {
                let runs = u32::try_from(runs).expect("criterion runs nothing so often");
                Duration::from_nanos(run(runs).expect("it did before") as u64)
            });
        });
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
