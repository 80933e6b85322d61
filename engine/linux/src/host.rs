//! The loop: one thread that feeds the engine and performs what it asks.
//!
//! One iteration: wait → completions, children, signals, sockets → `turn` → effects → output. Everything that
//! happened is handed in before the turn, so one turn, one append and one sync serve all clients that were ready.
//!
//! Always true: effects are begun in order; nothing here waits for a disk except `Save`, `load` and a small append
//! into the page cache of a file nobody is writing or syncing; no allocation per request.
//!
//! Not here: how bytes and files move (`readiness.rs`, `workers.rs`), what anything means (the engine).

use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use perdura_core::host::{
    ClientId, Completion, Effect, Effects, Engine, FileId, SnapshotJob, Ticket, TlsSettings,
};
use perdura_core::time::Now;

use crate::child::{self, Child, News};
use crate::connections::{Connection, Connections, Slot};
use crate::files::{DirLock, LinuxDisk};
use crate::io_threads::IoThreads;
use crate::listen::{Listeners, Ports, describe};
use crate::process::{self, OomScore, PidFile};
use crate::readiness::{self, Event, Interest, Received, Sockets};
use crate::settings::HostSettings;
use crate::signals::{self, Signals};
use crate::tls::{Heard, TlsAcceptor};
use crate::workers::Workers;
use crate::{clock, facts, sys};

/// Connections taken from one listener per iteration, so that a flood of them does not starve clients.
const ACCEPTS_MAX: usize = 1000;
/// Bytes written to one client per iteration, so that one large reply does not starve the others.
const SEND_BYTES_MAX: usize = 1024 * 1024;
/// Largest append done by the loop itself; copying more takes longer than a thread switch.
const INLINE_APPEND_BYTES_MAX: usize = 256 * 1024;
/// Turns in a row that inline appends may call for before sockets are looked at again.
const TURNS_MAX: usize = 4;

/// Runs an engine until it asks to leave; the exit status of the process.
///
/// To be called on the main thread, before any other thread exists: it may fork into the background.
pub fn run<E: Engine>(engine: E, settings: HostSettings) -> i32 {
    match Host::start(engine, settings) {
        Ok(mut host) => host.run(),
        Err(problem) => {
            tracing::error!("{problem}");
            1
        }
    }
}

struct Host<E> {
    engine: E,
    oom_score: OomScore,
    settings: HostSettings,
    now: Now,
    sockets: Box<dyn Sockets>,
    listeners: Listeners,
    connections: Connections,
    disk: LinuxDisk,
    workers: Workers,
    children: Vec<Child>,
    signals: Option<Signals>,
    /// Wishes not yet performed, and a second buffer so that performing may add more.
    effects: Effects,
    effects_spare: Effects,
    /// How many of `effects` are known to be able to wait for the end of the turn.
    effects_patient: usize,
    /// Completions of effects performed by the loop itself, and those taken from the workers.
    completions: Vec<Completion>,
    events: Vec<Event>,
    /// What TLS connections are made from, where there is a TLS port.
    tls: Option<TlsAcceptor>,
    /// What the encrypted bytes just received mean.
    decrypted: Vec<u8>,
    send_due: Vec<Slot>,
    exit_status: Option<i32>,
    /// Held, not looked at.
    dir_lock: Option<DirLock>,
    _pid_file: Option<PidFile>,
}

impl<E: Engine> Host<E> {
    /// Prepares the process and opens everything; the error is a line for the log.
    fn start(engine: E, settings: HostSettings) -> Result<Host<E>, String> {
        let pid_file = prepare_process(&settings)?;
        let in_words = |what: &'static str| move |error: io::Error| format!("{what}: {}", describe(&error));
        let disk = LinuxDisk::open(&settings.dir).map_err(in_words("Can't open the data directory"))?;
        let signals = if settings.catch_signals {
            Some(Signals::catch(&settings.crash_log).map_err(in_words("Can't catch signals"))?)
        } else {
            None
        };
        let dir_lock = lock_dir(&disk, settings.refuse_shared_dir)?;
        let sync_delay = Duration::from_micros(settings.sync_delay_us);
        let mut host = Host {
            engine,
            now: clock::now(),
            sockets: open_sockets(&settings).map_err(in_words("Can't wait for sockets"))?,
            listeners: Listeners::new(settings.tcp_backlog, settings.tcp_keepalive),
            connections: Connections::default(),
            disk,
            workers: Workers::start(sync_delay, settings.bio_cpulist.as_deref())
                .map_err(in_words("Can't start the worker threads"))?,
            children: Vec::new(),
            signals,
            effects: Vec::new(),
            effects_spare: Vec::new(),
            effects_patient: 0,
            completions: Vec::new(),
            events: Vec::new(),
            tls: None,
            decrypted: Vec::new(),
            send_due: Vec::new(),
            exit_status: None,
            dir_lock,
            _pid_file: pid_file,
            oom_score: OomScore::default(),
            settings,
        };
        if let Err(error) = host.oom_score.adjust(host.settings.oom_score_adj) {
            tracing::warn!("Can't set oom_score_adj: {}", describe(&error));
        }
        facts::note_multiplexing(host.sockets.name());
        host.watch_own_descriptors().map_err(in_words("Can't watch for events"))?;
        host.open_listeners()?;
        // Whoever reads this may connect, and is told that the data set is loading.
        tracing::info!("Server initialized");
        Ok(host)
    }

