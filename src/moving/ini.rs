//! Files of `[section]` and `key = value`, line by line: unit files, procServ.conf and supervisord.conf are such.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub section: String,
    pub key: String,
    pub value: String,
    /// Where it begins, from 1.
    pub line: usize,
}

/// How the next line goes on where the last has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoesOn {
    /// Behind a backslash, as in unit files.
    Backslash,
    /// When it is indented, as Python reads it.
    Indent,
}

/// The items in order, and the lines that are none.
pub fn read(text: &str, goes_on: GoesOn) -> (Vec<Item>, Vec<(usize, String)>) {
    let mut items: Vec<Item> = Vec::new();
    let mut strays = Vec::new();
    let mut section = String::new();
    let mut is_open = false;
    for (at, raw) in text.lines().enumerate() {
        let trimmed = raw.trim();
        let is_indented = raw.starts_with([' ', '\t']);
        if goes_on == GoesOn::Backslash && is_open {
            if let Some(last) = items.last_mut() {
                let (part, more) = without_backslash(trimmed);
                last.value.push(' ');
                last.value.push_str(part);
                is_open = more;
            }
            continue;
        }
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
            continue;
        }
        match (goes_on, items.last_mut()) {
            (GoesOn::Indent, Some(last)) if is_indented && last.section == section => {
                last.value.push('\n');
                last.value.push_str(trimmed);
                continue;
            }
            _ => {}
        }
        let delimiter = if goes_on == GoesOn::Indent { trimmed.find(['=', ':']) } else { trimmed.find('=') };
        let Some(at_delimiter) = delimiter else {
            strays.push((at + 1, trimmed.to_owned()));
            continue;
        };
        let (key, value) = (trimmed[..at_delimiter].trim(), trimmed[at_delimiter + 1..].trim());
        let (value, more) = match goes_on {
            GoesOn::Backslash => without_backslash(value),
            // A comment behind a value begins with a blank.
            GoesOn::Indent => (value.split(" ;").next().unwrap_or_default().trim_end(), false),
        };
        is_open = more;
        items.push(Item { section: section.clone(), key: key.to_owned(), value: value.to_owned(), line: at + 1 });
    }
    (items, strays)
}

fn without_backslash(line: &str) -> (&str, bool) {
    match line.strip_suffix('\\') {
        Some(part) => (part.trim_end(), true),
        None => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, goes_on: GoesOn) -> Vec<String> {
        let (items, strays) = read(text, goes_on);
        let items = items.into_iter().map(|item| format!("{} {}.{}={}", item.line, item.section, item.key, item.value));
        items.chain(strays.into_iter().map(|(line, text)| format!("{line} ? {text}"))).collect()
    }

    #[test]
    fn lines_go_on_as_their_readers_read_them() {
        let unit = "[Service]\n# no\nExecStart=/bin/x \\\n   --a \\\n   b\nUser=me\nnonsense\n";
        assert_eq!(
            said(unit, GoesOn::Backslash),
            ["3 Service.ExecStart=/bin/x --a b", "6 Service.User=me", "7 ? nonsense"]
        );
        let python = "[program:x]\ncommand = a b ; why\nenvironment = A=\"1\",\n   B=\"2\"\n";
        assert_eq!(
            said(python, GoesOn::Indent),
            ["2 program:x.command=a b", "3 program:x.environment=A=\"1\",\nB=\"2\""]
        );
    }
}
