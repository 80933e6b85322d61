//! A disk that fails for a while: `perdura-harness crash errors`.
//!
//! Exists because an error of the device is where durable stores lie: the write that failed is forgotten, the sync that
//! failed is repeated and then believed. Here the device fails writes or flushes, is full, or is slow; clients insist;
//! then the server is killed, and the power fails as well.
//!
//! Always true: what was answered before, during and after the trouble is owed; a server that can go on does, one that
//! cannot says why.
//!
//! Not here: the device (`disk/device.rs`), what is right afterwards (`judge.rs`).

use super::disk::{self, CrashImages, Device, Faults, FileSystem, Honesty, Keep, Mount};
use super::judge::{DATA, FILLER, Judge};
use super::report::{ERRORS_COLUMNS, ErrorsReport, Violation};
use super::stage::{Manner, Sample, Stage};
use super::survey::Survey;
use super::{EVERYSEC_WINDOW, Policy};
use crate::args::Args;
use crate::operations::{Family, Plan};
use crate::process::{Launch, Server, StartError};
use crate::record::Progress;
use crate::rng::Rng;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use strum::{IntoStaticStr, VariantArray};

/// How `crash errors` is called.
pub const USAGE: &str = "perdura-harness crash errors [--server name=command] [--points 6] [--seed 1]
    [--policies always,everysec,no] [--systems ext4,xfs,btrfs] [--troubles all|one-write,…] [--setting name=value]…
    [--must-run]";

/// Clients that write at the same time.
const CLIENTS: u64 = 3;
/// Rest of a client between two tries.
const PAUSE: Duration = Duration::from_millis(1);
/// Writing before the trouble, and after it.
const CALM: Duration = Duration::from_millis(700);
/// How long a trouble lasts that does not end by itself.
const TROUBLE: Duration = Duration::from_secs(2);
/// How long a server may take to go on once the device works again.
const PATIENCE: Duration = Duration::from_secs(10);
/// What each flush of a slow device takes.
const SLOW_FLUSH: Duration = Duration::from_millis(500);

/// What is wrong with the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Trouble {
    /// One write fails.
    OneWrite,
    /// Fifty writes in a row fail.
    Burst,
    /// One flush fails.
    OneFlush,
    /// All flushes fail for seconds.
    AllFlushes,
    /// No space is left for seconds.
    Full,
    /// Each flush takes half a second.
    Slow,
}

impl Trouble {
    /// As written on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn faults(self) -> Faults {
        match self {
            Trouble::OneWrite => Faults { writes: 1, ..Faults::default() },
            Trouble::Burst => Faults { writes: 50, ..Faults::default() },
            Trouble::OneFlush => Faults { flushes: 1, ..Faults::default() },
            Trouble::AllFlushes => Faults { flushes: u64::MAX, ..Faults::default() },
            Trouble::Full => Faults::default(),
            Trouble::Slow => Faults { flush_delay: SLOW_FLUSH, ..Faults::default() },
        }
    }
}

/// One run: a server on one file system in one trouble.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server and its settings; the policy adds its own.
    pub launch: Launch,
    /// What is asked of it.
    pub policy: Policy,
    /// On what.
    pub file_system: FileSystem,
    /// What is written.
    pub families: Vec<Family>,
    /// What goes wrong.
    pub trouble: Trouble,
    /// Images looked at.
    pub points: u64,
    /// Decides operations, instants and images.
    pub seed: u64,
}

