//! libunskew: what `unskew.toml` describes, behind a C ABI. `include/unskew.h` is generated from here.
//!
//! `call` is the border: it keeps panics in and remembers what went wrong. `handle` is what a program opens, `exchange`
//! one request on its way, `lua` the module that HAProxy loads, `envoy` the one that Envoy loads; `symbol` finds what is
//! theirs.

#![expect(unsafe_code, reason = "a C ABI reads through pointers of its callers")]

mod call;
mod envoy;
mod exchange;
mod handle;
mod lua;
mod symbol;

pub use call::{Buffer, Bytes, Status};
pub use exchange::{Answer, Exchange, Fault, Have, Verdict};
pub use handle::{Handle, Surface, Traps};
