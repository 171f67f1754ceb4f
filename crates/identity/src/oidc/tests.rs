//! Logins and logout tokens as an attacker and a provider would make them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_fetch::UrlSource;
use serde_json::{Value, json};

use super::*;
use crate::remote::Patience;
use crate::session::{SealKey, SessionId};
use crate::settings::{ClaimNames, ClientProof, KeyLocation, KeySource, RemoteKeySource, ResponseMode};
use crate::signer::Signer;

const ISSUER: &str = "https://op.example";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn settings(name: &str, issuer: &str) -> OidcProvider {
    let document = UrlSource::parse(&crate::remote::discovery_address(issuer), Vec::new()).unwrap();
    let location = KeyLocation::Discovery { document, issuer: issuer.into(), allow_http: false };
    OidcProvider {
        name: name.into(),
        label: "Corporate".into(),
        issuer: issuer.into(),
        client_id: "portcullis".into(),
        client: ClientProof::None,
        scopes: vec!["openid".into(), "profile".into()],
        acr_values: Vec::new(),
        keys: RemoteKeySource::new(location),
        allow_http: false,
        claims: ClaimNames::default(),
        prefix: "corp:".into(),
        trust_groups: Vec::new(),
        leeway: Duration::from_secs(30),
        refresh: None,
        logout: true,
        response_mode: ResponseMode::Query,
        frontchannel_logout: false,
    }
}

/// A party whose keys are here.
fn party(signer: &Signer) -> RelyingParty {
    let settings = settings("corporate", ISSUER);
    let tokens =
        crate::settings::JwtProvider { keys: KeySource::Text(signer.jwks().as_str().into()), ..settings.id_tokens() };
    let tokens = JwtProviders::new(&[tokens], &[]).unwrap();
    RelyingParty { settings, tokens, metadata: ArcSwapOption::empty() }
}

fn metadata() -> Metadata {
    Metadata {
        authorization_endpoint: "https://op.example/auth?tenant=1".into(),
        token_endpoint: UrlSource::parse("https://op.example/token", Vec::new()).unwrap(),
        end_session_endpoint: None,
        names_itself: true,
    }
}

/// A login that has begun, and the parameters that the browser is sent with.
struct Login {
    party: RelyingParty,
    seal: SealKey,
    begun: Begun,
}

const BACK: &str = "https://tool.internal/.portcullis/callback/corporate";

fn begin(to: &str) -> Login {
    let (party, seal) = (party(&Signer::p256("k")), SealKey::random().unwrap());
    let wanted = Wanted::to(Place::parse(to).unwrap());
    let begun = party.begin(&metadata(), BACK, wanted, &seal, now()).unwrap();
    Login { party, seal, begun }
}

impl Login {
    fn parameter(&self, name: &str) -> String {
        let (_, query) = self.begun.address.split_once('?').unwrap();
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name} in {query}")).to_owned()
    }

    /// What comes of a return with these parameters, `later` seconds after.
    fn returned(
        &self,
        cookie: Option<&str>,
        later: i64,
        parameters: &[(&str, &str)],
    ) -> Result<Returned, ReturnedProblem> {
        let values = |name: &str| {
            parameters.iter().filter(move |(found, _)| *found == name).map(|(_, value)| *value).collect::<Vec<_>>()
        };
        let one = |name: &str| match values(name).as_slice() {
            [value] => Some(*value),
            _ => None,
        };
        let at = now().checked_add(SignedDuration::from_secs(later)).unwrap();
        self.party.returned(true, cookie, &self.seal, at, one, |name| !values(name).is_empty())
    }
}

