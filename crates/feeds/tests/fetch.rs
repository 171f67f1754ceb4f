//! Lists over HTTPS: what is asked, what is believed, and what is not.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use portcullis_feeds::{FeedSettings, FeedState, Finished, Format, Guards, Keeper, Now, Settings, Source, restore};
use portcullis_fetch::UrlSource;
use portcullis_testkit::certificates::{Authority, Issued, San};
use portcullis_testkit::receiver::{Answer, Receiver, Request};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// One feed, fetched as the gateway fetches it.
struct Fetcher {
    folder: tempfile::TempDir,
    settings: FeedSettings,
    keeper: Keeper,
    hours: u64,
}

impl Fetcher {
    fn new(address: SocketAddr, authority: Option<&Authority>) -> Self {
        let roots =
            authority.map(|authority| CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap());
        let source = UrlSource {
            secure: authority.is_some(),
            host: "127.0.0.1".into(),
            port: address.port(),
            path: "/list".into(),
            roots: roots.into_iter().collect(),
            redirects: false,
        };
        let mut settings = FeedSettings::new("partner", Source::Url(Box::new(source)), Format::Text);
        settings.guards = Guards { private: true, ..Guards::default() };
        settings.timeout = Duration::from_secs(20);
        Self { folder: tempfile::tempdir().unwrap(), settings, keeper: Keeper::default(), hours: 0 }
    }

    fn with(mut self, change: impl FnOnce(&mut FeedSettings, &mut UrlSource)) -> Self {
        let Source::Url(mut url) = self.settings.source.clone() else { panic!("a link") };
        change(&mut self.settings, &mut url);
        self.settings.source = Source::Url(url);
        self
    }

    /// Fetches once. Each time is twelve hours later than the one before.
    fn fetch(&mut self) -> Finished {
        self.hours += 12;
        let steady = Duration::from_secs(self.hours * 3_600);
        let now = Now { wall: "2026-11-29T00:00:00Z".parse().unwrap(), steady };
        if self.keeper.is_empty() {
            let all = Settings {
                folder: self.folder.path().to_owned(),
                feeds: vec![Arc::new(self.settings.clone())],
                approved: false,
            };
            self.keeper = Keeper::new(&all, restore(&all, None), now);
        }
        let job = self.keeper.due(now).pop().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(job.run());
        self.keeper.finish(outcome, &[], now, &mut |_| Ok(()))
    }

    #[track_caller]
    fn fails(&mut self, fragment: &str) {
        let finished = self.fetch();
        assert!(!finished.is_current && finished.message.contains(fragment), "{finished:?}");
    }

    #[track_caller]
    fn succeeds(&mut self, fragment: &str) {
        let finished = self.fetch();
        assert!(finished.is_current && finished.message.contains(fragment), "{finished:?}");
    }

    fn entries(&self) -> usize {
        let now =
            Now { wall: "2026-11-29T00:00:00Z".parse().unwrap(), steady: Duration::from_secs(self.hours * 3_600) };
        let report = self.keeper.reports(now).remove(0);
        assert!(report.state != FeedState::Never || report.entries == 0);
        report.entries
    }
}

fn authority() -> (Authority, Issued) {
    let authority = Authority::new("lists");
    let issued = authority.issue(&[San::Host("127.0.0.1")]);
    (authority, issued)
}

