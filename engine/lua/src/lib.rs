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

#[cfg(test)]
mod tests {
    use perdura_core::{resp::Protocol, script::Ending};

    use super::*;

    const SHA: Sha = [b'0'; 40];

    /// Runs a script; `answer` says what commands are answered, and steps that are none come to `Done` by themselves.
    fn run(interpreter: &mut LuaInterpreter, code: &str, answer: impl Fn(&[Vec<u8>]) -> Answer) -> Ending {
        interpreter.load_script(&SHA, code.as_bytes()).expect("it compiles");
        let target = Target::Script(SHA);
        let (keys, args) = (vec![b"k".to_vec()], vec![b"a".to_vec()]);
        let mut step = interpreter.begin(Invocation { target, keys, args, protocol: Protocol::Resp2 });
        for _ in 0..10_000 {
            let answered = match step {
                Step::Done(ending) => return ending,
                Step::Command(command) => answer(&command.args),
                Step::MayRun(_) => Answer::Allowed(None),
                Step::Breathe => Answer::GoOn,
            };
            step = interpreter.go_on(answered);
        }
        panic!("no end: {code}");
    }

    #[track_caller]
    fn check(code: &str, expected: &str) {
        let ending = run(&mut LuaInterpreter::new(), code, |args| Answer::Reply(shown(args)));
        assert_eq!(String::from_utf8(ending.reply).unwrap(), expected, "{code}");
    }

    /// A command's words as a bulk.
    fn shown(args: &[Vec<u8>]) -> Vec<u8> {
        let text = args.join(&b' ');
        [format!("${}\r\n", text.len()).as_bytes(), &text, b"\r\n"].concat()
    }

    #[test]
    fn a_script_asks_and_goes_on_with_the_answer() {
        check("return redis.call('GET', KEYS[1], ARGV[1], 1, 1.5)", "$13\r\nGET k a 1 1.5\r\n");
        check(
            "local t={} for i=1,3 do t[i]=redis.call('X',i) end return t",
            "*3\r\n$3\r\nX 1\r\n$3\r\nX 2\r\n$3\r\nX 3\r\n",
        );
        check("return string.gsub('ab', '.', function(c) return redis.call(c) end)", "$2\r\nab\r\n");
    }

    #[test]
    fn nothing_is_left_for_the_next_script() {
        let mut interpreter = LuaInterpreter::new();
        for attempt in [
            "x = 1",
            "_G.x = 1",
            "rawset(_G, 'x', 1)",
            "table.insert(_G, 1)",
            "table.sort(redis)",
            "string.rep = nil",
            "getmetatable('').__index = nil",
            "getmetatable(_G).__index = nil",
            "setmetatable(_G, {})",
            "setmetatable(redis, nil)",
            "for name, library in pairs(_G) do if type(library) == 'table' then library.x = 1 end end",
            "redis.call = nil",
            "KEYS = nil",
        ] {
            let ending = run(&mut interpreter, attempt, |_| Answer::GoOn);
            let reply = String::from_utf8_lossy(&ending.reply).into_owned();
            assert!(reply.contains("Attempt to modify a readonly table"), "{attempt}: {reply}");
            interpreter.flush_scripts();
        }
    }

    #[test]
    fn what_could_reach_outside_is_not_there() {
        for name in [
            "io", "os", "require", "package", "dofile", "loadfile", "print", "debug", "getfenv", "setfenv",
            "newproxy",
        ] {
            let ending = run(&mut LuaInterpreter::new(), &format!("return {name}"), |_| Answer::GoOn);
            let reply = String::from_utf8_lossy(&ending.reply).into_owned();
            assert!(reply.contains(&format!("nonexistent global variable '{name}'")), "{reply}");
        }
        check("return type(loadstring(string.dump(function() return 1 end)))", "$3\r\nnil\r\n");
    }

    #[test]
    fn a_script_that_is_stopped_ends_whatever_it_catches() {
        let mut interpreter = LuaInterpreter::new();
        let code = "while true do pcall(function() while true do end end) end";
        interpreter.load_script(&SHA, code.as_bytes()).unwrap();
        let invocation = || Invocation {
            target: Target::Script(SHA),
            keys: Vec::new(),
            args: Vec::new(),
            protocol: Protocol::Resp2,
        };
        assert_eq!(interpreter.begin(invocation()), Step::Breathe);
        assert_eq!(interpreter.go_on(Answer::GoOn), Step::Breathe);
        let Step::Done(ending) = interpreter.go_on(Answer::Stop) else { panic!("it goes on") };
        assert!(ending.reply.starts_with(b"-ERR Script killed by user with SCRIPT KILL..."));
        // And the machine is none the worse for it; one that is dropped in the middle neither.
        interpreter.flush_scripts();
        assert_eq!(run(&mut interpreter, "return 1", |_| Answer::GoOn).reply, b":1\r\n");
        interpreter.flush_scripts();
        interpreter.load_script(&SHA, code.as_bytes()).unwrap();
        assert_eq!(interpreter.begin(invocation()), Step::Breathe);
    }

    #[test]
    fn tables_in_tables_have_an_end() {
        let ending = run(&mut LuaInterpreter::new(), "local t={} t[1]=t return t", |_| Answer::GoOn);
        assert!(ending.has_error && ending.reply.ends_with(b"-ERR reached lua stack limit\r\n"));
    }

    #[test]
    fn a_library_registers_functions_and_sees_nothing_else() {
        let mut interpreter = LuaInterpreter::new();
        let code =
            b"\nredis.register_function('f', function(keys, args) return redis.call('GET', keys[1]) end)";
        let functions = interpreter.load_library(1, code).unwrap();
        assert_eq!(functions, [Registered { name: b"f".to_vec(), description: None, flags: 0 }]);
        for (code, expected) in [
            ("return math.pi", "nonexistent global variable 'math'"),
            ("redis.call('x')", "nonexistent global variable 'call'"),
            ("x = 1", "Attempt to modify a readonly table"),
            ("while true do end", "FUNCTION LOAD timeout"),
            ("redis.register_function('f-g', print)", "nonexistent global variable 'print'"),
            ("if", "Error compiling function"),
        ] {
            let why = interpreter.load_library(2, code.as_bytes()).unwrap_err();
            assert!(why.contains(expected), "{code}: {why}");
        }
        let target = Target::Function { library: 1, name: b"f".to_vec() };
        let keys = vec![b"k".to_vec()];
        let step =
            interpreter.begin(Invocation { target, keys, args: Vec::new(), protocol: Protocol::Resp3 });
        assert!(matches!(&step, Step::Command(command) if command.args == [b"GET".to_vec(), b"k".to_vec()]));
        let Step::Done(ending) = interpreter.go_on(Answer::Reply(b"$1\r\nv\r\n".to_vec())) else {
            panic!("it goes on")
        };
        assert_eq!(ending.reply, b"$1\r\nv\r\n");
    }
}