    fn watch_own_descriptors(&mut self) -> io::Result<()> {
        self.sockets.watch(self.workers.doorbell(), Token::Workers.encode())?;
        if let Some(signals) = &self.signals {
            self.sockets.watch(signals.doorbell(), Token::Signals.encode())?;
        }
        Ok(())
    }

    fn open_listeners(&mut self) -> Result<(), String> {
        let (bind, port) = (mem::take(&mut self.settings.bind), self.settings.port);
        let tls = mem::take(&mut self.settings.tls);
        let result = self.listen_tcp(&bind, port, &tls);
        self.settings.bind = bind;
        result.map_err(|why| match tls.port {
            0 => format!("{why}. Failed listening on port {port} (tcp), aborting."),
            tls_port => {
                format!("{why}. Failed listening on port {port} (tcp) or {tls_port} (tls), aborting.")
            }
        })?;
        if let Some(path) = &self.settings.unixsocket {
            self.listeners
                .listen_unix(path, self.settings.unixsocketperm)
                .map_err(|error| format!("Failed opening Unix socket {path}: {}", describe(&error)))?;
            self.watch_listeners();
        }
        if self.listeners.iter().next().is_none() {
            return Err("Configured to not listen anywhere, exiting.".into());
        }
        Ok(())
    }

    /// Reads certificates first: where they are bad, nothing has changed.
    fn listen_tcp(&mut self, bind: &[String], port: u16, tls: &TlsSettings) -> Result<(), String> {
        let acceptor = TlsAcceptor::new(tls)?;
        let ports = Ports { plain: port, tls: tls.port };
        let result = self.listeners.listen_tcp(bind, ports, |closed| self.sockets.forget(closed.fd()));
        if result.is_ok() {
            self.tls = acceptor;
        }
        self.watch_listeners();
        result
    }

    fn watch_listeners(&mut self) {
        for listener in self.listeners.iter() {
            // One that is watched already answers EEXIST, and stays so.
            let _ = self.sockets.watch(listener.fd(), Token::Listener(listener.id).encode());
        }
    }

    fn run(&mut self) -> i32 {
        loop {
            self.wait();
            self.now = clock::now();
            self.deliver_completions();
            self.take_in_events();
            self.load_slice();
            self.end_turn();
            self.write_outputs();
            if let Some(status) = self.exit_status {
                self.leave();
                return status;
            }
        }
    }

    fn wait(&mut self) {
        let is_busy = !self.completions.is_empty() || !self.effects.is_empty() || self.engine.is_loading();
        let timeout_us = match self.engine.wake_at() {
            _ if is_busy => Some(0),
            u64::MAX => None,
            wake_at => Some(wake_at.saturating_sub(clock::now().mono_us)),
        };
        self.sockets.wait(timeout_us, &mut self.events).expect("waiting works as long as it is open");
    }

    fn take_in_events(&mut self) {
        let events = mem::take(&mut self.events);
        for event in &events {
            match Token::decode(event.token) {
                Token::Connection(slot) => self.handle_connection(slot, event),
                Token::Listener(id) => self.accept(id),
                Token::Workers => {
                    self.workers.clear_doorbell();
                    self.workers.take_completions(&mut self.completions);
                    self.deliver_completions();
                }
                Token::Child(pid) => self.handle_child(pid),
                Token::Signals => self.handle_signals(),
            }
            self.perform_urgent();
            if self.exit_status.is_some() {
                break; // Nothing may be taken in any more: nobody would keep it.
            }
        }
        self.events = events;
    }

