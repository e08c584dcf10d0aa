//! Commands out of a byte stream.
//!
//! A client decides what arrives here, so nothing is believed: [`Scanner`] walks
//! over the bytes as they come, enforces every limit, and lets through only one
//! flat array of bulk strings. The decoder of `redis-protocol` calls itself for
//! nested arrays, which on a small thread stack would be the client's choice of
//! a crash; it sees complete, checked frames only.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

/// An idle connection keeps this much.
const INITIAL_BUFFER: usize = 2 << 10;
/// A buffer above this is given back once its commands are done.
const KEPT_BUFFER: usize = 16 << 10;
/// `*` or `$`, a sign, 19 digits, CR LF; longer is no number that we accept.
const LONGEST_HEADER: usize = 23;

#[derive(Clone)]
pub struct Limits {
    pub max_bulk: usize,
    pub max_args: usize,
    /// Bytes of one command, with its framing.
    pub max_command: usize,
    /// Bytes of an inline command; 0 allows none (the log has none).
    pub max_line: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum FrameError {
    ArrayLength,
    BulkLength,
    NotABulkString(u8),
    Unterminated,
    TooLarge,
    LineTooLong,
    Inline,
    Quotes,
    Decoder,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::ArrayLength => f.write_str("invalid multibulk length"),
            FrameError::BulkLength => f.write_str("invalid bulk length"),
            FrameError::NotABulkString(got) => {
                write!(f, "expected '$', got '{}'", got.escape_ascii())
            }
            FrameError::Unterminated => f.write_str("expected CRLF after bulk string"),
            FrameError::TooLarge => f.write_str("command too large"),
            FrameError::LineTooLong => f.write_str("too big inline request"),
            FrameError::Inline => f.write_str("expected '*'"),
            FrameError::Quotes => f.write_str("unbalanced quotes in request"),
            FrameError::Decoder => f.write_str("malformed frame"),
        }
    }
}

/// Where the command at the front of the buffer ends.
#[derive(Debug, PartialEq, Eq)]
enum Scanned {
    Incomplete,
    /// An array of this many bytes.
    Array(usize),
    /// A line of this many bytes, with its line feed.
    Line(usize),
    /// Something to skip: an empty array.
    Nothing(usize),
}

/// Finds the end of a command. It remembers how far it looked, so a command
/// that arrives in many small pieces is still looked at once.
#[derive(Default)]
struct Scanner {
    /// Everything before this was checked.
    position: usize,
    /// Bulk strings still to come; `None` before the array's header.
    missing: Option<usize>,
    /// How far the line feed of an inline command was searched.
    searched: usize,
}

impl Scanner {
    fn scan(&mut self, bytes: &[u8], limits: &Limits) -> Result<Scanned, FrameError> {
        let mut missing = match self.missing {
            Some(missing) => missing,
            None => match bytes.first() {
                None => return Ok(Scanned::Incomplete),
                Some(b'*') => {
                    let Some((count, end)) = header(bytes, 0, FrameError::ArrayLength)? else {
                        return Ok(Scanned::Incomplete);
                    };
                    if count <= 0 {
                        return Ok(Scanned::Nothing(end));
                    }
                    let count = usize::try_from(count)
                        .ok()
                        .filter(|&count| count <= limits.max_args)
                        .ok_or(FrameError::ArrayLength)?;
                    self.position = end;
                    count
                }
                Some(_) => return self.scan_line(bytes, limits),
            },
        };
        while missing > 0 {
            self.missing = Some(missing);
            match bytes.get(self.position) {
                None => return Ok(Scanned::Incomplete),
                Some(b'$') => {}
                Some(&other) => return Err(FrameError::NotABulkString(other)),
            }
            let Some((length, start)) = header(bytes, self.position, FrameError::BulkLength)?
            else {
                return Ok(Scanned::Incomplete);
            };
            let length = usize::try_from(length)
                .ok()
                .filter(|&length| length <= limits.max_bulk)
                .ok_or(FrameError::BulkLength)?;
            let end = start + length + 2;
            // Refused when it is announced, not when it has been received.
            if end > limits.max_command {
                return Err(FrameError::TooLarge);
            }
            let Some(terminator) = bytes.get(start + length..end) else {
                // `position` stays at the header: reading its few bytes again is cheap.
                return Ok(Scanned::Incomplete);
            };
            if terminator != b"\r\n" {
                return Err(FrameError::Unterminated);
            }
            self.position = end;
            missing -= 1;
        }
        Ok(Scanned::Array(self.position))
    }

