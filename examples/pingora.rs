//! The gateway's phases inside a Pingora proxy of one's own, which adds a header to each answer.
//! `cargo run --release --example pingora -- unskew.toml 127.0.0.1:8080`

use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{HttpPeer, http_proxy_service};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::server::{Server, configuration::ServerConf};
use unskew::adapter::{Adapter, Surface};
use unskew::config::Config;
use unskew::gateway::{Ctx, Gate, runtime};

struct Proxy {
    gate: Gate,
}

/// What this proxy knows of a request: the gate's part, and its own.
struct Passage {
    gate: Ctx,
    requests: u32,
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let config = Config::from_file(args.next().context("a configuration and an address")?)?;
    let address = args.next().context("an address")?;
    let retries = config.policy.retries as usize;
    // Pingora's threads come later; health checks, and packs that change, have one of their own.
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let entered = threads.enter();
    let adapter = Adapter::start(config.clone(), runtime(&config)?, None, Surface::whole("this proxy"))?;
    drop(entered);
    let tended = adapter.clone();
    threads.spawn(async move { tended.tend().await });
    let conf = ServerConf { max_retries: retries + 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Proxy { gate: Gate::new(&adapter) });
    service.add_tcp(&address);
    server.add_service(service);
    println!("listening on {address}");
    server.run_forever()
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Passage;

    fn new_ctx(&self) -> Passage {
        Passage { gate: self.gate.new_ctx(), requests: 0 }
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Passage) -> pingora::Result<bool> {
        ctx.requests += 1; // one's own work, before or after
        self.gate.request_filter(session, &mut ctx.gate).await
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Passage,
    ) -> pingora::Result<()> {
        head.insert_header("x-requests", ctx.requests.to_string())?;
        self.gate.response_filter(session, head, &mut ctx.gate).await
    }

    // All other phases are handed on as they are.

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Passage) -> pingora::Result<Box<HttpPeer>> {
        self.gate.upstream_peer(session, &mut ctx.gate).await
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Passage,
        error: Box<pingora::Error>,
    ) -> Box<pingora::Error> {
        self.gate.fail_to_connect(session, peer, &mut ctx.gate, error)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Passage,
    ) -> pingora::Result<()> {
        self.gate.upstream_request_filter(session, request, &mut ctx.gate).await
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Passage,
    ) -> pingora::Result<()> {
        self.gate.request_body_filter(session, body, end, &mut ctx.gate).await
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Passage,
    ) -> pingora::Result<Option<Duration>> {
        self.gate.response_body_filter(session, body, end, &mut ctx.gate)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &pingora::Error, ctx: &mut Passage) -> FailToProxy {
        self.gate.fail_to_proxy(session, error, &mut ctx.gate).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&pingora::Error>, ctx: &mut Passage) {
        self.gate.logging(session, error, &mut ctx.gate).await;
    }

    fn allow_spawning_subrequest(&self, session: &Session, ctx: &Passage) -> bool {
        self.gate.allow_spawning_subrequest(session, &ctx.gate)
    }

    fn suppress_error_log(&self, session: &Session, ctx: &Passage, error: &pingora::Error) -> bool {
        self.gate.suppress_error_log(session, &ctx.gate, error)
    }
}
