//! What Pingora's failures are to clients and in the log: our own words, because its own hold what is in its buffers.

use http::Version;
use http::header::{CONTENT_LENGTH, HOST};
use pingora::{Error, ErrorSource, ErrorType};

use super::problem::{Refusal, Refused};
use super::request::Ctx;
use super::state::State;

impl State {
    /// What a failure of Pingora's is to a client.
    pub(crate) fn failure(&self, ctx: &Ctx, error: &Error) -> Refusal {
        let timeouts = &self.config.timeouts;
        match (error.etype(), error.esource()) {
            (ErrorType::ReadTimedout, _) => {
                let detail = format!("the server sent nothing for {} ms (timeouts.read_ms)", timeouts.read_ms);
                Refusal::new(Refused::Timeout, detail)
            }
            (ErrorType::WriteTimedout, _) => Refusal::new(Refused::Timeout, "the server took nothing for too long"),
            (ErrorType::ConnectTimedout, _) => {
                let detail = format!("no server took a connection in {} ms (timeouts.connect_ms)", timeouts.connect_ms);
                Refusal::new(Refused::Unreachable, detail)
            }
            (
                ErrorType::ConnectRefused
                | ErrorType::ConnectNoRoute
                | ErrorType::ConnectError
                | ErrorType::SocketError,
                _,
            ) => {
                let tried = ctx.tried.len();
                Refusal::new(Refused::Unreachable, format!("no server took a connection, {tried} tried"))
            }
            (ErrorType::InvalidHTTPHeader, ErrorSource::Upstream) => {
                Refusal::new(Refused::BrokenAnswer, "the server answered with something that is no HTTP")
            }
            (ErrorType::ConnectionClosed | ErrorType::ReadError, ErrorSource::Upstream) => {
                Refusal::new(Refused::BrokenAnswer, "the server closed the connection before its answer was whole")
            }
            (ErrorType::WriteError, ErrorSource::Upstream) => {
                Refusal::new(Refused::BrokenAnswer, "the server closed the connection before it had the request")
            }
            (_, ErrorSource::Upstream) => Refusal::new(Refused::BrokenAnswer, "the server's answer makes no sense"),
            (_, ErrorSource::Downstream) => Refusal::new(Refused::BadBody, "the request's body is framed wrongly"),
            (_, ErrorSource::Internal | ErrorSource::Unset) => {
                Refusal::new(Refused::Internal, "the gateway could not go on with the request")
            }
        }
    }
}

/// Why a head can't be forwarded as it is: two readers could take it differently (RFC 9112, sections 3.2 and 6.3).
pub(crate) fn unclear(head: &http::request::Parts) -> Option<Refusal> {
    let number = |value: &http::HeaderValue| value.as_bytes().iter().all(u8::is_ascii_digit);
    if !head.headers.get_all(CONTENT_LENGTH).iter().all(number) {
        return Some(Refusal::new(Refused::BadRequest, "Content-Length is one number"));
    }
    let names_host = head.headers.contains_key(HOST) || head.uri.authority().is_some();
    (head.version == Version::HTTP_11 && !names_host)
        .then(|| Refusal::new(Refused::BadRequest, "a request of HTTP/1.1 has a Host header"))
}

/// Whether nobody is there any more to be answered.
pub(crate) fn is_client_gone(error: &Error) -> bool {
    let gone = [
        ErrorType::ReadError,
        ErrorType::WriteError,
        ErrorType::ConnectionClosed,
        ErrorType::ReadTimedout,
        ErrorType::WriteTimedout,
    ];
    *error.esource() == ErrorSource::Downstream && gone.contains(error.etype())
}
