//! `cjson`: JSON text to Lua's values and back.
//!
//! Exists here because no crate decides as scripts of Redis expect: which tables are arrays, how numbers look, what is wrong where.
//!
//! ```text
//!   table with keys 1..n (holes allowed up to a point)   [ … ]      null   cjson.null
//!   any other table, the empty one too                   { … }
//! ```
//!
//! Always true: settings belong to one instance of the library, and outlive the script that made them.

use std::{cell::RefCell, rc::Rc};

use mlua::{Lua, MultiValue, Table, Value};

use crate::{
    args::{Given, type_name},
    convert::{Failed, as_number},
    machine::Answered,
    number,
    sandbox::register,
};

/// Tables in tables that Lua's stack has room for.
const DEPTH_MAX: usize = 2600;

/// What is done about infinities and NaN.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InvalidNumbers {
    Refuse,
    Write,
    WriteNull,
}

/// The settings of one instance.
#[derive(Clone, Copy)]
struct Settings {
    converts_sparse: bool,
    sparse_ratio: i32,
    sparse_safe: i32,
    encode_depth_max: i32,
    decode_depth_max: i32,
    precision: i32,
    keeps_buffer: bool,
    encode_invalid: InvalidNumbers,
    decodes_invalid: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            converts_sparse: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            precision: 14,
            keeps_buffer: true,
            encode_invalid: InvalidNumbers::Refuse,
            decodes_invalid: true,
        }
    }
}

type Shared = Rc<RefCell<Settings>>;

/// A fresh instance of the library.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let settings: Shared = Rc::default();
    let with_settings = |name: &'static str, function: fn(&Lua, &mut Settings, Given<'_>) -> Answered| {
        let settings = Rc::clone(&settings);
        register(lua, &table, name, move |lua, args| {
            function(lua, &mut settings.borrow_mut(), Given { function: name, values: &args })
        })
    };
    with_settings("encode", encode)?;
    with_settings("decode", decode)?;
    with_settings("encode_sparse_array", encode_sparse_array)?;
    with_settings("encode_max_depth", |_, settings, given| {
        integer_setting(&given, 1, &mut settings.encode_depth_max, 1, i32::MAX)
    })?;
    with_settings("decode_max_depth", |_, settings, given| {
        integer_setting(&given, 1, &mut settings.decode_depth_max, 1, i32::MAX)
    })?;
    with_settings("encode_number_precision", |_, settings, given| {
        integer_setting(&given, 1, &mut settings.precision, 1, 14)
    })?;
    with_settings("encode_keep_buffer", |_, settings, given| {
        refuse_more(&given, 1)?;
        one(Value::Boolean(switch(&given, 0, &mut settings.keeps_buffer)?))
    })?;
    with_settings("decode_invalid_numbers", |_, settings, given| {
        refuse_more(&given, 1)?;
        one(Value::Boolean(switch(&given, 0, &mut settings.decodes_invalid)?))
    })?;
    with_settings("encode_invalid_numbers", encode_invalid_numbers)?;
    register(lua, &table, "new", |lua, _| one(Value::Table(library(lua)?)))?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn one(value: Value) -> Answered {
    Ok(MultiValue::from_vec(vec![value]))
}

// --- Settings ---------------------------------------------------------------------------------------

fn refuse_more(given: &Given<'_>, count_max: usize) -> Result<(), Failed> {
    if given.count() > count_max {
        return Err(given.bad(count_max, "found too many arguments"));
    }
    Ok(())
}

fn set_integer(
    given: &Given<'_>,
    index: usize,
    setting: &mut i32,
    least: i32,
    most: i32,
) -> Result<(), Failed> {
    if given.get(index).is_some() {
        let value = given.int(index)?;
        if !(least..=most).contains(&value) {
            return Err(given.bad(0, &format!("expected integer between {least} and {most}")));
        }
        *setting = value;
    }
    Ok(())
}

fn integer_setting(
    given: &Given<'_>,
    count_max: usize,
    setting: &mut i32,
    least: i32,
    most: i32,
) -> Answered {
    refuse_more(given, count_max)?;
    set_integer(given, 0, setting, least, most)?;
    one(Value::Number(f64::from(*setting)))
}

/// Which of these words an argument is.
fn option(given: &Given<'_>, index: usize, words: &[&str]) -> Result<usize, Failed> {
    let text = given.string(index)?;
    words
        .iter()
        .position(|word| word.as_bytes() == text)
        .ok_or_else(|| given.bad(index, &format!("invalid option '{}'", String::from_utf8_lossy(&text))))
}

fn switch(given: &Given<'_>, index: usize, setting: &mut bool) -> Result<bool, Failed> {
    match given.get(index) {
        None => {}
        Some(Value::Boolean(is_on)) => *setting = *is_on,
        Some(_) => *setting = option(given, index, &["off", "on"])? == 1,
    }
    Ok(*setting)
}

