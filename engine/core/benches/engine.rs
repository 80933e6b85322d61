//! How long the engine takes for commands, and its codecs for bytes: `cargo bench -p perdura-core`.
//!
//! No sockets and no disk: bytes go in by `receive` and come out by `output`, as between host and engine.

use divan::{Bencher, black_box, counter::BytesCount, counter::ItemsCount};
use perdura_core::{
    config::Config,
    host::{
        ClientId, DirEntry, Disk, ENOENT, Effects, Encoder, Engine, FileStep, IoError, Peer, SnapshotForm,
        SnapshotJob, Ticket,
    },
    node::{Node, Seeds, no_stopwatch},
    persist::record,
    rdb::{DecodeSettings, Decoder, Event},
    resp::{Parsed, Parser, Protocol, ProtocolLimits, Reply, encode_command},
    store::Limits,
    time::Now,
};

fn main() {
    divan::main();
}

const NOW: Now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };

/// A directory with nothing in it.
struct EmptyDisk;

impl Disk for EmptyDisk {
    fn perform(&mut self, _step: &FileStep) -> Result<(), IoError> {
        Ok(())
    }

    fn list(&mut self, _path: &str) -> Result<Vec<DirEntry>, IoError> {
        Ok(Vec::new())
    }

    fn read_at(&mut self, path: &str, _offset: u64, _buffer: &mut [u8]) -> Result<usize, IoError> {
        Err(IoError { operation: "open", path: path.into(), errno: ENOENT })
    }

    fn len(&mut self, _path: &str) -> Result<Option<u64>, IoError> {
        Ok(None)
    }
}

/// A node with one client, and what it wants of the world.
struct Server {
    node: Node,
    client: ClientId,
    effects: Effects,
}

impl Server {
    fn new() -> Server {
        let mut config = Config::default();
        config.load("save \"\"", &mut |_| Ok(Vec::new())).expect("valid settings");
        let seeds = Seeds { seed: 1, process_id: 1, stopwatch: no_stopwatch };
        let mut node = Node::new(config, seeds, NOW);
        let mut effects = Effects::new();
        while node.is_loading() {
            node.load(NOW, &mut EmptyDisk, &mut effects);
        }
        let peer = Peer {
            address: "127.0.0.1:5000".into(),
            local_address: "127.0.0.1:6379".into(),
            is_unix: false,
            is_local: true,
            descriptor: 8,
        };
        let client = node.connect(NOW, peer, &mut effects);
        Server { node, client, effects }
    }

    fn filled(keys: usize) -> Server {
        let mut server = Server::new();
        for batch in (0..keys).collect::<Vec<_>>().chunks(64) {
            server.answer(&requests(batch.iter().copied(), "SET"));
        }
        server
    }

    /// Runs a pipeline; how many bytes are answered.
    fn answer(&mut self, input: &[u8]) -> usize {
        self.node.receive(NOW, self.client, input, &mut self.effects);
        self.node.turn(NOW, &mut self.effects);
        self.effects.clear();
        let len = self.node.output(self.client).len();
        self.node.sent(NOW, self.client, len, &mut self.effects);
        len
    }
}

fn requests(keys: impl Iterator<Item = usize>, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for key in keys {
        let key = format!("key:{key:012}");
        match name {
            "SET" => encode_command(&[b"SET", key.as_bytes(), b"a value of sixtee"], &mut bytes),
            _ => encode_command(&[name.as_bytes(), key.as_bytes()], &mut bytes),
        }
    }
    bytes
}

/// Commands in one pipeline, and pipelines timed in turn.
const PIPELINE: usize = 64;
const PIPELINES: usize = 64;

fn run(bencher: Bencher, keys: usize, name: &str) {
    let mut server = Server::filled(keys);
    let inputs: Vec<Vec<u8>> = (0..PIPELINES)
        .map(|pipeline| requests((0..PIPELINE).map(|at| (pipeline * PIPELINE + at) * 7919 % keys), name))
        .collect();
    bencher
        .counter(ItemsCount::new(PIPELINE * PIPELINES))
        .bench_local(|| inputs.iter().map(|input| server.answer(black_box(input))).sum::<usize>());
}

#[divan::bench(args = [1000, 1_000_000])]
fn get(bencher: Bencher, keys: usize) {
    run(bencher, keys, "GET");
}

#[divan::bench(args = [1000, 1_000_000])]
fn set(bencher: Bencher, keys: usize) {
    run(bencher, keys, "SET");
}

#[divan::bench]
fn resp_parse(bencher: Bencher) {
    let input = requests(0..PIPELINE, "SET");
    let (limits, mut parser, mut spans) = (ProtocolLimits::default(), Parser::default(), Vec::new());
    bencher.counter(ItemsCount::new(PIPELINE)).bench_local(|| {
        let mut at = 0;
        while let Parsed::Command { len, .. } = parser.parse(black_box(&input[at..]), &limits, &mut spans) {
            at += len;
        }
        at
    });
}

#[divan::bench]
fn resp_reply(bencher: Bencher) {
    let mut reply = Reply::new(Protocol::Resp2);
    bencher.counter(ItemsCount::new(PIPELINE)).bench_local(|| {
        reply.truncate(0);
        (0..PIPELINE).for_each(|_| reply.bulk(black_box(b"a value of sixtee")));
        reply.len()
    });
}

#[divan::bench]
fn aof_read(bencher: Bencher) {
    let input = requests(0..PIPELINE, "SET");
    let mut spans = Vec::new();
    bencher.counter(ItemsCount::new(PIPELINE)).bench_local(|| {
        let mut at = 0;
        while let record::Read::Item(_, len) = record::read(black_box(&input[at..]), &mut spans) {
            at += len;
        }
        at
    });
}

fn encoded(node: &Node) -> Vec<u8> {
    let job = SnapshotJob {
        ticket: Ticket(1),
        form: SnapshotForm::Rdb,
        path: "dump.rdb".into(),
        key_delay_us: 0,
        now_ms: NOW.wall_ms(),
        is_last: false,
    };
    let mut encoder: Box<dyn Encoder> = node.encoder(&job);
    let mut bytes = Vec::new();
    while encoder.step(&mut bytes) {}
    bytes
}

const KEYS_SAVED: usize = 100_000;

#[divan::bench]
fn rdb_encode(bencher: Bencher) {
    let server = Server::filled(KEYS_SAVED);
    let len = encoded(&server.node).len();
    bencher
        .counter(ItemsCount::new(KEYS_SAVED))
        .counter(BytesCount::new(len))
        .bench_local(|| encoded(&server.node));
}

#[divan::bench]
fn rdb_decode(bencher: Bencher) {
    let bytes = encoded(&Server::filled(KEYS_SAVED).node);
    bencher.counter(ItemsCount::new(KEYS_SAVED)).counter(BytesCount::new(bytes.len())).bench_local(|| {
        let mut decoder = Decoder::new(DecodeSettings { limits: Limits::default(), skip_checksum: false });
        decoder.feed(&bytes);
        decoder.finish_input();
        let mut keys = 0;
        loop {
            match decoder.next().expect("what was just encoded") {
                Event::End => return keys,
                Event::Key(_) => keys += 1,
                _ => {}
            }
        }
    });
}
