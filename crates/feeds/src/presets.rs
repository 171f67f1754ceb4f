//! Lists that providers publish about their own networks, by name: address, format and pointers of each.
//!
//! They are what the providers' documentation says. A test reads a few entries in the layout of each; that a provider still publishes in that
//! layout nothing here checks. Azure's is not among them: its address changes every week.

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

#[cfg(test)]
mod tests {
    use crate::parse::parse;
    use crate::settings::{Format, Pointer};

    use super::*;

    /// The layout that each provider documents, with a few of the entries that it has published.
    const SAMPLES: &[(&str, &str, &[&str])] = &[
        (
            "atlassian",
            r#"{"creationDate":"2025-11-01T00:00:00.000000","syncToken":1761955200,"items":[
                {"network":"13.52.5.96","mask_len":28,"cidr":"13.52.5.96/28","mask":"255.255.255.240",
                 "region":["global"],"product":["jira","confluence"],"direction":["egress"],"perimeter":"commercial"},
                {"network":"2401:1d80:3000::","mask_len":36,"cidr":"2401:1d80:3000::/36","mask":"ffff:ffff:f000::",
                 "region":["global"],"product":["bitbucket"],"direction":["ingress","egress"],"perimeter":"commercial"}]}"#,
            &["13.52.5.96/28", "2401:1d80:3000::/36"],
        ),
        (
            "aws",
            r#"{"syncToken":"1788875225","createDate":"2026-09-08-13-47-05","prefixes":[
                {"ip_prefix":"3.4.12.4/32","region":"eu-west-1","service":"AMAZON","network_border_group":"eu-west-1"},
                {"ip_prefix":"35.180.0.0/16","region":"eu-west-3","service":"EC2","network_border_group":"eu-west-3"},
                {"ip_prefix":"35.180.0.0/16","region":"eu-west-3","service":"AMAZON","network_border_group":"eu-west-3"}],
              "ipv6_prefixes":[
                {"ipv6_prefix":"2a05:d07a:a000::/40","region":"eu-south-1","service":"AMAZON","network_border_group":"eu-south-1"}]}"#,
            &["3.4.12.4/32", "35.180.0.0/16", "2a05:d07a:a000::/40"],
        ),
        (
            "cloudflare",
            r#"{"result":{"ipv4_cidrs":["173.245.48.0/20","104.16.0.0/13"],"ipv6_cidrs":["2400:cb00::/32"],
                "etag":"38f79d050aa027e3be3865e495dcc9bc"},"success":true,"errors":[],"messages":[]}"#,
            &["104.16.0.0/13", "173.245.48.0/20", "2400:cb00::/32"],
        ),
        (
            "fastly",
            r#"{"addresses":["23.235.32.0/20","151.101.0.0/16"],"ipv6_addresses":["2a04:4e40::/32","2a04:4e42::/32"]}"#,
            &["23.235.32.0/20", "151.101.0.0/16", "2a04:4e40::/32", "2a04:4e42::/32"],
        ),
        (
            "gcp",
            r#"{"syncToken":"1764324000000","creationTime":"2025-11-28T02:00:00.000000","prefixes":[
                {"ipv4Prefix":"34.1.208.0/20","service":"Google Cloud","scope":"africa-south1"},
                {"ipv6Prefix":"2600:1900:8000::/44","service":"Google Cloud","scope":"africa-south1"}]}"#,
            &["34.1.208.0/20", "2600:1900:8000::/44"],
        ),
        (
            "github-actions",
            r#"{"verifiable_password_authentication":false,"ssh_keys":["ssh-ed25519 AAAA"],"hooks":["192.30.252.0/22"],
                "actions":["4.148.0.0/16","2a01:111:f403:f90c::/62"],"domains":{"website":["*.github.com"]}}"#,
            &["4.148.0.0/16", "2a01:111:f403:f90c::/62"],
        ),
        (
            "github-hooks",
            r#"{"verifiable_password_authentication":false,"ssh_keys":["ssh-ed25519 AAAA"],
                "hooks":["192.30.252.0/22","185.199.108.0/22","2a0a:a440::/29"],"actions":["4.148.0.0/16"]}"#,
            &["185.199.108.0/22", "192.30.252.0/22", "2a0a:a440::/29"],
        ),
    ];

    fn read(preset: &Preset, document: &str) -> Result<Vec<String>, String> {
        let pointers = preset.pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect();
        let read = parse(document.as_bytes(), &Format::Json { pointers }).map_err(|error| error.to_string())?;
        Ok(crate::List::new(&read).prefixes().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_reads_the_layout_that_its_provider_documents_and_no_other() {
        for preset in PRESETS {
            let (_, document, expected) = SAMPLES.iter().find(|(name, ..)| *name == preset.name).expect("a sample");
            let expected: Vec<String> = expected.iter().map(|&prefix| prefix.to_owned()).collect();
            assert_eq!(read(preset, document), Ok(expected), "{}", preset.name);
            let others = SAMPLES.iter().filter(|(name, ..)| name[..3] != preset.name[..3]);
            for (other, document, _) in others {
                let error = read(preset, document).expect_err(other);
                assert!(error.contains("nothing is at"), "{} reads {other}: {error}", preset.name);
            }
        }
        assert_eq!(SAMPLES.len(), PRESETS.len());
    }
}
