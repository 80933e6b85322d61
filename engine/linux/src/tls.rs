//! TLS between a socket and the engine, by rustls: what comes in is decrypted, what goes out is encrypted.
//!
//! Stands above [`Sockets`], so it is the same over io_uring and epoll, and the engine never knows of it: a client of
//! the TLS port is a client. Certificates are read when listeners are opened and whenever a `tls-` setting is given
//! again, so renewing them is a CONFIG SET; connections that stand keep what they began with.
//!
//! Always true: bytes of replies held here in encrypted form are bounded; a connection that was never shaken hands with
//! has brought nothing to the engine.
//!
//! Not here: which port (`listen.rs`), which settings there are (`core/config`).

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use perdura_core::host::{ClientCertificates, TlsSettings};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::readiness::Sockets;

/// Bytes of replies encrypted at once: a few records, and as much as may wait here for the socket.
const ENCRYPTED_AT_ONCE: usize = 64 * 1024;

/// How an encrypted key begins (PKCS#8, as OpenSSL writes it since 1.0).
const ENCRYPTED_KEY: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// What new connections are made from.
#[derive(Clone)]
pub struct TlsAcceptor(Arc<ServerConfig>);

impl TlsAcceptor {
    /// Reads certificates and keys; `None` where there is no TLS port.
    ///
    /// # Errors
    /// Which file is missing or wrong, in words.
    pub fn new(settings: &TlsSettings) -> Result<Option<TlsAcceptor>, String> {
        if settings.port == 0 {
            return Ok(None);
        }
        if settings.cert_file.is_empty() || settings.key_file.is_empty() {
            return Err("tls-cert-file and tls-key-file are needed for tls-port".into());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(&settings.protocols)?)
            .map_err(|error| format!("tls-protocols: {error}"))?;
        let builder = match settings.client_certificates {
            ClientCertificates::Ignored => builder.with_no_client_auth(),
            wanted => {
                let roots = Arc::new(authorities(settings)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match wanted {
                    ClientCertificates::Optional => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
            }
        };
        let chain = certificates(Path::new(&settings.cert_file))?;
        let key = private_key(settings)
            .map_err(|error| format!("Failed to load private key: {}: {error}", settings.key_file))?;
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("Failed to load certificate: {}: {error}", settings.cert_file))?;
        Ok(Some(TlsAcceptor(Arc::new(config))))
    }

    /// The TLS side of a connection just taken; `None` where memory or randomness have run out.
    pub fn accept(&self) -> Option<Box<TlsStream>> {
        let connection = ServerConnection::new(Arc::clone(&self.0)).ok()?;
        Some(Box::new(TlsStream { connection, outgoing: Vec::new(), has_said_goodbye: false }))
    }
}

fn versions(words: &str) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    if words.trim().is_empty() {
        return Ok(rustls::DEFAULT_VERSIONS.to_vec());
    }
    let known = |word: &str| match word {
        _ if word.eq_ignore_ascii_case("TLSv1.2") => Ok(&rustls::version::TLS12),
        _ if word.eq_ignore_ascii_case("TLSv1.3") => Ok(&rustls::version::TLS13),
        _ => Err(format!("tls-protocols: {word} is not among TLSv1.2 and TLSv1.3")),
    };
    words.split_whitespace().map(known).collect()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let in_words = |error: String| format!("Failed to load certificate: {}: {error}", path.display());
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| in_words(error.to_string()))?.collect();
    let all = all.map_err(|error| in_words(error.to_string()))?;
    if all.is_empty() { Err(in_words("no certificate in it".into())) } else { Ok(all) }
}

/// The key of the certificate; one that is encrypted is opened with the password of the settings.
///
/// # Errors
/// It cannot be read, is none, or the password does not open it, in words.
fn private_key(settings: &TlsSettings) -> Result<PrivateKeyDer<'static>, String> {
    let text = fs::read_to_string(&settings.key_file).map_err(|error| error.to_string())?;
    let password = &settings.key_password.0;
    match text.find(ENCRYPTED_KEY) {
        Some(_) if password.is_empty() => Err("it is encrypted, and tls-key-file-pass is not set".into()),
        Some(at) => decrypted(&text[at..], password),
        None if text.contains("\nDEK-Info:") => {
            Err("it is encrypted in a form that is not read: convert it with `openssl pkcs8 -topk8`".into())
        }
        None => PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string()),
    }
}

fn decrypted(pem: &str, password: &str) -> Result<PrivateKeyDer<'static>, String> {
    let (_, sealed) = SecretDocument::from_pem(pem).map_err(|error| error.to_string())?;
    let sealed =
        EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes()).map_err(|error| error.to_string())?;
    let key =
        sealed.decrypt(password).map_err(|error| format!("tls-key-file-pass does not open it: {error}"))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// Those whose signature on a client's certificate counts.
