//! What arguments each command takes, as COMMAND DOCS tells: for clients that complete and check what is typed.
//!
//! ```text
//!   key(0)                    the key of the command's first key specification
//!   text("value")             a word of any kind; also int, double, pattern, time
//!   word("NX")                the word itself
//!   text("x").after("MATCH")  MATCH and the argument
//!   one_of("name", …)         one of several
//!   block("name", …)          several in this order
//! ```
//!
//! Always true: names are sorted; every command that takes arguments has a row, and no other, but for DEBUG, which tells nobody; the facts are those of 7.2, and of the
//! later version where a command is newer.
//!
//! Not here: what the commands make of them: nothing is parsed by this table.

/// One argument.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name; empty if it is that of the word, in small letters.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Which of the command's key specifications finds it, if it names keys.
    pub specification: Option<usize>,
    /// The word itself, or the one that comes before.
    pub token: Option<&'static str>,
    /// How a hint shows it, if not by its name.
    pub shown: Option<&'static str>,
    /// May be left out.
    pub is_optional: bool,
    /// May be several.
    pub is_several: bool,
    /// If several, the token comes before each.
    pub has_token_each: bool,
    /// Version it came with, if later than the command.
    pub since: Option<&'static str>,
    /// Version from which on it should not be used any more.
    pub until: Option<&'static str>,
}

/// What an argument is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Anything.
    Text,
    /// An integer.
    Int,
    /// A floating point number.
    Double,
    /// A key.
    Key,
    /// A glob-style pattern.
    Pattern,
    /// A time since 1970.
    Time,
    /// A word that stands for itself.
    Word,
    /// One of these.
    OneOf(&'static [Argument]),
    /// These, in this order.
    Block(&'static [Argument]),
}

impl Argument {
    const fn new(name: &'static str, kind: Kind) -> Argument {
        Argument {
            name,
            kind,
            specification: None,
            token: None,
            shown: None,
            is_optional: false,
            is_several: false,
            has_token_each: false,
            since: None,
            until: None,
        }
    }

    const fn named(self, name: &'static str) -> Argument {
        Argument { name, ..self }
    }

    const fn found_by(self, specification: usize) -> Argument {
        Argument { specification: Some(specification), ..self }
    }

    const fn after(self, token: &'static str) -> Argument {
        Argument { token: Some(token), ..self }
    }

    const fn shown(self, shown: &'static str) -> Argument {
        Argument { shown: Some(shown), ..self }
    }

    const fn optional(self) -> Argument {
        Argument { is_optional: true, ..self }
    }

    const fn several(self) -> Argument {
        Argument { is_several: true, ..self }
    }

    const fn each_after_token(self) -> Argument {
        Argument { has_token_each: true, ..self }
    }

    const fn since(self, version: &'static str) -> Argument {
        Argument { since: Some(version), ..self }
    }

    const fn until(self, version: &'static str) -> Argument {
        Argument { until: Some(version), ..self }
    }
}

const fn text(name: &'static str) -> Argument {
    Argument::new(name, Kind::Text)
}

const fn int(name: &'static str) -> Argument {
    Argument::new(name, Kind::Int)
}

const fn double(name: &'static str) -> Argument {
    Argument::new(name, Kind::Double)
}

const fn pattern(name: &'static str) -> Argument {
    Argument::new(name, Kind::Pattern)
}

const fn time(name: &'static str) -> Argument {
    Argument::new(name, Kind::Time)
}

const fn key(specification: usize) -> Argument {
    Argument::new("key", Kind::Key).found_by(specification)
}

const fn word(token: &'static str) -> Argument {
    Argument::new("", Kind::Word).after(token)
}

const fn one_of(name: &'static str, these: &'static [Argument]) -> Argument {
    Argument::new(name, Kind::OneOf(these))
}

const fn block(name: &'static str, these: &'static [Argument]) -> Argument {
    Argument::new(name, Kind::Block(these))
}

/// The arguments of the command of this full name, behind its name.
pub fn of(name: &str) -> &'static [Argument] {
    match ARGUMENTS.binary_search_by(|(known, _)| (*known).cmp(name)) {
        Ok(index) => ARGUMENTS[index].1,
        Err(_) => &[],
    }
}

