//! The TLS port as redis-cli meets it: certificates on both sides, large values, renewal, and strangers.
//!
//! What could go wrong: bytes are lost or doubled where records and socket buffers do not coincide, somebody without a
//! certificate gets in, a bad file takes the port down, a stranger's bytes do.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
};

use perdura_harness::process::Server;
use perdura_tests::start_perdura;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::{PATIENCE, free_port, info, say};

/// A directory with an authority, a server's certificate and a client's, removed with the test.
pub(super) struct Certificates(PathBuf);

impl Certificates {
    pub(super) fn new(name: &str) -> Certificates {
        let path = std::env::temp_dir().join(format!("perdura-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let made = Certificates(path);
        made.issue();
        made
    }

    /// Makes all of them anew, by a new authority.
    fn issue(&self) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        fs::write(self.file("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.signed_by(&key, &issuer).unwrap();
            fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
            fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
    }

    /// Where one of them is.
    pub(super) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A server with a TLS port beside its plain one.
    pub(super) fn server(&self, auth_clients: &str, io_uring: &str) -> (Server, u16) {
        let port = free_port();
        let server = start_perdura(&[
            ("tls-port", &port.to_string()),
            ("tls-cert-file", &self.file("server.pem")),
            ("tls-key-file", &self.file("server.key")),
            ("tls-ca-cert-file", &self.file("ca.pem")),
            ("tls-auth-clients", auth_clients),
            ("io-uring", io_uring),
        ]);
        (server, port)
    }

    /// redis-cli over TLS, with or without a certificate of its own.
    fn cli(&self, port: u16, has_certificate: bool, arguments: &[&str], input: &[u8]) -> String {
        let mut command = Command::new("timeout");
        command.args(["30", "redis-cli", "-h", "localhost", "-p", &port.to_string(), "--tls"]);
        command.args(["--cacert", &self.file("ca.pem")]);
        if has_certificate {
            command.args(["--cert", &self.file("client.pem"), "--key", &self.file("client.key")]);
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("redis-cli is installed (.ci/run does it)");
        // It may leave before it has read all.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn clients_with_a_certificate_get_in_and_others_do_not() {
    let certificates = Certificates::new("auth");
    for (auth_clients, lets_in_without) in [("yes", false), ("optional", true), ("no", true)] {
        let (server, port) = certificates.server(auth_clients, "yes");
        assert_eq!(certificates.cli(port, true, &["PING"], b""), "PONG\n", "{auth_clients}");
        let without = certificates.cli(port, false, &["PING"], b"");
        assert_eq!(without == "PONG\n", lets_in_without, "{auth_clients}: {without}");
        assert_eq!(say(&mut server.client().unwrap(), "PING"), "PONG", "the plain port serves as well");
        assert!(info(&server, "listener1").contains(&format!("name=tls,bind=127.0.0.1,port={port}")));
    }
}

#[test]
fn large_values_and_pipelines_go_through_whole() {
    let certificates = Certificates::new("large");
    for io_uring in ["yes", "no"] {
        let (server, port) = certificates.server("no", io_uring);
        let value: String = (0..900_000u32).map(|number| char::from(b'a' + (number % 23) as u8)).collect();
        assert_eq!(certificates.cli(port, false, &["-x", "SET", "large"], value.as_bytes()), "OK\n");
        assert_eq!(certificates.cli(port, false, &["GET", "large"], b"").trim_end(), value);
        assert_eq!(say(&mut server.client().unwrap(), "GET large"), value);
        let lines: String = (0..20_000).map(|number| format!("SET key:{number} {number}\r\n")).collect();
        let piped = certificates.cli(port, false, &["--pipe"], lines.as_bytes());
        assert!(piped.contains("errors: 0, replies: 20000"), "{piped}");
    }
}

#[test]
fn certificates_are_renewed_while_the_server_runs_and_bad_ones_change_nothing() {
    let certificates = Certificates::new("renewal");
    let (server, port) = certificates.server("no", "yes");
    let mut client = server.client().unwrap();
    let old_ca = fs::read(certificates.file("ca.pem")).unwrap();
    assert_eq!(certificates.cli(port, false, &["PING"], b""), "PONG\n");
    certificates.issue();
    assert_ne!(certificates.cli(port, false, &["PING"], b""), "PONG\n", "the old certificate is still shown");
    let file = certificates.file("server.pem");
    assert_eq!(say(&mut client, &format!("CONFIG SET tls-cert-file {file}")), "OK");
    assert_eq!(certificates.cli(port, false, &["PING"], b""), "PONG\n");
    fs::write(&file, "nonsense").unwrap();
    let refusal = say(&mut client, &format!("CONFIG SET tls-cert-file {file}"));
    assert!(refusal.contains("Unable to update TLS configuration. Check server logs."), "{refusal}");
    assert!(server.log_tail().contains("Failed to load certificate"), "{}", server.log_tail());
    assert_eq!(certificates.cli(port, false, &["PING"], b""), "PONG\n");
    fs::write(certificates.file("ca.pem"), old_ca).unwrap();
    assert_ne!(certificates.cli(port, false, &["PING"], b""), "PONG\n");
    assert_eq!(say(&mut client, "CONFIG SET tls-port 0"), "OK");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// The server's key in another form; `how` are arguments of `openssl`.
fn rewrap(certificates: &Certificates, how: &[&str], to: &str) -> String {
    let (from, to) = (certificates.file("server.key"), certificates.file(to));
    let mut command = Command::new("openssl");
    command.args(how).args(["-in", &from, "-out", &to, "-passout", "pass:open-sesame"]);
    let output = command.output().expect("openssl is installed (.ci/run does it)");
    assert!(output.status.success(), "{how:?}: {}", String::from_utf8_lossy(&output.stderr));
    to
}

#[test]
fn a_key_under_a_password_opens_with_it_and_not_without() {
    let certificates = Certificates::new("password");
    let (server, port) = certificates.server("no", "yes");
    let mut client = server.client().unwrap();
    let sealed = rewrap(&certificates, &["pkcs8", "-topk8", "-v2", "aes-256-cbc"], "sealed.key");
    let by_scrypt = rewrap(&certificates, &["pkcs8", "-topk8", "-scrypt"], "scrypt.key");
    let old = rewrap(&certificates, &["ec", "-aes256"], "old.key");
    for (setting, reason) in [
        (format!("tls-key-file {sealed}"), "it is encrypted, and tls-key-file-pass is not set"),
        (format!("tls-key-file {sealed} tls-key-file-pass guessed"), "tls-key-file-pass does not open it"),
        (
            format!("tls-key-file {old} tls-key-file-pass open-sesame"),
            "convert it with `openssl pkcs8 -topk8`",
        ),
    ] {
        let refusal = say(&mut client, &format!("CONFIG SET {setting}"));
        assert!(refusal.contains("Unable to update TLS configuration. Check server logs."), "{refusal}");
        let log = server.log_tail();
        assert!(log.contains("Failed to load private key") && log.contains(reason), "{reason} in {log}");
        assert_eq!(certificates.cli(port, false, &["PING"], b""), "PONG\n", "nothing has changed");
    }
    let opened = format!("CONFIG SET tls-key-file {sealed} tls-key-file-pass open-sesame");
    assert_eq!(say(&mut client, &opened), "OK");
    assert_eq!(say(&mut client, &format!("CONFIG SET tls-key-file {by_scrypt}")), "OK");
    assert_eq!(certificates.cli(port, false, &["PING"], b""), "PONG\n");
    let log = server.log_tail();
    assert!(!log.contains("open-sesame") && !log.contains("guessed"), "{log}");
}

#[test]
fn strangers_on_the_tls_port_disturb_nobody() {
    let certificates = Certificates::new("strangers");
    let (server, port) = certificates.server("no", "yes");
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    for bytes in [&b"PING\r\n"[..], b"\x16\x03\x01\xff\xff", &[0; 40_000], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.windows(4).any(|window| window == b"PONG"), "nobody is served in the clear");
    }
    assert_eq!(certificates.cli(port, false, &["PING"], b""), "PONG\n");
    assert_eq!(say(&mut server.client().unwrap(), "PING"), "PONG");
    drop(silent);
}
