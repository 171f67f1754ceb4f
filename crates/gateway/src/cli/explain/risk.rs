//! The risk of a recorded event: its signals, and whether they still come to the score that was decided on.

use portcullis_policy::SignalFamily;
use portcullis_risk::total_mnats;
use serde_json::{Value, json};

use crate::cli::live::safe;

const FAMILIES: [SignalFamily; 4] =
    [SignalFamily::Novelty, SignalFamily::Evidence, SignalFamily::Posture, SignalFamily::Trust];

/// The part about risk, with the score computed anew; null where the event has none.
pub(super) fn part(event: &Value) -> Value {
    let Some(risk) = event.get("risk").filter(|risk| risk.get("score").is_some_and(Value::is_number)) else {
        return Value::Null;
    };
    let recomputed = recomputed(risk);
    let recorded = risk.get("mnats").and_then(Value::as_i64);
    json!({
        "level": risk.get("level"), "mnats": recorded, "recomputed_mnats": recomputed, "degraded": risk.get("degraded"),
        "signals": risk.get("signals"),
    })
}

/// The sum of the signals by the rule of this version; `None` where a signal does not say what it came to.
fn recomputed(risk: &Value) -> Option<i32> {
    let contribution = |signal: &Value| {
        let name = signal.get("family")?.as_str()?;
        let family = FAMILIES.into_iter().find(|family| family.as_str() == name)?;
        Some((family, i32::try_from(signal.get("mnats")?.as_i64()?).ok()?))
    };
    let all: Option<Vec<_>> = risk.get("signals")?.as_array()?.iter().map(contribution).collect();
    Some(total_mnats(all?.into_iter()))
}

/// For people; nothing where no signal fired.
pub(super) fn in_words(risk: &Value) -> Vec<String> {
    let signals = risk.get("signals").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_i64);
    let Some(recorded) = number(risk, "mnats").filter(|_| !signals.is_empty()) else { return Vec::new() };
    let sum = match number(risk, "recomputed_mnats") {
        Some(sum) if sum == recorded => "which is what its signals come to".to_owned(),
        Some(sum) => {
            format!("but its signals come to {}: the event was changed, or made by another version", nats(sum))
        }
        None => "whose signals do not say what they come to".to_owned(),
    };
    let mut lines = vec![String::new(), format!("risk of {} nats, {sum}", nats(recorded))];
    lines.extend(signals.iter().map(|signal| {
        let text = |key: &str| safe(signal.get(key).and_then(Value::as_str).unwrap_or_default());
        let mnats = nats(number(signal, "mnats").unwrap_or(0));
        format!("  {mnats:>6}  {:<21}{}: {}", text("name"), text("value"), text("reason"))
    }));
    lines
}

fn nats(mnats: i64) -> String {
    let sign = if mnats < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", mnats.unsigned_abs() / 1_000, mnats.unsigned_abs() % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_that_was_changed_is_seen() {
        let event = |mnats: i64| {
            let signal = |name, family, mnats| json!({ "name": name, "family": family, "weight": mnats / 10, "mnats": mnats, "value": "v", "reason": "r" });
            let signals = [
                signal("network.new", "novelty", 3_000),
                signal("user_agent.new", "novelty", 2_000),
                signal("device.known", "trust", -1_500),
            ];
            json!({ "risk": { "score": mnats / 10, "level": "medium", "mnats": mnats, "degraded": false, "signals": signals } })
        };
        let honest = part(&event(2_500));
        assert_eq!((&honest["mnats"], &honest["recomputed_mnats"]), (&json!(2_500), &json!(2_500)));
        let words = in_words(&honest);
        assert_eq!(words[1], "risk of 2.500 nats, which is what its signals come to");
        assert_eq!(words[4], "  -1.500  device.known         v: r");
        assert!(in_words(&part(&event(2_400)))[1].contains("but its signals come to 2.500"));
        assert_eq!(part(&json!({ "risk": { "score": null, "signals": [] } })), Value::Null);
        let old =
            json!({ "risk": { "score": 10, "signals": [{ "name": "network.new", "weight": 10, "value": "v" }] } });
        assert_eq!((part(&old)["recomputed_mnats"].clone(), in_words(&part(&old))), (Value::Null, Vec::new()));
    }
}
