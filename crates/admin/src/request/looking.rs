//! Questions: nothing is changed by them.

use std::sync::Arc;

use http::{Response, StatusCode};
use portcullis_insight::audit::Finding;

use super::{Desk, Failure, conflict, json};
use crate::body::Answer;
use crate::gateway::Gateway;
use crate::reading::{Page, Question, part, part_of_numbered};

impl<G: Gateway> Desk<G> {
    /// Answers a question. Nothing is changed, and nothing recorded.
    pub(super) async fn reading(self: &Arc<Self>, question: Question) -> Result<Response<Answer>, Failure> {
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
            | Question::List(_)
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
