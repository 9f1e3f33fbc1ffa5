//! Problem documents (RFC 9457) with a `Proxy-Status` (RFC 9209): what a client gets where nothing can be forwarded.

use std::fmt::Write as _;

use http::StatusCode;

use crate::error::{CallError, FaultKind};

/// Why a request is not served. Never holds the contents of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: Refused,
    pub(crate) detail: String,
}

/// The kinds of problem documents; the name is the end of the document's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No server can serve the record.
    NoServer,
    /// The gateway has no rules, and its policy is closed.
    NoRules,
    /// The record that came with the request can't be translated.
    BadRecord,
    /// The record that came with the request is longer than the limit.
    RecordTooLarge,
    /// The session id stands in a body that is too large to be read before a server is chosen.
    IdTooDeep,
    /// The request is framed so that two readers could take it differently.
    BadRequest,
    /// The session id stands in a body that can't be read.
    BadBody,
    /// The record in the store can't be translated.
    BadStoredRecord,
    /// The record in the server's answer can't be translated.
    BadAnswer,
    /// The guest failed.
    GuestFailed,
    /// The record was written again and again while it was being translated.
    Race,
    /// The store can't be asked.
    StoreFailed,
    /// The server can't be reached.
    Unreachable,
    /// The server took too long.
    Timeout,
    /// The server's answer ended early or made no sense.
    BrokenAnswer,
    /// Something inside the gateway went wrong.
    Internal,
}

/// Who owns the record that a fault is about: it decides the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Client,
    Store,
    Server,
}

impl Refused {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Refused::BadRequest | Refused::BadBody => StatusCode::BAD_REQUEST,
            Refused::BadRecord => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::RecordTooLarge | Refused::IdTooDeep => StatusCode::PAYLOAD_TOO_LARGE,
            Refused::GuestFailed | Refused::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Refused::BadStoredRecord | Refused::BadAnswer | Refused::Unreachable | Refused::BrokenAnswer => {
                StatusCode::BAD_GATEWAY
            }
            Refused::NoServer | Refused::NoRules | Refused::Race | Refused::StoreFailed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refused::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Whether this is a server's failure and no decision of ours.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Refused::Unreachable | Refused::Timeout | Refused::BrokenAnswer | Refused::Internal)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Refused::NoServer => "no-server",
            Refused::NoRules => "no-rules",
            Refused::BadRecord => "bad-record",
            Refused::RecordTooLarge => "record-too-large",
            Refused::IdTooDeep => "session-id-in-large-body",
            Refused::BadRequest => "bad-request",
            Refused::BadBody => "bad-body",
            Refused::BadStoredRecord => "bad-stored-record",
            Refused::BadAnswer => "bad-answer",
            Refused::GuestFailed => "guest-failed",
            Refused::Race => "race",
            Refused::StoreFailed => "store-failed",
            Refused::Unreachable => "server-unreachable",
            Refused::Timeout => "server-timeout",
            Refused::BrokenAnswer => "broken-answer",
            Refused::Internal => "internal",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Refused::NoServer => "No server can serve this session",
            Refused::NoRules => "The gateway has no rules",
            Refused::BadRecord => "The session record can't be translated",
            Refused::RecordTooLarge => "The session record is too large",
            Refused::IdTooDeep => "The session id stands in too large a body",
            Refused::BadRequest => "The request can't be understood",
            Refused::BadBody => "The body can't be read",
            Refused::BadStoredRecord => "The stored session record can't be translated",
            Refused::BadAnswer => "The session record of the answer can't be translated",
            Refused::GuestFailed => "The translation failed",
            Refused::Race => "The session record keeps changing",
            Refused::StoreFailed => "The session store can't be asked",
            Refused::Unreachable => "The server can't be reached",
            Refused::Timeout => "The server took too long",
            Refused::BrokenAnswer => "The server's answer broke off",
            Refused::Internal => "The gateway failed",
        }
    }

    /// The error type of RFC 9209, section 2.3.
    fn proxy_error(self) -> &'static str {
        match self {
            Refused::NoServer | Refused::Race | Refused::Unreachable => "destination_unavailable",
            Refused::NoRules => "proxy_configuration_error",
            Refused::BadRecord
            | Refused::RecordTooLarge
            | Refused::IdTooDeep
            | Refused::BadRequest
            | Refused::BadBody => "http_request_denied",
            Refused::BadAnswer => "http_protocol_error",
            Refused::Timeout => "http_response_timeout",
            Refused::BrokenAnswer => "http_response_incomplete",
            Refused::BadStoredRecord | Refused::GuestFailed | Refused::StoreFailed | Refused::Internal => {
                "proxy_internal_error"
            }
        }
    }
}

