//! The `kv` example over real sockets: its commands, its limits, its log.

#![cfg(not(threadbare_model))]

mod common;

// The load client's connection and child process serve here as well.
#[allow(dead_code, reason = "the load client uses more of it")]
#[path = "../examples/kv_load/client.rs"]
mod client;

use client::{Answer, Client, Server, command};
use common::{until, watchdog};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::Shutdown;
use std::path::{Path, PathBuf};

/// The server that cargo has built beside this test, if it was told to build all tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples/kv");
    assert!(
        program.exists(),
        "the server is not built: cargo build --example kv"
    );
    program
}

/// What starts it: the program, behind an emulator where this test runs under one.
fn command_line() -> Vec<String> {
    let emulator = std::env::var("THREADBARE_EMULATED").ok();
    let program = program().to_str().unwrap().to_owned();
    emulator.into_iter().chain([program]).collect()
}

fn start(arguments: &[&str]) -> Result<Server, String> {
    let command = command_line();
    let words: Vec<_> = command.iter().map(String::as_str).collect();
    let (program, behind) = words.split_first().unwrap();
    Server::start(Path::new(program), &[behind, arguments].concat())
}

/// A server and a client of it.
fn serve(arguments: &[&str]) -> (Server, Client) {
    let server = start(arguments).unwrap();
    let client = Client::connect(server.address).unwrap();
    (server, client)
}

/// A server under a limit of the shell.
fn serve_limited(test: &str, limit: &str, arguments: &[&str]) -> Server {
    let script = Log::new(test);
    let command = command_line().join("\" \"");
    let text = format!("{limit}\nexec \"{command}\" \"$@\"\n");
    fs::write(&script.0, text).unwrap();
    let arguments = [&[script.0.to_str().unwrap()], arguments].concat();
    Server::start(Path::new("sh"), &arguments).unwrap()
}

/// A log file of its own for a test, removed with it.
struct Log(PathBuf);

