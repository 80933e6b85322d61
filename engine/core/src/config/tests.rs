//! Settings: every row of the table, then each kind of value, the file, and CONFIG REWRITE.

use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::*;
use crate::store::Class;

const LOCAL: SetContext = SetContext { is_local: true, is_loading: false };

fn set(config: &mut Config, pairs: &[(&str, &str)]) -> Result<Vec<Changed>, SetError> {
    let pairs: Vec<(&[u8], &[u8])> =
        pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    config.set(&pairs, LOCAL)
}

/// The reason a value is refused for.
fn reason(name: &str, value: &str) -> String {
    let mut config = Config::default();
    let error = set(&mut config, &[(name, value)]).expect_err("the value is refused");
    assert_eq!(config, Config::default());
    let SetError::Refused(text) = error else { panic!("not refused: {error:?}") };
    let prefix = format!("CONFIG SET failed (possibly related to argument '{name}') - ");
    text.strip_prefix(&prefix).unwrap_or(&text).into()
}

/// What CONFIG GET shows after a CONFIG SET.
fn set_and_get(name: &str, value: &str) -> String {
    let mut config = Config::default();
    set(&mut config, &[(name, value)]).expect("the value is taken");
    config.value_of(name).expect("the directive exists")
}

fn load(text: &str) -> Result<Config, LoadError> {
    let mut config = Config::default();
    config.load(text, &mut |_| panic!("nothing is included"))?;
    Ok(config)
}

mod rows {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = DIRECTIVES.iter().flat_map(Directive::names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn each_default_is_accepted_back() {
        let default = Config::default();
        for directive in DIRECTIVES {
            let mut config = default.clone();
            let value = directive.print(&config);
            if directive.name != "replicaof" {
                directive.parse(&mut config, &directive.split(&value)).expect(directive.name);
            }
            assert_eq!(config, default, "{}", directive.name);
        }
    }

    #[test]
    fn everything_that_can_be_set_accepts_what_is_read() {
        let mut config = Config::default();
        let all = config.get(b"*");
        assert!(all.len() > 200);
        for (name, value) in all {
            match set(&mut config, &[(&name, &value)]) {
                // What names a file is put into effect again, although its value is the same.
                Ok(changed) => {
                    let is_reapplied = find(&name).expect("listed").directive.is(Flag::Reapplied);
                    assert_eq!(changed.len(), usize::from(is_reapplied), "{name}");
                    assert!(changed.iter().all(|change| change.old == change.new), "{name}");
                }
                Err(error) => {
                    let flag = find(&name).expect("listed").directive.flags;
                    assert!(flag.contains(&Flag::Immutable) || flag.contains(&Flag::Protected), "{error:?}");
                }
            }
        }
    }

    #[test]
    fn both_ends_of_each_range_fit_and_what_lies_beyond_is_refused() {
        for directive in DIRECTIVES {
            let (Kind::Int { min, max } | Kind::Memory { min, max }) = directive.kind else { continue };
            let mut config = Config::default();
            for end in [min, max] {
                directive.parse(&mut config, &[&end.to_string()]).expect(directive.name);
                assert_eq!(directive.print(&config), end.to_string());
            }
            for beyond in [min - 1, max + 1] {
                directive.parse(&mut config, &[&beyond.to_string()]).expect_err(directive.name);
            }
        }
    }

    #[test]
    fn each_word_of_a_choice_is_taken() {
        for directive in DIRECTIVES {
            let Kind::Choice(words) = directive.kind else { continue };
            for word in words {
                let mut config = Config::default();
                directive.parse(&mut config, &[word]).expect(directive.name);
                let shown = directive.print(&config);
                assert!(
                    shown == *word || shown == "yes" && *word == "relative",
                    "{}: {shown}",
                    directive.name
                );
            }
        }
    }

    #[test]
    fn each_row_says_what_it_is_for() {
        for directive in DIRECTIVES {
            assert!(directive.doc.trim().ends_with('.'), "{}", directive.name);
        }
    }
}

mod get {
    use super::*;

