//! Getting back: to which version, and one version alone.

use super::*;

const CAROL: &str =
    "\n[[assignment]]\nname = \"carol-reads\"\nrole = \"reader\"\nprincipals = [\"user:carol\"]\nscope = \"*\"\n";
const HOLE: &str =
    "\n[[deny]]\nname = \"no-secret\"\nprincipals = [\"user:alice\"]\nactions = [\"GET /secret/**\"]\nscope = \"*\"\n";

fn at(gateway: &Gateway, path: &str, key: &str) -> u16 {
    gateway.get(path, &[("X-Api-Key", key)]).status()
}

/// Has the policy of these parts in force, as the next version.
fn reload(gateway: &mut Gateway, parts: &[&str]) {
    gateway.site.policy(&parts.concat());
    gateway.reload("ok");
}

fn read(site: &Site) -> String {
    fs::read_to_string(site.path("policy.toml")).unwrap()
}

/// Finding of 2026-11: the same command again had the mistake live again, for everybody and without steps.
#[test]
fn a_rollback_that_is_repeated_takes_nothing_back_that_was_taken_back_to() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let mut gateway = site.start();
    reload(&mut gateway, &[MISTAKE, NO_BANS]);
    assert_eq!(status(&gateway, &key), 403);
    let back = ["policy", "rollback", "--reason", "finance is empty", "--author", "dana"];
    assert!(run(&gateway.site, &back, 0).contains("undoes 2 \"found at a reload\" by "));
    for again in [&back[..], &[&back[..], &["--dry-run"]].concat()] {
        let said = refused(&gateway.site, again, 1);
        assert!(said.contains("version 3, which is live, is itself a rollback to version 1"), "{said}");
        assert!(said.contains("there are version 1 of ") && !said.contains("version 2 of"), "{said}");
    }
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (200, 3));
    // A key that goes changes no answer of the policy: what answers otherwise is before it.
    reload(&mut gateway, &[MISTAKE, NO_BANS]);
    let other = gateway.site.key("other", "user:other", "");
    gateway.site.write();
    gateway.reload("ok");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (403, 5));
    let said = run(&gateway.site, &back, 0);
    assert!(said.contains("rolled back to version 3: version 6 is live") && said.contains("undoes 4 "), "{said}");
    assert_eq!((status(&gateway, &key), status(&gateway, &other)), (200, 403), "the key of now is known still");
}

