//! The gateway's configuration: every key of its file with its default, and all problems of a file at once.

mod read;
mod rules;
mod schema;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use read::ConfigError;
pub use rules::{
    AdminEntry, DecisionsEntry, EtcdSourceEntry, GuestEntry, HttpSourceEntry, IsolationKey, PromoteKey, RolloutEntry,
    SourceEntry, TlsEntry, TracingEntry, TrustEntry, TrustKeyEntry,
};
pub use schema::json_schema;

use crate::contract::Fidelity;

/// The configuration of one gateway, as `unskew.toml` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address that clients connect to; port 0 takes a free one.
    #[serde(default = "Config::default_listen")]
    pub listen: String,
    /// What the gateway does with what it finds: `off`, `observe` or `enforce`. It can be thrown while it runs.
    #[serde(default)]
    pub mode: ModeKey,
    /// The rule pack, relative to this file. Without one the gateway balances load and translates nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PathBuf>,
    /// Where the pack comes from instead of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceEntry>,
    /// Whose packs and guests are taken; without keys everybody's.
    #[serde(default)]
    pub trust: TrustEntry,
    /// A folder for the last good pack and guest, relative to this file: served at a start whose source is down. Without
    /// it nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// The guest and what it may use.
    #[serde(default)]
    pub guest: GuestEntry,
    /// How a new generation takes over.
    #[serde(default)]
    pub rollout: RolloutEntry,
    /// The decision log; without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decisions: Option<DecisionsEntry>,
    /// Traces for a collector; without it there are none, and a `traceparent` passes as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingEntry>,
    /// The admin API; without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminEntry>,
    /// Whether every answer carries an `unskew-explain` header that says where the request went and why.
    #[serde(default)]
    pub explain: bool,
    /// Worker threads; 0 takes one per core.
    #[serde(default)]
    pub threads: usize,
    /// The servers behind the gateway.
    #[serde(default, rename = "server")]
    pub servers: Vec<ServerEntry>,
    /// Requests that make a new session.
    #[serde(default, rename = "create")]
    pub creates: Vec<Rule>,
    /// Requests for a session that exists.
    #[serde(default, rename = "join")]
    pub joins: Vec<Rule>,
    /// Requests that end a session; where the server agrees, its carry is forgotten.
    #[serde(default, rename = "end")]
    pub ends: Vec<Rule>,
    /// Where records are.
    #[serde(default)]
    pub record: RecordEntry,
    /// How servers are chosen, and what happens where nothing can be chosen or translated.
    #[serde(default)]
    pub policy: PolicyEntry,
    /// The in-memory store, for the `store` carrier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreEntry>,
    /// What inline carries are sealed with where clients can reach them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<SealEntry>,
    /// Active health checks.
    #[serde(default)]
    pub health: HealthEntry,
    /// The directory: which version a session's record has, who wrote it, and its carry.
    #[serde(default)]
    pub directory: DirectoryEntry,
    /// How long the gateway waits.
    #[serde(default)]
    pub timeouts: TimeoutEntry,
    /// The file that it was read from; SIGHUP reads it again.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

impl Config {
    /// Reads and checks a file; a relative `pack` is taken from the file's folder.
    ///
    /// # Errors
    /// Every problem of the file, each with its line.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Config, ConfigError> {
        read::from_file(path.as_ref())
    }

    /// Reads and checks a text; `name` stands before each problem.
    ///
    /// ```
    /// let error = unskew::config::Config::from_toml("unskew.toml", "listne = \"127.0.0.1:0\"\n").unwrap_err();
    /// assert_eq!(error.to_string(), "unskew.toml:1:1: unknown key \"listne\", did you mean \"listen\"?");
    /// ```
    ///
    /// # Errors
    /// Every problem of the text, each with its line.
    pub fn from_toml(name: &str, text: &str) -> Result<Config, ConfigError> {
        read::from_toml(name, text)
    }

    /// Whether a pack comes from somewhere.
    pub(crate) fn has_rules(&self) -> bool {
        self.pack.is_some() || self.source.is_some()
    }

    fn default_listen() -> String {
        "127.0.0.1:8080".to_string()
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: Config::default_listen(),
            mode: ModeKey::default(),
            pack: None,
            source: None,
            trust: TrustEntry::default(),
            state: None,
            guest: GuestEntry::default(),
            rollout: RolloutEntry::default(),
            decisions: None,
            tracing: None,
            admin: None,
            explain: false,
            threads: 0,
            servers: Vec::new(),
            creates: Vec::new(),
            joins: Vec::new(),
            ends: Vec::new(),
            record: RecordEntry::default(),
            policy: PolicyEntry::default(),
            store: None,
            seal: None,
            health: HealthEntry::default(),
            directory: DirectoryEntry::default(),
            timeouts: TimeoutEntry::default(),
            file: None,
        }
    }
}

