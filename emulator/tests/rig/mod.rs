//! A running emulator and a small client for it. The client reads with redis-protocol and blocks.

// Each test binary uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis_protocol::{resp2, resp3};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::{Value, json};

/// An emulator on free ports; it ends when this is dropped.
pub struct Emulator {
    pub child: Child,
    pub ready: Value,
}

impl Emulator {
    /// Starts one whose tokens live for an hour.
    pub fn start() -> Emulator {
        Emulator::with(&[])
    }

    pub fn with(arguments: &[&str]) -> Emulator {
        let mut child = Command::new(env!("CARGO_BIN_EXE_respass-emulator"))
            .args(["--port", "0", "--stdin-lifeline"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the emulator starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let ready = serde_json::from_str(&line).expect("a JSON line");
        Emulator { child, ready }
    }

    pub fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} is a string"))
    }

    pub fn oid(&self) -> &str {
        self.text("oid")
    }

    pub fn stats(&self) -> Value {
        http("GET", &format!("{}/stats", self.text("admin")), &[], None).json()
    }

    /// A token for tests, made to `order`; an ordinary one for null.
    pub fn token(&self, order: &Value) -> String {
        let answer = http("POST", &format!("{}/token", self.text("admin")), &[], Some(order)).json();
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// The object id of one of the identities that there are from the start.
    pub fn oid_of(&self, name: &str) -> &str {
        let identities = self.ready["identities"].as_array().expect("a list");
        let identity = identities.iter().find(|identity| identity["name"] == name).expect("an identity");
        identity["oid"].as_str().expect("a string")
    }

    /// Gives an identity a policy, or takes it away.
    pub fn assign(&self, oid: &str, policy: Option<&str>) -> Answer {
        let order = json!({ "oid": oid, "policy": policy });
        http("POST", &format!("{}/assignment", self.text("admin")), &[], Some(&order))
    }

    /// Switches a fault on, which has to work.
    pub fn strike(&self, order: &Value) {
        let answer = self.fault(order);
        assert_eq!(answer.status, 200, "{order}: {}", answer.body);
    }

    pub fn fault(&self, order: &Value) -> Answer {
        http("POST", &format!("{}/fault", self.text("admin")), &[], Some(order))
    }

    /// Asks the identity endpoint with the right header.
    pub fn identity(&self, query: &str) -> Answer {
        let url = format!("{}?{query}", self.text("identity_endpoint"));
        http("GET", &url, &[("X-IDENTITY-HEADER", self.text("identity_header"))], None)
    }

    /// Asks the metadata service with these headers.
    pub fn imds(&self, query: &str, headers: &[(&str, &str)]) -> Answer {
        let url = format!("{}/metadata/identity/oauth2/token?{query}", self.text("imds"));
        http("GET", &url, headers, None)
    }

    /// Posts a form to Entra's token endpoint of the emulator's tenant.
    pub fn entra(&self, form: &[(&str, &str)]) -> Answer {
        self.authority("POST", &format!("{}/oauth2/v2.0/token", self.text("tenant_id")), form)
    }

    /// Asks Entra, over verified TLS.
    pub fn authority(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        let authority = self.text("authority").strip_prefix("https://").expect("an https address");
        let (name, port) = authority.split_once(':').expect("a port");
        let mut stream = self
            .tls(name, port.parse().expect("a number"), rustls::DEFAULT_VERSIONS)
            .expect("a verified connection");
        let form: Vec<String> =
            form.iter().map(|(key, value)| format!("{key}={}", url_encode(value))).collect();
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        exchange(&mut stream, method, authority, path, &headers, &form.join("&"))
    }

    /// A connection that has not logged in.
    pub fn connect(&self) -> Client {
        self.connect_as("localhost").expect("a verified connection")
    }

    /// A connection that asks the server to be `name`.
    pub fn connect_as(&self, name: &str) -> std::io::Result<Client> {
        self.connect_with(name, rustls::DEFAULT_VERSIONS)
    }

    /// A connection with some versions of TLS.
    pub fn connect_with(
        &self,
        name: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<Client> {
        self.connect_to(port_of(&self.ready["port"]), name, versions)
    }

    fn connect_to(
        &self,
        port: u16,
        name: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<Client> {
        Ok(Client { stream: self.tls(name, port, versions)?, received: Vec::new(), resp3: false })
    }

    fn tls(
        &self,
        name: &str,
        port: u16,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(Path::new(self.text("ca_file"))).expect("a certificate");
        roots.add(ca).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("ring has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tls = ClientConnection::new(Arc::new(config), name).expect("a valid configuration");
        let tcp = TcpStream::connect(("127.0.0.1", port))?;
        tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut stream = StreamOwned::new(tls, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// A RESP3 connection of one of the identities that there are from the start.
    pub fn log_in_as(&self, name: &str) -> Client {
        let oid = self.oid_of(name);
        let token = self.token(&json!({ "oid": oid }));
        let mut client = self.connect();
        let reply = client.ask(&["HELLO", "3", "AUTH", oid, &token]);
        assert!(reply.starts_with('%'), "{name}: {reply}");
        client
    }

    /// What `/stats` says of a node of a cluster.
    pub fn node(&self, node: usize) -> Value {
        self.stats()["nodes"][node].clone()
    }

    /// The port of a node of a cluster.
    pub fn node_port(&self, node: usize) -> u16 {
        port_of(&self.node(node)["port"])
    }

    /// A RESP3 connection to this port, logged in if the port answers.
    pub fn log_in_at(&self, port: u16) -> std::io::Result<Client> {
        let token = self.token(&Value::Null);
        let mut client = self.connect_to(port, "localhost", rustls::DEFAULT_VERSIONS)?;
        let reply = client.ask(&["HELLO", "3", "AUTH", self.oid(), &token]);
        assert!(reply.starts_with('%'), "{reply}");
        Ok(client)
    }

    /// A RESP3 connection to a node of a cluster.
    pub fn log_in_to(&self, node: usize) -> Client {
        self.log_in_at(self.node_port(node)).expect("the node is there")
    }

    /// A RESP3 connection with a login that lasts for `ttl` seconds.
    pub fn log_in(&self, ttl: i64) -> Client {
        let token = self.token(&json!({ "ttl": ttl }));
        let mut client = self.connect();
        let reply = client.ask(&["HELLO", "3", "AUTH", self.oid(), &token]);
        assert!(reply.starts_with('%'), "{reply}");
        client
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if !within(Duration::from_secs(5), || matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))) {
            let _ = self.child.kill();
        }
    }
}

pub fn port_of(value: &Value) -> u16 {
    value.as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port")
}

/// Whether `condition` comes true in time.
pub fn within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    condition()
}

/// A connection to the cache. Replies are given as text: kind byte, then value.
pub struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
    resp3: bool,
}

impl Client {
    pub fn ask(&mut self, command: &[&str]) -> String {
        self.send(&encode(command));
        self.reply()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).expect("the connection takes it");
    }

    pub fn reply(&mut self) -> String {
        self.next().expect("a reply, not the end")
    }

    /// The next reply or push, or nothing at a clean end: close_notify and FIN.
    pub fn next(&mut self) -> Option<String> {
        loop {
            if let Some(reply) = self.decode() {
                return Some(reply);
            }
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(len) => self.received.extend_from_slice(&chunk[..len]),
                Err(error) => panic!("the connection broke: {error}"),
            }
        }
    }

