//! Metrics in Prometheus' text format: of the process since it started, and of each generation that is alive.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::directory::DirectoryLink;
use crate::gateway::state::State;
use crate::generation::Generation;

/// A metric's kind.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The text so far.
struct Page(String);

/// All metrics now.
pub(super) fn text(state: &State) -> String {
    let mut page = Page(String::with_capacity(8192));
    process(&mut page, state);
    let counts = state.counters.snapshot();
    for (name, help, value) in counts.all() {
        let name = format!("unskew_gateway_{name}_total");
        page.head(&name, Kind::Counter, help);
        page.line(&name, &[], value);
    }
    let alive = state.runtime.alive();
    generations(&mut page, &alive, state);
    pairs(&mut page, &alive);
    page.0
}

fn process(page: &mut Page, state: &State) {
    let (stats, status) = (state.runtime.stats(), state.runtime.status());
    let gauges = [
        ("unskew_ready", "Whether a generation is active.", u64::from(status.active.is_some())),
        ("unskew_generations_alive", "Generations that somebody still holds.", stats.generations_alive),
        ("unskew_pack_expired", "Whether the active pack is past its expiry.", u64::from(status.expired.is_some())),
        ("unskew_source_failing", "Whether the source fails.", u64::from(state.intake.trouble()[0].is_some())),
    ];
    for (name, help, value) in gauges {
        page.head(name, Kind::Gauge, help);
        page.line(name, &[], value);
    }
    let directory = state.sessions.status();
    let is_away = u64::from(matches!(directory.link, DirectoryLink::Away { .. }));
    page.head("unskew_directory_away", Kind::Gauge, "Whether the directory that gateways share doesn't answer.");
    page.line("unskew_directory_away", &[], is_away);
    page.head("unskew_directory_sessions", Kind::Gauge, "Sessions that are known in this process, roughly.");
    page.line("unskew_directory_sessions", &[], directory.entries);
    let counters = [
        ("unskew_swaps_total", "Generations published.", stats.swaps),
        ("unskew_refused_total", "Packs and guests refused.", stats.refused),
        ("unskew_rollbacks_total", "Roll-backs.", stats.rollbacks),
        ("unskew_quarantines_total", "Generations put aside because their guest kept failing.", stats.quarantines),
        ("unskew_instances_made_total", "Instances made.", stats.instances_made),
        ("unskew_instances_dropped_total", "Instances dropped after an error.", stats.instances_dropped),
        (
            "unskew_decisions_dropped_total",
            "Lines that the decision log could not take in time.",
            state.decisions.as_ref().map_or(0, |decisions| decisions.dropped()),
        ),
        ("unskew_directory_asked_total", "Looks and notes that were for the shared directory.", directory.asked),
        (
            "unskew_directory_unanswered_total",
            "Looks and notes that the shared directory did not answer in time.",
            directory.unanswered,
        ),
        (
            "unskew_directory_unread_total",
            "Values of the shared directory that were none of ours, and taken as not there.",
            directory.unread,
        ),
        (
            "unskew_spans_sent_total",
            "Spans that the collector has taken.",
            state.spans.as_ref().map_or(0, |spans| spans.sent()),
        ),
        (
            "unskew_spans_lost_total",
            "Spans that could not wait any longer, or that the collector did not take.",
            state.spans.as_ref().map_or(0, |spans| spans.lost()),
        ),
        ("unskew_pool_exhausted_total", "Calls that found no free instance in time.", stats.pool_exhausted),
    ];
    for (name, help, value) in counters {
        page.head(name, Kind::Counter, help);
        page.line(name, &[], value);
    }
    let name = "unskew_guest_failures_total";
    page.head(name, Kind::Counter, "Calls in which the guest itself failed.");
    let kinds = [
        ("trap", stats.traps),
        ("cpu-budget", stats.cpu_kills),
        ("memory", stats.memory_kills),
        ("wrong-answer", stats.wrong_answers),
    ];
    kinds.iter().for_each(|(kind, value)| page.line(name, &[("kind", kind)], value));
}

