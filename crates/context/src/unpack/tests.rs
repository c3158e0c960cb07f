use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

const LIMITS: UnpackLimits = UnpackLimits { entries: 100, bytes: 10_000, entry_bytes: 5_000 };

fn entry(name: &[u8], kind: Kind) -> Vec<u8> {
    Header { name: name.to_vec(), kind, mode: 0o755, mtime: 1 }.encode()
}

fn file(name: &[u8]) -> Vec<u8> {
    let mut blocks = entry(name, Kind::File { size: 4 });
    blocks.extend_from_slice(b"text");
    blocks.resize(blocks.len() + header::padding(4), 0);
    blocks
}

fn folder(name: &[u8]) -> Vec<u8> {
    entry(name, Kind::Folder)
}

fn link(name: &[u8], target: &str) -> Vec<u8> {
    entry(name, Kind::Link { target: target.as_bytes().to_vec() })
}

fn tar(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 2 * BLOCK]].concat()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder to unpack into, and beside it one that nothing may reach.
struct Sandbox {
    all: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let all = tempfile::tempdir().unwrap();
        fs::create_dir(all.path().join("outside")).unwrap();
        fs::write(all.path().join("outside/kept"), "kept").unwrap();
        Self { all }
    }

    fn dest(&self) -> PathBuf {
        self.all.path().join("dest")
    }

    fn unpack(&self, blob: &[u8]) -> Result<Unpacked, UnpackError> {
        let result = unpack(blob, &self.dest(), &LIMITS);
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&self.all.path().join("outside")), ["kept"]);
        assert_eq!(names(self.all.path()), ["dest", "outside"]);
        assert_eq!(fs::read(self.all.path().join("outside/kept")).unwrap(), b"kept");
        result
    }
}

#[test]
fn probe_16_hostile_archives_are_refused_and_reach_nothing() {
    let twice_typed = |kind: u8| {
        let mut blocks = file(b"a");
        blocks[156] = kind;
        blocks[148..156].fill(b' ');
        let sum: u64 = blocks[..BLOCK].iter().map(|byte| u64::from(*byte)).sum();
        blocks[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        blocks
    };
    let sized = |size: &[u8]| {
        let mut blocks = file(b"a");
        blocks[124..124 + size.len()].copy_from_slice(size);
        blocks
    };
    let long = |name: &[u8]| [b"long/".as_slice(), &[b'n'; 120], name].concat();
    let table: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("not normalised", vec![file(b"../outside/x")]),
        ("not normalised", vec![file(b"/outside/x")]),
        ("not normalised", vec![folder(b"a/"), file(b"a/../../outside/x")]),
        ("not normalised", vec![folder(b"../")]),
        ("not normalised", vec![link(b"../outside/l", "x")]),
        ("not normalised", vec![file(b"./a")]),
        ("not normalised", vec![file(b".")]),
        ("not normalised", vec![file(b"")]),
        ("not normalised", vec![folder(b"/")]),
        ("not normalised", vec![file(b"a//b")]),
        ("not normalised", vec![file(b"a/")]),
        ("end with a slash", vec![folder(b"a")]),
        ("not a valid file name", vec![folder(b"long/"), file(&long(b"\0x"))]),
        ("target is not valid", vec![link(b"a", "")]),
        ("does not contain", vec![link(b"l", "../outside"), file(b"l/x")]),
        ("does not contain", vec![file(b"a"), file(b"a/x")]),
        ("does not contain", vec![file(b"a/x")]),
        ("does not contain", vec![folder(b"a/"), file(b"a/b/c")]),
        ("does not contain", vec![folder(b"a/"), file(b"b/x")]),
        ("has the name of another entry", vec![link(b"l", "../outside"), folder(b"l/"), file(b"l/x")]),
        ("has the name of another entry", vec![file(b"a"), folder(b"a/")]),
        ("twice or out of order", vec![file(b"a"), file(b"a")]),
        ("twice or out of order", vec![link(b"a", "../outside/x"), file(b"a")]),
        ("twice or out of order", vec![file(b"b"), file(b"a")]),
        ("hard link", vec![twice_typed(b'1')]),
        ("neither a file", vec![twice_typed(b'3')]),
        ("neither a file", vec![twice_typed(b'x')]),
        ("neither a file", vec![twice_typed(b'g')]),
        ("neither a file", vec![twice_typed(b'4')]),
        ("neither a file", vec![twice_typed(b'6')]),
        ("neither a file", vec![twice_typed(b'7')]),
        ("neither a file", vec![twice_typed(b'S')]),
        ("neither a file", vec![twice_typed(b'V')]),
        ("a size that is not a number", vec![sized(b"-0000000001")]),
        ("a size that is not a number", vec![sized(&[0xff; 12])]),
        ("a size that is not a number", vec![sized(b"00000000 04\0")]),
        ("5000 bytes in one file", vec![entry(b"a", Kind::File { size: 5001 })]),
        ("5000 bytes in one file", vec![entry(b"a", Kind::File { size: u64::MAX })]),
        ("100 entries", (0..=100).map(|at| file(format!("{at:03}").as_bytes())).collect()),
    ];
    for (expected, parts) in table {
        let refused = Sandbox::new().unpack(&gz(&tar(&parts))).expect_err(expected);
        let message = refused.to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn no_more_is_unpacked_than_allowed() {
    let large = |name: &[u8]| {
        let mut blocks = entry(name, Kind::File { size: 4096 });
        blocks.resize(blocks.len() + 4096, 7);
        blocks
    };
    let refused = Sandbox::new().unpack(&gz(&tar(&[large(b"a"), large(b"b"), large(b"c")]))).unwrap_err();
    assert_eq!(refused.to_string(), "the archive is refused: it has more than 10000 bytes unpacked");
}

#[test]
fn probe_16_what_is_there_already_is_not_written_through() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.dest()).unwrap();
    symlink("../outside/x", sandbox.dest().join("a")).unwrap();
    symlink("../outside", sandbox.dest().join("d")).unwrap();
    assert!(sandbox.unpack(&gz(&tar(&[file(b"a")]))).is_err());
    assert!(sandbox.unpack(&gz(&tar(&[folder(b"d/"), file(b"d/x")]))).is_err());
}

