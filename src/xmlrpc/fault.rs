//! Refusals with the codes and words of the original.

use super::call::Method;

/// The message is no XML.
const ILL_FORMED: i32 = -1;
/// It is XML and no call.
const INVALID_ELEMENT: i32 = -2;
const UNREGISTERED_METHOD: i32 = -3;
const AUTHENTICATION_REQUIRED: i32 = -4;
const EMPTY_VALUE: i32 = -5;
const UNCONFIGURED_PEER: i32 = 300;
const INVALID_PARAMETER: i32 = 301;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: i32,
    pub text: String,
}

impl Fault {
    fn new(code: i32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub fn ill_formed(why: &str) -> Self {
        Self::new(ILL_FORMED, format!("Ill-formed XML contents {why}").trim_end())
    }

    pub fn invalid(what: &str) -> Self {
        Self::new(INVALID_ELEMENT, format!("Message not schema valid: {what}"))
    }

    pub fn unregistered() -> Self {
        Self::new(UNREGISTERED_METHOD, "Method has not been registered ")
    }

    pub fn not_authenticated() -> Self {
        Self::new(AUTHENTICATION_REQUIRED, "TLS Peer Authentication Failure")
    }

    pub fn empty_value() -> Self {
        Self::new(EMPTY_VALUE, "Empty param value ")
    }

    pub fn unconfigured(host: &str) -> Self {
        Self::new(UNCONFIGURED_PEER, format!("Unconfigured calling host '{host}'"))
    }

    pub fn parameter(method: Method, name: &str) -> Self {
        Self::new(INVALID_PARAMETER, format!("{} '{name}' parameter is missing or invalid type", method.name()))
    }

    pub fn count(method: Method) -> Self {
        let is_exact = matches!(method, Method::Replace | Method::RaiseAlarm);
        let what = if is_exact { "incorrect number of" } else { "too many" };
        Self::new(INVALID_PARAMETER, format!("{} has {what} parameters", method.name()))
    }

    pub fn unknown_process(method: Method, name: &str) -> Self {
        match method {
            Method::StatusMessages => Self::parameter(method, "alias"),
            _ => Self::new(INVALID_PARAMETER, format!("could not find process '{name}'")),
        }
    }

    pub fn permissions(mode: i32) -> Self {
        Self::new(INVALID_PARAMETER, format!("File permissions {mode:04o} not within valid range (0100 - 0777)"))
    }

    pub fn undeclared(path: &str) -> Self {
        let text = format!("File '{path}' not declared as a resource by any sipXecs process");
        Self::new(INVALID_PARAMETER, text)
    }

    pub fn not_writable(path: &str, access: &str) -> Self {
        Self::new(INVALID_PARAMETER, format!("File '{path}' is not writeable (configAccess='{access}')"))
    }

    pub fn not_base64(path: &str) -> Self {
        Self::new(INVALID_PARAMETER, format!("Failed to decode file data from base64 for '{path}'"))
    }

    /// What the original has no words for.
    pub fn other(text: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMETER, text)
    }
}
