//! Scripts of commands, drawn from the forms that commands have.
//!
//! Always true: a form names only what both servers know, and nothing whose reply is random.
//!
//! Not here: commands whose reply says something about the server rather than the data (`fixed.rs`).

use proptest::{prelude::*, sample::select, strategy::Union};

/// The forms of commands, by family: capital words stand for themselves, `a|b` is one of both, `<pool>` a word of
/// that [`pool`], `[ … ]` may be missing, `{ … }` comes one to three times.
pub const FORMS: &[(&str, &[&str])] = &[
    (
        "strings",
        &[
            "SET <key> <value> [ NX|XX ] [ GET ] [ KEEPTTL ]",
            "SET <key> <value> EX|PX <seconds>",
            "SET <key> <value> EXAT|PXAT <moment>",
            "GET|GETDEL|STRLEN <key>",
            "GETEX <key> [ PERSIST ]",
            "GETEX <key> EX|PX <seconds>",
            "GETSET|APPEND|SETNX <key> <value>",
            "GETRANGE|SUBSTR <key> <index> <index>",
            "SETRANGE <key> <offset> <value>",
            "SETEX|PSETEX <key> <seconds> <value>",
            "MGET { <key> }",
            "MSET|MSETNX { <key> <value> }",
            "INCR|DECR <key>",
            "INCRBY|DECRBY <key> <integer>",
            "INCRBYFLOAT <key> <float>",
            "LCS <key> <key> [ LEN ] [ IDX ] [ MINMATCHLEN <count> ] [ WITHMATCHLEN ]",
        ],
    ),
    (
        "bits",
        &[
            "SETBIT <key> <offset> <bit>",
            "GETBIT <key> <offset>",
            "BITCOUNT <key> [ <index> <index> [ BIT|BYTE ] ]",
            "BITPOS <key> <bit> [ <index> [ <index> [ BIT|BYTE ] ] ]",
            "BITOP AND|OR|XOR|NOT <key> { <key> }",
            "BITFIELD <key> { [ OVERFLOW WRAP|SAT|FAIL ] SET|INCRBY <bits> <offset> <step> } \
             [ GET <bits> <offset> ]",
            "BITFIELD_RO <key> { GET <bits> <offset> }",
        ],
    ),
    (
        "keys",
        &[
            "DEL|UNLINK|EXISTS|TOUCH { <key> }",
            "TYPE|TTL|PTTL|EXPIRETIME|PEXPIRETIME|PERSIST <key>",
            "EXPIRE|PEXPIRE <key> <seconds> [ NX|XX|GT|LT ]",
            "EXPIREAT|PEXPIREAT <key> <moment> [ NX|XX|GT|LT ]",
            "RENAME|RENAMENX <key> <key>",
            "COPY <key> <key> [ DB <db> ] [ REPLACE ]",
            "MOVE <key> <db>",
            "SELECT <db>",
            "SWAPDB <db> <db>",
            "KEYS <pattern>",
            "SCAN 0 [ MATCH <pattern> ] [ COUNT <count> ] [ TYPE <type> ]",
            "DBSIZE",
            "FLUSHDB [ SYNC ]",
            "SORT <key> [ LIMIT <index> <index> ] [ GET # ] [ ASC|DESC ] [ ALPHA ] [ STORE <key> ]",
            "SORT_RO <key> [ LIMIT <index> <index> ] [ ASC|DESC ] [ ALPHA ]",
        ],
    ),
    (
        "lists",
        &[
            "LPUSH|RPUSH|LPUSHX|RPUSHX <key> { <value> }",
            "LPOP|RPOP <key> [ <integer> ]",
            "LLEN <key>",
            "LRANGE|LTRIM <key> <index> <index>",
            "LINDEX <key> <index>",
            "LSET <key> <index> <value>",
            "LREM <key> <index> <value>",
            "LINSERT <key> BEFORE|AFTER <value> <value>",
            "LPOS <key> <value> [ RANK <index> ] [ COUNT <index> ] [ MAXLEN <index> ]",
            "LMOVE <key> <key> LEFT|RIGHT LEFT|RIGHT",
            "RPOPLPUSH <key> <key>",
            "LMPOP <numkeys> { <key> } LEFT|RIGHT [ COUNT <count> ]",
            "BLPOP|BRPOP { <key> } 0.01",
            "BLMOVE <key> <key> LEFT|RIGHT LEFT|RIGHT 0.01",
            "BRPOPLPUSH <key> <key> 0.01",
            "BLMPOP 0.01 <numkeys> { <key> } LEFT|RIGHT [ COUNT <count> ]",
        ],
    ),
    (
        "sets",
        &[
            "SADD|SREM <key> { <member> }",
            "SADD <key> { <integer> }",
            "SCARD|SMEMBERS <key>",
            "SISMEMBER <key> <member>",
            "SMISMEMBER <key> { <member> }",
            "SMOVE <key> <key> <member>",
            "SDIFF|SINTER|SUNION { <key> }",
            "SDIFFSTORE|SINTERSTORE|SUNIONSTORE <key> { <key> }",
            "SINTERCARD <numkeys> { <key> } [ LIMIT <index> ]",
            "SPOP|SRANDMEMBER <key> 1000",
            "SSCAN <key> 0 [ MATCH <pattern> ] [ COUNT <count> ]",
        ],
    ),
    (
        "hashes",
        &[
            "HSET|HMSET <key> { <member> <value> }",
            "HSETNX <key> <member> <value>",
            "HGET|HEXISTS|HSTRLEN <key> <member>",
            "HMGET|HDEL <key> { <member> }",
            "HGETALL|HKEYS|HVALS|HLEN <key>",
            "HINCRBY <key> <member> <integer>",
            "HINCRBYFLOAT <key> <member> <float>",
            "HRANDFIELD <key> 1000 [ WITHVALUES ]",
            "HSCAN <key> 0 [ MATCH <pattern> ] [ COUNT <count> ]",
        ],
    ),
    (
        "sorted sets",
        &[
            "ZADD <key> [ NX|XX ] [ GT|LT ] [ CH ] { <float> <member> }",
            "ZADD <key> { <float> <member> }",
            "ZADD <key> INCR <float> <member>",
            "ZINCRBY <key> <float> <member>",
            "ZCARD <key>",
            "ZSCORE|ZRANK|ZREVRANK <key> <member>",
            "ZMSCORE|ZREM <key> { <member> }",
            "ZPOPMIN|ZPOPMAX <key> [ <integer> ]",
            "ZMPOP <numkeys> { <key> } MIN|MAX [ COUNT <count> ]",
            "BZPOPMIN|BZPOPMAX { <key> } 0.01",
            "BZMPOP 0.01 <numkeys> { <key> } MIN|MAX [ COUNT <count> ]",
            "ZRANDMEMBER <key> 1000 [ WITHSCORES ]",
            "ZSCAN <key> 0 [ MATCH <pattern> ] [ COUNT <count> ]",
            "ZCOUNT|ZREMRANGEBYSCORE <key> <score> <score>",
            "ZADD <lex-key> 0 <member>",
            "ZLEXCOUNT|ZREMRANGEBYLEX <lex-key> <lex> <lex>",
            "ZREMRANGEBYRANK <key> <index> <index>",
            "ZRANGE <key> <index> <index> [ REV ] [ WITHSCORES ]",
            "ZRANGE <key> <score> <score> BYSCORE [ REV ] [ LIMIT <index> <index> ] [ WITHSCORES ]",
            "ZRANGE <lex-key> <lex> <lex> BYLEX [ REV ] [ LIMIT <index> <index> ]",
            "ZREVRANGE <key> <index> <index> [ WITHSCORES ]",
            "ZRANGEBYSCORE|ZREVRANGEBYSCORE <key> <score> <score> [ WITHSCORES ] [ LIMIT <index> <index> ]",
            "ZRANGEBYLEX|ZREVRANGEBYLEX <lex-key> <lex> <lex> [ LIMIT <index> <index> ]",
            "ZRANGESTORE <key> <key> <index> <index> [ REV ]",
            "ZRANGESTORE <key> <key> <score> <score> BYSCORE [ LIMIT <index> <index> ]",
            "ZDIFF <numkeys> { <key> } [ WITHSCORES ]",
            "ZINTER|ZUNION 2 <key> <key> [ WEIGHTS <float> <float> ] [ AGGREGATE SUM|MIN|MAX ] [ WITHSCORES ]",
            "ZINTERCARD <numkeys> { <key> } [ LIMIT <index> ]",
            "ZDIFFSTORE <key> <numkeys> { <key> }",
            "ZINTERSTORE|ZUNIONSTORE <key> 2 <key> <key> [ WEIGHTS <float> <float> ] [ AGGREGATE SUM|MIN|MAX ]",
        ],
    ),
    (
        "streams",
        &[
            "XADD <key> [ NOMKSTREAM ] [ MAXLEN = <count> ] <id> { <member> <value> }",
            "XADD <key> <id> { <member> <value> }",
            "XLEN <key>",
            "XRANGE|XREVRANGE <key> <bound> <bound> [ COUNT <count> ]",
            "XDEL <key> { <id> }",
            "XTRIM <key> MAXLEN [ = ] <count>",
            "XTRIM <key> MINID [ = ] <id>",
            "XSETID <key> <top-id> [ ENTRIESADDED <count> ] [ MAXDELETEDID <id> ]",
            "XREAD [ COUNT <count> ] STREAMS <key> <id>",
            "XGROUP CREATE <key> <group> <bound> [ MKSTREAM ] [ ENTRIESREAD <count> ]",
            "XGROUP SETID <key> <group> <id> [ ENTRIESREAD <count> ]",
            "XGROUP DESTROY <key> <group>",
            "XGROUP CREATECONSUMER|DELCONSUMER <key> <group> <consumer>",
            "XREADGROUP GROUP <group> <consumer> [ COUNT <count> ] [ NOACK ] STREAMS <key> <read-id>",
            "XACK <key> <group> { <id> }",
            "XPENDING <key> <group> [ <bound> <bound> <count> [ <consumer> ] ]",
            "XCLAIM <key> <group> <consumer> 0 { <id> } [ FORCE ] [ JUSTID ]",
            "XAUTOCLAIM <key> <group> <consumer> 0 <id> [ COUNT <count> ] [ JUSTID ]",
            "XINFO GROUPS <key>",
        ],
    ),
    ("hyperloglog", &["PFADD <hll> { <member> }", "PFCOUNT { <hll> }", "PFMERGE <hll> { <hll> }"]),
    (
        "geo",
        &[
            "GEOADD <key> [ NX|XX ] [ CH ] { <place> <member> }",
            "GEODIST <key> <member> <member> [ <unit> ]",
            "GEOHASH|GEOPOS <key> { <member> }",
            "GEOSEARCH <key> FROMLONLAT <place> BYRADIUS <radius> <unit> ASC [ WITHDIST ] [ WITHCOORD ] \
             [ WITHHASH ]",
            "GEOSEARCH <key> FROMMEMBER <member> BYBOX <radius> <radius> <unit> DESC [ COUNT <count> ]",
            "GEOSEARCHSTORE <key> <key> FROMLONLAT <place> BYRADIUS <radius> <unit> [ STOREDIST ]",
            "GEORADIUS|GEORADIUS_RO <key> <place> <radius> <unit> ASC [ WITHDIST ]",
            "GEORADIUSBYMEMBER|GEORADIUSBYMEMBER_RO <key> <member> <radius> <unit> ASC [ WITHCOORD ]",
        ],
    ),
    (
        "sessions",
        &["WATCH { <key> }", "UNWATCH", "MULTI", "EXEC", "DISCARD", "ECHO <value>", "PING [ <value> ]"],
    ),
];

