//! Loss of power: `perdura-harness crash power`.
//!
//! Exists because a kill leaves the kernel's cache in place: only when that is gone as well is it seen what was really
//! synced. The server runs on a real file system, that on a disk which remembers every write and every flush; for many
//! instants of the run the disks that could be left are built, mounted, and given to the server.
//!
//! ```text
//! clients (`stage.rs`) ⇄ server ⇄ ext4, xfs, btrfs ⇄ device (`disk/`) ⇒ log of writes and flushes
//! log, instant ⇒ images ⇒ file system ⇒ server ⇒ verdict (`judge.rs`)
//! ```
//!
//! Always true: an instant and the seed name an image; instants are spread over the whole run, half of them beside a
//! flush, where most goes wrong.
//!
//! Not here: I/O errors on the same disk (`errors.rs`).

mod scenario;

pub use scenario::Scenario;

use super::Policy;
use super::backup;
use super::disk::{self, CrashImages, Device, FileSystem, Honesty, Image, Keep, Mount, Recording, Request};
use super::judge::{DATA, Judge};
use super::report::{POWER_COLUMNS, PowerReport, Violation};
use super::stage::{Manner, Sample, Stage};
use super::survey::Survey;
use crate::args::{Args, UsageError};
use crate::client::Client;
use crate::operations::{Family, Plan};
use crate::process::{Launch, Server, StartError};
use crate::record::{Chronicle, Observed, Pace};
use crate::rng::Rng;
use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use strum::VariantArray;

/// How `crash power` is called.
pub const USAGE: &str =
    "perdura-harness crash power [--server name=command] [--points 60] [--seconds 4] [--seed 1]
    [--policies always,everysec,no,snapshots] [--systems ext4,xfs,btrfs] [--scenarios all|steady,rewrite,…]
    [--clients 3] [--pipeline 4] [--judge-as policy] [--lying-device] [--setting name=value]… [--must-run]";

/// Rest of a client after each batch: enough operations to lose, few enough to date quickly.
const PAUSE: Duration = Duration::from_millis(1);

/// One run: a server on one file system in one scenario.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server and its settings; the policy adds its own.
    pub launch: Launch,
    /// What is asked of it.
    pub policy: Policy,
    /// What it is held to: another one shows that the judge sees the difference.
    pub judged_as: Policy,
    /// On what.
    pub file_system: FileSystem,
    /// What is written.
    pub families: Vec<Family>,
    /// Doing what.
    pub scenario: Scenario,
    /// On which disk.
    pub honesty: Honesty,
    /// Images looked at.
    pub points: u64,
    /// How long it runs.
    pub time: Duration,
    /// Decides operations, instants and images.
    pub seed: u64,
    /// Connections that write at the same time.
    pub clients: u64,
    /// Operations one client leaves unanswered at most.
    pub pipeline: u64,
}

/// Records one run and judges its instants.
///
/// # Errors
/// When the machine fails. What the server does wrong is a finding.
pub fn run(config: &Config) -> io::Result<PowerReport> {
    let plan = Plan::starting_now(config.seed, config.families.clone());
    let stage = Arc::new(Stage::new(plan, config.clients));
    let mut report = PowerReport::default();
    let recording = record(config, &stage, &mut report)?;
    let judge =
        Judge::new(&stage, config.policy.apply(config.launch.clone()), config.file_system, config.judged_as);
    let mut rng = Rng::at(config.seed, u64::MAX, 1);
    let mut images = CrashImages::new(recording.start.clone(), &recording.requests, config.honesty);
    for (number, instant) in (0..).zip(instants(&recording.requests, config.points, &mut rng)) {
        let keep = Keep::in_turn(number, &mut rng);
        let mut image = images.after(instant, keep);
        let sample = &recording.samples[instant];
        let mut story = format!("request {instant} of {}, {keep:?}", recording.requests.len());
        if config.scenario == Scenario::Recovery {
            match crash_again(config, &image, &mut rng)? {
                Ok((again, what)) => {
                    image = again;
                    story.push_str(&what);
                }
                Err(violation) => {
                    report.points += 1;
                    report.findings.push((story, violation));
                    continue;
                }
            }
        }
        let verdict = judge.judge(&image, sample)?;
        report.points += 1;
        report.unmountable.extend(verdict.unmountable.map(|why| format!("{story}: {why}")));
        report.slowest_recovery = report.slowest_recovery.max(verdict.recovery);
        report.oldest_loss = report.oldest_loss.max(verdict.oldest_loss);
        report.findings.extend(verdict.violations.into_iter().map(|violation| (story.clone(), violation)));
    }
    Ok(report)
}

