//! Choices, drawn from the bytes of an input.

/// What is left of the bytes.
pub(super) struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Draws a number below `end`; 0 where there are no bytes left.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte().unwrap_or(0)) % end.max(1)
    }

    /// Draws a number that is mostly small and sometimes huge.
    pub(super) fn number(&mut self) -> u64 {
        let small = u64::from(self.byte().unwrap_or(0));
        match small {
            252 => u64::from(u32::MAX),
            253 => 1 << 62,
            254 => (1 << 62) - 1,
            255 => u64::MAX,
            _ => small,
        }
    }

    /// Takes up to `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}
