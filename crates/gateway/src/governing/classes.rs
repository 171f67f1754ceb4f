//! What each kind of change is said to do: a table, since by it the number of persons who have to approve is told.

use portcullis_config::{ProcessEnvironment, load};
use portcullis_governance::{Class, Content, PolicySource as _};

use super::source::{Source, content_of};

const GATEWAY: &str = "version = 1\n[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"u\"\nendpoints = [\"http://127.0.0.1:9\"]\n[[route]]\nname = \"r\"\nupstream = \"u\"\n[store]\npath = \"state.db\"\n[[identity.api_key]]\nname = \"k\"\nheader = \"x-api-key\"\nfile = \"keys.toml\"\n";
const POLICY: &str = "version = 1\n[[role]]\nname = \"reader\"\npermissions = [{ actions = [\"GET /**\"] }]\n[[assignment]]\nname = \"a\"\nrole = \"reader\"\nprincipals = [\"user:a\"]\nscope = \"*\"\n[[assignment]]\nname = \"e\"\nrole = \"reader\"\nprincipals = [\"user:e\"]\nscope = \"*\"\nactivation = { max = \"1h\", approvals = 1 }\n[break_glass]\nroles = [\"reader\"]\nscope = \"*\"\nmax = \"1h\"\n[ban]\nmode = \"enforce\"\n";
const KEY: &str = "[[key]]\nid = \"k\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\nprincipal = \"service:k\"\n";

/// The three files.
fn contents() -> (tempfile::TempDir, Content) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in
        [("portcullis.toml", GATEWAY), ("policy.toml", POLICY), ("keys.toml", &format!("version = 1\n{KEY}"))]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let loaded = load(&folder.path().join("portcullis.toml"), &ProcessEnvironment)
        .unwrap_or_else(|report| panic!("{}", report.render_human(false)));
    let content = content_of(&loaded);
    (folder, content)
}

#[test]
fn every_kind_of_change_has_its_class() {
    let (folder, base) = contents();
    let source = Source { config: folder.path().join("portcullis.toml") };
    type Case = (&'static str, &'static str, &'static str, &'static str, Class, Class);
    // What is written in place of what, in which file; what that does, and what it does to take it back.
    let cases: [Case; 11] = [
        ("one more", "policy.toml", "\"user:a\"", "\"user:a\", \"user:b\"", Class::Loosens, Class::Tightens),
        ("another one", "policy.toml", "\"user:a\"", "\"user:b\"", Class::Mixed, Class::Mixed),
        ("a comment", "policy.toml", "version = 1\n", "version = 1\n# x\n", Class::Neutral, Class::Neutral),
        ("no approval to activate", "policy.toml", ", approvals = 1", "", Class::Loosens, Class::Neutral),
        (
            "activated for longer",
            "policy.toml",
            "max = \"1h\", approvals",
            "max = \"2h\", approvals",
            Class::Loosens,
            Class::Neutral,
        ),
        (
            "glass for longer",
            "policy.toml",
            "max = \"1h\"\n[ban]",
            "max = \"2h\"\n[ban]",
            Class::Loosens,
            Class::Tightens,
        ),
        (
            "glass at all",
            "policy.toml",
            "[break_glass]\nroles = [\"reader\"]\nscope = \"*\"\nmax = \"1h\"\n",
            "",
            Class::Tightens,
            Class::Loosens,
        ),
        ("bans", "policy.toml", "mode = \"enforce\"", "mode = \"off\"", Class::Mixed, Class::Mixed),
        ("the gateway", "portcullis.toml", "127.0.0.1:9", "127.0.0.1:10", Class::Mixed, Class::Mixed),
        ("a key withdrawn", "keys.toml", "principal", "revoked = true\nprincipal", Class::Tightens, Class::Mixed),
        ("a key that is somebody else", "keys.toml", "service:k", "user:a", Class::Mixed, Class::Mixed),
    ];
    for (name, file, from, to, there, back) in cases {
        let mut after = base.clone();
        let text = String::from_utf8(after.files[file].clone()).unwrap();
        assert!(text.contains(from), "{name}");
        after.files.insert(file.to_owned(), text.replacen(from, to, 1).into_bytes());
        source.assess(&after).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((source.class(&base, &after), source.class(&after, &base)), (there, back), "{name}");
    }
    // What cannot be read is not known.
    let mut broken = base.clone();
    broken.files.insert("policy.toml".to_owned(), b"broken".to_vec());
    assert_eq!((source.class(&base, &broken), source.class(&base, &base)), (Class::Mixed, Class::Neutral));
}
