//! One run reports everything that is wrong, over all files.

use super::Folder;

#[test]
fn ten_mistakes_in_three_files_are_reported_in_one_run() {
    let folder = Folder::new();
    folder.write(
        "portcullis.toml",
        r#"version = 1

[[listener]]
name = "internal"
adress = "127.0.0.1:8080"
tls = { certificate = "tls.crt", key = "tls.key" }

[[upstream]]
name = "billing"
endpoints = ["ftp://127.0.0.1:9001"]
timeouts = { connect = 2 }

[[route]]
name = "billing"
upstream = "biling"
forward_credentials = "no"

[client_address]
trusted_proxies = ["0.0.0.0/0", "10.0.0.1/8"]

[[identity.jwt]]
name = "corporate"
issuer = "${ISSUER}"
audiences = ["billing"]
jwks = { file = "jwks.json" }

[[identity.api_key]]
name = "services"
header = "x-api-key"
file = "keys.toml"
"#,
    );
    folder.write(
        "policy.toml",
        r#"version = 1

[[role]]
name = "reader"
permissions = [{ actions = ["GET api/**"] }]

[[assignment]]
name = "alice-reads"
role = "raeder"
principals = ["alice"]
scope = "billing"
when = { hours = "Mon-Fri 8-18 Europe/Berlin" }

[[assignment]]
name = "alice-reads"
role = "reader"
principals = ["user:alice"]
scope = "billing"
"#,
    );
    folder.write("keys.toml", "version = 1\n[[key]]\nid = \"a\"\nsha256 = \"12\"\nprincipal = \"alice\"\n");
    let Err(report) = folder.load() else { panic!("loaded") };
    let root = format!("{}/", folder.folder.path().display());
    insta::assert_snapshot!(report.render_human(false).replace(&root, ""));
}
