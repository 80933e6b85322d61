//! One Lua state in a coroutine of its own: it runs until a script wants something, and stays there until that is answered.
//!
//! ```text
//!   engine                         machine
//!   begin(invocation) ──Job──────> runs the script … redis.call
//!   <──────────────────Step(Command)──┘ left in the middle, Lua's frames on the coroutine's stack
//!   go_on(Reply) ─────Answer─────> redis.call returns … the script ends
//!   <──────────────────Step(Done)─────┘
//! ```
//!
//! Always true: the coroutine's body is left only by `Input::Quit`, with no script running.
//!
//! Not here: what a script may see (`sandbox.rs`).

use std::{collections::BTreeMap, rc::Rc};

use corosensei::{Coroutine, CoroutineResult, Yielder, stack::DefaultStack};
use mlua::{ChunkMode, Function, Lua, Table, Value};
use perdura_core::script::{Answer, Ending, Invocation, LibraryId, Registered, Sha, Step, Target};

use crate::{
    convert::{self, Failed},
    port::{LoadingLibrary, Port},
    sandbox::{Sandbox, Surroundings},
};

/// Room for Lua's own frames and for replies that are tables in tables, `convert::DEPTH_MAX` deep. Taken as it is used.
const STACK_BYTES: usize = 8 << 20;

/// What a machine is told.
pub enum Input {
    /// Something to do, while it is at rest.
    Job(Job),
    /// The answer to its last step.
    Answer(Answer),
    /// Come to an end.
    Quit,
}

/// Something to do.
pub enum Job {
    /// Compile a script.
    LoadScript(Sha, Vec<u8>),
    /// Compile a library and let it register its functions.
    LoadLibrary(LibraryId, Vec<u8>),
    /// Forget a library.
    DropLibrary(LibraryId),
    /// Run something.
    Run(Invocation),
}

/// What a machine gives back.
pub enum Output {
    /// Done, and nothing to tell.
    Ready,
    /// A script was compiled, or not.
    Script(Result<(), String>),
    /// A library's functions.
    Library(Result<Vec<Registered>, String>),
    /// A running script wants something.
    Step(Step),
}

/// A Lua state that runs scripts, or one that runs functions.
pub struct Machine {
    coroutine: Coroutine<Input, Output, (), DefaultStack>,
    port: Rc<Port>,
    is_running: bool,
}

impl Machine {
    /// A fresh one.
    pub fn new(surroundings: Surroundings) -> Machine {
        let port = Rc::new(Port::new());
        let inner = Rc::clone(&port);
        let stack = DefaultStack::new(STACK_BYTES).expect("address space for a stack");
        let coroutine = Coroutine::with_stack(stack, move |yielder, first| {
            inner.open(yielder);
            live(yielder, first, inner, surroundings);
        });
        Machine { coroutine, port, is_running: false }
    }

    /// Has something done.
    pub fn submit(&mut self, job: Job) -> Output {
        assert!(!self.is_running);
        self.resume(Input::Job(job))
    }

    /// Answers its last step.
    pub fn answer(&mut self, answer: Answer) -> Output {
        assert!(self.is_running);
        self.resume(Input::Answer(answer))
    }

    /// Bytes its Lua state takes.
    pub fn memory(&self) -> usize {
        self.port.memory.get()
    }

    fn resume(&mut self, input: Input) -> Output {
        match self.coroutine.resume(input) {
            CoroutineResult::Yield(output) => {
                self.is_running = matches!(&output, Output::Step(step) if !matches!(step, Step::Done(_)));
                output
            }
            CoroutineResult::Return(()) => Output::Ready,
        }
    }
}

impl Drop for Machine {
    /// Brings a script that was left to its end first: its frames are Lua's, which unwinding would not clean up.
    fn drop(&mut self) {
        while self.is_running {
            self.resume(Input::Answer(Answer::Stop));
        }
        if self.coroutine.started() && !self.coroutine.done() {
            self.resume(Input::Quit);
        }
    }
}

/// The coroutine's body.
fn live(yielder: &Yielder<Input, Output>, first: Input, port: Rc<Port>, surroundings: Surroundings) {
    let mut state = State::new(port, surroundings).expect("memory for a Lua state");
    let mut input = first;
    loop {
        let output = match input {
            Input::Job(job) => state.work(job),
            Input::Answer(_) => unreachable!("no script is running"),
            Input::Quit => return,
        };
        state.port.memory.set(state.lua.used_memory());
        input = yielder.suspend(output);
    }
}