impl Log {
    fn new(test: &str) -> Log {
        let path = std::env::temp_dir().join(format!("kv-{test}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        Log(path)
    }

    fn serve(&self) -> (Server, Client) {
        serve(&["--log", self.0.to_str().unwrap()])
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn stop(mut server: Server, signal: Signal) -> bool {
    server.signal(signal).unwrap();
    server.wait().unwrap().success()
}

fn simple(text: &str) -> Answer {
    Answer::Simple(text.to_owned())
}

fn error(text: &str) -> Answer {
    Answer::Error(text.to_owned())
}

fn bulk(text: &str) -> Answer {
    Answer::Bulk(Some(text.as_bytes().to_vec()))
}

const NONE: Answer = Answer::Bulk(None);

fn number(number: i64) -> Answer {
    Answer::Integer(number)
}

/// A command of words without spaces in them, and its answer.
fn check(client: &mut Client, words: &str, answer: Answer) {
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    client.expect(&words, &answer).unwrap();
}

#[test]
fn commands_answer_as_redis_does() {
    let _watchdog = watchdog();
    let (_server, mut client) = serve(&[]);
    let c = &mut client;
    check(c, "PING", simple("PONG"));
    check(c, "ping hello", bulk("hello"));
    check(c, "ECHO hello", bulk("hello"));
    check(c, "GET a", NONE);
    check(c, "SET a 1", simple("OK"));
    check(c, "GET a", bulk("1"));
    check(c, "EXISTS a a b", number(2));
    check(c, "DEL a b", number(1));
    check(c, "DBSIZE", number(0));
    check(c, "MSET a 1 b 2 a 3", simple("OK"));
    check(
        c,
        "MGET a b c",
        Answer::Array(vec![bulk("3"), bulk("2"), NONE]),
    );
    check(c, "DBSIZE", number(2));
    check(c, "FLUSHALL", simple("OK"));
    check(c, "DBSIZE", number(0));
    check(
        c,
        "CONFIG GET save",
        Answer::Array(vec![bulk("save"), bulk("")]),
    );
    check(c, "CONFIG GET nothing", Answer::Array(vec![]));
    check(c, "COMMAND DOCS", Answer::Array(vec![]));
    assert!(
        matches!(c.call(&[b"INFO"]).unwrap(), Answer::Bulk(Some(text)) if text.starts_with(b"# Server"))
    );
    check(
        c,
        "GET",
        error("ERR wrong number of arguments for 'get' command"),
    );
    check(
        c,
        "MSET a 1 b",
        error("ERR wrong number of arguments for 'mset' command"),
    );
    check(c, "nonsense x", error("ERR unknown command 'nonsense'"));
    check(c, "QUIT", simple("OK"));
    assert!(c.rest().is_empty());
}

#[test]
fn numbers_count_up_and_down_within_their_range() {
    let _watchdog = watchdog();
    let (_server, mut client) = serve(&[]);
    let c = &mut client;
    check(c, "INCR n", number(1));
    check(c, "INCRBY n 41", number(42));
    check(c, "DECR n", number(41));
    check(c, "INCRBY n -41", number(0));
    check(c, "SET n 9223372036854775807", simple("OK"));
    check(
        c,
        "INCR n",
        error("ERR increment or decrement would overflow"),
    );
    check(c, "GET n", bulk("9223372036854775807"));
    for text in ["x", "1.5", "+1", "01", "9223372036854775808", ""] {
        check(c, &format!("SET n {text}"), simple("OK"));
        check(
            c,
            "INCR n",
            error("ERR value is not an integer or out of range"),
        );
    }
    check(
        c,
        "INCRBY m x",
        error("ERR value is not an integer or out of range"),
    );
}

#[test]
fn set_has_conditions_and_expiry() {
    let _watchdog = watchdog();
    let (_server, mut client) = serve(&[]);
    let c = &mut client;
    check(c, "SET a 1 XX", NONE);
    check(c, "SET a 1 NX", simple("OK"));
    check(c, "SET a 2 NX", NONE);
    check(c, "SET a 3 XX EX 100", simple("OK"));
    check(c, "TTL a", number(100));
    check(c, "INCR a", number(4));
    check(c, "TTL a", number(100)); // counting keeps the expiry
    check(c, "SET a 5", simple("OK"));
    check(c, "TTL a", number(-1)); // setting does not
    check(c, "TTL b", number(-2));
    check(c, "EXPIRE a 50", number(1));
    check(c, "TTL a", number(50));
    check(c, "EXPIRE b 50", number(0));
    check(c, "EXPIRE a -1", number(1));
    check(c, "EXISTS a", number(0));
    check(c, "SET a 1 NX XX", error("ERR syntax error"));
    check(c, "SET a 1 EX", error("ERR syntax error"));
    check(c, "SET a 1 EX 1 PX 1", error("ERR syntax error"));
    check(
        c,
        "SET a 1 EX 0",
        error("ERR invalid expire time in 'set' command"),
    );
    check(
        c,
        "SET a 1 EX 9223372036854775807",
        error("ERR invalid expire time in 'set' command"),
    );
    check(
        c,
        "SET a 1 PX x",
        error("ERR value is not an integer or out of range"),
    );
}

#[test]
fn keys_expire_when_they_are_asked_for_and_also_when_they_are_not() {
    let _watchdog = watchdog();
    let (_server, mut client) = serve(&[]);
    let c = &mut client;
    check(c, "SET asked 1 PX 30", simple("OK"));
    for key in 0..500 {
        check(c, &format!("SET forgotten:{key} 1 PX 30"), simple("OK"));
    }
    until(|| c.call(&[b"GET", b"asked"]).unwrap() == NONE);
    check(c, "SET asked 2 NX", simple("OK"));
    until(|| c.call(&[b"DBSIZE"]).unwrap() == number(1));
}

#[test]
fn commands_may_come_in_any_pieces_and_many_at_once() {
    let _watchdog = watchdog();
    let (_server, mut client) = serve(&[]);
    let mut many = Vec::new();
    for count in 0..1_000 {
        many.extend(command(&[b"SET", b"key", count.to_string().as_bytes()]));
        many.extend(command(&[b"GET", b"key"]));
    }
    client.send(&many).unwrap();
    for count in 0..1_000 {
        assert_eq!(client.answer().unwrap(), simple("OK"));
        assert_eq!(client.answer().unwrap(), bulk(&count.to_string()));
    }
    for byte in command(&[b"ECHO", b"slow"]) {
        client.send(&[byte]).unwrap();
    }
    assert_eq!(client.answer().unwrap(), bulk("slow"));
    client
        .send(b"PING\r\n  set  inline \"two words\"\nGET inline\r\n\r\n")
        .unwrap();
    assert_eq!(client.answer().unwrap(), simple("PONG"));
    assert_eq!(client.answer().unwrap(), simple("OK"));
    assert_eq!(client.answer().unwrap(), bulk("two words"));
    // Nobody sends any more, and yet all is answered.
    client.send(&command(&[b"PING"])).unwrap();
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"+PONG\r\n");
}

#[test]
fn keys_and_values_are_any_bytes() {
    let _watchdog = watchdog();
    let (_server, mut client) = serve(&[]);
    let bytes: Vec<u8> = (0..=255).chain(*b"\r\n$5\r\n").collect();
    client
        .expect(&[b"SET", &bytes, &bytes], &simple("OK"))
        .unwrap();
    client
        .expect(&[b"GET", &bytes], &Answer::Bulk(Some(bytes.clone())))
        .unwrap();
    client.expect(&[b"SET", b"", b""], &simple("OK")).unwrap();
    client.expect(&[b"GET", b""], &bulk("")).unwrap();
}

#[test]
fn broken_frames_get_an_error_and_the_end_of_the_connection() {
    let _watchdog = watchdog();
    let (server, _client) = serve(&["--max-bulk", "1000", "--max-args", "10"]);
    let cases: [(&[u8], &str); 8] = [
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*11\r\n", "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$1001\r\n", "invalid bulk length"),
        (b"*1\r\n$1\r\nabc", "expected CRLF after bulk string"),
        (b"SET \"a\r\n", "unbalanced quotes in request"),
    ];
    for (input, expected) in cases {
        let mut client = Client::connect(server.address).unwrap();
        client.send(input).unwrap();
        let answer = client.answer().unwrap();
        assert_eq!(answer, error(&format!("ERR Protocol error: {expected}")));
        assert!(client.rest().is_empty());
    }
    let mut client = Client::connect(server.address).unwrap();
    let _ = client.send(&vec![b'x'; 100_000]); // a line without end; it need not take all of it
    assert!(
        client
            .rest()
            .starts_with(b"-ERR Protocol error: too big inline request")
    );
}

#[test]
fn clients_beyond_the_limit_are_sent_away_and_places_become_free_again() {
    let _watchdog = watchdog();
    let (server, mut first) = serve(&["--max-connections", "2"]);
    let mut second = Client::connect(server.address).unwrap();
    check(&mut first, "PING", simple("PONG"));
    check(&mut second, "PING", simple("PONG"));
    let mut third = Client::connect(server.address).unwrap();
    assert_eq!(third.rest(), b"-ERR max number of clients reached\r\n");
    drop(second);
    until(|| {
        let mut next = Client::connect(server.address).unwrap();
        next.call(&[b"PING"]) == Ok(simple("PONG"))
    });
}

#[test]
fn the_list_of_clients_has_their_names() {
    let _watchdog = watchdog();
    let (server, mut client) = serve(&[]);
    let c = &mut client;
    check(c, "CLIENT GETNAME", bulk(""));
    check(c, "CLIENT SETNAME me", simple("OK"));
    check(c, "CLIENT GETNAME", bulk("me"));
    assert!(matches!(
        c.call(&[b"CLIENT", b"SETNAME", b"a b"]).unwrap(),
        Answer::Error(_)
    ));
    let mut other = Client::connect(server.address).unwrap();
    let Answer::Bulk(Some(list)) = other.call(&[b"CLIENT", b"LIST"]).unwrap() else {
        panic!("no list");
    };
    let list = String::from_utf8(list).unwrap();
    assert_eq!(list.lines().count(), 2);
    assert_eq!(list.matches(" name=me ").count(), 1);
    drop(other);
    until(|| {
        let list = c.call(&[b"CLIENT", b"LIST"]).unwrap();
        matches!(list, Answer::Bulk(Some(text)) if text.iter().filter(|b| **b == b'\n').count() == 1)
    });
}

/// The text that answers a command.
fn text(client: &mut Client, words: &[&[u8]]) -> String {
    match client.call(words) {
        Ok(Answer::Bulk(Some(text))) => String::from_utf8(text).unwrap(),
        other => panic!("no text: {other:?}"),
    }
}

/// A number that INFO says.
fn info(client: &mut Client, name: &str) -> u64 {
    let info = text(client, &[b"INFO"]);
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok();
    info.lines().find_map(value).unwrap()
}

/// The kernel's names of the threads of a process, by their ids.
fn threads(process: u64) -> BTreeMap<u64, String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let name = |task: PathBuf| {
        let id = task.file_name()?.to_str()?.parse().ok()?;
        let name = fs::read_to_string(task.join("comm")).ok()?; // it may have ended
        Some((id, name.trim_end().to_owned()))
    };
    let tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
    tasks.filter_map(name).collect()
}

/// What `field` of a line of CLIENT LIST says.
fn field<'a>(line: &'a str, field: &str) -> &'a str {
    let value = |pair: &'a str| pair.strip_prefix(field)?.strip_prefix('=');
    line.split(' ').find_map(value).unwrap()
}

