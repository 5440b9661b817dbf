//! A session on a terminal: the line that is typed, help and completion while it is, pages, questions.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::output::Output;
use super::{Gone, Setup, Shell};
use crate::shell::editor::{Editor, Event};
use crate::shell::relay::Window;

const READ_BYTES: usize = 16 * 1024;
/// Lines that go out before it is looked whether ^C has come.
const LINES_AT_ONCE: usize = 64;
/// What may be typed while an answer is waited for.
const TYPED_AHEAD_MAX: usize = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
const MORE: &str = " --More-- ";
const MORE_GONE: &str = "\r          \r";

/// The user's terminal.
pub(super) struct Terminal {
    input: Box<dyn AsyncRead + Unpin>,
    out: Box<dyn AsyncWrite + Unpin>,
    window: watch::Receiver<Window>,
    pub(super) editor: Editor,
    /// What `terminal length` and `terminal width` say, in place of the window.
    pub(super) length: Option<usize>,
    pub(super) width: Option<usize>,
    /// Lines that the page has already when the next text comes.
    pub(super) begun: usize,
}

impl Terminal {
    async fn read(&mut self) -> Result<(), Gone> {
        let mut buffer = vec![0; READ_BYTES];
        match self.input.read(&mut buffer).await {
            Ok(length @ 1..) => {
                self.editor.feed(&buffer[..length]);
                Ok(())
            }
            _ => Err(Gone),
        }
    }

    /// Waits for a key, or for a window of another size.
    async fn read_or_fit(&mut self) -> Result<(), Gone> {
        let mut buffer = vec![0; READ_BYTES];
        tokio::select! {
            read = self.input.read(&mut buffer) => match read {
                Ok(length @ 1..) => self.editor.feed(&buffer[..length]),
                _ => return Err(Gone),
            },
            resized = self.window.changed() => {
                resized.map_err(|_| Gone)?;
                self.fit();
            }
        }
        Ok(())
    }

    pub(super) async fn send(&mut self, text: &str) -> Result<(), Gone> {
        self.out.write_all(text.as_bytes()).await.map_err(|_| Gone)?;
        self.out.flush().await.map_err(|_| Gone)
    }

    async fn send_echo(&mut self) -> Result<(), Gone> {
        let echo = self.editor.take_output();
        if echo.is_empty() { Ok(()) } else { self.send(&echo).await }
    }

    fn fit(&mut self) {
        let columns = self.width.unwrap_or(self.window.borrow_and_update().columns as usize);
        self.editor.resize(columns);
    }

    /// Its ends, for somebody else who has it for a while.
    pub(super) fn ends(
        &mut self,
    ) -> (&mut (dyn AsyncRead + Unpin), &mut (dyn AsyncWrite + Unpin), watch::Receiver<Window>) {
        (self.input.as_mut(), self.out.as_mut(), self.window.clone())
    }

    fn page(&self) -> usize {
        self.length.unwrap_or(self.window.borrow().rows as usize)
    }

    /// Whole lines, a page at a time. False when the user has seen enough.
    pub(super) async fn print(&mut self, text: &str) -> Result<bool, Gone> {
        let page = self.page();
        let (mut on_page, mut chunk) = (std::mem::take(&mut self.begun), String::new());
        for (number, line) in text.split_inclusive('\n').enumerate() {
            if page > 1 && on_page + 1 >= page {
                self.send(&chunk).await?;
                chunk.clear();
                on_page = match self.more().await? {
                    More::Page => 0,
                    More::Line => page - 2,
                    More::Quit => return Ok(false),
                };
            }
            match line.strip_suffix('\n') {
                Some(line) => {
                    chunk.push_str(line);
                    chunk.push_str("\r\n");
                }
                None => chunk.push_str(line),
            }
            on_page += 1;
            if number % LINES_AT_ONCE == LINES_AT_ONCE - 1 {
                self.send(&chunk).await?;
                chunk.clear();
                if self.is_interrupted().await? {
                    self.send("^C\r\n").await?;
                    return Ok(false);
                }
            }
        }
        self.send(&chunk).await?;
        Ok(true)
    }

    /// Whether ^C has been typed meanwhile.
    async fn is_interrupted(&mut self) -> Result<bool, Gone> {
        tokio::select! {
            biased;
            read = self.read() => read?,
            () = std::future::ready(()) => {}
        }
        Ok(self.editor.take_interrupt())
    }

    /// Until ^C is typed. What is typed meanwhile stays for later.
    pub(super) async fn interrupted(&mut self) -> Result<(), Gone> {
        while !self.editor.take_interrupt() {
            self.read().await?;
        }
        self.send("^C\r\n").await
    }

