//! Backups, recorded events, and questions to policies: what takes long has the places for that, so that it never stands in the way of a ban.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json as object;

use super::{Desk, Failure, MAX_BODY, MAX_POLICY, conflict, json, read, read_up_to, read_verb, untried};
use crate::Verb as _;
use crate::api::{
    DiffWanted, EventId, EventsWanted, ListQuestion, PolicyQuestion, Problem, ReplayWanted, ShownRevocation,
};
use crate::backup::BackupWanted;
use crate::body::Answer;
use crate::gateway::{ActionKind, Gateway, Untried};
use crate::reading::{Page, Question, part};

/// Two policies.
const MAX_POLICIES: usize = 2 * MAX_POLICY;

impl<G: Gateway> Desk<G> {
    /// Answers what is asked for by none of the other paths.
    pub(super) async fn more(
        self: &Arc<Self>,
        method: &Method,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Failure> {
        let path = request.uri().path().to_owned();
        match (method.clone(), path.as_str()) {
            (Method::POST, path) if path.starts_with(BackupWanted::FOLDER) => {
                let wanted: BackupWanted = read_verb(request, MAX_BODY).await?;
                self.backups(wanted, Page::default()).await
            }
            (Method::POST, "/v1/events/search") => {
                self.look(request, |gateway, wanted: &EventsWanted| gateway.search_events(wanted)).await
            }
            (Method::POST, "/v1/events/stats") => {
                self.look(request, |gateway, wanted: &EventsWanted| gateway.count_events(wanted)).await
            }
            (Method::POST, "/v1/events/explain") => {
                self.look(request, |gateway, id: &EventId| gateway.explain_event(id)).await
            }
            (Method::POST, "/v1/policy/can") => {
                let question: PolicyQuestion = read(request).await?;
                self.ask(move |gateway| gateway.can(&question)).await
            }
            (Method::POST, "/v1/policy/explain") => {
                let question: PolicyQuestion = read(request).await?;
                self.ask_much(move |gateway| gateway.explain(&question)).await
            }
            (Method::POST, "/v1/policy/who_can") => {
                let question: PolicyQuestion = read(request).await?;
                self.ask_much(move |gateway| gateway.who_can(&question)).await
            }
            (Method::POST, "/v1/policy/list") => {
                let question: ListQuestion = read(request).await?;
                self.ask_much(move |gateway| gateway.list(&question)).await
            }
            (Method::POST, "/v1/policy/replay") => {
                let wanted: ReplayWanted = read_up_to(request, MAX_POLICY).await?;
                self.slow(move |desk| {
                    let outcome = desk.gateway.replay(&wanted);
                    let when = object!({ "since": wanted.since, "until": wanted.until, "limit": wanted.limit });
                    let name: String = wanted.policy.name.chars().take(MAX_NAME).collect();
                    let looked = format!("replayed the events under another policy, {name}: {}", said(&when));
                    desk.note_look(&looked, outcome.as_ref().err().map(Untried::problem));
                    outcome.map(|done| json(&done)).map_err(untried)
                })
                .await
            }
            (Method::POST, "/v1/policy/diff") => {
                let wanted: DiffWanted = read_up_to(request, MAX_POLICIES).await?;
                self.compare(wanted).await
            }
            (method, path) => Err(Failure::new(StatusCode::NOT_FOUND, format!("there is no {method} {path}"))),
        }
    }

    /// Answers a question of these. Nothing is changed, and nothing recorded.
    pub(super) async fn reading_more(self: &Arc<Self>, question: Question) -> Result<Response<Answer>, Failure> {
        match question {
            Question::Keys(page) => {
                self.blocking(move |desk| {
                    let mut uses = desk.gateway.key_uses();
                    uses.more = part(&mut uses.keys, &page, |key| &key.id);
                    Ok(json(&uses))
                })
                .await
            }
            Question::Revocations(page) => {
                self.blocking(move |desk| {
                    let mut revoked = desk.gateway.revocations();
                    revoked.more = part_of_revocations(&mut revoked.revocations, &page);
                    Ok(json(&revoked))
                })
                .await
            }
            Question::Backups(wanted, page) => self.backups(wanted, page).await,
            Question::Can(question) => self.ask(move |gateway| gateway.can(&question)).await,
            Question::Explain(question) => self.ask_much(move |gateway| gateway.explain(&question)).await,
            Question::WhoCan(question) => self.ask_much(move |gateway| gateway.who_can(&question)).await,
            Question::List(question) => self.ask_much(move |gateway| gateway.list(&question)).await,
            Question::Differ(wanted) => self.compare(*wanted).await,
            Question::Bans(_)
            | Question::Sessions(_)
            | Question::Governed(_)
            | Question::Access(..)
            | Question::Audit(..) => Err(Failure::new(StatusCode::NOT_FOUND, "there is no such question")),
        }
    }

    /// To list them is quick; the rest reads and writes all of the store.
    async fn backups(self: &Arc<Self>, wanted: BackupWanted, page: Page) -> Result<Response<Answer>, Failure> {
        if wanted == BackupWanted::List {
            let listed = move |desk: &Self| {
                let mut answer = desk.gateway.backups(&desk.peer, &BackupWanted::List).map_err(conflict)?;
                answer.more = part(&mut answer.backups, &page, |backup| &backup.name);
                Ok(json(&answer))
            };
            return self.blocking(listed).await;
        }
        self.slow(move |desk| {
            let outcome = desk.gateway.backups(&desk.peer, &wanted);
            if let Some(kind) = wanted.action() {
                let message =
                    outcome.as_ref().map_or_else(|problem| problem.error.clone(), |answer| answer.message.clone());
                desk.record(kind, outcome.is_ok(), message);
            }
            outcome.map(|answer| json(&answer)).map_err(conflict)
        })
        .await
    }

    /// Looks into what was recorded. It names people, as whoever follows the events sees them, and so it is recorded like that.
    async fn look<W: DeserializeOwned + Serialize + Send + 'static, A: Serialize>(
        self: &Arc<Self>,
        request: Request<Incoming>,
        look: impl FnOnce(&G, &W) -> Result<A, Problem> + Send + 'static,
    ) -> Result<Response<Answer>, Failure> {
        let wanted: W = read(request).await?;
        self.slow(move |desk| {
            let outcome = look(&desk.gateway, &wanted);
            desk.note_look(&format!("looked into the events: {}", said(&wanted)), outcome.as_ref().err());
            outcome.map(|answer| json(&answer)).map_err(conflict)
        })
        .await
    }

