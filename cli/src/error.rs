//! What went wrong, what to do next, and the exit code.

use crate::text::clean;

/// Exit codes; `oar --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The reader of our output went away: nothing is wrong.
    Quiet = 0,
    /// The Task ended otherwise than complete.
    Failed = 1,
    /// It cannot be done as it was asked: a flag, a file, a name, an object that was refused.
    Input = 2,
    /// The cluster or the gateway cannot be reached, or refuses the caller.
    Cluster = 3,
    /// Stopped with Ctrl-C.
    Interrupted = 130,
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error for a person.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    code: Code,
    what: String,
    next: Option<String>,
    source: Option<Source>,
    /// Whether the same request may work a moment later.
    pub transient: bool,
    /// Whether what was asked for does not exist.
    pub absent: bool,
}

impl Error {
    fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            next: None,
            source: None,
            transient: false,
            absent: false,
        }
    }

    /// It cannot be done as it was asked.
    pub fn input(what: impl Into<String>) -> Self {
        Self::new(Code::Input, what)
    }

    /// The cluster or the gateway does not do it.
    pub fn cluster(what: impl Into<String>) -> Self {
        Self::new(Code::Cluster, what)
    }

    /// The Task ended otherwise than complete.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Code::Failed, what)
    }

    /// Ctrl-C.
    pub fn interrupted() -> Self {
        Self::new(Code::Interrupted, "interrupted")
    }

    /// Writing our output failed. A closed pipe (`oar logs | head`) is not worth a word.
    pub fn output(source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::BrokenPipe {
            Self::new(Code::Quiet, "")
        } else {
            Self::new(Code::Cluster, "failed to write the output").source(source)
        }
    }

    /// Says what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Says the same in other words.
    #[must_use]
    pub fn saying(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }

    /// Says what caused it.
    #[must_use]
    pub fn source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same request may work a moment later.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// What was asked for does not exist.
    #[must_use]
    pub fn absent(mut self) -> Self {
        self.absent = true;
        self
    }

    /// The exit code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What to do next.
    #[cfg(test)]
    pub fn hint(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// What went wrong, without its causes.
    pub fn brief(&self) -> String {
        clean(&self.what)
    }

    /// Error and causes in one line, without control characters.
    pub fn line(&self) -> String {
        let mut line = self.what.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        clean(&line)
    }

    /// Prints it to standard error.
    pub fn print(&self) {
        match self.code {
            Code::Quiet | Code::Interrupted => {}
            Code::Failed | Code::Input | Code::Cluster => eprintln!("error: {}", self.line()),
        }
        if let Some(next) = &self.next {
            eprintln!("{}", clean(next));
        }
    }

    /// From an error of the API server. `act` begins with "failed to".
    pub fn kube(act: impl Into<String>, error: kube::Error) -> Self {
        let act = act.into();
        let kube::Error::Api(status) = error else {
            return Self::cluster(act)
                .next("Is the cluster up, and is it the one you mean? See `kubectl cluster-info`; choose with KUBECONFIG, --kubeconfig, --context.")
                .source(error)
                .transient();
        };
        let what = format!("{act}: {}", status.message);
        match status.code {
            401 => Self::cluster(what).next(
                "The cluster does not accept your credentials: log in again, or choose another context with --context.",
            ),
            403 => Self::cluster(what).next(
                "Ask an administrator of the namespace for this right; `kubectl auth can-i --list` shows what you have.",
            ),
            404 if status.details.as_ref().is_none_or(|details| details.name.is_empty()) => {
                Self::input(what).absent().next(
                    "The cluster does not know this kind of object: Oarmaster is not installed there. Install the charts oarmaster-crds and oarmaster.",
                )
            }
            404 => Self::input(what).absent(),
            400 | 409 | 413 | 422 => Self::input(what),
            _ => Self::cluster(what).transient(),
        }
    }
}

#[cfg(test)]
mod tests;
