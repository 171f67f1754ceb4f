//! One request: what is asked, what is done, what is answered, what is recorded.

mod more;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use portcullis_history::Filter;
use portcullis_insight::audit::Finding;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::Verb;
use crate::access::Access;
use crate::api::{
    Acceptance, AlertName, AlertTested, CalibrationId, ContainmentId, FeedName, MutedAlert, NewBan, NewBans, NewMute,
    PastLogins, PolicyText, Problem, SinkName, TAIL_SCHEMA, TailNote, WhereIs, WhichSessions, Whom,
};
use crate::api::{FactorCode, NewFactor, ReloadWanted};
use crate::api::{NewRevocation, RevokedName};
use crate::audit::AuditWanted;
use crate::body::Answer;
use crate::door::forged;
use crate::gateway::{Action, ActionKind, Gateway};
use crate::govern::Governed;
use crate::openapi;
use crate::peer::Peer;
use crate::places::{Place, Places};
use crate::reading::{Page, Question, part, part_of_numbered, question};
use crate::tail::Line;

/// The longest body of a request.
const MAX_BODY: usize = 64 << 10;
/// The same of a list of bans: 10,000 of them with long reasons.
const MAX_IMPORT: usize = 8 << 20;
/// The same of files that are proposed, in Base64.
const MAX_GOVERNED: usize = 48 << 20;
/// The same of a policy, whose text may be escaped.
const MAX_POLICY: usize = 64 << 20;
/// How long a request may take, its body and its answer included; following the events takes as long as somebody likes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines that wait for one who follows, besides the ring.
const LINES_AHEAD: usize = 16;
/// After how many seconds somebody asks again who was told that it is busy.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// What all requests of a connection share.
pub(crate) struct Desk<G> {
    pub(crate) gateway: Arc<G>,
    pub(crate) peer: Peer,
    pub(crate) permitted: bool,
    /// Those of the side that it came from.
    pub(crate) places: Places,
}

/// An answer that is not the one that was wished for.
struct Failure(StatusCode, Problem);

impl Failure {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self(status, Problem { error: error.into() })
    }

    /// Nothing was begun.
    fn busy(error: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// It panicked, which was reported where it happened.
    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "that failed: see the log")
    }
}

