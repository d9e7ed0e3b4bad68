//! Numbers as people read them.

/// `12345` as `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes, in the largest unit that shows something.
pub fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 100 << 30 => format!("{} GiB", grouped(b >> 30)),
        b if b >= 1 << 30 => format!("{:.1} GiB", b as f64 / (1_u64 << 30) as f64),
        b => format!("{} MiB", b >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1_023, 1_234_567].map(grouped), ["0", "999", "1,023", "1,234,567"]);
        assert_eq!([5 << 20, 3 << 29, 240 << 30].map(size), ["5 MiB", "1.5 GiB", "240 GiB"]);
    }
}
