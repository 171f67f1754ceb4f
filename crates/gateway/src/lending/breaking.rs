//! Breaking glass: one person with a code that was sealed beforehand, or with an enrolled key that the policy names for it, gets a role of the policy's choice at once, for hours at most, with an alarm; and two
//! other persons look at what was done with it.

use aws_lc_rs::rand;
use data_encoding::BASE32_NOPAD;
use jiff::{SignedDuration, Timestamp};
use portcullis_admin::access::{Answer, BreakGlass as Wanted, Seal};
use portcullis_events::EventKind;
use portcullis_governance::Hash;
use portcullis_governance::power::{
    Asked, BreakGlassRules, KeyTerms, Power, PowerError, PowerKind, PowerState, REVIEWERS, Reviewer, Statement, Word,
};
use portcullis_policy::Lent;

use super::{Kept, Lender, principal, said, shown};
use crate::governing::Who;

/// How long a code lies sealed where nobody says, and at most.
const SEALED_S: u64 = 365 * 86_400;
/// How long a wrong code is of late.
const WHILE: SignedDuration = SignedDuration::from_mins(10);
/// Whose wrong codes are counted at once.
const MOST_WRONG: usize = 64;
/// Bytes of a code: nobody guesses 160 bits.
const CODE: usize = 20;

/// Wrong codes of late, by who sent them: for whoever watches, and for nothing else. Nobody guesses a code, so that none has to be kept out for the wrong
/// ones before it; and where it was, anybody who may try could keep everybody out.
#[derive(Debug, Default)]
pub(super) struct Wrong(Vec<(String, u32, Timestamp)>);

impl Wrong {
    /// Counts one more, and says how many that are.
    fn note(&mut self, who: &str, steady: Timestamp) -> u32 {
        self.0.retain(|(_, _, last)| steady.duration_since(*last) < WHILE);
        if let Some((_, count, last)) = self.0.iter_mut().find(|(name, ..)| name == who) {
            (*count, *last) = (count.saturating_add(1), steady);
            return *count;
        }
        if self.0.len() >= MOST_WRONG {
            self.0.remove(0);
        }
        self.0.push((who.to_owned(), 1, steady));
        1
    }
}

/// What is kept of a code. People write it in groups, and as they like.
fn hash_of(code: &str) -> Hash {
    let plain: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|each| each.to_ascii_uppercase()).collect();
    Hash::of(format!("portcullis-seal-v1 {plain}").as_bytes())
}

fn new_code() -> Result<String, String> {
    let mut bytes = [0; CODE];
    rand::fill(&mut bytes).map_err(|_| "no code can be made: the system gives no random bytes".to_owned())?;
    let text = BASE32_NOPAD.encode(&bytes);
    let groups: Vec<&str> = text.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    Ok(groups.join("-"))
}

impl Lender {
    /// Says of each sealed code what it opens by the policy of now: its hash tells nobody.
    pub(super) fn say_what_opens(&self, answer: &mut Answer) {
        let rules = self.break_glass.load();
        let opens = match rules.as_ref() {
            Some(rules) => {
                let role = |role: &String| Lent::Role {
                    role: role.as_str().into(),
                    routes: rules.routes.iter().map(|route| route.as_str().into()).collect(),
                };
                let roles: Vec<String> = rules.roles.iter().map(|each| role(each).to_string()).collect();
                let most = SignedDuration::from_secs(i64::try_from(rules.max_s).unwrap_or(i64::MAX));
                format!("{} for at most {most:#}", roles.join(" or "))
            }
            None => "nothing, since the policy has no `[break_glass]`".to_owned(),
        };
        for power in answer.access.iter_mut().filter(|power| power.kind == PowerKind::Seal.as_str()) {
            power.opens = Some(opens.clone());
        }
    }

    fn break_glass_rules(&self) -> Result<BreakGlassRules, String> {
        let rules = self.break_glass.load().as_ref().clone();
        rules.ok_or_else(|| "the policy has no `[break_glass]`, so that there is nothing to break".to_owned())
    }

