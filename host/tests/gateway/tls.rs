//! Packs over TLS: from servers with good and bad certificates, and from a real etcd.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use unskew::gateway::StartError;

use crate::reload::{Folder, TEXT};
use crate::sources::{Etcd, old, pack, serves, start, until_serves};
use crate::support::*;

/// An authority, with its certificate in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

/// A certificate and its key, in files.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), file }
    }

    /// A certificate for this name, with this year as its last.
    fn issue(&self, host: &str, until: i32) -> Shown {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(until, 12, 31));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let stem = format!("{}-{host}-{until}", self.file.file_stem().unwrap().to_str().unwrap());
        let file = |ending: &str| self.file.with_file_name(format!("{stem}.{ending}"));
        let shown = Shown { certificate: file("crt"), key: file("key") };
        std::fs::write(&shown.certificate, certificate.pem()).unwrap();
        std::fs::write(&shown.key, key.serialize_pem()).unwrap();
        shown
    }
}

/// Whom a server lets in.
enum Guests {
    Everybody,
    /// Those with a certificate of the authority in this file.
    Known(PathBuf),
}

/// A server with TLS that has a pack; it stops when it is dropped.
struct Secure {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Secure {
    async fn new(shown: &Shown, guests: &Guests, text: String) -> Secure {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = match guests {
            Guests::Everybody => builder.unwrap().with_no_client_auth(),
            Guests::Known(file) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.unwrap().with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![CertificateDer::from_pem_file(&shown.certificate).unwrap()];
        let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&shown.key).unwrap()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let answer =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Secure { address, task }
    }

    fn source(&self, tls: &str) -> String {
        let port = self.address.port();
        format!(
            "[source]\nstart_ms = 3000\n[source.http]\nurl = \"https://127.0.0.1:{port}/p.toml\"\npoll_ms = 20\n{tls}\n"
        )
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn believing(authority: &Authority) -> String {
    format!("tls = {{ ca = {:?} }}", authority.file)
}

#[tokio::test]
async fn a_pack_is_taken_from_whoever_shows_a_certificate_of_the_configured_authority_and_from_nobody_else() {
    let folder = Folder::new("tls");
    let (ours, others) = (Authority::new(&folder.0, "ours"), Authority::new(&folder.0, "others"));
    let server = Upstream::echo().await;
    let good = Secure::new(&ours.issue("127.0.0.1", 4000), &Guests::Everybody, pack(7)).await;
    let gateway = start(config(&format!("{TEXT}{}", good.source(&believing(&ours))), &[server.entry("1")])).await;
    assert_eq!(serves(&gateway.unwrap()).await, old(7));

    let bad = [
        ("another authority's", others.issue("127.0.0.1", 4000), believing(&ours), "UnknownIssuer"),
        ("one that nobody configured", ours.issue("127.0.0.1", 4000), String::new(), "UnknownIssuer"),
        ("an expired one", ours.issue("127.0.0.1", 2021), believing(&ours), "expired"),
        ("another host's", ours.issue("packs.example", 4000), believing(&ours), "not valid for name"),
        ("another address's", ours.issue("127.0.0.2", 4000), believing(&ours), "not valid for name"),
    ];
    for (what, shown, tls, wanted) in bad {
        let liar = Secure::new(&shown, &Guests::Everybody, pack(7)).await;
        let refused = start(config(&format!("{TEXT}{}", liar.source(&tls)), &[server.entry("1")])).await;
        let reason = match refused {
            Err(StartError::Load(error)) => error.to_string(),
            other => panic!("{what}: {:?}", other.map(|_| "it started")),
        };
        assert!(reason.contains("https://127.0.0.1:") && reason.contains(wanted), "{what}: {reason}");
    }
    // No TLS where TLS is asked for.
    let plain = Upstream::echo().await;
    let address = format!("[source]\nstart_ms = 3000\n[source.http]\nurl = \"https://{}/p.toml\"\n", plain.address);
    let refused = start(config(&format!("{TEXT}{address}{}", believing(&ours)), &[server.entry("1")])).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_certificate_is_shown_to_a_server_that_asks_for_one() {
    let folder = Folder::new("tls-shown");
    let ours = Authority::new(&folder.0, "ours");
    let (shown, server) = (ours.issue("127.0.0.1", 4000), Upstream::echo().await);
    let strict = Secure::new(&shown, &Guests::Known(ours.file.clone()), pack(3)).await;
    let Shown { certificate, key } = ours.issue("gateway", 4000);
    let tls = format!("tls = {{ ca = {:?}, certificate = {certificate:?}, key = {key:?} }}", ours.file);
    let gateway = start(config(&format!("{TEXT}{}", strict.source(&tls)), &[server.entry("1")])).await.unwrap();
    assert_eq!(serves(&gateway).await, old(3));
    let stranger = start(config(&format!("{TEXT}{}", strict.source(&believing(&ours))), &[server.entry("1")])).await;
    assert!(stranger.is_err());
}

#[tokio::test]
async fn files_of_tls_that_can_not_be_used_are_named_at_the_start() {
    let folder = Folder::new("tls-files");
    let ours = Authority::new(&folder.0, "ours");
    let Shown { certificate, key } = ours.issue("gateway", 4000);
    let empty = folder.0.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let other = ours.issue("other", 4000);
    for (tls, wanted) in [
        (format!("ca = {:?}", folder.0.join("nowhere.pem")), "nowhere.pem"),
        (format!("ca = {empty:?}"), "there is no certificate in it"),
        (format!("certificate = {certificate:?}"), "say both certificate and key"),
        (format!("certificate = {certificate:?}, key = {:?}", other.key), "gateway-4000.crt"),
        (format!("certificate = {certificate:?}, key = {certificate:?}"), "gateway-4000.crt"),
        (format!("certificate = {certificate:?}, key = {key:?}, ca = {key:?}"), "there is no certificate in it"),
    ] {
        let source = format!("[source.http]\nurl = \"https://127.0.0.1:1/p.toml\"\ntls = {{ {tls} }}\n");
        let refused = start(config(&format!("{TEXT}{source}"), &[entry(dead_address(), "1")])).await;
        let reason = refused.map(drop).unwrap_err().to_string();
        assert!(reason.contains("source") && reason.contains(wanted), "{tls}: {reason}");
    }
}

#[tokio::test]
async fn etcd_is_watched_over_tls() {
    let folder = Folder::new("tls-etcd");
    let (ours, others) = (Authority::new(&folder.0, "ours"), Authority::new(&folder.0, "others"));
    let [http, peer, https] = [(); 3].map(|()| dead_address().port());
    let etcd = Etcd::secured(&folder.0, [http, peer], https, &ours.issue("127.0.0.1", 4000));
    etcd.put(&pack(1)).await;
    let server = Upstream::echo().await;
    let text = |authority: &Authority| {
        let address = format!("endpoints = [\"https://127.0.0.1:{https}\"]\nkey = \"unskew/p.toml\"\n");
        format!("{TEXT}[source]\nstart_ms = 5000\n[source.etcd]\n{address}{}\n", believing(authority))
    };
    let gateway = start(config(&text(&ours), &[server.entry("1")])).await.unwrap();
    until_serves(&gateway, 1).await;
    etcd.put(&pack(2)).await;
    until_serves(&gateway, 2).await;
    let refused = start(config(&text(&others), &[server.entry("1")])).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
}
