//! Errors of the system in words.

use std::io;

/// What went wrong, without the number that the standard library adds.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.find(" (os error ") {
        text.truncate(end);
    }
    text
}
