//! `[[alert]]` and `[[notifier]]`: what can be written, what it means, and what is wrong with what.

use std::time::Duration;

use portcullis_alerts::settings::*;
use portcullis_events::settings::{HttpAuth, Secret};
use portcullis_events::{EventKind, ReasonCode, Severity};

use super::{Folder, GATEWAY};

/// Every key.
const ALL: &str = r#"
[[alert]]
name = "many"
enabled = true
when = { kinds = "access.denied", reasons = ["rbac.no_matching_grant"], routes = "billing", severity = "medium", status = [403, 401] }
count = 20
window = "10m"
distinct = "principal"
per = "address"
cool_down = "1h"
batch = "1m"
resolve = true
severity = "critical"
runbook = "https://wiki.example/many"
notify = "chat"
contain = { ban = "address", for = "2h" }
max_contained = 7
max_keys = 50
mute = [
  { from = 2026-12-01T20:00:00Z, to = 2026-12-01T22:00:00Z, reason = "upgrade" },
  { hours = "Sun 02:00-04:00 UTC" },
]

[[mute]]
alerts = ["many", "off"]
hours = "Mon 02:00-04:00 UTC"

[[mute]]
from = 2026-12-24T00:00:00Z
to = 2026-12-25T00:00:00Z
reason = "holidays"

[[alert]]
name = "new"
new = "reason"
memory = "3d"
learn = "0s"
per = "principal"
contain = [{ step_up = "principal" }, { revoke = "principal" }, { ban = "principal", for = "5m" }]

[[alert]]
name = "tight"
count = 1
per = "route"
contain = [{ tighten = "route", for = "30m" }]

[[alert]]
name = "off"
enabled = false
count = 1

[[alert]]
name = "proven"
enabled = false
count = 1
notify = ["basic", "header", "duty", "pager"]

[[notifier]]
name = "duty"
kind = "email"
[notifier.email]
address = "mail.example:465"
security = "implicit"
tls = { server_name = "other.example" }
user = "portcullis"
password = { env = "PASSWORD" }
hello = "gw-1.example"
from = "Portcullis <portcullis@example.com>"
to = ["duty@example.com", "Chief <chief@example.com>"]
timeout = "9s"

[[notifier]]
name = "pager"
kind = "exec"
exec = { program = "/usr/local/bin/page", args = ["--now", ""], timeout = "5s" }

[[notifier]]
name = "basic"
kind = "webhook"
webhook = { url = { env = "HOOK" }, auth = { user = "u", password = { env = "PASSWORD" } } }

[[notifier]]
name = "header"
kind = "webhook"
webhook = { url = "https://a.example/", auth = { header = "x-key", value = { env = "PASSWORD" } } }

[[notifier]]
name = "chat"
kind = "webhook"
attempts = 3
[notifier.webhook]
url = "https://chat.example/hook"
allow_http = false
shape = "teams"
auth = { bearer = { env = "PASSWORD" } }
headers = { X-Team = "ops" }
secret = { file = "secret" }
timeout = "3s"
tls = { server_name = "other.example" }
"#;

pub(super) fn folder_of_all() -> Folder {
    let mut folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}{ALL}"));
    folder.write("secret", "shared\n");
    folder.environment.insert("PASSWORD".into(), "pass word".into());
    folder.environment.insert("HOOK".into(), "https://hooks.example:8443/services/T0?k=s3cret".into());
    folder
}

