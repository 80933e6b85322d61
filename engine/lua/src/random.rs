//! `math.random` and `math.randomseed`: the same numbers on every machine, those of `drand48`.
//!
//! Always true: what is drawn follows from the seeds that scripts set; without one, from the beginning of the sequence.

use std::{cell::Cell, rc::Rc};

use mlua::{Lua, MultiValue, Table, Value};

use crate::{args::Given, convert::Failed, machine::Answered, sandbox::register};

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const ADDEND: u64 = 0xB;
const BITS: u64 = (1 << 48) - 1;
const BEGINNING: u64 = 0x1234_ABCD_330E;
const DRAWN_MAX: i64 = i32::MAX as i64;

/// Replaces Lua's own.
pub fn install(lua: &Lua, math: &Table) -> mlua::Result<()> {
    let state = Rc::new(Cell::new(BEGINNING));
    let seeded = Rc::clone(&state);
    register(lua, math, "random", move |_, args| random(&state, &args))?;
    register(lua, math, "randomseed", move |_, args| {
        let seed = Given { function: "randomseed", values: &args }.int(0)?;
        seeded.set((u64::from(seed as u32) << 16 | 0x330E) & BITS);
        Ok(MultiValue::new())
    })
}

/// 31 bits.
fn draw(state: &Cell<u64>) -> i64 {
    state.set(state.get().wrapping_mul(MULTIPLIER).wrapping_add(ADDEND) & BITS);
    (state.get() >> 17) as i64
}

fn random(state: &Cell<u64>, values: &MultiValue) -> Answered {
    let given = Given { function: "random", values };
    let fraction = (draw(state) % DRAWN_MAX) as f64 / DRAWN_MAX as f64;
    let empty = "interval is empty";
    let drawn = match given.count() {
        0 => fraction,
        1 => {
            let last = given.int(0)?;
            if last < 1 {
                return Err(given.bad(0, empty));
            }
            (fraction * f64::from(last)).floor() + 1.0
        }
        2 => {
            let (first, last) = (f64::from(given.int(0)?), f64::from(given.int(1)?));
            if first > last {
                return Err(given.bad(1, empty));
            }
            (fraction * (last - first + 1.0)).floor() + first
        }
        _ => return Err(Failed::Message("wrong number of arguments".into())),
    };
    Ok(MultiValue::from_vec(vec![Value::Number(drawn)]))
}