fn encode_sparse_array(_: &Lua, settings: &mut Settings, given: Given<'_>) -> Answered {
    refuse_more(&given, 3)?;
    switch(&given, 0, &mut settings.converts_sparse)?;
    set_integer(&given, 1, &mut settings.sparse_ratio, 0, i32::MAX)?;
    set_integer(&given, 2, &mut settings.sparse_safe, 0, i32::MAX)?;
    Ok(MultiValue::from_vec(vec![
        Value::Boolean(settings.converts_sparse),
        Value::Number(f64::from(settings.sparse_ratio)),
        Value::Number(f64::from(settings.sparse_safe)),
    ]))
}

fn encode_invalid_numbers(lua: &Lua, settings: &mut Settings, given: Given<'_>) -> Answered {
    use InvalidNumbers::{Refuse, Write, WriteNull};
    refuse_more(&given, 1)?;
    match given.get(0) {
        None => {}
        Some(Value::Boolean(is_on)) => settings.encode_invalid = if *is_on { Write } else { Refuse },
        Some(_) => {
            let words = ["off", "on", "null"];
            settings.encode_invalid = [Refuse, Write, WriteNull][option(&given, 0, &words)?];
        }
    }
    one(match settings.encode_invalid {
        Refuse => Value::Boolean(false),
        Write => Value::Boolean(true),
        WriteNull => Value::String(lua.create_string("null")?),
    })
}

// --- Encoding ---------------------------------------------------------------------------------------

fn encode(lua: &Lua, settings: &mut Settings, given: Given<'_>) -> Answered {
    if given.count() != 1 {
        return Err(given.bad(0, "expected 1 argument"));
    }
    let mut text = Vec::new();
    put_value(settings, &given.values[0], 0, &mut text)?;
    one(Value::String(lua.create_string(text)?))
}

fn cannot(value: &Value, why: &str) -> Failed {
    Failed::Message(format!("Cannot serialise {}: {why}", type_name(value)))
}

fn put_value(settings: &Settings, value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), Failed> {
    match value {
        Value::String(text) => put_string(&text.as_bytes(), out),
        Value::Integer(_) | Value::Number(_) => put_number(settings, value, out)?,
        Value::Boolean(is_true) => out.extend_from_slice(if *is_true { b"true" } else { b"false" }),
        Value::Nil => out.extend_from_slice(b"null"),
        Value::LightUserData(pointer) if pointer.0.is_null() => out.extend_from_slice(b"null"),
        Value::Table(table) => {
            let depth = depth + 1;
            if depth > DEPTH_MAX.min(settings.encode_depth_max as usize) {
                return Err(Failed::Message(format!("Cannot serialise, excessive nesting ({depth})")));
            }
            match array_len(settings, value, table)? {
                Some(len) if len > 0 => put_array(settings, table, len, depth, out)?,
                _ => put_object(settings, table, depth, out)?,
            }
        }
        other => return Err(cannot(other, "type not supported")),
    }
    Ok(())
}

/// The largest index of a table that is an array, or `None`.
fn array_len(settings: &Settings, value: &Value, table: &Table) -> Result<Option<usize>, Failed> {
    let (mut last, mut count) = (0.0_f64, 0_i64);
    for pair in table.pairs::<Value, Value>() {
        match as_number(&pair?.0) {
            Some(index) if index.floor() == index && index >= 1.0 => {
                last = last.max(index);
                count += 1;
            }
            _ => return Ok(None),
        }
    }
    let ratio = settings.sparse_ratio;
    let is_sparse =
        ratio > 0 && last > (count * i64::from(ratio)) as f64 && last > f64::from(settings.sparse_safe);
    if is_sparse && !settings.converts_sparse {
        return Err(cannot(value, "excessively sparse array"));
    }
    Ok((!is_sparse).then_some(last as usize))
}