    fn names(pattern: &str) -> Vec<String> {
        Config::default().get(pattern.as_bytes()).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_pattern_selects_names_and_aliases() {
        assert_eq!(names("*-priority"), ["replica-priority", "slave-priority"]);
        assert_eq!(names("server?cpulist"), ["server_cpulist"]);
        assert_eq!(names("server-cpulist"), ["server-cpulist"]);
        assert_eq!(names("MAXMEMORY-[ps]*"), ["maxmemory-policy", "maxmemory-samples"]);
        assert_eq!(names("appendf?ync"), ["appendfsync"]);
        assert_eq!(names("nothing*"), Vec::<String>::new());
    }

    #[test]
    fn an_exact_name_is_given_back_as_it_was_spelled() {
        assert_eq!(Config::default().get(b"MaxMemory"), [("MaxMemory".into(), "0".into())]);
        assert_eq!(Config::default().get(b"\xff"), []);
    }

    #[test]
    fn hidden_directives_are_shown_by_exact_name_only() {
        assert_eq!(names("key-load-*"), Vec::<String>::new());
        assert_eq!(names("key-load-delay"), ["key-load-delay"]);
    }
}

mod set {
    use super::*;

    #[test]
    fn tells_what_changed_by_main_name() {
        let mut config = Config::default();
        let changed = set(&mut config, &[("slave-priority", "7"), ("maxmemory", "0")]);
        let expected = Changed { name: "replica-priority", old: "100".into(), new: "7".into() };
        assert_eq!(changed, Ok(vec![expected]));
        assert_eq!(config.replica_priority, 7);
    }

    #[test]
    fn changes_all_or_nothing() {
        let mut config = Config::default();
        let error = set(&mut config, &[("maxmemory", "1gb"), ("appendfsync", "sometimes")]);
        let reason = "argument(s) must be one of the following: everysec, always, no";
        assert_eq!(error, Err(SetError::failed("appendfsync", reason)));
        assert_eq!(config, Config::default());
    }

    #[test]
    fn can_be_taken_back() {
        let mut config = Config::default();
        let pairs = [("port", "1"), ("bind", "a b"), ("save", ""), ("maxmemory-clients", "5%")];
        let changed = set(&mut config, &pairs).expect("valid");
        assert_eq!(changed.len(), pairs.len());
        config.restore(&changed);
        assert_eq!(config, Config::default());
    }

    #[test]
    fn refuses_in_the_words_of_redis() {
        let unknown = "Unknown option or number of arguments for CONFIG SET - 'Foo'";
        assert_eq!(reason("Foo", "1"), unknown);
        assert_eq!(reason("databases", "1"), "can't set immutable config");
        assert_eq!(reason("dir", "/"), "can't set protected config");
        assert_eq!(reason("rdbcompression", "maybe"), "argument must be 'yes' or 'no'");
        assert_eq!(reason("timeout", "x"), "argument couldn't be parsed into an integer");
        assert_eq!(reason("timeout", "01"), "argument couldn't be parsed into an integer");
        assert_eq!(reason("timeout", "+1"), "argument couldn't be parsed into an integer");
        assert_eq!(reason("port", "65536"), "argument must be between 0 and 65535 inclusive");
        assert_eq!(reason("maxmemory", "1tb"), "argument must be a memory value");
        assert_eq!(reason("maxmemory", "-1"), "argument must be a memory value");
        assert_eq!(reason("maxmemory-clients", "101%"), "percentage argument must be less or equal to 100");
        assert_eq!(reason("maxmemory-clients", "%"), "argument must be a memory or percent value");
        assert_eq!(reason("oom-score-adj-values", "1 2"), "wrong number of arguments");
    }

    #[test]
    fn refuses_a_name_given_twice() {
        let mut config = Config::default();
        let error = set(&mut config, &[("maxmemory", "1"), ("MAXMEMORY", "2")]);
        assert_eq!(error, Err(SetError::failed("MAXMEMORY", "duplicate parameter")));
        assert_eq!(config.maxmemory, 0);
    }

    #[test]
    fn refuses_what_is_not_utf8() {
        let error = Config::default().set(&[(b"requirepass", b"\xff")], LOCAL);
        assert_eq!(error, Err(SetError::failed("requirepass", "argument must be valid UTF-8")));
    }

    #[test]
    fn protected_directives_open_to_local_clients_or_to_all() {
        for (guard, is_local, is_open) in [
            (Guard::No, true, false),
            (Guard::Local, false, false),
            (Guard::Local, true, true),
            (Guard::Yes, false, true),
        ] {
            let mut config = Config { enable_protected_configs: guard, ..Config::default() };
            let context = SetContext { is_local, is_loading: false };
            let result = config.set(&[(b"dbfilename", b"other.rdb")], context);
            assert_eq!(result.is_ok(), is_open, "{guard:?} {is_local}");
        }
    }

