//! What the table says of a command: name, arity, flags, key positions, ACL categories, documentation, function.
//!
//! Everything that is derived from a command comes from here: dispatch, COMMAND and its subcommands, ACL,
//! docs/COMMANDS.md, the test that every command is exercised.

use alloc::vec::Vec;

use super::{Args, Call, CommandResult};

/// Flags, as bits; the names COMMAND INFO shows are in [`FLAG_NAMES`].
pub mod flag {
    /// May change the data set.
    pub const WRITE: u32 = 1 << 0;
    /// Only looks.
    pub const READONLY: u32 = 1 << 1;
    /// Refused when memory is full.
    pub const DENYOOM: u32 = 1 << 2;
    /// About the server: `@admin`, `@dangerous`.
    pub const ADMIN: u32 = 1 << 3;
    /// Publish and subscribe.
    pub const PUBSUB: u32 = 1 << 4;
    /// Not in scripts.
    pub const NOSCRIPT: u32 = 1 << 5;
    /// May wait.
    pub const BLOCKING: u32 = 1 << 6;
    /// Allowed while loading.
    pub const LOADING: u32 = 1 << 7;
    /// Allowed on a replica with stale data.
    pub const STALE: u32 = 1 << 8;
    /// Not shown by MONITOR.
    pub const SKIP_MONITOR: u32 = 1 << 9;
    /// Constant or logarithmic time.
    pub const FAST: u32 = 1 << 10;
    /// Allowed before AUTH.
    pub const NO_AUTH: u32 = 1 << 11;
    /// Not in MULTI.
    pub const NO_MULTI: u32 = 1 << 12;
    /// Key positions depend on the arguments.
    pub const MOVABLE_KEYS: u32 = 1 << 13;
    /// Allowed while a script runs too long.
    pub const ALLOW_BUSY: u32 = 1 << 14;
    /// Not in MULTI that must be propagated whole: touches keys at random (SCAN, RANDOMKEY).
    pub const ARBITRARY_KEYS: u32 = 1 << 15;
    /// Not shown in SLOWLOG.
    pub const SKIP_SLOWLOG: u32 = 1 << 16;
    /// Forbidden while data is loaded asynchronously.
    pub const NO_ASYNC_LOADING: u32 = 1 << 17;
    /// Arguments are secrets: not logged.
    pub const SENSITIVE: u32 = 1 << 18;
    /// Must reach the log although it is not a write (PUBLISH to replicas, SCRIPT).
    pub const MAY_REPLICATE: u32 = 1 << 19;
    /// No key at all is required for it in a cluster (reads many).
    pub const NO_MANDATORY_KEYS: u32 = 1 << 20;
}