    fn scan_line(&mut self, bytes: &[u8], limits: &Limits) -> Result<Scanned, FrameError> {
        if limits.max_line == 0 {
            return Err(FrameError::Inline);
        }
        let fresh = bytes.get(self.searched..).unwrap_or_default();
        let found = fresh.iter().position(|&byte| byte == b'\n');
        let length = found.map_or(bytes.len(), |at| self.searched + at + 1);
        if length > limits.max_line {
            return Err(FrameError::LineTooLong);
        }
        self.searched = bytes.len();
        Ok(found.map_or(Scanned::Incomplete, |_| Scanned::Line(length)))
    }
}

/// The number in the header line at `at`, and where the line ends.
fn header(bytes: &[u8], at: usize, error: FrameError) -> Result<Option<(i64, usize)>, FrameError> {
    let line = bytes.get(at + 1..).unwrap_or_default();
    let line = line.get(..LONGEST_HEADER).unwrap_or(line);
    let Some(length) = line.iter().position(|&byte| byte == b'\r') else {
        return if line.len() == LONGEST_HEADER {
            Err(error)
        } else {
            Ok(None)
        };
    };
    let digits = line.get(..length).unwrap_or_default();
    match line.get(length + 1) {
        None if length + 1 < LONGEST_HEADER => return Ok(None),
        Some(b'\n') => {}
        _ => return Err(error),
    }
    let number = integer(digits).ok_or(error)?;
    Ok(Some((number, at + 1 + length + 2)))
}

/// A decimal integer in its one canonical spelling, as Redis wants it: no
/// spaces, no plus sign, no leading zeros.
pub fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Splits an inline command as Redis does: words, "double quotes" with
/// escapes, 'single quotes'.
fn split_line(line: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while let Some(&first) = rest.first() {
        let mut word = Vec::new();
        match first {
            b'"' | b'\'' => {
                rest = quoted(&rest[1..], first, &mut word)?;
                // A closing quote ends the word.
                if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                    return Err(FrameError::Quotes);
                }
            }
            _ => {
                let stop = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
                let end = rest.iter().position(stop).unwrap_or(rest.len());
                word.extend_from_slice(&rest[..end]);
                rest = &rest[end..];
                if matches!(rest.first(), Some(b'"' | b'\'')) {
                    return Err(FrameError::Quotes);
                }
            }
        }
        words.push(word);
        rest = rest.trim_ascii_start();
    }
    Ok(words)
}

/// Reads up to the closing `quote` and returns what follows it.
fn quoted<'a>(text: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Result<&'a [u8], FrameError> {
    let mut rest = text;
    loop {
        let (byte, left) = match rest {
            [b'\\', b'x', high, low, left @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), left)
            }
            [b'\\', escaped, left @ ..] if quote == b'"' => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    &other => other,
                };
                (byte, left)
            }
            [b'\\', b'\'', left @ ..] if quote == b'\'' => (b'\'', left),
            [byte, left @ ..] if *byte == quote => return Ok(left),
            [byte, left @ ..] => (*byte, left),
            [] => return Err(FrameError::Quotes),
        };
        word.push(byte);
        rest = left;
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// Memory that all connections together may use for unfinished large commands.
///
/// The limit per command times the number of connections is far more than a
/// machine has, so growth beyond the kept size is drawn from one account.
pub struct InputMemory {
    left: AtomicUsize,
}

