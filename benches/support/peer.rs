//! The two ends between which a forwarder stands: blocking threads that sink, pour or echo, and who connects to them.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// What the client says first: what it wants.
const UP: u8 = b'u';
const DOWN: u8 = b'd';
const ECHO: u8 = b'e';

/// One transfer ends when it has moved so much, or has taken so long.
const BYTES: u64 = 1 << 30;
const LONGEST: Duration = Duration::from_secs(1);

const BUFFER: usize = 256 << 10;

/// As many connections are served at the same time.
const THREADS: usize = 4;

/// What one transfer was.
pub struct Moved {
    pub bytes: u64,
    pub seconds: f64,
}

impl Moved {
    pub fn gbit_per_second(&self) -> f64 {
        self.bytes as f64 * 8e-9 / self.seconds
    }
}

/// A server in this process, until it ends.
pub fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..THREADS {
        let listener = listener.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = vec![0; BUFFER];
            loop {
                // Who went away in the middle is nobody's trouble here.
                let _ = answer(&mut listener.accept().unwrap().0, &mut buffer);
            }
        });
    }
    listener.local_addr().unwrap()
}

fn answer(client: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    client.set_nodelay(true)?;
    client.read_exact(&mut buffer[..1])?;
    match buffer[0] {
        UP => {
            drain(client, buffer)?;
            client.write_all(&[UP])
        }
        DOWN => pour(client, buffer).map(drop),
        _ => {
            client.write_all(&[ECHO])?;
            loop {
                match client.read(buffer)? {
                    0 => return Ok(()),
                    read => client.write_all(&buffer[..read])?,
                }
            }
        }
    }
}

fn pour(to: &mut TcpStream, buffer: &[u8]) -> io::Result<u64> {
    let (started, mut bytes) = (Instant::now(), 0);
    while bytes < BYTES && started.elapsed() < LONGEST {
        to.write_all(buffer)?;
        bytes += buffer.len() as u64;
    }
    Ok(bytes)
}

fn drain(from: &mut TcpStream, buffer: &mut [u8]) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        match from.read(buffer)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

fn connect(at: SocketAddr, wanted: u8) -> io::Result<TcpStream> {
    let mut server = TcpStream::connect(at)?;
    server.set_nodelay(true)?;
    server.write_all(&[wanted])?;
    Ok(server)
}

/// Sends as much as a transfer is, until the server says that it has it all.
pub fn up(at: SocketAddr) -> Moved {
    let mut server = connect(at, UP).unwrap();
    let started = Instant::now();
    let bytes = pour(&mut server, &vec![0; BUFFER]).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    server.read_exact(&mut [0]).unwrap();
    Moved { bytes, seconds: started.elapsed().as_secs_f64() }
}

/// Receives as much as a transfer is.
pub fn down(at: SocketAddr) -> Moved {
    let started = Instant::now();
    let mut server = connect(at, DOWN).unwrap();
    let bytes = drain(&mut server, &mut vec![0; BUFFER]).unwrap();
    Moved { bytes, seconds: started.elapsed().as_secs_f64() }
}

/// Connects, sends a byte and waits for it to come back; in microseconds.
pub fn touch(at: SocketAddr) -> f64 {
    let started = Instant::now();
    assert!(try_touch(at), "nothing echoes at {at}");
    started.elapsed().as_secs_f64() * 1e6
}

/// The same; whether it came back.
pub fn try_touch(at: SocketAddr) -> bool {
    let touched = || {
        let mut server = connect(at, ECHO)?;
        server.set_read_timeout(Some(Duration::from_secs(20)))?;
        server.read_exact(&mut [0])
    };
    touched().is_ok()
}
