//! The same tests where threads of their own read and write: `run.rs` again, with two of them.
//!
//! The toy server looks at the name of this file.

#[path = "run.rs"]
mod run;
