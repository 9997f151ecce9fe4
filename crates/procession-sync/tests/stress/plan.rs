//! What becomes of each worker, which the seed says.

use std::time::Duration;

use procession_testkit::Random;

use crate::subject::{Place, Where};

/// What becomes of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It returns when it is told to.
    Lives,
    /// It is killed at the place, when it has been there so often.
    At { place: &'static str, before: u32 },
    /// It is killed at the next place after so many.
    Anywhere { before: u32 },
    /// It is killed after so long, wherever it is.
    FromOutside { after: Duration },
}

/// Visits of a place that a worker survives, at most: it dies in the first contention and in later ones.
const VISITS_MAX: u64 = 12;

/// The longest life of who is killed from outside.
const LIFE_MAX: Duration = Duration::from_millis(6);

impl Fate {
    /// That of one whose death others are to have time to suffer from: it dies without the object, as often as not just
    /// when it has been woken to take it.
    pub(crate) fn draw_lone(random: &mut Random, places: &[Place]) -> Self {
        let has_not = places.iter().filter(|place| place.is == Where::Outside);
        let (woken, others): (Vec<_>, Vec<_>) = has_not.partition(|place| place.name.contains(": woken"));
        let from = if woken.is_empty() || random.below(2) == 0 { others } else { woken };
        Self::at(random, &from)
    }

    /// That of the next worker: every other one has the object when it dies. `kills` says how many have died at each place.
    pub(crate) fn draw(random: &mut Random, places: &[Place], kills: &[u64]) -> Self {
        let all = places.iter().zip(kills).filter(|(place, _)| place.is != Where::Seldom);
        let (inside, others): (Vec<_>, Vec<_>) = all.partition(|(place, _)| place.is == Where::Inside);
        match random.below(16) {
            0..8 => Self::at_one_of(random, &inside),
            8..13 => Self::at_one_of(random, &others),
            13 => Self::Anywhere { before: random.below(4 * VISITS_MAX) as u32 },
            _ => Self::FromOutside { after: Duration::from_micros(random.below(LIFE_MAX.as_micros() as u64)) },
        }
    }

    /// At any of these, or as often where the fewest have died: some places are hard to come by.
    fn at_one_of(random: &mut Random, places: &[(&Place, &u64)]) -> Self {
        let all: Vec<_> = places.iter().map(|(place, _)| *place).collect();
        let neglected = places.iter().min_by_key(|(_, kills)| **kills).map(|(place, _)| *place);
        match neglected.filter(|_| random.below(2) == 0) {
            Some(place) => Self::at(random, &[place]),
            None => Self::at(random, &all),
        }
    }

    /// At one of these places.
    fn at(random: &mut Random, places: &[&Place]) -> Self {
        let place = random.choose(places).expect("a subject has such places");
        let visits = if place.is_rare { 1 } else { VISITS_MAX };
        Self::At { place: place.name, before: random.below(visits) as u32 }
    }
}
