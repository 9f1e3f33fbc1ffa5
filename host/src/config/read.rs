//! Reads the configuration: the text against the schema, then what no schema can say.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Config, DirectoryEntry, Encoding, IdEntry, KeyEntry, PromoteKey, Rule, SelectionKey, TlsEntry, schema};
use crate::directory::Redis;
use crate::error::{Place, Problem};
use crate::gateway::pattern::Pattern;
use crate::gateway::pointer::Pointer;
use crate::supply::Address;

/// A configuration that can't be used, with all its problems.
#[derive(Debug, Clone)]
pub struct ConfigError {
    /// The file, or whatever else stands before each problem.
    pub name: String,
    /// What is wrong, in the order of the file.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            match &problem.place {
                Some(place) => write!(out, "{newline}{}:{}:{}: ", self.name, place.line, place.column)?,
                None => write!(out, "{newline}{}: ", self.name)?,
            }
            out.write_str(&problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Checks what no schema can say: addresses, patterns, pointers, and keys that exclude one another.
    ///
    /// # Errors
    /// Every problem, with its JSON Pointer and without a line.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut check = Check::default();
        check.config(self);
        if check.problems.is_empty() {
            return Ok(());
        }
        let problems = check.problems.into_iter().map(|(pointer, message)| Problem {
            place: None,
            message: format!("{pointer}: {message}"),
            pointer,
        });
        Err(ConfigError { name: "config".to_string(), problems: problems.collect() })
    }
}

pub(super) fn from_file(path: &Path) -> Result<Config, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
        name: name.clone(),
        problems: vec![Problem { place: None, pointer: String::new(), message: format!("can't be read: {error}") }],
    })?;
    let mut config = from_toml(&name, &text)?;
    config.file = Some(path.to_path_buf());
    if let Some(folder) = path.parent() {
        for file in files(&mut config) {
            *file = folder.join(&*file);
        }
    }
    Ok(config)
}

/// Every file that a configuration names.
fn files(config: &mut Config) -> impl Iterator<Item = &mut PathBuf> {
    let (http, etcd) =
        config.source.as_mut().map_or((None, None), |source| (source.http.as_mut(), source.etcd.as_mut()));
    let keys = config.seal.iter_mut().flat_map(|seal| seal.keys.iter_mut());
    let keys = keys.chain(config.admin.iter_mut().map(|admin| &mut admin.token));
    let (token, http_tls) = http.map_or((None, None), |http| (http.token.as_mut(), http.tls.as_mut()));
    let (password, etcd_tls) = etcd.map_or((None, None), |etcd| (etcd.password.as_mut(), etcd.tls.as_mut()));
    let (headers, tracing_tls) =
        config.tracing.as_mut().map_or((None, None), |tracing| (Some(&mut tracing.headers), tracing.tls.as_mut()));
    let keys = keys.chain(token).chain(password).chain(headers.into_iter().flat_map(|headers| headers.values_mut()));
    let tls = [http_tls, etcd_tls, tracing_tls].into_iter().flatten();
    let tls = tls.flat_map(|TlsEntry { ca, certificate, key }| [ca, certificate, key]).filter_map(Option::as_mut);
    let trusted = config.trust.keys.iter_mut().filter_map(|key| key.file.as_mut());
    let own = [&mut config.pack, &mut config.state, &mut config.guest.file].into_iter().filter_map(Option::as_mut);
    let own = own.chain(config.decisions.iter_mut().map(|decisions| &mut decisions.file));
    own.chain(keys.filter_map(|key| key.file.as_mut())).chain(trusted).chain(tls)
}

