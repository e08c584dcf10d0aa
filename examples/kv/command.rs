//! The commands: what they check, what they do, what they answer.

use std::io::Write;
use std::sync::Arc;

use crate::clients::Client;
use crate::frame::integer;
use crate::log::LogFailed;
use crate::reply::Reply;
use crate::server::{STOP, Server};
use crate::stats::count_command;
use crate::store::{Entry, Store, UnixMillis, now};

/// What becomes of the connection after a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Close,
}

/// Why a command was not carried out; the text is the protocol's.
pub enum Refusal {
    Error(String),
    UnknownCommand,
    LogFailed,
}

use Refusal::Error as Err_;

impl From<LogFailed> for Refusal {
    fn from(_: LogFailed) -> Refusal {
        Refusal::LogFailed
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Refusal {
        Err_(text.to_owned())
    }
}

const SYNTAX: &str = "ERR syntax error";
const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

/// Carries out a command and answers.
pub fn execute<W: Write>(
    server: &Server,
    client: &Client,
    args: &[&[u8]],
    reply: &mut Reply<W>,
) -> Flow {
    let [name, args @ ..] = args else {
        return Flow::Continue;
    };
    count_command();
    let shown = *name;
    let name = name.to_ascii_uppercase();
    // A command that is refused has not answered anything before.
    match dispatch(server, client, &name, args, reply) {
        Ok(flow) => return flow,
        Err(Err_(text)) => reply.error(&text),
        Err(Refusal::UnknownCommand) => {
            let shown: String = shown.iter().take(64).map(|byte| printable(*byte)).collect();
            reply.error(&format!("ERR unknown command '{shown}'"));
        }
        Err(Refusal::LogFailed) => {
            reply.error("MISCONF the log cannot be written, so writes are refused");
        }
    }
    Flow::Continue
}

fn dispatch<W: Write>(
    server: &Server,
    client: &Client,
    name: &[u8],
    args: &[&[u8]],
    reply: &mut Reply<W>,
) -> Result<Flow, Refusal> {
    let store = &server.store;
    match (name, args) {
        (b"PING", []) => reply.simple("PONG"),
        (b"PING" | b"ECHO", [text]) => reply.bulk(text),
        (b"QUIT", _) => {
            reply.simple("OK");
            return Ok(Flow::Close);
        }
        (b"SHUTDOWN", modes)
            if !modes
                .iter()
                .all(|mode| is_word(mode, &["SAVE", "NOSAVE", "NOW", "FORCE"])) =>
        {
            return Err(SYNTAX.into());
        }
        (b"SHUTDOWN", _) => {
            STOP.set();
            return Ok(Flow::Close);
        }
        (b"GET", [key]) => {
            let value = store.lock(key).get(key).map(|entry| entry.value.clone());
            reply.bulk_or_null(value.as_deref()); // with the lock released: this may block
        }
        (b"SET", [key, value, options @ ..]) => {
            let options = SetOptions::parse(options)?;
            match set(store, key, value, &options)? {
                true => reply.simple("OK"),
                false => reply.bulk_or_null(None),
            }
        }
        (b"MGET", [_, ..]) => {
            reply.array(args.len());
            for value in store.get_all(args) {
                reply.bulk_or_null(value.as_deref());
            }
        }
        (b"MSET", [_, ..]) if args.len() % 2 == 0 => {
            let pairs: Vec<_> = args
                .chunks_exact(2)
                .map(|pair| (pair[0], pair[1]))
                .collect();
            let record: Vec<&[u8]> = [b"MSET".as_slice()]
                .into_iter()
                .chain(args.iter().copied())
                .collect();
            store.set_all(&pairs, &record)?;
            reply.simple("OK");
        }
        (b"DEL" | b"UNLINK", [_, ..]) => {
            let mut deleted = 0;
            for key in args {
                deleted += i64::from(store.lock(key).delete(key)?);
            }
            reply.integer(deleted);
        }
        (b"EXISTS", [_, ..]) => {
            let there = args.iter().filter(|key| store.lock(key).get(key).is_some());
            reply.integer(there.count() as i64);
        }
        (b"INCR", [key]) => reply.integer(add(store, key, 1)?),
        (b"DECR", [key]) => reply.integer(add(store, key, -1)?),
        (b"INCRBY", [key, by]) => {
            let by = integer(by).ok_or(NOT_AN_INTEGER)?;
            reply.integer(add(store, key, by)?);
        }
        (b"EXPIRE", [key, seconds]) => {
            let seconds = integer(seconds).ok_or(NOT_AN_INTEGER)?;
            let at = expiry(seconds, 1000).ok_or("ERR invalid expire time in 'expire' command")?;
            let mut shard = store.lock(key);
            let there = if at <= now() {
                shard.delete(key)?
            } else {
                shard.expire(key, at)?
            };
            reply.integer(i64::from(there));
        }
        (b"TTL", [key]) => {
            let left = match store.lock(key).get(key) {
                None => -2,
                Some(Entry { expires: None, .. }) => -1,
                // Rounded as Redis does.
                Some(Entry {
                    expires: Some(at), ..
                }) => (at.saturating_sub(now()) as i64 + 500) / 1000,
            };
            reply.integer(left);
        }
        (b"DBSIZE", []) => reply.integer(store.len() as i64),
        (b"FLUSHALL", [mode]) if !is_word(mode, &["SYNC", "ASYNC"]) => return Err(SYNTAX.into()),
        (b"FLUSHALL", [] | [_]) => {
            store.clear(&[b"FLUSHALL"])?;
            reply.simple("OK");
        }
        (b"INFO", _) => reply.bulk(server.info().as_bytes()),
        (b"COMMAND", _) => reply.array(0),
        (b"CONFIG", [verb, patterns @ ..]) if verb.eq_ignore_ascii_case(b"GET") => {
            config_get(server, patterns, reply)?;
        }
        (b"DEBUG", [verb]) if server.config.debug && is_word(verb, &["PANIC"]) => {
            panic!("DEBUG PANIC")
        }
        (b"CLIENT", [verb, rest @ ..]) => client_command(server, client, verb, rest, reply)?,
        (
            b"PING" | b"ECHO" | b"GET" | b"SET" | b"MGET" | b"MSET" | b"DEL" | b"UNLINK"
            | b"EXISTS" | b"INCR" | b"DECR" | b"INCRBY" | b"EXPIRE" | b"TTL" | b"DBSIZE"
            | b"FLUSHALL" | b"CONFIG" | b"CLIENT",
            _,
        ) => return Err(wrong_arguments(name)),
        _ => return Err(Refusal::UnknownCommand),
    }
    Ok(Flow::Continue)
}

fn is_word(text: &[u8], words: &[&str]) -> bool {
    words
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
}

fn wrong_arguments(command: &[u8]) -> Refusal {
    let name = String::from_utf8_lossy(command).to_ascii_lowercase();
    Err_(format!(
        "ERR wrong number of arguments for '{name}' command"
    ))
}

/// An error is one line, whatever the client sent.
fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() {
        byte.into()
    } else {
        '?'
    }
}

