//! Where requests come in: `[[listener]]`, and `[admin]`, which listens beside them.

use crate::file::{CLIENT_AUTH, MIN_VERSION, ProxyMode};
use crate::kinds::{FilePath, Flag, Name, Socket, Text};
use crate::schema::{Table, choice, one, one_or_list, several, table, within};

pub(super) fn listener() -> Table {
    table(
        "[[listener]]",
        "Where requests come in; changing it needs a restart.",
        [
            one("name", Name, "Unique; a label in metrics and events.").required(),
            one("address", Socket, "`0.0.0.0:8080` or `[::]:8080` for every address of this machine.").required(),
            within("tls", tls("`tls` of [[listener]]", "`certificates` of `tls` of [[listener]]")),
            one("http2", Flag, "Whether clients may speak HTTP/2, over TLS by ALPN and in plain text by prior knowledge.")
                .default(true),
            one(
                "proxy_protocol",
                ProxyMode,
                "`true`: trusted proxies begin with a header of the PROXY protocol; `\"required\"`: nobody else may come.",
            )
            .default(false),
        ],
    )
}

pub(super) fn admin() -> Table {
    table(
        "[admin]",
        "The operators' API over the network: a listener and the route `admin`, which only grants that name it cover.",
        [
            one("address", Socket, "Where it listens; beyond loopback only with `tls`.").required(),
            within("tls", tls("[admin.tls]", "[[admin.tls.certificates]]")),
            one_or_list("hosts", Text, "The hosts that it is called by; other requests are refused.")
                .not_empty()
                .default("the address and, on loopback, localhost"),
        ],
    )
}

/// Of a listener, or of what listens beside them; `certificates` is the title of the table within.
fn tls(title: &'static str, certificates: &'static str) -> Table {
    let versions: Vec<&str> = MIN_VERSION.iter().map(|(word, _)| *word).collect();
    let auth: Vec<&str> = CLIENT_AUTH.iter().map(|(word, _)| *word).collect();
    table(
        title,
        "TLS, with certificates that are read anew at each reload; left out: plain text.",
        [
            one("certificate", FilePath, "The certificate that is shown by default, and what leads to its root; PEM.")
                .required(),
            one("key", FilePath, "Its private key; PEM, not encrypted.").required(),
            several("certificates", more_certificates(certificates)),
            choice("min_version", &versions, "The oldest TLS that is spoken.").default("1.2"),
            choice("client_auth", &auth, "Whether clients show a certificate.").default("off"),
            one("client_ca", FilePath, "Who vouches for clients: root certificates; PEM."),
            one("client_crl", FilePath, "What they have revoked: revocation lists; PEM."),
        ],
    )
}

fn more_certificates(title: &'static str) -> Table {
    table(
        title,
        "Further certificates, chosen by the server that a client names: each stands for the names that are in it.",
        [
            one("certificate", FilePath, "The certificate; PEM.").required(),
            one("key", FilePath, "Its private key; PEM, not encrypted.").required(),
        ],
    )
}