pub(super) fn from_toml(name: &str, text: &str) -> Result<Config, ConfigError> {
    let refuse = |mut problems: Vec<Problem>| {
        problems.sort_by_key(|problem| problem.place.as_ref().map(|place| (place.line, place.column)));
        ConfigError { name: name.to_string(), problems }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| Problem {
            place: error.span().map(|span| place(text, span.start)),
            pointer: String::new(),
            message: format!("no TOML: {}", error.message()),
        };
        return Err(refuse(errors.iter().map(problem).collect()));
    }
    let found = schema::findings(&table);
    if !found.is_empty() {
        let problem = |finding: schema::Finding| Problem {
            place: Some(place(text, finding.offset)),
            pointer: finding.pointer,
            message: finding.message,
        };
        return Err(refuse(found.into_iter().map(problem).collect()));
    }
    let config: Config = toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| place(text, span.start));
        refuse(vec![Problem { place, pointer: String::new(), message: error.message().to_string() }])
    })?;
    let mut check = Check::default();
    check.config(&config);
    if config.servers.is_empty() {
        check.say("/server".to_string(), "no server: name at least one [[server]] with its address");
    }
    if check.problems.is_empty() {
        return Ok(config);
    }
    let problem = |(pointer, message): (String, String)| Problem {
        place: offset_of(&table, &pointer).map(|offset| place(text, offset)),
        pointer,
        message,
    };
    Err(refuse(check.problems.into_iter().map(problem).collect()))
}

/// The longest span that is taken, a year.
const LONGEST_MS: u64 = 366 * 86_400_000;
/// The longest time to live that is taken, a hundred years.
const LONGEST_TTL_S: u64 = 100 * 366 * 86_400;
const MOST_THREADS: usize = 1024;
/// The longest that a request is let wait for the directory.
const LONGEST_WAIT_MS: u64 = 10_000;

#[derive(Default)]
struct Check {
    problems: Vec<(String, String)>,
}

