mod guest;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cilium_l7::{ConnectionInfo, CustomRule, Decision, Forward, Policy, Protocol, Record, Request};

use super::*;

/// Longer than anything takes, however busy the machine is.
const SOON: Duration = Duration::from_secs(60);

/// Collects lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn wait_for(&self, part: &str) {
        until(|| lock(&self.0).iter().any(|line| line.contains(part)));
    }
}

impl Observer for Lines {
    fn info(&self, message: &str) {
        lock(&self.0).push(message.to_owned());
    }

    fn warn(&self, message: &str) {
        lock(&self.0).push(message.to_owned());
    }
}

/// Allows messages that start with `pass`, as the guest's rule sees them.
struct Passing(Box<dyn CustomRule>);

impl Policy for Passing {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let Request::Custom(message) = request else { return Decision::DENIED };
        Decision { allowed: self.0.matches(*message) == Some(true), rule: None }
    }
}

/// A worker with one connection.
struct Worker {
    session: Session,
    woken: Receiver<()>,
}

impl Worker {
    fn new(host: &Host, parser: &str) -> Self {
        Self::on_port(host, parser, 80)
    }

    fn on_port(host: &Host, parser: &str, port: u16) -> Self {
        let (wake, woken) = mpsc::channel();
        let destination = format!("2.2.2.2:{port}");
        let session = host.open(NewSession {
            parser: parser.into(),
            info: ConnectionInfo::new(true, (1, 2), "1.1.1.1:1000", &destination, "2.2.2.2").unwrap(),
            policy: Box::new(|protocol: Arc<dyn Protocol>| {
                let rule = protocol.compile(&BTreeMap::from([("prefix".to_owned(), "pass".to_owned())]));
                Box::new(Passing(rule.unwrap()))
            }),
            log: Box::new(Vec::<Record>::new()),
            wake: Box::new(move || _ = wake.send(())),
        });
        Self { session, woken }
    }

    fn send(&self, data: &[u8]) -> Result<Pushed, Closed> {
        self.session.push(false, data, false)
    }

    /// The next of what comes of it.
    fn next(&self) -> Result<Effect, Closed> {
        loop {
            if let Some(effect) = self.session.next()? {
                return Ok(effect);
            }
            self.woken.recv_timeout(SOON).unwrap();
        }
    }

    /// What is sent on for a message: towards the server, or the answer to it.
    fn ask(&self, message: &[u8]) -> Result<Vec<u8>, Closed> {
        match self.send(message)? {
            Pushed::Now(forward) => Ok(forward.bytes(message).to_vec()),
            Pushed::Later { .. } => Ok(self.next()?.bytes),
        }
    }

    /// Why it is closed.
    fn closed(&self) -> Closed {
        loop {
            match self.next() {
                Ok(_) => {}
                Err(closed) => return closed,
            }
        }
    }
}

fn config(limits: Limits) -> Config {
    Config {
        source: Source::Linked(guest::library()),
        program: String::new(),
        package: String::new(),
        directories: Vec::new(),
        memory: 0,
        limits,
    }
}

fn host(limits: Limits) -> (Host, Lines) {
    let lines = Lines::default();
    (Host::new(config(limits), Box::new(lines.clone())), lines)
}

/// Limits that nothing reaches.
fn wide() -> Limits {
    Limits { time: SOON, load_time: SOON, grace: SOON, ..Limits::default() }
}

/// Limits of calls that are reached at once.
fn narrow() -> Limits {
    Limits { time: Duration::from_secs(1), grace: Duration::from_millis(20), ..wide() }
}

