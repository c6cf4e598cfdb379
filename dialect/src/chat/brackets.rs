//! Where a call's arguments end, which this dialect does not say.

/// Whether a JSON object that comes in pieces is complete. It looks at brackets and strings alone.
#[derive(Debug, Default)]
pub(crate) struct Brackets {
    depth: u64,
    in_string: bool,
    escaped: bool,
    complete: bool,
}

impl Brackets {
    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match (self.in_string, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_string = !self.in_string,
                (false, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
                (false, b'}' | b']') => {
                    self.complete |= self.depth == 1;
                    self.depth = self.depth.saturating_sub(1);
                }
                _ => {}
            }
        }
    }

    /// Whether the outermost bracket was closed.
    pub(crate) const fn is_complete(&self) -> bool {
        self.complete
    }
}
