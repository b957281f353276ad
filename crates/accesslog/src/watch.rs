//! Telling what becomes of the entries that are not sent.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::stats::{Dropped, Stats};

/// At most one loss is told of in that time: a receiver that hardly keeps up loses some every moment.
const PAUSE: Duration = Duration::from_secs(60);

/// Is told of entries that are dropped, on the queue's thread.
pub trait Observer: Send + Sync {
    /// Entries are being dropped, and were not before.
    fn lost(&self, path: &Path, reason: Dropped);

    /// Entries are sent again, after `dropped` were not.
    fn found(&self, path: &Path, dropped: u64);

    /// More entries were dropped.
    fn dropped(&self, count: u64);
}

/// Compares counts with those before.
pub(crate) struct Watch {
    path: PathBuf,
    observer: Option<&'static dyn Observer>,
    before: Stats,
    /// Entries dropped when the loss began that was told of and goes on.
    lost_at: Option<u64>,
    next: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(path: &Path, observer: Option<&'static dyn Observer>) -> Self {
        Self { path: path.to_owned(), observer, before: Stats::default(), lost_at: None, next: None }
    }

    /// Entries were sent or dropped.
    pub(crate) fn look(&mut self, stats: Stats, now: Instant) {
        let Some(observer) = self.observer else { return };
        let before = std::mem::replace(&mut self.before, stats);
        let count = stats.dropped() - before.dropped();
        if count > 0 {
            observer.dropped(count);
            if self.lost_at.is_none() && self.next.is_none_or(|next| now >= next) {
                self.lost_at = Some(before.dropped());
                self.next = Some(now + PAUSE);
                observer.lost(&self.path, reason(&before, &stats));
            }
        } else if stats.sent > before.sent
            && let Some(lost_at) = self.lost_at.take()
        {
            observer.found(&self.path, stats.dropped() - lost_at);
        }
    }
}

fn reason(before: &Stats, now: &Stats) -> Dropped {
    if now.failed > before.failed {
        Dropped::Failed
    } else if now.absent > before.absent {
        Dropped::Absent
    } else if now.full > before.full {
        Dropped::Full
    } else {
        Dropped::Oversized
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Told {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }

        fn tell(&self, what: String) {
            self.0.lock().unwrap().push(what);
        }
    }

    impl Observer for Told {
        fn lost(&self, path: &Path, reason: Dropped) {
            self.tell(format!("{} {reason}", path.display()));
        }

        fn found(&self, _path: &Path, dropped: u64) {
            self.tell(format!("found after {dropped}"));
        }

        fn dropped(&self, count: u64) {
            self.tell(format!("dropped {count}"));
        }
    }

    #[test]
    fn a_loss_and_its_end_are_told_once() {
        let told: &'static Told = Box::leak(Box::default());
        let mut watch = Watch::new(Path::new("/log"), Some(told));
        let now = Instant::now();
        watch.look(Stats { absent: 2, ..Stats::default() }, now);
        assert_eq!(told.take(), ["dropped 2", "/log absent"]);
        watch.look(Stats { absent: 5, ..Stats::default() }, now);
        assert_eq!(told.take(), ["dropped 3"]);
        watch.look(Stats { absent: 5, sent: 1, ..Stats::default() }, now);
        assert_eq!(told.take(), ["found after 5"]);
        watch.look(Stats { absent: 5, sent: 2, ..Stats::default() }, now);
        assert!(told.take().is_empty());
    }

    #[test]
    fn losses_in_a_row_are_counted_and_told_now_and_then() {
        let told: &'static Told = Box::leak(Box::default());
        let mut watch = Watch::new(Path::new("/log"), Some(told));
        let start = Instant::now();
        let mut stats = Stats::default();
        for number in 0..120 {
            let now = start + Duration::from_secs(number);
            stats.full += 1;
            watch.look(stats, now);
            stats.sent += 1;
            watch.look(stats, now);
        }
        let told = told.take();
        assert_eq!(told.iter().filter(|line| *line == "dropped 1").count(), 120);
        assert_eq!(told.iter().filter(|line| *line == "/log full").count(), 2);
    }
}
