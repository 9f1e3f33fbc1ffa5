//! What we use of Envoy's C ABI for dynamic modules, as Envoy 1.40 has it (ABI v0.2.0).
//!
//! Written from the facts in `source/extensions/dynamic_modules/abi/abi.h` of envoyproxy/envoy: names, types, numbers.
//! Envoy promises that a module lives through the next minor ABI version at most, so the pin is on the release that the
//! tests run. Its functions are found in the program that has loaded us, so that one library does for all surfaces.

use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

use crate::call::Bytes;
use crate::symbol::found;

/// The version of the ABI, as Envoy compares it.
pub(crate) const ABI: &CStr = c"v0.2.0";

/// The release whose ABI this is.
pub(crate) const RELEASE: &str = "1.40";

/// One HTTP stream, as Envoy knows it.
pub(crate) type Stream = *mut c_void;

/// A name and a value.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) name: Bytes,
    pub(crate) value: Bytes,
}

/// Whose headers.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(dead_code, reason = "the numbers are the ABI's: trailers are not touched")]
pub(crate) enum Headers {
    Request = 0,
    RequestTrailers = 1,
    Response = 2,
    ResponseTrailers = 3,
}

/// Whose body: what has just come, or what is held.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Request = 0,
    HeldRequest = 1,
    Response = 2,
    HeldResponse = 3,
}

/// How a line of the log is meant.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(dead_code, reason = "the numbers are the ABI's: not all levels are used")]
pub(crate) enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

/// What Envoy does after a hook: the numbers of headers, bodies and trailers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// What has come goes on.
    Goes,
    /// It waits; what has come of a body is ours, and is not kept by Envoy.
    Waits,
}

impl Then {
    pub(crate) fn of_headers(self) -> c_int {
        match self {
            Then::Goes => 0,
            Then::Waits => 1,
        }
    }

    pub(crate) fn of_body(self) -> c_int {
        match self {
            Then::Goes => 0,
            Then::Waits => 3,
        }
    }

    pub(crate) fn of_trailers(self) -> c_int {
        match self {
            Then::Goes => 0,
            Then::Waits => 1,
        }
    }
}

/// What we call of Envoy.
pub(crate) struct Envoy {
    log: unsafe extern "C" fn(Level, Bytes),
    get_headers_size: unsafe extern "C" fn(Stream, Headers) -> usize,
    get_headers: unsafe extern "C" fn(Stream, Headers, *mut Header) -> bool,
    set_header: unsafe extern "C" fn(Stream, Headers, Bytes, Bytes) -> bool,
    add_header: unsafe extern "C" fn(Stream, Headers, Bytes, Bytes) -> bool,
    get_body_chunks_size: unsafe extern "C" fn(Stream, Part) -> usize,
    get_body_chunks: unsafe extern "C" fn(Stream, Part, *mut Bytes) -> bool,
    append_body: unsafe extern "C" fn(Stream, Part, Bytes) -> bool,
    drain_body: unsafe extern "C" fn(Stream, Part, usize) -> bool,
    send_response: unsafe extern "C" fn(Stream, u32, *const Header, usize, Bytes, Bytes),
    set_upstream_override_host: unsafe extern "C" fn(Stream, Bytes, bool) -> bool,
    recreate_stream: unsafe extern "C" fn(Stream, *const Header, usize) -> bool,
}

/// Envoy's functions; none where the program isn't Envoy, or one that lacks some of them.
pub(crate) fn envoy() -> Option<&'static Envoy> {
    static ENVOY: OnceLock<Option<Envoy>> = OnceLock::new();
    ENVOY
        .get_or_init(|| {
            // SAFETY: these are the types that the ABI declares its functions with.
            unsafe {
                Some(Envoy {
                    log: found(c"envoy_dynamic_module_callback_log")?,
                    get_headers_size: found(c"envoy_dynamic_module_callback_http_get_headers_size")?,
                    get_headers: found(c"envoy_dynamic_module_callback_http_get_headers")?,
                    set_header: found(c"envoy_dynamic_module_callback_http_set_header")?,
                    add_header: found(c"envoy_dynamic_module_callback_http_add_header")?,
                    get_body_chunks_size: found(c"envoy_dynamic_module_callback_http_get_body_chunks_size")?,
                    get_body_chunks: found(c"envoy_dynamic_module_callback_http_get_body_chunks")?,
                    append_body: found(c"envoy_dynamic_module_callback_http_append_body")?,
                    drain_body: found(c"envoy_dynamic_module_callback_http_drain_body")?,
                    send_response: found(c"envoy_dynamic_module_callback_http_send_response")?,
                    set_upstream_override_host: found(
                        c"envoy_dynamic_module_callback_http_set_upstream_override_host",
                    )?,
                    recreate_stream: found(c"envoy_dynamic_module_callback_http_filter_recreate_stream")?,
                })
            }
        })
        .as_ref()
}

impl Envoy {
    /// A line in Envoy's log.
    pub(crate) fn log(&self, level: Level, line: &str) {
        // SAFETY: Envoy copies the text.
        unsafe { (self.log)(level, Bytes::of(line.as_bytes())) }
    }