#[test]
fn every_key_of_an_alert_reaches_its_setting() {
    let loaded = folder_of_all().loaded();
    assert!(loaded.warnings.is_empty());
    let [many, new, tight] = loaded.alerts.rules.as_slice() else { panic!("{:?}", loaded.alerts) };
    assert_eq!((&*many.name, many.per, many.severity), ("many", Per::Each(Facet::Address), Severity::Critical));
    let minutes = |count: u64| Duration::from_secs(60 * count);
    assert_eq!(many.condition, Condition::Distinct { of: Facet::Principal, count: 20, window: minutes(10) });
    assert_eq!((many.cool_down, many.batch, many.resolve), (minutes(60), minutes(1), true));
    assert_eq!((many.max_contained, many.max_keys), (7, 50));
    assert_eq!(many.contain, [Containment { measure: Measure::BanAddress, lasts: minutes(120) }]);
    assert_eq!((many.runbook.as_deref(), &*many.notify[0]), (Some("https://wiki.example/many"), "chat"));
    let when = &many.when;
    assert_eq!((when.statuses.as_slice(), when.filter.severity), (&[403, 401][..], Some(Severity::Medium)));
    assert_eq!(when.filter.kinds, [EventKind::AccessDenied]);
    assert_eq!(when.filter.reasons, [ReasonCode::RbacNoMatchingGrant]);
    assert_eq!(&*when.filter.routes[0], "billing");
    let time = |text: &str| text.parse().unwrap();
    let within = [true, true, false, false];
    let times = ["2026-12-01T20:00:00Z", "2026-12-01T21:59:59Z", "2026-12-01T22:00:00Z", "2026-12-06T03:00:00Z"];
    assert_eq!(times.map(|at| many.mutes[0].holds(time(at))), within);
    assert_eq!(times.map(|at| many.mutes[1].holds(time(at))), [false, false, false, true]);
    let mutes = |rule: &Rule| {
        let reasons = rule.mutes.iter().map(|mute| mute.reason.to_string());
        reasons.collect::<Vec<_>>()
    };
    assert_eq!(mutes(many), ["upgrade", "maintenance", "maintenance", "holidays"]);
    assert!(many.mutes[2].holds(time("2026-12-07T03:00:00Z")) && many.mutes[3].holds(time("2026-12-24T23:59:59Z")));
    assert_eq!((mutes(new), mutes(tight)), (vec!["holidays".to_owned()], vec!["holidays".to_owned()]));
    assert_eq!((&*many.mutes[0].reason, &*many.mutes[1].reason), ("upgrade", "maintenance"));

    assert_eq!(
        new.condition,
        Condition::New { of: Facet::Reason, memory: minutes(3 * 24 * 60), learn: Duration::ZERO }
    );
    assert_eq!((new.cool_down, new.batch, new.resolve), (minutes(15), Duration::from_secs(30), false));
    assert_eq!((new.severity, new.max_contained, new.max_keys), (Severity::High, 100, 10_000));
    assert_eq!(new.when, When::default());
    let contained = |measure, count| Containment { measure, lasts: minutes(count) };
    let three = [(Measure::StepUpPrincipal, 60), (Measure::RevokePrincipal, 24 * 60), (Measure::BanPrincipal, 5)];
    assert_eq!(new.contain, three.map(|(measure, count)| contained(measure, count)));
    assert_eq!(tight.contain, [contained(Measure::TightenRoute, 30)]);

    let [duty, pager, basic, _, chat] = loaded.alerts.notifiers.as_slice() else { panic!("{:?}", loaded.alerts) };
    let NotifierKind::Email(email) = &duty.kind else { panic!("{duty:?}") };
    let EmailTls::Implicit(tls) = &email.tls else { panic!("{email:?}") };
    assert_eq!((&*email.host, email.port, tls.server_name.as_deref()), ("mail.example", 465, Some("other.example")));
    assert_eq!(email.login, Some(("portcullis".into(), Secret::new("pass word"))));
    assert_eq!((email.hello.as_deref(), email.timeout), (Some("gw-1.example"), Duration::from_secs(9)));
    assert_eq!(
        (&*email.from, email.to.len(), &*email.to[0]),
        ("Portcullis <portcullis@example.com>", 2, "duty@example.com")
    );
    let exec = ExecSettings {
        program: "/usr/local/bin/page".into(),
        arguments: vec!["--now".into(), "".into()],
        timeout: Duration::from_secs(5),
    };
    assert_eq!(pager.kind, NotifierKind::Exec(exec));
    let NotifierKind::Webhook(webhook) = &basic.kind else { panic!("{basic:?}") };
    let target = &webhook.target;
    assert_eq!((&*target.host, target.port, &*target.path), ("hooks.example", 8_443, "/services/T0?k=s3cret"));
    assert!(target.tls.is_some() && !format!("{loaded:?}").contains("s3cret"));
    let NotifierKind::Webhook(webhook) = &chat.kind else { panic!("{chat:?}") };
    assert_eq!((chat.attempts, webhook.shape, &*webhook.target.path), (3, Shape::Teams, "/hook"));
    assert_eq!(webhook.target.timeout, Duration::from_secs(3));
    assert_eq!(webhook.target.tls.as_ref().unwrap().server_name.as_deref(), Some("other.example"));
    assert_eq!(
        (&webhook.auth, webhook.secret.as_ref()),
        (&HttpAuth::Bearer(Secret::new("pass word")), Some(&Secret::new("shared")))
    );
    assert_eq!(&*loaded.alerts.help_base, "https://portcullis.example/denials/");
}

