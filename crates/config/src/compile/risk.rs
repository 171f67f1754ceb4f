//! `[risk]` and `[ban]`: their settings, with the names of networks replaced by prefixes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use portcullis_identity::posture::{PostureReader, PostureSource};
use portcullis_risk::settings::{Reputation, Settings, SignalSetting};

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::document::{FileToRead, MAX_KEY_SET, read_text};
use crate::file::{Network, PolicyFile};
use crate::section::{Reader, shown};
use crate::suggest;

pub(crate) fn compile(reader: &Reader<'_>, policy: &PolicyFile) -> Settings {
    let networks = Networks::new(reader, &policy.networks);
    let mut settings = Settings::default();
    if let Some(risk) = &policy.risk {
        settings.risk_mode = risk.mode;
        settings.corporate_egress = networks.prefixes(&risk.corporate_egress);
        settings.corporate_networks = risk.corporate_egress.iter().map(|name| name.value.clone()).collect();
        settings.step_up_budget = risk.step_up_budget;
        settings.calibrate = risk.calibrate;
        for entry in &risk.reputation {
            // Only its name is kept: what is in it may come from a feed, and is asked of the policy.
            networks.prefixes(std::slice::from_ref(&entry.network));
            settings.reputation.push(Reputation { network: entry.network.value.clone(), mnats: entry.mnats });
        }
        settings.signals = risk
            .signals
            .iter()
            .map(|signal| SignalSetting {
                name: signal.name.to_owned(),
                weight_milli: signal.weight_milli,
                cap_mnats: signal.cap_mnats,
                enabled: signal.enabled,
            })
            .collect();
    }
    if let Some(ban) = &policy.ban {
        settings.ban = ban.settings.clone();
        settings.ban.never = networks.prefixes(&ban.never);
    }
    settings
}

/// Who reads what is said of devices, by `[risk.posture]`; and the files that it was made of. A proxy's word is nobody's where no proxy is trusted.
pub(crate) fn compile_posture(
    reader: &Reader<'_>,
    policy: &PolicyFile,
    trusted_proxies: &[IpNet],
    files: &mut Vec<PathBuf>,
) -> Option<Arc<PostureReader>> {
    let entry = policy.risk.as_ref()?.posture.as_ref()?;
    let source = match &entry.keys {
        None => {
            if trusted_proxies.is_empty() {
                let message = "nobody may say it: no proxy is trusted";
                let help = "name the proxies in [client_address] `trusted_proxies`, or write `from = \"agent\"`";
                reader.report(Diagnostic::error(codes::CONFLICT, entry.from, message).with_help(help));
            }
            PostureSource::Proxy
        }
        Some(keys) => {
            let (path, short_name) = (&keys.value.path, keys.value.written.as_str());
            files.push(path.clone());
            let file =
                FileToRead { path, short_name, named_at: Some(keys.span), limit: MAX_KEY_SET, defines_names: false };
            PostureSource::Agent { keys: read_text(reader, file)?.1.to_string() }
        }
    };
    match PostureReader::new(entry.header.clone(), entry.max_age, &source) {
        Ok(made) => Some(Arc::new(made)),
        Err(problems) => {
            let at = entry.keys.as_ref().map_or(entry.from, |keys| keys.span);
            for problem in problems {
                reader.report(Diagnostic::error(codes::BAD_VALUE, at, problem.to_string()));
            }
            None
        }
    }
}

/// The networks of the policy by name.
struct Networks<'p> {
    reader: &'p Reader<'p>,
    by_name: HashMap<&'p str, &'p [IpNet]>,
}

impl<'p> Networks<'p> {
    fn new(reader: &'p Reader<'p>, networks: &'p [Network]) -> Self {
        let by_name = networks.iter().map(|network| (network.name.value.as_str(), network.prefixes.as_slice()));
        Self { reader, by_name: by_name.collect() }
    }

    fn prefixes(&self, names: &[At<String>]) -> Vec<IpNet> {
        let mut prefixes = Vec::new();
        for name in names {
            match self.by_name.get(name.value.as_str()) {
                Some(found) => prefixes.extend_from_slice(found),
                None => self.report_unknown(name),
            }
        }
        prefixes
    }

    fn report_unknown(&self, name: &At<String>) {
        if !self.reader.is_complete() {
            return;
        }
        let message = format!("there is no network `{}`", shown(&name.value));
        let known: Vec<&str> = self.by_name.keys().copied().collect();
        let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, name.span, message);
        diagnostic.help = suggest::remedy(&name.value, &known, "known networks")
            .or_else(|| Some("add [[network]] with this name".into()));
        self.reader.report(diagnostic);
    }
}