#[test]
fn a_browser_is_sent_with_a_challenge_and_nothing_that_answers_it() {
    let login = begin("/app?x=1");
    assert!(
        login.begun.address.starts_with("https://op.example/auth?tenant=1&response_type=code&client_id=portcullis&")
    );
    assert_eq!(login.parameter("code_challenge_method"), "S256");
    assert_eq!(login.parameter("scope"), "openid%20profile");
    assert_eq!(login.parameter("redirect_uri"), encoded(BACK));
    let state = login.parameter("state");
    let returned =
        login.returned(Some(&login.begun.sealed), 1, &[("code", "c"), ("state", &state), ("iss", ISSUER)]).unwrap();
    assert_eq!((&*returned.code, returned.login.to.as_str()), ("c", "/app?x=1"));
    assert_eq!(*returned.login.redirect_uri, *BACK);
    // RFC 7636 section 4.2; the verifier itself was never in the address.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, returned.login.verifier.as_bytes());
    assert_eq!(login.parameter("code_challenge"), data_encoding::BASE64URL_NOPAD.encode(digest.as_ref()));
    assert!(!login.begun.address.contains(&*returned.login.verifier));
    assert_eq!(login.parameter("nonce"), *returned.login.nonce);
    let other = begin("/app?x=1");
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(login.parameter(name), other.parameter(name), "{name}");
    }
}

#[test]
fn the_answer_comes_as_a_form_where_that_is_wanted_and_the_session_before_is_known_then() {
    let login = begin("/");
    assert!(!login.begun.address.contains("response_mode"), "{}", login.begun.address);
    let (mut party, seal) = (party(&Signer::p256("k")), SealKey::random().unwrap());
    party.settings.response_mode = ResponseMode::FormPost;
    let before = SessionId::random().unwrap().key();
    let wanted = Wanted { before: Some(before), act: Some("one act".into()), ..Wanted::to(Place::root()) };
    let login = Login { begun: party.begin(&metadata(), BACK, wanted, &seal, now()).unwrap(), party, seal };
    assert_eq!(login.parameter("response_mode"), "form_post");
    let (state, sealed) = (login.parameter("state"), login.begun.sealed.as_str());
    let returned = login.returned(Some(sealed), 1, &[("code", "c"), ("state", &state), ("iss", ISSUER)]).unwrap();
    assert_eq!((returned.login.before, returned.login.act.as_deref()), (Some(before), Some("one act")));
    let read = |modes: Value| {
        let document = json!({
            "issuer": ISSUER, "authorization_endpoint": "https://op.example/auth", "token_endpoint": "https://op.example/token",
            "response_modes_supported": modes,
        });
        Metadata::read(document.to_string().as_bytes(), &login.party.settings).map(|_| ())
    };
    assert_eq!(read(json!(["query", "form_post"])), Ok(()));
    assert_eq!(read(json!(["query"])), Err(MetadataProblem::Unsupported("the configured `response_mode`")));
}

#[test]
fn only_the_browser_that_began_may_return_and_only_from_whom_it_was_sent_to() {
    let login = begin("/");
    let state = login.parameter("state");
    let (code, state, iss) = (("code", "c"), ("state", state.as_str()), ("iss", ISSUER));
    let sealed = login.begun.sealed.as_str();
    let check = |cookie, later, parameters: &[(&str, &str)], expected: ReturnedProblem| {
        assert_eq!(login.returned(cookie, later, parameters), Err(expected), "{parameters:?}");
    };
    assert!(login.returned(Some(sealed), 599, &[code, state, iss]).is_ok());
    // Somebody else's code in this browser (login CSRF), and this browser's code in another.
    check(None, 1, &[code, state, iss], ReturnedProblem::NoLogin);
    check(Some("forged"), 1, &[code, state, iss], ReturnedProblem::NoLogin);
    let others = begin("/");
    check(Some(&others.begun.sealed), 1, &[code, state, iss], ReturnedProblem::NoLogin);
    let again = login.party.begin(&metadata(), BACK, Wanted::to(Place::root()), &login.seal, now()).unwrap();
    check(Some(&again.sealed), 1, &[code, state, iss], ReturnedProblem::OtherState);
    check(Some(sealed), 1, &[code, iss], ReturnedProblem::OtherState);
    check(Some(sealed), 1, &[code, ("state", ""), iss], ReturnedProblem::OtherState);
    check(Some(sealed), 1, &[code, state, state, iss], ReturnedProblem::OtherState);
    check(Some(sealed), 600, &[code, state, iss], ReturnedProblem::TooLate);
    check(Some(sealed), -1, &[code, state, iss], ReturnedProblem::TooLate);
    // RFC 9207.
    check(Some(sealed), 1, &[code, state, ("iss", "https://evil.example")], ReturnedProblem::OtherIssuer);
    check(Some(sealed), 1, &[code, state, iss, iss], ReturnedProblem::Malformed);
    check(Some(sealed), 1, &[code, state], ReturnedProblem::NoIssuer);
    check(Some(sealed), 1, &[state, iss], ReturnedProblem::Malformed);
    check(Some(sealed), 1, &[("code", ""), state, iss], ReturnedProblem::Malformed);
    check(Some(sealed), 1, &[code, code, state, iss], ReturnedProblem::Malformed);
    let refused = ReturnedProblem::Refused("`access_denied`".into());
    check(Some(sealed), 1, &[("error", "access_denied"), state, iss, code], refused);
    // The address of another provider.
    let other = RelyingParty { settings: settings("other", "https://other.example"), ..party(&Signer::p256("k")) };
    let found = other.returned(
        true,
        Some(sealed),
        &login.seal,
        now(),
        |name| [code, state].into_iter().find(|(each, _)| *each == name).map(|(_, value)| value),
        |_| false,
    );
    assert_eq!(found, Err(ReturnedProblem::OtherProvider));
}

