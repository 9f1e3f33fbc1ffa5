//! Where and when something was measured: what a reader needs to judge a figure, and nothing that names a host.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine and the day of a measurement.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The day, UTC: `2026-11-23`.
    pub date: String,
    /// The model of the CPU.
    pub cpu: String,
    /// Logical cores that the process may use.
    pub cores: usize,
    /// The operating system's kernel and its release.
    pub kernel: String,
}

impl Machine {
    /// This machine, today. What the system doesn't tell is `unknown`.
    pub fn here() -> Machine {
        let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Machine {
            date: date(seconds / 86_400),
            cpu: cpu.unwrap_or_else(|| format!("unknown {}", std::env::consts::ARCH)),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: format!("{} {}", std::env::consts::OS, release.as_deref().map_or("unknown", number)),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {} cores, {}", self.date, self.cpu, self.cores, self.kernel)
    }
}

/// A release without what its builder calls it.
fn number(release: &str) -> &str {
    release.trim().split('-').next().unwrap_or_default()
}

/// The day that is so many days after 1970-01-01. Howard Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`: years start in March, so that the leap day is a year's last one.
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(17_220), "2017-02-23");
        assert_eq!(date(20_780), "2026-11-23");
    }
}
