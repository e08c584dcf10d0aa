//! Input that no honest client sends. The server may answer an error or close the connection; it
//! must go on serving others, in bounded memory.

use std::net::{Shutdown, SocketAddr};

use crate::client::{Answer, Client, Result, command};
use crate::crowd::resident_kib;
use crate::options::Options;

/// The most that the server may grow.
const MOST_MIB: u64 = 200;

pub fn run(options: &Options) -> Result<()> {
    let address = options.address()?;
    let pid = options.text("--server-pid");
    let before = pid.map(resident_kib).transpose()?;
    let mut cases = 0;
    for (name, input) in inputs() {
        send_and_leave(address, &input).map_err(|error| format!("{name}: {error}"))?;
        answers_others(address).map_err(|error| format!("after {name}: {error}"))?;
        cases += 1;
    }
    for seed in 1..=200 {
        send_and_leave(address, &garbage(seed))?;
        cases += 1;
    }
    answers_others(address)?;
    honest_but_odd(address)?;
    if let (Some(pid), Some(before)) = (pid, before) {
        let grown = resident_kib(pid)?.saturating_sub(before) / 1024;
        println!("the server grew by {grown} MiB");
        if grown > MOST_MIB {
            return Err(format!("it grew by {grown} MiB"));
        }
    }
    println!("{cases} broken inputs survived");
    Ok(())
}

fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", vec![]),
        ("zero bytes", vec![0; 100_000]),
        ("an endless line", vec![b'a'; 1 << 20]),
        ("a negative array", b"*-1\r\n*-7\r\n*0\r\n".to_vec()),
        ("a huge array", b"*2147483647\r\n$1\r\na\r\n".to_vec()),
        (
            "an array beyond all numbers",
            b"*99999999999999999999999\r\n".to_vec(),
        ),
        ("a negative bulk", b"*2\r\n$3\r\nGET\r\n$-5\r\n".to_vec()),
        (
            "a huge bulk",
            b"*2\r\n$3\r\nGET\r\n$536870912000\r\nabc".to_vec(),
        ),
        (
            "a bulk that is announced only",
            b"*2\r\n$3\r\nGET\r\n$8000000\r\n".to_vec(),
        ),
        (
            "a bulk without end",
            b"*2\r\n$3\r\nGET\r\n$1\r\nabcdef".to_vec(),
        ),
        (
            "an integer among bulks",
            b"*2\r\n$3\r\nGET\r\n:1\r\n".to_vec(),
        ),
        ("arrays in arrays", b"*1\r\n".repeat(100_000)),
        ("many empty arrays", b"*0\r\n".repeat(100_000)),
        ("unbalanced quotes", b"SET \"a\r\n".to_vec()),
        ("an error as a request", b"-ERR what\r\n".to_vec()),
        (
            "an unknown command with control characters",
            command(&[b"\r\n\0\xff", b"x"]),
        ),
        ("a long unknown command", command(&[&[b'x'; 100_000]])),
    ]
}

/// Sends what the server takes of it, ends sending, reads to the end.
fn send_and_leave(address: SocketAddr, input: &[u8]) -> Result<()> {
    let mut client = Client::connect(address)?;
    let _ = client.send(input); // it may close before it has read everything
    let _ = client.stream().shutdown(Shutdown::Write);
    client.rest();
    Ok(())
}

fn answers_others(address: SocketAddr) -> Result<()> {
    Client::connect(address)?.expect(&[b"PING"], &Answer::Simple("PONG".into()))
}

/// What is unusual and yet right: bytes one by one, binary keys, a half-closed socket.
fn honest_but_odd(address: SocketAddr) -> Result<()> {
    let key: Vec<u8> = (0..=255).collect();
    let ok = Answer::Simple("OK".into());
    let mut client = Client::connect(address)?;
    for byte in command(&[b"SET", &key, b"\r\n$1\r\n"]) {
        client.send(&[byte])?;
    }
    if client.answer()? != ok {
        return Err("a command in single bytes".to_owned());
    }
    client.expect(&[b"GET", &key], &Answer::Bulk(Some(b"\r\n$1\r\n".to_vec())))?;
    client.expect(&[b"SET", b"", b""], &ok)?;
    client.expect(&[b"GET", b""], &Answer::Bulk(Some(Vec::new())))?;
    let large = vec![b'v'; 4 << 20];
    client.expect(&[b"SET", b"large", &large], &ok)?;
    client.expect(&[b"GET", b"large"], &Answer::Bulk(Some(large)))?;
    client.send(b"PING\r\nECHO \"a b\"\r\n")?;
    let _ = client.stream().shutdown(Shutdown::Write);
    let rest = client.rest();
    if rest == b"+PONG\r\n$3\r\na b\r\n" {
        Ok(())
    } else {
        Err(format!(
            "a half-closed socket got {:?}",
            String::from_utf8_lossy(&rest)
        ))
    }
}

/// Bytes that look a little like the protocol.
fn garbage(seed: u64) -> Vec<u8> {
    let alphabet = b"*$+-:\r\n0123456789 \"'\\xGETSPINGset\0\xff";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let len = next() % 4096;
    (0..len)
        .map(|_| alphabet[next() as usize % alphabet.len()])
        .collect()
}