#[test]
fn nobody_is_led_to_another_host() {
    for fine in ["/", "/a/b?c=d&e=%2F%2F#f", "/.portcullis/whoami", "/a//b", "/@evil.example"] {
        assert_eq!(Place::parse(fine).map(|place| place.as_str().to_owned()).as_deref(), Some(fine));
    }
    for wrong in [
        "",
        "a",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "/a\\b",
        "https://evil.example/",
        "/\t/evil.example",
        "/\n/evil.example",
        "/a b",
        "/é",
        " /",
        "javascript:alert(1)",
    ] {
        assert_eq!(Place::parse(wrong), None, "{wrong:?}");
    }
    assert_eq!(Place::parse(&format!("/{}", "a".repeat(Place::MAX_BYTES))), None);
}

/// Claims of an id token for the login with the nonce `n`, changed as the test wants: null removes.
fn claims(changes: Value) -> Value {
    let second = now().as_second();
    let mut claims = json!({
        "iss": ISSUER, "aud": "portcullis", "sub": "u-17", "exp": second + 60, "iat": second, "nonce": "n",
        "sid": "s-1", "auth_time": second - 5, "groups": ["finance"],
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn words(problem: NotAdmitted) -> String {
    match problem {
        NotAdmitted::Rejected(problem) => format!("{:?}: {}", problem.kind, problem.detail),
        other => format!("{other:?}"),
    }
}

#[test]
fn whoever_has_to_authenticate_anew_is_asked_to_and_has_done_so() {
    let signer = Signer::p256("k");
    let mut party = party(&signer);
    party.settings.acr_values = vec!["urn:pwd".into(), "urn:mfa".into()];
    let seal = SealKey::random().unwrap();
    let begin = |proof, acr: &[Arc<str>]| {
        let wanted = Wanted { proof, acr, ..Wanted::to(Place::root()) };
        let begun = party.begin(&metadata(), BACK, wanted, &seal, now()).unwrap();
        begun.address.split_once("&acr_values=").unwrap().1.to_owned()
    };
    let acr = ["urn:mfa".into(), "urn:hwk".into()];
    assert_eq!(begin(Proof::Any, &acr), "urn%3Apwd%20urn%3Amfa");
    assert_eq!(begin(Proof::Anew, &acr), "urn%3Apwd%20urn%3Amfa&prompt=login&max_age=0");
    // What counts as a second factor is asked for first.
    assert_eq!(begin(Proof::Mfa, &acr), "urn%3Amfa%20urn%3Ahwk%20urn%3Apwd&prompt=login&max_age=0");
    for (text, proof) in [("any", Proof::Any), ("anew", Proof::Anew), ("mfa", Proof::Mfa), ("x", Proof::Any)] {
        assert_eq!(Proof::parse(text), proof);
        assert!(text == "x" || proof.as_str() == text);
    }

    let began = now();
    let admit = |proof, auth_time: Value| {
        let login = LoginState::for_test("n", proof, began);
        let later = began.checked_add(SignedDuration::from_secs(5)).unwrap();
        let token = signer.sign(&claims(json!({ "auth_time": auth_time })));
        party.admit(&token, &login, later, Patience::Stream).map(|_| ()).map_err(words)
    };
    let second = began.as_second();
    for proof in [Proof::Anew, Proof::Mfa] {
        // The provider's clock may be behind by a minute.
        assert_eq!(admit(proof, json!(second - 60)), Ok(()));
        assert_eq!(admit(proof, json!(second + 4)), Ok(()));
        for (auth_time, expected) in [(json!(second - 61), "not anew"), (Value::Null, "does not say when")] {
            let problem = admit(proof, auth_time).unwrap_err();
            assert!(problem.starts_with("Expired") && problem.contains(expected), "{problem}");
        }
    }
    assert_eq!(admit(Proof::Any, json!(second - 100_000)), Ok(()));
    assert_eq!(admit(Proof::Any, Value::Null), Ok(()));
}

#[test]
fn an_id_token_admits_for_one_login_of_one_client() {
    let signer = Signer::p256("k");
    let party = party(&signer);
    let admit = |changes: Value, nonce: &str| {
        let login = LoginState::for_test(nonce, Proof::Any, now());
        party.admit(&signer.sign(&claims(changes)), &login, now(), Patience::Stream).map_err(words)
    };
    let opening = admit(json!({}), "n").unwrap();
    assert_eq!(opening.principal.reference(), "user:corp:u-17");
    assert_eq!((&*opening.subject, opening.sid.as_deref()), ("u-17", Some("s-1")));
    assert_eq!(opening.principal.authentication.method, AuthenticationMethod::Oidc);
    assert_eq!(&*opening.principal.groups[0].name, "corp:finance");
    assert!(!opening.principal.groups[0].trusted);
    assert!(admit(json!({"aud": ["portcullis", "api"], "azp": "portcullis"}), "n").is_ok());
    let check = |changes: Value, nonce: &str, expected: &str| {
        let problem = admit(changes, nonce).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    };
    check(json!({}), "another", "made for another login");
    check(json!({"nonce": null}), "n", "no `nonce`");
    check(json!({"nonce": 7}), "n", "no `nonce`");
    check(json!({"aud": "api"}), "n", "WrongAudience");
    check(json!({"aud": ["portcullis", "api"]}), "n", "several audiences");
    check(json!({"azp": "another"}), "n", "another client");
    check(json!({"azp": 7}), "n", "another client");
    check(json!({"iss": "https://evil.example"}), "n", "WrongIssuer");
    check(json!({"exp": now().as_second() - 31}), "n", "Expired");
    check(json!({"iat": now().as_second() + 31}), "n", "NotYetValid");
    check(json!({"sub": null}), "n", "no `sub`");
    check(json!({"groups": 7}), "n", "groups");
    let forged = Signer::p256("k").sign(&claims(json!({})));
    let login = LoginState::for_test("n", Proof::Any, now());
    assert!(party.admit(&forged, &login, now(), Patience::Stream).is_err());
    // A refreshed one has no nonce, and is about the same subject.
    let refreshed = |changes: Value, subject: &str| {
        party.renew(&signer.sign(&claims(changes)), subject, now(), Patience::Stream).is_ok()
    };
    assert!(refreshed(json!({"nonce": null}), "u-17"));
    assert!(!refreshed(json!({"nonce": null}), "u-18"));
    assert!(!refreshed(json!({"sub": "u-18"}), "u-17"));
}

#[test]
fn a_logout_token_is_one_for_us_for_now_and_once() {
    let signer = Signer::p256("k");
    let party = party(&signer);
    let replays = Replays::default();
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let token = |changes: Value| {
        let mut claims = claims(json!({"nonce": null, "events": event, "jti": "j", "auth_time": null, "groups": null}));
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        signer.sign(&claims)
    };
    let found = |token: &str| match party.logged_out(token, &replays, now(), Patience::Stream) {
        Ok(out) => format!("{} {}", out.sid.as_deref().unwrap_or("-"), out.subject.as_deref().unwrap_or("-")),
        Err(LogoutTokenProblem::NotOne(why)) => why.to_owned(),
        Err(LogoutTokenProblem::NotAdmitted(NotAdmitted::Rejected(problem))) => format!("{:?}", problem.kind),
        Err(other) => format!("{other:?}"),
    };
    assert_eq!(found(&token(json!({"jti": "1"}))), "s-1 u-17");
    assert_eq!(found(&token(json!({"jti": "1"}))), "Again");
    assert_eq!(found(&token(json!({"jti": "2", "sub": null}))), "s-1 -");
    assert_eq!(found(&token(json!({"jti": "3", "sid": null}))), "- u-17");
    let check = |changes: Value, expected: &str| {
        let found = found(&token(changes));
        assert!(found.contains(expected), "{found}");
    };
    check(json!({"sid": null, "sub": null}), "neither a session nor a subject");
    check(json!({"nonce": "n"}), "nonce");
    check(json!({"events": null}), "events");
    check(json!({"events": {"another": {}}}), "events");
    check(json!({"events": {"http://schemas.openid.net/event/backchannel-logout": true}}), "events");
    check(json!({"jti": null}), "no `jti`");
    check(json!({"jti": 7}), "no text");
    check(json!({"iat": null}), "when it was made");
    check(json!({"iat": now().as_second() - 301}), "five minutes");
    check(json!({"aud": "another"}), "WrongAudience");
    check(json!({"exp": now().as_second() - 31}), "Expired");
    check(json!({"iss": "https://evil.example"}), "WrongIssuer");
    assert!(party.logged_out(&Signer::p256("k").sign(&claims(json!({}))), &replays, now(), Patience::Stream).is_err());
    // None of those that were refused has used up its `jti`.
    assert_eq!(found(&token(json!({}))), "s-1 u-17");
}

#[test]
fn a_provider_is_taken_as_its_document_says() {
    let settings = settings("corporate", ISSUER);
    let read = |changes: Value| {
        let mut document = json!({
            "issuer": ISSUER, "authorization_endpoint": "https://op.example/auth", "token_endpoint": "https://t.example/token",
            "jwks_uri": "https://op.example/keys", "end_session_endpoint": "https://op.example/end",
            "authorization_response_iss_parameter_supported": true, "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
        });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        Metadata::read(document.to_string().as_bytes(), &settings).map_err(|problem| problem.to_string())
    };
    let metadata = read(json!({})).unwrap();
    assert_eq!(metadata.token_endpoint.shown(), "https://t.example/token");
    assert!(metadata.names_itself);
    assert_eq!(metadata.end_session_endpoint.as_deref(), Some("https://op.example/end"));
    assert!(!read(json!({"authorization_response_iss_parameter_supported": "true"})).unwrap().names_itself);
    let check = |changes: Value, expected: &str| {
        let problem = read(changes).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    };
    check(json!({"issuer": "https://op.example/"}), "of the issuer");
    check(json!({"authorization_endpoint": null}), "no `authorization_endpoint`");
    check(json!({"token_endpoint": 7}), "no `token_endpoint`");
    check(json!({"token_endpoint": "http://op.example/token"}), "not over TLS");
    check(json!({"authorization_endpoint": "javascript:alert(1)"}), "`authorization_endpoint`");
    check(json!({"end_session_endpoint": "ftp://x"}), "`end_session_endpoint`");
    check(json!({"code_challenge_methods_supported": ["plain"]}), "PKCE");
    check(json!({"response_types_supported": ["id_token"]}), "code flow");
    assert!(Metadata::read(b"{", &settings).is_err());
}

#[test]
fn sessions_end_where_what_says_whom_they_are_of_changes() {
    let one = settings("corporate", ISSUER);
    let same = OidcProvider { scopes: vec!["email".into()], refresh: Some(Duration::from_secs(60)), ..one.clone() };
    assert_eq!(one.fingerprint(), same.fingerprint());
    for other in [
        OidcProvider { issuer: "https://other".into(), ..one.clone() },
        OidcProvider { client_id: "other".into(), ..one.clone() },
        OidcProvider { prefix: "corp2:".into(), ..one.clone() },
        OidcProvider { trust_groups: vec!["finance".into()], ..one.clone() },
        OidcProvider { claims: ClaimNames { id: "email".into(), ..ClaimNames::default() }, ..one.clone() },
    ] {
        assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
