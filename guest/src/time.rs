//! Points in time as servers write them: Unix time, RFC 3339, HTTP dates (RFC 9110, 5.6.7) and strftime formats.
//! Days become dates by Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".

use crate::number::Decimal;

/// How a point in time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// A number of units of `10^-digits` seconds since 1970: 0, 3 or 6 digits.
    Unix { digits: u32 },
    /// `2017-02-23T12:09:00.5Z`: written in UTC with as many digits as are needed; any offset is read.
    Rfc3339,
    /// `Thu, 23 Feb 2017 12:09:00 GMT`.
    HttpDate,
    /// A strftime format; text is written in the first zone.
    Format { items: Vec<Item>, zones: Vec<Zone> },
}

/// A declared time zone: the name that stands in the text and its offset from UTC in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) name: String,
    pub(crate) offset: i32,
}

/// A piece of a strftime format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Text(String),
    Year,
    Month,
    MonthName,
    MonthFull,
    Day,
    DayBlank,
    Weekday,
    WeekdayFull,
    Hour,
    Hour12,
    Minute,
    Second,
    Half,
    Fraction(u32),
    Epoch,
    Offset,
    ZoneName,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const NANOS: i128 = 1_000_000_000;

impl TimeFormat {
    pub(crate) const NAMES: [&str; 5] = ["unix-s", "unix-ms", "unix-us", "rfc3339", "http-date"];

    /// A format by its name in a pack.
    pub(crate) fn named(name: &str) -> Option<TimeFormat> {
        Some(match name {
            "unix-s" => TimeFormat::Unix { digits: 0 },
            "unix-ms" => TimeFormat::Unix { digits: 3 },
            "unix-us" => TimeFormat::Unix { digits: 6 },
            "rfc3339" => TimeFormat::Rfc3339,
            "http-date" => TimeFormat::HttpDate,
            _ => return None,
        })
    }

