//! `[identity.login]` and `[[identity.oidc]]`: what can be written, what it means, and what is wrong with what.

use std::sync::Arc;
use std::time::Duration;

use portcullis_identity::session::SessionBounds;
use portcullis_identity::settings::{ClientAlgorithm, ClientAudience, ClientProof, KeyLocation};
use portcullis_proxy::pages::PagesSettings;
use portcullis_testkit::certificates::Authority;

use super::{Folder, GATEWAY, GATEWAY_LINES};

const LEAST: &str = "[identity.login]\n[[identity.oidc]]\nname = \"staff\"\nissuer = \"https://op.example\"\nclient_id = \"portcullis\"\n";

fn folder(appended: &str) -> Folder {
    let mut folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
    folder.write("jwks.json", include_str!("../../../../config/jwks.json"));
    folder.write("secret", "hunter2\n");
    folder.write("login.key", "0123456789abcdef0123456789abcdef\n");
    folder.write("ca.pem", Authority::new("provider").certificate());
    folder.environment.insert("SECRET".into(), "pa55".into());
    folder.environment.insert("CLIENT_KEY".into(), portcullis_testkit::tokens::SigningKey::es256("k").pem());
    folder
}

/// With every key.
pub(super) fn folder_of_all() -> Folder {
    folder(
        r#"[identity.login]
path = "/_gate"
idle = "5m"
absolute = "1h"
max_sessions = 7
whoami = true
allow_http = true
key = { file = "login.key" }
[[identity.oidc]]
name = "staff"
label = "Our staff"
issuer = "http://127.0.0.1:8080"
client_id = "portcullis"
client_secret = { file = "secret" }
client_auth = "post"
scopes = ["groups"]
acr_values = ["urn:mfa", "urn:pwd"]
prefix = "staff:"
trust_groups = ["admins"]
leeway = "5s"
refresh = "10m"
logout = false
allow_http = true
timeout = "2s"
ca = "ca.pem"
claims = { id = "email" }
[[identity.oidc]]
name = "partner"
issuer = "https://partner.example"
client_id = "x"
client_secret = { env = "SECRET" }
[[identity.oidc]]
name = "signed"
issuer = "https://signed.example"
client_id = "x"
client_key = { env = "CLIENT_KEY" }
prefix = "signed:"
"#,
    )
}

/// Pages where somebody can log in, and nothing else.
fn pages(prefix: &str) -> PagesSettings {
    let hosts = Arc::default();
    PagesSettings { prefix: prefix.into(), login: true, step_up: false, self_service: false, hosts, allow_http: false }
}

#[test]
fn the_least_login_has_every_default() {
    let loaded = folder(LEAST).loaded();
    assert!(loaded.warnings.is_empty());
    let login = loaded.identity.login.unwrap();
    assert_eq!(login.sessions, SessionBounds::default());
    assert!(!login.allow_http && !login.whoami && login.key.is_none());
    assert_eq!(loaded.proxy.pages, Some(pages("/.portcullis")));
    let [provider] = loaded.identity.oidc.as_slice() else { panic!("there is one") };
    assert!(matches!(provider.client, ClientProof::None));
    assert_eq!(provider.scopes, ["openid", "profile", "email"]);
    assert_eq!((provider.label.as_str(), provider.prefix.as_str()), ("staff", ""));
    assert!(provider.logout && provider.refresh.is_none() && !provider.allow_http);
    let KeyLocation::Discovery { document, .. } = &provider.keys.location else { panic!("it is discovered") };
    assert_eq!(document.shown(), "https://op.example/.well-known/openid-configuration");
    // Without the table there is neither a door nor a cookie.
    let without = folder("").loaded();
    assert!(without.identity.login.is_none() && without.proxy.pages.is_none());
}

