//! `source` of a network: what can be written, what it means, and what is wrong with what.

use std::time::Duration;

use portcullis_feeds::{Column, FeedSettings, Format, Guards, OnStale, Pointer, Source};
use portcullis_fetch::UrlSource;
use portcullis_testkit::certificates::Authority;

use super::{Folder, POLICY, check_gateway, check_policy};

fn with_source(folder: &Folder, source: &str) -> FeedSettings {
    folder.write("policy.toml", format!("{POLICY}[[network]]\nname = \"partner\"\nsource = {{ {source} }}\n"));
    let loaded = folder.loaded();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings.render_human(false));
    assert_eq!(loaded.summary.networks, 1);
    (*loaded.feeds.0.feeds[0]).clone()
}

fn url(path: &str) -> UrlSource {
    UrlSource {
        secure: true,
        host: "a.example".into(),
        port: 443,
        path: path.into(),
        roots: Vec::new(),
        redirects: false,
    }
}

#[test]
fn the_least_source_has_every_default() {
    let folder = Folder::new();
    let settings = with_source(&folder, "url = \"https://a.example/list\"");
    let expected = FeedSettings {
        name: "partner".into(),
        source: Source::Url(Box::new(url("/list"))),
        format: Format::Text,
        fixed: std::sync::Arc::default(),
        refresh: Duration::from_secs(6 * 3_600),
        timeout: Duration::from_secs(10),
        max_size: 4 << 20,
        guards: Guards {
            min_entries: 1,
            max_shrink: 2_000,
            max_grow: 5_000,
            private: false,
            compare_over: Duration::from_secs(24 * 3_600),
        },
        max_age: Duration::from_secs(7 * 24 * 3_600),
        on_stale: OnStale::Keep,
        signature: None,
        accepted: std::sync::Arc::default(),
    };
    assert_eq!(settings, expected);
    let file = with_source(&folder, "file = \"a.txt\"");
    assert_eq!((file.source, file.refresh), (Source::File(folder.path("a.txt")), Duration::from_secs(60)));
    assert_eq!(folder.loaded().feeds.0.folder, folder.path("feeds"));
    // Never loaded, it is unknown: what it holds nobody knows.
    assert!(folder.loaded().feeds.1[0].content().unknown);
}

#[test]
fn every_key_reaches_its_setting() {
    let folder = Folder::new();
    folder.write("ca.pem", Authority::new("lists").certificate());
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    folder.write(
        "policy.toml",
        format!(
            r#"{POLICY}[[network]]
name = "partner"
addresses = ["192.0.2.1", "192.0.2.128/25"]
[network.source]
url = "http://a.example:8080/x?y=z"
allow_http = true
redirects = "same_host"
format = "json"
pointer = ["/a/*", "/b"]
refresh = "1h"
timeout = "2s"
max_size = "1MiB"
min_entries = 3
max_shrink = "0.5%"
max_grow = "300%"
private = true
compare_over = "7d"
max_age = "2d"
on_stale = "undecided"
signature = {{ key = "{key}", suffix = ".sig", max_age = "30d" }}
accepted = ["09B2d3c41f77a4e5b60c1d9f38e2a7b4c5d6e7f8091a2b3c4d5e6f708192a3b4"]
"#
        ),
    );
    let settings = folder.loaded().feeds.0.feeds[0].clone();
    let source = UrlSource { secure: false, port: 8_080, redirects: true, ..url("/x?y=z") };
    assert_eq!(settings.source, Source::Url(Box::new(source)));
    let pointers = ["/a/*", "/b"].map(|text| Pointer::parse(text).unwrap()).to_vec();
    assert_eq!(settings.format, Format::Json { pointers });
    let fixed: Vec<String> = settings.fixed.iter().map(ToString::to_string).collect();
    assert_eq!(fixed, ["192.0.2.1/32", "192.0.2.128/25"]);
    assert_eq!(
        (settings.refresh.as_secs(), settings.timeout.as_secs(), settings.max_size, settings.max_age.as_secs()),
        (3_600, 2, 1 << 20, 2 * 86_400)
    );
    let compare_over = Duration::from_secs(7 * 86_400);
    let guards = Guards { min_entries: 3, max_shrink: 50, max_grow: 30_000, private: true, compare_over };
    assert_eq!(settings.guards, guards);
    assert_eq!(settings.on_stale, OnStale::Undecided);
    let signature = settings.signature.as_ref().unwrap();
    assert_eq!((&*signature.suffix, signature.max_age), (".sig", Some(Duration::from_secs(30 * 86_400))));
    let accepted = "09b2d3c41f77a4e5b60c1d9f38e2a7b4c5d6e7f8091a2b3c4d5e6f708192a3b4";
    assert_eq!(settings.accepted.iter().map(|hash| &**hash).collect::<Vec<_>>(), [accepted]);
    let csv = |text: &str| with_source(&folder, &format!("file = \"a\", format = \"csv\", {text}")).format;
    let table = |column, delimiter| Format::Csv { column, delimiter };
    assert_eq!(csv("column = 2"), table(Column::Number(2), b','));
    assert_eq!(csv("column = \"ip\", delimiter = \"\\t\""), table(Column::Name("ip".into()), b'\t'));
    let Source::Url(secure) = with_source(&folder, "url = \"https://a.example/\", ca = \"ca.pem\"").source else {
        panic!("a link")
    };
    assert_eq!(secure.roots.len(), 1);
    let github = with_source(&folder, "preset = \"github-hooks\"");
    let hooks = UrlSource { host: "api.github.com".into(), ..url("/meta") };
    assert_eq!(github.source, Source::Url(Box::new(hooks)));
    assert_eq!(github.format, Format::Json { pointers: vec![Pointer::parse("/hooks/*").unwrap()] });
    for preset in portcullis_feeds::presets::PRESETS {
        let settings = with_source(&folder, &format!("preset = \"{}\"", preset.name));
        let Format::Json { pointers } = settings.format else { panic!("JSON") };
        assert_eq!(pointers.len(), preset.pointers.len());
    }
    folder.write("portcullis.toml", format!("{}[feeds]\npath = \"state\"\n", super::GATEWAY));
    assert_eq!(folder.loaded().feeds.0.folder, folder.path("state"));
}

