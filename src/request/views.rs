//! The execution views of the script module: the same runs by many paths, newest first.
//!
//! An unfiltered read shows `summary` and `detail`; what a run wrote, and the views by key, are made for those who name
//! them. Pure: what the logs hold is asked of the caller.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::run::{Event, Request, Status};
use crate::northbound::wanted::Wanted;
use crate::yang::value::Element;

/// Keys of one list that a single filter may name.
const KEYS_MAX: usize = 16;

/// What a run has written, as far as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    pub output: String,
    pub errors: String,
}

/// Where log folders are, and what stands in them.
pub struct Logs<'a> {
    /// As users of the device know the harddisk: `/harddisk:`.
    pub harddisk: &'a str,
    pub read: &'a dyn Fn(&Request) -> Written,
}

/// The times that a view is made with.
#[derive(Debug, Clone)]
pub struct Clock {
    pub now_ms: u64,
    pub zone: TimeZone,
}

/// A part of the tree that shows some of the runs by the same views, with further parts within.
enum Part {
    /// A list whose key says which runs.
    Chosen { container: &'static str, list: &'static str, key: &'static str, choose: Chooses, within: &'static [Part] },
    /// Oldest first.
    Reversed { container: &'static str, within: &'static [Part] },
}

type Chooses = for<'r> fn(&[&'r Request], &str) -> Option<Vec<&'r Request>>;

const fn last(container: &'static str, list: &'static str, within: &'static [Part]) -> Part {
    Part::Chosen { container, list, key: "last-num", choose: the_last, within }
}

const fn named(container: &'static str, list: &'static str) -> Part {
    Part::Chosen { container, list, key: "name-str", choose: of_the_name, within: &[] }
}

/// As the router's module names them; parts within the part of one request would choose among one run, and are left out.
const PARTS: &[Part] = &[
    last("lasts", "last", &[named("last-names", "last-name")]),
    named("names", "name"),
    Part::Chosen {
        container: "requests",
        list: "request",
        key: "request-id",
        choose: |runs, key| Some(only(runs, |run| run.id.to_string() == key)),
        within: &[],
    },
    Part::Chosen {
        container: "execution-statuses",
        list: "execution-status",
        key: "status-str",
        choose: |runs, key| Some(only(runs, |run| run.status().as_str().eq_ignore_ascii_case(key))),
        within: &[
            last("status-lasts", "status-last", &[named("status-last-names", "status-last-name")]),
            named("execution-status-names", "execution-status-name"),
            Part::Reversed { container: "status-reverse", within: &[] },
        ],
    },
    Part::Reversed {
        container: "reverse",
        within: &[
            named("reverse-names", "reverse-name"),
            last("reverse-lasts", "reverse-last", &[named("reverse-last-names", "reverse-last-name")]),
        ],
    },
];

/// Runs come newest first, or turned round; either way the last are the newest.
fn the_last<'r>(runs: &[&'r Request], key: &str) -> Option<Vec<&'r Request>> {
    let count: usize = key.parse().ok()?;
    let is_turned = runs.first().zip(runs.last()).is_some_and(|(first, last)| first.id < last.id);
    let skipped = if is_turned { runs.len().saturating_sub(count) } else { 0 };
    Some(runs.iter().copied().skip(skipped).take(count).collect())
}

fn of_the_name<'r>(runs: &[&'r Request], key: &str) -> Option<Vec<&'r Request>> {
    Some(only(runs, |run| run.order.script == key))
}

fn only<'r>(runs: &[&'r Request], is: impl Fn(&Request) -> bool) -> Vec<&'r Request> {
    runs.iter().copied().filter(|run| is(run)).collect()
}

/// The container `execution`, as far as it is asked for.
pub fn execution(runs: &[Request], wanted: &Wanted<'_>, logs: &Logs<'_>, clock: &Clock) -> Element {
    let rows = Rows { logs, clock };
    let all: Vec<&Request> = runs.iter().collect();
    Element::node("execution", rows.parts(&all, wanted, PARTS))
}

