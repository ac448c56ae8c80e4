//! Errors before a connection exists, and which side is at fault.

use aevrion_core::identity::refusal_of_alert;
use aevrion_core::transport::{Refusal, Side, TransportError};
use quinn::{ConnectError, ConnectionError, TransportErrorCode};
use rustls::AlertDescription;

/// The TLS alert in a QUIC error code (RFC 9001, 4.8).
fn alert(code: TransportErrorCode) -> Option<AlertDescription> {
    let alert = u64::from(code).checked_sub(0x100)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}

/// The refusal to count for the client of a failed handshake.
pub(crate) fn refusal_of(error: &ConnectionError) -> Refusal {
    let code = match error {
        ConnectionError::TransportError(error) => error.code,
        // Within the handshake, this code stands for a close by the application (RFC 9000, 10.2.3).
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::APPLICATION_ERROR =>
        {
            return Refusal::GivenUp;
        }
        ConnectionError::ConnectionClosed(close) => close.error_code,
        ConnectionError::ApplicationClosed(_) | ConnectionError::Reset => return Refusal::GivenUp,
        ConnectionError::VersionMismatch => return Refusal::WrongProtocol,
        ConnectionError::TimedOut => return Refusal::TooSlow,
        _ => return Refusal::Broken,
    };
    alert(code).map_or(Refusal::Broken, refusal_of_alert)
}

/// The error of a dial to `address` whose handshake failed.
pub(crate) fn dial_error(address: &str, error: &ConnectionError) -> TransportError {
    let address = address.to_owned();
    let what = match error {
        ConnectionError::TransportError(error) if alert(error.code).is_some() => {
            let refusal = alert(error.code).map_or(Refusal::Broken, refusal_of_alert);
            return TransportError::NotTrusted { address, refusal };
        }
        ConnectionError::VersionMismatch => {
            return TransportError::NotTrusted { address, refusal: Refusal::WrongProtocol };
        }
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code) {
            Some(AlertDescription::NoApplicationProtocol) => {
                return TransportError::NotTrusted { address, refusal: Refusal::WrongProtocol };
            }
            Some(alert) => {
                let reason = refusal_of_alert(alert).to_string();
                return TransportError::Refused { address, reason, by: None };
            }
            None => close.to_string(),
        },
        ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            return TransportError::Refused { address, reason, by: None };
        }
        ConnectionError::TimedOut => "no answer".to_owned(),
        error => error.to_string(),
    };
    TransportError::Unreachable { address, what }
}

/// The error of a dial that could not start.
pub(crate) fn connect_error(address: &str, error: &ConnectError) -> TransportError {
    let (address, what) = (address.to_owned(), error.to_string());
    match error {
        ConnectError::EndpointStopping => TransportError::Closed { by: Side::Here, reason: what },
        ConnectError::InvalidRemoteAddress(_) | ConnectError::InvalidServerName(_) => {
            TransportError::BadAddress { address, what }
        }
        _ => TransportError::Unreachable { address, what },
    }
}
