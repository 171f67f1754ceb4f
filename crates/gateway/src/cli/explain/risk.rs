//! The risk of a recorded event: its signals, whether they still come to the score that was decided on, and whether what was recorded of
//! the caller comes to these signals when it is worked out again.

use portcullis_policy::SignalFamily;
use portcullis_risk::{Inputs, total_mnats};
use serde_json::{Value, json};

use crate::answers::terminal::safe;

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
        "signals": risk.get("signals"), "calibration": risk.get("calibration"), "display": risk.get("display"),
        "inputs": risk.get("inputs"), "replay": replay(risk, recorded).to_json(),
    })
}

/// What came of working the score out again.
#[derive(Debug, PartialEq, Eq)]
enum Replay {
    /// No signal fired, so there is nothing to work out.
    Nothing,
    /// The same score and the same signals, to the last bit.
    Same,
    /// Another score, in milli-nats, or other signals.
    Other(i32),
    /// It cannot be done, and why.
    Impossible(String),
}

fn replay(risk: &Value, recorded: Option<i64>) -> Replay {
    let signals = risk.get("signals").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if signals.is_empty() {
        return Replay::Nothing;
    }
    let Some(text) = risk.get("inputs").and_then(Value::as_str) else {
        return Replay::Impossible("its inputs are not recorded".to_owned());
    };
    let score = match text.parse::<Inputs>() {
        Ok(inputs) => inputs.score(),
        Err(error) => return Replay::Impossible(error.to_string()),
    };
    let of = |signal: &Value| Some((signal.get("name")?.as_str()?.to_owned(), signal.get("mnats")?.as_i64()?));
    let then: Option<Vec<_>> = signals.iter().map(of).collect();
    let now: Vec<_> = score.signals.iter().map(|(name, _, mnats)| ((*name).to_owned(), i64::from(*mnats))).collect();
    if recorded == Some(i64::from(score.mnats)) && then == Some(now) {
        Replay::Same
    } else {
        Replay::Other(score.mnats)
    }
}

impl Replay {
    fn to_json(&self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Same => json!({ "same": true }),
            Self::Other(mnats) => json!({ "same": false, "mnats": mnats }),
            Self::Impossible(why) => json!({ "same": null, "why": why }),
        }
    }
}

/// For people, from what stands in JSON.
fn replay_in_words(replay: &Value) -> Option<String> {
    let other = |mnats: i64| {
        format!(
            "worked out again from its recorded inputs it is {}: the event was changed, or made by another version",
            nats(mnats)
        )
    };
    match replay.get("same")? {
        Value::Bool(true) => Some("worked out again from its recorded inputs: the same, to the last bit".to_owned()),
        Value::Bool(false) => replay.get("mnats").and_then(Value::as_i64).map(other),
        _ => Some(format!("it cannot be worked out again: {}", safe(replay.get("why").and_then(Value::as_str)?))),
    }
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
    lines.extend(risk.get("replay").and_then(replay_in_words).map(|replay| format!("  {replay}")));
    if risk.get("degraded").and_then(Value::as_bool) == Some(true) {
        lines.push("  something could not be looked up then: it is not among the inputs".to_owned());
    }
    if let Some((id, shown)) = risk.get("calibration").and_then(Value::as_str).zip(number(risk, "display")) {
        lines.push(format!("  {shown} of 1000 by calibration {}", safe(id)));
    }
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
    fn a_score_is_worked_out_again_from_what_was_recorded() {
        let event = |inputs: Value, mnats: i64, network: i64| {
            let signal = |name, family, mnats| json!({ "name": name, "family": family, "mnats": mnats, "value": "v", "reason": "r" });
            let signals = [signal("network.new", "novelty", network), signal("hour.unusual", "novelty", 1_000)];
            json!({ "risk": { "score": 1, "mnats": mnats, "degraded": false, "inputs": inputs, "signals": signals, "calibration": "c1-00000000", "display": 870 } })
        };
        let check = |inputs: Value, mnats: i64, network: i64, expected: &str| {
            let words = in_words(&part(&event(inputs, mnats, network)));
            assert!(words[2].contains(expected), "{words:?}");
            assert!(words.iter().any(|line| line == "  870 of 1000 by calibration c1-00000000"), "{words:?}");
        };
        let inputs = "1;h64;nn;o0/40";
        check(json!(inputs), 3_500, 2_500, "the same, to the last bit");
        check(json!(inputs), 3_400, 2_400, "it is 3.500: the event was changed");
        check(json!("1;h40;nn;o0/40"), 3_500, 2_500, "it is 3.228");
        check(json!(null), 3_500, 2_500, "its inputs are not recorded");
        check(json!("9;h64"), 3_500, 2_500, "a form that this version does not know");
        check(json!("1;h64;?"), 3_500, 2_500, "a part of the inputs cannot be read");
        let nothing = part(&json!({ "risk": { "score": 0, "mnats": 0, "signals": [] } }));
        assert_eq!(nothing["replay"], Value::Null);
    }

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
        assert_eq!(words[2], "  it cannot be worked out again: its inputs are not recorded");
        assert_eq!(words[5], "  -1.500  device.known         v: r");
        assert!(in_words(&part(&event(2_400)))[1].contains("but its signals come to 2.500"));
        assert_eq!(part(&json!({ "risk": { "score": null, "signals": [] } })), Value::Null);
        let old =
            json!({ "risk": { "score": 10, "signals": [{ "name": "network.new", "weight": 10, "value": "v" }] } });
        assert_eq!((part(&old)["recomputed_mnats"].clone(), in_words(&part(&old))), (Value::Null, Vec::new()));
    }
}
