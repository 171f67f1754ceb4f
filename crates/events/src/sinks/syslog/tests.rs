//! Syslog against a real rsyslogd, and against receivers that fail in ways that it does not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use portcullis_testkit::rsyslog::Rsyslog;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::*;
use crate::event::tests::{filled_with, missing_grant, to_line};
use crate::format::Format;
use crate::settings::TlsSettings;

fn settings(address: SocketAddr, transport: SyslogTransport) -> SyslogSettings {
    SyslogSettings {
        host: address.ip().to_string().into(),
        port: address.port(),
        transport,
        format: Format::Native,
        facility: 16,
        app_name: "portcullis".into(),
        enterprise_id: 32_473,
        max_datagram: 2_048,
        timeout: Duration::from_secs(10),
    }
}

/// Lines of events with these numbers.
fn lines(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    let line = String::from_utf8(to_line(missing_grant())).unwrap();
    numbers.map(|seq| line.trim_end().replace("\"seq\":18231", &format!("\"seq\":{seq}")).into_bytes()).collect()
}

fn deliver(sink: &mut SyslogSink, lines: &[Vec<u8>]) -> Delivery {
    let batch: Vec<Line<'_>> = lines.iter().map(|line| Line { json: line }).collect();
    sink.deliver(&batch)
}

/// Delivers, as the spool would, until it is accepted.
fn deliver_all(sink: &mut SyslogSink, lines: &[Vec<u8>]) {
    let accepted = portcullis_testkit::wait::until(portcullis_testkit::wait::PATIENCE, || match deliver(sink, lines) {
        Delivery::Accepted => Some(()),
        Delivery::Retry { .. } => None,
        other => panic!("{other:?}"),
    });
    assert!(accepted.is_some());
}

/// The numbers of the events in these messages.
fn numbers(messages: &[serde_json::Value]) -> Vec<u64> {
    let number = |message: &serde_json::Value| {
        let text: serde_json::Value = serde_json::from_str(message["text"].as_str().unwrap().trim()).unwrap();
        text["seq"].as_u64().unwrap()
    };
    messages.iter().map(number).collect()
}

fn tls(rsyslog: &Rsyslog) -> SyslogTransport {
    let roots = CertificateDer::pem_file_iter(rsyslog.ca()).unwrap().map(Result::unwrap).collect();
    SyslogTransport::Tls(TlsSettings { roots, ..TlsSettings::default() })
}

#[test]
fn rsyslogd_reads_every_event_over_udp_tcp_and_tls() {
    let rsyslog = Rsyslog::start();
    let transports =
        [(rsyslog.udp(), SyslogTransport::Udp), (rsyslog.tcp(), SyslogTransport::Tcp), (rsyslog.tls(), tls(&rsyslog))];
    for (index, (address, transport)) in transports.into_iter().enumerate() {
        let mut sink =
            SyslogSink::open(SyslogSettings { max_datagram: 8_192, ..settings(address, transport) }).unwrap();
        assert_eq!(deliver(&mut sink, &lines(1..4)), Delivery::Accepted);
        let messages = rsyslog.wait_for((index + 1) * 3);
        assert_eq!(numbers(&messages[index * 3..]), [1, 2, 3]);
        let last = messages.last().unwrap();
        let said = [&last["pri"], &last["host"], &last["app"], &last["id"]].map(|value| value.as_str().unwrap());
        assert_eq!(said, ["132", "gw-1", "portcullis", "access.denied"]);
        let data = last["data"].as_str().unwrap();
        assert!(
            data.starts_with("[portcullis@32473 id=\"0197a000-")
                && data.contains(" reason=\"rbac.no_matching_grant\" "),
            "{data}"
        );
    }
}

#[test]
fn rsyslogd_finds_nasty_texts_as_they_were_and_frames_stay_apart() {
    let rsyslog = Rsyslog::start();
    let mut sink = SyslogSink::open(settings(rsyslog.tcp(), SyslogTransport::Tcp)).unwrap();
    let nasty = "a]\" b=\\c\r\n7 <13>1 - - - - - - x\u{0}\u{202e}é".repeat(20);
    let mut batch = vec![to_line(filled_with(|| nasty.clone(), 3))];
    batch.extend(lines(1..2));
    assert_eq!(deliver(&mut sink, &batch), Delivery::Accepted);
    let messages = rsyslog.wait_for(2);
    assert_eq!(messages.len(), 2);
    let text: serde_json::Value = serde_json::from_str(messages[0]["text"].as_str().unwrap()).unwrap();
    let agent = text["request"]["user_agent"].as_str().unwrap();
    assert!(nasty.starts_with(agent) && agent.len() > 700, "{agent}");
    assert_eq!(numbers(&messages[1..]), [1]);
}

