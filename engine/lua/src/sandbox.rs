//! What a script may see: the globals of Redis, all of them readonly.
//!
//! Exists so that no script leaves anything behind for the next. Each table that scripts reach without making it themselves
//! is a shield (`raw.rs`): reading goes through it, writing is an error, whatever function tries.
//!
//! Always true: the tables behind the shields are reached by Rust alone; a name that does not exist is an error.
//!
//! Not here: `redis.*` (`api.rs`), the libraries (`cjson.rs`, `cmsgpack.rs`, `structs.rs`, `bits.rs`).

use std::rc::Rc;

use mlua::{Function, Lua, Table, Value, ffi::lua_CFunction};

use crate::{api, bits, cjson, cmsgpack, convert::Failed, port::Port, random, raw, structs};

/// Globals of Lua 5.1 that scripts keep.
const KEPT: &[&str] = &[
    "_VERSION",
    "assert",
    "collectgarbage",
    "error",
    "gcinfo",
    "ipairs",
    "rawequal",
    "select",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
];

/// Libraries of Lua 5.1 that scripts keep.
const LIBRARIES: &[&str] = &["coroutine", "math", "string", "table"];

/// Functions of `table` that change a table.
const CHANGING: &[&str] = &["insert", "remove", "setn", "sort"];

/// Functions of `table` that go through a table.
const LOOKING: &[&str] = &["concat", "foreach", "foreachi", "getn", "maxn"];

/// Who lives in these surroundings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Surroundings {
    /// EVAL's scripts.
    Scripts,
    /// Functions of libraries.
    Functions,
}

/// The surroundings, built.
pub struct Sandbox {
    /// The shield of the globals: what `_G` is.
    pub globals: Table,
    /// The globals themselves.
    inner: Table,
    /// The metatable of `globals`, whose `__index` says what is seen.
    lens: Table,
    /// What is seen while a library is being loaded.
    loading: Table,
    run: Function,
}

/// Makes shields.
struct Shields<'a> {
    lua: &'a Lua,
    /// From shields to what they protect.
    real: Table,
    /// From shields and protected metatables to what `getmetatable` shows; `false` is none.
    shown: Table,
    readonly: Function,
}

impl Shields<'_> {
    /// A shield for a table, and its metatable.
    fn protect(&self, table: &Table) -> mlua::Result<(Table, Table)> {
        let shield = self.lua.create_table()?;
        let lens = self.lua.create_table()?;
        lens.raw_set("__index", table)?;
        lens.raw_set("__newindex", &self.readonly)?;
        shield.set_metatable(Some(lens.clone()))?;
        self.real.raw_set(&shield, table)?;
        self.shown.raw_set(&shield, false)?;
        Ok((shield, lens))
    }

    /// Lets `getmetatable` show a shield of a metatable instead.
    fn protect_metatable(&self, of: impl mlua::IntoLua, metatable: &Table) -> mlua::Result<()> {
        let (shield, _) = self.protect(metatable)?;
        self.shown.raw_set(of, shield)
    }

    /// A stand-in for a function, with the table that it needs to know shields.
    fn stand_in(&self, function: lua_CFunction, original: Value) -> mlua::Result<Function> {
        raw::closure(self.lua, function, vec![original, Value::Table(self.real.clone())])
    }
}

impl Sandbox {
    /// Builds surroundings, and makes them those of everything that is run from now on.
    pub fn build(lua: &Lua, port: &Rc<Port>, surroundings: Surroundings) -> mlua::Result<Sandbox> {
        let base = lua.globals();
        let shields = Shields {
            lua,
            real: lua.create_table()?,
            shown: lua.create_table()?,
            readonly: raw::closure(lua, raw::readonly, Vec::new())?,
        };
        let inner = lua.create_table()?;
        for name in KEPT {
            inner.raw_set(*name, base.raw_get::<Value>(*name)?)?;
        }
        add_base(lua, &shields, &base, &inner)?;
        for name in LIBRARIES {
            let library: Table = base.raw_get(*name)?;
            match *name {
                "table" => guard_table_library(&shields, &library)?,
                "math" => random::install(lua, &library)?,
                _ => {}
            }
            inner.raw_set(*name, shields.protect(&library)?.0)?;
        }
        for (name, library) in [
            ("bit", bits::library(lua)?),
            ("cjson", cjson::library(lua)?),
            ("cmsgpack", cmsgpack::library(lua)?),
            ("struct", structs::library(lua)?),
        ] {
            inner.raw_set(name, shields.protect(&library)?.0)?;
        }
        let api = api::table(lua, port, surroundings)?;
        let api = shields.protect(&api)?.0;
        inner.raw_set("redis", &api)?;
        inner.raw_set("server", &api)?;

        let missing = raw::closure(lua, raw::missing, Vec::new())?;
        let (globals, lens) = shields.protect(&inner)?;
        inner.raw_set("_G", &globals)?;
        refuse_missing(lua, &shields, &inner, &globals, &missing)?;
        // Every string's methods.
        if let Some(metatable) = lua.type_metatable::<mlua::String>() {
            shields.protect_metatable(&metatable, &metatable)?;
        }

        let loading = loading_globals(lua, port, &shields, &missing)?;
        lua.set_globals(globals.clone())?;
        lua.set_named_registry_value(breathe_key(), breathe(lua, port)?)?;
        let describe = raw::closure(lua, raw::describe_error, Vec::new())?;
        let run = raw::closure(lua, raw::run, vec![Value::Function(describe)])?;
        Ok(Sandbox { globals, inner, lens, loading, run })
    }

