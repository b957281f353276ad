//! A control plane for tests: the other end of the channel, over real sockets.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test takes what it needs; a failed step fails it"
)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use cilium_channel::{Client, Config, Limits, Observer, Outcome, Update};
use cilium_proto::cilium_proxy::v1::begin::Kind as UpdateKind;
use cilium_proto::cilium_proxy::v1::frame::Kind;
use cilium_proto::cilium_proxy::v1::result::Outcome as Answer;
use cilium_proto::cilium_proxy::v1::{Begin, Commit, Frame, ModuleHello, Remove, Result, ServerHello, Upsert};
use prost::Message;
use sha2::{Digest, Sha256};

pub const POLICIES: &str = "type.googleapis.com/cilium.NetworkPolicy";
pub const HOSTS: &str = "type.googleapis.com/cilium.NetworkPolicyHosts";
pub const SECRETS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// A hang is a failure, with the step that hangs in its message.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct ControlPlane {
    listener: UnixListener,
    pub path: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

impl ControlPlane {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.sock");
        Self { listener: UnixListener::bind(&path).unwrap(), path, _directory: Some(directory) }
    }

    pub fn start_at(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        Self { listener: UnixListener::bind(path).unwrap(), path: path.to_owned(), _directory: None }
    }

    pub fn accept(&self) -> Connection {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Connection { stream, txn: 0 }
    }

    /// Accepts and greets, with an epoch of 1 and no required types.
    pub fn greet(&self) -> Connection {
        let mut connection = self.accept();
        connection.hello(1, &[]);
        connection
    }
}

pub struct Connection {
    pub stream: UnixStream,
    pub txn: u64,
}

/// What a transaction changes.
#[derive(Clone, Default)]
pub struct Changes {
    pub type_url: &'static str,
    pub delta_from: Option<&'static str>,
    pub version: &'static str,
    pub new_stream: bool,
    pub upserts: Vec<(String, Vec<u8>)>,
    pub removed: Vec<String>,
}

impl Connection {
    pub fn hello(&mut self, epoch: u64, required: &[&str]) -> ModuleHello {
        let required_types = required.iter().map(|&url| url.to_owned()).collect();
        self.send(Kind::ServerHello(ServerHello { protocol: 1, epoch, required_types }));
        let Kind::ModuleHello(hello) = self.receive() else { panic!("the module did not say hello") };
        hello
    }

    pub fn send(&mut self, kind: Kind) {
        let frame = Frame { kind: Some(kind) }.encode_to_vec();
        self.stream.write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    pub fn receive(&mut self) -> Kind {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        Frame::decode(frame.as_slice()).unwrap().kind.unwrap()
    }

    /// Waits until the module closed the connection.
    pub fn expect_close(&mut self) {
        let mut rest = Vec::new();
        // What was sent and not read makes this a reset rather than an end.
        let _ = self.stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "the module answered {rest:?}");
    }

    pub fn begin(&mut self, changes: &Changes) {
        self.txn += 1;
        let kind = if changes.delta_from.is_some() { UpdateKind::Delta } else { UpdateKind::Full };
        self.send(Kind::Begin(Begin {
            txn: self.txn,
            type_url: changes.type_url.to_owned(),
            kind: kind.into(),
            base_version: changes.delta_from.unwrap_or_default().to_owned(),
            target_version: changes.version.to_owned(),
            new_stream: changes.new_stream,
        }));
    }

    /// Sends the changes; returns the commit that belongs to them.
    pub fn changes(&mut self, changes: &Changes) -> Commit {
        let mut digest = Sha256::new();
        let mut hash = |tag: &[u8], fields: &[&[u8]]| {
            digest.update(tag);
            for field in fields {
                digest.update((field.len() as u64).to_be_bytes());
                digest.update(field);
            }
        };
        for (name, resource) in &changes.upserts {
            hash(b"U", &[name.as_bytes(), resource]);
            self.send(Kind::Upsert(Upsert { name: name.clone(), resource: resource.clone() }));
        }
        for name in &changes.removed {
            hash(b"R", &[name.as_bytes()]);
            self.send(Kind::Remove(Remove { name: name.clone() }));
        }
        let count = (changes.upserts.len() + changes.removed.len()) as u64;
        Commit { txn: self.txn, count, digest: digest.finalize().to_vec() }
    }

    pub fn answer(&mut self) -> Answer {
        let Kind::Result(Result { txn, outcome }) = self.receive() else { panic!("the module sent no result") };
        assert_eq!(txn, self.txn);
        outcome.unwrap()
    }

    /// A whole transaction with its answer.
    pub fn update(&mut self, changes: &Changes) -> Answer {
        self.begin(changes);
        let commit = self.changes(changes);
        self.send(Kind::Commit(commit));
        self.answer()
    }

    pub fn accepted(&mut self, changes: &Changes) {
        let answer = self.update(changes);
        assert!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
    }

    pub fn rejected(&mut self, changes: &Changes) -> String {
        match self.update(changes) {
            Answer::Rejected(rejected) => rejected.detail,
            answer => panic!("{answer:?}"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Connected,
    Disconnected(String),
    Unreachable(String),
    Updated { full: bool, version: String, upserts: usize, removed: usize, outcome: Outcome },
    Ready,
}

pub struct Events(Sender<Event>);

impl Events {
    pub fn new() -> (Self, Receiver<Event>) {
        let (sender, receiver) = channel();
        (Self(sender), receiver)
    }
}

impl Observer for Events {
    fn connected(&mut self) {
        let _ = self.0.send(Event::Connected);
    }

    fn disconnected(&mut self, error: &str) {
        let _ = self.0.send(Event::Disconnected(error.to_owned()));
    }

    fn unreachable(&mut self, error: &str) {
        let _ = self.0.send(Event::Unreachable(error.to_owned()));
    }

    fn updated(&mut self, update: &Update<'_>) {
        let _ = self.0.send(Event::Updated {
            full: update.full,
            version: update.version.to_owned(),
            upserts: update.upserts,
            removed: update.removed,
            outcome: update.outcome.clone(),
        });
    }

    fn ready(&mut self) {
        let _ = self.0.send(Event::Ready);
    }
}

/// Waits for the first event that is not about a connection.
pub fn next_event(events: &Receiver<Event>) -> Event {
    loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            Event::Connected | Event::Disconnected(_) | Event::Unreachable(_) => {}
            event => return event,
        }
    }
}

/// Waits for the end of a connection and returns why it ended.
pub fn disconnection(events: &Receiver<Event>) -> String {
    loop {
        if let Event::Disconnected(error) = events.recv_timeout(PATIENCE).unwrap() {
            return error;
        }
    }
}

pub fn config(path: &Path) -> Config {
    Config { socket: path.to_owned(), instance: "envoy-0".to_owned(), limits: Limits::default() }
}

pub fn client(path: &Path) -> (Client, Receiver<Event>) {
    let (observer, events) = Events::new();
    (Client::spawn(config(path), observer).unwrap(), events)
}
