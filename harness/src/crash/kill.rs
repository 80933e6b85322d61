//! Kills a server again and again and judges what it still holds: `perdura-harness crash kill`.
//!
//! Exists because the promise is about real processes: after `kill -9`, at any instant and under every AOF
//! policy, nothing that was answered is gone, and the server starts again by itself.
//!
//! Always true: a round ends with a dated state for every client or with a violation; a violation is never
//! carried into the next round (it gets a new directory).
//!
//! Not here: loss of power, which a kill does not show (`power/`); what clients write (`operations.rs`); what is judged
//! (`verdict.rs`); how findings are told (`report.rs`).

use super::Policy;
use super::backup::{self, Asked};
use super::leftovers::{TempFile, fingerprints, leftovers, temp_files};
use super::report::{Finding, KILL_COLUMNS, Report, Violation};
use super::survey::Survey;
use super::verdict::{Reached, judge_all, read_until_ended};
use crate::args::{Args, UsageError};
use crate::client::{Client, Reply};
use crate::operations::{Family, Plan};
use crate::process::{Launch, Server, StartError, Victims};
use crate::record::{Pace, Progress, Recorder, Stop};
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};
use strum::{IntoStaticStr, VariantArray};

/// How `crash kill` is called.
pub const USAGE: &str = "perdura-harness crash kill [--server name=command] [--rounds 20] [--seed 1]
    [--policies always,everysec,no] [--families all|strings,lists,…] [--moments all|any,snapshot,…]
    [--clients 4] [--pipeline 16] [--ballast 20000] [--setting name=value]… [--tolerate-leftovers]";

/// How long clients write before a kill, or before what the moment asks for.
const RUN_MS: Range<u64> = 20..300;
/// From the start of a snapshot or rewrite to the kill: most are short, so that the child still runs.
const MOMENT_US: Range<u64> = 0..30_000;
/// How long a rewrite may take to touch the set before it is killed anyway.
const SWAP_PATIENCE: Duration = Duration::from_secs(2);
/// From the change of the set to the kill: the steps of a swap are a few syncs apart.
const SWAP_US: Range<u64> = 0..4_000;
/// From the request for a backup, or from its answer, to the kill.
const BACKUP_US: Range<u64> = 0..150_000;
/// How long children of a killed server may go on before they are killed as well.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(5);
/// Starts killed in a row when the moment is the start itself.
const START_KILLS_MAX: u64 = 3;

/// What the server is doing when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Moment {
    /// Anything.
    Any,
    /// `BGSAVE`
    Snapshot,
    /// `BGREWRITEAOF`
    Rewrite,
    /// `BGREWRITEAOF`, and then the instant at which a file of the set appears, changes or goes.
    Swap,
    /// `CONFIG SET appendonly no`, then `yes`.
    Switch,
    /// After an ordinary kill, starting again.
    Startup,
    /// `BACKUP`
    Backup,
}

impl Moment {
    /// As written on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn commands(self) -> &'static [&'static str] {
        match self {
            Moment::Any | Moment::Startup | Moment::Backup => &[],
            Moment::Snapshot => &["BGSAVE"],
            Moment::Rewrite | Moment::Swap => &["BGREWRITEAOF"],
            Moment::Switch => &["CONFIG SET appendonly no", "CONFIG SET appendonly yes"],
        }
    }
}

/// One run under one policy.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server and its settings; the policy adds its own.
    pub launch: Launch,
    /// What is asked of it.
    pub policy: Policy,
    /// Kills.
    pub rounds: u64,
    /// Decides operations, moments and victims; the instants remain the machine's.
    pub seed: u64,
    /// Connections that write at the same time.
    pub clients: u64,
    /// Operations one client leaves unanswered at most.
    pub pipeline: u64,
    /// Keys written once at first, so that snapshots and starts take a while.
    pub ballast: u64,
    /// What is written.
    pub families: Vec<Family>,
    /// When it is killed.
    pub moments: Vec<Moment>,
}

impl Config {
    /// Twenty rounds of everything.
    pub fn new(launch: Launch, policy: Policy) -> Config {
        Config {
            launch,
            policy,
            rounds: 20,
            seed: 1,
            clients: 4,
            pipeline: 16,
            ballast: 20_000,
            families: Family::VARIANTS.to_vec(),
            moments: Moment::VARIANTS.to_vec(),
        }
    }
}

/// Runs all rounds.
///
/// # Errors
/// When the machine fails: no directory, no socket, the program missing. What the server does wrong is a
/// finding.
pub fn run(config: &Config) -> io::Result<Report> {
    let reports = run_by_moment(config)?.into_values();
    Ok(reports.fold(Report::default(), Report::and))
}