#[test]
fn one_version_is_undone_and_what_came_after_it_stays() {
    let upstream = Upstream::start();
    let (mut site, alice) = site(&upstream, "");
    let carol = site.key("carol", "user:carol", "");
    let mut gateway = site.start();
    reload(&mut gateway, &[MISTAKE, NO_BANS]);
    reload(&mut gateway, &[MISTAKE, NO_BANS, CAROL]);
    reload(&mut gateway, &[MISTAKE, NO_BANS, CAROL, HOLE]);
    let answers =
        |gateway: &Gateway| [at(gateway, "/", &alice), at(gateway, "/", &carol), at(gateway, "/secret/x", &alice)];
    assert_eq!(answers(&gateway), [403, 200, 403]);
    // All of it: what goes with it is said.
    let all = run(&gateway.site, &["policy", "rollback", "1", "--dry-run", "--reason", "x"], 0);
    for part in
        ["undoes 2 \"found", ", 3 \"found", ", 4 \"found", "GETS FURTHER: ", "/secret/**", "less far: user:carol"]
    {
        assert!(all.contains(part), "{part}: {all}");
    }
    let tried = run(&gateway.site, &["policy", "revert", "2", "--dry-run", "--reason", "x"], 0);
    assert!(
        tried.contains("version 2 undone alone (loosens)") && tried.contains("GETS FURTHER: user:alice"),
        "{tried}"
    );
    assert!(!tried.contains("less far") && tried.contains("nothing was changed"), "{tried}");
    assert_eq!((answers(&gateway), live(&gateway.site)), ([403, 200, 403], 4));
    let undo = ["policy", "revert", "2", "--reason", "finance is empty", "--author", "dana"];
    let said = run(&gateway.site, &undo, 0);
    assert!(said.contains("version 2 undone alone: version 5 is live"), "{said}");
    assert_eq!(answers(&gateway), [200, 200, 403]);
    let event = event(&gateway, "admin.policy_rollback");
    assert!(event["message"].as_str().unwrap().contains("version 2 undone alone"), "{event}");
    let newest = &json(&gateway.site, &["policy", "list"])["versions"][0];
    assert_eq!((&newest["change"]["kind"], &newest["change"]["restores"]), (&"undo".into(), &2.into()));
    assert!(run(&gateway.site, &["policy", "list"], 0).contains("undo of 2"));
    assert!(read(&gateway.site).contains("members = [\"user:alice\"]") && read(&gateway.site).contains("no-secret"));
    gateway.reload("ok");
    assert_eq!((answers(&gateway), live(&gateway.site)), ([200, 200, 403], 5));
    // It is done, and two in a hurry do not undo each other.
    assert!(refused(&gateway.site, &undo, 1).contains("nothing that version 2 changed is in what is live"));
    let plain = refused(&gateway.site, &["policy", "rollback", "--reason", "x"], 1);
    assert!(plain.contains("is itself what was live without version 2"), "{plain}");
    run(&gateway.site, &["policy", "verify"], 0);
    // What was changed again is somebody's to say.
    let text = read(&gateway.site).replace("name = \"no-secret\"", "name = \"nothing-secret\"");
    fs::write(gateway.site.path("policy.toml"), &text).unwrap();
    gateway.reload("ok");
    let line = text.lines().position(|line| line.contains("nothing-secret")).unwrap() + 1;
    let conflict = refused(&gateway.site, &["policy", "revert", "4", "--reason", "x"], 1);
    assert!(conflict.contains("policy.toml, ") && conflict.contains(&line.to_string()), "{conflict}");
    let plain = refused(&gateway.site, &["policy", "rollback", "--reason", "x"], 1);
    assert!(plain.contains("version 5, which answers as what is live, is itself what was live without"), "{plain}");
    for (n, why) in [("1", "version 1 is the first one"), ("99", "99")] {
        assert!(refused(&gateway.site, &["policy", "revert", n, "--reason", "x"], 1).contains(why));
    }
    assert_eq!((answers(&gateway), live(&gateway.site)), ([200, 200, 403], 6));
}

/// Steps are there to see whom a version turns away: whoever is locked out does not wait for them once it is approved.
#[test]
fn what_only_takes_refusals_back_is_approved_and_takes_no_steps() {
    let upstream = Upstream::start();
    let (site, key) =
        site(&upstream, &format!("{GOVERNED}shadow = \"10m\"\ncanary = [\"5%\", \"100%\"]\ncanary_step = \"10m\"\n"));
    site.write();
    let [_, ben, cem] = begun(&site);
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    let site = &gateway.site;
    site.policy(&[MISTAKE, NO_BANS].concat());
    let mistake = propose(site, "ana");
    approve(site, &mistake, &ben);
    let said = run(site, &["policy", "activate", &mistake], 0);
    let hurry =
        format!("its steps take 30m at least, and `portcullis policy activate {} --now --reason TEXT`", &mistake[..8]);
    assert!(said.contains(&hurry), "{said}");
    run(site, &["policy", "activate", &mistake, "--now", "--reason", "hurry"], 0);
    assert_eq!(status(&gateway, &key), 403);
    let undone = json(site, &["policy", "revert", "2", "--author", "ana", "--reason", "finance is empty"]);
    let change = &undone["changes"][0];
    assert_eq!((&change["kind"], &change["class"], &change["need"]), (&"undo".into(), &"loosens".into(), &2.into()));
    let id = change["id"].as_str().unwrap();
    assert!(run(site, &["policy", "show", &id[..8]], 0).contains("undoes    version 2 alone"));
    for key in [&ben, &cem] {
        approve(site, id, key);
    }
    assert_eq!(status(&gateway, &key), 403, "it waits until it is activated");
    let said = run(site, &["policy", "activate", id], 0);
    assert!(said.contains("version 3 is live (3:"), "{said}");
    assert_eq!(status(&gateway, &key), 200);
    run(site, &["policy", "verify"], 0);
}
