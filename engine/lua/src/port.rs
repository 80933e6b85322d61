//! The way out of Lua: a script asks, the coroutine it runs in is left, and comes back with the answer.
//!
//! Also what the running script has set for itself: `redis.setresp`, `redis.set_repl`, and the library being loaded.
//!
//! Not here: who answers (the engine), the loop around it (`machine.rs`).

use std::cell::{Cell, RefCell};

use corosensei::Yielder;
use mlua::Function;
use perdura_core::{
    resp::Protocol,
    script::{Answer, Registered, Step},
};

use crate::machine::{Input, Output};

/// Slices that loading a library may take: Redis gives it half a second.
const LOADING_SLICES_MAX: u32 = 500;

/// A library being loaded.
#[derive(Default)]
pub struct LoadingLibrary {
    /// What it has registered so far.
    pub functions: Vec<(Registered, Function)>,
    /// Slices it has run.
    slices: u32,
}

/// Why a script must not go on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Somebody killed it.
    Killed,
    /// A library takes too long to load.
    LoadingTooLong,
}

/// What all functions of one machine share.
pub struct Port {
    yielder: Cell<*const Yielder<Input, Output>>,
    /// The version in which the script gets replies.
    pub protocol: Cell<Protocol>,
    /// What it changes goes to the log.
    pub is_logged: Cell<bool>,
    /// Set while a library is being loaded.
    pub loading: RefCell<Option<LoadingLibrary>>,
    /// A script or function runs.
    pub is_running: Cell<bool>,
    is_killed: Cell<bool>,
    /// Bytes Lua had taken when it last came to rest.
    pub memory: Cell<usize>,
}

impl Port {
    /// The way out of the coroutine that `yielder` belongs to.
    pub fn new() -> Port {
        Port {
            yielder: Cell::new(std::ptr::null()),
            protocol: Cell::new(Protocol::Resp2),
            is_logged: Cell::new(true),
            loading: RefCell::new(None),
            is_running: Cell::new(false),
            is_killed: Cell::new(false),
            memory: Cell::new(0),
        }
    }

    /// Opens the port for the life of the coroutine's body.
    pub fn open(&self, yielder: &Yielder<Input, Output>) {
        self.yielder.set(yielder);
    }

    /// Leaves the coroutine until the engine has answered.
    pub fn ask(&self, step: Step) -> Answer {
        assert!(!self.yielder.get().is_null());
        // SAFETY: functions that ask are called by the Lua state of the coroutine's body, which is dropped before the body
        // returns; the yielder lives as long as the body.
        let yielder = unsafe { &*self.yielder.get() };
        match yielder.suspend(Output::Step(step)) {
            Input::Answer(answer) => answer,
            Input::Job(_) | Input::Quit => unreachable!("a script is running"),
        }
    }

    /// Gets ready for a run.
    pub fn begin_run(&self) {
        self.protocol.set(Protocol::Resp2);
        self.is_logged.set(true);
        self.is_killed.set(false);
        self.is_running.set(true);
    }

    /// A slice is over: whether the script has to stop.
    pub fn breathe(&self) -> Option<Halt> {
        if let Some(library) = &mut *self.loading.borrow_mut() {
            library.slices += 1;
            return (library.slices > LOADING_SLICES_MAX).then_some(Halt::LoadingTooLong);
        }
        if !self.is_killed.get() && self.is_running.get() {
            self.is_killed.set(self.ask(Step::Breathe) == Answer::Stop);
        }
        self.is_killed.get().then_some(Halt::Killed)
    }
}