    /// Every header with its value, in Envoy's order; `:method` and its like among them.
    ///
    /// # Safety
    /// `stream` is alive; what is answered holds until the next change of these headers, and until the hook ends.
    pub(crate) unsafe fn headers<'h>(&self, stream: Stream, whose: Headers) -> Vec<(&'h [u8], &'h [u8])> {
        // SAFETY: there is room for as many as Envoy says that there are, and it fills all of it or says that it didn't.
        unsafe {
            let count = (self.get_headers_size)(stream, whose);
            let mut found = vec![Header { name: Bytes::NONE, value: Bytes::NONE }; count];
            if !(self.get_headers)(stream, whose, found.as_mut_ptr()) {
                return Vec::new();
            }
            found.into_iter().map(|header| (header.name.read(), header.value.read())).collect()
        }
    }

    /// Puts a value in place of all of this name.
    ///
    /// # Safety
    /// `stream` is alive.
    pub(crate) unsafe fn set(&self, stream: Stream, whose: Headers, name: &str, value: &[u8]) {
        // A null value would remove the header: an empty one of Rust's isn't null.
        // SAFETY: Envoy copies both.
        unsafe { (self.set_header)(stream, whose, Bytes::of(name.as_bytes()), Bytes::of(value)) };
    }

    /// Puts a value beside those of this name.
    ///
    /// # Safety
    /// `stream` is alive.
    pub(crate) unsafe fn add(&self, stream: Stream, whose: Headers, name: &str, value: &[u8]) {
        // SAFETY: Envoy copies both.
        unsafe { (self.add_header)(stream, whose, Bytes::of(name.as_bytes()), Bytes::of(value)) };
    }

    /// Takes all values of this name away.
    ///
    /// # Safety
    /// `stream` is alive.
    pub(crate) unsafe fn remove(&self, stream: Stream, whose: Headers, name: &str) {
        // SAFETY: a null value removes the header.
        unsafe { (self.set_header)(stream, whose, Bytes::of(name.as_bytes()), Bytes::NONE) };
    }

    /// Reads what is here of a body, to the end of `into`; says how much it was.
    ///
    /// # Safety
    /// `stream` is alive, and the hook is one of this body.
    pub(crate) unsafe fn read(&self, stream: Stream, part: Part, into: &mut Vec<u8>) -> usize {
        // SAFETY: there is room for as many pieces as Envoy says that there are; they hold until the body is changed.
        unsafe {
            let count = (self.get_body_chunks_size)(stream, part);
            let mut pieces = vec![Bytes::NONE; count];
            if count == 0 || !(self.get_body_chunks)(stream, part, pieces.as_mut_ptr()) {
                return 0;
            }
            let length = pieces.iter().map(|piece| piece.len).sum();
            into.reserve(length);
            for piece in pieces {
                into.extend_from_slice(piece.read());
            }
            length
        }
    }

    /// Takes what is here of a body out of it, to the end of `into`.
    ///
    /// # Safety
    /// As `read`.
    pub(crate) unsafe fn take(&self, stream: Stream, part: Part, into: &mut Vec<u8>) {
        // SAFETY: the caller's promise.
        unsafe {
            let length = self.read(stream, part, into);
            if length > 0 {
                (self.drain_body)(stream, part, length);
            }
        }
    }

    /// Puts bytes behind what is here of a body.
    ///
    /// # Safety
    /// `stream` is alive.
    pub(crate) unsafe fn append(&self, stream: Stream, part: Part, bytes: &[u8]) {
        // SAFETY: Envoy copies them.
        unsafe { (self.append_body)(stream, part, Bytes::of(bytes)) };
    }

    /// Answers the client. Envoy writes the length, and calls hooks of this stream before it returns.
    ///
    /// # Safety
    /// `stream` is alive, and nothing of ours borrows what its hooks use.
    pub(crate) unsafe fn answer(&self, stream: Stream, answer: &http::Response<bytes::Bytes>) {
        let headers: Vec<Header> = answer
            .headers()
            .iter()
            .filter(|(name, _)| **name != http::header::CONTENT_LENGTH)
            .map(|(name, value)| Header {
                name: Bytes::of(name.as_str().as_bytes()),
                value: Bytes::of(value.as_bytes()),
            })
            .collect();
        let (status, body, why) = (answer.status().as_u16().into(), Bytes::of(answer.body()), Bytes::of(b"unskew"));
        // SAFETY: Envoy copies all of it.
        unsafe { (self.send_response)(stream, status, headers.as_ptr(), headers.len(), body, why) };
    }

    /// Names the server of this stream: that one or none. Clients have no say in it.
    ///
    /// # Safety
    /// `stream` is alive.
    pub(crate) unsafe fn send_to(&self, stream: Stream, address: &str) -> bool {
        // SAFETY: Envoy copies the text.
        unsafe { (self.set_upstream_override_host)(stream, Bytes::of(address.as_bytes()), true) }
    }

    /// Begins the stream anew with its headers as they are now. If it says so, the stream is gone, with our filter.
    ///
    /// # Safety
    /// `stream` is alive, and nothing of ours borrows what its hooks use.
    pub(crate) unsafe fn again(&self, stream: Stream) -> bool {
        // SAFETY: without headers the answer's are not logged, and nothing else.
        unsafe { (self.recreate_stream)(stream, std::ptr::null(), 0) }
    }
}
