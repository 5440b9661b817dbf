//! Something that happened, as triggers see it.

/// What the world tells the event manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A line of the system log; severity as in RFC 5424, 0 to 7.
    Log { severity: u8, line: String },
    /// An app stands elsewhere than before.
    App { name: String, status: String },
    /// A notification, as `module:name`, with its XML.
    Notification { name: String, xml: String },
    /// A file was written, put in place or removed.
    File { path: String },
}
