//! Names of APIs and roles, as `CiliumNetworkPolicy` has them.

/// Names of `apiKey` with their numbers.
pub const API_KEYS: &[(&str, i16)] = &[
    ("produce", 0),
    ("fetch", 1),
    ("offsets", 2),
    ("metadata", 3),
    ("leaderandisr", 4),
    ("stopreplica", 5),
    ("updatemetadata", 6),
    ("controlledshutdown", 7),
    ("offsetcommit", 8),
    ("offsetfetch", 9),
    ("findcoordinator", 10),
    ("joingroup", 11),
    ("heartbeat", 12),
    ("leavegroup", 13),
    ("syncgroup", 14),
    ("describegroups", 15),
    ("listgroups", 16),
    ("saslhandshake", 17),
    ("apiversions", 18),
    ("createtopics", 19),
    ("deletetopics", 20),
    ("deleterecords", 21),
    ("initproducerid", 22),
    ("offsetforleaderepoch", 23),
    ("addpartitionstotxn", 24),
    ("addoffsetstotxn", 25),
    ("endtxn", 26),
    ("writetxnmarkers", 27),
    ("txnoffsetcommit", 28),
    ("describeacls", 29),
    ("createacls", 30),
    ("deleteacls", 31),
    ("describeconfigs", 32),
    ("alterconfigs", 33),
];

/// The APIs a role stands for; `None` for an unknown role. Upper and lower case are the same.
#[must_use]
pub fn role_api_keys(role: &str) -> Option<&'static [i16]> {
    match role.to_ascii_lowercase().as_str() {
        "produce" => Some(&[0, 3, 18]),
        "consume" => Some(&[1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 18]),
        _ => None,
    }
}
