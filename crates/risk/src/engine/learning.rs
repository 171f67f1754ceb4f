//! What is usual for a principal, and what was doubted about it.

use jiff::Timestamp;
use portcullis_policy::Principal;

use super::{RiskEngine, roles_of};
use crate::moment::Moment;
use crate::settings::RiskMode;
use crate::user_agent::Family;
use crate::{Caller, CallerKeys};

impl RiskEngine {
    /// Notes how many bytes a principal was sent. `roles` are asked for where an hour of its has ended.
    pub fn exported(&self, keys: &CallerKeys, principal: Option<&Principal>, bytes: u64, now: Timestamp) {
        if let Some(key) = keys.principal
            && self.plan.load().settings.risk_mode != RiskMode::Off
        {
            let roles = || principal.map(roles_of).unwrap_or_default();
            self.profiles.exported(key, bytes, roles, Moment::from(now).ticks);
        }
    }

    /// Notes a doubt about who comes as a principal: it is asked to step up, or (`asked` is false) let in in spite of it. `since` is now, or later where its
    /// credential says that it was got later: that credential can never [answer](Self::answered) it.
    pub fn doubt(&self, keys: &CallerKeys, asked: bool, since: Timestamp) {
        if let Some(key) = keys.principal
            && self.plan.load().settings.risk_mode != RiskMode::Off
        {
            self.profiles.doubt(key, &keys.traits, asked, Moment::from(since).ticks);
        }
    }

    /// Whether a principal that authenticated at this time answered a doubt: it did so after somebody first came from there, with that software or
    /// device. And whether it was asked to. A credential that was stolen before it was used from there never does.
    pub fn answered(&self, keys: &CallerKeys, authenticated: Timestamp) -> Option<bool> {
        self.profiles.answered(keys.principal?, &keys.traits, Moment::from(authenticated).ticks)
    }

    /// Remembers what is usual for a principal. Call it for a request that the policy let through below the step-up threshold, or
    /// after a doubt that was [answered](Self::answered), with a step-up if `stepped_up`; for no other, or an intruder teaches the engine to trust it. `keys` are
    /// those that [`Self::assess`] has seen.
    pub fn learn(&self, caller: &Caller<'_>, keys: &CallerKeys, stepped_up: bool, now: Timestamp) {
        self.learn_with(keys, || *caller, stepped_up, now);
    }

    /// [`learn`](Self::learn), for who has to look the caller up: that is asked for where something about it is new, which is seldom.
    pub fn learn_with<'a>(&self, keys: &CallerKeys, caller: impl Fn() -> Caller<'a>, stepped_up: bool, now: Timestamp) {
        let Some(key) = keys.principal else { return };
        if self.plan.load().settings.risk_mode == RiskMode::Off {
            return;
        }
        let family = || caller().user_agent.map(|agent| self.keys.family(Family::of(agent)));
        let roles = || caller().principal.map(roles_of).unwrap_or_default();
        self.profiles.learn(key, &keys.traits, family, roles, stepped_up, Moment::from(now).ticks);
    }
}
