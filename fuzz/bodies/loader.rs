//! Any bytes as a configuration file: a report with at least one error, or a policy that answers.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use portcullis_config::{Report, load};
use portcullis_policy::{CanonicalPath, IdentityFact};

use super::asking::{permits, user};

/// The least gateway file.
pub(crate) const GATEWAY: &str = r#"version = 1
[[listener]]
name = "internal"
address = "127.0.0.1:8080"
[[upstream]]
name = "billing"
endpoints = ["http://127.0.0.1:9001"]
[[route]]
name = "billing"
upstream = "billing"
"#;

pub(crate) fn policy_body(folder: &Path, bytes: &[u8]) {
    write(folder, GATEWAY.as_bytes(), bytes);
    load_and_ask(folder);
}

pub(crate) fn gateway_body(folder: &Path, bytes: &[u8]) {
    write(folder, bytes, b"version = 1\n");
    load_and_ask(folder);
}

fn write(folder: &Path, gateway: &[u8], policy: &[u8]) {
    std::fs::write(folder.join("portcullis.toml"), gateway).unwrap();
    std::fs::write(folder.join("policy.toml"), policy).unwrap();
}

fn load_and_ask(folder: &Path) {
    let nothing: BTreeMap<String, String> = BTreeMap::new();
    let loaded = match load(&folder.join("portcullis.toml"), &nothing) {
        Ok(loaded) => loaded,
        Err(report) => return check_report(&report),
    };
    let alice = portcullis_policy::Principal { id: "alice".into(), ..user(0) };
    for path in ["/", "/api/invoices/7", "/api/export/all", "/a/b/c/d/e"] {
        let path = CanonicalPath::parse(path).unwrap();
        for who in [IdentityFact::Anonymous, IdentityFact::Verified(&alice)] {
            for method in ["GET", "POST"] {
                permits(&loaded.policy, who, method, &path, Timestamp::UNIX_EPOCH);
            }
        }
    }
}

/// Something is wrong, every problem says what, and nothing grows with the length of what is wrong.
fn check_report(report: &Report) {
    assert!(report.errors() > 0);
    assert!(report.diagnostics().all(|diagnostic| !diagnostic.message.is_empty()));
    assert!(report.render_human(false).len() < 1_000_000);
    assert!(report.render_json().len() < 4_000_000);
}