    /// Waits for an answer, and shows that it does when it takes long; `None` when ^C is typed.
    pub(super) async fn while_waiting<T>(&mut self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        let (mut seconds, mut hears) = (0, true);
        let answered = loop {
            let has_room = self.editor.typed_ahead() < TYPED_AHEAD_MAX;
            tokio::select! {
                biased;
                answered = &mut answer => break Some(answered),
                interrupted = self.interrupted(), if hears && has_room => match interrupted {
                    Ok(()) => break None,
                    // Who has hung up does not take back what was asked for.
                    Err(Gone) => hears = false,
                },
                () = tokio::time::sleep(SECOND) => {
                    seconds += 1;
                    if self.progress(&format!("{seconds} s")).await.is_err() {
                        hears = false;
                    }
                }
            }
        };
        if seconds > 0 {
            // A terminal that is gone shows nothing that had to go.
            let _ = self.progress("").await;
        }
        answered
    }

    /// Waits for an answer; `None` when ^C is typed, or nobody is there to type it.
    pub(super) async fn unless_interrupted<T>(&mut self, answer: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answered = answer => Some(answered),
            _ = self.interrupted() => None,
        }
    }

    /// A line that the next one takes the place of.
    pub(super) async fn progress(&mut self, text: &str) -> Result<(), Gone> {
        self.send(&format!("\r\x1b[K{text}")).await
    }

    async fn more(&mut self) -> Result<More, Gone> {
        self.send(MORE).await?;
        loop {
            while let Some(byte) = self.editor.take_byte() {
                let answer = match byte {
                    b' ' | b'f' => More::Page,
                    b'\r' | b'\n' => More::Line,
                    b'q' | b'Q' | 0x03 | 0x1b => More::Quit,
                    _ => continue,
                };
                self.send(MORE_GONE).await?;
                return Ok(answer);
            }
            self.read().await?;
        }
    }

    /// What nobody is to read; `None` when the user would rather not.
    pub(super) async fn secret(&mut self, question: &str) -> Result<Option<String>, Gone> {
        self.editor.hides = true;
        let answer = self.answer(question).await;
        self.editor.hides = false;
        Ok(answer?.filter(|answer| !answer.is_empty()))
    }

    /// A line in answer to a question; an empty one means the default.
    pub(super) async fn answer(&mut self, question: &str) -> Result<Option<String>, Gone> {
        let (before, prompt) = question.rsplit_once('\n').map_or(("", question), |(before, last)| (before, last));
        if !before.is_empty() {
            self.send(&format!("{}\r\n", before.replace('\n', "\r\n"))).await?;
        }
        self.fit();
        self.editor.begin(prompt);
        loop {
            let event = self.editor.next_event();
            self.send_echo().await?;
            match event {
                Some(Event::Line(line)) => return Ok(Some(line.trim().to_owned())),
                Some(Event::Interrupt | Event::Leave | Event::TooLong) => return Ok(Some(String::new())),
                Some(Event::End) => {
                    self.send("\r\n").await?;
                    return Ok(None);
                }
                Some(Event::Help) => self.editor.insert_text("?"),
                Some(Event::Complete) => {}
                None => self.read().await?,
            }
        }
    }
}

enum More {
    Page,
    Line,
    Quit,
}

/// Carries out what is typed until the user leaves; the exit status.
pub async fn serve_terminal<S>(
    netconf: S,
    setup: Setup,
    input: Box<dyn AsyncRead + Unpin>,
    out: Box<dyn AsyncWrite + Unpin>,
    window: watch::Receiver<Window>,
) -> u32
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let editor = Editor::new(window.borrow().has_colours);
    let terminal = Terminal { input, out, window, editor, length: None, width: None, begun: 0 };
    let Some(mut shell) = Shell::open(netconf, setup, Output::Terminal(Box::new(terminal))).await else { return 1 };
    while !shell.is_over {
        if shell.typed_line().await.is_err() {
            break;
        }
    }
    shell.finish().await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    /// One line, typed and carried out.
    async fn typed_line(&mut self) -> Result<(), Gone> {
        let prompt = self.prompt();
        let Some(terminal) = self.out.terminal() else { return Err(Gone) };
        terminal.fit();
        terminal.editor.begin(&prompt);
        loop {
            let Some(terminal) = self.out.terminal() else { return Err(Gone) };
            let event = terminal.editor.next_event();
            terminal.send_echo().await?;
            match event {
                None => terminal.read_or_fit().await?,
                Some(Event::Line(line)) => {
                    terminal.editor.remember(&line);
                    let more = terminal.editor.has_more();
                    self.status = 0;
                    return self.line(&line, more).await;
                }
                Some(Event::Interrupt) => return Ok(()),
                Some(Event::TooLong) => {
                    return self.out.error("% The line is too long, and is not carried out\n").await;
                }
                Some(Event::Leave) => {
                    return if self.config.is_some() { self.line("end", false).await } else { Ok(()) };
                }
                Some(Event::End) => {
                    terminal.send("\r\n").await?;
                    return self.line("exit", false).await;
                }
                Some(Event::Help) => self.help().await?,
                Some(Event::Complete) => self.complete().await?,
            }
        }
    }
}
