//! What a client sends to the example server: any bytes, in any pieces.

use arbitrary::Unstructured;
use std::io::{self, Read};
use std::sync::Arc;
use threadbare_kv::frame::{Command, CommandBuffer, FrameError, InputMemory, Limits};

type Words = Vec<Vec<u8>>;

/// What a byte stream says: its commands, and then what ended it, an error or the end of the
/// stream; whether that cut off a command.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    commands: Vec<Words>,
    end: Result<bool, FrameError>,
}

const SMALL: Limits = Limits {
    max_bulk: 24,
    max_args: 4,
    max_command: 96,
    max_line: 24,
};

/// A byte stream says the same in whatever pieces it comes, and what a plain parser makes of it.
pub fn resp(data: &[u8]) {
    let [seed, size, rest @ ..] = data else {
        return;
    };
    let composed;
    let stream = match size / 128 {
        0 => rest,
        _ => {
            composed = compose(rest);
            &composed
        }
    };
    let (limits, memory) = match size % 2 {
        // The buffer is larger from the beginning, so nothing is taken from the account.
        0 => {
            let max_line = usize::from(size / 2 % 3) * 24;
            let limits = Limits { max_line, ..SMALL };
            (limits, 0)
        }
        _ => {
            let limits = Limits {
                max_bulk: 8 << 20,
                max_args: 65_536,
                max_command: 64 << 20,
                max_line: 64 << 10,
            };
            (limits, 2 * stream.len().next_power_of_two())
        }
    };
    let parse = |next: &mut dyn FnMut() -> usize| parse(stream, &limits, memory, next);
    let whole = parse(&mut || usize::MAX);
    assert_eq!(whole, parse(&mut || 1));
    let mut state = u32::from(*seed);
    let mut any = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 24) as usize % 40
    };
    assert_eq!(whole, parse(&mut any));

    let expected = Reference::read(stream, &limits);
    assert_eq!(whole.commands, expected.commands);
    assert_eq!(whole.end.ok(), expected.end);
}

/// A stream of commands that are mostly in order, and often as long as is just allowed.
fn compose(data: &[u8]) -> Vec<u8> {
    let mut bytes = Unstructured::new(data);
    let mut stream = Vec::new();
    // It ends where the bytes do.
    while !bytes.is_empty() && compose_piece(&mut bytes, &mut stream).is_ok() {}
    stream
}

fn compose_piece(bytes: &mut Unstructured, stream: &mut Vec<u8>) -> arbitrary::Result<()> {
    match bytes.int_in_range(0..=15)? {
        0 => stream.push(bytes.arbitrary()?),
        1..=6 => compose_line(bytes, stream)?,
        _ => compose_array(bytes, stream)?,
    }
    Ok(())
}

/// Words in whatever quotes, with whatever escapes.
fn compose_line(bytes: &mut Unstructured, stream: &mut Vec<u8>) -> arbitrary::Result<()> {
    let begin = stream.len();
    let pieces = [
        "a", "GET", " ", "\t", "\r", "\0", "\"", "'", "\\", "\\\"", "\\'", "\\n", "\\r", "\\t",
        "\\b", "\\a", "\\x", "\\x4a", "\\xBf", "\\xC0", "\\x9",
    ];
    for _ in 0..bytes.int_in_range(0..=4)? {
        let quote = bytes.choose(&["", "\"", "\"", "'"])?.bytes();
        stream.extend(quote.clone());
        for _ in 0..bytes.int_in_range(0..=3)? {
            stream.extend(bytes.choose(&pieces)?.bytes());
        }
        stream.extend(quote);
        stream.push(b' ');
    }
    if bytes.arbitrary()? {
        let limit = SMALL.max_line * bytes.int_in_range(1..=2)?;
        let length = (begin + limit).saturating_add_signed(about(bytes)? - 1);
        stream.resize(length.max(stream.len()), b'x');
    }
    stream.push(b'\n');
    Ok(())
}

