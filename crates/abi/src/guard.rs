//! What happens to a panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::log::{Level, log};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics caught since the module was loaded.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Runs a hook's body; a panic becomes a log line, a count, and the hook's own way to fail closed.
pub(crate) fn guarded<T>(hook: &str, body: impl FnOnce() -> T, closed: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(panic) => {
            PANICS.fetch_add(1, Ordering::Relaxed);
            log(Level::Critical, &format!("{hook} panicked: {}", message(panic.as_ref())));
            closed()
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}