impl<G: Gateway> Desk<G> {
    /// Answers, whatever happens.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Answer> {
        if !self.permitted {
            let error = format!("{} may not use this channel", self.peer.shown());
            self.record(ActionKind::Refused, false, format!("{} {}", request.method(), request.uri().path()));
            return refuse(&Failure::new(StatusCode::FORBIDDEN, error));
        }
        if let Peer::Operator(_) = &self.peer
            && let Some(why) = forged(request.method(), request.headers())
        {
            let what = format!("{} {}: {why}", request.method(), request.uri().path());
            self.record(ActionKind::Refused, false, what);
            return refuse(&Failure::new(StatusCode::FORBIDDEN, why));
        }
        let handled = tokio::time::timeout(PATIENCE, self.handle(request)).await;
        match handled {
            Ok(Ok(response)) => response,
            Ok(Err(failure)) => refuse(&failure),
            Err(_) => refuse(&Failure::new(StatusCode::GATEWAY_TIMEOUT, "it takes too long; it may still be done")),
        }
    }

    async fn handle(self: &Arc<Self>, request: Request<Incoming>) -> Result<Response<Answer>, Failure> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        if method == Method::GET
            && let Some(question) = question(&path, request.uri().query())
        {
            return self.reading(question.map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error))?).await;
        }
        match (method, path.as_str()) {
            (Method::GET, "/v1/status") => self.blocking(|desk| Ok(json(&desk.gateway.status()))).await,
            (Method::GET, "/v1/health") => Ok(json(&self.gateway.health())),
            (Method::POST, "/v1/reload") => {
                let desk = Arc::clone(self);
                let wanted = read_if_any::<ReloadWanted>(request).await?;
                Self::to_its_end(async move {
                    let reloaded = desk.gateway.reload(&desk.peer, wanted).await;
                    desk.record(ActionKind::Reload, reloaded.reloaded, reloaded.message.clone());
                    Ok(json(&reloaded))
                })
                .await
            }
            (Method::POST, "/v1/drain") => {
                nothing(request).await?;
                // Before it is done: the process may be gone right after it.
                self.record(ActionKind::Drain, true, "drains and ends".to_owned());
                self.gateway.drain();
                Ok(json(&crate::api::Done { message: "the gateway drains and ends".to_owned() }))
            }
            (Method::POST, "/v1/bans/explain") => {
                let whom: Whom = read(request).await?;
                self.blocking(move |desk| found(desk.gateway.explain_ban(&whom.on))).await
            }
            (Method::POST, "/v1/bans/add") => {
                let ban: NewBan = read(request).await?;
                self.blocking(move |desk| desk.act(ActionKind::BanAdd, &ban.on, desk.gateway.add_ban(&ban))).await
            }
            (Method::POST, "/v1/bans/import") => {
                let bans: NewBans = read_up_to(request, MAX_IMPORT).await?;
                self.blocking(move |desk| desk.act(ActionKind::BanAdd, &bans.from, desk.gateway.import_bans(&bans)))
                    .await
            }
            (Method::POST, "/v1/bans/remove") => {
                let whom: Whom = read(request).await?;
                self.blocking(move |desk| desk.act(ActionKind::BanRemove, &whom.on, desk.gateway.remove_ban(&whom.on)))
                    .await
            }
            (Method::POST, "/v1/risk/show") => {
                let whom: Whom = read(request).await?;
                self.blocking(move |desk| match desk.gateway.profile(&whom.on) {
                    Ok(profile) => Ok(json(&profile)),
                    Err(problem) => Err(Failure(StatusCode::CONFLICT, problem)),
                })
                .await
            }
            (Method::POST, "/v1/risk/forget") => {
                let whom: Whom = read(request).await?;
                self.blocking(move |desk| {
                    desk.act(ActionKind::RiskForget, &whom.on, desk.gateway.forget_profile(&whom.on))
                })
                .await
            }
            (Method::POST, "/v1/risk/warm") => {
                let logins: PastLogins = read(request).await?;
                self.blocking(move |desk| desk.act(ActionKind::RiskWarm, "a history", desk.gateway.warm(&logins))).await
            }
            (Method::GET, "/v1/risk/calibrations") => {
                self.blocking(|desk| Ok(json(&desk.gateway.calibrations()))).await
            }
            (Method::POST, "/v1/risk/calibrations/propose") => {
                nothing(request).await?;
                self.blocking(|desk| {
                    desk.act(ActionKind::RiskCalibration, "propose", desk.gateway.propose_calibration())
                })
                .await
            }
            (Method::POST, "/v1/risk/calibrations/activate") => {
                let wanted: CalibrationId = read(request).await?;
                self.blocking(move |desk| {
                    desk.act(ActionKind::RiskCalibration, &wanted.id, desk.gateway.activate_calibration(&wanted.id))
                })
                .await
            }
            (Method::POST, "/v1/risk/calibrations/rollback") => {
                nothing(request).await?;
                self.blocking(|desk| {
                    desk.act(ActionKind::RiskCalibration, "rollback", desk.gateway.roll_calibration_back())
                })
                .await
            }
            (Method::POST, "/v1/sinks/test") => {
                let sink: SinkName = read(request).await?;
                self.slow(move |desk| match desk.gateway.test_sink(&desk.peer, &sink.name) {
                    Ok(tested) => Ok(json(&tested)),
                    Err(problem) => Err(Failure(StatusCode::CONFLICT, problem)),
                })
                .await
            }
            (Method::GET, "/v1/alerts") => self.blocking(|desk| Ok(json(&desk.gateway.alerts()))).await,
            (Method::POST, "/v1/alerts/test") => {
                let alert: AlertName = read(request).await?;
                self.slow(move |desk| desk.test_alert(&alert.name)).await
            }
            (Method::POST, "/v1/alerts/lift") => {
                let wanted: ContainmentId = read(request).await?;
                self.blocking(move |desk| {
                    desk.act(ActionKind::AlertLift, &wanted.id, desk.gateway.lift_containment(&wanted.id))
                })
                .await
            }
            (Method::POST, "/v1/alerts/mute") => {
                let mute: NewMute = read(request).await?;
                let whose = mute.alert.clone().unwrap_or_else(|| "all alerts".to_owned());
                self.blocking(move |desk| desk.act(ActionKind::AlertMute, &whose, desk.gateway.mute_alerts(&mute)))
                    .await
            }
            (Method::POST, "/v1/alerts/unmute") => {
                let muted: MutedAlert = read(request).await?;
                let whose = muted.alert.clone().unwrap_or_else(|| "all alerts".to_owned());
                self.blocking(move |desk| desk.act(ActionKind::AlertMute, &whose, desk.gateway.unmute_alerts(&muted)))
                    .await
            }
            (Method::GET, "/v1/feeds") => self.blocking(|desk| Ok(json(&desk.gateway.feeds()))).await,
            (Method::POST, "/v1/feeds/refresh") => {
                let feed: FeedName = read(request).await?;
                let (place, desk) = (self.places.slow().map_err(Failure::busy)?, Arc::clone(self));
                Self::to_its_end(async move {
                    let _place = place;
                    let refreshed = desk.gateway.refresh_feed(&feed.name).await;
                    desk.act(ActionKind::FeedRefresh, &feed.name, refreshed)
                })
                .await
            }
            (Method::POST, "/v1/feeds/test") => {
                let address: WhereIs = read(request).await?;
                self.blocking(move |desk| Ok(json(&desk.gateway.locate(&address)))).await
            }
            (Method::POST, "/v1/feeds/accept") => {
                let acceptance: Acceptance = read(request).await?;
                self.blocking(move |desk| {
                    desk.act(ActionKind::FeedAccept, &acceptance.name, desk.gateway.accept_feed(&acceptance))
                })
                .await
            }
            (Method::POST, "/v1/feeds/rollback") => {
                let feed: FeedName = read(request).await?;
                self.blocking(move |desk| {
                    desk.act(ActionKind::FeedRollback, &feed.name, desk.gateway.roll_feed_back(&feed.name))
                })
                .await
            }
            (Method::POST, "/v1/revocations/add") => {
                let new: NewRevocation = read(request).await?;
                let what = format!("{} {}", new.what, new.name);
                self.blocking(move |desk| desk.act(ActionKind::Revoke, &what, desk.gateway.revoke(&new))).await
            }
            (Method::POST, "/v1/revocations/remove") => {
                let revoked: RevokedName = read(request).await?;
                let what = format!("{} {}", revoked.what, revoked.name);
                self.blocking(move |desk| {
                    desk.act(ActionKind::RevokeLift, &what, desk.gateway.lift_revocation(&revoked))
                })
                .await
            }
            (Method::POST, path) if path.starts_with(Access::FOLDER) => {
                let wanted: Access = read_verb(request, MAX_BODY).await?;
                self.blocking(move |desk| desk.access(&wanted)).await
            }
            (Method::GET, "/v1/openapi.json") => Ok(json(&openapi::document())),
            (Method::POST, path) if path.starts_with(Governed::FOLDER) => {
                let wanted = read_verb(request, MAX_GOVERNED).await?;
                Self::to_its_end(Arc::clone(self).govern(wanted)).await
            }
            (Method::POST, "/v1/factors") => {
                let whom: Whom = read(request).await?;
                self.blocking(move |desk| found(desk.gateway.factors(&whom.on))).await
            }
            (Method::POST, "/v1/factors/enroll") => {
                let new: NewFactor = read(request).await?;
                self.blocking(move |desk| found(desk.gateway.enroll_factor(&new))).await
            }
            (Method::POST, "/v1/factors/confirm") => {
                let code: FactorCode = read(request).await?;
                self.blocking(move |desk| desk.confirm_factor(&code)).await
            }
            (Method::POST, "/v1/factors/reset") => {
                let whom: Whom = read(request).await?;
                self.blocking(move |desk| {
                    desk.act(ActionKind::FactorReset, &whom.on, desk.gateway.reset_factors(&whom.on))
                })
                .await
            }
            (Method::POST, "/v1/sessions/revoke") => {
                let which: WhichSessions = read(request).await?;
                self.blocking(move |desk| {
                    let on = which.id.as_deref().or(which.principal.as_deref()).unwrap_or("nothing").to_owned();
                    desk.act(ActionKind::SessionRevoke, &on, desk.gateway.revoke_sessions(&which))
                })
                .await
            }

            (Method::POST, "/v1/policy/preview") => {
                let candidate: PolicyText = read_up_to(request, MAX_POLICY).await?;
                self.slow(move |desk| match desk.gateway.preview_policy(&candidate) {
                    Ok(previewed) => Ok(json(&previewed)),
                    Err(problem) => Err(Failure(StatusCode::CONFLICT, problem)),
                })
                .await
            }
            (Method::GET, "/v1/spikes") => {
                self.blocking(move |desk| match desk.gateway.spikes() {
                    Ok(spikes) => Ok(json(&spikes)),
                    Err(problem) => Err(Failure(StatusCode::CONFLICT, problem)),
                })
                .await
            }
            (Method::POST, path) if path.starts_with(AuditWanted::FOLDER) => {
                let wanted: AuditWanted = read_verb(request, MAX_BODY).await?;
                match wanted {
                    AuditWanted::Run => self.slow(move |desk| desk.audit(&wanted)).await,
                    AuditWanted::Runs
                    | AuditWanted::Show { .. }
                    | AuditWanted::Diff { .. }
                    | AuditWanted::Suppressions
                    | AuditWanted::Suppress { .. }
                    | AuditWanted::Unsuppress { .. } => self.blocking(move |desk| desk.audit(&wanted)).await,
                }
            }
            (Method::POST, "/v1/events/tail") => {
                let filter: Filter = read(request).await?;
                self.follow(filter)
            }
            (method, _) => self.more(&method, request).await,
        }
    }

    /// Answers a question. Nothing is changed, and nothing recorded.
    async fn reading(self: &Arc<Self>, question: Question) -> Result<Response<Answer>, Failure> {
        match question {
            Question::Bans(page) => {
                self.blocking(move |desk| {
                    let mut bans = desk.gateway.bans();
                    if page != Page::default() {
                        bans.bans.sort_by(|a, b| a.on.cmp(&b.on));
                    }
                    bans.more = part(&mut bans.bans, &page, |ban| &ban.on);
                    Ok(json(&bans))
                })
                .await
            }
            Question::Sessions(page) => {
                self.blocking(move |desk| {
                    let mut sessions = desk.gateway.sessions();
                    if page != Page::default() {
                        sessions.sessions.sort_by(|a, b| a.id.cmp(&b.id));
                    }
                    sessions.more = part(&mut sessions.sessions, &page, |session| &session.id);
                    Ok(json(&sessions))
                })
                .await
            }
            Question::Governed(wanted) => {
                let desk = Arc::clone(self);
                Self::to_its_end(async move {
                    let _place = desk.places.governed().await;
                    let mut answer = desk.gateway.govern(&desk.peer, wanted).await.map_err(conflict)?;
                    answer.leave_out();
                    Ok(json(&answer))
                })
                .await
            }
            Question::Access(wanted, page) => {
                self.blocking(move |desk| {
                    let mut answer = desk.gateway.access(&desk.peer, &wanted).map_err(conflict)?;
                    answer.more = part_of_numbered(&mut answer.access, &page, |power| power.id);
                    answer.access.iter_mut().for_each(|power| power.record.clear());
                    Ok(json(&answer))
                })
                .await
            }
            Question::Keys(_)
            | Question::Revocations(_)
            | Question::Backups(..)
            | Question::Can(_)
            | Question::Explain(_)
            | Question::WhoCan(_)
            | Question::Differ(_) => self.reading_more(question).await,
            Question::Audit(wanted, page) => {
                self.blocking(move |desk| {
                    let mut answer = desk.gateway.audit(&wanted, &desk.peer).map_err(conflict)?;
                    if let Some(report) = &mut answer.report {
                        answer.more = part_of_findings(&mut report.findings, &page)?;
                    }
                    Ok(json(&answer))
                })
                .await
            }
        }
    }

    /// Does what is quick on a thread that may block, in its turn. Its place is taken until it is done, whether or not anybody waits for that.
    async fn blocking(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<Response<Answer>, Failure> + Send + 'static,
    ) -> Result<Response<Answer>, Failure> {
        let place = self.places.quick().await;
        self.on_thread(place, work).await
    }

    /// Does what may take long on such a thread, or says at once that it is busy.
    async fn slow(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<Response<Answer>, Failure> + Send + 'static,
    ) -> Result<Response<Answer>, Failure> {
        let place = self.places.slow().map_err(Failure::busy)?;
        self.on_thread(Some(place), work).await
    }

    async fn on_thread(
        self: &Arc<Self>,
        place: Option<Place>,
        work: impl FnOnce(&Self) -> Result<Response<Answer>, Failure> + Send + 'static,
    ) -> Result<Response<Answer>, Failure> {
        let desk = Arc::clone(self);
        let work = move || {
            let _place = place;
            work(&desk)
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Failure::internal()))
    }

    /// Does what waits for others without a thread, and to its end: what is done is recorded also where whoever asked has gone.
    async fn to_its_end(
        work: impl Future<Output = Result<Response<Answer>, Failure>> + 'static,
    ) -> Result<Response<Answer>, Failure> {
        tokio::task::spawn_local(work).await.unwrap_or_else(|_| Err(Failure::internal()))
    }

    /// Versions, proposals and approvals. What changes something is recorded.
    async fn govern(self: Arc<Self>, wanted: Governed) -> Result<Response<Answer>, Failure> {
        let _place = self.places.governed().await;
        let action = wanted.action();
        let outcome = self.gateway.govern(&self.peer, wanted).await;
        if let Some(kind) = action {
            let message =
                outcome.as_ref().map_or_else(|problem| problem.error.clone(), |answer| answer.message.clone());
            self.record(kind, outcome.is_ok(), message);
        }
        outcome.map(|answer| json(&answer)).map_err(|problem| Failure(StatusCode::CONFLICT, problem))
    }

    /// Power for a time. What changes something is recorded.
    fn access(&self, wanted: &Access) -> Result<Response<Answer>, Failure> {
        let mut outcome = self.gateway.access(&self.peer, wanted);
        if let (Access::List { .. }, Ok(answer)) = (wanted, &mut outcome) {
            answer.more = part_of_numbered(&mut answer.access, &Page::default(), |power| power.id);
        }
        if let Some(kind) = wanted.action() {
            let message =
                outcome.as_ref().map_or_else(|problem| problem.error.clone(), |answer| answer.message.clone());
            self.record(kind, outcome.is_ok(), message);
        }
        outcome.map(|answer| json(&answer)).map_err(|problem| Failure(StatusCode::CONFLICT, problem))
    }

    /// Confirms a second factor, and records that. The recovery codes are in the answer alone.
    fn confirm_factor(&self, code: &FactorCode) -> Result<Response<Answer>, Failure> {
        match self.gateway.confirm_factor(code) {
            Ok(confirmed) => {
                self.record(ActionKind::FactorEnroll, true, confirmed.message.clone());
                Ok(json(&confirmed))
            }
            Err(problem) => {
                self.record(ActionKind::FactorEnroll, false, format!("{}: {}", code.on, problem.error));
                Err(Failure(StatusCode::CONFLICT, problem))
            }
        }
    }

    /// Tests the notifiers of an alert, and records that.
    fn test_alert(&self, name: &str) -> Result<Response<Answer>, Failure> {
        let tested: AlertTested = self.gateway.test_alert(name).map_err(|problem| {
            self.record(ActionKind::AlertTest, false, problem.error.clone());
            Failure(StatusCode::CONFLICT, problem)
        })?;
        let of = |tried: &crate::api::Tried| {
            format!("{} {}", tried.notifier, if tried.delivered { "took it" } else { "did not take it" })
        };
        let outcome: Vec<String> = tested.tried.iter().map(of).collect();
        let delivered = tested.tried.iter().all(|tried| tried.delivered);
        let message = format!("a test of the alert {}: {}", tested.name, outcome.join(", "));
        self.record(ActionKind::AlertTest, delivered, message);
        Ok(json(&tested))
    }

    /// Audits. What changes what is kept is recorded.
    fn audit(&self, wanted: &AuditWanted) -> Result<Response<Answer>, Failure> {
        let outcome = self.gateway.audit(wanted, &self.peer);
        if wanted.changes() {
            let message =
                outcome.as_ref().map_or_else(|problem| problem.error.clone(), |answer| answer.message.clone());
            self.record(ActionKind::AuditSuppress, outcome.is_ok(), message);
        }
        outcome.map(|answer| json(&answer)).map_err(|problem| Failure(StatusCode::CONFLICT, problem))
    }

    /// Records what came of an action, and answers with it.
    fn act(
        &self,
        kind: ActionKind,
        on: &str,
        outcome: Result<crate::api::Done, Problem>,
    ) -> Result<Response<Answer>, Failure> {
        match outcome {
            Ok(done) => {
                self.record(kind, true, done.message.clone());
                Ok(json(&done))
            }
            Err(problem) => {
                self.record(kind, false, format!("{on}: {}", problem.error));
                Err(Failure(StatusCode::CONFLICT, problem))
            }
        }
    }

    fn follow(&self, filter: Filter) -> Result<Response<Answer>, Failure> {
        let place = self.places.follower().map_err(Failure::busy)?;
        // From here on nothing is missed, the event about this included.
        let events = self.gateway.tail().follow();
        self.record(ActionKind::EventsTail, true, "follows the events".to_owned());
        let (sender, receiver) = mpsc::channel(LINES_AHEAD);
        tokio::task::spawn_local(async move {
            pass_on(events, &filter, &sender).await;
            drop(place);
        });
        Ok(respond(StatusCode::OK, "application/x-ndjson", Answer::Lines(receiver)))
    }

    fn record(&self, kind: ActionKind, succeeded: bool, message: String) {
        self.gateway.record(&Action { kind, peer: &self.peer, succeeded, message });
    }
}

