//! What is governed, and what a governed gateway starts with in place of its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_governance::backup::Settings;
use portcullis_governance::power::{BreakGlassRules, Limits};
use portcullis_governance::{Rules, Stages};

use super::{Folder, GATEWAY, POLICY};
use crate::{Environment, GovernedKind, Loaded, load};

/// Finding of 2026-11: `check` said nothing of a key that is not there, and no backup was ever made.
#[test]
fn a_key_of_backups_that_cannot_be_used_is_warned_of() {
    let folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}[store]\n[backup]\nkey = \"b.key\"\n"));
    let warned = || {
        folder
            .problems()
            .into_iter()
            .map(|(code, _, message)| format!("{code} {message}"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    for (text, why) in [(None, "No such file"), (Some("none"), "it is no key"), (Some(""), "it is no key")] {
        text.into_iter().for_each(|text| folder.write("b.key", text));
        let warned = warned();
        assert!(warned.starts_with("W0209 no backup can be made with this key: ") && warned.contains(why), "{warned}");
    }
    folder.write("b.key", portcullis_governance::backup::BackupKey::generate().unwrap().1);
    assert_eq!(warned(), "");
}

#[test]
fn every_key_reaches_its_setting() {
    let folder = Folder::new();
    let loaded = folder.loaded();
    assert_eq!((loaded.governance, loaded.stages, loaded.backup), (Rules::default(), Stages::default(), None));
    let tables = "[store]\n[governance]\nrequired = true\napprovals = { tighten = 2, loosen = 3, keys = 4 }\nproposal_ttl = \"1h\"\n\
                  shadow = \"5m\"\ncanary = [\"0.5%\", \"100%\"]\ncanary_step = \"30s\"\nmax_newly_denied = \"2.5%\"\nmin_denied_callers = 7\nmin_requests = 30\nmin_callers = 4\nmax_wait = \"2h\"\n\
                  [backup]\npath = \"b\"\nevery = \"1h\"\nkeep = 3\nkey = \"backup.key\"\n";
    folder.write("portcullis.toml", format!("{GATEWAY}{tables}"));
    folder.write("backup.key", portcullis_governance::backup::BackupKey::generate().unwrap().1);
    let loaded = folder.loaded();
    assert_eq!(loaded.warnings.warnings(), 0);
    assert_eq!(loaded.governance, Rules { required: true, tighten: 2, loosen: 3, keys: 4, proposal_ttl_s: 3_600 });
    let stages = Stages {
        shadow: Duration::from_secs(300),
        canary: vec![5_000, 1_000_000],
        step: Duration::from_secs(30),
        max_newly_denied: 25_000,
        min_denied_callers: 7,
        min_requests: 30,
        min_callers: 4,
        max_wait: Duration::from_secs(7_200),
    };
    assert_eq!(loaded.stages, stages);
    let expected = Settings {
        path: folder.path("b"),
        every: Duration::from_secs(3_600),
        keep: 3,
        key: Some(folder.path("backup.key")),
    };
    assert_eq!(loaded.backup, Some(expected));
    folder.write("portcullis.toml", format!("{GATEWAY}[store]\n[backup]\n"));
    let expected =
        Settings { path: folder.path("backups"), every: Duration::from_secs(6 * 3_600), keep: 28, key: None };
    assert_eq!(folder.loaded().backup, Some(expected));
    folder.write("portcullis.toml", format!("{GATEWAY}[store]\n[backup]\nenabled = false\n"));
    assert_eq!(folder.loaded().backup, None);
    assert_eq!(folder.loaded().access, Limits::default());
    folder.write("portcullis.toml", format!("{GATEWAY}[access]\nmost = 7\nwait = \"2h\"\n"));
    assert_eq!(folder.loaded().access, Limits { most: 7, waits_s: 7_200, ..Limits::default() });
    assert!(folder.loaded().proxy.pages.is_none(), "nobody asks by themselves");
    assert_eq!(folder.loaded().break_glass, None);
    let role = "[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /\"] }]\n";
    folder.write(
        "policy.toml",
        format!("{POLICY}{role}[break_glass]\nroles = [\"r\"]\nscope = [\"billing\"]\nsigners = [\"ana\"]\n"),
    );
    let expected = |max_s| BreakGlassRules {
        roles: vec!["r".to_owned()],
        routes: vec!["billing".to_owned()],
        max_s,
        signers: vec!["ana".to_owned()],
    };
    assert_eq!(folder.loaded().break_glass, Some(expected(3_600)));
    folder.write("portcullis.toml", format!("{GATEWAY}[governance]\nbreak_glass_max = \"30m\"\n"));
    assert_eq!(folder.loaded().break_glass, Some(expected(1_800)));
}

#[test]
fn variables_in_what_needs_approvals_are_warned_of_and_others_are_not() {
    let folder = Folder::new();
    let warnings = |gateway: &str, policy: &str| {
        folder.write("portcullis.toml", format!("{GATEWAY}[store]\n{gateway}"));
        folder.write("policy.toml", format!("{POLICY}{policy}"));
        let problems = folder.problems().into_iter().filter(|(code, ..)| *code == "W0207");
        problems.map(|(_, _, message)| message).collect::<Vec<_>>()
    };
    let required = "[governance]\nrequired = true\n";
    let proxies = "[client_address]\ntrusted_proxies = [\"${NET:-10.0.0.0/8}\"]\n";
    let network = "[[network]]\nname = \"n\"\naddresses = [\"${ADDRESS:-10.0.0.1}\"]\n";
    let told = warnings(&format!("{required}{proxies}"), network);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("`${ADDRESS}`, `${NET}`; their values are approved, too"), "{told:?}");
    let many: String = (0..12).map(|n| format!("\"${{V{n:02}:-10.0.0.{n}}}\", ")).collect();
    let told = warnings(required, &format!("[[network]]\nname = \"n\"\naddresses = [{many}]\n"));
    assert!(told[0].contains("`${V09}`, 2 more; their"), "{told:?}");
    // Nobody approves them; or they say how the process runs, or stand for themselves.
    for (gateway, policy) in [
        (proxies.to_owned(), network),
        (format!("{required}[ops]\naddress = \"${{OPS:-127.0.0.1:9000}}\"\n"), ""),
        (format!("{required}{}", proxies.replace("${NET:-10.0.0.0/8}", "10.0.0.0/8")), ""),
    ] {
        assert_eq!(warnings(&gateway, policy), Vec::<String>::new(), "{gateway}");
    }
}

#[test]
fn what_says_how_the_process_runs_is_not_governed_and_all_else_is() {
    let folder = Folder::new();
    let digest = |gateway: &str, policy: &str| {
        folder.write("portcullis.toml", gateway);
        folder.write("policy.toml", policy);
        folder.loaded().governed.digest
    };
    let before = digest(GATEWAY, POLICY);
    let same = |more: &str| assert_eq!(digest(&format!("{GATEWAY}{more}"), POLICY), before, "{more}");
    let other = |more: &str| assert_ne!(digest(&format!("{GATEWAY}{more}"), POLICY), before, "{more}");
    // Approvals go by what is foreseen from it.
    other("[sample]\nenabled = false\n");
    same("\n# a comment\n");
    same("[limits]\nmax_uri_bytes = \"4KiB\"\n");
    same("[process]\nworkers = 3\n");
    same("[[sink]]\nname = \"s\"\nkind = \"stdout\"\n");
    same("[access_log]\nkind = \"stdout\"\n");
    other("[governance]\napprovals = { loosen = 1 }\n");
    other("[store]\n");
    other("[client_address]\ntrusted_proxies = [\"10.0.0.0/8\"]\n");
    other("[[upstream]]\nname = \"x\"\nendpoints = [\"http://127.0.0.1:9\"]\n");
    assert_ne!(digest(GATEWAY, &format!("{POLICY}# a comment\n")), before, "lines of a policy stand in events");
}

#[test]
fn what_the_comparison_of_answers_does_not_see_has_a_digest_of_its_own() {
    let folder = Folder::new();
    let unseen = |more: &str| {
        folder.write("policy.toml", format!("{POLICY}{more}"));
        folder.loaded().governed.unseen()
    };
    let before = unseen("");
    assert_eq!(unseen("[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /\"] }]\n"), before);
    assert_ne!(unseen("[ban]\nmode = \"off\"\n"), before);
    assert_ne!(unseen("[risk]\nmode = \"off\"\n"), before);
    folder.write("list.txt", "10.0.0.0/8\n");
    let network = "[[network]]\nname = \"n\"\nsource = { file = \"list.txt\", refresh = \"1h\" }\n";
    let first = unseen(network);
    assert_ne!(first, before);
    assert_ne!(unseen(&network.replace("1h", "2h")), first);
}

#[test]
fn a_network_that_something_else_than_the_rules_goes_by_is_among_it() {
    let folder = Folder::new();
    let key = format!(
        "version = 1\n[[key]]\nid = \"k\"\nsha256 = \"{}\"\nprincipal = \"service:k\"\nnetworks = [\"keys\"]\n",
        "00".repeat(32)
    );
    folder.write("keys.toml", key);
    let provider = "[[identity.api_key]]\nname = \"k\"\nheader = \"x-api-key\"\nfile = \"keys.toml\"\n";
    let route = "[[route]]\nname = \"closed\"\npaths = \"/closed\"\nupstream = \"billing\"\nmaintenance = { except = [\"closed\"] }\n";
    folder.write("portcullis.toml", format!("{GATEWAY}{provider}{route}"));
    folder.write("listed.txt", "10.0.5.0/24\n");
    let policy = |grown: &str| {
        let names = ["egress", "bad", "never", "keys", "closed", "rules"];
        let networks = names.map(|name| {
            let addresses = if name == grown { "\"10.0.1.0/24\", \"0.0.0.0/0\"" } else { "\"10.0.1.0/24\"" };
            format!("[[network]]\nname = \"{name}\"\naddresses = [{addresses}]\n")
        });
        let files = "[[network]]\nname = \"listed\"\nfile = \"listed.txt\"\n";
        let beside = "[risk]\ncorporate_egress = [\"egress\"]\n[[risk.reputation]]\nnetwork = \"bad\"\n[ban]\nnever = [\"never\", \"listed\"]\n";
        format!("{POLICY}{}{files}{beside}", networks.concat())
    };
    let unseen = |grown: &str| {
        folder.write("policy.toml", policy(grown));
        folder.loaded().governed.unseen()
    };
    let before = unseen("none");
    for name in ["egress", "bad", "never", "keys", "closed"] {
        assert_ne!(unseen(name), before, "{name}: with all addresses in it somebody else gets in");
    }
    assert_eq!(unseen("rules"), before, "the comparison of answers sees that one");
    folder.write("listed.txt", "10.0.4.0/23\n");
    assert_ne!(unseen("none"), before);
}

/// A configuration as it was, in place of the files on the disk.
struct Sealed(BTreeMap<PathBuf, Arc<[u8]>>);

impl Sealed {
    fn of(loaded: &Loaded) -> Self {
        Self(loaded.governed.files.iter().map(|file| (file.path.clone(), Arc::clone(&file.bytes))).collect())
    }
}

impl Environment for Sealed {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, path: &Path) -> Option<Arc<[u8]>> {
        self.0.get(path).cloned()
    }

    fn includable(&self, folder: &Path) -> Option<Vec<PathBuf>> {
        Some(self.0.keys().filter_map(|path| Some(path.strip_prefix(folder).ok()?.to_owned())).collect())
    }
}

