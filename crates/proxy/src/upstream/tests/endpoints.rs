//! Endpoints other than a TCP port in plain text: unix sockets and TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::UnixListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::settings::UpstreamHttp;

/// Answers one connection after another, each with as many requests as come.
async fn answer(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, text: &str) {
    let (mut read, mut answered) = (Vec::new(), 0);
    while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
        let asked = read.windows(4).filter(|window| *window == b"\r\n\r\n").count();
        while answered < asked {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            answered += 1;
        }
    }
}

#[tokio::test]
async fn a_unix_socket_is_an_endpoint() {
    let folder = std::env::temp_dir().join(format!("portcullis-{}-{}", std::process::id(), line!()));
    // One that was killed with the same number may have left its own.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("app.sock");
    let upstream: Rc<TestUpstream> = upstream_at(1, |settings| settings.endpoints = vec![Endpoint::unix(path.clone())]);
    let error = upstream.send(get(), None).await.err().unwrap();
    assert_eq!(error.kind, FaultKind::Unreachable);
    assert!(error.detail.starts_with(&format!("unix:{}: ", path.display())), "{error}");

    let listener = UnixListener::bind(&path).unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer(stream, "by path"));
        }
    });
    for _ in 0..3 {
        assert_eq!(read(upstream.send(get(), None).await.unwrap()).await, (200, "by path".into()));
        let response = upstream.send(request("POST", full("body")), None).await.unwrap();
        assert_eq!(read(response).await, (200, "by path".into()));
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1, "the connection is kept, as one of TCP is");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A certificate authority of the test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn issue(&self, name: &str) -> ClientIdentity {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ClientIdentity { certificates: vec![certificate.der().clone()], key }
    }
}

/// The same over HTTP/2.
async fn answer_streams(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, text: String) {
    let mut server = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = server.accept().await {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        let said = format!("{text} for {}", request.uri());
        body.send_data(said.into(), true).unwrap();
    }
}

/// Listens with a certificate for `name`; with `clients`, whoever comes must show one of that authority.
async fn tls_endpoint(authority: &Authority, name: &str, clients: Option<&Authority>, alpn: &[&[u8]]) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.root()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let ClientIdentity { certificates, key } = authority.issue(name);
    let mut config = builder.with_single_cert(certificates, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let who = stream.get_ref().1.peer_certificates().map_or("nobody", |_| "somebody");
                    let name = stream.get_ref().1.server_name().unwrap_or("no name").to_owned();
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let text = format!("{who} asked {name}");
                    if http2 { answer_streams(stream, text).await } else { answer(stream, &text).await }
                }
            });
        }
    });
    port
}

fn tls_upstream(endpoint: Endpoint, tls: Option<ClientTls>) -> Rc<TestUpstream> {
    upstream_at(1, |settings| {
        settings.endpoints = vec![endpoint];
        settings.tls = tls;
    })
}

#[tokio::test]
async fn tls_is_spoken_to_an_endpoint_whose_certificate_is_of_its_name() {
    let authority = Authority::new();
    let port = tls_endpoint(&authority, "localhost", None, &[b"h2", b"http/1.1"]).await;
    let tls = ClientTls::new(vec![authority.root()], None, None).unwrap();
    let upstream = tls_upstream(Endpoint::https("localhost", port), Some(tls.clone()));
    for _ in 0..2 {
        let response = upstream.send(request("POST", full("body")), None).await.unwrap();
        assert_eq!(read(response).await, (200, "nobody asked localhost".into()));
    }
    assert_eq!(upstream.idle_connections(), 1);
}

#[tokio::test]
async fn who_cannot_prove_to_be_the_upstream_is_not_spoken_to() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let believing =
        |authority: &Authority, name: Option<&str>| Some(ClientTls::new(vec![authority.root()], None, name).unwrap());
    let named = tls_endpoint(&authority, "localhost", None, &[]).await;
    let other = tls_endpoint(&authority, "other.internal", None, &[]).await;
    let speaks_plainly = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = speaks_plainly.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = speaks_plainly.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    });
    let check = async |port: u16, tls: Option<ClientTls>, expected: Result<&str, &str>| {
        let upstream = tls_upstream(Endpoint::https("localhost", port), tls);
        match (upstream.send(get(), None).await, expected) {
            (Ok(response), Ok(text)) => assert_eq!(read(response).await, (200, text.to_owned())),
            (Err(error), Err(fragment)) => {
                assert_eq!(error.kind, FaultKind::Unreachable, "{error}");
                assert!(error.detail.contains(fragment), "{error}");
            }
            (answer, expected) => panic!("{answer:?}, not {expected:?}", answer = answer.map(|_| "an answer")),
        }
    };
    check(named, believing(&authority, None), Ok("nobody asked localhost")).await;
    check(named, believing(&stranger, None), Err("invalid peer certificate")).await;
    check(other, believing(&authority, None), Err("not valid for name")).await;
    check(other, believing(&authority, Some("other.internal")), Ok("nobody asked other.internal")).await;
    check(named, None, Err("TLS is not set up")).await;
    check(plain, believing(&authority, None), Err("corrupt message")).await;
}

