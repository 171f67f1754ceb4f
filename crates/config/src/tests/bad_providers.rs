//! Mistakes in identity providers and their files.

use super::{Folder, GATEWAY};

const JWKS: &str = include_str!("../../../../config/jwks.json");

fn jwt(name: &str, issuer: &str, more: &str) -> String {
    format!(
        "[[identity.jwt]]\nname = \"{name}\"\nissuer = \"{issuer}\"\naudiences = [\"a\"]\njwks = {{ file = \"jwks.json\" }}\n{more}\n"
    )
}

fn check(appended: &str, keys: &str, expected: &[(&str, &str, &str)]) {
    let folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
    folder.write("jwks.json", JWKS);
    folder.write("broken.json", "{");
    folder.write("client.pem", portcullis_testkit::tokens::SigningKey::es256("k").pem());
    folder.write("keys.toml", format!("version = 1\n{keys}"));
    folder.write(
        "more-keys.toml",
        "version = 1\n[[key]]\nid = \"b\"\nsha256 = \"00\"\n".replace("00", &"00".repeat(32))
            + "principal = \"service:b\"\n",
    );
    folder.check(appended, expected);
}

#[test]
fn a_sound_provider_has_no_problem() {
    check(&jwt("a", "https://a", "leeway = \"60s\""), "", &[]);
    check(&(jwt("a", "https://a", "") + &jwt("b", "https://b", "prefix = \"b:\"")), "", &[]);
}

#[test]
fn wrong_providers_are_reported_where_they_stand() {
    let one = |text: &str, code: &str, line: usize, column: usize, fragment: &str| {
        check(text, "", &[(code, &format!("portcullis.toml:{}:{column}", line + 10), fragment)]);
    };
    let first = jwt("a", "https://a", "");
    one(&jwt("a", "", ""), "E0105", 3, 10, "must not be empty");
    one(&first.replace("[\"a\"]", "[]"), "E0105", 4, 13, "name at least one");
    one(&first.replace("{ file = \"jwks.json\" }", "\"jwks.json\""), "E0104", 5, 8, "expected a table");
    one(&first.replace("jwks = { file = \"jwks.json\" }", ""), "E0102", 1, 1, "`jwks` is missing");
    one(&first.replace("jwks.json", "none.json"), "E0100", 5, 17, "cannot read `none.json`: No such file");
    one(&first.replace("jwks.json", "broken.json"), "E0205", 5, 17, "identity provider `a`: the key set is");
    let fetched = |jwks: &str| first.replace("{ file = \"jwks.json\" }", jwks);
    let plain = jwt("a", "http://a", "").replace("file = \"jwks.json\"", "discover = true");
    for (text, code, line, column, fragment) in [
        (fetched("{}"), "E0102", 5, 8, "`file` is missing"),
        (fetched("{ discover = false }"), "E0102", 5, 8, "`file` is missing"),
        (fetched("{ url = \"a\" }"), "E0105", 5, 16, "begins with neither"),
        (fetched("{ url = \"https://alice@a\" }"), "E0105", 5, 16, "holds credentials"),
        (fetched("{ url = \"http://a/k\" }"), "E0203", 5, 16, "anybody on the way can change the keys"),
        (plain, "E0203", 3, 10, "anybody on the way can change the keys"),
        (
            jwt("a", "a", "").replace("file = \"jwks.json\"", "discover = true"),
            "E0203",
            3,
            10,
            "nothing can be discovered",
        ),
        (fetched("{ url = \"https://a\", discover = true }"), "E0203", 5, 8, "keys have one place"),
        (fetched("{ file = \"jwks.json\", refresh = \"1m\" }"), "E0203", 5, 8, "`refresh` says nothing about a file"),
        (
            fetched("{ url = \"https://a\", refresh = \"1h\", max_stale = \"1m\" }"),
            "E0203",
            5,
            57,
            "less than twice `refresh`",
        ),
        (fetched("{ url = \"https://a\", cooldown = \"1ms\" }"), "E0105", 5, 40, "must be from 100ms to 1h"),
        (fetched("{ url = \"https://a\", ca = \"broken.json\" }"), "E0105", 5, 34, "`broken.json` cannot be used"),
        (fetched("{ file = \"jwks.json\", uri = \"https://a\" }"), "E0103", 5, 30, "unknown key `uri`"),
    ] {
        one(&text, code, line, column, fragment);
    }
    one(&jwt("a", "https://a", "leeway = \"61s\""), "E0105", 6, 10, "must be from 0s to 1m");
    one(&jwt("a", "https://a", "require = \"bound\""), "E0105", 6, 11, "\"none\", \"mtls\", \"dpop\" or \"either\"");
    one(&jwt("a", "https://a", "principal = \"certificate\""), "E0105", 6, 13, "\"user\" or \"service\"");
    one(&jwt("a", "https://a", "claims = { mail = \"m\" }"), "E0103", 6, 12, "did you mean `email`?");
    one(&(first.clone() + &jwt("b", "https://b", "")), "E0205", 8, 8, "the prefix `` is also that of `a`");
    one(&(first.clone() + &jwt("b", "https://a", "prefix = \"b\"")), "E0205", 9, 10, "also those of `a`");
    one(&(first + &jwt("a", "https://b", "prefix = \"b\"")), "E0201", 8, 8, "two identity providers are named `a`");
}