#[test]
fn a_sealed_configuration_is_read_as_it_was_whatever_is_on_the_disk() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("more")).unwrap();
    folder.write("portcullis.toml", format!("include = [\"more/*.toml\"]\n{GATEWAY}[[identity.api_key]]\nname = \"k\"\nheader = \"x-api-key\"\nfile = \"keys.toml\"\n"));
    folder.write("more/b.toml", "[[upstream]]\nname = \"b\"\nendpoints = [\"http://127.0.0.1:1\"]\n");
    folder.write("more/a.toml", "[[upstream]]\nname = \"a\"\nendpoints = [\"http://127.0.0.1:1\"]\n");
    let key = format!("[[key]]\nid = \"k\"\nsha256 = \"{}\"\nprincipal = \"service:k\"\n", "00".repeat(32));
    folder.write("keys.toml", format!("version = 1\n{key}"));
    folder.write("policy.toml", format!("include = [\"more/*.policy\"]\n{POLICY}"));
    folder.write("more/x.policy", "[[group]]\nname = \"g\"\nmembers = [\"user:a\"]\n");
    let before = folder.loaded();
    let names: Vec<(&str, GovernedKind)> = before.governed.files.iter().map(|file| (&*file.name, file.kind)).collect();
    let expected = [
        ("portcullis.toml", GovernedKind::Gateway),
        ("more/a.toml", GovernedKind::Gateway),
        ("more/b.toml", GovernedKind::Gateway),
        ("policy.toml", GovernedKind::Policy),
        ("more/x.policy", GovernedKind::Policy),
        ("keys.toml", GovernedKind::Keys),
    ];
    assert_eq!(names, expected);
    assert_eq!(before.governed.policy, "policy.toml");
    let sealed = Sealed::of(&before);
    folder.write("portcullis.toml", "broken = ");
    folder.write("policy.toml", "broken = ");
    folder.write("keys.toml", "broken = ");
    folder.write("more/0.toml", "[[upstream]]\nname = \"evil\"\nendpoints = [\"http://127.0.0.1:1\"]\n");
    folder.write("more/0.policy", "broken = ");
    std::fs::remove_file(folder.path("more/a.toml")).unwrap();
    assert!(load(&folder.path("portcullis.toml"), &BTreeMap::new()).is_err());
    let after = load(&folder.path("portcullis.toml"), &sealed).unwrap();
    assert_eq!(after.governed.digest, before.governed.digest);
    assert_eq!(after.policy.sha256(), before.policy.sha256());
    assert_eq!(after.summary, before.summary);
}

