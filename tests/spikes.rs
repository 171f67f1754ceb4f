//! More refusals than usual: that it is noticed, and what it is put down to. Seven incidents, each made with real means: a reload, a list that
//! its server changed, keys that their provider changed, an upstream that was replaced, callers that send what they should not.
//!
//! A bucket is a second here, so that nobody waits long to know what is usual, and ten by default. With `PORTCULLIS_SPIKE_BUCKET=10` in the environment
//! the same incidents are played with that, at the pace that goes with it: two minutes of learning, then the incident. When each was explained,
//! from the first refusal on, is printed (`--success-output final`). With a clock of the test's the default is held to more, beside the lookout.

mod around;
mod beyond;
mod callers;
mod changes;
mod dependencies;
mod restarts;
mod risk;

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_testkit::process::Finished;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Conn, request};
use serde_json::Value;

use crate::harness::{Gateway, NO_BANS, Site, of_kind, portcullis};
use crate::schemas;

/// Everybody with a credential reads, from the office and from home alone.
const POLICY: &str = r#"
[[network]]
name = "office-berlin"
addresses = ["127.0.0.8/29"]

[[network]]
name = "home"
addresses = ["127.0.0.16/28"]

[[resource]]
route = "app"
networks = { allow = ["office-berlin", "home"] }

[[role]]
name = "reader"
permissions = [{ actions = ["GET /reports/**"] }]

[[assignment]]
name = "staff-reads"
role = "reader"
principals = ["authenticated"]
scope = "app"
"#;

/// From everywhere.
fn open_to_all() -> String {
    POLICY.replace("networks = { allow = [\"office-berlin\", \"home\"] }\n", "authentication = \"required\"\n")
}

/// What the spike of an incident is about, and nothing else.
const PATH: &str = "/reports/7";
const EVENT: &str = "[event]\nupstream_refusals = true\n";
/// Two minutes, in buckets of the default length.
const BUCKETS: u32 = 12;

/// How long a bucket is.
fn bucket() -> Duration {
    let seconds = std::env::var("PORTCULLIS_SPIKE_BUCKET").ok().map(|text| text.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(1))
}

/// Somebody who asks.
#[derive(Debug, Clone)]
struct Caller {
    source: IpAddr,
    credential: (&'static str, String),
    software: &'static str,
    /// The address that a proxy says.
    forwarded: Option<String>,
}

impl Caller {
    fn new(source: &str, credential: (&'static str, String)) -> Self {
        Self { source: source.parse().unwrap(), credential, software: "reporter/1.2", forwarded: None }
    }

    /// So many requests one after another, and what each was answered with.
    fn statuses(&self, gateway: &Gateway, path: &str, more: &[(&str, &str)], times: usize) -> Vec<u16> {
        let (name, value) = &self.credential;
        let forwarded: Vec<(&str, &str)> = self.forwarded.iter().map(|it| ("x-forwarded-for", it.as_str())).collect();
        let headers = [&[("user-agent", self.software), (*name, value.as_str())], more, &forwarded].concat();
        let bytes = request("GET", path, &headers, b"");
        let mut connection = None;
        let mut one = || {
            let open = connection.get_or_insert_with(|| Conn::open_from(self.source, gateway.address));
            open.send(&bytes);
            let answer = open.answer();
            if answer.header("connection") == Some("close") {
                connection = None;
            }
            answer.status()
        };
        (0..times).map(|_| one()).collect()
    }

    /// That so many requests are answered with this status.
    #[track_caller]
    fn check(&self, gateway: &Gateway, times: usize, status: u16) {
        assert_eq!(self.statuses(gateway, PATH, &[], times), vec![status; times], "{self:?}");
    }
}

/// A gateway, its people in the office, and somebody at home who is refused now and then as every day.
struct Scene {
    gateway: Gateway,
    people: Vec<Caller>,
    lost: Caller,
}

/// What was told of a spike.
struct Told {
    id: String,
    event: Value,
    report: Value,
}

impl Scene {
    /// Six people with API keys.
    fn start(upstream: &Upstream, policy: &str) -> Self {
        Self::start_with(upstream, policy, "reporter/1.2")
    }

    /// The same where the gateway has more than this.
    fn start_with_more(upstream: &Upstream, policy: &str, more: &str) -> Self {
        Self::people_of(upstream, policy, "reporter/1.2", more)
    }

    /// The same who come with this software.
    fn start_with(upstream: &Upstream, policy: &str, software: &'static str) -> Self {
        Self::people_of(upstream, policy, software, "")
    }