    #[test]
    fn some_directives_cannot_change_while_loading() {
        let context = SetContext { is_local: true, is_loading: true };
        let mut config = Config::default();
        assert_eq!(config.set(&[(b"appendonly", b"yes")], context), Err(SetError::Loading));
        assert_eq!(config.set(&[(b"appendfsync", b"no")], context).map(|changed| changed.len()), Ok(1));
    }

    #[test]
    fn tells_which_settings_have_no_effect() {
        let mut config = Config::default();
        assert_eq!(config.without_effect().count(), 0);
        set(&mut config, &[("cluster-node-timeout", "1"), ("maxmemory", "1")]).expect("valid");
        let names: Vec<&str> = config.without_effect().map(|directive| directive.name).collect();
        assert_eq!(names, ["cluster-node-timeout"]);
    }
}

mod values {
    use super::*;

    #[test]
    fn memory_has_units_of_1000_and_of_1024() {
        let cases = [
            ("0", "0"),
            ("12b", "12"),
            ("2k", "2000"),
            ("2KB", "2048"),
            ("3m", "3000000"),
            ("3Mb", "3145728"),
            ("1g", "1000000000"),
            ("1gb", "1073741824"),
            ("18446744073709551615", "18446744073709551615"),
        ];
        for (given, shown) in cases {
            assert_eq!(set_and_get("maxmemory", given), shown);
        }
    }

    #[test]
    fn client_memory_may_be_a_share() {
        assert_eq!(set_and_get("maxmemory-clients", "5%"), "5%");
        assert_eq!(set_and_get("maxmemory-clients", "100%"), "100%");
        assert_eq!(set_and_get("maxmemory-clients", "1kb"), "1024");
    }

    #[test]
    fn hz_is_brought_into_its_range() {
        assert_eq!(set_and_get("hz", "0"), "1");
        assert_eq!(set_and_get("hz", "1000"), "500");
        assert_eq!(reason("hz", "-1"), "argument must be between 0 and 2147483647 inclusive");
    }

    #[test]
    fn permissions_are_octal() {
        let config = load("unixsocketperm 755").expect("valid");
        assert_eq!(config.unixsocketperm, 0o755);
        assert_eq!(config.value_of("unixsocketperm"), Some("755".into()));
        for (given, reason) in [
            ("8", "argument couldn't be parsed as an octal number"),
            ("1000", "argument must be between 0 and 777 inclusive"),
        ] {
            let error = load(&format!("unixsocketperm {given}")).expect_err("refused");
            assert_eq!(error.reason, reason);
        }
    }

    #[test]
    fn save_points_replace_those_before() {
        assert_eq!(set_and_get("save", ""), "");
        assert_eq!(set_and_get("save", "900 1 300 0"), "900 1 300 0");
        for wrong in ["900", "900 1 300", "0 1", "1 -1", "x 1", "1  1"] {
            assert_eq!(reason("save", wrong), "Invalid save parameters", "{wrong}");
        }
    }