/// Passes on what the filter wants, until whoever follows goes away or nothing more will come.
async fn pass_on(mut events: broadcast::Receiver<Line>, filter: &Filter, sender: &mpsc::Sender<Bytes>) {
    if sender.send(note(0)).await.is_err() {
        return;
    }
    loop {
        let line = tokio::select! {
            line = events.recv() => line,
            () = sender.closed() => return,
        };
        let line = match line {
            Ok(Some(line)) if filter.wants_line(&line) => [&line[..], b"\n"].concat().into(),
            Ok(Some(_)) => continue,
            Ok(None) => note(1),
            Err(RecvError::Lagged(missed)) => note(missed),
            Err(RecvError::Closed) => return,
        };
        if sender.send(line).await.is_err() {
            return;
        }
    }
}

fn note(dropped: u64) -> Bytes {
    let note = TailNote { schema: TAIL_SCHEMA.to_owned(), dropped };
    let mut line = serde_json::to_vec(&note).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// Cuts a part out of the findings of a run, which keep their order: the worst first. Without a limit all are told, as ever.
fn part_of_findings(findings: &mut Vec<Finding>, page: &Page) -> Result<bool, Failure> {
    if let Some(after) = &page.after {
        let is_it = |finding: &Finding| finding.fingerprint == *after;
        let Some(place) = findings.iter().position(is_it) else {
            return Err(Failure::new(StatusCode::BAD_REQUEST, "`after` is no fingerprint of this run"));
        };
        findings.drain(..=place);
    }
    let limit = page.limit.unwrap_or(usize::MAX);
    let more = findings.len() > limit;
    findings.truncate(limit);
    Ok(more)
}

/// It cannot be done.
fn conflict(problem: Problem) -> Failure {
    Failure(StatusCode::CONFLICT, problem)
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Failure> {
    read_up_to(request, MAX_BODY).await
}

/// The same where nothing may be said at all.
async fn read_if_any<T: DeserializeOwned + Default>(request: Request<Incoming>) -> Result<T, Failure> {
    if request.body().is_end_stream() { Ok(T::default()) } else { read(request).await }
}

/// What is asked for under its own path: what the policy was asked about is what is done.
async fn read_verb<T: DeserializeOwned + Serialize + Verb>(
    request: Request<Incoming>,
    most: usize,
) -> Result<T, Failure> {
    let path = request.uri().path().to_owned();
    let body = body_up_to(request, most).await?;
    let wanted: T = parse(&body)?;
    // A verb that has no fields takes any (serde's `deny_unknown_fields` says nothing of those).
    let given: BTreeMap<String, IgnoredAny> = parse(&body)?;
    let known = serde_json::to_value(&wanted).unwrap_or_default();
    if let Some(unknown) = given.keys().find(|key| known.get(key.as_str()).is_none()) {
        let error = format!("the body: unknown field `{}`", unknown.escape_debug());
        return Err(Failure::new(StatusCode::BAD_REQUEST, error));
    }
    if path.strip_prefix(T::FOLDER) == Some(wanted.verb()) {
        return Ok(wanted);
    }
    let error = format!("the verb `{}` has the path {}{0}", wanted.verb(), T::FOLDER);
    Err(Failure::new(StatusCode::BAD_REQUEST, error))
}

async fn read_up_to<T: DeserializeOwned>(request: Request<Incoming>, most: usize) -> Result<T, Failure> {
    parse(&body_up_to(request, most).await?)
}

/// Where there is nothing to say: an empty body, `{}` or `null`.
async fn nothing(request: Request<Incoming>) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    match body_up_to(request, MAX_BODY).await? {
        body if body.trim_ascii().is_empty() => Ok(()),
        body => parse::<Option<Nothing>>(&body).map(drop),
    }
}

async fn body_up_to(request: Request<Incoming>, most: usize) -> Result<Bytes, Failure> {
    let too_large = || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body: more than {most} bytes"));
    // What announces too much is not waited for.
    if request.body().size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), most).collect().await;
    let body = body.map_err(|error| {
        let is_too_large = error.is::<LengthLimitError>();
        if is_too_large { too_large() } else { Failure::new(StatusCode::BAD_REQUEST, format!("the body: {error}")) }
    })?;
    Ok(body.to_bytes())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::new(StatusCode::BAD_REQUEST, format!("the body: {error}")))
}

fn found<T: Serialize>(outcome: Result<T, Problem>) -> Result<Response<Answer>, Failure> {
    outcome.map(|value| json(&value)).map_err(|problem| Failure(StatusCode::BAD_REQUEST, problem))
}

fn json(value: &impl Serialize) -> Response<Answer> {
    whole(StatusCode::OK, value)
}

fn refuse(Failure(status, problem): &Failure) -> Response<Answer> {
    let mut refusal = whole(*status, problem);
    if *status == StatusCode::SERVICE_UNAVAILABLE {
        refusal.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    refusal
}

fn whole(status: StatusCode, value: &impl Serialize) -> Response<Answer> {
    // The types of `api` have string keys and no maps: they can always be written.
    let body = serde_json::to_vec(value).unwrap_or_default();
    respond(status, "application/json", Answer::Whole(Some(body.into())))
}

fn respond(status: StatusCode, kind: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