/// Words a placeholder may become; simple ones first, because shrinking goes there.
fn pool(name: &str) -> &'static [&'static str] {
    match name {
        "key" => &["a", "b", "c", "d"],
        // Of their own: one that was written into as a string is refused here, where Redis may not notice.
        "hll" => &["p", "q"],
        // Of their own: by names is ordered what has equal scores; for anything else Redis promises nothing.
        "lex-key" => &["l"],
        "value" => &[
            "1",
            "x",
            "",
            "hello",
            "-7",
            "3.25",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            " 1",
            "01",
            "nan",
            "inf",
            "a\r\nb",
            "a text that is too long for the compact encodings, which take sixty-four bytes",
        ],
        "member" => &[
            "m",
            "n",
            "o",
            "1",
            "",
            "-3",
            "a member that is too long for a listpack, which takes sixty-four bytes",
        ],
        "integer" => {
            &["1", "0", "2", "-1", "5", "9223372036854775807", "-9223372036854775808", "x", "1.5", ""]
        }
        // Without the least 64-bit number, which Redis saturates to the highest value of a field, against its documentation.
        "step" => &["1", "0", "2", "-1", "5", "300", "-300", "9223372036854775807", "x", "1.5", ""],
        // None too large for a double: a later SORT of Redis takes the error code it leaves behind for its own.
        "float" => &["1", "0", "-1", "2.5", "-0.5", "1e3", "inf", "-inf", "nan", "x", "", "1000000"],
        "index" => &["0", "1", "2", "-1", "-2", "5", "-100", "9223372036854775807", "x"],
        "offset" => &["0", "1", "7", "8", "100", "-1", "9223372036854775807", "x", "#1"],
        "bit" => &["1", "0", "2", "x"],
        "bits" => &["u8", "i8", "u1", "i64", "u63", "u64", "i5", "x"],
        "count" => &["1", "2", "3", "10", "0", "-1", "x"],
        "numkeys" => &["1", "2", "3", "0", "-1", "x"],
        // None ends while a script runs.
        "seconds" => &["100000", "200000", "300000", "0", "-1", "x", "9223372036854775807"],
        "moment" => &["4000000000000", "5000000000", "1", "0", "-1", "x"],
        "db" => &["0", "1", "16", "-1", "x", "3000000000"],
        "pattern" => &["*", "a", "?", "[a-b]", "[^a]", "\\a", "m*", ""],
        "type" => &["string", "list", "set", "zset", "hash", "stream"],
        "score" => &["0", "1", "(1", "-inf", "+inf", "2.5", "(x", "x"],
        "lex" => &["-", "+", "[m", "(m", "[n", "(o", "m", "["],
        "id" => &[
            "1-1",
            "2-1",
            "2-2",
            "3",
            "5-0",
            "0-0",
            "0",
            "x",
            "1-x",
            "18446744073709551615-18446744073709551615",
        ],
        // Since 7.2 XSETID refuses what is below a deleted entry (`NEWER` has it); nothing is above these.
        "top-id" => &["18446744073709551615-18446744073709551615", "18446744073709551615", "x", "1-x"],
        "bound" => &["-", "+", "1-1", "2", "(2-1", "$", "0", "x"],
        "read-id" => &[">", "0", "1-1", "2-1", "x", "$"],
        "group" => &["g", "h"],
        "consumer" => &["alice", "bob"],
        "place" => {
            &["13.361389 38.115556", "15.087269 37.502669", "-122.4 37.8", "0 0", "181 0", "0 86", "x 1"]
        }
        "radius" => &["100", "1000", "0", "20000", "-1", "x"],
        "unit" => &["km", "m", "ft", "mi", "x"],
        _ => panic!("no pool is called {name}"),
    }
}