    /// Makes a code, which is in the answer and nowhere else.
    pub(super) fn seal(&self, kept: &mut Kept, seal: &Seal, who: &Who, now: Timestamp) -> Result<Answer, String> {
        self.break_glass_rules()?;
        if principal(&seal.principal).is_none() {
            return Err(format!("`{}` is no principal: write `user:ID`", seal.principal.escape_debug()));
        }
        let lasts_s = seal.for_s.unwrap_or(SEALED_S);
        if lasts_s == 0 || lasts_s > SEALED_S {
            return Err("a code lies sealed for a second to a year".to_owned());
        }
        let code = new_code()?;
        let asked = Asked {
            kind: PowerKind::Seal,
            principal: seal.principal.clone(),
            gives: hash_of(&code).to_string(),
            lasts_s,
            reason: seal.reason.trim().to_owned(),
            ticket: String::new(),
            approvals: self.loosen(),
            waits_s: kept.book.limits().waits_s,
        };
        let (approvers, _) = self.approvers();
        let power = kept.book.seal(asked, &who.names, &approvers, now).map_err(said)?;
        let state = match power.state {
            PowerState::InForce { until, .. } => format!("it is good once, until {}", shown::time(until)),
            _ => format!("{} other persons have to approve {} before it is good", power.asked.approvals, power.n),
        };
        let message =
            format!("code {} for {}: {state}; keep it sealed, it is shown this once", power.n, seal.principal);
        Ok(Answer { code: Some(code), ..shown::answer(message, [&power]) })
    }

    /// Breaks a seal.
    pub(super) fn break_glass(
        &self,
        kept: &mut Kept,
        wanted: &Wanted,
        who: &Who,
        now: Timestamp,
    ) -> Result<Answer, String> {
        let rules = self.break_glass_rules()?;
        let reason = wanted.reason.trim();
        if reason.is_empty() {
            return Err("say why, with `--reason`".to_owned());
        }
        let routes = if wanted.routes.is_empty() { rules.routes.clone() } else { wanted.routes.clone() };
        let lasts_s = wanted.for_s.unwrap_or(rules.max_s);
        self.is_given(&rules, &wanted.role, &routes, lasts_s)?;
        let gives = Lent::Role {
            role: wanted.role.as_str().into(),
            routes: routes.iter().map(|route| route.as_str().into()).collect(),
        };
        let asked = Asked {
            kind: PowerKind::BreakGlass,
            principal: wanted.principal.clone(),
            gives: gives.to_string(),
            lasts_s,
            reason: reason.to_owned(),
            ticket: wanted.ticket.clone().unwrap_or_default(),
            approvals: 0,
            waits_s: kept.book.limits().waits_s,
        };
        let broken = kept.book.break_seal(hash_of(&wanted.code), asked, &who.names, now);
        let power = broken.map_err(|error| {
            // Whoever has a right one, and meets a full disk, has guessed nothing.
            if error != PowerError::WrongCode {
                return said(error);
            }
            match kept.wrong.note(who.first(), self.shared.clock.now()) {
                1 => said(error),
                count => format!("{error}; {count} codes of {} were wrong within {WHILE:#}", who.first()),
            }
        })?;
        Ok(self.broken(kept, &power, now))
    }

    /// Breaks glass by what a person has signed.
    pub(super) fn break_glass_signed(
        &self,
        kept: &mut Kept,
        statement: &str,
        who: &Who,
        now: Timestamp,
    ) -> Result<Answer, String> {
        let rules = self.break_glass_rules()?;
        let statement = Statement::from_armored(statement).map_err(|error| format!("the statement: {error}"))?;
        let Lent::Role { role, routes } = Lent::parse(&statement.breaking.gives) else {
            return Err("the statement is about no role: sign another one".to_owned());
        };
        let routes: Vec<String> = routes.iter().map(|route| route.to_string()).collect();
        if routes.is_empty() && !rules.routes.is_empty() {
            return Err(format!(
                "`[break_glass]` of the policy is for the routes {}: sign a statement that names them",
                rules.routes.join(", ")
            ));
        }
        self.is_given(&rules, &role, &routes, statement.breaking.lasts_s)?;
        let (approvers, instance) = self.approvers();
        let waits_s = kept.book.limits().waits_s;
        let terms = KeyTerms { instance, approvers: &approvers, signers: &rules.signers, waits_s };
        let power = kept.book.break_by_key(&statement, terms, &who.names, now).map_err(said)?;
        Ok(self.broken(kept, &power, now))
    }

