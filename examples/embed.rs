//! A gateway of one's own: the body of each request is its session's record, translated for the server it goes to.
//! `cargo run --release --example embed -- testdata/packs/opentok.toml 127.0.0.1:8080 1=127.0.0.1:9001 2=127.0.0.1:9002`

use std::convert::Infallible;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode, Uri, header, server::conn::http1, service::service_fn};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use unskew::{Ask, Decision, Directory, Entry, Fleet, Held, Pack, RoutePolicy, Runtime, Server};

type Answer = Response<Either<Incoming, Full<Bytes>>>;

struct Gateway {
    runtime: Runtime,
    fleet: Fleet,
    directory: Directory,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let runtime = Runtime::new(&Pack::from_file(args.next().context("a pack, an address and servers")?)?)?;
    let listener = tokio::net::TcpListener::bind(args.next().context("an address and servers")?).await?;
    println!("listening on {}", listener.local_addr()?);
    let server = |arg: String| arg.split_once('=').map(|(version, address)| Server::new(address, address, version));
    let servers = args.map(|arg| server(arg).context("a server is version=address")).collect::<Result<_>>()?;
    // It lives as long as the process.
    let gateway: &Gateway = Box::leak(Box::new(Gateway {
        runtime,
        fleet: Fleet::new(servers, RoutePolicy::default())?,
        directory: Directory::new(&Default::default()),
        client: Client::builder(TokioExecutor::new()).build_http(),
    }));
    loop {
        let (stream, _) = listener.accept().await?;
        let serve =
            service_fn(async |request| Ok::<_, Infallible>(gateway.serve(request).await.unwrap_or_else(refusal)));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
    }
}

impl Gateway {
    async fn serve(&self, request: Request<Incoming>) -> Result<Answer> {
        let (mut head, body) = request.into_parts();
        let mut record = body.collect().await?.to_bytes();
        let session = head.uri.path().to_owned();
        // Pinned: this request sees one generation, whatever is swapped in meanwhile.
        let pinned = self.runtime.generation().context("no pack is loaded")?;
        let version = pinned.detect(&record)?.version;
        // What an earlier translation kept for this session comes back with the next one.
        let known = self.directory.get(&session).filter(|known| *known.version == *pinned.manifest().id(version));
        let carry = known.map(|known| known.carry).unwrap_or_default();
        let held = Held { version, carry: !carry.is_empty(), writer: None };
        let decision = pinned.route(&Ask::join(session.as_bytes(), held), &self.fleet);
        println!("{session}: {}", decision.reason().with(&self.fleet, Some(pinned.matrix())));
        let Decision::Route { server, tier, .. } = decision else { anyhow::bail!("{}", decision.reason()) };
        let server = &self.fleet.servers()[server];
        if let (true, Some(to)) = (tier.translates(), pinned.version(&server.version)) {
            let there = pinned.translate(&record, &carry, version, to)?; // in place; see `Offload` for large records
            let (version, shape) = (server.version.as_str().into(), pinned.manifest().shape(&server.version));
            self.directory.note(&session, Entry { version, shape, writer: None, carry: there.carry.into() });
            record = there.record.into();
        }
        head.uri = Uri::builder().scheme("http").authority(&*server.address).path_and_query(&*session).build()?;
        head.headers.remove(header::CONTENT_LENGTH); // the client counts anew
        let answer = self.client.request(Request::from_parts(head, Full::new(record))).await?;
        Ok(answer.map(Either::Left))
    }
}

fn refusal(error: anyhow::Error) -> Answer {
    let body = Either::Right(Full::from(format!("{error:#}\n")));
    Response::builder().status(StatusCode::BAD_GATEWAY).body(body).expect("a status and a body are a response")
}
