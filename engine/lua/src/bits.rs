//! `bit`: operations on the 32 bits of a number.
//!
//! Always true: results are signed; a number beyond 32 bits counts with its lowest.

use mlua::{Lua, MultiValue, Table, Value};

use crate::{args::Given, convert::Failed, sandbox::register};

/// The library.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let one = |name: &'static str, function: fn(u32) -> u32| {
        register(lua, &table, name, move |_, args| {
            answer(function(bits(&Given { function: name, values: &args }, 0)?))
        })
    };
    one("tobit", |bits| bits)?;
    one("bnot", |bits| !bits)?;
    one("bswap", u32::swap_bytes)?;
    let many = |name: &'static str, function: fn(u32, u32) -> u32| {
        register(lua, &table, name, move |_, args| {
            let given = Given { function: name, values: &args };
            let mut result = bits(&given, 0)?;
            for index in 1..given.count() {
                result = function(result, bits(&given, index)?);
            }
            answer(result)
        })
    };
    many("band", |one, other| one & other)?;
    many("bor", |one, other| one | other)?;
    many("bxor", |one, other| one ^ other)?;
    let shift = |name: &'static str, function: fn(u32, u32) -> u32| {
        register(lua, &table, name, move |_, args| {
            let given = Given { function: name, values: &args };
            answer(function(bits(&given, 0)?, bits(&given, 1)? & 31))
        })
    };
    shift("lshift", |bits, count| bits << count)?;
    shift("rshift", |bits, count| bits >> count)?;
    shift("arshift", |bits, count| (bits as i32 >> count) as u32)?;
    shift("rol", u32::rotate_left)?;
    shift("ror", u32::rotate_right)?;
    register(lua, &table, "tohex", |lua, args| {
        let text = tohex(&Given { function: "tohex", values: &args })?;
        Ok(MultiValue::from_vec(vec![Value::String(lua.create_string(text)?)]))
    })?;
    Ok(table)
}

fn answer(bits: u32) -> crate::machine::Answered {
    Ok(MultiValue::from_vec(vec![Value::Number(f64::from(bits as i32))]))
}

/// A number's lowest 32 bits, rounded to the nearest integer, to the even one between two.
fn bits(given: &Given<'_>, index: usize) -> Result<u32, Failed> {
    /// Added to a double it moves the ones into the lowest bits.
    const SHIFTER: f64 = 6_755_399_441_055_744.0;
    Ok((given.number(index)? + SHIFTER).to_bits() as u32)
}

/// Hexadecimal digits: eight, or as many as said, capitals if that is negative.
fn tohex(given: &Given<'_>) -> Result<String, Failed> {
    let bits = bits(given, 0)?;
    let count = if given.count() < 2 { 8 } else { self::bits(given, 1)? as i32 };
    let len = count.unsigned_abs().min(8) as usize;
    let digits = if count < 0 { format!("{bits:08X}") } else { format!("{bits:08x}") };
    Ok(digits[8 - len..].to_string())
}
