//! TLS on the public address: the certificate, checked before it is used, and read again when its files change.
//!
//! Not here: accepting connections, see `connections.rs`.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    Error, InconsistentKeys, ServerConfig,
    client::verify_server_name,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use simple_asn1::{ASN1Block, from_der};
use tokio::{io::AsyncRead, io::AsyncWrite, sync::watch};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use zeroize::Zeroizing;

use crate::{App, clock::Timestamp, config};

/// How often the files are looked at. They are compared by content: Kubernetes swaps a link above them.
const LOOK: Duration = Duration::from_secs(3);

/// Why a certificate can't be used; each text names the setting and what to change.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that can't be read.
    #[error("{setting} {}: {cause}", path.display())]
    Unreadable {
        /// Which of both.
        setting: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Whoever has the key can pretend to be this server.
    #[error("tls.key_file {}: everybody on this machine may read it; run: chmod o= {}", .0.display(), .0.display())]
    ReadableByOthers(PathBuf),
    /// Not the form that is wanted.
    #[error("{setting}: {problem}")]
    Malformed {
        /// Which of both.
        setting: &'static str,
        /// What to change.
        problem: String,
    },
    /// Two files that don't belong together.
    #[error("tls.key_file: it is not the key of the certificate in tls.certificate_file")]
    KeyMismatch,
    /// Nobody would accept it.
    #[error("tls.certificate_file: the certificate expired at {0} UTC")]
    Expired(String),
    /// Nobody would accept it yet.
    #[error("tls.certificate_file: the certificate is not valid before {0} UTC; is the clock right?")]
    NotYetValid(String),
}

/// A certificate with its key, fit for use.
struct Pair {
    key: Arc<CertifiedKey>,
    /// Seconds since the epoch.
    expires: i64,
    /// Of both files, to see a change.
    fingerprint: Vec<u8>,
}

/// The certificate in use.
struct Current(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// TLS for one address.
pub(super) struct Tls {
    certificate_file: PathBuf,
    key_file: PathBuf,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
    first: Pair,
}

impl Tls {
    /// Reads and checks the files, when TLS is on.
    pub(super) fn load(settings: &config::Tls, now: Timestamp) -> Result<Option<Self>, TlsError> {
        let (Some(certificate_file), Some(key_file)) = (&settings.certificate_file, &settings.key_file) else {
            return Ok(None);
        };
        let first = read(certificate_file, key_file).and_then(|files| files.check(now))?;
        let current = Arc::new(Current(RwLock::new(Arc::clone(&first.key))));
        let unusable = |error: Error| TlsError::Malformed { setting: "tls", problem: error.to_string() };
        let mut configuration = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(configuration));
        let (certificate_file, key_file) = (certificate_file.clone(), key_file.clone());
        Ok(Some(Self { certificate_file, key_file, current, acceptor, first }))
    }

    /// Agrees on keys with a client.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        self.acceptor.accept(stream).await
    }

    /// Takes a new certificate when the files have one. A pair that is no good changes nothing.
    pub(super) async fn follow(self: Arc<Self>, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
        app.metrics.certificate_expires(self.first.expires);
        let mut known = Some(self.first.fingerprint.clone());
        let mut clock = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = stopped.changed() => return,
                _ = clock.tick() => {}
            }
            let (certificate_file, key_file) = (self.certificate_file.clone(), self.key_file.clone());
            let Ok(found) = tokio::task::spawn_blocking(move || read(&certificate_file, &key_file)).await else {
                continue;
            };
            let fingerprint = found.as_ref().ok().map(Files::fingerprint);
            if fingerprint == known {
                continue;
            }
            known = fingerprint;
            match found.and_then(|files| files.check(app.store.now())) {
                Ok(pair) => {
                    *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = pair.key;
                    app.metrics.certificate_expires(pair.expires);
                    app.metrics.certificate_reload("succeeded");
                    tracing::info!("new connections get the new certificate");
                }
                Err(error) => {
                    app.metrics.certificate_reload("refused");
                    tracing::error!(%error, "the new certificate is no good: the one before stays in use");
                }
            }
        }
    }
}

