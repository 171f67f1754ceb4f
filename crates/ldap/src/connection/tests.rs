use tokio::net::TcpListener;

use super::*;

#[test]
fn a_server_is_a_scheme_a_host_and_a_port() {
    for (text, expected) in [
        ("ldaps://dc1.example.com", "ldaps://dc1.example.com:636"),
        ("LDAP://DC1.example.com/", "ldap://dc1.example.com:389"),
        ("ldap://127.0.0.1:3389", "ldap://127.0.0.1:3389"),
        ("ldaps://[::1]", "ldaps://[::1]:636"),
        ("ldaps://[::1]:1636", "ldaps://[::1]:1636"),
    ] {
        assert_eq!(Server::parse(text).unwrap().to_string(), expected);
    }
    for (text, problem) in [
        ("dc1.example.com", ServerProblem::Scheme),
        ("https://dc1.example.com", ServerProblem::Scheme),
        ("ldaps://", ServerProblem::NotHost),
        ("ldaps://dc1/dc=example", ServerProblem::NotHost),
        ("ldaps://dc1?base", ServerProblem::NotHost),
        ("ldaps://dc1:0", ServerProblem::NotHost),
        ("ldaps://dc1:", ServerProblem::NotHost),
        ("ldaps://dc1:70000", ServerProblem::NotHost),
        ("ldaps://dc1:+636", ServerProblem::NotHost),
        ("ldaps://[::1", ServerProblem::NotHost),
        ("ldaps://[dc1]", ServerProblem::NotHost),
        ("ldaps://[::1]636", ServerProblem::NotHost),
        ("ldaps://user@dc1", ServerProblem::NotHost),
    ] {
        assert_eq!(Server::parse(text), Err(problem), "{text}");
    }
}

/// A server that sends this to whoever connects, whatever is asked.
async fn answered(start_tls: bool, answer: Vec<u8>) -> Result<Vec<Entry>, LdapError> {
    searched(start_tls, Scope::Base, answer).await
}

/// The same for a search that goes so far.
async fn searched(start_tls: bool, scope: Scope, answer: Vec<u8>) -> Result<Vec<Entry>, LdapError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { secure: false, host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 1_024];
        let _ = stream.read(&mut asked).await;
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        // Until the other side has heard it.
        while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {}
    };
    let filter = Filter::parse("(a=b)").unwrap();
    let ask = async {
        let mut connection = Connection::open(&server, Security { start_tls, roots: &[] }).await?;
        let search =
            Search { base: "", scope, filter: &filter, id: None, email: None, names: &[], attributes: &[], limit: 1 };
        connection.search(&search).await
    };
    tokio::join!(ask, serve).0
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

const ENTRY: &[u8] = b"\x30\x0c\x02\x01\x01\x64\x07\x04\x03c=a\x30\x00";
const DONE: &[u8] = b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00";

#[test]
fn a_server_that_speaks_something_else_ends_the_connection_and_nothing_more() {
    let nested: Vec<u8> = [0x30, 0x84, 0, 0x3f, 0xff, 0xfa].repeat(700_000);
    let mut refused = DONE.to_vec();
    refused[9] = 50;
    for (what, answer, expected) in [
        ("nothing", Vec::new(), "unexpected end of file"),
        ("a half", ENTRY[..5].to_vec(), "unexpected end of file"),
        ("http", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "no message of LDAP"),
        ("nested a million deep", nested, "no message of LDAP"),
        ("a message of 4 GiB", b"\x30\x84\xff\xff\xff\xff".to_vec(), "more than 4 MiB"),
        (
            "another one's answer",
            DONE.iter().copied().map(|octet| if octet == 1 { 7 } else { octet }).collect(),
            "no message",
        ),
        ("two entries where one may be", [ENTRY, ENTRY, DONE].concat(), "more than 1 entries"),
        (
            "a notice of disconnection",
            b"\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00".to_vec(),
            "ended the connection",
        ),
        ("a no", refused, "failed with result 50"),
    ] {
        let error = block_on(answered(false, answer)).unwrap_err().to_string();
        assert!(error.contains(expected), "{what}: {error}");
    }
    assert_eq!(block_on(answered(false, [ENTRY, DONE].concat())).unwrap().len(), 1);
}

/// A base that is gone, or that a server does not let us read any more, was one without groups: whoever a deny names by a group was let in.
#[test]
fn an_entry_that_is_not_there_is_none_and_a_base_that_is_not_there_is_no_answer() {
    let mut gone = DONE.to_vec();
    gone[9] = 32;
    assert_eq!(block_on(searched(false, Scope::Base, gone.clone())).unwrap(), []);
    let error = block_on(searched(false, Scope::Subtree, gone)).unwrap_err();
    assert!(error.to_string().contains("failed with result 32") && error.leaves_connection(), "{error}");
}

#[test]
fn plain_text_after_the_answer_to_start_tls_is_refused() {
    let yes = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
    let injected = block_on(answered(true, [yes, DONE].concat())).unwrap_err();
    assert!(matches!(injected, LdapError::Malformed), "{injected}");
    let mut no = yes.to_vec();
    no[9] = 2;
    let refused = block_on(answered(true, no)).unwrap_err().to_string();
    assert!(refused.contains("StartTLS failed with result 2"), "{refused}");
}

#[test]
fn an_empty_password_is_never_sent() {
    let bound = block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server { secure: false, host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let mut connection = Connection::open(&server, Security { start_tls: false, roots: &[] }).await.unwrap();
        (connection.bind("cn=a", "").await, connection.bind("", "secret").await)
    });
    assert!(matches!(bound, (Err(LdapError::EmptyPassword), Err(LdapError::EmptyPassword))), "{bound:?}");
}
