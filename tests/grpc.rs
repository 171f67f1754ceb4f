//! gRPC to a real server, etcd: messages, trailers, and errors that are told in trailers.

use portcullis_testkit::etcd::{Etcd, etcdctl};
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::{Answer, request};

use crate::harness::{Gateway, Site};

fn start(etcd: &Etcd) -> Gateway {
    Site::new(&format!("h2c://{}", etcd.address())).start()
}

/// A message of gRPC: not compressed, its length, itself.
fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), content].concat()
}

/// A field of protobuf that holds bytes.
fn field(number: u8, content: &str) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content.as_bytes()].concat()
}

/// A call over HTTP/1.1, whose caller takes trailers.
fn call(gateway: &Gateway, method: &str, content: &[u8]) -> Answer {
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("connection", "te")];
    gateway.send(request("POST", method, &headers, &message(content)))
}

fn trailer<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.trailers.iter().find_map(|(found, value)| (found == name).then_some(value.as_str()))
}

#[test]
fn messages_and_trailers_go_through() {
    let etcd = Etcd::start();
    let gateway = start(&etcd);
    let put = [field(1, "color"), field(2, "vermilion")].concat();
    let answer = call(&gateway, "/etcdserverpb.KV/Put", &put);
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/grpc")));
    assert_eq!(trailer(&answer, "grpc-status"), Some("0"), "{:?}", answer.trailers);
    let answer = call(&gateway, "/etcdserverpb.KV/Range", &field(1, "color"));
    assert!(answer.body.windows(9).any(|window| window == b"vermilion"));
    assert_eq!(trailer(&answer, "grpc-status"), Some("0"), "{:?}", answer.trailers);
}

#[test]
fn an_error_that_is_told_in_trailers_is_told() {
    let etcd = Etcd::start();
    let gateway = start(&etcd);
    // Without a key.
    let answer = call(&gateway, "/etcdserverpb.KV/Put", &field(2, "of nothing"));
    let told = |name| answer.header(name).or_else(|| trailer(&answer, name));
    assert_eq!((answer.status(), told("grpc-status")), (200, Some("3")), "{answer:?}");
    assert!(told("grpc-message").unwrap().contains("key is not provided"), "{answer:?}");
    let unknown = call(&gateway, "/etcdserverpb.KV/Nothing", b"");
    let told = |name| unknown.header(name).or_else(|| trailer(&unknown, name));
    assert_eq!((unknown.status(), told("grpc-status")), (200, Some("12")), "{unknown:?}");
}

#[test]
fn a_real_client_calls_and_streams_through_the_gateway() {
    let etcd = Etcd::start();
    let gateway = start(&etcd);
    let ask = |arguments: &[&str]| {
        let finished = etcdctl(gateway.address).args(arguments).run(PATIENCE);
        assert!(finished.status.success(), "{arguments:?}: {finished:?}");
        finished.stdout
    };
    assert_eq!(ask(&["put", "color", "vermilion"]), ["OK"]);
    assert_eq!(ask(&["get", "color"]), ["color", "vermilion"]);
    // More than any window holds at once.
    let large = "x".repeat(100_000);
    for nth in 0..3 {
        assert_eq!(ask(&["put", &format!("large/{nth}"), &large]), ["OK"]);
    }
    assert_eq!(ask(&["get", "--prefix", "large/"]).concat().len(), 3 * (large.len() + "large/0".len()));
    // A stream both ways: what happens is told while the call lasts.
    let mut watching = etcdctl(gateway.address).args(["watch", "--rev", "1", "color"]).start();
    watching.wait_for("a change of long ago", PATIENCE, |line| (line == "vermilion").then_some(()));
    ask(&["put", "color", "cobalt"]);
    watching.wait_for("a change of now", PATIENCE, |line| (line == "cobalt").then_some(()));
    // An error is told in trailers, with its words.
    let refused = etcdctl(gateway.address).args(["get", "color", "--rev", "1000000"]).run(PATIENCE);
    assert!(
        !refused.status.success() && refused.stderr.concat().contains("required revision is a future revision"),
        "{refused:?}"
    );
}