struct State {
    sandbox: Sandbox,
    scripts: BTreeMap<Sha, Function>,
    functions: BTreeMap<LibraryId, BTreeMap<Vec<u8>, Function>>,
    port: Rc<Port>,
    lua: Lua,
}

impl State {
    fn new(port: Rc<Port>, surroundings: Surroundings) -> mlua::Result<State> {
        let lua = Lua::new_with(
            mlua::StdLib::STRING | mlua::StdLib::TABLE | mlua::StdLib::MATH,
            mlua::LuaOptions::default(),
        )?;
        let sandbox = Sandbox::build(&lua, &port, surroundings)?;
        Ok(State { sandbox, scripts: BTreeMap::new(), functions: BTreeMap::new(), port, lua })
    }

    fn work(&mut self, job: Job) -> Output {
        match job {
            Job::LoadScript(sha, code) => Output::Script(self.load_script(sha, &code)),
            Job::LoadLibrary(library, code) => Output::Library(self.load_library(library, &code)),
            Job::DropLibrary(library) => {
                self.functions.remove(&library);
                Output::Ready
            }
            Job::Run(invocation) => Output::Step(Step::Done(self.run(&invocation))),
        }
    }

    fn compile(&self, code: &[u8], name: &str) -> Result<Function, String> {
        let chunk = self.lua.load(code).set_name(name).set_mode(ChunkMode::Text);
        chunk.set_environment(self.sandbox.globals.clone()).into_function().map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => message,
            other => other.to_string(),
        })
    }

    fn load_script(&mut self, sha: Sha, code: &[u8]) -> Result<(), String> {
        let function = self.compile(code, "@user_script")?;
        self.scripts.insert(sha, function);
        Ok(())
    }

    fn load_library(&mut self, library: LibraryId, code: &[u8]) -> Result<Vec<Registered>, String> {
        let function =
            self.compile(code, "@user_function").map_err(|why| format!("Error compiling function: {why}"))?;
        *self.port.loading.borrow_mut() = Some(LoadingLibrary::default());
        let result = self.sandbox.run_loading(&self.lua, &function);
        let loaded = self.port.loading.take().expect("set above");
        match result {
            Ok((true, _)) => {}
            Ok((false, error)) => {
                let why = convert::error_text(&error);
                return Err(format!("Error registering functions: {why}"));
            }
            Err(error) => return Err(format!("Error registering functions: ERR {error}")),
        }
        let mut registered: Vec<Registered> = Vec::new();
        let functions = self.functions.entry(library).or_default();
        for (entry, function) in loaded.functions {
            functions.insert(entry.name.clone(), function);
            registered.push(entry);
        }
        registered.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(registered)
    }

    fn run(&mut self, invocation: &Invocation) -> Ending {
        self.port.begin_run();
        let outcome = self.call(invocation);
        let protocol = self.port.protocol.get();
        self.port.is_running.set(false);
        let name = match &invocation.target {
            Target::Script(sha) => String::from_utf8_lossy(sha).into_owned(),
            Target::Function { name, .. } => String::from_utf8_lossy(name).into_owned(),
        };
        match outcome {
            Ok((true, value)) => convert::ending(&value, invocation.protocol, protocol),
            Ok((false, Value::Table(error))) => convert::failure(&error, &name, invocation.protocol),
            Ok((false, other)) => {
                let what = convert::text_of(&other).unwrap_or_else(|| "execution failure".into());
                let text = format!("ERR Error running script {name}, {what:.100}");
                convert::plain_failure(&text, invocation.protocol)
            }
            Err(error) => {
                let text = format!("ERR Error running script {name}, {error:.100}");
                convert::plain_failure(&text, invocation.protocol)
            }
        }
    }

    fn call(&mut self, invocation: &Invocation) -> mlua::Result<(bool, Value)> {
        let keys = self.strings(&invocation.keys)?;
        let args = self.strings(&invocation.args)?;
        match &invocation.target {
            Target::Script(sha) => {
                let function = self.scripts.get(sha).expect("loaded before it is run");
                self.sandbox.run_script(&self.lua, function, keys, args)
            }
            Target::Function { library, name } => {
                let function = self.functions.get(library).and_then(|functions| functions.get(name));
                self.sandbox.run_function(&self.lua, function.expect("loaded before it is run"), keys, args)
            }
        }
    }

    fn strings(&self, texts: &[Vec<u8>]) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(texts.len(), 0)?;
        for (index, text) in texts.iter().enumerate() {
            table.raw_set(index + 1, self.lua.create_string(text)?)?;
        }
        Ok(table)
    }
}

/// What a function of ours gives back to Lua.
pub type Answered = Result<mlua::MultiValue, Failed>;