    /// Runs a script: whether it went well, and its result or error.
    pub fn run_script(
        &self,
        lua: &Lua,
        script: &Function,
        keys: Table,
        args: Table,
    ) -> mlua::Result<(bool, Value)> {
        self.inner.raw_set("KEYS", keys)?;
        self.inner.raw_set("ARGV", args)?;
        raw::begin_counting(lua)?;
        self.run.call(script)
    }

    /// Runs a function: whether it went well, and its result or error.
    pub fn run_function(
        &self,
        lua: &Lua,
        function: &Function,
        keys: Table,
        args: Table,
    ) -> mlua::Result<(bool, Value)> {
        raw::begin_counting(lua)?;
        self.run.call((function, keys, args))
    }

    /// Runs a library's code, which sees little but `redis.register_function`.
    pub fn run_loading(&self, lua: &Lua, code: &Function) -> mlua::Result<(bool, Value)> {
        self.lens.raw_set("__index", &self.loading)?;
        raw::begin_counting(lua)?;
        let result = self.run.call(code);
        self.lens.raw_set("__index", &self.inner)?;
        result
    }
}

/// Stand-ins for what could look or reach behind a shield.
fn add_base(lua: &Lua, shields: &Shields<'_>, base: &Table, inner: &Table) -> mlua::Result<()> {
    let original = |name: &str| base.raw_get::<Value>(name);
    let real = Value::Table(shields.real.clone());
    let shown = Value::Table(shields.shown.clone());
    let next = shields.stand_in(raw::seeing, original("next")?)?;
    let pairs_upvalues = vec![original("next")?, Value::Function(next.clone()), real];
    inner.raw_set("next", next)?;
    inner.raw_set("pairs", raw::closure(lua, raw::pairs, pairs_upvalues)?)?;
    inner.raw_set("rawget", shields.stand_in(raw::seeing, original("rawget")?)?)?;
    inner.raw_set("rawset", shields.stand_in(raw::guarded, original("rawset")?)?)?;
    inner.raw_set("setmetatable", shields.stand_in(raw::guarded, original("setmetatable")?)?)?;
    let getmetatable = raw::closure(lua, raw::getmetatable, vec![original("getmetatable")?, shown])?;
    inner.raw_set("getmetatable", getmetatable)?;
    inner.raw_set("pcall", raw::closure(lua, raw::pcall, Vec::new())?)?;
    inner.raw_set("load", raw::closure(lua, raw::load, Vec::new())?)?;
    inner.raw_set("loadstring", raw::closure(lua, raw::loadstring, vec![original("loadstring")?])?)
}

fn guard_table_library(shields: &Shields<'_>, library: &Table) -> mlua::Result<()> {
    for (names, function) in
        [(CHANGING, raw::guarded as lua_CFunction), (LOOKING, raw::seeing as lua_CFunction)]
    {
        for name in names {
            let original: Value = library.raw_get(*name)?;
            library.raw_set(*name, shields.stand_in(function, original)?)?;
        }
    }
    Ok(())
}

/// Makes it an error to read from a table what it does not have.
fn refuse_missing(
    lua: &Lua,
    shields: &Shields<'_>,
    table: &Table,
    shield: &Table,
    missing: &Function,
) -> mlua::Result<()> {
    let metatable = lua.create_table()?;
    metatable.raw_set("__index", missing)?;
    table.set_metatable(Some(metatable.clone()))?;
    shields.protect_metatable(shield, &metatable)
}

/// What a library sees while it is loaded.
fn loading_globals(
    lua: &Lua,
    port: &Rc<Port>,
    shields: &Shields<'_>,
    missing: &Function,
) -> mlua::Result<Table> {
    let api = api::loading_table(lua, port)?;
    let shield = shields.protect(&api)?.0;
    refuse_missing(lua, shields, &api, &shield, missing)?;
    let loading = lua.create_table()?;
    loading.raw_set("redis", &shield)?;
    loading.raw_set("server", &shield)?;
    let metatable = lua.create_table()?;
    metatable.raw_set("__index", missing)?;
    loading.set_metatable(Some(metatable))?;
    Ok(loading)
}

fn breathe_key() -> &'static str {
    raw::BREATHE.to_str().expect("plain letters")
}

/// What the hook asks after each slice: nothing, or what is to be raised.
fn breathe(lua: &Lua, port: &Rc<Port>) -> mlua::Result<Function> {
    let port = Rc::clone(port);
    lua.create_function(move |lua, ()| {
        use crate::port::Halt;
        let text = match port.breathe() {
            None => return Ok(Value::Nil),
            Some(Halt::Killed) => "Script killed by user with SCRIPT KILL...",
            Some(Halt::LoadingTooLong) => "FUNCTION LOAD timeout",
        };
        Ok(Value::Table(crate::convert::error_table(lua, text.as_bytes())?))
    })
}

/// Adds a function of ours to a table. What it fails with is raised as Lua's own functions do.
pub fn register(
    lua: &Lua,
    table: &Table,
    name: &str,
    function: impl Fn(&Lua, mlua::MultiValue) -> crate::machine::Answered + 'static,
) -> mlua::Result<()> {
    let inner = lua.create_function(move |lua, args: mlua::MultiValue| {
        let (verdict, value) = match function(lua, raw::unbundled(args)?) {
            Ok(mut results) => {
                results.push_front(Value::Boolean(true));
                return Ok(results);
            }
            Err(Failed::Raised(value)) => (Value::Boolean(false), value),
            Err(Failed::Message(text)) => (Value::Nil, Value::String(lua.create_string(text)?)),
            Err(Failed::Lua(error)) => return Err(error),
        };
        Ok(mlua::MultiValue::from_vec(vec![verdict, value]))
    })?;
    table.raw_set(name, raw::closure(lua, raw::raising, vec![Value::Function(inner)])?)
}