/// Runs all rounds and tells of each moment apart.
///
/// # Errors
/// As [`run`].
pub fn run_by_moment(config: &Config) -> io::Result<BTreeMap<Moment, Report>> {
    let mut reports: BTreeMap<Moment, Report> = BTreeMap::new();
    let mut scene: Option<Scene> = None;
    for round in 0..config.rounds {
        let mut rng = Rng::at(config.seed, u64::MAX, round);
        let mut current = match scene.take() {
            Some(scene) => scene,
            None => Scene::open(config)?,
        };
        let moment = *rng.choose(&config.moments);
        let report = reports.entry(moment).or_default();
        let violations = current.play(config, moment, &mut rng, report)?;
        report.rounds += 1;
        let is_clean = violations.iter().all(|violation| matches!(violation, Violation::Leftovers(_)));
        report.findings.extend(violations.into_iter().map(|violation| Finding { round, moment, violation }));
        scene = is_clean.then_some(current);
    }
    Ok(reports)
}

/// A server, its directory and the clients that know what is in it.
struct Scene {
    server: Server,
    recorders: Vec<Recorder>,
    /// Of the round being played.
    progress: Vec<Progress>,
    /// The backup asked for in it.
    asked: Option<Asked>,
    /// Leftovers already reported: each is one finding, however many starts it outlives.
    known_leftovers: BTreeSet<TempFile>,
}

/// How a life of the server ended, for everybody.
struct Ending {
    /// What the server did wrong before it was killed.
    server: Option<Violation>,
    /// Why each writer stopped, and whether it did before the kill.
    clients: Vec<(Stop, bool)>,
    floors: Vec<Option<u64>>,
}

/// What a writer has to complain about; that the kill cut its connection is no complaint.
fn complaint((recorder, (stop, was_before_kill)): (&Recorder, (Stop, bool))) -> Option<Violation> {
    match stop {
        Stop::WrongReply(what) => Some(Violation::WrongReply(recorder.client(), what)),
        Stop::Disconnected(error) if was_before_kill => {
            Some(Violation::Disconnected(recorder.client(), error))
        }
        Stop::Disconnected(_) => None,
    }
}

impl Scene {
    fn open(config: &Config) -> io::Result<Scene> {
        let launch = config.policy.apply(config.launch.clone());
        let server = Server::start(launch).map_err(io::Error::other)?;
        write_ballast(&mut server.client()?, config.ballast)?;
        let plan = Plan::starting_now(config.seed, config.families.clone());
        let recorders = (0..config.clients).map(|client| Recorder::new(plan.clone(), client)).collect();
        let known_leftovers = BTreeSet::new();
        Ok(Scene { server, recorders, progress: Vec::new(), asked: None, known_leftovers })
    }

    /// One round: write, kill, start, judge.
    fn play(
        &mut self,
        config: &Config,
        moment: Moment,
        rng: &mut Rng,
        report: &mut Report,
    ) -> io::Result<Vec<Violation>> {
        let (reached, mut violations) = self.write_until_killed(config, moment, rng, report)?;
        report.acknowledged += self.newly_acknowledged(&reached);
        if !violations.is_empty() {
            return Ok(violations);
        }
        if moment == Moment::Startup {
            self.kill_starts(rng, report)?;
        }
        let temp_files = &temp_files(&self.server.data_dir()) - &self.known_leftovers;
        let has_orphans = !self.server.orphans().is_empty();
        match self.server.restart() {
            Ok(()) => {}
            Err(StartError::Io(error)) => return Err(error),
            Err(refused) => return Ok(vec![Violation::RefusedStart(refused.to_string())]),
        }
        report.slowest_recovery = report.slowest_recovery.max(self.server.ready_after());
        if let Some(asked) = self.asked.take() {
            violations.extend(self.judge_backup(config, asked, &reached, report)?);
        }
        violations.extend(self.judge(config, &reached, report)?);
        // An orphan may still be writing its file; only what nobody writes is left over.
        if has_orphans {
            violations.extend(self.watch_orphans()?);
        } else {
            let left = leftovers(&self.server.data_dir(), &temp_files);
            if !left.is_empty() {
                violations.push(Violation::Leftovers(left.iter().map(|(path, _)| path.clone()).collect()));
                self.known_leftovers.extend(left);
            }
        }
        Ok(violations)
    }