#[test]
fn each_mistake_is_named_where_it_stands() {
    let check = |source: &str, expected: (&str, usize, &str)| {
        let (code, column, fragment) = expected;
        check_policy(&format!("[[network]]\nname = \"a\"\nsource = {{ {source} }}\n"), (code, 3, column, fragment));
    };
    check("", ("E0102", 10, "`url` is missing in `source` of [[network]]"));
    check("url = \"a.example\"", ("E0105", 18, "begins with neither"));
    check("url = \"ftp://a.example\"", ("E0105", 18, "begins with neither"));
    check("url = \"https://u:p@a.example/\"", ("E0105", 18, "holds credentials"));
    check("url = \"http://a.example/\"", ("E0203", 18, "allow_http = true"));
    check("url = \"https://a/\", file = \"b\"", ("E0203", 10, "remove all but one"));
    check("file = \"a\", ca = \"ca.pem\"", ("E0100", 29, "cannot read"));
    check("file = \"a\", redirects = \"none\"", ("E0203", 36, "says nothing about this source"));
    check("file = \"a\", accepted = [\"09b2\"]", ("E0105", 36, "the SHA-256 of a list, 64 hexadecimal digits"));
    let hash = "09b2d3c41f77a4e5b60c1d9f38e2a7b4c5d6e7f8091a2b3c4d5e6f708192a3b4";
    let many = vec![format!("\"{hash}\""); 65].join(", ");
    check(&format!("file = \"a\", accepted = [{many}]"), ("E0203", 35, "more than 64 lists are accepted"));
    check("preset = \"azure\"", ("E0105", 21, "changes every week"));
    check("preset = \"asw\"", ("E0105", 21, "known: \"atlassian\", \"aws\""));
    check("preset = \"aws\", format = \"json\"", ("E0203", 37, "a preset brings its own `format`"));
    check("preset = \"aws\", pointer = \"/a\"", ("E0203", 38, "a preset brings its own `pointer`"));
    check("file = \"a\", format = \"jsn\"", ("E0105", 33, "did you mean \"json\"?"));
    check("file = \"a\", format = \"csv\"", ("E0102", 10, "`column` is missing"));
    check("file = \"a\", format = \"json\"", ("E0102", 10, "`pointer` is missing"));
    check("file = \"a\", format = \"json\", pointer = []", ("E0105", 51, "`pointer` is empty"));
    check("file = \"a\", format = \"json\", pointer = \"a/b\"", ("E0105", 51, "does not begin with `/`"));
    check("file = \"a\", column = 1", ("E0203", 33, "belongs to the format \"csv\""));
    check("file = \"a\", pointer = \"/a\"", ("E0203", 34, "belongs to the format \"json\""));
    check("file = \"a\", format = \"csv\", column = 0", ("E0105", 49, "from 1 to 1000"));
    check("file = \"a\", format = \"csv\", column = 1, delimiter = \"ab\"", ("E0105", 64, "one ASCII character"));
    check("file = \"a\", refresh = 6", ("E0104", 34, "write the unit"));
    check("file = \"a\", refresh = \"0s\"", ("E0105", 34, "must be from 1s to 30d"));
    check("file = \"a\", timeout = \"2m\"", ("E0105", 34, "must be from 100ms to 50s"));
    check("file = \"a\", max_size = \"1GiB\"", ("E0105", 35, "must be from 1 to 67108864 bytes"));
    check("file = \"a\", min_entries = 0", ("E0105", 38, "from 1 to 1000000"));
    check("file = \"a\", max_shrink = 20", ("E0104", 37, "write the sign"));
    check("file = \"a\", max_shrink = \"101%\"", ("E0105", 37, "from \"0%\" to \"100%\""));
    check("file = \"a\", compare_over = \"31d\"", ("E0105", 39, "must be from 1s to 30d"));
    check("file = \"a\", compare_over = 24", ("E0104", 39, "write the unit"));
    check("file = \"a\", max_age = \"0s\"", ("E0105", 34, "must be from 1s"));
    check("file = \"a\", on_stale = \"deny\"", ("E0105", 35, "expected \"keep\" or \"undecided\""));
    check("file = \"a\", signature = {}", ("E0102", 36, "`key` is missing"));
    check("file = \"a\", signature = { key = \"RWQ\" }", ("E0105", 44, "is no public key of minisign"));
    let signed = "key = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"";
    let source = format!("file = \"a\", signature = {{ {signed}, max_age = \"1s\" }}");
    check(&source, ("E0105", 114, "must be from 1m to 3660d"));
    check("file = \"a\", max_shirnk = \"20%\"", ("E0103", 24, "did you mean `max_shrink`?"));
    check_gateway("[feeds]\nfolder = \"x\"\n", ("E0103", 2, 1, "known keys: `path`"));
    check_gateway("[feeds]\npath = 1\n", ("E0104", 2, 8, "found an integer"));
}

