//! Tars as programs write them, as we write them, and broken ones.

use futures_util::stream;

use super::*;

/// Reads all of a tar that comes in pieces of `length` bytes: the entries, each with its content.
async fn read(tar: &[u8], length: usize) -> Result<Vec<(Entry, Vec<u8>)>, Flaw> {
    let pieces: Vec<_> = tar.chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let mut reader = Reader::new(stream::iter(pieces).boxed());
    let mut all = Vec::new();
    while let Some(entry) = reader.entry().await? {
        let mut content = Vec::new();
        while let Some(piece) = reader.piece().await? {
            content.extend_from_slice(&piece);
        }
        all.push((entry, content));
    }
    reader.drain().await?;
    Ok(all)
}

fn written(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (entry, content) in entries {
        tar.extend_from_slice(&entry.head().unwrap());
        tar.extend_from_slice(content);
        tar.extend_from_slice(&padding(entry.size));
    }
    tar.extend_from_slice(&END);
    tar
}

#[tokio::test]
async fn what_is_written_is_read_whatever_the_pieces() {
    let long = |text: &str| text.repeat(50).into_bytes();
    let file = |path: &[u8], content: &[u8]| (Entry::file(path, content.len() as u64), content.to_vec());
    let link = Entry { kind: Kind::Symlink, target: long("y/"), ..Entry::file(long("d/"), 0) };
    let link = Entry { path: [&link.path[..], b"l"].concat(), target: [&link.target[..], b"t"].concat(), ..link };
    let folder = Entry { kind: Kind::Folder, mode: 0o755, owner: (1000, 1001), modified: 7, ..Entry::file("d/", 0) };
    let entries =
        [file(b"a", b"one"), (folder, Vec::new()), file(b"d/\xff", &[7; 513]), (link, Vec::new()), file(b"e", b"")];
    let tar = written(&entries);
    for length in [1, 511, 512, 513, 100_000] {
        assert_eq!(read(&tar, length).await.unwrap(), entries, "{length}");
    }
    let big = Entry::file("big", 9 << 30);
    let head = [&big.head().unwrap()[..], &END].concat();
    let mut reader = Reader::new(stream::iter([Ok(head.into())]).boxed());
    assert_eq!(reader.entry().await.unwrap(), Some(big), "sizes above 8 GiB have a way of their own");
}

#[tokio::test]
async fn what_extensions_say_counts() {
    let mut builder = Builder::new(Vec::new());
    let (path, size) = ("p".repeat(300), b"3");
    builder.append_pax_extensions([("path", path.as_bytes()), ("size", size), ("mtime", b"1.5")]).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(0);
    header.set_path("other").unwrap();
    header.set_cksum();
    builder.append(&header, io::empty()).unwrap();
    let mut tar = builder.into_inner().unwrap();
    tar.truncate(tar.len() - END.len());
    tar.extend_from_slice(b"abc");
    tar.extend_from_slice(&[0; 509]);
    tar.extend_from_slice(&END);
    let all = read(&tar, 600).await.unwrap();
    assert_eq!((all[0].0.path.clone(), all[0].1.as_slice()), (path.into_bytes(), &b"abc"[..]));
}

#[tokio::test]
async fn what_is_broken_is_said() {
    let tar = written(&[(Entry::file("a", 3), b"abc".to_vec())]);
    for cut in [0, 1, 511, 512, 514, 1023, 1024, 1100] {
        assert!(matches!(read(&tar[..cut], 512).await, Err(Flaw::Cut)), "{cut}");
    }
    let mut wrong = tar.clone();
    wrong[0] = b'b';
    assert!(matches!(read(&wrong, 512).await, Err(Flaw::Malformed(_))));
    assert!(matches!(read(&[b'x'; 2048], 512).await, Err(Flaw::Malformed(_))));
    let refused = |kind: EntryType, size: u64, said: Vec<(&str, &[u8])>| {
        let mut builder = Builder::new(Vec::new());
        builder.append_pax_extensions(said).unwrap();
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_path("x").unwrap();
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
        builder.into_inner().unwrap()
    };
    for tar in [
        refused(EntryType::GNUSparse, 0, vec![]),
        refused(EntryType::Regular, 0, vec![("GNU.sparse.major", b"1")]),
        refused(EntryType::Regular, 0, vec![("size", b"many")]),
        refused(EntryType::Symlink, 9, vec![]),
        refused(EntryType::GNULongName, 1 << 30, vec![]),
    ] {
        assert!(matches!(read(&tar, 512).await, Err(Flaw::Malformed(_))));
    }
}
