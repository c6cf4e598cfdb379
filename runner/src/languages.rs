//! The languages that `run` and the tool RunCode take.

/// A language that code can be in.
#[derive(Debug)]
pub struct Language {
    /// Its name in the Task kind, for the model and in requests to exec.
    pub name: &'static str,
    /// Programs that run it, the first that the image has.
    pub interpreters: &'static [&'static str],
    /// A program that the image must have besides, since the interpreter uses what comes with it.
    pub beside: Option<&'static str>,
    /// Words between the interpreter and the file.
    pub options: &'static [&'static str],
    /// Name of the source file. It stands in the workspace, so that imports find their neighbours.
    pub file: &'static str,
}

/// Node of version 22.6 to 23.5 strips types only when told to, and says up to 24 that it is an experiment. Older ones refuse the option.
pub const STRIP_TYPES: &str = "--experimental-strip-types";

/// All of them.
pub const LANGUAGES: [Language; 5] = [
    Language {
        name: "python",
        interpreters: &["python3", "python"],
        beside: None,
        options: &[],
        file: ".oarmaster-run.py",
    },
    Language {
        name: "javascript",
        interpreters: &["node"],
        beside: None,
        options: &[],
        file: ".oarmaster-run.js",
    },
    Language {
        name: "typescript",
        interpreters: &["node"],
        beside: None,
        options: &[STRIP_TYPES, "--disable-warning=ExperimentalWarning"],
        file: ".oarmaster-run.ts",
    },
    Language {
        // `java` compiles a source file that it is given, in memory, with the compiler of a JDK.
        name: "java",
        interpreters: &["java"],
        beside: Some("javac"),
        options: &[],
        file: ".oarmaster-run.java",
    },
    Language {
        name: "shell",
        interpreters: &["sh"],
        beside: None,
        options: &[],
        file: ".oarmaster-run.sh",
    },
];

impl Language {
    /// The language of this name.
    ///
    /// # Errors
    /// A sentence with the names that there are.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        LANGUAGES
            .iter()
            .find(|language| language.name == name)
            .ok_or_else(|| {
                let all = LANGUAGES.each_ref().map(|language| language.name);
                format!(
                    "there is no language `{name}`; use one of {}",
                    all.join(", ")
                )
            })
    }

    /// What the image must have.
    #[must_use]
    pub fn needs(&self) -> String {
        let interpreters = self.interpreters.join(" or ");
        match self.beside {
            None => interpreters,
            Some(beside) => format!("{interpreters} with {beside}"),
        }
    }
}
