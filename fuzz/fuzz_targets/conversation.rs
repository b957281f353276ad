//! Feeds a conversation to a parser. Each part is a byte whose top bit is the direction and whose rest is the length, and the bytes.

use cilium_l7::{Connection, ConnectionInfo, Decision, Limits, Record, Request, Shared, Site};

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