    #[test]
    fn output_buffer_limits_change_by_class() {
        let shown = "normal 0 0 0 slave 1048576 2000 10 pubsub 33554432 8388608 60";
        assert_eq!(set_and_get("client-output-buffer-limit", "Replica 1mb 2k 10"), shown);
        for (given, expected) in [
            ("normal 1 2", "Wrong number of arguments in buffer limit configuration."),
            ("master 1 2 3", "Invalid client class specified in buffer limit configuration."),
            ("normal x 2 3", "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
            ("normal 1 2 -3", "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
        ] {
            assert_eq!(reason("client-output-buffer-limit", given), expected);
        }
    }

    #[test]
    fn keyspace_events_are_letters() {
        for (given, shown) in [("", ""), ("KEA", "AKE"), ("g$lshzxetd", "A"), ("Elm", "lEm"), ("nA", "An")] {
            assert_eq!(set_and_get("notify-keyspace-events", given), shown);
        }
        let text = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
        assert_eq!(reason("notify-keyspace-events", "KEq"), text);
        let events = load("notify-keyspace-events El").expect("valid").notify_keyspace_events;
        assert!(events.contains(Class::List) && !events.contains(Class::Set) && !events.is_empty());
        assert_eq!(events.bits(), Class::List as u32 | Class::Keyevent as u32);
    }

    #[test]
    fn shutdown_flags_combine() {
        assert_eq!(set_and_get("shutdown-on-sigint", "force NOW save"), "save now force");
        assert_eq!(set_and_get("shutdown-on-sigint", "default"), "default");
        let both = "shutdown options SAVE and NOSAVE can't be used simultaneously";
        assert_eq!(reason("shutdown-on-sigint", "save nosave"), both);
        let words = "argument(s) must be one of the following: default, save, nosave, now, force";
        assert_eq!(reason("shutdown-on-sigint", ""), words);
    }

    #[test]
    fn percentiles_lose_trailing_zeros() {
        assert_eq!(
            set_and_get("latency-tracking-info-percentiles", "50.000 99.9999 0 100"),
            "50 99.9999 0 100"
        );
        assert_eq!(set_and_get("latency-tracking-info-percentiles", ""), "");
        let range = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
        assert_eq!(reason("latency-tracking-info-percentiles", "100.1"), range);
        let invalid = "Invalid latency-tracking-info-percentiles parameters";
        assert_eq!(reason("latency-tracking-info-percentiles", "x"), invalid);
    }

    #[test]
    fn addresses_are_at_most_sixteen() {
        assert_eq!(set_and_get("bind", "127.0.0.1 -::1"), "127.0.0.1 -::1");
        assert_eq!(set_and_get("bind", ""), "");
        assert_eq!(set_and_get("bind", &["a"; 16].join(" ")), ["a"; 16].join(" "));
        assert_eq!(reason("bind", &["a"; 17].join(" ")), "Too many bind addresses specified.");
    }

    #[test]
    fn file_names_are_no_paths() {
        for (line, reason) in [
            ("dbfilename a/b", "dbfilename can't be a path, just a filename"),
            ("dbfilename ''", "dbfilename can't be empty"),
            ("appendfilename a\\\\b", "appendfilename can't be a path, just a filename"),
            ("appendfilename ''", "appendfilename can't be empty"),
            ("appenddirname a/b", "appenddirname can't be a path, just a dirname"),
            ("appenddirname ''", "appenddirname can't be empty"),
            ("dir ''", "dir can't be empty"),
        ] {
            assert_eq!(load(line).expect_err(line).reason, reason);
        }
    }

    #[test]
    fn title_templates_name_known_variables() {
        assert_eq!(set_and_get("proc-title-template", "x {port} {title}"), "x {port} {title}");
        for wrong in ["{titel}", "{title", "{}"] {
            let text = "template format is invalid or contains unknown variables";
            assert_eq!(reason("proc-title-template", wrong), text);
        }
    }

    #[test]
    fn defragmentation_stays_off() {
        assert!(reason("activedefrag", "yes").starts_with("Active defragmentation cannot be enabled"));
        assert_eq!(set_and_get("activedefrag", "no"), "no");
    }
}

mod files {
    use super::*;

    #[test]
    fn a_file_sets_what_it_names() {
        let text = "# comment\n\n  PORT 7000 \r\nbind 127.0.0.1 ::1\nrequirepass \"a b\\x21\"\nlogfile ''\n";
        let config = load(text).expect("valid");
        assert_eq!(config.port, 7000);
        assert_eq!(config.bind, ["127.0.0.1", "::1"]);
        assert_eq!(config.requirepass, "a b!");
        assert_eq!(config.save, SavePoint::DEFAULT);
    }

    #[test]
    fn the_first_save_replaces_the_defaults_and_further_ones_add() {
        for (text, shown) in [
            ("save 100 1", "100 1"),
            ("save 100 1\nsave 200 2 300 3", "100 1 200 2 300 3"),
            ("save \"100 1 200 2\"", "100 1 200 2"),
            ("save ''", ""),
            ("save 100 1\nsave ''", ""),
            ("save 100 1\nsave ''\nsave 5 5", "5 5"),
            ("save", ""),
        ] {
            assert_eq!(load(text).expect(text).value_of("save"), Some(shown.into()), "{text}");
        }
    }

    #[test]
    fn an_error_carries_its_line() {
        let error = load("port 1\n\n  port 70000  \nport 2").expect_err("out of range");
        let expected = "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\n\
            Reading the configuration file, at line 3\n\
            >>> 'port 70000'\n\
            argument must be between 0 and 65535 inclusive\n";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (line, reason) in [
            ("nonsense 1", "Bad directive or wrong number of arguments"),
            ("include", "Bad directive or wrong number of arguments"),
            ("rename-command a", "Bad directive or wrong number of arguments"),
            ("port", "wrong number of arguments"),
            ("port 1 2", "wrong number of arguments"),
            ("port '1", "Unbalanced quotes in configuration line"),
            ("port \"1\"2", "Unbalanced quotes in configuration line"),
            ("loadmodule a.so", "modules cannot be loaded: Perdura has no module interface"),
            ("sentinel monitor", "sentinel directive while not in sentinel mode"),
            ("replicaof a", "wrong number of arguments"),
            ("replicaof a 65536", "Invalid master port"),
        ] {
            assert_eq!(load(line).expect_err(line).reason, reason, "{line}");
        }
    }

    #[test]
    fn a_replica_is_no_cluster_node() {
        let error = load("replicaof a 1\ncluster-enabled yes").expect_err("contradiction");
        assert_eq!(error.to_string().lines().last(), Some("replicaof directive not allowed in cluster mode"));
        assert_eq!(error.line, None);
    }

    #[test]
    fn old_names_and_forgotten_directives_are_read() {
        let config =
            load("slave-read-only no\nlist-max-ziplist-value 64\nzset-max-ziplist-entries 5").expect("valid");
        assert!(!config.replica_read_only);
        assert_eq!(config.zset_max_listpack_entries, 5);
    }

    #[test]
    fn renamed_commands_and_users_are_kept() {
        let config = load("rename-command FLUSHALL ''\nuser alice on >pw ~* +@all").expect("valid");
        assert_eq!(config.renamed_commands, [("FLUSHALL".into(), String::new())]);
        assert_eq!(config.users, [["alice", "on", ">pw", "~*", "+@all"]]);
    }

    #[test]
    fn included_files_are_read_in_place() {
        let mut config = Config::default();
        let mut include = |pattern: &str| {
            assert_eq!(pattern, "conf.d/*");
            Ok(vec![
                IncludedFile { path: "conf.d/a".into(), text: "port 1\nhz 20".into() },
                IncludedFile { path: "conf.d/b".into(), text: "port 2".into() },
            ])
        };
        config.load("port 3\ninclude conf.d/*\nhz 30", &mut include).expect("valid");
        assert_eq!((config.port, config.hz), (2, 30));
    }

    #[test]
    fn an_error_in_an_included_file_names_it() {
        let mut include = |_: &str| Ok(vec![IncludedFile { path: "b".into(), text: "\nfoo".into() }]);
        let error = Config::default().load("include b", &mut include).expect_err("bad directive");
        assert_eq!(error.path.as_deref(), Some("b"));
        assert_eq!(error.line, Some((2, "foo".into())));

        let error = Config::default().load("\ninclude b", &mut |_| Err("no such file".into()));
        let expected =
            LoadError { line: Some((2, "include b".into())), path: None, reason: "no such file".into() };
        assert_eq!(error, Err(expected));
    }

    #[test]
    fn a_file_that_includes_itself_is_refused() {
        let mut include = |_: &str| Ok(vec![IncludedFile { path: "a".into(), text: "include a".into() }]);
        let error = Config::default().load("include a", &mut include).expect_err("endless");
        assert_eq!(error.reason, "include 'a': more than 16 files within each other");
    }
}

mod rewrite {
    use super::*;

    /// What every rewritten file ends with if the old one had none of it.
    const ALWAYS: &str = "save 3600 1\nsave 300 100\nsave 60 10000\ndir \"./\"\nlatency-tracking-info-percentiles 50 99 99.9\n";

    #[test]
    fn a_rewrite_of_everything_loads_as_the_same() {
        let config = load("hz 20\n").expect("valid");
        let text = config.rewrite_to(Extent::All, "hz 20\n", &[]);
        assert!(text.lines().count() > DIRECTIVES.len() / 2, "{text}");
        assert!(text.contains("\nappendfsync everysec\n"), "{text}");
        assert_eq!(load(&text).expect("what was written is valid"), config);
    }

    fn rewritten(old: &str, change: impl FnOnce(&mut Config)) -> String {
        let mut config = load(old).expect("valid");
        change(&mut config);
        let text = config.rewrite(old, &[]);
        let mut reloaded = load(&text).expect("a rewritten file is valid");
        reloaded.users = config.users.clone();
        assert_eq!(reloaded, config);
        assert_eq!(config.rewrite(&text, &[]), text, "a second rewrite changes nothing");
        text
    }

    #[test]
    fn what_has_its_default_is_not_added() {
        assert_eq!(rewritten("", |_| {}), format!("# Generated by CONFIG REWRITE\n{ALWAYS}"));
    }

    #[test]
    fn values_change_in_place_and_new_ones_follow_the_mark() {
        let old = "# mine\nport 1\n\n\n\nmaxmemory 5\nslave-priority 3\n";
        let new = rewritten(old, |config| {
            config.port = 2;
            config.maxmemory = 2 << 30;
            config.requirepass = "a \"b\"".into();
        });
        let expected = "# mine\nport 2\n\nmaxmemory 2gb\nreplica-priority 3\n# Generated by CONFIG REWRITE\n\
            requirepass \"a \\\"b\\\"\"\n";
        assert_eq!(new, format!("{expected}{ALWAYS}"));
    }

    #[test]
    fn a_line_stays_where_its_value_is_the_default_again() {
        let new = rewritten("hz 20\ndbfilename x\n", |config| {
            config.hz = 10;
            config.dbfilename = "dump.rdb".into();
        });
        assert!(new.starts_with("hz 10\ndbfilename \"dump.rdb\"\n"));
    }

    #[test]
    fn lines_too_many_are_dropped() {
        let new = rewritten("port 1\nport 2\nhz 5\nsave 1 1\nsave 2 2\n# end\n", |config| {
            config.save = vec![SavePoint { seconds: 9, changes: 9 }];
        });
        assert!(new.starts_with("port 2\n\nhz 5\nsave 9 9\n\n# end\n"), "{new}");
    }

    #[test]
    fn no_save_points_are_written_as_such() {
        assert!(rewritten("save 1 1\nsave 2 2\n", |config| config.save.clear()).starts_with("save \"\"\n\n"));
    }

    #[test]
    fn only_classes_with_limits_of_their_own_are_written() {
        let new = rewritten("client-output-buffer-limit replica 1mb 2000 3\n", |_| {});
        assert!(new.starts_with("client-output-buffer-limit replica 1mb 2000 3\n# Generated"), "{new}");
    }

    #[test]
    fn default_addresses_and_no_primary_have_no_line() {
        let new = rewritten("bind 1.2.3.4\nreplicaof a 1\nhz 5\n", |config| {
            config.bind = Config::default().bind;
            config.replicaof = None;
        });
        assert!(new.starts_with("\nhz 5\n"), "{new}");
        assert!(rewritten("", |config| config.bind.clear()).contains("\nbind \"\"\n"));
    }

    #[test]
    fn unknown_lines_become_comments_and_other_lines_stay() {
        let mut config = Config::default();
        let old = "lua-replicate-commands yes\nrename-command A B\ninclude x\nport 'x\n";
        let new = config.rewrite(old, &[]);
        let expected =
            "# ??? lua-replicate-commands yes\nrename-command A B\ninclude x\n# ??? port 'x\n# Gen";
        assert!(new.starts_with(expected), "{new}");
        config.port = 1;
        let newer = config.rewrite(&new, &[]);
        assert!(newer.starts_with(expected) && newer.ends_with("99.9\nport 1\n"), "{newer}");
        assert_eq!(newer.matches("# Generated").count(), 1);
    }

    #[test]
    fn users_are_replaced() {
        let config = Config::default();
        let new = config.rewrite("user old on\nhz 10\nuser older on\n", &["a on".into()]);
        assert!(new.starts_with("user a on\nhz 10\n\n# Generated"), "{new}");
        assert!(config.rewrite("", &["a on".into()]).ends_with("\nuser a on\n"));
    }

    #[test]
    fn every_directive_survives() {
        for directive in DIRECTIVES {
            let values: Vec<String> = match directive.kind {
                Kind::Int { min, max } | Kind::Memory { min, max } => vec![min.to_string(), max.to_string()],
                Kind::Hint { min, max } => vec![min.to_string(), max.to_string()],
                Kind::Bool => vec!["yes".into(), "no".into()],
                Kind::Choice(words) => words.iter().map(ToString::to_string).collect(),
                Kind::Octal { max } => vec![format!("{max:o}")],
                Kind::MemoryOrPercent => vec!["7%".into(), "1025".into()],
                Kind::Text(check) if check("a b\u{e9}").is_ok() => vec!["a b\u{e9}".into()],
                Kind::Off(_) | Kind::Text(_) | Kind::Special(_) => vec![],
            };
            for value in values {
                let mut config = Config::default();
                directive.parse(&mut config, &[&value]).expect(directive.name);
                let reloaded = load(&config.rewrite("", &[])).expect(directive.name);
                assert!(directive.is_equal(&config, &reloaded), "{} {value}", directive.name);
            }
        }
    }
}
