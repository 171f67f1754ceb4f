//! `audit verify`: what was recorded is found whole, over rotated files and restarts, and every change is found where it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, HEXLOWER};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::request;
use serde_json::Value;

use crate::harness::{AUTHENTICATED, NO_BANS, Site, portcullis, tool};

/// Exit code and output of `audit verify`.
fn verify(arguments: &[&str], files: &[PathBuf]) -> (Option<i32>, String) {
    let finished = portcullis().args(["audit", "verify"]).args(arguments).args(files).run(PATIENCE);
    (finished.status.code(), finished.stdout.join("\n"))
}

/// A gateway refuses so many requests, under this configuration of its sink; returns the site.
fn refuse(mut site: Site, sink: &str, requests: usize) -> Site {
    if !sink.is_empty() {
        site.sink_with(sink);
    }
    let gateway = site.start();
    let mut connection = gateway.conn();
    for _ in 0..requests {
        connection.send(request("GET", "/x", &[], b""));
        assert_eq!(connection.answer().status(), 401);
    }
    drop(connection);
    let crate::harness::Gateway { site, mut process, .. } = gateway;
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    site
}

fn site(upstream: &Upstream) -> Site {
    let site = Site::new(&upstream.url());
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    site
}

#[test]
fn an_untouched_file_is_whole_and_each_change_is_named_with_its_line() {
    let upstream = Upstream::start();
    let site = refuse(refuse(site(&upstream), "", 20), "", 5);
    let file = site.path("events.jsonl");
    let (code, text) = verify(&[], std::slice::from_ref(&file));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("29 events, one after the other"), "{text}");

    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let changed = site.path("changed.jsonl");
    let check = |lines: &[&str], expected: &str| {
        fs::write(&changed, format!("{}\n", lines.join("\n"))).unwrap();
        let (code, text) = verify(&[], std::slice::from_ref(&changed));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("{}:{expected}", changed.display())), "{expected} in {text}");
    };
    let forged = lines[6].replacen("\"status\":401", "\"status\":200", 1);
    check(&[&lines[..6], &[forged.as_str()][..], &lines[7..]].concat(), "7: this event was changed");
    check(&[&lines[..6], &lines[9..]].concat(), "7: this event (number 10) does not follow");
    check(&[&lines[..6], &[lines[7], lines[6]][..], &lines[8..]].concat(), "7: this event");
    check(&[&lines[..6], &["{}"][..], &lines[6..]].concat(), "7: this is no event as it was written");
    check(&[&lines[..28], &[&lines[28][..100]][..]].concat(), "29: this is no event as it was written");

    // Nothing in the file says that its end is missing; what is known from elsewhere does.
    let last: Value = serde_json::from_str(lines[28]).unwrap();
    let hash = last["integrity"]["hash"].as_str().unwrap();
    assert_eq!(verify(&["--end", hash], std::slice::from_ref(&file)).0, Some(0));
    fs::write(&changed, format!("{}\n", lines[..28].join("\n"))).unwrap();
    assert_eq!(verify(&[], std::slice::from_ref(&changed)).0, Some(0));
    assert_eq!(verify(&["--end", hash], std::slice::from_ref(&changed)).0, Some(1));
    let (code, text) = verify(&["-o", "json"], &[changed]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["whole"], &json["events"]), (Some(0), &true.into(), &28.into()));
    assert_eq!(json["beginnings"][0]["line"], 1);
}

#[test]
fn rotated_and_compressed_files_are_one_chain() {
    let upstream = Upstream::start();
    let site = refuse(site(&upstream), "rotate_size = \"1MiB\"\nrotate_keep = 50\n", 1_600);
    // Compression goes on in the background, and ends with the process; both forms are read, and what is half done is passed over.
    let mut files: Vec<PathBuf> = fs::read_dir(site.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("events.jsonl"))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    let (code, text) = verify(&[], &files);
    assert_eq!(code, Some(0), "{text}");
    files.sort();
    files.retain(|path| path.extension().is_none_or(|extension| extension != "tmp"));
    // Neither the oldest, without which nobody could tell, nor the newest.
    files.remove(2);
    assert_eq!(verify(&[], &files).0, Some(1));
}

#[test]
fn what_makes_no_sense_is_told_apart_from_what_was_changed() {
    let upstream = Upstream::start();
    let site = site(&upstream);
    site.file("empty.jsonl", "");
    assert_eq!(verify(&[], &[site.path("none.jsonl")]).0, Some(4));
    assert_eq!(verify(&["--end", "sha256:xyz"], &[site.path("empty.jsonl")]).0, Some(2));
    let (code, text) = verify(&[], &[site.path("empty.jsonl")]);
    assert_eq!((code, text.trim_end()), (Some(1), "there is no event"));
}

