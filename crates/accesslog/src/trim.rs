//! Entries that are too large for their transport.

use cilium_proto::cilium::log_entry::L7;
use cilium_proto::cilium::{HttpLogEntry, KeyValue, L7LogEntry, LogEntry};
use prost::Message;

/// Largest packet, in bytes: the Cilium agent reads this many and throws longer packets away.
pub const MAX_PACKET: usize = 4096;

/// Header (or L7 field, or Kafka topic) that marks a cut entry; its value is the size in bytes that the entry had.
/// Entries without an L7 part have no room for it, and no reason to be that large.
pub const MARK: &str = "x-cilium-log-cut";

/// Texts that identify the entry keep at least this much, in bytes.
const KEPT_TEXT: usize = 256;

/// Room for the mark: tag, lengths, name and a decimal number.
const MARK_ROOM: usize = MARK.len() + 28;

/// Cuts `entry` so that it has at most `limit` bytes; false when that cannot be done.
///
/// Goes first what the entry can best do without: values of headers from the last to the first ("x-request-id" excepted),
/// then whole headers, then values of rejected and missing headers, then these headers, then the ends of path, host,
/// rule and all other texts beyond [`KEPT_TEXT`] bytes. Identities, addresses, status and time stay.
pub(crate) fn trim(entry: &mut LogEntry, limit: usize) -> bool {
    let size = entry.encoded_len();
    if size <= limit {
        return true;
    }
    let mut cut = Cut { excess: size + MARK_ROOM - limit };
    match &mut entry.l7 {
        Some(L7::Http(http)) => cut.http(http, size),
        Some(L7::GenericL7(l7)) => cut.generic(l7, size),
        Some(L7::Kafka(kafka)) => {
            while cut.excess > 0 {
                let Some(topic) = kafka.topics.pop() else { break };
                cut.saved(topic.len());
            }
            // A list of topics cannot carry the mark itself.
            kafka.topics.push(MARK.to_owned());
        }
        None => {}
    }
    for text in
        [&mut entry.cilium_rule_ref, &mut entry.policy_name, &mut entry.source_address, &mut entry.destination_address]
    {
        cut.text(text);
    }
    entry.encoded_len() <= limit
}

/// Bytes still to be saved. Lengths and tags are not counted, so what is saved is rather more.
struct Cut {
    excess: usize,
}

impl Cut {
    fn saved(&mut self, bytes: usize) {
        self.excess = self.excess.saturating_sub(bytes);
    }

    fn http(&mut self, http: &mut HttpLogEntry, size: usize) {
        self.values(&mut http.headers, true);
        self.pairs(&mut http.headers);
        for list in [&mut http.rejected_headers, &mut http.missing_headers] {
            self.values(list, false);
        }
        for list in [&mut http.rejected_headers, &mut http.missing_headers] {
            self.pairs(list);
        }
        for text in [&mut http.path, &mut http.host, &mut http.scheme, &mut http.method] {
            self.text(text);
        }
        http.headers.push(KeyValue { key: MARK.to_owned(), value: size.to_string() });
    }

    fn generic(&mut self, l7: &mut L7LogEntry, size: usize) {
        // The map has no order: the largest values go first, so that most fields stay.
        let mut names: Vec<_> = l7.fields.iter().map(|(name, value)| (value.len(), name.clone())).collect();
        names.sort_unstable();
        while let (true, Some((_, name))) = (self.excess > 0, names.pop()) {
            if let Some(value) = l7.fields.get_mut(&name) {
                self.saved(value.len());
                value.clear();
            }
        }
        if self.excess > 0 {
            for (name, _) in l7.fields.drain() {
                self.saved(name.len());
            }
        }
        self.text(&mut l7.proto);
        l7.fields.insert(MARK.to_owned(), size.to_string());
    }

    fn values(&mut self, list: &mut [KeyValue], keep_request_id: bool) {
        for pair in list.iter_mut().rev() {
            if self.excess == 0 {
                return;
            }
            if !(keep_request_id && pair.key == "x-request-id") {
                self.saved(pair.value.len());
                pair.value.clear();
            }
        }
    }

    fn pairs(&mut self, list: &mut Vec<KeyValue>) {
        while self.excess > 0 {
            let Some(pair) = list.pop() else { return };
            // The tags and lengths of the pair go too.
            self.saved(pair.encoded_len() + 2);
        }
    }

    fn text(&mut self, text: &mut String) {
        let mut end = text.len().min(KEPT_TEXT.max(text.len().saturating_sub(self.excess)));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.saved(text.len() - end);
        text.truncate(end);
    }
}