/// Runs clients through one trouble, then kills, restarts, and cuts the power at several instants.
///
/// # Errors
/// When the machine fails. What the server does wrong is a finding.
pub fn run(config: &Config) -> io::Result<ErrorsReport> {
    let plan = Plan::starting_now(config.seed, config.families.clone());
    let stage = Arc::new(Stage::new(plan, CLIENTS));
    let mut report = ErrorsReport::default();
    let start = config.file_system.make()?;
    let witness = stage.clone();
    let device = Device::open(start.clone(), Arc::new(move || witness.sample()))?;
    let mount = Mount::without_reserve(config.file_system, &device.path())?;
    let data_dir = mount.path().join(DATA);
    fs::create_dir(&data_dir)?;
    File::open(mount.path())?.sync_all()?;

    let launch = config.policy.apply(config.launch.clone());
    let mut server = Server::prepare_at(launch.clone(), &data_dir)?;
    server.restart().map_err(io::Error::other)?;
    let mut troubled_from = 0;
    let complaints = stage.play(&mut server, Manner::Stubborn(PAUSE), |server| {
        troubled_from = go_through(config, &device, &mount, &stage, server, &mut report)?;
        Ok(())
    })?;
    for violation in complaints {
        match violation {
            // To stop is allowed to a server that says why.
            Violation::EndedByItself(_) => report.has_stopped = true,
            other => report.findings.push(("in trouble".into(), other)),
        }
    }
    report.failed_requests = device.failures();
    report.refused = stage.progress.iter().map(Progress::refused).sum();
    report.findings.extend(check_told(&server, &report)?.map(|violation| ("log".into(), violation)));

    let judge = Judge::new(&stage, launch, config.file_system, config.policy);
    if !report.file_system_is_dead {
        let found = judge_kill(&judge, &stage, &mut server)?;
        report.findings.extend(found.into_iter().map(|violation| ("after the kill".into(), violation)));
    }
    drop(server);
    // A file system that has given up may not even let go in an orderly way.
    let _ = mount.unmount();
    let recording = device.finish(start)?;
    let mut rng = Rng::at(config.seed, u64::MAX, 2);
    let mut images = CrashImages::new(recording.start, &recording.requests, Honesty::Honest);
    let span = recording.requests.len().saturating_sub(troubled_from) as u64;
    let mut instants: Vec<usize> =
        (0..config.points.min(span)).map(|_| troubled_from + rng.below(span) as usize).collect();
    instants.sort_unstable();
    for (number, instant) in (0..).zip(instants) {
        let keep = Keep::in_turn(number, &mut rng);
        let (image, sample) = (images.after(instant, keep), &recording.samples[instant]);
        let verdict = judge.judge_as(held_to(config.policy, &report, sample), &image, sample)?;
        report.starts_waited += u64::from(verdict.has_waited_for_room);
        report.points += 1;
        report.slowest_recovery = report.slowest_recovery.max(verdict.recovery);
        let story = format!("power lost at request {instant} of {}, {keep:?}", recording.requests.len());
        report.findings.extend(verdict.violations.into_iter().map(|violation| (story.clone(), violation)));
    }
    Ok(report)
}

/// While the disk stands still the bound of `everysec` stands still with it: only a prefix can be demanded, until the disk
/// has worked again for as long as the bound.
fn held_to(policy: Policy, report: &ErrorsReport, sample: &Sample) -> Policy {
    let is_bounded = report.healthy_from.is_some_and(|from| sample.at >= from + EVERYSEC_WINDOW);
    if policy == Policy::Everysec && !is_bounded { Policy::No } else { policy }
}

