//! A gateway before gRPC servers: the layer around hyper's client, in tonic's server.
//!
//! `cargo run --release -p unskew --example grpc -- unskew.toml 127.0.0.1:8080`
//!
//! The session's id and its record stand in metadata: `id = { header = "x-session" }`, `record.header`.

use anyhow::Context;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic::service::Routes;
use tonic::transport::Server;
use tower_layer::Layer;
use unskew::adapter::{Adapter, Surface};
use unskew::config::Config;
use unskew::tower::AdapterLayer;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (config, listen) = (args.next().context("a configuration")?, args.next().context("an address")?);
    let config = Config::from_file(config)?;
    let adapter = Adapter::start(config.clone(), unskew::gateway::runtime(&config)?, None, Surface::whole("tonic"))?;
    let tended = adapter.clone();
    tokio::spawn(async move { tended.tend().await });
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let gateway = AdapterLayer::new(adapter).layer(client);
    let routes = Routes::from(axum::Router::new().fallback_service(gateway));
    Server::builder().add_routes(routes).serve(listen.parse()?).await?;
    Ok(())
}
