//! `unskew serve` killed in the middle of swaps: what it serves after that is what was good last, or newer.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::Request;

use crate::reload::{Folder, NEW, TEXT, revised};
use crate::support::*;

/// How often it is killed; `make soak` says more.
fn kills() -> u32 {
    std::env::var("UNSKEW_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(12)
}

/// The program, which goes with this.
struct Program(Child, std::net::SocketAddr);

impl Program {
    fn start(folder: &Path) -> Program {
        let address = dead_address();
        let mut program = Command::new(env!("CARGO_BIN_EXE_unskew"));
        program.args(["serve", "--config"]).arg(folder.join("unskew.toml"));
        program.args(["--listen", &address.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        Program(program.spawn().unwrap(), address)
    }

    /// The revision that it serves by, and how long it took to serve at all.
    async fn revision(&self) -> (u32, Duration) {
        let began = Instant::now();
        while tokio::net::TcpStream::connect(self.1).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "it doesn't listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let request = Request::builder().method("POST").uri("/sessions/s/join");
        let reply = Client::connect(self.1).await.send(request, sized(NEW)).await.ok();
        let record: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        (record["legacy"].as_str().unwrap().trim_start_matches('r').parse().unwrap(), began.elapsed())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill(); // SIGKILL
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_comes_back_with_what_was_good_last_or_newer() {
    let folder = Folder::new("crash");
    let server = Upstream::echo().await;
    let config = format!(
        "pack = \"pack.toml\"\nstate = \"state\"\n{TEXT}[[server]]\naddress = \"{}\"\nversion = \"1\"\n",
        server.address
    );
    std::fs::write(folder.0.join("unskew.toml"), config).unwrap();
    let (written, mut served) = (AtomicU32::new(1), 0);
    folder.write(&revised(1, "r1"));
    for _ in 0..kills() {
        let stop = AtomicBool::new(false);
        let program = Program::start(&folder.0);
        let (first, _) = program.revision().await;
        assert!(first >= served, "revision {first} after {served}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let next = written.fetch_add(1, Ordering::SeqCst) + 1;
                    folder.write(&revised(next, &format!("r{next}")));
                    std::thread::sleep(Duration::from_millis(120)); // a file is read once it has settled
                }
            });
            std::thread::sleep(Duration::from_millis(200 + fastrand::u64(..400)));
            drop(program);
            stop.store(true, Ordering::SeqCst);
        });
        // Its source is gone: only the disk is left.
        let source = std::fs::read(folder.pack()).unwrap();
        std::fs::remove_file(folder.pack()).unwrap();
        let program = Program::start(&folder.0);
        let (now, took) = program.revision().await;
        println!("revision {now} of {} after {took:?}", written.load(Ordering::SeqCst));
        assert!(now >= first && now <= written.load(Ordering::SeqCst), "revision {now}, {first} was served");
        served = now;
        drop(program);
        std::fs::write(folder.pack(), source).unwrap();
    }
    assert!(served > 1, "nothing was ever swapped in");
    // It is the state that brings it back: without it and without a source there is nothing to serve.
    let state = folder.0.join("state");
    std::fs::rename(&state, folder.0.join("elsewhere")).unwrap();
    std::fs::remove_file(folder.pack()).unwrap();
    let mut program = Program::start(&folder.0);
    assert_eq!(program.0.wait().unwrap().code(), Some(3), "a start without a pack is refused");
    drop(program);
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::rename(folder.0.join("elsewhere"), &state).unwrap();
    let parts = std::fs::read_dir(&state).unwrap();
    let parts = parts.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
    assert!(parts.count() <= 1, "what was half written is cleaned up at the next start");
}
