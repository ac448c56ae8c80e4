//! Keys and values on the command line: UTF-8, hexadecimal or base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::failure::Failure;

/// An encoding of bytes as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Hex,
    Base64,
}

impl Encoding {
    /// Decodes `text`; `what` names it in the error.
    pub(crate) fn decode(self, what: &str, text: &str) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Utf8 => Ok(text.as_bytes().to_vec()),
            Self::Hex => hex::decode(text)
                .map_err(|error| Failure::usage(format!("the {what} is not hexadecimal: {error}"))),
            Self::Base64 => STANDARD
                .decode(text)
                .map_err(|error| Failure::usage(format!("the {what} is not base64: {error}"))),
        }
    }
}

/// Encodes bytes as base64.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes base64.
pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("it is not base64: {error}"))
}