#[test]
fn a_receiver_that_was_restarted_gets_everything_in_order() {
    for secure in [false, true] {
        let mut rsyslog = Rsyslog::start();
        let (address, transport) =
            if secure { (rsyslog.tls(), tls(&rsyslog)) } else { (rsyslog.tcp(), SyslogTransport::Tcp) };
        let mut sink = SyslogSink::open(settings(address, transport)).unwrap();
        deliver_all(&mut sink, &lines(1..4));
        rsyslog.wait_for(3);
        rsyslog.stop();
        // It was gone before: nothing is accepted that nobody takes.
        assert!(matches!(deliver(&mut sink, &lines(4..7)), Delivery::Retry { .. }), "secure: {secure}");
        rsyslog.start_again();
        deliver_all(&mut sink, &lines(4..7));
        deliver_all(&mut sink, &lines(7..8));
        let complete = portcullis_testkit::wait::until(portcullis_testkit::wait::PATIENCE, || {
            let mut seen = Vec::new();
            for number in numbers(&rsyslog.messages()) {
                if !seen.contains(&number) {
                    seen.push(number);
                }
            }
            (seen.len() == 7).then_some(seen)
        });
        assert_eq!(complete, Some((1..8).collect()), "secure: {secure}");
    }
}

#[test]
fn what_a_receiver_had_not_read_comes_again_on_the_next_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sink = SyslogSink::open(settings(listener.local_addr().unwrap(), SyslogTransport::Tcp)).unwrap();
    assert_eq!(deliver(&mut sink, &lines(1..2)), Delivery::Accepted);
    // It takes the connection and resets it with the event unread.
    drop(listener.accept().unwrap());
    let again = lines(2..3);
    // The reset is on its way for a moment; what is sent meanwhile may seem to be accepted, and comes again, too.
    let accepting = listener.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = accepting.accept().unwrap();
        let mut read = Vec::new();
        stream.set_read_timeout(Some(portcullis_testkit::wait::PATIENCE)).unwrap();
        while !String::from_utf8_lossy(&read).contains("\"seq\":2,") {
            let mut piece = [0; 4_096];
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0);
            read.extend_from_slice(&piece[..length]);
        }
        String::from_utf8_lossy(&read).into_owned()
    });
    // Once it has read them, the reader goes away: then a delivery may fail.
    let mut accepted = false;
    let finished = portcullis_testkit::wait::until(portcullis_testkit::wait::PATIENCE, || {
        accepted |= deliver(&mut sink, &again) == Delivery::Accepted;
        reader.is_finished().then_some(())
    });
    assert!(finished.is_some() && accepted);
    let read = reader.join().unwrap();
    let (first, second) = (read.find("\"seq\":1,"), read.find("\"seq\":2,"));
    assert!(first.is_some() && first < second, "{read}");
}

#[test]
fn a_certificate_for_another_name_is_not_believed() {
    let rsyslog = Rsyslog::start();
    let SyslogTransport::Tls(trusted) = tls(&rsyslog) else { panic!() };
    let other = TlsSettings { server_name: Some("siem.example".into()), ..trusted };
    let mut sink = SyslogSink::open(settings(rsyslog.tls(), SyslogTransport::Tls(other))).unwrap();
    let Delivery::Retry { why, .. } = deliver(&mut sink, &lines(1..2)) else { panic!() };
    assert!(why.contains("certificate"), "{why}");
    assert_eq!(rsyslog.messages().len(), 0);
}

#[test]
fn a_datagram_is_never_longer_than_its_bound() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = receiver.local_addr().unwrap();
    let mut sink =
        SyslogSink::open(SyslogSettings { max_datagram: 1_024, ..settings(address, SyslogTransport::Udp) }).unwrap();
    assert_eq!(deliver(&mut sink, &lines(1..2)), Delivery::Accepted);
    let mut datagram = [0; 4_096];
    let length = receiver.recv(&mut datagram).unwrap();
    let text = std::str::from_utf8(&datagram[..length]).unwrap();
    assert!(length <= 1_024 && text.contains("shortened=\"true\"] user:alice may not GET"), "{text}");
}

#[test]
fn what_is_no_event_is_refused_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sink = SyslogSink::open(settings(listener.local_addr().unwrap(), SyslogTransport::Tcp)).unwrap();
    let mut batch = lines(1..3);
    batch.insert(1, b"{\"torn".to_vec());
    let Delivery::Refused { which, .. } = deliver(&mut sink, &batch) else { panic!() };
    assert_eq!(which, [1]);
}

#[test]
fn a_receiver_that_talks_is_not_listened_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sink = SyslogSink::open(settings(listener.local_addr().unwrap(), SyslogTransport::Tcp)).unwrap();
    deliver_all(&mut sink, &lines(1..2));
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&[b'x'; 4_096]).unwrap();
    deliver_all(&mut sink, &lines(2..3));
    deliver_all(&mut sink, &lines(3..4));
    let mut read = vec![0; 64];
    stream.read_exact(&mut read).unwrap();
    assert!(read.starts_with(format!("{} <132>1 ", read_length(&read)).as_bytes()));
}

fn read_length(frame: &[u8]) -> usize {
    std::str::from_utf8(frame).unwrap().split(' ').next().unwrap().parse().unwrap()
}
