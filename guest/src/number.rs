//! Exact decimal arithmetic on number text: no `f64`, no limit but the number of digits.

use num_bigint::{BigInt, Sign};

use crate::cursor::digits;

use crate::op::Direction;
use crate::tape::append;

/// Numbers that would need more digits than this are refused instead of computed: `1e99999999` is ten bytes long.
const MAX_DIGITS: i64 = 4096;

/// A decimal number: `mantissa × 10^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    mantissa: BigInt,
    exponent: i64,
}

/// What happens to digits that the target form has no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Towards minus infinity.
    Floor,
    /// Towards plus infinity.
    Ceil,
    /// Towards zero.
    Trunc,
    /// To the nearest, ties away from zero.
    Nearest,
}

impl Rounding {
    pub(crate) const NAMES: [(&str, Rounding); 4] = [
        ("floor", Rounding::Floor),
        ("ceil", Rounding::Ceil),
        ("trunc", Rounding::Trunc),
        ("nearest", Rounding::Nearest),
    ];
}

impl Decimal {
    pub(crate) fn integer(value: i64) -> Decimal {
        Decimal { mantissa: value.into(), exponent: 0 }
    }

    /// Reads RFC 8259 number text. None if it isn't one, or has more digits than can be worked with.
    pub(crate) fn parse(text: &[u8]) -> Option<Decimal> {
        let parts = Parts::of(text)?;
        let digits = [parts.whole, parts.fraction].concat();
        if digits.iter().all(|digit| *digit == b'0') {
            return Some(Decimal::integer(0));
        }
        let exponent = parts.exponent()?.checked_sub(parts.fraction.len() as i64)?;
        if digits.len() as i64 > MAX_DIGITS || !(-MAX_DIGITS..=MAX_DIGITS).contains(&exponent) {
            return None;
        }
        let mut mantissa = BigInt::parse_bytes(&digits, 10)?;
        if parts.negative {
            mantissa = -mantissa;
        }
        Some(Decimal { mantissa, exponent })
    }

    /// Whether two number texts have the same value, whatever their size.
    pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
        match (Parts::of(a), Parts::of(b)) {
            (Some(a), Some(b)) => match (a.significant(), b.significant()) {
                (None, None) => true,
                (Some((x, x_exponent)), Some((y, y_exponent))) => {
                    a.negative == b.negative && x_exponent == y_exponent && x == y
                }
                _ => false,
            },
            _ => false,
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.mantissa.sign() == Sign::NoSign
    }

    pub(crate) fn times(&self, other: &Decimal) -> Decimal {
        Decimal { mantissa: &self.mantissa * &other.mantissa, exponent: self.exponent + other.exponent }
    }

    pub(crate) fn plus(&self, other: &Decimal) -> Decimal {
        let exponent = self.exponent.min(other.exponent);
        Decimal { mantissa: self.shifted(exponent) + other.shifted(exponent), exponent }
    }

    pub(crate) fn negated(&self) -> Decimal {
        Decimal { mantissa: -&self.mantissa, exponent: self.exponent }
    }

    /// `self ÷ divisor` with `digits` decimals. The divisor isn't zero.
    pub(crate) fn divided(&self, divisor: &Decimal, digits: u32, rounding: Rounding) -> Decimal {
        let exponent = -i64::from(digits);
        // self.m × 10^self.e ÷ (d.m × 10^d.e) = q × 10^exponent
        let shift = self.exponent - divisor.exponent - exponent;
        let (top, bottom) = if shift >= 0 {
            (&self.mantissa * ten_to(shift), divisor.mantissa.clone())
        } else {
            (self.mantissa.clone(), &divisor.mantissa * ten_to(-shift))
        };
        Decimal { mantissa: rounded_quotient(top, bottom, rounding), exponent }
    }

    /// The greatest whole number of units of `10^exponent` in this number.
    pub(crate) fn floor_units(&self, exponent: i64) -> Option<i128> {
        let unit = Decimal { mantissa: 1.into(), exponent };
        self.divided(&unit, 0, Rounding::Floor).mantissa.try_into().ok()
    }