    fn handle_connection(&mut self, slot: Slot, event: &Event) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if event.is_writable {
            mark_send_due(connection, slot, &mut self.send_due);
        }
        if !connection.is_read() {
            if event.is_hung_up {
                self.disconnect(slot);
            }
            return;
        }
        if !event.is_readable && !event.is_hung_up {
            return;
        }
        match self.sockets.receive(connection.fd.as_fd(), connection.receive_len()) {
            Received::Bytes(bytes) => {
                connection.received(bytes.len());
                match &mut connection.tls {
                    None => self.engine.receive(self.now, connection.client, bytes, &mut self.effects),
                    Some(tls) => {
                        self.decrypted.clear();
                        let heard = tls.take_in(bytes, &mut self.decrypted);
                        self.take_decrypted(slot, heard);
                    }
                }
            }
            Received::Nothing => {}
            Received::End => self.end_input(slot),
            Received::Broken => self.disconnect(slot),
        }
    }

    /// Hands the engine what was decrypted, and sees to what TLS itself has to say.
    fn take_decrypted(&mut self, slot: Slot, heard: Heard) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !self.decrypted.is_empty() {
            self.engine.receive(self.now, connection.client, &self.decrypted, &mut self.effects);
        }
        if connection.has_outgoing() {
            mark_send_due(connection, slot, &mut self.send_due);
        }
        match heard {
            Heard::Open => {}
            Heard::End => self.end_input(slot),
            Heard::Broken => {
                // Why, as far as the socket takes it at once.
                let _ = connection.flush(&mut *self.sockets);
                self.sockets.flush();
                self.disconnect(slot);
            }
        }
    }

    /// The other end sends nothing more; it may still read replies that have not left.
    fn end_input(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let client = connection.client;
        let is_owed = self.engine.is_holding(client)
            || !self.engine.output(client).is_empty()
            || connection.is_sending(&*self.sockets);
        if is_owed { self.close_when_sent(slot) } else { self.disconnect(slot) }
    }

    fn accept(&mut self, listener: u32) {
        for _ in 0..ACCEPTS_MAX {
            let Some(accepted) = self.listeners.accept(listener) else { return };
            let tls = match (accepted.is_tls, &self.tls) {
                (false, _) => None,
                (true, Some(acceptor)) => match acceptor.accept() {
                    Some(tls) => Some(tls),
                    None => continue,
                },
                (true, None) => continue, // The port is being closed.
            };
            let slot = self.connections.reserve();
            let token = Token::Connection(slot).encode();
            if let Err(error) = self.sockets.open(accepted.fd.as_fd(), token) {
                tracing::warn!("Can't watch a new connection: {}", describe(&error));
                self.connections.release(slot);
                continue;
            }
            let client = self.engine.connect(self.now, accepted.peer, &mut self.effects);
            self.connections.insert(slot, Connection::new(client, accepted.fd, tls));
        }
    }

    /// Takes a connection out and says so to the engine. Harmless for one that is gone.
    fn disconnect(&mut self, slot: Slot) {
        if self.connections.get_mut(slot).is_none() {
            return;
        }
        if let Some(connection) = self.connections.release(slot) {
            self.sockets.forget(connection.fd.as_fd());
            self.engine.disconnect(self.now, connection.client, &mut self.effects);
        }
    }

    fn handle_child(&mut self, pid: u32) {
        let Some(index) = self.children.iter().position(|child| child.pid as u32 == pid) else { return };
        let ticket = self.children[index].ticket;
        for news in self.children[index].take_news() {
            let cow_size = self.children[index].cow_size;
            match news {
                News::Progress { keys } => {
                    self.completions.push(Completion::ChildProgress { ticket, keys, cow_size });
                }
                News::Ended(end) => {
                    self.completions.push(Completion::ChildEnded { ticket, end, cow_size });
                    let child = self.children.remove(index);
                    self.sockets.forget(child.pipe());
                    break;
                }
            }
        }
        self.deliver_completions();
    }

    fn handle_signals(&mut self) {
        let Some(signals) = &self.signals else { return };
        for signal in signals.take() {
            self.engine.signal(self.now, signal, &mut self.effects);
        }
    }

    fn deliver_completions(&mut self) {
        if self.completions.is_empty() {
            return;
        }
        let mut completions = mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            if is_failed_write(&completion) {
                // What was asked for before the engine knew of the failure must not follow it into the file.
                self.perform_effects();
                self.workers.failure_told(&completion);
            }
            self.engine.complete(self.now, completion, &mut self.effects);
            self.perform_urgent();
        }
        // Urgent effects may have completed meanwhile.
        completions.append(&mut self.completions);
        self.completions = completions;
    }

    fn load_slice(&mut self) {
        if self.engine.is_loading() {
            self.engine.load(self.now, &mut self.disk, &mut self.effects);
        }
    }

    /// Lets the engine end its turn; again where its own appends have completed meanwhile, so that the replies
    /// waiting for them leave in this iteration.
    fn end_turn(&mut self) {
        for turn in 1.. {
            self.now = clock::now();
            self.engine.turn(self.now, &mut self.effects);
            self.perform_effects();
            if self.completions.is_empty() || turn == TURNS_MAX || self.exit_status.is_some() {
                return;
            }
            self.deliver_completions();
        }
    }

    /// Performs everything now if something is asked for that may not wait for the end of the turn: a snapshot must
    /// not see input that comes after it was asked for, nor may a server that is leaving take any.
    fn perform_urgent(&mut self) {
        let is_urgent = |effect: &Effect| {
            use Effect::{Die, Exit, Fork, Restart, Save, Sleep};
            matches!(effect, Fork(_) | Save(_) | Sleep { .. } | Exit(_) | Restart | Die(_))
        };
        if self.effects[self.effects_patient..].iter().any(is_urgent) {
            self.perform_effects();
        } else {
            self.effects_patient = self.effects.len();
        }
    }

    fn perform_effects(&mut self) {
        self.effects_patient = 0;
        while !self.effects.is_empty() && self.exit_status.is_none() {
            let mut batch = mem::replace(&mut self.effects, mem::take(&mut self.effects_spare));
            for effect in batch.drain(..) {
                self.perform(effect);
                if self.exit_status.is_some() {
                    break;
                }
            }
            self.effects_spare = batch;
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send(client) => self.send_later(client),
            Effect::Close { client, now } => self.close(client, now),
            Effect::PauseReading { client, pause } => self.pause_reading(client, pause),
            Effect::Append { file, bytes } => self.append(file, bytes),
            Effect::Sync { file } => self.workers.sync(file, &self.disk),
            Effect::Files { ticket, steps } => self.workers.run_steps(ticket, steps, &self.disk),
            Effect::Fork(job) => self.fork(&job),
            Effect::Save(job) => {
                let result = child::save_here(&self.engine, &job, &self.disk);
                self.completions.push(Completion::Saved { ticket: job.ticket, result });
            }
            Effect::Backup(job) => self.workers.back_up(job, E::back_up, &self.disk),
            Effect::Exchange(exchange) => self.workers.exchange(exchange),
            Effect::MeasureSpace => self.workers.measure_space(&self.disk),
            Effect::KillChild(ticket) => self.kill_child(ticket),
            Effect::ChangeDir(path) => {
                let result = self.change_dir(&path).map_err(|error| sys::errno(&error));
                self.completions.push(Completion::DirChanged(result));
            }
            Effect::Listen { bind, port, tls } => {
                let result = self.listen_tcp(&bind, port, &tls);
                if let Err(why) = &result {
                    tracing::warn!("{why}");
                }
                self.completions.push(Completion::Listening(result));
            }
            Effect::KeepAlive { seconds } => self.listeners.keep_alive(seconds),
            Effect::AdjustOomScore(scores) => {
                let result = self.oom_score.adjust(scores).map_err(|error| sys::errno(&error));
                self.completions.push(Completion::OomScoreAdjusted(result));
            }
            Effect::ReadConfig { path } => {
                let result = std::fs::read_to_string(path).map_err(|error| sys::errno(&error));
                self.completions.push(Completion::ConfigRead(result));
            }
            Effect::WriteConfig { path, text } => self.workers.write_config(path, text, &self.disk),
            Effect::Sleep { us } => thread::sleep(Duration::from_micros(us)),
            Effect::Exit(status) => self.exit_status = Some(status),
            Effect::Die(signal) => signals::die(signal),
            Effect::Restart => self.restart(),
        }
    }

    fn send_later(&mut self, client: ClientId) {
        let Some(slot) = self.connections.slot_of(client) else { return };
        if let Some(connection) = self.connections.get_mut(slot) {
            mark_send_due(connection, slot, &mut self.send_due);
        }
    }

    fn close(&mut self, client: ClientId, now: bool) {
        let Some(slot) = self.connections.slot_of(client) else { return };
        if now { self.disconnect(slot) } else { self.close_when_sent(slot) }
    }

    fn close_when_sent(&mut self, slot: Slot) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.is_closing = true;
            mark_send_due(connection, slot, &mut self.send_due);
            self.update_interest(slot, false);
        }
    }

    fn pause_reading(&mut self, client: ClientId, pause: bool) {
        let Some(slot) = self.connections.slot_of(client) else { return };
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.is_paused = pause;
            let write = connection.interest.write;
            self.update_interest(slot, write);
        }
    }

    /// Watches a connection for what is wanted of it now, if that is something else than before.
    fn update_interest(&mut self, slot: Slot, write: bool) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let interest = Interest { read: connection.is_read(), write };
        if interest != connection.interest {
            connection.interest = interest;
            let token = Token::Connection(slot).encode();
            if self.sockets.change(connection.fd.as_fd(), token, interest).is_err() {
                self.disconnect(slot);
            }
        }
    }

    /// Appends at once where that is a copy into the page cache; behind the writer where the file is busy. While a
    /// child runs its own sync can hold up any write to the same file system, so the loop keeps away from it.
    fn append(&mut self, file: FileId, bytes: Bytes) {
        let is_quick = bytes.len() <= INLINE_APPEND_BYTES_MAX && self.children.is_empty();
        if !is_quick || !self.workers.is_idle(file) {
            return self.workers.append(file, bytes, &self.disk);
        }
        let (written, error) = self.disk.append(file, &bytes);
        if let Some(error) = &error {
            self.workers.append_failed(file, error);
        }
        // The file is idle, but completions of its earlier work may still wait to be taken: they come first.
        self.workers.take_completions(&mut self.completions);
        self.completions.push(Completion::Appended { file, written, error });
    }

    fn fork(&mut self, job: &SnapshotJob) {
        let begun_us = clock::now().mono_us;
        let result = Child::start(&self.engine, job, &self.disk, &self.settings, self.oom_score.of_child());
        let elapsed_us = clock::now().mono_us - begun_us;
        let result = result.map(|child| {
            let pid = child.pid;
            let token = Token::Child(pid as u32).encode();
            self.sockets.watch(child.pipe(), token).expect("a new pipe can be watched");
            self.children.push(child);
            pid
        });
        self.completions.push(Completion::Forked { ticket: job.ticket, result, elapsed_us });
    }

    fn kill_child(&mut self, ticket: Ticket) {
        if let Some(child) = self.children.iter().find(|child| child.ticket == ticket) {
            child.kill();
        }
    }

    fn change_dir(&mut self, path: &str) -> io::Result<String> {
        let before = std::env::current_dir()?;
        std::env::set_current_dir(path)?;
        let result = self.disk.move_to(".").and_then(|()| std::env::current_dir());
        match result {
            Ok(dir) => {
                self.dir_lock = None;
                // Another server there is worth a warning, which lock_dir gives; it cannot refuse here.
                self.dir_lock = lock_dir(&self.disk, false).unwrap_or(None);
                Ok(dir.to_string_lossy().into_owned())
            }
            Err(error) => {
                std::env::set_current_dir(before)?;
                Err(error)
            }
        }
    }

    fn restart(&mut self) {
        self.write_outputs();
        self.sockets.flush();
        let error = process::restart(&self.settings);
        tracing::error!("Can't restart: {}", describe(&error));
        self.exit_status = Some(1);
    }

    fn write_outputs(&mut self) {
        let mut send_due = mem::take(&mut self.send_due);
        for slot in send_due.drain(..) {
            self.write_output(slot);
        }
        // What `write_output` found due again comes next time.
        send_due.append(&mut self.send_due);
        self.send_due = send_due;
    }

    /// Sends what may go to one client, and watches for room if the kernel did not take it all.
    fn write_output(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.is_send_due = false;
        if connection.flush(&mut *self.sockets).is_err() {
            return self.disconnect(slot);
        }
        let mut total = 0;
        loop {
            let output = self.engine.output(connection.client);
            if output.is_empty() {
                break;
            }
            if total >= SEND_BYTES_MAX {
                return self.update_interest(slot, true);
            }
            let len = output.len();
            let Ok(count) = connection.send(&mut *self.sockets, output) else {
                return self.disconnect(slot);
            };
            if count > 0 {
                self.engine.sent(self.now, connection.client, count, &mut self.effects);
            }
            if count < len {
                return self.update_interest(slot, true);
            }
            total += count;
        }
        let is_over = connection.is_closing && !self.engine.is_holding(connection.client);
        if is_over && let Some(tls) = &mut connection.tls {
            tls.say_goodbye();
            if connection.flush(&mut *self.sockets).is_err() {
                return self.disconnect(slot);
            }
        }
        let is_sending = connection.is_sending(&*self.sockets);
        if connection.has_outgoing() || is_sending && connection.is_closing {
            self.update_interest(slot, true);
        } else if is_over {
            self.disconnect(slot);
        } else if connection.interest.write {
            self.update_interest(slot, false);
        }
    }

    /// Sends what sockets still take, and cleans up.
    fn leave(&mut self) {
        for slot in self.connections.slots() {
            self.write_output(slot);
        }
        self.sockets.flush();
        self.listeners.remove_unix_path();
    }
}

