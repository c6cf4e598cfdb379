//! Repositories of a Task, fetched in the sandbox by the image's own git: what a server sends is parsed where untrusted code runs, and goes
//! through the same egress. Pure: the commands, and what their ends mean.

use super::show;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::{Program, Repository, Sandbox};
use oarmaster_protocol::exec::{Failed, FailedCode, Ran, Run, Stopped};
use std::collections::BTreeMap;

/// What git is told each time, beside [`ENVIRONMENT`]. A later value of git's own defaults must not open what is closed here.
const OPTIONS: [&str; 7] = [
    "credential.helper=",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "submodule.recurse=false",
    "advice.detachedHead=false",
    // A server that sends less than a kilobyte a second for a minute is given up.
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
];

/// Only https, nothing from the image's or the workspace's configuration, nobody is asked, and messages in English.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("GIT_ALLOW_PROTOCOL", "https"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("LC_ALL", "C"),
];

/// Words of git, after which another try would end the same way. Everything else that a fetch fails with may pass.
const FOR_GOOD: [&str; 12] = [
    // The repository.
    "not found",
    "returned error: 403",
    "returned error: 404",
    "returned error: 410",
    // Also what an existing host says of a repository that it hides.
    "could not read username",
    "authentication failed",
    // What may be reached.
    "response 403",
    "http code 403 from proxy",
    // The ref.
    "couldn't find remote ref",
    "not our ref",
    "unadvertised object",
    "invalid refspec",
];

/// The steps, in their order. Each may be repeated, after a restart of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An empty repository.
    Init,
    /// Where it comes from, for later fetches.
    Remote,
    /// One commit and what belongs to it.
    Fetch,
    /// Its files.
    Checkout,
}

impl Step {
    /// The step after this one.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Init => Some(Self::Remote),
            Self::Remote => Some(Self::Fetch),
            Self::Fetch => Some(Self::Checkout),
            Self::Checkout => None,
        }
    }
}

/// What is run for a step.
#[must_use]
pub fn run(repository: &Repository, step: Step, sandbox: &Sandbox) -> Run {
    let environment = ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Run {
        program: Program::Command(argv(repository, step)),
        env: BTreeMap::from(environment),
        timeout_ms: None,
        disk_bytes: Some(room(sandbox)),
    }
}

/// How large repositories may be together, with their `.git`: half of the disk, so that there is room to work.
const fn room(sandbox: &Sandbox) -> u64 {
    sandbox.disk_bytes / 2
}

fn argv(repository: &Repository, step: Step) -> Vec<String> {
    let Repository {
        path,
        url,
        reference,
    } = repository;
    let mut argv = vec!["git"];
    for option in OPTIONS {
        argv.extend(["-c", option]);
    }
    match step {
        Step::Init => argv.extend(["-c", "init.defaultBranch=main", "init", "--quiet"]),
        Step::Remote | Step::Fetch | Step::Checkout => argv.extend(["-C", path]),
    }
    match step {
        // No template: the image's would bring hooks.
        Step::Init => argv.extend(["--template=", "--", path]),
        Step::Remote => argv.extend(["config", "remote.origin.url", url]),
        Step::Fetch => argv.extend([
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-recurse-submodules",
            "--",
            "origin",
            reference,
        ]),
        Step::Checkout => argv.extend(["checkout", "--force", "--detach", "FETCH_HEAD", "--"]),
    }
    argv.into_iter().map(str::to_owned).collect()
}

/// Why a step failed; `None` if it did not.
#[must_use]
pub fn problem(
    repository: &Repository,
    step: Step,
    ran: &Ran,
    sandbox: &Sandbox,
) -> Option<(FailureClass, String)> {
    if show::succeeded(ran) {
        return None;
    }
    let said = show::last_lines(ran, 400);
    let (class, what) = match ran.stopped {
        Some(Stopped::DiskFull) => (
            FailureClass::InvalidInput,
            format!(
                "it is larger than {} MiB, the half of the sandbox's disk that repositories may have; write a larger sandbox.disk",
                room(sandbox) >> 20
            ),
        ),
        Some(Stopped::Timeout) => (
            FailureClass::Timeout,
            format!(
                "{}; write a longer sandbox.callTimeout",
                show::ending(ran, sandbox)
            ),
        ),
        Some(Stopped::OutOfMemory) => (FailureClass::OutOfMemory, show::ending(ran, sandbox)),
        Some(Stopped::TooManyProcesses) => (FailureClass::ToolFailed, show::ending(ran, sandbox)),
        None => match step {
            Step::Init | Step::Remote => (FailureClass::StartFailed, said),
            Step::Fetch => of_fetch(said),
            Step::Checkout => (FailureClass::InvalidInput, said),
        },
    };
    Some((class, failed(repository, &what)))
}