fn api_key(name: &str, header: &str, file: &str) -> String {
    format!("[[identity.api_key]]\nname = \"{name}\"\nheader = \"{header}\"\nfile = \"{file}\"\n")
}

fn key(id: &str, more: &str) -> String {
    format!("[[key]]\nid = \"{id}\"\nsha256 = \"{}\"\nprincipal = \"service:x\"\n{more}\n", "00".repeat(32))
}

#[test]
fn wrong_keys_are_reported_in_their_file() {
    let one = |keys: &str, code: &str, line: usize, column: usize, fragment: &str| {
        let place = format!("keys.toml:{}:{column}", line + 1);
        check(&api_key("k", "x-api-key", "keys.toml"), keys, &[(code, &place, fragment)]);
    };
    check(&api_key("k", "x-api-key", "keys.toml"), &key("b", "expires = 2030-01-01T00:00:00Z"), &[]);
    one(&key("B", ""), "E0105", 2, 6, "1 to 64 of a-z");
    one(&key("b", "secret = \"x\""), "E0103", 5, 1, "unknown key `secret`");
    one(&key("b", "roles = \"x\""), "E0104", 5, 9, "write it in brackets");
    one(&key("b", "roles = [\"x\"]"), "W0202", 5, 10, "the policy has no role `x`");
    one(&key("b", "routes = [\"x\"]"), "W0202", 5, 11, "no route `x`: the key does not count there");
    one(&key("b", "networks = [\"x\"]"), "W0202", 5, 13, "no network `x`");
    one(&key("b", "previous = { until = 2030-01-01T00:00:00Z }"), "E0102", 5, 12, "`sha256` is missing");
    one(&key("b", "revoked = \"no\""), "E0104", 5, 11, "`true` or `false`");
    one(&key("b", "").replace(&"00".repeat(32), "hunter2"), "E0105", 3, 10, "64 hexadecimal digits");
    one(&key("b", "").replace("service:x", "group:x"), "E0105", 4, 13, "expected a principal");
    one(&(key("b", "") + &key("b", "")), "E0201", 7, 6, "two keys have the id `b`");
}

#[test]
fn providers_of_keys_are_checked_together() {
    let one = |text: &str, code: &str, line: usize, column: usize, fragment: &str| {
        check(text, "", &[(code, &format!("portcullis.toml:{}:{column}", line + 10), fragment)]);
    };
    let first = api_key("k", "x-api-key", "keys.toml");
    one(&api_key("k", "x api", "keys.toml"), "E0105", 3, 10, "the name of a header");
    one(&api_key("k", "cookie", "keys.toml"), "E0205", 3, 10, "the header `cookie`");
    one(&api_key("k", "x-api-key", "none.toml"), "E0100", 4, 8, "cannot read `none.toml`");
    one(&(first.clone() + &api_key("l", "X-Api-Key", "more-keys.toml")), "E0205", 7, 10, "also read by `k`");
    check(
        &(first + &api_key("l", "x-other", "more-keys.toml")),
        &key("b", ""),
        &[("E0205", "more-keys.toml:3:6", "the key id `b` is also used by `k`")],
    );
}