fn open_sockets(settings: &HostSettings) -> io::Result<Box<dyn Sockets>> {
    match settings.io_threads {
        0 | 1 => readiness::sockets(settings.io_uring),
        count => Ok(Box::new(IoThreads::start(count - 1, settings.io_uring)?)),
    }
}

fn is_failed_write(completion: &Completion) -> bool {
    matches!(
        completion,
        Completion::Appended { error: Some(_), .. } | Completion::Files { error: Some(_), .. }
    )
}

fn mark_send_due(connection: &mut Connection, slot: Slot, send_due: &mut Vec<Slot>) {
    if !connection.is_send_due {
        connection.is_send_due = true;
        send_due.push(slot);
    }
}

/// Everything about the process as a whole, in the order in which it has to be done.
fn prepare_process(settings: &HostSettings) -> Result<Option<PidFile>, String> {
    if settings.daemonize {
        process::daemonize().map_err(|error| format!("Can't daemonize: {}", describe(&error)))?;
    }
    process::tie_to_cpus(settings.server_cpulist.as_deref());
    if settings.disable_thp {
        // Kernels without huge pages refuse, and have nothing to disable.
        let _ = sys::disable_huge_pages();
    }
    let pid_file = settings.pidfile.as_deref().map(PidFile::write).transpose();
    Ok(pid_file.unwrap_or_else(|error| {
        tracing::warn!("Can't write the pid file: {}", describe(&error));
        None
    }))
}