/// The moment `amount` units of `millis` from now.
fn expiry(amount: i64, millis: i64) -> Option<UnixMillis> {
    let since = amount.checked_mul(millis)?;
    let at = i64::try_from(now()).ok()?.checked_add(since)?;
    Some(u64::try_from(at).unwrap_or(0))
}

/// What may follow a key and a value.
#[derive(Default)]
struct SetOptions {
    expires: Option<UnixMillis>,
    only_new: bool,
    only_old: bool,
}

impl SetOptions {
    fn parse(mut words: &[&[u8]]) -> Result<SetOptions, Refusal> {
        let mut options = SetOptions::default();
        while let [word, rest @ ..] = words {
            words = rest;
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => options.only_new = true,
                b"XX" => options.only_old = true,
                unit @ (b"EX" | b"PX" | b"PXAT") => {
                    let [amount, rest @ ..] = words else {
                        return Err(SYNTAX.into());
                    };
                    words = rest;
                    if options.expires.is_some() {
                        return Err(SYNTAX.into());
                    }
                    let amount = integer(amount).ok_or(NOT_AN_INTEGER)?;
                    let at = match unit {
                        b"EX" => expiry(amount, 1000),
                        b"PX" => expiry(amount, 1),
                        _ => u64::try_from(amount).ok(),
                    };
                    let valid = at.filter(|_| amount > 0);
                    options.expires =
                        Some(valid.ok_or("ERR invalid expire time in 'set' command")?);
                }
                _ => return Err(SYNTAX.into()),
            }
        }
        if options.only_new && options.only_old {
            return Err(SYNTAX.into());
        }
        Ok(options)
    }
}