/// Words that stand where they do not belong.
const WRONG_WORDS: &[&str] = &["x", "", "-1", "1", "nan", "LIMIT", "COUNT", "9223372036854775807"];

/// Commands whose reply turns random once their last words are changed, or which take one word more since 7.2.
const NOT_TO_BE_BENT: &[&str] = &[
    "SPOP",
    "SRANDMEMBER",
    "HRANDFIELD",
    "ZRANDMEMBER",
    "SCAN",
    "SSCAN",
    "HSCAN",
    "ZSCAN",
    "XADD",
    "XSETID",
    "ZRANK",
    "ZREVRANK",
];

/// A command.
pub type Words = Vec<String>;

fn one_of(alternatives: Vec<Words>) -> BoxedStrategy<Words> {
    select(alternatives).boxed()
}

/// A command without spaces inside its words.
pub fn split(text: &str) -> Words {
    text.split(' ').map(String::from).collect()
}

/// The strategy of the words up to the closing bracket, or to the end.
fn parse(words: &mut std::str::SplitWhitespace<'_>) -> BoxedStrategy<Words> {
    let mut parts: Vec<BoxedStrategy<Words>> = Vec::new();
    while let Some(word) = words.next() {
        parts.push(match word {
            "]" | "}" => break,
            "[" => prop_oneof![2 => Just(Words::new()), 1 => parse(words)].boxed(),
            "{" => prop::collection::vec(parse(words), 1..=3).prop_map(|turns| turns.concat()).boxed(),
            _ => match word.strip_prefix('<').and_then(|word| word.strip_suffix('>')) {
                Some("place") => one_of(pool("place").iter().map(|place| split(place)).collect()),
                Some(name) => one_of(pool(name).iter().map(|word| vec![(*word).to_owned()]).collect()),
                None => one_of(word.split('|').map(|word| vec![word.to_owned()]).collect()),
            },
        });
    }
    parts.prop_map(|parts| parts.concat()).boxed()
}

