//! What a proxy says about its client, in the PROXY protocol's version 2 or in `X-Forwarded-For`. It is heard only from
//! the proxies that the configuration names.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use hyper::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The first byte of [`SIGNATURE`]. Neither HTTP nor TLS begins with it.
pub const FIRST: u8 = b'\r';

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, and a proxy that only looks whether we live.
const LOCAL: u8 = 0x20;

/// Version 2, and a client of the proxy's.
const PROXY: u8 = 0x21;

/// The longest that may stand behind the head: addresses, and what a proxy adds to them.
const LONGEST: u16 = 536;

/// Reads the header of the PROXY protocol, byte for byte; `None`: the proxy speaks for itself.
///
/// # Errors
/// If it is none, or the connection broke off.
pub async fn told_before(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let [signature @ .., version_command, family, high, low] = head;
    let length = u16::from_be_bytes([high, low]);
    if signature != SIGNATURE || ![LOCAL, PROXY].contains(&version_command) || length > LONGEST {
        return Err(wrong());
    }
    let mut addresses = vec![0; length.into()];
    stream.read_exact(&mut addresses).await?;
    if version_command == LOCAL {
        return Ok(None);
    }
    // The client's address comes first.
    let client: IpAddr = match family >> 4 {
        1 if length >= 12 => Ipv4Addr::from(first::<4>(&addresses)).into(),
        2 if length >= 36 => Ipv6Addr::from(first::<16>(&addresses)).into(),
        _ => return Err(wrong()),
    };
    Ok(Some(client.to_canonical()))
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|at| bytes[at])
}

/// The client that `X-Forwarded-For` names: the last address in it that is no proxy's, as what stands before it may be
/// anybody's invention. `None`: the proxy names nobody, or nothing that is an address.
pub fn told_by(headers: &HeaderMap, is_proxy: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    let mut client = None;
    for hop in hops.into_iter().rev() {
        client = Some(address(hop.trim())?);
        if !client.is_some_and(&is_proxy) {
            break;
        }
    }
    client
}

/// Whether its client speaks TLS with the proxy, if the proxy says so much.
pub fn told_tls(headers: &HeaderMap) -> Option<bool> {
    headers.get_all("x-forwarded-proto").iter().next_back().map(|scheme| scheme == "https")
}

/// An address, with or without brackets and port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|at: SocketAddr| at.ip());
    text.parse().ok().or_else(bare).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Option<IpAddr>> {
        let mut bytes = bytes;
        told_before(&mut bytes).await
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_header_names_the_client() {
        let mut v4 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
        v4.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0x4e, 0x20]);
        assert_eq!(read(&v4).await.unwrap(), Some(ip("192.0.2.7")));
        let mut v6 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24".to_vec();
        v6.extend(Ipv6Addr::from_bits(0x2001_0db8 << 96).octets());
        v6.extend([0; 20]);
        assert_eq!(read(&v6).await.unwrap(), Some(ip("2001:db8::")));
        assert_eq!(read(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00").await.unwrap(), None);
        for wrong in [
            &b"\r\n\r\n\0\r\nQUIT\n\x11\x11\x00\x0c............"[..],
            b"\r\n\r\n\0\r\nQUIT\n\x22\x11\x00\x0c............",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x04....",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x00\x0c............",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"\r\n\r\n\0\r\nQUIX\n\x21\x11\x00\x0c............",
            b"\r\n\r\n",
        ] {
            assert!(read(wrong).await.is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_client() {
        let is_proxy = |address: IpAddr| address == ip("127.0.0.1") || address == ip("198.51.100.1");
        for (lines, client) in [
            (&["192.0.2.7"][..], Some("192.0.2.7")),
            (&["10.213.0.5, 192.0.2.7"], Some("192.0.2.7")),
            (&["192.0.2.7, 198.51.100.1"], Some("192.0.2.7")),
            (&["192.0.2.7", "127.0.0.1"], Some("192.0.2.7")),
            (&["127.0.0.1"], Some("127.0.0.1")),
            (&["::ffff:10.213.0.5"], Some("10.213.0.5")),
            (&["192.0.2.7:4711"], Some("192.0.2.7")),
            (&["[2001:db8::7]"], Some("2001:db8::7")),
            (&["192.0.2.7, unknown"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            assert_eq!(told_by(&headers, is_proxy), client.map(ip), "{lines:?}");
        }
    }

    #[test]
    fn tls_is_what_the_last_proxy_says() {
        let mut headers = HeaderMap::new();
        assert_eq!(told_tls(&headers), None);
        for (scheme, is_tls) in [("http", false), ("https", true)] {
            headers.append("x-forwarded-proto", scheme.parse().unwrap());
            assert_eq!(told_tls(&headers), Some(is_tls));
        }
    }
}