    /// A strftime format with its zones, in the order of declaration.
    pub(crate) fn strftime(format: &str, mut zones: Vec<Zone>) -> Result<TimeFormat, String> {
        let items = Item::parse(format)?;
        if zones.is_empty() {
            if items.contains(&Item::ZoneName) {
                return Err(
                    "%Z needs zones = { PST = \"-08:00\" }: names of zones mean nothing by themselves".to_owned()
                );
            }
            zones.push(Zone { name: "UTC".to_owned(), offset: 0 });
        }
        let has = |item| items.contains(&item);
        let date = has(Item::Year)
            && (has(Item::Month) || has(Item::MonthName) || has(Item::MonthFull))
            && (has(Item::Day) || has(Item::DayBlank));
        let clock = (has(Item::Hour) || has(Item::Hour12) && has(Item::Half)) && has(Item::Minute) && has(Item::Second);
        let fixed = has(Item::Epoch) || date && clock;
        if !fixed {
            return Err(
                "the format leaves the point in time open: it needs a year, month, day, hour, minute and second"
                    .to_owned(),
            );
        }
        Ok(TimeFormat::Format { items, zones })
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, TimeFormat::Unix { .. })
    }

    /// How many decimals of a second this form can hold.
    pub(crate) fn precision(&self) -> u32 {
        match self {
            TimeFormat::Unix { digits } => *digits,
            TimeFormat::Rfc3339 => 9,
            TimeFormat::HttpDate => 0,
            TimeFormat::Format { items, .. } => {
                items.iter().map(|item| if let Item::Fraction(digits) = item { *digits } else { 0 }).max().unwrap_or(0)
            }
        }
    }

    /// What is expected where this form is read, for people.
    pub(crate) fn expectation(&self) -> &'static str {
        match self {
            TimeFormat::Unix { .. } => "a number of Unix time",
            TimeFormat::Rfc3339 => "an RFC 3339 date",
            TimeFormat::HttpDate => "an HTTP date",
            TimeFormat::Format { .. } => "a date in the op's format",
        }
    }

    /// Reads the nanoseconds since 1970 out of a text (of a number, or the contents of a string).
    pub(crate) fn read(&self, text: &str) -> Option<i128> {
        match self {
            TimeFormat::Unix { digits } => Decimal::parse(text.as_bytes())?.floor_units(i64::from(*digits) - 9),
            TimeFormat::Rfc3339 => read_rfc3339(text),
            TimeFormat::HttpDate => {
                let items = Item::parse("%a, %d %b %Y %H:%M:%S GMT").ok()?;
                read_items(&items, &[Zone { name: "GMT".to_owned(), offset: 0 }], text)
            }
            TimeFormat::Format { items, zones } => read_items(items, zones, text),
        }
    }

    /// Writes a point in time, as the text of a number or the contents of a string. None beyond the years 0 to 9999.
    pub(crate) fn write(&self, nanos: i128) -> Option<String> {
        if let TimeFormat::Unix { digits } = self {
            return Some(nanos.div_euclid(10i128.pow(9 - digits)).to_string());
        }
        let seconds = i64::try_from(nanos.div_euclid(NANOS)).ok()?;
        if !(-62_167_219_200..253_402_300_800).contains(&seconds) {
            return None;
        }
        let fraction = nanos.rem_euclid(NANOS) as u32;
        Some(match self {
            TimeFormat::Rfc3339 => {
                let digits = format!("{fraction:09}");
                let digits = digits.trim_end_matches('0');
                let point = if digits.is_empty() { "" } else { "." };
                let at = Civil::of(seconds);
                format!(
                    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{point}{digits}Z",
                    at.year, at.month, at.day, at.hour, at.minute, at.second
                )
            }
            TimeFormat::HttpDate => {
                let at = Civil::of(seconds);
                let (day, month) = (&DAYS.get(at.weekday)?[..3], &MONTHS.get(at.month as usize - 1)?[..3]);
                format!(
                    "{day}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
                    at.day, at.year, at.hour, at.minute, at.second
                )
            }
            TimeFormat::Format { items, zones } => write_items(items, zones.first()?, seconds, fraction)?,
            TimeFormat::Unix { .. } => return None,
        })
    }
}

impl Zone {
    /// Reads an offset such as `-08:00`, `+0530` or `Z`.
    pub(crate) fn offset(text: &str) -> Option<i32> {
        if matches!(text, "Z" | "z") {
            return Some(0);
        }
        let (sign, digits) = match text.split_at_checked(1)? {
            ("+", digits) => (1, digits),
            ("-", digits) => (-1, digits),
            _ => return None,
        };
        let (hours, minutes) = digits.split_once(':').or_else(|| digits.split_at_checked(2))?;
        if hours.len() != 2 || minutes.len() != 2 || !(hours.to_owned() + minutes).bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }
}

impl Item {
    fn parse(format: &str) -> Result<Vec<Item>, String> {
        let mut items = Vec::new();
        let mut text = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            let directive = chars.next();
            let item = match directive {
                Some('Y') => Item::Year,
                Some('m') => Item::Month,
                Some('b' | 'h') => Item::MonthName,
                Some('B') => Item::MonthFull,
                Some('d') => Item::Day,
                Some('e') => Item::DayBlank,
                Some('a') => Item::Weekday,
                Some('A') => Item::WeekdayFull,
                Some('H') => Item::Hour,
                Some('I') => Item::Hour12,
                Some('M') => Item::Minute,
                Some('S') => Item::Second,
                Some('p') => Item::Half,
                Some('s') => Item::Epoch,
                Some('z') => Item::Offset,
                Some('Z') => Item::ZoneName,
                Some(digit @ ('3' | '6' | '9')) if chars.next() == Some('f') => {
                    Item::Fraction(digit.to_digit(10).unwrap_or(9))
                }
                Some('T') => {
                    flush(&mut items, &mut text);
                    items.extend([
                        Item::Hour,
                        Item::Text(":".into()),
                        Item::Minute,
                        Item::Text(":".into()),
                        Item::Second,
                    ]);
                    continue;
                }
                Some('F') => {
                    flush(&mut items, &mut text);
                    items.extend([Item::Year, Item::Text("-".into()), Item::Month, Item::Text("-".into()), Item::Day]);
                    continue;
                }
                Some('%') => {
                    text.push('%');
                    continue;
                }
                _ => {
                    let found = directive.map(String::from).unwrap_or_default();
                    return Err(format!(
                        "%{found} is not supported: use Y m d e b B a A H I M S p s z Z T F 3f 6f 9f %"
                    ));
                }
            };
            flush(&mut items, &mut text);
            items.push(item);
        }
        flush(&mut items, &mut text);
        Ok(items)
    }
}

