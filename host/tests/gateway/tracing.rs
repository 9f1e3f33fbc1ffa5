//! Traces: taken from requests, handed on to servers, and exported to a collector that reads the published messages.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use unskew::gateway::Gateway;

use crate::admin::Administered;
use crate::reload::TEXT;
use crate::support::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A record with a value that the old version has no place for.
const NEW: &str = "{\"session_id\":\"s\",\"bitrate\":4321,\"schema\":2}";
const OLD: &str = "{\"sid\":\"s\",\"legacy\":\"\"}";

/// A collector that keeps what it is sent.
struct Collector {
    server: Upstream,
    batches: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    async fn new() -> Collector {
        let batches = Arc::new(Mutex::new(Vec::new()));
        let kept = batches.clone();
        let server = Upstream::answering(move |seen| {
            assert_eq!((&*seen.path, seen.header("content-type")), ("/v1/traces", Some("application/x-protobuf")));
            kept.lock().unwrap().push(ExportTraceServiceRequest::decode(seen.body.clone()).unwrap());
            Response::new(Full::new(Bytes::from(ExportTraceServiceResponse::default().encode_to_vec())))
        })
        .await;
        Collector { server, batches }
    }

    fn config(&self, more: &str) -> String {
        tracing(self.server.address, more)
    }

