//! `convert`, `scale` and `time`: scalars in another form, as text.

use std::borrow::Cow;

use crate::json::{self, Kind};
use crate::number::{Decimal, Rounding, Scale};
use crate::op::{Direction, Edit, Loss, Put, Refusal};
use crate::pack::{Field, Table, hint};
use crate::rules::FaultKind;
use crate::time::{TimeFormat, Zone};

/// `{ convert = "/a", lower = "string", upper = "number" }`.
#[derive(Clone, Debug)]
pub(crate) struct Convert {
    lower: Form,
    upper: Form,
    unfit: Unfit,
}

/// The kinds of scalars that say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    String,
    Number,
    Boolean,
}

/// What becomes of a value that has no counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    /// `otherwise = "refuse"`, the default: a fault.
    Refused,
    /// `otherwise = "keep"`: it stays.
    Kept,
}

impl Form {
    const NAMES: [(&str, Form); 3] = [("string", Form::String), ("number", Form::Number), ("boolean", Form::Boolean)];

    fn kind(self) -> Kind {
        match self {
            Form::String => Kind::String,
            Form::Number => Kind::Number,
            Form::Boolean => Kind::Bool,
        }
    }

    fn expectation(self) -> &'static str {
        match self {
            Form::String => "a string",
            Form::Number => "a number",
            Form::Boolean => "a boolean",
        }
    }
}

impl Convert {
    pub(crate) fn write(&self, direction: Direction, text: &[u8], out: &mut Vec<u8>) -> Result<Put<'_>, Refusal> {
        let (from, to) = match direction {
            Direction::Up => (self.lower, self.upper),
            Direction::Down => (self.upper, self.lower),
        };
        let converted = if Kind::of(text) == from.kind() { converted(from, to, text) } else { None };
        match (converted, self.unfit) {
            (Some(text), _) => {
                out.clear();
                out.extend_from_slice(&text);
                Ok(Put::Written)
            }
            (None, Unfit::Kept) => Ok(Put::Same),
            (None, Unfit::Refused) if Kind::of(text) != from.kind() => {
                Err(Refusal::wrong_type(from.expectation(), text))
            }
            (None, Unfit::Refused) => {
                let expected = format!("{} that says {}", from.expectation(), to.expectation());
                Err(Refusal::another(FaultKind::Unmapped, &expected, text))
            }
        }
    }

    pub(crate) fn loss(&self) -> Loss {
        match self.unfit {
            Unfit::Refused => Loss::Nothing,
            Unfit::Kept => Loss::Kept("keeps values that the other side would convert"),
        }
    }

    pub(crate) fn read(table: &mut Table<'_>) -> Option<Edit> {
        let lower = table.need("lower").and_then(|field| field.choice(&Form::NAMES));
        let upper_field = table.need("upper");
        let upper = upper_field.as_ref().and_then(|field| field.choice(&Form::NAMES));
        let names = [("refuse", Unfit::Refused), ("keep", Unfit::Kept)];
        let unfit = table.take("otherwise").map_or(Some(Unfit::Refused), |field| field.choice(&names));
        let (lower, upper) = (lower?, upper?);
        if lower == upper {
            upper_field?.problem("both forms are the same: nothing would change");
            return None;
        }
        Some(Edit::Convert(Convert { lower, upper, unfit: unfit? }))
    }
}

/// A scalar in another form, if that can say it.
fn converted(from: Form, to: Form, text: &[u8]) -> Option<Vec<u8>> {
    let one = |word: &[u8]| Some(word.to_vec());
    match (from, to) {
        (Form::Number | Form::Boolean, Form::String) => Some([b"\"", text, b"\""].concat()),
        (Form::String, Form::Number) => Some(json::unescaped(text).into_owned()).filter(|text| json::is_number(text)),
        (Form::String, Form::Boolean) => {
            Some(json::unescaped(text).into_owned()).filter(|text| matches!(text.as_slice(), b"true" | b"false"))
        }
        (Form::Boolean, Form::Number) => one(if text == b"true" { b"1" } else { b"0" }),
        (Form::Number, Form::Boolean) if Decimal::same(text, b"1") => one(b"true"),
        (Form::Number, Form::Boolean) if Decimal::same(text, b"0") => one(b"false"),
        (Form::Number, Form::Boolean) => None,
        (Form::String, Form::String) | (Form::Number, Form::Number) | (Form::Boolean, Form::Boolean) => one(text),
    }
}

/// A number, or a number kept in a string, stays the one or the other.
pub(crate) fn scaled(scale: &Scale, direction: Direction, text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (number, in_string) = number_in(text).ok_or_else(|| Refusal::wrong_type("a number", text))?;
    let result = match direction {
        Direction::Up => scale.up(&number),
        Direction::Down => scale.down(&number),
    };
    let result = result.ok_or_else(|| Refusal {
        kind: FaultKind::OutOfRange,
        expected: "a number of at most 4096 digits".to_owned(),
        found: "a longer one".to_owned(),
    })?;
    Ok(if in_string { format!("\"{result}\"").into_bytes() } else { result.into_bytes() })
}

