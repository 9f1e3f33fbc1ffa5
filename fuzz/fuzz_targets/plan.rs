//! A pack of any ops in any order is refused with problems, or its line of versions keeps the laws.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unskew_fuzz::{laws, limited, shuffled, text};
use unskew_guest::Rules;

fuzz_target!(|data: &[u8]| {
    let Some((pack, record)) = shuffled(data) else { return };
    limited(|| match Rules::load(pack.as_bytes()) {
        Ok(mut rules) => {
            laws(&mut rules, record).unwrap_or_else(|why| panic!("{pack}\n{}\n{why}", text(record)));
        }
        Err(problems) => assert!(problems.iter().all(|problem| problem.pointer.starts_with('/')), "{problems:?}"),
    });
});
