//! The module that HAProxy's Lua loads: the steps of an exchange as functions of Lua 5.3.
//!
//! Lua's own functions are found in the program that has loaded us, so that one library does for programs with Lua and
//! without. The configuration is opened once per process: each thread of HAProxy has a Lua of its own, and all of them
//! use the same handle. An exchange is a userdata, and ends at the latest when it is collected.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::call::{Bytes, Status, unskew_last_error};
use crate::exchange::{
    Answer, Exchange, unskew_answer_body, unskew_answer_head, unskew_begin, unskew_end, unskew_place,
};
use crate::handle::{Handle, Surface, unskew_open, unskew_start};
use crate::symbol::found;

type State = *mut c_void;
type Function = unsafe extern "C" fn(State) -> c_int;

/// What we call of Lua (its manual, section 4.8).
struct Lua {
    createtable: unsafe extern "C" fn(State, c_int, c_int),
    newmetatable: unsafe extern "C" fn(State, *const c_char) -> c_int,
    newuserdata: unsafe extern "C" fn(State, usize) -> *mut c_void,
    pushboolean: unsafe extern "C" fn(State, c_int),
    pushcclosure: unsafe extern "C" fn(State, Function, c_int),
    pushinteger: unsafe extern "C" fn(State, i64),
    pushlstring: unsafe extern "C" fn(State, *const u8, usize) -> *const c_char,
    pushnil: unsafe extern "C" fn(State),
    pushvalue: unsafe extern "C" fn(State, c_int),
    setfield: unsafe extern "C" fn(State, c_int, *const c_char),
    setmetatable: unsafe extern "C" fn(State, *const c_char),
    testudata: unsafe extern "C" fn(State, c_int, *const c_char) -> *mut c_void,
    tointegerx: unsafe extern "C" fn(State, c_int, *mut c_int) -> i64,
    tolstring: unsafe extern "C" fn(State, c_int, *mut usize) -> *const u8,
}

/// The handle of this process; it is never closed.
struct Shared(*mut Handle);

// SAFETY: every function of a handle may be called from every thread.
unsafe impl Send for Shared {}

static LUA: OnceLock<Option<Lua>> = OnceLock::new();
static SHARED: Mutex<Option<(String, Shared)>> = Mutex::new(None);
const EXCHANGE: &CStr = c"unskew.exchange";

/// What Lua calls to load the module: `package.loadlib(path, "luaopen_unskew")()`. A table of functions, or nil where the
/// program has no Lua 5.3.
///
/// # Safety
/// `lua` is a state of the program's Lua.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luaopen_unskew(lua: State) -> c_int {
    let Some(api) = api() else { return 0 };
    let methods: [(&CStr, Function); 4] =
        [(c"place", place), (c"answer_head", answer_head), (c"answer_body", answer_body), (c"__gc", end)];
    let functions: [(&CStr, Function); 3] = [(c"open", open), (c"start", start), (c"begin", begin)];
    // SAFETY: the state is Lua's, and the stack is as each of these wants it.
    unsafe {
        (api.newmetatable)(lua, EXCHANGE.as_ptr());
        for (name, function) in methods {
            (api.pushcclosure)(lua, function, 0);
            (api.setfield)(lua, -2, name.as_ptr());
        }
        (api.pushvalue)(lua, -1);
        (api.setfield)(lua, -2, c"__index".as_ptr());
        (api.createtable)(lua, 0, 3);
        for (name, function) in functions {
            (api.pushcclosure)(lua, function, 0);
            (api.setfield)(lua, -2, name.as_ptr());
        }
    }
    1
}

/// `open(path)`: true, or nil and every problem.
unsafe extern "C" fn open(lua: State) -> c_int {
    // SAFETY: Lua calls us with its state; the texts stay on its stack meanwhile.
    unsafe {
        let path = text(lua, 1);
        let name = String::from_utf8_lossy(path.read()).into_owned();
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((opened, _)) = &*shared {
            let same = *opened == name;
            return if same { done(lua) } else { failed(lua, b"HAProxy has one unskew.toml, and another is open") };
        }
        let handle = unskew_open(path, Surface::Haproxy as u32);
        if handle.is_null() {
            return failed(lua, unskew_last_error().read());
        }
        *shared = Some((name, Shared(handle)));
        done(lua)
    }
}

/// `start()`: true, or nil and why not.
unsafe extern "C" fn start(lua: State) -> c_int {
    // SAFETY: Lua calls us with its state; the handle is null or open for ever.
    unsafe {
        match unskew_start(handle()) {
            Status::Ok => done(lua),
            _ => failed(lua, unskew_last_error().read()),
        }
    }
}

/// `begin(method, target, headers)`: an exchange and the answer's values, or nil and why not.
unsafe extern "C" fn begin(lua: State) -> c_int {
    // SAFETY: Lua calls us with its state; the texts stay on its stack meanwhile, and the userdata is as large as a pointer.
    unsafe {
        let Some(api) = api() else { return 0 };
        let kept = (api.newuserdata)(lua, size_of::<*mut Exchange>()).cast::<*mut Exchange>();
        kept.write(std::ptr::null_mut());
        (api.setmetatable)(lua, EXCHANGE.as_ptr());
        let mut answer = Answer::none();
        let exchange = unskew_begin(handle(), text(lua, 1), text(lua, 2), text(lua, 3), &raw mut answer);
        if exchange.is_null() {
            return failed(lua, unskew_last_error().read());
        }
        kept.write(exchange);
        1 + answered(lua, Status::Ok, &answer)
    }
}

