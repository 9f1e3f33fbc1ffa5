//! The HTTP filter that Envoy loads as a dynamic module: its hooks, and what they share of a configuration.
//!
//! `envoy/abi` is what we use of Envoy's C ABI, `envoy/filter` what becomes of a request. A hook borrows its filter for
//! no longer than it decides: what Envoy is then told to do may call other hooks of the same stream before it returns,
//! and end the filter.

mod abi;
mod filter;

use std::ffi::{c_char, c_int, c_void};
use std::panic::AssertUnwindSafe;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use self::abi::{ABI, Envoy, Level, RELEASE, Stream, Then, envoy};
use self::filter::{Filter, Last};
use crate::call::{Bytes, Status, unskew_last_error};
use crate::handle::{Handle, Started, Surface, open, unskew_close, unskew_open, unskew_start};

/// A configuration that filters use. It is closed with the last of them.
pub(crate) struct Open {
    path: String,
    text: String,
    handle: *mut Handle,
}

// SAFETY: every function of a handle may be called from every thread.
unsafe impl Send for Open {}
// SAFETY: as above.
unsafe impl Sync for Open {}

/// What is open: a configuration that Envoy reads anew, and that says the same, goes on with its directory.
static OPEN: Mutex<Vec<Weak<Open>>> = Mutex::new(Vec::new());

/// Envoy loads the library: the version of the ABI that it is made for, or null where this is no Envoy of that version.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    match fits() {
        Ok(()) => {
            stay();
            ABI.as_ptr()
        }
        Err(why) => {
            say(&format!("unskew: {why}"));
            std::ptr::null()
        }
    }
}

/// Envoy reads a filter's configuration, the path of unskew.toml: what is open and running, or null.
///
/// # Safety
/// Envoy calls it, on its main thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    _config: *mut c_void,
    _name: Bytes,
    config: Bytes,
) -> *const Arc<Open> {
    // SAFETY: Envoy's text holds until we return.
    let path = String::from_utf8_lossy(unsafe { config.read() }).into_owned();
    let opened = std::panic::catch_unwind(|| Open::of(path)).unwrap_or_else(|_| Err("it panicked".to_string()));
    match opened {
        Ok(open) => Box::into_raw(Box::new(open)),
        Err(why) => {
            say(&format!("unskew: {why}"));
            std::ptr::null()
        }
    }
}

/// Envoy needs a configuration no more.
///
/// # Safety
/// `config` is one that `envoy_dynamic_module_on_http_filter_config_new` has answered, and is given back once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: *const Arc<Open>) {
    // SAFETY: we made it from a box, and Envoy gives it back once.
    let config = unsafe { Box::from_raw(config.cast_mut()) };
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(config)));
}

/// A request comes.
///
/// # Safety
/// `config` is one that we have answered and that was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const Arc<Open>,
    _stream: Stream,
) -> *const c_void {
    // SAFETY: the caller's promise.
    let config = unsafe { &*config };
    Box::into_raw(Box::new(Filter::new(config.clone()))).cast()
}

/// A request and its answer have ended.
///
/// # Safety
/// `filter` is one that `envoy_dynamic_module_on_http_filter_new` has answered, and is given back once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(filter: *const c_void) {
    // SAFETY: we made it from a box, and Envoy gives it back once.
    let filter = unsafe { Box::from_raw(filter.cast::<Filter>().cast_mut()) };
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(filter)));
}

/// The head of the request.
///
/// # Safety
/// Envoy calls it with a stream and the filter that we made for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    stream: Stream,
    filter: *const c_void,
    ends: bool,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { step(stream, filter, |filter, envoy| filter.request_head(envoy, stream, ends)) }.of_headers()
}

/// A piece of the request's body.
///
/// # Safety
/// As `envoy_dynamic_module_on_http_filter_request_headers`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    stream: Stream,
    filter: *const c_void,
    ends: bool,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { step(stream, filter, |filter, envoy| filter.request_body(envoy, stream, ends)) }.of_body()
}

/// The trailers of the request.
///
/// # Safety
/// As `envoy_dynamic_module_on_http_filter_request_headers`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    stream: Stream,
    filter: *const c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { step(stream, filter, |filter, envoy| filter.request_ends(envoy, stream)) }.of_trailers()
}

/// The head of the answer: the server's, or one of Envoy's own.
///
/// # Safety
/// As `envoy_dynamic_module_on_http_filter_request_headers`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    stream: Stream,
    filter: *const c_void,
    ends: bool,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { step(stream, filter, |filter, envoy| filter.answer_head(envoy, stream, ends)) }.of_headers()
}

/// A piece of the answer's body.
///
/// # Safety
/// As `envoy_dynamic_module_on_http_filter_request_headers`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    stream: Stream,
    filter: *const c_void,
    ends: bool,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { step(stream, filter, |filter, envoy| filter.answer_body(envoy, stream, ends)) }.of_body()
}

/// The trailers of the answer.
///
/// # Safety
/// As `envoy_dynamic_module_on_http_filter_request_headers`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    stream: Stream,
    filter: *const c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { step(stream, filter, |filter, envoy| filter.answer_ends(envoy, stream)) }.of_trailers()
}

/// Envoy answers by itself: a filter of its own, or because the server can't be reached. The answer goes on.
///
/// # Safety
/// As `envoy_dynamic_module_on_http_filter_request_headers`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn envoy_dynamic_module_on_http_filter_local_reply(
    _stream: Stream,
    filter: *const c_void,
    _status: u32,
    why: Bytes,
    _reset: bool,
) -> c_int {
    // SAFETY: the caller's promise; no other hook of this stream borrows its filter now.
    let (filter, why) = unsafe { (&mut *filter.cast::<Filter>().cast_mut(), why.read()) };
    filter.envoy_answers(why);
    0
}