/// A command as its form has it; one in sixteen lacks its last word, has one too many, or a wrong one.
fn command(form: &'static str) -> BoxedStrategy<Words> {
    let whole = parse(&mut form.split_whitespace());
    let bends = form.starts_with('B') && form.contains("0.01")
        || form.split([' ', '|']).any(|word| NOT_TO_BE_BENT.contains(&word));
    if bends {
        return whole;
    }
    (whole, prop_oneof![15 => Just(0), 1 => 1..4], any::<prop::sample::Index>(), select(WRONG_WORDS))
        .prop_map(|(mut words, bend, place, wrong)| {
            match bend {
                1 if words.len() > 1 => drop(words.pop()),
                2 => words.push(wrong.to_owned()),
                3 if words.len() > 1 => {
                    let place = 1 + place.index(words.len() - 1);
                    words[place] = wrong.to_owned();
                }
                _ => {}
            }
            words
        })
        .boxed()
}

/// Commands of a few families, so that a script's keys live long enough to be worked on; one in eight in MULTI.
pub fn script() -> impl Strategy<Value = (bool, Vec<Words>)> {
    let families: Vec<BoxedStrategy<Words>> =
        FORMS.iter().map(|(_, forms)| Union::new(forms.iter().map(|form| command(form))).boxed()).collect();
    let family = prop::sample::select((0..families.len()).collect::<Vec<usize>>());
    let commands = (family.clone(), family).prop_flat_map(move |(first, second)| {
        let any = Union::new(families.clone());
        let one = prop_oneof![5 => families[first].clone(), 3 => families[second].clone(), 1 => any].boxed();
        let transaction = prop::collection::vec(one.clone(), 1..5).prop_map(|inner| {
            let word = |word: &str| vec![vec![word.to_owned()]];
            [word("MULTI"), inner, word("EXEC")].concat()
        });
        let step = prop_oneof![7 => one.prop_map(|command| vec![command]), 1 => transaction];
        prop::collection::vec(step, 1..40).prop_map(|steps| steps.concat())
    });
    (prop::bool::weighted(0.3), commands)
}
