//! The PROXY protocol, version 2: it tells an app the address of its client, if the app wants that.

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, and the command PROXY.
const VERSION_COMMAND: u8 = 0x21;

/// The header that goes before the client's first byte, for a connection from `client` to `to`.
pub fn header(client: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(VERSION_COMMAND);
    // A listener for both families shows an IPv4 client in the mapped form.
    let (source, target) = (client.ip().to_canonical(), to.ip().to_canonical());
    let (family, addresses) = match (source, target) {
        (IpAddr::V4(s), IpAddr::V4(t)) => (0x11, [s.octets(), t.octets()].concat()),
        (s, t) => {
            let v6 = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            (0x21, [v6(s), v6(t)].concat())
        }
    };
    header.push(family);
    header.extend((addresses.len() as u16 + 4).to_be_bytes());
    header.extend(addresses);
    header.extend(client.port().to_be_bytes());
    header.extend(to.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_the_specification() {
        let v4 = header("192.0.2.7:40000".parse().unwrap(), "198.51.100.1:20000".parse().unwrap());
        let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
        expected.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0x4e, 0x20]);
        assert_eq!(v4, expected);
        let v6 = header("[2001:db8::7]:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap());
        assert_eq!((v6.len(), v6[13], &v6[14..16]), (52, 0x21, &[0, 36][..]));
        let mapped = header("[::ffff:192.0.2.7]:1".parse().unwrap(), "[::ffff:192.0.2.8]:2".parse().unwrap());
        assert_eq!((mapped.len(), mapped[13]), (28, 0x11));
    }
}
