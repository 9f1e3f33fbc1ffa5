//! What the store holds when a rehearsal is over: whether edits arrived, and whether records came back as they were.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::server::{World, key};

/// The state of a lane's records at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Sessions that were looked at; those with a join of unknown outcome are not.
    pub sessions: u64,
    /// Joins that were answered with success.
    pub edits: u64,
    /// Of these, the ones that the record does not hold.
    pub lost_edits: u64,
    /// Records that no version of the scenario has the shape of.
    pub unreadable: u64,
    /// Records that rest in the version that they were born in, by the gateway's doing alone.
    pub at_home: u64,
    /// Of these, the ones that are not what they were at birth, apart from connections.
    pub altered: u64,
}

impl Audit {
    /// Looks at the records of these sessions; each comes with the connections that were confirmed to its clients.
    pub(super) fn of(world: &World, joined: &HashMap<String, Vec<String>>) -> Audit {
        let mut audit = Audit::default();
        for (session, connections) in joined {
            audit.sessions += 1;
            audit.edits += connections.len() as u64;
            let Some(stored) = world.store.read(&key(session)) else {
                audit.lost_edits += connections.len() as u64;
                continue;
            };
            audit.look(world, session, connections, &stored.bytes);
        }
        audit
    }

    fn look(&mut self, world: &World, session: &str, connections: &[String], record: &[u8]) {
        let text = String::from_utf8_lossy(record);
        let lost = connections.iter().filter(|connection| !text.contains(&format!("\"{connection}\"")));
        self.lost_edits += lost.count() as u64;
        let document: Value = serde_json::from_slice(record).unwrap_or_default();
        let Some(dialect) = world.dialects.iter().position(|dialect| dialect.accepts(&document).is_ok()) else {
            self.unreadable += 1;
            return;
        };
        let Some(birth) = world.births().get(session).cloned() else { return };
        if birth.dialect == dialect && !birth.migrated {
            let mut now = document;
            world.dialects[dialect].take_connections(&mut now);
            self.at_home += 1;
            self.altered += u64::from(now != birth.record);
        }
    }

    /// Whether nothing was lost on the way.
    pub fn holds(&self) -> bool {
        self.lost_edits == 0 && self.unreadable == 0 && self.altered == 0
    }
}

impl std::fmt::Display for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Audit { sessions, edits, lost_edits, unreadable, at_home, altered } = self;
        write!(f, "{sessions} sessions, {edits} edits: {lost_edits} lost, {unreadable} records unreadable, ")?;
        write!(f, "{altered} of {at_home} at home altered")
    }
}
