//! The filter of one connection, whichever side it is on.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use cilium_abi::network::{Connection, Data, NetworkFilter, Status};
use cilium_websocket::{Codec, Error, Event, Output, Role, request_id};

use crate::log;
use crate::timer::Timer;
use crate::websocket::DESTINATION;
use crate::websocket::output::PooledOutput;
use crate::websocket::record::Record;
use crate::websocket::settings::Settings;

/// The client's event for its handshake.
const START: u64 = 1;

/// The timer's event.
const TIME: u64 = 2;

/// Bytes that may wait for the handshake before reading stops; Envoy's own limit for buffers.
const WAITING_LIMIT: usize = 1 << 20;

pub(super) struct Filter {
    settings: Arc<Settings>,
    state: RefCell<State>,
}

struct State {
    codec: Codec,
    /// Until the handshake is logged.
    record: Option<Record>,
    timer: Option<Timer>,
    /// When the handshake times out; when the next ping is due.
    due: Instant,
    stopped_reading: bool,
    encoded_ended: bool,
    decoded_ended: bool,
}

/// What is to be done with an output beside sending it.
#[derive(Default)]
struct Outcome {
    /// The filters after a server's have not been called yet.
    opens: bool,
    /// Nothing may go anywhere: it would go to the wrong host.
    misdirected: bool,
    refused: Option<String>,
}

impl Filter {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let due = Instant::now() + settings.codec.handshake_timeout;
        let state = State {
            codec: Codec::new(Arc::clone(&settings.codec)),
            record: None,
            timer: None,
            due,
            stopped_reading: false,
            encoded_ended: false,
            decoded_ended: false,
        };
        Self { settings, state: RefCell::new(state) }
    }

    fn is_client(&self) -> bool {
        self.settings.codec.role == Role::Client
    }

    /// Has the codec do something, and then does what follows from it.
    fn run(&self, connection: &mut Connection<'_>, act: impl FnOnce(&mut Connection<'_>, &mut Codec, &mut Output)) {
        let mut out = PooledOutput::new();
        let mut state = self.state.borrow_mut();
        act(connection, &mut state.codec, &mut out);
        let outcome = state.note(connection, &self.settings, &out);
        if !out.decoded.is_empty() {
            state.busy(&self.settings);
        }
        out.encoded_end &= !state.encoded_ended;
        out.decoded_end &= !state.decoded_ended;
        state.encoded_ended |= out.encoded_end;
        state.decoded_ended |= out.decoded_end;
        // Whom the data is injected into may call this filter again.
        drop(state);
        if outcome.misdirected {
            // Only the end is left.
        } else if outcome.opens {
            // The answer goes before anything that the destination might say.
            self.send_encoded(connection, &out);
            self.send_decoded(connection, &out, true);
        } else {
            self.send_decoded(connection, &out, false);
            self.send_encoded(connection, &out);
        }
        if let Some(reason) = outcome.refused {
            connection.close(&log::details(self.name(), &reason));
        }
    }

    fn send_encoded(&self, connection: &mut Connection<'_>, out: &Output) {
        if out.encoded.is_empty() && !out.encoded_end {
            return;
        }
        if self.is_client() {
            connection.inject_read(&out.encoded, out.encoded_end);
        } else {
            connection.inject_write(&out.encoded, out.encoded_end);
        }
    }

    /// `open`: also without data, to begin with the filters after this one.
    fn send_decoded(&self, connection: &mut Connection<'_>, out: &Output, open: bool) {
        if out.decoded.is_empty() && !out.decoded_end && !open {
            return;
        }
        if self.is_client() {
            connection.inject_write(&out.decoded, out.decoded_end);
        } else {
            connection.inject_read(&out.decoded, out.decoded_end);
        }
    }

    fn name(&self) -> &'static str {
        match self.settings.codec.role {
            Role::Client => "cilium.network.websocket.client",
            Role::Server => "cilium.network.websocket.server",
        }
    }

    /// Has a server's bytes go on where they are, as a frame; tells whether they may.
    fn surround(&self, connection: &mut Connection<'_>, end_stream: bool) -> bool {
        let mut state = self.state.borrow_mut();
        let Some((before, after)) = state.codec.surround(connection.write_length(), end_stream) else { return false };
        connection.surround_write(&before, &after);
        state.encoded_ended |= end_stream;
        state.busy(&self.settings);
        true
    }

    /// The handshake's time is over, or a ping is due.
    fn on_time(&self, connection: &mut Connection<'_>) {
        let mut state = self.state.borrow_mut();
        let now = Instant::now();
        if now < state.due {
            if let Some(timer) = &state.timer {
                timer.set(state.due);
            }
            return;
        }
        if state.codec.accepted() {
            state.due = now + self.settings.codec.next_ping();
        }
        drop(state);
        self.run(connection, |connection, codec, out| {
            if !codec.accepted() {
                codec.time_out(out);
            } else if codec.ping(out) {
                connection.increment(self.settings.ping_sent);
            }
        });
        let state = self.state.borrow();
        if let Some(timer) = state.timer.as_ref().filter(|_| state.codec.accepted() && !state.encoded_ended) {
            timer.set(state.due);
        }
    }
}

