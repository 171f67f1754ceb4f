//! `[mfa]`.

use super::{Folder, GATEWAY};

const STORE: &str = "[store]\npath = \"my.db\"\n";
const LEAST: &str = "[mfa]\nkey = { file = \"mfa.key\" }\n";

fn folder(appended: &str) -> Folder {
    let folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
    folder.write("mfa.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    folder.write("old.key", "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\n");
    folder.write("bad.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n");
    folder
}

fn passkeys(rp_id: &str, origin: &str) -> String {
    format!("{STORE}{LEAST}[mfa.passkeys]\nrp_id = \"{rp_id}\"\norigins = [\"{origin}\"]\n")
}

/// Every key that can be written.
pub(super) fn folder_with_all() -> Folder {
    let more = "other_key = { file = \"old.key\" }\nissuer = \"Example\"\ntotp = false\nfirst_factor = \"operator\"\nenabled = true\n";
    let passkeys = "[mfa.passkeys]\nrp_id = \"example.com\"\norigins = [\"https://app.example.com\", \"https://example.com:8443\"]\n";
    folder(&format!("{STORE}{LEAST}{more}{passkeys}"))
}

#[test]
fn what_is_written_is_what_holds() {
    let settings = folder_with_all().loaded().mfa.unwrap().settings;
    assert_eq!((&*settings.issuer, settings.totp, settings.first_by_login), ("Example", false, false));
    let party = settings.passkeys.unwrap();
    assert_eq!((&*party.id, &*party.name, party.origins.len()), ("example.com", "Example", 2));
    let least = folder(&format!("{STORE}{LEAST}")).loaded().mfa.unwrap().settings;
    assert_eq!((&*least.issuer, least.totp, least.first_by_login, least.passkeys), ("portcullis", true, true, None));
    assert!(folder("").loaded().mfa.is_none());
    assert!(folder(&format!("{LEAST}enabled = false\n")).loaded().mfa.is_none());
    for (rp_id, origin) in [
        ("example.com", "https://a.b.example.com"),
        ("localhost", "http://localhost:8080"),
        ("app.localhost", "http://app.localhost"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ] {
        assert!(folder(&passkeys(rp_id, origin)).loaded().mfa.is_some(), "{rp_id} {origin}");
    }
}

#[test]
fn what_cannot_be_is_told_where_it_stands() {
    let check = |text: &str, code: &'static str, line: usize, column: usize, fragment: &'static str| {
        folder(text).check(text, &[(code, &format!("portcullis.toml:{}:{column}", line + 10), fragment)]);
    };
    check(LEAST, "E0203", 1, 1, "write `[store]`");
    let with = |more: &str| format!("{STORE}{LEAST}{more}");
    check(&with("").replace("mfa.key", "bad.key"), "E0105", 4, 7, "32 bytes in base64");
    check(&with("other_key = { file = \"bad.key\" }\n"), "E0105", 5, 13, "this cannot be a key");
    check(&with("").replace("key = { file = \"mfa.key\" }\n", ""), "E0102", 3, 1, "`key` is missing");
    check(&with("secret = \"x\"\n"), "E0103", 5, 1, "unknown key `secret`");
    check(&with("[mfa.passkeys]\nrp_id = \"a.example\"\norigins = []\n"), "E0105", 7, 11, "name the places");
    for rp_id in ["https://a.example", "A.example", "127.0.0.1", "a..example", "-a.example", "a.example:443"] {
        let text = passkeys(rp_id, "https://a.example");
        let found = folder(&text).problems();
        assert_eq!(found[0].1, "portcullis.toml:16:9", "{rp_id}: {found:?}");
        assert!(found[0].2.contains("is no domain"), "{rp_id}: {found:?}");
    }
    for origin in [
        "http://a.example",
        "https://a.example/",
        "https://a.example:443",
        "https://A.example",
        "https://127.0.0.1",
        "a.example",
        "https://a.example:0",
        "https://a.example:99999",
    ] {
        check(&passkeys("a.example", origin), "E0105", 7, 12, "is no origin");
    }
    check(&passkeys("a.example", "https://b.example"), "E0105", 7, 12, "`b.example` is not below `a.example`");
    check(&passkeys("a.example", "https://xa.example"), "E0105", 7, 12, "is not below");
}
