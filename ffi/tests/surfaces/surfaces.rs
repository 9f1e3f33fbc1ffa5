//! The surfaces: each is started from the same `unskew.toml`, on a free port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use unskew::config::Config;
use unskew::gateway::{self, Gateway};

/// What stands before the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `unskew serve`.
    Serve,
    /// The tower layer in an axum server: `examples/tower.rs`.
    Tower,
    /// The phases in a Pingora proxy of one's own: `examples/pingora.rs`.
    Pingora,
    /// nginx with the Lua module.
    Nginx,
    /// HAProxy with the Lua actions.
    Haproxy,
    /// The same with buffers of 32 KiB; it takes no part in what is played everywhere.
    Cramped,
}

/// A surface that runs; it stops when it is dropped.
pub(crate) enum Running {
    Serve(Box<Gateway>),
    Process(SocketAddr, Process),
}

/// A server's process in a folder of its own.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) folder: PathBuf,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Serve, Kind::Tower, Kind::Pingora, Kind::Nginx, Kind::Haproxy];

    /// The surfaces that this machine has; in CI it must have all.
    pub(crate) fn present() -> Vec<Kind> {
        let absent = |kind: &Kind| match kind {
            Kind::Serve | Kind::Tower | Kind::Pingora => None,
            Kind::Nginx if Path::new("/usr/lib/nginx/modules/ngx_http_lua_module.so").exists() => None,
            Kind::Nginx => Some("nginx with lua-nginx-module isn't installed: run `tools/setup tests`"),
            Kind::Haproxy | Kind::Cramped if Command::new("haproxy").arg("-v").output().is_ok() => None,
            Kind::Haproxy | Kind::Cramped => Some("HAProxy isn't installed: run `tools/setup tests`"),
        };
        let here = |kind: &Kind| match absent(kind) {
            None => true,
            Some(why) => {
                assert!(std::env::var_os("CI").is_none(), "{kind:?}: {why}");
                eprintln!("{kind:?} is skipped: {why}");
                false
            }
        };
        Kind::ALL.into_iter().filter(here).collect()
    }

    /// Starts it on the configuration in this folder.
    pub(crate) async fn start(self, folder: &Path) -> Running {
        let config = folder.join("unskew.toml");
        match self {
            Kind::Serve => {
                let config = Config { listen: "127.0.0.1:0".into(), threads: 2, ..Config::from_file(config).unwrap() };
                Running::Serve(Box::new(
                    Gateway::start(config.clone(), gateway::runtime(&config).unwrap(), None).unwrap(),
                ))
            }
            Kind::Tower => example("tower", folder).await,
            Kind::Pingora => example("pingora", folder).await,
            Kind::Nginx => nginx(folder).await,
            Kind::Haproxy => haproxy(folder, "tune.bufsize 1100000").await,
            Kind::Cramped => haproxy(folder, "tune.bufsize 32768").await,
        }
    }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Running::Serve(gateway) => gateway.address(),
            Running::Process(address, _) => *address,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            Running::Serve(_) => {}
            Running::Process(_, process) => {
                // SIGINT, because SIGTERM makes Pingora wait for minutes.
                let _ = Command::new("kill").arg("-INT").arg(process.child.id().to_string()).status();
                for _ in 0..300 {
                    if !matches!(process.child.try_wait(), Ok(None)) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                let _ = process.child.kill();
                let _ = process.child.wait();
                if std::thread::panicking() {
                    for log in ["error.log", "out.log"] {
                        let log = std::fs::read_to_string(process.folder.join(log)).unwrap_or_default();
                        eprintln!("{}", log.lines().rev().take(40).collect::<Vec<_>>().join("\n"));
                    }
                }
            }
        }
    }
}

/// The shared library that this test's package is.
pub(crate) fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let library = folder.join("libunskew.so");
    assert!(library.exists(), "{} isn't built", library.display());
    library
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// One of the examples, built as the documents say.
async fn example(name: &str, folder: &Path) -> Running {
    static BUILT: Mutex<()> = Mutex::new(());
    let line = BUILT.lock().unwrap();
    let cargo = ["build", "--release", "--locked", "--offline", "--workspace", "--example", name];
    let built = Command::new(env!("CARGO")).args(cargo).current_dir(repository()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    drop(line);
    let (port, config) = (free_port(), folder.join("unskew.toml"));
    let program = library().parent().unwrap().parent().unwrap().join("examples").join(name);
    let mut command = Command::new(program);
    command.arg(config).arg(format!("127.0.0.1:{port}"));
    process(command, folder, port).await
}

async fn nginx(folder: &Path) -> Running {
    let port = free_port();
    // Its workers run as another user than root, and must reach what they read.
    let conf = std::fs::read_to_string(repository().join("plugins/nginx/nginx.conf")).unwrap();
    let conf = conf
        .replace("/etc/unskew/unskew.toml", folder.join("unskew.toml").to_str().unwrap())
        .replace("/usr/lib/unskew/libunskew.so", library().to_str().unwrap())
        .replace("/usr/share/unskew/nginx", repository().join("plugins/nginx").to_str().unwrap())
        .replace("listen 8080", &format!("listen 127.0.0.1:{port}"))
        .replace("user www-data;", &format!("user {};", user()));
    for name in ["body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        std::fs::create_dir_all(folder.join("tmp").join(name)).unwrap();
    }
    let temp = |name: &str| folder.join("tmp").join(name).display().to_string();
    let paths = format!(
        "http {{\n  client_body_temp_path {}; proxy_temp_path {}; fastcgi_temp_path {}; uwsgi_temp_path {}; scgi_temp_path {};\n",
        temp("body"),
        temp("proxy"),
        temp("fastcgi"),
        temp("uwsgi"),
        temp("scgi"),
    );
    let conf = conf.replacen("http {\n", &paths, 1);
    let head = format!(
        "daemon off;\npid {};\nerror_log {} info;\n",
        folder.join("nginx.pid").display(),
        folder.join("error.log").display()
    );
    std::fs::write(folder.join("nginx.conf"), head + &conf).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    process(command, folder, port).await
}

async fn haproxy(folder: &Path, buffer: &str) -> Running {
    let port = free_port();
    let conf = std::fs::read_to_string(repository().join("plugins/haproxy/haproxy.cfg")).unwrap();
    let conf = conf
        .replace("/etc/unskew/unskew.toml", folder.join("unskew.toml").to_str().unwrap())
        .replace("/usr/lib/unskew/libunskew.so", library().to_str().unwrap())
        .replace("/usr/share/unskew/haproxy", repository().join("plugins/haproxy").to_str().unwrap())
        .replace("tune.bufsize 1100000", buffer)
        .replace("bind :8080", &format!("bind 127.0.0.1:{port}"));
    std::fs::write(folder.join("haproxy.cfg"), conf).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
    process(command, folder, port).await
}

/// Starts a server and waits until it listens.
async fn process(mut command: Command, folder: &Path, port: u16) -> Running {
    let out = std::fs::File::create(folder.join("out.log")).unwrap();
    let child = command.stdout(out.try_clone().unwrap()).stderr(out).stdin(Stdio::null()).spawn().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut running = Running::Process(address, Process { child, folder: folder.to_owned() });
    for _ in 0..1000 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return running;
        }
        if let Running::Process(_, process) = &mut running {
            assert!(process.child.try_wait().unwrap().is_none(), "it has ended: {}", folder.display());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it doesn't listen");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn user() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_string()
}
