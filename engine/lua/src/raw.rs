//! C functions in the manner of Lua's own: what must raise any value, see who called it, or stand in for a function of the
//! base library, without a trace on Lua's stack.
//!
//! Exists because an error that leaves a Rust callback is an object of the binding, not the table that scripts of Redis expect, and
//! because Lua 5.1 knows no readonly tables. Here they are *shields*: empty tables whose metatables lead to the real one. The table
//! `real` of the registry of shields leads from a shield to what it protects.
//!
//! Always true: no frame in this file owns anything that would have to be dropped, so Lua may leave it by its own jump.
//!
//! Not here: which functions get which stand-in (`sandbox.rs`), what `redis.*` does (`api.rs`).

use std::ffi::{CStr, c_char, c_int};

use mlua::{
    Function, LightUserData, Lua, MultiValue, Result, Value,
    ffi::{self, lua_State, lua_upvalueindex},
};

/// Instructions between two looks at the clock: about a millisecond.
pub const SLICE_INSTRUCTIONS: c_int = 100_000;

/// Where the hook finds the function that asks whether to go on.
pub const BREATHE: &CStr = c"perdura.breathe";

const READONLY: &CStr = c"Attempt to modify a readonly table";

/// Makes a closure of a function of this file.
pub fn closure(lua: &Lua, function: ffi::lua_CFunction, upvalues: Vec<Value>) -> Result<Function> {
    let count = upvalues.len() as c_int;
    // SAFETY: the arguments are all there is on the stack, and become the closure's upvalues.
    unsafe {
        lua.exec_raw(MultiValue::from_vec(upvalues), |state| ffi::lua_pushcclosure(state, function, count))
    }
}

/// Counts instructions from now on, calling [`BREATHE`] after each slice.
pub fn begin_counting(lua: &Lua) -> Result<()> {
    // SAFETY: sets the hook of the running thread; new ones inherit it.
    unsafe { lua.exec_raw((), |state| count(state)) }
}

unsafe fn count(state: *mut lua_State) {
    // SAFETY: the caller's state.
    unsafe { ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, SLICE_INSTRUCTIONS) };
}

/// Asks whether to go on; `nil` means yes, anything else is raised.
unsafe extern "C-unwind" fn hook(state: *mut lua_State, _: *mut ffi::lua_Debug) {
    // SAFETY: Lua calls hooks with room on the stack.
    unsafe {
        ffi::lua_getfield_(state, ffi::LUA_REGISTRYINDEX, BREATHE.as_ptr());
        ffi::lua_call(state, 0, 1);
        if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
            return ffi::lua_settop(state, -2);
        }
        // At every line from now on, so that no pcall can go on after it.
        ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKLINE, 0);
        ffi::lua_error(state)
    }
}

/// More arguments than this reach a function in a table: a C function of Lua has room for 8000 values, and the binding wants
/// some for the results while the arguments are still there.
const LOOSE_ARGUMENTS_MAX: c_int = 4000;

/// What stands before a table of arguments; no script can make it.
pub const BUNDLE: LightUserData = LightUserData(&raw const BUNDLE_PLACE as *mut _);
static BUNDLE_PLACE: u8 = 0;

/// Replaces all arguments by [`BUNDLE`] and a table of them.
unsafe fn bundle(state: *mut lua_State) {
    // SAFETY: as any C function; three values more than the arguments fit.
    unsafe {
        let count = ffi::lua_gettop(state);
        ffi::lua_createtable(state, count, 0);
        ffi::lua_insert(state, 1);
        for index in (1..=count).rev() {
            ffi::lua_rawseti_(state, 1, index);
        }
        ffi::lua_pushlightuserdata(state, BUNDLE.0);
        ffi::lua_insert(state, 1);
    }
}

/// The arguments that a function was given, however many.
pub fn unbundled(args: MultiValue) -> Result<MultiValue> {
    match (args.front(), args.get(1)) {
        (Some(Value::LightUserData(first)), Some(Value::Table(table))) if *first == BUNDLE => {
            table.sequence_values().collect()
        }
        _ => Ok(args),
    }
}

/// Calls its upvalue, whose first result says what becomes of the others: `true` they are returned, `false` the second is
/// raised, `nil` the second is a message that is raised with the place of the call.
pub unsafe extern "C-unwind" fn raising(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function; the callee's frames are gone when anything is raised here.
    unsafe {
        if ffi::lua_gettop(state) > LOOSE_ARGUMENTS_MAX {
            bundle(state);
        }
        let count = ffi::lua_gettop(state);
        ffi::lua_pushvalue(state, lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, count, ffi::LUA_MULTRET);
        match ffi::lua_type(state, 1) {
            ffi::LUA_TNIL => {
                ffi::lua_settop(state, 2);
                ffi::luaL_where(state, 1);
                ffi::lua_insert(state, 2);
                ffi::lua_concat(state, 2);
                ffi::lua_error(state)
            }
            _ if ffi::lua_toboolean(state, 1) == 0 => {
                ffi::lua_settop(state, 2);
                ffi::lua_error(state)
            }
            _ => {
                ffi::lua_remove(state, 1);
                ffi::lua_gettop(state)
            }
        }
    }
}

