//! Versions that come into force step by step: tried beside the live one, deciding for some, for all; taken back by themselves, and hurried.

use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::process::Signal;

use super::*;

/// A change that is proposed to a site that demands no approvals, and is activated.
#[track_caller]
fn activate(site: &Site, policy: &str) -> String {
    let file = site.path("candidate.toml").display().to_string();
    site.file("candidate.toml", &format!("version = 1\n{policy}"));
    let answer = json(site, &["policy", "propose", "--reason", "a change", &file]);
    let change = answer["changes"][0]["id"].as_str().unwrap().to_owned();
    let said = run(site, &["policy", "activate", &change], 0);
    assert!(said.contains("being rolled out"), "{said}");
    change
}

fn rollout(site: &Site) -> Value {
    json(site, &["policy", "status"])["live"]["rollout"].clone()
}

pub(super) fn mistake() -> String {
    [MISTAKE, NO_BANS].concat()
}

#[test]
fn a_version_that_denies_who_was_let_in_before_is_taken_back_before_it_decides_for_anybody() {
    let upstream = Upstream::start();
    let steps = "[governance]\nshadow = \"1h\"\ncanary = [\"5%\", \"100%\"]\nmax_newly_denied = \"0%\"\nmin_denied_callers = 1\n";
    let (site, key) = site(&upstream, steps);
    let mut gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    activate(&gateway.site, &mistake());
    let begun = rollout(&gateway.site);
    assert_eq!(
        (&begun["n"], &begun["serving"], &begun["share_ppm"], &begun["lasts_s"]),
        (&2.into(), &1.into(), &0.into(), &3600.into())
    );
    let first = event(&gateway, "policy.rollout");
    assert!(first["message"].as_str().unwrap().contains("shadow: no caller"), "{first}");
    // It decides for nobody, and so a newly denied request is permitted.
    let back = || {
        assert_eq!(status(&gateway, &key), 200);
        of_kind(&gateway.events.all(), "policy.reverted").last().map(|event| (*event).clone())
    };
    let back = wait::until(PATIENCE, back).expect("it is taken back");
    let message = back["message"].as_str().unwrap();
    assert_eq!(back["severity"], "high");
    for part in [
        "version 2 was taken back in the step shadow",
        "of callers who were let in before, by 1 user (alice",
        "at most 0 %",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let list = json(&gateway.site, &["policy", "list"]);
    let newest = &list["versions"][0];
    assert_eq!(
        (&newest["n"], &newest["change"]["kind"], &newest["change"]["restores"]),
        (&3.into(), &"revert".into(), &1.into())
    );
    assert_eq!((&newest["by"], &list["live"]["rollout"]), (&"portcullis".into(), &Value::Null));
    let states: Vec<&Value> = list["versions"].as_array().unwrap().iter().map(|version| &version["state"]).collect();
    assert_eq!(states, ["live", "taken_back", "earlier"], "what decided for nobody was never live");
    let shown = run(&gateway.site, &["policy", "show", "2"], 0);
    assert!(shown.contains("(taken back) by") && !shown.contains("live since"), "{shown}");
    // The files were never touched, and what serves has the number of the new version.
    gateway.reload("ok");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (200, 3));
    let refused = gateway.get("/", &[]);
    let denied = gateway.check_refused("nobody", &refused, 401, "authn.missing");
    assert_eq!(denied["policy"]["version"], 3);
    assert!(run(&gateway.site, &["policy", "verify"], 0).contains("3 versions"));
}

