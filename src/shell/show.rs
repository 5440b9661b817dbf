//! What operational commands ask for, and how the answer is laid out: to the column as routers do it. Pure.

pub mod alarms;
pub mod apps;
pub mod commits;
pub mod containers;
pub mod host;
pub mod logs;
pub mod processes;
pub mod runs;
pub mod scripts;

use super::command::Matched;
use super::data::Item;
use super::grammar::Grammar;
use super::vocabulary::Verb;

/// The subtree filter for a command's data; `None` for commands that are no view of state.
pub fn filter(verb: Verb, matched: &Matched) -> Option<String> {
    Some(match verb {
        Verb::ShowScripts => scripts::filter(matched),
        Verb::ShowRuns => runs::filter(matched),
        Verb::ShowAlarms => alarms::ALARMS.to_owned(),
        Verb::ShowApps => apps::filter(None),
        Verb::ShowApp | Verb::ShowAppLogs => apps::filter(matched.get("APP")),
        Verb::ShowProcess => processes::filter(matched.get("NAME")),
        Verb::ShowContainers => containers::filter(matched.get("CONTAINER")),
        Verb::ShowCommitList | Verb::ShowHistory => commits::filter(),
        Verb::ShowLogging => host::LOG.to_owned(),
        Verb::ShowProcesses => host::PROCESSES.to_owned(),
        Verb::ShowMemory => host::MEMORY.to_owned(),
        Verb::ShowSessions => host::SESSIONS.to_owned(),
        Verb::ShowVersion => host::VERSION.to_owned(),
        _ => return None,
    })
}

/// The text of a command whose data has come.
pub fn render(verb: Verb, matched: &Matched, grammar: &Grammar, items: &[Item]) -> String {
    match verb {
        Verb::ShowScripts => scripts::render(matched, grammar, items),
        Verb::ShowRuns => runs::render(matched, grammar, items),
        Verb::ShowAlarms => alarms::render(matched, grammar, items),
        Verb::ShowApps => apps::table(grammar, items),
        Verb::ShowApp => apps::info(matched.get("APP").unwrap_or(""), grammar, items),
        Verb::ShowProcess => processes::table(grammar, items),
        Verb::ShowContainers => containers::render(matched.get("CONTAINER"), grammar, items),
        Verb::ShowCommitList => commits::list(matched, grammar, items),
        Verb::ShowHistory => commits::history(matched, grammar, items),
        Verb::ShowLogging => host::log(matched, grammar, items),
        Verb::ShowProcesses => host::processes(grammar, items),
        Verb::ShowMemory => host::memory(grammar, items),
        Verb::ShowSessions => host::sessions(grammar, items),
        Verb::ShowVersion => host::version(grammar, items),
        _ => String::new(),
    }
}

/// The item that a path of names leads to.
fn descend<'a>(grammar: &Grammar, items: &'a [Item], names: &[&str]) -> Option<&'a Item> {
    let (first, rest) = names.split_first()?;
    let item = items.iter().find(|item| grammar.node(item.node).name == *first)?;
    if rest.is_empty() { Some(item) } else { descend(grammar, &item.children, rest) }
}

/// All children of that name, in order.
fn all<'a>(grammar: &'a Grammar, item: Option<&'a Item>, name: &'a str) -> Vec<&'a Item> {
    let children = item.map_or(&[][..], |item| item.children.as_slice());
    children.iter().filter(|child| grammar.node(child.node).name == name).collect()
}

