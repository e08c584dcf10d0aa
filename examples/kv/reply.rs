//! Answers in RESP2, gathered so that a pipeline takes few writes.

use std::io::{self, Write};

/// Answers are sent when they are this long, in the middle of a command too: one MGET can ask for
/// far more than there is memory.
const FLUSH_AT: usize = 64 << 10;

/// A buffer of answers above this is not kept.
const KEPT: usize = 4 << 10;

/// The answers of one connection, in order.
///
/// After a failed write everything else is dropped, and [`flush`](Reply::flush) tells.
pub struct Reply<W> {
    client: W,
    answers: Vec<u8>,
    result: io::Result<()>,
}

impl<W: Write> Reply<W> {
    pub fn new(client: W) -> Self {
        Reply {
            client,
            answers: Vec::new(),
            result: Ok(()),
        }
    }

    pub fn simple(&mut self, text: &str) {
        self.put(format_args!("+{text}\r\n"));
    }

    pub fn error(&mut self, text: &str) {
        self.put(format_args!("-{text}\r\n"));
    }

    pub fn integer(&mut self, number: i64) {
        self.put(format_args!(":{number}\r\n"));
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        self.put(format_args!("${}\r\n", bytes.len()));
        if bytes.len() >= FLUSH_AT {
            self.send();
            self.write(bytes); // a large value is not copied
        } else {
            self.answers.extend_from_slice(bytes);
        }
        self.put(format_args!("\r\n"));
    }

    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.put(format_args!("$-1\r\n")),
        }
    }

    pub fn array(&mut self, len: usize) {
        self.put(format_args!("*{len}\r\n"));
    }

    fn put(&mut self, text: std::fmt::Arguments) {
        let _ = self.answers.write_fmt(text); // writing to a vector does not fail
        if self.answers.len() >= FLUSH_AT {
            self.send();
        }
    }

    fn send(&mut self) {
        let mut answers = std::mem::take(&mut self.answers);
        self.write(&answers);
        answers.clear();
        self.answers = answers;
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.result.is_ok() {
            self.result = self.client.write_all(bytes);
        }
    }

    /// Whether the client takes no more answers.
    pub fn failed(&self) -> bool {
        self.result.is_err()
    }

    /// Sends everything. An error is that of the first write that failed.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.answers.is_empty() {
            self.send();
        }
        self.answers.shrink_to(KEPT);
        std::mem::replace(&mut self.result, Ok(()))
    }
}