    /// Lets the children of earlier lives come to their end: none may put its file in place of a newer one (W14).
    fn watch_orphans(&mut self) -> io::Result<Option<Violation>> {
        let before = fingerprints(&self.server.data_dir());
        let start = Instant::now();
        while !self.server.orphans().is_empty() && start.elapsed() < ORPHAN_PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        self.server.kill_orphans()?;
        // Nobody writes now and no snapshot is due, so the new server has no reason to replace anything either.
        let after = fingerprints(&self.server.data_dir());
        let replaced = before.iter().find(|(path, file)| after.get(*path).is_some_and(|now| now != *file));
        Ok(replaced.map(|(path, _)| Violation::Replaced(path.clone())))
    }

    fn newly_acknowledged(&self, reached: &[Reached]) -> u64 {
        let bases = self.recorders.iter().map(|recorder| recorder.progress().acknowledged());
        reached.iter().zip(bases).map(|(reached, base)| reached.acknowledged - base).sum()
    }

    fn write_until_killed(
        &mut self,
        config: &Config,
        moment: Moment,
        rng: &mut Rng,
        report: &mut Report,
    ) -> io::Result<(Vec<Reached>, Vec<Violation>)> {
        let progress: Vec<Progress> = self.recorders.iter().map(Recorder::progress).collect();
        self.recorders.iter_mut().for_each(Recorder::begin_life);
        let ending = self.run_clients(config, moment, &progress, rng, report)?;
        let violations = match ending.server {
            // What the clients then saw is only a consequence.
            Some(violation) => vec![violation],
            None => self.recorders.iter().zip(ending.clients).filter_map(complaint).collect(),
        };
        let reached: Vec<Reached> = (progress.iter().zip(ending.floors))
            .map(|(progress, floor)| Reached {
                floor: floor.unwrap_or(progress.acknowledged()),
                acknowledged: progress.acknowledged(),
                sent: progress.sent(),
                shown: if floor.is_some() { 0 } else { progress.shown() },
            })
            .collect();
        let is_early = reached.iter().any(|reached| reached.shown > reached.acknowledged);
        report.rounds_shown_early += u64::from(is_early);
        self.progress = progress;
        Ok((reached, violations))
    }

    /// From the first write to the last thread's end.
    fn run_clients(
        &mut self,
        config: &Config,
        moment: Moment,
        progress: &[Progress],
        rng: &mut Rng,
        report: &mut Report,
    ) -> io::Result<Ending> {
        let Scene { server, recorders, asked, .. } = self;
        let address = &server.address();
        let pace = Pace { pipeline: config.pipeline, pause: Duration::ZERO };
        thread::scope(|scope| {
            scope.spawn(|| read_until_ended(address, recorders, progress));
            let writers: Vec<_> = recorders
                .iter()
                .map(|recorder| scope.spawn(move || recorder.run(address, pace, progress)))
                .collect();

            thread::sleep(Duration::from_millis(RUN_MS.start + rng.below(RUN_MS.end - RUN_MS.start)));
            let floors = floors(moment, progress);
            // Not `?` before the kill: the threads end only when the server does.
            let reached = match moment {
                Moment::Backup => ask_for_backup(server, progress, rng).map(|backup| *asked = Some(backup)),
                _ => reach(server, moment, rng),
            };
            let violation = match server.exit_status() {
                Ok(Some(_)) => Some(Violation::EndedByItself(server.log_tail())),
                _ => reached.err().map(|error| Violation::WouldNot(moment, error)),
            };
            let victims = *rng.choose(&[Victims::ServerOnly, Victims::ServerAndChildren]);
            if !server.children().is_empty() {
                report.kills_with_child += 1;
                report.children_killed += u64::from(victims == Victims::ServerAndChildren);
            }
            let ended_before: Vec<bool> = writers.iter().map(|writer| writer.is_finished()).collect();
            server.kill(victims)?;

            let stops = writers.into_iter().map(|writer| writer.join().expect("writers do not panic"));
            Ok(Ending { server: violation, clients: stops.zip(ended_before).collect(), floors })
        })
    }

    fn kill_starts(&mut self, rng: &mut Rng, report: &mut Report) -> io::Result<()> {
        // The last start shows how long one takes; beyond it the kill would hit a running server.
        let start_us = self.server.ready_after().as_micros() as u64 + 1;
        for _ in 0..1 + rng.below(START_KILLS_MAX) {
            self.server.spawn()?;
            thread::sleep(Duration::from_micros(rng.below(start_us)));
            self.server.kill(Victims::ServerAndChildren)?;
            report.starts_killed += 1;
        }
        Ok(())
    }

