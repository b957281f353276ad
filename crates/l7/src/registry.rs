//! Parsers by name.

use thiserror::Error;

use crate::info::ConnectionInfo;
use crate::parser::Parser;
use crate::{cassandra, kafka, memcache, mongo, mysql, r2d2, test_parsers};

/// Names of the built-in parsers, as `l7_proto` gives them.
pub const PARSERS: &[&str] = &[
    "cassandra",
    mongo::NAME,
    mysql::NAME,
    "kafka",
    "memcache",
    "r2d2",
    "test.blockparser",
    "test.headerparser",
    "test.lineparser",
    "test.panicparser",
    "test.passer",
];

/// What connections learn from each other. One per process; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    pub(crate) topic_ids: kafka::TopicIds,
}

/// Why a connection gets no parser.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CreateError {
    /// A name that is not one of [`PARSERS`].
    #[error("there is no L7 parser {0:?}; the built-in ones are {known}", known = PARSERS.join(", "))]
    Unknown(String),
    /// The parser wants no such connection.
    #[error("parser {0} refuses the connection")]
    Refused(&'static str),
}

/// Makes the parser of a new connection.
pub fn create(name: &str, info: &ConnectionInfo, shared: &Shared) -> Result<Box<dyn Parser>, CreateError> {
    Ok(match name {
        mongo::NAME => Box::new(mongo::Mongo::default()),
        mysql::NAME => Box::<mysql::Mysql>::default(),
        cassandra::NAME => Box::<cassandra::Cassandra>::default(),
        kafka::NAME => Box::new(kafka::Kafka::new(info, shared.topic_ids.clone())),
        memcache::NAME => Box::<memcache::Memcache>::default(),
        r2d2::NAME => Box::new(r2d2::R2d2),
        // The reference's way to test a refusal.
        test_parsers::PASSER if info.policy_name == "invalid-policy" => {
            return Err(CreateError::Refused(test_parsers::PASSER));
        }
        test_parsers::PASSER => Box::new(test_parsers::Passer),
        test_parsers::LINE => Box::<test_parsers::Lines>::default(),
        test_parsers::BLOCK => Box::<test_parsers::Blocks>::default(),
        test_parsers::HEADER => Box::new(test_parsers::Headers),
        test_parsers::PANIC => Box::new(test_parsers::Panics),
        _ => return Err(CreateError::Unknown(name.to_owned())),
    })
}