/// Whether the value was set.
fn set(store: &Store, key: &[u8], value: &[u8], options: &SetOptions) -> Result<bool, Refusal> {
    let entry = Entry {
        value: Arc::from(value),
        expires: options.expires,
    };
    let mut shard = store.lock(key);
    if options.only_new || options.only_old {
        let there = shard.get(key).is_some();
        if there == options.only_new {
            return Ok(false);
        }
    }
    shard.set(key, entry)?;
    Ok(true)
}

fn add(store: &Store, key: &[u8], by: i64) -> Result<i64, Refusal> {
    let mut shard = store.lock(key);
    let (old, expires) = match shard.get(key) {
        Some(entry) => (integer(&entry.value).ok_or(NOT_AN_INTEGER)?, entry.expires),
        None => (0, None),
    };
    let new = old
        .checked_add(by)
        .ok_or("ERR increment or decrement would overflow")?;
    shard.set(
        key,
        Entry {
            value: new.to_string().into_bytes().into(),
            expires,
        },
    )?;
    Ok(new)
}

/// Carries out a record of the log.
pub fn apply(store: &Store, record: &[&[u8]]) -> Result<(), String> {
    let refused = |_: LogFailed| "refused".to_owned(); // nothing is logged during a replay
    let at = |text: &[u8]| {
        let at = integer(text).and_then(|at| u64::try_from(at).ok());
        at.ok_or_else(|| "an expiry that is no number".to_owned())
    };
    match record {
        [b"SET", key, value, rest @ ..] => {
            let expires = match rest {
                [] => None,
                [b"PXAT", text] => Some(at(text)?),
                _ => return Err("an unknown option".to_owned()),
            };
            let entry = Entry {
                value: Arc::from(*value),
                expires,
            };
            store.lock(key).set(key, entry).map_err(refused)
        }
        [b"MSET", pairs @ ..] if pairs.len() % 2 == 0 => {
            let pairs: Vec<_> = pairs
                .chunks_exact(2)
                .map(|pair| (pair[0], pair[1]))
                .collect();
            store.set_all(&pairs, &[]).map_err(refused)
        }
        [b"DEL", key] => store.lock(key).delete(key).map(drop).map_err(refused),
        [b"PEXPIREAT", key, text] => {
            store.lock(key).replay_expiry(key, at(text)?);
            Ok(())
        }
        [b"FLUSHALL"] => store.clear(&[]).map_err(refused),
        _ => Err("an unknown record".to_owned()),
    }
}

fn config_get<W: Write>(
    server: &Server,
    patterns: &[&[u8]],
    reply: &mut Reply<W>,
) -> Result<(), Refusal> {
    if patterns.is_empty() {
        return Err(wrong_arguments(b"config|get"));
    }
    let appendonly = if server.config.log.is_some() {
        "yes"
    } else {
        "no"
    };
    let max_clients = server.config.max_connections.to_string();
    let settings = [
        ("save", ""),
        ("appendonly", appendonly),
        ("maxclients", max_clients.as_str()),
    ];
    let asked = |name: &str| {
        let is =
            |pattern: &&[u8]| *pattern == b"*" || pattern.eq_ignore_ascii_case(name.as_bytes());
        patterns.iter().any(is)
    };
    let found: Vec<_> = settings.iter().filter(|(name, _)| asked(name)).collect();
    reply.array(2 * found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn client_command<W: Write>(
    server: &Server,
    client: &Client,
    verb: &[u8],
    rest: &[&[u8]],
    reply: &mut Reply<W>,
) -> Result<(), Refusal> {
    match (verb.to_ascii_uppercase().as_slice(), rest) {
        (b"LIST", _) => reply.bulk(server.clients.list().as_bytes()),
        (b"ID", []) => reply.integer(client.id as i64),
        (b"GETNAME", []) => {
            let name = client.name.lock().clone();
            reply.bulk(&name);
        }
        (b"SETNAME", [name]) => {
            if name.len() > 64 || !name.iter().all(u8::is_ascii_graphic) {
                return Err(
                    "ERR Client names cannot contain spaces, newlines or special characters."
                        .into(),
                );
            }
            *client.name.lock() = name.to_vec();
            reply.simple("OK");
        }
        (b"SETINFO", [_, _]) => reply.simple("OK"),
        _ => {
            return Err(
                "ERR unknown subcommand or wrong number of arguments for 'client' command".into(),
            );
        }
    }
    Ok(())
}