fn flush(items: &mut Vec<Item>, text: &mut String) {
    if !text.is_empty() {
        items.push(Item::Text(std::mem::take(text)));
    }
}

/// Unix time as RFC 3339 or back, without a detour: true if that is done, and if the way back makes the same text again.
pub(crate) fn at_once(from: &TimeFormat, to: &TimeFormat, text: &[u8], out: &mut Vec<u8>) -> bool {
    let done = match (from, to) {
        (TimeFormat::Unix { digits }, TimeFormat::Rfc3339) => unix_as_rfc3339(*digits, text, out),
        (TimeFormat::Rfc3339, TimeFormat::Unix { digits }) => rfc3339_as_unix(*digits, text, out),
        _ => None,
    };
    done.is_some()
}

/// A number that is written as Unix time is, from 1970 to 9999.
fn unix_as_rfc3339(digits: u32, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let plain = matches!(text, [b'0'] | [b'1'..=b'9', ..]) && text.len() <= 18 && text.iter().all(u8::is_ascii_digit);
    let number = plain.then(|| text.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))?;
    let unit = 10i64.pow(digits);
    let seconds = (number / unit < 253_402_300_800).then_some(number / unit)?;
    let at = Civil::of(seconds);
    out.clear();
    out.push(b'"');
    push(out, at.year, 4);
    for (mark, part) in [(b'-', at.month), (b'-', at.day), (b'T', at.hour), (b':', at.minute), (b':', at.second)] {
        out.push(mark);
        push(out, part, 2);
    }
    if number % unit != 0 {
        out.push(b'.');
        push(out, number % unit, digits as usize);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.extend_from_slice(b"Z\"");
    Some(())
}

/// `"2017-02-23T12:09:00Z"`, from 1970 on.
fn rfc3339_as_unix(digits: u32, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let &[b'"', y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1, b'Z', b'"'] =
        text
    else {
        return None;
    };
    let number = |digits: &[u8]| {
        let plain = digits.iter().all(u8::is_ascii_digit);
        plain.then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    };
    let civil = Civil {
        year: number(&[y0, y1, y2, y3])?,
        month: number(&[m0, m1])?,
        day: number(&[d0, d1])?,
        hour: number(&[h0, h1])?,
        minute: number(&[n0, n1])?,
        second: number(&[s0, s1])?,
        weekday: 0,
    };
    let unix = civil.seconds().filter(|seconds| *seconds >= 0)? * 10i64.pow(digits);
    out.clear();
    push(out, unix, unix.checked_ilog10().map_or(1, |log| log as usize + 1));
    Some(())
}

