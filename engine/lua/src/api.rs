//! `redis.*`: what a script may ask of the server.
//!
//! Not here: whether it may (the engine), how values are converted (`convert.rs`).

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};
use perdura_core::{
    bytes::{number, sha},
    config::REDIS_VERSION,
    resp::Protocol,
    script::{Answer, FLAG_NAMES, Registered, ScriptCommand, Step, is_name},
};

use crate::{
    convert::{self, Failed, as_number, bytes_of, raised},
    machine::Answered,
    port::Port,
    sandbox::{Surroundings, register},
};

/// Bits of `redis.set_repl`.
const REPL_AOF: i64 = 1;
const REPL_REPLICA: i64 = 2;

/// Levels of `redis.log`, least first.
const LEVELS: [&str; 4] = ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"];

/// `redis`, as scripts and functions see it.
pub fn table(lua: &Lua, port: &Rc<Port>, surroundings: Surroundings) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    add_common(lua, &table)?;
    let with_port = |name: &str, function: fn(&Lua, &Port, MultiValue) -> Answered| {
        let port = Rc::clone(port);
        register(lua, &table, name, move |lua, args| function(lua, &port, args))
    };
    with_port("call", |lua, port, args| call(lua, port, args, true))?;
    with_port("pcall", |lua, port, args| call(lua, port, args, false))?;
    with_port("setresp", setresp)?;
    with_port("set_repl", set_repl)?;
    with_port("acl_check_cmd", acl_check_cmd)?;
    register(lua, &table, "sha1hex", sha1hex)?;
    register(lua, &table, "error_reply", error_reply)?;
    register(lua, &table, "status_reply", status_reply)?;
    for (name, bits) in [
        ("REPL_NONE", 0),
        ("REPL_AOF", REPL_AOF),
        ("REPL_SLAVE", REPL_REPLICA),
        ("REPL_REPLICA", REPL_REPLICA),
        ("REPL_ALL", REPL_AOF | REPL_REPLICA),
    ] {
        table.raw_set(name, bits)?;
    }
    if surroundings == Surroundings::Scripts {
        register(lua, &table, "breakpoint", |_, _| one(Value::Boolean(false)))?;
        register(lua, &table, "debug", |_, _| Ok(MultiValue::new()))?;
        register(lua, &table, "replicate_commands", |_, _| one(Value::Boolean(true)))?;
    }
    Ok(table)
}

/// `redis`, as a library sees it while it is loaded.
pub fn loading_table(lua: &Lua, port: &Rc<Port>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    add_common(lua, &table)?;
    let port = Rc::clone(port);
    register(lua, &table, "register_function", move |lua, args| register_function(lua, &port, args))?;
    Ok(table)
}

/// The log and the version: always there.
fn add_common(lua: &Lua, table: &Table) -> mlua::Result<()> {
    register(lua, table, "log", log)?;
    for (level, name) in LEVELS.iter().enumerate() {
        table.raw_set(*name, level)?;
    }
    table.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    let version_number = REDIS_VERSION.split('.').filter_map(|part| part.parse::<i64>().ok());
    table.raw_set("REDIS_VERSION_NUM", version_number.fold(0, |number, part| number << 8 | part))
}

fn one(value: Value) -> Answered {
    Ok(MultiValue::from_vec(vec![value]))
}

// --- Commands ---------------------------------------------------------------------------------------

fn call(lua: &Lua, port: &Port, args: MultiValue, raises: bool) -> Answered {
    let result = match arguments(&args) {
        Ok(_) if !port.is_running.get() => {
            // A coroutine that outlived its script.
            Value::Table(convert::error_table(
                lua,
                b"redis.call/pcall can only be called inside a script invocation",
            )?)
        }
        Ok(args) => {
            let command =
                ScriptCommand { args, protocol: port.protocol.get(), is_logged: port.is_logged.get() };
            match port.ask(Step::Command(command)) {
                Answer::Reply(reply) => convert::to_lua(lua, &reply)?,
                Answer::Refused(why) => {
                    let error = convert::error_table(lua, why.as_bytes())?;
                    error.raw_set("ignore_error_stats_update", true)?;
                    Value::Table(error)
                }
                other => unreachable!("{other:?} answers no command"),
            }
        }
        Err(why) => Value::Table(convert::error_table(lua, why.as_bytes())?),
    };
    match result {
        Value::Table(table) if raises && is_error(&table) => Err(Failed::Raised(Value::Table(table))),
        value => one(value),
    }
}

