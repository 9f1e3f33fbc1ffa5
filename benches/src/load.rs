//! Requests at a fixed rate through a gateway to an origin that checks what it gets: an open loop, so that a gateway that
//! falls behind is seen to (a closed one waits with it, and sees nothing).

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Connections that requests are spread over.
const CONNECTIONS: usize = 16;

/// What one request may wait for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that answers 200 where a request's body is what it expects, else 500.
pub struct Origin {
    /// Where it listens.
    pub port: u16,
    tasks: tokio::task::JoinHandle<()>,
}

/// What an origin takes.
pub type Expected = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

impl Origin {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start(expected: Expected) -> Result<Origin> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let tasks = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let expected = expected.clone();
                // A connection that breaks is seen by whoever asked.
                tokio::spawn(async move { drop(serve(stream, expected).await) });
            }
        });
        Ok(Origin { port, tasks })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

/// Connections to a gateway, and the request that goes over them.
pub struct Load {
    idle: mpsc::UnboundedSender<TcpStream>,
    connections: mpsc::UnboundedReceiver<TcpStream>,
    request: Arc<[u8]>,
}

impl Load {
    /// Connects, and asks once over each connection.
    ///
    /// # Errors
    /// If the gateway answers anything but 200.
    pub async fn connect(port: u16, body: &[u8]) -> Result<Load> {
        let length = body.len();
        let head = format!(
            "POST /sessions/s1/join HTTP/1.1\r\nhost: sessions.example\r\ncontent-type: application/json\r\n\
             user-agent: unskew-benches\r\naccept: */*\r\ncontent-length: {length}\r\n\r\n"
        );
        let request: Arc<[u8]> = [head.as_bytes(), body].concat().into();
        let (idle, connections) = mpsc::unbounded_channel();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            ask(&mut stream, &request).await?;
            idle.send(stream).context("the receiver is ours")?;
        }
        Ok(Load { idle, connections, request })
    }

    /// So many requests, so many a second: how long each took, from when it was due.
    ///
    /// # Errors
    /// If one of them fails.
    pub async fn run(&mut self, requests: usize, rate: f64) -> Result<Vec<Duration>> {
        let start = Instant::now();
        let mut asked = Vec::with_capacity(requests);
        for n in 0..requests {
            let due = start + Duration::from_secs_f64(n as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            let mut stream = tokio::time::timeout(PATIENCE, self.connections.recv()).await?.context("connections")?;
            let (idle, request) = (self.idle.clone(), self.request.clone());
            asked.push(tokio::spawn(async move {
                tokio::time::timeout(PATIENCE, ask(&mut stream, &request)).await??;
                let took = due.elapsed();
                idle.send(stream).context("somebody listens")?;
                Ok::<Duration, anyhow::Error>(took)
            }));
        }
        let mut took = Vec::with_capacity(requests);
        for asked in asked {
            took.push(asked.await??);
        }
        Ok(took)
    }
}

async fn ask(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    stream.write_all(request).await?;
    let mut buffer = Vec::new();
    let (head, _) = message(stream, &mut buffer).await?.context("the gateway closed a connection")?;
    ensure!(head.starts_with(b"HTTP/1.1 200"), "the gateway answers {}", String::from_utf8_lossy(&head));
    Ok(())
}

async fn serve(mut stream: TcpStream, expected: Expected) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some((_, body)) = message(&mut stream, &mut buffer).await? {
        let status = if expected(&body) { "200 OK" } else { "500 Not What It Should Be" };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{{\"joined\":true}}"
        );
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// The next message's head and its body, whose length the head says; none where the other side has closed.
async fn message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        buffer.reserve(8 << 10);
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { bail!("a message ends in its head") };
        }
    };
    let length = length(&buffer[..head])?;
    while buffer.len() < head + length {
        buffer.reserve(head + length - buffer.len());
        ensure!(stream.read_buf(buffer).await? > 0, "a message ends in its body");
    }
    let rest = buffer.split_off(head + length);
    let body = buffer.split_off(head);
    Ok(Some((std::mem::replace(buffer, rest), body)))
}

fn length(head: &[u8]) -> Result<usize> {
    let head = std::str::from_utf8(head)?.to_ascii_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    Ok(line.with_context(|| format!("no content-length in {head:?}"))?.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(expected: &'static [u8], sent: &'static [u8]) -> Result<usize> {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        threads.block_on(async {
            let origin = Origin::start(Arc::new(move |body| body == expected)).await?;
            let mut load = Load::connect(origin.port, sent).await?;
            Ok(load.run(50, 1e4).await?.len())
        })
    }

    #[test]
    fn what_an_origin_does_not_expect_fails_the_load() {
        assert_eq!(loaded(b"{}", b"{}").ok(), Some(50));
        assert!(loaded(b"{}", b"[]").is_err_and(|error| error.to_string().contains("500")));
    }
}