fn serve(issued: &Issued, rules: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Receiver {
    Receiver::start_tls(issued, rules)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const LIST: &str = "192.0.2.0/24\n198.51.100.0/24\n";

#[test]
fn a_list_is_asked_for_once_and_then_conditionally() {
    let (authority, issued) = authority();
    let server = serve(&issued, |request| match request.header("if-none-match") {
        Some("\"v1\"") => Answer::status(304),
        _ => Answer::status(200)
            .header("ETag", "\"v1\"")
            .header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
            .body(LIST),
    });
    let mut fetcher = Fetcher::new(server.address(), Some(&authority));
    fetcher.succeeds("2 prefixes");
    fetcher.succeeds("still the same");
    assert_eq!(fetcher.entries(), 2);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let first = &requests[0];
    assert_eq!((first.method.as_str(), first.target.as_str()), ("GET", "/list"));
    assert_eq!(first.header("host"), Some(format!("127.0.0.1:{}", server.address().port()).as_str()));
    assert_eq!((first.header("accept-encoding"), first.header("if-none-match")), (Some("gzip"), None));
    assert!(first.header("user-agent").unwrap().starts_with("portcullis/"));
    assert_eq!(requests[1].header("if-modified-since"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
}

#[test]
fn what_is_compressed_is_bounded_by_what_it_becomes() {
    let (authority, issued) = authority();
    let answer =
        |body: Vec<u8>| move |_: &Request| Answer::status(200).header("Content-Encoding", "gzip").body(body.clone());
    let server = serve(&issued, answer(gzip(LIST.as_bytes())));
    Fetcher::new(server.address(), Some(&authority)).succeeds("2 prefixes");
    let bomb = serve(&issued, answer(gzip(&vec![b'\n'; 64 << 20])));
    Fetcher::new(bomb.address(), Some(&authority)).fails("larger than 4194304 bytes");
    let large = serve(&issued, |_| Answer::status(200).body(vec![b'#'; 10_000_000]));
    Fetcher::new(large.address(), Some(&authority)).fails("larger than 4194304 bytes");
    let torn = serve(&issued, answer(gzip(LIST.as_bytes())[..20].to_vec()));
    Fetcher::new(torn.address(), Some(&authority)).fails("cannot be decompressed");
    let brotli = serve(&issued, |_| Answer::status(200).header("Content-Encoding", "br").body(LIST));
    Fetcher::new(brotli.address(), Some(&authority)).fails("coding `br`");
}

#[test]
fn who_cannot_prove_who_it_is_is_not_believed() {
    let (authority, issued) = authority();
    let server = serve(&issued, |_| Answer::status(200).body(LIST));
    Fetcher::new(server.address(), Some(&Authority::new("another"))).fails("certificate");
    // The right authority, and another name.
    let other = authority.issue(&[San::Host("lists.example")]);
    let misnamed = serve(&other, |_| Answer::status(200).body(LIST));
    Fetcher::new(misnamed.address(), Some(&authority)).fails("certificate");
    // Plain text where TLS is due.
    let plain = Receiver::start(|_| Answer::status(200).body(LIST));
    Fetcher::new(plain.address(), Some(&authority)).fails("cannot connect");
    assert!(server.requests().is_empty() && misnamed.requests().is_empty(), "nothing was asked of them");
    Fetcher::new(plain.address(), None).succeeds("2 prefixes");
}

#[test]
fn a_redirect_leads_nowhere_or_on_the_same_host() {
    let (authority, issued) = authority();
    let elsewhere = serve(&issued, |_| Answer::status(200).body(LIST));
    let target = format!("https://127.0.0.1:{}/list", elsewhere.address().port());
    let server = serve(&issued, move |request| match request.target.as_str() {
        "/list" => Answer::status(302).header("Location", "/moved"),
        "/moved" => Answer::status(200).body(LIST),
        "/away" => Answer::status(307).header("Location", &target),
        "/round" => Answer::status(302).header("Location", "/round"),
        _ => Answer::status(404),
    });
    let at = |path: &str, redirects| {
        Fetcher::new(server.address(), Some(&authority)).with(|_, url| {
            url.path = path.into();
            url.redirects = redirects;
        })
    };
    at("/list", false).fails("redirects are not followed");
    at("/list", true).succeeds("2 prefixes");
    at("/away", true).fails("away from its host");
    at("/round", true).fails("on and on");
    at("/none", true).fails("404");
    assert!(elsewhere.requests().is_empty(), "nobody was led there");
}

#[test]
fn who_does_not_answer_is_not_waited_for() {
    // The kernel takes the connection, and nobody ever looks at it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let hurried = |fetcher: Fetcher| fetcher.with(|settings, _| settings.timeout = Duration::from_millis(200));
    hurried(Fetcher::new(address, None)).fails("no whole answer within 200ms");
    hurried(Fetcher::new(address, Some(&Authority::new("x")))).fails("no whole answer within 200ms");
    let nobody = SocketAddr::from(([127, 0, 0, 1], portcullis_testkit::ports::free_port()));
    Fetcher::new(nobody, None).fails("cannot connect to 127.0.0.1");
}

#[test]
fn what_is_no_list_changes_nothing() {
    let (authority, issued) = authority();
    let bodies: Arc<std::sync::Mutex<Vec<&'static str>>> = Arc::default();
    let given = Arc::clone(&bodies);
    let server = serve(&issued, move |_| Answer::status(200).body(given.lock().unwrap().pop().unwrap_or_default()));
    let mut fetcher = Fetcher::new(server.address(), Some(&authority));
    let mut next = |body: &'static str, fragment: &str, current| {
        bodies.lock().unwrap().push(body);
        let finished = fetcher.fetch();
        assert!(finished.is_current == current && finished.message.contains(fragment), "{body}: {finished:?}");
        assert_eq!(fetcher.entries(), 2, "{body}");
    };
    next(LIST, "2 prefixes", true);
    next("<!DOCTYPE html><h1>503</h1>", "held back: page", false);
    next("", "held back: empty", false);
    next("0.0.0.0/0", "over_broad", false);
    next("0.0.0.0/1\n128.0.0.0/1\n", "over_broad: 0.0.0.0/0", false);
    next("192.0.2.0/24\n", "shrink: 50 %", false);
    next("192.0.2.0/24\nnonsense\n", "line 2, column 1: `nonsense`", false);
    next(LIST, "still the same", true);
}

#[test]
fn a_signed_list_is_believed_by_its_signature_alone() {
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1556193335\tfile:test\n\
        y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==";
    let (authority, issued) = authority();
    let server = serve(&issued, |request| match request.target.as_str() {
        // Signed is the text `test`, which is no list: so far one comes only with the signature.
        "/list" => Answer::status(200).body("test"),
        "/list.minisig" => Answer::status(200).body(SIGNATURE),
        "/forged" => Answer::status(200).body(LIST),
        "/forged.minisig" => Answer::status(200).body(SIGNATURE),
        "/unsigned" => Answer::status(200).body(LIST),
        _ => Answer::status(404),
    });
    let at = |path: &str| {
        Fetcher::new(server.address(), Some(&authority)).with(|settings, url| {
            url.path = path.into();
            let key = portcullis_feeds::PublicKey::parse(KEY).unwrap();
            settings.signature =
                Some(portcullis_feeds::SignatureSettings { key, suffix: ".minisig".into(), max_age: None });
        })
    };
    at("/list").fails("`test` is no address");
    at("/forged").fails("the signature does not hold");
    at("/unsigned").fails("the signature: the answer is 404");
}

#[test]
fn a_file_that_is_none_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut fetcher = Fetcher::new(SocketAddr::from(([127, 0, 0, 1], 1)), None);
    for (source, fragment) in [(pipe, "not a regular file"), (folder.path().to_owned(), "not a regular file")] {
        fetcher.settings.source = Source::File(source);
        fetcher.keeper = Keeper::default();
        fetcher.fails(fragment);
    }
    fetcher.settings.source = Source::File(folder.path().join("nothing"));
    fetcher.keeper = Keeper::default();
    fetcher.fails("cannot read");
}

#[test]
fn what_a_link_asks_for_is_not_told() {
    let server = Receiver::start(|_| Answer::status(302).header("Location", "/other?token=secret"));
    let mut fetcher = Fetcher::new(server.address(), None).with(|_, url| url.path = "/list?key=secret".into());
    let finished = fetcher.fetch();
    assert!(finished.message.contains("/other?…") && !finished.message.contains("secret"), "{finished:?}");
    assert!(!fetcher.settings.source.shown().contains("secret"));
}
