//! What the operators' API answers instead of what was wished for: each status that can be had is described, in the form that comes.

use portcullis_testkit::wire::{self, Answer};
use serde_json::json;

use crate::admin_api::Api;
use crate::admin_contract::POLICY;
use crate::schemas;

/// That an answer is one of this status and form, and as the document has it.
#[track_caller]
fn check(answer: &Answer, status: u16, kind: &str) {
    assert_eq!((answer.status(), answer.header("content-type")), (status, Some(kind)), "{}", answer.text());
    let described = schemas::response(status, kind);
    schemas::check(described, &answer.json());
}

const SERVICE: &str = "application/json";
const DATA_PLANE: &str = "application/problem+json";

#[test]
fn each_refusal_is_as_it_is_described() {
    let banning = POLICY.replace("simulate", "enforce");
    let api = Api::start_on(&[("partner.txt", "127.0.0.10\n")], "[limits]\nheader_timeout = \"2s\"\n", &banning);
    let json_body = ("content-type", "application/json");
    let ban = json!({ "on": "192.0.2.7", "for_s": 600, "reason": "case 4711" });
    let of_alice = |method: &str, target: &str, more: &[(&str, &str)], body: &[u8]| {
        let headers = [&[("x-api-key", api.alice.as_str())], more].concat();
        api.send(method, target, &headers, body)
    };

    check(&of_alice("POST", "/v1/bans/add", &[json_body], b"{}"), 400, SERVICE);
    check(&of_alice("GET", "/v1/bans?most=7", &[], b""), 400, SERVICE);
    check(&of_alice("GET", "/v1/%zz", &[], b""), 400, DATA_PLANE);
    check(&api.send("GET", "/v1/status", &[], b""), 401, DATA_PLANE);
    check(&api.post("/v1/bans/add", &api.bob, &ban), 403, DATA_PLANE);
    check(&of_alice("POST", "/v1/bans/add", &[], ban.to_string().as_bytes()), 403, SERVICE);
    check(&of_alice("GET", "/v1/nothing", &[], b""), 404, SERVICE);
    check(&api.post("/v1/bans/remove", &api.alice, &json!({ "on": "192.0.2.99" })), 409, SERVICE);
    check(&of_alice("GET", "/v1/status", &[("host", "other.test")], b""), 421, DATA_PLANE);
    // What announces too much is not waited for, and what grows is cut.
    let head = format!(
        "POST /v1/bans/add HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\ncontent-type: application/json\r\n",
        api.alice
    );
    check(&wire::send(api.address, format!("{head}content-length: 1000000000\r\n\r\n")), 413, SERVICE);
    let grown = wire::chunked(&[&[b' '; 40_000], &[b' '; 40_000]]);
    let grown = [format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes(), grown].concat();
    check(&wire::send(api.address, grown), 413, SERVICE);
    check(&of_alice("GET", &format!("/v1/bans?after={}", "x".repeat(10_000)), &[], b""), 414, DATA_PLANE);
    check(&of_alice("GET", "/v1/status", &[("expect", "the best")], b""), 417, DATA_PLANE);
    check(&of_alice("GET", "/v1/status", &[("x-long", &"x".repeat(20_000))], b""), 431, DATA_PLANE);
    let mut slow = wire::Conn::open(api.address);
    slow.send("GET /v1/status HTTP/1.1\r\nhost: localhost\r\n");
    check(&slow.answer(), 408, DATA_PLANE);
    // The last thing that this address does.
    let here = json!({ "on": "127.0.0.1", "for_s": 600, "reason": "case 4711" });
    assert_eq!(api.post("/v1/bans/add", &api.alice, &here).status(), 200);
    check(&of_alice("GET", "/v1/status", &[], b""), 403, DATA_PLANE);
}

/// The limits of rates of `[limits]` are those of the API, too.
#[test]
fn whoever_asks_too_often_is_told_when_to_ask_again() {
    let limits = "[limits]\nrate_limit = [{ per = \"principal\", requests = 3, window = \"1h\", burst = 3 }]\n";
    let api = Api::start_on(&[("partner.txt", "127.0.0.10\n")], limits, POLICY);
    for _ in 0..3 {
        assert_eq!(api.get("/v1/status", &api.bob).status(), 200);
    }
    let throttled = api.get("/v1/status", &api.bob);
    check(&throttled, 429, DATA_PLANE);
    let after: u64 = throttled.header("retry-after").expect("it says when").parse().expect("in seconds");
    assert!((1..=3_600).contains(&after), "{after}");
    assert_eq!(api.get("/v1/status", &api.alice).status(), 200, "it is one caller's limit");
}
