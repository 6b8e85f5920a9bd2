//! The exit codes: a promise to scripts, kept in one place.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for has been done.
    Ok = 0,
    /// Something failed or was refused, and has no code of its own.
    Failure = 1,
    /// The command, the configuration or the roadmap makes no sense.
    Usage = 2,
    /// What was asked for doesn't exist.
    NotFound = 3,
    /// The coordinator doesn't accept the token.
    Auth = 4,
    /// No coordinator answers, or it can't record anything now.
    Unreachable = 5,
    /// The run ended, and some of its tasks did not succeed.
    TasksFailed = 10,
    /// The same, and in every one of them only the checks failed.
    VerificationFailed = 11,
    /// No worker or agent is there that could do the work.
    Unplaceable = 15,
    /// Somebody pressed Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// All of them, in ascending order.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::NotFound,
        Self::Auth,
        Self::Unreachable,
        Self::TasksFailed,
        Self::VerificationFailed,
        Self::Unplaceable,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for `kapelle help exit-codes`.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done; a run that was followed has succeeded",
            Self::Failure => "unexpected error, or refused as things stand",
            Self::Usage => "the command, the configuration or the roadmap makes no sense",
            Self::NotFound => "what was asked for does not exist, or no work matches",
            Self::Auth => "the coordinator does not accept the token",
            Self::Unreachable => "no coordinator answers, or it can record nothing now",
            Self::TasksFailed => "the run ended with tasks that did not succeed",
            Self::VerificationFailed => "the run ended, and only checks failed",
            Self::Unplaceable => "no worker or agent can do the work",
            Self::Interrupted => "interrupted",
        }
    }

    /// The table of `kapelle help exit-codes`.
    #[must_use]
    pub fn table() -> String {
        let rows = Self::ALL.map(|exit| format!("{:>5}  {}\n", exit.code(), exit.meaning()));
        format!("Exit codes:\n\n{}\n12, 13 and 14 are reserved.\n", rows.concat())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_scripts_rely_on() {
        insta::assert_snapshot!(Exit::table(), @"
        Exit codes:

            0  done; a run that was followed has succeeded
            1  unexpected error, or refused as things stand
            2  the command, the configuration or the roadmap makes no sense
            3  what was asked for does not exist, or no work matches
            4  the coordinator does not accept the token
            5  no coordinator answers, or it can record nothing now
           10  the run ended with tasks that did not succeed
           11  the run ended, and only checks failed
           15  no worker or agent can do the work
          130  interrupted

        12, 13 and 14 are reserved.
        ");
    }
}