fn compose_array(bytes: &mut Unstructured, stream: &mut Vec<u8>) -> arbitrary::Result<()> {
    let begin = stream.len();
    let count = bytes.int_in_range(0..=SMALL.max_args + 1)?;
    compose_header(b'*', count, bytes, stream)?;
    for _ in 0..count {
        let length = match bytes.int_in_range(0..=3)? {
            0 => SMALL.max_bulk.saturating_add_signed(about(bytes)?),
            1 => {
                // So that the command is as long as it may be.
                let used = stream.len() - begin + "$00\r\n\r\n".len();
                let left = SMALL.max_command.saturating_sub(used);
                left.saturating_add_signed(about(bytes)?)
            }
            _ => bytes.int_in_range(0..=SMALL.max_bulk)?,
        };
        compose_header(b'$', length, bytes, stream)?;
        stream.resize(stream.len() + length, b'x');
        stream.extend(match bytes.int_in_range(0..=31)? {
            0 => b"\rx",
            1 => b"x\n",
            _ => b"\r\n",
        });
    }
    Ok(())
}

fn compose_header(
    kind: u8,
    number: usize,
    bytes: &mut Unstructured,
    stream: &mut Vec<u8>,
) -> arbitrary::Result<()> {
    stream.push(kind);
    let spelled = match bytes.int_in_range(0..=63)? {
        0 => format!("-{number}"),
        1 => format!("0{number}"),
        2 => format!("+{number}"),
        3 => format!(" {number}"),
        4 => format!("{}", i64::MIN),
        5 => format!("{}", u64::MAX),
        6 => String::from("-0"),
        _ => number.to_string(),
    };
    stream.extend(spelled.bytes());
    stream.extend(b"\r\n");
    Ok(())
}

/// By how much something differs from a limit.
fn about(bytes: &mut Unstructured) -> arbitrary::Result<isize> {
    bytes.int_in_range(-1..=1)
}

/// Gives out a stream in pieces.
struct Pieces<'a> {
    stream: &'a [u8],
    next: &'a mut dyn FnMut() -> usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = (self.next)().min(room.len()).min(self.stream.len());
        let (piece, rest) = self.stream.split_at(length);
        room[..length].copy_from_slice(piece);
        self.stream = rest;
        Ok(length)
    }
}

fn parse(stream: &[u8], limits: &Limits, memory: usize, next: &mut dyn FnMut() -> usize) -> Said {
    let memory = Arc::new(InputMemory::new(memory));
    let mut buffer = CommandBuffer::new(limits.clone(), memory);
    let mut source = Pieces { stream, next };
    let mut commands = Vec::new();
    loop {
        if buffer.fill(&mut source).unwrap() == 0 {
            let end = Ok(!buffer.is_empty());
            return Said { commands, end };
        }
        loop {
            match buffer.next() {
                Ok(None) => break,
                Ok(Some((Command::Borrowed(words), _))) => {
                    commands.push(words.into_iter().map(<[u8]>::to_vec).collect());
                }
                Ok(Some((Command::Owned(words), _))) => commands.push(words),
                Err(error) => {
                    let end = Err(error);
                    return Said { commands, end };
                }
            }
        }
    }
}

/// A parser that sees the whole stream and has no state.
struct Reference<'a> {
    left: &'a [u8],
    limits: &'a Limits,
    commands: Vec<Words>,
    /// `None` after an error.
    end: Option<bool>,
}

/// Why there is no more.
enum Stop {
    Incomplete,
    Error,
}

