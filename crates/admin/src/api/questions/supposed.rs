//! What is asked: the facts that are supposed, which every question has, and beside them what is its own.
//!
//! In JSON they stand among the keys of the question, so that what asks is one flat object; in Rust they are one type. A macro writes the flat form, as a
//! flattened field would no longer say which keys there are to whoever misspells one.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is supposed of whoever asks, and of the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SupposedFacts {
    /// Who asks: `user:alice`, `alice` for short, `service:ID`, `certificate:SAN`; `None`: anyone.
    pub principal: Option<String>,
    /// Groups that the principal is in.
    pub groups: Vec<String>,
    /// Roles that the principal holds directly.
    pub roles: Vec<String>,
    /// What is supposed to be activated, besides what the gateway has lent.
    pub activated: Vec<String>,
    /// The client's address; `None`: unknown.
    pub ip: Option<IpAddr>,
    /// The host.
    pub host: Option<String>,
    /// The client's country, two letters; `None`: what the gateway's databases say of the address.
    pub country: Option<String>,
    /// Whether the device meets the rules; `None`: unknown.
    pub compliant_device: Option<bool>,
    /// Several factors, fresh.
    pub fresh_mfa: bool,
    /// How many seconds ago the caller authenticated; `None`: nobody knows.
    pub authenticated_s: Option<u64>,
    /// When it happens, RFC 3339; `None`: now.
    pub at: Option<String>,
    /// How risky the caller looks; `None`: not at all.
    pub risk: Option<SupposedRisk>,
}

/// How risky a caller looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SupposedRisk {
    /// Nothing unusual.
    Low,
    /// Unusual.
    Medium,
    /// The highest band.
    High,
}

