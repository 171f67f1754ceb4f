//! A made-up year of logins, for want of a real one that could be shipped: who the users are, how they move, and how three kinds of
//! intruders try to look like them. Everything that it assumes stands here. It shows how the signals work together; how good they are
//! for the people behind one gateway only that gateway's own logins can say.
//!
//! **Users**: each logs in on working days, mostly between 7 and 19 UTC, 0.15 to 2.5 times a day. Six in ten work in the
//! organisation's office half of the time. At home the provider deals out another network in a quarter of the logins, of 200 that it has;
//! one login in six is by phone, from 60 networks of a mobile provider. Half of the users go abroad once in the half year, one in ten every
//! six weeks, for five days. One in twenty uses a commercial tunnel for four logins in ten. Three in ten have a second device for
//! one login in eight, and one login in 500 is the first of a new device.
//!
//! **Intruders** have the password and log in once. The *naive* one comes from anywhere in the world; the one with a *tunnel* from the
//! victim's country, some other provider and whatever software is common; the *targeted* one from the victim's own provider with the
//! victim's own software. None has the device.

use std::net::{IpAddr, Ipv4Addr};

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::CountryCode;

use super::logins::Login;
use crate::Position;
use crate::commons::mix;

/// What is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// The same seed makes the same logins.
    pub seed: u64,
    /// How many users.
    pub users: u32,
    /// Over how many days.
    pub days: u32,
    /// How many intruders of each kind, in the last third of the days.
    pub intruders: u32,
    /// Whether credentials are bound to devices.
    pub bound: bool,
}

impl Default for Population {
    fn default() -> Self {
        Self { seed: 1, users: 1_500, days: 180, intruders: 500, bound: false }
    }
}

/// One login that was made up.
#[derive(Debug, Clone, PartialEq)]
pub struct MadeUp {
    time: Timestamp,
    user: Box<str>,
    address: IpAddr,
    country: CountryCode,
    asn: u32,
    position: Option<Position>,
    user_agent: &'static str,
    device: Option<Box<str>>,
    intruder: Option<&'static str>,
}

impl MadeUp {
    /// As it is played.
    #[must_use]
    pub fn login(&self) -> Login<'_> {
        Login {
            time: self.time,
            user: &self.user,
            address: self.address,
            country: Some(self.country),
            asn: Some(self.asn),
            position: self.position,
            user_agent: Some(self.user_agent),
            device: self.device.as_deref(),
            successful: true,
            intruder: self.intruder,
        }
    }
}

/// Countries, by where they are. The organisation is in the first.
const COUNTRIES: [(&str, f64, f64); 12] = [
    ("DE", 51.2, 10.4),
    ("AT", 47.6, 14.1),
    ("FR", 46.6, 2.5),
    ("PL", 52.1, 19.4),
    ("GB", 52.8, -1.6),
    ("ES", 40.2, -3.6),
    ("US", 39.8, -98.6),
    ("BR", -10.8, -52.9),
    ("IN", 22.9, 79.6),
    ("CN", 36.6, 103.8),
    ("NG", 9.6, 8.1),
    ("AU", -25.7, 134.5),
];
/// Providers of each country. The last one but one is the mobile one, the last one deals in tunnels.
const PROVIDERS: u64 = 12;
const MOBILE: u64 = 10;
const TUNNELS: u64 = 11;
/// Families of software, the most common first.
const SOFTWARE: [&str; 9] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36 Edg/120.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Version/17.1 Mobile Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_1) AppleWebKit/605.1.15 Version/17.1 Safari/605.1.15",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_1) AppleWebKit/537.36 Chrome/120.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36",
];
/// Working-day logins of four sorts of users, in hundredths.
const LOGINS_A_DAY: [u64; 4] = [15, 50, 100, 250];

/// Random numbers that are the same everywhere (SplitMix64).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        u64::try_from((u128::from(mix(self.0)) * u128::from(sides)) >> 64).unwrap_or(0)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    /// Small numbers more often than large ones.
    fn skewed(&mut self, sides: u64) -> u64 {
        self.roll(sides).min(self.roll(sides))
    }
}

/// A network: a country, a provider of it, one of its networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Net {
    country: u64,
    provider: u64,
    subnet: u64,
}