    /// One event of a look into what was recorded, or of why there was none.
    fn note_look(&self, looked: &str, problem: Option<&Problem>) {
        let message = problem.map_or(looked, |problem| &problem.error);
        self.record(ActionKind::EventsSearch, problem.is_none(), message.to_owned());
    }

    async fn ask<A: Serialize>(
        self: &Arc<Self>,
        ask: impl FnOnce(&G) -> Result<A, Problem> + Send + 'static,
    ) -> Result<Response<Answer>, Failure> {
        self.blocking(move |desk| ask(&desk.gateway).map(|answer| json(&answer)).map_err(conflict)).await
    }

    /// The same where the answer looks at every grant that there is.
    async fn ask_much<A: Serialize>(
        self: &Arc<Self>,
        ask: impl FnOnce(&G) -> Result<A, Problem> + Send + 'static,
    ) -> Result<Response<Answer>, Failure> {
        self.slow(move |desk| ask(&desk.gateway).map(|answer| json(&answer)).map_err(conflict)).await
    }

    async fn compare(self: &Arc<Self>, wanted: DiffWanted) -> Result<Response<Answer>, Failure> {
        self.slow(move |desk| desk.gateway.compare_policies(&wanted).map(|found| json(&found)).map_err(untried)).await
    }
}

/// One is called `token:NAME`, `key:NAME` or `principal:NAME`, as several kinds may share a name.
fn part_of_revocations(all: &mut Vec<ShownRevocation>, page: &Page) -> bool {
    let mut named: Vec<(String, ShownRevocation)> =
        all.drain(..).map(|each| (format!("{}:{}", each.what, each.name), each)).collect();
    if *page != Page::default() {
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    let more = part(&mut named, page, |(name, _)| name);
    all.extend(named.into_iter().map(|(_, each)| each));
    more
}

/// The longest name of a policy that an event says.
const MAX_NAME: usize = 100;
/// The longest that an event says of what was looked for.
const SAID: usize = 500;

/// What was looked for: what was said of it.
fn said(wanted: &impl Serialize) -> String {
    let mut value = serde_json::to_value(wanted).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !(value.is_null() || *value == serde_json::Value::Bool(false)));
    }
    value.to_string().chars().take(SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_what_is_revoked_are_all_of_it_also_where_kinds_share_a_name() {
        let one = |what: &str, name: &str| ShownRevocation {
            what: what.to_owned(),
            name: name.to_owned(),
            before: None,
            made: String::new(),
            until: None,
            reason: String::new(),
            kept: true,
        };
        let all = [one("token", "a"), one("key", "b"), one("principal", "user:a"), one("key", "a"), one("token", "b")];
        let mut first = all.to_vec();
        assert!(!part_of_revocations(&mut first, &Page::default()));
        assert_eq!(first, all, "as ever: the last first");
        let (mut page, mut seen) = (Page { limit: Some(2), after: None }, Vec::new());
        for more in [true, true, false] {
            let mut list = all.to_vec();
            assert_eq!(part_of_revocations(&mut list, &page), more);
            page.after = list.last().map(|last| format!("{}:{}", last.what, last.name));
            seen.extend(list.into_iter().map(|each| format!("{}:{}", each.what, each.name)));
        }
        assert_eq!(seen, ["key:a", "key:b", "principal:user:a", "token:a", "token:b"]);
    }

    #[test]
    fn an_event_says_what_was_looked_for_and_no_more() {
        let wanted = EventsWanted { reason: Some("rbac.*".to_owned()), limit: Some(5), ..EventsWanted::default() };
        assert_eq!(said(&wanted), r#"{"reason":"rbac.*","limit":5}"#);
        let long = EventsWanted { principal: Some("x".repeat(10_000)), ..EventsWanted::default() };
        assert_eq!(said(&long).len(), SAID);
    }
}