/// Appends so many digits of a number.
fn push(out: &mut Vec<u8>, mut number: i64, width: usize) {
    let end = out.len() + width;
    out.resize(end, b'0');
    for digit in out.iter_mut().rev().take(width) {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A point in time in parts.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    weekday: usize,
}

impl Civil {
    fn of(seconds: i64) -> Civil {
        let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Civil {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: clock / 3600,
            minute: clock / 60 % 60,
            second: clock % 60,
            weekday: (days + 4).rem_euclid(7) as usize,
        }
    }

    /// Seconds since 1970, if the parts are a point in time.
    fn seconds(&self) -> Option<i64> {
        if !(1..=12).contains(&self.month)
            || !(0..24).contains(&self.hour)
            || !(0..60).contains(&self.minute)
            || !(0..60).contains(&self.second)
        {
            return None;
        }
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month_from_march = (self.month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + self.day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + of_era - 719_468;
        let seconds = days * 86_400 + self.hour * 3600 + self.minute * 60 + self.second;
        let back = Civil::of(seconds);
        (back.day == self.day && back.month == self.month).then_some(seconds) // no 30th of February
    }
}

fn read_rfc3339(text: &str) -> Option<i128> {
    let (head, rest) = text.split_at_checked(19)?;
    let separator = *head.as_bytes().get(10)?;
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let part = |range: std::ops::Range<usize>| {
        number(head.get(range)?, usize::MAX).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
    };
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| head.as_bytes().get(*at) != Some(mark)) {
        return None;
    }
    let civil = Civil {
        year: part(0..4)?,
        month: part(5..7)?,
        day: part(8..10)?,
        hour: part(11..13)?,
        minute: part(14..16)?,
        second: part(17..19)?,
        weekday: 0,
    };
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, zone) = rest.split_at_checked(digits)?;
            (fraction_nanos(digits)?, zone)
        }
        None => (0, rest),
    };
    if !matches!(zone, "Z" | "z") && zone.len() != 6 {
        return None;
    }
    let seconds = civil.seconds()? - i64::from(Zone::offset(zone)?);
    Some(i128::from(seconds) * NANOS + fraction)
}

fn fraction_nanos(digits: &str) -> Option<i128> {
    if digits.is_empty() {
        return None;
    }
    let digits: String = digits.chars().chain("000000000".chars()).take(9).collect();
    digits.parse().ok()
}

/// A run of at most `width` digits at the start of a text, and what follows.
fn number(text: &str, width: usize) -> Option<(i64, &str)> {
    let digits = text.bytes().take(width).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    Some((digits.parse().ok()?, rest))
}

fn name<'t>(text: &'t str, names: &[&str], length: usize) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = if length == 0 { name } else { name.get(..length)? };
        let head = text.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then(|| (index, text.get(name.len()..).unwrap_or_default()))
    })
}

fn read_items(items: &[Item], zones: &[Zone], text: &str) -> Option<i128> {
    let mut at = Civil { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, weekday: 0 };
    let (mut fraction, mut offset, mut epoch, mut half) = (0i128, zones.first()?.offset, None, None);
    let mut rest = text;
    for item in items {
        let value;
        match item {
            Item::Text(text) => rest = rest.strip_prefix(text.as_str())?,
            Item::Year => (at.year, rest) = number(rest, 4)?,
            Item::Month => (at.month, rest) = number(rest, 2)?,
            Item::MonthName | Item::MonthFull => {
                (value, rest) = name(rest, &MONTHS, if *item == Item::MonthName { 3 } else { 0 })?;
                at.month = value as i64 + 1;
            }
            Item::Day => (at.day, rest) = number(rest, 2)?,
            Item::DayBlank => (at.day, rest) = number(rest.trim_start_matches(' '), 2)?,
            Item::Weekday => (_, rest) = name(rest, &DAYS, 3)?,
            Item::WeekdayFull => (_, rest) = name(rest, &DAYS, 0)?,
            Item::Hour | Item::Hour12 => (at.hour, rest) = number(rest, 2)?,
            Item::Minute => (at.minute, rest) = number(rest, 2)?,
            Item::Second => (at.second, rest) = number(rest, 2)?,
            Item::Half => {
                (value, rest) = name(rest, &["AM", "PM"], 0)?;
                half = Some(value as i64);
            }
            Item::Fraction(digits) => {
                let (head, tail) = rest.split_at_checked(*digits as usize)?;
                fraction = head.bytes().all(|c| c.is_ascii_digit()).then(|| fraction_nanos(head))??;
                rest = tail;
            }
            Item::Epoch => {
                let (negative, digits) = rest.strip_prefix('-').map_or((false, rest), |digits| (true, digits));
                let (seconds, tail) = number(digits, 12)?;
                (epoch, rest) = (Some(if negative { -seconds } else { seconds }), tail);
            }
            Item::Offset => {
                let length = if rest.starts_with(['Z', 'z']) {
                    1
                } else if rest.as_bytes().get(3) == Some(&b':') {
                    6
                } else {
                    5
                };
                let (head, tail) = rest.split_at_checked(length)?;
                (offset, rest) = (Zone::offset(head)?, tail);
            }
            Item::ZoneName => {
                let named = zones.iter().filter(|zone| rest.starts_with(&zone.name));
                let zone = named.max_by_key(|zone| zone.name.len())?;
                (offset, rest) = (zone.offset, rest.get(zone.name.len()..)?);
            }
        }
    }
    if let Some(half) = half.filter(|_| items.contains(&Item::Hour12)) {
        at.hour = (1..=12).contains(&at.hour).then_some(at.hour % 12 + 12 * half)?;
    }
    let seconds = match epoch {
        Some(seconds) => seconds,
        None => at.seconds()? - i64::from(offset),
    };
    rest.is_empty().then_some(i128::from(seconds) * NANOS + fraction)
}

