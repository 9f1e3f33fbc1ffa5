//! What docs/gateways/README.md says of the scenarios, and of what a surface can't do.

use std::fmt::Write as _;

use crate::surfaces::{Kind, repository};

/// A scenario that is played on every surface, but those that can't do it.
pub(crate) struct Row {
    /// The test that plays it.
    pub(crate) test: &'static str,
    /// What the docs say of it.
    says: &'static str,
    /// Where it isn't played, and what happens there instead.
    pub(crate) but: &'static [(Kind, &'static str)],
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        test: "a_session_is_created_on_the_new_version_and_its_joins_stay_there",
        says: "create on version 2, joins stay there, a join without a record finds its version",
        but: &[(Kind::EnvoyWasm, "a join without a record is of unknown version")],
    },
    Row {
        test: "a_join_is_served_by_an_old_server_and_what_it_can_not_hold_comes_back",
        says: "join served by version 1, carry comes back in the answer",
        but: &[],
    },
    Row {
        test: "after_a_roll_back_sessions_of_the_new_version_go_down_to_the_old_one",
        says: "version 2 is gone: another server is tried, the record made readable for it",
        but: &[(Kind::Haproxy, "503"), (Kind::EnvoyWasm, "503")],
    },
    Row {
        test: "what_can_not_be_served_is_refused_as_a_problem_and_reaches_no_server",
        says: "refusals as problem documents, nothing reaches a server",
        but: &[],
    },
    Row {
        test: "an_answer_that_can_not_be_translated_is_a_problem_and_no_broken_answer",
        says: "an answer that can't be translated is a problem document",
        but: &[],
    },
    Row {
        test: "bodies_of_every_length_and_framing_arrive_translated",
        says: "bodies of 4, 64 and 400 KiB, with a length and in chunks",
        but: &[],
    },
    Row {
        test: "a_body_that_is_longer_than_a_record_may_be_is_refused_and_not_cut",
        says: "a body above the pack's `max_bytes` is refused, never cut",
        but: &[],
    },
    Row { test: "records_in_headers_are_made_readable_both_ways", says: "record in a header", but: &[] },
    Row {
        test: "records_in_cookies_are_made_readable_both_ways_and_keep_their_attributes",
        says: "record in a cookie",
        but: &[],
    },
    Row { test: "what_no_rule_speaks_of_passes_as_it_is", says: "what no rule speaks of passes as it is", but: &[] },
    Row {
        test: "a_guest_that_traps_or_never_ends_costs_its_request_and_nothing_else",
        says: "a guest that traps, or never ends: its request is refused, the surface lives on",
        but: &[(Kind::EnvoyWasm, "a trap costs its worker two seconds, a loop hangs it")],
    },
    Row {
        test: "a_pack_whose_file_changes_is_swapped_in_and_a_bad_one_changes_nothing",
        says: "the pack's file changes: the new pack serves; a bad one changes nothing",
        but: &[(Kind::EnvoyWasm, "by ECDS")],
    },
    Row {
        test: "packs_are_swapped_a_thousand_times_under_load_and_no_request_fails",
        says: "a thousand packs swapped under load, no request fails",
        but: &[(Kind::EnvoyWasm, "by ECDS")],
    },
];

const SCENARIOS: &str = include_str!("scenarios.rs");

/// The row of the test that has called this, which stands at this line of `scenarios.rs`.
pub(crate) fn row(line: u32) -> &'static Row {
    let before = SCENARIOS.lines().take(line as usize).collect::<Vec<_>>();
    let name = before.iter().rev().find_map(|line| line.strip_prefix("async fn ")?.split('(').next());
    let row = ROWS.iter().find(|row| Some(row.test) == name);
    row.unwrap_or_else(|| panic!("{name:?} is not in the table of ffi/tests/surfaces/table.rs"))
}

/// The table as it stands in the docs.
fn table() -> String {
    let mut text = String::from("| scenario |");
    Kind::ALL.iter().for_each(|kind| write!(text, " {} |", kind.label()).unwrap());
    text += "\n| --- |";
    text += &" --- |".repeat(Kind::ALL.len());
    for row in ROWS {
        write!(text, "\n| {} |", row.says).unwrap();
        for kind in Kind::ALL {
            let no = row.but.iter().find(|(but, _)| *but == kind);
            text += &no.map_or(" yes |".to_string(), |(_, instead)| format!(" no: {instead} |"));
        }
    }
    text + "\n"
}

#[test]
fn the_table_of_the_docs_says_what_is_played_where() {
    let path = repository().join("docs/gateways/README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("| scenario |").unwrap();
    let after: String = rest.split_once("\n\n").map_or(String::new(), |(_, after)| format!("\n{after}"));
    let current = format!("{before}{}{after}", table());
    if std::env::var_os("UNSKEW_WRITE_TABLE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text == current, "the table of docs/gateways/README.md is old: run this test with UNSKEW_WRITE_TABLE=1");
}

#[test]
fn every_scenario_of_the_table_is_a_test() {
    for row in ROWS {
        let test = format!("#[tokio::test(flavor = \"multi_thread\")]\nasync fn {}()", row.test);
        assert!(SCENARIOS.contains(&test), "{}", row.test);
    }
}
