//! HTTP filters: they see the headers of a request and of its response.

use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::factory::{drop_factory, factory, new_factory};
use crate::guard::{PanicCounter, guarded};
use crate::log::{Level, log};
use crate::module::module;
use crate::object::{drop_object, into_pointer, object};
use crate::raw::{self, Buffer, Envoy, Header};
use crate::text::ConfigError;

/// Makes the filters of one configuration; shared by all workers.
pub trait HttpFilterFactory: Send + Sync {
    /// The filter of one stream.
    fn filter(&self) -> Rc<dyn HttpFilter>;
}

/// The filter of one stream; lives on one worker.
pub trait HttpFilter {
    /// The request's headers are there.
    fn on_request_headers(&self, stream: &mut Stream<'_>, end_stream: bool) -> HeadersStatus;

    /// The response's headers are there, from the upstream or from a local reply.
    fn on_response_headers(&self, stream: &mut Stream<'_>, end_stream: bool) -> HeadersStatus;

    /// What [`Stream::call_later`] asked for: no filter of the stream is being called.
    fn on_later(&self, _stream: &mut Stream<'_>) {}

    /// The stream has ended, however it did.
    fn on_stream_complete(&self, stream: &mut Stream<'_>);
}

/// Whether the next filter is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum HeadersStatus {
    /// It is.
    Continue = 0,
    /// It is not; a local reply may have been sent.
    StopIteration = 1,
    /// Nothing of the message goes on until it is continued.
    Pause = 4,
}

/// Which header map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum HeaderKind {
    /// Of the request.
    Request = 0,
    /// Of the response.
    Response = 2,
}

/// Attributes of a stream that have a text form; the numbers are the ABI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Attribute {
    /// "HTTP/1.0", "HTTP/1.1", "HTTP/2" or "HTTP/3".
    RequestProtocol = 10,
    /// "ip:port" of the client.
    SourceAddress = 24,
    /// "ip:port" that the client wanted.
    DestinationAddress = 26,
    /// Server name of the client's TLS hello.
    RequestedServerName = 30,
    /// "ip:port" of the host that load balancing chose; known to filters that run upstream, and with the response.
    UpstreamAddress = 41,
    /// "ip:port" that the upstream connection comes from; known with the response.
    UpstreamLocalAddress = 51,
}

/// Number of the attribute `connection.id`.
const CONNECTION_ID: u32 = 28;

/// A filter's configuration on Envoy's side, while it is being made.
pub struct HttpFilterConfig {
    envoy: Envoy,
}

/// A counter of a filter's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(usize);

static PANICS: PanicCounter<Counter> = PanicCounter::new();

impl HttpFilterConfig {
    /// Defines a counter, below the statistics prefix of the filter's module configuration.
    pub fn define_counter(&self, name: &str) -> Result<Counter, ConfigError> {
        let mut id = 0;
        // SAFETY: the configuration is live while it is being made; no labels are passed.
        let result = unsafe {
            raw::http::define_counter(self.envoy, Buffer::new(name.as_bytes()), std::ptr::null(), 0, &raw mut id)
        };
        if result == 0 { Ok(Counter(id)) } else { Err(ConfigError(format!("Envoy refused the counter {name}"))) }
    }
}

/// A stream, during one call.
pub struct Stream<'c> {
    envoy: Envoy,
    call: PhantomData<&'c mut ()>,
}