#[test]
fn checkpoints_tell_a_file_that_was_written_anew_from_what_the_gateway_wrote() {
    let upstream = Upstream::start();
    let mut site = site(&upstream);
    let key = site.path("checkpoint.key");
    let made = portcullis().args(["audit", "keygen", "--out"]).arg(&key).run(PATIENCE);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!made.stdout.join("\n").contains("PRIVATE"), "{made:?}");
    let public = site.path("checkpoint.pub");
    fs::write(&public, made.stdout.join("\n")).unwrap();
    // A key that is there is never written over.
    assert_eq!(portcullis().args(["audit", "keygen", "--out"]).arg(&key).run(PATIENCE).status.code(), Some(4));

    site.add("[event]\ncheckpoint = { key = { file = \"checkpoint.key\" }, events = 10 }\n");
    let site = refuse(refuse(site, "", 25), "", 5);
    let file = site.path("events.jsonl");
    let public = public.to_str().unwrap();
    let held = |file: &PathBuf| verify(&["--public-key", public], std::slice::from_ref(file));
    let (code, text) = held(&file);
    assert_eq!(code, Some(0), "{text}");
    // 27 events of the first process with a checkpoint behind the 10th, the 20th and the last; 7 of the second with one.
    assert!(text.contains("38 events, one after the other"), "{text}");
    assert!(
        text.contains(&format!("signed up to {}:38", file.display())) && text.contains("; 0 later events"),
        "{text}"
    );
    let (_, json) = verify(&["-o", "json", "--public-key", public], std::slice::from_ref(&file));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["signed"]["line"], &json["unsigned"]), (&38.into(), &0.into()));
    // openssl reads the keys and comes to the same signature.
    openssl_agrees(&site, &file);

    // Who can write the file leaves out an event and computes every hash anew.
    let whole = fs::read_to_string(&file).unwrap();
    let forged = site.path("forged.jsonl");
    fs::write(&forged, sealed_anew(whole.lines().enumerate().filter(|(number, _)| *number != 4).map(|(_, line)| line)))
        .unwrap();
    assert_eq!(verify(&[], std::slice::from_ref(&forged)).0, Some(0), "by the hashes alone nothing is wrong");
    let (code, text) = held(&forged);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("forged.jsonl:10: this checkpoint signs other lines than those before it"), "{text}");
    assert!(text.contains("there is no checkpoint with a good signature"), "{text}");
    // Who leaves the checkpoints as they are, and writes anew what follows on one of them, has to take away the later ones.
    let lines: Vec<&str> = whole.lines().collect();
    let cut = site.path("cut.jsonl");
    let text = [lines[..11].join("\n"), String::new()].join("\n");
    let from = whole.find(lines[11]).unwrap();
    let (before, rest) = whole.split_at(from);
    assert_eq!(text, before, "a checkpoint is the last of these");
    let kept = rest.lines().filter(|line| !line.contains("\"kind\":\"integrity.checkpoint\""));
    let hash = serde_json::from_str::<Value>(lines[10]).unwrap()["integrity"]["hash"].as_str().unwrap().to_owned();
    fs::write(&cut, text + &sealed_behind(&format!("\"{hash}\""), kept)).unwrap();
    let held_to = |most: &str| verify(&["--public-key", public, "--max-unsigned", most], std::slice::from_ref(&cut));
    assert_eq!(held_to("24").0, Some(0), "{:?}", held_to("24"));
    let (code, text) = held_to("23");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("24 events follow on the last checkpoint"), "{text}");
    let private = key.to_str().unwrap();
    assert_eq!(verify(&["--public-key", private], std::slice::from_ref(&file)).0, Some(2));
    assert_eq!(verify(&["--public-key", "/no/such/key"], std::slice::from_ref(&file)).0, Some(4));
}

/// The lines with a chain of their own, made as the documentation says how it is checked.
fn sealed_anew<'l>(lines: impl Iterator<Item = &'l str>) -> String {
    sealed_behind("null,\"genesis\":\"no earlier event is there\"", lines)
}

/// The same for lines that follow on this one, as `prev` names it.
fn sealed_behind<'l>(prev: &str, lines: impl Iterator<Item = &'l str>) -> String {
    let (mut text, mut prev) = (String::new(), prev.to_owned());
    for line in lines {
        let open = line.rfind("\"integrity\":{").unwrap();
        let start = format!("{}\"integrity\":{{\"prev\":{prev}", &line[..open]);
        let hash = HEXLOWER.encode(digest(&SHA256, format!("{start}}}}}").as_bytes()).as_ref());
        text.push_str(&format!("{start},\"hash\":\"sha256:{hash}\"}}}}\n"));
        prev = format!("\"sha256:{hash}\"");
    }
    text
}

/// The signature of the last line's checkpoint is that of the text in the documentation, by another program.
fn openssl_agrees(site: &Site, file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let event: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let (checkpoint, word) = (&event["checkpoint"], |value: &Value| value.as_str().unwrap().to_owned());
    let signed = format!(
        "portcullis.checkpoint/1\nnode {}\ntime {}\nseq {}\nhash {}\n",
        word(&event["node"]),
        word(&event["time"]),
        checkpoint["seq"],
        word(&checkpoint["hash"])
    );
    assert_eq!(checkpoint["hash"], event["integrity"]["prev"]);
    site.file("signed.txt", &signed);
    let signature = BASE64.decode(word(&checkpoint["signature"]).as_bytes()).unwrap();
    fs::write(site.path("signature"), signature).unwrap();
    let arguments = [
        "pkeyutl",
        "-verify",
        "-pubin",
        "-rawin",
        "-inkey",
        "checkpoint.pub",
        "-in",
        "signed.txt",
        "-sigfile",
        "signature",
    ];
    let told = tool("PORTCULLIS_OPENSSL", "openssl").args(arguments).cwd(site.path(".")).run(PATIENCE);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
}