impl Check {
    fn config(&mut self, config: &Config) {
        self.address("/listen", &config.listen);
        if let Some(listen) = config.store.as_ref().and_then(|store| store.listen.as_ref()) {
            self.address("/store/listen", listen);
        }
        self.servers(config);
        for (kind, rules) in [("create", &config.creates), ("join", &config.joins), ("end", &config.ends)] {
            for (index, rule) in rules.iter().enumerate() {
                self.rule(kind, &format!("/{kind}/{index}"), rule);
            }
        }
        self.record(config);
        self.seal(config);
        self.rules(config);
        self.numbers(config);
        let policy = &config.policy;
        if !(0.0..=1.0).contains(&policy.spill) {
            self.say("/policy/spill".to_string(), "expected a part of the server limit, 0 to 1");
        }
        if policy.selection != SelectionKey::Weighted && !policy.ramp.is_empty() {
            self.say("/policy/ramp".to_string(), "a ramp needs selection = \"weighted\"");
        }
        if config.health.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            self.say("/health/path".to_string(), "a path begins with \"/\"");
        }
    }

    fn servers(&mut self, config: &Config) {
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for (index, server) in config.servers.iter().enumerate() {
            let at = format!("/server/{index}");
            self.address(&format!("{at}/address"), &server.address);
            if !addresses.insert(&server.address) {
                let message = format!("two servers listen on \"{}\"", server.address);
                self.say(format!("{at}/address"), message);
            }
            if !server.name.is_empty() && !names.insert(&server.name) {
                self.say(format!("{at}/name"), format!("two servers are called \"{}\"", server.name));
            }
            if server.address.parse::<SocketAddr>().is_ok_and(|address| address.port() == 0) {
                self.say(format!("{at}/address"), "nothing can be reached at port 0");
            }
        }
        if !config.servers.is_empty() && config.servers.iter().all(|server| server.weight == 0) {
            self.say("/server".to_string(), "all weights are 0: no server takes anything");
        }
    }

    /// Numbers that no clock and no machine can follow.
    fn numbers(&mut self, config: &Config) {
        let (health, timeouts) = (&config.health, &config.timeouts);
        let spans = [
            ("/health/interval_ms", health.interval_ms),
            ("/health/timeout_ms", health.timeout_ms),
            ("/timeouts/connect_ms", timeouts.connect_ms),
            ("/timeouts/read_ms", timeouts.read_ms),
            ("/timeouts/drain_ms", timeouts.drain_ms),
        ];
        for (at, span) in spans {
            if span > LONGEST_MS {
                self.say(at.to_string(), format!("at most a year, {LONGEST_MS} ms"));
            }
        }
        self.directory(&config.directory);
        if config.directory.ttl_s > LONGEST_TTL_S {
            self.say("/directory/ttl_s".to_string(), format!("at most a hundred years, {LONGEST_TTL_S} s"));
        }
        if config.directory.max_sessions == 0 {
            self.say("/directory/max_sessions".to_string(), "a directory of no session forgets every carry at once");
        }
        if config.threads > MOST_THREADS {
            self.say("/threads".to_string(), format!("at most {MOST_THREADS} threads; 0 is one per core"));
        }
    }

    fn directory(&mut self, directory: &DirectoryEntry) {
        let Some(redis) = &directory.redis else { return };
        // What is wrong is said without the address: there may be a password in it.
        if let Err(message) = Redis::read(redis) {
            self.say("/directory/redis".to_string(), message);
        }
        if let Some(password) = &directory.password {
            self.key("/directory/password", password);
        }
        if directory.prefix.is_empty() {
            self.say("/directory/prefix".to_string(), "without a prefix every key of that Redis is a session");
        }
        if !(1..=LONGEST_WAIT_MS).contains(&directory.timeout_ms) {
            let message = format!("expected 1 to {LONGEST_WAIT_MS} ms: requests wait for it");
            self.say("/directory/timeout_ms".to_string(), message);
        }
        for (key, span) in [("fresh_ms", directory.fresh_ms / 1000), ("away_s", directory.away_s)] {
            if span > directory.ttl_s {
                self.say(format!("/directory/{key}"), "at most directory.ttl_s: what is forgotten is not believed");
            }
        }
        if directory.ttl_s == 0 {
            self.say("/directory/ttl_s".to_string(), "Redis keeps nothing for 0 seconds");
        }
    }

    fn rule(&mut self, kind: &str, at: &str, rule: &Rule) {
        let pattern = match Pattern::parse(&rule.pattern) {
            Ok(pattern) => pattern,
            Err(message) => return self.say(format!("{at}/match"), message),
        };
        let mut names = BTreeSet::new();
        if let Some(name) = pattern.names().find(|name| !names.insert(*name)) {
            self.say(format!("{at}/match"), format!("the pattern has {{{name}}} twice"));
        }
        let Some(id) = &rule.id else {
            if kind != "create" && !pattern.names().any(|name| name == "id") {
                let message =
                    "where does the session id stand? put {id} into the pattern, or say id = { query = \"…\" }";
                self.say(format!("{at}/match"), message);
            }
            return;
        };
        let at = format!("{at}/id");
        let IdEntry { path, query, header, cookie, body, response_header, response_body } = id;
        let said = [path, query, header, cookie, body, response_header, response_body];
        if said.iter().filter(|one| one.is_some()).count() != 1 {
            let message = "say exactly one of path, query, header, cookie, body, response-header, response-body";
            self.say(at.clone(), message);
        }
        if let Some(name) = path.as_ref().filter(|name| !pattern.names().any(|known| known == name.as_str())) {
            self.say(format!("{at}/path"), format!("the pattern has no {{{name}}}"));
        }
        if kind != "create" && (response_header.is_some() || response_body.is_some()) {
            self.say(at.clone(), "only a create can learn the id from the answer");
        }
        for (key, pointer) in [("body", body), ("response-body", response_body)] {
            self.pointer(&format!("{at}/{key}"), pointer.as_deref());
        }
        for (key, name) in [("header", header), ("response-header", response_header)] {
            self.header(&format!("{at}/{key}"), name.as_deref());
        }
    }

    fn record(&mut self, config: &Config) {
        let record = &config.record;
        let carriers =
            [record.body.is_some(), record.header.is_some(), record.cookie.is_some(), record.store.is_some()];
        if carriers.iter().filter(|said| **said).count() > 1 {
            self.say("/record".to_string(), "say one of body, header, cookie and store: a record is in one place");
        }
        if let Some(body) = &record.body {
            if body.request.is_none() && body.response.is_none() {
                self.say(
                    "/record/body".to_string(),
                    "say request, response or both, as JSON Pointers (\"\" is all of it)",
                );
            }
            self.pointer("/record/body/request", body.request.as_deref());
            self.pointer("/record/body/response", body.response.as_deref());
        }
        self.header("/record/header/name", record.header.as_ref().map(|header| header.name.as_str()));
        if record.store.as_ref().is_some_and(|store| !store.key.contains("{id}")) {
            self.say("/record/store/key".to_string(), "the key needs {id}, or all sessions share one record");
        }
        if let Some(cookie) = &record.cookie {
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if cookie.name.is_empty() || !cookie.name.bytes().all(token) {
                self.say("/record/cookie/name".to_string(), format!("\"{}\" is no cookie name", cookie.name));
            }
            if cookie.encoding == Encoding::Json {
                let message = "JSON can't stand in a cookie: say encoding = \"base64url\" or \"base64\"";
                self.say("/record/cookie/encoding".to_string(), message);
            }
        }
        let answers = record.header.is_some()
            || record.cookie.is_some()
            || record.body.as_ref().is_some_and(|body| body.response.is_some());
        if record.client_version.is_some() && !answers {
            let message =
                "no records in answers: say record.body.response, record.header or record.cookie, or leave this out";
            self.say("/record/client_version".to_string(), message);
        }
    }

    fn seal(&mut self, config: &Config) {
        let Some(seal) = &config.seal else { return };
        if seal.keys.is_empty() {
            self.say("/seal/keys".to_string(), "no key: name at least one, { file = \"…\" } or { env = \"…\" }");
        }
        for (index, key) in seal.keys.iter().enumerate() {
            if key.file.is_some() == key.env.is_some() {
                self.say(format!("/seal/keys/{index}"), "say file or env: a key is read from one place");
            }
        }
    }

    /// Where rules and guests come from, whose they must be, and who administers.
    fn rules(&mut self, config: &Config) {
        if let Some(source) = &config.source {
            if config.pack.is_some() {
                self.say("/source".to_string(), "say pack or source: a gateway has one pack");
            }
            if source.http.is_some() == source.etcd.is_some() {
                self.say("/source".to_string(), "say exactly one of source.http and source.etcd");
            }
            if let Some(http) = &source.http {
                self.source("/source/http/url", &http.url);
                http.guest.iter().for_each(|guest| self.source("/source/http/guest", guest));
                http.token.iter().for_each(|key| self.key("/source/http/token", key));
                self.tls("/source/http/tls", http.tls.as_ref());
                if http.poll_ms == 0 || http.poll_ms > LONGEST_MS {
                    self.say("/source/http/poll_ms".to_string(), "expected 1 ms to a year");
                }
                if http.body_ms == 0 || http.body_ms > LONGEST_MS {
                    self.say("/source/http/body_ms".to_string(), "expected 1 ms to a year");
                }
                if http.wait_s > 3600 {
                    self.say(
                        "/source/http/wait_s".to_string(),
                        "at most 3600 s: nothing keeps a connection for longer",
                    );
                }
            }
            if let Some(etcd) = &source.etcd {
                if etcd.endpoints.is_empty() {
                    self.say("/source/etcd/endpoints".to_string(), "name at least one member, http://host:2379");
                }
                etcd.endpoints.iter().for_each(|endpoint| self.source("/source/etcd/endpoints", endpoint));
                if etcd.key.is_empty() {
                    self.say("/source/etcd/key".to_string(), "the key that holds the pack has a name");
                }
                if etcd.user.is_some() != etcd.password.is_some() {
                    self.say("/source/etcd".to_string(), "say both user and password, or neither");
                }
                etcd.password.iter().for_each(|key| self.key("/source/etcd/password", key));
                self.tls("/source/etcd/tls", etcd.tls.as_ref());
            }
        }
        for (index, key) in config.trust.keys.iter().enumerate() {
            let at = format!("/trust/keys/{index}");
            if key.key.is_some() == key.file.is_some() {
                self.say(at.clone(), "say key or file: a key is read from one place");
            }
            if key.packs.as_ref().is_some_and(Vec::is_empty) {
                self.say(format!("{at}/packs"), "a key for no pack signs nothing: leave packs out, or name some");
            }
            if let Some(Err(message)) = key.key.as_ref().map(|key| crate::Trust::default().key(key, None)) {
                self.say(format!("{at}/key"), message);
            }
        }
        if let Some(admin) = &config.admin {
            self.address("/admin/listen", &admin.listen);
            self.key("/admin/token", &admin.token);
        }
        if let Some(tracing) = &config.tracing {
            self.source("/tracing/endpoint", &tracing.endpoint);
            self.tls("/tracing/tls", tracing.tls.as_ref());
            for (name, key) in &tracing.headers {
                self.header(&format!("/tracing/headers/{name}"), Some(name));
                self.key(&format!("/tracing/headers/{name}"), key);
            }
            if tracing.every_ms == 0 || tracing.every_ms > LONGEST_MS {
                self.say("/tracing/every_ms".to_string(), "expected 1 ms to a year");
            }
            if tracing.one_of == 0 || tracing.waiting == 0 {
                self.say("/tracing".to_string(), "one_of and waiting are 1 or more: leave [tracing] out for no traces");
            }
        }
        for (index, path) in config.decisions.iter().flat_map(|decisions| decisions.mask.iter().enumerate()) {
            if !path.is_empty() && !path.starts_with('/') {
                self.say(format!("/decisions/mask/{index}"), "a JSON Pointer begins with \"/\"");
            }
        }
        if config.rollout.canary_percent > 100 {
            self.say("/rollout/canary_percent".to_string(), "at most 100 percent");
        }
        if config.rollout.canary_percent > 0 && config.rollout.promote == PromoteKey::AtOnce {
            let message = "a canary is staged: say promote = \"by-hand\", or leave it out and push with --stage";
            self.say("/rollout/canary_percent".to_string(), message);
        }
        if config.guest.instances == 0 {
            self.say("/guest/instances".to_string(), "without an instance nothing is translated");
        }
    }

    fn source(&mut self, at: &str, address: &str) {
        if let Err(message) = Address::read(address) {
            self.say(at.to_string(), message);
        }
    }

    fn tls(&mut self, at: &str, tls: Option<&TlsEntry>) {
        if tls.is_some_and(|tls| tls.certificate.is_some() != tls.key.is_some()) {
            self.say(at.to_string(), "say both certificate and key, or neither");
        }
    }

    fn key(&mut self, at: &str, key: &KeyEntry) {
        if key.file.is_some() == key.env.is_some() {
            self.say(at.to_string(), "say file or env: a secret is read from one place");
        }
    }

    fn address(&mut self, at: &str, address: &str) {
        if address.parse::<SocketAddr>().is_err() {
            self.say(at.to_string(), format!("expected an address like \"127.0.0.1:8080\", found \"{address}\""));
        }
    }

    fn pointer(&mut self, at: &str, pointer: Option<&str>) {
        if let Some(Err(message)) = pointer.map(Pointer::parse) {
            self.say(at.to_string(), message);
        }
    }

    fn header(&mut self, at: &str, name: Option<&str>) {
        if let Some(name) = name.filter(|name| http::HeaderName::try_from(*name).is_err()) {
            self.say(at.to_string(), format!("\"{name}\" is no header name"));
        }
    }

    fn say(&mut self, pointer: String, message: impl Into<String>) {
        self.problems.push((pointer, message.into()));
    }
}

/// Where in the text the item at a pointer stands, or the nearest item around it.
fn offset_of(table: &Spanned<DeTable<'_>>, pointer: &str) -> Option<usize> {
    let mut tokens = pointer.split('/').skip(1);
    let (key, mut value) = table.get_ref().get_key_value(tokens.next()?)?;
    let mut offset = key.span().start;
    for token in tokens {
        let inner = match value.get_ref() {
            DeValue::Table(table) => table.get_key_value(token).map(|(key, value)| (key.span().start, value)),
            DeValue::Array(items) => {
                token.parse::<usize>().ok().and_then(|index| items.get(index)).map(|item| (item.span().start, item))
            }
            _ => None,
        };
        match inner {
            Some((start, inner)) => (offset, value) = (start, inner),
            None => break,
        }
    }
    Some(offset)
}

fn place(text: &str, offset: usize) -> Place {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    Place { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
}
