//! One request: what is asked, what is done, what is answered, what is recorded.

mod answers;
mod body;
mod following;
mod looking;
mod more;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use portcullis_history::Filter;

use self::answers::{Failure, conflict, found, json, refuse, respond, untried};
use self::body::{MAX_BODY, MAX_GOVERNED, MAX_IMPORT, MAX_POLICY, nothing, read, read_if_any, read_up_to, read_verb};
use crate::Verb;
use crate::access::Access;
use crate::api::{
    Acceptance, AlertName, AlertTested, CalibrationId, ContainmentId, FeedName, MutedAlert, NewBan, NewBans, NewMute,
    PastLogins, PolicyText, Problem, SinkName, WhereIs, WhichSessions, Whom,
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
use crate::reading::{Page, part_of_numbered, question};

/// How long a request may take, its body and its answer included; following the events takes as long as somebody likes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all requests of a connection share.
pub(crate) struct Desk<G> {
    pub(crate) gateway: Arc<G>,
    pub(crate) peer: Peer,
    pub(crate) permitted: bool,
    /// Those of the side that it came from.
    pub(crate) places: Places,
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
            (Method::POST, "/v1/feeds/rollback/preview") => {
                let feed: FeedName = read(request).await?;
                self.slow(move |desk| match desk.gateway.try_feed_rollback(&feed.name) {
                    Ok(tried) => Ok(json(&tried)),
                    Err(problem) => Err(Failure(StatusCode::CONFLICT, problem)),
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
                self.slow(move |desk| {
                    desk.gateway.preview_policy(&candidate).map(|found| json(&found)).map_err(untried)
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
                    AuditWanted::Run { .. } => self.slow(move |desk| desk.audit(&wanted)).await,
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

    fn record(&self, kind: ActionKind, succeeded: bool, message: String) {
        self.gateway.record(&Action { kind, peer: &self.peer, succeeded, message });
    }
}