/// What is wrong with a file to which this was appended, where, and what to do.
#[track_caller]
fn check_file(appended: &str, expected: &[(&str, usize, usize, &str)]) {
    let folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
    let places: Vec<String> =
        expected.iter().map(|(_, line, column, _)| format!("portcullis.toml:{line}:{column}")).collect();
    let expected: Vec<_> = expected
        .iter()
        .zip(&places)
        .map(|((code, _, _, fragment), place)| (*code, place.as_str(), *fragment))
        .collect();
    folder.check(appended, &expected);
}

/// The same of one alert with these lines.
#[track_caller]
fn check(lines: &str, expected: &[(&str, usize, usize, &str)]) {
    check_file(&format!("[[alert]]\nname = \"a\"\n{lines}"), expected);
}

#[test]
fn what_an_alert_cannot_mean_is_said_with_its_place_and_a_remedy() {
    check("count = 1\n", &[]);
    check("", &[("E0102", 11, 1, "add `count`")]);
    check("count = 0\n", &[("E0105", 13, 9, "from 1 to 10000")]);
    check("count = 1\ndistinct = \"address\"\n", &[("E0105", 13, 9, "from 2 to 1000")]);
    check("count = 2\ndistinct = \"address\"\nper = \"address\"\n", &[("E0203", 14, 12, "write another `per`")]);
    check("count = 2\nper = \"path\"\n", &[("E0105", 14, 7, "\"principal\"")]);
    check("new = \"reason\"\ncount = 2\n", &[("E0203", 14, 9, "belongs to a threshold")]);
    check("count = 2\nlearn = \"1d\"\n", &[("E0203", 14, 9, "belongs to `new`")]);
    check("new = \"reason\"\nresolve = true\n", &[("E0203", 14, 11, "never ends")]);
    check("count = 2\nwhen = { kinds = \"alert.*\" }\n", &[("E0203", 14, 8, "never feeds an alert")]);
    check("count = 2\nwhen = { status = 99 }\n", &[("E0105", 14, 19, "from 100 to 599")]);
    check("count = 2\nwhen = { routes = \"biling\" }\n", &[("E0202", 14, 19, "did you mean `billing`?")]);
    check("count = 2\nnotify = \"nobody\"\n", &[("E0202", 14, 10, "no notifier `nobody`")]);
    check("count = 2\ncontain = { ban = \"address\" }\n", &[("E0203", 14, 19, "write `per = \"address\"`")]);
    check(
        "count = 2\nper = \"address\"\ncontain = { ban = \"principal\" }\n",
        &[("E0203", 15, 19, "per = \"principal\"")],
    );
    check("count = 2\nper = \"address\"\ncontain = { for = \"1h\" }\n", &[("E0105", 15, 11, "expected one measure")]);
    check(
        "count = 2\nmute = { from = 2026-12-01T20:00:00Z }\n",
        &[("E0105", 14, 8, "expected `from` and `to`, or `hours`")],
    );
    let backwards = "count = 2\nmute = { from = 2026-12-01T20:00:00Z, to = 2026-12-01T20:00:00Z }\n";
    check(backwards, &[("E0105", 14, 44, "ends before it begins")]);
    let silence = "count = 2\n[[mute]]\nhours = \"Sun 02:00-04:00 UTC\"\n";
    check(silence, &[]);
    check(&format!("{silence}alerts = [\"a\"]\n"), &[]);
    check(&format!("{silence}alerts = [\"b\"]\n"), &[("E0202", 16, 11, "there is no alert `b`")]);
    check(&format!("{silence}alerts = []\n"), &[("E0105", 16, 10, "leave it out for all of them")]);
    check(&format!("{silence}alert = \"a\"\n"), &[("E0103", 16, 1, "did you mean `alerts`?")]);
    check("count = 2\n[[mute]]\n", &[("E0105", 14, 1, "expected `from` and `to`, or `hours`")]);
    check("count = 2\nrunbook = \"wiki\"\n", &[("E0105", 14, 11, "expected a link")]);
    check("count = 2\ncolldown = \"1h\"\n", &[("E0103", 14, 1, "did you mean `cool_down`?")]);
    check("count = 2\n[[alert]]\nname = \"a\"\ncount = 3\n", &[("E0201", 15, 8, "two alerts are named `a`")]);
}

