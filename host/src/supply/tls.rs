//! TLS of the addresses that are asked: whose certificates are taken, and which one is shown.

use std::path::Path;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::Address;
use crate::config::TlsEntry;

/// The TLS of a client that asks these addresses. Without a `ca` the authorities of the system are believed; where no
/// address is `https://`, nobody is.
///
/// # Errors
/// Which file can't be used, and why.
pub(crate) fn client(entry: Option<&TlsEntry>, addresses: &[&Address]) -> Result<ClientConfig, String> {
    let nobody = TlsEntry::default();
    let entry = entry.unwrap_or(&nobody);
    // A provider of its own: the default one of the process is the embedding program's to choose.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("no TLS: {error}"))?;
    let builder = match &entry.ca {
        Some(file) => builder.with_root_certificates(authorities(file)?),
        None if addresses.iter().any(|address| address.is_secure()) => {
            let system = builder.with_native_roots();
            system.map_err(|error| format!("no authority of this system's can be read: {error}: say tls.ca"))?
        }
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    match (&entry.certificate, &entry.key) {
        (Some(certificate), Some(key)) => {
            let shown = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| refused(key, &error))?;
            builder.with_client_auth_cert(shown, secret).map_err(|error| refused(certificate, &error))
        }
        (Some(_) | None, _) => Ok(builder.with_no_client_auth()),
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store.add(certificate).map_err(|error| refused(file, &error))?;
    }
    Ok(store)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| refused(file, &error))?;
    match found.is_empty() {
        true => Err(refused(file, &"there is no certificate in it (PEM)")),
        false => Ok(found),
    }
}

fn refused(file: &Path, reason: &dyn std::fmt::Display) -> String {
    format!("file {}: {reason}", file.display())
}
