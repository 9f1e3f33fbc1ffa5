//! Processes that are measured: their CPU time from /proc, and their end with ours.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A program that runs until it is dropped.
pub struct Process {
    child: Child,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// All of it, to the nanosecond.
    pub nanoseconds: u64,
    /// The kernel's share, of which the kernel keeps a hundredth of a second.
    pub system_ticks: u64,
    /// The program's own, likewise.
    pub user_ticks: u64,
}

impl Process {
    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// If it can't be started, ends, or doesn't listen within twenty seconds.
    pub fn listening(command: &mut Command, port: u16) -> Result<Process> {
        let what = format!("{:?}", command.get_program());
        let mut process = Process { child: command.spawn().with_context(|| format!("{what} can't be started"))? };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("{what} has ended: {status}");
            }
            if Instant::now() > end {
                bail!("{what} doesn't listen");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(process)
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it and its children have used so far.
    ///
    /// # Errors
    /// If the system doesn't tell.
    pub fn cpu(&self) -> Result<Cpu> {
        let mut sum = Cpu::default();
        let mut of = vec![self.id()];
        while let Some(id) = of.pop() {
            for task in fs::read_dir(format!("/proc/{id}/task"))? {
                let task = task?.path();
                let schedstat = fs::read_to_string(task.join("schedstat"))?;
                sum.nanoseconds +=
                    schedstat.split(' ').next().context("schedstat has three figures")?.parse::<u64>()?;
                let children = fs::read_to_string(task.join("children")).unwrap_or_default();
                of.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            }
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            // After the name, which stands in brackets: state is the third field, user time the fourteenth.
            let fields: Vec<&str> = stat.rsplit_once(')').context("a name in brackets")?.1.split_whitespace().collect();
            sum.user_ticks += fields.get(11).context("user time")?.parse::<u64>()?;
            sum.system_ticks += fields.get(12).context("system time")?.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// The resident memory of it and of nobody else's, in KiB.
    ///
    /// # Errors
    /// If the system doesn't tell.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM first: masters end their workers. std has no way to say it but a program that does.
        let _ = Command::new("kill").arg(self.id().to_string()).status();
        let end = Instant::now() + Duration::from_secs(3);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > end {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Idle and all time of the machine's cores so far, in ticks.
///
/// # Errors
/// If the system doesn't tell.
pub fn idle() -> Result<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("a line for all cores")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    Ok((ticks.get(3).copied().context("idle time")?, ticks.iter().take(8).sum()))
}

/// A port that is free now.
///
/// # Errors
/// If there is none.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_listen_is_told() {
        let port = free_port().expect("a free port");
        let error = Process::listening(&mut Command::new("true"), port).map(|_| ()).expect_err("`true` ends");
        assert!(error.to_string().contains("has ended"), "{error:#}");
    }

    #[test]
    fn a_process_has_used_what_it_used() {
        let this = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = this.local_addr().expect("an address").port();
        let mut busy = Command::new("sh");
        let busy = Process::listening(busy.args(["-c", "while :; do :; done"]), port).expect("sh runs");
        std::thread::sleep(Duration::from_millis(100));
        assert!(busy.cpu().is_ok_and(|cpu| cpu.nanoseconds > 1_000_000));
    }
}