/// `off` passes everything through, `observe` decides and counts and changes nothing, `enforce` acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModeKey {
    /// Pass everything through.
    Off,
    /// Decide and count, change nothing.
    Observe,
    /// Route and translate.
    #[default]
    Enforce,
}

/// One server behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerEntry {
    /// A name for logs and explanations; the address if none is given.
    #[serde(default)]
    pub name: String,
    /// Where it listens, as `ip:port`.
    pub address: String,
    /// The version of the records that it writes, an id of the pack.
    #[serde(default)]
    pub version: String,
    /// Versions that it reads natively beside those that the pack names for its version.
    #[serde(default)]
    pub reads: Vec<String>,
    /// Its share of the sessions against other servers; 0 takes none.
    #[serde(default = "ServerEntry::default_weight")]
    pub weight: u32,
}

impl ServerEntry {
    /// Its name; the address if none is given.
    pub(crate) fn called(&self) -> &str {
        if self.name.is_empty() { &self.address } else { &self.name }
    }

    fn default_weight() -> u32 {
        1
    }
}

/// Which requests a rule is about, and where their session id stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Method and path: `POST /sessions/{id}/join`. `*` is any method, `{id}` one segment, `**` at the end the rest.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Where the session id stands; `{ path = "id" }` where the pattern has `{id}` and nothing is said here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<IdEntry>,
}

/// Where a session id stands: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IdEntry {
    /// The name of a `{segment}` of the pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The name of a query parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The name of a request header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The name of a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// A JSON Pointer into the request's body. Bodies above 64 KiB are refused, because they are not read before
    /// the server is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The name of a response header; for creates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header: Option<String>,
    /// A JSON Pointer into the response's body; for creates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_body: Option<String>,
}

/// Where records are: at most one of `body`, `header`, `cookie` and `store`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordEntry {
    /// Records travel in bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyEntry>,
    /// Records travel in a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderEntry>,
    /// Records travel in a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieEntry>,
    /// Records rest in a store that the servers read and write themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreKeyEntry>,
    /// The version that records in answers are brought to for clients; without it they stay as the server wrote them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_version: Option<String>,
}

/// The `body` carrier; `""` is the whole body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyEntry {
    /// A JSON Pointer to the record in request bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// A JSON Pointer to the record in response bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
}

/// The `header` carrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderEntry {
    /// The header's name, in requests and responses.
    pub name: String,
    /// How the record is written in it.
    #[serde(default)]
    pub encoding: Encoding,
}

/// The `cookie` carrier: read from `Cookie`, written to `Set-Cookie` with the attributes that the server gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CookieEntry {
    /// The cookie's name.
    pub name: String,
    /// How the record is written in it; JSON itself can't stand in a cookie.
    #[serde(default = "CookieEntry::default_encoding")]
    pub encoding: Encoding,
}

impl CookieEntry {
    fn default_encoding() -> Encoding {
        Encoding::Base64url
    }
}

/// How a record is written in a header or a cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// The JSON text itself.
    #[default]
    Json,
    /// Standard base64 with padding.
    Base64,
    /// URL-safe base64, written without padding, read with or without.
    Base64url,
}

/// The `store` carrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreKeyEntry {
    /// The key of a session's record; `{id}` stands for the session id.
    #[serde(default = "StoreKeyEntry::default_key")]
    pub key: String,
}

impl StoreKeyEntry {
    fn default_key() -> String {
        "session:{id}".to_string()
    }
}

/// How servers are chosen, and what happens where nothing can be chosen or translated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyEntry {
    /// The worst fidelity that a join may be served with.
    pub max_loss: FidelityKey,
    /// How servers are ordered inside the best tier.
    pub selection: SelectionKey,
    /// For `selection = "weighted"`: percent by which the weights of a version's servers are multiplied, per version id.
    pub ramp: BTreeMap<String, u32>,
    /// Requests in flight per server that are its full load; 0 sets no limit.
    pub server_limit: u32,
    /// The part of `server_limit`, 0 to 1, above which the next tier is admitted.
    pub spill: f32,
    /// What happens to a request while no rules could be loaded.
    pub on_load_failure: FailureKey,
    /// What happens to a request whose record can't be translated.
    pub on_call_failure: FailureKey,
    /// How often a rewrite that lost a race is tried again, and how many servers are tried.
    pub retries: u32,
    /// The most translations of records above 64 KiB that run at a time; 0 takes one per core.
    pub large_at_a_time: usize,
}

impl Default for PolicyEntry {
    fn default() -> Self {
        PolicyEntry {
            max_loss: FidelityKey::Carried,
            selection: SelectionKey::Writer,
            ramp: BTreeMap::new(),
            server_limit: 0,
            spill: 0.8,
            on_load_failure: FailureKey::Closed,
            on_call_failure: FailureKey::Closed,
            retries: 3,
            large_at_a_time: 0,
        }
    }
}

