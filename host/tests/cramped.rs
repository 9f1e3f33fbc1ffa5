//! A process whose address space is limited has no room for a pool of instances, and serves all the same.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use unskew::{Pack, Runtime};

const CHILD: &str = "UNSKEW_TEST_CRAMPED";

#[test]
fn a_process_with_little_address_space_serves_without_a_pool() {
    if std::env::var_os(CHILD).is_some() {
        let pack = Pack::from_toml("opentok.toml", include_str!("../../testdata/packs/opentok.toml")).unwrap();
        let runtime = Runtime::new(&pack).unwrap();
        return assert_eq!(runtime.detect(br#"{"sessionId":"s","schema":2}"#).unwrap(), "2");
    }
    // Itself again, with 4 GB of address space: less than one memory of the pool reserves.
    let limited = "ulimit -v 4000000 && exec \"$0\" --exact a_process_with_little_address_space_serves_without_a_pool";
    let child = Command::new("sh").args(["-c", limited]).arg(std::env::current_exe().unwrap()).env(CHILD, "1").output();
    let output = child.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
