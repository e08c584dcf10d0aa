//! The commands of the example server, beside a map.

use arbitrary::{Arbitrary, Result, Unstructured};
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame as Frame;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use threadbare_kv::clients::Client;
use threadbare_kv::command::{Flow, execute};
use threadbare_kv::config::{self, Invocation};
use threadbare_kv::frame::{Command, CommandBuffer, InputMemory, Limits};
use threadbare_kv::log::Log;
use threadbare_kv::reply::Reply;
use threadbare_kv::server::{STOP, Server};
use threadbare_kv::store::{Store, UnixMillis, now};

const SYNTAX: &str = "ERR syntax error";
const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
const OVERFLOW: &str = "ERR increment or decrement would overflow";

/// What a command may announce, and what the account of all buffers has for it.
const LIMITS: Limits = Limits {
    max_bulk: 48 << 10,
    max_args: 12,
    max_command: 64 << 10,
    max_line: 64 << 10,
};
const MEMORY: usize = 128 << 10;

/// The end of time, in milliseconds.
const END: i128 = i64::MAX as i128;

/// No input takes as long as this, so what expires later does not expire meanwhile.
const SOON: UnixMillis = 10_000_000;

/// A pipeline of valid commands, in arrays and in lines, in any pieces, is answered as by a map.
pub fn kv(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let mut model = Model::default();
    let mut stream = Vec::new();
    let mut expected = Vec::new();
    let seed: u32 = bytes.arbitrary().unwrap_or_default();
    // It ends where the bytes do.
    while let (false, Ok(words)) = (bytes.is_empty(), command(&mut bytes)) {
        let Some(answer) = model.answer(&words) else {
            continue;
        };
        let as_line = bytes.arbitrary().unwrap_or_default();
        let begin = stream.len();
        encode(&words, as_line, &mut stream);
        if stream.len() - begin > LIMITS.max_line {
            stream.truncate(begin);
            break;
        }
        expected.push((words, answer));
    }
    let memory = Arc::new(InputMemory::new(MEMORY));
    let answers = serve(&stream, seed, &memory);
    let mut left = &answers[..];
    for (words, expected) in &expected {
        let words: Vec<_> = words
            .iter()
            .map(|word| word.escape_ascii().to_string())
            .collect();
        let (frame, length) = decode(left).unwrap().unwrap();
        assert!(
            expected.is(&frame),
            "{words:?}: {frame:?}, not {expected:?}"
        );
        left = &left[length..];
    }
    assert_eq!(left, b"");
    has_all_of_it(memory);
}

/// What `connection::serve` does with a client, for one that sends `stream` and then leaves.
fn serve(stream: &[u8], seed: u32, memory: &Arc<InputMemory>) -> Vec<u8> {
    let (server, client) = server();
    let mut answers = Vec::new();
    let mut reply = Reply::new(&mut answers);
    let mut commands = CommandBuffer::new(LIMITS, memory.clone());
    let mut source = Pieces { stream, seed };
    while commands.fill(&mut source).unwrap() > 0 {
        loop {
            let flow = match commands.next().unwrap() {
                None => break,
                Some((Command::Borrowed(words), _)) => {
                    execute(&server, &client, &words, &mut reply)
                }
                Some((Command::Owned(words), _)) => {
                    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                    execute(&server, &client, &words, &mut reply)
                }
            };
            assert_eq!(flow, Flow::Continue);
        }
        reply.flush().unwrap();
        // At any time, as the server's sweeper does: nobody is to notice.
        server.store.sweep();
    }
    assert!(commands.is_empty(), "a part of a command is left");
    assert!(!STOP.is_set());
    drop(reply);
    answers
}

/// A server with an empty store, and a client, both with sockets that nobody uses.
fn server() -> (Server, Arc<Client>) {
    static SOCKETS: OnceLock<(TcpListener, TcpStream)> = OnceLock::new();
    let (listener, stream) = SOCKETS.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener, stream)
    });
    let Ok(Invocation::Serve(config)) = config::parse(std::iter::empty()) else {
        unreachable!("a server without options serves")
    };
    let store = Store::new(Log::new(false));
    let server = Server::new(config, store, listener.try_clone().unwrap());
    let address = listener.local_addr().unwrap();
    let client = server.clients.meet(stream.try_clone().unwrap(), address);
    (server, client)
}