impl Refusal {
    pub(crate) fn new(kind: Refused, detail: impl Into<String>) -> Refusal {
        Refusal { kind, detail: detail.into() }
    }

    /// The refusal of a failed call, depending on whose record it was about.
    pub(crate) fn of_call(error: &CallError, owner: Owner) -> Refusal {
        let too_large = matches!(error, CallError::Fault(fault) if fault.kind == FaultKind::TooLarge);
        let kind = match (error, owner) {
            (CallError::Guest(_), _) => Refused::GuestFailed,
            (CallError::NoPack, _) => Refused::NoRules,
            (CallError::Fault(_), Owner::Client) if too_large => Refused::RecordTooLarge,
            (CallError::Fault(_) | CallError::UnknownVersion(_), Owner::Client) => Refused::BadRecord,
            (CallError::Fault(_) | CallError::UnknownVersion(_), Owner::Store) => Refused::BadStoredRecord,
            (CallError::Fault(_) | CallError::UnknownVersion(_), Owner::Server) => Refused::BadAnswer,
        };
        Refusal::new(kind, error.to_string())
    }

    /// The document.
    pub(crate) fn json(&self) -> Vec<u8> {
        let document = serde_json::json!({
            "type": format!("urn:unskew:problem:{}", self.kind.as_str()),
            "title": self.kind.title(),
            "status": self.kind.status().as_u16(),
            "detail": self.detail,
            "reason": self.kind.as_str(),
        });
        document.to_string().into_bytes()
    }

    /// The `Proxy-Status` value.
    pub(crate) fn proxy_status(&self) -> String {
        format!("unskew; error={}; details={}", self.kind.proxy_error(), quoted(&self.detail))
    }
}

/// A string of RFC 8941: printable ASCII between quotes; what can't stand there becomes a question mark.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                let _ = write!(out, "\\{char}"); // writing to a string can't fail
            }
            '→' => out.push_str("->"),
            ' '..='~' => out.push(char),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[test]
    fn problem_says_what_where_and_why() {
        let fault = Fault {
            kind: FaultKind::WrongType,
            op: "step 1→2, op 3".to_string(),
            place: "/a".to_string(),
            expected: "string".to_string(),
            found: "\"null\"".to_string(),
        };
        let refusal = Refusal::of_call(&CallError::Fault(fault), Owner::Store);
        let document: serde_json::Value = serde_json::from_slice(&refusal.json()).unwrap();
        assert_eq!(document["type"], "urn:unskew:problem:bad-stored-record");
        assert_eq!(document["status"], 502);
        assert!(document["detail"].as_str().unwrap().starts_with("step 1→2, op 3 at /a"));
        let status = refusal.proxy_status();
        assert!(
            status.starts_with("unskew; error=proxy_internal_error; details=\"step 1->2, op 3 at /a: "),
            "{status}"
        );
        assert!(status.is_ascii() && status.contains("\\\"null\\\""), "{status}");
    }

    #[test]
    fn a_record_that_is_too_large_is_the_clients_affair_only_if_it_is_the_clients() {
        let fault = |kind| Fault {
            kind,
            op: String::new(),
            place: String::new(),
            expected: String::new(),
            found: String::new(),
        };
        let error = CallError::Fault(fault(FaultKind::TooLarge));
        assert_eq!(Refusal::of_call(&error, Owner::Client).kind.status(), 413);
        assert_eq!(Refusal::of_call(&error, Owner::Store).kind.status(), 502);
        assert_eq!(Refusal::of_call(&CallError::NoPack, Owner::Client).kind.status(), 503);
    }
}
