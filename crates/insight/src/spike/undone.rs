//! In words: what an operator, the clock or a ban of the gateway's own did to callers, and what takes it back.

use portcullis_policy::{KeptRequest, Policy};

use crate::counts::Counts;
use crate::impact::user;
use crate::sample::Seen;
use crate::spike::beyond::{Beyond, OwnBans, lent_role, was_activated};
use crate::spike::changes::Versions;
use crate::spike::deeds::{Deed, DeedKind, on_whom};
use crate::spike::familiar::Familiar;
use crate::spike::fix::word;
use crate::spike::report::{CauseKind, Fix};
use crate::words::{counted, number};

type Told = (CauseKind, String, Option<Fix>);

/// Whose refusals these are, the most frequent first.
struct Callers {
    users: Counts,
    known: u64,
}

impl Callers {
    fn of(seens: &[&Seen], familiar: &Familiar) -> Self {
        let (mut users, mut known) = (Counts::default(), Counts::default());
        for seen in seens {
            let name = caller(&seen.request);
            if familiar.has_caller(&seen.request) {
                known.add(&name, 1);
            }
            users.add(&name, 1);
        }
        Self { users, known: known.distinct() }
    }

    /// `3 callers, 3 let in before`.
    fn in_words(&self) -> String {
        format!("{}, {} let in before", counted(self.users.distinct(), "caller", "callers"), number(self.known))
    }

    fn first(&self) -> String {
        self.users.top(1).into_iter().next().map(|count| count.name).unwrap_or_default()
    }

    fn others(&self) -> u64 {
        self.users.distinct().saturating_sub(1)
    }
}

/// Who was verified, and the address of others.
fn caller(request: &KeptRequest) -> String {
    match request.principal() {
        Some(_) => user(request),
        None => request.client.ip().map_or_else(|| user(request), |address| address.to_string()),
    }
}

fn fix(command: String, preview: String, seens: &[&Seen]) -> Fix {
    Fix { command, preview, restores: seens.len() as u64, opens: Vec::new() }
}

/// What an operator did.
pub(super) fn deed(deed: &Deed, seens: &[&Seen], familiar: &Familiar, who: &str) -> Told {
    let callers = Callers::of(seens, familiar).in_words();
    let requests = number(seens.len() as u64);
    let (kind, opens) = match deed.what {
        DeedKind::Ban { .. } => (CauseKind::Ban, "whoever else it keeps out comes in again, too"),
        DeedKind::Revocation { .. } => {
            (CauseKind::Revocation, "whoever else has the credential is let in by it again, too")
        }
    };
    let restores = format!("restores at most these {requests} requests, of {callers}; {opens}");
    let summary = format!("{}: that turned these away; {who}", deed.in_words());
    (kind, summary, Some(fix(deed.command(), restores, seens)))
}

