//! What scripts may not do, whatever they consist of: a property of the interpreter alone, and one of a server that runs them.
//!
//! Exists because a script is bytes from outside twice: as a program, and as the arguments that it hands to functions of ours.
//! Programs are the input itself, given to the interpreter, which is stopped after a while. Arguments are drawn from the input, and
//! the calls that get them are run by a whole server, so that `redis.call` means what it says.
//!
//! Always true: a drawn script has no loop and joins nothing, so its time and memory are bounded by its length.

use std::fmt::Write;

use perdura_core::commands::table::Table;
use perdura_core::resp::Protocol;
use perdura_core::script::{Answer, Interpreter, Invocation, LibraryId, Sha, Step, Target};
use perdura_harness::client::Reply;
use perdura_lua::LuaInterpreter;

use super::{ask, started};

/// Longest program: no more is needed to reach anything, and patterns take time by their length.
const PROGRAM_BYTES_MAX: usize = 1024;
/// Slices a program gets before it is stopped.
const SLICES_MAX: usize = 4;
/// Commands a program is answered before it is stopped.
const STEPS_MAX: usize = 200;
/// Words that make much of little: Lua has no limit of memory, and neither has Redis.
const GROWING: [&[u8]; 4] = [b"..", b"rep", b"concat", b"gsub"];

const SHA: Sha = [b'0'; 40];
const LIBRARY: LibraryId = 1;

/// Programs and libraries in any bytes, or calls of our functions with any arguments.
pub fn lua(data: &[u8]) {
    let Some((&choice, input)) = data.split_first() else { return };
    match choice % 4 {
        0 => check_program(input),
        1 => check_library(input),
        _ => check_calls(&mut Draw(input), choice),
    }
}

// --- Programs ---------------------------------------------------------------------------------------

/// Runs a program: its end is one reply, and the next finds everything as it was.
fn check_program(code: &[u8]) {
    if !is_fit(code) {
        return;
    }
    let mut interpreter = LuaInterpreter::new();
    if interpreter.load_script(&SHA, code).is_ok() {
        run_to_end(&mut interpreter, Target::Script(SHA));
    }
    check_surroundings(&mut interpreter);
}

/// Loads a library and calls its functions.
fn check_library(code: &[u8]) {
    if !is_fit(code) {
        return;
    }
    let mut interpreter = LuaInterpreter::new();
    for registered in interpreter.load_library(LIBRARY, code).unwrap_or_default() {
        run_to_end(&mut interpreter, Target::Function { library: LIBRARY, name: registered.name });
    }
    interpreter.drop_library(LIBRARY);
    check_surroundings(&mut interpreter);
}

fn is_fit(code: &[u8]) -> bool {
    let has = |word: &[u8]| code.windows(word.len()).any(|window| window == word);
    code.len() <= PROGRAM_BYTES_MAX && !GROWING.into_iter().any(has)
}

fn run_to_end(interpreter: &mut LuaInterpreter, target: Target) {
    let (keys, args) = (vec![b"k".to_vec()], vec![b"a".to_vec(), b"1".to_vec()]);
    let mut step = interpreter.begin(Invocation { target, keys, args, protocol: Protocol::Resp3 });
    let (mut slices, mut steps) = (0, 0);
    loop {
        steps += 1;
        let answer = match step {
            Step::Done(ending) => return check_is_one_reply(&ending.reply),
            Step::Command(command) if steps < STEPS_MAX => answer_to(&command.args, command.protocol),
            Step::Command(_) => Answer::Refused("enough".into()),
            Step::MayRun(words) => Answer::Allowed((words.len() % 2 == 0).then_some(words.len() % 4 == 0)),
            Step::Breathe => {
                slices += 1;
                if slices > SLICES_MAX || steps > STEPS_MAX { Answer::Stop } else { Answer::GoOn }
            }
        };
        step = interpreter.go_on(answer);
    }
}

