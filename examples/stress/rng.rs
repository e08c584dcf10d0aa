//! Numbers that look random and follow from a seed (splitmix64).

use std::time::Duration;

pub struct Rng(u64);

impl Rng {
    /// The numbers of one part of a run. Different `parts` of one seed have different numbers.
    pub fn new(seed: u64, parts: &[usize]) -> Rng {
        let mut rng = Rng(seed);
        for part in parts {
            rng.0 ^= rng.next() ^ (*part as u64);
        }
        rng
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `limit` - 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// From nothing over what a short critical section takes to what lets a thread sleep.
    pub fn timeout(&mut self) -> Duration {
        match self.below(8) {
            0 => Duration::ZERO,
            1 => Duration::from_micros(self.below(5_000)),
            _ => Duration::from_nanos(self.below(200_000)),
        }
    }
}
