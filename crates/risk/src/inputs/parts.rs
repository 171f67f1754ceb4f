//! The parts of recorded inputs as text. A letter that was released never means anything else: another form has another number.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use portcullis_policy::CountryCode;

use super::InputsError;
use crate::account::AccountAttack;
use crate::habit::Unusual;
use crate::hierarchy::{Level, Levels};
use crate::score::{Weight, Weights};
use crate::settings::Settings;
use crate::signal::{Facts, Lack, NetworkFact, NewLevel};
use crate::travel::{Excuse, Trip};

/// How the rest is written.
const FORM: &str = "1";

pub(super) fn write(facts: &Facts, weights: &Weights, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Named one by one, so that a new fact is not forgotten here.
    let Facts {
        history,
        network,
        corporate,
        device,
        user_agent,
        hour,
        trip,
        unusual_route,
        rate,
        volume,
        posture,
        reputation,
        banned,
        attack,
        sprayed,
        token_elsewhere,
        stepped_up,
        degraded,
    } = facts;
    out.write_str(FORM)?;
    if *history > 0 {
        write!(out, ";h{history}")?;
    }
    if let Some(network) = network {
        write_network(network, out)?;
    }
    let flag = |holds: bool, name: char, out: &mut fmt::Formatter<'_>| match holds {
        true => write!(out, ";{name}"),
        false => Ok(()),
    };
    flag(*corporate, 'v', out)?;
    if let Some(usual) = device {
        out.write_str(if *usual { ";d+" } else { ";d-" })?;
    }
    for (name, pair) in [('u', user_agent), ('o', hour)] {
        if let Some((part, whole)) = pair {
            write!(out, ";{name}{part}/{whole}")?;
        }
    }
    if let Some(Trip { metres, ticks, vague, fastest, excuse }) = trip {
        write!(out, ";t{metres}.{ticks}.{fastest}")?;
        if *vague {
            out.write_char('v')?;
        }
        if let Some((code, _)) = excuse.and_then(|excuse| Excuse::CODES.into_iter().find(|(_, each)| *each == excuse)) {
            out.write_char(code)?;
        }
    }
    flag(*unusual_route, 'x', out)?;
    for (name, unusual) in [('r', rate), ('e', volume)] {
        if let Some(Unusual { now, mean, deviation }) = unusual {
            write!(out, ";{name}{now}.{mean}.{deviation}")?;
        }
    }
    if let Some((code, _)) = posture.and_then(|lack| LACKS.into_iter().find(|(_, each)| *each == lack)) {
        write!(out, ";p{code}")?;
    }
    if let Some((_, mnats)) = reputation {
        write!(out, ";q{mnats}")?;
    }
    if let Some(shared) = banned {
        out.write_str(if *shared { ";b+" } else { ";b-" })?;
    }
    if let Some(AccountAttack { failures, networks }) = attack {
        write!(out, ";f{failures}/{networks}")?;
    }
    if let Some(principals) = sprayed {
        write!(out, ";y{principals}")?;
    }
    flag(*token_elsewhere, 'k', out)?;
    flag(*stepped_up, 'm', out)?;
    flag(*degraded, 'g', out)?;
    write_weights(weights, out)
}

const LACKS: [(char, Lack); 3] = [('-', Lack::Compliance), ('<', Lack::News), ('?', Lack::Word)];

fn write_network(network: &NetworkFact, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let NetworkFact { new, levels, sights, users } = network;
    match new {
        None => out.write_str(";nu")?,
        Some(NewLevel::Network) => out.write_str(";nn")?,
        Some(NewLevel::Asn(number)) => write!(out, ";nas{number}")?,
        Some(NewLevel::Country(code)) => write!(out, ";ncc{}", code.as_str())?,
    }
    if let Some(Levels { history, principals, country, asn, network }) = levels {
        write!(out, ";l{history}.{principals}")?;
        for (name, level) in [('c', *country), ('a', *asn), ('n', Some(*network))] {
            if let Some(Level { own, principals }) = level {
                write!(out, ".{name}{own}.{principals}")?;
            }
        }
    }
    for (name, count) in [('s', sights), ('c', users)] {
        if *count > 0 {
            write!(out, ";{name}{count}")?;
        }
    }
    Ok(())
}

/// Only those that `[risk] signals` has otherwise than they are built in.
fn write_weights(weights: &Weights, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let built_in = Weights::of(&Settings::default());
    for (index, (weight, usual)) in weights.all().iter().zip(built_in.all()).enumerate() {
        if weight != usual {
            let (milli, (low, high), enabled) = weight.parts();
            let name = letter(index);
            write!(out, ";w{name}{milli}.{low}.{high}{}", if enabled { '+' } else { '-' })?;
        }
    }
    Ok(())
}

/// The letter of a signal of `SIGNALS`: by its place, beginning with `n` for the network.
fn letter(index: usize) -> char {
    LETTERS.get(index).copied().unwrap_or('?')
}

const LETTERS: [char; 12] = ['n', 'd', 'u', 'h', 't', 'b', 'p', 'r', 'f', 's', 'k', 'm'];