/// By full name.
#[rustfmt::skip] // A paragraph for each command, not a line for each argument.
const ARGUMENTS: &[(&str, &[Argument])] = &[
    ("acl|cat", &[text("category").optional()]),
    ("acl|deluser", &[text("username").several()]),
    ("acl|dryrun", &[text("username"), text("command"), text("arg").optional().several()]),
    ("acl|genpass", &[int("bits").optional()]),
    ("acl|getuser", &[text("username")]),
    ("acl|log", &[one_of("operation", &[int("count"), word("RESET")]).optional()]),
    ("acl|setuser", &[text("username"), text("rule").optional().several()]),
    ("append", &[key(0), text("value")]),
    ("auth", &[text("username").optional().since("6.0.0"), text("password")]),
    ("backup", &[text("directory").after("TO")]),
    ("bgsave", &[one_of("operation", &[word("SCHEDULE").since("3.2.2"), word("CANCEL").since("8.1.0")]).optional()]),
    ("bitcount", &[key(0), block("range", &[int("start"), int("end"), one_of("unit", &[word("BYTE"),
        word("BIT")]).optional().since("7.0.0")]).optional()]),
    ("bitfield", &[key(0), one_of("operation", &[block("get-block", &[text("encoding"), int("offset")]).after("GET"),
        block("write", &[one_of("overflow-block", &[word("WRAP"), word("SAT"), word("FAIL")]).after("OVERFLOW").optional(),
        one_of("write-operation", &[block("set-block", &[text("encoding"), int("offset"), int("value")]).after("SET"),
        block("incrby-block", &[text("encoding"), int("offset"),
        int("increment")]).after("INCRBY")])])]).optional().several()]),
    ("bitfield_ro", &[key(0), block("get-block", &[text("encoding"),
        int("offset")]).after("GET").optional().several().each_after_token()]),
    ("bitop", &[one_of("operation", &[word("AND"), word("OR"), word("XOR"), word("NOT")]), key(0).named("destkey"),
        key(1).several()]),
    ("bitpos", &[key(0), int("bit"), block("range", &[int("start"), block("end-unit-block", &[int("end"), one_of("unit",
        &[word("BYTE"), word("BIT")]).optional().since("7.0.0")]).optional()]).optional()]),
    ("blmove", &[key(0).named("source"), key(1).named("destination"), one_of("wherefrom", &[word("LEFT"), word("RIGHT")]),
        one_of("whereto", &[word("LEFT"), word("RIGHT")]), double("timeout")]),
    ("blmpop", &[double("timeout"), int("numkeys"), key(0).several(), one_of("where", &[word("LEFT"), word("RIGHT")]),
        int("count").after("COUNT").optional()]),
    ("blpop", &[key(0).several(), double("timeout")]),
    ("brpop", &[key(0).several(), double("timeout")]),
    ("brpoplpush", &[key(0).named("source"), key(1).named("destination"), double("timeout")]),
    ("bzmpop", &[double("timeout"), int("numkeys"), key(0).several(), one_of("where", &[word("MIN"), word("MAX")]),
        int("count").after("COUNT").optional()]),
    ("bzpopmax", &[key(0).several(), double("timeout")]),
    ("bzpopmin", &[key(0).several(), double("timeout")]),
    ("client|caching", &[one_of("mode", &[word("YES"), word("NO")])]),
    ("client|kill", &[one_of("filter", &[text("old-format").shown("ip:port").until("2.8.12"), one_of("new-format",
        &[int("client-id").after("ID").optional().since("2.8.12"), one_of("client-type", &[word("NORMAL"),
        word("MASTER").since("3.2.0"), word("SLAVE"), word("REPLICA").since("5.0.0"),
        word("PUBSUB")]).after("TYPE").optional().since("2.8.12"), text("username").after("USER").optional(),
        text("addr").after("ADDR").shown("ip:port").optional(),
        text("laddr").after("LADDR").shown("ip:port").optional().since("6.2.0"), one_of("skipme", &[word("YES"),
        word("NO")]).after("SKIPME").optional()]).several()])]),
    ("client|list", &[one_of("client-type", &[word("NORMAL"), word("MASTER"), word("REPLICA"),
        word("PUBSUB")]).after("TYPE").optional().since("5.0.0"),
        int("client-id").after("ID").optional().several().since("6.2.0")]),
    ("client|no-evict", &[one_of("enabled", &[word("ON"), word("OFF")])]),
    ("client|no-touch", &[one_of("enabled", &[word("ON"), word("OFF")])]),
    ("client|pause", &[int("timeout"), one_of("mode", &[word("WRITE"), word("ALL")]).optional().since("6.2.0")]),
    ("client|reply", &[one_of("action", &[word("ON"), word("OFF"), word("SKIP")])]),
    ("client|setinfo", &[one_of("attr", &[text("libname").after("LIB-NAME"), text("libver").after("LIB-VER")])]),
    ("client|setname", &[text("connection-name")]),
    ("client|tracking", &[one_of("status", &[word("ON"), word("OFF")]), int("client-id").after("REDIRECT").optional(),
        text("prefix").after("PREFIX").optional().several().each_after_token(), word("BCAST").optional(),
        word("OPTIN").optional(), word("OPTOUT").optional(), word("NOLOOP").optional()]),
    ("client|unblock", &[int("client-id"), one_of("unblock-type", &[word("TIMEOUT"), word("ERROR")]).optional()]),
    ("cluster|addslots", &[int("slot").several()]),
    ("cluster|addslotsrange", &[block("range", &[int("start-slot"), int("end-slot")]).several()]),
    ("cluster|count-failure-reports", &[text("node-id")]),
    ("cluster|countkeysinslot", &[int("slot")]),
    ("cluster|delslots", &[int("slot").several()]),
    ("cluster|delslotsrange", &[block("range", &[int("start-slot"), int("end-slot")]).several()]),
    ("cluster|failover", &[one_of("options", &[word("FORCE"), word("TAKEOVER")]).optional()]),
    ("cluster|forget", &[text("node-id")]),
    ("cluster|getkeysinslot", &[int("slot"), int("count")]),
    ("cluster|keyslot", &[text("key")]),
    ("cluster|meet", &[text("ip"), int("port"), int("cluster-bus-port").optional().since("4.0.0")]),
    ("cluster|replicas", &[text("node-id")]),
    ("cluster|replicate", &[text("node-id")]),
    ("cluster|reset", &[one_of("reset-type", &[word("HARD"), word("SOFT")]).optional()]),
    ("cluster|set-config-epoch", &[int("config-epoch")]),
    ("cluster|setslot", &[int("slot"), one_of("subcommand", &[text("importing").after("IMPORTING").shown("node-id"),
        text("migrating").after("MIGRATING").shown("node-id"), text("node").after("NODE").shown("node-id"),
        word("STABLE")])]),
    ("cluster|slaves", &[text("node-id")]),
    ("command|docs", &[text("command-name").optional().several()]),
    ("command|getkeys", &[text("command"), text("arg").optional().several()]),
    ("command|getkeysandflags", &[text("command"), text("arg").optional().several()]),
    ("command|info", &[text("command-name").optional().several()]),
    ("command|list", &[one_of("filterby", &[text("module-name").after("MODULE"), text("category").after("ACLCAT"),
        pattern("pattern").after("PATTERN")]).after("FILTERBY").optional()]),
    ("config|get", &[text("parameter").several()]),
    ("config|set", &[block("data", &[text("parameter"), text("value")]).several()]),
    ("copy", &[key(0).named("source"), key(1).named("destination"), int("destination-db").after("DB").optional(),
        word("REPLACE").optional()]),
    ("decr", &[key(0)]),
    ("decrby", &[key(0), int("decrement")]),
    ("del", &[key(0).several()]),
    ("dump", &[key(0)]),
    ("echo", &[text("message")]),
    ("eval", &[text("script"), int("numkeys"), key(0).optional().several(), text("arg").optional().several()]),
    ("eval_ro", &[text("script"), int("numkeys"), key(0).optional().several(), text("arg").optional().several()]),
    ("evalsha", &[text("sha1"), int("numkeys"), key(0).optional().several(), text("arg").optional().several()]),
    ("evalsha_ro", &[text("sha1"), int("numkeys"), key(0).optional().several(), text("arg").optional().several()]),
    ("exists", &[key(0).several()]),
    ("expire", &[key(0), int("seconds"), one_of("condition", &[word("NX"), word("XX"), word("GT"),
        word("LT")]).optional().since("7.0.0")]),
    ("expireat", &[key(0), time("unix-time-seconds"), one_of("condition", &[word("NX"), word("XX"), word("GT"),
        word("LT")]).optional().since("7.0.0")]),
    ("expiretime", &[key(0)]),
    ("failover", &[block("target", &[text("host"), int("port"), word("FORCE").optional()]).after("TO").optional(),
        word("ABORT").optional(), int("milliseconds").after("TIMEOUT").optional()]),
    ("fcall", &[text("function"), int("numkeys"), key(0).optional().several(), text("arg").optional().several()]),
    ("fcall_ro", &[text("function"), int("numkeys"), key(0).optional().several(), text("arg").optional().several()]),
    ("flushall", &[one_of("flush-type", &[word("ASYNC").since("4.0.0"), word("SYNC").since("6.2.0")]).optional()]),
    ("flushdb", &[one_of("flush-type", &[word("ASYNC").since("4.0.0"), word("SYNC").since("6.2.0")]).optional()]),
    ("function|delete", &[text("library-name")]),
    ("function|flush", &[one_of("flush-type", &[word("ASYNC"), word("SYNC")]).optional()]),
    ("function|list", &[text("library-name-pattern").after("LIBRARYNAME").optional(), word("WITHCODE").optional()]),
    ("function|load", &[word("REPLACE").optional(), text("function-code")]),
    ("function|restore", &[text("serialized-value"), one_of("policy", &[word("FLUSH"), word("APPEND"),
        word("REPLACE")]).optional()]),
    ("geoadd", &[key(0), one_of("condition", &[word("NX"), word("XX")]).optional().since("6.2.0"),
        word("CH").named("change").optional().since("6.2.0"), block("data", &[double("longitude"), double("latitude"),
        text("member")]).several()]),
    ("geodist", &[key(0), text("member1"), text("member2"), one_of("unit", &[word("M"), word("KM"), word("FT"),
        word("MI")]).optional()]),
    ("geohash", &[key(0), text("member").optional().several()]),
    ("geopos", &[key(0), text("member").optional().several()]),
    ("georadius", &[key(0), double("longitude"), double("latitude"), double("radius"), one_of("unit", &[word("M"),
        word("KM"), word("FT"), word("MI")]), word("WITHCOORD").optional(), word("WITHDIST").optional(),
        word("WITHHASH").optional(), block("count-block", &[int("count").after("COUNT"),
        word("ANY").optional().since("6.2.0")]).optional(), one_of("order", &[word("ASC"), word("DESC")]).optional(),
        one_of("store", &[key(1).named("storekey").after("STORE").shown("key"),
        key(2).named("storedistkey").after("STOREDIST").shown("key")]).optional()]),
    ("georadius_ro", &[key(0), double("longitude"), double("latitude"), double("radius"), one_of("unit", &[word("M"),
        word("KM"), word("FT"), word("MI")]), word("WITHCOORD").optional(), word("WITHDIST").optional(),
        word("WITHHASH").optional(), block("count-block", &[int("count").after("COUNT"),
        word("ANY").optional().since("6.2.0")]).optional(), one_of("order", &[word("ASC"), word("DESC")]).optional()]),
    ("georadiusbymember", &[key(0), text("member"), double("radius"), one_of("unit", &[word("M"), word("KM"), word("FT"),
        word("MI")]), word("WITHCOORD").optional(), word("WITHDIST").optional(), word("WITHHASH").optional(),
        block("count-block", &[int("count").after("COUNT"), word("ANY").optional()]).optional(), one_of("order",
        &[word("ASC"), word("DESC")]).optional(), one_of("store", &[key(1).named("storekey").after("STORE").shown("key"),
        key(2).named("storedistkey").after("STOREDIST").shown("key")]).optional()]),
    ("georadiusbymember_ro", &[key(0), text("member"), double("radius"), one_of("unit", &[word("M"), word("KM"), word("FT"),
        word("MI")]), word("WITHCOORD").optional(), word("WITHDIST").optional(), word("WITHHASH").optional(),
        block("count-block", &[int("count").after("COUNT"), word("ANY").optional()]).optional(), one_of("order",
        &[word("ASC"), word("DESC")]).optional()]),
    ("geosearch", &[key(0), one_of("from", &[text("member").after("FROMMEMBER"), block("fromlonlat", &[double("longitude"),
        double("latitude")]).after("FROMLONLAT")]), one_of("by", &[block("circle", &[double("radius").after("BYRADIUS"),
        one_of("unit", &[word("M"), word("KM"), word("FT"), word("MI")])]), block("box", &[double("width").after("BYBOX"),
        double("height"), one_of("unit", &[word("M"), word("KM"), word("FT"), word("MI")])])]), one_of("order",
        &[word("ASC"), word("DESC")]).optional(), block("count-block", &[int("count").after("COUNT"),
        word("ANY").optional()]).optional(), word("WITHCOORD").optional(), word("WITHDIST").optional(),
        word("WITHHASH").optional()]),
    ("geosearchstore", &[key(0).named("destination"), key(1).named("source"), one_of("from",
        &[text("member").after("FROMMEMBER"), block("fromlonlat", &[double("longitude"),
        double("latitude")]).after("FROMLONLAT")]), one_of("by", &[block("circle", &[double("radius").after("BYRADIUS"),
        one_of("unit", &[word("M"), word("KM"), word("FT"), word("MI")])]), block("box", &[double("width").after("BYBOX"),
        double("height"), one_of("unit", &[word("M"), word("KM"), word("FT"), word("MI")])])]), one_of("order",
        &[word("ASC"), word("DESC")]).optional(), block("count-block", &[int("count").after("COUNT"),
        word("ANY").optional()]).optional(), word("STOREDIST").optional()]),
    ("get", &[key(0)]),
    ("getbit", &[key(0), int("offset")]),
    ("getdel", &[key(0)]),
    ("getex", &[key(0), one_of("expiration", &[int("seconds").after("EX"), int("milliseconds").after("PX"),
        time("unix-time-seconds").after("EXAT"), time("unix-time-milliseconds").after("PXAT"),
        word("PERSIST")]).optional()]),
    ("getrange", &[key(0), int("start"), int("end")]),
    ("getset", &[key(0), text("value")]),
    ("hdel", &[key(0), text("field").several()]),
    ("hello", &[block("arguments", &[int("protover"), block("auth", &[text("username"),
        text("password")]).after("AUTH").optional(), text("clientname").after("SETNAME").optional()]).optional()]),
    ("hexists", &[key(0), text("field")]),
    ("hexpire", &[key(0), int("seconds"), one_of("condition", &[word("NX"), word("XX"), word("GT"), word("LT")]).optional(),
        block("fields", &[int("numfields"), text("field").several()]).after("FIELDS")]),
    ("hexpireat", &[key(0), time("unix-time-seconds"), one_of("condition", &[word("NX"), word("XX"), word("GT"),
        word("LT")]).optional(), block("fields", &[int("numfields"), text("field").several()]).after("FIELDS")]),
    ("hexpiretime", &[key(0), block("fields", &[int("numfields"), text("field").several()]).after("FIELDS")]),
    ("hget", &[key(0), text("field")]),
    ("hgetall", &[key(0)]),
    ("hincrby", &[key(0), text("field"), int("increment")]),
    ("hincrbyfloat", &[key(0), text("field"), double("increment")]),
    ("hkeys", &[key(0)]),
    ("hlen", &[key(0)]),
    ("hmget", &[key(0), text("field").several()]),
    ("hmset", &[key(0), block("data", &[text("field"), text("value")]).several()]),
    ("hpersist", &[key(0), block("fields", &[int("numfields"), text("field").several()]).after("FIELDS")]),
    ("hpexpire", &[key(0), int("milliseconds"), one_of("condition", &[word("NX"), word("XX"), word("GT"),
        word("LT")]).optional(), block("fields", &[int("numfields"), text("field").several()]).after("FIELDS")]),
    ("hpexpireat", &[key(0), time("unix-time-milliseconds"), one_of("condition", &[word("NX"), word("XX"), word("GT"),
        word("LT")]).optional(), block("fields", &[int("numfields"), text("field").several()]).after("FIELDS")]),
    ("hpexpiretime", &[key(0), block("fields", &[int("numfields"), text("field").several()]).after("FIELDS")]),
    ("hpttl", &[key(0), block("fields", &[int("numfields"), text("field").several()]).after("FIELDS")]),
    ("hrandfield", &[key(0), block("options", &[int("count"), word("WITHVALUES").optional()]).optional()]),
    ("hscan", &[key(0), int("cursor"), pattern("pattern").after("MATCH").optional(), int("count").after("COUNT").optional()]),
    ("hset", &[key(0), block("data", &[text("field"), text("value")]).several()]),
    ("hsetnx", &[key(0), text("field"), text("value")]),
    ("hstrlen", &[key(0), text("field")]),
    ("httl", &[key(0), block("fields", &[int("numfields"), text("field").several()]).after("FIELDS")]),
    ("hvals", &[key(0)]),
    ("incr", &[key(0)]),
    ("incrby", &[key(0), int("increment")]),
    ("incrbyfloat", &[key(0), double("increment")]),
    ("info", &[text("section").optional().several()]),
    ("keys", &[pattern("pattern")]),
    ("latency|graph", &[text("event")]),
    ("latency|histogram", &[text("command").optional().several()]),
    ("latency|history", &[text("event")]),
    ("latency|reset", &[text("event").optional().several()]),
    ("lcs", &[key(0).named("key1"), key(0).named("key2"), word("LEN").optional(), word("IDX").optional(),
        int("min-match-len").after("MINMATCHLEN").optional(), word("WITHMATCHLEN").optional()]),
    ("lindex", &[key(0), int("index")]),
    ("linsert", &[key(0), one_of("where", &[word("BEFORE"), word("AFTER")]), text("pivot"), text("element")]),
    ("llen", &[key(0)]),
    ("lmove", &[key(0).named("source"), key(1).named("destination"), one_of("wherefrom", &[word("LEFT"), word("RIGHT")]),
        one_of("whereto", &[word("LEFT"), word("RIGHT")])]),
    ("lmpop", &[int("numkeys"), key(0).several(), one_of("where", &[word("LEFT"), word("RIGHT")]),
        int("count").after("COUNT").optional()]),
    ("lolwut", &[int("version").after("VERSION").optional()]),
    ("lpop", &[key(0), int("count").optional().since("6.2.0")]),
    ("lpos", &[key(0), text("element"), int("rank").after("RANK").optional(), int("num-matches").after("COUNT").optional(),
        int("len").after("MAXLEN").optional()]),
    ("lpush", &[key(0), text("element").several()]),
    ("lpushx", &[key(0), text("element").several()]),
    ("lrange", &[key(0), int("start"), int("stop")]),
    ("lrem", &[key(0), int("count"), text("element")]),
    ("lset", &[key(0), int("index"), text("element")]),
    ("ltrim", &[key(0), int("start"), int("stop")]),
    ("memory|usage", &[key(0), int("count").after("SAMPLES").optional()]),
    ("mget", &[key(0).several()]),
    ("migrate", &[text("host"), int("port"), one_of("key-selector", &[key(0), word("").named("empty-string")]),
        int("destination-db"), int("timeout"), word("COPY").optional().since("3.0.0"),
        word("REPLACE").optional().since("3.0.0"), one_of("authentication",
        &[text("auth").after("AUTH").shown("password").since("4.0.7"), block("auth2", &[text("username"),
        text("password")]).after("AUTH2").since("6.0.0")]).optional(),
        key(1).named("keys").after("KEYS").shown("key").optional().several().since("3.0.6")]),
    ("module|load", &[text("path"), text("arg").optional().several()]),
    ("module|loadex", &[text("path"), block("configs", &[text("name"),
        text("value")]).after("CONFIG").optional().several().each_after_token(),
        text("args").after("ARGS").optional().several()]),
    ("module|unload", &[text("name")]),
    ("move", &[key(0), int("db")]),
    ("mset", &[block("data", &[key(0), text("value")]).several()]),
    ("msetnx", &[block("data", &[key(0), text("value")]).several()]),
    ("object|encoding", &[key(0)]),
    ("object|freq", &[key(0)]),
    ("object|idletime", &[key(0)]),
    ("object|refcount", &[key(0)]),
    ("persist", &[key(0)]),
    ("pexpire", &[key(0), int("milliseconds"), one_of("condition", &[word("NX"), word("XX"), word("GT"),
        word("LT")]).optional().since("7.0.0")]),
    ("pexpireat", &[key(0), time("unix-time-milliseconds"), one_of("condition", &[word("NX"), word("XX"), word("GT"),
        word("LT")]).optional().since("7.0.0")]),
    ("pexpiretime", &[key(0)]),
    ("pfadd", &[key(0), text("element").optional().several()]),
    ("pfcount", &[key(0).several()]),
    ("pfdebug", &[text("subcommand"), key(0)]),
    ("pfmerge", &[key(0).named("destkey"), key(1).named("sourcekey").optional().several()]),
    ("ping", &[text("message").optional()]),
    ("psetex", &[key(0), int("milliseconds"), text("value")]),
    ("psubscribe", &[pattern("pattern").several()]),
    ("psync", &[text("replicationid"), int("offset")]),
    ("pttl", &[key(0)]),
    ("publish", &[text("channel"), text("message")]),
    ("pubsub|channels", &[pattern("pattern").optional()]),
    ("pubsub|numsub", &[text("channel").optional().several()]),
    ("pubsub|shardchannels", &[pattern("pattern").optional()]),
    ("pubsub|shardnumsub", &[text("shardchannel").optional().several()]),
    ("punsubscribe", &[pattern("pattern").optional().several()]),
    ("rename", &[key(0), key(1).named("newkey")]),
    ("renamenx", &[key(0), key(1).named("newkey")]),
    ("replicaof", &[one_of("args", &[block("host-port", &[text("host"), int("port")]), block("no-one", &[word("NO"),
        word("ONE")])])]),
    ("restore", &[key(0), int("ttl"), text("serialized-value"), word("REPLACE").optional().since("3.0.0"),
        word("ABSTTL").optional().since("5.0.0"), int("seconds").after("IDLETIME").optional().since("5.0.0"),
        int("frequency").after("FREQ").optional().since("5.0.0")]),
    ("rpop", &[key(0), int("count").optional().since("6.2.0")]),
    ("rpoplpush", &[key(0).named("source"), key(1).named("destination")]),
    ("rpush", &[key(0), text("element").several()]),
    ("rpushx", &[key(0), text("element").several()]),
    ("sadd", &[key(0), text("member").several()]),
    ("scan", &[int("cursor"), pattern("pattern").after("MATCH").optional(), int("count").after("COUNT").optional(),
        text("type").after("TYPE").optional().since("6.0.0")]),
    ("scard", &[key(0)]),
    ("script|debug", &[one_of("mode", &[word("YES"), word("SYNC"), word("NO")])]),
    ("script|exists", &[text("sha1").several()]),
    ("script|flush", &[one_of("flush-type", &[word("ASYNC"), word("SYNC")]).optional().since("6.2.0")]),
    ("script|load", &[text("script")]),
    ("sdiff", &[key(0).several()]),
    ("sdiffstore", &[key(0).named("destination"), key(1).several()]),
    ("select", &[int("index")]),
    ("set", &[key(0), text("value"), one_of("condition", &[word("NX"), word("XX")]).optional().since("2.6.12"),
        word("GET").optional().since("6.2.0"), one_of("expiration", &[int("seconds").after("EX").since("2.6.12"),
        int("milliseconds").after("PX").since("2.6.12"), time("unix-time-seconds").after("EXAT").since("6.2.0"),
        time("unix-time-milliseconds").after("PXAT").since("6.2.0"), word("KEEPTTL").since("6.0.0")]).optional()]),
    ("setbit", &[key(0), int("offset"), int("value")]),
    ("setex", &[key(0), int("seconds"), text("value")]),
    ("setnx", &[key(0), text("value")]),
    ("setrange", &[key(0), int("offset"), text("value")]),
    ("shutdown", &[one_of("save-selector", &[word("NOSAVE"), word("SAVE")]).optional(),
        word("NOW").optional().since("7.0.0"), word("FORCE").optional().since("7.0.0"),
        word("ABORT").optional().since("7.0.0")]),
    ("sinter", &[key(0).several()]),
    ("sintercard", &[int("numkeys"), key(0).several(), int("limit").after("LIMIT").optional()]),
    ("sinterstore", &[key(0).named("destination"), key(1).several()]),
    ("sismember", &[key(0), text("member")]),
    ("slaveof", &[one_of("args", &[block("host-port", &[text("host"), int("port")]), block("no-one", &[word("NO"),
        word("ONE")])])]),
    ("slowlog|get", &[int("count").optional()]),
    ("smembers", &[key(0)]),
    ("smismember", &[key(0), text("member").several()]),
    ("smove", &[key(0).named("source"), key(1).named("destination"), text("member")]),
    ("sort", &[key(0), pattern("by-pattern").found_by(1).after("BY").shown("pattern").optional(), block("limit",
        &[int("offset"), int("count")]).after("LIMIT").optional(),
        pattern("get-pattern").found_by(1).after("GET").shown("pattern").optional().several().each_after_token(),
        one_of("order", &[word("ASC"), word("DESC")]).optional(), word("ALPHA").named("sorting").optional(),
        key(2).named("destination").after("STORE").optional()]),
    ("sort_ro", &[key(0), pattern("by-pattern").found_by(1).after("BY").shown("pattern").optional(), block("limit",
        &[int("offset"), int("count")]).after("LIMIT").optional(),
        pattern("get-pattern").found_by(1).after("GET").shown("pattern").optional().several().each_after_token(),
        one_of("order", &[word("ASC"), word("DESC")]).optional(), word("ALPHA").named("sorting").optional()]),
    ("spop", &[key(0), int("count").optional().since("3.2.0")]),
    ("spublish", &[text("shardchannel"), text("message")]),
    ("srandmember", &[key(0), int("count").optional().since("2.6.0")]),
    ("srem", &[key(0), text("member").several()]),
    ("sscan", &[key(0), int("cursor"), pattern("pattern").after("MATCH").optional(), int("count").after("COUNT").optional()]),
    ("ssubscribe", &[text("shardchannel").several()]),
    ("strlen", &[key(0)]),
    ("subscribe", &[text("channel").several()]),
    ("substr", &[key(0), int("start"), int("end")]),
    ("sunion", &[key(0).several()]),
    ("sunionstore", &[key(0).named("destination"), key(1).several()]),
    ("sunsubscribe", &[text("shardchannel").optional().several()]),
    ("swapdb", &[int("index1"), int("index2")]),
    ("touch", &[key(0).several()]),
    ("ttl", &[key(0)]),
    ("type", &[key(0)]),
    ("unlink", &[key(0).several()]),
    ("unsubscribe", &[text("channel").optional().several()]),
    ("wait", &[int("numreplicas"), int("timeout")]),
    ("waitaof", &[int("numlocal"), int("numreplicas"), int("timeout")]),
    ("watch", &[key(0).several()]),
    ("xack", &[key(0), text("group"), text("id").several()]),
    ("xadd", &[key(0), word("NOMKSTREAM").optional().since("6.2.0"), block("trim", &[one_of("strategy", &[word("MAXLEN"),
        word("MINID").since("6.2.0")]), one_of("operator", &[word("=").named("equal"),
        word("~").named("approximately")]).optional(), text("threshold"),
        int("count").after("LIMIT").optional().since("6.2.0")]).optional(), one_of("id-selector",
        &[word("*").named("auto-id"), text("id")]), block("data", &[text("field"), text("value")]).several()]),
    ("xautoclaim", &[key(0), text("group"), text("consumer"), text("min-idle-time"), text("start"),
        int("count").after("COUNT").optional(), word("JUSTID").optional()]),
    ("xclaim", &[key(0), text("group"), text("consumer"), text("min-idle-time"), text("id").several(),
        int("ms").after("IDLE").optional(), time("unix-time-milliseconds").after("TIME").optional(),
        int("count").after("RETRYCOUNT").optional(), word("FORCE").optional(), word("JUSTID").optional(),
        text("lastid").after("LASTID").optional()]),
    ("xdel", &[key(0), text("id").several()]),
    ("xgroup|create", &[key(0), text("group"), one_of("id-selector", &[text("id"), word("$").named("new-id")]),
        word("MKSTREAM").optional(), int("entries-read").after("ENTRIESREAD").optional()]),
    ("xgroup|createconsumer", &[key(0), text("group"), text("consumer")]),
    ("xgroup|delconsumer", &[key(0), text("group"), text("consumer")]),
    ("xgroup|destroy", &[key(0), text("group")]),
    ("xgroup|setid", &[key(0), text("group"), one_of("id-selector", &[text("id"), word("$").named("new-id")]),
        int("entriesread").after("ENTRIESREAD").shown("entries-read").optional()]),
    ("xinfo|consumers", &[key(0), text("group")]),
    ("xinfo|groups", &[key(0)]),
    ("xinfo|stream", &[key(0), block("full-block", &[word("FULL"), int("count").after("COUNT").optional()]).optional()]),
    ("xlen", &[key(0)]),
    ("xpending", &[key(0), text("group"), block("filters", &[int("min-idle-time").after("IDLE").optional().since("6.2.0"),
        text("start"), text("end"), int("count"), text("consumer").optional()]).optional()]),
    ("xrange", &[key(0), text("start"), text("end"), int("count").after("COUNT").optional()]),
    ("xread", &[int("count").after("COUNT").optional(), int("milliseconds").after("BLOCK").optional(), block("streams",
        &[key(0).several(), text("id").several()]).after("STREAMS")]),
    ("xreadgroup", &[block("group-block", &[text("group"), text("consumer")]).after("GROUP"),
        int("count").after("COUNT").optional(), int("milliseconds").after("BLOCK").optional(), word("NOACK").optional(),
        block("streams", &[key(0).several(), text("id").several()]).after("STREAMS")]),
    ("xrevrange", &[key(0), text("end"), text("start"), int("count").after("COUNT").optional()]),
    ("xsetid", &[key(0), text("last-id"), int("entries-added").after("ENTRIESADDED").optional().since("7.0.0"),
        text("max-deleted-id").after("MAXDELETEDID").optional().since("7.0.0")]),
    ("xtrim", &[key(0), block("trim", &[one_of("strategy", &[word("MAXLEN"), word("MINID").since("6.2.0")]),
        one_of("operator", &[word("=").named("equal"), word("~").named("approximately")]).optional(), text("threshold"),
        int("count").after("LIMIT").optional().since("6.2.0")])]),
    ("zadd", &[key(0), one_of("condition", &[word("NX"), word("XX")]).optional().since("3.0.2"), one_of("comparison",
        &[word("GT"), word("LT")]).optional().since("6.2.0"), word("CH").named("change").optional().since("3.0.2"),
        word("INCR").named("increment").optional().since("3.0.2"), block("data", &[double("score"),
        text("member")]).several()]),
    ("zcard", &[key(0)]),
    ("zcount", &[key(0), double("min"), double("max")]),
    ("zdiff", &[int("numkeys"), key(0).several(), word("WITHSCORES").optional()]),
    ("zdiffstore", &[key(0).named("destination"), int("numkeys"), key(1).several()]),
    ("zincrby", &[key(0), int("increment"), text("member")]),
    ("zinter", &[int("numkeys"), key(0).several(), int("weight").after("WEIGHTS").optional().several(), one_of("aggregate",
        &[word("SUM"), word("MIN"), word("MAX")]).after("AGGREGATE").optional(), word("WITHSCORES").optional()]),
    ("zintercard", &[int("numkeys"), key(0).several(), int("limit").after("LIMIT").optional()]),
    ("zinterstore", &[key(0).named("destination"), int("numkeys"), key(1).several(),
        int("weight").after("WEIGHTS").optional().several(), one_of("aggregate", &[word("SUM"), word("MIN"),
        word("MAX")]).after("AGGREGATE").optional()]),
    ("zlexcount", &[key(0), text("min"), text("max")]),
    ("zmpop", &[int("numkeys"), key(0).several(), one_of("where", &[word("MIN"), word("MAX")]),
        int("count").after("COUNT").optional()]),
    ("zmscore", &[key(0), text("member").several()]),
    ("zpopmax", &[key(0), int("count").optional()]),
    ("zpopmin", &[key(0), int("count").optional()]),
    ("zrandmember", &[key(0), block("options", &[int("count"), word("WITHSCORES").optional()]).optional()]),
    ("zrange", &[key(0), text("start"), text("stop"), one_of("sortby", &[word("BYSCORE"),
        word("BYLEX")]).optional().since("6.2.0"), word("REV").optional().since("6.2.0"), block("limit", &[int("offset"),
        int("count")]).after("LIMIT").optional().since("6.2.0"), word("WITHSCORES").optional()]),
    ("zrangebylex", &[key(0), text("min"), text("max"), block("limit", &[int("offset"),
        int("count")]).after("LIMIT").optional()]),
    ("zrangebyscore", &[key(0), double("min"), double("max"), word("WITHSCORES").optional().since("2.0.0"), block("limit",
        &[int("offset"), int("count")]).after("LIMIT").optional()]),
    ("zrangestore", &[key(0).named("dst"), key(1).named("src"), text("min"), text("max"), one_of("sortby",
        &[word("BYSCORE"), word("BYLEX")]).optional(), word("REV").optional(), block("limit", &[int("offset"),
        int("count")]).after("LIMIT").optional()]),
    ("zrank", &[key(0), text("member"), word("WITHSCORE").optional()]),
    ("zrem", &[key(0), text("member").several()]),
    ("zremrangebylex", &[key(0), text("min"), text("max")]),
    ("zremrangebyrank", &[key(0), int("start"), int("stop")]),
    ("zremrangebyscore", &[key(0), double("min"), double("max")]),
    ("zrevrange", &[key(0), int("start"), int("stop"), word("WITHSCORES").optional()]),
    ("zrevrangebylex", &[key(0), text("max"), text("min"), block("limit", &[int("offset"),
        int("count")]).after("LIMIT").optional()]),
    ("zrevrangebyscore", &[key(0), double("max"), double("min"), word("WITHSCORES").optional(), block("limit",
        &[int("offset"), int("count")]).after("LIMIT").optional()]),
    ("zrevrank", &[key(0), text("member"), word("WITHSCORE").optional()]),
    ("zscan", &[key(0), int("cursor"), pattern("pattern").after("MATCH").optional(), int("count").after("COUNT").optional()]),
    ("zscore", &[key(0), text("member")]),
    ("zunion", &[int("numkeys"), key(0).several(), int("weight").after("WEIGHTS").optional().several(), one_of("aggregate",
        &[word("SUM"), word("MIN"), word("MAX")]).after("AGGREGATE").optional(), word("WITHSCORES").optional()]),
    ("zunionstore", &[key(0).named("destination"), int("numkeys"), key(1).several(),
        int("weight").after("WEIGHTS").optional().several(), one_of("aggregate", &[word("SUM"), word("MIN"),
        word("MAX")]).after("AGGREGATE").optional()]),
];

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec::Vec};

    use super::*;
    use crate::commands::table::{Row, Table};

    fn names_of(row: &Row) -> i32 {
        if row.container.is_some() { 2 } else { 1 }
    }

    #[test]
    fn who_takes_arguments_has_a_row() {
        assert!(ARGUMENTS.is_sorted_by(|left, right| left.0 < right.0));
        let table = Table::new();
        let rows = || table.rows().iter().filter(|row| row.command.subcommands.is_empty());
        let silent: Vec<String> =
            rows().filter(|row| row.command.arity.abs() > names_of(row)).map(Row::full_name).collect();
        let silent: Vec<&String> = silent.iter().filter(|name| of(name).is_empty()).collect();
        assert_eq!(silent, ["debug"], "no arguments");
        let strange: Vec<&str> = ARGUMENTS
            .iter()
            .filter(|(name, _)| {
                !rows().any(|row| row.full_name() == *name && row.command.arity != names_of(row))
            })
            .map(|(name, _)| *name)
            .collect();
        assert!(strange.is_empty(), "no such command, or it takes none: {strange:?}");
    }

    /// As many as the arity asks for, at least, and no more where it says how many.
    #[test]
    fn the_number_of_arguments_is_that_of_the_arity() {
        for row in Table::new().rows().iter().filter(|row| row.command.subcommands.is_empty()) {
            let arguments = of(&row.full_name());
            let least = names_of(row) + arguments.iter().map(least_words).sum::<i32>();
            let name = row.full_name();
            match row.command.arity {
                arity @ 0.. => assert_eq!(least, arity, "{name}"),
                arity => {
                    // What they need is one of several that may each be left out.
                    let is_vague = name == "client|kill" || name.starts_with("command|getkeys");
                    assert!(least >= -arity || arguments.is_empty() || is_vague, "{name}: {least}");
                }
            }
        }
    }

    fn least_words(argument: &Argument) -> i32 {
        let tokens = i32::from(argument.token.is_some());
        match argument.kind {
            _ if argument.is_optional => 0,
            Kind::Word => 1,
            Kind::OneOf(these) => tokens + these.iter().map(least_words).min().expect("one at least"),
            Kind::Block(these) => tokens + these.iter().map(least_words).sum::<i32>(),
            _ => tokens + 1,
        }
    }

    #[test]
    fn keys_are_those_of_the_specifications() {
        fn check(name: &str, count: usize, arguments: &[Argument]) {
            for argument in arguments {
                assert!(argument.specification.is_none_or(|index| index < count), "{name}");
                match argument.kind {
                    Kind::OneOf(these) | Kind::Block(these) => check(name, count, these),
                    _ => {}
                }
            }
        }
        for row in Table::new().rows() {
            check(&row.full_name(), row.command.keys.len(), of(&row.full_name()));
        }
    }
}
