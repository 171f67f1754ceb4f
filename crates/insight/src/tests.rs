//! What the tests of this crate share: two policies that differ in everything that can differ, and requests under all circumstances.

use std::sync::Arc;

use portcullis_events::event::{Client, DecidedOn, Device as EventDevice, Identity, Origin, Risk};
use portcullis_events::{Answer, Event, EventKind};
use portcullis_policy::{
    AccessRequest, AssignmentDraft, AuthenticationRule, ClientAddress, CredentialProblemKind, Decision, DenyDraft,
    Device, GroupDraft, KeptIdentity, KeptRequest, KeptRisk, KeptText, NetworkDraft, PermissionDraft, Policy,
    PolicyDraft, Principal, ResourceDraft, RoleDraft, RouteDraft, WhenDraft,
};
use uuid::Uuid;

pub(crate) fn draft() -> PolicyDraft {
    let office = NetworkDraft {
        name: "office-berlin".to_owned().into(),
        prefixes: vec!["203.0.113.0/24".parse().unwrap()],
        unknown: false,
    };
    let home = NetworkDraft {
        name: "home".to_owned().into(),
        prefixes: vec!["198.51.100.0/24".parse().unwrap()],
        unknown: false,
    };
    PolicyDraft {
        routes: vec![
            RouteDraft::new("reports", ["/reports/**"]),
            RouteDraft::new("files", ["/files/**"]),
            RouteDraft::new("public", ["/public/**"]),
        ],
        networks: vec![office, home],
        resources: vec![
            ResourceDraft {
                route: "reports".to_owned().into(),
                allow: vec!["office-berlin".to_owned().into(), "home".to_owned().into()],
                ..ResourceDraft::default()
            },
            ResourceDraft {
                route: "public".to_owned().into(),
                authentication: AuthenticationRule::None,
                ..ResourceDraft::default()
            },
        ],
        roles: vec![
            RoleDraft {
                permissions: vec![PermissionDraft {
                    actions: vec!["GET,POST /reports/**".to_owned().into()],
                    not_actions: Vec::new(),
                }],
                ..RoleDraft::new("reporter", ["GET /reports/**"])
            },
            RoleDraft::new("reader", ["GET /files/**", "GET /public/**"]),
        ],
        groups: vec![GroupDraft { name: "staff".to_owned().into(), members: vec!["user:ivan".to_owned().into()] }],
        assignments: vec![
            AssignmentDraft::new("staff-reports", "reporter", ["group:staff"]),
            AssignmentDraft {
                when: WhenDraft { assurance_mfa: true, ..WhenDraft::default() },
                ..AssignmentDraft::new("everybody-reads", "reader", ["authenticated"])
            },
            AssignmentDraft::new("anyone-reads", "reader", ["anyone"]),
        ],
        ..PolicyDraft::default()
    }
}

pub(crate) fn compiled(draft: &PolicyDraft) -> Policy {
    Policy::compile(draft).unwrap_or_else(|problems| panic!("{problems:?}")).0
}

/// The same without the office's network, with a deny, and with somebody who may do more.
pub(crate) fn candidate_draft() -> PolicyDraft {
    let mut draft = draft();
    draft.networks[0].prefixes = vec!["192.0.2.0/24".parse().unwrap()];
    draft.denies.push(DenyDraft::new("no-files-for-contractors", ["user:carol"], ["GET /files/**"]));
    draft.assignments.push(AssignmentDraft::new("dave-reports", "reporter", ["user:dave"]));
    draft
}

/// Who asks, from where, for what: every combination.
pub(crate) fn requests() -> Vec<KeptRequest> {
    let user = |id: &str| Principal::user(id);
    let mut strong = user("erin");
    strong.authentication.amr = vec!["mfa".into()];
    strong.authentication.auth_time = Some("2026-11-23T09:59:00Z".parse().unwrap());
    let mut foreign = user("frank");
    foreign.groups.push(portcullis_policy::GroupClaim { name: "staff".into(), trusted: false });
    let mut on_device = user("grace").in_group("staff");
    on_device.device = Some(Device { id: "d-9".into(), compliant: Some(true) });
    let identities = [
        KeptIdentity::Anonymous,
        KeptIdentity::Rejected(CredentialProblemKind::Expired),
        KeptIdentity::Verified(Arc::new(user("alice").in_group("staff"))),
        KeptIdentity::Verified(Arc::new(user("carol"))),
        KeptIdentity::Verified(Arc::new(user("dave"))),
        KeptIdentity::Verified(Arc::new(user("heidi").with_role("reporter"))),
        KeptIdentity::Verified(Arc::new(strong)),
        KeptIdentity::Verified(Arc::new(foreign)),
        KeptIdentity::Verified(Arc::new(on_device)),
    ];
    let clients = ["203.0.113.7", "198.51.100.7", "192.0.2.7", "10.0.0.1"];
    let targets =
        [("GET", "/reports/7"), ("POST", "/reports"), ("GET", "/files/a"), ("GET", "/public/x"), ("GET", "/")];
    let risks =
        [KeptRisk { mnats: 0, evidence: false, stated: None }, KeptRisk { mnats: 9_000, evidence: true, stated: None }];
    let mut requests = Vec::new();
    for identity in &identities {
        for client in clients {
            for (method, path) in targets {
                for risk in risks {
                    let text = KeptText { method, host: "app.test", path, software: "curl/8" };
                    let request = KeptRequest::new(text, "2026-11-23T10:00:00Z".parse().unwrap()).unwrap();
                    requests.push(KeptRequest {
                        client: ClientAddress::known(client.parse().unwrap()),
                        identity: identity.clone(),
                        risk: Some(risk),
                        ..request
                    });
                }
            }
        }
    }
    requests
}

/// The native line that the gateway writes of a request under a policy.
pub(crate) fn line(policy: &Policy, request: &KeptRequest) -> Vec<u8> {
    let event = request.under(policy, |asked| event(policy, request, asked)).unwrap();
    serde_json::to_vec(&event).unwrap()
}

fn event(policy: &Policy, kept: &KeptRequest, asked: &AccessRequest<'_>) -> Event {
    let id = Uuid::from_u128(7);
    // Before credentials are looked at the gateway asks only whether the client may come.
    let looked_at = policy.admission_ruling(asked).is_none();
    let denied = |denial| Event::denied_by(id, asked.now, &denial);
    let mut event = match (looked_at, policy.admit_client(asked), policy.decide(asked)) {
        (false, Err(denial), _) => denied(*denial),
        (_, _, Decision::Permit(_)) => {
            let mut event = Event::new(EventKind::AccessAllowed, id, asked.now);
            event.decision = Some(Answer::Permit);
            event
        }
        (
            _,
            _,
            Decision::Deny(denial)
            | Decision::Challenge(denial)
            | Decision::StepUp(denial)
            | Decision::Undecided(denial),
        ) => denied(*denial),
    };
    event.origin = Origin::Gateway;
    event.request.method = Some(kept.method().to_owned());
    event.request.host = Some(kept.host().to_owned());
    event.request.path = Some(kept.path().to_owned());
    event.client = Client { ip: kept.client.ip(), ..Client::default() };
    if looked_at {
        if let Some(principal) = kept.principal() {
            event.identity = Identity::of(principal, &[], asked.now);
            event.device = principal.device.as_ref().map(EventDevice::from).unwrap_or_default();
        }
        event.risk = Risk::of(asked.risk, None);
    }
    event.facts = Some(Box::new(DecidedOn::of(asked, looked_at)));
    event
}
