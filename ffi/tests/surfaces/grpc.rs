//! The tower layer before gRPC servers: `examples/grpc.rs` between tonic's client and tonic's server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tonic::metadata::MetadataMap;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Endpoint, Server, server::TcpIncoming};
use tonic::{Code, Request};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;

use crate::scenarios::{NEW, json};
use crate::support::{PACK, dead_address};
use crate::surfaces::{Running, example, free_port, process};

/// tonic's server of the health service, and the metadata that it got.
struct Backend {
    address: SocketAddr,
    reporter: HealthReporter,
    seen: Arc<Mutex<Vec<MetadataMap>>>,
}

impl Backend {
    async fn start() -> Backend {
        let (reporter, service) = tonic_health::server::health_reporter();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let service = InterceptedService::new(service, move |request: Request<()>| {
            log.lock().unwrap().push(request.metadata().clone());
            Ok(request)
        });
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Backend { address, reporter, seen }
    }

    fn record(&self) -> String {
        let seen = self.seen.lock().unwrap().last().cloned().unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(seen.get("x-record").unwrap().as_bytes()).unwrap()).unwrap()
    }
}

/// The example before a server of version 1 at this address.
async fn gateway(server: SocketAddr, rules: &str) -> (Running, HealthClient<tonic::transport::Channel>) {
    let port = free_port();
    let folder = std::env::temp_dir().join(format!("unskew-grpc-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "pack = \"pack.toml\"\nserver = [{{ address = \"{server}\", version = \"1\" }}]\n\
         join = [{{ match = \"POST /grpc.health.v1.Health/*\", id = {{ header = \"x-session\" }} }}]\n\
         health.interval_ms = 0\nrecord.header = {{ name = \"x-record\", encoding = \"base64url\" }}\n{rules}"
    );
    std::fs::write(folder.join("unskew.toml"), text).unwrap();
    std::fs::write(folder.join("pack.toml"), PACK).unwrap();
    let running = process(example("grpc", &folder, port), &folder, port).await;
    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await.unwrap();
    (running, HealthClient::new(channel))
}

fn call(service: &str) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: service.to_string() });
    request.metadata_mut().insert("x-session", "s".parse().unwrap());
    request.metadata_mut().insert("x-record", URL_SAFE_NO_PAD.encode(NEW).parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_metadata_is_made_readable_and_statuses_and_streams_pass() {
    let backend = Backend::start().await;
    backend.reporter.set_service_status("api", ServingStatus::Serving).await;
    let (_running, mut client) = gateway(backend.address, "").await;
    for _ in 0..3 {
        // An answer without trailers would be an error to tonic.
        let reply = client.check(call("api")).await.unwrap().into_inner();
        assert_eq!(reply.status, ServingStatus::Serving as i32);
        assert_eq!(json(&backend.record())["sid"], "s", "readable for version 1");
    }
    let status = client.check(call("no such service")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "service not registered"));

    // Messages of a stream pass as they come, while it stays open.
    let mut stream = client.watch(call("api")).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().status, ServingStatus::Serving as i32);
    backend.reporter.set_service_status("api", ServingStatus::NotServing).await;
    assert_eq!(stream.message().await.unwrap().unwrap().status, ServingStatus::NotServing as i32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_unavailable_to_a_grpc_client_and_reaches_no_server() {
    let backend = Backend::start().await;
    let (_running, mut client) = gateway(backend.address, "policy.max_loss = \"native\"\n").await;
    let status = client.check(call("")).await.unwrap_err();
    assert_eq!((status.code(), backend.seen.lock().unwrap().len()), (Code::Unavailable, 0), "{status:?}");
    assert!(status.message().contains("the policy allows native"), "{status:?}");
    let mut wrong = call("");
    wrong.metadata_mut().insert("x-record", URL_SAFE_NO_PAD.encode(r#"{"sid":"s","sid":"t"}"#).parse().unwrap());
    let status = client.check(wrong).await.unwrap_err();
    assert_eq!((status.code(), backend.seen.lock().unwrap().len()), (Code::InvalidArgument, 0), "{status:?}");

    let (_running, mut client) = gateway(dead_address(), "").await;
    assert_eq!(client.check(call("")).await.unwrap_err().code(), Code::Unavailable);
}
