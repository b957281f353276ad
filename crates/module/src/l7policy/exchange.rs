//! What the downstream and the upstream filters of one stream share, where load balancing chooses the destination.
//!
//! Both run on the same worker. The downstream filter leaves a number in the stream's filter state, by which the upstream
//! ones, one per attempt, find the exchange in their worker's table.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use cilium_accesslog::Queue;

use crate::log::PooledEntry;

/// Filter state key.
pub(super) const KEY: &str = "cilium.exchange";

thread_local! {
    static OPEN: RefCell<HashMap<u64, Weak<Exchange>>> = RefCell::new(HashMap::new());
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// A request and its response.
pub(super) struct Exchange {
    token: u64,
    pub(super) entry: RefCell<Option<PooledEntry>>,
    /// Where the entry goes.
    pub(super) log: Option<Arc<Queue>>,
    /// Server name of the client's TLS hello; empty: none.
    pub(super) server_name: Box<str>,
    /// An upstream filter has judged a host.
    pub(super) judged: Cell<bool>,
}

impl Exchange {
    pub(super) fn open(entry: Option<PooledEntry>, log: Option<&Arc<Queue>>, server_name: &str) -> Rc<Self> {
        let token = NEXT.replace(NEXT.get() + 1);
        let exchange = Rc::new(Self {
            token,
            entry: RefCell::new(entry),
            log: log.cloned(),
            server_name: server_name.into(),
            judged: Cell::new(false),
        });
        OPEN.with_borrow_mut(|open| open.insert(token, Rc::downgrade(&exchange)));
        exchange
    }

    /// The value for the filter state.
    pub(super) fn token(&self) -> [u8; 8] {
        self.token.to_ne_bytes()
    }

    /// The exchange that this value of the filter state is about.
    pub(super) fn find(token: &[u8]) -> Option<Rc<Self>> {
        let token = u64::from_ne_bytes(token.try_into().ok()?);
        OPEN.with_borrow(|open| open.get(&token)?.upgrade())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A worker that ends has no table any more.
        let _ = OPEN.try_with(|open| open.borrow_mut().remove(&self.token));
    }
}