/// Replaces the value at `index` by what it shields, by the table at `real`; `false` if it is no shield.
unsafe fn see_through(state: *mut lua_State, index: c_int, real: c_int) -> bool {
    // SAFETY: as any C function.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TTABLE {
            return false;
        }
        ffi::lua_pushvalue(state, index);
        ffi::lua_rawget_(state, real);
        let is_shield = ffi::lua_type(state, -1) == ffi::LUA_TTABLE;
        if is_shield {
            ffi::lua_replace(state, index);
        } else {
            ffi::lua_settop(state, -2);
        }
        is_shield
    }
}

/// Runs the function in the first upvalue, which has no upvalues of its own, in this function's place.
unsafe fn stand_in(state: *mut lua_State) -> c_int {
    // SAFETY: the upvalue is a function of the base library, put there by `sandbox.rs`.
    unsafe {
        let original = ffi::lua_tocfunction(state, lua_upvalueindex(1)).expect("a C function");
        original(state)
    }
}

/// Stands in for a function that changes its first argument. Upvalues: the function, `real`.
pub unsafe extern "C-unwind" fn guarded(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function.
    unsafe {
        if see_through(state, 1, lua_upvalueindex(2)) {
            ffi::lua_pushstring_(state, READONLY.as_ptr());
            ffi::lua_error(state)
        }
        stand_in(state)
    }
}

/// Stands in for a function that looks at its first argument. Upvalues: the function, `real`.
pub unsafe extern "C-unwind" fn seeing(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function.
    unsafe {
        see_through(state, 1, lua_upvalueindex(2));
        stand_in(state)
    }
}

/// `pairs`. Upvalues: Lua's `next`, a seeing `next`, `real`.
pub unsafe extern "C-unwind" fn pairs(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        ffi::lua_pushvalue(state, 1);
        let is_shield = see_through(state, -1, lua_upvalueindex(3));
        ffi::lua_pushvalue(state, lua_upvalueindex(if is_shield { 2 } else { 1 }));
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushnil(state);
        3
    }
}

/// `getmetatable`. Upvalues: Lua's, and a table from shields and protected metatables to what is shown instead (`false` is none).
pub unsafe extern "C-unwind" fn getmetatable(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function.
    unsafe {
        ffi::lua_pushvalue(state, 1);
        if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
            ffi::lua_rawget_(state, lua_upvalueindex(2));
            match ffi::lua_type(state, -1) {
                ffi::LUA_TTABLE => return 1,
                ffi::LUA_TBOOLEAN => {
                    ffi::lua_pushnil(state);
                    return 1;
                }
                _ => {}
            }
        }
        ffi::lua_settop(state, 1);
        stand_in(state);
        if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
            ffi::lua_pushvalue(state, -1);
            ffi::lua_rawget_(state, lua_upvalueindex(2));
            if ffi::lua_type(state, -1) != ffi::LUA_TTABLE {
                ffi::lua_settop(state, -2);
            }
        }
        1
    }
}

/// `__index` of the globals: there is none of that name.
pub unsafe extern "C-unwind" fn missing(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function; the name lives on the stack until the message is made.
    unsafe {
        if ffi::lua_gettop(state) != 2 {
            return ffi::luaL_error(state, c"Wrong number of arguments to luaProtectedTableError".as_ptr());
        }
        if ffi::lua_isstring(state, 2) == 0 {
            let message = c"Second argument to luaProtectedTableError must be a string or number";
            return ffi::luaL_error(state, message.as_ptr());
        }
        let name: *const c_char = ffi::lua_tolstring(state, 2, std::ptr::null_mut());
        ffi::luaL_error(state, c"Script attempted to access nonexistent global variable '%s'".as_ptr(), name)
    }
}

/// `__newindex` of a shield.
pub unsafe extern "C-unwind" fn readonly(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function.
    unsafe { ffi::luaL_error(state, READONLY.as_ptr()) }
}

/// `pcall`, which gives the text of an error that is a table with one: scripts for Redis before 7 expect a string.
pub unsafe extern "C-unwind" fn pcall(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function.
    unsafe {
        let count = ffi::lua_gettop(state);
        if count == 0 {
            ffi::luaL_checkany(state, 1);
        }
        ffi::lua_pushboolean(state, 1);
        ffi::lua_insert(state, 1);
        if ffi::lua_pcall(state, count - 1, ffi::LUA_MULTRET, 0) != ffi::LUA_OK {
            ffi::lua_remove(state, 1);
            if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
                ffi::lua_getfield_(state, -1, c"err".as_ptr());
                if ffi::lua_isstring(state, -1) != 0 {
                    ffi::lua_replace(state, -2);
                } else {
                    ffi::lua_settop(state, -2);
                }
            }
            ffi::lua_pushboolean(state, 0);
            ffi::lua_insert(state, 1);
        }
        ffi::lua_gettop(state)
    }
}

