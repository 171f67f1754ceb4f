//! What is no incident, and a load that is steady.

use super::incidents::NO_GRANT;
use super::world::{Dice, HOME, OFFICE, STEP};
use super::*;

/// What is no incident: more requests with as many refusals among them, a job at night that is let in, and a gateway that nobody uses for a while.
#[test]
fn what_is_no_incident_is_none() {
    for seed in 0..8 {
        let world = World::new(seed);
        let growing = play(
            &mut world.clone(),
            &mut |world, since| {
                // Ten times as much within a minute, with its refusals.
                let times = (since / 6.0).min(9.0);
                for _ in 0..world.dice.come(8.0 * times * STEP) {
                    let person = world.dice.below(OFFICE + HOME);
                    let request = world.asks(person, "/reports/9");
                    let refused = world.dice.below(25) == 0;
                    world.add(request, if refused { NO_GRANT } else { Answered::Permitted(200) });
                }
            },
            &everybody,
        );
        assert!(growing.is_none(), "{seed}: {growing:#?}");
        let job = play(
            &mut world.clone(),
            &mut |world, _| {
                for _ in 0..20 {
                    let who = Who {
                        user: Some("job"),
                        client: "203.0.113.200".to_owned(),
                        path: "/reports/1",
                        software: "job/1",
                    };
                    let request = request(&who, world.now());
                    world.add(request, Answered::Permitted(200));
                }
            },
            &everybody,
        );
        assert!(job.is_none(), "{seed}: {job:#?}");
        let quiet = play(&mut world.clone(), &mut |_, _| {}, &|_| None);
        assert!(quiet.is_none(), "{seed}: {quiet:#?}");
    }
}

/// A steady load of whatever size, also one whose refusals come in bursts: days of it, with the looks into buckets that are being filled.
#[test]
fn at_a_steady_load_there_is_hardly_ever_a_spike() {
    const BUCKETS: u64 = 8_640 * 2;
    let mut alarms = 0;
    let mut days = 0;
    for (seed, mean, burst) in
        [(1, 0.2, 1), (2, 3.0, 1), (3, 20.0, 1), (4, 150.0, 1), (5, 3.0, 4), (6, 40.0, 4), (7, 1.0, 8)]
    {
        let mut dice = Dice(seed);
        let mut charts = Charts::new(&SpikeSettings::default());
        let mut of_this = 0;
        for _ in 0..BUCKETS {
            let mut so_far = BucketCounts::default();
            let mut early = false;
            for _ in 0..4 {
                let bursts = dice.come(mean / 4.0 / burst as f64);
                so_far.refused += u64::try_from(bursts).unwrap() * burst;
                so_far.requests += 100 + dice.next() % 10;
                let standing = charts.would_stand(so_far);
                early |= matches!(standing, Standing::Spike { new: true, .. });
            }
            let ended = charts.add(so_far);
            if early || matches!(ended, Standing::Spike { new: true, .. }) {
                of_this += 1;
            }
        }
        println!("{mean} refusals in a bucket, {burst} at once: {of_this} alarms in 2 days");
        alarms += of_this;
        days += 2;
    }
    assert!(alarms * 4 <= days, "{alarms} false alarms in {days} days");
}
