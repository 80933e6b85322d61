//! Users made from rules: what they are described as, and what they may do.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use super::{Acl, Reason};
use crate::{bytes::quote::split_args, commands::table::Table};

struct Bench {
    acl: Acl,
    table: Table,
}

impl Bench {
    fn new() -> Bench {
        let table = Table::new();
        Bench { acl: Acl::new(&table, false), table }
    }

    /// Changes a user; what ACL LIST says of it then, or the error.
    fn set(&mut self, line: &str) -> String {
        let words = split(line);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        match self.acl.set_user(words[0], &words[1..], &self.table) {
            Ok(()) => {
                let name = core::str::from_utf8(words[0]).expect("a name of a test");
                self.acl.get(name).expect("just set").describe()
            }
            Err(error) => error,
        }
    }

    /// What keeps a user from a command: nothing, or the reason with the argument.
    fn denies(&self, user: &str, line: &str) -> Option<(Reason, usize)> {
        let words = split(line);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let row = self.table.resolve(&words).expect("a command");
        let user = self.acl.get(user).expect("a user");
        user.may_run(&row, &words).err().map(|denial| (denial.reason, denial.index))
    }
}

fn split(line: &str) -> Vec<Vec<u8>> {
    split_args(line.as_bytes()).expect("quotes are closed")
}

const HASH: &str = "30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4";

#[test]
fn rules_are_described_so_that_they_read_back() {
    let mut bench = Bench::new();
    let described = bench.set(
        "alice on >pw ~a* %R~b* &c* +@read -get +config|get +select|0 (+set ~s*) (%RW~x* -@all +@string)",
    );
    assert_eq!(
        described,
        alloc::format!(
            "on sanitize-payload #{HASH} ~a* %R~b* resetchannels &c* -@all +@read -get +config|get +select|0 \
             (~s* resetchannels -@all +set) (~x* resetchannels -@all +@string)"
        )
    );
    assert_eq!(bench.set(&alloc::format!("bob {described}")), described);
    assert_eq!(bench.acl.get("alice"), bench.acl.get("bob"));
    assert_eq!(
        bench.acl.declarations().last().as_deref(),
        Some("default on nopass sanitize-payload ~* &* +@all")
    );
}

#[test]
fn later_rules_about_a_command_replace_earlier_ones() {
    let mut bench = Bench::new();
    let tail = |described: String| described.split("resetchannels ").last().unwrap_or_default().to_string();
    assert_eq!(tail(bench.set("u +get -get +GET")), "-@all +get");
    assert_eq!(tail(bench.set("u reset +config|get -config|set +config")), "-@all +config");
    assert_eq!(tail(bench.set("u reset +@all -@write +set")), "+@all -@write +set");
    assert_eq!(tail(bench.set("u reset +select|0 +select|1 -select")), "-@all -select");
    assert_eq!(tail(bench.set("u nocommands")), "-@all");
}

#[test]
fn wrong_rules_change_nothing() {
    let mut bench = Bench::new();
    bench.set("u on ~a");
    let before = bench.acl.get("u").cloned();
    for (rules, error) in [
        ("%RX~a", "Error in ACL SETUSER modifier '%RX~a': Syntax error"),
        ("%~a", "Error in ACL SETUSER modifier '%~a': Syntax error"),
        ("%RR~a", "Error in ACL SETUSER modifier '%RR~a': Syntax error"),
        ("off nope", "Error in ACL SETUSER modifier 'nope': Syntax error"),
        ("+nosuch", "Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in ACL"),
        ("-select|0", "Error in ACL SETUSER modifier '-select|0': Unknown command or category name in ACL"),
        ("+@nosuch", "Error in ACL SETUSER modifier '+@nosuch': Unknown command or category name in ACL"),
        ("+select|", "Error in ACL SETUSER modifier '+select|': Syntax error"),
        (
            "+config|get|x",
            "Error in ACL SETUSER modifier '+config|get|x': Allowing first-arg of a subcommand is not supported",
        ),
        ("off (+set", "Unmatched parenthesis in acl selector starting at '(+set'."),
        (
            "<nope",
            "Error in ACL SETUSER modifier '<nope': The password you are trying to remove from the user does not exist",
        ),
        (
            "#12",
            "Error in ACL SETUSER modifier '#12': The password hash must be exactly 64 characters and contain only \
             lowercase hexadecimal characters",
        ),
        (
            "~* ~b",
            "Error in ACL SETUSER modifier '~b': Adding a pattern after the * pattern (or the 'allkeys' flag) is not \
             valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns",
        ),
    ] {
        assert_eq!(bench.set(&alloc::format!("u {rules}")), error);
        assert_eq!(bench.acl.get("u").cloned(), before, "{rules}");
    }
    assert_eq!(bench.set("\"a b\" on"), "Usernames can't contain spaces or null characters");
}

