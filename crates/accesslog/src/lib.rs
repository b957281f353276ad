//! Access log entries and the socket they go to.
