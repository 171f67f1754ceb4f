//! The event of what somebody did.

use portcullis_admin::{Action, ActionKind, Peer};
use portcullis_events::{Answer, Event, EventKind};

use super::Operated;

/// The event of an action.
pub(super) fn event(operated: &Operated, action: &Action<'_>) -> Event {
    let kind = kind(action.kind);
    tracing::info!(peer = %action.peer.shown(), succeeded = action.succeeded, "{}", action.message);
    let mut event = operated.running.event(kind, action.message.clone());
    event.decision = Some(if action.succeeded { Answer::Permit } else { Answer::Deny });
    match action.peer {
        Peer::Account(account) => {
            event.identity.id = Some(account.uid.to_string());
            event.identity.name.clone_from(&account.name);
            event.identity.method = Some("unix_socket");
        }
        Peer::Operator(operator) => {
            event.identity.id = Some(operator.principal.clone());
            event.identity.method = Some("admin_api");
            event.client.ip = operator.client;
        }
    }
    event.identity.kind = Some("operator");
    event
}

fn kind(kind: ActionKind) -> EventKind {
    match kind {
        ActionKind::Reload => EventKind::AdminReload,
        ActionKind::Drain => EventKind::AdminDrain,
        ActionKind::BanAdd => EventKind::AdminBanAdd,
        ActionKind::BanRemove => EventKind::AdminBanRemove,
        ActionKind::RiskForget => EventKind::AdminRiskForget,
        ActionKind::RiskWarm => EventKind::AdminRiskWarm,
        ActionKind::RiskCalibration => EventKind::AdminRiskCalibration,
        ActionKind::SinkTest => EventKind::AdminSinkTest,
        ActionKind::AlertTest => EventKind::AdminAlertTest,
        ActionKind::AlertLift => EventKind::AdminAlertLift,
        ActionKind::AlertMute => EventKind::AdminAlertMute,
        ActionKind::AuditSuppress => EventKind::AdminAuditSuppress,
        ActionKind::FeedRefresh => EventKind::AdminFeedRefresh,
        ActionKind::FeedAccept => EventKind::AdminFeedAccept,
        ActionKind::FeedRollback => EventKind::AdminFeedRollback,
        ActionKind::Revoke => EventKind::AdminRevoke,
        ActionKind::RevokeLift => EventKind::AdminRevokeLift,
        ActionKind::PolicyPropose => EventKind::AdminPolicyPropose,
        ActionKind::PolicyApprove => EventKind::AdminPolicyApprove,
        ActionKind::PolicyReject => EventKind::AdminPolicyReject,
        ActionKind::PolicyActivate => EventKind::AdminPolicyActivate,
        ActionKind::PolicyRollback => EventKind::AdminPolicyRollback,
        ActionKind::Approvers => EventKind::AdminApprovers,
        ActionKind::FactorEnroll => EventKind::AdminFactorEnroll,
        ActionKind::FactorReset => EventKind::AdminFactorReset,
        ActionKind::AccessActivate => EventKind::AdminAccessActivate,
        ActionKind::AccessApprove => EventKind::AdminAccessApprove,
        ActionKind::AccessReject => EventKind::AdminAccessReject,
        ActionKind::AccessEnd => EventKind::AdminAccessEnd,
        ActionKind::AccessSeal => EventKind::AdminAccessSeal,
        ActionKind::AccessBreakGlass => EventKind::AdminAccessBreakGlass,
        ActionKind::AccessReview => EventKind::AdminAccessReview,
        ActionKind::AccessRequest => EventKind::AdminAccessRequest,
        ActionKind::AccessGrant => EventKind::AdminAccessGrant,
        ActionKind::SessionRevoke => EventKind::AdminSessionRevoke,
        ActionKind::EventsTail => EventKind::AdminEventsTail,
        ActionKind::EventsSearch => EventKind::AdminEventsSearch,
        ActionKind::BackupCreate => EventKind::AdminBackupCreate,
        ActionKind::BackupDrill => EventKind::AdminBackupDrill,
        ActionKind::Refused => EventKind::AdminRefused,
    }
}
