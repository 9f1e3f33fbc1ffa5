//! A version as its servers speak it: what they write, which versions they read, and how strictly.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::super::shape::Shape;

/// What servers of one version write and read.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// The version's id in the pack.
    pub id: String,
    /// The dialects whose records its servers read, as indexes among all dialects.
    pub reads: Vec<usize>,
    session: String,
    connections: String,
    connection: String,
    shape: Shape,
}

impl Dialect {
    /// The dialect of servers that write `session` at a create and append `connection` to the array at the pointer
    /// `connections` at a join. In both texts `${session}`, `${connection}`, `${now_s}` and `${now_ms}` are filled in.
    ///
    /// # Errors
    /// What is wrong with the texts.
    pub fn new(
        id: String,
        reads: Vec<usize>,
        session: String,
        connections: String,
        connection: String,
    ) -> Result<Dialect, String> {
        let mut dialect = Dialect { id, reads, session, connections, connection, shape: Shape::default() };
        let born = dialect.new_session("a");
        let born: Value = serde_json::from_slice(&born).map_err(|error| format!("session is no JSON: {error}"))?;
        let (joined, _) = dialect.join(born.clone(), "b")?;
        let joined: Value =
            serde_json::from_slice(&joined).map_err(|error| format!("connection is no JSON: {error}"))?;
        dialect.shape = Shape::of([&born, &joined]);
        Ok(dialect)
    }

    /// The record of a new session.
    pub(super) fn new_session(&self, session: &str) -> Vec<u8> {
        fill(&self.session, &[("${session}", session)]).trim().as_bytes().to_vec()
    }

    /// The record with one more connection, written as this server writes, and how many connections there are now.
    pub(super) fn join(&self, mut record: Value, connection: &str) -> Result<(Vec<u8>, usize), String> {
        let element = fill(&self.connection, &[("${connection}", connection)]);
        let element: Value =
            serde_json::from_str(&element).map_err(|error| format!("connection is no JSON: {error}"))?;
        let place = &self.connections;
        let connections = record.pointer_mut(place).and_then(Value::as_array_mut);
        let connections = connections.ok_or_else(|| format!("session has no array at {place:?} for connections"))?;
        connections.push(element);
        let count = connections.len();
        Ok((record.to_string().into_bytes(), count))
    }

    /// Whether a record is one of this version: it has the members that its servers write, and no others.
    ///
    /// # Errors
    /// The first place that differs.
    pub(in super::super) fn accepts(&self, record: &Value) -> Result<(), String> {
        self.shape.accepts(record)
    }

    /// Takes the connections out of a record of this version.
    pub(in super::super) fn take_connections(&self, record: &mut Value) -> Vec<Value> {
        let connections = record.pointer_mut(&self.connections).and_then(Value::as_array_mut);
        connections.map(std::mem::take).unwrap_or_default()
    }
}

fn fill(template: &str, names: &[(&str, &str)]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = template.replace("${now_s}", &now.as_secs().to_string());
    let text = text.replace("${now_ms}", &now.as_millis().to_string());
    names.iter().fold(text, |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]
    use super::*;

    fn dialect(session: &str) -> Result<Dialect, String> {
        let [connections, connection] = ["/list", r#"{"c":"${connection}","at":${now_ms}}"#].map(String::from);
        Dialect::new("1".into(), vec![0], session.into(), connections, connection)
    }

    #[test]
    fn a_dialect_reads_what_it_writes() {
        let dialect = dialect(r#"{"id":"${session}","list":[]}"#).unwrap();
        let born: Value = serde_json::from_slice(&dialect.new_session("s")).unwrap();
        assert_eq!(dialect.accepts(&born), Ok(()));
        let (joined, count) = dialect.join(born, "c").unwrap();
        assert_eq!((dialect.accepts(&serde_json::from_slice(&joined).unwrap()), count), (Ok(()), 1));
    }

    #[test]
    fn templates_without_a_place_for_connections_are_refused() {
        assert_eq!(dialect(r#"{"id":1}"#).unwrap_err(), "session has no array at \"/list\" for connections");
        assert!(dialect("{").unwrap_err().starts_with("session is no JSON"));
    }
}
