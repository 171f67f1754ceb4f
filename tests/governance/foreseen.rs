//! What a change would have done to requests that were made: shown before it is signed, bound into the signature, and looked at again.

use super::*;

#[test]
fn whoever_approves_sees_who_would_be_denied_and_says_that_this_is_wanted() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, _]) = governed(&upstream);
    let gateway = site.start();
    let site = &gateway.site;
    for _ in 0..3 {
        assert_eq!(status(&gateway, &key), 200);
    }
    site.policy(&[MISTAKE, NO_BANS].concat());
    let answer = json(site, &["policy", "propose", "--author", "ana", "--reason", "a change"]);
    let change = &answer["changes"][0];
    let (id, impact) = (change["id"].as_str().unwrap(), change["impact"].as_str().unwrap());
    let foreseen = change["foreseen"][0].as_str().unwrap();
    assert!(foreseen.starts_with("would newly deny 3 of the last 3 requests, by 1 user (user:alice 3)"), "{foreseen}");
    // As a preview says, too.
    site.file("candidate.toml", &["version = 1\n", MISTAKE, NO_BANS].concat());
    let candidate = site.path("candidate.toml").display().to_string();
    let preview = run(site, &["policy", "preview", &candidate, "-o", "json"], 1);
    let preview: Value = serde_json::from_str(&preview).unwrap();
    assert_eq!(preview["recent"]["newly_denied"]["requests"], 3);
    // Without a word no signature, with another hash none either.
    let approve = ["policy", "approve", id, "--key", ben.as_str()];
    let refusal = refused(site, &approve, 5);
    assert!(refusal.contains("would newly deny 1 callers") && refusal.contains(&impact[..8]), "{refusal}");
    assert!(refused(site, &[&approve[..], &["--acknowledge", &impact[..7]]].concat(), 5).contains("another one"));
    assert!(refused(site, &[&approve[..], &["--acknowledge", "00000000"]].concat(), 5).contains("another one"));
    let signed = ask(site, &[&approve[..], &["--acknowledge", &impact[..8]]].concat());
    assert!(signed.status.success(), "{signed:?}");
    let review = signed.stderr.join("\n");
    assert!(review.contains("would newly deny 3 of the last 3 requests") && review.contains("GET /**"), "{review}");
    assert!(review.contains("rules     approvals required: tighten 1, loosen 2, keys 2"), "{review}");
    run(site, &["policy", "activate", id], 0);
    let shown = run(site, &["policy", "show", "2"], 0);
    assert!(shown.contains(impact) && shown.contains("would newly deny 3 of the last 3"), "{shown}");
}

#[test]
fn what_becomes_another_thing_until_it_is_live_has_to_be_signed_again() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, cem]) = governed(&upstream);
    let gateway = site.start();
    let site = &gateway.site;
    // Nobody has come yet, so that nobody would be denied.
    site.policy(&[MISTAKE, NO_BANS].concat());
    let change = propose(site, "ana");
    assert!(run(site, &["policy", "approve", &change, "--key", &ben], 0).contains("it can be activated"));
    assert_eq!(status(&gateway, &key), 200);
    let refusal = refused(site, &["policy", "activate", &change], 1);
    assert!(refusal.contains("by now it would newly deny 1 callers"), "{refusal}");
    assert_eq!((status(&gateway, &key), live(site)), (200, 1));
    let again = propose(site, "ana");
    approve(site, &again, &cem);
    run(site, &["policy", "activate", &again], 0);
    assert_eq!((status(&gateway, &key), live(site)), (403, 2));
}

#[test]
fn where_no_gateway_runs_it_is_said_and_signed_that_nobody_looked() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, _]) = governed(&upstream);
    site.policy(&[MISTAKE, NO_BANS].concat());
    let change = propose(&site, "ana");
    let request = site.path("request").display().to_string();
    run(&site, &["policy", "request", &change, "--out", &request], 0);
    let review = refusable(&site, &["policy", "sign", &request]);
    assert!(review.contains("not foreseen: no gateway was running when it was proposed"), "{review}");
    assert!(review.contains(&impact(&site, &change)), "{review}");
    // Nobody signs by habit what nobody could look at.
    let blind = refused(&site, &["policy", "approve", &change, "--key", &ben], 5);
    assert!(blind.contains("nobody could look at what it does to requests"), "{blind}");
    approve(&site, &change, &ben);
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    // What was signed blind is what was wanted.
    run(&gateway.site, &["policy", "activate", &change], 0);
    assert_eq!(status(&gateway, &key), 403);
    assert!(run(&gateway.site, &["policy", "show", "2"], 0).contains("not foreseen: no gateway was running"));
    // Approvers change no answer, and that is said, too.
    let dan = key_of(&gateway.site, "dan").replace(".key", ".pub");
    let add = ["approver", "add", "dan", "--key", &dan, "--author", "ana", "--reason", "a fourth"];
    assert!(run(&gateway.site, &add, 0).contains("not foreseen: the approvers alone change"));
}

