//! The same tests where the kernel does not let us use io_uring: `run.rs` again, over epoll.
//!
//! The toy server looks at the name of this file.

#[path = "run.rs"]
mod run;
