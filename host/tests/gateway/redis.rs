//! A real Redis on a free port, for the tests of what processes share.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Started in a folder of its own; it ends when it is dropped.
pub(crate) struct Redis {
    pub(crate) port: u16,
    child: Child,
    folder: PathBuf,
    options: Vec<String>,
}

impl Redis {
    /// Whether this machine has one.
    pub(crate) fn is_here() -> bool {
        Command::new(program()).arg("--version").output().is_ok()
    }

    /// Starts one with these options, and waits until it answers.
    pub(crate) fn start(options: &[&str]) -> Redis {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("unskew-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let child = spawn(port, &folder, &options);
        let redis = Redis { port, child, folder, options };
        redis.wait();
        redis
    }

    /// `[directory]` with this Redis and whatever the text adds.
    pub(crate) fn directory(&self, text: &str) -> String {
        format!("[directory]\nredis = \"redis://127.0.0.1:{}\"\n{text}\n", self.port)
    }

    /// The same with time enough on a crowded machine.
    pub(crate) fn patient(&self, text: &str) -> String {
        self.directory(&format!("timeout_ms = 5000\n{text}"))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Dies at once, as by `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again where it was, with what it kept on disk.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, &self.folder, &self.options);
        self.wait();
    }

    /// Asks it something, on a connection of its own.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let address = format!("redis://127.0.0.1:{}", self.port);
        let mut connection = redis::Client::open(address).unwrap().get_connection().unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).unwrap()
    }

    fn wait(&self) {
        for _ in 0..1000 {
            let address = format!("redis://127.0.0.1:{}", self.port);
            let connected = redis::Client::open(address).unwrap().get_connection();
            match connected {
                Ok(_) => return,
                Err(error) if error.to_string().contains("NOAUTH") || error.code() == Some("NOAUTH") => return,
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        panic!("Redis doesn't answer within 10 s");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(port: u16, folder: &PathBuf, options: &[String]) -> Child {
    let mut redis = Command::new(program());
    redis.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--dir"]);
    redis.arg(folder).args(options).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    redis.spawn().expect("redis-server: tools/setup tests gets it")
}

fn program() -> PathBuf {
    std::env::var_os("UNSKEW_REDIS").map_or_else(|| "redis-server".into(), PathBuf::from)
}