/// Makes a table of whatever was raised, and adds where: `{err=…, source=…, line=…}`.
pub unsafe extern "C-unwind" fn describe_error(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function; `activation` is filled before it is read.
    unsafe {
        if ffi::lua_type(state, 1) != ffi::LUA_TTABLE {
            ffi::lua_createtable(state, 0, 3);
            ffi::lua_pushstring_(state, c"ERR ".as_ptr());
            if ffi::lua_isstring(state, 1) != 0 {
                ffi::lua_pushvalue(state, 1);
            } else if ffi::luaL_callmeta(state, 1, c"__tostring".as_ptr()) == 0 {
                ffi::lua_pushstring_(state, ffi::lua_typename(state, ffi::lua_type(state, 1)));
            }
            ffi::lua_concat(state, 2);
            ffi::lua_setfield(state, -2, c"err".as_ptr());
            ffi::lua_replace(state, 1);
        }
        ffi::lua_settop(state, 1);
        let mut activation: ffi::lua_Debug = std::mem::zeroed();
        // What raised it, or who called that if it was no script.
        let mut is_found = ffi::lua_getstack(state, 1, &mut activation) != 0;
        if is_found {
            ffi::lua_getinfo(state, c"nSl".as_ptr(), &mut activation);
            if CStr::from_ptr(activation.what) == c"C" && ffi::lua_getstack(state, 2, &mut activation) != 0 {
                is_found = ffi::lua_getinfo(state, c"nSl".as_ptr(), &mut activation) != 0;
            }
        }
        if is_found {
            ffi::lua_pushstring_(state, activation.source);
            ffi::lua_setfield(state, 1, c"source".as_ptr());
            ffi::lua_pushnumber(state, f64::from(activation.currentline));
            ffi::lua_setfield(state, 1, c"line".as_ptr());
        }
        1
    }
}

/// Calls a function with an error described as a table. Upvalue: [`describe_error`]. Results: whether it went well, and its result or the error.
pub unsafe extern "C-unwind" fn run(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function.
    unsafe {
        let count = ffi::lua_gettop(state);
        ffi::lua_pushvalue(state, lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        let status = ffi::lua_pcall(state, count - 1, 1, 1);
        ffi::lua_pushboolean(state, c_int::from(status == ffi::LUA_OK));
        ffi::lua_insert(state, -2);
        2
    }
}

/// `loadstring`, for text only. Upvalue: Lua's.
pub unsafe extern "C-unwind" fn loadstring(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function.
    unsafe {
        refuse_bytecode(state, 1);
        stand_in(state)
    }
}

/// `load`, for text only.
pub unsafe extern "C-unwind" fn load(state: *mut lua_State) -> c_int {
    // SAFETY: as any C function; the buffer keeps its pieces on the stack, below what is called.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TFUNCTION);
        let name = ffi::luaL_optlstring(state, 2, c"=(load)".as_ptr(), std::ptr::null_mut());
        ffi::lua_settop(state, 2);
        let mut buffer: ffi::luaL_Buffer = std::mem::zeroed();
        ffi::luaL_buffinit(state, &mut buffer);
        loop {
            ffi::lua_pushvalue(state, 1);
            ffi::lua_call(state, 0, 1);
            let kind = ffi::lua_type(state, -1);
            if kind == ffi::LUA_TNIL {
                ffi::lua_settop(state, -2);
                break;
            }
            if ffi::lua_isstring(state, -1) == 0 {
                return ffi::luaL_error(state, c"reader function must return a string".as_ptr());
            }
            if ffi::lua_objlen(state, -1) == 0 {
                ffi::lua_settop(state, -2);
                break;
            }
            ffi::luaL_addvalue(&mut buffer);
        }
        ffi::luaL_pushresult(&mut buffer);
        let index = ffi::lua_gettop(state);
        refuse_bytecode(state, index);
        let mut len = 0;
        let text = ffi::lua_tolstring(state, index, &mut len);
        if ffi::luaL_loadbuffer(state, text, len, name) == ffi::LUA_OK {
            return 1;
        }
        ffi::lua_pushnil(state);
        ffi::lua_insert(state, -2);
        2
    }
}

/// Puts a blank before what would be taken for bytecode, so that it is a syntax error.
unsafe fn refuse_bytecode(state: *mut lua_State, index: c_int) {
    // SAFETY: as any C function; the text is on the stack while it is looked at.
    unsafe {
        let mut len = 0;
        let text = ffi::luaL_checklstring(state, index, &mut len);
        if len > 0 && *text.cast::<u8>() == ffi::LUA_SIGNATURE[0] {
            ffi::lua_pushstring_(state, c" ".as_ptr());
            ffi::lua_pushvalue(state, index);
            ffi::lua_concat(state, 2);
            ffi::lua_replace(state, index);
        }
    }
}