/// What a verb says on standard error that works.
#[track_caller]
fn refusable(site: &Site, arguments: &[&str]) -> String {
    let finished = ask(site, arguments);
    assert!(finished.status.success(), "{arguments:?}: {finished:?}");
    finished.stderr.join("\n")
}

#[test]
fn whoever_stops_the_gateway_or_has_it_keep_no_requests_does_not_get_around_the_second_look() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, _]) = governed(&upstream);
    let mut gateway = site.start();
    // Nobody has come yet, so that nobody would be denied.
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    let change = propose(&gateway.site, "ana");
    run(&gateway.site, &["policy", "approve", &change, "--key", &ben], 0);
    assert_eq!(status(&gateway, &key), 200);
    // What keeps requests is governed.
    let config = fs::read_to_string(gateway.site.path("portcullis.toml")).unwrap();
    gateway.site.policy(&[FINANCE, NO_BANS].concat());
    gateway.reload("ok");
    fs::write(gateway.site.path("portcullis.toml"), format!("{config}[sample]\nenabled = false\n")).unwrap();
    gateway.reload("error");
    fs::write(gateway.site.path("portcullis.toml"), &config).unwrap();
    let site = stopped(gateway);
    let refusal = refused(&site, &["policy", "activate", &change], 1);
    assert!(refusal.contains("cannot be tried once more before it is live"), "{refusal}");
    assert_eq!(live(&site), 1);
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    // Who comes by now is denied, which nobody has signed.
    let refusal = refused(&gateway.site, &["policy", "activate", &change], 1);
    assert!(refusal.contains("by now it would newly deny 1 callers"), "{refusal}");
}

/// Finding of 2026-11: what was approved could not become live where the gateway cannot run before it is.
#[test]
fn what_was_foreseen_becomes_live_without_a_gateway_where_somebody_says_why_and_that_stands_in_the_version() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, _]) = governed(&upstream);
    let gateway = site.start();
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    let change = propose(&gateway.site, "ana");
    approve(&gateway.site, &change, &ben);
    gateway.site.policy(&[FINANCE, NO_BANS].concat());
    let site = stopped(gateway);
    let refusal = refused(&site, &["policy", "activate", &change], 1);
    assert!(refusal.contains("--unseen --reason"), "{refusal}");
    // Having it at once is no reason not to look.
    refused(&site, &["policy", "activate", &change, "--now", "--reason", "hurry"], 1);
    refused(&site, &["policy", "activate", &change, "--unseen"], 2);
    refused(&site, &["policy", "activate", &change, "--reason", "for nothing"], 2);
    assert_eq!(live(&site), 1);
    let both = ["policy", "activate", &change, "--now", "--unseen", "--reason", "it does not start with version 1"];
    let said = run(&site, &both, 0);
    assert!(said.contains("and could not be tried once more before: it does not start with version 1"), "{said}");
    let by = json(&site, &["policy", "show", "2"])["versions"][0]["by"].as_str().unwrap().to_owned();
    assert!(by.ends_with(", unseen: it does not start with version 1"), "{by}");
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 403);
    // Where it can be tried it is, whatever is said: and then nothing of it stands in the version.
    gateway.site.policy(&[FINANCE, NO_BANS].concat());
    let change = propose(&gateway.site, "ana");
    for who in ["ben", "cem"] {
        approve(&gateway.site, &change, &gateway.site.path(&format!("{who}.key")).display().to_string());
    }
    run(&gateway.site, &["policy", "activate", &change, "--unseen", "--reason", "for nothing"], 0);
    let by = json(&gateway.site, &["policy", "show", "3"])["versions"][0]["by"].as_str().unwrap().to_owned();
    assert!(!by.contains("unseen"), "{by}");
    assert_eq!(status(&gateway, &key), 200);
}

#[test]
fn whoever_signs_is_shown_who_gets_in_by_it_without_believing_the_gateway() {
    let upstream = Upstream::start();
    let (site, _, _) = governed(&upstream);
    site.policy(&[&FINANCE.replace("user:alice", "user:mallory"), NO_BANS].concat());
    let change = propose(&site, "ana");
    let away = tempfile::tempdir().unwrap();
    let request = away.path().join("request").display().to_string();
    run(&site, &["policy", "request", &change, "--out", &request], 0);
    let signed = portcullis().cwd(away.path()).args(["policy", "sign", "request"]).run(PATIENCE);
    let review = signed.stderr.join("\n");
    assert!(review.contains("GETS FURTHER: user:mallory; on GET "), "{review}");
    assert!(review.contains("less far: user:alice"), "{review}");
}