    /// As plain text without an exponent and without trailing zeros of the fraction.
    pub(crate) fn text(&self) -> String {
        if self.exponent >= 0 {
            return (&self.mantissa * ten_to(self.exponent)).to_string();
        }
        let places = self.exponent.unsigned_abs() as usize;
        let digits = format!("{:0>width$}", self.mantissa.magnitude().to_string(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.mantissa.sign() == Sign::Minus { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }
}

/// `number × factor + offset`, exact unless `upper_digits` says otherwise, and its inverse, rounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) factor: Decimal,
    pub(crate) offset: Decimal,
    /// Decimals kept by the division.
    pub(crate) digits: u32,
    /// Decimals kept by the multiplication, if it rounds.
    pub(crate) upper_digits: Option<u32>,
    pub(crate) rounding: Rounding,
    /// The factor as a whole number, where the plain integers of most records can take a short way.
    short: Option<i64>,
    /// The zeros of that factor, where it is a one and zeros.
    zeros: Option<usize>,
}

impl Scale {
    pub(crate) fn new(factor: Decimal, offset: Decimal, digits: u32, rounding: Rounding) -> Scale {
        let short = (offset.is_zero() && digits == 0 && factor.exponent >= 0)
            .then(|| i64::try_from(&factor.mantissa * ten_to(factor.exponent)).ok())
            .flatten()
            .filter(|factor| *factor > 0);
        let zeros = short.and_then(|factor| (0..19).find(|zeros| 10i64.checked_pow(*zeros) == Some(factor)));
        Scale { factor, offset, digits, upper_digits: None, rounding, short, zeros: zeros.map(|zeros| zeros as usize) }
    }

    /// Whole units of `10^-from` into whole units of `10^-to`, rounded down where they are fewer.
    pub(crate) fn of_units(from: u32, to: u32) -> Scale {
        let factor = Decimal { mantissa: 1.into(), exponent: i64::from(to) - i64::from(from) };
        let upper_digits = (to < from).then_some(0);
        Scale { upper_digits, ..Scale::new(factor, Decimal::integer(0), 0, Rounding::Floor) }
    }

    /// Whether whole numbers survive the way down and up again.
    pub(crate) fn down_is_exact(&self) -> bool {
        let one = Decimal::integer(1);
        let inverse = one.divided(&self.factor, self.digits.saturating_add(40), Rounding::Floor);
        let exact = inverse.times(&self.factor) == one || inverse.times(&self.factor).text() == "1";
        let whole = |number: &Decimal| !number.text().contains('.');
        exact && whole(&inverse) && (whole(&self.offset) || self.digits > 0)
    }

    /// The zeros behind a positive integer that make it so many times as much, as most records have it.
    #[inline]
    pub(crate) fn zeros_behind(&self, text: &[u8]) -> Option<&'static [u8]> {
        let zeros = b"000000000000000000".get(..self.zeros?)?;
        let number = text.len() <= 18 && text.first() > Some(&b'0') && digits(text, 0) == text.len();
        number.then_some(zeros)
    }

    /// Scales a positive integer by a power of ten: adds zeros or cuts digits off. Writes into a buffer; whether that
    /// was the way.
    pub(crate) fn by_zeros(&self, direction: Direction, text: &[u8], out: &mut Vec<u8>) -> bool {
        let (Some(zeros), Some(behind)) = (self.zeros, self.zeros_behind(text)) else { return false };
        out.clear();
        match (direction, self.rounding) {
            (Direction::Up, _) => {
                append(out, text);
                append(out, behind);
            }
            (Direction::Down, Rounding::Floor | Rounding::Trunc) => {
                let whole = text.get(..text.len().saturating_sub(zeros)).filter(|whole| !whole.is_empty());
                append(out, whole.unwrap_or(b"0"));
            }
            (Direction::Down, Rounding::Ceil | Rounding::Nearest) => return false,
        }
        true
    }

    /// `text × factor + offset`.
    pub(crate) fn up(&self, text: &[u8]) -> Option<String> {
        if let (Some(factor), Some(value)) = (self.short, small(text))
            && let Some(product) = value.checked_mul(factor)
        {
            return Some(product.to_string());
        }
        let exact = Decimal::parse(text)?.times(&self.factor).plus(&self.offset);
        Some(match self.upper_digits {
            None => exact.text(),
            Some(digits) => exact.divided(&Decimal::integer(1), digits, self.rounding).text(),
        })
    }

    /// `(text − offset) ÷ factor`, rounded.
    pub(crate) fn down(&self, text: &[u8]) -> Option<String> {
        if let (Some(factor), Some(value), Rounding::Floor) = (self.short, small(text), self.rounding) {
            return Some(value.div_euclid(factor).to_string());
        }
        let shifted = Decimal::parse(text)?.plus(&self.offset.negated());
        Some(shifted.divided(&self.factor, self.digits, self.rounding).text())
    }
}

impl Decimal {
    fn shifted(&self, exponent: i64) -> BigInt {
        &self.mantissa * ten_to(self.exponent - exponent)
    }
}

fn ten_to(power: i64) -> BigInt {
    BigInt::from(10).pow(u32::try_from(power).unwrap_or(0))
}

fn rounded_quotient(top: BigInt, bottom: BigInt, rounding: Rounding) -> BigInt {
    let quotient = &top / &bottom; // towards zero
    let rest = &top - &quotient * &bottom;
    if rest.sign() == Sign::NoSign {
        return quotient;
    }
    let negative = (rest.sign() == Sign::Minus) != (bottom.sign() == Sign::Minus);
    let away = match rounding {
        Rounding::Trunc => false,
        Rounding::Floor => negative,
        Rounding::Ceil => !negative,
        Rounding::Nearest => rest.magnitude() * 2u8 >= *bottom.magnitude(),
    };
    match (away, negative) {
        (false, _) => quotient,
        (true, true) => quotient - 1,
        (true, false) => quotient + 1,
    }
}

/// A plain integer of at most 18 digits, as most are.
fn small(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

/// The parts of a number's text.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Option<Parts<'a>> {
        let (negative, rest) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mark = rest.iter().position(|c| matches!(c, b'e' | b'E'));
        let (number, exponent) = match mark {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)?),
            None => (rest, &b"0"[..]),
        };
        let (whole, fraction) = match number.iter().position(|c| *c == b'.') {
            Some(at) => (number.get(..at)?, number.get(at + 1..)?),
            None => (number, &b""[..]),
        };
        let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
        let signless = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
        let valid = !whole.is_empty() && digits(whole) && digits(fraction) && !signless.is_empty() && digits(signless);
        valid.then_some(Parts { negative, whole, fraction, exponent })
    }

    fn exponent(&self) -> Option<i64> {
        std::str::from_utf8(self.exponent).ok()?.parse().ok()
    }

    /// The digits without zeros at either end, and the decimal exponent of the first; none for zero. Exponents too
    /// large for a number stay apart by their text, which is good enough to say that two such numbers differ.
    #[expect(clippy::type_complexity, reason = "two local parts of one answer")]
    fn significant(&self) -> Option<(Vec<u8>, Result<i64, &'a [u8]>)> {
        let digits = [self.whole, self.fraction].concat();
        let first = digits.iter().position(|c| *c != b'0')?;
        let last = digits.iter().rposition(|c| *c != b'0')?;
        let shift = self.whole.len() as i64 - first as i64;
        let exponent = self.exponent().and_then(|e| e.checked_add(shift)).ok_or(self.exponent);
        Some((digits.get(first..=last)?.to_vec(), exponent))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn arithmetic_is_exact_at_any_length() {
        let thousand = Scale::new(decimal("1000"), decimal("0"), 0, Rounding::Floor);
        for (lower, upper) in [
            ("5", "5000"),
            ("-1", "-1000"),
            ("9007199254740993", "9007199254740993000"),
            ("123456789012345678901234567890", "123456789012345678901234567890000"),
            ("0.001", "1"),
            ("1e3", "1000000"),
            ("1719400000.123", "1719400000123"),
        ] {
            assert_eq!(thousand.up(lower.as_bytes()).unwrap(), upper);
        }
        for (upper, lower) in [
            ("1719400000123", "1719400000"),
            ("-1", "-1"),
            ("-1000", "-1"),
            ("999", "0"),
            ("18446744073709551615", "18446744073709551"),
        ] {
            assert_eq!(thousand.down(upper.as_bytes()).unwrap(), lower);
        }
        assert_eq!(thousand.up(b"1e99999999"), None);
        assert_eq!(thousand.up(b"0e99999999").unwrap(), "0");
    }

    #[test]
    fn rounding_is_as_declared() {
        let third = |rounding| Scale::new(decimal("3"), decimal("0.5"), 1, rounding);
        for (rounding, up, down) in [
            (Rounding::Floor, "0.5", "-0.4"),
            (Rounding::Ceil, "0.5", "-0.3"),
            (Rounding::Trunc, "0.5", "-0.3"),
            (Rounding::Nearest, "0.5", "-0.3"),
        ] {
            assert_eq!(third(rounding).up(b"0").unwrap(), up);
            assert_eq!(third(rounding).down(b"-0.5").unwrap(), down);
        }
        assert_eq!(Scale::new(decimal("2"), decimal("0"), 0, Rounding::Nearest).down(b"-1").unwrap(), "-1");
    }

    #[test]
    fn numbers_too_long_to_work_with_are_refused_at_once() {
        for text in ["1e-9223372036854775808", "1e9223372036854775807", &"7".repeat(1 << 20)] {
            assert_eq!(Decimal::parse(text.as_bytes()), None);
        }
        assert_eq!(Decimal::parse(b"0.0e-9223372036854775808"), Some(Decimal::integer(0)));
        assert_eq!(
            Scale::of_units(3, 0).up(b"9007199254740993999999999999999999999").unwrap(),
            "9007199254740993999999999999999999"
        );
        assert_eq!(Scale::of_units(3, 0).up(b"-1").unwrap(), "-1");
        assert_eq!(Scale::of_units(3, 0).down(b"-1").unwrap(), "-1000");
    }

    #[test]
    fn zeros_are_what_arithmetic_says() {
        let mut out = Vec::new();
        for factor in ["1", "10", "1000", "1e9"] {
            for rounding in Rounding::NAMES.map(|(_, rounding)| rounding) {
                let scale = Scale::new(decimal(factor), decimal("0"), 0, rounding);
                for text in [
                    "1",
                    "999",
                    "1000",
                    "1001",
                    "1719400000123",
                    "999999999999999999",
                    "0",
                    "-1500",
                    "1.5",
                    "1e3",
                    "1000000000000000000",
                ] {
                    for (direction, exact) in
                        [(Direction::Up, scale.up(text.as_bytes())), (Direction::Down, scale.down(text.as_bytes()))]
                    {
                        if scale.by_zeros(direction, text.as_bytes(), &mut out) {
                            assert_eq!(String::from_utf8(out.clone()).ok(), exact, "{text} {direction:?} by {factor}");
                        }
                    }
                }
            }
        }
        let seconds = Scale::of_units(0, 3);
        assert!(seconds.by_zeros(Direction::Up, b"1487880540", &mut out) && out == b"1487880540000");
        assert!(
            !seconds.by_zeros(Direction::Up, b"-1", &mut out)
                && !Scale::of_units(3, 0).by_zeros(Direction::Up, b"1000", &mut out)
        );
    }

    #[test]
    fn declared_exactness_is_true() {
        let scale = |factor| Scale::new(decimal(factor), decimal("0"), 0, Rounding::Floor);
        assert!(scale("0.01").down_is_exact());
        assert!(scale("1").down_is_exact());
        assert!(!scale("1000").down_is_exact());
        assert!(!scale("3").down_is_exact());
    }

    #[test]
    fn equal_numbers_are_the_same() {
        for (a, b) in [("1", "1.0"), ("100", "1e2"), ("0.1e1", "1"), ("-0", "0.0"), ("1e400", "10E399")] {
            assert!(Decimal::same(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
        for (a, b) in
            [("1", "-1"), ("1", "10"), ("9007199254740993", "9007199254740992"), ("1e99999999999999999999", "1")]
        {
            assert!(!Decimal::same(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }
}
