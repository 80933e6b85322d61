//! `cmsgpack`: MessagePack to Lua's values and back.
//!
//! Exists here because no crate decides as scripts of Redis expect: which tables are arrays, which numbers integers.
//!
//! Always true: bytes from outside never cause a panic; tables deeper than [`NESTING_MAX`] are written as nil.

use mlua::{Lua, MultiValue, Table, Value};

use crate::{
    args::Given,
    convert::{DEPTH_MAX, Failed, as_number},
    machine::Answered,
    sandbox::register,
};

/// Tables in tables that are written.
const NESTING_MAX: usize = 16;

/// The library.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    register(lua, &table, "pack", |lua, args| pack(lua, &Given { function: "pack", values: &args }))?;
    register(lua, &table, "unpack", |lua, args| {
        unpack(lua, &Given { function: "unpack", values: &args }, 0, 0)
    })?;
    register(lua, &table, "unpack_one", |lua, args| {
        let given = Given { function: "unpack_one", values: &args };
        let offset = optional(&given, 1)?;
        unpack(lua, &given, 1, offset)
    })?;
    register(lua, &table, "unpack_limit", |lua, args| {
        let given = Given { function: "unpack_limit", values: &args };
        let (limit, offset) = (given.number(1)? as i64, optional(&given, 2)?);
        unpack(lua, &given, limit, offset)
    })?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

fn optional(given: &Given<'_>, index: usize) -> Result<i64, Failed> {
    if given.get(index).is_none() { Ok(0) } else { given.number(index).map(|number| number as i64) }
}

// --- Packing ----------------------------------------------------------------------------------------

fn pack(lua: &Lua, given: &Given<'_>) -> Answered {
    if given.count() == 0 {
        let text = "bad argument #0 to 'pack' (MessagePack pack needs input.)";
        return Err(Failed::Message(text.into()));
    }
    let mut out = Vec::new();
    for value in given.values {
        put(value, 0, &mut out)?;
    }
    Ok(MultiValue::from_vec(vec![Value::String(lua.create_string(out)?)]))
}

fn put(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), Failed> {
    match value {
        Value::String(text) => {
            let text = text.as_bytes();
            match text.len() {
                len @ 0..32 => out.push(0xA0 | len as u8),
                len @ 32..=0xFF => out.extend([0xD9, len as u8]),
                len => put_len(len, 0xDA, out),
            }
            out.extend_from_slice(&text);
        }
        Value::Boolean(is_true) => out.push(if *is_true { 0xC3 } else { 0xC2 }),
        Value::Integer(_) | Value::Number(_) => put_number(as_number(value).expect("a number"), out),
        Value::Table(table) if depth < NESTING_MAX => put_table(table, depth, out)?,
        _ => out.push(0xC0),
    }
    Ok(())
}

/// A length of 16 or 32 bits; `code` is the one for 16, the next for 32.
fn put_len(len: usize, code: u8, out: &mut Vec<u8>) {
    match u16::try_from(len) {
        Ok(len) => {
            out.push(code);
            out.extend(len.to_be_bytes());
        }
        Err(_) => {
            out.push(code + 1);
            out.extend((len as u32).to_be_bytes());
        }
    }
}

fn put_number(number: f64, out: &mut Vec<u8>) {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if number.trunc() == number && (-BEYOND..BEYOND).contains(&number) {
        return put_integer(number as i64, out);
    }
    let single = number as f32;
    if f64::from(single) == number {
        out.push(0xCA);
        out.extend(single.to_be_bytes());
    } else {
        out.push(0xCB);
        out.extend(number.to_be_bytes());
    }
}