#[test]
fn a_canary_decides_for_its_callers_across_a_restart_until_somebody_hurries_it() {
    let upstream = Upstream::start();
    let steps = "[governance]\ncanary = [\"100%\"]\ncanary_step = \"1h\"\nmax_newly_denied = \"100%\"\n";
    let (site, key) = site(&upstream, steps);
    let mut gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    let change = activate(&gateway.site, &mistake());
    // From here on it is counted.
    event(&gateway, "policy.rollout");
    let answer = gateway.get("/", &[("X-Api-Key", &key)]);
    let denied = gateway.check_refused("by the canary", &answer, 403, "rbac.no_matching_grant");
    assert_eq!(denied["policy"]["version"], 2, "the version that decided");
    // The files are those of the version that serves, and a reload changes nothing.
    gateway.reload("ok");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (403, 2));
    assert_eq!(rollout(&gateway.site)["share_ppm"], 1_000_000);
    let site = stopped(gateway);
    let kept = rollout(&site);
    assert!(kept["requests"].as_u64().unwrap() > 0 && kept["newly_denied"].as_u64().unwrap() > 0, "{kept}");
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 403, "it goes on from there");
    assert_eq!(rollout(&gateway.site)["n"], 2);
    let site = &gateway.site;
    // One after the other.
    site.file("candidate.toml", &["version = 1\n", FINANCE, NO_BANS, "# other\n"].concat());
    let file = site.path("candidate.toml").display().to_string();
    let next = json(site, &["policy", "propose", "--reason", "the next", &file]);
    let next = next["changes"][0]["id"].as_str().unwrap();
    assert!(refused(site, &["policy", "activate", next], 1).contains("version 2 is being rolled out"));
    assert!(refused(site, &["policy", "activate", &change], 1).contains("--now and a reason"));
    assert_eq!(ask(site, &["policy", "activate", &change, "--now"]).status.code(), Some(2), "a reason is asked for");
    let said = run(site, &["policy", "activate", &change, "--now", "--reason", "alice abuses it"], 0);
    assert!(said.contains("version 2 is live for everybody") && said.contains("alice abuses it"), "{said}");
    assert_eq!((status(&gateway, &key), rollout(site)), (403, Value::Null));
    let nobody = gateway.get("/", &[]);
    assert_eq!(gateway.check_refused("nobody", &nobody, 401, "authn.missing")["policy"]["version"], 2);
    let written = fs::read_to_string(site.path("policy.toml")).unwrap();
    assert!(!written.contains("user:alice"), "{written}");
}

#[test]
fn step_after_step_it_is_live_for_everybody_and_on_the_disk() {
    let upstream = Upstream::start();
    let steps = "[governance]\nshadow = \"1s\"\ncanary = [\"50%\"]\ncanary_step = \"1s\"\nmax_newly_denied = \"100%\"\nmin_requests = 0\n";
    let (site, key) = site(&upstream, steps);
    let mut gateway = site.start();
    activate(&gateway.site, &mistake());
    let everybody = || {
        let events = gateway.events.all();
        let steps: Vec<String> = of_kind(&events, "policy.rollout")
            .iter()
            .map(|event| event["message"].as_str().unwrap().to_owned())
            .collect();
        steps.last().is_some_and(|last| last.contains("live for everybody")).then_some(steps)
    };
    let steps = wait::until(PATIENCE, everybody).expect("it is over");
    for part in ["shadow: no caller", "canary: 50 % of the callers", "live for everybody"] {
        assert!(steps.iter().any(|step| step.contains(part)), "{part}: {steps:?}");
    }
    // Nobody came: that a step passed says nothing, and the event says that, for whoever is to look.
    let events = gateway.events.all();
    let severity = |words: &str| {
        let rollouts = of_kind(&events, "policy.rollout");
        let told = rollouts.into_iter().find(|event| event["message"].as_str().unwrap().contains(words));
        told.unwrap_or_else(|| panic!("nobody says `{words}`"))["severity"].clone()
    };
    assert_eq!(severity("canary: 50 % of the callers: in the one before nothing was seen of it"), "medium");
    assert_eq!(severity("live for everybody: in the last step nothing was seen of it"), "high");
    assert_eq!((status(&gateway, &key), live(&gateway.site), rollout(&gateway.site)), (403, 2, Value::Null));
    gateway.reload("ok");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (403, 2));
    // A rollback does not wait.
    run(&gateway.site, &["policy", "rollback", "--reason", "a mistake"], 0);
    assert_eq!((status(&gateway, &key), rollout(&gateway.site)), (200, Value::Null));
}