#[test]
fn commands_keys_and_channels_are_all_asked() {
    let mut bench = Bench::new();
    bench.set("u on ~a* %R~r* %W~w* &news +@all -@dangerous -set +set|a1");
    assert_eq!(bench.denies("u", "get a"), None);
    assert_eq!(bench.denies("u", "get r"), None);
    assert_eq!(bench.denies("u", "get w"), Some((Reason::Key, 1)));
    assert_eq!(bench.denies("u", "append w x"), None);
    assert_eq!(bench.denies("u", "append r x"), Some((Reason::Key, 1)));
    assert_eq!(bench.denies("u", "mget a b"), Some((Reason::Key, 2)));
    assert_eq!(bench.denies("u", "flushall"), Some((Reason::Command, 0)));
    assert_eq!(bench.denies("u", "set a1 x"), None);
    assert_eq!(bench.denies("u", "set a2 x"), Some((Reason::Command, 0)));
    assert_eq!(bench.denies("u", "publish news x"), None);
    assert_eq!(bench.denies("u", "publish other x"), Some((Reason::Channel, 1)));
    assert_eq!(bench.denies("u", "subscribe news other"), Some((Reason::Channel, 2)));
    assert_eq!(bench.denies("u", "psubscribe news"), None);
    assert_eq!(bench.denies("u", "psubscribe n*"), Some((Reason::Channel, 1)));
    assert_eq!(bench.denies("u", "unsubscribe other"), None);
    // Shard channels are no keys.
    assert_eq!(bench.denies("u", "spublish news x"), None);
    // AUTH is for everybody.
    assert_eq!(bench.denies("u", "auth x"), None);
}

#[test]
fn any_selector_will_do() {
    let mut bench = Bench::new();
    bench.set("u on +get ~a (+set ~b)");
    assert_eq!(bench.denies("u", "get a"), None);
    assert_eq!(bench.denies("u", "set b x"), None);
    assert_eq!(bench.denies("u", "set a x"), Some((Reason::Key, 1)));
    bench.set("u clearselectors");
    assert_eq!(bench.denies("u", "set b x"), Some((Reason::Command, 0)));
}

#[test]
fn passwords_open() {
    let mut bench = Bench::new();
    bench.set("u on >one >two");
    let accepts = |bench: &Bench, password: &str| bench.acl.get("u").unwrap().accepts(password.as_bytes());
    assert!(accepts(&bench, "one") && accepts(&bench, "two") && !accepts(&bench, "three"));
    bench.set("u <one");
    assert!(!accepts(&bench, "one"));
    bench.set("u nopass");
    assert!(accepts(&bench, "anything"));
    bench.set("u resetpass");
    assert!(!accepts(&bench, ""));
    bench.acl.set_default_password("secret");
    assert!(bench.acl.is_auth_required());
    bench.acl.set_default_password("");
    assert!(!bench.acl.is_auth_required());
}

#[test]
fn a_file_is_taken_whole_or_not_at_all() {
    let mut bench = Bench::new();
    bench.set("old on");
    let text = "# users\nuser alice on nopass (+get ~k)\n\nuser default off\n";
    bench.acl.load_text("users.acl", text, &bench.table).unwrap();
    assert_eq!(bench.acl.names().collect::<Vec<_>>(), ["alice", "default"]);
    let errors =
        bench.acl.load_text("users.acl", "user a on\nbob\nuser a\nuser c +nope\nuser d (+x", &bench.table);
    assert_eq!(
        errors.unwrap_err(),
        "users.acl:2 should start with user keyword followed by the username. WARNING: Duplicate user 'a' found on line \
         users.acl:3. users.acl:4: Unknown command or category name in ACL. users.acl:5: Unmatched parenthesis in \
         selector definition.WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
    );
    assert_eq!(bench.acl.names().collect::<Vec<_>>(), ["alice", "default"]);
}
