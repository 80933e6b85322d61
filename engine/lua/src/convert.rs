//! Values on their way: replies of commands to Lua, results of scripts to replies, errors both ways.
//!
//! ```text
//!   reply            Lua                                  Lua                  reply
//!   :1               1                                    number               :1, its fraction cut
//!   $ …              string                               string               $ …
//!   + …              {ok=…}                               {ok=…}               + …
//!   - …              {err=…}                              {err=…}              - …
//!   * …              table                                table                * …, up to its first nil
//!   null             false; nil in RESP3                  nil                  null
//!   #t               true                                 true                 :1; #t in RESP3
//!   , …              {double=…}                           false                null; #f in RESP3
//!   % …              {map={…}}                            {double=…}, {map=…}, {set=…}, {big_number=…},
//!   ~ …              {set={…=true}}                       {verbatim_string={string=…, format=…}}: the same
//! ```
//!
//! Not here: where replies come from (`port.rs`).

use mlua::{Lua, String as LuaString, Table, Value};
use perdura_core::{
    bytes::number,
    resp::{Protocol, Reply},
    script::Ending,
};

/// Tables in tables that a result may have: Redis's limit, which is that of Lua's stack, is about the same.
pub const DEPTH_MAX: usize = 3900;

/// Why a function of ours ends without a result.
pub enum Failed {
    /// This is raised.
    Raised(Value),
    /// This text is raised, with the place of the call before it.
    Message(String),
    /// Lua itself failed: no memory.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Failed {
    fn from(error: mlua::Error) -> Failed {
        Failed::Lua(error)
    }
}

// --- Errors -----------------------------------------------------------------------------------------

/// An error as scripts see it. `text` with a `-` first begins with a code; any other gets `ERR`.
pub fn error_table(lua: &Lua, text: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("err", lua.create_string(error_with_code(text))?)?;
    Ok(table)
}

/// [`error_table`], raised.
pub fn raised(lua: &Lua, text: &str) -> Failed {
    match error_table(lua, text.as_bytes()) {
        Ok(table) => Failed::Raised(Value::Table(table)),
        Err(error) => Failed::Lua(error),
    }
}

fn error_with_code(text: &[u8]) -> Vec<u8> {
    let has_code = text.strip_prefix(b"-").filter(|rest| rest.contains(&b' '));
    let mut full = match has_code {
        Some(rest) => rest.to_vec(),
        None => [b"ERR ", text.strip_prefix(b"-").unwrap_or(text)].concat(),
    };
    while full.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        full.pop();
    }
    full
}

/// A string or number as text.
pub fn text_of(value: &Value) -> Option<String> {
    bytes_of(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A string as it is, a number as Lua prints it; `None` for anything else.
pub fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(number) => Some(lua_number(*number as f64)),
        Value::Number(number) => Some(lua_number(*number)),
        _ => None,
    }
}

/// A number as Lua's `tostring` prints it: fourteen digits.
pub fn lua_number(number: f64) -> Vec<u8> {
    crate::number::general(number, 14)
}

/// The text of whatever was raised, for FUNCTION LOAD.
pub fn error_text(error: &Value) -> String {
    match error {
        Value::Table(table) => match table.raw_get::<Value>("err") {
            Ok(text) => text_of(&text).unwrap_or_default(),
            Err(_) => String::new(),
        },
        other => format!("ERR {}", text_of(other).unwrap_or_else(|| other.type_name().into())),
    }
}

fn is_counted_already(error: &Table) -> bool {
    matches!(error.raw_get::<Value>("ignore_error_stats_update"), Ok(Value::Boolean(true)))
}

fn code_of(text: &[u8]) -> String {
    let code = text.split(|&byte| byte == b' ').next().unwrap_or(text);
    String::from_utf8_lossy(code).into_owned()
}

// --- From replies to Lua ----------------------------------------------------------------------------

