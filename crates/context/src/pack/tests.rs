use std::os::unix::net::UnixListener;
use std::path::Path;

use bakery_core::message::Hint as _;

use super::*;

fn writer() -> (ArchiveWriter, gzip::Members, Receiver<Arc<Piece>>) {
    let (compressor, members) = gzip::pipeline(1);
    let (to_identity, pieces) = sync_channel(4);
    (ArchiveWriter::new(compressor, to_identity), members, pieces)
}

fn changing(declared: u64, found: &str) -> (Result<(), PackError>, Vec<String>) {
    let folder = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(folder.path(), found).unwrap();
    let mtime = folder.as_file().metadata().unwrap().modified().unwrap();
    let mtime = mtime.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let kind = Kind::File { size: declared };
    let header = Header { name: b"log".to_vec(), kind, mode: 0o644, mtime };
    let (mut writer, _members, _pieces) = writer();
    let mut notices = Notices::default();
    let content = Some(Content::Of(File::open(folder.path()).unwrap()));
    let added = writer.entry(&header, content, &mut notices);
    (added, notices.into_messages().into_iter().map(|message| message.text).collect())
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_noticed() {
    let (same, notices) = changing(4, "text");
    assert!(same.is_ok() && notices.is_empty());
    let (grown, notices) = changing(3, "text");
    assert!(grown.is_ok() && notices.len() == 1 && notices[0].contains("`log` changed"), "{notices:?}");
    let (shrunk, _) = changing(5, "text");
    assert!(matches!(shrunk, Err(PackError::Shrank { path }) if path == "log"));
}

#[test]
fn sockets_pipes_and_devices_are_left_out_with_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    std::fs::write(folder.path().join("file"), "text").unwrap();
    let packed = pack(&SourceTree::new(folder.path(), &[]), &mut Vec::new(), 6).unwrap();
    assert_eq!((packed.entries, packed.bytes), (1, 4));
    assert_eq!(packed.notices.len(), 2, "{:?}", packed.notices);
    assert!(packed.notices[0].text.starts_with("`pipe` is a socket, a pipe or a device"));
}

#[test]
fn a_full_disk_is_reported_as_one() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), vec![1; 30 << 20]).unwrap();
    let full = pack(&SourceTree::new(folder.path(), &[]), &mut Full, 6).unwrap_err();
    assert!(matches!(full, PackError::Write(cause) if cause.kind() == io::ErrorKind::StorageFull));
}

#[test]
fn a_path_that_is_not_a_folder_is_named() {
    for path in ["/nowhere/at/all", "/dev/null"] {
        let error = pack(&SourceTree::new(Path::new(path), &[]), &mut Vec::new(), 6).unwrap_err();
        assert!(error.to_string().contains(path) && error.hint().unwrap().contains("--repo"), "{error}");
    }
}
