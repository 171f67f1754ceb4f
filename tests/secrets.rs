//! What a running gateway writes anywhere holds no secret in plain: events of every sink and form, the log with all that is ever said in it (`trace`), the access log, the store with its
//! journal, the spool of a receiver that is down, a backup. Each kind of secret is really used, and then looked for in every byte.
//!
//! Where a secret stands there legitimately, sealed or as a hash, its plain text is what is looked for, as text, as the bytes that it stands for, and in the
//! encodings in which it travels.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD, HEXLOWER};
use portcullis_testkit::active_directory::{ActiveDirectory, Object};
use portcullis_testkit::login_provider::{LoginProvider, SECRET};
use portcullis_testkit::ports::free_port;
use portcullis_testkit::receiver::{Answer, Receiver};
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::request;
use serde_json::json;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, claims, portcullis};
use crate::login::{Browser, between};
use crate::second_factors::code;

const PASSWORD: &str = "correct horse battery";
const INTROSPECTION_SECRET: &str = "canary-introspection-secret";
const BIND_PASSWORD: &str = "canary-bind-password";
const SINK_PASSWORD: &str = "canary-sink-password";
/// `mfa.key`, in base64.
const FACTOR_KEY: &str = "Q0FOQVJZLWZhY3Rvci1rZXktMDEyMzQ1Njc4OTAxMjM=";

/// The files that hold secrets on purpose: whoever runs the gateway wrote them.
const GIVEN: [&str; 6] = ["secret", "introspection-secret", "bind-password", "sink-password", "mfa.key", "client.pem"];

/// What is looked for: a name, and how it could stand somewhere.
struct Secret {
    what: String,
    forms: Vec<Vec<u8>>,
}

/// Everything that was given to the gateway, or that it gave, and that nobody else may read.
#[derive(Default)]
struct Secrets(Vec<Secret>);

impl Secrets {
    /// As text, and in base64 as it may stand in a header.
    fn text(&mut self, what: &str, text: &str) {
        assert!(text.len() >= 8, "{what} is too short to be looked for: {text:?}");
        let forms = vec![text.as_bytes().to_vec(), BASE64.encode(text.as_bytes()).into_bytes()];
        self.0.push(Secret { what: what.to_owned(), forms });
    }

    /// As text, and as the bytes that it stands for.
    fn bytes(&mut self, what: &str, text: &str, bytes: &[u8]) {
        assert!(bytes.len() >= 16, "{what}");
        let forms = vec![text.as_bytes().to_vec(), bytes.to_vec(), HEXLOWER.encode(bytes).into_bytes()];
        self.0.push(Secret { what: what.to_owned(), forms });
    }

    fn check(&self, place: &str, content: &[u8]) {
        for Secret { what, forms } in &self.0 {
            for form in forms {
                let found = content.windows(form.len()).position(|window| window == form.as_slice());
                let near = found.map(|at| {
                    let (from, to) = (at.saturating_sub(120), content.len().min(at + form.len() + 40));
                    String::from_utf8_lossy(&content[from..to]).into_owned()
                });
                assert_eq!(near, None, "{place} holds {what}");
            }
        }
    }
}

/// Codes of an app in plain: six digits that are not part of a longer number or of a time.
fn shows_code(text: &str, code: &str) -> bool {
    text.match_indices(code).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let behind = text[at + code.len()..].chars().next();
        let is_number = |character: Option<char>| character.is_some_and(|it| it.is_ascii_alphanumeric() || it == '.');
        !is_number(before) && !is_number(behind)
    })
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            let content = fs::read(&path).unwrap();
            found.push((path, content));
        }
    }
    found
}

fn domain() -> ActiveDirectory {
    let zoe = Object::new("CN=zoe,OU=People,DC=corp").with("objectClass", "user").with("sAMAccountName", "zoe");
    ActiveDirectory::start("CN=svc,DC=corp", BIND_PASSWORD, vec![zoe])
}

