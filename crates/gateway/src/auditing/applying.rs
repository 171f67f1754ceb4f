//! What findings propose, made into files: the change that `audit apply` proposes or writes. Nothing is changed here.

use std::path::{Path, PathBuf};
use std::thread;

use portcullis_admin::audit::{Prepared, PreparedFile};
use portcullis_config::{ProcessEnvironment, load};
use portcullis_governance::Hash;
use portcullis_insight::audit::{Report, together};

use super::look::{Looked, with_input};

/// Findings that are applied at once, at most.
const MOST: usize = 10_000;

/// What is to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    fingerprints: Vec<String>,
    /// The policy that they were found in.
    of_policy: String,
}

impl Wanted {
    /// `None`: nothing is.
    ///
    /// # Errors
    /// A sentence: what is asked makes no sense.
    pub(crate) fn of(apply: &[String], of_policy: Option<&str>) -> Result<Option<Self>, String> {
        if apply.is_empty() {
            return Ok(None);
        }
        if apply.len() > MOST {
            return Err(format!("at most {MOST} findings are applied at once"));
        }
        let of_policy = of_policy.ok_or("of which policy they are the findings is not said: `of_policy`")?;
        let fingerprints = apply.iter().map(|fingerprint| fingerprint.to_ascii_lowercase()).collect();
        Ok(Some(Self { fingerprints, of_policy: of_policy.to_owned() }))
    }
}

/// What is proposed must be in place of what was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InPlaceOf<'p> {
    /// The gateway's main file, where the files on the disk are what is believed; `None`: what was approved is.
    pub(crate) on_disk: Option<&'p Path>,
    /// The last version; `None`: none is kept.
    pub(crate) live: Option<u64>,
}

/// Makes files of what is wanted, with what an audit found just now.
///
/// # Errors
/// A sentence: why nothing is to be applied.
pub(crate) fn prepare(
    looked: &Looked<'_>,
    report: &Report,
    wanted: &Wanted,
    place: InPlaceOf<'_>,
) -> Result<Prepared, String> {
    if report.policy_sha256 != wanted.of_policy {
        return Err(
            "the policy changed since that audit was made: make another one, and look at what it proposes".to_owned()
        );
    }
    if let Some(live) = place.live.filter(|live| *live != looked.version) {
        return Err(format!("version {live} is not in force for everybody yet: wait until it is, or take it back"));
    }
    if let Some(config) = place.on_disk {
        let there = load(config, &ProcessEnvironment).ok().map(|loaded| loaded.policy.sha256().to_owned());
        if there.as_deref() != Some(report.policy_sha256.as_str()) {
            return Err(
                "the policy on the disk is not the one in force: reload it, or take back what was edited".to_owned()
            );
        }
    }
    let found = with_input(looked, |input| together(input, report, &wanted.fingerprints, &thread::yield_now))??;
    let changed = looked.files.with(&found.toml)?;
    let file = |(path, text): (&PathBuf, &String)| {
        let known = looked.files.name_of(path).zip(looked.files.bytes_of(path));
        let (name, was) = known.ok_or_else(|| format!("{} is no file of the policy", path.display()))?;
        Ok(PreparedFile { name: name.to_owned(), was_sha256: Hash::of(was).to_string(), text: text.clone() })
    };
    let files = changed.iter().map(file).collect::<Result<Vec<_>, String>>()?;
    Ok(Prepared { toml: found.toml, files, trial: found.trial })
}
