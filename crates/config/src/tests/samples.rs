//! Every configuration that is shipped loads, without a warning.

use std::path::Path;

use portcullis_proxy::settings::{Limits, RefusalSettings, ShutdownSettings, UpstreamTimeouts};

use super::load_shipped;
use crate::section::asked_keys;

#[test]
fn every_shipped_configuration_loads_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/examples");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| format!("examples/{}", entry.unwrap().file_name().into_string().unwrap()))
        .collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    names.push(".".into());
    names.push("../docker/config".into());
    let warnings: String = names
        .iter()
        .map(|name| load_shipped(name).warnings)
        .filter(|warnings| !warnings.is_empty())
        .map(|warnings| warnings.render_human(false))
        .collect();
    assert!(warnings.is_empty(), "{warnings}");
}

#[test]
fn the_sample_writes_every_key_and_its_defaults() {
    let loaded = load_shipped(".");
    assert_eq!(loaded.proxy.limits, Limits::default());
    assert_eq!(loaded.proxy.refusal, RefusalSettings::default());
    assert_eq!(loaded.proxy.upstreams[0].timeouts, UpstreamTimeouts::default());
    let shutdown = ShutdownSettings { delay: std::time::Duration::ZERO, grace: std::time::Duration::from_secs(30) };
    assert_eq!(loaded.process.shutdown, shutdown);
    let signals = loaded.risk.signals.clone();
    let risk = portcullis_risk::settings::Settings { signals, ..Default::default() };
    assert_eq!(loaded.risk, risk);

    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let text = [read("portcullis.toml"), read("policy.toml"), read("keys.toml")].concat();
    let words: std::collections::HashSet<&str> =
        text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').collect();
    let keys = asked_keys();
    assert!(keys.len() > 100, "{}", keys.len());
    for ((_, key), asked) in keys {
        if asked.schema.get("deprecated").is_some() {
            // Nobody needs to see what has no effect.
            continue;
        }
        assert!(words.contains(key), "`{key}` is not in the sample");
    }
}
