//! The dated figures beside the command: one CSV a day in `benches/record/`.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::machine::Machine;

/// The figures of one command on one day.
pub struct Ledger {
    machine: Machine,
    name: &'static str,
    lines: String,
}

impl Ledger {
    /// An empty ledger for the command of this name.
    pub fn new(name: &'static str, machine: Machine) -> Ledger {
        Ledger { machine, name, lines: String::new() }
    }

    /// Notes one figure, its unit, and the goal that it is held against, if there is one.
    pub fn note(&mut self, name: &str, statistic: &str, value: f64, unit: &str, goal: Option<f64>) {
        let Machine { date, cpu, cores, kernel } = &self.machine;
        let goal = goal.map_or(String::new(), |goal| goal.to_string());
        // Writing to a string cannot fail.
        let _ =
            writeln!(self.lines, "{date},\"{cpu}\",{cores},\"{kernel}\",{name},{statistic},{value:.4},{unit},{goal}");
    }

    /// Writes the file, in place of an earlier one of the same day.
    ///
    /// # Errors
    /// If `benches/record/` can't be written.
    pub fn write(&self) -> io::Result<PathBuf> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("record");
        fs::create_dir_all(&folder)?;
        let name = format!("{}-{}.csv", self.machine.date, self.name);
        fs::write(folder.join(&name), format!("date,cpu,cores,kernel,name,statistic,value,unit,goal\n{}", self.lines))?;
        Ok(PathBuf::from("benches/record").join(name))
    }
}
