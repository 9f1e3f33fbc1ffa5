//! `unskew serve` as a process: what it does on signals.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use http::Request;

use crate::support::*;

struct Serving {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Serving {
    fn start(name: &str, text: &str) -> Serving {
        Serving::spawn(name, text, |program, _| program.stderr(Stdio::null()))
    }

    /// One that writes its log, all that it would ever say, into `log`.
    fn logging(name: &str, text: &str) -> Serving {
        Serving::spawn(name, text, |program, folder| {
            let log = std::fs::File::create(folder.join("log")).unwrap();
            program.env("RUST_LOG", "trace,pingora_proxy=trace").stderr(log)
        })
    }

    fn spawn(name: &str, text: &str, log: impl for<'c> FnOnce(&'c mut Command, &Path) -> &'c mut Command) -> Serving {
        let address = dead_address();
        let folder = std::env::temp_dir().join(format!("unskew-serve-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("pack.toml"), PACK).unwrap();
        std::fs::write(folder.join("unskew.toml"), text).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_unskew"));
        program.args(["serve", "--config"]).arg(folder.join("unskew.toml"));
        program.args(["--listen", &address.to_string()]).stdout(Stdio::null());
        log(&mut program, &folder);
        let child = program.spawn().unwrap();
        Serving { child, address, folder }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    async fn join(&self) -> Reply {
        let request = Request::builder().method("POST").uri("/sessions/s/join");
        Client::connect(self.address).await.send(request, sized(NEW)).await
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

const NEW: &str = "{\"session_id\":\"s\",\"bitrate\":3000,\"schema\":2}";
const OLD: &str = "{\"sid\":\"s\",\"legacy\":\"\"}";

fn text(mode: &str, server: &Upstream) -> String {
    let address = server.address;
    format!(
        "mode = \"{mode}\"\npack = \"pack.toml\"\n[[server]]\naddress = \"{address}\"\nversion = \"1\"\n[[join]]\nmatch = \"POST /sessions/{{id}}/join\"\n[record.body]\nrequest = \"\"\n"
    )
}

#[tokio::test]
async fn no_line_of_the_log_holds_a_record_even_where_all_is_logged_and_servers_talk_nonsense() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let echo = Upstream::echo().await;
    let serving = Serving::logging("log", &text("enforce", &echo));
    until("it listens", || std::net::TcpStream::connect(serving.address).is_ok()).await;
    let secret = "{\"session_id\":\"hunter2\",\"bitrate\":3000,\"schema\":2}";
    let request = || Request::builder().method("POST").uri("/sessions/s/join");
    let reply = Client::connect(serving.address).await.send(request(), sized(secret)).await.ok();
    assert!(reply.text().contains("hunter2"));
    // A server that answers with a body where a head is expected.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nonsense = entry(listener.local_addr().unwrap(), "1").address;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"{\"sid\":\"hunter2\"}\r\n\r\n").await;
        }
    });
    let changed = text("enforce", &echo).replace(&echo.address.to_string(), &nonsense);
    std::fs::write(serving.folder.join("unskew.toml"), changed).unwrap();
    serving.signal("HUP");
    let mut tries = 0;
    while Client::connect(serving.address).await.send(request(), sized(secret)).await.status != 502 {
        tries += 1;
        assert!(tries < 2000, "the server never changes");
    }
    let log = || std::fs::read_to_string(serving.folder.join("log")).unwrap();
    until("the failure is logged", || log().contains("request failed")).await;
    assert!(!log().contains("hunter2") && !log().contains("pingora"), "{}", log());
}

#[tokio::test]
async fn hangup_reads_mode_and_pack_again_and_terminate_ends_well() {
    let server = Upstream::echo().await;
    let mut serving = Serving::start("signals", &text("off", &server));
    until("it listens", || std::net::TcpStream::connect(serving.address).is_ok()).await;
    assert_eq!(serving.join().await.ok().text(), NEW);
    // A configuration with a mistake changes nothing.
    std::fs::write(serving.folder.join("unskew.toml"), text("enforced", &server)).unwrap();
    serving.signal("HUP");
    assert_eq!(serving.join().await.ok().text(), NEW);
    std::fs::write(serving.folder.join("unskew.toml"), text("enforce", &server)).unwrap();
    serving.signal("HUP");
    let mut tries = 0;
    while serving.join().await.ok().text() != OLD {
        tries += 1;
        assert!(tries < 2000, "the mode never changes");
    }
    serving.signal("TERM");
    let ended =
        tokio::task::spawn_blocking(move || serving.child.wait().map(|status| (status, serving)).unwrap()).await;
    assert_eq!(ended.unwrap().0.code(), Some(0));
}