    /// Dates every client's keys; takes what it finds as the next round's base.
    fn judge(
        &mut self,
        config: &Config,
        reached: &[Reached],
        report: &mut Report,
    ) -> io::Result<Vec<Violation>> {
        let others = config.ballast;
        let (survived, violations) =
            judge_all(&self.server, &self.recorders, reached, &self.progress, others)?;
        for ((recorder, reached), survived) in self.recorders.iter_mut().zip(reached).zip(survived) {
            report.in_flight_kept += survived.at_most.saturating_sub(reached.acknowledged);
            recorder.rebase(survived.at_most);
        }
        Ok(violations)
    }

    /// Looks at the backup of this round, and removes it.
    fn judge_backup(
        &self,
        config: &Config,
        asked: Asked,
        reached: &[Reached],
        report: &mut Report,
    ) -> io::Result<Vec<Violation>> {
        let data_dir = self.server.data_dir();
        let launch = config.policy.apply(config.launch.clone());
        let backup = match asked.end() {
            Ok(backup) => backup,
            Err(violation) => return Ok(vec![violation]),
        };
        report.backups += u64::from(backup.is_complete_in(&data_dir));
        let sent: Vec<u64> = reached.iter().map(|reached| reached.sent).collect();
        let violations =
            backup.judge(&data_dir, &launch, &self.recorders, &sent, &self.progress, config.ballast)?;
        backup.remove_from(&data_dir)?;
        Ok(violations)
    }
}

/// Each client's floor where the moment itself weakens the promise: what is written while the AOF is switched
/// off may go, so only what was acknowledged before counts.
fn floors(moment: Moment, progress: &[Progress]) -> Vec<Option<u64>> {
    let weakens = moment == Moment::Switch;
    progress.iter().map(|progress| weakens.then(|| progress.acknowledged())).collect()
}

/// Brings the server to `moment`.
fn reach(server: &Server, moment: Moment, rng: &mut Rng) -> io::Result<()> {
    if moment.commands().is_empty() {
        return Ok(());
    }
    let mut client = server.client()?;
    let set = server.data_dir().join("appendonlydir");
    let before = fingerprints(&set);
    for command in moment.commands() {
        match client.say(command)? {
            // A child that runs already, by the server's own decision, serves as well.
            Reply::Error(error) if !error.contains("in progress") && !error.contains("child") => {
                return Err(io::Error::other(format!("{command}: {error}")));
            }
            _ => {}
        }
    }
    let mut after = MOMENT_US;
    if moment == Moment::Swap {
        let start = Instant::now();
        while fingerprints(&set) == before && start.elapsed() < SWAP_PATIENCE {}
        after = SWAP_US;
    }
    thread::sleep(Duration::from_micros(after.start + rng.below(after.end - after.start)));
    Ok(())
}

/// Asks for a backup and lets it go on for a while, or to its end.
fn ask_for_backup(server: &Server, progress: &[Progress], rng: &mut Rng) -> io::Result<Asked> {
    let owed = progress.iter().map(Progress::acknowledged).collect();
    let mut asked = Asked::new(server, rng.draw(), owed)?;
    if rng.below(2) == 0 {
        asked.wait()?;
    }
    thread::sleep(Duration::from_micros(rng.below(BACKUP_US.end)));
    Ok(asked)
}

fn write_ballast(client: &mut Client, count: u64) -> io::Result<()> {
    const BATCH: u64 = 500;
    for start in (0..count).step_by(BATCH as usize) {
        let set =
            |number: u64| ["SET".into(), format!("ballast:{number}"), format!("{number:0>64}")].to_vec();
        let commands: Vec<Vec<String>> = (start..count.min(start + BATCH)).map(set).collect();
        if !client.pipeline(&commands)?.iter().all(Reply::is_ok) {
            return Err(io::Error::other("the server refused the ballast"));
        }
    }
    Ok(())
}

/// `crash kill`: a row for each policy and moment, and every finding.
///
/// # Errors
/// A wrong command line, or what [`run`] reports.
pub(super) fn survey(mut args: Args, survey: &mut Survey) -> Result<(), Box<dyn std::error::Error>> {
    let tolerates_leftovers = args.flag("--tolerate-leftovers");
    let policies = match args.text("--policies")? {
        None => Policy::PROMISING.to_vec(),
        Some(text) => {
            Args::new(["--policies".into(), text]).choices("--policies", &Policy::ALL, Policy::name)?
        }
    };
    let mut config = read_config(&mut args)?;
    args.finish()?;
    config.families = super::known_families(&config.launch, config.families, survey)?;
    if config.moments.contains(&Moment::Backup)
        && let Some(missing) = super::missing_command(&config.launch, backup::COMMAND)?
    {
        survey.skip("kills during a backup", &missing)?;
        config.moments.retain(|moment| *moment != Moment::Backup);
    }
    survey.begin(&parameters(&config), &KILL_COLUMNS)?;
    for policy in policies {
        for (moment, report) in run_by_moment(&Config { policy, ..config.clone() })? {
            survey.row(&[policy.name(), moment.name()], report.outcome())?;
            let is_excused = |finding: &&Finding| {
                tolerates_leftovers && matches!(finding.violation, Violation::Leftovers(_))
            };
            for Finding { round, moment, violation } in report.findings.iter().filter(|f| !is_excused(f)) {
                survey.finding(format!(
                    "{}, round {round}, {}: {violation}",
                    policy.name(),
                    moment.name()
                ))?;
            }
        }
    }
    Ok(())
}

