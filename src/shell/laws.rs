//! What holds for all data of all schemas.

use proptest::prelude::*;

use super::data::{self, difference};
use super::edit::messages;
use super::line::Operation;
use super::load::Modes;
use super::testing::{Dice, apply, device, dice, grammar, sample, sorted};
use super::text::{Style, print, print_difference};
use super::{json, testing};

proptest! {
    #[test]
    fn what_is_shown_can_be_loaded(dice in dice()) {
        let grammar = grammar(&mut Dice::new(dice.grammar));
        let items = testing::data(&grammar, &mut Dice::new(dice.data));
        let shown = print(&grammar, &items, Style::Nested);
        let (mut modes, mut loaded) = (Modes::default(), Vec::new());
        for line in shown.lines() {
            let edits = modes.take(&grammar, line);
            prop_assert!(edits.is_ok(), "{line:?}: {edits:?} in\n{shown}");
            apply(&grammar, &mut loaded, &edits.unwrap());
        }
        prop_assert!(modes.is_top());
        prop_assert_eq!(sorted(&grammar, loaded), sorted(&grammar, items), "\n{}", shown);
    }

    #[test]
    fn each_formal_line_says_everything(dice in dice()) {
        let grammar = grammar(&mut Dice::new(dice.grammar));
        let items = testing::data(&grammar, &mut Dice::new(dice.data));
        let shown = print(&grammar, &items, Style::Formal);
        let mut loaded = Vec::new();
        for line in shown.lines() {
            let edits = Modes::default().take(&grammar, line);
            prop_assert!(edits.is_ok(), "{line:?}: {edits:?} in\n{shown}");
            apply(&grammar, &mut loaded, &edits.unwrap());
        }
        prop_assert_eq!(sorted(&grammar, loaded), sorted(&grammar, items), "\n{}", shown);
    }

    #[test]
    fn a_difference_that_is_loaded_makes_the_other(dice in dice(), other in proptest::collection::vec(any::<u32>(), 0..200)) {
        let grammar = grammar(&mut Dice::new(dice.grammar));
        let from = testing::data(&grammar, &mut Dice::new(dice.data));
        let to = testing::data(&grammar, &mut Dice::new(other));
        let shown = print_difference(&grammar, &difference(&grammar, &from, &to));
        let (mut modes, mut loaded) = (Modes::default(), from);
        for line in shown.lines() {
            let edits = modes.take(&grammar, line);
            prop_assert!(edits.is_ok(), "{line:?}: {edits:?} in\n{shown}");
            apply(&grammar, &mut loaded, &edits.unwrap());
        }
        prop_assert_eq!(sorted(&grammar, loaded), sorted(&grammar, to), "\n{}", shown);
    }

    #[test]
    fn data_is_the_same_after_a_way_through_xml(dice in dice()) {
        let grammar = grammar(&mut Dice::new(dice.grammar));
        let items = testing::data(&grammar, &mut Dice::new(dice.data));
        for indent in [None, Some(0)] {
            let xml = data::write_xml(&grammar, &items, indent);
            prop_assert_eq!(data::read(&grammar, xml.as_bytes()).unwrap(), items.clone(), "{}", xml);
        }
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&json::write(&grammar, &items));
        prop_assert!(parsed.is_ok());
    }

    #[test]
    fn edits_say_the_same_in_messages(dice in dice()) {
        let grammar = grammar(&mut Dice::new(dice.grammar));
        let items = testing::data(&grammar, &mut Dice::new(dice.data));
        let mut edits = Vec::new();
        let mut modes = Modes::default();
        for line in print(&grammar, &items, Style::Nested).lines() {
            edits.extend(modes.take(&grammar, line).unwrap());
        }
        let mut merged = Vec::new();
        let mut count = 0;
        for (message, edits) in messages(&grammar, &edits) {
            count += edits;
            for item in data::read(&grammar, message.as_bytes()).unwrap() {
                merge(&grammar, &mut merged, item);
            }
        }
        prop_assert_eq!(count, edits.len());
        prop_assert_eq!(sorted(&grammar, merged), sorted(&grammar, items));
    }

    #[test]
    fn no_line_breaks_the_reader(line in "\\PC{0,60}", words in proptest::collection::vec("(no|a|ab|abc|exit|\"|!|x-y|5|true) ?", 0..8), dice in dice()) {
        let grammar = grammar(&mut Dice::new(dice.grammar));
        for text in [line, words.concat()] {
            let mut modes = Modes::default();
            let _ = modes.take(&grammar, &text);
            let tokens = super::token::split(&text);
            for count in 0..=tokens.len() {
                let _ = super::line::expected(&grammar, &[], &tokens[..count], false);
                let _ = super::line::path_expected(&grammar, &[], &tokens[..count]);
            }
        }
    }
}

