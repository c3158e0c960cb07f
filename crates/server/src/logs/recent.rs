//! The last bytes of a log, in memory: followers near its end read them from here.

use std::collections::VecDeque;

use bytes::Bytes;

/// Bytes kept in memory per log.
const KEPT: usize = 1 << 20;

/// Consecutive writes with their offsets, the newest last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    writes: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Recent {
    /// Adds a write at offset `at`, which must follow the last one.
    pub(super) fn push(&mut self, at: u64, written: Bytes) {
        self.bytes += written.len();
        self.writes.push_back((at, written));
        while self.bytes > KEPT {
            let Some((_, old)) = self.writes.pop_front() else { break };
            self.bytes -= old.len();
        }
    }

    /// The bytes from `at` to the end of their write, at most `most` of them; `None` where they are no longer kept.
    pub(super) fn get(&self, at: u64, most: usize) -> Option<Bytes> {
        let i = self.writes.partition_point(|(start, _)| *start <= at).checked_sub(1)?;
        let (start, written) = &self.writes[i];
        let skip = usize::try_from(at - start).ok().filter(|skip| *skip < written.len())?;
        Some(written.slice(skip..written.len().min(skip + most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_bytes_are_kept() {
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