/// What the clock did to whom this assignment let in until then; empty: a role that was held for a time.
pub(super) fn over(
    assignment: &str,
    seens: &[&Seen],
    (beyond, bans): (&Beyond<'_>, &OwnBans),
    versions: Versions,
    who: &str,
) -> Told {
    let callers = Callers::of(seens, beyond.familiar);
    let requests = number(seens.len() as u64);
    let ended = seens.first().and_then(|seen| beyond.ended(&seen.request));
    let since = ended.map_or_else(String::new, |(at, _)| format!(" until {at:.0}"));
    let place =
        ended.and_then(|(_, rule)| rule).map_or_else(String::new, |rule| format!(" ({}:{})", rule.file, rule.line));
    let is_activated = seens.iter().any(|seen| was_activated(&seen.request, assignment));
    let restores = |how: &str| format!("restores these {requests} requests, of {}{how}", callers.in_words());
    let (summary, mut fix) = match assignment {
        "" => {
            let role = seens.iter().find_map(|seen| lent_role(&seen.request));
            let role = role.map_or_else(|| "a role".to_owned(), |role| format!("`{role}`"));
            let summary = format!("{role}, which was held for a time, let these in{since}, and is over");
            let preview = restores(", once they are given it again");
            (summary, fix("portcullis access list --all".to_owned(), preview, seens))
        }
        name if is_activated => {
            let summary = format!("the activation of assignment/{name}{place} let these in{since}, and is over");
            (summary, activation(name, &callers, beyond.policy, &restores, seens))
        }
        name => {
            let summary =
                format!("assignment/{name}{place} let these in{since}, and does so no more since the clock went on");
            let have = if versions == Versions::Approved {
                "propose a policy that gives"
            } else {
                "reload a policy that gives"
            };
            let command =
                format!("{have} assignment/{name}{place} a later end (`expires`, or the hours of its `when`)");
            (summary, fix(command, restores(", as long as that says"), seens))
        }
    };
    fix.preview.push_str(&bans_that_came_of_it(seens, bans));
    (CauseKind::Expiry, format!("{summary}; {who}"), Some(fix))
}

fn activation(
    name: &str,
    callers: &Callers,
    policy: Option<&Policy>,
    restores: &dyn Fn(&str) -> String,
    seens: &[&Seen],
) -> Fix {
    let rules = policy.and_then(|policy| policy.eligible(name)).map(|eligible| eligible.rules);
    let first = callers.first();
    let others = match callers.others() {
        0 => String::new(),
        others => format!(", and so for {}", counted(others, "other", "others")),
    };
    let Some(rules) = rules.filter(|rules| !rules.ticket_required) else {
        let preview = restores(", once each of them has activated it again, with a ticket");
        return fix("portcullis access list".to_owned(), preview, seens);
    };
    let approved = match rules.approvals {
        0 => String::new(),
        approvals => {
            format!("; it is in force once {} approved it", counted(approvals.into(), "person has", "persons have"))
        }
    };
    let command =
        format!("portcullis access activate {} --as {} --reason \"spike of refusals\"", word(name), word(&first));
    fix(command, restores(&format!(", once it is activated again for {first}{others}{approved}")), seens)
}

/// Bans of the gateway's own, on those who would be let in without.
pub(super) fn banned(seens: &[&Seen], bans: &OwnBans, familiar: &Familiar, who: &str) -> Told {
    let callers = Callers::of(seens, familiar);
    let first = callers.first();
    let own = seens.iter().find(|seen| caller(&seen.request) == first).and_then(|seen| bans.of_freed(seen));
    let why = own.map_or_else(String::new, |own| format!(" (until {:.0}: {})", own.ban.until, own.ban.cause));
    let others = match callers.others() {
        0 => String::new(),
        others => format!(" and {}", counted(others, "other", "others")),
    };
    let summary =
        format!("the gateway banned {first}{others} of itself{why}, and without that these would be let in; {who}");
    let preview = format!(
        "says what led to it; `portcullis ban remove {}` would restore these requests of {first}, of {} in all",
        on_whom(&first),
        number(seens.len() as u64)
    );
    let command = format!("portcullis ban explain {}", on_whom(&first));
    (CauseKind::Ban, summary, Some(Fix { command, preview, restores: seens.len() as u64, opens: Vec::new() }))
}

/// What is to be said of bans of the gateway's own that came of a change, beside the way back from it. Empty: there is none.
pub(super) fn bans_that_came_of_it(seens: &[&Seen], bans: &OwnBans) -> String {
    let mut users = Counts::default();
    for seen in seens.iter().filter(|seen| bans.of_freed(seen).is_some()) {
        users.add(&user(&seen.request), 1);
    }
    match users.top(1).into_iter().next() {
        None => String::new(),
        Some(first) => {
            let others = match users.distinct() {
                0 | 1 => String::new(),
                all => format!(" and {}", counted(all - 1, "other", "others")),
            };
            format!("; {}{others} came to be banned by that: `portcullis ban list` has who still is", first.name)
        }
    }
}