/// A reply of some kind, by the command's length.
fn answer_to(words: &[Vec<u8>], protocol: Protocol) -> Answer {
    const OLDER: [&[u8]; 7] = [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":7\r\n",
        b"$-1\r\n",
        b"$2\r\n\r\n\r\n",
        b"*-1\r\n",
        b"*2\r\n:1\r\n*0\r\n",
    ];
    const NEWER: [&[u8]; 7] = [
        b"_\r\n",
        b",1.5\r\n",
        b"#t\r\n",
        b"(123\r\n",
        b"=5\r\ntxt:x\r\n",
        b"~2\r\n:1\r\n_\r\n",
        b"%1\r\n+a\r\n*1\r\n_\r\n",
    ];
    let index = words.iter().map(Vec::len).sum::<usize>();
    let reply = match (protocol, index % 15) {
        (_, 14) => return Answer::Refused("-NOPERM so it is".into()),
        (Protocol::Resp3, index) if index > 6 => NEWER[index - 7],
        (_, index) => OLDER[index % 7],
    };
    Answer::Reply(reply.to_vec())
}

fn check_is_one_reply(bytes: &[u8]) {
    let mut rest = bytes;
    let reply = Reply::read_from(&mut rest);
    assert!(reply.is_ok() && rest.is_empty(), "one reply: {}", bytes.escape_ascii());
}

/// No program leaves anything behind.
fn check_surroundings(interpreter: &mut LuaInterpreter) {
    const LOOK: &[u8] = b"local found = {} \
        for name in pairs(_G) do found[#found + 1] = name end \
        table.sort(found) found[#found + 1] = #KEYS + #ARGV found[#found + 1] = tostring(pcall(function() x = 1 end)) \
        found[#found + 1] = tostring(getmetatable('').__index == string) found[#found + 1] = type(redis.call) \
        return found";
    let look = |interpreter: &mut LuaInterpreter| {
        interpreter.load_script(&SHA, LOOK).expect("our own");
        let invocation = Invocation {
            target: Target::Script(SHA),
            keys: Vec::new(),
            args: Vec::new(),
            protocol: Protocol::Resp2,
        };
        match interpreter.begin(invocation) {
            Step::Done(ending) => ending.reply,
            other => panic!("it asks for nothing: {other:?}"),
        }
    };
    let (seen, fresh) = (look(interpreter), look(&mut LuaInterpreter::new()));
    assert_eq!(seen.escape_ascii().to_string(), fresh.escape_ascii().to_string());
}

// --- Calls ------------------------------------------------------------------------------------------

/// Functions of ours that a script can call.
const FUNCTIONS: [&str; 43] = [
    "cjson.encode",
    "cjson.decode",
    "cjson.encode_sparse_array",
    "cjson.encode_max_depth",
    "cjson.decode_max_depth",
    "cjson.encode_number_precision",
    "cjson.encode_keep_buffer",
    "cjson.encode_invalid_numbers",
    "cjson.decode_invalid_numbers",
    "cjson.new",
    "cmsgpack.pack",
    "cmsgpack.unpack",
    "cmsgpack.unpack_one",
    "cmsgpack.unpack_limit",
    "struct.pack",
    "struct.unpack",
    "struct.size",
    "bit.tobit",
    "bit.tohex",
    "bit.bnot",
    "bit.band",
    "bit.bor",
    "bit.bxor",
    "bit.lshift",
    "bit.rshift",
    "bit.arshift",
    "bit.rol",
    "bit.ror",
    "bit.bswap",
    "redis.sha1hex",
    "redis.error_reply",
    "redis.status_reply",
    "redis.log",
    "redis.setresp",
    "redis.set_repl",
    "redis.acl_check_cmd",
    "redis.breakpoint",
    "redis.debug",
    "redis.replicate_commands",
    "math.random",
    "math.randomseed",
    "redis.call",
    "redis.pcall",
];

/// Calls in one script, at most; each result is kept, and Lua has room for so many names.
const CALLS_MAX: usize = 24;
/// Tables in tables, at most.
const DEPTH_MAX: usize = 6;

