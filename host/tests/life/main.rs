//! The life of generations: what each goes through, who is trusted, and what comes back after a restart.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bad;
mod foreign;
mod phases;
mod trust;

use unskew::Pack;

/// A pack of two versions whose revision is also the value that it adds.
fn text(revision: u64) -> String {
    format!(
        r#"
        name = "rooms"
        revision = {revision}
        version = [
            {{ id = "1", marker = {{ path = "/schema", absent = true }} }},
            {{ id = "2", marker = {{ path = "/schema", value = 2 }} }},
        ]
        [[step]]
        from = "1"
        to = "2"
        ops = [{{ rename = "/room", to = "room_id" }}, {{ add = "/of", value = {revision} }}]
        [[example]]
        lower = '{{"room":"a"}}'
        upper = '{{"room_id":"a","of":{revision},"schema":2}}'
        "#
    )
}

fn pack(revision: u64) -> Pack {
    Pack::from_toml("rooms.toml", &text(revision)).unwrap()
}