/// Merges an item as edit-config does.
fn merge(grammar: &super::grammar::Grammar, items: &mut Vec<data::Item>, item: data::Item) {
    match items.iter_mut().find(|known| known.is_same(&item, grammar)) {
        Some(known) => {
            for child in item.children {
                merge(grammar, &mut known.children, child);
            }
            known.value = item.value;
        }
        None => items.push(item),
    }
}

#[test]
fn the_schema_of_the_samples_has_a_command_line() {
    let grammar = sample();
    let mut modes = Modes::default();
    let mut items = Vec::new();
    let typed = r#"top name "a b"
top
 pet cat
 on
  level 3
 !
 step 2
 step 1
 item eth0
  port 7
  deep x here
 pair l "r r"
 host there
 plus size 3
root-list one
 v two
"#;
    for line in typed.lines() {
        let edits = modes.take(&grammar, line).unwrap_or_else(|fault| panic!("{line}: {fault}"));
        apply(&grammar, &mut items, &edits);
    }
    insta::assert_snapshot!(print(&grammar, &items, Style::Nested), @r#"
    top
     name "a b"
     pet sample:cat
     on
      level 3
     !
     step 2
     step 1
     item eth0
      port 7
      deep
       x here
      !
     !
     pair l "r r"
     host there
     plus
      size 3
     !
    !
    root-list one
     v two
    !
    "#);
    insta::assert_snapshot!(print(&grammar, &items, Style::Formal), @r#"
    top name "a b"
    top pet sample:cat
    top on level 3
    top step 2
    top step 1
    top item eth0 port 7
    top item eth0 deep x here
    top pair l "r r"
    top host there
    top plus size 3
    root-list one v two
    "#);
    insta::assert_snapshot!(json::write(&grammar, &items), @r#"
    {
      "sample:top": {
        "name": "a b",
        "pet": "sample:cat",
        "on": {
          "level": 3
        },
        "step": [
          "2",
          "1"
        ],
        "item": [
          {
            "name": "eth0",
            "port": 7,
            "deep": {
              "x": "here"
            }
          }
        ],
        "pair": [
          {
            "left": "l",
            "right": "r r"
          }
        ],
        "host": "there",
        "more:plus": {
          "size": 3
        }
      },
      "sample:root-list": [
        {
          "k": "one",
          "v": "two"
        }
      ]
    }
    "#);
    insta::assert_snapshot!(data::write_xml(&grammar, &items, Some(0)), @r#"
    <top xmlns="urn:sample">
     <name>a b</name>
     <pet xmlns:sample="urn:sample">sample:cat</pet>
     <on>
      <level>3</level>
     </on>
     <step>2</step>
     <step>1</step>
     <item>
      <name>eth0</name>
      <port>7</port>
      <deep>
       <x>here</x>
      </deep>
     </item>
     <pair>
      <left>l</left>
      <right>r r</right>
     </pair>
     <host>there</host>
     <plus xmlns="urn:more">
      <size>3</size>
     </plus>
    </top>
    <root-list xmlns="urn:sample">
     <k>one</k>
     <v>two</v>
    </root-list>
    "#);
}

#[test]
fn the_words_of_the_guide_make_the_trees_of_the_device() {
    let grammar = device();
    let mut modes = Modes::default();
    let mut items = Vec::new();
    let typed = "script process process-script.py checksum SHA256 94336f3997521d6e1aec0ee6faab0233562d53d4de7b0092e80b53caed58414b
hostname Router
appmgr process-script my-process-app
executable process-script.py
run-args --host <host-name> --runtime 3 --log script
restart on-f max-retries 3
autorun
after other-app
script precommit check.py checksum sha256 94336f3997521d6e1aec0ee6faab0233562d53d4de7b0092e80b53caed58414b priority 7
script precommit check.py activate
";
    for line in typed.lines() {
        let edits = modes.take(grammar, line).unwrap_or_else(|fault| panic!("{line}: {fault}"));
        apply(grammar, &mut items, &edits);
    }
    insta::assert_snapshot!(print(grammar, &items, Style::Nested), @r#"
    script process process-script.py checksum SHA256 94336f3997521d6e1aec0ee6faab0233562d53d4de7b0092e80b53caed58414b
    script precommit check.py checksum SHA256 94336f3997521d6e1aec0ee6faab0233562d53d4de7b0092e80b53caed58414b priority 7
    script precommit check.py activate
    hostname Router
    appmgr
     process-script my-process-app
      executable process-script.py
      run-args --host <host-name> --runtime 3 --log script
      restart on-failure max-retries 3
      autorun
      after other-app
     !
    !
    "#);
    let mut without = Vec::new();
    let mut modes = Modes::default();
    for line in ["appmgr process-script my-process-app", "no restart", "no autorun", "root-is-no-word"] {
        match modes.take(grammar, line) {
            Ok(edits) => without.extend(edits),
            Err(fault) => without.extend(std::iter::repeat_n(without[0].clone(), usize::from(fault.at != 0))),
        }
    }
    assert_eq!(without.iter().filter(|edit| edit.operation == Operation::Delete).count(), 3);
    let mut after = items.clone();
    apply(grammar, &mut after, &without);
    insta::assert_snapshot!(print_difference(grammar, &difference(grammar, &items, &after)), @r#"
    appmgr
     process-script my-process-app
      no restart on-failure max-retries 3
      no autorun
     !
    !
    "#);
    insta::assert_snapshot!(messages(grammar, &without).into_iter().map(|(xml, _)| xml + "\n").collect::<String>(), @r#"
    <appmgr xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-um-appmgr-cfg"><process-scripts><process-script><process-script-name>my-process-app</process-script-name><restart xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"/><max-retries xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"/><autorun xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"></autorun></process-script></process-scripts></appmgr>
    "#);
}

#[test]
fn a_wrong_word_is_marked_and_told_what_was_expected() {
    let grammar = device();
    let fault = |line: &str| Modes::default().take(grammar, line).unwrap_err();
    let told = |line: &str| {
        let fault = fault(line);
        format!("{line}\n{}^\n{fault}\n", " ".repeat(fault.at))
    };
    let lines = [
        "appmgr process-skript x",
        "appmgr process-script",
        "appmgr process-script x restart sometimes",
        "appmgr process-script x restart un",
        "appmgr process-script x restart on-failure max-retries 99",
        "appmgr process-script x restart on-failure max-tries 9",
        "s",
        "script process x.py checksum \"abc",
        "no",
    ];
    insta::assert_snapshot!(lines.map(told).concat(), @r#"
    appmgr process-skript x
           ^
    % Invalid input detected at '^' marker.
    % Expected: process-script
    appmgr process-script
                         ^
    % Incomplete command.
    % Expected: WORD
    appmgr process-script x restart sometimes
                                    ^
    % Invalid input detected at '^' marker: `sometimes` is no value.
    % Expected: never, on-failure, always, unless-stopped, unless-errored
    appmgr process-script x restart un
                                    ^
    % Ambiguous command: it may mean unless-stopped, unless-errored
    appmgr process-script x restart on-failure max-retries 99
                                                           ^
    % Invalid input detected at '^' marker: `99` is not in the range.
    % Expected: <1-10>
    appmgr process-script x restart on-failure max-tries 9
                                               ^
    % Invalid input detected at '^' marker.
    % Expected: max-retries
    s
    ^
    % Ambiguous command: it may mean system, script, scripts
    script process x.py checksum "abc
                                 ^
    % A quote is opened at '^' and not closed.
    no
      ^
    % Incomplete command.
    "#);
}
