//! Lua 5.1 for scripts and functions, behind the engine's `Interpreter`.
//!
//! Exists apart from the core so that the core stays free of unsafe code and of any language. Both hosts hand the
//! same [`LuaInterpreter`] in, production and simulation, and it reads nothing but what the engine gives it: no clock, no
//! file, no random source.
//!
//! ```text
//!   machine.rs   one Lua state in a coroutine: left when a script wants something, entered with the answer
//!   sandbox.rs   what scripts see      raw.rs   C functions that raise, protect, count
//!   api.rs       redis.*               convert.rs   replies to Lua and back
//!   cjson.rs, cmsgpack.rs, structs.rs, bits.rs, random.rs   the libraries
//! ```
//!
//! Not here: who may run what (`engine/core/src/node/script.rs`).

mod api;
mod args;
mod bits;
mod cjson;
mod cmsgpack;
mod convert;
mod machine;
mod number;
mod port;
mod random;
mod raw;
mod sandbox;
mod structs;

use perdura_core::script::{Answer, Interpreter, Invocation, LibraryId, Registered, Sha, Step, Target};

use machine::{Job, Machine, Output};
use sandbox::Surroundings;

/// Runs scripts and functions, each kind in a Lua state of its own, made when it is first needed.
#[derive(Default)]
pub struct LuaInterpreter {
    scripts: Option<Machine>,
    functions: Option<Machine>,
    is_function_running: bool,
}

// SAFETY: what is shared without locks (Lua's state, the coroutine's stack, the port) is reached through this value alone and
// moves with it; none of it is kept in thread-locals, and a coroutine is only ever entered by whoever holds `&mut self`.
unsafe impl Send for LuaInterpreter {}

impl LuaInterpreter {
    /// Nothing is loaded.
    pub fn new() -> LuaInterpreter {
        LuaInterpreter::default()
    }

    fn scripts(&mut self) -> &mut Machine {
        self.scripts.get_or_insert_with(|| Machine::new(Surroundings::Scripts))
    }

    fn functions(&mut self) -> &mut Machine {
        self.functions.get_or_insert_with(|| Machine::new(Surroundings::Functions))
    }
}

impl Interpreter for LuaInterpreter {
    fn load_script(&mut self, sha: &Sha, code: &[u8]) -> Result<(), String> {
        match self.scripts().submit(Job::LoadScript(*sha, code.to_vec())) {
            Output::Script(result) => result,
            _ => unreachable!("a script was to be loaded"),
        }
    }

    fn flush_scripts(&mut self) {
        self.scripts = None;
    }

    fn load_library(&mut self, library: LibraryId, code: &[u8]) -> Result<Vec<Registered>, String> {
        match self.functions().submit(Job::LoadLibrary(library, code.to_vec())) {
            Output::Library(result) => result,
            _ => unreachable!("a library was to be loaded"),
        }
    }

    fn drop_library(&mut self, library: LibraryId) {
        self.functions().submit(Job::DropLibrary(library));
    }

    fn flush_libraries(&mut self) {
        self.functions = None;
    }

    fn begin(&mut self, invocation: Invocation) -> Step {
        self.is_function_running = matches!(invocation.target, Target::Function { .. });
        let machine = if self.is_function_running { self.functions() } else { self.scripts() };
        step_of(machine.submit(Job::Run(invocation)))
    }

    fn go_on(&mut self, answer: Answer) -> Step {
        let machine = if self.is_function_running { self.functions() } else { self.scripts() };
        step_of(machine.answer(answer))
    }

    fn scripts_memory(&self) -> usize {
        self.scripts.as_ref().map_or(0, Machine::memory)
    }

    fn libraries_memory(&self) -> usize {
        self.functions.as_ref().map_or(0, Machine::memory)
    }
}

fn step_of(output: Output) -> Step {
    match output {
        Output::Step(step) => step,
        _ => unreachable!("something was to be run"),
    }
}