#[tokio::test]
async fn the_gateway_shows_its_certificate_where_it_has_one() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let port = tls_endpoint(&authority, "localhost", Some(&clients), &[]).await;
    let with = |identity| ClientTls::new(vec![authority.root()], identity, None).unwrap();
    let known = tls_upstream(Endpoint::https("localhost", port), Some(with(Some(clients.issue("gateway")))));
    assert_eq!(read(known.send(get(), None).await.unwrap()).await, (200, "somebody asked localhost".into()));
    for identity in [None, Some(authority.issue("gateway"))] {
        let unknown = tls_upstream(Endpoint::https("localhost", port), Some(with(identity)));
        assert!(unknown.send(get(), None).await.is_err());
    }
}

#[test]
fn tls_that_could_verify_nobody_is_not_set_up() {
    let authority = Authority::new();
    assert!(matches!(ClientTls::new(Vec::new(), None, None), Err(ClientTlsError::NoRoots)));
    let garbage = CertificateDer::from(vec![1, 2, 3]);
    assert!(matches!(ClientTls::new(vec![garbage], None, None), Err(ClientTlsError::Root(_))));
    let (one, other) = (authority.issue("a"), authority.issue("b"));
    let mixed = ClientIdentity { certificates: one.certificates, key: other.key };
    assert!(matches!(ClientTls::new(vec![authority.root()], Some(mixed), None), Err(ClientTlsError::Identity(_))));
}

#[test]
fn tls_settings_are_equal_if_they_were_made_of_the_same_and_show_no_key() {
    let authority = Authority::new();
    let make = |root| ClientTls::new(vec![root], None, None).unwrap();
    assert_eq!(make(authority.root()), make(authority.root()));
    assert_ne!(make(authority.root()), make(Authority::new().root()));
    let identity = authority.issue("gateway");
    let shown = format!("{:?} {identity:?}", make(authority.root()));
    assert!(shown.contains("REDACTED") || !shown.contains("[48,"), "{shown}");
}

#[tokio::test]
async fn over_tls_the_endpoint_chooses_the_version_where_it_may() {
    let authority = Authority::new();
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    let check = async |http: UpstreamHttp, alpn: &[&[u8]], expected: Result<&str, &str>| {
        let port = tls_endpoint(&authority, "localhost", None, alpn).await;
        let upstream = upstream_at(1, |settings| {
            settings.endpoints = vec![Endpoint::https("localhost", port)];
            settings.tls = Some(ClientTls::new(vec![authority.root()], None, None).unwrap());
            settings.http = http;
        });
        for _ in 0..3 {
            match (upstream.send(request("POST", full("body")), None).await, expected) {
                (Ok(response), Ok(text)) => assert_eq!(read(response).await, (200, text.to_owned()), "{http:?}"),
                (Err(error), Err(fragment)) => {
                    assert_eq!(error.kind, FaultKind::Unreachable, "{http:?} {error}");
                    assert!(error.detail.contains(fragment), "{http:?} {error}");
                }
                (answer, expected) => panic!("{answer:?}, not {expected:?}", answer = answer.map(|_| "an answer")),
            }
        }
        let (kept, streaming) = (upstream.idle_connections(), upstream.http2.as_ref().map_or(0, Pool::len));
        assert!(kept + streaming <= 1, "{http:?}: one connection for all three");
    };
    let streamed = "nobody asked localhost for https://stub.internal/path?q=1";
    let tests = async {
        check(UpstreamHttp::One, both, Ok("nobody asked localhost")).await;
        check(UpstreamHttp::Auto, both, Ok(streamed)).await;
        check(UpstreamHttp::Two, both, Ok(streamed)).await;
        check(UpstreamHttp::Auto, &[b"http/1.1"], Ok("nobody asked localhost")).await;
        check(UpstreamHttp::Auto, &[], Ok("nobody asked localhost")).await;
        check(UpstreamHttp::Two, &[], Err("it does not speak HTTP/2")).await;
        check(UpstreamHttp::Two, &[b"http/1.1"], Err("")).await;
    };
    tokio::task::LocalSet::new().run_until(tests).await;
}

#[tokio::test]
async fn a_request_to_switch_protocols_goes_over_http_1_whatever_is_spoken_otherwise() {
    let authority = Authority::new();
    let port = tls_endpoint(&authority, "localhost", None, &[b"h2", b"http/1.1"]).await;
    let upstream: Rc<TestUpstream> = upstream_at(1, |settings| {
        settings.endpoints = vec![Endpoint::https("localhost", port)];
        settings.tls = Some(ClientTls::new(vec![authority.root()], None, None).unwrap());
        settings.http = UpstreamHttp::Two;
    });
    match upstream.switch(get(), None).await.unwrap() {
        Switch::Answered(response) => assert_eq!(read(response).await, (200, "nobody asked localhost".into())),
        Switch::Switched(..) => panic!("it never switches"),
    }
}
