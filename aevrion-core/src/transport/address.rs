//! Addresses to dial: `host:port`. The transports resolve them.

use super::TransportError;

/// Splits `host:port`. An IPv6 host is in brackets.
///
/// # Errors
/// [`TransportError::BadAddress`] for anything else, with the error.
pub fn host_and_port(address: &str) -> Result<(&str, u16), TransportError> {
    let bad = |what: &str| TransportError::BadAddress { address: address.to_owned(), what: what.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(|| bad("it has no port, as in `host:7388`"))?;
    let port = port.parse().map_err(|_| bad("the port is no number from 1 to 65535"))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        _ if port == 0 => Err(bad("the port is no number from 1 to 65535")),
        _ if host.chars().any(|one| one.is_whitespace() || one.is_control()) => {
            Err(bad("a host has neither blanks nor control characters"))
        }
        None if host.contains([':', '[', ']']) => {
            Err(bad("an IPv6 address belongs in brackets, as in `[::1]:7388`"))
        }
        _ if bare.unwrap_or(host).is_empty() => Err(bad("it has no host")),
        _ => Ok((bare.unwrap_or(host), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(host_and_port("example.org:7388").unwrap(), ("example.org", 7388));
        assert_eq!(host_and_port("[::1]:1").unwrap(), ("::1", 1));
        for (address, what) in [
            ("example.org", "no port"),
            ("example.org:port", "no number"),
            ("example.org:99999", "no number"),
            ("example.org:0", "no number"),
            ("::1:7388", "brackets"),
            ("[::1:7388", "brackets"),
            ("::1]:7388", "brackets"),
            ("a b:1", "blanks"),
            ("a\u{7}b:1", "control"),
            ("[a\nb]:1", "control"),
            (":7388", "no host"),
        ] {
            let error = host_and_port(address).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