struct Rows<'a> {
    logs: &'a Logs<'a>,
    clock: &'a Clock,
}

impl Rows<'_> {
    /// The views of these runs, and of those that the parts choose among them.
    fn parts(&self, runs: &[&Request], wanted: &Wanted<'_>, parts: &[Part]) -> Vec<Element> {
        let mut children = self.views(runs, wanted);
        for part in parts {
            match part {
                Part::Reversed { container, within } => {
                    if let Some(inner) = wanted.within(container).filter(|_| wanted.names(container)) {
                        let turned: Vec<&Request> = runs.iter().rev().copied().collect();
                        children.push(Element::node(*container, self.parts(&turned, &inner, within)));
                    }
                }
                Part::Chosen { container, list, key, choose, within } => {
                    let one = |value: &str| {
                        let chosen = choose(runs, value)?;
                        let inner = wanted.within(container)?.within(list)?;
                        let inner = if inner.has_only(key) { Wanted::ALL } else { inner };
                        let mut children = vec![Element::leaf(*key, value)];
                        children.extend(self.parts(&chosen, &inner, within));
                        (!chosen.is_empty()).then(|| Element::node(*list, children))
                    };
                    let keys = wanted.keys(&[container, list, key], KEYS_MAX);
                    let entries: Vec<Element> = keys.into_iter().filter_map(one).collect();
                    if !entries.is_empty() {
                        children.push(Element::node(*container, entries));
                    }
                }
            }
        }
        children
    }

    fn views(&self, runs: &[&Request], wanted: &Wanted<'_>) -> Vec<Element> {
        let mut views = Vec::new();
        if wanted.has("summary") {
            let rows = runs.iter().map(|run| Element::node("execution-summary", self.summary(run)));
            views.push(Element::node("summary", rows.collect()));
        }
        if wanted.has("detail") {
            let rows = runs.iter().map(|run| Element::node("execution-detail", self.detail(run)));
            views.push(Element::node("detail", rows.collect()));
        }
        for (view, output, errors) in [("output", true, false), ("error", false, true), ("output-error", true, true)] {
            if wanted.names(view) {
                let rows = runs.iter().map(|run| self.log(run, output, errors));
                views.push(Element::node(view, rows.collect()));
            }
        }
        views
    }

    fn summary(&self, run: &Request) -> Vec<Element> {
        let is_begun = run.started_ms().is_some();
        let leaves = [
            Some(Element::leaf("request-id", run.id)),
            Element::leaf_if("return-val", run.return_value),
            Some(Element::leaf("script-type", &run.order.script_type)),
            Some(Element::leaf("script-name", &run.order.script)),
            is_begun.then(|| Element::leaf("duration", seconds(run.ran_ms(self.clock.now_ms)))),
            Some(Element::leaf("event-time", self.time(run.asked_ms()))),
            Some(Element::leaf("status", run.status().as_str())),
        ];
        leaves.into_iter().flatten().collect()
    }

    fn detail(&self, run: &Request) -> Vec<Element> {
        let how = [
            Some(Element::leaf("log-path", format!("{}/{}", self.logs.harddisk, run.log_folder()))),
            (!run.order.arguments.is_empty()).then(|| Element::leaf("arguments", &run.order.arguments)),
            Some(Element::leaf("run-options", options(run))),
        ];
        let mut children = vec![
            Element::node("execution-summary", self.summary(run)),
            Element::node("execution-detail", how.into_iter().flatten().collect()),
        ];
        children.extend(run.events.iter().map(|event| self.event(run, event)));
        children
    }

    fn event(&self, run: &Request, event: &Event) -> Element {
        let name = match event.what {
            Status::Scheduled => "New",
            other => other.as_str(),
        };
        let leaves = vec![
            Element::leaf("description", &event.description),
            Element::leaf("duration", seconds(event.unix_ms.saturating_sub(run.asked_ms()))),
            Element::leaf("event", name),
            Element::leaf("time", self.time(event.unix_ms)),
        ];
        Element::node("execution-event", leaves)
    }

    fn log(&self, run: &Request, output: bool, errors: bool) -> Element {
        let written = (self.logs.read)(run);
        let folder = format!("{}/{}", self.logs.harddisk, run.log_folder());
        let mut leaves = Vec::new();
        if output {
            leaves.push(Element::leaf("output-file", format!("{folder}/stdout.log")));
            leaves.push(Element::leaf("output-file-content", written.output));
        }
        if errors {
            leaves.push(Element::leaf("error-file", format!("{folder}/stderr.log")));
            leaves.push(Element::leaf("error-file-content", written.errors));
        }
        let children =
            vec![Element::node("execution-details", self.detail(run)), Element::node("execution-log", leaves)];
        Element::node("execution-log-detail", children)
    }

    /// As `ctime` writes it: `Tue Aug 24 10:44:53 2021`.
    fn time(&self, unix_ms: u64) -> String {
        let moment =
            i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
        moment.to_zoned(self.clock.zone.clone()).strftime("%a %b %e %H:%M:%S %Y").to_string()
    }
}