/// Locks the directory against a second server; refused only where that is wanted.
fn lock_dir(disk: &LinuxDisk, refuse: bool) -> Result<Option<DirLock>, String> {
    match disk.lock_dir() {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let problem =
                "Another server is using this data directory; both would overwrite each other's files";
            if refuse {
                return Err(problem.into());
            }
            tracing::warn!("{problem}");
            Ok(None)
        }
        Err(error) => {
            tracing::warn!("Can't lock the data directory: {}", describe(&error));
            Ok(None)
        }
    }
}

/// Whose event it is, as one number: kind in 8 bits, generation in 24, index in 32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token {
    Connection(Slot),
    Listener(u32),
    Workers,
    Signals,
    Child(u32),
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, generation, index) = match self {
            Token::Connection(slot) => (0, slot.generation, slot.index),
            Token::Listener(id) => (1, 0, id),
            Token::Workers => (2, 0, 0),
            Token::Signals => (3, 0, 0),
            Token::Child(pid) => (4, 0, pid),
        };
        kind << 56 | u64::from(generation) << 32 | u64::from(index)
    }

    fn decode(token: u64) -> Token {
        let index = token as u32;
        match token >> 56 {
            0 => Token::Connection(Slot { index, generation: (token >> 32) as u32 }),
            1 => Token::Listener(index),
            2 => Token::Workers,
            3 => Token::Signals,
            _ => Token::Child(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::GENERATION_MASK;

    #[test]
    fn tokens_survive_the_kernel() {
        let check = |token: Token| assert_eq!(Token::decode(token.encode()), token);
        check(Token::Connection(Slot { index: 0, generation: 0 }));
        check(Token::Connection(Slot { index: u32::MAX, generation: GENERATION_MASK }));
        check(Token::Listener(7));
        check(Token::Workers);
        check(Token::Signals);
        check(Token::Child(4_194_304));
    }
}
