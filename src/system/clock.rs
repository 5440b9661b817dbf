//! The clock, the uptime and the operating system, as state.

use jiff::{Timestamp, Zoned};

use crate::yang::value::Element;

/// What the kernel says of itself (RFC 7317 platform).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Platform {
    pub os_name: String,
    pub os_release: String,
    pub os_version: String,
    pub machine: String,
}

/// Seconds since boot, from the text of /proc/uptime.
pub fn parse_uptime(text: &str) -> Option<f64> {
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

/// The state at `/Cisco-IOS-XR-shellutil-oper:system-time`.
pub fn system_time(now: &Zoned, host_name: &str, uptime: f64) -> Element {
    let clock = Element::node(
        "clock",
        vec![
            Element::leaf("year", now.year()),
            Element::leaf("month", now.month()),
            Element::leaf("day", now.day()),
            Element::leaf("hour", now.hour()),
            Element::leaf("minute", now.minute()),
            Element::leaf("second", now.second().min(59)),
            Element::leaf("millisecond", now.millisecond()),
            Element::leaf("wday", now.weekday().to_sunday_zero_offset()),
            Element::leaf("time-zone", now.strftime("%Z")),
            Element::leaf("time-source", "none"),
        ],
    );
    let uptime = Element::node(
        "uptime",
        vec![Element::leaf("host-name", host_name), Element::leaf("uptime", uptime.min(f64::from(u32::MAX)) as u32)],
    );
    Element::node("system-time", vec![clock, uptime]).in_module("Cisco-IOS-XR-shellutil-oper")
}

/// The state at `/ietf-system:system-state`.
pub fn system_state(now: Timestamp, boot: Option<Timestamp>, platform: &Platform) -> Element {
    let platform = Element::node(
        "platform",
        vec![
            Element::leaf("os-name", &platform.os_name),
            Element::leaf("os-release", &platform.os_release),
            Element::leaf("os-version", &platform.os_version),
            Element::leaf("machine", &platform.machine),
        ],
    );
    let mut times = vec![Element::leaf("current-datetime", date_and_time(now))];
    times.extend(boot.map(|boot| Element::leaf("boot-datetime", date_and_time(boot))));
    Element::node("system-state", vec![platform, Element::node("clock", times)]).in_module("ietf-system")
}

/// RFC 6991 date-and-time in UTC, to the second.
pub fn date_and_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_told_in_its_parts() {
        let now: Zoned = "2021-08-20T05:03:41.250+00:00[UTC]".parse().unwrap();
        let state = system_time(&now, "router", 3671.9);
        let clock = state.child("clock").unwrap();
        let expected = [
            ("year", "2021"),
            ("month", "8"),
            ("day", "20"),
            ("millisecond", "250"),
            ("wday", "5"),
            ("time-zone", "UTC"),
        ];
        for (name, value) in expected {
            assert_eq!(clock.text_of(name), Some(value), "{name}");
        }
        assert_eq!(state.child("uptime").unwrap().text_of("uptime"), Some("3671"));
    }

    #[test]
    fn uptime_is_read_or_refused() {
        assert_eq!(parse_uptime("3667.69 5827.86\n"), Some(3667.69));
        for nonsense in ["", "soon", "-1 0", "inf 0", "NaN"] {
            assert_eq!(parse_uptime(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn times_are_utc() {
        let now: Timestamp = "2026-11-21T07:00:00.5Z".parse().unwrap();
        let state = system_state(now, None, &Platform { os_name: "Linux".to_owned(), ..Platform::default() });
        assert_eq!(state.child("clock").unwrap().text_of("current-datetime"), Some("2026-11-21T07:00:00Z"));
        assert_eq!(state.child("clock").unwrap().text_of("boot-datetime"), None);
    }
}