#[test]
fn the_list_of_clients_has_the_names_and_ids_of_their_threads() {
    let _watchdog = watchdog();
    let (server, mut first) = serve(&[]);
    check(&mut first, "CLIENT ID", number(1));
    let mut second = Client::connect(server.address).unwrap();
    check(&mut second, "CLIENT ID", number(2));
    let list = text(&mut first, &[b"CLIENT", b"LIST"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2, "no thread but those of clients: {list}");
    let threads = threads(info(&mut first, "process_id"));
    for (client, id, line) in [(&first, "1", lines[0]), (&second, "2", lines[1])] {
        assert_eq!(field(line, "id"), id);
        let address = client.stream().local_addr().unwrap().to_string();
        assert_eq!(field(line, "addr"), address);
        let name = field(line, "thread");
        assert_eq!(name, format!("client-{id}"));
        let tid: u64 = field(line, "tid").parse().unwrap();
        assert_eq!(threads.get(&tid).map(String::as_str), Some(name));
    }
    assert_ne!(field(lines[0], "ident"), field(lines[1], "ident"));
}

#[test]
fn info_adds_up_what_all_connections_have_done_also_those_that_have_ended() {
    let _watchdog = watchdog();
    let (server, mut watcher) = serve(&[]);
    let w = &mut watcher;
    let process = info(w, "process_id");
    let mut looks = 1;
    let mut look = |w: &mut Client, name: &str| {
        looks += 1;
        (info(w, name), looks)
    };
    let (ping, ask) = (
        command(&[b"PING"]).len() as u64,
        command(&[b"INFO"]).len() as u64,
    );
    let mut expect_pings = |w: &mut Client, pings: u64| {
        let (commands, looks) = look(w, "total_commands_processed");
        assert_eq!(commands, looks + pings);
        let (received, looks) = look(w, "total_net_input_bytes");
        assert_eq!(received, looks * ask + pings * ping);
        // Counted when it has been sent, so perhaps after it was received.
        until(|| look(w, "total_net_output_bytes").0 >= pings * "+PONG\r\n".len() as u64);
    };
    expect_pings(w, 0);
    for clients in 1..=3 {
        let mut client = Client::connect(server.address).unwrap();
        for _ in 0..10 {
            client.expect(&[b"PING"], &simple("PONG")).unwrap();
        }
        expect_pings(w, 10 * clients); // while it is there
        drop(client);
        let name = format!("client-{}", clients + 1);
        until(|| threads(process).values().all(|there| *there != name));
        expect_pings(w, 10 * clients);
    }
}

#[test]
fn a_connection_that_crashes_is_counted_and_said_and_leaves_the_others_alone() {
    let _watchdog = watchdog();
    let log = Log::new("crash");
    let said = Log::new("crash-said");
    let redirect = format!("exec 2>\"{}\"", said.0.display());
    let arguments = ["--debug", "--max-connections", "2", "--log"];
    let arguments = [&arguments[..], &[log.0.to_str().unwrap()]].concat();
    let server = serve_limited("crash-script", &redirect, &arguments);
    let mut witness = Client::connect(server.address).unwrap();
    check(&mut witness, "SET a 1", simple("OK"));
    assert_eq!(info(&mut witness, "crashed_connections"), 0);
    for crashes in 1..=3 {
        // The place of the one before becomes free.
        let mut victim = loop {
            let mut client = Client::connect(server.address).unwrap();
            if client.call(&[b"INCR", b"a"]) == Ok(number(1 + crashes as i64)) {
                break client;
            }
        };
        victim.send(&command(&[b"debug", b"panic"])).unwrap();
        assert!(victim.rest().is_empty());
        until(|| info(&mut witness, "crashed_connections") == crashes);
        assert_eq!(info(&mut witness, "connected_clients"), 1);
    }
    check(&mut witness, "GET a", bulk("4"));
    assert!(
        stop(server, Signal::SIGTERM),
        "a crash of a client's is none of the server's"
    );

    let said = fs::read_to_string(&said.0).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "one message for each: {said}");
    for line in lines {
        assert!(line.starts_with("kv: thread client-"), "{line}");
        assert!(line.contains("crashed: DEBUG PANIC, at "), "{line}");
    }
    let (_server, mut client) = log.serve();
    check(&mut client, "GET a", bulk("4"));
    check(
        &mut client,
        "DEBUG PANIC",
        error("ERR unknown command 'DEBUG'"),
    );
    check(&mut client, "PING", simple("PONG"));
}

