//! A packed tree is unpacked unchanged, with the same identity, and tar can read it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::Cursor;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bakery_context::{ContextFolder, Packed, SourceTree, UnpackLimits, Unpacked, pack, unpack};
use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File { content: Vec<u8>, mode: u32, mtime: i64 },
    Link { target: Vec<u8> },
    Folder { mode: u32, mtime: i64 },
}

type Tree = BTreeMap<Vec<u8>, Node>;

fn read_tree(root: &Path) -> Tree {
    fn read(root: &Path, below: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let path = below.join(entry.unwrap().file_name());
            let meta = root.join(&path).symlink_metadata().unwrap();
            let (mode, mtime) = (meta.mode() & 0o7777, meta.mtime());
            let node = if meta.is_symlink() {
                Node::Link { target: fs::read_link(root.join(&path)).unwrap().into_os_string().into_vec() }
            } else if meta.is_dir() {
                read(root, &path, tree);
                Node::Folder { mode, mtime }
            } else {
                Node::File { content: fs::read(root.join(&path)).unwrap(), mode, mtime }
            };
            tree.insert(path.into_os_string().into_vec(), node);
        }
    }
    let mut tree = Tree::new();
    read(root, Path::new(""), &mut tree);
    tree
}

fn write_tree<'t>(root: &Path, nodes: impl DoubleEndedIterator<Item = (&'t Vec<u8>, &'t Node)> + Clone) {
    let at = |mtime: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(mtime.try_into().unwrap());
    for (path, node) in nodes.clone() {
        let path = root.join(OsStr::from_bytes(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match node {
            Node::Folder { .. } => fs::create_dir_all(path).unwrap(),
            Node::Link { target } => symlink(OsStr::from_bytes(target), path).unwrap(),
            Node::File { content, mode, mtime } => {
                fs::write(&path, content).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
                fs::File::open(&path).unwrap().set_modified(at(*mtime)).unwrap();
            }
        }
    }
    for (path, node) in nodes.rev() {
        if let Node::Folder { mode, mtime } = node {
            let folder = fs::File::open(root.join(OsStr::from_bytes(path))).unwrap();
            folder.set_modified(at(*mtime)).unwrap();
            folder.set_permissions(Permissions::from_mode(*mode)).unwrap();
        }
    }
}

fn packed(root: &Path, folders: &[ContextFolder]) -> (Packed, Vec<u8>) {
    let mut blob = Vec::new();
    let packed = pack(&SourceTree::new(root, folders), &mut blob, 6).unwrap();
    (packed, blob)
}

fn unpacked(blob: &[u8], dest: &Path) -> Unpacked {
    unpack(blob, dest, &UnpackLimits::default()).unwrap()
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => b'a'..=b'c', 2 => b'!'..=b'/', 1 => 0x80u8..=0xff];
    let short = prop::collection::vec(byte.prop_filter("a separator", |b| *b != b'/'), 1..4);
    let any = prop_oneof![9 => short, 1 => "[a-z]{90,160}".prop_map(String::into_bytes)];
    any.prop_filter("not a name", |name| name != b"." && name != b".." && name != b".git")
}

fn node() -> impl Strategy<Value = Node> {
    let content = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..1100),
        1 => (0usize..3 << 20, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ];
    let mode = prop_oneof![Just(0o644u32), Just(0o755), Just(0o4755), Just(0o600), Just(0o2775)];
    let mtime = 0i64..15_000_000_000;
    prop_oneof![
        5 => (content, mode, mtime.clone()).prop_map(|(content, mode, mtime)| Node::File { content, mode, mtime }),
        1 => prop::collection::vec(1u8.., 1..200).prop_map(|target| Node::Link { target }),
        2 => (prop_oneof![Just(0o755u32), Just(0o1777), Just(0o700)], mtime)
            .prop_map(|(mode, mtime)| Node::Folder { mode, mtime }),
    ]
}

