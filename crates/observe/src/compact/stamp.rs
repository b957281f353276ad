//! Points in time as Hubble prints them.

use std::fmt::Write as _;

/// From March on: so the day of a leap year is the last of its year.
const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];

/// Days of 400 years of the Gregorian calendar, and days from 1 March of the year 0 to 1 January 1970.
const ERA: u64 = 146_097;
const EPOCH: u64 = 719_468;

/// Appends month, day and time in UTC of `timestamp`, in nanoseconds since the Unix epoch: "Nov 23 10:00:00.123".
pub(super) fn print(timestamp: u64, out: &mut String) {
    let milliseconds = timestamp / 1_000_000;
    let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    let (month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    // Writing to a String does not fail.
    let _ = write!(out, "{month} {day:2} {hour:02}:{minute:02}:{second:02}.{milliseconds:03}");
}

/// Month and day, `days` after 1 January 1970.
fn date(days: u64) -> (&'static str, u64) {
    let day_of_era = (days + EPOCH) % ERA;
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    // Five months have 153 days, from March as from August.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    (MONTHS[(month % 12) as usize], day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(timestamp: u64) -> String {
        let mut out = String::new();
        print(timestamp, &mut out);
        out
    }

    #[test]
    fn times_are_printed_in_utc() {
        for (seconds, expected) in [
            (0, "Jan  1 00:00:00.000"),
            (951_782_400, "Feb 29 00:00:00.000"),
            (951_868_799, "Feb 29 23:59:59.000"),
            (951_868_800, "Mar  1 00:00:00.000"),
            (978_307_199, "Dec 31 23:59:59.000"),
            (978_307_200, "Jan  1 00:00:00.000"),
            (4_107_542_399, "Feb 28 23:59:59.000"),
            (4_107_542_400, "Mar  1 00:00:00.000"),
            (18_446_744_073, "Jul 21 23:34:33.000"),
        ] {
            assert_eq!(printed(seconds * 1_000_000_000), expected);
        }
        assert_eq!(printed(1_795_428_000_123_999_999), "Nov 23 10:00:00.123");
        assert_eq!(printed(u64::MAX), "Jul 21 23:34:33.709");
    }

    #[test]
    fn every_day_of_a_leap_year_has_its_date() {
        let lengths = [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29];
        let days = MONTHS.iter().zip(lengths).flat_map(|(month, length)| (1..=length).map(move |day| (*month, day)));
        // From 1 March 1999.
        for (number, expected) in (10_651..).zip(days) {
            assert_eq!(date(number), expected);
        }
    }
}
