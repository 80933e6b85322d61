//! `struct`: values as the bytes of a C structure, and back, by a format.
//!
//! ```text
//!   > < = big, little endian     ! n  align to n        b h i l T  integers, capitals unsigned; i n  of n bytes
//!   x   a zero                   f d  floating point    s  string up to a zero; c n  of n bytes, c0 of its whole length
//! ```
//!
//! Always true: nothing outside of the data string is read, whatever sizes a format names.

use mlua::{Lua, MultiValue, Table, Value};

use crate::{
    args::Given,
    convert::{Failed, as_number},
    machine::Answered,
    sandbox::register,
};

/// Largest integer, bytes.
const INTEGER_BYTES_MAX: usize = 32;

/// Alignment that `!` alone asks for.
const ALIGNMENT_MAX: usize = 8;

/// The library.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    register(lua, &table, "pack", |lua, mut args| {
        // The library marks the end of its arguments with a nil, which its errors name.
        args.push_back(Value::Nil);
        pack(lua, &Given { function: "pack", values: &args })
    })?;
    register(lua, &table, "unpack", |lua, args| unpack(lua, &Given { function: "unpack", values: &args }))?;
    register(lua, &table, "size", |_, args| size(&Given { function: "size", values: &args }))?;
    Ok(table)
}

/// A format being read.
struct Format {
    text: Vec<u8>,
    at: usize,
    is_big: bool,
    alignment: usize,
}

/// One letter of a format, with the size that it stands for.
struct Item {
    letter: u8,
    size: usize,
}

impl Format {
    fn new(given: &Given<'_>) -> Result<Format, Failed> {
        let text = given.string(0)?.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
        Ok(Format { text, at: 0, is_big: false, alignment: 1 })
    }

    fn next(&mut self) -> Result<Option<Item>, Failed> {
        let Some(&letter) = self.text.get(self.at) else { return Ok(None) };
        self.at += 1;
        let size = match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'f' => 4,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > INTEGER_BYTES_MAX {
                    return Err(Failed::Message(format!(
                        "integral size {size} is larger than limit of {INTEGER_BYTES_MAX}"
                    )));
                }
                size
            }
            _ => 0,
        };
        Ok(Some(Item { letter, size }))
    }

    /// The digits here, or what they are when there are none.
    fn number(&mut self, default: usize) -> Result<usize, Failed> {
        let start = self.at;
        let mut number = 0_usize;
        while let Some(digit) = self.text.get(self.at).filter(|byte| byte.is_ascii_digit()) {
            number = number * 10 + usize::from(digit - b'0');
            if number > i32::MAX as usize {
                return Err(Failed::Message("integral size overflow".into()));
            }
            self.at += 1;
        }
        Ok(if self.at == start { default } else { number })
    }

    /// Zeros that an item needs before it at this place.
    fn padding(&self, place: usize, item: &Item) -> usize {
        if item.size == 0 || item.letter == b'c' {
            return 0;
        }
        let size = item.size.min(self.alignment);
        size.wrapping_sub(place & (size - 1)) & (size - 1)
    }

    /// A letter that is no item.
    fn control(&mut self, letter: u8, given: &Given<'_>) -> Result<(), Failed> {
        match letter {
            b' ' => {}
            b'>' => self.is_big = true,
            b'<' => self.is_big = false,
            b'!' => {
                let alignment = self.number(ALIGNMENT_MAX)?;
                if !alignment.is_power_of_two() {
                    return Err(Failed::Message(format!("alignment {alignment} is not a power of 2")));
                }
                self.alignment = alignment;
            }
            other => {
                let why = format!("invalid format option '{}'", char::from(other));
                return Err(given.bad(0, &why));
            }
        }
        Ok(())
    }

    /// Bytes that lie with the least first, as the format wants them.
    fn in_order(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.is_big {
            bytes.reverse();
        }
        bytes
    }
}

