//! Keys as lines of JSON, made from the commands that rebuild them.
//!
//! ```text
//!   {"db":0,"key":"k","type":"hash","value":{"f":"v"},"expires_at_ms":1795341600000}
//!   string  text            list, set  array of text            hash  object
//!   zset    object of member to score                           stream  array of [id, field, value, …]
//! ```
//!
//! Always true: one line a key; text that is no UTF-8 is `{"hex":"…"}`, and a hash or sorted set with such a field or
//! member is an array of pairs. What JSON has no word for (groups of streams, fields that expire) is listed as the
//! commands that make it, under `"and"`.
//!
//! Not here: which keys (`inspect.rs`).

use std::io::{self, Write};

use serde_json::{Map, Value, json};

/// Writes keys as their commands come in.
pub struct Lines<'a> {
    out: &'a mut dyn Write,
    db: u64,
    key: Option<Key>,
}

struct Key {
    name: Vec<u8>,
    kind: &'static str,
    /// Elements, each of one, two or more texts.
    elements: Vec<Vec<Vec<u8>>>,
    expires_at_ms: Option<u64>,
    and: Vec<Vec<Vec<u8>>>,
}

impl<'a> Lines<'a> {
    /// Writes to `out`.
    pub fn new(out: &'a mut dyn Write) -> Lines<'a> {
        Lines { out, db: 0, key: None }
    }

    /// The next command.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn take(&mut self, args: &[&[u8]]) -> io::Result<()> {
        let number = |at: usize| args.get(at).and_then(|arg| std::str::from_utf8(arg).ok()?.parse().ok());
        if args[0] == b"SELECT" {
            self.flush()?;
            self.db = number(1).unwrap_or(0);
            return Ok(());
        }
        let at = if args[0] == b"XGROUP" { 2 } else { 1 };
        let Some(name) = args.get(at) else { return Ok(()) };
        if self.key.as_ref().is_none_or(|key| key.name != *name) {
            self.flush()?;
            self.key = Some(Key {
                name: name.to_vec(),
                kind: kind_of(args[0]),
                elements: Vec::new(),
                expires_at_ms: None,
                and: Vec::new(),
            });
        }
        let Some(key) = &mut self.key else { return Ok(()) };
        let owned = |args: &[&[u8]]| args.iter().map(|arg| arg.to_vec()).collect::<Vec<_>>();
        match args[0] {
            b"SET" | b"RPUSH" | b"SADD" => {
                key.elements.extend(args[2..].iter().map(|arg| vec![arg.to_vec()]))
            }
            b"HMSET" => key.elements.extend(args[2..].chunks(2).map(owned)),
            b"ZADD" => key.elements.extend(args[2..].chunks(2).map(|pair| owned(&[pair[1], pair[0]]))),
            b"XADD" if args.get(2) != Some(&&b"MAXLEN"[..]) => key.elements.push(owned(&args[2..])),
            b"PEXPIREAT" => key.expires_at_ms = number(2),
            _ => key.and.push(owned(args)),
        }
        Ok(())
    }

    /// That was all.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn end(mut self) -> io::Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(key) = self.key.take() else { return Ok(()) };
        let mut line = Map::new();
        line.insert("db".into(), json!(self.db));
        line.insert("key".into(), text(&key.name));
        line.insert("type".into(), json!(key.kind));
        line.insert("value".into(), value(&key));
        if let Some(at) = key.expires_at_ms {
            line.insert("expires_at_ms".into(), json!(at));
        }
        if !key.and.is_empty() {
            line.insert("and".into(), key.and.iter().map(|command| texts(command)).collect());
        }
        writeln!(self.out, "{}", Value::Object(line))
    }
}

fn kind_of(command: &[u8]) -> &'static str {
    match command {
        b"SET" => "string",
        b"RPUSH" => "list",
        b"SADD" => "set",
        b"HMSET" => "hash",
        b"ZADD" => "zset",
        _ => "stream",
    }
}

fn value(key: &Key) -> Value {
    let first = |element: &Vec<Vec<u8>>| text(element.first().map_or(&[][..], Vec::as_slice));
    match key.kind {
        "string" => key.elements.first().map_or(Value::Null, first),
        "list" | "set" => key.elements.iter().map(first).collect(),
        "hash" | "zset" => pairs(key),
        _ => key.elements.iter().map(|entry| texts(entry)).collect(),
    }
}

/// An object, if all names are text.
fn pairs(key: &Key) -> Value {
    let mut object = Map::new();
    for pair in &key.elements {
        match (&pair[..], String::from_utf8(pair[0].clone())) {
            ([_, value], Ok(name)) => drop(object.insert(name, half(key.kind, value))),
            _ => return key.elements.iter().map(|pair| texts(pair)).collect(),
        }
    }
    Value::Object(object)
}

/// The second half of a pair: scores that JSON knows are numbers.
fn half(kind: &str, bytes: &[u8]) -> Value {
    let score =
        || std::str::from_utf8(bytes).ok()?.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    match kind {
        "zset" => score().map_or_else(|| text(bytes), Value::Number),
        _ => text(bytes),
    }
}

fn texts(all: &[Vec<u8>]) -> Value {
    all.iter().map(|one| text(one)).collect()
}

fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(commands: &[&[&[u8]]], expected: &str) {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        commands.iter().for_each(|args| lines.take(args).unwrap());
        lines.end().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn each_type_has_its_form() {
        check(
            &[&[b"SELECT", b"3"], &[b"SET", b"k", b"v"], &[b"PEXPIREAT", b"k", b"17"]],
            "{\"db\":3,\"expires_at_ms\":17,\"key\":\"k\",\"type\":\"string\",\"value\":\"v\"}\n",
        );
        check(
            &[&[b"RPUSH", b"k", b"a", b"b"], &[b"RPUSH", b"k", b"\xff"]],
            "{\"db\":0,\"key\":\"k\",\"type\":\"list\",\"value\":[\"a\",\"b\",{\"hex\":\"ff\"}]}\n",
        );
        check(
            &[&[b"ZADD", b"k", b"1.5", b"a", b"inf", b"b"]],
            "{\"db\":0,\"key\":\"k\",\"type\":\"zset\",\"value\":{\"a\":1.5,\"b\":\"inf\"}}\n",
        );
        check(
            &[&[b"HMSET", b"k", b"\xfe", b"v"]],
            "{\"db\":0,\"key\":\"k\",\"type\":\"hash\",\"value\":[[{\"hex\":\"fe\"},\"v\"]]}\n",
        );
        check(
            &[&[b"XADD", b"s", b"1-1", b"f", b"v"], &[b"XGROUP", b"CREATE", b"s", b"g", b"0-0"]],
            "{\"and\":[[\"XGROUP\",\"CREATE\",\"s\",\"g\",\"0-0\"]],\"db\":0,\"key\":\"s\",\"type\":\"stream\",\
             \"value\":[[\"1-1\",\"f\",\"v\"]]}\n",
        );
    }
}