#[test]
fn the_log_has_a_timer_only_while_something_is_to_be_synced() {
    let _watchdog = watchdog();
    let log = Log::new("timer");
    let (server, mut client) = log.serve();
    let c = &mut client;
    let process = info(c, "process_id");
    let names = || -> Vec<String> { threads(process).into_values().collect() };
    let is_timed = || names().iter().any(|name| name == "log sync");
    let idle = names();
    for name in ["log writer", "sweeper", "acceptor", "client-1"] {
        assert!(idle.iter().any(|there| there == name), "{name}: {idle:?}");
    }
    assert_eq!(idle.len(), 5, "those and the main one: {idle:?}");
    for _ in 0..2 {
        until(|| {
            check(c, "SET a 1", simple("OK"));
            is_timed()
        });
        // Many looks: between a timer and the next that it starts there may be a gap.
        until(|| (0..100).all(|_| names() == idle));
    }
    // Stopped with a timer that has not fired.
    until(|| {
        check(c, "SET a 2", simple("OK"));
        is_timed()
    });
    assert!(stop(server, Signal::SIGTERM));
    let (_server, mut client) = log.serve();
    check(&mut client, "GET a", bulk("2"));
}

#[test]
fn every_kind_of_write_is_found_in_the_log_again() {
    let _watchdog = watchdog();
    let log = Log::new("kinds");
    let (server, mut client) = log.serve();
    let c = &mut client;
    check(c, "SET before 1", simple("OK"));
    check(c, "FLUSHALL", simple("OK"));
    check(c, "SET a 1", simple("OK"));
    check(c, "SET gone 1", simple("OK"));
    check(c, "DEL gone", number(1));
    check(c, "INCRBY n 41", number(41));
    check(c, "INCR n", number(42));
    check(c, "MSET x 1 y 2", simple("OK"));
    check(c, "SET short 1 PX 1", simple("OK"));
    check(c, "SET long 1 EX 1000", simple("OK"));
    check(c, "SET later 1", simple("OK"));
    check(c, "EXPIRE later 2000", number(1));
    client
        .expect(&[b"SET", b"binary", b"\r\n\0\xff"], &simple("OK"))
        .unwrap();
    assert!(stop(server, Signal::SIGTERM));

    let (server, mut client) = log.serve();
    let c = &mut client;
    let values = Answer::Array(vec![
        NONE,
        bulk("1"),
        NONE,
        bulk("42"),
        bulk("1"),
        bulk("2"),
        NONE,
    ]);
    check(c, "MGET before a gone n x y short", values);
    for (key, least, most) in [("long", 990, 1000), ("later", 1990, 2000)] {
        let Answer::Integer(left) = c.call(&[b"TTL", key.as_bytes()]).unwrap() else {
            panic!("no number");
        };
        assert!((least..=most).contains(&left), "{key}: {left}");
    }
    c.expect(
        &[b"GET", b"binary"],
        &Answer::Bulk(Some(b"\r\n\0\xff".to_vec())),
    )
    .unwrap();
    // The protocol's own way to stop it.
    c.send(&command(&[b"SHUTDOWN"])).unwrap();
    assert!(c.rest().is_empty());
    let mut server = server;
    assert!(server.wait().unwrap().success());
}

