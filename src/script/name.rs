//! What a script is called, what kind it is, and where its kind is kept.
//!
//! A [`ScriptName`] is parsed once at the door and cannot be a path afterwards. Knows no file system.

use std::fmt;

use crate::shown::shown;

/// A file name, no more: no folder, no hidden file, nothing that a command line would take for an option.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScriptName(String);

/// The longest file name that Linux file systems take.
pub const NAME_BYTES_MAX: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a script name is empty; name a file like `process-script.py`")]
    Empty,
    #[error("a script name is {length} bytes long; at most {NAME_BYTES_MAX} are allowed")]
    TooLong { length: usize },
    #[error("script name `{shown}` holds a path; name the file alone, like `process-script.py`")]
    HasPath { shown: String },
    #[error(
        "script name `{shown}` holds {character:?}; letters, digits, `_`, `.` and `-` are allowed, \
         like `process-script.py`"
    )]
    ForbiddenCharacter { shown: String, character: char },
    #[error("script name `{shown}` begins with `{first}`; begin with a letter or a digit, like `process-script.py`")]
    WrongBeginning { shown: String, first: char },
    #[error("script name `{shown}` does not end in `.py`; scripts are Python files, like `process-script.py`")]
    NotPython { shown: String },
}

impl ScriptName {
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let shown = || shown(text);
        let Some(first) = text.chars().next() else {
            return Err(NameError::Empty);
        };
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { length: text.len() });
        }
        if text.contains(['/', '\\']) || text.contains("..") {
            return Err(NameError::HasPath { shown: shown() });
        }
        if let Some(character) = text.chars().find(|character| !is_allowed(*character)) {
            return Err(NameError::ForbiddenCharacter { shown: shown(), character });
        }
        if matches!(first, '.' | '-') {
            return Err(NameError::WrongBeginning { shown: shown(), first });
        }
        if !text.ends_with(".py") {
            return Err(NameError::NotPython { shown: shown() });
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScriptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-')
}

/// The kinds of scripts, each with a shelf of its own in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScriptType {
    Config,
    Eem,
    Exec,
    Precommit,
    Process,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    #[error("snmp scripts are not supported; use exec, process, eem, config or precommit")]
    Snmp,
    #[error("`{shown}` is not a script type; use exec, process, eem, config or precommit")]
    Unknown { shown: String },
}

impl ScriptType {
    pub const ALL: [Self; 5] = [Self::Config, Self::Eem, Self::Exec, Self::Precommit, Self::Process];

    pub fn parse(text: &str) -> Result<Self, TypeError> {
        let word = text.to_ascii_lowercase();
        if word == "snmp" {
            return Err(TypeError::Snmp);
        }
        Self::ALL
            .into_iter()
            .find(|script_type| script_type.as_str() == word)
            .ok_or_else(|| TypeError::Unknown { shown: shown(text) })
    }

    /// The word for it in rpcs, tables and history; also the name of its folder in the repository.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Eem => "eem",
            Self::Exec => "exec",
            Self::Precommit => "precommit",
            Self::Process => "process",
        }
    }
}

impl fmt::Display for ScriptType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One script: the same file name may stand on several shelves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScriptKey {
    pub script_type: ScriptType,
    pub name: ScriptName,
}

impl ScriptKey {
    pub fn new(script_type: ScriptType, name: ScriptName) -> Self {
        Self { script_type, name }
    }
}

impl fmt::Display for ScriptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} script `{}`", self.script_type, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_name_and_nothing_else() {
        for good in ["a.py", "process-script.py", "A_1.2-3.py", "0.py", &format!("{}.py", "x".repeat(252))] {
            assert_eq!(ScriptName::parse(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        let text = |wrong: &str| ScriptName::parse(wrong).unwrap_err().to_string();
        insta::assert_snapshot!(text(""), @"a script name is empty; name a file like `process-script.py`");
        insta::assert_snapshot!(text("a/b.py"), @"script name `a/b.py` holds a path; name the file alone, like `process-script.py`");
        insta::assert_snapshot!(text("poll"), @"script name `poll` does not end in `.py`; scripts are Python files, like `process-script.py`");
        insta::assert_snapshot!(text("-c.py"), @"script name `-c.py` begins with `-`; begin with a letter or a digit, like `process-script.py`");
        insta::assert_snapshot!(text("a\n.py"), @r"script name `a\n.py` holds '\n'; letters, digits, `_`, `.` and `-` are allowed, like `process-script.py`");
        for wrong in
            ["..", "../x.py", "a..py", "/x.py", "x\\y.py", ".py", ".x.py", "x y.py", "é.py", "x.PY", "x.pyc", "a\0.py"]
        {
            assert!(ScriptName::parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(ScriptName::parse(&format!("{}.py", "x".repeat(253))), Err(NameError::TooLong { length: 256 }));
    }

    #[test]
    fn a_message_repeats_little_of_a_long_text() {
        let message = ScriptName::parse(&"/".repeat(200)).unwrap_err().to_string();
        assert!(message.len() < 160, "{message}");
    }

    #[test]
    fn a_type_is_known_by_its_word_in_any_case() {
        for script_type in ScriptType::ALL {
            assert_eq!(ScriptType::parse(script_type.as_str()), Ok(script_type));
        }
        assert_eq!(ScriptType::parse("Process"), Ok(ScriptType::Process));
        assert_eq!(ScriptType::parse("snmp"), Err(TypeError::Snmp));
        assert!(matches!(ScriptType::parse("all"), Err(TypeError::Unknown { .. })));
    }
}
