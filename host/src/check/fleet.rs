//! The question before a deploy: may a server of another version join this fleet?

use crate::contract::{Fidelity, Version};
use crate::fleet::Server;
use crate::matrix::Matrix;

/// A fleet, who wants to join it, and what is good enough.
#[derive(Clone, Debug)]
pub struct Question {
    /// The servers that there are.
    pub fleet: Vec<Server>,
    /// The server that wants to join.
    pub joining: Server,
    /// The worst fidelity that a join may be served with.
    pub max_loss: Fidelity,
    /// Which servers must be able to serve a session.
    pub served_by: ServedBy,
}

/// Which servers must be able to serve the sessions of each version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServedBy {
    /// Each of them, so that the fleet survives that any of them leaves, as in a roll-back.
    #[default]
    All,
    /// One at least: joins fail when the servers that can are gone.
    Any,
}

/// What joins of sessions of one version would get from servers of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The version of the session's record.
    pub session: String,
    /// The version of the servers.
    pub server: String,
    /// The names of the servers.
    pub servers: Vec<String>,
    /// How well they serve it; none means that the join fails.
    pub fidelity: Fidelity,
    /// Why.
    pub reason: String,
    /// Whether that is good enough.
    pub allowed: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the server may join.
    pub may: bool,
    /// Sessions of each version that is written, on servers of each kind: row by row.
    pub cells: Vec<Cell>,
    /// Why not, one line each; or what is to be borne in mind.
    pub objections: Vec<String>,
}

impl Question {
    /// The answer, by this matrix.
    pub fn answer(&self, matrix: &Matrix) -> Answer {
        let kinds = self.kinds();
        let mut written: Vec<&str> = kinds.iter().map(|(server, _)| server.version.as_str()).collect();
        let known = |id: &&str| matrix.version(id);
        written.sort_by_key(|id| known(id).map_or(usize::MAX, Version::index));
        written.dedup();
        let mut cells = Vec::new();
        let mut objections = Vec::new();
        for id in written.iter().filter(|id| known(id).is_none()) {
            let has: Vec<&str> = matrix.versions().iter().map(|version| &*version.id).collect();
            objections.push(format!(
                "version {id} is not in the pack, which has {}: add it and a step to it first",
                has.join(", ")
            ));
        }
        for session in &written {
            let row: Vec<Cell> =
                kinds.iter().map(|(server, names)| self.cell(matrix, session, server, names)).collect();
            objections.extend(self.objections(session, &row));
            cells.extend(row);
        }
        let served = |session: &str| {
            let mut row = cells.iter().filter(|cell| cell.session == session);
            match self.served_by {
                ServedBy::All => row.all(|cell| cell.allowed),
                ServedBy::Any => row.any(|cell| cell.allowed),
            }
        };
        let may = written.iter().all(|session| known(session).is_some() && served(session));
        Answer { may, cells, objections }
    }

    /// The servers that are alike, with their names; the joining one is a kind of its own only if no other is like it.
    fn kinds(&self) -> Vec<(&Server, Vec<String>)> {
        let mut kinds: Vec<(&Server, Vec<String>)> = Vec::new();
        for server in self.fleet.iter().chain([&self.joining]) {
            let alike = |(other, _): &&mut (&Server, Vec<String>)| {
                (&other.version, &other.reads) == (&server.version, &server.reads)
            };
            match kinds.iter_mut().find(alike) {
                Some((_, names)) => names.push(server.name.clone()),
                None => kinds.push((server, vec![server.name.clone()])),
            }
        }
        kinds
    }

    fn cell(&self, matrix: &Matrix, session: &str, server: &Server, names: &[String]) -> Cell {
        let (fidelity, reason) = match (matrix.version(session), matrix.version(&server.version)) {
            _ if session == server.version => (Fidelity::Native, "same version".to_owned()),
            _ if server.reads.iter().any(|id| id == session) => {
                (Fidelity::Native, format!("these servers read version {session}"))
            }
            (Some(held), Some(of)) => {
                let verdict = matrix.verdict(held, of);
                (verdict.fidelity, verdict.reason.clone())
            }
            (None, _) => (Fidelity::None, format!("version {session} is not in the pack")),
            (_, None) => (Fidelity::None, format!("version {} is not in the pack", server.version)),
        };
        Cell {
            session: session.to_owned(),
            server: server.version.clone(),
            servers: names.to_vec(),
            allowed: fidelity <= self.max_loss,
            fidelity,
            reason,
        }
    }

