//! The gateway as a layer in an axum server, beside routes of one's own.
//! `cargo run --release --example tower -- unskew.toml 127.0.0.1:8080`

use anyhow::{Context, Result};
use axum::{Router, routing::get};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower_layer::Layer;
use unskew::adapter::{Adapter, Surface};
use unskew::{config::Config, gateway::runtime, tower::AdapterLayer};

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let config = Config::from_file(args.next().context("a configuration and an address")?)?;
    let listener = tokio::net::TcpListener::bind(args.next().context("an address")?).await?;
    let adapter = Adapter::start(config.clone(), runtime(&config)?, None, Surface::whole("this server"))?;
    let tended = adapter.clone();
    tokio::spawn(async move { tended.tend().await }); // health checks, and packs that change
    let client = Client::builder(TokioExecutor::new()).build_http();
    let gateway = AdapterLayer::new(adapter).layer(client);
    let app = Router::new().route("/healthz", get(async || "ok")).fallback_service(gateway);
    println!("listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
