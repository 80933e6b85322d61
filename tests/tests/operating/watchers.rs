//! Programs that watch a server, against ours: redis_exporter itself, and what RedisInsight sends, which cannot be
//! installed from any package registry.
//!
//! What could go wrong: a field that they parse is missing or has another form, and they show nothing, or an error.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use perdura_harness::client::{Client, Reply};
use perdura_tests::{start_perdura, tell_not_run};

use super::{PATIENCE, Running, free_port, port_of, say, wait_for};

/// What the exporter shows now, if it listens already.
fn exported(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

#[test]
fn redis_exporter_scrapes_us_without_an_error() {
    let server = start_perdura(&[("appendonly", "yes"), ("save", "900 1"), ("slowlog-log-slower-than", "0")]);
    let mut client = server.client().unwrap();
    for line in
        ["SET key:1 value", "SET key:2 value EX 1000", "XADD s 1-1 f v", "XGROUP CREATE s g 0", "BGSAVE"]
    {
        assert!(!matches!(client.say(line).unwrap(), Reply::Error(_)), "{line}");
    }
    assert_eq!(say(&mut client, "CONFIG SET requirepass secret"), "OK");
    let port = free_port();
    let arguments = [
        format!("-redis.addr=redis://127.0.0.1:{}", port_of(&server)),
        format!("-web.listen-address=127.0.0.1:{port}"),
        "-redis.password=secret".into(),
        "-export-client-list".into(),
        "-include-config-metrics".into(),
        "-include-system-metrics".into(),
        "-check-keys=key:*".into(),
        "-check-streams=s".into(),
        "-count-keys=db0=key:*".into(),
    ];
    let started = Command::new("prometheus-redis-exporter")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(exporter) = started else {
        tell_not_run("prometheus-redis-exporter is not installed (.ci/run does it)");
        return;
    };
    let _exporter = Running(exporter);
    let mut text = String::new();
    wait_for("a scrape", || {
        text = exported(port).unwrap_or_default();
        text.contains("redis_up 1") && text.contains("redis_rdb_bgsave_in_progress 0")
    });
    for wanted in [
        "redis_exporter_last_scrape_error{err=\"\"} 0",
        "redis_db_keys{db=\"db0\"} 3",
        "redis_db_keys_expiring{db=\"db0\"} 1",
        "redis_commands_total{cmd=\"set\"} 2",
        "redis_aof_enabled 1",
        "redis_aof_last_write_status 1",
        "redis_rdb_last_bgsave_status 1",
        "redis_keys_count{db=\"db0\",key=\"key:*\"} 2",
        "redis_key_size{db=\"db0\",key=\"key:1\"} 5",
        "redis_stream_length{db=\"db0\",stream=\"s\"} 1",
        "redis_stream_groups{db=\"db0\",stream=\"s\"} 1",
        "redis_config_maxclients 10000",
        "redis_config_key_value{key=\"appendfsync\",value=\"everysec\"} 1",
        "role=\"master\"",
        "redis_version=\"7.2.4\"",
        "redis_connected_clients ",
        "redis_connected_clients_details{",
        "redis_memory_used_bytes ",
        "redis_memory_max_bytes 0",
        "redis_slowlog_length ",
        "redis_last_slow_execution_duration_seconds ",
        "redis_uptime_in_seconds ",
    ] {
        let name = wanted.split(['{', ' ', '=']).next().unwrap();
        let about: Vec<&str> = text.lines().filter(|line| line.contains(name)).collect();
        assert!(about.iter().any(|line| line.contains(wanted)), "{wanted} in {about:#?}");
    }
}

/// Elements of a reply that is a list.
#[track_caller]
fn list(client: &mut Client, line: &str) -> Vec<Reply> {
    let reply = client.say(line).unwrap();
    reply.into_elements().unwrap_or_else(|| panic!("{line}: no list"))
}

/// INFO has this field, and it is a number.
fn has_number(info: &str, field: &str) -> bool {
    let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.is_some_and(|value| value.parse::<f64>().is_ok())
}

/// As a graphical client opens a connection and draws its first page: who we are, what we have, how we are.
#[test]
fn what_redis_insight_asks_at_connect_has_the_shapes_it_reads() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "CLIENT SETNAME redisinsight-common-1"), "OK");
    assert_eq!(say(&mut client, "CLIENT SETINFO LIB-NAME ioredis"), "OK");
    assert_eq!(say(&mut client, "CLIENT SETINFO LIB-VER 5.4.1"), "OK");
    assert_eq!(list(&mut client, "MODULE LIST"), []);
    assert_eq!(say(&mut client, "ACL WHOAMI"), "default");
    let categories = list(&mut client, "ACL CAT");
    assert!(categories.contains(&Reply::Bulk("dangerous".into())), "{categories:?}");
    assert_eq!(list(&mut client, "ACL GETUSER default")[0], Reply::Bulk("flags".into()));
    // No cluster, no sentinel, no search: told by errors that are known.
    assert_eq!(say(&mut client, "CLUSTER INFO"), "ERR This instance has cluster support disabled");
    assert!(say(&mut client, "SENTINEL masters").starts_with("ERR unknown command 'SENTINEL'"));
    assert!(say(&mut client, "FT._LIST").starts_with("ERR unknown command 'FT._LIST'"));
    let info = say(&mut client, "INFO");
    for field in [
        "connected_clients",
        "used_memory",
        "total_system_memory",
        "instantaneous_ops_per_sec",
        "instantaneous_input_kbps",
        "instantaneous_output_kbps",
        "keyspace_hits",
        "keyspace_misses",
        "uptime_in_days",
        "used_cpu_sys",
        "used_cpu_user",
        "cluster_enabled",
        "connected_slaves",
        "maxmemory",
    ] {
        assert!(has_number(&info, field), "{field} in {info}");
    }
    for line in ["redis_mode:standalone", "role:master", "redis_version:7.2.4", "maxmemory_policy:noeviction"]
    {
        assert!(info.contains(line), "{line} in {info}");
    }
    let commands = list(&mut client, "COMMAND");
    assert!(commands.len() > 200, "{} commands", commands.len());
    for command in commands {
        let parts = command.into_elements().expect("a command is a list");
        assert_eq!(parts.len(), 10, "{parts:?}");
        let (name, arity) = (parts[0].as_bytes(), parts[1].as_integer());
        assert!(
            name.is_some_and(|name| !name.is_empty()) && arity.is_some_and(|arity| arity != 0),
            "{parts:?}"
        );
    }
    assert_eq!(list(&mut client, "CONFIG GET databases").len(), 2);
    assert_eq!(client.say("DBSIZE").unwrap(), Reply::Integer(0));
}