#[test]
fn whoever_asks_for_access_has_pages_with_and_without_a_login() {
    let asks = "[store]\n[access]\nself_service = true\n";
    let alone = PagesSettings { login: false, self_service: true, ..pages("/.portcullis") };
    assert_eq!(folder(asks).loaded().proxy.pages, Some(alone));
    assert!(folder("[store]\n[access]\nself_service = false\n").loaded().proxy.pages.is_none());
    let mut both = folder_of_all().loaded().proxy.pages.unwrap();
    assert!(!both.self_service);
    let folder = folder_of_all();
    let text = std::fs::read_to_string(folder.path("portcullis.toml")).unwrap();
    folder.write("portcullis.toml", format!("{text}\n{asks}"));
    both.self_service = true;
    assert_eq!(folder.loaded().proxy.pages, Some(both.clone()));
    let host = "hosts = [\"access.example.com\"]\n";
    folder.write("portcullis.toml", format!("{text}\n{asks}{host}"));
    both.hosts = ["access.example.com".into()].into();
    assert_eq!(folder.loaded().proxy.pages, Some(both));
}

#[test]
fn every_key_reaches_its_setting() {
    let loaded = folder_of_all().loaded();
    let login = loaded.identity.login.unwrap();
    let bounds = SessionBounds { most: 7, idle: Duration::from_secs(300), absolute: Duration::from_secs(3_600) };
    assert_eq!(login.sessions, bounds);
    assert!(login.allow_http && login.whoami);
    assert_eq!(login.key.unwrap().expose(), "0123456789abcdef0123456789abcdef");
    assert_eq!(loaded.proxy.pages, Some(PagesSettings { allow_http: true, ..pages("/_gate") }));
    let [staff, partner, signed] = loaded.identity.oidc.as_slice() else { panic!("there are three") };
    assert!(matches!(&signed.client, ClientProof::Key(key, _) if key.algorithm() == ClientAlgorithm::Es256));
    assert!(matches!(&staff.client, ClientProof::Post(secret) if secret.expose() == "hunter2"));
    assert!(matches!(&partner.client, ClientProof::Basic(secret) if secret.expose() == "pa55"));
    assert!(!format!("{:?}", loaded.identity.oidc).contains("hunter2"));
    assert_eq!((staff.label.as_str(), staff.claims.id.as_str()), ("Our staff", "email"));
    assert_eq!((staff.scopes.as_slice(), staff.acr_values.len()), (["groups".to_owned()].as_slice(), 2));
    assert_eq!((staff.leeway, staff.refresh), (Duration::from_secs(5), Some(Duration::from_secs(600))));
    assert_eq!(staff.keys.timeout, Duration::from_secs(2));
    assert!(staff.allow_http && !staff.logout && staff.trust_groups == ["admins"]);
}

/// The one report, with its place.
#[track_caller]
fn one(appended: &str, code: &str, line: usize, column: usize, message: &str) {
    let place = format!("portcullis.toml:{}:{column}", GATEWAY_LINES + line);
    folder(appended).check(appended, &[(code, &place, message)]);
}

fn instead(before: &str, after: &str) -> String {
    assert!(LEAST.contains(before), "{before}");
    LEAST.replacen(before, after, 1)
}