    fn people_of(upstream: &Upstream, policy: &str, software: &'static str, more: &str) -> Self {
        let mut site = Site::new(&upstream.url());
        site.add(more);
        let people = (9..15).map(|host| {
            let name = format!("person-{host}");
            let key = ("x-api-key", site.key(&name, &format!("user:{name}"), ""));
            Caller { software, ..Caller::new(&format!("127.0.0.{host}"), key) }
        });
        let people = people.collect();
        Self::of(site, people, policy)
    }

    /// These people, once it is known what is usual.
    fn of(mut site: Site, people: Vec<Caller>, policy: &str) -> Self {
        site.add(&format!("[spike]\nbucket = \"{}s\"\n\n{EVENT}", bucket().as_secs()));
        let lost = Caller::new("127.0.0.20", ("x-api-key", site.key("lost", "user:lost", "")));
        site.policy(policy);
        let scene = Self { gateway: site.start(), people, lost };
        // Lists and keys that are fetched are there.
        let let_in = |person: &Caller| person.statuses(&scene.gateway, "/reports/0", &[], 1) == [200];
        let ready = || scene.people.iter().all(let_in).then_some(());
        assert!(wait::until(PATIENCE, ready).is_some(), "nobody is let in");
        let known = || {
            scene.usual();
            thread::sleep(bucket() / 20);
            (json(&scene.gateway, &["spike", "list", "-o", "json"])["learning"] == false).then_some(())
        };
        assert!(wait::until(3 * PATIENCE + 15 * bucket(), known).is_some(), "it never knows what is usual");
        scene
    }

    /// Ends the gateway in order, and starts another one on the same files once they are changed.
    fn restart(self, edit: impl FnOnce(&mut Site)) -> Self {
        let Self { gateway, people, lost } = self;
        let Gateway { mut site, mut process, .. } = gateway;
        process.stop(PATIENCE);
        edit(&mut site);
        Self { gateway: site.start(), people, lost }
    }

    /// What is around the policy changes, and is reloaded while people come as ever.
    fn reload_around(&mut self, from: &str, to: &str) {
        self.gateway.site.change(from, to);
        self.gateway.site.write();
        // Nobody pauses for that: who came as ever until it did is told by that.
        let finished = thread::scope(|scope| {
            let reloading = scope.spawn(|| run(&self.gateway, &["reload"]));
            while !reloading.is_finished() {
                for person in &self.people {
                    person.statuses(&self.gateway, PATH, &[], 1);
                }
                thread::sleep(bucket() / 20);
            }
            reloading.join().unwrap()
        });
        assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    }

    /// A moment of a usual day.
    fn usual(&self) {
        self.people.iter().for_each(|person| person.check(&self.gateway, 4, 200));
        self.refused_as_ever();
    }

    fn refused_as_ever(&self) {
        self.lost.statuses(&self.gateway, "/files/x", &[], 1);
    }

    /// All people are refused with this.
    fn locked_out(&self, status: u16) {
        self.people.iter().for_each(|person| person.check(&self.gateway, 5, status));
    }

    fn reload(&self, policy: &str) {
        self.gateway.site.policy(policy);
        let finished = run(&self.gateway, &["reload"]);
        assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    }

    /// Goes on until a spike was explained, and checks that this was in time: by the gateway's clock, from the first refusal of the incident.
    #[expect(clippy::print_stdout, reason = "how long it took is what somebody plays them with the default bucket for")]
    fn told(&self, mut go_on: impl FnMut()) -> Told {
        let event = || {
            go_on();
            self.refused_as_ever();
            thread::sleep(bucket() / 20);
            // They are many, and are not all to be read each time: whoever is refused keeps the pace of the usual.
            let text = std::fs::read_to_string(self.gateway.events.path()).unwrap();
            text.contains("spike.explained").then_some(())?;
            of_kind(&self.gateway.events.all(), "spike.explained").first().map(|event| (*event).clone())
        };
        let event =
            wait::until(3 * PATIENCE + BUCKETS * bucket(), event).unwrap_or_else(|| panic!("no spike is explained"));
        schemas::check("Spikes", &json(&self.gateway, &["spike", "list", "-o", "json"]));
        let id = event["id"].as_str().unwrap().to_owned();
        let explained = time(&event["time"]);
        let (report, event) = self.said(&id);
        let events = self.gateway.events.all();
        let refusals = of_kind(&events, "access.denied");
        let first = refusals.iter().find(|event| event["request"]["path"] == PATH).expect("the incident was refused");
        let took = explained.duration_since(time(&first["time"]));
        println!("explained {:.1} s after the first refusal, in buckets of {:?}", took.as_secs_f64(), bucket());
        // Shorter buckets do not make a busy machine faster.
        let usual = bucket().as_secs_f64().max(10.0);
        assert!(took.as_secs_f64() <= f64::from(BUCKETS) * usual, "after {took:#}: {report:#}");
        let early = time(&first["time"]).duration_since(time(&report["onset"])).as_secs_f64();
        assert!(early.abs() <= 5.0 * usual, "{report:#} {first:#}");
        Told { id, event, report }
    }

