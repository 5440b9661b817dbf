//! What can stand at the cursor: for `?` and TAB. Pure; values that live in the agent are named, not asked for.

use super::data::Item;
use super::grammar::{Grammar, NodeId};
use super::line::{self, Expected, Path, Word};
use super::load::Modes;
use super::pipe;
use super::token::{Token, begins, split};
use super::values::{KNOWN, Known, SHOWN_MAX};
use super::vocabulary::{Vocabulary, Words};

/// What is known of the place at the cursor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assistance {
    pub words: Vec<Word>,
    pub may_end: bool,
    /// Values to ask the agent for.
    pub live: Option<Live>,
    /// What has been typed of the word.
    pub partial: String,
    /// Values beside those in `words`.
    left_out: usize,
}

/// Values that only the agent knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// Those of an argument of commands.
    Known(&'static Known),
    /// Values of a leaf in the configuration, at a path of instances.
    Leaf(Path, NodeId),
}

/// `before` is the line up to the cursor; `modes` are open in configuration mode; `words` are those that the user may use.
pub fn assist(grammar: &Grammar, words: &Words, modes: Option<&Modes>, before: &str) -> Assistance {
    let tokens = split(before);
    let begins_word = before.is_empty() || before.ends_with([' ', '\t']);
    let (complete, partial) = match tokens.split_last() {
        Some((last, rest)) if !begins_word => (rest, last.text.clone()),
        _ => (tokens.as_slice(), String::new()),
    };
    let mut found = match (bar(complete), modes) {
        (Some(behind), _) => piped(behind),
        (None, None) => fixed(&words.operational, grammar, complete),
        (None, Some(modes)) => in_configuration(grammar, words, modes, complete),
    };
    found.words.retain(|word| partial.is_empty() || word.is_placeholder || begins(&word.text, &partial));
    // A placeholder says nothing beside words that fit.
    if !partial.is_empty() && found.words.iter().any(|word| !word.is_placeholder) {
        found.words.retain(|word| !word.is_placeholder);
    }
    found.words.sort_by(|left, right| left.text.cmp(&right.text));
    found.may_end = found.may_end && partial.is_empty();
    found.partial = partial;
    found
}

/// What stands behind the last bar.
fn bar(tokens: &[Token]) -> Option<&[Token]> {
    let at = tokens.iter().rposition(|token| token.text == "|" && !token.is_quoted)?;
    Some(&tokens[at + 1..])
}

fn piped(behind: &[Token]) -> Assistance {
    let words = match behind {
        [] => pipe::WORDS.iter().map(|(word, help)| as_word(word, help)).collect(),
        _ => vec![Word { text: "LINE".to_owned(), help: "Text to look for".to_owned(), is_placeholder: true }],
    };
    Assistance { words, may_end: !behind.is_empty(), ..Assistance::default() }
}

fn fixed(words: &Vocabulary, grammar: &Grammar, complete: &[Token]) -> Assistance {
    let Ok(next) = words.commands.next(complete) else { return Assistance::default() };
    let mut found = Assistance { words: next.words, may_end: next.may_end, ..Assistance::default() };
    for argument in next.arguments {
        let known = KNOWN.iter().find(|known| known.argument == argument.name);
        found.live = known.map(Live::Known).or(found.live);
    }
    if let Some(from) = next.path_from
        && let Ok(expected) = line::path_expected(grammar, &[], complete.get(from..).unwrap_or_default())
    {
        found.merge(expected);
    }
    found
}

fn in_configuration(grammar: &Grammar, words: &Words, modes: &Modes, complete: &[Token]) -> Assistance {
    let contexts: Vec<&[Item]> = {
        let mut contexts: Vec<&[Item]> = modes.paths().collect();
        contexts.insert(0, &[]);
        contexts
    };
    let innermost = contexts.last().copied().unwrap_or(&[]);
    match complete {
        [] => {
            let mut found = fixed(&words.configuring, grammar, complete);
            if let Ok(expected) = line::expected(grammar, innermost, complete, false) {
                found.merge(expected);
            }
            found.words.push(as_word("no", "Take configuration away"));
            found
        }
        [first, rest @ ..] if first.text == "no" => {
            let mut found = Assistance::default();
            if let Ok(expected) = line::expected(grammar, innermost, rest, true) {
                found.merge(expected);
            }
            found
        }
        [first, rest @ ..] if first.text == "do" => fixed(&words.operational, grammar, rest),
        _ => {
            let mut found = fixed(&words.configuring, grammar, complete);
            // As a line is read: in the innermost mode that knows its first word.
            let known =
                contexts.iter().rev().find_map(|context| line::expected(grammar, context, complete, false).ok());
            if let Some(expected) = known {
                found.merge(expected);
            }
            found
        }
    }
}

impl Assistance {
    fn merge(&mut self, expected: Expected) {
        for word in expected.words {
            if !self.words.iter().any(|known| known.text == word.text) {
                self.words.push(word);
            }
        }
        self.may_end |= expected.may_end;
        if let Some((path, node)) = expected.value_of {
            self.live = Some(Live::Leaf(path, node));
        }
    }

