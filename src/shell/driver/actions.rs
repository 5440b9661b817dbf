//! Commands that do something: rpcs of the agent, with what it answers.

use quick_xml::escape::escape;
use tokio::io::{AsyncRead, AsyncWrite};

use super::client::{AskError, child};
use super::{Done, Shell, Trouble};
use crate::shell::command::Matched;
use crate::shell::pipe::Piped;
use crate::shell::show::{self, containers, processes};
use crate::shell::token::Token;
use crate::shell::vocabulary::Verb;

pub(super) const SCRIPT_ACT: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-infra-script-mgmt-act";
const APP_ACT: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-appmgr-act";
const ROLLBACK_ACT: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-cfgmgr-rollback-act";

/// Digits of a SHA-256.
const SUM_DIGITS: usize = 64;

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    /// `script add TYPE SOURCE f1 f2 ...`, with a sum behind each name, or `checksum SHA256 SUM` behind the one.
    pub(super) async fn script_add(&mut self, matched: &Matched) -> Done {
        let words = matched.all("FILE");
        let scripts = with_sums(&words).map_err(|reason| Trouble::Said(format!("% {reason}")))?;
        let has_sums = scripts.iter().any(|(_, sum)| sum.is_some());
        let (operation, mut entries) = (if has_sums { "add-checksum" } else { "add" }, String::new());
        for (name, sum) in &scripts {
            let name = escape(*name);
            entries.push_str(&match sum {
                Some(sum) => format!(
                    "<script-checksums><script-name>{name}</script-name><checksum-type>SHA256</checksum-type><checksum>{}</checksum></script-checksums>",
                    escape(*sum)
                ),
                None => format!("<script-name>{name}</script-name>"),
            });
        }
        let source = escape(matched.get("SOURCE").unwrap_or(""));
        let script_type = matched.get("SCRIPT-TYPE").unwrap_or("");
        let vrf = matched.get("VRF").map(|vrf| format!("<vrf>{}</vrf>", escape(vrf))).unwrap_or_default();
        let request = format!(
            "<{operation} xmlns=\"{SCRIPT_ACT}\"><script-type>{script_type}</script-type>{vrf}<source>{source}</source>{entries}</{operation}>"
        );
        self.ask_about_scripts(&request).await
    }

    pub(super) async fn script_remove(&mut self, matched: &Matched) -> Done {
        let names: String =
            matched.all("FILE").iter().map(|name| format!("<script-name>{}</script-name>", escape(*name))).collect();
        let script_type = matched.get("SCRIPT-TYPE").unwrap_or("");
        let request =
            format!("<remove xmlns=\"{SCRIPT_ACT}\"><script-type>{script_type}</script-type>{names}</remove>");
        self.ask_about_scripts(&request).await
    }

    /// `script update`: those that are updated on request, of one type, or by name.
    pub(super) async fn script_update(&mut self, matched: &Matched) -> Done {
        const TYPES: [(&str, &str); 5] = [
            ("config-script", "config"),
            ("eem-script", "eem"),
            ("exec-script", "exec"),
            ("precommit-script", "precommit"),
            ("process-script", "process"),
        ];
        let script_type =
            TYPES.iter().find(|(word, _)| matched.has(word)).map_or("all", |(_, script_type)| script_type);
        let names = matched.all("FILE").into_iter().map(|name| format!("<script-name>{}</script-name>", escape(name)));
        let mut scripts: Vec<String> = names.collect();
        if scripts.is_empty() {
            scripts.push(String::new());
        }
        let mut refused = Vec::new();
        for script in scripts {
            let request = format!(
                "<update xmlns=\"{SCRIPT_ACT}\"><condition>manual</condition><script-type>{script_type}</script-type>{script}</update>"
            );
            match self.ask_about_scripts(&request).await {
                // The others are asked for all the same.
                Err(Trouble::Said(text)) => refused.push(text),
                done => done?,
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(Trouble::Said(refused.join("\n"))) }
    }

    /// A sentence for each script; those about what did not come off are errors.
    async fn ask_about_scripts(&mut self, request: &str) -> Done {
        let reply = self.ask(request).await?;
        let (mut done, mut failed) = (String::new(), Vec::new());
        for response in reply.iter().flat_map(|container| &container.children) {
            let Some(line) = child(response, "response") else { continue };
            match child(response, "status") {
                Some(status) if status.text == "False" => failed.push(format!("% {}", line.text)),
                _ => done.extend([line.text.as_str(), "\n"]),
            }
        }
        self.out.print(&done).await?;
        if failed.is_empty() { Ok(()) } else { Err(Trouble::Said(failed.join("\n"))) }
    }

    /// `process start NAME ...` and its like.
    pub(super) async fn process(&mut self, matched: &Matched) -> Done {
        let verb = ["start", "stop", "restart", "resync"].into_iter().find(|verb| matched.has(verb));
        let request = match verb {
            Some(verb) => processes::order_request(verb, &matched.all("NAME")),
            None => processes::version_request(matched.get("NAME").unwrap_or(""), matched.get("VERSION").unwrap_or("")),
        };
        self.ask(&request).await?;
        Ok(())
    }

    /// `container start NAME ...` and its like: what became of each.
    pub(super) async fn container_order(&mut self, matched: &Matched) -> Done {
        let reply = self.ask(&containers::order_request(matched)).await?;
        let (done, failed) = containers::outcomes(&reply);
        self.out.print(&done).await?;
        if failed.is_empty() { Ok(()) } else { Err(Trouble::Said(failed.join("\n"))) }
    }

    /// `show process NAME` and `show process NAME why`.
    pub(super) async fn show_process(&mut self, matched: &Matched, piped: &Piped) -> Done {
        let name = matched.get("NAME").unwrap_or("");
        let answer = self.ask(&processes::why_request(name)).await?;
        let text = if matched.has("why") {
            processes::why(name, &answer)
        } else {
            let items = self.get(&show::filter(Verb::ShowProcess, matched).unwrap_or_default()).await?;
            processes::info(name, &self.setup.grammar, &items, &answer)
        };
        self.show(&text, piped).await
    }

    pub(super) async fn app_action(&mut self, matched: &Matched) -> Done {
        const VERBS: [&str; 6] = ["activate", "deactivate", "start", "stop", "restart", "kill"];
        let verb = VERBS.into_iter().find(|verb| matched.has(verb)).expect("the syntax has one of them");
        let app = matched.get("APP").unwrap_or("");
        let operation = format!("appmgr-process-script-{verb}");
        let request = format!("<{operation} xmlns=\"{APP_ACT}\"><name>{}</name></{operation}>", escape(app));
        match self.ask(&request).await {
            Ok(_) => Ok(()),
            Err(AskError::Refused(errors)) if self.config.is_some() && self.is_only_in_target(app).await? => {
                let said = AskError::Refused(errors);
                Err(Trouble::Said(format!(
                    "% {said}\n% `{app}` is in the target configuration only: `commit` it first"
                )))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an app is registered in the target configuration and not in running.
    async fn is_only_in_target(&mut self, app: &str) -> Result<bool, Trouble> {
        let filter = format!(
            r#"<appmgr xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-um-appmgr-cfg"><process-scripts><process-script><process-script-name>{}</process-script-name></process-script></process-scripts></appmgr>"#,
            escape(app)
        );
        let target = self.get_config("candidate", Some(&filter)).await?;
        let running = self.get_config("running", Some(&filter)).await?;
        Ok(!target.is_empty() && running.is_empty())
    }

    pub(super) async fn kill_session(&mut self, matched: &Matched) -> Done {
        let session = matched.get("SESSION").unwrap_or("0");
        self.ask(&format!("<kill-session><session-id>{session}</session-id></kill-session>")).await?;
        Ok(())
    }

    pub(super) async fn roll_back(&mut self, matched: &Matched, line: &str, tokens: &[Token]) -> Done {
        let (operation, which) = if let Some(count) = matched.get("COUNT") {
            ("roll-back-configuration-last", format!("<count>{count}</count>"))
        } else {
            let commit = escape(matched.get("COMMIT").unwrap_or(""));
            let operation = if matched.has("to") {
                "roll-back-configuration-to"
            } else if matched.has("to-exclude") {
                "roll-back-configuration-to-exclude"
            } else {
                "roll-back-configuration"
            };
            (operation, format!("<commit-id>{commit}</commit-id>"))
        };
        let label = matched.get("LABEL").map(|label| format!("<label>{}</label>", escape(label))).unwrap_or_default();
        let comment = rest_of(line, tokens, matched).map(|text| format!("<comment>{}</comment>", escape(text)));
        let comment = comment.unwrap_or_default();
        let flag = |name: &str| if matched.has(name) { format!("<{name}>true</{name}>") } else { String::new() };
        let flags = flag("force") + &flag("best-effort");
        let request = format!("<{operation} xmlns=\"{ROLLBACK_ACT}\">{which}{flags}{label}{comment}</{operation}>");
        let before = self.newest_commit().await?;
        let answer = self.ask(&request).await;
        // Also what is refused in part may have been a commit.
        let after = self.newest_commit().await?;
        if let Some(config) = &mut self.config {
            config.since = after.as_ref().map(|(id, ..)| id.clone());
        }
        self.learn_host().await;
        answer?;
        match after.filter(|after| Some(&after.0) != before.as_ref().map(|before| &before.0)) {
            Some((id, ..)) => {
                let text = format!("Configuration successfully rolled back as commit {id}.\n");
                Ok(self.out.print(&text).await?)
            }
            None => Ok(self.out.print("Nothing had to be rolled back.\n").await?),
        }
    }
}

/// What `LINE` at the end of a command took.
pub(super) fn rest_of<'l>(line: &'l str, tokens: &[Token], matched: &Matched) -> Option<&'l str> {
    let token = tokens.get(matched.rest?)?;
    Some(line.get(token.start..)?.trim())
}

/// Names with their sums: all have one, or none.
fn with_sums<'w>(words: &[&'w str]) -> Result<Vec<(&'w str, Option<&'w str>)>, String> {
    if let [names @ .., keyword, kind, sum] = words
        && keyword.eq_ignore_ascii_case("checksum")
    {
        if !kind.eq_ignore_ascii_case("sha256") {
            return Err(format!("checksum type `{kind}` is not supported; use SHA256"));
        }
        return match names {
            [name] => Ok(vec![(*name, Some(*sum))]),
            _ => Err("with several scripts each name is followed by its sum: NAME SUM NAME SUM".to_owned()),
        };
    }
    if let [name, keyword, sum] = words
        && keyword.eq_ignore_ascii_case("checksum")
    {
        return Ok(vec![(*name, Some(*sum))]);
    }
    let is_sum = |word: &str| word.len() == SUM_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !words.iter().any(|word| is_sum(word)) {
        return Ok(words.iter().map(|name| (*name, None)).collect());
    }
    let pairs = words.chunks(2).map(|pair| match pair {
        [name, sum] if is_sum(sum) && !is_sum(name) => Ok((*name, Some(*sum))),
        [name, ..] => Err(format!("`{name}` is not followed by its sum: give one for each script, or for none")),
        [] => Err("no script is named".to_owned()),
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::with_sums;

    #[test]
    fn sums_come_for_all_scripts_or_none() {
        let sum = "9".repeat(64);
        assert_eq!(with_sums(&["a.py", "b.py"]).unwrap(), [("a.py", None), ("b.py", None)]);
        assert_eq!(with_sums(&["a.py", "checksum", "SHA256", &sum]).unwrap(), [("a.py", Some(sum.as_str()))]);
        assert_eq!(with_sums(&["a.py", "checksum", &sum]).unwrap(), [("a.py", Some(sum.as_str()))]);
        assert_eq!(with_sums(&["a.py", &sum, "b.py", &sum]).unwrap().len(), 2);
        for wrong in [vec!["a.py", "b.py", sum.as_str()], vec!["a.py", &sum, "b.py"], vec!["a", "checksum", "md5", "x"]]
        {
            assert!(with_sums(&wrong).is_err(), "{wrong:?}");
        }
    }
}
