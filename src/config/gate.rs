//! The settings of the gate before the API: TLS, its public name, proxies.

use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};

use super::{ConfigError, Values};

/// How the API is reached.
#[derive(Debug, Clone)]
pub struct GateConfig {
    /// `SPINDLE_TLS_CERT` and `SPINDLE_TLS_KEY`: the certificate chain and its key, in PEM; `None`: no TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `SPINDLE_PUBLIC_URL`: where people reach the API.
    pub public_url: Option<PublicUrl>,
    /// `SPINDLE_PROXIES`: who is believed when it says for whom it asks.
    pub proxies: Vec<IpNet>,
}

/// An address such as `https://lab.example.org:8443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// All of it, without a slash at the end.
    pub url: String,
    /// The name in it, or the IP address, without a port.
    pub name: String,
}

impl GateConfig {
    /// `subnet` is the sandboxes' network.
    pub(super) fn from_values(v: &mut Values, subnet: Ipv4Net) -> Result<Self, ConfigError> {
        let path = |t: &str| Some((!t.is_empty()).then(|| PathBuf::from(t)));
        let certificate = v.take("tls_cert", "", "it is the path of a file in PEM", path)?;
        let key = v.take("tls_key", "", "it is the path of a file in PEM", path)?;
        let tls = match (certificate, key) {
            (Some(certificate), key) => Some((certificate.clone(), key.unwrap_or(certificate))),
            (None, None) => None,
            (None, Some(key)) => {
                return Err(ConfigError(format!(
                    "SPINDLE_TLS_KEY is {}, and SPINDLE_TLS_CERT is not set; it is the certificate of that key",
                    key.display()
                )));
            }
        };
        let proxies =
            v.take("proxies", "", "it is a list of addresses and networks, such as 127.0.0.1,192.0.2.0/28", |t| {
                t.split([',', ' ']).filter(|part| !part.is_empty()).map(network).collect::<Option<Vec<IpNet>>>()
            })?;
        let reaches = |proxy: &&IpNet| matches!(proxy, IpNet::V4(net) if net.contains(&subnet) || subnet.contains(net));
        if let Some(proxy) = proxies.iter().find(reaches) {
            return Err(ConfigError(format!(
                "SPINDLE_PROXIES: {proxy} and SPINDLE_SUBNET ({subnet}) overlap: a sandbox would be believed whatever it says"
            )));
        }
        let allowed = "it is http:// or https://, a name and perhaps a port, such as https://lab.example.org";
        let public_url = v.take("public_url", "", allowed, |t| match t {
            "" => Some(None),
            url => PublicUrl::parse(url).map(Some),
        })?;
        Ok(Self { tls, public_url, proxies })
    }

    /// The settings in force, as lines of a TOML file.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let text = |t: &str| format!("{t:?}");
        let (certificate, key) = self.tls.clone().unwrap_or_default();
        let proxies: Vec<_> = self.proxies.iter().map(ToString::to_string).collect();
        vec![
            ("tls_cert", text(&certificate.to_string_lossy())),
            ("tls_key", text(&key.to_string_lossy())),
            ("public_url", text(self.public_url.as_ref().map_or("", |public| &public.url))),
            ("proxies", text(&proxies.join(","))),
        ]
    }
}

impl PublicUrl {
    fn parse(text: &str) -> Option<Self> {
        let url = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
        let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
        let (name, port) = match authority.rsplit_once(':') {
            // The last colon of an IPv6 address is no port's.
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (authority, None),
        };
        let is_port = port.is_none_or(|port| port.parse().is_ok_and(|port: u16| port > 0));
        let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_name = match v6 {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
        };
        (is_port && is_name).then(|| Self { name: name.to_owned(), url: url.clone() })
    }
}

fn network(text: &str) -> Option<IpNet> {
    let alone = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address.to_canonical()));
    text.parse().ok().or_else(alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_a_name_and_perhaps_a_port() {
        for (url, name) in [
            ("https://lab.example.org", "lab.example.org"),
            ("https://Lab.Example.org/", "lab.example.org"),
            ("http://lab:8080", "lab"),
            ("https://192.0.2.1:8443", "192.0.2.1"),
            ("https://[2001:db8::1]", "[2001:db8::1]"),
            ("https://[2001:db8::1]:8443", "[2001:db8::1]"),
        ] {
            assert_eq!(PublicUrl::parse(url).map(|public| public.name).as_deref(), Some(name), "{url}");
        }
        for url in ["lab", "ftp://lab", "https://", "https://lab/path", "https://lab:0", "https://a b", "https://u@lab"]
        {
            assert_eq!(PublicUrl::parse(url), None, "{url}");
        }
    }
}