/// A gateway that knows every way to prove who one is, and writes everywhere it can.
fn site(
    upstream: &Upstream,
    provider: &LoginProvider,
    (asked, up, down): (&Receiver, &Receiver, &Receiver),
    domain: &ActiveDirectory,
    signer: &SigningKey,
    address: SocketAddr,
) -> Site {
    let mut site = Site::new(&upstream.url());
    site.listen_on(address);
    for (name, content) in [
        ("secret", SECRET),
        ("introspection-secret", INTROSPECTION_SECRET),
        ("bind-password", BIND_PASSWORD),
        ("sink-password", SINK_PASSWORD),
        ("mfa.key", FACTOR_KEY),
    ] {
        site.file(name, content);
    }
    site.accept_tokens(&[signer], "prefix = \"t:\"");
    site.tell_identity();
    site.add(&format!(
        "[identity.login]\nallow_http = true\nwhoami = true\n\
         [[identity.oidc]]\nname = \"staff\"\nissuer = \"{}\"\nclient_id = \"portcullis\"\nprefix = \"s:\"\n\
         client_secret = {{ file = \"secret\" }}\nallow_http = true\nrefresh = \"1s\"\n\
         [[identity.password]]\nname = \"local\"\nfile = \"users.toml\"\n\
         [[identity.introspection]]\nname = \"opaque\"\nurl = \"http://{}/introspect\"\nallow_http = true\nprefix = \"o:\"\n\
         client_id = \"gateway\"\nclient_secret = {{ file = \"introspection-secret\" }}\naudiences = [\"app\"]\n\
         [[identity.ldap]]\nname = \"people\"\nfor = \"login\"\nprefix = \"t:\"\nurl = \"{}\"\nallow_plain = true\nbase = \"DC=corp\"\n\
         user_filter = \"(sAMAccountName={{id}})\"\nbind_dn = \"CN=svc,DC=corp\"\nbind_password = {{ file = \"bind-password\" }}\n",
        provider.issuer(),
        asked.address(),
        domain.url(),
    ));
    site.add("[store]\npath = \"my.db\"\n[mfa]\nkey = { file = \"mfa.key\" }\n[backup]\npath = \"backups\"\n");
    site.add("[access_log]\nkind = \"file\"\npath = \"access.log\"\n[spool]\npath = \"spool\"\n");
    for format in ["ecs", "ocsf", "asim", "cef", "leef"] {
        site.add(&format!(
            "[[sink]]\nname = \"{format}\"\nkind = \"file\"\npath = \"{format}.log\"\nformat = \"{format}\"\n"
        ));
    }
    for (name, receiver) in [("up", up), ("down", down)] {
        site.add(&format!(
            "[[sink]]\nname = \"{name}\"\nkind = \"http\"\n[sink.http]\nurl = \"http://{}/\"\nallow_http = true\ngzip = false\n\
             auth = {{ user = \"u\", password = {{ file = \"sink-password\" }} }}\n",
            receiver.address()
        ));
    }
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let file = site.path("users.toml");
    let added =
        portcullis().args(["user", "add", "alice", "--file"]).arg(file).stdin(&format!("{PASSWORD}\n")).run(PATIENCE);
    assert!(added.status.success(), "{:?}", added.stderr);
    site
}