fn generations(page: &mut Page, alive: &[std::sync::Arc<Generation>], state: &State) {
    let status = state.runtime.status();
    let phase = |id: u64| status.lives.iter().find(|life| life.id == id).map_or("", |life| life.phase.as_str());
    let name = "unskew_generation_info";
    page.head(name, Kind::Gauge, "The generations that are alive, with their phase.");
    for one in alive {
        let labels = Labels::of(one);
        page.line(name, &[&labels.pairs()[..], &[("phase", phase(one.id()))]].concat(), 1);
    }
    let name = "unskew_generation_expires_seconds";
    page.head(name, Kind::Gauge, "When the pack of a generation expires, in seconds since 1970.");
    for one in alive {
        let expires = one.statement().expires.and_then(|when| when.duration_since(SystemTime::UNIX_EPOCH).ok());
        if let Some(expires) = expires {
            page.line(name, &Labels::of(one).pairs(), expires.as_secs());
        }
    }
    for (name, help, label, read) in [
        (
            "unskew_failed_calls_total",
            "Calls that gave no answer, by the kind of fault or failure.",
            "kind",
            (|one| one.meter().failures()) as fn(&Generation) -> std::collections::BTreeMap<&'static str, u64>,
        ),
        ("unskew_routed_total", "Requests routed, by tier.", "tier", |one| one.meter().tiers()),
    ] {
        page.head(name, Kind::Counter, help);
        for one in alive {
            let labels = Labels::of(one);
            for (word, many) in read(one) {
                page.line(name, &[&labels.pairs()[..], &[(label, word)]].concat(), many);
            }
        }
    }
}

fn pairs(page: &mut Page, alive: &[std::sync::Arc<Generation>]) {
    type Read = fn(&crate::meter::Reading) -> u64;
    let counters: [(&str, &str, Read); 4] = [
        ("unskew_translations_total", "Records translated.", |pair| pair.translations),
        ("unskew_carried_total", "Values kept in carries.", |pair| pair.carried),
        ("unskew_restored_total", "Values that came back from carries.", |pair| pair.restored),
        ("unskew_lost_total", "Values lost in translation.", |pair| pair.lost),
    ];
    for (name, help, read) in counters {
        page.head(name, Kind::Counter, help);
        for one in alive {
            let labels = Labels::of(one);
            for pair in one.meter().pairs() {
                let (from, to) = (one.manifest().id(pair.from), one.manifest().id(pair.to));
                page.line(name, &[&labels.pairs()[..], &[("from", from), ("to", to)]].concat(), read(&pair));
            }
        }
    }
    let name = "unskew_translation_duration_seconds";
    page.head(name, Kind::Histogram, "How long a translation took, the wait for an instance included.");
    for one in alive {
        let labels = Labels::of(one);
        for pair in one.meter().pairs() {
            let (from, to) = (one.manifest().id(pair.from), one.manifest().id(pair.to));
            let all = [&labels.pairs()[..], &[("from", from), ("to", to)]].concat();
            let bucket = format!("{name}_bucket");
            for (bound, many) in &pair.took {
                page.line(&bucket, &[&all[..], &[("le", &bound.to_string())]].concat(), many);
            }
            page.line(&bucket, &[&all[..], &[("le", "+Inf")]].concat(), pair.translations);
            page.line(&format!("{name}_sum"), &all, pair.seconds);
            page.line(&format!("{name}_count"), &all, pair.translations);
        }
    }
}

/// What tells the metrics of one generation from those of another.
struct Labels {
    pack: String,
    revision: String,
    generation: String,
}

impl Labels {
    fn of(generation: &Generation) -> Labels {
        let manifest = generation.manifest();
        let (revision, number) = (manifest.revision.to_string(), generation.id().to_string());
        Labels { pack: manifest.name.clone(), revision, generation: number }
    }

    fn pairs(&self) -> [(&str, &str); 3] {
        [("pack", &self.pack), ("revision", &self.revision), ("generation", &self.generation)]
    }
}

impl Page {
    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', " ");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}"); // a String takes everything
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}
