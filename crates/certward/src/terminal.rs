//! Questions to the person at the terminal. They go to stderr: stdout has the result.

use std::io::{self, IsTerminal};

use anyhow::{Context, bail};
use rustix::{
    fd::{AsFd, BorrowedFd},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr},
};
use zeroize::Zeroizing;

use crate::output;

/// Terminals pass on lines of at most so many bytes.
const LINE_BYTES_MAX: usize = 4096;

const CTRL_C: u8 = 3;

/// Whether a person can be asked, and sees the question.
pub(crate) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The answer without spaces around it.
///
/// # Errors
/// If there is none, such as after Ctrl-D.
pub(crate) fn ask(question: &str) -> anyhow::Result<Zeroizing<String>> {
    output::prompt(question);
    let line = read_line()?;
    Ok(Zeroizing::new(line.trim().to_owned()))
}

/// As [`ask`], without showing what is typed.
pub(crate) fn ask_secret(question: &str) -> anyhow::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    // Before the question: nothing that answers it is shown.
    let _hidden = HiddenInput::begin(stdin.as_fd()).context("the terminal cannot hide what is typed")?;
    output::prompt(question);
    let line = read_line()?;
    Ok(Zeroizing::new(line.trim().to_owned()))
}

/// Whether the answer is yes; anything else is no.
pub(crate) fn confirm(question: &str) -> anyhow::Result<bool> {
    let answer = ask(&format!("{question} [y/N] "))?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Past the buffer of std, where a secret would stay.
fn read_line() -> anyhow::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    let mut line = Zeroizing::new([0; LINE_BYTES_MAX]);
    let mut length = 0;
    while !matches!(line[..length].last(), Some(b'\n' | &CTRL_C)) {
        if length == LINE_BYTES_MAX {
            bail!("the answer is too long");
        }
        match rustix::io::read(stdin.as_fd(), &mut line[length..]) {
            Ok(0) if length == 0 => bail!("no answer was given"),
            Ok(0) => break,
            Ok(count) => length += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("the answer cannot be read"),
        }
    }
    if line[..length].last() == Some(&CTRL_C) {
        bail!("interrupted; nothing was changed");
    }
    let text = std::str::from_utf8(&line[..length]).context("the answer is not UTF-8")?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Ends on drop.
struct HiddenInput<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> HiddenInput<'a> {
    fn begin(terminal: BorrowedFd<'a>) -> rustix::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        // Ctrl-C ends the line instead of the process, which would leave the terminal like this.
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        // The line's end is shown still.
        hidden.local_modes.insert(LocalModes::ECHONL);
        // Flushed: what was typed before was shown, and is no answer.
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