/// A point in time in another form. Unix time may stand in a string, as numbers may.
pub(crate) fn retimed(from: &TimeFormat, to: &TimeFormat, text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let inner = match (from.is_number(), Kind::of(text)) {
        (true, _) => number_in(text).map(|(number, _)| number),
        (false, Kind::String) => Some(json::unescaped(text)),
        (false, _) => None,
    };
    let inner = inner.ok_or_else(|| Refusal::wrong_type(from.expectation(), text))?;
    let nanos = std::str::from_utf8(&inner).ok().and_then(|text| from.read(text));
    let nanos = nanos.ok_or_else(|| Refusal::another(FaultKind::WrongType, from.expectation(), text))?;
    let out = to.write(nanos).ok_or_else(|| Refusal {
        kind: FaultKind::OutOfRange,
        expected: "a point in time in the years 0 to 9999".to_owned(),
        found: "one beyond".to_owned(),
    })?;
    Ok(if to.is_number() { out.into_bytes() } else { json::quoted(&out).into_bytes() })
}

pub(crate) fn retiming_loss(from: &TimeFormat, to: &TimeFormat) -> Loss {
    match from {
        _ if from.precision() > to.precision() => Loss::Kept("rounds a point in time"),
        TimeFormat::Unix { .. } | TimeFormat::HttpDate => Loss::Nothing,
        TimeFormat::Rfc3339 | TimeFormat::Format { .. } => Loss::Kept("loses the spelling of a date"),
    }
}

pub(crate) fn read_scale(table: &mut Table<'_>) -> Option<Edit> {
    let decimal = |field: &Field<'_>| {
        let number = (field.kind() == Kind::Number).then(|| Decimal::parse(field.text().as_bytes())).flatten();
        if number.is_none() {
            field.problem("must be a number");
        }
        number
    };
    let factor = table.need("factor").and_then(|field| {
        let factor = decimal(&field)?;
        if factor.is_zero() {
            field.problem("a factor of 0 has no way back");
            return None;
        }
        Some(factor)
    });
    let offset = table.take("offset").map_or(Some(Decimal::integer(0)), |field| decimal(&field));
    let digits = table.take("digits").map_or(Some(0), |field| field.integer(0..=64));
    let rounding = table.take("round").map_or(Some(Rounding::Floor), |field| field.choice(&Rounding::NAMES));
    Some(Edit::Scale(Scale::new(factor?, offset?, digits? as u32, rounding?)))
}

pub(crate) fn read_time(table: &mut Table<'_>) -> Option<Edit> {
    let lower = table.need("lower").and_then(|field| read_time_format(&field));
    let upper_field = table.need("upper");
    let upper = upper_field.as_ref().and_then(read_time_format);
    let (lower, upper) = (lower?, upper?);
    if lower == upper {
        upper_field?.problem("both forms are the same: nothing would change");
        return None;
    }
    Some(match (&lower, &upper) {
        // Two numbers: exact at any length, which points in time are not.
        (TimeFormat::Unix { digits: low }, TimeFormat::Unix { digits: high }) => {
            Edit::Scale(Scale::of_units(*low, *high))
        }
        _ => Edit::Time { lower, upper },
    })
}

fn read_time_format(field: &Field<'_>) -> Option<TimeFormat> {
    if field.kind() != Kind::Object {
        let name = field.string()?;
        let format = TimeFormat::named(&name);
        if format.is_none() {
            field.problem(format!(
                "unknown form \"{name}\"{}, or a table {{ format = \"%F %T\" }}",
                hint(&name, &TimeFormat::NAMES)
            ));
        }
        return format;
    }
    let mut table = field.table()?;
    let format = table.need("format");
    let mut zones = Vec::new();
    if let Some(mut declared) = table.take("zones").and_then(|field| field.table()) {
        let names: Vec<String> = declared.keys().map(str::to_owned).collect();
        for name in names {
            let Some(field) = declared.take(&name) else { continue };
            match field.string().as_deref().map(Zone::offset) {
                Some(Some(offset)) => zones.push(Zone { name, offset }),
                Some(None) => field.problem("an offset is written \"-08:00\""),
                None => {}
            }
        }
    }
    table.finish();
    let format = format?;
    TimeFormat::strftime(&format.string()?, zones).map_err(|why| format.problem(why)).ok()
}

fn number_in(text: &[u8]) -> Option<(Cow<'_, [u8]>, bool)> {
    match Kind::of(text) {
        Kind::Number => Some((Cow::Borrowed(text), false)),
        Kind::String => {
            let inner = json::unescaped(text);
            Decimal::parse(&inner).is_some().then_some((inner, true))
        }
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => None,
    }
}