/// Flag bits with the names COMMAND INFO uses, in its order.
pub const FLAG_NAMES: &[(u32, &str)] = &[
    (flag::WRITE, "write"),
    (flag::READONLY, "readonly"),
    (flag::DENYOOM, "denyoom"),
    (flag::ADMIN, "admin"),
    (flag::PUBSUB, "pubsub"),
    (flag::NOSCRIPT, "noscript"),
    (flag::BLOCKING, "blocking"),
    (flag::LOADING, "loading"),
    (flag::STALE, "stale"),
    (flag::SKIP_MONITOR, "skip_monitor"),
    (flag::SKIP_SLOWLOG, "skip_slowlog"),
    (flag::FAST, "fast"),
    (flag::NO_AUTH, "no_auth"),
    (flag::MAY_REPLICATE, "may_replicate"),
    (flag::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (flag::NO_ASYNC_LOADING, "no_async_loading"),
    (flag::NO_MULTI, "no_multi"),
    (flag::MOVABLE_KEYS, "movablekeys"),
    (flag::ALLOW_BUSY, "allow_busy"),
];

/// ACL categories, as bits, in the order of ACL CAT.
pub mod acl {
    /// `@keyspace`
    pub const KEYSPACE: u32 = 1 << 0;
    /// `@read`
    pub const READ: u32 = 1 << 1;
    /// `@write`
    pub const WRITE: u32 = 1 << 2;
    /// `@set`
    pub const SET: u32 = 1 << 3;
    /// `@sortedset`
    pub const SORTEDSET: u32 = 1 << 4;
    /// `@list`
    pub const LIST: u32 = 1 << 5;
    /// `@hash`
    pub const HASH: u32 = 1 << 6;
    /// `@string`
    pub const STRING: u32 = 1 << 7;
    /// `@bitmap`
    pub const BITMAP: u32 = 1 << 8;
    /// `@hyperloglog`
    pub const HYPERLOGLOG: u32 = 1 << 9;
    /// `@geo`
    pub const GEO: u32 = 1 << 10;
    /// `@stream`
    pub const STREAM: u32 = 1 << 11;
    /// `@pubsub`
    pub const PUBSUB: u32 = 1 << 12;
    /// `@admin`
    pub const ADMIN: u32 = 1 << 13;
    /// `@fast`
    pub const FAST: u32 = 1 << 14;
    /// `@slow`
    pub const SLOW: u32 = 1 << 15;
    /// `@blocking`
    pub const BLOCKING: u32 = 1 << 16;
    /// `@dangerous`
    pub const DANGEROUS: u32 = 1 << 17;
    /// `@connection`
    pub const CONNECTION: u32 = 1 << 18;
    /// `@transaction`
    pub const TRANSACTION: u32 = 1 << 19;
    /// `@scripting`
    pub const SCRIPTING: u32 = 1 << 20;
}

/// ACL category bits with their names.
pub const ACL_NAMES: &[(u32, &str)] = &[
    (acl::KEYSPACE, "keyspace"),
    (acl::READ, "read"),
    (acl::WRITE, "write"),
    (acl::SET, "set"),
    (acl::SORTEDSET, "sortedset"),
    (acl::LIST, "list"),
    (acl::HASH, "hash"),
    (acl::STRING, "string"),
    (acl::BITMAP, "bitmap"),
    (acl::HYPERLOGLOG, "hyperloglog"),
    (acl::GEO, "geo"),
    (acl::STREAM, "stream"),
    (acl::PUBSUB, "pubsub"),
    (acl::ADMIN, "admin"),
    (acl::FAST, "fast"),
    (acl::SLOW, "slow"),
    (acl::BLOCKING, "blocking"),
    (acl::DANGEROUS, "dangerous"),
    (acl::CONNECTION, "connection"),
    (acl::TRANSACTION, "transaction"),
    (acl::SCRIPTING, "scripting"),
];

/// How a command uses the keys a [`KeySpec`] finds; the names are COMMAND INFO's.
pub mod key_flag {
    /// Reads and writes the value.
    pub const RW: u32 = 1 << 0;
    /// Only reads.
    pub const RO: u32 = 1 << 1;
    /// Overwrites without reading.
    pub const OW: u32 = 1 << 2;
    /// Removes.
    pub const RM: u32 = 1 << 3;
    /// Gives the value's content to the client.
    pub const ACCESS: u32 = 1 << 4;
    /// Changes it according to what it was.
    pub const UPDATE: u32 = 1 << 5;
    /// Adds to it.
    pub const INSERT: u32 = 1 << 6;
    /// Takes from it, or removes it.
    pub const DELETE: u32 = 1 << 7;
    /// Named like a key but none (channels of a shard).
    pub const NOT_KEY: u32 = 1 << 8;
    /// There may be more than the specification finds.
    pub const INCOMPLETE: u32 = 1 << 9;
    /// Flags depend on the arguments.
    pub const VARIABLE_FLAGS: u32 = 1 << 10;
}

/// Key flag bits with their names, in COMMAND INFO's order.
pub const KEY_FLAG_NAMES: &[(u32, &str)] = &[
    (key_flag::RO, "RO"),
    (key_flag::RW, "RW"),
    (key_flag::OW, "OW"),
    (key_flag::RM, "RM"),
    (key_flag::ACCESS, "access"),
    (key_flag::UPDATE, "update"),
    (key_flag::INSERT, "insert"),
    (key_flag::DELETE, "delete"),
    (key_flag::NOT_KEY, "not_key"),
    (key_flag::INCOMPLETE, "incomplete"),
    (key_flag::VARIABLE_FLAGS, "variable_flags"),
];

/// Where the search for keys begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyBegin {
    /// At this argument.
    Index(usize),
    /// After this word, searched from an argument on (from the end if negative).
    Keyword(&'static str, i32),
    /// Nowhere that can be said.
    Unknown,
}

/// Which arguments from there are keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyFind {
    /// Up to `last` (relative; -1 the last argument, -2 the one before …), every `step`-th; `limit` 2 = the first half.
    Range {
        /// Last key, relative to the first if not negative.
        last: i32,
        /// Distance between keys.
        step: usize,
        /// Divides the range: 0 or 1 all of it, 2 the first half.
        limit: usize,
    },
    /// As many as an argument says.
    Count {
        /// Where the number stands, relative to the beginning.
        count_at: usize,
        /// Where the first key stands, relative to the beginning.
        first: usize,
        /// Distance between keys.
        step: usize,
    },
    /// Cannot be said.
    Unknown,
}

/// Where some of a command's keys stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeySpec {
    /// Where they begin.
    pub begin: KeyBegin,
    /// Which they are.
    pub find: KeyFind,
    /// What happens to them: bits of [`key_flag`].
    pub flags: u32,
}