/// What a browser does at a provider: logs in, comes back with a code that is none, and shows a cookie that is none.
fn by_a_provider(gateway: &Gateway, provider: &LoginProvider, secrets: &mut Secrets) {
    let own = format!("http://{}", gateway.address);
    let mut browser = Browser::default();
    let shown = browser.go(&format!("{own}/reports?token=canary-query-of-a-page"));
    let with = between(shown.answer.text(), "<a href=\"", "\"").expect("a choice of logins").replace("&amp;", "&");
    let shown = browser.go(&format!("{own}{with}"));
    let shown = browser.answer_provider(provider, shown, "bob");
    assert_eq!(shown.answer.status(), 200, "{}: {}", shown.url, shown.answer.text());
    secrets.text("a query", "canary-query-of-a-page");
    let back = browser.visited.iter().find(|url| url.contains("/callback/staff?")).expect("it came back").clone();
    secrets.text("an authorization code", between(&back, "code=", "&").unwrap());
    secrets.text("the state of a login", between(&back, "state=", "&").unwrap());
    browser.go(&format!("{own}/.portcullis/login?with=staff"));
    let forged = back.replace(between(&back, "code=", "&").unwrap(), "canary-code-that-is-none");
    assert_eq!(browser.once("GET", &forged, &[], "").status(), 401);
    secrets.text("a code that is none", "canary-code-that-is-none");
    let refreshed = || (provider.requests("refresh_token") >= 1).then_some(());
    wait::until(PATIENCE, refreshed).expect("the provider is asked again");
    let tokens = provider.tokens();
    assert!(tokens.len() >= 5, "access, refresh and id tokens: {}", tokens.len());
    for token in tokens {
        secrets.text("a token of the provider", &token);
    }
    own_cookies(&browser, secrets);
}

/// Sessions are 256 bits, which may stand as bytes, too.
fn own_cookies(browser: &Browser, secrets: &mut Secrets) {
    let mut sessions = 0;
    for value in browser.given.iter().filter(|value| value.len() >= 16) {
        match BASE64URL_NOPAD.decode(value.as_bytes()) {
            Ok(bytes) if bytes.len() == 32 => {
                sessions += 1;
                secrets.bytes("the id of a session, or what binds a form", value, &bytes);
            }
            Ok(_) | Err(_) => secrets.text("a cookie", value),
        }
    }
    assert!(sessions > 0);
}

/// What Alice does: logs in with her password and mistypes it, adds an app, shows it, mistypes it, and uses a recovery code. The codes of her app.
fn by_a_password(gateway: &Gateway, secrets: &mut Secrets) -> Vec<String> {
    let own = format!("http://{}", gateway.address);
    let mut browser = Browser::default();
    let page = browser.go(&format!("{own}/.portcullis/login?to=/.portcullis/factors"));
    let wrong = browser.send_form(&page, "name=\"password\"", "name=alice&password=canary-wrong-password");
    assert_eq!(wrong.answer.status(), 403);
    secrets.text("a wrong password", "canary-wrong-password");
    let page =
        browser.send_form(&wrong, "name=\"password\"", "name=canary-typed-as-a-name&password=canary-wrong-password");
    secrets.text("a password where a name belongs", "canary-typed-as-a-name");
    let page =
        browser.send_form(&page, "name=\"password\"", &format!("name=alice&password={}", PASSWORD.replace(' ', "+")));
    secrets.text("a password", PASSWORD);
    secrets.text("what proves a login", page.url.split_once("?proof=").unwrap().1);
    let page = browser.send_form(&page, "begin-totp", "name=phone");
    let secret = between(page.answer.text(), "<code id=\"secret\">", "</code>").unwrap().replace(' ', "");
    secrets.bytes("the secret of an app", &secret, &BASE32_NOPAD.decode(secret.as_bytes()).unwrap());
    let mut codes = vec![code(&secret, -1)];
    let page = browser.send_form(&page, "confirm-totp", &format!("code={}", codes[0]));
    let recovery: Vec<String> = page
        .answer
        .text()
        .split("<li><code>")
        .skip(1)
        .map(|piece| piece.split('<').next().unwrap().to_owned())
        .collect();
    assert_eq!(recovery.len(), 10);
    for code in &recovery {
        secrets.text("a recovery code", code);
        secrets.text("a recovery code without its line", &code.replace('-', ""));
    }
    let step_up = format!("{own}/.portcullis/step-up?return=/a");
    for tried in [code(&secret, -1), code(&secret, 0)] {
        let page = browser.go(&step_up);
        browser.send_form(&page, "name=\"code\"", &format!("code={tried}"));
        codes.push(tried);
    }
    let page = browser.go(&step_up);
    let page = browser.send_form(&page, "name=\"code\"", &format!("code={}", recovery[3]));
    assert_eq!(page.answer.status(), 200, "{}", page.answer.text());
    own_cookies(&browser, secrets);
    for (user, password) in [("alice", PASSWORD), ("alice", "canary-wrong-basic")] {
        let pair = BASE64.encode(format!("{user}:{password}").as_bytes());
        gateway.get("/b", &[("authorization", &format!("Basic {pair}"))]);
        secrets.text("a name and a password in a header", &pair);
    }
    secrets.text("a wrong password in a header", "canary-wrong-basic");
    codes
}