#[test]
fn an_archive_that_is_cut_or_goes_on_is_broken() {
    let whole = tar(&[folder(b"a/"), file(b"a/b"), link(b"c", "/etc/passwd")]);
    let blob = gz(&whole);
    assert_eq!(Sandbox::new().unpack(&blob).unwrap().entries, 3);
    for cut in [0, 1, 9, 10, 20, blob.len() - 9, blob.len() - 1] {
        assert!(Sandbox::new().unpack(&blob[..cut]).is_err(), "{cut}");
    }
    for cut in (0..whole.len()).step_by(BLOCK) {
        assert!(Sandbox::new().unpack(&gz(&whole[..cut])).is_err(), "{cut}");
    }
    let more = |tail: &[u8]| Sandbox::new().unpack(&[&blob, tail].concat());
    assert!(more(b"garbage that is no member").is_err());
    assert!(more(&gz(&[0; BLOCK])).is_err());
    let mut padded = whole.clone();
    padded[2 * BLOCK + 100] = 1;
    assert!(Sandbox::new().unpack(&gz(&padded)).unwrap_err().to_string().contains("padding"));
}

#[test]
fn many_members_are_one_archive() {
    let whole = tar(&[folder(b"a/"), file(b"a/b")]);
    let one = Sandbox::new().unpack(&gz(&whole)).unwrap();
    let many: Vec<u8> = whole.chunks(100).flat_map(gz).collect();
    let many = Sandbox::new().unpack(&many).unwrap();
    assert_eq!((one.id, one.bytes), (many.id, many.bytes));
    assert_ne!(one.sha256, many.sha256);
}

#[test]
fn probe_17_empty_members_add_nothing() {
    let whole = tar(&[folder(b"a/"), file(b"a/b")]);
    let one = Sandbox::new().unpack(&gz(&whole)).unwrap();
    let empty = gz(b"").repeat(20_000);
    let blob = [&empty, gz(&whole).as_slice(), &empty].concat();
    let padded = Sandbox::new().unpack(&blob).unwrap();
    assert_eq!((one.id, one.bytes, one.entries), (padded.id, padded.bytes, padded.entries));
    // What is no archive stays none.
    assert!(Sandbox::new().unpack(&empty).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_never_reaches_outside(at in 0usize..4096, byte: u8, seal: bool) {
        let mut whole = tar(&[folder(b"a/"), file(b"a/b"), link(b"l", "../outside"), file(b"m")]);
        let at = at % whole.len();
        let same = whole[at] == byte;
        whole[at] = byte;
        let head = at / BLOCK * BLOCK;
        if seal && whole[head + 257..head + 262] == *b"ustar" {
            whole[head + 148..head + 156].fill(b' ');
            let sum: u64 = whole[head..head + BLOCK].iter().map(|byte| u64::from(*byte)).sum();
            whole[head + 148..head + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let id = Sandbox::new().unpack(&gz(&tar(&[]))).unwrap().id;
        if let Ok(unpacked) = Sandbox::new().unpack(&gz(&whole)) {
            prop_assert!(same || unpacked.id != id);
        }
    }
}
