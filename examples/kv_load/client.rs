//! One connection to the server, and the server as a child process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Nothing that works takes as long.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Whatever goes wrong ends the program.
pub type Result<T> = std::result::Result<T, String>;

/// Turns an error into text that says what was tried.
pub fn failed<E: std::fmt::Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

/// An answer of the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Answer>),
}

/// `items` as a RESP array.
pub fn command(items: &[&[u8]]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", items.len()).into_bytes();
    for item in items {
        text.extend_from_slice(format!("${}\r\n", item.len()).as_bytes());
        text.extend_from_slice(item);
        text.extend_from_slice(b"\r\n");
    }
    text
}

pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(failed("connect"))?;
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(TIMEOUT)))
            .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)));
        ready.map_err(failed("set up a connection"))?;
        Ok(Client {
            stream: BufReader::with_capacity(512, stream),
        })
    }

    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream
            .get_mut()
            .write_all(bytes)
            .map_err(failed("send"))
    }

    pub fn call(&mut self, items: &[&[u8]]) -> Result<Answer> {
        self.send(&command(items))?;
        self.answer()
    }

    /// Sends a command and expects an answer.
    pub fn expect(&mut self, items: &[&[u8]], answer: &Answer) -> Result<()> {
        let got = self.call(items)?;
        let name = || String::from_utf8_lossy(items[0]).into_owned();
        if got == *answer {
            Ok(())
        } else {
            Err(format!("{}: {got:?} for {answer:?}", name()))
        }
    }

    pub fn answer(&mut self) -> Result<Answer> {
        read_answer(&mut self.stream).map_err(failed("receive"))
    }

    /// All that comes until the server closes the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest); // a reset is an end too
        rest
    }
}

fn read_answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, format!("answer {line:?}"));
    let text = line.strip_suffix("\r\n").ok_or_else(broken)?;
    let (kind, rest) = text.split_at_checked(1).ok_or_else(broken)?;
    let number = || rest.parse::<i64>().map_err(|_| broken());
    Ok(match kind {
        "+" => Answer::Simple(rest.to_owned()),
        "-" => Answer::Error(rest.to_owned()),
        ":" => Answer::Integer(number()?),
        "$" => match usize::try_from(number()?) {
            Err(_) => Answer::Bulk(None),
            Ok(len) => {
                let mut bytes = vec![0; len + 2];
                stream.read_exact(&mut bytes)?;
                bytes.truncate(len);
                Answer::Bulk(Some(bytes))
            }
        },
        "*" => {
            let items = (0..number()?).map(|_| read_answer(stream));
            Answer::Array(items.collect::<io::Result<_>>()?)
        }
        _ => return Err(broken()),
    })
}

/// The server as a child of ours; killed if it is not stopped.
pub struct Server {
    child: Child,
    _output: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(program: &Path, arguments: &[&str]) -> Result<Server> {
        let mut child = Command::new(program)
            .args(arguments)
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed(&program.display().to_string()))?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output
            .read_line(&mut line)
            .map_err(failed("read the port"))?;
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .and_then(|text| text.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            return Err(format!("the server said {line:?}"));
        };
        Ok(Server {
            child,
            _output: output,
            address,
        })
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), signal).map_err(failed("kill"))
    }

    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().map_err(failed("wait for the server"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