#[test]
fn a_client_that_signs_has_a_key_that_fits_and_no_secret() {
    let key = portcullis_testkit::tokens::SigningKey::es256("k").pem();
    let with = |lines: &str| {
        let folder = folder(&format!("{LEAST}client_key = {{ file = \"client.pem\" }}\n{lines}"));
        folder.write("client.pem", &key);
        folder.write("secret", "hunter2");
        folder
    };
    let read = |lines: &str| match with(lines).loaded().identity.oidc.remove(0).client {
        ClientProof::Key(key, audience) => (key.algorithm(), audience),
        other => panic!("{other:?}"),
    };
    assert_eq!(read(""), (ClientAlgorithm::Es256, ClientAudience::Issuer));
    let all = "client_auth = \"private_key_jwt\"\nclient_key_id = \"2026\"\nclient_key_alg = \"ES256\"\nclient_audience = \"token_endpoint\"\n";
    assert_eq!(read(all), (ClientAlgorithm::Es256, ClientAudience::Endpoint));
    let check = |lines: &str, line: usize, column: usize, message: &str| {
        let place = format!("portcullis.toml:{}:{column}", GATEWAY_LINES + line);
        with(lines).check(lines, &[("E0203", &place, message)]);
    };
    check("client_key_alg = \"RS256\"\n", 6, 14, "does not sign with RS256");
    check("client_auth = \"basic\"\n", 7, 15, "a secret is sent so, and there is a key");
    check("client_secret = { file = \"secret\" }\n", 6, 14, "a secret and a key");
    let folder = with("");
    folder.write("client.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let place = format!("portcullis.toml:{}:14", GATEWAY_LINES + 6);
    folder.check("no key", &[("E0203", &place, "it is no private key")]);
}

#[test]
fn what_is_wrong_is_said_where_it_stands() {
    one(&instead("[identity.login]\n", "[identity.login]\npath = \"login\"\n"), "E0105", 2, 8, "a path such as");
    one(&instead("[identity.login]\n", "[identity.login]\npath = \"/a/\"\n"), "E0105", 2, 8, "a path such as");
    one(&instead("[identity.login]\n", "[identity.login]\npath = \"/\"\n"), "E0105", 2, 8, "a path such as");
    one(&instead("[identity.login]\n", "[identity.login]\npath = \"/a/../b\"\n"), "E0105", 2, 8, "a path such as");
    one(&instead("[identity.login]\n", "[identity.login]\nidle = \"13h\"\n"), "E0203", 1, 1, "`idle` is longer");
    one(&instead("[identity.login]\n", "[identity.login]\nmax_sessions = 0\n"), "E0105", 2, 16, "max_sessions");
    one(&instead("[identity.login]\n", ""), "E0205", 2, 8, "no `[identity.login]`");
    one(&instead("https://op", "http://op"), "E0203", 4, 10, "over `http://` anybody");
    one(&instead("https://op.example", "op.example"), "E0203", 4, 10, "nothing can be discovered");
    one(&instead("client_id = \"portcullis\"\n", ""), "E0102", 2, 1, "`client_id` is missing");
    let auth = format!("{LEAST}client_auth = \"post\"\n");
    one(&auth, "E0203", 6, 15, "`client_auth` says how a secret is sent");
    one(&format!("{LEAST}client_auth = \"private_key_jwt\"\n"), "E0203", 6, 15, "needs a key, and there is none");
    one(&format!("{LEAST}client_key_id = \"k\"\n"), "E0203", 6, 17, "`client_key_id` is about a key");
    one(
        &format!("{LEAST}client_key_alg = \"HS256\"\n"),
        "E0105",
        6,
        18,
        "\"RS256\", \"PS256\", \"ES256\" or \"EdDSA\"",
    );
    one(&format!("{LEAST}client_audience = \"token\"\n"), "E0105", 6, 19, "\"issuer\" or \"token_endpoint\"");
    one(&format!("{LEAST}scope = []\n"), "E0103", 6, 1, "unknown key `scope`");
    let twice = format!(
        "{LEAST}[[identity.oidc]]\nname = \"staff\"\nissuer = \"https://b\"\nclient_id = \"x\"\nprefix = \"b:\"\n"
    );
    one(&twice, "E0201", 7, 8, "two identity providers are named `staff`");
    let shared = format!("{LEAST}[[identity.oidc]]\nname = \"b\"\nissuer = \"https://b\"\nclient_id = \"x\"\n");
    one(&shared, "E0205", 7, 8, "is also that of `staff`");
    let other = "[[identity.jwt]]\nname = \"api\"\nissuer = \"https://api\"\naudiences = [\"a\"]\njwks = { file = \"jwks.json\" }\n";
    one(&format!("{LEAST}{other}"), "E0205", 3, 8, "is also that of `api`");
    // One issuer gives names for both.
    let same = other.replace("https://api", "https://op.example");
    assert!(folder(&format!("{LEAST}{same}")).loaded().warnings.is_empty());
}

#[test]
fn a_login_without_a_provider_is_said_to_be_none() {
    let warnings = folder("[identity.login]\n").loaded().warnings;
    assert!(warnings.render_human(false).contains("nobody can log in"), "{}", warnings.render_human(false));
}
