//! `script run`, `script stop`: a run that is waited for shows what it writes, as it writes it.

use std::time::Duration;

use quick_xml::escape::escape;
use tokio::io::{AsyncRead, AsyncWrite};

use super::actions::{SCRIPT_ACT, rest_of};
use super::client::child;
use super::{Done, Shell, Trouble};
use crate::shell::command::Matched;
use crate::shell::show::runs::{Standing, grown, of_request, standing};
use crate::shell::token::Token;

/// Between two looks at a run, or at a file that grows.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    pub(super) async fn script_run(&mut self, matched: &Matched) -> Done {
        let file = matched.get("FILE").unwrap_or("");
        let script = matched.get("SOURCE").map_or_else(|| file.to_owned(), |source| below(source, file));
        let mut leaves = format!("<script-name>{}</script-name>", escape(&script));
        if let Some(sum) = matched.get("SUM") {
            leaves.push_str(&format!("<checksum-type>SHA256</checksum-type><checksum>{}</checksum>", escape(sum)));
        }
        let arguments: Vec<String> = matched.all("ARGUMENT").into_iter().map(in_single_quotes).collect();
        let options = [
            ("vrf", matched.get("VRF").map(str::to_owned)),
            ("argument-list", (!arguments.is_empty()).then(|| arguments.join(" "))),
            ("description", matched.get("TEXT").map(str::to_owned)),
            ("log-level", matched.get("LOG-LEVEL").map(str::to_owned)),
            ("log-path", matched.get("DEVICE-PATH").map(str::to_owned)),
            ("max-runtime", matched.get("RUNTIME").map(str::to_owned)),
        ];
        for (leaf, value) in options {
            if let Some(value) = value {
                leaves.push_str(&format!("<{leaf}>{}</{leaf}>", escape(&value)));
            }
        }
        let reply = self.ask(&format!("<run xmlns=\"{SCRIPT_ACT}\">{leaves}</run>")).await?;
        let response = reply.first();
        let text = |leaf: &str| response.and_then(|response| child(response, leaf)).map(|leaf| leaf.text.clone());
        let (line, request) = (text("response").unwrap_or_default(), text("request-id"));
        self.out.print(&format!("{line}\n")).await?;
        match request {
            Some(request) if !matched.has("background") => self.wait_for_run(&request).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn script_stop(&mut self, matched: &Matched, line: &str, tokens: &[Token]) -> Done {
        let description = rest_of(line, tokens, matched);
        let text = self.stop_run(matched.get("REQUEST").unwrap_or(""), description).await?;
        Ok(self.out.print(&format!("{text}\n")).await?)
    }

    async fn stop_run(&mut self, request: &str, description: Option<&str>) -> Result<String, Trouble> {
        let description = description.map(|text| format!("<description>{}</description>", escape(text)));
        let reply = self
            .ask(&format!(
                "<stop xmlns=\"{SCRIPT_ACT}\"><request-id>{}</request-id>{}</stop>",
                escape(request),
                description.unwrap_or_default()
            ))
            .await?;
        let response = reply.first().and_then(|response| child(response, "response"));
        Ok(response.map(|response| response.text.clone()).unwrap_or_default())
    }

    /// ^C stops the run, and its end is told like any other.
    async fn wait_for_run(&mut self, request: &str) -> Done {
        let filter = of_request(request);
        let mut before = Standing::default();
        loop {
            let items = self.get(&filter).await?;
            let now = standing(&self.setup.grammar, &items)
                .ok_or_else(|| Trouble::Said(format!("% The run {request} is not known any more")))?;
            self.out.print(grown(&before.output, &now.output)).await?;
            let errors = grown(&before.errors, &now.errors);
            if !errors.is_empty() {
                self.out.error(errors).await?;
            }
            if now.is_over() {
                let Standing { name, script_type, status, return_value, .. } = now;
                let value = return_value.unwrap_or_else(|| "-".to_owned());
                if value != "0" || status != "Executed" {
                    self.status = 1;
                }
                let text = format!(
                    "Script {name} ({script_type}) Execution complete: (Req. ID {request}) : Return Value: {value} ({status})\n"
                );
                return Ok(self.out.print(&text).await?);
            }
            before = now;
            if self.out.rests(LOOK_AGAIN).await? {
                self.stop_run(request, None).await?;
            }
        }
    }
}

/// A script in a folder of the device or of a server; `/harddisk\:` is how some guides print a device path.
fn below(source: &str, file: &str) -> String {
    let source = source.replace("\\:", ":");
    let folder = source.trim_end_matches('/');
    format!("{folder}/{file}")
}

/// One argument, quoted so that the agent takes it for one.
fn in_single_quotes(argument: &str) -> String {
    if argument.contains('\'') {
        format!("\"{}\"", argument.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        format!("'{argument}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_may_be_named_with_its_folder() {
        assert_eq!(below("http://192.0.2.0/scripts/", "a.py"), "http://192.0.2.0/scripts/a.py");
        assert_eq!(below("/harddisk\\:", "a.py"), "/harddisk:/a.py");
        assert_eq!(below("harddisk:/", "a.py"), "harddisk:/a.py");
    }

    #[test]
    fn an_argument_stays_one() {
        assert_eq!(in_single_quotes("a b"), "'a b'");
        assert_eq!(in_single_quotes("it's \"so\""), "\"it's \\\"so\\\"\"");
    }
}
