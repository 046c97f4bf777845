//! Where SYNs came from: stations by number, so that a half-open entry can name one in two octets. Its SYN-ACK is sent
//! again to there when the neighbour table knows no better; nobody has to be asked for, or entered into that table, for the
//! sake of a handshake that may never be completed.

use super::neighbours::Station;

/// Stations that have a place at once. Most SYNs come from a gateway.
const PLACES: usize = 1 << 10;

/// Stations, each in the place that its address gives it, for as long as no other takes it.
pub struct Senders {
    places: Box<[Place]>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    station: Option<Station>,
    /// How many stations had it before: by this a number of one that is gone is told from its successor's.
    tenant: u8,
}

/// A station's number: its place in the lower 10 bits, above them the lower 6 of its tenancy.
pub type Number = u16;

impl Senders {
    /// Nobody.
    pub fn new() -> Self {
        Senders { places: vec![Place::default(); PLACES].into() }
    }

    /// The number of a station, which takes its place if another has it.
    #[inline]
    pub fn number(&mut self, station: Station) -> Number {
        let at = place_of(&station);
        let place = &mut self.places[at];
        if place.station != Some(station) {
            *place = Place { station: Some(station), tenant: place.tenant.wrapping_add(1) };
        }
        at as u16 | u16::from(place.tenant) << PLACES.ilog2()
    }

    /// The station of this number, unless another has its place by now.
    pub fn station(&self, number: Number) -> Option<Station> {
        let place = self.places[usize::from(number) % PLACES];
        let same = u16::from(place.tenant) << PLACES.ilog2() == number & !(PLACES as u16 - 1);
        place.station.filter(|_| same)
    }
}

/// Whoever can choose its Ethernet address can take any place, and gains what it had anyway: frames of its neighbours.
#[inline]
fn place_of(station: &Station) -> usize {
    let [a, b, c, d, e, f] = station.mac.0;
    let vlan = station.vlan.map_or(0, |vlan| !vlan);
    let word = u64::from_be_bytes([0, 0, a, b, c, d, e, f]) | u64::from(vlan) << 48;
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACES.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;

    fn station(i: u16, vlan: Option<u16>) -> Station {
        let [high, low] = i.to_be_bytes();
        Station { mac: MacAddr([2, 0, 0, 0, high, low]), vlan }
    }

    #[test]
    fn a_number_names_its_station_or_nobody() {
        let mut senders = Senders::new();
        let (gateway, tagged) = (station(1, None), station(1, Some(0)));
        let numbers = [senders.number(gateway), senders.number(tagged)];
        assert_eq!(numbers.map(|number| senders.station(number)), [Some(gateway), Some(tagged)]);
        assert_eq!(senders.number(gateway), numbers[0], "as long as nobody takes its place");
        let others: Vec<_> = (2..10_000).map(|i| (i, senders.number(station(i, None)))).collect();
        let still: Vec<_> = others.iter().filter_map(|(i, n)| senders.station(*n).map(|found| (*i, found))).collect();
        assert!(still.iter().all(|(i, found)| *found == station(*i, None)), "a number names nobody else");
        assert!((PLACES / 2..=PLACES).contains(&still.len()), "nearly each place has somebody: {}", still.len());
        assert_eq!(senders.station(numbers[0]), None);
    }
}