#[derive(Debug)]
struct User {
    id: u32,
    home: Net,
    office: bool,
    tunnel: Option<Net>,
    trips_every: Option<u64>,
    trip_offset: u64,
    second: bool,
    software: [usize; 2],
    devices: [u64; 2],
    a_day: u64,
}

/// Where an intruder comes from, and with which software.
type Disguise = fn(&User, &mut Dice) -> (Net, usize);

/// The logins, in their order.
#[must_use]
pub fn make_up(population: &Population) -> Vec<MadeUp> {
    let mut dice = Dice(population.seed);
    let mut users: Vec<User> = (0..population.users).map(|id| user(id, &mut dice)).collect();
    let mut made = Vec::new();
    let begin = Timestamp::from_second(BEGIN).unwrap_or(Timestamp::UNIX_EPOCH);
    for day in 0..u64::from(population.days) {
        // The first is a Monday.
        if day % 7 >= 5 {
            continue;
        }
        for user in &mut users {
            let logins = user.a_day / 100 + u64::from(dice.roll(100) < user.a_day % 100);
            for _ in 0..logins {
                let second = if dice.chance(90) { 7 * 3_600 + dice.roll(12 * 3_600) } else { dice.roll(86_400) };
                made.push(honest(user, day, begin, second, population.bound, &mut dice));
            }
        }
    }
    let kinds: [(&'static str, Disguise); 3] = [("naive", naive), ("tunnel", tunnel), ("targeted", targeted)];
    for (kind, disguise) in kinds {
        for _ in 0..population.intruders {
            let victim = usize::try_from(dice.roll(users.len() as u64)).unwrap_or(0);
            let Some(victim) = users.get(victim) else { continue };
            let (net, software) = disguise(victim, &mut dice);
            let late = u64::from(population.days) * 2 / 3;
            let day = late + dice.roll(u64::from(population.days) - late);
            let second = dice.roll(86_400);
            let device = population.bound.then(|| format!("stranger-{}", dice.roll(1 << 40)).into());
            made.push(login(victim.id, begin, day, second, net, software, device, Some(kind), &mut dice));
        }
    }
    made.sort_by(|one, other| (one.time, &one.user).cmp(&(other.time, &other.user)));
    made
}

/// 2026-01-05, a Monday.
const BEGIN: i64 = 1_767_571_200;

fn user(id: u32, dice: &mut Dice) -> User {
    let country = if dice.chance(85) { 0 } else { dice.roll(4) };
    let home = Net { country, provider: dice.skewed(MOBILE), subnet: dice.roll(200) };
    let software = [dice.skewed(SOFTWARE.len() as u64), dice.skewed(SOFTWARE.len() as u64)];
    let trips_every = match dice.roll(100) {
        0..10 => Some(42),
        10..60 => Some(180),
        _ => None,
    };
    User {
        id,
        home,
        office: dice.chance(60),
        tunnel: dice.chance(5).then(|| Net { country: dice.roll(6), provider: TUNNELS, subnet: dice.roll(20) }),
        trips_every,
        trip_offset: dice.roll(180),
        second: dice.chance(30),
        software: software.map(|n| usize::try_from(n).unwrap_or(0)),
        devices: [dice.roll(1 << 40), dice.roll(1 << 40)],
        a_day: LOGINS_A_DAY.get(usize::try_from(dice.roll(4)).unwrap_or(0)).copied().unwrap_or(100),
    }
}

fn honest(user: &mut User, day: u64, begin: Timestamp, second: u64, bound: bool, dice: &mut Dice) -> MadeUp {
    let which = usize::from(user.second && dice.roll(8) == 0);
    if dice.roll(500) == 0 {
        let new = usize::try_from(dice.skewed(SOFTWARE.len() as u64)).unwrap_or(0);
        if let Some(software) = user.software.get_mut(which) {
            *software = new;
        }
        if let Some(device) = user.devices.get_mut(which) {
            *device = dice.roll(1 << 40);
        }
    }
    if dice.chance(25) {
        user.home.subnet = dice.roll(200);
    }
    let abroad = user.trips_every.and_then(|every| {
        let in_cycle = (day + user.trip_offset) % every;
        // The same trip is to the same country.
        let to = mix(u64::from(user.id) ^ ((day + user.trip_offset) / every)) % COUNTRIES.len() as u64;
        (in_cycle < 5).then_some(to)
    });
    let net = match (abroad, user.tunnel) {
        (Some(country), _) => Net { country, provider: mix(country ^ (day / 5)) % MOBILE, subnet: dice.roll(3) },
        (None, Some(tunnel)) if dice.chance(40) => Net { subnet: dice.roll(20), ..tunnel },
        (None, _) if user.office && dice.chance(50) => Net { country: 0, provider: 0, subnet: 250 },
        (None, _) if dice.roll(6) == 0 => Net { provider: MOBILE, subnet: dice.roll(60), ..user.home },
        (None, _) => user.home,
    };
    let software = user.software.get(which).copied().unwrap_or(0);
    let device = user.devices.get(which).filter(|_| bound).map(|device| device.to_string().into());
    login(user.id, begin, day, second, net, software, device, None, dice)
}

fn naive(victim: &User, dice: &mut Dice) -> (Net, usize) {
    let country = 1 + dice.roll(COUNTRIES.len() as u64 - 1);
    let country = if country == victim.home.country { 0 } else { country };
    let net = Net { country, provider: dice.roll(PROVIDERS), subnet: dice.roll(250) };
    (net, usize::try_from(dice.roll(SOFTWARE.len() as u64)).unwrap_or(0))
}

fn tunnel(victim: &User, dice: &mut Dice) -> (Net, usize) {
    let net = Net { provider: dice.roll(PROVIDERS), subnet: dice.roll(250), ..victim.home };
    (net, usize::try_from(dice.skewed(SOFTWARE.len() as u64)).unwrap_or(0))
}

fn targeted(victim: &User, dice: &mut Dice) -> (Net, usize) {
    let [software, _] = victim.software;
    (Net { subnet: dice.roll(200), ..victim.home }, software)
}

#[expect(clippy::too_many_arguments, reason = "what a login is made of")]
fn login(
    user: u32,
    begin: Timestamp,
    day: u64,
    second: u64,
    net: Net,
    software: usize,
    device: Option<Box<str>>,
    intruder: Option<&'static str>,
    dice: &mut Dice,
) -> MadeUp {
    let (code, latitude, longitude) =
        COUNTRIES.get(usize::try_from(net.country).unwrap_or(0)).copied().unwrap_or(("DE", 51.2, 10.4));
    // A provider's networks are where the provider is: up to a few hundred kilometres from the middle of the country.
    let aside = |salt: u64| f64::from(u32::try_from(mix(net.provider ^ salt) % 400).unwrap_or(0)) / 100.0 - 2.0;
    let byte = |value: u64| u8::try_from(value & 0xff).unwrap_or(0);
    let octets = [20 + byte(net.country), byte(net.provider), byte(net.subnet), 1 + byte(dice.roll(250))];
    let seconds = i64::try_from(day * 86_400 + second).unwrap_or(0);
    MadeUp {
        time: begin + SignedDuration::from_secs(seconds),
        user: format!("user-{user}").into(),
        address: Ipv4Addr::from(octets).into(),
        country: CountryCode::parse(code).unwrap_or(CountryCode::NOWHERE),
        asn: u32::try_from(64_000 + net.country * 20 + net.provider).unwrap_or(64_000),
        position: Position::from_degrees(latitude + aside(1), longitude + aside(2), Some(50)),
        user_agent: SOFTWARE.get(software).copied().unwrap_or(""),
        device,
        intruder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_logins_in_their_order() {
        let population = Population { users: 40, days: 60, intruders: 5, ..Population::default() };
        let made = make_up(&population);
        assert_eq!(made, make_up(&population));
        assert_ne!(made, make_up(&Population { seed: 2, ..population }));
        assert!(made.is_sorted_by_key(|login| login.time));
        let of = |kind: Option<&str>| made.iter().filter(|login| login.intruder == kind).count();
        assert_eq!([of(Some("naive")), of(Some("tunnel")), of(Some("targeted"))], [5; 3]);
        assert!((500..3_000).contains(&of(None)), "{}", of(None));
        assert!(made.iter().all(|login| login.device.is_none()));
        assert!(make_up(&Population { bound: true, ..population }).iter().all(|login| login.device.is_some()));
        assert!(make_up(&Population { users: 0, days: 0, ..population }).is_empty());
    }
}
