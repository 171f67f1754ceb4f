//! `[risk]` and `[ban]`: their settings, with the names of networks replaced by prefixes.

use std::collections::HashMap;

use ipnet::IpNet;
use portcullis_risk::settings::{Reputation, Settings, SignalSetting};

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
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