/// Checks the files as a start would.
///
/// # Errors
/// [`TlsError`] says what to change.
pub fn check(settings: &config::Tls, now: Timestamp) -> Result<(), TlsError> {
    Tls::load(settings, now).map(drop)
}

/// Whether the certificate is for this host; true when there is none, or one that can't be read.
pub fn is_for(settings: &config::Tls, host: &str) -> bool {
    let Some(file) = &settings.certificate_file else { return true };
    let Ok(certificate) = CertificateDer::from_pem_file(file) else { return true };
    let (Ok(parsed), Ok(name)) = (ParsedCertificate::try_from(&certificate), ServerName::try_from(host)) else {
        return true;
    };
    verify_server_name(&parsed, &name).is_ok()
}

/// The bytes of both files.
struct Files {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

fn read(certificate_file: &Path, key_file: &Path) -> Result<Files, TlsError> {
    let unreadable = |setting, path: &Path| {
        let path = path.to_owned();
        move |cause| TlsError::Unreadable { setting, path, cause }
    };
    let certificate = fs::read(certificate_file).map_err(unreadable("tls.certificate_file", certificate_file))?;
    let key = Zeroizing::new(fs::read(key_file).map_err(unreadable("tls.key_file", key_file))?);
    let mode = fs::metadata(key_file).map_err(unreadable("tls.key_file", key_file))?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(TlsError::ReadableByOthers(key_file.to_owned()));
    }
    Ok(Files { certificate, key })
}

impl Files {
    fn fingerprint(&self) -> Vec<u8> {
        [digest(&SHA256, &self.certificate).as_ref(), digest(&SHA256, &self.key).as_ref()].concat()
    }

    fn check(&self, now: Timestamp) -> Result<Pair, TlsError> {
        let malformed = |setting, problem: &str| TlsError::Malformed { setting, problem: problem.to_owned() };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| malformed("tls.certificate_file", &format!("not PEM: {error}")))?;
        let leaf =
            chain.first().ok_or_else(|| malformed("tls.certificate_file", "it holds no PEM block CERTIFICATE"))?;
        let (begins, ends) = validity(leaf)
            .ok_or_else(|| malformed("tls.certificate_file", "its first certificate is not an X.509 one"))?;
        if ends.seconds <= now.seconds() {
            return Err(TlsError::Expired(ends.text));
        }
        if begins.seconds > now.seconds() {
            return Err(TlsError::NotYetValid(begins.text));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            malformed("tls.key_file", "it holds no PEM block PRIVATE KEY; an encrypted key is not read")
        })?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch,
            error => malformed("tls.key_file", &error.to_string()),
        })?;
        Ok(Pair { key: Arc::new(key), expires: ends.seconds, fingerprint: self.fingerprint() })
    }
}

/// A moment that a certificate names.
struct Moment {
    seconds: i64,
    text: String,
}

/// From when until when a certificate is valid (RFC 5280 §4.1.2.5).
fn validity(certificate: &CertificateDer<'_>) -> Option<(Moment, Moment)> {
    let blocks = from_der(certificate).ok()?;
    let ASN1Block::Sequence(_, certificate) = blocks.first()? else { return None };
    let ASN1Block::Sequence(_, signed) = certificate.first()? else { return None };
    // The first field may be left out: version, serialNumber, signature, issuer, validity.
    let has_version = matches!(signed.first()?, ASN1Block::Explicit(..));
    let ASN1Block::Sequence(_, validity) = signed.get(3 + usize::from(has_version))? else { return None };
    let moment = |block: &ASN1Block| match block {
        ASN1Block::UTCTime(_, time) | ASN1Block::GeneralizedTime(_, time) => {
            Some(Moment { seconds: time.assume_utc().unix_timestamp(), text: time.to_string() })
        }
        _ => None,
    };
    Some((moment(validity.first()?)?, moment(validity.get(1)?)?))
}
