//! The tar headers of a canonical archive.
//!
//! An archive is canonical when its entries are folders, files and symbolic links in strict byte order of their names
//! (a folder's name ends in a slash), each below a folder that is listed before it, owned by 0, in the GNU form, padded
//! with zeros and ended by two empty blocks. [`Header::encode`] is the only writer, and the reader accepts only what it
//! would have written: a tree has exactly one archive, and an archive exactly one meaning.

/// Size of a tar block in bytes.
pub(crate) const BLOCK: usize = 512;
/// Maximum length of a name or of a link's target in bytes; Linux accepts no longer path.
pub(crate) const NAME_BYTES: usize = 4096;

const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;
const SUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const LONG_NAME: u8 = b'L';
const LONG_LINK: u8 = b'K';

/// The type of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File { size: u64 },
    Folder,
    Link { target: Vec<u8> },
}

/// One entry of an archive, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Path below the root; that of a folder ends with a slash.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits, setuid, setgid and sticky included.
    pub(crate) mode: u32,
    /// Whole seconds since 1970.
    pub(crate) mtime: u64,
}

/// Why a header cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("{0}")]
    NotCanonical(&'static str),
}

/// What [`Header::decode`] found.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// An entry, and the blocks it was decoded from.
    Entry(Header, Vec<u8>),
    /// The two empty blocks that end the archive.
    End,
}

impl Header {
    /// Encodes the blocks that precede the entry's content.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut blocks = Vec::with_capacity(BLOCK);
        let (kind, size, target) = match &self.kind {
            Kind::File { size } => (b'0', *size, [].as_slice()),
            Kind::Folder => (b'5', 0, [].as_slice()),
            Kind::Link { target } => (b'2', 0, target.as_slice()),
        };
        if target.len() > LINK.len() {
            long(&mut blocks, LONG_LINK, target);
        }
        if self.name.len() > NAME.len() {
            long(&mut blocks, LONG_NAME, &self.name);
        }
        blocks.extend_from_slice(&block(kind, &self.name, target, self.mode, size, self.mtime));
        blocks
    }

    /// Decodes the blocks of one entry.
    pub(crate) fn decode(from: &mut dyn std::io::Read) -> Result<Decoded, HeaderError> {
        let mut raw = Vec::new();
        let (mut name, mut target) = (None, None);
        loop {
            let mut head = [0; BLOCK];
            from.read_exact(&mut head)?;
            if raw.is_empty() && head == [0; BLOCK] {
                from.read_exact(&mut head)?;
                let end = head == [0; BLOCK];
                return if end {
                    Ok(Decoded::End)
                } else {
                    Err(HeaderError::NotCanonical("a single empty block"))
                };
            }
            raw.extend_from_slice(&head);
            let size = number(&head[SIZE]).ok_or(HeaderError::NotCanonical("a size that is not a number"))?;
            let long = match head[KIND] {
                LONG_NAME => &mut name,
                LONG_LINK => &mut target,
                _ => {
                    let header = Self::fields(&head, size, name, target)?;
                    if header.encode() != raw {
                        return Err(HeaderError::NotCanonical("a header that is not in canonical form"));
                    }
                    return Ok(Decoded::Entry(header, raw));
                }
            };
            if long.is_some() {
                // Canonical headers have one at most; any number of them would fill the memory before that is found.
                return Err(HeaderError::NotCanonical("two long names for one entry"));
            }
            let len = usize::try_from(size).ok().filter(|len| (1..=NAME_BYTES + 1).contains(len));
            let len = len.ok_or(HeaderError::NotCanonical("a name of more than 4096 bytes"))?;
            let start = raw.len();
            raw.resize(start + len.next_multiple_of(BLOCK), 0);
            from.read_exact(&mut raw[start..])?;
            *long = Some(raw[start..start + len - 1].to_vec());
        }
    }

    fn fields(
        head: &[u8; BLOCK],
        size: u64,
        name: Option<Vec<u8>>,
        target: Option<Vec<u8>>,
    ) -> Result<Self, HeaderError> {
        let name = name.unwrap_or_else(|| text(&head[NAME]));
        let target = target.unwrap_or_else(|| text(&head[LINK]));
        let kind = match head[KIND] {
            b'0' => Kind::File { size },
            b'5' => Kind::Folder,
            b'2' => Kind::Link { target },
            b'1' => return Err(HeaderError::NotCanonical("a hard link, which is not supported")),
            _ => {
                return Err(HeaderError::NotCanonical(
                    "an entry that is neither a file nor a folder nor a symbolic link",
                ));
            }
        };
        let mode = number(&head[MODE]).and_then(|mode| u32::try_from(mode).ok());
        let mode = mode.filter(|mode| *mode <= 0o7777).ok_or(HeaderError::NotCanonical("an invalid mode"))?;
        let mtime = number(&head[MTIME]).ok_or(HeaderError::NotCanonical("a time that is not a number"))?;
        Ok(Self { name, kind, mode, mtime })
    }
}

