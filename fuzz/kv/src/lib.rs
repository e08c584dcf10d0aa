//! The modules of `examples/kv`, but for its `main`.

#![allow(dead_code, reason = "`main` uses the rest")]

/// As in `main`.
macro_rules! complain {
    ($($text:tt)*) => {{
        let text = format!("kv: {}\n", format_args!($($text)*));
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    }};
}

#[path = "../../../examples/kv/clients.rs"]
pub mod clients;
#[path = "../../../examples/kv/command.rs"]
pub mod command;
#[path = "../../../examples/kv/config.rs"]
pub mod config;
#[path = "../../../examples/kv/connection.rs"]
pub mod connection;
#[path = "../../../examples/kv/frame.rs"]
pub mod frame;
#[path = "../../../examples/kv/log.rs"]
pub mod log;
#[path = "../../../examples/kv/reply.rs"]
pub mod reply;
#[path = "../../../examples/kv/server.rs"]
pub mod server;
#[path = "../../../examples/kv/stats.rs"]
pub mod stats;
#[path = "../../../examples/kv/store.rs"]
pub mod store;
#[path = "../../../examples/kv/sync.rs"]
pub mod sync;
