//! Commands and groups of commands that rules name.

/// A name that rules use, the commands of the text protocol and the opcodes of the binary protocol it stands for.
struct Group(&'static str, &'static [&'static str], &'static [u8]);

const STORAGE: &[&str] = &["add", "set", "replace", "append", "prepend", "cas", "incr", "decr"];
const STORAGE_CODES: &[u8] = &[1, 2, 3, 5, 6, 14, 15, 17, 18, 19, 21, 22, 25, 26];
const WRITE: &[&str] = &["add", "set", "replace", "append", "prepend", "cas", "incr", "decr", "delete", "touch"];
const WRITE_CODES: &[u8] = &[1, 2, 3, 4, 5, 6, 14, 15, 17, 18, 19, 20, 21, 22, 25, 26, 28];

/// The reference's groups; `append` and `prepend` (14, 15) are in the groups of the binary protocol too, as in those of the text
/// protocol.
const GROUPS: &[Group] = &[
    Group("add", &["add"], &[2, 18]),
    Group("set", &["set"], &[1, 17]),
    Group("replace", &["replace"], &[3, 19]),
    Group("append", &["append"], &[14, 25]),
    Group("prepend", &["prepend"], &[15, 26]),
    Group("cas", &["cas"], &[]),
    Group("incr", &["incr"], &[5, 21]),
    Group("decr", &["decr"], &[6, 22]),
    Group("storage", STORAGE, STORAGE_CODES),
    Group("get", &["get", "gets"], &[0, 9, 12, 13]),
    Group("delete", &["delete"], &[4, 20]),
    Group("touch", &["touch"], &[28]),
    Group("gat", &["gat", "gats"], &[29, 30, 35, 36]),
    Group("writeGroup", WRITE, WRITE_CODES),
    Group("slabs", &["slabs"], &[]),
    Group("lru", &["lru"], &[]),
    Group("lru_crawler", &["lru_crawler"], &[]),
    Group("watch", &["watch"], &[]),
    Group("stats", &["stats"], &[16]),
    Group("flush_all", &["flush_all"], &[8, 24]),
    Group("cache_memlimit", &["cache_memlimit"], &[]),
    Group("version", &["version"], &[11]),
    Group("misbehave", &["misbehave"], &[]),
    Group("quit", &["quit"], &[7, 23]),
    Group("noop", &[], &[10]),
    Group("verbosity", &["verbosity"], &[27]),
    Group("sasl-list-mechs", &[], &[32]),
    Group("sasl-auth", &[], &[33]),
    Group("sasl-step", &[], &[34]),
    Group("rget", &[], &[48]),
    Group("rset", &[], &[49]),
    Group("rsetq", &[], &[50]),
    Group("rappend", &[], &[51]),
    Group("rappendq", &[], &[52]),
    Group("rprepend", &[], &[53]),
    Group("rprependq", &[], &[54]),
    Group("rdelete", &[], &[55]),
    Group("rdeleteq", &[], &[56]),
    Group("rincr", &[], &[57]),
    Group("rincrq", &[], &[58]),
    Group("rdecr", &[], &[59]),
    Group("rdecrq", &[], &[60]),
    Group("set-vbucket", &[], &[61]),
    Group("get-vbucket", &[], &[62]),
    Group("del-vbucket", &[], &[63]),
    Group("tap-connect", &[], &[64]),
    Group("tap-mutation", &[], &[65]),
    Group("tap-delete", &[], &[66]),
    Group("tap-flush", &[], &[67]),
    Group("tap-opaque", &[], &[68]),
    Group("tap-vbucket-set", &[], &[69]),
    Group("tap-checkpoint-start", &[], &[70]),
    Group("tap-checkpoint-end", &[], &[71]),
];

/// The commands and opcodes of a name that rules use.
pub(crate) fn group(name: &str) -> Option<(&'static [&'static str], &'static [u8])> {
    GROUPS.iter().find(|group| group.0 == name).map(|group| (group.1, group.2))
}
