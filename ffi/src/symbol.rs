//! Functions of the program that has loaded us: one library does for programs with Lua, for Envoy, and for all others.

use std::ffi::{CStr, c_void};

/// A function of the program, or of a library that it has loaded.
///
/// # Safety
/// `T` is the type of a pointer to the function of this name.
pub(crate) unsafe fn found<T: Copy>(name: &CStr) -> Option<T> {
    const { assert!(size_of::<T>() == size_of::<*mut c_void>()) };
    // SAFETY: the name ends with a zero; what is found is a function of the caller's type.
    unsafe {
        let symbol = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
        (!symbol.is_null()).then(|| std::mem::transmute_copy(&symbol))
    }
}