/// Gives out a stream in pieces of random lengths, some long, some short.
struct Pieces<'a> {
    stream: &'a [u8],
    seed: u32,
}

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.seed = self
            .seed
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let most = [1, 30, 1000, usize::MAX][(self.seed >> 30) as usize];
        let length = (1 + (self.seed >> 8) as usize % most).min(room.len());
        let (piece, rest) = self.stream.split_at(length.min(self.stream.len()));
        room[..piece.len()].copy_from_slice(piece);
        self.stream = rest;
        Ok(piece.len())
    }
}

/// Fails unless everything was given back to the account: one buffer can have all of it.
fn has_all_of_it(memory: Arc<InputMemory>) {
    let limits = Limits {
        max_bulk: MEMORY,
        max_command: 2 * MEMORY,
        ..LIMITS
    };
    let mut buffer = CommandBuffer::new(limits, memory);
    let begin = format!("*1\r\n${MEMORY}\r\n");
    let mut source = begin.as_bytes().chain(io::repeat(0)).take(MEMORY as u64);
    let mut length = 0;
    while length < MEMORY {
        length += buffer.fill(&mut source).unwrap();
        assert!(buffer.next().unwrap().is_none());
    }
    let refused = buffer.fill(&mut io::repeat(0)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory);
}

/// Words of which the first is a command, and the others are as many as it takes.
fn command(bytes: &mut Unstructured) -> Result<Vec<Vec<u8>>> {
    use Argument::{Any, Key, Number, Options, Value};
    let forms: [(&str, &[Argument]); 23] = [
        ("PING", &[]),
        ("PING", &[Value]),
        ("ECHO", &[Value]),
        ("GET", &[Key]),
        ("SET", &[Key, Value]),
        ("SET", &[Key, Number]),
        ("SET", &[Key, Value, Options]),
        ("SET", &[Key, Number, Options, Options]),
        ("MGET", &[Key, Key, Key]),
        ("MSET", &[Key, Value, Key, Number]),
        ("DEL", &[Key]),
        ("UNLINK", &[Key, Key]),
        ("EXISTS", &[Key, Key, Key]),
        ("INCR", &[Key]),
        ("DECR", &[Key]),
        ("INCRBY", &[Key, Number]),
        ("EXPIRE", &[Key, Number]),
        ("TTL", &[Key]),
        ("DBSIZE", &[]),
        ("FLUSHALL", &[]),
        ("INCRBY", &[Key, Any]),
        ("EXPIRE", &[Key, Any]),
        ("SET", &[Key, Value, Any]),
    ];
    let (name, arguments) = bytes.choose(&forms)?;
    let upper: u8 = bytes.arbitrary()?;
    let spell = |(at, letter): (usize, u8)| match upper >> (at % 8) & 1 {
        0 => letter,
        _ => letter.to_ascii_lowercase(),
    };
    let mut words = vec![name.bytes().enumerate().map(spell).collect()];
    for argument in *arguments {
        argument.spell(bytes, &mut words)?;
    }
    Ok(words)
}

enum Argument {
    Key,
    Value,
    Number,
    Options,
    Any,
}

impl Argument {
    fn spell(&self, bytes: &mut Unstructured, words: &mut Vec<Vec<u8>>) -> Result<()> {
        words.push(match self {
            Argument::Key => match u8::arbitrary(bytes)? {
                any @ 250.. => vec![any; usize::from(any - 250)],
                few => vec![b'a' + few % 5],
            },
            Argument::Value => match u8::arbitrary(bytes)? {
                // Long enough for a buffer that is not kept.
                long @ 245.. => vec![b'a' + (long - 245); usize::from(long - 244) * 2600],
                _ => {
                    let length = bytes.int_in_range(0..=20)?;
                    bytes.bytes(length)?.to_vec()
                }
            },
            Argument::Number => {
                let by = i64::from(bytes.arbitrary::<i8>()?);
                let base = bytes.choose(&[0, 1_000_000, i64::MAX, i64::MIN, 1 << 53])?;
                base.saturating_add(by).to_string().into_bytes()
            }
            Argument::Any => {
                let texts = [
                    "",
                    "-0",
                    "+1",
                    "01",
                    " 1",
                    "1 ",
                    "9223372036854775808",
                    "NY",
                    "1e3",
                ];
                bytes.choose(&texts)?.as_bytes().to_vec()
            }
            Argument::Options => {
                let word = *bytes.choose(&["NX", "xx", "EX", "px", "PXAT", "PXAT"])?;
                words.push(word.into());
                if word.len() == 2 && word.ends_with(['X', 'x']) && !"EXpx".contains(word) {
                    return Ok(());
                }
                return Argument::Number.spell(bytes, words);
            }
        });
        Ok(())
    }
}