/// Runs calls on a server: it answers, and goes on answering.
fn check_calls(draw: &mut Draw<'_>, choice: u8) {
    let names: Vec<String> =
        Table::new().rows().iter().map(|row| row.full_name().replace('|', "','")).collect();
    let mut script = String::new();
    let mut count = 0;
    while !draw.0.is_empty() && count < CALLS_MAX {
        let kind = usize::from(draw.byte());
        // Half of the calls are commands.
        let function = FUNCTIONS.get(kind).copied().unwrap_or("redis.call");
        let is_command = matches!(function, "redis.call" | "redis.pcall" | "redis.acl_check_cmd");
        write!(script, "local r{count} = {{pcall({function}").expect("a string takes everything");
        if is_command && kind % 8 != 0 {
            let name = &names[draw.number() % names.len()];
            write!(script, ",'{name}'").expect("a string takes everything");
        }
        for _ in 0..draw.byte() % 8 {
            script.push(',');
            draw.value(&mut script, count, 0);
        }
        script.push_str(")}\n");
        count += 1;
    }
    let result = if choice & 8 == 8 { "[2]" } else { "" };
    let returned: Vec<String> = (0..count).map(|call| format!("r{call}{result}")).collect();
    write!(script, "return {{{}}}", returned.join(",")).expect("a string takes everything");

    let mut server = started(&[("appendonly", "yes")]);
    if choice & 4 == 4 {
        ask(&mut server, &[b"HELLO", b"3"]);
    }
    ask(&mut server, &[b"EVAL", script.as_bytes(), b"2", b"k", b"l"]);
    assert_eq!(ask(&mut server, &[b"ECHO", b"well"]), Reply::Bulk(b"well".to_vec()), "{script}");
}

/// Decides by bytes of the input; zeros when there are no more.
struct Draw<'a>(&'a [u8]);

impl Draw<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    fn bytes(&mut self, len: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Writes a value as Lua has it; `calls` results of earlier calls may be used again.
    fn value(&mut self, script: &mut String, calls: usize, depth: usize) {
        const WORDS: [&str; 13] = [
            "nil",
            "true",
            "false",
            "0/0",
            "1/0",
            "-1/0",
            "-0",
            "cjson.null",
            "redis",
            "pcall",
            "''",
            "'k'",
            "{}",
        ];
        let kind = self.byte();
        let text = match kind % 8 {
            0 => WORDS[usize::from(kind / 8) % WORDS.len()].to_owned(),
            1 => i64::from(self.byte() as i8).to_string(),
            2 => {
                let mut bytes = [0; 8];
                let taken = self.bytes(8);
                bytes[..taken.len()].copy_from_slice(taken);
                // Anything but infinities and NaN, which have words of their own.
                let number = f64::from_bits(u64::from_le_bytes(bytes));
                if number.is_finite() { format!("{number:e}") } else { "2^53".into() }
            }
            3 if calls > 0 => format!("r{}[2]", usize::from(kind / 8) % calls),
            4 if depth < DEPTH_MAX => return self.table(script, calls, depth + 1),
            // A word of an option, as commands have many.
            5 => {
                let len = usize::from(kind / 8) % 12;
                let word: String = self.bytes(len).iter().map(|byte| char::from(b'A' + byte % 26)).collect();
                format!("'{word}'")
            }
            _ => {
                let len = usize::from(kind / 8);
                let escaped: String = self.bytes(len).iter().map(|byte| format!("\\{byte:03}")).collect();
                format!("'{escaped}'")
            }
        };
        script.push_str(&text);
    }

    fn table(&mut self, script: &mut String, calls: usize, depth: usize) {
        script.push('{');
        for _ in 0..self.byte() % 6 {
            match self.byte() % 4 {
                0 => {
                    script.push('[');
                    // Neither nil nor NaN is a key.
                    write!(script, "{}]=", self.byte() as i8).expect("a string takes everything");
                }
                1 => {
                    let names =
                        ["err", "ok", "double", "map", "set", "big_number", "verbatim_string", "format"];
                    let name = names[usize::from(self.byte()) % names.len()];
                    write!(script, "{name}=").expect("a string takes everything");
                }
                _ => {}
            }
            self.value(script, calls, depth);
            script.push(',');
        }
        script.push('}');
    }
}
