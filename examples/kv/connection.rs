//! One client: read commands, carry them out, answer.

use std::io::{self, Write};
use std::time::Duration;

use crate::clients::Client;
use crate::command::{Flow, Reply, execute};
use crate::frame::{Command, CommandBuffer};
use crate::server::Server;

/// Answers are sent when they are this long, or when no command is left.
const FLUSH_AT: usize = 64 << 10;

/// A buffer of answers above this is not kept.
const KEPT: usize = 4 << 10;

/// How long a client may take no answer before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves a client until it leaves, is in error, or may send no more.
pub fn serve(server: &Server, client: &Client) -> io::Result<()> {
    let mut stream = &client.stream;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut commands = CommandBuffer::new(server.config.limits.clone(), server.input.clone());
    let mut answers = Vec::new();
    loop {
        let received = match commands.fill(&mut stream) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                Reply(&mut answers).error("OOM too many large commands at once");
                return stream.write_all(&answers);
            }
            Err(error) => return Err(error),
        };
        if received == 0 {
            return Ok(()); // an unfinished command is nothing
        }
        loop {
            let flow = match commands.next() {
                Ok(None) => break,
                Ok(Some((Command::Borrowed(args), _))) => {
                    execute(server, client, &args, &mut answers)
                }
                Ok(Some((Command::Owned(args), _))) => {
                    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                    execute(server, client, &args, &mut answers)
                }
                Err(error) => {
                    Reply(&mut answers).error(&format!("ERR Protocol error: {error}"));
                    Flow::Close
                }
            };
            if flow == Flow::Close {
                return stream.write_all(&answers);
            }
            if answers.len() >= FLUSH_AT {
                stream.write_all(&answers)?;
                answers.clear();
            }
        }
        if !answers.is_empty() {
            stream.write_all(&answers)?;
            answers.clear();
        }
        answers.shrink_to(KEPT);
    }
}
