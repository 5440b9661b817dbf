//! Moments as people say them: `yesterday`, `today`, `-1h`, `2 days ago`, `14:05`, `2026-11-21 14:05:30`, `@1795267800`.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, Timestamp, Zoned};
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{text}` is no time: give now, today, yesterday, a time that has passed such as -1h or `2 days ago`, 14:05, \
     2026-11-21, `2026-11-21 14:05:30`, or @SECONDS"
)]
pub struct NoTime {
    pub text: String,
}

/// The second that is meant, in seconds of Unix.
///
/// # Errors
/// Words that mean no time.
pub fn parse(text: &str, now: &Zoned) -> Result<u64, NoTime> {
    let text = text.trim();
    moment(text, now)
        .and_then(|second| u64::try_from(second).ok())
        .ok_or_else(|| NoTime { text: text.chars().take(64).collect() })
}

fn moment(text: &str, now: &Zoned) -> Option<i64> {
    let midnight = || now.start_of_day().ok();
    let second = |at: Zoned| at.timestamp().as_second();
    match text {
        "now" => return Some(now.timestamp().as_second()),
        "today" => return midnight().map(second),
        "yesterday" => return midnight()?.yesterday().ok().map(second),
        "tomorrow" => return midnight()?.tomorrow().ok().map(second),
        _ => {}
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds.parse().ok();
    }
    if let Some(span) = text.strip_prefix('-') {
        return now.checked_sub(span_of(span)?).ok().map(second);
    }
    if let Some(span) = text.strip_prefix('+') {
        return now.checked_add(span_of(span)?).ok().map(second);
    }
    if let Some(span) = text.strip_suffix(" ago") {
        return now.checked_sub(span_of(span)?).ok().map(second);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_second());
    }
    let local = |at: DateTime| at.to_zoned(now.time_zone().clone()).ok().map(second);
    if let Ok(time) = clock(text) {
        return local(now.date().to_datetime(time));
    }
    if let Ok(date) = day(text) {
        return local(date.to_datetime(Time::midnight()));
    }
    let (date, time) = text.split_once([' ', 'T'])?;
    local(day(date).ok()?.to_datetime(clock(time.trim()).ok()?))
}

fn clock(text: &str) -> Result<Time, jiff::Error> {
    Time::strptime("%H:%M:%S", text).or_else(|_| Time::strptime("%H:%M", text))
}

fn day(text: &str) -> Result<Date, jiff::Error> {
    Date::strptime("%Y-%m-%d", text)
}

/// `1h`, `1h30m`, `90 min`, `2 days`.
fn span_of(text: &str) -> Option<Span> {
    let mut span = Span::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let count: i64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
        span = match &rest[..letters] {
            "" | "s" | "sec" | "second" | "seconds" => span.try_seconds(span.get_seconds().checked_add(count)?),
            "m" | "min" | "minute" | "minutes" => span.try_minutes(span.get_minutes().checked_add(count)?),
            "h" | "hour" | "hours" => span.try_hours(i64::from(span.get_hours()).checked_add(count)?),
            "d" | "day" | "days" => span.try_days(i64::from(span.get_days()).checked_add(count)?),
            "w" | "week" | "weeks" => span.try_weeks(i64::from(span.get_weeks()).checked_add(count)?),
            _ => return None,
        }
        .ok()?;
        rest = rest[letters..].trim_start();
    }
    (!text.trim().is_empty()).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let now: Zoned = "2026-11-21T14:30:15[Europe/Berlin]".parse().unwrap();
        match parse(text, &now) {
            Ok(second) => {
                let at = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
                format!("{text}: {}", at.to_zoned(now.time_zone().clone()).strftime("%F %T"))
            }
            Err(_) => format!("{text}: no"),
        }
    }

    #[test]
    fn times_are_understood_as_people_say_them() {
        let texts = [
            "now",
            "today",
            "yesterday",
            "-1h",
            "-1h30m",
            "-90 min",
            "2 days ago",
            "-1w",
            "14:05",
            "09:00:01",
            "2026-11-20",
            "2026-11-20 23:59",
            "2026-11-20T23:59:58",
            "2026-11-20T23:59:58Z",
            "@1795267800",
            "-5",
            "noon",
            "-",
            "",
            "-1y",
            "25:00",
            "2026-13-01",
            "-99999999999999999999h",
            "@",
            "ago",
        ];
        insta::assert_snapshot!(texts.map(said).join("\n"), @r"
        now: 2026-11-21 14:30:15
        today: 2026-11-21 00:00:00
        yesterday: 2026-11-20 00:00:00
        -1h: 2026-11-21 13:30:15
        -1h30m: 2026-11-21 13:00:15
        -90 min: 2026-11-21 13:00:15
        2 days ago: 2026-11-19 14:30:15
        -1w: 2026-11-14 14:30:15
        14:05: 2026-11-21 14:05:00
        09:00:01: 2026-11-21 09:00:01
        2026-11-20: 2026-11-20 00:00:00
        2026-11-20 23:59: 2026-11-20 23:59:00
        2026-11-20T23:59:58: 2026-11-20 23:59:58
        2026-11-20T23:59:58Z: 2026-11-21 00:59:58
        @1795267800: 2026-11-21 14:30:00
        -5: 2026-11-21 14:30:10
        noon: no
        -: no
        : no
        -1y: no
        25:00: no
        2026-13-01: no
        -99999999999999999999h: no
        @: no
        ago: no
        ");
    }

    proptest::proptest! {
        #[test]
        fn any_words_are_taken_or_refused(text in "[-@+0-9a-z: T]{0,20}") {
            let _ = said(&text);
        }
    }
}