/// A reply, which the engine wrote, as a value.
pub fn to_lua(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    let mut reader = Reader { bytes: reply, at: 0 };
    reader.value(lua)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("replies are whole");
        self.at += end + 2;
        &rest[..end]
    }

    fn text(&mut self, len: usize) -> &'a [u8] {
        let text = &self.bytes[self.at..self.at + len];
        self.at += len + 2;
        text
    }

    fn value(&mut self, lua: &Lua) -> mlua::Result<Value> {
        let kind = self.bytes[self.at];
        self.at += 1;
        let line = self.line();
        let count = number::parse_i64(line).unwrap_or(0);
        let len = usize::try_from(count).unwrap_or(0);
        Ok(match kind {
            b':' => Value::Number(count as f64),
            b'$' | b'*' if count < 0 => Value::Boolean(false),
            b'$' => Value::String(lua.create_string(self.text(len))?),
            b'+' => field(lua, "ok", Value::String(lua.create_string(line)?))?,
            b'-' => {
                let error = error_table(lua, &[b"-", line].concat())?;
                error.raw_set("ignore_error_stats_update", true)?;
                Value::Table(error)
            }
            b'*' | b'>' => {
                let table = lua.create_table_with_capacity(len, 0)?;
                for index in 1..=len {
                    table.raw_set(index, self.value(lua)?)?;
                }
                Value::Table(table)
            }
            b'%' => {
                let map = lua.create_table_with_capacity(0, len)?;
                for _ in 0..len {
                    let key = self.value(lua)?;
                    map.raw_set(key, self.value(lua)?)?;
                }
                field(lua, "map", Value::Table(map))?
            }
            b'~' => {
                let set = lua.create_table_with_capacity(0, len)?;
                for _ in 0..len {
                    set.raw_set(self.value(lua)?, true)?;
                }
                field(lua, "set", Value::Table(set))?
            }
            b'_' => Value::Nil,
            b'#' => Value::Boolean(line == b"t"),
            b',' => field(lua, "double", Value::Number(number::parse_f64(line).unwrap_or(f64::NAN)))?,
            b'(' => field(lua, "big_number", Value::String(lua.create_string(line)?))?,
            b'=' => {
                let (format, text) = self.text(len).split_at(4);
                let verbatim = lua.create_table_with_capacity(0, 2)?;
                verbatim.raw_set("string", lua.create_string(text)?)?;
                verbatim.raw_set("format", lua.create_string(&format[..3])?)?;
                field(lua, "verbatim_string", Value::Table(verbatim))?
            }
            b'|' => {
                // What tells of a reply is not shown to scripts.
                for _ in 0..2 * len {
                    self.value(lua)?;
                }
                self.value(lua)?
            }
            other => unreachable!("the engine writes no reply that begins with {other}"),
        })
    }
}

