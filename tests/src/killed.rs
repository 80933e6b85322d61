//! Killing a program between any two of its steps: strace ends it at each system call by which it changes a file.
//!
//! What a kill leaves is judged by whoever asks for it; here is only that there was one at each step.
//!
//! Not here: losses of power, and steps in simulation (`simulated.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// System calls by which files come, change, go or become durable. A question mark: not every machine has it.
const STEPS: &str = "?mkdir,mkdirat,openat,linkat,write,?pwrite64,copy_file_range,ftruncate,fsync,fdatasync,?rename,?renameat,\
                     renameat2,unlinkat";

/// A step: the `count`-th call of this kind that one thread makes.
type Step = (String, usize);

fn strace(arguments: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]).args(arguments);
    strace
}

fn killed_at(call: &str, count: usize) -> Command {
    let inject = format!("inject={call}:signal=SIGKILL:when={count}");
    strace(&["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject])
}

/// Runs `program` with `input` once for each of its steps, killed there, and once to its end; `judge` looks at what each
/// run leaves, and clears it away. How many kills there were.
///
/// # Panics
/// If strace is not installed, or the program fails by itself.
pub fn at_each_step(program: &Command, input: &str, mut judge: impl FnMut(&str)) -> usize {
    let log = std::env::temp_dir().join(format!(
        "perdura-steps-{}-{:?}",
        std::process::id(),
        thread::current().id()
    ));
    let whole =
        run(strace(&["-o", &log.display().to_string(), "-e", &format!("trace={STEPS}")]), program, input);
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    judge("not killed");
    let steps = steps_in(&fs::read_to_string(&log).expect("what strace wrote"));
    fs::remove_file(&log).expect("it is ours");
    for (call, count) in &steps {
        let said = run(killed_at(call, *count), program, input).stderr;
        judge(&format!("killed at {call} {count}: {}", String::from_utf8_lossy(&said)));
    }
    steps.len()
}

/// Runs `program` and kills it when one of its threads makes its `count`-th call of this kind; a success says that there was
/// none.
///
/// # Panics
/// If strace is not installed.
pub fn at_call(program: &Command, call: &str, count: usize) -> Output {
    run(killed_at(call, count), program, "")
}

fn run(mut strace: Command, program: &Command, input: &str) -> Output {
    strace.arg(program.get_program()).args(program.get_args());
    strace.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = strace.spawn().expect("strace is installed (.ci/run does it)");
    // A program that asks nothing, or was killed, does not read it.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it was started")
}

/// The steps in a log of strace. What is printed is none, nor is a file that is only read.
fn steps_in(log: &str) -> BTreeSet<Step> {
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut steps = BTreeSet::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
        if !call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let count = seen.entry((thread, call)).or_default();
        *count += 1;
        let is_step = match call {
            "openat" => arguments.contains("O_CREAT"),
            "write" => !arguments.starts_with("1,") && !arguments.starts_with("2,"),
            _ => true,
        };
        if is_step {
            steps.insert((call.to_owned(), *count));
        }
    }
    steps
}

/// strace, attached to a running program.
pub struct Attached(Child);

impl Drop for Attached {
    fn drop(&mut self) {
        // Asked to end, it lets go of the program first.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Kills a running program when one of its threads makes its `count`-th call of this kind from now on; `None` where the
/// kernel does not let us.
///
/// # Panics
/// If strace is not installed, or does not come to it within ten seconds.
pub fn attach(pid: u32, call: &str, count: usize) -> Option<Attached> {
    let mut command = killed_at(call, count);
    command.args(["-p", &pid.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut attached = Attached(command.spawn().expect("strace is installed (.ci/run does it)"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_held(pid) {
        if attached.0.try_wait().expect("it was started").is_some() {
            return None;
        }
        assert!(Instant::now() < deadline, "strace does not attach");
        thread::sleep(Duration::from_millis(5));
    }
    Some(attached)
}

/// Somebody traces every thread of it.
fn is_held(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|id| id.trim() != "0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_by_thread_and_reads_are_none() {
        let log = "7 openat(3, \"a\", O_RDONLY) = 4\n7  openat(3, \"b\", O_WRONLY|O_CREAT, 0600) = 4\n8 write(4, \"x\", 1 <unfinished ...>\n\
                   7 write(1, \"said\", 4) = 4\n8 <... write resumed>) = 1\n8 fsync(4) = 0\n8 fsync(4) = 0\n7 +++ exited with 0 +++\n";
        let steps: Vec<Step> = steps_in(log).into_iter().collect();
        let expected = [("fsync", 1), ("fsync", 2), ("openat", 2), ("write", 1)];
        assert_eq!(steps, expected.map(|(call, count)| (call.to_owned(), count)));
    }
}