/// Finding of 2026-11: another value of a variable let somebody else in, under the same version and the same hash.
#[test]
fn the_values_of_variables_that_decide_are_part_of_what_is_governed() {
    let folder = Folder::new();
    let gateway = format!(
        "{GATEWAY}[client_address]\ntrusted_proxies = [\"${{PROXY:-10.0.0.0/8}}\"]\n[limits]\nmax_uri_bytes = \"${{LIMIT:-4KiB}}\"\n"
    );
    let policy = format!(
        "{POLICY}[[role]]\nname = \"r\"\npermissions = [{{ actions = [\"GET /\"] }}]\n[[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:${{ONCALL:-alice}}\"]\nscope = \"*\"\n"
    );
    folder.write("portcullis.toml", gateway);
    folder.write("policy.toml", policy);
    let of = |variables: &[(&str, &str)]| {
        let environment: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load(&folder.path("portcullis.toml"), &environment)
            .unwrap_or_else(|report| panic!("{}", report.render_human(false)))
            .governed
    };
    let before = of(&[]);
    assert_eq!(before.variables.iter().map(String::as_str).collect::<Vec<_>>(), ["ONCALL", "PROXY"]);
    for other in [[("ONCALL", "bob")], [("PROXY", "192.0.2.0/24")], [("ONCALL", "")]] {
        let other = of(&other);
        assert_ne!(other.digest, before.digest);
        assert_eq!(other.written, before.written);
        // What an earlier version of the program had approved is still that.
        assert!(other.is(&before.written) && !other.is(&before.digest) && before.is(&before.digest));
    }
    assert_eq!(of(&[("LIMIT", "8KiB")]).digest, before.digest, "what is operated, and no variable");
    folder.write("portcullis.toml", GATEWAY);
    folder.write("policy.toml", POLICY);
    let none = of(&[("ONCALL", "bob")]);
    assert_eq!((none.digest, none.variables.len()), (none.written, 0));
}