/// A table with as much room for each column as it needs, and at least what is given.
fn table(headers: &[(&str, usize)], rows: &[Vec<String>], rule: bool) -> String {
    let mut widths: Vec<usize> = headers.iter().map(|(header, least)| header.len().max(*least)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(&format!("{cell:<width$} "));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut headers.iter().map(|(header, _)| (*header).to_owned()));
    if rule {
        line(&mut widths.iter().map(|width| "-".repeat(*width)));
    }
    for row in rows {
        line(&mut row.iter().cloned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::data::read;
    use super::super::testing::device;
    use super::super::token::split;
    use super::super::vocabulary::operational;
    use super::*;

    fn shown(line: &str, xml: &str) -> String {
        let words = operational();
        let matched = words.commands.read(&split(line), line.len()).unwrap();
        render(words.verb(matched.command), &matched, device(), &read(device(), xml.as_bytes()).unwrap())
    }

    const SCRIPTS: &str = r#"<script xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-infra-script-mgmt-oper"><status><detail>
<status-detail><status-summary><last-action>NEW</last-action><last-action-time>Mon Mar 11 12:59:30 2024</last-action-time>
<script-name>storm.py</script-name><script-type>process</script-type><status>Ready</status></status-summary>
<checksum>94336f3997521d6e1aec0ee6faab0233562d53d4de7b0092e80b53caed58414b</checksum>
<script-description>Watches storms</script-description><script-arguments>threshold: the limit</script-arguments>
<status-history><action>NEW</action><checksum>94336f</checksum><description>User action IN_CLOSE_WRITE</description>
<time-stamp>Mon Mar 11 12:59:30 2024</time-stamp></status-history></status-detail></detail><summary>
<status-summary><last-action>NEW</last-action><last-action-time>Mon Mar 11 12:59:30 2024</last-action-time>
<script-name>storm.py</script-name><script-type>process</script-type><status>Config Checksum</status></status-summary>
</summary></status></script>"#;

    #[test]
    fn scripts_stand_in_the_columns_of_the_router() {
        insta::assert_snapshot!(shown("show script status", SCRIPTS), @r#"
        ======================================================================================================
         Name                            | Type   | Status           | Last Action | Action Time
        ------------------------------------------------------------------------------------------------------
         storm.py                        | process| Config Checksum  | NEW         | Mon Mar 11 12:59:30 2024
        ======================================================================================================
        "#);
        insta::assert_snapshot!(shown("show script status detail", SCRIPTS), @r#"
        ======================================================================================================
         Name                            | Type   | Status           | Last Action | Action Time
        ------------------------------------------------------------------------------------------------------
         storm.py                        | process| Ready            | NEW         | Mon Mar 11 12:59:30 2024
        ------------------------------------------------------------------------------------------------------
        Script Name       : storm.py
        Checksum          : 94336f3997521d6e1aec0ee6faab0233562d53d4de7b0092e80b53caed58414b
        Script Description: Watches storms
        Script Arguments  :
          threshold: the limit
        History:
        --------
        1.   Action       : NEW
             Time         : Mon Mar 11 12:59:30 2024
             Checksum     : 94336f
             Description  : User action IN_CLOSE_WRITE
        ======================================================================================================
        "#);
        insta::assert_snapshot!(shown("show script status", ""), @r#"
        ======================================================================================================
         Name                            | Type   | Status           | Last Action | Action Time
        ------------------------------------------------------------------------------------------------------
        ======================================================================================================
        "#);
    }

    const APPS: &str = r#"<appmgr xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-appmgr-oper"><process-scripts>
<process-script><name>my-process-app</name><info><execution-info><executable>process-script.py</executable>
<run-args>--host h --runtime 3</run-args><restart-policy>on-failure</restart-policy><max-retries>3</max-retries>
<restarts>0</restarts><last-started-time>Fri Aug 20 06:20:21.947</last-started-time><checksum>94336f</checksum>
<log-location>/harddisk:/mirror/script-mgmt/logs/process-script.py_process_my-process-app</log-location>
<last-exit-code>1</last-exit-code></execution-info><config><executable>process-script.py</executable>
<run-args>--host h --runtime 3</run-args><restart-policy>always</restart-policy></config><name>my-process-app</name>
<status>started</status><is-activated>true</is-activated><is-cfg-pending>true</is-cfg-pending>
<why xmlns="urn:procyon:appmgr">exited with 1; starts again at 06:20</why></info></process-script>
<process-script><name>b2</name><info><config><executable>b.py</executable></config><name>b2</name>
<status>not-started</status><is-activated>false</is-activated><is-cfg-pending>false</is-cfg-pending></info></process-script>
</process-scripts></appmgr>"#;

    #[test]
    fn apps_are_told_as_the_guide_does() {
        insta::assert_snapshot!(shown("show appmgr process-script-table", APPS), @r#"
        Name           Executable         Activated Status          Restart Policy Config Pending
        -------------- ------------------ --------- --------------- -------------- --------------
        my-process-app process-script.py  Yes       Running         Always         Yes
        b2             b.py               No        Not Started     Always         No
        "#);
        insta::assert_snapshot!(shown("show appmgr process-script my-process-app info", APPS), @r#"
        Application: my-process-app

        Registration info:
          Executable                   : process-script.py
          Run arguments                : --host h --runtime 3
          Restart policy               : On Failure
          Maximum restarts             : 3

        Pending Configuration:
          Restart policy               : Always
          Maximum restarts             : (removed)

        Execution info and status:
          Activated                    : Yes
          Status                       : Running
          Executable Checksum          : 94336f
          Last started time            : Fri Aug 20 06:20:21.947
          Restarts since last activate : 0/3
          Log location                 : /harddisk:/mirror/script-mgmt/logs/process-script.py_process_my-process-app
          Last exit code               : 1
          Why                          : exited with 1; starts again at 06:20
        "#);
        insta::assert_snapshot!(shown("show appmgr process-script b2 info", APPS), @r#"
        Application: b2

        Registration info:
          Executable                   : b.py

        Execution info and status:
          Activated                    : No
          Status                       : Not Started
        "#);
    }

    #[test]
    fn the_history_of_commits_has_the_columns_that_parsers_know() {
        let commits = r#"<config-manager xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-config-cfgmgr-exec-oper"><global>
<config-commit><commits><commit><commit>1000000094</commit><timestamp>Tue Jun  7 14:52:19 2016</timestamp>
<commit-id>1000000094</commit-id><user-id>fred</user-id><line>session-12</line><client-name>CLI</client-name>
<label>before_x</label><comment>all done</comment></commit><commit><commit>1000000093</commit>
<timestamp>Tue Jun  7 14:42:19 2016</timestamp><commit-id>1000000093</commit-id><user-id>fred</user-id>
<line>vty0:node0_RSP0_CPU0</line><client-name>Rollback</client-name></commit></commits></config-commit></global>
</config-manager>"#;
        insta::assert_snapshot!(shown("show configuration commit list", commits), @r#"
        SNo. Label/ID    User      Line                Client      Time Stamp
        ~~~~ ~~~~~~~~    ~~~~      ~~~~                ~~~~~~      ~~~~~~~~~~
        1    before_x    fred      session-12          CLI         Tue Jun  7 14:52:19 2016
        2    1000000093  fred      vty0:node0_RSP0_CP  Rollback    Tue Jun  7 14:42:19 2016
        "#);
        insta::assert_snapshot!(shown("show configuration commit list 1 detail", commits), @r#"
        1) CommitId: 1000000094                   Label: before_x
           UserId:   fred                         Line:  session-12
           Client:   CLI                          Time:  Tue Jun  7 14:52:19 2016
           Comment:  all done
        "#);
        insta::assert_snapshot!(shown("show configuration history", commits), @r#"
        Sno.  Event      Info                           Time Stamp
        ~~~~  ~~~~~      ~~~~                           ~~~~~~~~~~
        1     commit     id 1000000094                  Tue Jun  7 14:52:19 2016
        2     commit     id 1000000093                  Tue Jun  7 14:42:19 2016
        "#);
        insta::assert_snapshot!(shown("show configuration history last 1 detail", commits), @r#"
        1)  Event: commit                          Time: Tue Jun  7 14:52:19 2016
            Commit ID: 1000000094                  Label: before_x
            User: fred                             Line: session-12
            Client: CLI                            Comment: all done
        "#);
    }

    #[test]
    fn the_log_is_lines_as_they_were_written() {
        let log = r#"<syslog xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-infra-syslog-oper"><messages><message><message-id>1
</message-id><node-name>RP/0/RP0/CPU0</node-name><time-of-day>Sep 30 18:03:54.391</time-of-day><time-zone>UTC</time-zone>
<process-name>python3_xr</process-name><category>OS</category><group>SCRIPT_MGMT</group><message-name>ERROR</message-name>
<severity>error</severity><text>Script-test_process: CPU utilization is 6, threshold value is 5</text></message></messages>
</syslog>"#;
        insta::assert_snapshot!(shown("show logging", log), @r#"
        Log Buffer (1 messages):

        RP/0/RP0/CPU0:Sep 30 18:03:54.391 UTC: python3_xr: %OS-SCRIPT_MGMT-3-ERROR : Script-test_process: CPU utilization is 6, threshold value is 5
        "#);
    }

    #[test]
    fn sessions_are_listed_with_who_and_whence() {
        let sessions = r#"<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions><session>
<session-id>7</session-id><transport>netconf-ssh</transport><username>ann</username><source-host>192.0.2.7</source-host>
<login-time>2026-11-21T10:00:00Z</login-time></session></sessions></netconf-state>"#;
        insta::assert_snapshot!(shown("show netconf sessions", sessions), @r#"
        Session User         Transport      From                 Since
        ------- ------------ -------------- -------------------- --------------------
        7       ann          netconf-ssh    192.0.2.7            2026-11-21T10:00:00Z
        "#);
    }
}