    /// Reads to the end: what arrived, and how it ended.
    pub fn end(&mut self) -> (Vec<u8>, End) {
        let mut bytes = std::mem::take(&mut self.received);
        loop {
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return (bytes, End::CloseNotify),
                Ok(len) => bytes.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return (bytes, End::Fin),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return (bytes, End::Reset),
                Err(error) => panic!("no end: {error}"),
            }
        }
    }

    pub fn tls_version(&self) -> Option<rustls::ProtocolVersion> {
        self.stream.conn.protocol_version()
    }

    /// All bytes up to and with `end`, for replies that redis-protocol cannot read.
    pub fn bytes_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.received);
        while !bytes.ends_with(end) {
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk).expect("the connection holds") {
                0 => panic!("closed before {:?}", String::from_utf8_lossy(end)),
                len => bytes.extend_from_slice(&chunk[..len]),
            }
        }
        bytes
    }

    /// Whether nothing arrives for so long.
    pub fn is_quiet(&mut self, time: Duration) -> bool {
        self.stream.sock.set_read_timeout(Some(time)).expect("a timeout");
        let quiet = match self.stream.read(&mut [0; 1]) {
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            Ok(_) => false,
        };
        self.stream.sock.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        quiet
    }

    fn decode(&mut self) -> Option<String> {
        let first = *self.received.first()?;
        let (text, len) = if self.resp3 && first == b'*' || !b"+-:$*".contains(&first) {
            let (frame, len) = resp3::decode::complete::decode(&self.received).expect("well-formed")?;
            (show_resp3(&frame), len)
        } else {
            let (frame, len) = resp2::decode::decode(&self.received).expect("well-formed")?;
            (show_resp2(&frame), len)
        };
        // HELLO answers in the protocol that it switched to.
        self.resp3 = (self.resp3 || first == b'%') && !text.starts_with("*[$server ");
        self.received.drain(..len);
        Some(text)
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// With the end of TLS before that of TCP.
    CloseNotify,
    Fin,
    Reset,
}