impl<'a> Reference<'a> {
    fn read(stream: &'a [u8], limits: &'a Limits) -> Reference<'a> {
        let mut reference = Reference {
            left: stream,
            limits,
            commands: Vec::new(),
            end: Some(false),
        };
        while !reference.left.is_empty() {
            if let Err(stop) = reference.command() {
                reference.end = matches!(stop, Stop::Incomplete).then_some(true);
                break;
            }
        }
        reference
    }

    fn command(&mut self) -> Result<(), Stop> {
        if self.left[0] != b'*' {
            return self.line();
        }
        let mut at = 1;
        let count = self.number(&mut at)?;
        if count > self.limits.max_args as i128 {
            return Err(Stop::Error);
        }
        let mut words = Vec::new();
        for _ in 0..count.max(0) {
            match self.left.get(at) {
                None => return Err(Stop::Incomplete),
                Some(b'$') => at += 1,
                Some(_) => return Err(Stop::Error),
            }
            let length = self.number(&mut at)?;
            let is_allowed = (0..=self.limits.max_bulk as i128).contains(&length);
            let end = at as i128 + length + 2;
            if !is_allowed || end > self.limits.max_command as i128 {
                return Err(Stop::Error);
            }
            let Some(word) = self.left.get(at..end as usize) else {
                return Err(Stop::Incomplete);
            };
            words.push(word.strip_suffix(b"\r\n").ok_or(Stop::Error)?.to_vec());
            at = end as usize;
        }
        if !words.is_empty() {
            self.commands.push(words);
        }
        self.left = &self.left[at..];
        Ok(())
    }

    /// The number of the header line at `at`, which moves behind it.
    fn number(&self, at: &mut usize) -> Result<i128, Stop> {
        // No number that is accepted has more than 20 characters; the parser waits for 22.
        let text = &self.left[*at..];
        let length = text.iter().take(23).position(|byte| *byte == b'\r');
        match length {
            None if text.len() < 23 => return Err(Stop::Incomplete),
            None | Some(22) => return Err(Stop::Error),
            Some(length) if text.len() == length + 1 => return Err(Stop::Incomplete),
            Some(length) if text[length + 1] != b'\n' => return Err(Stop::Error),
            Some(_) => {}
        }
        let digits = String::from_utf8_lossy(&text[..length.unwrap_or_default()]);
        let number: i64 = digits.parse().map_err(|_| Stop::Error)?;
        if number.to_string() != digits {
            return Err(Stop::Error);
        }
        *at += digits.len() + 2;
        Ok(number.into())
    }

    fn line(&mut self) -> Result<(), Stop> {
        let Some(length) = self.left.iter().position(|byte| *byte == b'\n') else {
            let is_too_long = self.left.len() > self.limits.max_line;
            return Err(if is_too_long {
                Stop::Error
            } else {
                Stop::Incomplete
            });
        };
        if length + 1 > self.limits.max_line {
            return Err(Stop::Error);
        }
        let (line, rest) = self.left.split_at(length + 1);
        self.left = rest;
        let words = words(line).ok_or(Stop::Error)?;
        if !words.is_empty() {
            self.commands.push(words);
        }
        Ok(())
    }
}

/// The words of a line; `None` if its quotes are not in order.
fn words(line: &[u8]) -> Option<Words> {
    let mut words = Words::new();
    // The quote that a word has begun with, a space if it has none; `None` between words.
    let mut within = None;
    let mut has_closed = false;
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let is_space = byte.is_ascii_whitespace();
        let is_quote = matches!(byte, b'"' | b'\'');
        match within {
            None if is_space => has_closed = false,
            None if has_closed => return None,
            None => {
                within = Some(if is_quote { byte } else { b' ' });
                words.push(if is_quote { Vec::new() } else { vec![byte] });
            }
            Some(b' ') if is_space => within = None,
            Some(b' ') if is_quote => return None,
            Some(quote) if byte == quote => {
                within = None;
                has_closed = true;
            }
            Some(b'"') if byte == b'\\' => {
                let escaped = bytes.next()?;
                let hex: Vec<u8> = bytes.clone().take(2).collect();
                let hex = String::from_utf8_lossy(&hex).into_owned();
                let is_hex = hex.len() == 2 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
                words.last_mut()?.push(match escaped {
                    b'x' if is_hex => {
                        bytes.nth(1);
                        u8::from_str_radix(&hex, 16).ok()?
                    }
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
            }
            Some(b'\'') if byte == b'\\' && bytes.peek() == Some(&b'\'') => {
                bytes.next();
                words.last_mut()?.push(b'\'');
            }
            Some(_) => words.last_mut()?.push(byte),
        }
    }
    matches!(within, None | Some(b' ')).then_some(words)
}
