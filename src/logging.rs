//! The log: lines on standard error, as many as `PROCYON_LOG` asks for (default `info`).

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Begins logging. Coloured on a terminal, unless `NO_COLOR` is set (to anything but nothing).
pub fn start() {
    let filter = EnvFilter::try_from_env("PROCYON_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal() && !no_color)
        .with_target(false);
    // A second start keeps the first one's settings.
    let _ = subscriber.try_init();
}
