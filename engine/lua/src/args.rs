//! Arguments of our functions, taken and refused as Lua's own functions do.
//!
//! Not here: arguments of commands (`api.rs`).

use mlua::{MultiValue, Value};
use perdura_core::bytes::number;

use crate::convert::{Failed, as_number, bytes_of};

/// The arguments of one call, and the function's name for errors.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The function's name.
    pub function: &'static str,
    /// What it was given.
    pub values: &'a MultiValue,
}

impl Given<'_> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// An argument, from 0, if there is one that is not nil.
    pub fn get(&self, index: usize) -> Option<&Value> {
        self.values.get(index).filter(|value| **value != Value::Nil)
    }

    /// A number, or a string that is one.
    pub fn number(&self, index: usize) -> Result<f64, Failed> {
        let number = self.get(index).and_then(|value| match value {
            Value::String(text) => parse_number(&text.as_bytes()),
            other => as_number(other),
        });
        number.ok_or_else(|| self.wrong_type(index, "number"))
    }

    /// A number without its fraction, as C makes a 32-bit integer of it.
    pub fn int(&self, index: usize) -> Result<i32, Failed> {
        self.number(index).map(|number| number as i64 as i32)
    }

    /// A string, or a number as Lua prints it.
    pub fn string(&self, index: usize) -> Result<Vec<u8>, Failed> {
        self.get(index).and_then(bytes_of).ok_or_else(|| self.wrong_type(index, "string"))
    }

    /// `bad argument #1 to 'f' (why)`
    pub fn bad(&self, index: usize, why: &str) -> Failed {
        Failed::Message(format!("bad argument #{} to '{}' ({why})", index + 1, self.function))
    }

    fn wrong_type(&self, index: usize, wanted: &str) -> Failed {
        let found = self.values.get(index).map_or("no value", type_name);
        self.bad(index, &format!("{wanted} expected, got {found}"))
    }
}

/// The type of a value as Lua names it.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}

/// A number as Lua reads it from a string: blanks around it, hexadecimal after `0x`.
fn parse_number(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    let (sign, digits) = match text.first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if let Some(hex) = digits.strip_prefix(b"0x").or_else(|| digits.strip_prefix(b"0X")) {
        let hex = std::str::from_utf8(hex).ok()?;
        return u64::from_str_radix(hex, 16).ok().map(|number| sign * number as f64);
    }
    number::parse_f64(text)
}