fn pass(codec: &mut Codec, data: &Data<'_>, wraps: bool, end_stream: bool, out: &mut Output) {
    if wraps {
        codec.encode(data.pieces(), end_stream, out);
    } else {
        codec.decode(data.pieces(), end_stream, out);
    }
}

impl NetworkFilter for Filter {
    fn on_new_connection(&self, connection: &mut Connection<'_>) -> Status {
        connection.enable_half_close();
        let mut state = self.state.borrow_mut();
        let scheduler = connection.scheduler();
        match Timer::new(state.due, move || scheduler.commit(TIME)) {
            Ok(timer) => state.timer = Some(timer),
            Err(error) => {
                drop(state);
                connection.close(&log::details(self.name(), &format!("no timer: {error}")));
                return Status::StopIteration;
            }
        }
        state.record = self.settings.log.clone().map(|queue| Record::begin(queue, connection));
        if self.is_client() {
            // What is injected here is lost.
            connection.scheduler().commit(START);
            Status::Continue
        } else {
            // Nothing is connected upstream before the handshake has said where to.
            Status::StopIteration
        }
    }

    fn on_read(&self, connection: &mut Connection<'_>, end_stream: bool) -> Status {
        let wraps = self.is_client();
        self.run(connection, |connection, codec, out| {
            connection.take_read(|data| pass(codec, data, wraps, end_stream, out));
        });
        if wraps {
            self.state.borrow_mut().busy(&self.settings);
        }
        Status::StopIteration
    }

    fn on_write(&self, connection: &mut Connection<'_>, end_stream: bool) -> Status {
        let wraps = !self.is_client();
        if wraps && self.surround(connection, end_stream) {
            return Status::Continue;
        }
        self.run(connection, |connection, codec, out| {
            connection.take_write(|data| pass(codec, data, wraps, end_stream, out));
        });
        if wraps {
            self.state.borrow_mut().busy(&self.settings);
        }
        Status::StopIteration
    }

    fn on_scheduled(&self, connection: &mut Connection<'_>, event: u64) {
        match event {
            START => match connection.local_address() {
                Some(destination) => {
                    self.run(connection, |_, codec, out| codec.start(destination, &request_id(), out));
                }
                None => connection.close(&log::details(self.name(), "the destination is no IP address")),
            },
            TIME => self.on_time(connection),
            _ => {}
        }
    }

    fn on_closed(&self) {
        // Its scheduler belongs to another thread.
        self.state.borrow_mut().timer = None;
    }
}

fn count(connection: &mut Connection<'_>, settings: &Settings, error: Error) {
    if let Some(counter) = settings.counter(error) {
        connection.increment(counter);
    }
}

impl State {
    /// Takes note of what happened: logs, counts, and sets times.
    fn note(&mut self, connection: &mut Connection<'_>, settings: &Settings, out: &Output) -> Outcome {
        let mut outcome = Outcome::default();
        for event in &out.events {
            match event {
                Event::RequestSent(head) => self.log(|record| record.request_sent(head)),
                Event::RequestReceived(head) => self.log(|record| record.request_received(connection, head)),
                Event::ResponseReceived(head) => self.log(|record| record.response(head)),
                Event::ResponseSent(head) => {
                    let accepted = head.status() == Some(101);
                    self.log(|record| record.response_sent(head, accepted));
                    if !accepted {
                        connection.increment(settings.access_denied);
                    }
                }
                Event::Destination(destination) => {
                    if !connection.set_typed_filter_state(DESTINATION, &destination.to_string()) {
                        outcome.misdirected = true;
                        outcome.refused = Some("Envoy refused the destination".to_owned());
                    }
                }
                Event::Accepted => {
                    outcome.opens = settings.codec.role == Role::Server;
                    self.accepted(settings);
                }
                Event::CutOff => count(connection, settings, Error::UnexpectedEnd),
                Event::Failed(error) => {
                    count(connection, settings, *error);
                    outcome.refused = Some(error.to_string());
                }
            }
        }
        let stop = self.codec.waiting() > WAITING_LIMIT;
        if stop != self.stopped_reading {
            self.stopped_reading = stop;
            connection.stop_reading(stop);
        }
        outcome
    }

    /// Data puts the next ping off; the timer finds out when it fires.
    fn busy(&mut self, settings: &Settings) {
        if settings.codec.ping_when_idle && self.codec.accepted() {
            self.due = self.due.max(Instant::now() + settings.codec.ping_interval);
        }
    }

    fn accepted(&mut self, settings: &Settings) {
        self.record = None;
        if settings.codec.ping_interval.is_zero() {
            self.timer = None;
            return;
        }
        self.due = Instant::now() + settings.codec.ping_interval;
        if let Some(timer) = &self.timer {
            timer.set(self.due);
        }
    }

    fn log(&mut self, write: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            write(record);
        }
    }
}
