//! The command line: what can be said, how answers are printed, and what each exit code means.

mod check;
mod compile_guest;
mod demo;
mod detect;
mod explain;
mod fleet;
mod infer;
mod input;
mod output;
mod pack;
mod rehearse;
mod replay;
mod serve;
mod table;
mod translate;
mod wasm;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

use output::Output;

/// Keeps a fleet of session servers working while its servers run different versions.
///
/// A rule pack says how the session records of two versions differ. With it, unskew makes a record that one version
/// wrote readable for every other, and sends each request to a server that can serve it.
#[derive(Debug, Parser)]
#[command(name = "unskew", version, propagate_version = true, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object on standard output instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Translate(translate::Translate),
    Detect(detect::Detect),
    Explain(explain::Explain),
    Check(check::Check),
    Infer(infer::Infer),
    Fleet(fleet::Fleet),
    Serve(serve::Serve),
    Pack(pack::Pack),
    Replay(replay::Replay),
    Rehearse(rehearse::Rehearse),
    Demo(demo::Demo),
    Wasm(wasm::Wasm),
    #[command(hide = true)]
    CompileGuest(compile_guest::CompileGuest),
}

/// What a command that could do its work found, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// Everything holds.
    Good,
    /// Something doesn't, and has been printed.
    Bad,
    /// Some of what was to be looked at can't be read; the rest has been printed, and which it was.
    Unread,
}

/// Why a command could not do its work, cut by who must act.
#[derive(Debug)]
enum Failed {
    /// The rules refuse the record: its owner, or the author of the pack.
    Refused(String),
    /// The command line makes no sense: who typed it.
    Usage(String),
    /// A pack, config, scenario or record can't be read or used: who wrote it.
    Input(String),
    /// The machine failed: a port, a disk, the sandbox.
    Machine(String),
}

const AFTER_HELP: &str = "\
Try `unskew demo` first: it replays an incident and shows what the rules change. `unskew help COMMAND` teaches a command.";

const AFTER_LONG_HELP: &str = "\
Try `unskew demo` first: it replays an incident and shows what the rules change. `unskew help COMMAND` teaches a command.

Examples:
  unskew demo                                              the incident of 2017-02-23 in a quarter of a minute
  unskew infer --older old/ --newer new/                   a pack proposed from sample records of both versions
  unskew check pack.toml                                   its problems with their lines, what it can do, its laws
  unskew fleet --fleet 1,1 --joining 2 pack.toml           may version 2 join two servers of version 1?
  unskew translate --pack pack.toml --to 1 record.json     a record as version 1 writes it
  unskew serve --config unskew.toml                        the gateway
  unskew pack push pack.toml                               other rules for a gateway that runs

Exit codes:
  0  done, and everything holds
  1  the answer is no: a record is refused, a check found something, a promise was broken
  2  the command line is wrong
  3  a pack, config, scenario or record can't be read or used
  4  the machine failed: a port is taken, a file can't be written, the sandbox can't be set up";

/// Reads the command line, does what it says and tells how it went.
pub(crate) fn main() -> ExitCode {
    let (output, done) = match Cli::try_parse() {
        Ok(cli) => {
            let output = if cli.json { Output::Json } else { Output::Text };
            (output, execute(cli.command, output))
        }
        Err(error) => {
            let output = if asks_for_json(std::env::args_os()) { Output::Json } else { Output::Text };
            (output, unparsed(&error))
        }
    };
    if let Err(failed) = &done {
        failed.report(output);
    }
    ExitCode::from(code(&done))
}

fn execute(command: Command, output: Output) -> Result<Found, Failed> {
    match command {
        Command::Translate(command) => command.execute(output),
        Command::Detect(command) => command.execute(output),
        Command::Explain(command) => command.execute(output),
        Command::Check(command) => command.execute(output),
        Command::Infer(command) => command.execute(output),
        Command::Fleet(command) => command.execute(output),
        Command::Serve(command) => command.execute(output),
        Command::Pack(command) => command.execute(output),
        Command::Replay(command) => command.execute(output),
        Command::Rehearse(command) => command.execute(output),
        Command::Demo(command) => command.execute(output),
        Command::Wasm(command) => command.execute(output),
        Command::CompileGuest(command) => command.execute(),
    }
}

/// Answers a command line that names nothing to do: one that asks for help or the version, or one that is wrong.
fn unparsed(error: &clap::Error) -> Result<Found, Failed> {
    match error.use_stderr() {
        true => Err(Failed::Usage(error.to_string().trim_end().to_string())),
        false => output::reached(error.print()).map(|()| Found::Good),
    }
}

/// Whether a command line that can't be parsed asks for `--json` nevertheless.
fn asks_for_json(args: impl Iterator<Item = OsString>) -> bool {
    args.take_while(|arg| arg != "--").any(|arg| arg == "--json")
}

/// The exit code, the one place that knows them.
fn code(done: &Result<Found, Failed>) -> u8 {
    match done {
        Ok(Found::Good) => 0,
        Ok(Found::Bad) | Err(Failed::Refused(_)) => 1,
        Err(Failed::Usage(_)) => 2,
        Ok(Found::Unread) | Err(Failed::Input(_)) => 3,
        Err(Failed::Machine(_)) => 4,
    }
}

impl Failed {
    /// Says why: on standard error, with `--json` as an object on standard output.
    fn report(&self, output: Output) {
        let (kind, message) = match self {
            Failed::Refused(message) => ("refused", message),
            Failed::Usage(message) => ("usage", message),
            Failed::Input(message) => ("input", message),
            Failed::Machine(message) => ("machine", message),
        };
        match output {
            Output::Text => output::note(message),
            Output::Json => {
                let printed = output::print_json(&json!({"error": {"kind": kind, "message": message}}));
                if printed.is_err() {
                    output::note(message);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        for command in Cli::command().get_subcommands_mut().filter(|command| !command.is_hide_set()) {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{}: {help}", command.get_name());
        }
    }
}
