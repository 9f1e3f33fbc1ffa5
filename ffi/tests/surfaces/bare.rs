//! The balancers without a surface, and a server behind them, to compare with.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pingora::prelude::*;
use tokio::net::TcpListener;

use crate::envoy::configured;
use crate::surfaces::repository;

/// A server that sends every body back.
pub(crate) async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let echo = service_fn(async |request: Request<Incoming>| {
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::new(body)))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), echo));
        }
    });
    address
}

/// hyper's client in an axum server.
pub(crate) fn tower(listen: &str, server: &str) {
    let server = server.to_string();
    let client = Client::builder(TokioExecutor::new()).build_http::<axum::body::Body>();
    let forward = move |mut request: axum::extract::Request| {
        let (client, server) = (client.clone(), server.clone());
        async move {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            *request.uri_mut() = Uri::try_from(format!("http://{server}{path}")).unwrap();
            client.request(request).await.unwrap()
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.unwrap();
        axum::serve(listener, axum::Router::new().fallback(forward)).await.unwrap();
    });
}

struct Forward(HttpPeer);

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.0.clone()))
    }
}

/// Pingora's proxy.
pub(crate) fn pingora(listen: &str, server: &str, threads: usize) {
    let conf = pingora::server::configuration::ServerConf { threads, ..Default::default() };
    let mut host = Server::new_with_opt_and_conf(None, conf);
    host.bootstrap();
    let mut service = http_proxy_service(&host.configuration, Forward(HttpPeer::new(server, false, String::new())));
    service.add_tcp(listen);
    host.add_service(service);
    host.run_forever();
}

pub(crate) fn nginx(folder: &Path, port: u16, server: SocketAddr) -> Command {
    let folder_name = folder.display();
    let text = format!(
        "daemon off;\npid {folder_name}/nginx.pid;\nerror_log {folder_name}/error.log;\nworker_processes 1;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n  client_max_body_size 4m;\n  \
         client_body_buffer_size 64k;\n  client_body_temp_path {folder_name}/b; proxy_temp_path {folder_name}/p; \
         fastcgi_temp_path {folder_name}/f; uwsgi_temp_path {folder_name}/u; scgi_temp_path {folder_name}/s;\n  \
         upstream servers {{ server {server}; keepalive 64; }}\n  server {{\n    listen 127.0.0.1:{port};\n    \
         proxy_http_version 1.1;\n    proxy_set_header Connection \"\";\n    proxy_set_header Host $http_host;\n    \
         location / {{ proxy_pass http://servers; }}\n  }}\n}}\n"
    );
    std::fs::write(folder.join("nginx.conf"), text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command
}

pub(crate) fn haproxy(folder: &Path, port: u16, server: SocketAddr) -> Command {
    let text = format!(
        "global\n  tune.bufsize 1100000\n  tune.maxrewrite 8192\n  nbthread 2\ndefaults\n  mode http\n  timeout connect 1s\n  \
         timeout client 60s\n  timeout server 60s\nfrontend sessions\n  bind 127.0.0.1:{port}\n  default_backend servers\n\
         backend servers\n  server one {server}\n"
    );
    std::fs::write(folder.join("haproxy.cfg"), text).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-W").arg("-f").arg(folder.join("haproxy.cfg"));
    command
}

/// The example of the docs without the module.
pub(crate) fn envoy(folder: &Path, port: u16, server: SocketAddr) -> Command {
    let text = std::fs::read_to_string(repository().join("plugins/envoy/envoy.yaml")).unwrap();
    let (before, rest) = text.split_once("          - name: unskew\n").unwrap();
    let router = "          - name: envoy.filters.http.router";
    let (_, after) = rest.split_once(router).unwrap();
    let server = format!("port_value: {}", server.port());
    let text = format!("{before}{router}{after}")
        .replace("address: 0.0.0.0, port_value: 8080", &format!("address: 127.0.0.1, port_value: {port}"))
        .replace("port_value: 9001", &server)
        .replace("port_value: 9002", &server);
    configured(&text, folder)
}
