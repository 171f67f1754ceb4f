//! Requests for access: somebody was refused and asks; another person sees what was refused and what would permit it, and lends the least that does.

use jiff::{SignedDuration, Timestamp};
use portcullis_admin::access::{Answer, Granting, Requesting};
use portcullis_events::EventKind;
use portcullis_governance::power::{Asked, Power, PowerKind};
use portcullis_policy::{AccessRequest, Activation, CanonicalPath, Lent, Outcome, Policy};
use portcullis_proxy::requestable::Refused;
use uuid::Uuid;

use super::{Kept, Lender, said, shown};
use crate::governing::Who;

/// The longest loan, in seconds.
const LONGEST_S: u64 = 7 * 86_400;

/// What a request is about, as its entry says it: `METHOD ROUTE PATH`. Neither a method nor a route has a space at its ends, and a path begins with a slash.
struct About<'t> {
    method: &'t str,
    route: &'t str,
    path: &'t str,
}

impl<'t> About<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let (method, rest) = text.split_once(' ')?;
        let at = rest.find(" /")?;
        Some(Self { method, route: rest.get(..at)?, path: rest.get(at + 1..)? })
    }
}

/// The longest path that a request can be about, in bytes: it is in the log.
const MAX_PATH: usize = 1_024;

impl Lender {
    /// Somebody asks for what was refused.
    pub(super) fn request(
        &self,
        kept: &mut Kept,
        wanted: &Requesting,
        who: &Who,
        now: Timestamp,
    ) -> Result<Answer, String> {
        let id = wanted.event.strip_prefix("urn:uuid:").unwrap_or(&wanted.event);
        let id: Uuid =
            id.parse().map_err(|_| "an event's id is a UUID, as `instance` of the refusal has it".to_owned())?;
        // Whose it is, is not for others to learn.
        let of_it =
            |refused: &Refused| wanted.principal.as_deref().is_none_or(|principal| principal == &*refused.principal);
        let refused = self
            .shared
            .requestable
            .find(id, self.shared.clock.now())
            .filter(of_it)
            .ok_or_else(|| format!("nothing that may be asked for was refused as {id} within the last hour"))?;
        let reason = wanted.reason.trim();
        if reason.is_empty() {
            return Err("say why access is needed".to_owned());
        }
        let asked = asked_about(&refused, reason.to_owned(), kept.book.limits().waits_s)?;
        let power = kept.book.ask(asked, &who.names, now).map_err(said)?;
        self.tell(EventKind::GrantRequested, &power);
        let message = format!("request {} of {}: {}", power.n, power.asked.principal, power.asked.gives);
        Ok(Answer { suggested: self.suggested(&power), ..shown::answer(message, [&power]) })
    }

    /// The roles that would permit what a request is about, the narrowest first.
    pub(super) fn suggested(&self, power: &Power) -> Vec<String> {
        if power.asked.kind != PowerKind::Request {
            return Vec::new();
        }
        let policy = &self.shared.snapshot().load().policy;
        let about = About::parse(&power.asked.gives);
        let path = about.as_ref().and_then(|about| CanonicalPath::parse(about.path).ok());
        let Some((about, path)) = about.zip(path) else { return Vec::new() };
        policy.roles_for(about.method, &path).iter().map(|role| role.to_string()).collect()
    }