    fn spans(&self) -> Vec<Span> {
        let batches = self.batches.lock().unwrap();
        let scopes = batches.iter().flat_map(|batch| &batch.resource_spans).flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    async fn until(&self, many: usize) -> Vec<Span> {
        until("the spans are there", || self.spans().len() >= many).await;
        self.spans()
    }
}

fn tracing(address: std::net::SocketAddr, more: &str) -> String {
    format!("[tracing]\nendpoint = \"http://{address}/v1/traces\"\nevery_ms = 20\n{more}\n")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn said(pairs: &[KeyValue], key: &str) -> Option<String> {
    let AnyValue { value } = pairs.iter().find(|pair| pair.key == key)?.value.clone()?;
    match value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

/// A join with these headers; the record needs a translation.
async fn join(gateway: &Gateway, session: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::builder().method("POST").uri(format!("/sessions/{session}/join"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Client::connect(gateway.address()).await.send(request, sized(NEW)).await
}

#[tokio::test]
async fn a_trace_goes_from_the_client_through_our_spans_to_the_server() {
    let (collector, server) = (Collector::new().await, Upstream::echo().await);
    let gateway = ruled(&format!("{TEXT}{}", collector.config("service = \"edge\"")), &[server.entry("1")], None);
    let came = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("traceparent", &*came), ("tracestate", "vendor=opaque")];
    assert_eq!(join(&gateway, "very-secret-session", &headers).await.ok().text(), OLD);
    let spans = collector.until(3).await;
    let one = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"));
    let (request, decision, translate) = (one("request"), one("decision"), one("translate"));

    let seen = server.last();
    assert_eq!(seen.header("traceparent").unwrap(), format!("00-{TRACE}-{}-01", hex(&request.span_id)));
    assert_eq!(seen.header("tracestate"), Some("vendor=opaque"));
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE && span.flags & 0xff == 1));
    assert_eq!((hex(&request.parent_span_id), request.kind()), (PARENT.to_owned(), SpanKind::Server));
    for child in [decision, translate] {
        assert_eq!((&child.parent_span_id, child.kind()), (&request.span_id, SpanKind::Internal));
        assert!(child.start_time_unix_nano >= request.start_time_unix_nano);
        assert!(child.end_time_unix_nano <= request.end_time_unix_nano);
        assert!(child.start_time_unix_nano < child.end_time_unix_nano);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    assert!((0..10_000_000_000).contains(&(now - u128::from(request.end_time_unix_nano))));

    let address = server.address.to_string();
    let wanted: [(&Span, &[(&str, &str)]); 3] = [
        (
            request,
            &[
                ("http.request.method", "POST"),
                ("http.route", "/sessions/{id}/join"),
                ("http.response.status_code", "200"),
                ("unskew.pack", "test"),
                ("unskew.pack.revision", "1"),
                ("unskew.mode", "enforce"),
            ],
        ),
        (
            decision,
            &[
                ("unskew.server", &address),
                ("unskew.server.version", "1"),
                ("unskew.tier", "carried"),
                ("unskew.pack.revision", "1"),
            ],
        ),
        (
            translate,
            &[
                ("unskew.pack.revision", "1"),
                ("unskew.from", "2"),
                ("unskew.to", "1"),
                ("unskew.fidelity", "carried"),
                ("unskew.tier", "carried"),
                ("unskew.carried", "1"),
            ],
        ),
    ];
    for (span, attributes) in wanted {
        for (key, value) in attributes {
            assert_eq!(said(&span.attributes, key).as_deref(), Some(*value), "{key} of {span:?}");
        }
        assert!(span.status.is_none());
    }
    assert!(said(&decision.attributes, "unskew.reason").unwrap().contains("picked by session"));
    let batches = collector.batches.lock().unwrap();
    let resource = batches[0].resource_spans[0].resource.clone().unwrap();
    assert_eq!(said(&resource.attributes, "service.name").as_deref(), Some("edge"));
    for batch in &*batches {
        let text = format!("{batch:?}");
        assert!(!text.contains("very-secret-session") && !text.contains("4321"), "{text}");
    }
}

#[tokio::test]
async fn a_trace_is_begun_where_there_is_none_or_none_that_can_be_read() {
    let (collector, server) = (Collector::new().await, Upstream::echo().await);
    let gateway = ruled(&format!("{TEXT}{}", collector.config("")), &[server.entry("1")], None);
    let upper = format!("00-{}-{PARENT}-01", TRACE.to_uppercase());
    let longer = format!("00-{TRACE}-{PARENT}-01-more");
    let zero = format!("00-{}-{PARENT}-01", "0".repeat(32));
    let twice = format!("00-{TRACE}-{PARENT}-01");
    let cases: [&[(&str, &str)]; 6] = [
        &[],
        &[("traceparent", "nonsense"), ("tracestate", "vendor=stale")],
        &[("traceparent", &upper), ("tracestate", "vendor=stale")],
        &[("traceparent", &longer)],
        &[("traceparent", &zero)],
        &[("traceparent", &twice), ("traceparent", &twice), ("tracestate", "vendor=stale")],
    ];
    let mut traces = std::collections::BTreeSet::new();
    for headers in cases {
        join(&gateway, "s", headers).await.ok();
        let seen = server.last();
        let all: Vec<_> = seen.headers.get_all("traceparent").iter().collect();
        assert_eq!(all.len(), 1, "{headers:?}");
        let parts: Vec<&str> = seen.header("traceparent").unwrap().split('-').collect();
        assert_eq!((parts.len(), parts[0], parts[1].len(), parts[3]), (4, "00", 32, "01"), "{headers:?}");
        assert_ne!(parts[1], TRACE, "{headers:?}");
        assert_eq!(seen.header("tracestate"), None, "{headers:?}: it belongs to a trace that nobody could read");
        assert!(traces.insert(parts[1].to_owned()), "a trace of its own");
    }
    let spans = collector.until(cases.len() * 3).await;
    let requests = spans.iter().filter(|span| span.name == "request");
    assert!(requests.clone().all(|span| span.parent_span_id.is_empty() && traces.contains(&hex(&span.trace_id))));
    assert_eq!(requests.count(), cases.len());
}

#[tokio::test]
async fn who_sent_the_request_says_whether_its_trace_is_kept_and_one_of_so_many_of_ours_is() {
    let (collector, server) = (Collector::new().await, Upstream::echo().await);
    let gateway = ruled(&format!("{TEXT}{}", collector.config("one_of = 5")), &[server.entry("1")], None);
    let (kept, not_kept) = (format!("00-{TRACE}-{PARENT}-01"), format!("00-{TRACE}-{PARENT}-fe"));
    for _ in 0..7 {
        join(&gateway, "s", &[("traceparent", &not_kept)]).await.ok();
        let seen = server.last();
        let parts: Vec<&str> = seen.header("traceparent").unwrap().split('-').collect();
        assert_eq!((parts[1], parts[3]), (TRACE, "02"), "handed on, with the flags that are known");
        assert_ne!(parts[2], PARENT);
    }
    for _ in 0..3 {
        join(&gateway, "s", &[("traceparent", &kept)]).await.ok();
    }
    for _ in 0..20 {
        join(&gateway, "s", &[]).await.ok();
    }
    gateway.stop().await; // sends what waits
    let requests: Vec<Span> = collector.spans().into_iter().filter(|span| span.name == "request").collect();
    let of_ours = requests.iter().filter(|span| hex(&span.trace_id) != TRACE).count();
    assert_eq!((requests.len() - of_ours, of_ours), (3, 4));
}

#[tokio::test]
async fn without_a_collector_and_while_it_observes_headers_pass_as_they_came() {
    let (collector, server) = (Collector::new().await, Upstream::echo().await);
    let plain = ruled(TEXT, &[server.entry("1")], None);
    let watching = ruled(&format!("mode = \"observe\"\n{TEXT}{}", collector.config("")), &[server.entry("1")], None);
    for gateway in [&plain, &watching] {
        join(gateway, "s", &[]).await.ok();
        assert_eq!(server.last().header("traceparent"), None);
        for came in [&*format!("00-{TRACE}-{PARENT}-01"), "nonsense"] {
            join(gateway, "s", &[("traceparent", came), ("tracestate", "a=b")]).await.ok();
            assert_eq!(
                (server.last().header("traceparent"), server.last().header("tracestate")),
                (Some(came), Some("a=b"))
            );
        }
    }
    let spans = collector.until(3).await;
    assert!(spans.iter().any(|span| hex(&span.parent_span_id) == PARENT), "what is observed is traced");
}

#[tokio::test]
async fn an_answer_that_is_held_back_for_its_record_belongs_to_the_same_trace() {
    let collector = Collector::new().await;
    let server = Upstream::answering(|_| json(NEW)).await;
    let text = "[[join]]\nmatch = \"POST /sessions/{id}/join\"\n[record]\nclient_version = \"1\"\n[record.body]\nresponse = \"\"\n";
    let gateway = ruled(&format!("{text}{}", collector.config("")), &[server.entry("2")], None);
    let came = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(join(&gateway, "s", &[("traceparent", &came)]).await.ok().text(), OLD);
    gateway.stop().await;
    let mut names: Vec<String> = collector.spans().into_iter().map(|span| span.name).collect();
    names.sort();
    assert_eq!(names, ["decision", "request", "translate"]);
    assert!(server.last().header("traceparent").unwrap().starts_with(&format!("00-{TRACE}-")));
}

#[tokio::test]
async fn what_is_refused_or_fails_is_marked_so_in_its_trace() {
    let (collector, server) = (Collector::new().await, Upstream::echo().await);
    let text = format!("{TEXT}{}", collector.config(""));
    let gateway = ruled(&text, &[server.entry("1")], None);
    let refused = post(&gateway, "/sessions/s/join", r#"{"session_id":"secret-value","bitrate":1,"schema":7}"#).await;
    assert_eq!(refused.status, 422);
    let nobody = ruled(&text, &[entry(dead_address(), "1")], None);
    assert_eq!(join(&nobody, "s", &[]).await.status, 503);
    // One that takes the request and says nothing.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broken = ruled(&text, &[entry(mute.local_addr().unwrap(), "1")], None);
    let closing = tokio::spawn(async move {
        loop {
            drop(mute.accept().await.unwrap());
        }
    });
    assert_eq!(join(&broken, "s", &[]).await.status, 502);
    closing.abort();
    until("all are there", || collector.spans().iter().filter(|span| span.name == "request").count() == 3).await;
    let spans = collector.spans();
    let of = |status: &str| {
        let all = spans.iter().filter(|span| span.name == "request");
        all.clone().find(|span| said(&span.attributes, "http.response.status_code").as_deref() == Some(status)).unwrap()
    };
    let (client, nobody, server) = (of("422"), of("503"), of("502"));
    assert_eq!(said(&client.attributes, "error.type").as_deref(), Some("bad-record"));
    assert!(client.status.is_none(), "a client's own fault is none of the gateway's");
    assert_eq!(said(&nobody.attributes, "error.type").as_deref(), Some("no-server"));
    assert_eq!(said(&server.attributes, "error.type").as_deref(), Some("broken-answer"));
    for failed in [nobody, server] {
        assert_eq!(failed.status.as_ref().map(|status| status.code), Some(2));
    }
    let of_nobody = spans.iter().filter(|span| span.trace_id == nobody.trace_id && span.name == "decision");
    assert!(of_nobody.clone().any(|span| span.status.as_ref().is_some_and(|status| status.message == "no-server")));
    assert!(!format!("{spans:?}").contains("secret-value"));
}

/// What a gateway's metrics say of spans that were sent and lost.
async fn counted(admin: &Administered) -> [u64; 2] {
    let text = admin.metrics().await;
    ["unskew_spans_sent_total ", "unskew_spans_lost_total "].map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
        line.parse().unwrap()
    })
}

#[tokio::test]
async fn no_request_waits_for_a_collector_and_what_it_does_not_take_is_counted() {
    // One that takes connections and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = Administered::new("silent", &tracing(silent.local_addr().unwrap(), "waiting = 30\n")).await;
    let began = Instant::now();
    for number in 0..100 {
        join(&admin.gateway, &format!("s{number}"), &[]).await.ok();
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let [sent, lost] = counted(&admin).await;
    assert_eq!(sent, 0);
    assert!((270..=300).contains(&lost), "300 spans, 30 of which wait: {lost}");

    // One that refuses, one that takes all but a few, and one that comes back.
    let answers = Arc::new(Mutex::new(StatusCode::BAD_REQUEST));
    let (status, rejected) = (answers.clone(), ExportTracePartialSuccess { rejected_spans: 1, ..Default::default() });
    let server = Upstream::answering(move |_| {
        let partial = ExportTraceServiceResponse { partial_success: Some(rejected.clone()) };
        let body = Bytes::from(partial.encode_to_vec());
        Response::builder().status(*status.lock().unwrap()).body(Full::new(body)).unwrap()
    })
    .await;
    let admin = Administered::new("refusing", &tracing(server.address, "")).await;
    join(&admin.gateway, "a", &[]).await.ok();
    for _ in 0..500 {
        if counted(&admin).await == [0, 3] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(counted(&admin).await, [0, 3], "a batch that is refused is lost");
    *answers.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    join(&admin.gateway, "b", &[]).await.ok();
    until("it is asked again", || server.seen().len() >= 3).await;
    *answers.lock().unwrap() = StatusCode::OK;
    for _ in 0..500 {
        if counted(&admin).await == [2, 4] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(counted(&admin).await, [2, 4], "sent once it takes them, but for the one that it rejects");
}