/// Alice, who is refused until then, is let in by the new version: whoever looks at the step sees that, and who it is.
#[test]
fn what_a_version_lets_in_is_counted_and_named_while_it_is_tried() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "[governance]\nshadow = \"1h\"\n");
    site.policy(&mistake());
    let gateway = site.start();
    activate(&gateway.site, &[FINANCE, NO_BANS].concat());
    event(&gateway, "policy.rollout");
    let counted = || {
        assert_eq!(status(&gateway, &key), 403, "the version that serves refuses her");
        Some(rollout(&gateway.site)).filter(|rollout| rollout["newly_permitted"].as_u64().unwrap() > 0)
    };
    let counted = wait::until(PATIENCE, counted).expect("what it lets in is counted");
    assert_eq!((&counted["requests"], &counted["newly_denied"]), (&0.into(), &0.into()), "{counted}");
    let found: Vec<&str> = counted["found"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(found.iter().any(|line| line.starts_with("newly permits") && line.contains("alice")), "{found:?}");
    let text = run(&gateway.site, &["policy", "status"], 0);
    for part in ["that it refuses newly permitted", "newly permits", "by 1 user (alice"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let list = json(&gateway.site, &["policy", "list"]);
    assert_eq!((&list["versions"][0]["state"], &list["versions"][1]["state"]), (&"rolling_out".into(), &"live".into()));
    // Over a restart it is still of this step, and a bad credential is nothing that the policy refuses.
    let site = stopped(gateway);
    let kept = rollout(&site);
    assert!(kept["newly_permitted"].as_u64().unwrap() > 0 && kept["refused"].as_u64().unwrap() > 0, "{kept}");
    let gateway = site.start();
    event(&gateway, "policy.rollout");
    assert_eq!(status(&gateway, "pck_nobody_has_this"), 401);
    assert_eq!(rollout(&gateway.site)["refused"], kept["refused"]);
}

/// The files are believed where nobody has to approve; whoever reloads them is told what they end.
#[test]
fn a_reload_that_ends_a_rollout_says_so() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "[governance]\nshadow = \"1h\"\n");
    let gateway = site.start();
    activate(&gateway.site, &mistake());
    event(&gateway, "policy.rollout");
    let said = run(&gateway.site, &["reload"], 0);
    assert!(!said.contains("rolled out"), "the files are those of the version that serves: {said}");
    gateway.site.policy(&[FINANCE, NO_BANS, "# edited\n[[role]]\nname = \"other\"\npermissions = []\n"].concat());
    let said = run(&gateway.site, &["reload"], 0);
    assert!(said.contains("version 2, which was being rolled out, is rolled out no more: version 3 is live"), "{said}");
    assert_eq!((status(&gateway, &key), rollout(&gateway.site)), (200, Value::Null));
}

/// Nothing comes into force unseen where that is asked for; and what lets somebody in says in its events whom.
#[test]
fn a_step_that_nobody_came_to_waits_for_requests() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "[governance]\nshadow = \"1s\"\nmin_requests = 2\nmin_callers = 1\n");
    site.policy(&mistake());
    let gateway = site.start();
    activate(&gateway.site, &[FINANCE, NO_BANS].concat());
    let told = |words: &str| {
        let events = gateway.events.all();
        let mut rollouts = of_kind(&events, "policy.rollout").into_iter();
        rollouts.find(|event| event["message"].as_str().unwrap().contains(words)).cloned()
    };
    let stays = wait::until(PATIENCE, || told("stays in the step shadow")).expect("it waits on");
    assert_eq!(stays["severity"], "high");
    let message = stays["message"].as_str().unwrap();
    assert!(message.contains("0 of the 2 requests that `min_requests` asks for"), "{message}");
    assert!(message.contains(" --now --reason \"…\"` has it live without them"), "{message}");
    let shown = run(&gateway.site, &["policy", "status"], 0);
    assert!(shown.contains("its time is over, and it was not tried: 0 of the 2 requests"), "{shown}");
    assert!(run(&gateway.site, &["policy", "list"], 0).contains("its time is over, and it was not tried"));
    assert_eq!(rollout(&gateway.site)["min_requests"], 2);
    let live = || {
        // Until then the version before decides.
        let (status, told) = (status(&gateway, &key), told("live for everybody"));
        assert!(matches!(status, 200 | 403), "{status}");
        told
    };
    let live = wait::until(PATIENCE, live).expect("it goes on when somebody came");
    let message = live["message"].as_str().unwrap();
    for part in ["that it refuses are newly permitted", "newly permits", "by 1 user (alice"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!((&live["severity"], status(&gateway, &key)), (&"low".into(), 200));
}