#[test]
fn writes_answered_before_sigterm_are_in_the_log() {
    let _watchdog = watchdog();
    let log = Log::new("sigterm");
    let (server, mut client) = log.serve();
    let mut answered = 0;
    for count in 1..=2_000 {
        client
            .expect(
                &[b"SET", b"count", count.to_string().as_bytes()],
                &simple("OK"),
            )
            .unwrap();
        answered = count;
    }
    assert!(stop(server, Signal::SIGTERM));
    let (_server, mut client) = log.serve();
    check(&mut client, "GET count", bulk(&answered.to_string()));
}

#[test]
fn an_incomplete_last_record_is_cut_off_and_a_broken_one_in_the_middle_is_an_error() {
    let _watchdog = watchdog();
    let log = Log::new("torn");
    fs::write(
        &log.0,
        [
            command(&[b"SET", b"a", b"1"]),
            b"*3\r\n$3\r\nSET\r\n$1\r\nb".to_vec(),
        ]
        .concat(),
    )
    .unwrap();
    let (server, mut client) = log.serve();
    check(
        &mut client,
        "MGET a b",
        Answer::Array(vec![bulk("1"), NONE]),
    );
    check(&mut client, "SET c 3", simple("OK"));
    assert!(stop(server, Signal::SIGINT));
    let whole = [
        command(&[b"SET", b"a", b"1"]),
        command(&[b"SET", b"c", b"3"]),
    ]
    .concat();
    assert_eq!(fs::read(&log.0).unwrap(), whole);

    let mut file = OpenOptions::new().append(true).open(&log.0).unwrap();
    file.write_all(b"*1\r\n$7\r\nNOTHING\r\n").unwrap();
    file.write_all(&command(&[b"SET", b"d", b"4"])).unwrap();
    assert!(start(&["--log", log.0.to_str().unwrap()]).is_err());
}