    /// Whether the policy gives that at all, on these routes and for so long.
    fn is_given(&self, rules: &BreakGlassRules, role: &str, routes: &[String], lasts_s: u64) -> Result<(), String> {
        if !rules.roles.iter().any(|each| each == role) {
            return Err(format!(
                "`[break_glass]` of the policy gives {}, and not `{}`",
                rules.roles.join(", "),
                role.escape_debug()
            ));
        }
        if let Some(route) = routes.iter().find(|route| !rules.routes.is_empty() && !rules.routes.contains(route)) {
            return Err(format!("`[break_glass]` of the policy is not for the route `{}`", route.escape_debug()));
        }
        let policy = self.policy();
        if let Some(route) = routes.iter().find(|route| policy.route_named(route).is_none()) {
            return Err(format!("there is no route `{}`", route.escape_debug()));
        }
        let own = |route: &&String| policy.is_reserved(route) && !rules.routes.contains(route);
        if let Some(route) = routes.iter().find(own) {
            return Err(format!("the scope of `[break_glass]` does not name `{route}`, which no `*` covers"));
        }
        if lasts_s == 0 || lasts_s > rules.max_s {
            let most = SignedDuration::from_secs(i64::try_from(rules.max_s).unwrap_or(i64::MAX));
            return Err(format!("glass is broken for a second to {most:#}"));
        }
        Ok(())
    }

    /// Puts it in force, with the alarm.
    fn broken(&self, kept: &mut Kept, power: &Power, now: Timestamp) -> Answer {
        self.publish(kept, now);
        self.tell(EventKind::BreakGlassOpened, power);
        let until = match power.state {
            PowerState::InForce { until, .. } => shown::time(until),
            _ => String::new(),
        };
        let message = format!(
            "{} is in force until {until}; everybody who watches was told, and {REVIEWERS} other persons have to review it",
            shown::name(power)
        );
        shown::answer(message, [power])
    }

    /// Notes that a person has looked at what was done.
    pub(super) fn review(
        &self,
        kept: &mut Kept,
        (id, remark, approval): (u64, &str, Option<&str>),
        who: &Who,
        now: Timestamp,
    ) -> Result<Answer, String> {
        let (approvers, instance) = self.approvers();
        let reviewer = match approval {
            None => Reviewer::Account { names: &who.names, is_shared: who.is_shared },
            Some(text) => {
                let (of, word) = Word::from_armored(text).map_err(|error| format!("the review: {error}"))?;
                if of != id {
                    return Err(format!("the review is of {of}, and not of {id}"));
                }
                Reviewer::Signed { word, instance }
            }
        };
        let power = kept.book.review(id, remark.trim(), reviewer, &approvers, now).map_err(said)?;
        Ok(shown::answer(reviewed(&power), [&power]))
    }
}

fn reviewed(power: &Power) -> String {
    let by = power.reviewed.last().and_then(|(names, _)| names.first()).cloned().unwrap_or_default();
    let left = REVIEWERS.saturating_sub(power.reviewed.len());
    match left {
        0 => format!("{}: reviewed by {by}, and with that by enough", shown::name(power)),
        left => format!("{}: reviewed by {by}; {left} more has to", shown::name(power)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code = new_code().unwrap();
        assert_eq!(code.len(), 32 + 7);
        let spoken = code.to_lowercase().replace('-', " ");
        assert_eq!(hash_of(&code), hash_of(&spoken));
        assert_ne!(hash_of(&code), hash_of(&new_code().unwrap()));
    }

    #[test]
    fn wrong_codes_are_counted_by_who_sent_them_and_for_a_while() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let mut wrong = Wrong::default();
        let counts: Vec<u32> = (0..6).map(|second| wrong.note("mallory", at(second))).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            (wrong.note("carol", at(6)), wrong.note("mallory", at(604)), wrong.note("carol", at(606))),
            (1, 7, 1)
        );
        for other in 0..1_000 {
            wrong.note(&other.to_string(), at(607));
        }
        assert_eq!(wrong.0.len(), MOST_WRONG);
    }
}
