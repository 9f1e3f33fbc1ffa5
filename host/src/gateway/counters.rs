//! What a gateway counts, and the snapshot of it.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What a gateway has counted since it started.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counts {
            /// All of them with their names.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                self.all().map(|(name, _, count)| (name, count))
            }

            /// Every counter with its name and what it counts.
            pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc,)+).trim_ascii(), self.$name),)+].into_iter()
            }
        }

        /// The counters themselves.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
        }

        impl Counters {
            /// All counters now; one may already hold what another doesn't.
            pub(crate) fn snapshot(&self) -> Counts {
                Counts { $($name: self.$name.0.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// Requests taken.
    requests,
    /// Requests that make a session.
    creates,
    /// Requests for a session that exists.
    joins,
    /// Requests that end a session.
    ends,
    /// Creates, joins and ends in which no session id was found where the rule says.
    unidentified,
    /// Requests forwarded to a server that reads their record as it is.
    native,
    /// Requests forwarded to a server for which an exact translation exists.
    exact,
    /// Requests forwarded to a server for which the carry brings everything back.
    with_carry,
    /// Requests forwarded to a server for which something is lost.
    lossy,
    /// Requests forwarded of whose record, or whose server, no version is known.
    unknown,
    /// Records translated: in requests, in the store and in answers.
    translated,
    /// Records rewritten in the store; each is counted as translated too.
    rewritten,
    /// Requests answered with a problem document because no server can serve them or their record.
    refused,
    /// Requests answered with a problem document because their server failed them.
    failed,
    /// Records that the rules can't translate, whatever the failure policy made of it.
    faults,
    /// Calls in which the guest itself failed: traps, spent budgets, wrong answers.
    guest_failures,
    /// Records that can't be read, or are none, and passed because the pack says `opaque = "pass"`.
    opaque,
    /// Records that passed untranslated because the failure policy is open.
    passed_open,
    /// Values kept in carries.
    carried,
    /// Values that came back from carries.
    restored,
    /// Values lost in translation.
    lost,
    /// Values taken out of records, whether or not a carry has them.
    dropped,
    /// Values that say less than before.
    narrowed,
    /// Values put in where there was none.
    defaulted,
    /// Inline carries of clients that were genuine, and were opened for a server.
    opened,
    /// Inline carries that were sealed for a client.
    sealed,
    /// Inline carries that were taken out of a record: those that clients brought unsealed, forged, of another session,
    /// too long or malformed, and those of answers that could not be sealed.
    stripped,
    /// What the directory said of a version and was not believed: the active pack means another shape by the same id.
    other_shapes,
    /// Rewrites that lost a race against a server's write and were tried again.
    races,
    /// Requests that went to another server because theirs could not be reached.
    rerouted,
    /// In `observe`: records that would have been translated.
    would_translate,
    /// In `observe`: requests that would have been refused.
    would_refuse,
    /// Packs swapped in.
    swaps,
    /// Packs refused; the old one serves on.
    bad_packs,
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn one(&self) {
        self.many(1);
    }

    pub(crate) fn many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}