impl Stream<'_> {
    /// What is known of the stream beside its headers.
    #[must_use]
    pub fn info(&self) -> StreamInfo<'_> {
        StreamInfo { envoy: self.envoy, stream: PhantomData }
    }

    /// All headers, pseudo headers included, and what else is known. Names are lower case.
    pub fn headers(&mut self, kind: HeaderKind) -> (StreamInfo<'_>, HeaderMap<'_>) {
        let mut map = HeaderMap { envoy: self.envoy, kind, list: HeaderList::take(), stream: PhantomData };
        map.read();
        (StreamInfo { envoy: self.envoy, stream: PhantomData }, map)
    }

    /// The first value of a header, whose name is lower case.
    #[must_use]
    pub fn header(&self, kind: HeaderKind, name: &str) -> Option<&[u8]> {
        let mut value = Buffer::EMPTY;
        let name = Buffer::new(name.as_bytes());
        // SAFETY: `self.envoy` is live during the call; what changes headers needs `&mut self`, as the view does not allow.
        unsafe {
            raw::http::header(self.envoy, kind as u32, name, &raw mut value, 0, std::ptr::null_mut())
                .then(|| value.bytes())
        }
    }

    /// Has [`HttpFilter::on_later`] be called, unless the stream ends before.
    pub fn call_later(&mut self) {
        // SAFETY: `self.envoy` is live during the call. What is posted to the worker holds the filter weakly, and nothing
        // of the scheduler.
        unsafe {
            let scheduler = raw::http::scheduler_new(self.envoy);
            raw::http::scheduler_commit(scheduler, 0);
            raw::http::scheduler_delete(scheduler);
        }
    }

    /// Sends the response on that was paused.
    pub fn continue_response(&mut self) {
        // SAFETY: `self.envoy` is live during the call.
        unsafe { raw::http::continue_encoding(self.envoy) };
    }

    /// Has the connection end when its streams are over: clients are told to send no more requests on it.
    ///
    /// For [`HttpFilter::on_later`]: where a filter is being called, Envoy sends nothing of the message on after this.
    pub fn drain_connection(&mut self) {
        // SAFETY: `self.envoy` is live during the call.
        unsafe { raw::http::send_go_away_and_close(self.envoy, true) };
    }

    /// Leaves bytes for filters of the same stream that run later, downstream or upstream.
    pub fn set_filter_state(&mut self, key: &str, value: &[u8]) -> bool {
        // SAFETY: `self.envoy` is live during the call; Envoy copies both.
        unsafe { raw::http::set_filter_state(self.envoy, Buffer::new(key.as_bytes()), Buffer::new(value)) }
    }

    /// Answers the request. Hooks of this filter run before this returns.
    ///
    /// `details` is the stream's response-code details and must hold no white space.
    pub fn send_response(&mut self, status: u32, headers: &[(&str, &[u8])], body: &[u8], details: &str) {
        let headers: Vec<Header> = headers.iter().map(|(name, value)| Header::new(name, value)).collect();
        // SAFETY: `self.envoy` is live during the call; Envoy copies everything it is passed.
        unsafe {
            raw::http::send_response(
                self.envoy,
                status,
                headers.as_ptr(),
                headers.len(),
                Buffer::new(body),
                Buffer::new(details.as_bytes()),
            );
        }
    }

    /// Counts one.
    pub fn increment(&self, counter: Counter) {
        // SAFETY: `self.envoy` is live during the call. The only failure is an unknown counter, which `Counter` rules out.
        let _ = unsafe { raw::http::increment_counter(self.envoy, counter.0, std::ptr::null(), 0, 1) };
    }
}

/// What does not depend on a stream's headers and changes only by calls on `&mut Stream`.
#[derive(Clone, Copy)]
pub struct StreamInfo<'s> {
    envoy: Envoy,
    stream: PhantomData<&'s ()>,
}

impl<'s> StreamInfo<'s> {
    /// Bytes that an earlier filter of the stream or its connection left under that key.
    #[must_use]
    pub fn filter_state(&self, key: &str) -> Option<&'s [u8]> {
        let mut value = Buffer::EMPTY;
        // SAFETY: the stream is live for `'s`, in which nobody has it mutably but for its header map; Envoy's view is of
        // filter state, which header maps do not touch.
        unsafe {
            if !raw::http::filter_state(self.envoy, Buffer::new(key.as_bytes()), &raw mut value) {
                return None;
            }
            Some(value.bytes())
        }
    }

    /// An attribute's text; `None` when the stream does not have it (yet).
    #[must_use]
    pub fn attribute(&self, attribute: Attribute) -> Option<&'s str> {
        let mut value = Buffer::EMPTY;
        // SAFETY: as in `filter_state`: the text is that of an address or a constant, see `Attribute`.
        let bytes = unsafe {
            if !raw::http::attribute_string(self.envoy, attribute as u32, &raw mut value) {
                return None;
            }
            value.bytes()
        };
        std::str::from_utf8(bytes).ok()
    }

    /// Envoy's number of the downstream connection; `None` for a stream that has none, such as a mirrored one.
    #[must_use]
    pub fn connection_id(&self) -> Option<u64> {
        let mut id = 0;
        // SAFETY: as in `filter_state`; the function only writes its result.
        unsafe { raw::http::attribute_int(self.envoy, CONNECTION_ID, &raw mut id) }.then_some(id)
    }
}

