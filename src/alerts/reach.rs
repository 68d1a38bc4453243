//! Whether a receiver can be reached at all, without sending it anything: even a request that asks for nothing is a sign of
//! life to some receivers.

use std::net::{TcpStream, ToSocketAddrs as _};

use reqwest::Url;

use super::CONNECT;

/// Why a receiver cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// The address names no host and port.
    #[error("the address names no host")]
    NoHost,
    /// The host's name leads nowhere.
    #[error("look up {host}")]
    Unknown {
        /// Its name.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing answers there.
    #[error("connect to {host}")]
    Silent {
        /// Its name and port.
        host: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Connects to a receiver and hangs up; returns the host and port that answered.
///
/// # Errors
/// Why it could not be reached; never with more of its address than host and port, since the rest may be a secret.
pub fn reach(url: &str) -> Result<String, Unreached> {
    let url: Url = url.parse().map_err(|_| Unreached::NoHost)?;
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Err(Unreached::NoHost) };
    let shown = format!("{host}:{port}");
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found =
        (bare, port).to_socket_addrs().map_err(|source| Unreached::Unknown { host: host.to_owned(), source })?;
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in found {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(_) => return Ok(shown),
            Err(error) => last = error,
        }
    }
    Err(Unreached::Silent { host: shown, source: last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_reached_and_hears_nothing() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        assert_eq!(
            reach(&format!("http://u:secret@127.0.0.1:{port}/hook?secret")).expect("it listens"),
            format!("127.0.0.1:{port}")
        );
        let (mut heard, _) = listener.accept().expect("somebody came");
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut heard, &mut said).expect("it hung up");
        assert!(said.is_empty(), "{said:?}");
        drop(listener);
        let refused = reach(&format!("http://u:secret@127.0.0.1:{port}/secret")).expect_err("nobody listens");
        assert!(
            matches!(refused, Unreached::Silent { .. }) && !format!("{refused:?}").contains("secret"),
            "{refused:?}"
        );
        assert!(matches!(reach("nonsense"), Err(Unreached::NoHost)));
    }
}
