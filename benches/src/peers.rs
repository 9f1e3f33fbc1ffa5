//! Peers in processes of their own, so that their features are not unified into the product's build. They take turns
//! with everybody else's: whoever asks for a turn waits for it. The protocol is that of `peers/src/main.rs`.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};

use crate::contest::Run;

/// A process with peers; it ends with the last of them.
#[derive(Clone)]
pub struct Peers {
    names: Vec<String>,
    talk: Rc<RefCell<Talk>>,
}

struct Talk {
    child: Child,
    // Closed before the child is waited for, which ends it.
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Peers {
    /// Starts a program with its arguments.
    ///
    /// # Errors
    /// If it can't be started, or doesn't say its peers.
    pub fn start(program: impl AsRef<OsStr>, arguments: &[&OsStr]) -> Result<Peers> {
        let mut command = Command::new(program);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let from = BufReader::new(child.stdout.take().context("the child's output is piped")?);
        let to = child.stdin.take();
        let mut talk = Talk { child, to, from };
        let names = talk.ask(b"peers\n")?.split_whitespace().map(str::to_owned).collect();
        Ok(Peers { names, talk: Rc::new(RefCell::new(talk)) })
    }

    /// Who takes part.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The edit of a shape by a peer: what it writes, and its runs.
    ///
    /// # Errors
    /// If the peer fails on this record.
    pub fn load(&self, peer: &str, shape: &str, record: &[u8]) -> Result<(Vec<u8>, Run<'static>)> {
        let mut ask = format!("load {peer} {shape} {}\n", record.len()).into_bytes();
        ask.extend_from_slice(record);
        let mut talk = self.talk.borrow_mut();
        let answer = talk.ask(&ask).with_context(|| format!("{peer}, {shape}"))?;
        let (number, length) = answer.trim().split_once(' ').context("the answer has two numbers")?;
        let mut result = vec![0; length.parse()?];
        talk.from.read_exact(&mut result)?;
        let (talk, number) = (self.talk.clone(), number.to_owned());
        let run = move |runs| {
            let answer = talk.borrow_mut().ask(format!("turn {number} {runs}\n").as_bytes())?;
            Ok(answer.trim().parse()?)
        };
        Ok((result, Box::new(run)))
    }
}

impl Talk {
    fn ask(&mut self, request: &[u8]) -> Result<String> {
        let to = self.to.as_mut().context("the child's input is open")?;
        to.write_all(request)?;
        to.flush()?;
        let mut answer = String::new();
        ensure!(self.from.read_line(&mut answer)? > 0, "the process of the peers has ended");
        if let Some(error) = answer.strip_prefix("error ") {
            bail!("{}", error.trim());
        }
        Ok(answer)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.to = None;
        // There is nobody to tell.
        let _ = self.child.wait();
    }
}