    /// Adds sorted values that the agent told, all of which begin as the word does. Of very many only some are shown: the
    /// first, and the last one, so that what all of them share stays what they share.
    pub fn add_values(&mut self, values: &[String]) {
        let shown = values.len().min(SHOWN_MAX);
        let last = values.last().filter(|_| values.len() > SHOWN_MAX);
        for value in values[..shown].iter().chain(last) {
            if !self.words.iter().any(|word| word.text == *value) {
                self.words.push(Word { text: value.clone(), help: String::new(), is_placeholder: false });
            }
        }
        self.left_out = values.len() - shown - usize::from(last.is_some());
    }

    /// A line about what is not shown.
    pub fn rest(&self) -> Option<String> {
        (self.left_out > 0).then(|| format!("({} more)", self.left_out))
    }

    /// The words below each other, with what they mean.
    pub fn listed(&self) -> String {
        if self.words.is_empty() && !self.may_end {
            return "% Unrecognized command\n".to_owned();
        }
        let width = self.words.iter().map(|word| word.text.chars().count()).max().unwrap_or(0).max(4);
        let mut out = String::new();
        for word in &self.words {
            let line = format!("  {:<width$}  {}", word.text, word.help);
            out.push_str(line.trim_end());
            out.push('\n');
        }
        if let Some(rest) = self.rest() {
            out.push_str(&format!("  {rest}\n"));
        }
        if self.may_end {
            out.push_str("  <cr>\n");
        }
        out
    }

    /// What TAB adds: the rest of the only word and a blank, or what all words share.
    pub fn completion(&self) -> Option<String> {
        let words: Vec<&str> =
            self.words.iter().filter(|word| !word.is_placeholder).map(|word| word.text.as_str()).collect();
        let typed = self.partial.len();
        match words.as_slice() {
            [] => None,
            [word] => Some(format!("{} ", word.get(typed..)?)),
            [first, rest @ ..] => {
                let shares = |length: usize| rest.iter().all(|word| word.get(..length) == first.get(..length));
                let shared =
                    (0..=first.len()).rev().find(|length| first.is_char_boundary(*length) && shares(*length))?;
                (shared > typed).then(|| first[typed..shared].to_owned())
            }
        }
    }
}

fn as_word(word: &str, help: &str) -> Word {
    Word { text: word.to_owned(), help: help.to_owned(), is_placeholder: false }
}

#[cfg(test)]
mod tests {
    use super::super::testing::device;
    use super::super::vocabulary::{Need, all};
    use super::*;

    fn exec(before: &str) -> Assistance {
        assist(device(), all(), None, before)
    }

    fn config(mode: &[&str], before: &str) -> Assistance {
        let mut modes = Modes::default();
        for line in mode {
            modes.take(device(), line).unwrap();
        }
        assist(device(), all(), Some(&modes), before)
    }