    /// What is said of a spike by now, and the event that says it: one that lasts is looked at again, and where that comes to something else there
    /// is a further event.
    fn said(&self, id: &str) -> (Value, Value) {
        let report = json(&self.gateway, &["spike", "explain", id, "-o", "json"]);
        let again = format!("spike {id} looked at again: ");
        let says = |event: &&Value| event["id"] == *id || event["message"].as_str().unwrap().starts_with(&again);
        let nth = usize::try_from(report["revision"].as_u64().unwrap()).unwrap();
        let said = || of_kind(&self.gateway.events.all(), "spike.explained").into_iter().filter(says).nth(nth).cloned();
        let event = wait::until(PATIENCE, said).unwrap_or_else(|| panic!("no event says that: {report:#}"));
        (report, event)
    }
}

impl Told {
    /// That the first cause is of this kind, explains at least so much, and says these words; and that nothing is told otherwise.
    #[track_caller]
    fn check(&self, kind: &str, least_percent: u64, words: &str) -> &Value {
        let Self { event, report, .. } = self;
        let cause = &report["causes"][0];
        assert_eq!(cause["kind"], kind, "{report:#}");
        let share = cause["share_percent"].as_u64().unwrap();
        assert!((least_percent..=100).contains(&share), "{report:#}");
        assert!(cause["summary"].as_str().unwrap().contains(words), "{report:#}");
        // A spike that lasts is looked at again, and where a share differs by less than 20 % there is no further event.
        let said = event["message"].as_str().unwrap().split_once(&format!("1. {kind} "));
        let told = said.and_then(|(_, rest)| rest.split_once(" % (")).and_then(|(share, _)| share.parse::<u64>().ok());
        assert!(told.is_some_and(|told| told.abs_diff(share) < 20), "{share}: {event:#}");
        assert_eq!((&event["severity"], &event["decision"]), (&"high".into(), &Value::Null));
        cause
    }

    /// What is proposed against the first cause: what it is, what it restores and what it opens are said.
    #[track_caller]
    fn check_fix(&self, command: &str, words: &[&str]) -> &Value {
        let fix = &self.report["causes"][0]["fix"];
        assert!(fix["command"].as_str().unwrap().contains(command), "{fix:#}");
        let preview = fix["preview"].as_str().unwrap();
        assert!(words.iter().all(|words| preview.contains(words)), "{words:?}: {fix:#}");
        // The event says it, too, with the numbers of then.
        let whole = fix["command"].as_str().unwrap();
        let said = self.event["message"].as_str().unwrap().split_once(&format!("-> {whole} ("));
        let (_, said) = said.unwrap_or_else(|| panic!("{whole}: {:#}", self.event));
        let is_said = |words: &&&str| words.contains(|one: char| one.is_ascii_digit()) || said.contains(**words);
        assert!(words.iter().all(|words| is_said(&words)), "{words:?}: {:#}", self.event);
        fix
    }

    fn kinds(&self) -> Vec<&str> {
        self.report["causes"].as_array().unwrap().iter().map(|cause| cause["kind"].as_str().unwrap()).collect()
    }
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn run(gateway: &Gateway, arguments: &[&str]) -> Finished {
    portcullis().arg("-c").arg(gateway.site.path("portcullis.toml")).args(arguments).run(PATIENCE)
}

fn json(gateway: &Gateway, arguments: &[&str]) -> Value {
    let finished = run(gateway, arguments);
    let said = finished.stdout.join("\n");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said} {finished:?}"))
}

#[test]
fn a_gateway_that_looks_for_no_spikes_says_so() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[spike]\nenabled = false\n");
    let gateway = site.start();
    let refused = run(&gateway, &["spike", "list"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.join("\n").contains("spikes are not looked for"), "{refused:?}");
}

/// A policy of this page without bans.
fn without_bans(policy: &str) -> String {
    [policy, NO_BANS].concat()
}