fn until(mut condition: impl FnMut() -> bool) {
    for _ in 0..SOON.as_millis() {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it did not come");
}

#[test]
fn messages_are_judged_and_answered_in_order() {
    let (host, _) = host(wide());
    let worker = Worker::new(&host, "m:A");
    assert_eq!(worker.send(b"pass 1;no;pass 2;pa"), Ok(Pushed::Later { pause: false }));
    let effect = |reply, bytes: &[u8]| Effect { reply, bytes: bytes.to_vec(), end: false };
    assert_eq!(worker.next(), Ok(effect(true, b"denied;")));
    assert_eq!(worker.next(), Ok(effect(false, b"pass 1;pass 2;")));
    assert_eq!(worker.session.push(false, b"ss 3;", true), Ok(Pushed::Later { pause: false }));
    assert_eq!(worker.next(), Ok(Effect { end: true, ..effect(false, b"pass 3;") }));
    assert_eq!(worker.session.push(true, b"yes;", true), Ok(Pushed::Later { pause: false }));
    assert_eq!(worker.next(), Ok(Effect { end: true, ..effect(true, b"yes;") }));
    until(|| worker.session.is_quiet());
}

#[test]
fn bytes_that_were_decided_on_do_not_wait() {
    let (host, _) = host(wide());
    let worker = Worker::new(&host, "m:A");
    assert_eq!(worker.ask(b"large;"), Ok(b"large;".to_vec()));
    until(|| worker.session.is_quiet());
    assert_eq!(worker.send(&[b'x'; 900]), Ok(Pushed::Now(Forward::Unchanged)));
    assert_eq!(
        worker.send(&[b'x'; 94]),
        Ok(Pushed::Later { pause: false }),
        "with the last byte the next message begins"
    );
}

#[test]
fn a_call_beyond_its_time_closes_its_connection_alone() {
    let _alone = lock(&guest::INTERRUPTS);
    let (host, lines) = host(Limits { grace: SOON, ..narrow() });
    let (hanging, other) = (Worker::new(&host, "m:A"), Worker::new(&host, "m:A"));
    assert_eq!(hanging.send(b"hang;"), Ok(Pushed::Later { pause: false }));
    assert_eq!(other.ask(b"pass;"), Ok(b"pass;".to_vec()));
    let reason = "python:m:A: a call took longer than 1s".to_owned();
    assert_eq!(hanging.closed(), Closed { cause: Cause::Time, reason });
    lines.wait_for("python:m:A: interrupted\nline 3");
    assert!(hanging.send(b"pass;").is_err());
}

#[test]
fn a_call_that_does_not_end_closes_those_that_wait_until_it_does() {
    let _alone = lock(&guest::INTERRUPTS);
    guest::RELEASED.store(false, Ordering::SeqCst);
    let (host, lines) = host(narrow());
    let (stuck, waiting) = (Worker::new(&host, "m:A"), Worker::new(&host, "m:B"));
    assert_eq!(waiting.ask(b"pass;"), Ok(b"pass;".to_vec()));
    assert_eq!(stuck.send(b"stuck;"), Ok(Pushed::Later { pause: false }));
    assert_eq!(stuck.closed().cause, Cause::Time);
    lines.wait_for("does not return");
    let reason = "python:m:A does not return from a call and cannot be interrupted".to_owned();
    assert_eq!(waiting.ask(b"pass;"), Err(Closed { cause: Cause::Time, reason }));
    guest::RELEASED.store(true, Ordering::SeqCst);
    lines.wait_for("python:m:A has returned");
    assert_eq!(Worker::new(&host, "m:B").ask(b"pass;"), Ok(b"pass;".to_vec()));
}

#[test]
fn stopping_does_not_wait_for_a_call_that_does_not_end() {
    let _alone = lock(&guest::INTERRUPTS);
    guest::RELEASED.store(false, Ordering::SeqCst);
    let (host, lines) = host(narrow());
    let worker = Worker::new(&host, "m:A");
    assert_eq!(worker.send(b"stuck;"), Ok(Pushed::Later { pause: false }));
    lines.wait_for("does not return");
    host.stop();
    assert!(Worker::new(&host, "m:B").ask(b"pass;").is_err());
    guest::RELEASED.store(true, Ordering::SeqCst);
}

#[test]
fn a_failure_closes_with_its_reason_and_leaves_a_traceback() {
    let (host, lines) = host(wide());
    let worker = Worker::new(&host, "m:A");
    let reason = "python:m:A: ValueError: no".to_owned();
    assert_eq!(worker.ask(b"fail;"), Err(Closed { cause: Cause::Failed, reason }));
    lines.wait_for("python:m:A: ValueError: no\nline 3");
}

#[test]
fn too_many_bytes_that_wait_pause_and_then_close() {
    let _alone = lock(&guest::INTERRUPTS);
    guest::RELEASED.store(false, Ordering::SeqCst);
    guest::STUCK.store(false, Ordering::SeqCst);
    let (host, _) = host(Limits { pause: 10, waiting: 100, total: 150, ..wide() });
    let (first, second) = (Worker::new(&host, "m:A"), Worker::new(&host, "m:A"));
    first.send(b"stuck;").unwrap();
    until(|| guest::STUCK.load(Ordering::SeqCst));
    assert_eq!(first.send(&[b'a'; 10]), Ok(Pushed::Later { pause: false }));
    assert_eq!(first.send(&[b'a'; 90]), Ok(Pushed::Later { pause: true }));
    assert!(!first.session.may_resume());
    let closed = second.send(&[b'a'; 60]).unwrap_err();
    assert_eq!(closed.reason, "python:m:A: 160 bytes of all connections with Python parsers wait");
    let closed = first.send(b"a").unwrap_err();
    assert_eq!(closed, Closed::new(Cause::Overflow, "python:m:A: 101 bytes of the client wait"));
    assert_eq!(
        Worker::new(&host, "m:A").send(&[b'a'; 90]),
        Ok(Pushed::Later { pause: true }),
        "closed ones do not count"
    );
    guest::RELEASED.store(true, Ordering::SeqCst);
}

#[test]
fn a_parser_that_cannot_be_loaded_refuses_its_connections() {
    guest::edit("broken:A", "broken");
    let (host, lines) = host(wide());
    host.want("broken:A");
    lines.wait_for("python:broken:A lets nothing pass: broken:A is broken\nin line 1");
    assert_eq!(host.refusal("broken:A"), Some("broken:A is broken".to_owned()));
    assert_eq!(host.report(), [("broken:A".to_owned(), Err("broken:A is broken".to_owned()))]);
    let reason = "python:broken:A: broken:A is broken".to_owned();
    assert_eq!(Worker::new(&host, "broken:A").closed(), Closed { cause: Cause::Refused, reason });
}

#[test]
fn a_parser_may_refuse_a_connection() {
    let (host, lines) = host(wide());
    let reason = "python:m:A: port 1 is refused".to_owned();
    assert_eq!(Worker::on_port(&host, "m:A", 1).closed(), Closed { cause: Cause::Failed, reason });
    lines.wait_for("python:m:A refuses a connection: port 1 is refused\nin line 2");
}

#[test]
fn an_edit_is_for_new_connections_and_a_broken_one_for_none() {
    let (host, lines) = host(Limits { look: Duration::from_millis(1), ..wide() });
    let old = Worker::new(&host, "edited:A");
    assert_eq!(old.ask(b"version;"), Ok(b"v1denied;".to_vec()));
    guest::edit("edited:A", "v2");
    lines.wait_for("python:edited:A is loaded anew");
    assert_eq!(old.ask(b"version;"), Ok(b"v1denied;".to_vec()));
    assert_eq!(Worker::new(&host, "edited:A").ask(b"version;"), Ok(b"v2denied;".to_vec()));
    guest::edit("edited:A", "broken");
    lines.wait_for("the edit of python:edited:A is refused, the code before goes on: edited:A is broken");
    assert_eq!(Worker::new(&host, "edited:A").ask(b"version;"), Ok(b"v2denied;".to_vec()));
    assert_eq!(host.refusal("edited:A"), None);
}

#[test]
fn without_a_guest_all_are_refused() {
    let lines = Lines::default();
    let host = Host::new(Config { program: "missing".to_owned(), ..config(wide()) }, Box::new(lines.clone()));
    let refused = Closed::new(Cause::Refused, "Python parsers cannot be run: there is no Python");
    assert_eq!(Worker::new(&host, "m:A").closed(), refused);
    lines.wait_for("Python parsers cannot be run: there is no Python\nat all");
    assert_eq!(Worker::new(&host, "m:A").closed(), refused);
    assert_eq!(host.refusal("m:A"), Some(refused.reason));
}

#[test]
fn a_library_that_is_not_there_is_named() {
    let source = Source::Files { library: "/nowhere/libembed.so".into(), needed: Vec::new() };
    let host = Host::new(Config { source, ..config(wide()) }, Box::<Lines>::default());
    let reason = Worker::new(&host, "m:A").closed().reason;
    assert!(reason.contains("/nowhere/libembed.so cannot be loaded"), "{reason}");
}

#[test]
fn parsers_end_with_their_connections() {
    guest::edit("counted:A", "counted");
    let (host, _) = host(wide());
    let workers: Vec<_> = (0..10).map(|_| Worker::new(&host, "counted:A")).collect();
    for worker in &workers {
        assert_eq!(worker.ask(b"pass;"), Ok(b"pass;".to_vec()));
    }
    assert_eq!(guest::ALIVE.load(Ordering::SeqCst), 10);
    drop(workers);
    until(|| guest::ALIVE.load(Ordering::SeqCst) == 0);
}