    #[test]
    fn a_question_mark_lists_what_can_follow() {
        let asked =
            ["", "show ", "sh sc", "script add ", "show appmgr process-script x logs ", "show logging | ", "xyz "];
        let told = asked.map(|before| format!("#{before}?\n{}", exec(before).listed())).concat();
        insta::assert_snapshot!(told, @r#"
        #?
          appmgr     The app manager
          clear      Forget what is not committed
          configure  Enter configuration mode
          console    Sit at the console of an app or a container; ^Ec. leaves it
          container  Start, stop, restart or signal containers
          copy       Copy a file to the disk of the device
          describe   Tell which node or command a line is
          dir        List a folder of the disk
          exit       Leave this mode, or the shell
          help       How to find one's way
          logout     Leave the shell
          process    Start, stop or restart a process with a definition
          quit       Leave this mode, or the shell
          rollback   Undo commits
          run        The Linux of the device: a shell, or one command
          scp        Copy a file to the disk of the device
          script     The script repository
          show       Tell what is
          terminal   How this terminal is used
        #show ?
          alarms          What is wrong now, and was before
          appmgr          The app manager
          clock           What time it is
          configuration   Configuration that is prepared, or was committed
          container       Commands that are kept running
          log             What programs have printed; without a name, the system log
          logging         The system log
          memory          The memory of the host
          netconf         NETCONF sessions
          process         Processes with a definition
          processes       The processes of the host
          running-config  The configuration in force
          script          The script repository
          version         What this is
        #sh sc?
          script  The script repository
        #script add ?
          config     Scripts that check configuration
          eem        Scripts that answer events
          exec       Scripts that run once
          precommit  Scripts that check a commit
          process    Scripts that run as daemons
        #show appmgr process-script x logs ?
          errors  What the app wrote to its error output
          output  What the app wrote to its output
        #show logging | ?
          begin    From the first line that holds the text
          count    How many lines
          exclude  Lines that do not hold the text
          file     Into a file of the disk
          formal   Configuration as lines that each say everything
          include  Lines that hold the text
          json     The data as JSON
          utility  head, tail, sort, wc, egrep
          xml      The data as XML
        #xyz ?
        % Unrecognized command
        "#);
    }

    #[test]
    fn in_configuration_the_schema_tells() {
        let mode = ["appmgr process-script my-app"];
        let asked = [
            "",
            "restart ",
            "restart on-failure ",
            "restart on-failure max-retries ",
            "run-args x",
            "no ",
            "do show ver",
        ];
        let told = asked.map(|before| format!("#{before}?\n{}", config(&mode, before).listed())).concat();
        insta::assert_snapshot!(told, @r#"
        #?
          abort        Leave configuration mode; what is not committed is forgotten
          after        Apps that must run before this one starts
          appmgr       The app manager
          autorun      Activation at boot
          clear        Forget what is not committed
          commit       Make the target configuration the running one
          describe     Tell which node or command a line is
          do           A command of operational mode
          end          Leave configuration mode; asks about what is not committed
          executable   The script in the repository that the app runs
          exit         Leave this mode, or the shell
          help         How to find one's way
          load         Read configuration from a file or the terminal
          max-retries  How often a failed script is started again; without limit where nothing is set
          no           Take configuration away
          process      Start, stop or restart a process with a definition
          pwd          Tell which mode this is
          quit         Leave this mode, or the shell
          resources    What all processes of the app together may use
          restart      What happens when the script ends; always where nothing is set
          rollback     Undo commits
          root         Go to the top of the configuration
          run          The Linux of the device: a shell, or one command
          run-args     Arguments handed to the script
          script       The script repository
          show         Tell what is
          terminal     How this terminal is used
          username     The account whose rights the script has
          validate     Is the target configuration valid?
        #restart ?
          always          It is started again whatever ended it
          never           It is not started again
          on-failure      It is started again when it failed
          unless-errored  It is started again unless it failed
          unless-stopped  It is started again unless it was stopped on request
        #restart on-failure ?
          max-retries  How often a failed script is started again; without limit where nothing is set
          <cr>
        #restart on-failure max-retries ?
          <1-10>  How often a failed script is started again; without limit where nothing is set
        #run-args x?
          LINE  Arguments handed to the script
        #no ?
          after        Apps that must run before this one starts
          autorun      Activation at boot
          executable   The script in the repository that the app runs
          max-retries  How often a failed script is started again; without limit where nothing is set
          resources    What all processes of the app together may use
          restart      What happens when the script ends; always where nothing is set
          run-args     Arguments handed to the script
          username     The account whose rights the script has
        #do show ver?
          version  What this is
        "#);
    }

    #[test]
    fn what_is_denied_looks_like_what_there_is_not() {
        let few = Words::meeting(|need| !matches!(need, Need::Execute(_) | Need::Update(_)));
        let told = |before: &str| assist(device(), &few, None, before).listed();
        for denied in ["ru", "script ", "appmgr ", "conf", "rollback "] {
            assert_eq!(told(denied), told("no-such-word "), "{denied}");
        }
        assert!(told("show ").contains("running-config"));
    }

    fn known(before: &str) -> Option<&'static str> {
        match exec(before).live {
            Some(Live::Known(known)) => Some(known.argument),
            _ => None,
        }
    }

    #[test]
    fn values_of_arguments_are_asked_of_the_agent() {
        let asked = [
            ("script run ", Some("FILE")),
            ("script stop ", Some("REQUEST")),
            ("show configuration commit changes ", Some("COMMIT")),
            ("container restart clock ", Some("CONTAINER")),
            ("show container ", Some("CONTAINER")),
            ("show log ", Some("LOG")),
            ("process start ", Some("NAME")),
            ("clear netconf session ", Some("SESSION")),
            ("show version ", None),
        ];
        for (before, argument) in asked {
            assert_eq!(known(before), argument, "{before}");
        }
    }

    #[test]
    fn of_very_many_values_what_they_share_is_certain_and_some_are_shown() {
        let many: Vec<String> = (1000..3000).map(|number| format!("app{number}")).collect();
        let mut told = exec("show appmgr process-script ap");
        told.add_values(&many);
        assert_eq!(told.completion().as_deref(), Some("p"));
        let listed = told.listed();
        // The last one, what an app is called, and how many more there are.
        assert_eq!(listed.lines().count(), SHOWN_MAX + 3);
        assert!(listed.ends_with("  app2999\n  (1799 more)\n"), "{listed}");
    }

    #[test]
    fn tab_adds_what_is_certain() {
        assert_eq!(exec("sh").completion().as_deref(), Some("ow "));
        assert_eq!(exec("show appmgr process-script-").completion().as_deref(), Some("table "));
        assert_eq!(exec("show appmgr p").completion().as_deref(), Some("rocess-script"));
        assert_eq!(known("show appmgr process-script "), Some("APP"));
        assert_eq!(config(&[], "script p").completion().as_deref(), Some("r"));
        assert_eq!(config(&["appmgr process-script a1"], "restart n").completion().as_deref(), Some("ever "));
        assert_eq!(exec("zz").completion(), None);
    }

    #[test]
    fn keys_of_entries_are_asked_of_the_configuration() {
        let live = config(&[], "appmgr process-script ").live;
        assert!(matches!(live, Some(Live::Leaf(path, _)) if path.len() == 1));
        assert!(matches!(exec("show running-config appmgr process-script ").live, Some(Live::Leaf(..))));
    }
}
