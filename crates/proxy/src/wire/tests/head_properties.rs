//! What holds for every head, however it is cut.

use proptest::prelude::*;

use super::heads::limits;
use crate::wire::head::{HeadLimits, HeadScanner, Scan, scan};
use crate::wire::request_line::TargetForm;

/// Heads that are valid, nearly valid, and wild, in a mixture that reaches every branch.
pub(super) fn heads() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![
        Just("GET"),
        Just("POST"),
        Just("HEAD"),
        Just("OPTIONS"),
        Just("CONNECT"),
        Just("x-Y"),
        Just("G T")
    ];
    let target = prop_oneof![
        6 => "/[ -~]{0,20}",
        2 => "/[a-z0-9%/.?=&;{}|^\"\\\\]{0,20}",
        2 => "https?://[aA.:0-9@\\[\\]]{1,5}[/?#]?[a-z]{0,3}",
        2 => "http://a[.]?(:80)?[/?]?[a-z]{0,3}",
        1 => Just("*".to_owned()),
        1 => Just("a:443".to_owned()),
        1 => "[ -~]{0,10}",
    ];
    let version =
        prop_oneof![8 => Just("HTTP/1.1"), 2 => Just("HTTP/1.0"), 1 => Just("HTTP/2.0"), 1 => Just("HTTP/1.1 ")];
    let line = prop_oneof![
        2 => Just("Content-Length: 3".to_owned()),
        1 => Just("Transfer-Encoding: chunked".to_owned()),
        1 => Just("Connection: close".to_owned()),
        1 => Just("Connection: keep-alive, Upgrade".to_owned()),
        1 => Just("Upgrade: websocket".to_owned()),
        1 => Just("Expect: 100-continue".to_owned()),
        1 => Just("Host: a".to_owned()),
        6 => "X-[a-z]{1,5}:[ -~\t\u{80}-\u{ff}]{0,20}",
        1 => "[ -~\r\n\t]{0,10}",
    ];
    let host = prop_oneof![8 => Just("Host: a"), 1 => Just("host:A.:80"), 1 => Just("X: a"), 1 => Just("Host: a b")];
    (method, target, version, host, proptest::collection::vec(line, 0..4)).prop_map(
        |(method, target, version, host, lines)| {
            let mut head = format!("{method} {target} {version}\r\n{host}\r\n");
            for line in lines {
                head += &line;
                head += "\r\n";
            }
            (head + "\r\n").into_bytes()
        },
    )
}

/// Scans `bytes` in pieces that end where `cuts` say, as the gate would.
fn scan_in_pieces(bytes: &[u8], cuts: &[usize], limits: &HeadLimits) -> (usize, Scan) {
    let mut scanner = HeadScanner::default();
    let mut skipped = 0;
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let mut last = Scan::Incomplete;
    for end in ends {
        skipped += scanner.skip_empty_lines(&bytes[skipped..end.max(skipped)]);
        last = scanner.scan(&bytes[skipped..end.max(skipped)], limits);
        if last != Scan::Incomplete {
            break;
        }
    }
    (skipped, last)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_cutting_makes_no_difference(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        prop_assert_eq!(scan_in_pieces(&bytes, &cuts, &limits()), scan(&bytes, &limits()));
    }

    #[test]
    fn cutting_a_head_makes_no_difference(
        head in heads(),
        empty_lines in 0usize..4,
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
        small in any::<bool>(),
    ) {
        let limits = if small {
            HeadLimits { max_header_fields: 2, max_header_bytes: 70, max_field_bytes: 16, max_uri_bytes: 8 }
        } else {
            limits()
        };
        let bytes = ["\r\n".repeat(empty_lines).into_bytes(), head].concat();
        let whole = scan(&bytes, &limits);
        prop_assert_eq!(scan_in_pieces(&bytes, &cuts, &limits), whole.clone());
        let every_byte: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(scan_in_pieces(&bytes, &every_byte, &limits), whole);
    }

    #[test]
    fn a_head_that_passed_has_its_parts_where_the_facts_say(head in heads()) {
        let (skipped, scanned) = scan(&head, &limits());
        if let Scan::Complete { head_len, facts } = scanned {
            prop_assert_eq!(skipped, 0);
            prop_assert!(head[..head_len].ends_with(b"\r\n\r\n"));
            let words: Vec<&[u8]> = head[..head_len].split(|&byte| byte == b'\r').next().unwrap().split(|&byte| byte == b' ').collect();
            prop_assert_eq!(words.len(), 3);
            prop_assert_eq!(&head[facts.method.clone()], words[0]);
            prop_assert_eq!(&head[facts.target.clone()], words[1]);
            if facts.form == TargetForm::Origin {
                prop_assert_eq!(head[facts.target.start], b'/');
            }
        }
    }
}
