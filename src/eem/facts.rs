//! What a script learns of the event that it runs for: the dictionary of `eem.event_reqinfo()`.

use serde_json::{Map, Value};

/// A line or a notification beyond this is cut for the script.
const TEXT_BYTES_MAX: usize = 4096;

/// What is peculiar to one event, beside its name and time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    pub event_id: u64,
    pub unix_ms: u64,
    pub event: String,
    pub kind: &'static str,
    pub severity: Option<u8>,
    pub own: Vec<(&'static str, String)>,
}

impl Facts {
    /// As JSON, for one action of one policy map.
    pub(super) fn json(&self, policy: &str, action: &str) -> String {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
        put("event_id", self.event_id.into());
        put("event_pub_sec", (self.unix_ms / 1000).into());
        put("event_pub_msec", (self.unix_ms % 1000).into());
        put("event_name", self.event.clone().into());
        put("action_name", action.into());
        put("policy_map_name", policy.into());
        put("event_type", kind_number(self.kind).into());
        put("event_type_string", self.kind.into());
        put("event_severity", self.severity.map_or_else(|| "severity-normal".into(), Value::from));
        for (key, value) in &self.own {
            // Numbers are numbers in the script, too.
            match value.parse::<u64>() {
                Ok(number) if key.ends_with("sec") || key.ends_with("count") || *key == "priority" => {
                    put(key, number.into())
                }
                _ => put(key, short(value).into()),
            }
        }
        Value::Object(map).to_string()
    }
}

fn kind_number(kind: &str) -> u64 {
    match kind {
        "syslog" => 1,
        "timer" => 2,
        "track" => 3,
        "app" => 4,
        "notification" => 5,
        "file" => 6,
        _ => 7,
    }
}

fn short(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
