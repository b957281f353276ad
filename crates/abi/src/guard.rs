//! What happens to a panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::log::{Level, log};
use crate::text::ConfigError;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// The counter `panics` of one kind of filter.
///
/// INVARIANT: every configuration of the kind defines it before all else, so it has the same number in all of them.
pub(crate) struct PanicCounter<C>(OnceLock<C>);

impl<C: Copy + PartialEq> PanicCounter<C> {
    pub(crate) const NAME: &str = "panics";

    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Notes the number that a configuration got.
    pub(crate) fn defined(&self, counter: C) -> Result<(), ConfigError> {
        if *self.0.get_or_init(|| counter) == counter {
            Ok(())
        } else {
            Err(ConfigError("Envoy numbers the first counter of each configuration differently".to_owned()))
        }
    }

    /// The number; `None` before the first configuration.
    pub(crate) fn get(&self) -> Option<C> {
        self.0.get().copied()
    }
}

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
