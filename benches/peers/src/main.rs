//! The edits of the benches as others would write them, done in turns when a line on standard input asks for it.
//!
//! A process of its own, so that no peer's features are unified into the product's build; the one who asks waits for each
//! turn, so that this one's alternate with everybody else's. The protocol, a request and its answer at a time:
//!
//! ```text
//! peers                          the names of all peers, on one line
//! load PEER SHAPE LENGTH + bytes "NUMBER LENGTH" and the bytes of the result
//! turn NUMBER RUNS               nanoseconds that so many runs took, each result compared to the first
//! ```
//!
//! What goes wrong is answered by a line that starts with `error`.

use std::hint::black_box;
use std::io::{BufRead, Read, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

#[cfg(feature = "languages")]
mod jaq;
mod simd;
mod sonic;
#[cfg(feature = "languages")]
mod vector;

/// An edit of one record, ready to run: it writes what it wrote the first time.
struct Prepared {
    record: Vec<u8>,
    result: Vec<u8>,
    edit: Edit,
}

/// Writes the edited record; an error if it is none.
type Edit = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>>>;

/// Makes the edit of a shape.
type Prepare = fn(&str) -> Result<Edit>;

/// The peers of this build, the same edit by each of them, but for the two that say otherwise.
const PEERS: &[(&str, Prepare)] = &[
    ("sonic", sonic::edit),
    ("simd-json", simd::edit),
    ("sonic-copy", |_| Ok(Box::new(sonic::copy))), // parse and write, no edit
    ("skip", |_| Ok(Box::new(sonic::skip))),       // a validating skip over the bytes
    #[cfg(feature = "languages")]
    ("jaq", jaq::edit),
    #[cfg(feature = "languages")]
    ("vrl", vector::edit),
];

fn main() -> Result<()> {
    let mut input = std::io::stdin().lock();
    let mut output = std::io::stdout().lock();
    let mut prepared: Vec<Prepared> = Vec::new();
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let answer = answer(&line, &mut input, &mut prepared);
        let error = |error: anyhow::Error| format!("error {}\n", format!("{error:#}").replace('\n', " ")).into_bytes();
        output.write_all(&answer.unwrap_or_else(error))?;
        output.flush()?;
        line.clear();
    }
    Ok(())
}

fn answer(line: &str, input: &mut impl Read, prepared: &mut Vec<Prepared>) -> Result<Vec<u8>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["peers"] => {
            let names: Vec<&str> = PEERS.iter().map(|(name, _)| *name).collect();
            Ok(format!("{}\n", names.join(" ")).into_bytes())
        }
        ["load", peer, shape, length] => {
            let mut record = vec![0; length.parse()?];
            input.read_exact(&mut record)?;
            let (_, edit) = PEERS.iter().find(|(name, _)| name == peer).with_context(|| format!("no peer {peer:?}"))?;
            let mut edit = edit(shape)?;
            let result = edit(&record)?;
            let mut answer = format!("{} {}\n", prepared.len(), result.len()).into_bytes();
            answer.extend_from_slice(&result);
            prepared.push(Prepared { record, result, edit });
            Ok(answer)
        }
        ["turn", number, runs] => {
            let prepared = prepared.get_mut(number.parse::<usize>()?).context("nothing was loaded by this number")?;
            Ok(format!("{}\n", turn(prepared, runs.parse()?)?).into_bytes())
        }
        _ => bail!("peers | load PEER SHAPE LENGTH | turn NUMBER RUNS"),
    }
}

fn turn(prepared: &mut Prepared, runs: u32) -> Result<u128> {
    let Prepared { record, result, edit } = prepared;
    let start = Instant::now();
    for _ in 0..runs {
        ensure!(same(&edit(black_box(record))?, result), "a run wrote something else than the first one");
    }
    Ok(start.elapsed().as_nanos())
}

/// The same bytes, if need be in another order: an edited tree of sonic's is hashed by chance, so that each run writes its
/// members in an order of its own.
fn same(one: &[u8], other: &[u8]) -> bool {
    let sum = |text: &[u8]| text.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    one == other || (one.len() == other.len() && sum(one) == sum(other))
}

/// A time in seconds as `2024-06-26T11:06:41Z`. Howard Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`.
fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