fn read_config(args: &mut Args) -> Result<Config, UsageError> {
    let defaults = Config::new(super::read_launch(args)?, Policy::Always);
    let config = Config {
        rounds: args.number("--rounds", defaults.rounds)?,
        seed: args.number("--seed", defaults.seed)?,
        clients: args.number("--clients", defaults.clients)?,
        pipeline: args.number("--pipeline", defaults.pipeline)?,
        ballast: args.number("--ballast", defaults.ballast)?,
        families: args.choices("--families", Family::VARIANTS, Family::name)?,
        moments: args.choices("--moments", Moment::VARIANTS, Moment::name)?,
        ..defaults
    };
    if config.families.iter().all(|family| family.is_composed()) {
        return Err(UsageError("--families multi,scripts need another family to be composed of".into()));
    }
    if config.clients == 0 || config.pipeline == 0 {
        return Err(UsageError("--clients and --pipeline must be at least 1".into()));
    }
    Ok(config)
}

fn parameters(config: &Config) -> String {
    let names = |names: Vec<&str>| names.join(",");
    format!(
        "crash kill: server {}, seed {}, clients {}, pipeline {}, ballast {} keys, families {}, moments {}",
        config.launch.command.name,
        config.seed,
        config.clients,
        config.pipeline,
        config.ballast,
        names(config.families.iter().map(|family| family.name()).collect()),
        names(config.moments.iter().map(|moment| moment.name()).collect()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ServerCommand;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn config(policy: Policy) -> Option<Config> {
        let command = ServerCommand::stock_redis()?;
        let mut config = Config::new(Launch::new(command), policy);
        config.moments.retain(|moment| *moment != Moment::Backup);
        config.families.retain(|family| *family != Family::Fields);
        Some(Config { rounds: 5, clients: 2, ballast: 2000, ..config })
    }

    fn check_stock(config: Config, is_expected: impl Fn(&Report) -> bool) {
        let report = run(&config).unwrap();
        assert!(is_expected(&report), "{report:#?}");
        assert_eq!(report.rounds, config.rounds);
        assert!(report.acknowledged > 0);
    }

    /// The judge must not accuse a server that keeps its word.
    #[test]
    fn stock_redis_with_always_loses_nothing() {
        let Some(config) = config(Policy::Always) else { return };
        check_stock(config, |report| report.state_violations() + report.refused_starts() == 0);
    }

    /// The judge must accuse a server that does not: nothing is written to disk, so every round loses.
    #[test]
    fn a_server_without_an_aof_is_found_out_in_every_round() {
        let Some(config) = config(Policy::Off) else { return };
        let config = Config { moments: vec![Moment::Any], ..config };
        check_stock(config, |report| report.state_violations() >= report.rounds as usize);
    }

    /// A server that acknowledges too early: half of what it logged in the round is cut off afterwards.
    #[test]
    fn a_cut_of_acknowledged_bytes_is_a_loss() {
        let Some(config) = config(Policy::Always) else { return };
        let config = Config { clients: 1, pipeline: 1, families: vec![Family::Strings], ..config };
        let mut scene = Scene::open(&config).unwrap();
        let log = incremental_log(&scene.server.data_dir());
        let size_before = fs::metadata(&log).unwrap().len();
        let mut rng = Rng::new(1);
        let mut report = Report::default();
        let (reached, _) = scene.write_until_killed(&config, Moment::Any, &mut rng, &mut report).unwrap();
        let size_after = fs::metadata(&log).unwrap().len();
        let writable = fs::OpenOptions::new().write(true).open(&log).unwrap();
        writable.set_len(size_before.midpoint(size_after)).unwrap();
        scene.server.restart().unwrap();
        let violations = scene.judge(&config, &reached, &mut report).unwrap();
        assert!(matches!(violations[..], [Violation::Lost { .. }, ..]), "{violations:?}");
    }

    fn incremental_log(data_dir: &Path) -> PathBuf {
        let files = fs::read_dir(data_dir.join("appendonlydir")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).last().unwrap()
    }
}