/// A header block with its time set to zero, as the identity of an archive is computed.
pub(crate) fn timeless(block: &[u8]) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    out.copy_from_slice(block);
    put(&mut out[MTIME], 0);
    seal(&mut out);
    out
}

/// Number of zeros between the end of a content and the end of its last block.
pub(crate) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    (BLOCK - over) % BLOCK
}

/// Appends a name that is too long for its field in the GNU form: as an entry of its own before the real one.
fn long(blocks: &mut Vec<u8>, kind: u8, text: &[u8]) {
    let size = text.len() + 1;
    blocks.extend_from_slice(&block(kind, b"././@LongLink", &[], 0o644, size as u64, 0));
    blocks.extend_from_slice(text);
    blocks.resize(blocks.len() + 1 + padding(size as u64), 0);
}

fn block(kind: u8, name: &[u8], target: &[u8], mode: u32, size: u64, mtime: u64) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    cut(&mut out[NAME], name);
    put(&mut out[MODE], u64::from(mode));
    put(&mut out[108..116], 0);
    put(&mut out[116..124], 0);
    put(&mut out[SIZE], size);
    put(&mut out[MTIME], mtime);
    out[KIND] = kind;
    cut(&mut out[LINK], target);
    out[257..265].copy_from_slice(b"ustar  \0");
    seal(&mut out);
    out
}

fn seal(block: &mut [u8; BLOCK]) {
    block[SUM].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    put(&mut block[SUM.start..SUM.end - 1], sum);
}

fn cut(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
}

/// Writes octal digits and a zero byte; a number that is too large for them is written in base 256, as GNU tar does.
fn put(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    if digits < 21 && number >> (3 * digits) != 0 {
        field.fill(0);
        field[0] = 0x80;
        let start = field.len() - 8;
        field[start..].copy_from_slice(&number.to_be_bytes());
        return;
    }
    let mut rest = number;
    for digit in field[..digits].iter_mut().rev() {
        *digit = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    field[digits] = 0;
}

fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        let (high, low) = field.split_at(field.len().checked_sub(8)?);
        let fits = high[1..].iter().all(|byte| *byte == 0);
        return fits.then(|| low.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    field.iter().take_while(|byte| **byte != 0).try_fold(0, |sum: u64, byte| match byte {
        b'0'..=b'7' => Some(sum << 3 | u64::from(byte - b'0')),
        _ => None,
    })
}

fn text(field: &[u8]) -> Vec<u8> {
    field.iter().copied().take_while(|byte| *byte != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(header: &Header) {
        let blocks = header.encode();
        assert_eq!(blocks.len() % BLOCK, 0);
        match Header::decode(&mut blocks.as_slice()).unwrap() {
            Decoded::Entry(read, raw) => assert_eq!((&read, raw), (header, blocks)),
            Decoded::End => panic!("an entry was expected"),
        }
    }

    #[test]
    fn every_kind_of_header_round_trips() {
        let file = |name: &[u8], size, mtime| Header {
            name: name.to_vec(),
            kind: Kind::File { size },
            mode: 0o4755,
            mtime,
        };
        round_trip(&file(b"a", 0, 0));
        round_trip(&file(&[b'x'; 100], 511, 1_700_000_000));
        round_trip(&file(&[b'x'; 101], 8 << 30, 1 << 40));
        round_trip(&file(&[0xff; NAME_BYTES], u64::MAX, u64::MAX));
        let link = |len| Kind::Link { target: vec![b'/'; len] };
        for kind in [Kind::Folder, link(1), link(100), link(101), link(511), link(512)] {
            round_trip(&Header { name: b"d/e/".to_vec(), kind, mode: 0, mtime: 7 });
        }
    }

    #[test]
    fn a_header_that_is_not_canonical_is_refused() {
        let good = Header { name: b"a".to_vec(), kind: Kind::Folder, mode: 0o755, mtime: 1 }.encode();
        for at in [3, 99, 101, 115, 120, 130, 147, 155, 156, 200, 260, 270, 340, 500] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Header::decode(&mut bad.as_slice()).is_err(), "byte {at}");
        }
        assert!(Header::decode(&mut &good[..511]).is_err());
        let mut lone = vec![0; BLOCK];
        lone.extend_from_slice(&good);
        assert!(Header::decode(&mut lone.as_slice()).is_err());
    }

    #[test]
    fn probe_17_any_number_of_long_names_takes_no_memory() {
        let mut one = Vec::new();
        long(&mut one, LONG_NAME, &[b'x'; 4000]);
        let many = one.repeat(1000);
        let mut left = many.as_slice();
        let error = Header::decode(&mut left).unwrap_err();
        assert!(error.to_string().contains("two long names for one entry"), "{error}");
        assert!(many.len() - left.len() < 3 * one.len(), "the rest is not read");
    }

    #[test]
    fn a_timeless_block_differs_only_in_its_time() {
        let at = |mtime| Header { name: b"a/".to_vec(), kind: Kind::Folder, mode: 0o755, mtime }.encode();
        assert_eq!(timeless(&at(12345)).as_slice(), at(0));
    }
}