/// A list of headers that goes back to its worker when it is dropped: reading headers allocates nothing in the long run.
struct HeaderList(Vec<Header>);

thread_local! {
    static SPARE: Cell<Vec<Header>> = const { Cell::new(Vec::new()) };
}

impl HeaderList {
    fn take() -> Self {
        Self(SPARE.try_with(Cell::take).unwrap_or_default())
    }
}

impl Drop for HeaderList {
    fn drop(&mut self) {
        self.0.clear();
        // A worker that ends has no spare list any more.
        let _ = SPARE.try_with(|spare| spare.set(std::mem::take(&mut self.0)));
    }
}

/// The headers of a request or response, read once; changes go to Envoy and are read back.
pub struct HeaderMap<'s> {
    envoy: Envoy,
    kind: HeaderKind,
    // INVARIANT: views of Envoy's header map as it is now. Whatever changes that map needs `&mut self` here, or the
    // stream, which this borrows; both are followed by `read`.
    list: HeaderList,
    stream: PhantomData<&'s mut ()>,
}

impl HeaderMap<'_> {
    /// Names and values, in Envoy's order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.list.0.iter().map(|header| {
            // SAFETY: by the invariant of `list`, which `&self` keeps.
            unsafe { header.pair() }
        })
    }

    /// Adds a value beside those that are there.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        // SAFETY: the stream is live as long as this; Envoy copies both.
        unsafe {
            raw::http::add_header(self.envoy, self.kind as u32, Buffer::new(name.as_bytes()), Buffer::new(value))
        };
        self.read();
    }

    /// Replaces all values; `None` removes the header.
    pub fn set(&mut self, name: &str, value: Option<&[u8]>) {
        let value = match value {
            // Only a null pointer removes.
            Some(b"") => Buffer::new(&[]),
            Some(value) => Buffer::new(value),
            None => Buffer::EMPTY,
        };
        // SAFETY: as in `add`.
        unsafe { raw::http::set_header(self.envoy, self.kind as u32, Buffer::new(name.as_bytes()), value) };
        self.read();
    }

    fn read(&mut self) {
        let list = &mut self.list.0;
        list.clear();
        // SAFETY: the stream is live as long as this. Envoy writes exactly as many headers as it announces.
        unsafe {
            let size = raw::http::headers_size(self.envoy, self.kind as u32);
            list.reserve(size);
            if size > 0 && raw::http::headers(self.envoy, self.kind as u32, list.as_mut_ptr()) {
                list.set_len(size);
            }
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    envoy: Envoy,
    name: Buffer,
    config: Buffer,
) -> *const c_void {
    let make = |name: &str, config: &[u8]| {
        let envoy = HttpFilterConfig { envoy };
        let counted = envoy.define_counter(PanicCounter::<Counter>::NAME).and_then(|counter| PANICS.defined(counter));
        counted.and_then(|()| module()?.http_filter(name, config, &envoy))
    };
    // SAFETY: this is a call of Envoy's.
    unsafe { new_factory::<dyn HttpFilterFactory>("HTTP filter", name, config, make) }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: *const c_void) {
    // SAFETY: the pointer is the one `config_new` returned, and Envoy gives it up.
    unsafe { drop_factory::<dyn HttpFilterFactory>("HTTP filter", config) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(name: Buffer, _: Buffer) -> *const c_void {
    // SAFETY: Envoy's buffer is readable during the call.
    let name = String::from_utf8_lossy(unsafe { name.bytes() });
    log(Level::Error, &format!("HTTP filter {name}: takes no per-route configuration"));
    std::ptr::null()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(_: *const c_void) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(config: *const c_void, _envoy: Envoy) -> *const c_void {
    // SAFETY: the pointer is the one `config_new` returned, alive as long as its filters.
    let factory = unsafe { factory::<dyn HttpFilterFactory>(config) };
    guarded("HTTP filter", || into_pointer(factory.filter()), std::ptr::null)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    envoy: Envoy,
    filter: *const c_void,
    end_stream: bool,
) -> u32 {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn HttpFilter>(filter) };
    let closed = || {
        let mut stream = counted(envoy);
        stream.send_response(500, &[], b"", "cilium_filter_panicked");
        HeadersStatus::StopIteration
    };
    let body = || filter.on_request_headers(&mut Stream { envoy, call: PhantomData }, end_stream);
    guarded("HTTP filter", body, closed) as u32
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    envoy: Envoy,
    filter: *const c_void,
    end_stream: bool,
) -> u32 {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn HttpFilter>(filter) };
    // The verdict was given on the request; a response that cannot be logged still goes to its client.
    let body = || filter.on_response_headers(&mut Stream { envoy, call: PhantomData }, end_stream);
    let passed = || {
        counted(envoy);
        HeadersStatus::Continue
    };
    guarded("HTTP filter", body, passed) as u32
}

/// The stream of a filter that panicked.
fn counted<'c>(envoy: Envoy) -> Stream<'c> {
    let stream = Stream { envoy, call: PhantomData };
    if let Some(counter) = PANICS.get() {
        stream.increment(counter);
    }
    stream
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(envoy: Envoy, filter: *const c_void, _event: u64) {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn HttpFilter>(filter) };
    let body = || filter.on_later(&mut Stream { envoy, call: PhantomData });
    // Whatever waits for this must not wait for ever.
    guarded("HTTP filter", body, || counted(envoy).continue_response());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(envoy: Envoy, filter: *const c_void) {
    // SAFETY: the pointer is the one `new` returned, on the same worker.
    let filter = unsafe { object::<dyn HttpFilter>(filter) };
    let body = || filter.on_stream_complete(&mut Stream { envoy, call: PhantomData });
    guarded("HTTP filter", body, || {
        counted(envoy);
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_destroy(filter: *const c_void) {
    // SAFETY: the pointer is the one `new` returned, and Envoy gives it up.
    guarded("HTTP filter", || unsafe { drop_object::<dyn HttpFilter>(filter) }, || ());
}

macro_rules! pass_on {
    ($($hook:ident)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $hook(_: Envoy, _: *const c_void) -> u32 {
            0
        }
    )* };
}

pass_on! {
    envoy_dynamic_module_on_http_filter_request_body
    envoy_dynamic_module_on_http_filter_request_trailers
    envoy_dynamic_module_on_http_filter_response_body
    envoy_dynamic_module_on_http_filter_response_trailers
    envoy_dynamic_module_on_http_filter_local_reply
}

macro_rules! unused {
    ($($hook:ident)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $hook() {}
    )* };
}

// Envoy wants all hooks of an extension point; these are about things no filter here starts.
unused! {
    envoy_dynamic_module_on_http_filter_config_http_callout_done
    envoy_dynamic_module_on_http_filter_config_http_stream_complete
    envoy_dynamic_module_on_http_filter_config_http_stream_data
    envoy_dynamic_module_on_http_filter_config_http_stream_headers
    envoy_dynamic_module_on_http_filter_config_http_stream_reset
    envoy_dynamic_module_on_http_filter_config_http_stream_trailers
    envoy_dynamic_module_on_http_filter_config_scheduled
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark
    envoy_dynamic_module_on_http_filter_http_callout_done
    envoy_dynamic_module_on_http_filter_http_stream_complete
    envoy_dynamic_module_on_http_filter_http_stream_data
    envoy_dynamic_module_on_http_filter_http_stream_headers
    envoy_dynamic_module_on_http_filter_http_stream_reset
    envoy_dynamic_module_on_http_filter_http_stream_trailers
}
