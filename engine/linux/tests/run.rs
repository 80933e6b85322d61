//! The loop with a toy engine: connections, order of disk work, snapshot children, signals.

mod toy;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use perdura_core::host::*;
use toy::*;

// --- connections ---

#[test]
fn a_pipeline_is_answered_in_order() {
    let server = Server::start();
    let mut stream = server.connect();
    let lines: String = (0..10_000).map(|n| format!("line {n}\r\n")).collect();
    stream.write_all(lines.as_bytes()).unwrap();
    assert_eq!(read_exactly(&mut stream, lines.len()), lines);
}

#[test]
fn many_clients_are_served_in_turn() {
    let server = Server::start();
    let mut streams: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for _ in 0..5 {
        for stream in &mut streams {
            stream.write_all(b"PING\r\n").unwrap();
        }
        for stream in &mut streams {
            assert_eq!(read_exactly(stream, 7), "+PONG\r\n");
        }
    }
}

#[test]
fn a_value_larger_than_any_buffer_comes_through() {
    let server = Server::start();
    let mut stream = server.connect();
    let line = "y".repeat(8 * 1024 * 1024) + "\r\n";
    let mut writer = stream.try_clone().unwrap();
    let sent = line.clone();
    let thread = std::thread::spawn(move || writer.write_all(sent.as_bytes()).unwrap());
    assert_eq!(read_exactly(&mut stream, line.len()), line);
    thread.join().unwrap();
}

/// Risk: a reader that does not read blocks the loop, or loses bytes when the kernel's buffer has room again.
/// Noticed: the second client gets no answer, or the first gets fewer bytes than it asked for.
#[test]
fn a_slow_reader_gets_everything_and_holds_up_nobody() {
    let server = Server::start();
    let mut slow = server.connect();
    slow.write_all(b"BIG 40000000\r\nPING\r\n").unwrap();
    let mut quick = server.connect();
    for _ in 0..100 {
        assert_eq!(ask(&mut quick, "PING", 7), "+PONG\r\n");
    }
    let reply = read_exactly(&mut slow, 40_000_007);
    assert!(reply.as_bytes()[..40_000_000].iter().all(|&byte| byte == b'x'));
    assert!(reply.ends_with("+PONG\r\n"));
}

#[test]
fn close_waits_for_the_output_and_reads_no_further() {
    let server = Server::start();
    let mut stream = server.connect();
    stream.write_all(b"BIG 10000000\r\nQUIT\r\n").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(reply.len(), 10_000_005);
    server.hear_until(Told::Disconnected);
}

#[test]
fn a_closing_connection_stays_for_replies_that_are_held() {
    let server = Server::start();
    let mut leaving = server.connect();
    leaving.write_all(b"HOLD\r\nQUIT\r\n").unwrap();
    let mut half_closed = server.connect();
    half_closed.write_all(b"HOLD\r\n").unwrap();
    half_closed.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_exactly(&mut leaving, 5), "+OK\r\n");
    assert_eq!(ask(&mut server.connect(), "PING", 7), "+PONG\r\n");
    server.perform([sync()]);
    for stream in [&mut leaving, &mut half_closed] {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "+HELD\r\n");
    }
}

