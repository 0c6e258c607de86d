//! The only source of chance: a small generator inside the replica, so that a seed replays a run.

/// SplitMix64 (Steele, Lea, Flood 2014): enough for timeouts, of no use for secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`, nearly uniform; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the high half of a product fits")
    }

    /// Says yes once in `n` times.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that every SplitMix64 gives for this seed: what a seed once showed can be shown
    /// again, by any version.
    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut rng = Rng::new(1_234_567);
        let numbers = [(); 5].map(|()| rng.next());
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn once_in_so_many_times_is_about_that_often() {
        let mut rng = Rng::new(1);
        let often = (0..4_000).filter(|_| rng.one_in(4)).count();
        assert!((900..=1_100).contains(&often), "{often} of 4,000");
        assert!((0..100).all(|_| rng.one_in(1)));
    }
}