fn options(run: &Request) -> String {
    format!("Logging level - {}, Max. Runtime - {}s", run.order.log_level.as_str(), run.order.max_runtime_seconds)
}

/// `60.62s`
fn seconds(ms: u64) -> String {
    format!("{}.{:02}s", ms / 1000, ms % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::filter::{Content, Selection};
    use crate::request::run::{Account, LogLevel, Order, RequestId};

    fn run(id: u32, script: &str) -> Request {
        let order = Order {
            script_type: "exec".to_owned(),
            script: script.to_owned(),
            sha256: crate::checksum::Sha256::of(b""),
            arguments: "'-t' '5'".to_owned(),
            words: vec![],
            description: None,
            log_level: LogLevel::Info,
            max_runtime_seconds: 300,
            account: Account { user: "admin".to_owned(), groups: vec![] },
            environment: vec![],
            log_path: None,
        };
        let mut run = Request::new(RequestId(id), order, 1_624_029_280_000);
        run.started(Some(7), 1_624_029_280_100);
        run.return_value = Some(0);
        run.ended(Status::Executed, "Script execution complete".to_owned(), 1_624_029_340_720);
        run
    }

    fn view(selection: Option<&Selection>) -> Element {
        let logs = Logs {
            harddisk: "/harddisk:",
            read: &|run| Written { output: format!("out of {}", run.id), errors: "err".to_owned() },
        };
        let clock = Clock { now_ms: 1_700_000_000_000, zone: TimeZone::UTC };
        execution(&[run(12, "b.py"), run(11, "a.py")], &Wanted::new(selection), &logs, &clock)
    }

    fn within(names: &[&str], inside: Vec<Selection>) -> Selection {
        let (first, rest) = names.split_first().unwrap();
        let content = if rest.is_empty() { inside } else { vec![within(rest, inside)] };
        let content = if content.is_empty() { Content::Selected } else { Content::Within(content) };
        Selection { namespace: None, name: (*first).to_owned(), attributes: vec![], content }
    }

    fn matching(name: &str, value: &str) -> Selection {
        Selection {
            namespace: None,
            name: name.to_owned(),
            attributes: vec![],
            content: Content::Match(value.to_owned()),
        }
    }

    #[test]
    fn the_summary_has_the_columns_of_the_table() {
        let all = view(None);
        let row = all.descend(&["summary", "execution-summary"]).unwrap();
        let told: Vec<_> = row.children.iter().map(|leaf| leaf.text.as_deref().unwrap_or_default()).collect();
        assert_eq!(told, ["12", "0", "exec", "b.py", "60.62s", "Fri Jun 18 15:14:40 2021", "Executed"]);
        assert!(all.child("output").is_none(), "what was written is for those who name it");
    }

    #[test]
    fn the_events_of_a_run_are_told_in_order() {
        let all = view(None);
        let detail = all.descend(&["detail", "execution-detail"]).unwrap();
        let events: Vec<_> =
            detail.children_named("execution-event").filter_map(|event| event.text_of("event")).collect();
        assert_eq!(events, ["New", "Started", "Executed"]);
        assert_eq!(
            detail.descend(&["execution-detail"]).unwrap().text_of("log-path"),
            Some("/harddisk:/mirror/script-mgmt/logs/b.py_exec_12")
        );
    }

    #[test]
    fn one_request_is_found_with_its_output() {
        let inside = vec![matching("request-id", "11"), within(&["output"], vec![])];
        let selection = within(&["x", "requests", "request"], inside);
        let found = view(Some(&selection));
        let log = found.descend(&["requests", "request", "output", "execution-log-detail", "execution-log"]).unwrap();
        assert_eq!(log.text_of("output-file-content"), Some("out of 11"));
        assert_eq!(log.text_of("error-file"), None);
    }

    #[test]
    fn runs_are_chosen_by_name_status_and_count() {
        let chosen = |list: [&str; 2], key: &str, value: &str| {
            let selection = within(&["x", list[0], list[1]], vec![matching(key, value)]);
            let found = view(Some(&selection));
            let rows = found.descend(&[list[0], list[1], "summary"]).cloned().unwrap_or_default();
            rows.children.iter().filter_map(|row| row.text_of("request-id").map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(["names", "name"], "name-str", "a.py"), ["11"]);
        assert_eq!(chosen(["execution-statuses", "execution-status"], "status-str", "executed"), ["12", "11"]);
        assert_eq!(chosen(["lasts", "last"], "last-num", "1"), ["12"]);
        assert_eq!(chosen(["names", "name"], "name-str", "c.py"), [""; 0]);
    }

    #[test]
    fn what_is_chosen_can_be_chosen_from_again() {
        let asked = |path: &[&str], inside: Vec<Selection>| {
            let selection = within(&[&["x"], path].concat(), inside);
            let mut rows = Vec::new();
            let found = view(Some(&selection));
            let mut waiting = vec![&found];
            while let Some(element) = waiting.pop() {
                if element.name == "execution-summary" {
                    rows.extend(element.text_of("request-id").map(str::to_owned));
                }
                waiting.extend(element.children.iter().rev());
            }
            rows
        };
        let summary = || within(&["summary"], vec![]);
        let of_name = |name| vec![matching("name-str", name), summary()];
        assert_eq!(asked(&["reverse"], vec![summary()]), ["11", "12"]);
        assert_eq!(asked(&["reverse", "reverse-names", "reverse-name"], of_name("b.py")), ["12"]);
        let last = vec![matching("last-num", "1"), summary()];
        assert_eq!(
            asked(&["reverse", "reverse-lasts", "reverse-last"], last.clone()),
            ["12"],
            "the last is the newest"
        );
        let last_of = |name| vec![matching("last-num", "1"), within(&["last-names", "last-name"], of_name(name))];
        assert_eq!(asked(&["lasts", "last"], last_of("b.py")), ["12"]);
        assert_eq!(asked(&["lasts", "last"], last_of("a.py")), [""; 0]);
        let of_status = |inside| vec![matching("status-str", "Executed"), inside];
        let status = ["execution-statuses", "execution-status"];
        assert_eq!(asked(&status, of_status(within(&["status-reverse"], vec![summary()]))), ["11", "12"]);
        assert_eq!(asked(&status, of_status(within(&["status-lasts", "status-last"], last))), ["12"]);
        let names = within(&["execution-status-names", "execution-status-name"], of_name("a.py"));
        assert_eq!(asked(&status, of_status(names)), ["11"]);
        assert!(view(None).child("reverse").is_none(), "the same rows once more are for those who name them");
    }
}