fn put_integer(number: i64, out: &mut Vec<u8>) {
    match number {
        -32..=0x7F => out.push(number as u8),
        0x80..=0xFF => out.extend([0xCC, number as u8]),
        0x100..=0xFFFF => {
            out.push(0xCD);
            out.extend((number as u16).to_be_bytes());
        }
        0x1_0000..=0xFFFF_FFFF => {
            out.push(0xCE);
            out.extend((number as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xCF);
            out.extend(number.to_be_bytes());
        }
        -0x80..=-33 => out.extend([0xD0, number as u8]),
        -0x8000..=-0x81 => {
            out.push(0xD1);
            out.extend((number as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xD2);
            out.extend((number as i32).to_be_bytes());
        }
        _ => {
            out.push(0xD3);
            out.extend(number.to_be_bytes());
        }
    }
}

fn put_table(table: &Table, depth: usize, out: &mut Vec<u8>) -> Result<(), Failed> {
    let (count, is_array) = shape(table)?;
    if is_array {
        match count {
            len @ 0..=15 => out.push(0x90 | len as u8),
            len => put_len(len, 0xDC, out),
        }
        for index in 1..=count {
            put(&table.get(index)?, depth + 1, out)?;
        }
        return Ok(());
    }
    match count {
        len @ 0..=15 => out.push(0x80 | len as u8),
        len => put_len(len, 0xDE, out),
    }
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        put(&key, depth + 1, out)?;
        put(&value, depth + 1, out)?;
    }
    Ok(())
}

/// How many pairs a table has, and whether their keys are the numbers from 1 to that.
///
/// One pair at a time: the binding can hold some thousand strings at once, no more.
fn shape(table: &Table) -> Result<(usize, bool), Failed> {
    let (mut count, mut highest, mut are_indices) = (0, 0.0_f64, true);
    for pair in table.pairs::<Value, Value>() {
        count += 1;
        match as_number(&pair?.0) {
            Some(key) if key >= 1.0 && key.trunc() == key => highest = highest.max(key),
            _ => are_indices = false,
        }
    }
    Ok((count, are_indices && highest <= count as f64))
}

// --- Unpacking --------------------------------------------------------------------------------------

fn unpack(lua: &Lua, given: &Given<'_>, limit: i64, offset: i64) -> Answered {
    let text = given.string(0)?;
    if offset < 0 || limit < 0 {
        return Err(Failed::Message(format!(
            "Invalid request to unpack with offset of {offset} and limit of {}.",
            text.len()
        )));
    }
    if offset > text.len() as i64 {
        return Err(Failed::Message(format!(
            "Start offset {offset} greater than input length {}.",
            text.len()
        )));
    }
    let takes_all = limit == 0 && offset == 0;
    let count_max = if takes_all { i64::from(i32::MAX) } else { limit };
    let mut reader = Reader { lua, text: &text, at: offset as usize };
    let mut values = Vec::new();
    while reader.at < text.len() && (values.len() as i64) < count_max {
        if values.len() > DEPTH_MAX * 2 {
            return Err(too_many());
        }
        values.push(reader.value(0)?);
    }
    if !takes_all {
        let next = if reader.at == text.len() { -1.0 } else { reader.at as f64 };
        values.insert(0, Value::Number(next));
    }
    Ok(MultiValue::from_vec(values))
}

fn too_many() -> Failed {
    Failed::Message(
        "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)".into(),
    )
}

struct Reader<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Failed> {
        let rest = &self.text[self.at..];
        let taken = rest.get(..count).ok_or(Failed::Message("Missing bytes in input.".into()))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failed> {
        Ok(self.take(N)?.try_into().expect("as many as were taken"))
    }

    fn len8(&mut self) -> Result<usize, Failed> {
        Ok(usize::from(self.take(1)?[0]))
    }

    fn len16(&mut self) -> Result<usize, Failed> {
        self.array().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn len32(&mut self) -> Result<usize, Failed> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn value(&mut self, depth: usize) -> Result<Value, Failed> {
        if depth > DEPTH_MAX {
            return Err(too_many());
        }
        let code = self.take(1)?[0];
        let number = match code {
            0x00..=0x7F => f64::from(code),
            0xE0..=0xFF => f64::from(code as i8),
            0xCC => f64::from(self.take(1)?[0]),
            0xCD => f64::from(u16::from_be_bytes(self.array()?)),
            0xCE => f64::from(u32::from_be_bytes(self.array()?)),
            0xCF => u64::from_be_bytes(self.array()?) as f64,
            0xD0 => f64::from(self.take(1)?[0] as i8),
            0xD1 => f64::from(i16::from_be_bytes(self.array()?)),
            0xD2 => f64::from(i32::from_be_bytes(self.array()?)),
            0xD3 => i64::from_be_bytes(self.array()?) as f64,
            0xCA => f64::from(f32::from_be_bytes(self.array()?)),
            0xCB => f64::from_be_bytes(self.array()?),
            _ => return self.other(code, depth),
        };
        Ok(Value::Number(number))
    }

    fn other(&mut self, code: u8, depth: usize) -> Result<Value, Failed> {
        match code {
            0xC0 => Ok(Value::Nil),
            0xC2 | 0xC3 => Ok(Value::Boolean(code == 0xC3)),
            0xA0..=0xBF => self.string(usize::from(code & 0x1F)),
            0xC4 | 0xD9 => self.len8().and_then(|len| self.string(len)),
            0xC5 | 0xDA => self.len16().and_then(|len| self.string(len)),
            0xC6 | 0xDB => self.len32().and_then(|len| self.string(len)),
            0x90..=0x9F => self.list(usize::from(code & 0xF), depth),
            0xDC => self.len16().and_then(|len| self.list(len, depth)),
            0xDD => self.len32().and_then(|len| self.list(len, depth)),
            0x80..=0x8F => self.map(usize::from(code & 0xF), depth),
            0xDE => self.len16().and_then(|len| self.map(len, depth)),
            0xDF => self.len32().and_then(|len| self.map(len, depth)),
            _ => Err(Failed::Message("Bad data format in input.".into())),
        }
    }

    fn string(&mut self, len: usize) -> Result<Value, Failed> {
        Ok(Value::String(self.lua.create_string(self.take(len)?)?))
    }

    fn list(&mut self, len: usize, depth: usize) -> Result<Value, Failed> {
        let table = self.lua.create_table()?;
        for index in 1..=len {
            table.raw_set(index, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: usize, depth: usize) -> Result<Value, Failed> {
        let table = self.lua.create_table()?;
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            let problem = match &key {
                Value::Nil => "table index is nil",
                Value::Number(number) if number.is_nan() => "table index is NaN",
                _ => {
                    table.raw_set(key, value)?;
                    continue;
                }
            };
            return Err(Failed::Raised(Value::String(self.lua.create_string(problem)?)));
        }
        Ok(Value::Table(table))
    }
}
