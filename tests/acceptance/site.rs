//! What the scenarios share besides the site itself: how the stats are read, and numbers that look random.

pub use crate::common::server::*;
use serde_json::Value;

/// A number in the stats, by its path.
pub fn number(stats: &Value, path: &str) -> u64 {
    stats.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {stats}"))
}

/// The sum of a map of numbers in the stats.
pub fn total(stats: &Value, path: &str) -> u64 {
    let map = stats.pointer(path).and_then(Value::as_object).unwrap_or_else(|| panic!("{path} in {stats}"));
    map.values().map(|count| count.as_u64().unwrap()).sum()
}

/// Whether a program is there; if not, says aloud what is skipped.
pub fn has(program: &str, test: &str) -> bool {
    let found =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(program).exists());
    if !found {
        crate::common::skip(test, &format!("{program} is not installed"));
    }
    found
}

/// Numbers that look random and are the same in each run (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn octets(&mut self, len: usize) -> Vec<u8> {
        let mut octets: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        octets.truncate(len);
        octets
    }
}
