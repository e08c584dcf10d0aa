//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::frame::Limits;

pub const HELP: &str = "\
kv: a key-value server that speaks the Redis protocol, one thread per connection

usage: kv [options]
  --port N              port to listen on; 0 picks a free one      (default 6379)
  --bind ADDRESS        address to listen on                       (default 127.0.0.1)
  --max-connections N   connections served at once                 (default 10000)
  --max-bulk BYTES      longest key or value                       (default 8388608)
  --max-args N          most arguments of one command              (default 65536)
  --input-memory BYTES  all unfinished commands together           (default 1073741824)
  --log PATH            log every write to PATH; replayed at start (default: no log)
  --debug               allow DEBUG PANIC, which crashes its connection's thread
  --help                this text

It listens on 127.0.0.1 unless told otherwise: there is no password.

SIGINT, SIGTERM and the SHUTDOWN command stop it: no new connections; commands
already read are carried out and answered; the log is written and synced. The
exit status is 0, or 1 if the log could not be written or the server had to stop
because one of its own threads crashed. A connection's thread that crashes ends
its connection and nothing else.

What the log keeps:
  - A write is answered once it is queued for the log; a thread of its own
    writes the queue to the file at once. A second after a write that has
    nothing to wait for, the file is synced, with all that came meanwhile.
  - SIGTERM, SIGINT, SHUTDOWN lose nothing that was answered.
  - SIGKILL or a crash of the server loses what was still queued, usually the
    last milliseconds, at most 64 MiB. What reached the file stays.
  - A power loss also loses what was not synced, usually the last second.
  - When the file cannot be written (a full disk), every later write is refused
    with -MISCONF, reads go on, and the exit status is 1. Writes answered
    just before and still queued are tried once more at the end.
The log only grows: it is not rewritten.
";

/// No record the server itself logged may be too large to replay, whatever
/// limits it was started with, so the options stop here.
const MAX_BULK_CEILING: usize = 512 << 20;
const MAX_ARGS_CEILING: usize = 1 << 20;

pub struct Config {
    pub bind: IpAddr,
    pub port: u16,
    pub max_connections: u32,
    pub limits: Limits,
    pub input_memory: usize,
    pub log: Option<PathBuf>,
    pub debug: bool,
}

pub enum Invocation {
    Serve(Config),
    Help,
}

/// Limits under which the log is read back: whatever was allowed to be written.
pub fn replay_limits() -> Limits {
    Limits {
        max_bulk: MAX_BULK_CEILING,
        max_args: MAX_ARGS_CEILING + 8,
        max_command: usize::MAX,
        max_line: 0,
    }
}

pub fn parse(args: impl Iterator<Item = String>) -> Result<Invocation, String> {
    let mut config = Config {
        bind: IpAddr::from([127, 0, 0, 1]),
        port: 6379,
        max_connections: 10_000,
        limits: Limits {
            max_bulk: 8 << 20,
            max_args: 65_536,
            max_command: 64 << 20,
            max_line: 64 << 10,
        },
        input_memory: 1 << 30,
        log: None,
        debug: false,
    };
    let mut args = args;
    while let Some(option) = args.next() {
        if option == "--help" || option == "-h" {
            return Ok(Invocation::Help);
        }
        let mut value = || args.next().ok_or_else(|| format!("{option} needs a value"));
        match option.as_str() {
            "--port" => config.port = number(&option, &value()?, 0, u16::MAX.into())? as u16,
            "--bind" => {
                let text = value()?;
                config.bind = text
                    .parse()
                    .map_err(|_| format!("--bind: `{text}` is no address"))?;
            }
            "--max-connections" => {
                config.max_connections = number(&option, &value()?, 1, 1_000_000)? as u32;
            }
            "--max-bulk" => {
                config.limits.max_bulk =
                    number(&option, &value()?, 1, MAX_BULK_CEILING as u64)? as usize;
            }
            "--max-args" => {
                config.limits.max_args =
                    number(&option, &value()?, 1, MAX_ARGS_CEILING as u64)? as usize;
            }
            "--input-memory" => {
                config.input_memory = number(&option, &value()?, 1 << 20, 1 << 50)? as usize;
            }
            "--debug" => config.debug = true,
            "--log" => config.log = Some(PathBuf::from(value()?)),
            _ => return Err(format!("unknown option `{option}`")),
        }
    }
    // The longest value allowed must fit into a command, with its key and framing.
    let limits = &mut config.limits;
    limits.max_command = limits.max_command.max(2 * limits.max_bulk + (64 << 10));
    Ok(Invocation::Serve(config))
}

fn number(option: &str, text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(format!(
            "{option}: `{text}` is not a number from {least} to {most}"
        )),
    }
}