impl KeySpec {
    /// One key at this argument.
    pub const fn one(index: usize, flags: u32) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from `first` to `last` (relative to `first`, or from the end if negative).
    pub const fn range(first: usize, last: i32, step: usize, flags: u32) -> KeySpec {
        KeySpec { begin: KeyBegin::Index(first), find: KeyFind::Range { last, step, limit: 0 }, flags }
    }

    /// Keys that only [`Command::keys_found_by`] can find.
    pub const fn unknown(flags: u32) -> KeySpec {
        KeySpec { begin: KeyBegin::Unknown, find: KeyFind::Unknown, flags }
    }

    /// A count at this argument, the keys after it.
    pub const fn counted(index: usize, flags: u32) -> KeySpec {
        KeySpec {
            begin: KeyBegin::Index(index),
            find: KeyFind::Count { count_at: 0, first: 1, step: 1 },
            flags,
        }
    }
}

/// What a command is for, as COMMAND DOCS groups it.
pub type Group = &'static str;

/// Who carries a command out.
#[derive(Clone, Copy)]
pub enum Action {
    /// A function of the data.
    Run(fn(&mut Call<'_>) -> CommandResult),
    /// The node.
    Node(NodeCommand),
    /// Only through its subcommands.
    Container,
}

/// Commands about the server, a session or several clients; `node/` carries them out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // Each is the command of that name.
#[rustfmt::skip] // One paragraph per group, not one line per command.
pub enum NodeCommand {
    // connection
    Auth,
    ClientCaching,
    ClientGetName,
    ClientGetRedir,
    ClientHelp,
    ClientId,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientNoEvict,
    ClientNoTouch,
    ClientPause,
    ClientReply,
    ClientSetInfo,
    ClientSetName,
    ClientTracking,
    ClientTrackingInfo,
    ClientUnblock,
    ClientUnpause,
    Echo,
    Hello,
    Ping,
    Quit,
    Reset,
    Select,
    // transactions
    Discard,
    Exec,
    Multi,
    Unwatch,
    Watch,
    // persistence
    Backup,
    BgRewriteAof,
    BgSave,
    LastSave,
    Save,
    Shutdown,
    WaitAof,
    Wait,
    // server
    Command,
    CommandCount,
    CommandDocs,
    CommandGetKeys,
    CommandGetKeysAndFlags,
    CommandHelp,
    CommandInfo,
    CommandList,
    ConfigGet,
    ConfigHelp,
    ConfigResetStat,
    ConfigRewrite,
    ConfigSet,
    DbSize,
    Debug,
    Failover,
    FlushAll,
    FlushDb,
    Info,
    LatencyDoctor,
    LatencyGraph,
    LatencyHelp,
    LatencyHistogram,
    LatencyHistory,
    LatencyLatest,
    LatencyReset,
    Lolwut,
    MemoryDoctor,
    MemoryHelp,
    MemoryMallocStats,
    MemoryPurge,
    MemoryStats,
    MemoryUsage,
    Migrate,
    ModuleHelp,
    ModuleList,
    ModuleLoad,
    ModuleLoadEx,
    ModuleUnload,
    Monitor,
    PSync,
    ReplConf,
    ReplicaOf,
    Role,
    SlowlogGet,
    SlowlogHelp,
    SlowlogLen,
    SlowlogReset,
    SwapDb,
    Sync,
    Time,
    Asking,
    ReadOnly,
    ReadWrite,
    Cluster,
    PfDebug,
    PfSelfTest,
    // publish and subscribe
    PSubscribe,
    PUnsubscribe,
    Publish,
    PubsubChannels,
    PubsubHelp,
    PubsubNumPat,
    PubsubNumSub,
    PubsubShardChannels,
    PubsubShardNumSub,
    SPublish,
    SSubscribe,
    SUnsubscribe,
    Subscribe,
    Unsubscribe,
    // scripting
    Eval,
    EvalRo,
    EvalSha,
    EvalShaRo,
    FCall,
    FCallRo,
    FunctionDelete,
    FunctionDump,
    FunctionFlush,
    FunctionHelp,
    FunctionKill,
    FunctionList,
    FunctionLoad,
    FunctionRestore,
    FunctionStats,
    ScriptDebug,
    ScriptExists,
    ScriptFlush,
    ScriptHelp,
    ScriptKill,
    ScriptLoad,
    // access control
    AclCat,
    AclDelUser,
    AclDryRun,
    AclGenPass,
    AclGetUser,
    AclHelp,
    AclList,
    AclLoad,
    AclLog,
    AclSave,
    AclSetUser,
    AclUsers,
    AclWhoAmI,
}

/// One command, or one subcommand of a container.
#[derive(Clone, Copy)]
pub struct Command {
    /// Lower-case name, without its container's.
    pub name: &'static str,
    /// Number of arguments, the name included (and the container's); negative: at least that many.
    pub arity: i32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Bits of [`acl`] beyond those that flags imply.
    pub categories: u32,
    /// Where its keys stand.
    pub keys: &'static [KeySpec],
    /// Finds its keys where `keys` cannot say all of it (SORT … STORE) or their flags depend on the arguments.
    pub find_keys: Option<FindKeys>,
    /// Its subcommands, if it is a container.
    pub subcommands: &'static [Command],
    /// Who carries it out.
    pub action: Action,
    /// Group in the documentation.
    pub group: Group,
    /// Redis version it came with.
    pub since: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Time it takes.
    pub complexity: &'static str,
    /// Tips for clients and proxies (`nondeterministic_output` …).
    pub tips: &'static [&'static str],
    /// Since when there is something better.
    pub deprecation: Option<Deprecation>,
}

/// Finds a request's keys: positions with bits of [`key_flag`].
pub type FindKeys = fn(Args<'_>) -> Vec<(usize, u32)>;

/// Why a command should no longer be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deprecation {
    /// Version from which on.
    pub since: &'static str,
    /// What to use instead, in COMMAND DOCS' markup.
    pub replaced_by: &'static str,
}

impl Command {
    /// A data command.
    pub const fn run(
        name: &'static str,
        arity: i32,
        flags: u32,
        function: fn(&mut Call<'_>) -> CommandResult,
    ) -> Command {
        Command::bare(name, arity, flags, Action::Run(function))
    }

    /// A command of the node.
    pub const fn node(name: &'static str, arity: i32, flags: u32, command: NodeCommand) -> Command {
        Command::bare(name, arity, flags, Action::Node(command))
    }

    /// A command that is only the first word of others.
    pub const fn container(name: &'static str, subcommands: &'static [Command]) -> Command {
        let mut command = Command::bare(name, -2, 0, Action::Container);
        command.subcommands = subcommands;
        command
    }

    const fn bare(name: &'static str, arity: i32, flags: u32, action: Action) -> Command {
        Command {
            name,
            arity,
            flags,
            categories: 0,
            keys: &[],
            find_keys: None,
            subcommands: &[],
            action,
            group: "generic",
            since: "1.0.0",
            summary: "",
            complexity: "",
            tips: &[],
            deprecation: None,
        }
    }

    /// Where its keys stand.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Command {
        self.keys = keys;
        self
    }

