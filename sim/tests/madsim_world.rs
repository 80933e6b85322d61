//! The whole-server world: engine, clients and crashes among madsim's tasks.

#[cfg(not(madsim))]
#[test]
fn madsim_is_switched_on() {
    panic!("RUSTFLAGS in the environment replaced .cargo/config.toml; add --cfg madsim");
}

#[cfg(madsim)]
mod toy;

#[cfg(madsim)]
mod with_madsim {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use madsim::time::sleep;
    use perdura_core::config::Config;
    use perdura_core::host::Signal;
    use perdura_core::node::{Node, Seeds, no_stopwatch};
    use perdura_sim::madsim_world::{Arena, Client, run};
    use perdura_sim::{Crash, End, Happening, Moment, Profile, SimRng, Sometimes, WorldConfig};

    use crate::toy::{Mistake, Toy};

    /// Connects once the server listens.
    async fn connect() -> Client {
        for _ in 0..1_000 {
            if let Ok(client) = Client::connect().await {
                return client;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody listens");
    }

    async fn ask(client: &mut Client, line: &str) -> Option<String> {
        client.send(line.as_bytes(), 3).await.ok()?;
        let mut reply = Vec::new();
        while !reply.ends_with(b"\n") {
            match client.receive().await {
                Ok(bytes) if !bytes.is_empty() => reply.extend(bytes),
                _ => return None,
            }
        }
        Some(String::from_utf8(reply).expect("text").trim_end().into())
    }

    #[test]
    fn value_survives_power_loss() {
        run(1, WorldConfig::new(Profile::Strict), |mut arena| async move {
            arena.start(|_| Toy::new(Mistake::None));
            let node = arena.client_node();
            let reply = node.spawn(async { ask(&mut connect().await, "set k v\n").await }).await;
            assert_eq!(reply.expect("the client lives").as_deref(), Some("ok"));
            arena.crash(Crash::Power);
            arena.start(|_| Toy::new(Mistake::None));
            let reply = node.spawn(async { ask(&mut connect().await, "get k\n").await }).await;
            assert_eq!(reply.expect("the client lives").as_deref(), Some("v"));
        });
    }

    #[test]
    fn server_stops_when_told_to() {
        let end = run(1, WorldConfig::new(Profile::Strict), |mut arena| async move {
            arena.start(|_| Toy::new(Mistake::None));
            arena.signal(Signal::Terminate);
            arena.wait_for_end().await
        });
        assert_eq!(end, Some(End::Exited(0)));
    }

    fn start(arena: &mut Arena) {
        let mut config = Config::default();
        let settings = "appendonly yes\nappendfsync always\n";
        config.load(settings, &mut |_| Err("no includes here".into())).expect("settings of the test");
        arena.start(|boot| {
            let seeds = Seeds { seed: boot.seed, process_id: boot.pid as u32, stopwatch: no_stopwatch };
            Node::new(config, seeds, boot.now)
        });
    }

    /// For each counter: the highest value seen, and how often it was sent for.
    type Counters = Arc<Mutex<BTreeMap<u64, (u64, u64)>>>;

    /// Increments its own counter until the connection breaks.
    async fn increment(key: u64, counters: Counters) {
        let mut client = connect().await;
        for round in 0..60 {
            counters.lock().expect("one thread").entry(key).or_default().1 += 1;
            let extra = if round == 20 + key { "BGREWRITEAOF\r\n" } else { "" };
            let Some(reply) = ask(&mut client, &format!("{extra}INCR k{key}\r\n")).await else { return };
            let last = reply.lines().last().unwrap_or_default();
            if let Some(value) = last.strip_prefix(':') {
                counters.lock().expect("one thread").entry(key).or_default().0 =
                    value.parse().expect("a number");
            }
        }
    }

    /// One history; digest, counters of what happened, and what was lost.
    fn history(seed: u64, profile: Profile) -> (u64, Sometimes, Result<(), String>) {
        run(seed, WorldConfig::new(profile), move |mut arena| async move {
            let mut rng = SimRng::new(seed);
            let counters: Counters = Arc::default();
            let mut result = Ok(());
            for _ in 0..3 {
                let at = arena.with_disk(|disk| disk.operation_next()) + 20 + rng.below(150);
                arena.with_disk(|disk| disk.arm(at, [Moment::Before, Moment::After][rng.index(2)]));
                start(&mut arena);
                let nodes: Vec<_> = (0..3).map(|_| arena.client_node()).collect();
                for (key, node) in (0..).zip(&nodes) {
                    node.spawn(increment(key, counters.clone()));
                }
                let _ = madsim::time::timeout(Duration::from_secs(20), arena.wait_for_end()).await;
                arena.crash([Crash::Server, Crash::Group, Crash::Power][rng.index(3)]);
                sleep(Duration::from_secs(1)).await;
                arena.crash(Crash::Power);
                nodes.iter().for_each(|node| madsim::runtime::Handle::current().kill(node.id()));
                result = result.and(check(&mut arena, &counters).await);
            }
            arena.with_disk(|disk| (disk.trace().digest(), disk.sometimes().clone(), result))
        })
    }

    async fn check(arena: &mut Arena, counters: &Counters) -> Result<(), String> {
        start(arena);
        let expected = counters.lock().expect("one thread").clone();
        let found = arena.client_node().spawn(async move {
            let mut client = connect().await;
            let mut found = Vec::new();
            for key in expected.keys() {
                let reply = loop {
                    let reply = ask(&mut client, &format!("INCR k{key}\r\n")).await?;
                    if !reply.starts_with("-LOADING") {
                        break reply;
                    }
                };
                found.push((*key, reply.trim_start_matches(':').parse::<u64>().ok()?));
            }
            Some(found)
        });
        let found = found.await.expect("the client lives").ok_or("no answer after the restart")?;
        for (key, value) in found {
            let mut counters = counters.lock().expect("one thread");
            let (floor, ceiling) = counters.get_mut(&key).expect("asked for");
            if !(*floor + 1..=*ceiling + 1).contains(&value) {
                return Err(format!("k{key}: {value} is not in {floor}+1..={ceiling}+1"));
            }
            (*floor, *ceiling) = (value, value);
        }
        arena.crash(Crash::Power);
        Ok(())
    }

    #[test]
    fn acknowledged_increments_survive_every_crash() {
        let mut sometimes = Sometimes::default();
        for profile in Profile::HONEST {
            for seed in 0..24 {
                let (_, happened, result) = history(seed, profile);
                assert_eq!(result, Ok(()), "seed {seed} {profile:?}");
                sometimes.add(&happened);
            }
        }
        for happening in [Happening::PowerLost, Happening::ServerKilled, Happening::OrphanActed] {
            assert!(sometimes.count(happening) > 0, "{happening:?} never happened");
        }
    }

    #[test]
    fn lying_disk_is_found_out() {
        let failures = (0..5).filter(|seed| history(*seed, Profile::LyingDisk).2.is_err()).count();
        assert!(failures > 2, "only {failures} of 5");
    }

    #[test]
    fn same_seed_same_run() {
        assert_eq!(history(3, Profile::Strict), history(3, Profile::Strict));
        assert_ne!(history(3, Profile::Strict).0, history(4, Profile::Strict).0);
    }
}
