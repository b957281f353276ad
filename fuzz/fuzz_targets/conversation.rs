//! Feeds a conversation to a parser. Each part is a byte whose top bit is the direction and whose rest is the length, and the bytes.

use std::alloc::{GlobalAlloc, Layout, System};

use cilium_l7::{Connection, ConnectionInfo, Decision, Limits, Record, Request, Shared, Site};

/// No parser may ask for more at once: libFuzzer's inputs are a few kilobytes.
const LARGEST: usize = 1 << 20;

/// The system's allocator, without larger allocations: they end the target.
struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

// SAFETY: it is the system's, which may fail as well.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: it came from `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs one parser; every other message is denied.
pub fn run(parser: &str, mut data: &[u8]) {
    let Ok(info) = ConnectionInfo::new(true, (1, 2), "1.1.1.1:1", "2.2.2.2:2", "p") else { return };
    let Ok(mut connection) = Connection::new(parser, info, &Shared::default(), Limits::default()) else { return };
    let asked = std::cell::Cell::new(0_u32);
    let policy = |_: &Request<'_>| {
        asked.set(asked.get() + 1);
        if asked.get() % 2 == 0 { Decision::DENIED } else { Decision::ALLOWED }
    };
    let mut log: Vec<Record> = Vec::new();
    while let Some((head, rest)) = data.split_first() {
        let (part, after) = rest.split_at(usize::from(head & 0x7f).min(rest.len()));
        data = after;
        let reply = head & 0x80 != 0;
        if connection.on_data(Site { policy: &policy, log: &mut log }, reply, false, part).is_err() {
            return;
        }
        connection.flush(!reply);
    }
}