/// Runs the scenario on a fresh file system.
fn record(config: &Config, stage: &Arc<Stage>, report: &mut PowerReport) -> io::Result<Recording<Sample>> {
    let start = config.file_system.make()?;
    let witness = stage.clone();
    let device = Device::open(start.clone(), Arc::new(move || witness.sample()))?;
    let mount = Mount::new(config.file_system, &device.path())?;
    let data_dir = mount.path().join(DATA);
    fs::create_dir(&data_dir)?;
    File::open(mount.path())?.sync_all()?;
    let first = device.request_count();

    if config.policy == Policy::Snapshots {
        stage.owe_nothing();
    }
    let launch = config.policy.apply(config.launch.clone());
    let mut server = Server::prepare_at(launch, &data_dir)?;
    if config.scenario.begins_without_log() {
        server.change_setting("appendonly", "no");
    }
    let pace = Pace { pipeline: config.pipeline, pause: PAUSE };
    let lives = config.scenario.lives();
    for life in 0..lives {
        match server.restart() {
            Ok(()) => {}
            Err(StartError::Io(error)) => return Err(error),
            Err(refused) => {
                report.findings.push((format!("start {life}"), Violation::RefusedStart(refused.to_string())));
                break;
            }
        }
        if life > 0 && !go_on(stage, &mut server.client()?, config.judged_as, report)? {
            break;
        }
        let violations = stage.play(&mut server, Manner::Brisk(pace), |server| {
            config.scenario.act(config.policy, stage, server, config.time / lives)
        })?;
        report.findings.extend(violations.into_iter().map(|violation| (format!("life {life}"), violation)));
    }
    drop(server);
    mount.unmount()?;
    let mut recording = device.finish(start)?;
    // What came before the server is the file system's own beginning.
    let before: Vec<Request> = recording.requests.drain(..first).collect();
    recording.samples.drain(..first);
    recording.start =
        CrashImages::new(recording.start, &before, Honesty::Honest).after(first, Keep::Everything);
    Ok(recording)
}

