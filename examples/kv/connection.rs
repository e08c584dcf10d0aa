//! One client: read commands, carry them out, answer.

use std::io;
use std::time::Duration;

use crate::clients::Client;
use crate::command::{Flow, execute};
use crate::frame::{Command, CommandBuffer};
use crate::reply::Reply;
use crate::server::Server;
use crate::stats::Counted;

/// How long a client may take no answer before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves a client until it leaves, is in error, or may send no more.
pub fn serve(server: &Server, client: &Client) -> io::Result<()> {
    client.stream.set_nodelay(true)?;
    client.stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = Counted(&client.stream);
    let mut commands = CommandBuffer::new(server.config.limits.clone(), server.input.clone());
    let mut reply = Reply::new(stream);
    loop {
        let received = match commands.fill(&mut stream) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                reply.error("OOM too many large commands at once");
                return reply.flush();
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
                    execute(server, client, &args, &mut reply)
                }
                Ok(Some((Command::Owned(args), _))) => {
                    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                    execute(server, client, &args, &mut reply)
                }
                Err(error) => {
                    reply.error(&format!("ERR Protocol error: {error}"));
                    Flow::Close
                }
            };
            if flow == Flow::Close || reply.failed() {
                return reply.flush();
            }
        }
        reply.flush()?;
    }
}