    /// Lends what permits it, and no more than somebody wants.
    pub(super) fn grant(
        &self,
        kept: &mut Kept,
        wanted: &Granting,
        who: &Who,
        now: Timestamp,
    ) -> Result<Answer, String> {
        let request = kept.book.power(wanted.id).map_err(said)?.clone();
        let about = About::parse(&request.asked.gives).filter(|_| request.asked.kind == PowerKind::Request);
        let about = about.ok_or_else(|| format!("{} is no request", wanted.id))?;
        let policy = self.shared.snapshot().load().policy.clone();
        let fitting = self.suggested(&request);
        let role = match &wanted.role {
            Some(role) if !policy.has_role(role) => return Err(format!("there is no role `{}`", role.escape_debug())),
            Some(role) => role.clone(),
            None => fitting.first().cloned().ok_or("no role of the policy permits that")?,
        };
        if wanted.for_s == 0 || wanted.for_s > LONGEST_S {
            return Err("access is lent for a second to a week".to_owned());
        }
        let routes = if wanted.routes.is_empty() { vec![about.route.to_owned()] } else { wanted.routes.clone() };
        if let Some(route) = routes.iter().find(|route| policy.route_named(route).is_none()) {
            return Err(format!("there is no route `{}`", route.escape_debug()));
        }
        if let Some(route) = routes.iter().find(|route| policy.is_reserved(route) && **route != *about.route) {
            return Err(format!("the request was about {}: it lends nothing on `{route}`", about.route));
        }
        let gives =
            Lent::Role { role: role.as_str().into(), routes: routes.iter().map(|each| each.as_str().into()).collect() };
        self.would_permit(&policy, &request, &about, &gives, now)?;
        let loan = Asked {
            kind: PowerKind::Loan,
            principal: request.asked.principal.clone(),
            gives: gives.to_string(),
            lasts_s: wanted.for_s,
            reason: request.asked.reason.clone(),
            ticket: request.asked.ticket.clone(),
            approvals: self.loosen(),
            waits_s: kept.book.limits().waits_s,
        };
        let (approvers, _) = self.approvers();
        let power = kept.book.grant(request.n, loan, &who.names, &approvers, now).map_err(said)?;
        let mut message = self.began_or_waits(kept, &power, now);
        if let Some(narrower) = fitting.first().filter(|first| **first != role) {
            message.push_str(&format!("; the role {narrower} would permit it, too, and less beside"));
        }
        Ok(shown::answer(message, [&power]))
    }

    /// Whether the refused request would pass with it: as it was, where it is still known, else as far as the log says.
    fn would_permit(
        &self,
        policy: &Policy,
        request: &Power,
        about: &About<'_>,
        gives: &Lent,
        now: Timestamp,
    ) -> Result<(), String> {
        let until = now.checked_add(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MAX);
        let lent = [Activation { gives: gives.clone(), ..Activation::of("", until) }];
        let with = |asked: &AccessRequest<'_>| {
            let all: Vec<Activation> = asked.activations.iter().chain(&lent).cloned().collect();
            policy.verdict(&AccessRequest { activations: &all, now, ..*asked })
        };
        // Whatever else has changed meanwhile: nobody is lent what would not have permitted that.
        let path = CanonicalPath::parse(about.path).map_err(|_| "the path is none".to_owned())?;
        let permits = match gives {
            Lent::Role { role, routes } => {
                routes.iter().any(|route| **route == *about.route)
                    && policy.roles_for(about.method, &path).iter().any(|each| **each == **role)
            }
            Lent::Assignment(_) => false,
        };
        if !permits {
            return Err(format!("{gives} does not permit {}", request.asked.gives));
        }
        let id = request.asked.ticket.parse().ok();
        let refused = id.and_then(|id| self.shared.requestable.find(id, self.shared.clock.now()));
        let decided = refused.and_then(|refused| refused.request.under(policy, with));
        match decided {
            // With a stronger authentication it passes: that is not for a grant to give.
            Some((Outcome::Permit | Outcome::StepUp, _)) => Ok(()),
            Some((_, reason)) => {
                let why = reason.map(|reason| format!(" ({})", reason.code())).unwrap_or_default();
                Err(format!("with {gives} it would still be refused{why}"))
            }
            None => Ok(()),
        }
    }
}

/// The request for access that a refusal leads to.
pub(super) fn asked_about(refused: &Refused, reason: String, waits_s: u64) -> Result<Asked, String> {
    if refused.request.path().len() > MAX_PATH {
        return Err(format!("the path is longer than {MAX_PATH} bytes"));
    }
    Ok(Asked {
        kind: PowerKind::Request,
        principal: refused.principal.to_string(),
        gives: format!("{} {} {}", refused.request.method(), refused.route, refused.request.path()),
        // It gives nothing; this is how long it may be asked about.
        lasts_s: waits_s,
        reason,
        ticket: refused.id.to_string(),
        approvals: 0,
        waits_s,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_is_about_is_read_as_it_is_written() {
        let about = About::parse("GET the billing route /api/a b/ c").unwrap();
        assert_eq!((about.method, about.route, about.path), ("GET", "the billing route", "/api/a b/ c"));
        assert!(About::parse("GET app").is_none() && About::parse("").is_none());
    }
}