/// After a kill in mid-run: dates what is there, lets the clients go on from it. `false` if it cannot be dated.
fn go_on(stage: &Stage, client: &mut Client, policy: Policy, report: &mut PowerReport) -> io::Result<bool> {
    for (number, progress) in stage.progress.iter().enumerate() {
        let chronicle = Chronicle::new(stage.plan().clone(), number as u64, progress.sent());
        let observed = Observed::read(client, &chronicle.recorder().keys())?;
        let dating = chronicle.date(&observed, progress.sent());
        // Without a log a kill takes everything back to the last snapshot; the images are judged on that.
        let is_enough = |count: u64| count >= progress.acknowledged() || policy == Policy::Snapshots;
        match dating.prefix {
            Some(count) if is_enough(count) => progress.resume(count),
            recovered => {
                let (client, acknowledged) = (number as u64, progress.acknowledged());
                let recovered = recovered.unwrap_or(0);
                let violation = Violation::Lost { client, acknowledged, recovered };
                report.findings.push(("restart after a kill".into(), violation));
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Instants, in order: half of them anywhere, half of them beside a flush.
fn instants(requests: &[Request], count: u64, rng: &mut Rng) -> Vec<usize> {
    if requests.is_empty() {
        return Vec::new();
    }
    let is_flush = |place: &usize| matches!(requests[*place], Request::Flush);
    let flushes: Vec<usize> = (0..requests.len()).filter(is_flush).collect();
    let mut instants: Vec<usize> = (0..count)
        .map(|number| match number % 2 {
            1 if !flushes.is_empty() => {
                let beside = *rng.choose(&flushes) + rng.below(2) as usize;
                beside.min(requests.len() - 1)
            }
            _ => rng.below(requests.len() as u64) as usize,
        })
        .collect();
    instants.sort_unstable();
    instants
}

/// Lets the server recover `image` on a recorded disk and cuts the power once more while it does.
fn crash_again(
    config: &Config,
    image: &Image,
    rng: &mut Rng,
) -> io::Result<Result<(Image, String), Violation>> {
    let device = Device::open(image.clone(), Arc::new(|| ()))?;
    let Ok(mount) = Mount::new(config.file_system, &device.path()) else {
        // The judge finds and counts the same.
        return Ok(Ok((image.clone(), String::new())));
    };
    let launch = config.policy.apply(config.launch.clone());
    let mut server = Server::prepare_at(launch, &mount.path().join(DATA))?;
    match server.restart() {
        Ok(()) => {}
        Err(StartError::Io(error)) => return Err(error),
        Err(refused) => return Ok(Err(Violation::RefusedStart(refused.to_string()))),
    }
    // Once ready, everything it has served from must be as durable as its policy says: let it live a moment.
    std::thread::sleep(Duration::from_millis(rng.below(30)));
    let count = device.request_count();
    drop(server);
    mount.unmount()?;
    let recording = device.finish(image.clone())?;
    let instant = rng.below(count as u64 + 1) as usize;
    let keep = Keep::in_turn(rng.draw(), rng);
    let again = CrashImages::new(recording.start, &recording.requests, config.honesty).after(instant, keep);
    Ok(Ok((again, format!("; again at request {instant} of {count}, {keep:?}"))))
}

/// `crash power`: a row for each policy, file system and scenario, and every finding.
///
/// # Errors
/// A wrong command line, or what [`run`] reports.
pub(super) fn survey(mut args: Args, survey: &mut Survey) -> Result<(), Box<dyn std::error::Error>> {
    let launch = super::read_launch(&mut args)?;
    let policies = args.choices("--policies", &Policy::KEEPING, Policy::name)?;
    let systems = args.choices("--systems", FileSystem::VARIANTS, FileSystem::name)?;
    let mut scenarios = args.choices("--scenarios", Scenario::VARIANTS, Scenario::name)?;
    let judged_as = match args.text("--judge-as")? {
        Some(text) => {
            let mut choice = Args::new(["--judge-as".into(), text]);
            choice.choices("--judge-as", &Policy::KEEPING, Policy::name)?.first().copied()
        }
        None => None,
    };
    let mut template = read_template(&mut args, launch)?;
    args.finish()?;
    template.families = super::known_families(&template.launch, template.families, survey)?;
    if scenarios.contains(&Scenario::Backup)
        && let Some(missing) = super::missing_command(&template.launch, backup::COMMAND)?
    {
        survey.skip("loss of power during a backup", &missing)?;
        scenarios.retain(|scenario| *scenario != Scenario::Backup);
    }
    let title = format!("crash power: server {}, seed {}", template.launch.command.name, template.seed);
    survey.begin(&title, &POWER_COLUMNS)?;
    for file_system in systems {
        if let Some(missing) = disk::missing(file_system) {
            survey.skip(&format!("power loss on {}", file_system.name()), &missing)?;
            continue;
        }
        let all = policies.iter().flat_map(|policy| scenarios.iter().map(|one| (*policy, *one)));
        for (policy, scenario) in all.filter(|(policy, scenario)| scenario.fits(*policy)) {
            let judged_as = judged_as.unwrap_or(policy);
            tell(&Config { policy, judged_as, file_system, scenario, ..template.clone() }, survey)?;
        }
    }
    Ok(())
}

fn tell(config: &Config, survey: &mut Survey) -> io::Result<()> {
    let report = run(config)?;
    let place = [config.policy.name(), config.file_system.name(), config.scenario.name()];
    survey.row(&place, report.outcome())?;
    let place = place.join(", ");
    for what in &report.unmountable {
        survey.note(&format!("not mountable: {place}, {what}"))?;
    }
    for (what, violation) in &report.findings {
        survey.finding(format!("{place}, {what}: {violation}"))?;
    }
    Ok(())
}

/// Everything but where and what.
fn read_template(args: &mut Args, launch: Launch) -> Result<Config, UsageError> {
    let template = Config {
        launch,
        policy: Policy::Always,
        judged_as: Policy::Always,
        file_system: FileSystem::Ext4,
        families: Family::VARIANTS.to_vec(),
        scenario: Scenario::Steady,
        honesty: if args.flag("--lying-device") { Honesty::Lying } else { Honesty::Honest },
        points: args.number("--points", 60)?,
        time: Duration::from_secs_f64(args.number("--seconds", 4.0)?),
        seed: args.number("--seed", 1)?,
        clients: args.number("--clients", 3)?,
        pipeline: args.number("--pipeline", 4)?,
    };
    if template.clients == 0 || template.pipeline == 0 {
        return Err(UsageError("--clients and --pipeline must be at least 1".into()));
    }
    Ok(template)
}