/// Calm, trouble, calm; gives the number of requests served before the trouble.
fn go_through(
    config: &Config,
    device: &Device<Sample>,
    mount: &Mount,
    stage: &Stage,
    server: &mut Server,
    report: &mut ErrorsReport,
) -> io::Result<usize> {
    thread::sleep(CALM);
    let troubled_from = device.request_count();
    device.set_faults(config.trouble.faults());
    let filler = mount.path().join(FILLER);
    let start = Instant::now();
    while start.elapsed() < TROUBLE {
        if config.trouble == Trouble::Full {
            // Again and again: a file system sets space aside and gives it back later.
            fill(&filler);
        } else if config.policy == Policy::No {
            write_back(&mount.path());
        }
        thread::sleep(Duration::from_millis(50));
    }
    device.set_faults(Faults::default());
    if config.trouble == Trouble::Full {
        fs::remove_file(&filler)?;
    }
    let start = Instant::now();
    let before: u64 = stage.progress.iter().map(Progress::acknowledged).sum();
    while start.elapsed() < PATIENCE && matches!(server.exit_status(), Ok(None)) {
        let now: u64 = stage.progress.iter().map(Progress::acknowledged).sum();
        if now > before + CLIENTS {
            report.recovered_after = Some(start.elapsed());
            report.healthy_from = Some(stage.sample().at);
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    report.file_system_is_dead = !takes_writes(&mount.path());
    let is_running = matches!(server.exit_status(), Ok(None));
    if report.recovered_after.is_none() && !report.file_system_is_dead && is_running {
        report.findings.push(("after the trouble".into(), Violation::NotRecovered(server.log_tail())));
    }
    // Long enough for the bound to be in force again.
    thread::sleep(if config.policy == Policy::Everysec { EVERYSEC_WINDOW + CALM } else { CALM });
    Ok(troubled_from)
}

/// A server that never syncs feels the device only as the kernel writes back, which takes half a minute by itself.
fn write_back(folder: &Path) {
    // That it fails is the point.
    let _ = Command::new("sync").arg("--file-system").arg(folder).output();
}

/// Takes all space, in smaller and smaller pieces, and the last of it by writing: what a file system keeps back from who
/// asks for room in advance it still gives to who writes.
fn fill(path: &Path) {
    let mut size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    for piece in [64 << 20, 8 << 20, 1 << 20, 64 << 10, 4 << 10] {
        let allocate = |size: u64| {
            let output = Command::new("fallocate").arg("-l").arg(size.to_string()).arg(path).output();
            output.is_ok_and(|output| output.status.success())
        };
        while allocate(size + piece) {
            size += piece;
        }
    }
    if let Ok(mut file) = File::options().append(true).create(true).open(path) {
        for piece in [64 << 10, 4 << 10] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }
}

/// Whether the file system itself works.
fn takes_writes(folder: &Path) -> bool {
    let path = folder.join("probe");
    let write = || -> io::Result<()> {
        let mut file = File::create(&path)?;
        file.write_all(b"probe")?;
        file.sync_all()?;
        fs::remove_file(&path)
    };
    write().is_ok()
}

/// Whoever refused writes or stopped must have said why.
fn check_told(server: &Server, report: &ErrorsReport) -> io::Result<Option<Violation>> {
    if report.refused == 0 && !report.has_stopped && !report.file_system_is_dead {
        return Ok(None);
    }
    let log = fs::read(server.log_path())?;
    let log = String::from_utf8_lossy(&log);
    let reasons = ["Input/output error", "No space left", "Read-only file system", "max-lag"];
    let is_told = reasons.iter().any(|reason| log.contains(reason));
    Ok((!is_told).then(|| Violation::Silent(server.log_tail())))
}

/// After the kill alone, with the kernel's cache in place, nothing that was answered may be gone.
fn judge_kill(judge: &Judge, stage: &Stage, server: &mut Server) -> io::Result<Vec<Violation>> {
    match server.restart() {
        Ok(()) => {}
        Err(StartError::Io(error)) => return Err(error),
        Err(refused) => return Ok(vec![Violation::RefusedStart(refused.to_string())]),
    }
    let verdict = judge.look_as(Policy::Always, server, &stage.sample())?;
    Ok(verdict.violations)
}

/// `crash errors`: a row for each policy, file system and trouble, and every finding.
///
/// # Errors
/// A wrong command line, or what [`run`] reports.
pub(super) fn survey(mut args: Args, survey: &mut Survey) -> Result<(), Box<dyn std::error::Error>> {
    let launch = super::read_launch(&mut args)?;
    let policies = args.choices("--policies", &Policy::PROMISING, Policy::name)?;
    let systems = args.choices("--systems", FileSystem::VARIANTS, FileSystem::name)?;
    let troubles = args.choices("--troubles", Trouble::VARIANTS, Trouble::name)?;
    let (points, seed) = (args.number("--points", 6)?, args.number("--seed", 1)?);
    args.finish()?;
    let families = super::known_families(&launch, Family::VARIANTS.to_vec(), survey)?;
    survey.begin(&format!("crash errors: server {}, seed {seed}", launch.command.name), &ERRORS_COLUMNS)?;
    for file_system in systems {
        if let Some(missing) = disk::missing(file_system) {
            survey.skip(&format!("I/O errors on {}", file_system.name()), &missing)?;
            continue;
        }
        for (policy, trouble) in policies.iter().flat_map(|policy| troubles.iter().map(|one| (*policy, *one)))
        {
            let (launch, families) = (launch.clone(), families.clone());
            let config = Config { launch, policy, file_system, families, trouble, points, seed };
            let report = run(&config)?;
            let place = [policy.name(), file_system.name(), trouble.name()];
            survey.row(&place, report.outcome())?;
            for (what, violation) in &report.findings {
                survey.finding(format!("{}, {what}: {violation}", place.join(", ")))?;
            }
        }
    }
    Ok(())
}