/// The key browser: a page of SCAN, then three questions about each key, in one pipeline.
#[test]
fn what_redis_insight_asks_about_keys_has_the_shapes_it_reads() {
    let server = start_perdura(&[]);
    let mut client = server.client().unwrap();
    for line in [
        "SET string value EX 1000",
        "HSET hash f v",
        "RPUSH list a b",
        "SADD set m",
        "ZADD zset 1.5 m",
        "XADD stream 1-1 f v",
    ] {
        assert!(!matches!(client.say(line).unwrap(), Reply::Error(_)), "{line}");
    }
    let mut page = list(&mut client, "SCAN 0 MATCH * COUNT 10000");
    let keys = page.pop().unwrap().into_elements().unwrap();
    assert_eq!(page[0].as_bytes(), Some(&b"0"[..]));
    assert_eq!(keys.len(), 6);
    for key in keys {
        let key = String::from_utf8(key.as_bytes().unwrap().to_vec()).unwrap();
        let asked = ["TYPE", "TTL", "MEMORY USAGE"].map(|question| {
            let words: Vec<String> = question.split(' ').map(str::to_owned).collect();
            [words, vec![key.clone()]].concat()
        });
        let replies = client.pipeline(&asked).unwrap();
        assert_eq!(replies[0], Reply::Simple(key.clone()), "each key is named by its type");
        let seconds = replies[1].as_integer().unwrap();
        assert!(if key == "string" { (990..=1000).contains(&seconds) } else { seconds == -1 }, "{key}");
        assert!(replies[2].as_integer().is_some_and(|bytes| bytes > 10), "{key}: {:?}", replies[2]);
    }
    let typed = list(&mut client, "SCAN 0 MATCH * COUNT 500 TYPE stream");
    assert_eq!(typed[1], Reply::Array(vec![Reply::Bulk("stream".into())]));
    assert!(
        matches!(&list(&mut client, "XINFO STREAM stream FULL COUNT 10")[..], fields if fields.len() > 10)
    );
    assert_eq!(list(&mut client, "HSCAN hash 0 COUNT 500").len(), 2);
    assert_eq!(say(&mut client, "GETRANGE string 0 4999"), "value");
    assert_eq!(say(&mut client, "OBJECT ENCODING zset"), "listpack");
}

/// Its tools: the slow log, the profiler, publish and subscribe.
#[test]
fn what_redis_insight_shows_live_has_the_shapes_it_reads() {
    let server = start_perdura(&[("slowlog-log-slower-than", "0")]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "SET a 1"), "OK");
    assert_eq!(list(&mut client, "CONFIG GET slowlog*").len(), 4);
    for entry in list(&mut client, "SLOWLOG GET 100") {
        let entry = entry.into_elements().expect("an entry is a list");
        assert_eq!(entry.len(), 6, "{entry:?}");
        assert!(entry[..3].iter().all(|number| number.as_integer().is_some()), "{entry:?}");
        assert!(matches!(entry[3], Reply::Array(_)) && entry[4].as_bytes().is_some(), "{entry:?}");
    }
    assert!(client.say("SLOWLOG LEN").unwrap().as_integer().unwrap() > 0);
    let mut profiler = server.client().unwrap();
    assert_eq!(say(&mut profiler, "MONITOR"), "OK");
    assert_eq!(say(&mut client, "SET key \"value\""), "OK");
    let line = String::from_utf8(profiler.read().unwrap().as_bytes().unwrap().to_vec()).unwrap();
    let (time, rest) = line.split_once(" [0 127.0.0.1:").unwrap_or_else(|| panic!("{line}"));
    assert!(time.split_once('.').is_some_and(|(_, micros)| micros.len() == 6), "{line}");
    assert!(rest.contains("] \"SET\" \"key\" "), "{line}");
    let clients = say(&mut client, "CLIENT LIST");
    assert!(clients.lines().count() == 2 && clients.contains("cmd=monitor"), "{clients}");
    assert_eq!(say(&mut client, "SLOWLOG RESET"), "OK");
}
