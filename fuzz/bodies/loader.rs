//! Any bytes as a configuration file: a report with at least one error, or a policy that answers.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use portcullis_config::{Report, load};
use portcullis_policy::{CanonicalPath, IdentityFact};

use super::asking::{permits, user};

/// The least gateway file.
const GATEWAY: &str = r#"version = 1
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

/// `file` is the one that holds the bytes, `policy.toml` or `portcullis.toml`; the other one is the least there is.
pub(crate) fn body(folder: &Path, file: &str, bytes: &[u8]) {
    for (name, least) in [("portcullis.toml", GATEWAY), ("policy.toml", "version = 1\n")] {
        std::fs::write(folder.join(name), if name == file { bytes } else { least.as_bytes() }).unwrap();
    }
    load_and_ask(folder);
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