/// How much a translation may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FidelityKey {
    /// Only servers that read the record as it is.
    Native,
    /// Translations that lose nothing and need no carry.
    Exact,
    /// Translations that need the carry to bring everything back.
    Carried,
    /// Translations that lose something.
    Lossy,
}

impl From<FidelityKey> for Fidelity {
    fn from(key: FidelityKey) -> Fidelity {
        match key {
            FidelityKey::Native => Fidelity::Native,
            FidelityKey::Exact => Fidelity::Exact,
            FidelityKey::Carried => Fidelity::Carried,
            FidelityKey::Lossy => Fidelity::Lossy,
        }
    }
}

/// How servers are ordered inside the best tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SelectionKey {
    /// The server that wrote the record, while it is healthy.
    Writer,
    /// The newest version.
    Latest,
    /// The oldest version.
    Oldest,
    /// By `ramp`.
    Weighted,
}

/// What happens where the rules fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailureKey {
    /// The request is refused with a problem document.
    Closed,
    /// The record passes on untouched.
    Open,
}

/// The store that the gateway brings along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreEntry {
    /// Which store.
    #[serde(default)]
    pub kind: StoreKind,
    /// Where servers reach it over HTTP: `GET`, `PUT` and `DELETE /records/{key}`, with `ETag` and `If-Match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// The most bytes that keys and records take; the least used go first.
    #[serde(default = "StoreEntry::default_max_bytes")]
    pub max_bytes: u64,
}

impl StoreEntry {
    fn default_max_bytes() -> u64 {
        256 << 20
    }
}

/// Which store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In this process; gone with it.
    #[default]
    Memory,
}

/// What inline carries are sealed with: HMAC-SHA256, bound to the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SealEntry {
    /// The first seals, all of them open, so that keys can be changed without losing carries.
    pub keys: Vec<KeyEntry>,
}

/// Where a key is read from at the start, at least 32 bytes: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// A file, relative to this one; a line break at its end is no part of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The name of an environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

/// Active health checks: every server is asked in turn, whether or not requests reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthEntry {
    /// A path that answers 2xx on a healthy server; without it a TCP connection is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Milliseconds between two checks of a server; 0 checks never.
    pub interval_ms: u64,
    /// Milliseconds that a check may take.
    pub timeout_ms: u64,
    /// Failed checks in a row that make a server unhealthy.
    pub unhealthy_after: u32,
    /// Good checks in a row that make it healthy again.
    pub healthy_after: u32,
}

impl Default for HealthEntry {
    fn default() -> Self {
        HealthEntry { path: None, interval_ms: 1000, timeout_ms: 500, unhealthy_after: 2, healthy_after: 1 }
    }
}

/// The bounds of the directory, and where gateways share it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DirectoryEntry {
    /// The most sessions that are remembered.
    pub max_sessions: u64,
    /// The most bytes that ids and carries take.
    pub max_bytes: u64,
    /// Seconds after which a session that nobody asked for is forgotten: at least as long as its record lives.
    pub ttl_s: u64,
    /// A Redis that gateways share it in: `redis://[user:password@]host[:port][/db]`, or `unix:///path`. Without it each
    /// process has a directory of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<String>,
    /// The password of that Redis, in place of one in its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<KeyEntry>,
    /// What keys in Redis begin with: gateways of one fleet say the same, those of another one something else.
    pub prefix: String,
    /// Milliseconds that a look or a note may wait for Redis; then the request goes on with what this process knows.
    pub timeout_ms: u64,
    /// Milliseconds that a copy in this process is believed at most; as soon as another gateway notes something of the
    /// session it isn't any more. 0 asks Redis each time.
    pub fresh_ms: u64,
    /// Seconds that a copy in this process is believed while Redis doesn't answer; 0 never.
    pub away_s: u64,
}

impl Default for DirectoryEntry {
    fn default() -> Self {
        DirectoryEntry {
            max_sessions: 1_000_000,
            max_bytes: 256 << 20,
            ttl_s: 86_400,
            redis: None,
            password: None,
            prefix: "unskew:".to_string(),
            timeout_ms: 50,
            fresh_ms: 1000,
            away_s: 60,
        }
    }
}

/// How long the gateway waits, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutEntry {
    /// For a connection to a server.
    pub connect_ms: u64,
    /// For the next bytes of a server's answer.
    pub read_ms: u64,
    /// For requests in flight, when the gateway stops.
    pub drain_ms: u64,
}

impl Default for TimeoutEntry {
    fn default() -> Self {
        TimeoutEntry { connect_ms: 1000, read_ms: 60_000, drain_ms: 10_000 }
    }
}