#[test]
fn how_proofs_are_verified_is_checked() {
    let one = |text: &str, code: &str, line: usize, column: usize, fragment: &str| {
        check(text, "", &[(code, &format!("portcullis.toml:{}:{column}", line + 10), fragment)]);
    };
    let dpop = |lines: &str| format!("[identity.dpop]\n{lines}\n");
    let all = "algorithms = [\"ES256\"]\nmax_age = \"5m\"\nleeway = \"0s\"\nnonce = true\nnonce_lifetime = \"1m\"\nremembered = 1";
    check(&dpop(all), "", &[]);
    one(&dpop("algorithms = []"), "E0105", 2, 14, "leave it out for all");
    one(&dpop("algorithms = \"HS256\""), "E0105", 2, 14, "\"ES256\", \"EdDSA\" or \"RS256\"");
    one(&dpop("max_age = \"11m\""), "E0105", 2, 11, "must be from 1s to 10m");
    one(&dpop("leeway = \"2m\""), "E0105", 2, 10, "must be from 0s to 1m");
    one(&dpop("nonce = 1"), "E0104", 2, 9, "`true` or `false`");
    one(&dpop("remembered = 0"), "E0105", 2, 14, "from 1 to 100000000");
    one(&dpop("max_ages = \"1m\""), "E0103", 2, 1, "did you mean `max_age`?");
    one(&api_key("k", "dpop", "keys.toml"), "E0205", 3, 10, "the header `dpop`");
}

#[test]
fn several_gateways_are_told_that_they_do_not_share_which_proofs_were_used() {
    let login = "[identity.login]\nkey = { file = \"broken.json\" }\n[[identity.oidc]]\nname = \"o\"\nissuer = \"https://o\"\nclient_id = \"c\"\n";
    let found = |require: &str, login: &str, dpop: &str, expected: &[(&str, &str, &str)]| {
        let jwt = jwt("a", "https://a", &format!("prefix = \"a:\"\nrequire = \"{require}\""));
        check(&format!("{jwt}{login}{dpop}"), "", expected);
    };
    let told = ("W0206", "portcullis.toml:12:8", "several gateways do not know of each other which proofs were used");
    for require in ["dpop", "either"] {
        found(require, login, "", &[told]);
        found(require, login, "[identity.dpop]\nnonce = true\n", &[]);
        found(require, &login.replace("key = { file = \"broken.json\" }\n", ""), "", &[]);
    }
    found("none", login, "", &[]);
}

fn introspection(more: &str) -> String {
    format!(
        "[[identity.introspection]]\nname = \"o\"\nurl = \"https://a/introspect\"\nclient_id = \"gw\"\n\
         client_secret = {{ file = \"broken.json\" }}\n{more}\n"
    )
}

/// Every table of it, and of a key that was rotated.
pub(super) fn load_all() {
    let rotated = format!("previous = {{ sha256 = \"{}\", until = 2030-01-01T00:00:00Z }}", "00".repeat(32));
    let all = introspection("audiences = [\"a\"]\nclaims = { id = \"client_id\" }");
    check(&(all.clone() + &api_key("k", "x-api-key", "keys.toml") + "[identity.dpop]\n"), &key("b", &rotated), &[]);
    let signed = all.replace("client_secret = { file = \"broken.json\" }", "client_key = { file = \"client.pem\" }");
    check(&(signed + "client_audience = \"endpoint\"\n"), "", &[]);
}