fn of_fetch(said: String) -> (FailureClass, String) {
    let words = said.to_lowercase();
    let has = |word: &str| words.contains(word);
    if has("remote-https") || has("remote helper") {
        let text =
            format!("the image's git has no https; choose an image whose git has it: {said}");
        (FailureClass::StartFailed, text)
    } else if has("certificate") {
        let text = format!(
            "the image does not know who vouches for the server; choose an image with CA certificates: {said}"
        );
        (FailureClass::StartFailed, text)
    } else if FOR_GOOD.iter().any(|word| has(word)) {
        (FailureClass::InvalidInput, said)
    } else {
        (FailureClass::Disrupted, said)
    }
}

/// Why a step could not be run.
#[must_use]
pub fn not_run(repository: &Repository, why: &Failed) -> (FailureClass, String) {
    let (class, hint) = match why.code {
        FailedCode::NotConfined => (FailureClass::IsolationUnproven, ""),
        FailedCode::StartFailed => (
            FailureClass::StartFailed,
            "; repositories are fetched by the image's own git: choose an image that has it",
        ),
        _ => (FailureClass::StartFailed, ""),
    };
    (class, failed(repository, &format!("{}{hint}", why.message)))
}

fn failed(repository: &Repository, what: &str) -> String {
    let Repository {
        path,
        url,
        reference,
    } = repository;
    format!("files: `{path}` could not be fetched from {url} at {reference}: {what}")
}

