//! Clients of the sandboxes' host ports: bytes that can be told apart, and how a connection ends.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

/// How long a client waits for the next byte. Generous: the other tests load the machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Numbers that look random and are the same for the same seed (xorshift64*).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of `seed`; different seeds, even neighbours, have nothing in common.
    pub fn new(seed: u64) -> Self {
        let mut random = Self((seed ^ 0x9e37_79b9_7f4a_7c15).max(1));
        for _ in 0..8 {
            random.number();
        }
        random
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.number() >> 16) % end
    }

    /// So many bytes, of which the first is no zero: a mimic would take that for a command.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes.iter_mut().take(1).for_each(|b| *b |= 1);
        bytes
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    End,
    Reset,
}

/// A connection to a host port of 127.0.0.1, which must be accepted.
#[track_caller]
pub fn dial(port: u16) -> TcpStream {
    try_dial(port).unwrap_or_else(|e| panic!("port {port}: {e}"))
}

/// As [`dial`], if somebody listens there.
pub fn try_dial(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A connection to a mimic's echo that begins with one of its commands.
#[track_caller]
pub fn command(port: u16, words: &str) -> TcpStream {
    let mut stream = dial(port);
    stream.write_all(format!("\0{words}\n").as_bytes()).unwrap();
    stream
}

/// Reads to the end: what there was, and which end.
#[track_caller]
pub fn drain(mut stream: &TcpStream) -> (Vec<u8>, Ending) {
    let mut heard = Vec::new();
    let mut part = vec![0; 1 << 16];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return (heard, Ending::End),
            Ok(read) => heard.extend(&part[..read]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return (heard, Ending::Reset),
            Err(e) => panic!("neither a byte nor an end: {e}"),
        }
    }
}

/// Sends `data` and reads as much, which must be `data` in the mimic's own voice (`MIMIC_XOR`; 0 has none).
///
/// # Errors
/// What the connection died of; [`ErrorKind::InvalidData`] if a byte is another than it must be.
pub fn exchange(stream: &TcpStream, data: &[u8], voice: u8) -> io::Result<()> {
    thread::scope(|scope| {
        let sender = scope.spawn(|| { stream }.write_all(data));
        let mut part = vec![0; 1 << 16];
        let mut read = 0;
        while read < data.len() {
            let most = part.len().min(data.len() - read);
            match { stream }.read(&mut part[..most])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                length => {
                    let right = part[..length].iter().zip(&data[read..]).all(|(back, sent)| *back == sent ^ voice);
                    if !right {
                        let wrong = format!("a byte between {read} and {} is not what it must be", read + length);
                        return Err(io::Error::new(ErrorKind::InvalidData, wrong));
                    }
                    read += length;
                }
            }
        }
        sender.join().unwrap()
    })
}

/// Connects, speaks, and is answered by the right one.
///
/// # Errors
/// As [`exchange`], or nobody listens.
pub fn speak(port: u16, voice: u8) -> io::Result<()> {
    let stream = try_dial(port)?;
    exchange(&stream, format!("hello {port}\n").as_bytes(), voice)
}

/// Ends the client's side.
#[track_caller]
pub fn end(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}

/// What a mimic makes up: so many bytes.
pub fn made_up(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// Makes the close of the connection a reset.
#[track_caller]
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}
