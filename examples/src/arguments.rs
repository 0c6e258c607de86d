//! Arguments of the measuring programs: numbers with names and defaults.

/// Numbers by their names, as `--entries`.
pub struct Numbers(Vec<(&'static str, u64)>);

impl Numbers {
    /// Reads pairs of a name and a number above 0; what is not said is as in `defaults`.
    ///
    /// # Errors
    /// A sentence that names what is unknown or no number.
    pub fn read(
        arguments: impl Iterator<Item = String>,
        defaults: &[(&'static str, u64)],
    ) -> Result<Self, String> {
        let mut numbers = defaults.to_vec();
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let known = numbers.iter_mut().find(|(known, _)| *known == name);
            let (name, place) = known.ok_or_else(|| format!("unknown argument: {name}"))?;
            let text = arguments.next().ok_or_else(|| format!("{name} needs a number"))?;
            *place = match text.parse() {
                Ok(number) if number > 0 => number,
                Ok(_) | Err(_) => return Err(format!("{name} {text} is not a number above 0")),
            };
        }
        Ok(Self(numbers))
    }

    /// Returns a number.
    ///
    /// # Panics
    /// If the name is not among the defaults.
    pub fn get(&self, name: &str) -> u64 {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, number)| *number).expect("the name is one of the defaults")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Numbers, String> {
        Numbers::read(words.iter().map(|word| (*word).to_owned()), &[("--a", 1), ("--b", 2)])
    }

    #[test]
    fn what_is_said_takes_the_place_of_the_default() {
        let numbers = read(&["--b", "7"]).expect("both are known");
        assert_eq!((numbers.get("--a"), numbers.get("--b")), (1, 7));
    }

    #[test]
    fn what_is_unknown_or_no_number_is_named() {
        for (words, why) in [
            (["--c", "1"].as_slice(), "unknown argument: --c"),
            (&["--a"], "--a needs a number"),
            (&["--a", "0"], "--a 0 is not a number above 0"),
            (&["--a", "x"], "--a x is not a number above 0"),
        ] {
            assert_eq!(read(words).map(|_| ()).expect_err(why), why);
        }
    }
}