fn field(lua: &Lua, name: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

// --- From Lua to replies ----------------------------------------------------------------------------

/// What a script gives back that went well; `inner` is the version that it asked for itself.
pub fn ending(value: &Value, protocol: Protocol, inner: Protocol) -> Ending {
    let mut writer = Writer { reply: Reply::new(protocol), inner, ending: Ending::default() };
    writer.value(value, 0);
    writer.finish()
}

/// What a script gives back that raised an error: its text, and where.
pub fn failure(error: &Table, name: &str, protocol: Protocol) -> Ending {
    let get = |field: &str| error.raw_get::<Value>(field).ok().and_then(|value| bytes_of(&value));
    let mut text = get("err").unwrap_or_default();
    if let (Some(source), Some(line)) = (get("source"), get("line")) {
        text.extend(format!(" script: {name}, on ").bytes());
        text.extend(source);
        text.push(b':');
        text.extend(line);
        text.push(b'.');
    }
    let mut writer = Writer { reply: Reply::new(protocol), inner: protocol, ending: Ending::default() };
    writer.error(&text, is_counted_already(error));
    writer.finish()
}

/// An error that no script raised.
pub fn plain_failure(text: &str, protocol: Protocol) -> Ending {
    let mut writer = Writer { reply: Reply::new(protocol), inner: protocol, ending: Ending::default() };
    writer.error(text.as_bytes(), false);
    writer.finish()
}

struct Writer {
    reply: Reply,
    inner: Protocol,
    ending: Ending,
}

impl Writer {
    fn finish(mut self) -> Ending {
        self.ending.reply = self.reply.into_bytes();
        self.ending
    }

    fn error(&mut self, text: &[u8], is_counted: bool) {
        self.ending.has_error = true;
        if !is_counted {
            self.ending.error_codes.push(code_of(text));
        }
        self.reply.error_bytes(text);
    }

    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::String(text) => self.reply.bulk(&text.as_bytes()),
            Value::Integer(number) => self.reply.integer(*number),
            Value::Number(number) => self.reply.integer(integer_part(*number)),
            Value::Boolean(is_true) if self.inner == Protocol::Resp3 => self.reply.boolean(*is_true),
            Value::Boolean(true) => self.reply.integer(1),
            Value::Table(_) if depth > DEPTH_MAX => self.error(b"ERR reached lua stack limit", false),
            Value::Table(table) => self.table(table, depth),
            _ => self.reply.null(),
        }
    }

    fn table(&mut self, table: &Table, depth: usize) {
        let get = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
        if let Value::String(text) = get("err") {
            return self.error(&text.as_bytes(), is_counted_already(table));
        }
        if let Value::String(text) = get("ok") {
            return self.status(&text);
        }
        if let Some(number) = as_number(&get("double")) {
            return self.reply.double(number);
        }
        if let Value::Table(map) = get("map") {
            return self.map(&map, depth);
        }
        if let Value::Table(set) = get("set") {
            return self.set(&set, depth);
        }
        if let Value::String(digits) = get("big_number") {
            let digits = String::from_utf8_lossy(&digits.as_bytes()).replace(['\r', '\n'], " ");
            return self.reply.big_number(&digits);
        }
        if let Value::Table(verbatim) = get("verbatim_string")
            && let (Ok(Value::String(text)), Ok(Value::String(format))) =
                (verbatim.raw_get("string"), verbatim.raw_get("format"))
        {
            let mut name = *b"txt";
            let format = format.as_bytes();
            let count = format.len().min(name.len());
            name[..count].copy_from_slice(&format[..count]);
            return self.reply.verbatim(name, &text.as_bytes());
        }
        let begun = self.reply.defer_len();
        let mut count = 0;
        loop {
            match table.raw_get(count + 1) {
                Ok(Value::Nil) | Err(_) => break,
                Ok(value) => self.value(&value, depth + 1),
            }
            count += 1;
        }
        self.reply.array_deferred(begun, count);
    }

    fn status(&mut self, text: &LuaString) {
        self.reply.simple(&String::from_utf8_lossy(&text.as_bytes()));
    }

    fn map(&mut self, map: &Table, depth: usize) {
        let begun = self.reply.defer_len();
        let mut count = 0;
        for pair in map.pairs::<Value, Value>().flatten() {
            self.value(&pair.0, depth + 1);
            self.value(&pair.1, depth + 1);
            count += 1;
        }
        self.reply.map_deferred(begun, count);
    }

    fn set(&mut self, set: &Table, depth: usize) {
        let begun = self.reply.defer_len();
        let mut count = 0;
        for pair in set.pairs::<Value, Value>().flatten() {
            self.value(&pair.0, depth + 1);
            count += 1;
        }
        self.reply.set_deferred(begun, count);
    }
}

/// A number, if it is one.
pub fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// A number without its fraction, as a processor of the x86 family converts it.
fn integer_part(number: f64) -> i64 {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if (-BEYOND..BEYOND).contains(&number) { number as i64 } else { i64::MIN }
}