/// By default nothing comes into force by the clock alone: neither where nobody comes, nor where one caller looks again and again whether something is there.
#[test]
fn one_caller_alone_tries_no_step() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "[governance]\nshadow = \"1s\"\nmax_newly_denied = \"100%\"\nmin_requests = 1\n");
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    let change = activate(&gateway.site, &mistake());
    event(&gateway, "policy.rollout");
    let waits = || {
        assert_eq!(status(&gateway, &key), 200, "the version before decides");
        let waits = rollout(&gateway.site)["waits"].as_str().map(str::to_owned);
        waits.filter(|waits| waits.contains("by 1 of the 2 callers that `min_callers` asks for"))
    };
    let waits = wait::until(PATIENCE, waits).expect("it waits for somebody else");
    for part in [
        &*format!("`portcullis policy activate {} --now --reason \"…\"` has it live without them", &change[..8]),
        "`portcullis policy abort --reason \"…\"` takes it back",
    ] {
        assert!(waits.contains(part), "{part}: {waits}");
    }
    let shown = rollout(&gateway.site);
    assert!(shown["requests"].as_u64().unwrap() >= 1 && shown["min_callers"] == 2, "{shown}");
    run(&gateway.site, &["policy", "activate", &change, "--now", "--reason", "alice is the only one"], 0);
    assert_eq!((status(&gateway, &key), rollout(&gateway.site)), (403, Value::Null));
}

/// A step that nobody tries ends all the same: what nobody has seen is taken back, unless it only tightens.
#[test]
fn a_step_waits_no_longer_than_it_may() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "[governance]\nshadow = \"1s\"\nmax_wait = \"1s\"\n");
    site.policy(&mistake());
    let gateway = site.start();
    activate(&gateway.site, &[FINANCE, NO_BANS].concat());
    let back = event(&gateway, "policy.reverted");
    let message = back["message"].as_str().unwrap();
    for part in [
        "version 2 was taken back in the step shadow: no caller: it was not tried within the 1 s that `max_wait` lets it wait",
        "0 of the 20 requests",
        "version 3 has what version 1 had, and is live",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(back["severity"], "high");
    assert_eq!((status(&gateway, &key), live(&gateway.site), rollout(&gateway.site)), (403, 3, Value::Null));
}

/// Finding of 2026-11: the clock opened again what a canary had closed.
#[test]
fn what_only_tightens_waits_on_however_long_nobody_comes() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "[governance]\ncanary = [\"100%\"]\ncanary_step = \"1s\"\nmax_wait = \"1s\"\n");
    let gateway = site.start();
    activate(&gateway.site, &mistake());
    let waited = || {
        let shown = rollout(&gateway.site);
        // Both have been over for long.
        (shown.is_null() || shown["spent_s"].as_u64().unwrap() >= 4).then_some(shown)
    };
    let shown = wait::until(PATIENCE, waited).expect("time passes");
    let waits = shown["waits"].as_str().expect("it waits on").to_owned();
    assert!(waits.ends_with("takes it back, which the clock does not, since it only tightens"), "{waits}");
    let events = gateway.events.all();
    assert!(of_kind(&events, "policy.reverted").is_empty());
    let told = wait::until(PATIENCE, || {
        let events = gateway.events.all();
        let mut rollouts = of_kind(&events, "policy.rollout").into_iter();
        rollouts.find(|event| event["message"].as_str().unwrap().contains("stays in the step")).cloned()
    });
    assert_eq!(told.expect("it is said")["severity"], "high");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (403, 2), "the canary decides for all");
}

#[test]
fn governed_it_is_approved_first_and_what_cannot_be_tried_on_some_takes_a_word_more() {
    let upstream = Upstream::start();
    let rules = "[governance]\nrequired = true\nshadow = \"1h\"\nmax_newly_denied = \"100%\"\n";
    let (site, key) = site(&upstream, rules);
    site.write();
    let [_, ben, _] = begun(&site);
    let mut gateway = site.start();
    gateway.site.policy(&mistake());
    let change = propose(&gateway.site, "ana");
    assert!(refused(&gateway.site, &["policy", "activate", &change], 1).contains("0 of 1"));
    approve(&gateway.site, &change, &ben);
    // The files are those of the next version, which a reload does not put in force, and no reason to refuse one either: the rest of them counts.
    let said = run(&gateway.site, &["policy", "activate", &change], 0);
    assert!(said.contains("approved and being rolled out, and version 1 serves"), "{said}");
    assert_eq!(status(&gateway, &key), 200);
    gateway.reload("ok");
    assert!(of_kind(&gateway.events.all(), "policy.rejected").is_empty());
    assert_eq!((status(&gateway, &key), rollout(&gateway.site)["n"].clone()), (200, 2.into()));
    let site = stopped(gateway);
    let gateway = site.start();
    assert_eq!((status(&gateway, &key), rollout(&gateway.site)["n"].clone()), (200, 2.into()));
    let site = &gateway.site;
    run(site, &["policy", "activate", &change, "--now", "--reason", "withdrawn"], 0);
    assert_eq!(status(&gateway, &key), 403);
    assert!(of_kind(&gateway.events.all(), "policy.tampered").is_empty());
    // Other keys cannot be those of two versions at once.
    let keys = fs::read_to_string(site.path("keys.toml")).unwrap();
    site.file("keys.toml", &format!("{}revoked = true\n", keys.trim_end().to_owned() + "\n"));
    let keys = propose(site, "ana");
    approve(site, &keys, &ben);
    let refusal = refused(site, &["policy", "activate", &keys], 1);
    assert!(refusal.contains("keys, users or authorities") && refusal.contains("--now"), "{refusal}");
    let said = run(site, &["policy", "activate", &keys, "--now", "--reason", "the key leaked"], 0);
    assert!(said.contains("without the steps: the key leaked"), "{said}");
    assert_eq!((status(&gateway, &key), live(site)), (401, 3));
    let told = event(&gateway, "admin.policy_activate");
    assert!(told["message"].as_str().unwrap().contains("the key leaked"), "{told}");
}