pub(super) fn read(text: &str) -> Result<(Facts, Weights), InputsError> {
    let mut parts = text.split(';');
    if parts.next() != Some(FORM) {
        return Err(InputsError::Form);
    }
    let (mut facts, mut weights) = (Facts::default(), Weights::of(&Settings::default()));
    for part in parts {
        read_part(part, &mut facts, &mut weights).ok_or(InputsError::Part)?;
    }
    Ok((facts, weights))
}

fn read_part(part: &str, facts: &mut Facts, weights: &mut Weights) -> Option<()> {
    let mut characters = part.chars();
    let name = characters.next()?;
    let rest = characters.as_str();
    let sign = |text: &str| match text {
        "+" => Some(true),
        "-" => Some(false),
        _ => None,
    };
    match name {
        'h' => facts.history = number(rest)?,
        'n' => {
            let new = match (rest, rest.get(..2), rest.get(2..)) {
                ("u", ..) => None,
                ("n", ..) => Some(NewLevel::Network),
                (_, Some("as"), Some(number_)) => Some(NewLevel::Asn(number(number_)?)),
                (_, Some("cc"), Some(code)) => Some(NewLevel::Country(CountryCode::parse(code)?)),
                _ => return None,
            };
            facts.network = Some(NetworkFact { new, levels: None, sights: 0, users: 0 });
        }
        'l' => facts.network.as_mut()?.levels = Some(levels(rest)?),
        's' => facts.network.as_mut()?.sights = number(rest)?,
        'c' => facts.network.as_mut()?.users = number(rest)?,
        'v' => facts.corporate = rest.is_empty().then_some(true)?,
        'd' => facts.device = Some(sign(rest)?),
        'u' => facts.user_agent = Some(pair(rest)?),
        'o' => facts.hour = Some(pair(rest)?),
        't' => facts.trip = Some(trip(rest)?),
        'x' => facts.unusual_route = rest.is_empty().then_some(true)?,
        'r' => facts.rate = Some(unusual(rest)?),
        'e' => facts.volume = Some(unusual(rest)?),
        'p' => {
            let found = LACKS.into_iter().find(|(code, _)| rest.chars().eq([*code]));
            facts.posture = Some(found?.1);
        }
        'q' => facts.reputation = Some(("".into(), number(rest)?)),
        'b' => facts.banned = Some(sign(rest)?),
        'f' => {
            let (failures, networks) = rest.split_once('/')?;
            facts.attack = Some(AccountAttack { failures: number(failures)?, networks: number(networks)? });
        }
        'y' => facts.sprayed = Some(number(rest)?),
        'k' => facts.token_elsewhere = rest.is_empty().then_some(true)?,
        'm' => facts.stepped_up = rest.is_empty().then_some(true)?,
        'g' => facts.degraded = rest.is_empty().then_some(true)?,
        'w' => weight(rest, weights)?,
        _ => return None,
    }
    Some(())
}

/// A number as it is written, and no other way of writing it.
fn number<N: FromStr + fmt::Display>(text: &str) -> Option<N> {
    let number: N = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn pair(text: &str) -> Option<(u32, u32)> {
    let (part, whole) = text.split_once('/')?;
    Some((number(part)?, number(whole)?))
}

fn unusual(text: &str) -> Option<Unusual> {
    let mut numbers = text.split('.');
    let mut next = || number(numbers.next()?);
    let found = Unusual { now: next()?, mean: next()?, deviation: next()? };
    numbers.next().is_none().then_some(found)
}

fn levels(text: &str) -> Option<Levels> {
    let mut parts = text.split('.');
    let mut levels =
        Levels { history: number(parts.next()?)?, principals: number(parts.next()?)?, ..Levels::default() };
    let mut has_network = false;
    while let Some(part) = parts.next() {
        let mut characters = part.chars();
        let name = characters.next()?;
        let level = Level { own: number(characters.as_str())?, principals: number(parts.next()?)? };
        match name {
            'c' => levels.country = Some(level),
            'a' => levels.asn = Some(level),
            'n' => {
                levels.network = level;
                has_network = true;
            }
            _ => return None,
        }
    }
    has_network.then_some(levels)
}

fn trip(text: &str) -> Option<Trip> {
    let mut parts = text.splitn(3, '.');
    let (metres, ticks, rest) = (number(parts.next()?)?, number(parts.next()?)?, parts.next()?);
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    let (fastest, marks) = rest.split_at_checked(end)?;
    let mut trip = Trip { metres, ticks, vague: false, fastest: number(fastest)?, excuse: None };
    for mark in marks.chars() {
        match mark {
            'v' => trip.vague = true,
            _ => trip.excuse = Some(Excuse::CODES.into_iter().find(|(code, _)| *code == mark)?.1),
        }
    }
    Some(trip)
}

fn weight(text: &str, weights: &mut Weights) -> Option<()> {
    let mut characters = text.chars();
    let name = characters.next()?;
    let index = LETTERS.iter().position(|letter| *letter == name)?;
    let rest = characters.as_str();
    let enabled = rest.ends_with('+');
    let mut numbers = rest.strip_suffix(['+', '-'])?.split('.');
    let mut next = || number(numbers.next()?);
    let weight = Weight::of_parts(next()?, (next()?, next()?), enabled);
    numbers.next().is_none().then_some(())?;
    weights.set(index, weight)
}