fn encode(words: &[Vec<u8>], as_line: bool, stream: &mut Vec<u8>) {
    if as_line {
        for word in words {
            stream.push(b'"');
            for byte in word {
                match byte {
                    b'\r' => stream.extend(b"\\r"),
                    b'"' | b'\\' => stream.extend([b'\\', *byte]),
                    0x20..0x7f => stream.push(*byte),
                    _ => stream.extend(format!("\\x{byte:02X}").bytes()),
                }
            }
            stream.extend(b"\" ");
        }
        stream.extend(b"\r\n");
        return;
    }
    stream.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        stream.extend(format!("${}\r\n", word.len()).bytes());
        stream.extend(word);
        stream.extend(b"\r\n");
    }
}

/// What an answer must be.
#[derive(Debug)]
enum Answer {
    Is(Frame),
    Between(RangeInclusive<i64>),
}

impl Answer {
    fn is(&self, frame: &Frame) -> bool {
        match (self, frame) {
            (Answer::Is(expected), frame) => frame == expected,
            (Answer::Between(range), Frame::Integer(number)) => range.contains(number),
            _ => false,
        }
    }
}

fn number(number: impl TryInto<i64>) -> Option<Answer> {
    number
        .try_into()
        .ok()
        .map(|number| Answer::Is(Frame::Integer(number)))
}

fn ok() -> Option<Answer> {
    Some(Answer::Is(Frame::SimpleString(b"OK".to_vec())))
}

fn error(text: &str) -> Option<Answer> {
    Some(Answer::Is(Frame::Error(text.to_owned())))
}

fn bulk(value: Option<&[u8]>) -> Frame {
    value.map_or(Frame::Null, |value| Frame::BulkString(value.to_vec()))
}

/// When a key expires; before the input began, or long after it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    Never,
    Past,
    At(UnixMillis),
}

impl Expiry {
    /// `None` if that may be while this runs.
    fn of(at: i128) -> Option<Expiry> {
        let now = i128::from(now());
        if at < now - i128::from(SOON) {
            Some(Expiry::Past)
        } else if at > now + i128::from(SOON) {
            u64::try_from(at).ok().map(Expiry::At)
        } else {
            None
        }
    }
}

/// The keys; those that have expired may or may not be there still.
#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, (Vec<u8>, Expiry)>);

impl Model {
    fn get(&self, key: &[u8]) -> Option<&(Vec<u8>, Expiry)> {
        self.0
            .get(key)
            .filter(|(_, expiry)| *expiry != Expiry::Past)
    }