fn is_error(table: &Table) -> bool {
    matches!(table.raw_get::<Value>("err"), Ok(Value::String(_)))
}

/// A command's arguments, from Lua's strings and numbers.
fn arguments(args: &MultiValue) -> Result<Vec<Vec<u8>>, &'static str> {
    if args.is_empty() {
        return Err("Please specify at least one argument for this redis lib call");
    }
    let argument = |value: &Value| match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) => Ok(number::format_double(*number)),
        _ => Err("Lua redis lib command arguments must be strings or integers"),
    };
    args.iter().map(argument).collect()
}

fn acl_check_cmd(lua: &Lua, port: &Port, args: MultiValue) -> Answered {
    let args = arguments(&args).map_err(|why| raised(lua, why))?;
    match port.ask(Step::MayRun(args)) {
        Answer::Allowed(Some(is_allowed)) => one(Value::Boolean(is_allowed)),
        _ => Err(raised(lua, "Invalid command passed to redis.acl_check_cmd()")),
    }
}

// --- Settings of a run ------------------------------------------------------------------------------

fn setresp(lua: &Lua, port: &Port, args: MultiValue) -> Answered {
    if args.len() != 1 {
        return Err(raised(lua, "redis.setresp() requires one argument."));
    }
    let protocol = match as_integer(&args[0]) {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(raised(lua, "RESP version must be 2 or 3.")),
    };
    port.protocol.set(protocol);
    Ok(MultiValue::new())
}

fn set_repl(lua: &Lua, port: &Port, args: MultiValue) -> Answered {
    if args.len() != 1 {
        return Err(raised(lua, "redis.set_repl() requires one argument."));
    }
    let bits = as_integer(&args[0]);
    if bits & !(REPL_AOF | REPL_REPLICA) != 0 {
        let why = "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        return Err(raised(lua, why));
    }
    port.is_logged.set(bits & REPL_AOF != 0);
    Ok(MultiValue::new())
}

/// A number, or a string that is one, without its fraction; 0 for anything else.
fn as_integer(value: &Value) -> i64 {
    let number = as_number(value).or_else(|| bytes_of(value).and_then(|text| number::parse_f64(&text)));
    number.unwrap_or(0.0) as i64
}

// --- Help -------------------------------------------------------------------------------------------

fn sha1hex(lua: &Lua, args: MultiValue) -> Answered {
    if args.len() != 1 {
        return Err(raised(lua, "wrong number of arguments"));
    }
    let text = bytes_of(&args[0]).unwrap_or_default();
    one(Value::String(lua.create_string(sha::hex(&sha::sha1(&text)))?))
}

fn error_reply(lua: &Lua, args: MultiValue) -> Answered {
    let Some(Value::String(text)) = args.front().filter(|_| args.len() == 1) else {
        return one(Value::Table(convert::error_table(lua, b"wrong number or type of arguments")?));
    };
    let text = text.as_bytes();
    let text = if text.starts_with(b"-") { text.to_vec() } else { [b"-", &text[..]].concat() };
    one(Value::Table(convert::error_table(lua, &text)?))
}

fn status_reply(lua: &Lua, args: MultiValue) -> Answered {
    let Some(text @ Value::String(_)) = args.front().filter(|_| args.len() == 1) else {
        return one(Value::Table(convert::error_table(lua, b"wrong number or type of arguments")?));
    };
    let table = lua.create_table()?;
    table.raw_set("ok", text)?;
    one(Value::Table(table))
}

