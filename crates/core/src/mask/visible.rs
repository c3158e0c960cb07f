//! What a reader sees of a text. A secret with invisible bytes inside it would not be found otherwise, and a terminal, or
//! the client, would still show it whole.

use std::ops::Range;

use crate::terminal::{self, Part};

/// What a reader sees of a text, and where it stands in the text.
#[derive(Debug, Default)]
pub struct VisibleText {
    /// The visible bytes; lines stay lines.
    pub bytes: Vec<u8>,
    /// The offset of each of the bytes.
    offsets: Vec<usize>,
}

impl VisibleText {
    /// What a reader sees of `text`.
    pub fn of(text: &[u8]) -> Self {
        let mut visible = Self::default();
        for range in shown(text) {
            visible.bytes.extend_from_slice(&text[range.clone()]);
            visible.offsets.extend(range);
        }
        visible
    }

    /// The range of the text for a range of the visible bytes that is not empty.
    pub(super) fn range(&self, visible: Range<usize>) -> Range<usize> {
        self.offsets[visible.start]..self.offsets[visible.end - 1] + 1
    }

    /// How many visible bytes there are before an offset of the text.
    pub fn before(&self, offset: usize) -> usize {
        self.offsets.partition_point(|at| *at < offset)
    }
}

/// The visible bytes of `text`; lines stay lines.
pub(super) fn visible(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    shown(text).for_each(|range| bytes.extend_from_slice(&text[range]));
    bytes
}

fn shown(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let shown = terminal::parts(text).filter(|(_, part)| matches!(part, Part::Text | Part::LineEnd));
    shown.map(|(range, _)| range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_bytes_know_where_they_stand() {
        let text = VisibleText::of(b"a\x1b[1mbc\0d\n");
        assert_eq!(text.bytes, b"abcd\n");
        assert_eq!((text.range(1..4), text.before(5)), (5..9, 1));
        assert_eq!(visible("a\u{200b}\r\nb".as_bytes()), b"a\nb");
    }
}
