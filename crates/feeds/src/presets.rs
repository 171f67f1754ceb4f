//! Lists that providers publish about their own networks, by name: address, format and pointers of each.
//!
//! They are what the providers' documentation says, and nothing here checks that they still do. Azure's is not among them: its
//! address changes every week.

/// A published list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// What `preset` calls it.
    pub name: &'static str,
    /// Where it is, over TLS: the host and the path.
    pub host: &'static str,
    /// The path.
    pub path: &'static str,
    /// Pointers into a JSON document.
    pub pointers: &'static [&'static str],
}

/// All of them, by name.
pub const PRESETS: &[Preset] = &[
    Preset { name: "atlassian", host: "ip-ranges.atlassian.com", path: "/", pointers: &["/items/*/cidr"] },
    Preset {
        name: "aws",
        host: "ip-ranges.amazonaws.com",
        path: "/ip-ranges.json",
        pointers: &["/prefixes/*/ip_prefix", "/ipv6_prefixes/*/ipv6_prefix"],
    },
    Preset {
        name: "cloudflare",
        host: "api.cloudflare.com",
        path: "/client/v4/ips",
        pointers: &["/result/ipv4_cidrs/*", "/result/ipv6_cidrs/*"],
    },
    Preset {
        name: "fastly",
        host: "api.fastly.com",
        path: "/public-ip-list",
        pointers: &["/addresses/*", "/ipv6_addresses/*"],
    },
    Preset {
        name: "gcp",
        host: "www.gstatic.com",
        path: "/ipranges/cloud.json",
        pointers: &["/prefixes/*/ipv4Prefix", "/prefixes/*/ipv6Prefix"],
    },
    Preset { name: "github-actions", host: "api.github.com", path: "/meta", pointers: &["/actions/*"] },
    Preset { name: "github-hooks", host: "api.github.com", path: "/meta", pointers: &["/hooks/*"] },
];