/// For the reader of the transcript: which commit it was.
#[must_use]
pub fn note(repository: &Repository, ran: &Ran) -> String {
    format!(
        "files: `{}` is {} at {}: {}",
        repository.path,
        repository.url,
        repository.reference,
        show::last_lines(ran, 200)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use oarmaster_protocol::exec::{Bytes, Output};

    fn repository() -> Repository {
        Repository {
            path: "app".into(),
            url: "https://git.example.com/team/app.git".into(),
            reference: "v1.2".into(),
        }
    }

    fn sandbox() -> Sandbox {
        Sandbox {
            memory_bytes: 512 << 20,
            disk_bytes: 256 << 20,
            max_processes: 256,
            call_timeout_ms: 1000,
            egress: vec!["git.example.com".into()],
            ..Sandbox::default()
        }
    }

    fn ran(exit_code: Option<i32>, stopped: Option<Stopped>, stderr: &str) -> Ran {
        Ran {
            exit_code,
            stopped,
            stderr: Output {
                head: Bytes(stderr.into()),
                ..Output::default()
            },
            ..Ran::default()
        }
    }

    #[test]
    fn each_step_is_one_command_without_a_shell() {
        let mut argvs = Vec::new();
        let mut step = Some(Step::Init);
        while let Some(now) = step {
            let run = run(&repository(), now, &sandbox());
            let Program::Command(argv) = run.program else {
                panic!()
            };
            assert_eq!(run.disk_bytes, Some(128 << 20));
            assert_eq!(run.env["GIT_ALLOW_PROTOCOL"], "https");
            assert_eq!(run.env["GIT_TERMINAL_PROMPT"], "0");
            assert_eq!(run.env["GIT_CONFIG_GLOBAL"], "/dev/null");
            let (options, rest) = argv.split_at(1 + 2 * OPTIONS.len());
            assert!(options.contains(&"core.hooksPath=/dev/null".to_owned()));
            assert!(options.contains(&"credential.helper=".to_owned()));
            argvs.push(rest.join(" "));
            step = now.next();
        }
        assert_eq!(
            argvs,
            [
                "-c init.defaultBranch=main init --quiet --template= -- app",
                "-C app config remote.origin.url https://git.example.com/team/app.git",
                "-C app fetch --quiet --depth=1 --no-tags --no-recurse-submodules -- origin v1.2",
                "-C app checkout --force --detach FETCH_HEAD --",
            ]
        );
    }

    /// What git 2.39 and 2.47 say, with curl 7.88 and 8.14.
    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        use FailureClass::{Disrupted, InvalidInput, StartFailed};
        let url = "https://git.example.com/team/app.git/";
        for (said, class) in [
            (format!("fatal: unable to access '{url}': Could not resolve proxy: x"), Disrupted),
            (format!("fatal: unable to access '{url}': Failed to connect to 127.0.0.1 port 1 after 0 ms"), Disrupted),
            (format!("fatal: unable to access '{url}': CONNECT tunnel failed, response 502"), Disrupted),
            (format!("fatal: unable to access '{url}': CONNECT tunnel failed, response 503"), Disrupted),
            (format!("fatal: unable to access '{url}': Received HTTP code 502 from proxy after CONNECT"), Disrupted),
            (format!("fatal: unable to access '{url}': The requested URL returned error: 500"), Disrupted),
            (format!("fatal: unable to access '{url}': The requested URL returned error: 429"), Disrupted),
            (format!("fatal: unable to access '{url}': Operation too slow. Less than 1000 bytes/sec transferred the last 60 seconds"), Disrupted),
            ("error: RPC failed; curl 56 Recv failure: Connection reset by peer\nfatal: early EOF".into(), Disrupted),
            ("fatal: the remote end hung up unexpectedly".into(), Disrupted),
            (format!("fatal: repository '{url}' not found"), InvalidInput),
            (format!("fatal: unable to access '{url}': The requested URL returned error: 403"), InvalidInput),
            (format!("fatal: unable to access '{url}': CONNECT tunnel failed, response 403"), InvalidInput),
            (format!("fatal: unable to access '{url}': Received HTTP code 403 from proxy after CONNECT"), InvalidInput),
            ("fatal: could not read Username for 'https://git.example.com': terminal prompts disabled".into(), InvalidInput),
            ("fatal: couldn't find remote ref v1.2".into(), InvalidInput),
            ("fatal: remote error: upload-pack: not our ref 0123456789012345678901234567890123456789".into(), InvalidInput),
            ("error: Server does not allow request for unadvertised object 0123".into(), InvalidInput),
            (format!("fatal: unable to access '{url}': SSL certificate problem: unable to get local issuer certificate"), StartFailed),
            (format!("fatal: unable to access '{url}': server certificate verification failed. CAfile: none CRLfile: none"), StartFailed),
            ("fatal: unable to find remote helper for 'https'".into(), StartFailed),
            ("git: 'remote-https' is not a git command. See 'git --help'.".into(), StartFailed),
        ] {
            let ran = ran(Some(128), None, &said);
            let (found, message) = problem(&repository(), Step::Fetch, &ran, &sandbox()).unwrap();
            assert_eq!(found, class, "{said}");
            let begin = "files: `app` could not be fetched from https://git.example.com/team/app.git at v1.2: ";
            assert!(message.starts_with(begin), "{message}");
            assert!(message.ends_with(&said), "{message}");
        }
    }

    #[test]
    fn other_ends_have_the_classes_that_they_have_elsewhere() {
        let ends = |step, ran: &Ran| problem(&repository(), step, ran, &sandbox());
        assert_eq!(ends(Step::Fetch, &ran(Some(0), None, "")), None);
        for (step, ran, class, words) in [
            (
                Step::Fetch,
                ran(None, Some(Stopped::DiskFull), ""),
                FailureClass::InvalidInput,
                "larger than 128 MiB",
            ),
            (
                Step::Checkout,
                ran(None, Some(Stopped::DiskFull), ""),
                FailureClass::InvalidInput,
                "larger than 128 MiB",
            ),
            (
                Step::Fetch,
                ran(None, Some(Stopped::Timeout), ""),
                FailureClass::Timeout,
                "callTimeout",
            ),
            (
                Step::Fetch,
                ran(None, Some(Stopped::OutOfMemory), ""),
                FailureClass::OutOfMemory,
                "out of memory",
            ),
            (
                Step::Init,
                ran(Some(128), None, "fatal: cannot mkdir app: x"),
                FailureClass::StartFailed,
                "cannot mkdir",
            ),
            (
                Step::Checkout,
                ran(Some(1), None, "error: invalid path"),
                FailureClass::InvalidInput,
                "invalid path",
            ),
        ] {
            let (found, message) = ends(step, &ran).unwrap();
            assert_eq!(found, class, "{message}");
            assert!(message.contains(words), "{message}");
        }
        for (code, class, words) in [
            (
                FailedCode::StartFailed,
                FailureClass::StartFailed,
                "choose an image that has it",
            ),
            (
                FailedCode::NotConfined,
                FailureClass::IsolationUnproven,
                "no program",
            ),
            (FailedCode::Io, FailureClass::StartFailed, "no program"),
        ] {
            let why = Failed {
                code,
                message: "the sandbox image has no program `git` on its PATH".into(),
            };
            let (found, message) = not_run(&repository(), &why);
            assert_eq!(found, class);
            assert!(message.contains(words), "{message}");
        }
    }
}
