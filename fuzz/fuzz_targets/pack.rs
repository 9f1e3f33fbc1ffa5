//! Any bytes as a pack are loaded, or refused with problems that say where; what loads can be asked anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unskew_fuzz::limited;
use unskew_guest::Rules;

fuzz_target!(|data: &[u8]| limited(|| match Rules::load(data) {
    Ok(mut rules) => {
        let count = rules.manifest().versions.len() as u16;
        assert!(count > 0);
        rules.test();
        (0..=count).for_each(|held| assert!((0..=count).all(|server| !rules.judge(held, server).reason.is_empty())));
    }
    Err(problems) => {
        assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.message.is_empty()));
        let pack: Option<serde_json::Value> = serde_json::from_slice(data).ok();
        let twice = problems.iter().any(|problem| problem.message.contains("twice"));
        let found = |pointer: &str| pack.as_ref().is_none_or(|pack| pack.pointer(pointer).is_some());
        problems.iter().for_each(|problem| assert!(twice || found(&problem.pointer), "{problem:?}"));
    }
}));