/// What programs send: keys, tokens, proofs; good and bad.
fn by_programs(gateway: &Gateway, key: &str, signer: &SigningKey, secrets: &mut Secrets) {
    let status = |headers: &[(&str, &str)]| gateway.get("/p?token=canary-query", headers).status();
    secrets.text("a query", "canary-query");
    assert_eq!(status(&[("x-api-key", key)]), 200);
    secrets.text("the secret of an API key", key.split('_').nth(2).unwrap());
    assert_eq!(status(&[("x-api-key", "pcl_robot_canary-bad-key_x")]), 401);
    secrets.text("an API key that is none", "canary-bad-key");
    for (what, key, expected) in [("a bearer token", signer, 200), ("a forged token", &signer.impostor(), 401)] {
        let token = key.token(&claims("zoe"));
        assert_eq!(status(&[("authorization", &format!("Bearer {token}"))]), expected, "{what}");
        secrets.text(what, &token);
        secrets.text(what, token.rsplit('.').next().unwrap());
    }
    let holder = SigningKey::es256("holder");
    let token = signer.token(&claims("zoe").set("cnf", json!({ "jkt": holder.thumbprint() })));
    let proof = holder.proof("GET", "http://gateway.test/p", &token);
    let headers = [("authorization", format!("DPoP {token}")), ("dpop", proof.clone())];
    let sent = [("authorization", headers[0].1.as_str()), ("dpop", headers[1].1.as_str())];
    assert_eq!((status(&sent), status(&sent)), (200, 401), "a proof is good once");
    secrets.text("a bound token", &token);
    secrets.text("a proof", &proof);
    secrets.text("the signature of a proof", proof.rsplit('.').next().unwrap());
    for (token, expected) in [("canary-opaque-token", 200), ("canary-unknown-token", 401)] {
        assert_eq!(status(&[("authorization", &format!("Bearer {token}"))]), expected, "{token}");
        secrets.text("an opaque token", token);
    }
    let cookie = "portcullis-session=canary-session-that-is-none";
    assert_eq!(status(&[("cookie", cookie)]), 401);
    secrets.text("a cookie that is none", "canary-session-that-is-none");
    let headers = [
        ("authorization", "Bearer canary-beside"),
        ("x-api-key", "canary-beside-key"),
        ("cookie", "app=canary-of-the-application"),
    ];
    assert_eq!(gateway.send(request("POST", "/p", &headers, b"canary-body")).status(), 401);
    for text in ["canary-beside", "canary-beside-key", "canary-of-the-application", "canary-body"] {
        secrets.text("what came beside", text);
    }
}