fn is_integer(letter: u8) -> bool {
    matches!(letter, b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I')
}

fn pack(lua: &Lua, given: &Given<'_>) -> Answered {
    let mut format = Format::new(given)?;
    let mut out = Vec::new();
    let mut index = 1;
    let next_index = |index: &mut usize| {
        *index += 1;
        *index - 1
    };
    while let Some(item) = format.next()? {
        out.resize(out.len() + format.padding(out.len(), &item), 0);
        match item.letter {
            letter if is_integer(letter) => {
                let number = given.number(next_index(&mut index))?;
                let mut bytes = to_bits(number).to_le_bytes().to_vec();
                bytes.resize(item.size, 0);
                out.extend(format.in_order(bytes));
            }
            b'x' => out.push(0),
            b'f' => {
                let number = given.number(next_index(&mut index))? as f32;
                out.extend(format.in_order(number.to_le_bytes().to_vec()));
            }
            b'd' => {
                let number = given.number(next_index(&mut index))?;
                out.extend(format.in_order(number.to_le_bytes().to_vec()));
            }
            b'c' | b's' => {
                let text = given.string(next_index(&mut index))?;
                let size = if item.size == 0 { text.len() } else { item.size };
                if text.len() < size {
                    return Err(given.bad(index, "string too short"));
                }
                out.extend_from_slice(&text[..size]);
                if item.letter == b's' {
                    out.push(0);
                }
            }
            other => format.control(other, given)?,
        }
    }
    Ok(MultiValue::from_vec(vec![Value::String(lua.create_string(out)?)]))
}

/// A number's integer, in two's complement if it is negative.
fn to_bits(number: f64) -> u64 {
    if number < 0.0 { number as i64 as u64 } else { number as u64 }
}

fn unpack(lua: &Lua, given: &Given<'_>) -> Answered {
    let mut format = Format::new(given)?;
    let data = given.string(1)?;
    let first = if given.get(2).is_none() { 1 } else { given.number(2)? as i64 };
    if first == 0 {
        return Err(given.bad(2, "offset must be 1 or greater"));
    }
    // A negative offset is one beyond every end.
    let mut at = usize::try_from(first.saturating_sub(1)).unwrap_or(usize::MAX / 2);
    let mut values: Vec<Value> = Vec::new();
    let too_short = || given.bad(1, "data string too short");
    while let Some(item) = format.next()? {
        at += format.padding(at, &item);
        let mut size = item.size;
        let field = |size: usize| at.checked_add(size).and_then(|end| data.get(at..end));
        let bytes = field(size).ok_or_else(too_short)?;
        match item.letter {
            letter if is_integer(letter) => {
                let bytes = format.in_order(bytes.to_vec());
                values.push(Value::Number(from_bytes(&bytes, letter.is_ascii_lowercase())));
            }
            b'x' => {}
            b'f' => {
                let bytes = format.in_order(bytes.to_vec()).try_into().expect("four bytes");
                values.push(Value::Number(f64::from(f32::from_le_bytes(bytes))));
            }
            b'd' => {
                let bytes = format.in_order(bytes.to_vec()).try_into().expect("eight bytes");
                values.push(Value::Number(f64::from_le_bytes(bytes)));
            }
            b'c' => {
                if size == 0 {
                    let previous = values.pop().as_ref().and_then(as_number);
                    let previous =
                        previous.ok_or(Failed::Message("format 'c0' needs a previous size".into()))?;
                    size = to_bits(previous) as usize;
                }
                let text = field(size).ok_or_else(too_short)?;
                values.push(Value::String(lua.create_string(text)?));
            }
            b's' => {
                let rest = &data[at..];
                let len = rest.iter().position(|&byte| byte == 0);
                let len = len.ok_or(Failed::Message("unfinished string in data".into()))?;
                values.push(Value::String(lua.create_string(&rest[..len])?));
                size = len + 1;
            }
            other => format.control(other, given)?,
        }
        at += size;
    }
    values.push(Value::Number((at + 1) as f64));
    Ok(MultiValue::from_vec(values))
}

/// An integer whose bytes lie with the least first; what is beyond 64 bits falls out.
fn from_bytes(bytes: &[u8], is_signed: bool) -> f64 {
    let bits = bytes.iter().rev().fold(0_u64, |bits, &byte| bits.wrapping_shl(8) | u64::from(byte));
    if !is_signed {
        return bits as f64;
    }
    let sign = u64::MAX.wrapping_shl((bytes.len() as u32 * 8).wrapping_sub(1));
    let bits = if bits & sign != 0 { bits | sign } else { bits };
    bits as i64 as f64
}

fn size(given: &Given<'_>) -> Answered {
    let mut format = Format::new(given)?;
    let mut total = 0;
    while let Some(item) = format.next()? {
        total += format.padding(total, &item);
        match item.letter {
            b's' => return Err(given.bad(0, "option 's' has no fixed size")),
            b'c' if item.size == 0 => return Err(given.bad(0, "option 'c0' has no fixed size")),
            letter if !letter.is_ascii_alphanumeric() => format.control(letter, given)?,
            _ => {}
        }
        total += item.size;
    }
    Ok(MultiValue::from_vec(vec![Value::Number(total as f64)]))
}