#[test]
fn a_log_has_one_server() {
    let _watchdog = watchdog();
    let log = Log::new("shared");
    let (_server, _client) = log.serve();
    assert!(start(&["--log", log.0.to_str().unwrap()]).is_err());
}

#[test]
fn when_the_log_cannot_be_written_writes_are_refused_and_reads_go_on() {
    let _watchdog = watchdog();
    let log = Log::new("full");
    // A file may grow to 4 KiB only, as if the disk were full.
    let server = serve_limited(
        "limited-file",
        "ulimit -f 8",
        &["--log", log.0.to_str().unwrap()],
    );
    let mut client = Client::connect(server.address).unwrap();
    let mut set = 0;
    until(|| {
        set += 1;
        let answer = client
            .call(&[b"SET", set.to_string().as_bytes(), b"1"])
            .unwrap();
        matches!(answer, Answer::Error(text) if text.starts_with("MISCONF"))
    });
    check(&mut client, "GET 1", bulk("1"));
    check(&mut client, &format!("GET {set}"), NONE); // what was refused has no effect
    assert!(
        !stop(server, Signal::SIGTERM),
        "the status tells of the loss"
    );
    // What the file took ends with a whole record.
    let (_server, mut client) = log.serve();
    check(&mut client, "GET 1", bulk("1"));
}

#[test]
fn an_expiry_that_was_put_off_is_put_off_in_the_log_too() {
    let _watchdog = watchdog();
    let log = Log::new("put-off");
    let (server, mut client) = log.serve();
    check(&mut client, "SET a 1 PX 300", simple("OK"));
    check(&mut client, "EXPIRE a 1000", number(1));
    check(&mut client, "SET witness 1 PX 300", simple("OK"));
    until(|| client.call(&[b"GET", b"witness"]) == Ok(NONE)); // the first expiry is past
    assert!(stop(server, Signal::SIGTERM));
    let (_server, mut client) = log.serve();
    check(&mut client, "GET a", bulk("1"));
}

#[test]
fn an_answer_larger_than_memory_is_sent_in_parts() {
    let _watchdog = watchdog();
    let server = serve_limited("limited-memory", "ulimit -v 1000000", &[]);
    let mut client = Client::connect(server.address).unwrap();
    let value = Answer::Bulk(Some(vec![b'v'; 4 << 20]));
    let Answer::Bulk(Some(bytes)) = &value else {
        unreachable!()
    };
    client
        .expect(&[b"SET", b"large", bytes], &simple("OK"))
        .unwrap();
    // Four times the memory that the server may have.
    let mut words: Vec<&[u8]> = vec![b"MGET"];
    words.resize(1_001, b"large");
    client.send(&command(&words)).unwrap();
    // A client that takes nothing of it is in nobody's way, neither is one that leaves.
    let mut other = Client::connect(server.address).unwrap();
    for _ in 0..10 {
        other.expect(&[b"GET", b"large"], &value).unwrap();
    }
    drop(client);
    assert!(stop(server, Signal::SIGTERM));
}

#[test]
fn a_reader_of_several_keys_sees_all_of_a_write_of_several_keys() {
    let _watchdog = watchdog();
    let (server, mut reader) = serve(&[]);
    let mut writer = Client::connect(server.address).unwrap();
    for round in 0..2_000 {
        let round = round.to_string();
        let set = command(&[b"MSET", b"a", round.as_bytes(), b"b", round.as_bytes()]);
        writer.send(&set).unwrap();
        let Answer::Array(seen) = reader.call(&[b"MGET", b"a", b"b"]).unwrap() else {
            panic!("no array");
        };
        assert_eq!(seen[0], seen[1]);
        assert_eq!(writer.answer().unwrap(), simple("OK"));
    }
}