    /// How its keys are found where their specification cannot say.
    pub const fn keys_found_by(mut self, find: FindKeys) -> Command {
        self.find_keys = Some(find);
        self
    }

    /// ACL categories beyond those implied by flags.
    pub const fn acl(mut self, categories: u32) -> Command {
        self.categories = categories;
        self
    }

    /// Its documentation: group, version, summary, complexity.
    pub const fn doc(
        mut self,
        group: Group,
        since: &'static str,
        summary: &'static str,
        complexity: &'static str,
    ) -> Command {
        self.group = group;
        self.since = since;
        self.summary = summary;
        self.complexity = complexity;
        self
    }

    /// Tips for clients and proxies.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Command {
        self.tips = tips;
        self
    }

    /// Not to be used any more.
    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Command {
        self.deprecation = Some(Deprecation { since, replaced_by });
        self
    }

    /// Subcommands of a command that also works alone (COMMAND).
    pub const fn with_subcommands(mut self, subcommands: &'static [Command]) -> Command {
        self.subcommands = subcommands;
        self
    }

    /// Whether it has a flag.
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// All its ACL categories, those implied by its flags included.
    pub const fn all_categories(&self) -> u32 {
        let mut bits = self.categories;
        if self.has(flag::WRITE) {
            bits |= acl::WRITE;
        }
        // Redis puts @read on commands which look at keys, not on those of scripts.
        if self.has(flag::READONLY) && bits & acl::SCRIPTING == 0 {
            bits |= acl::READ;
        }
        if self.has(flag::ADMIN) {
            bits |= acl::ADMIN | acl::DANGEROUS;
        }
        if self.has(flag::PUBSUB) {
            bits |= acl::PUBSUB;
        }
        if self.has(flag::BLOCKING) {
            bits |= acl::BLOCKING;
        }
        bits | if self.has(flag::FAST) { acl::FAST } else { acl::SLOW }
    }

    /// Whether this many arguments (the name included) are right.
    pub const fn takes(&self, count: usize) -> bool {
        if self.arity >= 0 {
            count == self.arity as usize
        } else {
            count >= self.arity.unsigned_abs() as usize
        }
    }
}