#[test]
fn a_notifier_is_whole_or_refused() {
    let notifier = |lines: &str, expected: &[(&str, usize, usize, &str)]| {
        let alert = "[[alert]]\nname = \"a\"\ncount = 1\nnotify = \"n\"\n";
        check_file(&format!("{alert}[[notifier]]\nname = \"n\"\n{lines}"), expected);
    };
    notifier("kind = \"webhook\"\nwebhook = { url = \"https://a.example/\" }\n", &[]);
    notifier("kind = \"webhook\"\n", &[("E0102", 15, 1, "add `webhook`")]);
    notifier(
        "kind = \"webhook\"\nwebhook = { url = \"http://a.example/\" }\n",
        &[("E0203", 18, 19, "allow_http = true")],
    );
    notifier("kind = \"pager\"\n", &[("E0105", 17, 8, "webhook")]);
    let email = |lines: &str, expected: &[(&str, usize, usize, &str)]| {
        let least = "kind = \"email\"\n[notifier.email]\naddress = \"m.example:587\"\nfrom = \"p@example.com\"\n";
        notifier(&format!("{least}{lines}"), expected);
    };
    email("to = \"d@example.com\"\n", &[]);
    email("", &[("E0102", 18, 1, "add `to`")]);
    email("to = []\n", &[("E0105", 21, 6, "`to` is empty")]);
    email("to = \"duty\"\n", &[("E0105", 21, 6, "no mailbox")]);
    email("to = \"d@example.com\\r\\nBcc: x@example.com\"\n", &[("E0105", 21, 6, "no mailbox")]);
    email("to = \"d@example.com\"\nuser = \"u\"\n", &[("E0203", 18, 1, "belong together")]);
    let plain = "to = \"d@example.com\"\nsecurity = \"none\"\nuser = \"u\"\npassword = { credential = \"p\" }\n";
    email(plain, &[("E0203", 23, 8, "starttls"), ("E0107", 24, 27, "LoadCredential")]);
    email("to = \"d@example.com\"\nsecurity = \"none\"\ntls = {}\n", &[("E0203", 23, 7, "remove it")]);
    email("to = \"d@example.com\"\nhello = \"a b\"\n", &[("E0105", 22, 9, "a domain")]);
    notifier("kind = \"exec\"\nexec = { program = \"/bin/true\" }\n", &[]);
    notifier("kind = \"exec\"\nexec = { program = \"page\" }\n", &[("E0105", 18, 20, "absolute path")]);
    notifier(
        "kind = \"exec\"\nexec = { program = \"/bin/true\" }\nwebhook = {}\n",
        &[("E0103", 19, 1, "write `kind = \"webhook\"`")],
    );
    check_file(
        "[[notifier]]\nname = \"n\"\nkind = \"webhook\"\nwebhook = { url = \"https://a.example/\" }\n",
        &[("W0102", 12, 8, "no alert notifies `n`")],
    );
}

#[test]
fn a_link_that_is_a_secret_is_shown_by_no_report() {
    let check = |url: &str, rest: &str, expected: (&str, usize, usize, &str)| {
        let mut folder = Folder::new();
        folder.write("hook", "https://a.example/s3cret path\n");
        folder.environment.insert("PLAIN".into(), "http://a.example/s3cret".into());
        folder.environment.insert("NONE".into(), "a.example/s3cret".into());
        let alert = "[[alert]]\nname = \"a\"\ncount = 1\nnotify = \"n\"\n";
        let notifier = format!("[[notifier]]\nname = \"n\"\nkind = \"webhook\"\nwebhook = {{ url = {url}{rest} }}\n");
        folder.write("portcullis.toml", format!("{GATEWAY}{alert}{notifier}"));
        let (code, line, column, fragment) = expected;
        folder.check(url, &[(code, &format!("portcullis.toml:{line}:{column}"), fragment)]);
        let report = folder.load().unwrap_err();
        let shown = report.render_human(false) + &report.render_json();
        assert!(!shown.contains("s3cret") && shown.contains("webhook = { url = "), "{shown}");
    };
    check("\"https://a.example/s3cret#x\"", "", ("E0105", 18, 19, "the link has a fragment"));
    check("\"a.example/s3cret\"", "", ("E0105", 18, 19, "the link begins with neither"));
    check("\"http://a.example/s3cret\"", "", ("E0203", 18, 19, "allow_http = true"));
    // Nor where something else in its line is wrong.
    check("\"https://a.example/s3cret\"", ", shape = \"slick\"", ("E0105", 18, 55, "slack"));
    check("{ file = \"hook\" }", "", ("E0105", 18, 19, "the link has a path that is no path"));
    check("{ env = \"NONE\" }", "", ("E0105", 18, 19, "the link begins with neither"));
    check("{ env = \"PLAIN\" }", "", ("E0203", 18, 19, "allow_http = true"));
    check("{ env = \"UNSET\" }", "", ("E0107", 18, 27, "UNSET"));
    check("7", "", ("E0104", 18, 19, "expected a link, or `{ file"));
    check("{}", "", ("E0105", 18, 19, "expected one of `file`, `env` and `credential`"));
}
