//! The thread that keeps the connection.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::backoff::Backoff;
use crate::enforced::Enforced;
use crate::frame::{self, FrameBuffer, FrameError, Limits};
use crate::observer::Observer;
use crate::session::{self, ProtocolError, Session};
use crate::state::{SharedState, State, StateGuard};
use crate::wake::{Wake, Woken};

/// How long the control plane may take to say hello, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often replaced snapshots are looked at while there are any.
const SWEEP: Duration = Duration::from_millis(100);

/// Where to connect, and as whom.
#[derive(Clone, Debug)]
pub struct Config {
    /// Unix socket of the control plane.
    pub socket: PathBuf,
    /// Name of this Envoy process.
    pub instance: String,
    /// Bounds on what is taken.
    pub limits: Limits,
}

/// The policy channel's end in Envoy. Ends with its thread when it is dropped; the state stays readable.
#[derive(Debug)]
pub struct Client {
    shared: SharedState,
    wake: Wake,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts the client's thread. Connects until it is dropped; that nobody listens is no error.
    ///
    /// Fails when the system refuses a thread or a file descriptor.
    pub fn spawn(config: Config, observer: impl Observer) -> io::Result<Self> {
        let wake = Wake::new()?;
        let enforced = Enforced::new();
        let shared = enforced.shared().clone();
        let connector = Connector { config, wake: wake.clone(), enforced, observer, ready: false };
        let thread = thread::Builder::new().name("policy-channel".to_owned()).spawn(move || connector.run())?;
        Ok(Self { shared, wake, thread: Some(thread) })
    }

    /// The current state, for one verdict. Never waits.
    #[must_use]
    pub fn state(&self) -> StateGuard {
        self.shared.load()
    }

    /// The current state, to keep. Never waits.
    #[must_use]
    pub fn state_full(&self) -> Arc<State> {
        self.shared.load_full()
    }

    /// Handle to the state that outlives the client.
    #[must_use]
    pub fn shared(&self) -> SharedState {
        self.shared.clone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.wake.stop();
        // From the observer, that is from the thread itself, there is nothing to wait for.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("the control plane closed the connection")]
    Closed,
    #[error("no hello from the control plane in {} s", PATIENCE.as_secs())]
    NoHello,
    #[error("the control plane took no answer for {} s", PATIENCE.as_secs())]
    NotRead,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("the connection to the control plane broke: {0}")]
    Io(#[from] io::Error),
    #[error("the client ends")]
    Stopped,
}

struct Connector<O> {
    config: Config,
    wake: Wake,
    enforced: Enforced,
    observer: O,
    ready: bool,
}

impl<O: Observer> Connector<O> {
    fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            match connect(&self.config.socket) {
                Ok(stream) => match self.converse(stream, &mut backoff) {
                    Err(ConnectionError::Stopped) => return,
                    Err(error) => self.observer.disconnected(&error.to_string()),
                    Ok(never) => match never {},
                },
                Err(error) => {
                    self.observer.unreachable(&format!("{}: {error}", self.config.socket.display()));
                }
            }
            if self.pause(backoff.wait()) == Woken::Stopped {
                return;
            }
        }
    }

    fn converse(
        &mut self,
        mut stream: UnixStream,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, ConnectionError> {
        let mut session = Session::new(self.config.limits);
        let mut received = FrameBuffer::new(self.config.limits.frame);
        let hello_by = Instant::now() + PATIENCE;
        self.send(&mut stream, &frame::encode(session::hello(&self.config.instance, &self.enforced)))?;
        loop {
            while let Some(frame) = received.take()? {
                if let Some(answer) = session.receive(frame, &mut self.enforced, &mut self.observer)? {
                    self.send(&mut stream, &frame::encode(answer))?;
                    backoff.reset();
                }
                self.report_ready(&session);
            }
            let in_use = self.enforced.sweep();
            let wait = if session.greeted() {
                in_use.then_some(SWEEP)
            } else {
                Some(hello_by.checked_duration_since(Instant::now()).ok_or(ConnectionError::NoHello)?)
            };
            match self.wake.readable(stream.as_fd(), wait) {
                Woken::Stopped => return Err(ConnectionError::Stopped),
                Woken::TimedOut => continue,
                Woken::Ready => {}
            }
            match received.fill(&mut stream) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(_) => {}
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn report_ready(&mut self, session: &Session) {
        if self.ready {
            return;
        }
        if let Some(required) = session.required_types() {
            self.ready = required.iter().all(|type_url| self.enforced.is_applied(type_url));
            if self.ready {
                self.observer.ready();
            }
        }
    }

    fn send(&self, stream: &mut UnixStream, mut bytes: &[u8]) -> Result<(), ConnectionError> {
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_transient(&error) => match self.wake.writable(stream.as_fd(), Some(PATIENCE)) {
                    Woken::Stopped => return Err(ConnectionError::Stopped),
                    Woken::TimedOut => return Err(ConnectionError::NotRead),
                    Woken::Ready => {}
                },
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits between connections; replaced snapshots are still freed.
    fn pause(&mut self, time: Duration) -> Woken {
        let until = Instant::now() + time;
        loop {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return Woken::TimedOut };
            let step = if self.enforced.sweep() { left.min(SWEEP) } else { left };
            if self.wake.pause(step) == Woken::Stopped {
                return Woken::Stopped;
            }
        }
    }
}

/// Connects without waiting for room in the control plane's backlog: the back-off does that.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(UnixStream::from(socket))
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