#[test]
fn a_half_closed_connection_without_held_replies_ends() {
    let server = Server::start();
    let mut stream = server.connect();
    stream.write_all(b"PING\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "+PONG\r\n");
    server.hear_until(Told::Disconnected);
}

#[test]
fn close_now_does_not_wait() {
    let server = Server::start();
    let mut stream = server.connect();
    stream.write_all(b"BIG 40000000\r\nDROP\r\n").unwrap();
    let mut reply = Vec::new();
    // Unread input turns the end into a reset; both are ends.
    if let Err(error) = stream.read_to_end(&mut reply) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(reply.len() < 40_000_000);
    server.hear_until(Told::Disconnected);
}

#[test]
fn a_client_that_leaves_is_reported_once() {
    let server = Server::start();
    let mut stream = server.connect();
    ask(&mut stream, "PING", 7);
    let Told::Connected(peer) = server.hear() else { panic!("first news is the connection") };
    assert_eq!(peer.address, stream.local_addr().unwrap().to_string());
    drop(stream);
    assert_eq!(server.hear(), Told::Disconnected);
    // Effects for it are harmless, and bring no second report.
    let client = ClientId(1);
    server.wish([Effect::Send(client), Effect::Close { client, now: true }]);
    server.perform([Effect::Sync { file: FileId(1) }]);
}

#[test]
fn a_paused_client_is_not_read_until_it_goes_on() {
    let server = Server::start();
    let mut stream = server.connect();
    ask(&mut stream, "PING", 7);
    server.wish([Effect::PauseReading { client: ClientId(1), pause: true }]);
    server.perform([Effect::Sync { file: FileId(1) }]); // Two iterations later the pause stands.
    stream.write_all(b"PING\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    server.wish([Effect::PauseReading { client: ClientId(1), pause: false }]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(read_exactly(&mut stream, 7), "+PONG\r\n");
}

#[test]
fn a_paused_client_that_resets_is_noticed() {
    let server = Server::start();
    let mut stream = server.connect();
    ask(&mut stream, "BIG 1000000", 1); // Closing with unread input makes it a reset.
    server.wish([Effect::PauseReading { client: ClientId(1), pause: true }]);
    server.perform([Effect::Sync { file: FileId(1) }]);
    drop(stream);
    server.hear_until(Told::Disconnected);
}

#[test]
fn unix_socket_has_its_permissions_and_goes_with_the_server() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let path = dir.path.join("perdura.sock");
    let path_text = path.to_str().unwrap().to_owned();
    let server = Server::start_with(ToyEncoder::of(1), |settings| {
        settings.port = 0;
        settings.unixsocket = Some(path_text.clone());
        settings.unixsocketperm = Some(0o700);
    });
    let mut stream = wait_for("the socket", || UnixStream::connect(&path).ok());
    assert_eq!(ask(&mut stream, "PING", 7), "+PONG\r\n");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let Told::Connected(peer) = server.hear() else { panic!("first news is the connection") };
    assert!(peer.is_unix && peer.is_local);
    assert_eq!(peer.address, format!("{path_text}:0"));
    assert_eq!(server.stop(7), 7);
    assert!(!path.exists());
}

#[test]
fn listeners_are_exchanged_while_clients_stay() {
    let server = Server::start();
    let mut old = server.connect();
    let port = free_port();
    let (bind, tls) = (vec!["127.0.0.1".into(), "-::1".into()], TlsSettings::default());
    let done = server.perform([Effect::Listen { bind, port, tls }]);
    assert_eq!(done, [Completion::Listening(Ok(()))]);
    assert_eq!(ask(&mut old, "PING", 7), "+PONG\r\n");
    let mut new = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(ask(&mut new, "PING", 7), "+PONG\r\n");
    let refused = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// Risk: a listener that was closed is held open by the ring, in the way of the next one or taking its place unwatched.
/// Noticed: the port cannot be listened on again, or nobody answers there.
#[test]
fn an_address_gives_way_to_all_addresses_and_back() {
    let server = Server::start();
    let port = free_port();
    for bind in ["127.0.0.1", "*", "127.0.0.1", "*"] {
        let done =
            server.perform([Effect::Listen { bind: vec![bind.into()], port, tls: TlsSettings::default() }]);
        assert_eq!(done, [Completion::Listening(Ok(()))], "{bind}");
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(ask(&mut stream, "PING", 7), "+PONG\r\n", "{bind}");
    }
}

#[test]
fn a_port_in_use_keeps_the_server_from_starting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let server = Server::start_with(ToyEncoder::of(1), |settings| settings.port = port);
    assert_eq!(server.stop(0), 1);
}

#[test]
fn exit_sends_what_is_ready() {
    let server = Server::start();
    let mut stream = server.connect();
    stream.write_all(b"BIG 1000\r\nLEAVE\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "x".repeat(1000) + "+BYE\r\n");
    assert_eq!(server.stop(0), 3);
}

// --- disk work ---

const LOG: FileId = FileId(1);

fn append(text: &str) -> Effect {
    Effect::Append { file: LOG, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn sync() -> Effect {
    Effect::Sync { file: LOG }
}

fn files(ticket: u64, steps: Vec<FileStep>) -> Effect {
    Effect::Files { ticket: Ticket(ticket), steps }
}

fn appended(written: u64) -> Completion {
    Completion::Appended { file: LOG, written, error: None }
}

#[test]
fn appends_and_syncs_complete_in_order() {
    let server = Server::start();
    server.open(LOG, "log");
    let done = server.perform([append("one "), append("two "), append("three")]);
    assert_eq!(done, [appended(4), appended(4), appended(5)]);
    let done = server.perform([sync()]);
    assert!(matches!(done[..], [Completion::Synced { file: LOG, error: None, .. }]), "{done:?}");
    assert_eq!(server.read_file("log"), "one two three");
}

/// Risk: a running sync blocks the loop or the next append, or a later sync is taken for an earlier one.
/// Noticed: a ping takes as long as the sync, or completions come in another order.
#[test]
fn a_slow_sync_holds_up_neither_clients_nor_appends() {
    let sync_delay = Duration::from_millis(300);
    let server = Server::start_with(ToyEncoder::of(1), |settings| {
        settings.sync_delay_us = sync_delay.as_micros() as u64;
    });
    server.open(LOG, "log");
    let mut stream = server.connect();
    ask(&mut stream, "PING", 7);
    let begun = Instant::now();
    server.wish([append("one "), sync(), append("two "), append("three "), sync(), append("four")]);
    assert_eq!(ask(&mut stream, "PING", 7), "+PONG\r\n");
    assert_eq!(server.completion(), appended(4));
    assert_eq!(server.completion(), appended(4));
    assert_eq!(server.completion(), appended(6));
    // All this came while the first sync ran.
    let Completion::Synced { elapsed_us, .. } = server.completion() else { panic!("the first sync ends") };
    assert!(elapsed_us >= 300_000);
    // The last append was asked for after the second sync, and runs beside it.
    assert_eq!(server.completion(), appended(4));
    assert!(matches!(server.completion(), Completion::Synced { error: None, .. }));
    assert!(begun.elapsed() >= 2 * sync_delay);
    assert_eq!(server.read_file("log"), "one two three four");
}

#[test]
fn a_large_append_goes_through_the_writer_and_keeps_its_place() {
    let server = Server::start();
    server.open(LOG, "log");
    let large = "z".repeat(3 * 1024 * 1024);
    let done = server.perform([append("a"), append(&large), append("b")]);
    assert_eq!(done, [appended(1), appended(3 * 1024 * 1024), appended(1)]);
    assert_eq!(server.read_file("log"), format!("a{large}b"));
}

#[test]
fn a_script_waits_for_earlier_work_on_its_files_and_later_work_waits_for_it() {
    let server = Server::start_with(ToyEncoder::of(1), |settings| settings.sync_delay_us = 50_000);
    server.open(LOG, "log");
    let bytes = Bytes::from_static(b"script ");
    let steps = vec![FileStep::Append { file: LOG, bytes }, FileStep::Sync { file: LOG }];
    let done = server.perform([append("one "), sync(), append("two "), files(9, steps), append("three")]);
    assert!(matches!(done[0], Completion::Appended { .. }));
    assert_eq!(done[3], Completion::Files { ticket: Ticket(9), error: None });
    assert_eq!(done[4], appended(5));
    assert_eq!(server.read_file("log"), "one two script three");
}

/// Risk: some interleaving of writer, syncer and scripts breaks the order within a file.
/// Noticed: contents differ from the order asked for, or a completion overtakes one it depends on.
#[test]
fn any_mix_of_work_keeps_its_order_in_each_file() {
    for seed in 1..=6 {
        let server = Server::start_with(ToyEncoder::of(1), |settings| settings.sync_delay_us = 300);
        let mut mix = Mix::new(seed);
        server.open(FileId(0), "0");
        server.open(FileId(1), "1");
        for _ in 0..60 {
            let batch = mix.batch();
            server.wish(batch);
        }
        for _ in 0..mix.asked {
            mix.take_in(server.completion());
        }
        for file in 0..2 {
            assert_eq!(server.read_file(&file.to_string()), mix.expected[file], "seed {seed}");
        }
    }
}

/// Random work on two files, and what must come of it.
struct Mix {
    random: u64,
    asked: u64,
    /// Contents each file must end with.
    expected: [String; 2],
    /// Completions still due for each file, in order.
    due: [VecDeque<Due>; 2],
}

#[derive(PartialEq, Eq, Debug)]
enum Due {
    Append(u64),
    Sync,
    Script(u64),
}

impl Mix {
    fn new(seed: u64) -> Mix {
        Mix { random: seed, asked: 0, expected: Default::default(), due: Default::default() }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    fn batch(&mut self) -> Vec<Effect> {
        (0..=self.below(5)).map(|_| self.effect()).collect()
    }

    fn effect(&mut self) -> Effect {
        self.asked += 1;
        let index = self.below(2) as usize;
        let file = FileId(index as u32);
        // One in eight is too large to be appended by the loop itself.
        let repeat = if self.below(8) == 0 { 40_000 } else { 1 };
        let text = format!("{} ", self.asked).repeat(repeat);
        let bytes = Bytes::from(text.clone());
        match self.below(6) {
            0..=2 => {
                self.due[index].push_back(Due::Append(bytes.len() as u64));
                self.expected[index] += &text;
                Effect::Append { file, bytes }
            }
            3..=4 => {
                self.due[index].push_back(Due::Sync);
                Effect::Sync { file }
            }
            _ => {
                for file in 0..2 {
                    self.due[file].push_back(Due::Script(self.asked));
                    self.expected[file] += &text;
                }
                let append = |file| FileStep::Append { file: FileId(file), bytes: bytes.clone() };
                files(self.asked, vec![append(0), append(1)])
            }
        }
    }

    /// An append or a script must be the first of its kind that is due; all that was due before a sync or a script
    /// must have come. (Appends may overtake a sync that was asked for earlier.)
    fn take_in(&mut self, completion: Completion) {
        match completion {
            Completion::Appended { file, written, error: None } => {
                let due = &mut self.due[file.0 as usize];
                let first = due.iter().position(|due| *due != Due::Sync).expect("an append is due");
                assert_eq!(due.remove(first), Some(Due::Append(written)));
            }
            Completion::Synced { file, error: None, .. } => {
                assert_eq!(self.due[file.0 as usize].pop_front(), Some(Due::Sync));
            }
            Completion::Files { ticket, error: None } => {
                for due in &mut self.due {
                    assert_eq!(due.pop_front(), Some(Due::Script(ticket.0)));
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_script_on_other_files_does_not_wait() {
    let server = Server::start_with(ToyEncoder::of(1), |settings| settings.sync_delay_us = 300_000);
    server.open(LOG, "log");
    let steps = vec![FileStep::CreateDir { path: "dir".into() }, FileStep::SyncDir { path: "".into() }];
    let done = server.perform([append("x"), sync(), files(1, steps)]);
    assert_eq!(done[1], Completion::Files { ticket: Ticket(1), error: None });
    assert!(matches!(done[2], Completion::Synced { .. }));
}

#[test]
fn a_script_stops_at_its_first_failure_and_names_it() {
    let server = Server::start();
    let steps = vec![
        FileStep::CreateDir { path: "a".into() },
        FileStep::Rename { from: "none".into(), to: "b".into() },
        FileStep::CreateDir { path: "c".into() },
    ];
    let done = server.perform([files(5, steps)]);
    let error = IoError { operation: "rename", path: "none".into(), errno: ENOENT };
    assert_eq!(done, [Completion::Files { ticket: Ticket(5), error: Some((1, error)) }]);
    assert!(server.dir.path.join("a").exists() && !server.dir.path.join("c").exists());
}

/// Opens as LOG a name for a device that is always full.
fn open_full(server: &Server) {
    std::os::unix::fs::symlink("/dev/full", server.dir.path.join("full")).unwrap();
    let done = server.perform([files(0, vec![FileStep::OpenAppend { file: LOG, path: "full".into() }])]);
    assert_eq!(done, [Completion::Files { ticket: Ticket(0), error: None }]);
}

fn append_failed() -> Completion {
    let error = IoError { operation: "write", path: "full".into(), errno: ENOSPC };
    Completion::Appended { file: LOG, written: 0, error: Some(error) }
}

#[test]
fn appends_behind_a_failed_one_are_not_tried() {
    let server = Server::start();
    open_full(&server);
    // The second is short enough to fit anywhere: only the rule keeps it out.
    let done = server.perform([append("one"), append(""), append("three")]);
    assert_eq!(done, [append_failed(), append_failed(), append_failed()]);
}

#[test]
fn appends_queued_behind_a_failing_one_are_not_tried() {
    let server = Server::start();
    open_full(&server);
    let large = "z".repeat(1024 * 1024);
    let done = server.perform([append(&large), append(""), append("")]);
    assert_eq!(done, [append_failed(), append_failed(), append_failed()]);
}

#[test]
fn appends_around_a_failing_script_are_not_tried() {
    let server = Server::start();
    open_full(&server);
    let script = |ticket, text: &'static str| {
        files(ticket, vec![FileStep::Append { file: LOG, bytes: Bytes::from_static(text.as_bytes()) }])
    };
    let script_failed = |ticket| {
        let error = IoError { operation: "write", path: "full".into(), errno: ENOSPC };
        Completion::Files { ticket: Ticket(ticket), error: Some((0, error)) }
    };
    let done = server.perform([append("one"), script(1, ""), append("")]);
    assert_eq!(done, [append_failed(), script_failed(1), append_failed()]);
    let done = server.perform([script(2, "two"), append(""), script(3, "")]);
    assert_eq!(done, [script_failed(2), append_failed(), script_failed(3)]);
    assert_eq!(server.perform([append("")]), [appended(0)]);
}

#[test]
fn after_a_failure_was_told_appends_are_tried_again() {
    let server = Server::start();
    open_full(&server);
    assert_eq!(server.perform([append("one")]), [append_failed()]);
    assert_eq!(server.perform([append("")]), [appended(0)]);
    assert_eq!(server.perform([append("one")]), [append_failed()]);
}

#[test]
fn a_failed_sync_is_reported() {
    let server = Server::start();
    open_full(&server);
    let done = server.perform([sync()]);
    let Completion::Synced { error: Some(error), .. } = &done[0] else { panic!("{done:?}") };
    assert_eq!((error.operation, error.errno), ("fdatasync", 22));
}

#[test]
fn config_is_written_off_the_loop() {
    let server = Server::start();
    let path = server.dir.path.join("perdura.conf").to_str().unwrap().to_owned();
    let done = server.perform([Effect::WriteConfig { path, text: "port 1\n".into() }]);
    assert_eq!(done, [Completion::ConfigWritten(Ok(()))]);
    assert_eq!(server.read_file("perdura.conf"), "port 1\n");
    let done =
        server.perform([Effect::WriteConfig { path: "/none/perdura.conf".into(), text: String::new() }]);
    assert_eq!(done, [Completion::ConfigWritten(Err(ENOENT))]);
}

#[test]
fn two_servers_over_one_directory_are_noticed() {
    let server = Server::start();
    server.connect();
    let dir = server.dir.path.to_str().unwrap().to_owned();
    let second = Server::start_with(ToyEncoder::of(1), |settings| {
        settings.dir = dir;
        settings.refuse_shared_dir = true;
    });
    assert_eq!(second.stop(0), 1);
}

// --- snapshots ---

fn job(path: &str, key_delay_us: i64) -> SnapshotJob {
    SnapshotJob {
        ticket: Ticket(7),
        form: SnapshotForm::Rdb,
        path: path.into(),
        key_delay_us,
        now_ms: 0,
        is_last: false,
    }
}

/// Waits until the child is forked; its process id.
fn forked(server: &Server) -> i32 {
    match server.completion() {
        Completion::Forked { ticket: Ticket(7), result: Ok(pid), .. } => pid,
        other => panic!("{other:?}"),
    }
}

fn child_end(server: &Server) -> ChildEnd {
    loop {
        match server.completion() {
            Completion::ChildEnded { ticket: Ticket(7), end, .. } => return end,
            Completion::ChildProgress { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_child_writes_the_snapshot_under_its_own_number() {
    let server = Server::start_with(ToyEncoder::of(100_000), |_| {});
    server.wish([Effect::Fork(job("temp-{pid}.rdb", 0))]);
    let pid = forked(&server);
    let path = format!("temp-{pid}.rdb");
    let contents = ToyEncoder::contents(100_000);
    let written = SnapshotWritten { path: path.clone(), len: contents.len() as u64, keys: 100_000 };
    let end = server.completion();
    let Completion::ChildEnded { end: ChildEnd::Written(end), cow_size, .. } = end else { panic!("{end:?}") };
    assert_eq!(end, written);
    assert!(cow_size > 0);
    assert_eq!(server.read_file(&path), contents);
    assert!(!is_alive(pid));
}

#[test]
fn a_child_that_cannot_write_says_why() {
    let server = Server::start();
    server.wish([Effect::Fork(job("none/temp-{pid}.rdb", 0))]);
    let pid = forked(&server);
    let path = format!("none/temp-{pid}.rdb");
    assert_eq!(child_end(&server), ChildEnd::Failed(IoError { operation: "open", path, errno: ENOENT }));
}

#[test]
fn a_child_is_ended_on_wish_and_by_others() {
    let server = Server::start();
    for (signal, expected) in [
        (None, ChildEnd::Exited(255)),
        (Some("-KILL"), ChildEnd::Killed(9)),
        (Some("-TERM"), ChildEnd::Killed(15)),
    ] {
        server.wish([Effect::Fork(job("temp-{pid}.rdb", 60_000_000))]);
        let pid = forked(&server);
        let temp = server.dir.path.join(format!("temp-{pid}.rdb"));
        wait_for("the child's file", || temp.exists().then_some(()));
        match signal {
            None => server.wish([Effect::KillChild(Ticket(7))]),
            Some(signal) => {
                assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
            }
        }
        assert_eq!(child_end(&server), expected);
        assert!(!is_alive(pid));
    }
}

#[test]
fn a_child_reports_its_progress() {
    let server = Server::start_with(ToyEncoder::of_large(8), |_| {});
    // A report is due after a second, at the end of a piece of four keys.
    server.wish([Effect::Fork(job("temp-{pid}.rdb", 260_000))]);
    forked(&server);
    let Completion::ChildProgress { keys, cow_size, .. } = server.completion() else {
        panic!("a report comes before the end");
    };
    assert_eq!(keys, 4);
    assert!(cow_size > 0);
    assert!(matches!(child_end(&server), ChildEnd::Written(SnapshotWritten { keys: 8, .. })));
}

/// Risk: a child keeps its parent's sockets open, so that a closed connection never ends for the client.
/// Noticed: the read below waits until its timeout.
#[test]
fn a_child_does_not_hold_connections_open() {
    let server = Server::start();
    let mut stream = server.connect();
    ask(&mut stream, "PING", 7);
    server.wish([Effect::Fork(job("temp-{pid}.rdb", 60_000_000))]);
    let pid = forked(&server);
    let temp = server.dir.path.join(format!("temp-{pid}.rdb"));
    wait_for("the child's file", || temp.exists().then_some(()));
    stream.write_all(b"QUIT\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "+OK\r\n");
    assert!(is_alive(pid));
    server.wish([Effect::KillChild(Ticket(7))]);
    child_end(&server);
}

#[test]
fn appends_and_clients_go_on_while_a_child_runs() {
    let server = Server::start();
    server.open(LOG, "log");
    server.wish([Effect::Fork(job("temp-{pid}.rdb", 60_000_000)), append("one "), sync(), append("two")]);
    forked(&server);
    assert_eq!(server.completion(), appended(4));
    let mut rest = [server.completion(), server.completion()];
    rest.sort_by_key(|completion| matches!(completion, Completion::Synced { .. }));
    assert_eq!(rest[0], appended(3));
    assert_eq!(ask(&mut server.connect(), "PING", 7), "+PONG\r\n");
    server.wish([Effect::KillChild(Ticket(7))]);
    assert_eq!(child_end(&server), ChildEnd::Exited(255));
    assert_eq!(server.read_file("log"), "one two");
}

#[test]
fn save_writes_in_the_server_itself() {
    let server = Server::start();
    let path = format!("temp-{}.rdb", std::process::id());
    let done = server.perform([Effect::Save(job("temp-{pid}.rdb", 0))]);
    let written = SnapshotWritten { path: path.clone(), len: 18, keys: 3 };
    assert_eq!(done, [Completion::Saved { ticket: Ticket(7), result: Ok(written) }]);
    assert_eq!(server.read_file(&path), ToyEncoder::contents(3));
    let done = server.perform([Effect::Save(job("none/temp.rdb", 0))]);
    let error = IoError { operation: "open", path: "none/temp.rdb".into(), errno: ENOENT };
    assert_eq!(done, [Completion::Saved { ticket: Ticket(7), result: Err(error) }]);
}

// --- a process of its own ---

/// A server in a process of its own: this test program again, where the test `name` finds `PERDURA_TOY_DIR` set.
struct Process {
    child: std::process::Child,
    dir: TempDir,
}

impl Process {
    fn start(name: &str) -> Process {
        let dir = TempDir::new();
        // These tests may be a module of another file.
        let place = module_path!().split_once("::").map_or(String::new(), |(_, place)| format!("{place}::"));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{place}{name}"), "--nocapture"])
            .env("PERDURA_TOY_DIR", &dir.path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Process { child, dir }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// A word the server left in a file, whole.
    fn word(&self, file: &str) -> String {
        wait_for(file, || {
            let text = std::fs::read_to_string(self.dir.path.join(file)).ok()?;
            text.strip_suffix('\n').map(str::to_owned)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the process started for a test: its directory. In the test proper: `None`.
fn as_server() -> Option<String> {
    std::env::var("PERDURA_TOY_DIR").ok()
}

/// A server that hands what it is told to `react`, which may wish for more.
fn serve(dir: String, first: Vec<Effect>, mut react: impl FnMut(Told) -> Vec<Effect> + Send + 'static) -> ! {
    let (toy, wish, hear) = Toy::new(ToyEncoder::of(3));
    wish.send(first).unwrap();
    std::thread::spawn(move || {
        for told in hear {
            if wish.send(react(told)).is_err() {
                return;
            }
        }
    });
    let settings = perdura_linux::HostSettings {
        bind: vec!["127.0.0.1".into()],
        port: free_port(),
        crash_log: perdura_linux::CrashLog::File(format!("{dir}/crash")),
        dir,
        ..Default::default()
    };
    std::process::exit(perdura_linux::run(toy, settings))
}

fn leave_word(dir: &str, file: &str, word: impl std::fmt::Display) {
    std::fs::write(format!("{dir}/{file}"), format!("{word}\n")).unwrap();
}

#[test]
fn w14_kill_9_of_the_server_kills_its_child() {
    if let Some(dir) = as_server() {
        serve(dir.clone(), vec![Effect::Fork(job("temp-{pid}.rdb", 60_000_000))], move |told| {
            if let Told::Completed(Completion::Forked { result: Ok(pid), .. }) = told {
                leave_word(&dir, "child", pid);
            }
            Vec::new()
        });
    }
    let mut process = Process::start("w14_kill_9_of_the_server_kills_its_child");
    let pid: i32 = process.word("child").parse().unwrap();
    let temp = process.dir.path.join(format!("temp-{pid}.rdb"));
    wait_for("the child's file", || temp.exists().then_some(()));
    assert!(is_alive(pid));
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    wait_for("the child's end", || (!is_alive(pid)).then_some(()));
}

#[test]
fn signals_reach_the_engine_which_decides() {
    if let Some(dir) = as_server() {
        leave_word(&dir, "ready", "");
        serve(dir.clone(), Vec::new(), move |told| match told {
            Told::Signalled(Signal::Interrupt) => {
                leave_word(&dir, "interrupted", "yes");
                Vec::new()
            }
            Told::Signalled(Signal::Terminate) => vec![Effect::Exit(42)],
            _ => Vec::new(),
        });
    }
    let mut process = Process::start("signals_reach_the_engine_which_decides");
    process.word("ready");
    // The handlers stand soon after; a signal before that would end the process.
    wait_for("the handlers", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim();
        let caught = u64::from_str_radix(caught, 16).ok()?;
        (caught & (1 << 1) != 0 && caught & (1 << 14) != 0).then_some(())
    });
    process.signal("-HUP");
    process.signal("-INT");
    assert_eq!(process.word("interrupted"), "yes");
    process.signal("-TERM");
    assert_eq!(process.child.wait().unwrap().code(), Some(42));
}

#[test]
fn a_crash_leaves_a_report_and_dies_by_its_signal() {
    use std::os::unix::process::ExitStatusExt;
    if let Some(dir) = as_server() {
        serve(dir, vec![Effect::Die(11)], |_| Vec::new());
    }
    let mut process = Process::start("a_crash_leaves_a_report_and_dies_by_its_signal");
    assert_eq!(process.child.wait().unwrap().signal(), Some(11));
    let report = std::fs::read_to_string(process.dir.path.join("crash")).unwrap();
    assert!(report.contains("BUG REPORT START") && report.contains("crashed by signal: 11"), "{report}");
}

#[test]
fn change_of_directory_moves_later_files_only() {
    if let Some(dir) = as_server() {
        std::fs::create_dir(format!("{dir}/other")).unwrap();
        let steps = |path: &str, file| vec![FileStep::CreateTemp { file: FileId(file), path: path.into() }];
        let first = vec![
            files(1, steps("before", 1)),
            Effect::ChangeDir(format!("{dir}/other")),
            files(2, steps("after", 2)),
            Effect::ChangeDir(format!("{dir}/none")),
        ];
        let mut lines = Vec::new();
        serve(dir.clone(), first, move |told| {
            if let Told::Completed(completion) = told {
                lines.push(format!("{completion:?}"));
            }
            if lines.len() == 4 {
                lines.sort();
                leave_word(&dir, "done", lines.join(";"));
            }
            Vec::new()
        });
    }
    let process = Process::start("change_of_directory_moves_later_files_only");
    let done = process.word("done");
    let other = process.dir.path.join("other");
    let other_text = other.canonicalize().unwrap();
    assert!(done.contains(&format!("DirChanged(Ok({other_text:?}))")), "{done}");
    assert!(done.contains("DirChanged(Err(2))"), "{done}");
    assert!(process.dir.path.join("before").exists() && other.join("after").exists());
}