impl SupposedRisk {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// `low`, `medium` or `high`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A question: the keys of its own that stand before the facts, and those after them. Of three facts each says in its own words what they are to it.
/// `flat`: the module that has its form in JSON, under the same name, which is what whoever writes no object is told of.
macro_rules! question {
    (
        $(#[$about:meta])*
        $question:ident, $form:literal in $flat:ident {
            before { $($(#[$first_about:meta])* $first:ident: $first_type:ty,)* }
            facts {
                $(#[$principal:meta])* principal,
                $(#[$host:meta])* host,
                $(#[$at:meta])* at,
            }
            after { $($(#[$last_about:meta])* $last:ident: $last_type:ty,)* }
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(from = $form, into = $form)]
        pub struct $question {
            $($(#[$first_about])* pub $first: $first_type,)*
            /// What is supposed.
            pub facts: SupposedFacts,
            $($(#[$last_about])* pub $last: $last_type,)*
        }

        mod $flat {
            use super::*;

            $(#[$about])*
            #[derive(Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub(super) struct $question {
                $($(#[$first_about])* $first: $first_type,)*
                $(#[$principal])*
                #[serde(default, rename = "as")]
                principal: Option<String>,
                /// Groups that the principal is in.
                #[serde(default)]
                groups: Vec<String>,
                /// Roles that the principal holds directly.
                #[serde(default)]
                roles: Vec<String>,
                /// What is supposed to be activated, besides what the gateway has lent.
                #[serde(default)]
                activated: Vec<String>,
                /// The client's address; null: unknown.
                #[serde(default)]
                ip: Option<IpAddr>,
                $(#[$host])*
                #[serde(default)]
                host: Option<String>,
                /// The client's country, two letters; null: what the gateway's databases say of the address.
                #[serde(default)]
                country: Option<String>,
                /// Whether the device meets the rules; null: unknown.
                #[serde(default)]
                compliant_device: Option<bool>,
                /// Several factors, fresh.
                #[serde(default)]
                fresh_mfa: bool,
                /// How many seconds ago the caller authenticated; null: nobody knows.
                #[serde(default)]
                authenticated_s: Option<u64>,
                $(#[$at])*
                #[serde(default)]
                at: Option<String>,
                /// How risky the caller looks; null: not at all.
                #[serde(default)]
                risk: Option<SupposedRisk>,
                $($(#[$last_about])* $last: $last_type,)*
            }

            impl From<$question> for super::$question {
                fn from(flat: $question) -> Self {
                    Self {
                        $($first: flat.$first,)*
                        facts: SupposedFacts {
                            principal: flat.principal,
                            groups: flat.groups,
                            roles: flat.roles,
                            activated: flat.activated,
                            ip: flat.ip,
                            host: flat.host,
                            country: flat.country,
                            compliant_device: flat.compliant_device,
                            fresh_mfa: flat.fresh_mfa,
                            authenticated_s: flat.authenticated_s,
                            at: flat.at,
                            risk: flat.risk,
                        },
                        $($last: flat.$last,)*
                    }
                }
            }

            impl From<super::$question> for $question {
                fn from(question: super::$question) -> Self {
                    let SupposedFacts {
                        principal,
                        groups,
                        roles,
                        activated,
                        ip,
                        host,
                        country,
                        compliant_device,
                        fresh_mfa,
                        authenticated_s,
                        at,
                        risk,
                    } = question.facts;
                    Self {
                        $($first: question.$first,)*
                        principal,
                        groups,
                        roles,
                        activated,
                        ip,
                        host,
                        country,
                        compliant_device,
                        fresh_mfa,
                        authenticated_s,
                        at,
                        risk,
                        $($last: question.$last,)*
                    }
                }
            }
        }
    };
}

question! {
    /// What somebody might do, and what is supposed of them: the facts of `portcullis can`.
    PolicyQuestion, "policy_question::PolicyQuestion" in policy_question {
        before {
            /// The method, such as GET.
            method: String,
            /// A URL, or a path: then `host` chooses the host.
            url: String,
        }
        facts {
            /// Who asks: `user:alice`, `alice` for short, `service:ID`, `certificate:SAN`; null: anyone. Of who may, it is left out.
            principal,
            /// The host, where the URL is a path alone.
            host,
            /// When it happens, RFC 3339; null: now. At another time than now neither bans nor lent power of now count.
            at,
        }
        after {}
    }
}

question! {
    /// Of whom all is told that they may do, and what is supposed of them: the facts of `portcullis list`.
    ListQuestion, "list_question::ListQuestion" in list_question {
        before {}
        facts {
            /// Who: `user:alice`, `alice` for short, `service:ID`, `certificate:SAN`; null: anyone.
            principal,
            /// Only the routes that may answer for this host; null: all.
            host,
            /// When it happens, RFC 3339; null: now. At another time than now lent power of now does not count.
            at,
        }
        after {
            /// At most so many routes, from 1 to 10,000; null: 10,000.
            #[serde(default)]
            #[schemars(range(min = 1, max = 10_000))]
            limit: Option<u32>,
            /// Those that come after this one, in the order of the configuration: the last one of the part before.
            #[serde(default)]
            after: Option<String>,
        }
    }
}

impl PolicyQuestion {
    /// The parameters of the same question as a `GET`.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("method", self.method.clone()), ("url", self.url.clone())];
        self.facts.add_to(&mut all);
        all
    }
}

impl ListQuestion {
    /// The parameters of the same question as a `GET`.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        self.facts.add_to(&mut all);
        all.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        all.extend(self.after.clone().map(|after| ("after", after)));
        all
    }
}

impl SupposedFacts {
    fn add_to(&self, all: &mut Vec<(&'static str, String)>) {
        let Self {
            principal,
            groups,
            roles,
            activated,
            ip,
            host,
            country,
            compliant_device,
            fresh_mfa,
            authenticated_s,
            at,
            risk,
        } = self;
        let mut add = |name: &'static str, value: Option<String>| all.extend(value.map(|value| (name, value)));
        add("as", principal.clone());
        add("ip", ip.map(|ip| ip.to_string()));
        add("host", host.clone());
        add("country", country.clone());
        add("compliant_device", compliant_device.map(|compliant| compliant.to_string()));
        add("fresh_mfa", fresh_mfa.then(|| "true".to_owned()));
        add("authenticated_s", authenticated_s.map(|ago| ago.to_string()));
        add("at", at.clone());
        add("risk", risk.map(|risk| risk.as_str().to_owned()));
        for (name, values) in [("group", groups), ("role", roles), ("activated", activated)] {
            all.extend(values.iter().map(|value| (name, value.clone())));
        }
    }
}