fn put_array(
    settings: &Settings,
    table: &Table,
    len: usize,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failed> {
    out.push(b'[');
    for index in 1..=len {
        if index > 1 {
            out.push(b',');
        }
        put_value(settings, &table.raw_get(index)?, depth, out)?;
    }
    out.push(b']');
    Ok(())
}

fn put_object(settings: &Settings, table: &Table, depth: usize, out: &mut Vec<u8>) -> Result<(), Failed> {
    out.push(b'{');
    let mut is_first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if !core::mem::take(&mut is_first) {
            out.push(b',');
        }
        match &key {
            Value::String(text) => put_string(&text.as_bytes(), out),
            Value::Integer(_) | Value::Number(_) => {
                out.push(b'"');
                put_number(settings, &key, out)?;
                out.push(b'"');
            }
            other => return Err(cannot(other, "table key must be a number or string")),
        }
        out.push(b':');
        put_value(settings, &value, depth, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn put_number(settings: &Settings, value: &Value, out: &mut Vec<u8>) -> Result<(), Failed> {
    let number = as_number(value).expect("a number");
    if !number.is_finite() {
        match settings.encode_invalid {
            InvalidNumbers::Refuse => return Err(cannot(value, "must not be NaN or Inf")),
            InvalidNumbers::WriteNull => {
                out.extend_from_slice(b"null");
                return Ok(());
            }
            InvalidNumbers::Write if number.is_nan() => {
                out.extend_from_slice(b"nan");
                return Ok(());
            }
            InvalidNumbers::Write => {}
        }
    }
    out.extend(number::general(number, settings.precision as usize));
    Ok(())
}

fn put_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        let short = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'\x08' => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            b'\x0c' => b'f',
            b'\r' => b'r',
            0..=31 | 127 => {
                out.extend(format!("\\u{byte:04x}").bytes());
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend([b'\\', short]);
    }
    out.push(b'"');
}

// --- Decoding ---------------------------------------------------------------------------------------

fn decode(lua: &Lua, settings: &mut Settings, given: Given<'_>) -> Answered {
    if given.count() != 1 {
        return Err(given.bad(0, "expected 1 argument"));
    }
    let text = given.string(0)?;
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(Failed::Message("JSON parser does not support UTF-16 or UTF-32".into()));
    }
    let mut parser = Parser { lua, settings, text: &text, at: 0, depth: 0 };
    let token = parser.next_token();
    let value = parser.value(token)?;
    match parser.next_token() {
        Token { kind: Kind::End, .. } => one(value),
        token => Err(token.instead_of("the end")),
    }
}

/// What stands next in a text.
enum Kind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

struct Token {
    kind: Kind,
    at: usize,
}

impl Token {
    fn instead_of(&self, expected: &str) -> Failed {
        let found = match &self.kind {
            Kind::ObjectBegin => "T_OBJ_BEGIN",
            Kind::ObjectEnd => "T_OBJ_END",
            Kind::ArrayBegin => "T_ARR_BEGIN",
            Kind::ArrayEnd => "T_ARR_END",
            Kind::String(_) => "T_STRING",
            Kind::Number(_) => "T_NUMBER",
            Kind::Boolean(_) => "T_BOOLEAN",
            Kind::Null => "T_NULL",
            Kind::Colon => "T_COLON",
            Kind::Comma => "T_COMMA",
            Kind::End => "T_END",
            Kind::Error(what) => what,
        };
        Failed::Message(format!("Expected {expected} but found {found} at character {}", self.at + 1))
    }
}

struct Parser<'a> {
    lua: &'a Lua,
    settings: &'a Settings,
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    /// The byte at a distance from here; 0 beyond the end, which is also how a text may end early.
    fn peek(&self, distance: usize) -> u8 {
        self.text.get(self.at + distance).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.at.min(self.text.len())..]
    }

    fn next_token(&mut self) -> Token {
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let at = self.at;
        let (kind, len) = match self.peek(0) {
            b'{' => (Kind::ObjectBegin, 1),
            b'}' => (Kind::ObjectEnd, 1),
            b'[' => (Kind::ArrayBegin, 1),
            b']' => (Kind::ArrayEnd, 1),
            b',' => (Kind::Comma, 1),
            b':' => (Kind::Colon, 1),
            0 => (Kind::End, 0),
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.settings.decodes_invalid && is_invalid_number(self.rest()) {
                    (Kind::Error("invalid number"), 0)
                } else {
                    self.number()
                }
            }
            b't' if self.rest().starts_with(b"true") => (Kind::Boolean(true), 4),
            b'f' if self.rest().starts_with(b"false") => (Kind::Boolean(false), 5),
            b'n' if self.rest().starts_with(b"null") => (Kind::Null, 4),
            b'i' | b'I' | b'n' | b'N' | b'+'
                if self.settings.decodes_invalid && is_invalid_number(self.rest()) =>
            {
                self.number()
            }
            _ => (Kind::Error("invalid token"), 0),
        };
        self.at += len;
        Token { kind, at }
    }

    fn number(&self) -> (Kind, usize) {
        match number::scan(self.rest()) {
            Some((value, len)) => (Kind::Number(value), len),
            None => (Kind::Error("invalid number"), 0),
        }
    }

    fn string(&mut self) -> Token {
        let at = self.at;
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let byte = self.peek(0);
            match byte {
                b'"' => {
                    self.at += 1;
                    return Token { kind: Kind::String(text), at };
                }
                0 => return self.error("unexpected end of string"),
                b'\\' => {
                    let short = match self.peek(1) {
                        byte @ (b'"' | b'\\' | b'/') => byte,
                        b'b' => b'\x08',
                        b'f' => b'\x0c',
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'u' => {
                            match self.unicode() {
                                Some((letter, len)) => {
                                    let mut bytes = [0; 4];
                                    text.extend_from_slice(encode_letter(letter, &mut bytes));
                                    self.at += len;
                                }
                                None => return self.error("invalid unicode escape code"),
                            }
                            continue;
                        }
                        _ => return self.error("invalid escape code"),
                    };
                    text.push(short);
                    self.at += 2;
                }
                _ => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn error(&self, what: &'static str) -> Token {
        Token { kind: Kind::Error(what), at: self.at }
    }

    /// The letter of a `\u` here, and the length of its escape code.
    fn unicode(&self) -> Option<(u32, usize)> {
        let high = self.hex4(2)?;
        if high & 0xF800 != 0xD800 {
            return Some((high, 6));
        }
        if high & 0x400 != 0 || self.peek(6) != b'\\' || self.peek(7) != b'u' {
            return None;
        }
        let low = self.hex4(8)?;
        (low & 0xFC00 == 0xDC00)
            .then_some(((high & 0x3FF) << 10 | low & 0x3FF, 12))
            .map(|(bits, len)| (bits + 0x10000, len))
    }

    fn hex4(&self, distance: usize) -> Option<u32> {
        (0..4).try_fold(0, |bits, index| {
            char::from(self.peek(distance + index)).to_digit(16).map(|digit| bits << 4 | digit)
        })
    }

    fn value(&mut self, token: Token) -> Result<Value, Failed> {
        Ok(match token.kind {
            Kind::String(text) => Value::String(self.lua.create_string(text)?),
            Kind::Number(number) => Value::Number(number),
            Kind::Boolean(is_true) => Value::Boolean(is_true),
            Kind::Null => Value::NULL,
            Kind::ObjectBegin => self.object()?,
            Kind::ArrayBegin => self.array()?,
            _ => return Err(token.instead_of("value")),
        })
    }

    fn descend(&mut self) -> Result<(), Failed> {
        self.depth += 1;
        if self.depth > DEPTH_MAX.min(self.settings.decode_depth_max as usize) {
            return Err(Failed::Message(format!(
                "Found too many nested data structures ({}) at character {}",
                self.depth, self.at
            )));
        }
        Ok(())
    }

    fn object(&mut self) -> Result<Value, Failed> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.next_token();
        if !matches!(token.kind, Kind::ObjectEnd) {
            loop {
                let Kind::String(key) = token.kind else { return Err(token.instead_of("object key string")) };
                token = self.next_token();
                if !matches!(token.kind, Kind::Colon) {
                    return Err(token.instead_of("colon"));
                }
                token = self.next_token();
                let value = self.value(token)?;
                table.raw_set(self.lua.create_string(key)?, value)?;
                token = self.next_token();
                match token.kind {
                    Kind::ObjectEnd => break,
                    Kind::Comma => token = self.next_token(),
                    _ => return Err(token.instead_of("comma or object end")),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn array(&mut self) -> Result<Value, Failed> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.next_token();
        if !matches!(token.kind, Kind::ArrayEnd) {
            for index in 1.. {
                let value = self.value(token)?;
                table.raw_set(index, value)?;
                token = self.next_token();
                match token.kind {
                    Kind::ArrayEnd => break,
                    Kind::Comma => token = self.next_token(),
                    _ => return Err(token.instead_of("comma or array end")),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }
}

/// A letter's UTF-8, that of half a pair included.
fn encode_letter(letter: u32, bytes: &mut [u8; 4]) -> &[u8] {
    let tail = |shift: u32| (0x80 | letter >> shift & 0x3F) as u8;
    match letter {
        0..=0x7F => {
            bytes[0] = letter as u8;
            &bytes[..1]
        }
        0x80..=0x7FF => {
            bytes[..2].copy_from_slice(&[0xC0 | (letter >> 6) as u8, tail(0)]);
            &bytes[..2]
        }
        0x800..=0xFFFF => {
            bytes[..3].copy_from_slice(&[0xE0 | (letter >> 12) as u8, tail(6), tail(0)]);
            &bytes[..3]
        }
        _ => {
            bytes.copy_from_slice(&[0xF0 | (letter >> 18) as u8, tail(12), tail(6), tail(0)]);
            &bytes[..]
        }
    }
}

/// Whether a number is none in JSON, though C reads it.
fn is_invalid_number(text: &[u8]) -> bool {
    let at = |index: usize| text.get(index).copied().unwrap_or(0);
    if at(0) == b'+' {
        return true;
    }
    let start = usize::from(at(0) == b'-');
    match at(start) {
        b'0' => matches!(at(start + 1), b'x' | b'X' | b'0'..=b'9'),
        byte if byte <= b'9' => false,
        _ => {
            let word = text.get(start..start + 3).unwrap_or_default();
            word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
        }
    }
}