/// `exchange:place(have, body)`: the answer's values, or nil and why not.
unsafe extern "C" fn place(lua: State) -> c_int {
    // SAFETY: Lua calls us with its state; the texts stay on its stack meanwhile.
    unsafe {
        let mut answer = Answer::none();
        let status = unskew_place(exchange(lua), number(lua, 2), text(lua, 3), &raw mut answer);
        answered(lua, status, &answer)
    }
}

/// `exchange:answer_head(status, headers)`: the answer's values, or nil and why not.
unsafe extern "C" fn answer_head(lua: State) -> c_int {
    // SAFETY: as `place`.
    unsafe {
        let mut answer = Answer::none();
        let code = u16::try_from(number(lua, 2)).unwrap_or(0);
        let status = unskew_answer_head(exchange(lua), code, text(lua, 3), &raw mut answer);
        answered(lua, status, &answer)
    }
}

/// `exchange:answer_body(have, body)`: the answer's values, or nil and why not.
unsafe extern "C" fn answer_body(lua: State) -> c_int {
    // SAFETY: as `place`.
    unsafe {
        let mut answer = Answer::none();
        let status = unskew_answer_body(exchange(lua), number(lua, 2), text(lua, 3), &raw mut answer);
        answered(lua, status, &answer)
    }
}

/// Ends an exchange that nobody holds any more.
unsafe extern "C" fn end(lua: State) -> c_int {
    // SAFETY: Lua calls us with its state; the place of the pointer is ours, and the exchange in it is ended once.
    unsafe {
        let Some(api) = api() else { return 0 };
        let kept = (api.testudata)(lua, 1, EXCHANGE.as_ptr()).cast::<*mut Exchange>();
        if !kept.is_null() {
            unskew_end(kept.replace(std::ptr::null_mut()));
        }
    }
    0
}

/// Pushes what is to be done: verdict, status, holds, looks, limit, address, remove, set, body (nil where it stays).
unsafe fn answered(lua: State, status: Status, answer: &Answer) -> c_int {
    // SAFETY: the state is Lua's, and has room for twenty values; the answer's bytes hold until the exchange's next call.
    unsafe {
        let Some(api) = api() else { return 0 };
        if status != Status::Ok {
            return failed(lua, unskew_last_error().read());
        }
        (api.pushinteger)(lua, i64::from(answer.verdict as u32));
        (api.pushinteger)(lua, i64::from(answer.status));
        (api.pushboolean)(lua, c_int::from(answer.holds));
        (api.pushboolean)(lua, c_int::from(answer.looks));
        (api.pushinteger)(lua, i64::try_from(answer.limit).unwrap_or(i64::MAX));
        for bytes in [answer.address, answer.remove, answer.set, answer.body] {
            match bytes.data.is_null() {
                true => (api.pushnil)(lua),
                false => drop((api.pushlstring)(lua, bytes.data, bytes.len)),
            }
        }
        9
    }
}

unsafe fn done(lua: State) -> c_int {
    // SAFETY: the state is Lua's.
    unsafe {
        api().map_or(0, |api| {
            (api.pushboolean)(lua, 1);
            1
        })
    }
}

unsafe fn failed(lua: State, why: &[u8]) -> c_int {
    // SAFETY: the state is Lua's, which copies the text.
    unsafe {
        let Some(api) = api() else { return 0 };
        (api.pushnil)(lua);
        (api.pushlstring)(lua, why.as_ptr(), why.len());
        2
    }
}

/// The text at this place of the stack; none where there is none. It holds for as long as it stands there.
unsafe fn text(lua: State, index: c_int) -> Bytes {
    let Some(api) = api() else { return Bytes::NONE };
    let mut len = 0;
    // SAFETY: the state is Lua's.
    let data = unsafe { (api.tolstring)(lua, index, &raw mut len) };
    if data.is_null() { Bytes::NONE } else { Bytes { data, len } }
}

unsafe fn number(lua: State, index: c_int) -> u32 {
    // SAFETY: the state is Lua's.
    let number = api().map_or(0, |api| unsafe { (api.tointegerx)(lua, index, std::ptr::null_mut()) });
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The exchange that a method was called on; null where it was called on something else.
unsafe fn exchange(lua: State) -> *mut Exchange {
    // SAFETY: the state is Lua's, and a userdata of this name holds a pointer.
    unsafe {
        let kept = api().map(|api| (api.testudata)(lua, 1, EXCHANGE.as_ptr()).cast::<*mut Exchange>());
        kept.filter(|kept| !kept.is_null()).map_or(std::ptr::null_mut(), |kept| kept.read())
    }
}

fn handle() -> *const Handle {
    let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.as_ref().map_or(std::ptr::null(), |(_, shared)| shared.0.cast_const())
}

fn api() -> Option<&'static Lua> {
    LUA.get_or_init(|| {
        // SAFETY: these are the types that Lua 5.3 declares its functions with, and another Lua lacks one of the names.
        unsafe {
            Some(Lua {
                createtable: found(c"lua_createtable")?,
                newmetatable: found(c"luaL_newmetatable")?,
                newuserdata: found(c"lua_newuserdata")?,
                pushboolean: found(c"lua_pushboolean")?,
                pushcclosure: found(c"lua_pushcclosure")?,
                pushinteger: found(c"lua_pushinteger")?,
                pushlstring: found(c"lua_pushlstring")?,
                pushnil: found(c"lua_pushnil")?,
                pushvalue: found(c"lua_pushvalue")?,
                setfield: found(c"lua_setfield")?,
                setmetatable: found(c"luaL_setmetatable")?,
                testudata: found(c"luaL_testudata")?,
                tointegerx: found(c"lua_tointegerx")?,
                tolstring: found(c"lua_tolstring")?,
            })
        }
    })
    .as_ref()
}