#[test]
fn what_cannot_come_step_by_step_is_refused_with_its_remedy_and_what_is_on_the_disk_is_believed() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "[governance]\ncanary = [\"100%\"]\ncanary_step = \"1h\"\n");
    let gateway = site.start();
    let site = &gateway.site;
    let proposed = |arguments: &[&str]| {
        let arguments = [&["policy", "propose", "--reason", "a change"], arguments].concat();
        json(site, &arguments)["changes"][0]["id"].as_str().unwrap().to_owned()
    };
    let refused = |change: &str| {
        let finished = ask(site, &["policy", "activate", change]);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        finished.stderr.join("\n")
    };
    // What looks for a credential goes by the one policy, and what decides would miss it by the other.
    let open = "[[resource]]\nroute = \"app\"\nauthentication = \"none\"\n";
    site.file("candidate.toml", &["version = 1\n", FINANCE, open, NO_BANS].concat());
    let change = proposed(&[site.path("candidate.toml").to_str().unwrap()]);
    assert!(refused(&change).contains("whether a route wants a credential"));
    // Without a FILE it is what the files are, which a reload would put in force for everybody.
    site.file("policy.toml", &format!("version = 1\n{}", mistake()));
    let change = proposed(&[]);
    assert!(refused(&change).contains("propose it as a FILE beside them"));
    assert_eq!((rollout(site), status(&gateway, &key)), (Value::Null, 200));
}

#[test]
fn whoever_sees_what_a_version_does_takes_it_back_by_hand_also_where_approvals_are_required() {
    let upstream = Upstream::start();
    let rules =
        "[governance]\nrequired = true\ncanary = [\"100%\"]\ncanary_step = \"1h\"\nmax_newly_denied = \"100%\"\n";
    let (site, key) = site(&upstream, rules);
    site.write();
    let [_, ben, _] = begun(&site);
    let gateway = site.start();
    let site = &gateway.site;
    assert!(refused(site, &["policy", "abort", "--reason", "x"], 1).contains("no version is being rolled out"));
    site.policy(&mistake());
    let change = propose(site, "ana");
    approve(site, &change, &ben);
    run(site, &["policy", "activate", &change], 0);
    event(&gateway, "policy.rollout");
    assert_eq!(status(&gateway, &key), 403);
    let shown = json(site, &["policy", "status"]);
    assert_eq!((&shown["live"]["in_force"], &shown["live"]["rollout"]["min_denied_callers"]), (&1.into(), &3.into()));
    assert_eq!(ask(site, &["policy", "abort"]).status.code(), Some(2), "a reason is asked for");
    let said = run(site, &["policy", "abort", "--reason", "alice is locked out"], 0);
    assert!(said.contains("version 2 was taken back by") && said.contains("alice is locked out"), "{said}");
    assert_eq!((status(&gateway, &key), live(site), rollout(site)), (200, 3, Value::Null));
    assert_eq!(json(site, &["policy", "status"])["live"]["in_force"], 3);
    let newest = &json(site, &["policy", "list"])["versions"][0];
    assert_eq!(
        (&newest["change"]["kind"], &newest["change"]["reason"]),
        (&"revert".into(), &"alice is locked out".into())
    );
    assert_ne!(newest["by"], "portcullis", "somebody wanted that");
    let told = event(&gateway, "admin.policy_rollback");
    assert!(told["message"].as_str().unwrap().contains("alice is locked out"), "{told}");
    let over = || {
        let events = gateway.events.all();
        let last = of_kind(&events, "policy.rollout").last().map(|event| event["message"].as_str().unwrap().to_owned());
        last.filter(|last| last.contains("version 2 is rolled out no more: version 3 is the last one"))
    };
    wait::until(PATIENCE, over).expect("the end of it is told");
    assert!(run(site, &["policy", "verify"], 0).contains("3 versions"));
}

