//! What comes back with a backup whose place in the log is not the newest: for whoever signs that it may. It is stored with the version, and its hash is
//! signed.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use portcullis_config::{Loaded, ProcessEnvironment, load};
use portcullis_governance::{Content, Revived};
use portcullis_policy::DiffBounds;
use serde_json::json;
use similar::TextDiff;

use crate::governing::{class_of, content_of, effects_in_words, load_sealed};

/// All lines together, in bytes: a report is stored with its version.
const MOST: usize = 512 << 10;

/// The report. `revived`: keys of approvers that the backup counts and that were revoked since. `listed`: what was revoked since is known at all.
pub(super) fn report(config: &Path, backup: &Content, revived: &[Revived], listed: bool) -> Vec<u8> {
    let mut lines: Vec<String> = revived
        .iter()
        .map(|Revived { person, key }| {
            format!("the key {key} of {person} was revoked since: it does not come back, and approves nothing")
        })
        .collect();
    if !listed {
        lines.push(
            "the list of revoked keys beside the store is not there: whose key was revoked since the backup is not known"
                .to_owned(),
        );
    }
    match (load_sealed(config, backup), load(config, &ProcessEnvironment)) {
        (Ok(then), Ok(now)) => compared(&mut lines, [&now, &then], backup),
        (Err(report), _) => {
            lines.push(format!("the configuration in the backup cannot be read here: {}", report.summary_line()))
        }
        (Ok(_), Err(report)) => lines.push(format!(
            "the files on disk cannot be read ({}): what comes back with the backup is not known",
            report.summary_line()
        )),
    }
    let why = "a backup takes the place of a log that is lost, and what was live there last is not known";
    json!({ "schema": "portcullis.impact/1", "foreseen": false, "why": why, "lines": lines }).to_string().into_bytes()
}

/// The newest content at hand is that of the disk, for which nobody vouches.
fn compared(lines: &mut Vec<String>, [now, then]: [&Loaded; 2], backup: &Content) {
    if now.governed.digest == then.governed.digest {
        return lines.push("what is governed in the files on disk is what the backup has".to_owned());
    }
    let class = class_of(now, then, &DiffBounds::default());
    lines.push(format!(
        "compared with the files on disk, for which nobody vouches, the backup is another configuration ({}):",
        class.as_str()
    ));
    lines.extend(keys_that_count_again(now, then));
    lines.extend(effects_in_words(now, then, Timestamp::now()));
    let disk = content_of(now);
    let mut room = MOST;
    let names: BTreeSet<&String> = disk.files.keys().chain(backup.files.keys()).collect();
    for name in names {
        let [before, after] = [&disk, backup].map(|content| content.files.get(name));
        if before == after {
            continue;
        }
        let text = |bytes: Option<&Vec<u8>>| {
            bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
        };
        let (old, new) = (text(before), text(after));
        let header = [format!("{name} on disk"), format!("{name} in the backup")];
        let diff = TextDiff::from_lines(&old, &new);
        let shown = diff.unified_diff().context_radius(1).header(&header[0], &header[1]).to_string();
        match room.checked_sub(shown.len()) {
            Some(left) => {
                room = left;
                lines.extend(shown.lines().map(str::to_owned));
            }
            None => lines.push(format!("{name}: it differs in more lines than a report can hold")),
        }
    }
}

/// API keys that count in the backup, and do not by the files on disk.
fn keys_that_count_again(now: &Loaded, then: &Loaded) -> Vec<String> {
    let counting = |loaded: &Loaded| {
        let providers = loaded.identity.api_key.iter();
        let each = providers.flat_map(|provider| {
            let keys = provider.keys.iter().filter(|key| !key.revoked);
            keys.map(|key| (provider.name.to_string(), key.id.clone(), key.principal.1.clone()))
        });
        each.collect::<BTreeSet<_>>()
    };
    let now = counting(now);
    let again = counting(then).into_iter().filter(|key| !now.contains(key));
    again
        .map(|(provider, id, who)| {
            format!("the API key `{id}` of {who} (`{provider}`) counts again: it is revoked, or gone, on disk")
        })
        .collect()
}