    /// The answer to a command; `None` if it depends on the moment, so that it is not to be sent.
    fn answer(&mut self, words: &[Vec<u8>]) -> Option<Answer> {
        let name = words[0].to_ascii_uppercase();
        match (name.as_slice(), &words[1..]) {
            (b"PING", []) => Some(Answer::Is(Frame::SimpleString(b"PONG".to_vec()))),
            (b"PING" | b"ECHO", [text]) => Some(Answer::Is(bulk(Some(text)))),
            (b"GET", [key]) => {
                let value = self.get(key).map(|(value, _)| value.as_slice());
                Some(Answer::Is(bulk(value)))
            }
            (b"SET", [key, value, options @ ..]) => self.set(key, value, options),
            (b"MGET", keys) => {
                let value = |key: &Vec<u8>| bulk(self.get(key).map(|(value, _)| value.as_slice()));
                Some(Answer::Is(Frame::Array(keys.iter().map(value).collect())))
            }
            (b"MSET", pairs) => {
                for pair in pairs.chunks(2) {
                    self.0
                        .insert(pair[0].clone(), (pair[1].clone(), Expiry::Never));
                }
                ok()
            }
            (b"DEL" | b"UNLINK", keys) => {
                let mut deleted = 0;
                for key in keys {
                    deleted += i64::from(self.get(key).is_some());
                    self.0.remove(key);
                }
                number(deleted)
            }
            (b"EXISTS", keys) => number(keys.iter().filter(|key| self.get(key).is_some()).count()),
            (b"INCR", [key]) => self.add(key, 1),
            (b"DECR", [key]) => self.add(key, -1),
            (b"INCRBY", [key, by]) => match integer(by) {
                Some(by) => self.add(key, by),
                None => error(NOT_AN_INTEGER),
            },
            (b"EXPIRE", [key, seconds]) => self.expire(key, seconds),
            (b"TTL", [key]) => match self.get(key) {
                None => number(-2),
                Some((_, Expiry::At(at))) => {
                    // The server's clock is read at another moment, twice.
                    let left = (at.saturating_sub(now()) / 1000) as i64;
                    Some(Answer::Between(left - 120..=left + 120))
                }
                Some(_) => number(-1),
            },
            (b"DBSIZE", []) => {
                let live = self.0.keys().filter(|key| self.get(key).is_some()).count() as i64;
                Some(Answer::Between(live..=self.0.len() as i64))
            }
            (b"FLUSHALL", []) => {
                self.0.clear();
                ok()
            }
            _ => unreachable!("no such command is made"),
        }
    }
    fn set(&mut self, key: &[u8], value: &[u8], options: &[Vec<u8>]) -> Option<Answer> {
        let (mut only_new, mut only_old, mut expiry) = (false, false, None);
        let mut words = options.iter();
        while let Some(word) = words.next() {
            let word = word.to_ascii_uppercase();
            match word.as_slice() {
                b"NX" => only_new = true,
                b"XX" => only_old = true,
                b"EX" | b"PX" | b"PXAT" => {
                    if expiry.is_some() {
                        return error(SYNTAX);
                    }
                    let amount = integer(words.next().unwrap());
                    let amount = i128::from(amount.unwrap());
                    let at = match word.as_slice() {
                        b"EX" => i128::from(now()) + amount * 1000,
                        b"PX" => i128::from(now()) + amount,
                        _ => amount,
                    };
                    if amount <= 0 || at > END {
                        return error("ERR invalid expire time in 'set' command");
                    }
                    expiry = Some(Expiry::of(at)?);
                }
                _ => return error(SYNTAX),
            }
        }
        if only_new && only_old {
            return error(SYNTAX);
        }
        let is_there = self.get(key).is_some();
        if only_new && is_there || only_old && !is_there {
            return Some(Answer::Is(Frame::Null));
        }
        let expiry = expiry.unwrap_or(Expiry::Never);
        self.0.insert(key.to_vec(), (value.to_vec(), expiry));
        ok()
    }

    fn add(&mut self, key: &[u8], by: i64) -> Option<Answer> {
        let (old, expiry) = match self.get(key) {
            Some((value, expiry)) => (integer(value), *expiry),
            None => (Some(0), Expiry::Never),
        };
        let Some(old) = old else {
            return error(NOT_AN_INTEGER);
        };
        let Some(new) = old.checked_add(by) else {
            return error(OVERFLOW);
        };
        let value = new.to_string().into_bytes();
        self.0.insert(key.to_vec(), (value, expiry));
        number(new)
    }

    fn expire(&mut self, key: &[u8], seconds: &[u8]) -> Option<Answer> {
        let Some(seconds) = integer(seconds) else {
            return error(NOT_AN_INTEGER);
        };
        let after = i128::from(seconds) * 1000;
        let at = i128::from(now()) + after;
        if at > END || after < i128::from(i64::MIN) {
            return error("ERR invalid expire time in 'expire' command");
        }
        let expiry = Expiry::of(at).or((seconds <= 0).then_some(Expiry::Past))?;
        let is_there = self.get(key).is_some();
        match self.0.get_mut(key) {
            Some(entry) if is_there => entry.1 = expiry,
            _ => {}
        }
        number(is_there)
    }
}

/// A number as it is written in one way only.
fn integer(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