#[test]
fn a_version_whose_reload_fails_is_put_in_force_as_soon_as_it_can_be() {
    let upstream = Upstream::start();
    let authority = Authority::new("test");
    let steps = "[[listener]]\nname = \"tls\"\naddress = \"127.0.0.1:0\"\ntls = { certificate = \"a.crt\", key = \"a.key\" }\n[governance]\nshadow = \"1h\"\n";
    let (site, key) = site(&upstream, steps);
    let issued = authority.issue(&[San::Host("a.test")]);
    site.file("a.crt", &issued.certificate);
    site.file("a.key", &issued.key);
    let gateway = site.start();
    let change = activate(&gateway.site, &mistake());
    event(&gateway, "policy.rollout");
    let site = &gateway.site;
    // What no version holds is gone: nothing at all can be loaded.
    site.file("a.crt", "");
    let finished = ask(site, &["policy", "activate", &change, "--now", "--reason", "withdrawn"]);
    let said = finished.stderr.join("\n");
    assert!(finished.status.code() == Some(1) && said.contains("not in force yet"), "{finished:?}");
    let told = |words: &str| {
        let found = || {
            let events = gateway.events.all();
            let mut messages = of_kind(&events, "policy.rollout").into_iter().map(|event| event["message"].to_string());
            messages.find(|message| message.contains(words))
        };
        wait::until(PATIENCE, found).unwrap_or_else(|| panic!("nobody says `{words}`"))
    };
    told("version 2 is live for everybody");
    told("version 2 is live, and not in force yet");
    let shown = run(site, &["policy", "status"], 0);
    assert!(shown.contains("in force  version 1, until a reload has put version 2 in force"), "{shown}");
    assert_eq!((status(&gateway, &key), live(site)), (200, 2));
    site.file("a.crt", &issued.certificate);
    told("version 2 is in force now");
    assert_eq!(status(&gateway, &key), 403);
    assert_eq!(json(site, &["policy", "status"])["live"]["in_force"], 2);
}

#[test]
fn an_emergency_says_what_becomes_live_with_it() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "[governance]\nshadow = \"1h\"\n");
    let gateway = site.start();
    activate(&gateway.site, &mistake());
    let site = &gateway.site;
    site.file(
        "candidate.toml",
        &[
            "version = 1\n",
            &mistake(),
            "[[deny]]\nname = \"bob\"\nprincipals = [\"user:bob\"]\nactions = [\"* /**\"]\nscope = \"*\"\n",
        ]
        .concat(),
    );
    let file = site.path("candidate.toml").display().to_string();
    let next = json(site, &["policy", "propose", "--reason", "bob abuses it", &file]);
    let next = next["changes"][0]["id"].as_str().unwrap();
    let said = run(site, &["policy", "activate", next, "--now", "--reason", "bob abuses it"], 0);
    assert!(said.contains("it follows on version 2, which was being rolled out: what that changed is live"), "{said}");
    assert_eq!((status(&gateway, &key), live(site), rollout(site)), (403, 3, Value::Null));
}