fn authorities(settings: &TlsSettings) -> Result<RootCertStore, String> {
    let mut files = Vec::new();
    if !settings.ca_cert_file.is_empty() {
        files.push(settings.ca_cert_file.clone().into());
    }
    if !settings.ca_cert_dir.is_empty() {
        let in_words = |error: io::Error| format!("tls-ca-cert-dir {}: {error}", settings.ca_cert_dir);
        let entries: Result<Vec<_>, _> = fs::read_dir(&settings.ca_cert_dir).map_err(in_words)?.collect();
        files.extend(entries.map_err(in_words)?.iter().map(fs::DirEntry::path).filter(|path| path.is_file()));
    }
    if files.is_empty() {
        return Err(
            "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-auth-clients is on".into(),
        );
    }
    let mut roots = RootCertStore::empty();
    for file in files {
        for certificate in certificates(&file)? {
            roots
                .add(certificate)
                .map_err(|error| format!("Failed to load CA certificate: {}: {error}", file.display()))?;
        }
    }
    Ok(roots)
}

/// The TLS side of one connection.
pub struct TlsStream {
    connection: ServerConnection,
    /// Encrypted bytes the socket has not taken yet.
    outgoing: Vec<u8>,
    has_said_goodbye: bool,
}

/// What decrypting brought, beside bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Nothing more for now.
    Open,
    /// The other end sends nothing more.
    End,
    /// It does not speak TLS, or its certificate is not accepted. What it is to be told waits to be sent.
    Broken,
}

impl TlsStream {
    /// Takes in what the socket brought and appends what it means to `plain`.
    pub fn take_in(&mut self, mut encrypted: &[u8], plain: &mut Vec<u8>) -> Heard {
        let mut is_over = false;
        while !encrypted.is_empty() && !is_over {
            let Ok(count) = self.connection.read_tls(&mut encrypted) else { return Heard::Broken };
            let processed = self.connection.process_new_packets();
            // Answers of the handshake, and the reason of a refusal.
            self.gather_outgoing();
            match processed {
                Err(error) => {
                    tracing::debug!("Error accepting a client connection: {error}");
                    return Heard::Broken;
                }
                Ok(state) => is_over = state.peer_has_closed() || count == 0,
            }
            // Ends with WouldBlock when all is read; a stream without a farewell is seen by the socket.
            let _ = self.connection.reader().read_to_end(plain);
        }
        if is_over { Heard::End } else { Heard::Open }
    }

    /// Encrypts some of `plain` and hands it to the socket; how many of its bytes were taken, 0 while the socket is full.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, sockets: &mut dyn Sockets, fd: BorrowedFd, plain: &[u8]) -> io::Result<usize> {
        self.flush(sockets, fd)?;
        if !self.outgoing.is_empty() {
            return Ok(0);
        }
        let count = self.connection.writer().write(&plain[..plain.len().min(ENCRYPTED_AT_ONCE)])?;
        self.gather_outgoing();
        self.flush(sockets, fd)?;
        Ok(count)
    }

    /// Hands encrypted bytes to the socket as far as it takes them.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, sockets: &mut dyn Sockets, fd: BorrowedFd) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match sockets.send(fd, &self.outgoing)? {
                0 => break,
                count => drop(self.outgoing.drain(..count)),
            }
        }
        Ok(())
    }

    /// Tells the other end, once, that nothing more comes, so that it knows nothing was cut off.
    pub fn say_goodbye(&mut self) {
        if !std::mem::replace(&mut self.has_said_goodbye, true) {
            self.connection.send_close_notify();
            self.gather_outgoing();
        }
    }

    /// Encrypted bytes wait for the socket.
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn gather_outgoing(&mut self) {
        while self.connection.wants_write() {
            // A vector takes everything.
            let _ = self.connection.write_tls(&mut self.outgoing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: TlsSettings) -> String {
        match TlsAcceptor::new(&TlsSettings { port: 1, ..settings }) {
            Err(why) => why,
            Ok(_) => panic!("taken"),
        }
    }

    #[test]
    fn without_a_port_nothing_is_read() {
        let settings = TlsSettings { cert_file: "/nowhere".into(), ..TlsSettings::default() };
        assert!(TlsAcceptor::new(&settings).is_ok_and(|acceptor| acceptor.is_none()));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let files = || TlsSettings {
            cert_file: "/nowhere/cert".into(),
            key_file: "/nowhere/key".into(),
            ..TlsSettings::default()
        };
        assert!(refused(TlsSettings::default()).contains("tls-cert-file and tls-key-file"));
        assert!(refused(files()).contains("/nowhere/cert"));
        let required = ClientCertificates::Required;
        assert!(
            refused(TlsSettings { client_certificates: required, ..files() }).contains("tls-ca-cert-file")
        );
        assert!(refused(TlsSettings { protocols: "TLSv1.1".into(), ..files() }).contains("TLSv1.1"));
        assert!(refused(TlsSettings { cert_file: "/dev/null".into(), ..files() }).contains("no certificate"));
    }
}
