//! The border: what comes in by pointers, what goes out, and the last error of a thread. No panic crosses it.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;

/// Bytes of somebody else's. `data` may be null where `len` is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    pub data: *const u8,
    pub len: usize,
}

/// Bytes that belong to the caller, who gives them back with `unskew_free`.
#[repr(C)]
pub struct Buffer {
    pub data: *mut u8,
    pub len: usize,
}

/// What became of a call. `unskew_last_error` says more.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// The record can't be read or translated; it is the record's fault, and says where.
    Fault = 1,
    /// There are no rules.
    NoRules = 2,
    /// The guest failed: it trapped, or spent its budget.
    Guest = 3,
    /// An argument, a configuration or a pack can't be used.
    Input = 4,
    /// The library itself failed.
    Internal = 5,
}

/// Why a call failed.
pub(crate) struct Failed {
    pub(crate) status: Status,
    pub(crate) message: String,
}

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the last call of this thread that failed has to say; empty if none did. It holds until the thread's next call.
#[unsafe(no_mangle)]
pub extern "C" fn unskew_last_error() -> Bytes {
    LAST.with_borrow(|last| Bytes { data: last.as_ptr(), len: last.len() })
}

/// Gives back what a call has answered; null is allowed.
///
/// # Safety
/// `buffer` is one that a function of this library has answered, and is given back once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_free(buffer: Buffer) {
    if !buffer.data.is_null() {
        // SAFETY: `Buffer::of` made it from a boxed slice of this length, and the caller gives it back once.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(buffer.data, buffer.len)) });
    }
}

/// Runs a call; a failure or a panic becomes its status, and the thread's last error.
pub(crate) fn call(body: impl FnOnce() -> Result<(), Failed>) -> Status {
    match guarded(body) {
        Ok(()) => Status::Ok,
        Err(status) => status,
    }
}

/// Runs a call that answers something.
pub(crate) fn guarded<T>(body: impl FnOnce() -> Result<T, Failed>) -> Result<T, Status> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        Err(Failed {
            status: Status::Internal,
            message: "the library has a fault: please report what it printed".into(),
        })
    });
    done.map_err(|failed| {
        LAST.with_borrow_mut(|last| *last = failed.message);
        failed.status
    })
}

impl Failed {
    pub(crate) fn input(message: impl ToString) -> Failed {
        Failed { status: Status::Input, message: message.to_string() }
    }
}

impl From<host::CallError> for Failed {
    fn from(error: host::CallError) -> Failed {
        let status = match error {
            host::CallError::Fault(_) => Status::Fault,
            host::CallError::NoPack => Status::NoRules,
            host::CallError::Guest(_) => Status::Guest,
            host::CallError::UnknownVersion(_) => Status::Input,
        };
        Failed { status, message: error.to_string() }
    }
}

impl Bytes {
    /// # Safety
    /// `data` points to `len` bytes that stay for as long as the answer is used, or `len` is 0.
    pub(crate) unsafe fn read<'b>(self) -> &'b [u8] {
        if self.len == 0 || self.data.is_null() {
            return &[];
        }
        // SAFETY: as the caller has it.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }

    /// # Safety
    /// As `read`.
    pub(crate) unsafe fn text<'b>(self, what: &str) -> Result<&'b str, Failed> {
        // SAFETY: as the caller has it.
        std::str::from_utf8(unsafe { self.read() }).map_err(|_| Failed::input(format!("{what} is no UTF-8")))
    }

    pub(crate) fn of(bytes: &[u8]) -> Bytes {
        Bytes { data: bytes.as_ptr(), len: bytes.len() }
    }

    pub(crate) const NONE: Bytes = Bytes { data: std::ptr::null(), len: 0 };
}

impl Buffer {
    pub(crate) fn of(bytes: Vec<u8>) -> Buffer {
        let bytes = Box::leak(bytes.into_boxed_slice());
        Buffer { data: bytes.as_mut_ptr(), len: bytes.len() }
    }
}

/// Whether there is somewhere to put an answer.
pub(crate) fn wanted<T>(out: *mut T) -> Result<(), Failed> {
    if out.is_null() {
        return Err(Failed::input("there is nowhere to put the answer: the out pointer is null"));
    }
    Ok(())
}

/// Makes an answer, and writes it to where the caller wants it. Without a place none is made: nobody could free it.
///
/// # Safety
/// `out` is null or can be written to.
pub(crate) unsafe fn answer<T>(out: *mut T, value: impl FnOnce() -> T) -> Result<(), Failed> {
    wanted(out)?;
    // SAFETY: not null, and the caller says that it can be written to.
    unsafe { out.write(value()) };
    Ok(())
}
