//! The last bytes of a log that is being written: followers at its end are served from here.

use std::collections::VecDeque;

use bytes::Bytes;

/// Bytes kept of one log.
const KEPT: usize = 1 << 20;

/// Consecutive pieces, the newest last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    pieces: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Recent {
    /// Takes what was written at `at`, directly behind what was pushed before.
    pub(super) fn push(&mut self, at: u64, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push_back((at, piece));
        while self.bytes > KEPT {
            let Some((_, old)) = self.pieces.pop_front() else { break };
            self.bytes -= old.len();
        }
    }

    /// The bytes from `at` to the end of their piece, at most `most` of them, where they are still kept.
    pub(super) fn get(&self, at: u64, most: usize) -> Option<Bytes> {
        let i = self.pieces.partition_point(|(start, _)| *start <= at).checked_sub(1)?;
        let (start, piece) = &self.pieces[i];
        let skip = usize::try_from(at - start).ok().filter(|skip| *skip < piece.len())?;
        Some(piece.slice(skip..piece.len().min(skip + most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end_and_knows_what_it_has() {
        let mut recent = Recent::default();
        for i in 0..20u64 {
            recent.push(i * 100_000, Bytes::from(vec![u8::try_from(i).unwrap(); 100_000]));
        }
        assert_eq!(recent.get(0, 10), None);
        assert_eq!(recent.get(1_950_000, 10).unwrap(), vec![19; 10]);
        assert_eq!(recent.get(1_899_999, 10).unwrap(), vec![18]);
        assert_eq!(recent.get(2_000_000, 10), None);
    }
}