/// What became live is put in force as soon as it can be, also where no step of it was ever seen by this process.
#[test]
fn a_version_whose_reload_fails_is_tried_again_though_no_step_of_it_was_seen() {
    const WHO: &str = "PORTCULLIS_TEST_WHO";
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "[governance]\nshadow = \"1h\"\n");
    let gateway = site.start_by(portcullis().env(WHO, "bob"));
    let deny =
        format!("[[deny]]\nname = \"who\"\nprincipals = [\"user:${{{WHO}}}\"]\nactions = [\"* /**\"]\nscope = \"*\"\n");
    let change = activate(&gateway.site, &[mistake(), deny].concat());
    let site = stopped(gateway);
    // Without that variable nobody can read the version any more: it is rolled out no further, and no step of it begins.
    let mut gateway = site.start();
    let event = event(&gateway, "policy.rejected");
    assert!(event["message"].as_str().unwrap().contains("version 2 is rolled out no further"), "{event}");
    let said = refused(&gateway.site, &["policy", "activate", &change, "--now", "--reason", "withdrawn"], 1);
    assert!(said.contains("version 2 is approved and the last one, but not in force yet"), "{said}");
    let told = |gateway: &Gateway, words: &str| {
        let found = || {
            let events = gateway.events.all();
            let mut messages = of_kind(&events, "policy.rollout").into_iter().map(|event| event["message"].to_string());
            messages.find(|message| message.contains(words))
        };
        wait::until(PATIENCE, found).unwrap_or_else(|| panic!("nobody says `{words}`"))
    };
    told(&gateway, "version 2 is live, and not in force yet");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (200, 2));
    // Whoever has the files hold something that can be read has that in force.
    gateway.site.policy(&mistake());
    gateway.reload("ok");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (403, 3));
    told(&gateway, "version 3 is in force now");
}

/// Two hands would write each over the other's progress; and a step that was begun is neither skipped nor begun anew by another number.
#[test]
fn a_process_that_drains_goes_on_with_no_step_and_the_one_that_takes_over_begins_where_it_was() {
    let upstream = Upstream::start();
    let steps = "[shutdown]\ndelay = \"2m\"\n[governance]\ncanary = [\"50%\", \"100%\"]\ncanary_step = \"8s\"\nmax_newly_denied = \"100%\"\nmin_requests = 0\n";
    let (site, key) = site(&upstream, steps);
    let gateway = site.start();
    activate(&gateway.site, &mistake());
    let Gateway { process: mut old, site, .. } = gateway;
    let first = "version 2 is in the step canary: 50 %";
    old.wait_for_line(first);
    old.signal(Signal::Term);
    old.wait_for_line("draining");
    let mut new = site.start();
    // The steps of the new one take as long as those of the old one would have, and begin later.
    for line in [first, "version 2 goes on to the step canary: 100 %", "version 2 is live for everybody"] {
        new.process.wait_for_line(line);
    }
    assert!(old.is_running(), "it drains all the while");
    let said = [old.stdout_lines(), old.stderr_lines()].concat();
    for word in ["goes on to the step", "live for everybody", "cannot be done"] {
        assert!(!said.iter().any(|line| line.contains(word)), "{word}: {said:?}");
    }
    assert_eq!((status(&new, &key), live(&new.site)), (403, 2));
}

/// Whoever floods the place where changes wait is swept out of it by one command.
#[test]
fn all_that_one_person_has_waiting_is_rejected_at_once() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    let gateway = site.start();
    let site = &gateway.site;
    let proposed = |author: &str, n: u32| {
        site.file("candidate.toml", &["version = 1\n", FINANCE, NO_BANS, &format!("# {author} {n}\n")].concat());
        let file = site.path("candidate.toml").display().to_string();
        let arguments = ["policy", "propose", "--author", author, "--reason", "x", &file];
        json(site, &arguments)["changes"][0]["id"].as_str().unwrap().to_owned()
    };
    let [first, second, _] = [0, 1, 2].map(|n| proposed("Mallory", n));
    let (ours, others) = (proposed("cem", 3), proposed("ben", 4));
    let open = || {
        let list = json(site, &["policy", "list"]);
        let open: Vec<Value> = list["changes"].as_array().unwrap().clone();
        open.into_iter().filter(|change| change["state"] == "open").count()
    };
    assert_eq!(open(), 5);
    let said = run(site, &["policy", "reject", &first, &second], 0);
    assert_eq!((said.lines().count(), open()), (2, 3), "{said}");
    let said = run(site, &["policy", "reject", "--all-of", "mallory", "--reason", "a flood"], 0);
    assert!(said.contains("rejected by") && said.contains("a flood"), "{said}");
    assert_eq!(open(), 2);
    assert!(run(site, &["policy", "reject", "--all-of", "mallory"], 0).contains("no change of theirs waits"));
    assert_eq!(ask(site, &["policy", "reject", &ours, "--all-of", "ben"]).status.code(), Some(2), "one or the other");
    assert_eq!(ask(site, &["policy", "reject"]).status.code(), Some(2));
    // What was rejected before one that is not there stays so.
    let finished = ask(site, &["policy", "reject", &ours, "ffffffff", &others]);
    assert_eq!((finished.status.code(), open()), (Some(1), 1), "{finished:?}");
}
