//! What a program says by `sd_notify`: assignments, one a line. Only those that mean something here are heard.

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    pub ready: bool,
    /// It still turns.
    pub alive: bool,
    /// It has found itself that it does not.
    pub hung: bool,
    /// Empty text takes the status back.
    pub status: Option<String>,
}

impl Said {
    pub fn parse(message: &[u8]) -> Self {
        let mut said = Self::default();
        for line in String::from_utf8_lossy(message).lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => said.ready = true,
                Some(("WATCHDOG", "1")) => said.alive = true,
                Some(("WATCHDOG", "trigger")) => said.hung = true,
                Some(("STATUS", text)) => said.status = Some(text.chars().filter(|next| !next.is_control()).collect()),
                _ => {}
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_and_status_are_heard_and_all_else_is_passed_over() {
        let said = Said::parse(b"MAINPID=42\nREADY=1\nSTATUS=serving \x1b[31m12\n\xff");
        assert_eq!(said, Said { ready: true, status: Some("serving [31m12".into()), ..Said::default() });
        assert!(Said::parse(b"WATCHDOG=1").alive && Said::parse(b"WATCHDOG=trigger\n").hung);
        assert_eq!(Said::parse(b"READY=0\nnonsense"), Said::default());
    }
}
