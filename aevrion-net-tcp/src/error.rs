//! Errors before a connection exists, and which side is at fault.

use std::io::{self, ErrorKind};

use aevrion_core::identity::{refusal_of_alert, refusal_of_error};
use aevrion_core::transport::{Refusal, TransportError};
use rustls::{AlertDescription, Error};

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The refusal to count for the client of a failed handshake.
pub(crate) fn refusal_of(error: &io::Error) -> Refusal {
    match (tls_error(error), error.kind()) {
        (Some(error), _) => refusal_of_error(error),
        (None, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            Refusal::GivenUp
        }
        (None, _) => Refusal::Broken,
    }
}

/// The error of a dial to `address` whose handshake failed.
pub(crate) fn dial_error(address: &str, error: &io::Error) -> TransportError {
    let address = address.to_owned();
    match tls_error(error) {
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            TransportError::NotTrusted { address, refusal: Refusal::WrongProtocol }
        }
        Some(Error::AlertReceived(alert)) => {
            let reason = refusal_of_alert(*alert).to_string();
            TransportError::Refused { address, reason, by: None }
        }
        Some(error) => TransportError::NotTrusted { address, refusal: refusal_of_error(error) },
        None => TransportError::Unreachable { address, what: format!("the handshake broke off: {error}") },
    }
}
