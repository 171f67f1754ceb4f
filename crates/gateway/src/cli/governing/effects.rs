//! Who gets further by a change, and who less far: worked out where it is signed, from the files whose hashes are signed, so that no gateway has to be believed.

use std::path::Path;

use jiff::Timestamp;
use portcullis_governance::{Class, Request};
use portcullis_policy::DiffBounds;

use crate::governing::{class_of, effects_in_words, load_sealed};

/// What was found here.
pub(super) struct Found {
    /// In sentences.
    pub(super) lines: Vec<String>,
    /// What it does; `None`: it could not be found here, or there is nothing to be compared.
    pub(super) class: Option<Class>,
}

/// Compares what is live with what is proposed. `config`: where this machine's configuration would be, since files that no version holds (certificates, secrets)
/// are looked for beside it.
pub(super) fn of(config: &Path, request: &Request) -> Found {
    let nothing = |line: &str| Found { lines: vec![line.to_owned()], class: None };
    let Some(base) = &request.base else { return nothing("nothing was live before: all of it is new") };
    if base.content == request.content {
        return nothing("no file changes");
    }
    let read = |content| load_sealed(config, content).map_err(|report| report.summary_line());
    match (read(&base.content), read(&request.content)) {
        (Ok(before), Ok(after)) => {
            let mut lines = effects_in_words(&before, &after, Timestamp::now());
            if before.governed.gateway != after.governed.gateway {
                lines.push("the gateway's own tables change, too: who is known, and where requests go, is in the lines below alone".to_owned());
            }
            let class = match before.governed.digest == after.governed.digest {
                true => Class::Neutral,
                false => class_of(&before, &after, &DiffBounds::default()),
            };
            Found { lines, class: Some(class) }
        }
        (Err(why), _) | (_, Err(why)) => Found {
            lines: vec![format!(
                "who gets in could not be worked out on this machine ({why}): name the configuration with -c, or read every line below"
            )],
            class: None,
        },
    }
}

/// Why a change must not be signed: what was found here needs more persons than what would be signed.
pub(super) fn contradicted(request: &Request, found: &Found) -> Option<String> {
    let is_strict = |class: Class| match class {
        Class::Neutral | Class::Tightens => false,
        Class::Loosens | Class::Mixed => true,
    };
    let signed = request.change.class;
    let class = found.class.filter(|class| is_strict(*class) && !is_strict(signed))?;
    Some(format!(
        "what would be signed says that the change {}, and what is found here is that it {}: it must not be signed so",
        signed.as_str(),
        class.as_str()
    ))
}

#[cfg(test)]
mod tests {
    use portcullis_governance::{Base, Change, Content, Hash, Kind, Rules, Version};

    use super::*;

    const GATEWAY: &str = "version = 1\n[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"u\"\nendpoints = [\"http://127.0.0.1:9\"]\n[[route]]\nname = \"r\"\nupstream = \"u\"\n";

    fn content(assigned: &str) -> Content {
        let policy = format!(
            "version = 1\n[[role]]\nname = \"r\"\npermissions = [{{ actions = [\"GET /**\"] }}]\n[[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:{assigned}\"]\nscope = \"*\"\n"
        );
        let files = [("portcullis.toml", GATEWAY), ("policy.toml", &policy)];
        Content { files: files.into_iter().map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).collect() }
    }

    /// A request that says of itself what it does.
    fn request(before: &str, after: &str, class: Class) -> Request {
        between(content(before), content(after), class)
    }

    fn between(before: Content, after: Content, class: Class) -> Request {
        let change = |content: &Content| Change {
            id: portcullis_governance::ChangeId([1; 16]),
            kind: Kind::Change,
            class,
            base_n: 1,
            base: Hash::NONE,
            content: content.hash(),
            governed: Hash::NONE,
            approvers: Hash::NONE,
            impact: Hash::NONE,
            rules: Rules::default(),
            restores: 0,
            authors: vec!["ana".to_owned()],
            reason: "because".to_owned(),
            ticket: String::new(),
            created: 0,
            expires: 1,
            recovers: Hash::NONE,
        };
        let version = Version {
            n: 1,
            prev: Hash::NONE,
            instance: Hash::NONE,
            time: 0,
            by: "root".to_owned(),
            exceptions: portcullis_governance::Exceptions::default(),
            change: change(&before),
            approvals: Vec::new(),
        };
        let approvers = portcullis_governance::ApproverSet::default;
        let base = Some(Base { version, content: before, approvers: approvers() });
        let change = change(&after);
        Request { instance: Hash::NONE, change, content: after, base, approvers: approvers(), impact: Vec::new() }
    }

    #[test]
    fn whoever_signs_is_told_who_gets_in_and_that_the_gateway_says_otherwise() {
        let away = tempfile::tempdir().unwrap();
        let config = away.path().join("portcullis.toml");
        let forged = request("alice", "bob", Class::Tightens);
        let found = of(&config, &forged);
        let gets_in = found.lines.iter().find(|line| line.starts_with("GETS FURTHER: user:bob; on GET ")).unwrap();
        assert!(gets_in.contains("becomes permit, by assignment a (policy.toml:"), "{gets_in}");
        assert!(found.lines.iter().any(|line| line.starts_with("less far: user:alice")), "{:?}", found.lines);
        assert_eq!(found.class, Some(Class::Mixed));
        let refusal = contradicted(&forged, &found).unwrap();
        assert!(refusal.contains("says that the change tightens") && refusal.contains("it mixed"), "{refusal}");
        assert_eq!(contradicted(&request("alice", "bob", Class::Mixed), &found), None);
        // One that cannot be read here is not taken for harmless, and says so.
        let mut odd = request("alice", "bob", Class::Tightens);
        odd.content.files.insert("policy.toml".to_owned(), b"broken".to_vec());
        let found = of(&config, &odd);
        assert!(found.lines[0].contains("could not be worked out on this machine") && found.class.is_none());
        assert_eq!(of(&config, &request("alice", "alice", Class::Neutral)).lines, ["no file changes"]);
    }

    /// No answer to a request shows it, and it is what an approver must not miss.
    #[test]
    fn whoever_signs_is_told_what_becomes_easier_to_get_for_a_time() {
        let away = tempfile::tempdir().unwrap();
        let config = away.path().join("portcullis.toml");
        let with = |more: &str| {
            let mut content = content("alice");
            if let Some(policy) = content.files.get_mut("policy.toml") {
                policy.extend_from_slice(more.as_bytes());
            }
            content
        };
        let check = |before: &str, after: &str, said: &str| {
            let found = of(&config, &between(with(before), with(after), Class::Loosens));
            assert_eq!((found.lines, found.class), (vec![said.to_owned()], Some(Class::Loosens)));
        };
        check(
            "activation = { max = \"1h\" }\n",
            "activation = { max = \"8h\" }\n",
            "ACTIVATING a: for at most 8h at once, before 1h",
        );
        check(
            "",
            "[break_glass]\nroles = [\"r\"]\nscope = \"*\"\nmax = \"1h\"\n",
            "BREAKING GLASS gives r on every route for at most 1h, by codes alone",
        );
    }
}
