//! Memory and cpu limits of a sandbox, in the notation that Docker's users know.

use std::fmt;

use super::names::Invalid;

/// How many containers the kernel allows on one bridge (`FAILURES.md` 21).
pub const BRIDGE: u64 = 1_023;

/// A memory limit in bytes; memory and swap together have the same limit, so there is no swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory(u64);

impl Memory {
    /// The engine refuses less than 6 MiB; below this no lab image starts.
    pub const MIN: u64 = 16 << 20;

    /// Parses bytes with an optional unit `k`, `m` or `g` in powers of 1,024, as `docker run --memory` does.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = || {
            Invalid::new(
                "memory",
                text,
                "memory is a number of bytes, or one with k, m or g after it (512m, 2g), of at least 16m",
            )
        };
        let lower = text.to_ascii_lowercase();
        let lower = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower);
        let (digits, shift) = match lower.as_bytes().last() {
            Some(b'k') => (&lower[..lower.len() - 1], 10),
            Some(b'm') => (&lower[..lower.len() - 1], 20),
            Some(b'g') => (&lower[..lower.len() - 1], 30),
            _ => (lower, 0),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let number: u64 = digits.parse().map_err(|_| invalid())?;
        let bytes = number.checked_mul(1 << shift).ok_or_else(invalid)?;
        if bytes < Self::MIN || bytes > i64::MAX as u64 {
            return Err(invalid());
        }
        Ok(Self(bytes))
    }

    /// A limit that the engine shows; others may have set it lower than we allow. `None`: there is no limit.
    pub fn in_force(bytes: i64) -> Option<Self> {
        u64::try_from(bytes).ok().filter(|b| *b > 0).map(Self)
    }

    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b if b < Self::MIN => write!(f, "{b}"),
            b if b % (1 << 30) == 0 => write!(f, "{}g", b >> 30),
            b if b % (1 << 20) == 0 => write!(f, "{}m", b >> 20),
            b => write!(f, "{b}"),
        }
    }
}

/// A cpu limit in thousandths of one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus(u32);

impl Cpus {
    /// Parses a decimal number of cores such as `0.5` or `2`, at least 0.01 (the engine's own minimum).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid =
            || Invalid::new("cpus", text, "cpus is a decimal number of cores from 0.01 to 1024, such as 0.5 or 2");
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(invalid());
        }
        let cores: f64 = text.parse().map_err(|_| invalid())?;
        if !(0.01..=1024.0).contains(&cores) {
            return Err(invalid());
        }
        Ok(Self((cores * 1000.0).round() as u32))
    }

    /// A limit that the engine shows, in its unit; `None`: there is no limit.
    pub fn in_force(nano: i64) -> Option<Self> {
        u32::try_from((nano + 500_000) / 1_000_000).ok().filter(|n| *n > 0).map(Self)
    }

    /// Billionths of one core: the engine's unit.
    pub fn nano(self) -> i64 {
        i64::from(self.0) * 1_000_000
    }

    /// Cores.
    pub fn cores(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cores())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_reads_dockers_units() {
        for (text, bytes) in [("512m", 512 << 20), ("1G", 1 << 30), ("64MiB", 64 << 20), ("33554432", 32 << 20)] {
            assert_eq!(Memory::parse(text).unwrap().bytes(), bytes, "{text}");
        }
        for bad in ["", "m", "-1g", "1.5g", "15m", "1t", "99999999999999999999g", "18446744073709551615"] {
            assert!(Memory::parse(bad).is_err(), "{bad:?} was taken");
        }
        assert_eq!(Memory::parse("1024m").unwrap().to_string(), "1g");
        assert_eq!(Memory::in_force(8 << 20).map(Memory::bytes), Some(8 << 20), "what others set may be less");
        assert_eq!([Memory::in_force(0), Memory::in_force(-1)], [None; 2]);
    }

    #[test]
    fn cpus_reads_decimals() {
        assert_eq!(Cpus::parse("0.5").unwrap().nano(), 500_000_000);
        assert_eq!(Cpus::in_force(500_000_000), Some(Cpus::parse("0.5").unwrap()));
        assert_eq!([Cpus::in_force(0), Cpus::in_force(-1)], [None; 2]);
        for bad in ["", "0", "0.001", "-1", "1e3", "inf", "2000", "1.2.3", "."] {
            assert!(Cpus::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
