//! Moments in UTC as RFC 3339 writes them: read from signatures, written into status and logs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-23T20:46:15Z`.
pub(crate) fn written(moment: SystemTime) -> String {
    let seconds = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = date(i64::try_from(seconds / 86_400).unwrap_or(0));
    let [hour, minute, second] = [seconds % 86_400 / 3600, seconds % 3600 / 60, seconds % 60];
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A day (its beginning) or a moment that ends with `Z`; none for anything else.
pub(crate) fn read(text: &str) -> Option<SystemTime> {
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, date] = numbers(day, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let sound = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&date);
    if !sound || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = u64::try_from(days(i64::from(year), i64::from(month), i64::from(date))).ok()?;
    let seconds = days * 86_400 + u64::from(hour * 3600 + minute * 60 + second);
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn numbers<const N: usize>(text: &str, between: char, widths: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(between);
    let mut found = [0; N];
    for (number, width) in found.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// Days since 1970-01-01 of a date, in years that begin in March so that the leap day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469
}

/// The date of a day since 1970-01-01.
fn date(day: i64) -> (i64, i64, i64) {
    let within_era = (day + 719_468) % 146_097;
    let year_of_era = (within_era - within_era / 1460 + within_era / 36_524 - within_era / 146_096) / 365;
    let of_year = within_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + (day + 719_468) / 146_097 * 400 + i64::from(month < 3);
    (year, month, of_year - (153 * march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        for text in ["1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "2026-11-23T20:46:15Z", "2100-03-01T00:00:01Z"] {
            assert_eq!(read(text).map(written).as_deref(), Some(text));
        }
        assert_eq!(read("2026-11-23").map(written).as_deref(), Some("2026-11-23T00:00:00Z"));
        assert_eq!(read("2026-11-23"), UNIX_EPOCH.checked_add(Duration::from_secs(1_795_392_000)));
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in ["", "never", "2026-13-01", "2026-1-01", "2026-11-23T20:46Z", "2026-11-23T25:00:00Z", "+026-11-23"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