impl InputMemory {
    pub fn new(bytes: usize) -> Self {
        InputMemory {
            left: AtomicUsize::new(bytes),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The arguments of one command; the first is its name.
pub enum Command<'a> {
    Borrowed(Vec<&'a [u8]>),
    /// Unquoting made copies.
    Owned(Vec<Vec<u8>>),
}

/// Bytes received and not yet used.
pub struct CommandBuffer {
    /// Its length is the capacity: all of it is initialised, so reading into
    /// the free part needs no clearing each time.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    scanner: Scanner,
    limits: Limits,
    memory: Arc<InputMemory>,
    /// Taken from `memory`.
    charged: usize,
}

impl CommandBuffer {
    pub fn new(limits: Limits, memory: Arc<InputMemory>) -> Self {
        CommandBuffer {
            bytes: vec![0; INITIAL_BUFFER],
            start: 0,
            end: 0,
            scanner: Scanner::default(),
            limits,
            memory,
            charged: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads once. `Ok(0)` is the end of the stream; an error of the kind
    /// `OutOfMemory` means that all unfinished commands together are too large.
    pub fn fill(&mut self, source: &mut impl Read) -> io::Result<usize> {
        self.make_room()?;
        let free = self.bytes.get_mut(self.end..).unwrap_or_default();
        let received = source.read(free)?;
        self.end += received;
        Ok(received)
    }

    fn make_room(&mut self) -> io::Result<()> {
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
            if self.bytes.len() > KEPT_BUFFER {
                self.bytes = vec![0; INITIAL_BUFFER];
                self.memory.give_back(self.charged);
                self.charged = 0;
            }
        } else if self.start > 0 {
            // What is left is the beginning of one command, received by the
            // last read: no byte is moved twice by this.
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() {
            let larger = self.bytes.len() * 2;
            if larger > KEPT_BUFFER {
                let more = larger - self.charged;
                if !self.memory.take(more) {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                self.charged += more;
            }
            self.bytes.resize(larger, 0);
        }
        Ok(())
    }

    /// The next complete command and its length, or `None` when more must be read.
    pub fn next(&mut self) -> Result<Option<(Command<'_>, usize)>, FrameError> {
        loop {
            let bytes = self.bytes.get(self.start..self.end).unwrap_or_default();
            let scanned = self.scanner.scan(bytes, &self.limits)?;
            let length = match scanned {
                Scanned::Incomplete => return Ok(None),
                Scanned::Nothing(length) | Scanned::Array(length) | Scanned::Line(length) => length,
            };
            let at = self.start;
            self.scanner = Scanner::default();
            self.start += length;
            match scanned {
                Scanned::Array(_) => {
                    let frame = self.bytes.get(at..at + length).unwrap_or_default();
                    return Ok(Some((Command::Borrowed(decode(frame)?), length)));
                }
                Scanned::Line(_) => {
                    let line = self.bytes.get(at..at + length).unwrap_or_default();
                    let words = split_line(line)?;
                    if !words.is_empty() {
                        return Ok(Some((Command::Owned(words), length)));
                    }
                }
                Scanned::Nothing(_) | Scanned::Incomplete => {}
            }
        }
    }
}

impl Drop for CommandBuffer {
    fn drop(&mut self) {
        self.memory.give_back(self.charged);
    }
}

fn decode(frame: &[u8]) -> Result<Vec<&[u8]>, FrameError> {
    let Ok(Some((RangeFrame::Array(items), _))) = decode_range(frame) else {
        return Err(FrameError::Decoder);
    };
    let mut args = Vec::with_capacity(items.len());
    for item in items {
        match item {
            RangeFrame::BulkString((from, to)) => {
                args.push(frame.get(from..to).ok_or(FrameError::Decoder)?);
            }
            _ => return Err(FrameError::Decoder),
        }
    }
    Ok(args)
}