#[test]
fn what_was_kept_and_is_broken_is_said_and_not_believed() {
    let folder = Folder::new();
    with_source(&folder, "file = \"a.txt\"");
    // Nobody may know what the file of a network is called, but for its ending.
    let settings = folder.loaded().feeds.0;
    std::fs::create_dir(folder.path("feeds")).unwrap();
    let name = kept_name(&folder, &settings.feeds[0].name);
    std::fs::write(folder.path("feeds").join(name), "portcullis.feed/1\nnonsense").unwrap();
    folder.check("broken", &[("W0204", "policy.toml:4:10", "feed")]);
    assert!(folder.loaded().feeds.1[0].content().unknown);
}

/// The file in which the list of a network is kept, found by having one kept.
fn kept_name(folder: &Folder, name: &str) -> String {
    use portcullis_feeds::{Keeper, Now, Settings, restore};
    let list = folder.path("list.txt");
    std::fs::write(&list, "9.9.9.9\n").unwrap();
    let feed = std::sync::Arc::new(FeedSettings::new(name, Source::File(list), Format::Text));
    let settings = Settings { folder: folder.path("elsewhere"), feeds: vec![feed], approved: false };
    let now = Now { wall: jiff::Timestamp::UNIX_EPOCH, steady: Duration::ZERO };
    let mut keeper = Keeper::new(&settings, restore(&settings, None), now);
    let job = keeper.due(now).pop().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(job.run());
    assert!(keeper.finish(outcome, &[], now, &mut |_| Ok(())).is_current);
    let kept = std::fs::read_dir(folder.path("elsewhere")).unwrap().next().unwrap().unwrap();
    kept.file_name().to_str().unwrap().to_owned()
}