fn log(lua: &Lua, args: MultiValue) -> Answered {
    if args.len() < 2 {
        return Err(raised(lua, "redis.log() requires two arguments or more."));
    }
    let level = as_number(&args[0]).or_else(|| bytes_of(&args[0]).and_then(|text| number::parse_f64(&text)));
    let Some(level) = level else {
        return Err(raised(lua, "First argument must be a number (log level)."));
    };
    let texts: Vec<String> = args.iter().skip(1).filter_map(convert::text_of).collect();
    let text = texts.join(" ");
    match level as i64 {
        0 => tracing::trace!("{text}"),
        1 => tracing::debug!("{text}"),
        2 => tracing::info!("{text}"),
        3 => tracing::warn!("{text}"),
        _ => return Err(raised(lua, "Invalid debug level.")),
    }
    Ok(MultiValue::new())
}

// --- Libraries --------------------------------------------------------------------------------------

fn register_function(lua: &Lua, port: &Port, args: MultiValue) -> Answered {
    let mut library = port.loading.borrow_mut();
    let Some(library) = &mut *library else {
        return Err(raised(lua, "redis.register_function can only be called on FUNCTION LOAD command"));
    };
    let args = args.into_vec();
    let (entry, function) = match args.as_slice() {
        [named] => named_arguments(named),
        [name, function] => positional_arguments(name, function),
        _ => Err("wrong number of arguments to redis.register_function"),
    }
    .map_err(|why| raised(lua, why))?;
    if !is_name(&entry.name) {
        let why = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
        return Err(raised(lua, why));
    }
    if library.functions.iter().any(|(other, _)| other.name.eq_ignore_ascii_case(&entry.name)) {
        return Err(raised(lua, "Function already exists in the library"));
    }
    library.functions.push((entry, function));
    Ok(MultiValue::new())
}

type Entry = Result<(Registered, mlua::Function), &'static str>;

fn positional_arguments(name: &Value, function: &Value) -> Entry {
    let Value::String(name) = name else {
        return Err("first argument to redis.register_function must be a string");
    };
    let Value::Function(function) = function else {
        return Err("second argument to redis.register_function must be a function");
    };
    let entry = Registered { name: name.as_bytes().to_vec(), description: None, flags: 0 };
    Ok((entry, function.clone()))
}

fn named_arguments(named: &Value) -> Entry {
    let Value::Table(named) = named else {
        return Err(
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named \
             arguments).",
        );
    };
    let (mut name, mut description, mut function, mut flags) = (None, None, None, 0);
    for pair in named.pairs::<Value, Value>() {
        let Ok((Value::String(key), value)) = pair else {
            return Err("named argument key given to redis.register_function is not a string");
        };
        match (&*key.as_bytes().to_ascii_lowercase(), value) {
            (b"function_name", Value::String(text)) => name = Some(text.as_bytes().to_vec()),
            (b"function_name", _) => {
                return Err("function_name argument given to redis.register_function must be a string");
            }
            (b"description", Value::String(text)) => description = Some(text.as_bytes().to_vec()),
            (b"description", _) => {
                return Err("description argument given to redis.register_function must be a string");
            }
            (b"callback", Value::Function(callback)) => function = Some(callback),
            (b"callback", _) => {
                return Err("callback argument given to redis.register_function must be a function");
            }
            (b"flags", Value::Table(names)) => flags = read_flags(&names).ok_or("unknown flag given")?,
            (b"flags", _) => {
                return Err(
                    "flags argument to redis.register_function must be a table representing function flags",
                );
            }
            _ => return Err("unknown argument given to redis.register_function"),
        }
    }
    let name = name.ok_or("redis.register_function must get a function name argument")?;
    let function = function.ok_or("redis.register_function must get a callback argument")?;
    Ok((Registered { name, description, flags }, function))
}

/// The bits of a list of flags, or `None` if one of them is none.
fn read_flags(names: &Table) -> Option<u32> {
    let mut flags = 0;
    for index in 1.. {
        let name: Value = names.raw_get(index).ok()?;
        if name == Value::Nil {
            break;
        }
        let name = bytes_of(&name)?;
        flags |= FLAG_NAMES.iter().find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes()))?.0;
    }
    Some(flags)
}