#[test]
fn no_byte_that_is_written_is_of_a_secret() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let provider = LoginProvider::start(&format!("http://{address}/.portcullis"));
    let (upstream, domain) = (Upstream::start(), domain());
    let asked = Receiver::start(|request| {
        let is_known = String::from_utf8_lossy(&request.body).contains("token=canary-opaque-token&");
        let active = json!({ "active": true, "sub": "otto", "aud": "app" });
        Answer::status(200).body(if is_known { active } else { json!({ "active": false }) }.to_string())
    });
    let (up, down) = (Receiver::start(|_| Answer::status(200)), Receiver::start(|_| Answer::status(503)));
    let (signer, mut secrets) = (SigningKey::es256("k"), Secrets::default());
    let mut site = site(&upstream, &provider, (&asked, &up, &down), &domain, &signer, address);
    let key = site.key("robot", "service:robot", "");
    let gateway = site.start_by(portcullis().env("PORTCULLIS_LOG", "trace"));

    by_a_provider(&gateway, &provider, &mut secrets);
    let codes = by_a_password(&gateway, &mut secrets);
    by_programs(&gateway, &key, &signer, &mut secrets);
    for (what, text) in [
        ("the secret of the client", SECRET),
        ("the secret of introspection", INTROSPECTION_SECRET),
        ("the password of the directory", BIND_PASSWORD),
        ("the password of a sink", SINK_PASSWORD),
    ] {
        secrets.text(what, text);
    }
    secrets.bytes("the key of second factors", FACTOR_KEY, &BASE64.decode(FACTOR_KEY.as_bytes()).unwrap());
    // They were really used.
    let introspection = format!("Basic {}", BASE64.encode(format!("gateway:{INTROSPECTION_SECRET}").as_bytes()));
    assert!(asked.requests().iter().any(|one| one.header("authorization") == Some(introspection.as_str())));
    assert!(!domain.searches().is_empty(), "the directory was asked, and so bound to");
    let backup = gateway.site.run(&["backup", "create"]);
    assert_eq!(backup.status.code(), Some(0), "{backup:?}");
    let arrived = || {
        let all: Vec<u8> = up.requests().into_iter().flat_map(|request| request.body).collect();
        String::from_utf8_lossy(&all).contains("\"auth.step_up\"").then_some(())
    };
    wait::until(PATIENCE, arrived).expect("events arrive");
    let (folder, mut process) = (gateway.site, gateway.process);
    assert_eq!(process.stop(PATIENCE).code(), Some(0));

    let log = [process.stdout_lines(), process.stderr_lines()].concat().join("\n");
    assert!(log.contains("INFO"), "{log}");
    secrets.check("the log", log.as_bytes());
    for (name, receiver) in [("up", &up), ("down", &down)] {
        assert!(!receiver.requests().is_empty(), "{name}");
        for request in receiver.requests() {
            secrets.check(&format!("what the sink {name} was sent"), &request.body);
        }
    }
    let mut places = BTreeSet::new();
    for (path, content) in files(&folder.path("")) {
        let name = path.strip_prefix(folder.path("")).unwrap().display().to_string();
        if GIVEN.contains(&name.as_str()) {
            continue;
        }
        secrets.check(&name, &content);
        if !content.is_empty() {
            places.insert(name.split(['/', '\\']).next().unwrap().to_owned());
        }
    }
    for place in [
        "events.jsonl",
        "ecs.log",
        "ocsf.log",
        "asim.log",
        "cef.log",
        "leef.log",
        "access.log",
        "my.db",
        "spool",
        "backups",
    ] {
        assert!(places.contains(place), "nothing was written to {place}: {places:?}");
    }
    // Who has the store and the backup reads who there is, so it is not for want of reading that no secret was found.
    for place in ["my.db", "backups"] {
        let found = files(&folder.path("")).into_iter().any(|(path, content)| {
            let name = path.strip_prefix(folder.path("")).unwrap().display().to_string();
            name.starts_with(place) && content.windows(5).any(|window| window == b"alice")
        });
        assert!(found, "{place} can be read");
    }
    for (what, text) in [("the log", log), ("the events", fs::read_to_string(folder.path("events.jsonl")).unwrap())] {
        for code in &codes {
            assert!(!shows_code(&text, code), "{what} shows a code: {code}");
        }
    }
}