#[test]
fn who_is_asked_about_tokens_is_checked() {
    let one = |text: &str, code: &str, line: usize, column: usize, fragment: &str| {
        check(text, "", &[(code, &format!("portcullis.toml:{}:{column}", line + 10), fragment)]);
    };
    let good = introspection("audiences = [\"a\"]");
    check(&good, "", &[]);
    check(&introspection("clients = [\"app\"]\nprefix = \"o:\"\nmax_cache = \"5m\"\nrequire = \"either\""), "", &[]);
    // The same authority in both forms.
    check(&(jwt("a", "https://a", "") + &good + "issuer = \"https://a\"\n"), "", &[]);
    one(&introspection(""), "E0203", 1, 1, "nothing says whose tokens count");
    let secret = "client_secret = { file = \"broken.json\" }\n";
    one(&good.replace(secret, ""), "E0203", 1, 1, "nothing proves to the provider who asks");
    check(&good.replace(secret, &format!("{secret}client_auth = \"post\"\n")), "", &[]);
    let key = "client_key = { file = \"client.pem\" }\n";
    one(&good.replace(secret, key), "E0203", 1, 1, "signs is for the provider's issuer, and that is not known");
    check(&(good.replace(secret, key) + "issuer = \"https://a\"\n"), "", &[]);
    check(&(good.replace(secret, key) + "client_audience = \"endpoint\"\n"), "", &[]);
    one(&(good.clone() + key), "E0203", 7, 14, "a secret and a key: the client proves itself in one way");
    one(&(good.clone() + "client_key_id = \"k\"\n"), "E0203", 7, 17, "`client_key_id` is about a key");
    one(&(good.clone() + "client_audience = \"token_endpoint\"\n"), "E0105", 7, 19, "\"issuer\" or \"endpoint\"");
    one(&good.replace("https:", "http:"), "E0203", 3, 7, "anybody on the way can read the tokens");
    one(&good.replace("url = \"https://a/introspect\"\n", ""), "E0102", 1, 1, "`url` is missing");
    one(&good.replace("client_id = \"gw\"\n", ""), "E0102", 1, 1, "`client_id` is missing");
    one(&good.replace("{ file = \"broken.json\" }", "\"hunter2\""), "E0104", 5, 17, "expected a table");
    one(&(good.clone() + "max_cache = \"2h\"\n"), "E0105", 7, 13, "must be from 1s to 1h");
    one(&(good.clone() + "cache = \"1m\"\n"), "E0103", 7, 1, "unknown key `cache`");
    one(&(jwt("a", "https://a", "") + &good), "E0205", 8, 8, "the prefix `` is also that of `a`");
    let second = good.replace("name = \"o\"", "name = \"p\"");
    one(&(good + &second), "E0203", 8, 8, "there is one `[[identity.introspection]]`");
}

#[test]
fn identity_headers_are_their_own() {
    let one = |text: &str, code: &str, line: usize, column: usize, fragment: &str| {
        check(text, "", &[(code, &format!("portcullis.toml:{}:{column}", line + 10), fragment)]);
    };
    let headers = "[identity.headers]\n";
    one(&format!("{headers}user = \"Host\"\n"), "E0203", 2, 8, "has a meaning of its own");
    one(&format!("{headers}user = \"content-length\"\n"), "E0203", 2, 8, "has a meaning of its own");
    one(&format!("{headers}user = \"x_forwarded_for\"\n"), "E0203", 2, 8, "has a meaning of its own");
    one(&format!("{headers}user = \"x-user\"\nemail = \"X_User\"\n"), "E0201", 3, 9, "two identity headers");
    one(&format!("{headers}user = \"x-user\"\noverage = \"x.user\"\n"), "E0201", 3, 11, "two identity headers");
    check(&format!("{headers}groups = \"x-groups\"\noverage = \"x-overage\"\nmax_size = \"256B\"\n"), "", &[]);
    one(&format!("{headers}max_size = \"255B\"\n"), "E0105", 2, 12, "must be from 256 to 65536 bytes");
    one(&format!("{headers}assertion = \"x-a\"\n"), "E0203", 2, 13, "nothing signs what this header is to carry");
    let assertion = "[identity.assertion]\nissuer = \"https://gw\"\nkey = { file = \"broken.json\" }\n";
    let both = format!("{headers}assertion = \"x-a\"\n{assertion}");
    one(&both, "E0105", 5, 7, "the key of `assertion` cannot be used: it is no private key");
    one(&both.replace("issuer = \"https://gw\"\n", ""), "E0102", 3, 1, "`issuer` is missing");
    one(
        &(api_key("k", "x-user", "keys.toml") + headers + "user = \"x-user\"\n"),
        "E0203",
        6,
        8,
        "already carries an API key",
    );
}