    fn objections(&self, session: &str, row: &[Cell]) -> Vec<String> {
        let able: Vec<String> =
            row.iter().filter(|cell| cell.allowed).flat_map(|cell| cell.servers.iter().cloned()).collect();
        let unable = row.iter().filter(|cell| !cell.allowed);
        let objection = |cell: &Cell| {
            let meanwhile = match able.as_slice() {
                [] => "no server can serve them".to_owned(),
                [one] => format!("they fail as soon as {one} is away"),
                several => format!("they fail as soon as {} servers are away: {}", several.len(), several.join(", ")),
            };
            let [what, why] = match cell.fidelity {
                Fidelity::None => ["can't be served".to_owned(), cell.reason.clone()],
                Fidelity::Native | Fidelity::Exact | Fidelity::Carried | Fidelity::Lossy => {
                    [format!("would be {}", cell.fidelity), cell.reason.clone()]
                }
            };
            format!("sessions of version {session} {what} on servers of version {}: {why}; {meanwhile}", cell.server)
        };
        unable.map(objection).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::contract::{Verdict, VersionInfo};

    /// Down from 2 to 1 is lossy, 3 can't be brought to 1.
    fn matrix() -> Matrix {
        let versions = ["1", "2", "3"].map(|id| VersionInfo { id: id.into(), reads: Vec::new(), digest: 0 });
        let judge = |held: Version, server: Version| {
            let fidelity = match (held.0, server.0) {
                (1, 0) => Fidelity::Lossy,
                (2, 0) => Fidelity::None,
                (held, server) if held == server => Fidelity::Native,
                (_, _) => Fidelity::Carried,
            };
            Ok::<_, ()>(Verdict { fidelity, reason: format!("{fidelity} it is") })
        };
        Matrix::judged(versions.to_vec(), judge).unwrap()
    }

    fn ask(fleet: &[&str], joining: &str) -> Question {
        let server = |(number, id): (usize, &&str)| Server::new(format!("s{number}"), "", *id);
        Question {
            fleet: fleet.iter().enumerate().map(server).collect(),
            joining: Server::new("new", "", joining),
            max_loss: Fidelity::Carried,
            served_by: ServedBy::All,
        }
    }

    #[test]
    fn a_server_may_join_if_each_can_serve_what_each_writes() {
        let answer = ask(&["2", "2"], "3").answer(&matrix());
        assert!(answer.may && answer.objections.is_empty());
        assert_eq!(answer.cells.len(), 4);
        assert_eq!(answer.cells[0].servers, ["s0", "s1"]);
        assert!(ask(&["1"], "1").answer(&matrix()).may);
    }

    #[test]
    fn who_writes_what_others_lose_may_join_only_if_any_server_will_do() {
        let question = ask(&["1", "1"], "2");
        let answer = question.answer(&matrix());
        assert!(!answer.may);
        let told = "sessions of version 2 would be lossy on servers of version 1: lossy it is; they fail as soon as new is away";
        assert_eq!(answer.objections, [told]);
        assert!(Question { served_by: ServedBy::Any, ..question.clone() }.answer(&matrix()).may);
        assert!(Question { max_loss: Fidelity::Lossy, ..question.clone() }.answer(&matrix()).may);
        let reads = Server { reads: vec!["2".into()], ..Server::new("s", "", "1") };
        assert!(Question { fleet: vec![reads], ..question }.answer(&matrix()).may);
    }

    #[test]
    fn a_version_that_the_pack_lacks_may_not_join() {
        let answer = ask(&["1"], "9").answer(&matrix());
        assert!(!answer.may && answer.objections[0].starts_with("version 9 is not in the pack, which has 1, 2, 3"));
        assert!(!Question { served_by: ServedBy::Any, ..ask(&["1"], "9") }.answer(&matrix()).may);
        assert!(!ask(&["1"], "3").answer(&matrix()).may);
    }
}
