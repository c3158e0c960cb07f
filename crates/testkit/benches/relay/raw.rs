//! The peer: the same bytes as plain HTTP/1.1 bodies into one file, without numbers and acknowledgements; without readers, or
//! with readers that receive every byte and parse none.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

use crate::process::wait_for_go;

/// One line of a build's output; encoded with its time and source it has about 150 bytes.
pub(crate) fn text(line: u64) -> String {
    format!("{line:>8} compiling the crumb of line {line:>8} with a little butter and salt\n")
}

/// The number of bytes of `lines` encoded lines.
pub(crate) fn bytes(lines: u64) -> u64 {
    (1..=lines).map(|line| encoded(line).len() as u64).sum()
}

/// A line as the agent encodes it.
fn encoded(line: u64) -> String {
    let text = text(line);
    format!(
        "{{\"ts\":\"2026-01-01T00:00:00.000Z\",\"src\":\"kaniko\",\"lvl\":\"info\",\"msg\":\"{}\"}}\n",
        text.trim_end()
    )
}

/// The destination of every body: one file, and the readers.
struct Outlet {
    file: File,
    readers: Vec<TcpStream>,
}

/// Writes every body into one file and to `readers` readers, which connect first. Prints its address.
pub(crate) fn sink(file: &Path, readers: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let mut outlet = Outlet { file: File::create(file)?, readers: Vec::new() };
    for stream in listener.incoming().take(readers) {
        outlet.readers.push(stream?);
    }
    let outlet = Arc::new(Mutex::new(outlet));
    for stream in listener.incoming() {
        let (stream, outlet) = (stream?, Arc::clone(&outlet));
        std::thread::spawn(move || take(&stream, &outlet));
    }
    Ok(())
}

/// Reads until `bytes` have arrived.
pub(crate) fn read(address: &str, bytes: u64) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    println!("here");
    let (mut seen, mut buf) = (0, vec![0; 256 << 10]);
    while seen < bytes {
        let read = stream.read(&mut buf)?;
        ensure!(read > 0, "cut");
        seen += read as u64;
    }
    println!("done");
    Ok(())
}

fn take(stream: &TcpStream, outlet: &Mutex<Outlet>) -> Result<()> {
    let mut input = BufReader::with_capacity(64 << 10, stream);
    let mut left = None;
    let mut line = String::new();
    while input.read_line(&mut line)? > 2 {
        if let Some(len) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            left = Some(len.trim().parse::<usize>()?);
        }
        line.clear();
    }
    let mut left = left.context("a length")?;
    let mut buf = vec![0; 64 << 10];
    while left > 0 {
        let read = input.read(&mut buf)?;
        ensure!(read > 0, "cut");
        let mut outlet = outlet.lock().unwrap_or_else(PoisonError::into_inner);
        outlet.file.write_all(&buf[..read])?;
        for reader in &mut outlet.readers {
            reader.write_all(&buf[..read])?;
        }
        drop(outlet);
        left -= read;
    }
    let mut back = stream;
    back.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    Ok(())
}

/// Writes its bytes into a file first, like an agent's spool, then sends the file as one body.
pub(crate) fn send(address: &str, run: usize, lines: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("body");
    let mut file = std::io::BufWriter::new(File::create(&path)?);
    for line in 1..=lines {
        file.write_all(encoded(line).as_bytes())?;
    }
    file.flush()?;
    drop(file);
    let len = std::fs::metadata(&path)?.len();
    println!("{len}");
    wait_for_go()?;
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "POST /{run} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {len}\r\n\r\n")?;
    let mut body = File::open(&path)?;
    let mut buf = vec![0; 64 << 10];
    loop {
        let read = body.read(&mut buf)?;
        if read == 0 {
            break;
        }
        stream.write_all(&buf[..read])?;
    }
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    ensure!(answer.contains("200"), "{answer}");
    println!("done");
    Ok(())
}