pub fn encode(command: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        bytes.extend_from_slice(format!("${}\r\n{argument}\r\n", argument.len()).as_bytes());
    }
    bytes
}

fn show_resp2(frame: &resp2::types::OwnedFrame) -> String {
    use resp2::types::OwnedFrame as Frame;
    match frame {
        Frame::SimpleString(text) => format!("+{}", String::from_utf8_lossy(text)),
        Frame::Error(text) => format!("-{text}"),
        Frame::Integer(number) => format!(":{number}"),
        Frame::BulkString(text) => format!("${}", String::from_utf8_lossy(text)),
        Frame::Array(elements) => format!("*{}", join(elements.iter().map(show_resp2))),
        Frame::Null => "_".to_owned(),
    }
}

fn show_resp3(frame: &resp3::types::OwnedFrame) -> String {
    use resp3::types::OwnedFrame as Frame;
    match frame {
        Frame::SimpleString { data, .. } => format!("+{}", String::from_utf8_lossy(data)),
        Frame::SimpleError { data, .. } => format!("-{data}"),
        Frame::Number { data, .. } => format!(":{data}"),
        Frame::BlobString { data, .. } | Frame::VerbatimString { data, .. } => {
            format!("${}", String::from_utf8_lossy(data))
        }
        Frame::Array { data, .. } => format!("*{}", join(data.iter().map(show_resp3))),
        Frame::Push { data, .. } => format!(">{}", join(data.iter().map(show_resp3))),
        Frame::Map { .. } => "%".to_owned(),
        Frame::Null => "_".to_owned(),
        other => format!("{other:?}"),
    }
}

fn join(elements: impl Iterator<Item = String>) -> String {
    format!("[{}]", elements.collect::<Vec<_>>().join(" "))
}

/// An HTTP answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub fn http(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
    let (authority, path) =
        url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an http address");
    let body = body.filter(|body| !body.is_null()).map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(authority).expect("the endpoint listens");
    exchange(&mut stream, method, authority, path, headers, &body)
}

fn exchange(
    stream: &mut (impl Read + Write),
    method: &str,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).expect("it takes the request");
    let mut answer = String::new();
    if let Err(error) = stream.read_to_string(&mut answer) {
        // Over TLS the server may end without a close_notify; the length in the head is what counts.
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    }
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn url_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The claims of a token; nothing is checked.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of a token.
pub fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// Seconds since 1970.
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("not that late")
}
