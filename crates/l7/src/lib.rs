//! Parsers of L7 protocols, without I/O: bytes in, operations out.