/// Everything that Envoy wants to find, and that we have no use for: no callouts, timers or watermarks.
macro_rules! unused {
    ($($name:ident($($argument:ty),*);)*) => {$(
        #[doc = "Not used."]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($(_: $argument),*) {}
    )*};
}

unused! {
    envoy_dynamic_module_on_http_filter_stream_complete(Stream, *const c_void);
    envoy_dynamic_module_on_http_filter_scheduled(Stream, *const c_void, u64);
    envoy_dynamic_module_on_http_filter_http_callout_done(Stream, *const c_void, u64, c_int, *const c_void, usize, *const c_void, usize);
    envoy_dynamic_module_on_http_filter_http_stream_headers(Stream, *const c_void, u64, *const c_void, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_data(Stream, *const c_void, u64, *const c_void, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_trailers(Stream, *const c_void, u64, *const c_void, usize);
    envoy_dynamic_module_on_http_filter_http_stream_complete(Stream, *const c_void, u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(Stream, *const c_void, u64, c_int);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(Stream, *const c_void);
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(Stream, *const c_void);
}

/// One step of a filter, and what Envoy is told to do after it. A panic is answered with a problem document.
///
/// # Safety
/// As the hooks.
unsafe fn step(stream: Stream, filter: *const c_void, decide: impl FnOnce(&mut Filter, &Envoy) -> Last) -> Then {
    let Some(envoy) = envoy() else { return Then::Goes }; // it could not have been loaded
    let filter = filter.cast::<Filter>().cast_mut();
    let decided = std::panic::catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the filter is ours and alive, and the borrow ends before Envoy is told anything that calls a hook.
        decide(unsafe { &mut *filter }, envoy)
    }));
    let last = decided.unwrap_or_else(|_| {
        // SAFETY: as above.
        unsafe { &mut *filter }.breaks()
    });
    // SAFETY: nothing borrows the filter.
    unsafe {
        match last {
            Last::Goes => Then::Goes,
            Last::Waits => Then::Waits,
            Last::Answers(problem) => {
                envoy.answer(stream, &problem);
                Then::Waits
            }
            Last::Again if envoy.again(stream) => Then::Waits,
            Last::Again => {
                // The stream can't begin anew, and nothing has become of it or of the filter.
                (*filter).gives_up(envoy, stream);
                Then::Goes
            }
        }
    }
}

impl Open {
    fn of(path: String) -> Result<Arc<Open>, String> {
        let text = std::fs::read_to_string(&path).map_err(|error| {
            format!("{path:?}: {error}: the filter's configuration is a StringValue, the path of unskew.toml")
        })?;
        let mut known = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|open| open.strong_count() > 0);
        let same = known.iter().filter_map(Weak::upgrade).find(|open| open.path == path && open.text == text);
        if let Some(open) = same {
            return Ok(open);
        }
        // SAFETY: the path can be read, and what is answered is closed with the last filter.
        let open = unsafe {
            let open = Open { handle: unskew_open(Bytes::of(path.as_bytes()), Surface::Envoy as u32), path, text };
            if open.handle.is_null() || unskew_start(open.handle) != Status::Ok {
                return Err(String::from_utf8_lossy(unskew_last_error().read()).into_owned());
            }
            open
        };
        let open = Arc::new(open);
        known.push(Arc::downgrade(&open));
        Ok(open)
    }

    /// What runs; none where it can't be used any more.
    pub(crate) fn started(&self) -> Option<&Started> {
        // SAFETY: it is closed when this is dropped.
        unsafe { open(self.handle) }.ok()?.started().ok()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: nobody uses it any more; null is allowed.
        unsafe { unskew_close(self.handle) };
    }
}

/// Whether the program is an Envoy whose ABI we know.
fn fits() -> Result<(), String> {
    if envoy().is_none() {
        return Err(format!(
            "this program lacks functions of Envoy's ABI for dynamic modules {}",
            ABI.to_string_lossy()
        ));
    }
    let release = match std::env::var("UNSKEW_ENVOY_RELEASE") {
        Ok(said) => said,
        Err(_) => release()?,
    };
    match release.strip_prefix(RELEASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
        true => Ok(()),
        false => Err(format!(
            "this is Envoy {release}, and the library is made for the ABI {} of Envoy {RELEASE}: take the one that fits it",
            ABI.to_string_lossy()
        )),
    }
}

/// What this program says it is: `…/1.40.0/Clean/RELEASE/BoringSSL`. The ABI has no function that tells.
fn release() -> Result<String, String> {
    let told = Command::new("/proc/self/exe").arg("--version").output();
    let told = told.map_err(|error| {
        format!("Envoy can't be asked for its version ({error}): say UNSKEW_ENVOY_RELEASE={RELEASE} in its environment if it is")
    })?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let version = told.split_once("version: ").and_then(|(_, version)| version.split('/').nth(1));
    version.map(str::to_string).ok_or_else(|| "this program tells no version of Envoy's".to_string())
}

/// Threads of ours run on, and the sandbox's signal handlers stay: the library must never be unloaded.
fn stay() {
    // SAFETY: the structure is plain data that the call fills in; the name that it points to is the loader's.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(stay as fn() as *const c_void, &raw mut found) != 0 {
            libc::dlopen(found.dli_fname, libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
        }
    }
}

fn say(line: &str) {
    match envoy() {
        Some(envoy) => envoy.log(Level::Error, line),
        None => eprintln!("{line}"),
    }
}