fn write_items(items: &[Item], zone: &Zone, seconds: i64, fraction: u32) -> Option<String> {
    let at = Civil::of(seconds + i64::from(zone.offset));
    let mut out = String::new();
    for item in items {
        out.push_str(&match item {
            Item::Text(text) => text.clone(),
            Item::Year => format!("{:04}", at.year),
            Item::Month => format!("{:02}", at.month),
            Item::MonthName => MONTHS.get(at.month as usize - 1)?.get(..3)?.to_owned(),
            Item::MonthFull => (*MONTHS.get(at.month as usize - 1)?).to_owned(),
            Item::Day => format!("{:02}", at.day),
            Item::DayBlank => format!("{:2}", at.day),
            Item::Weekday => DAYS.get(at.weekday)?.get(..3)?.to_owned(),
            Item::WeekdayFull => (*DAYS.get(at.weekday)?).to_owned(),
            Item::Hour => format!("{:02}", at.hour),
            Item::Hour12 => format!("{:02}", (at.hour + 11) % 12 + 1),
            Item::Minute => format!("{:02}", at.minute),
            Item::Second => format!("{:02}", at.second),
            Item::Half => if at.hour < 12 { "AM" } else { "PM" }.to_owned(),
            Item::Fraction(digits) => format!("{fraction:09}").get(..*digits as usize)?.to_owned(),
            Item::Epoch => seconds.to_string(),
            Item::Offset => {
                let (sign, minutes) = (if zone.offset < 0 { '-' } else { '+' }, zone.offset.abs() / 60);
                format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
            }
            Item::ZoneName => zone.name.clone(),
        });
    }
    Some(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const INCIDENT: i128 = 1_487_880_540 * NANOS;

    #[test]
    fn every_form_reads_what_it_writes() {
        let java = TimeFormat::strftime("%a %b %d %H:%M:%S %Z %Y", vec![Zone { name: "PST".into(), offset: -28_800 }])
            .unwrap();
        for (format, text) in [
            (TimeFormat::Unix { digits: 0 }, "1487880540"),
            (TimeFormat::Unix { digits: 3 }, "1487880540000"),
            (TimeFormat::Rfc3339, "2017-02-23T20:09:00Z"),
            (TimeFormat::HttpDate, "Thu, 23 Feb 2017 20:09:00 GMT"),
            (java, "Thu Feb 23 12:09:00 PST 2017"),
            (TimeFormat::strftime("%FT%T.%3f%z", vec![]).unwrap(), "2017-02-23T20:09:00.000+0000"),
            (TimeFormat::strftime("%A %e %B %Y %I:%M:%S %p", vec![]).unwrap(), "Thursday 23 February 2017 08:09:00 PM"),
        ] {
            assert_eq!(format.write(INCIDENT).unwrap(), text);
            assert_eq!(format.read(text), Some(INCIDENT), "{text}");
        }
    }

    #[test]
    fn offsets_fractions_and_years_before_1970_are_exact() {
        assert_eq!(TimeFormat::Rfc3339.read("2017-02-23T21:09:00+01:00"), Some(INCIDENT));
        assert_eq!(TimeFormat::Rfc3339.read("2017-02-23T20:09:00.25Z"), Some(INCIDENT + NANOS / 4));
        assert_eq!(TimeFormat::Rfc3339.write(-NANOS / 2).unwrap(), "1969-12-31T23:59:59.5Z");
        assert_eq!(TimeFormat::Unix { digits: 0 }.write(-1).unwrap(), "-1");
        assert_eq!(TimeFormat::Rfc3339.write(i128::MAX), None);
    }

    #[test]
    fn what_is_done_at_once_is_what_the_detour_does_and_comes_back() {
        let unix = [0, 3, 6].map(|digits| TimeFormat::Unix { digits });
        let moments = [0, 1, 951_782_399, 951_868_800, 1_487_880_540, 4_107_542_399, 253_402_300_799];
        let mut done = 0;
        for (unix, moment) in unix.iter().flat_map(|unix| moments.map(|moment| (unix, moment))) {
            for nanos in [0, 1_000, 250_000_000, 999_999_000].map(|nanos| moment * NANOS + nanos) {
                let text = unix.write(nanos).unwrap();
                let date = format!("\"{}\"", TimeFormat::Rfc3339.write(unix.read(&text).unwrap()).unwrap());
                let (mut there, mut back) = (Vec::new(), Vec::new());
                assert!(at_once(unix, &TimeFormat::Rfc3339, text.as_bytes(), &mut there), "{text}");
                assert_eq!(there, date.as_bytes(), "{text}");
                if at_once(&TimeFormat::Rfc3339, unix, date.as_bytes(), &mut back) {
                    assert_eq!(back, text.as_bytes());
                    done += 1;
                }
            }
        }
        assert!(done > 20);
    }

    #[test]
    fn what_has_two_spellings_is_not_done_at_once() {
        let unix = TimeFormat::Unix { digits: 0 };
        for text in ["-1", "01", "1.0", "1e3", "\"5\"", "253402300800", "1234567890123456789", "", "null"] {
            assert!(!at_once(&unix, &TimeFormat::Rfc3339, text.as_bytes(), &mut Vec::new()), "{text}");
        }
        for date in [
            "2017-02-23T20:09:00z",
            "2017-02-23 20:09:00Z",
            "2017-02-23T20:09:00.5Z",
            "2017-02-23T20:09:00+00:00",
            "2017-02-30T00:00:00Z",
            "2017-02-23T20:09:60Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(!at_once(&TimeFormat::Rfc3339, &unix, format!("\"{date}\"").as_bytes(), &mut Vec::new()), "{date}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "2017-02-30T00:00:00Z",
            "2017-02-23",
            "2017-02-23T24:00:00Z",
            "2017-02-23T20:09:00",
            "20170223T200900Z",
            "2017-02-23T20:09:00.Z",
            "2017-1a-23T20:09:00Z",
            "2017-02-23T20:09:00-0:800",
            "2017-02-23T20:09:00-08:0:",
            "é017-02-23T20:09:00Z",
        ] {
            assert_eq!(TimeFormat::Rfc3339.read(text), None, "{text}");
        }
        let zones = ["E", "EST"].map(|name| Zone { name: name.into(), offset: -18_000 }).to_vec();
        assert!(TimeFormat::strftime("%F %T %Z", zones).unwrap().read("2017-02-23 20:09:00 EST").is_some());
        assert!(TimeFormat::strftime("%Q", vec![]).is_err());
        assert!(TimeFormat::strftime("%Y-%m-%d", vec![]).is_err());
        assert!(TimeFormat::strftime("%F %T %Z", vec![]).unwrap_err().contains("zones"));
    }
}
