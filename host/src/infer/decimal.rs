//! Numbers by their text: equal if their exact values are, and related by factors that no `f64` rounds.

use std::fmt;

/// A number: digits without zeros at either end, times a power of ten. Zero has no digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// The number of a JSON text; none for another text, or an exponent beyond 64 bits.
    pub(super) fn parse(text: &str) -> Option<Decimal> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let trimmed = all.trim_end_matches('0');
        let zeros = i64::try_from(all.len() - trimmed.len()).ok()?;
        let places = i64::try_from(fraction.len()).ok()?;
        let digits = trimmed.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Decimal { negative: false, digits, exponent: 0 });
        }
        Some(Decimal { negative, digits, exponent: exponent.checked_sub(places)?.checked_add(zeros)? })
    }

    /// Factor and offset with `to = from × factor + offset` for both pairs; none if no short decimals say it.
    pub(super) fn line(pairs: [(&Decimal, &Decimal); 2]) -> Option<(Decimal, Decimal)> {
        let least = pairs.iter().flat_map(|(from, to)| [from.exponent, to.exponent]).min()?;
        let [[x1, y1], [x2, y2]] = pairs.map(|(from, to)| [from, to].map(|number| number.units(least)));
        let (x1, y1, x2, y2) = (x1?, y1?, x2?, y2?);
        let factor = Decimal::ratio(y2.checked_sub(y1)?, x2.checked_sub(x1)?)?;
        // In units of ten to the `least`: y1 - x1 × factor.
        let scale = u32::try_from(-factor.exponent.min(0)).ok()?;
        let factor_units = factor.units(-i64::from(scale))?;
        let power = 10i128.checked_pow(scale)?;
        let rest = y1.checked_mul(power)?.checked_sub(x1.checked_mul(factor_units)?)?;
        Some((factor, Decimal::of(rest, least - i64::from(scale))))
    }

    /// The factor that takes one number to the other.
    pub(super) fn factor(from: &Decimal, to: &Decimal) -> Option<Decimal> {
        let least = from.exponent.min(to.exponent);
        Decimal::ratio(to.units(least)?, from.units(least)?)
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// Whether it is one.
    pub(super) fn is_one(&self) -> bool {
        *self == Decimal::of(1, 0)
    }

    /// How many powers of ten it is away from zero: 3 for 1000 to 9999.
    pub(super) fn magnitude(&self) -> i64 {
        self.exponent + i64::try_from(self.digits.len()).unwrap_or(0) - 1
    }

    /// A quotient as a decimal of at most twelve digits behind the point.
    fn ratio(over: i128, under: i128) -> Option<Decimal> {
        if over == 0 || under == 0 {
            return None;
        }
        (0..=12).find_map(|places| {
            let over = over.checked_mul(10i128.checked_pow(places)?)?;
            (over % under == 0).then(|| Decimal::of(over / under, -i64::from(places)))
        })
    }

    fn of(units: i128, exponent: i64) -> Decimal {
        let all = units.unsigned_abs().to_string();
        let digits = all.trim_end_matches('0');
        if digits.is_empty() {
            return Decimal { negative: false, digits: String::new(), exponent: 0 };
        }
        let zeros = i64::try_from(all.len() - digits.len()).unwrap_or(0);
        Decimal { negative: units < 0, digits: digits.to_owned(), exponent: exponent.saturating_add(zeros) }
    }

    /// How many ten to the `exponent` it is.
    fn units(&self, exponent: i64) -> Option<i128> {
        if self.is_zero() {
            return Some(0);
        }
        let power = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        let units = self.digits.parse::<i128>().ok()?.checked_mul(10i128.checked_pow(power)?)?;
        Some(if self.negative { -units } else { units })
    }
}

/// As JSON and TOML write it; with an exponent where plain digits would be more than twenty.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decimal { negative, digits, exponent } = self;
        let sign = if *negative { "-" } else { "" };
        let count = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        let power = |n: i64| "0".repeat(usize::try_from(n).unwrap_or(0));
        match *exponent {
            _ if digits.is_empty() => f.write_str("0"),
            0.. if count + exponent <= 20 => write!(f, "{sign}{digits}{}", power(*exponent)),
            _ if *exponent < 0 && *exponent >= -20 && count + exponent > 0 => {
                let (whole, fraction) = digits.split_at(usize::try_from(count + exponent).unwrap_or(0));
                write!(f, "{sign}{whole}.{fraction}")
            }
            _ if *exponent < 0 && *exponent >= -20 => write!(f, "{sign}0.{}{digits}", power(-exponent - count)),
            _ => write!(f, "{sign}{digits}e{exponent}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn spellings_of_one_value_are_equal() {
        for (one, other) in [("1", "1.0"), ("1e2", "100"), ("-0", "0.0"), ("0.10", "1E-1"), ("1e400", "10e399")] {
            assert_eq!(number(one), number(other), "{one} {other}");
        }
        assert_ne!(number("9007199254740993"), number("9007199254740992"));
        for no in ["", "-", "01", "1.", ".5", "0x1", "1e", "+1", "1e99999999999999999999"] {
            assert_eq!(Decimal::parse(no), None, "{no:?}");
        }
    }

    #[test]
    fn numbers_are_written_as_json_has_them() {
        for text in ["0", "1000", "0.001", "-1.8", "12.5", "1e400", "10000000000000000000", "1e20"] {
            assert_eq!(number(text).to_string(), text);
        }
    }

    #[test]
    fn a_factor_is_exact_or_none() {
        let factor = |from, to| Decimal::factor(&number(from), &number(to)).map(|factor| factor.to_string());
        assert_eq!(factor("9007199254740993", "9007199254740993000").as_deref(), Some("1000"));
        assert_eq!(factor("29", "0.29").as_deref(), Some("0.01"));
        assert_eq!(factor("3", "1"), None);
        assert_eq!(factor("0", "1"), None);
    }

    #[test]
    fn two_pairs_make_a_line() {
        let [x1, y1, x2, y2] = ["21.5", "70.7", "-40", "-40"].map(number);
        let (factor, offset) = Decimal::line([(&x1, &y1), (&x2, &y2)]).unwrap();
        assert_eq!((factor.to_string().as_str(), offset.to_string().as_str()), ("1.8", "32"));
    }
}