/// A tree in which every parent of an entry is a folder of its own.
fn tree() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec(name(), 1..5).prop_map(|parts| parts.join(&b'/'));
    prop::collection::vec((path, node()), 0..24).prop_map(|entries| {
        let mut tree = Tree::new();
        for (path, node) in entries {
            let ends = || path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
            let parents_are_folders =
                ends().all(|at| matches!(tree.get(&path[..at]), None | Some(Node::Folder { .. })));
            if parents_are_folders && !tree.contains_key(&path) {
                for at in ends() {
                    let parent = Node::Folder { mode: 0o750, mtime: 77 };
                    tree.entry(path[..at].to_vec()).or_insert(parent);
                }
                tree.insert(path, node);
            }
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_packed_tree_is_unpacked_unchanged(tree in tree()) {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir(&from).unwrap();
        write_tree(&from, tree.iter());
        let (packed, blob) = packed(&from, &[]);
        prop_assert!(packed.notices.is_empty(), "{:?}", packed.notices);
        let unpacked = unpacked(&blob, &to);
        let Packed { id, sha256, len, entries, bytes, .. } = packed;
        let reported = Unpacked { id, sha256, len, entries, bytes };
        prop_assert_eq!(unpacked, reported);
        prop_assert_eq!(read_tree(&to), tree);
    }

    #[test]
    fn times_and_the_order_on_disk_do_not_change_the_identity(tree in tree(), later in 1i64..1000) {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        write_tree(&one, tree.iter());
        let mut aged = tree;
        for node in aged.values_mut() {
            if let Node::File { mtime, .. } | Node::Folder { mtime, .. } = node {
                *mtime += later;
            }
        }
        write_tree(&two, aged.iter().rev());
        // Written in reverse, folders may have been created before their mode was known: set it as in `one`.
        write_tree_modes(&two, &aged);
        prop_assert_eq!(packed(&one, &[]).0.id, packed(&two, &[]).0.id);
    }
}

fn write_tree_modes(root: &Path, tree: &Tree) {
    for (path, node) in tree {
        if let Node::Folder { mode, .. } = node {
            fs::set_permissions(root.join(OsStr::from_bytes(path)), Permissions::from_mode(*mode)).unwrap();
        }
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0u32..40 {
        let noise: Vec<u8> =
            (0..100_000u32).flat_map(|at| (at.wrapping_mul(index + 7) >> 5).to_le_bytes()).collect();
        fs::write(folder.path().join(format!("f{index}")), noise).unwrap();
    }
    let first = packed(folder.path(), &[]);
    assert!((0..3).all(|_| packed(folder.path(), &[]) == first));
    assert!(first.1.windows(3).filter(|at| at == b"\x1f\x8b\x08").count() >= 4, "several members");
}

#[test]
fn every_change_except_a_time_changes_the_identity() {
    let change = |change: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/f"), "text").unwrap();
        symlink("f", folder.path().join("d/l")).unwrap();
        change(folder.path());
        packed(folder.path(), &[]).0.id
    };
    let same = change(&|_| ());
    assert_eq!(same, change(&|_| ()));
    let changes: [&dyn Fn(&Path); 6] = [
        &|root| fs::write(root.join("d/f"), "texT").unwrap(),
        &|root| fs::rename(root.join("d/f"), root.join("d/g")).unwrap(),
        &|root| fs::set_permissions(root.join("d/f"), Permissions::from_mode(0o700)).unwrap(),
        &|root| fs::set_permissions(root.join("d"), Permissions::from_mode(0o700)).unwrap(),
        &|root| fs::create_dir(root.join("e")).unwrap(),
        &|root| {
            fs::remove_file(root.join("d/l")).unwrap();
            symlink("g", root.join("d/l")).unwrap();
        },
    ];
    for (index, made) in changes.into_iter().enumerate() {
        assert_ne!(same, change(made), "change {index}");
    }
}

#[test]
fn tar_reads_the_same_entries() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let long = "n".repeat(120);
    fs::create_dir_all(root.join("deep").join(&long).join(&long)).unwrap();
    fs::write(root.join("deep").join(&long).join(&long).join("f"), "x").unwrap();
    symlink("t".repeat(300), root.join("link")).unwrap();
    fs::write(root.join(OsString::from_vec(b"byte-\xff".to_vec())), "y").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::hard_link(root.join("empty"), root.join("hard")).unwrap();
    let (_, blob) = packed(root, &[]);
    let mut archive = tar::Archive::new(MultiGzDecoder::new(Cursor::new(&blob)));
    let mut seen = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0));
        let name = entry.path_bytes().into_owned();
        let meta = root.join(OsStr::from_bytes(&name)).symlink_metadata().unwrap();
        assert_eq!(entry.header().mtime().unwrap(), u64::try_from(meta.mtime()).unwrap());
        // A hard link is packed as a file of its own.
        let target = entry.link_name_bytes().map(|target| target.len());
        assert_eq!(target, (name == b"link").then_some(300));
        seen.push(name);
    }
    let listed: Vec<_> = read_tree(root).into_keys().collect();
    let mut seen: Vec<_> =
        seen.into_iter().map(|name| name.strip_suffix(b"/").unwrap_or(&name).to_vec()).collect();
    assert_eq!(seen.len(), 8);
    seen.sort();
    assert_eq!(seen, listed);
}
