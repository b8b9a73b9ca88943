use serde::{Deserialize, Serialize};

/// What a worker of the suite does. Providers that run real commands get a shell script, the fake plays it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Program {
    /// Says `run` and ends with this code.
    Exit(i32),
    /// Writes these bytes to standard output and error, and ends with 0.
    Print {
        /// To standard output.
        stdout: Vec<u8>,
        /// To standard error.
        stderr: Vec<u8>,
    },
    /// Says `ready`, then waits to be asked to stop, and ends with this code.
    ObeyTerm(i32),
    /// Says `ready`, then `term` whenever it is asked to stop, and goes on.
    IgnoreTerm,
    /// Writes this many bytes of lines of 16 characters, and ends with 0.
    Flood(usize),
    /// Writes the lines `line 0`, `line 1`, … and then waits to be asked to stop.
    Lines(usize),
    /// Writes an environment variable's value, and ends with 0.
    Environment(String),
    /// Writes the arguments, each on a line between `<` and `>`, and ends with 0.
    Arguments,
    /// Writes the path of the folder that it runs in, and ends with 0.
    WorkingDirectory,
    /// Writes what a file holds (a shell word, so that it may begin with a variable), and ends with 0.
    File(String),
    /// Writes `written` into a file, and ends with 0, or with 3 if it cannot.
    Write(String),
    /// Starts this many processes and says `all` when it has; ends with something else than 0 if it cannot.
    Fork(usize),
    /// Writes what it reads from standard input, and ends with 0.
    Echo,
    /// Says `ready` and uses all the processor time that it gets.
    Burn,
    /// Takes memory until it gets no more.
    Eat,
    /// A program that does not exist.
    Missing,
}

/// A line of [`Program::Flood`], line feed included.
pub(super) const FLOOD_LINE: &str = "0123456789abcde\n";

impl Program {
    /// A program that writes this text to standard output.
    pub fn print(text: &str) -> Self {
        Self::Print { stdout: text.as_bytes().to_vec(), stderr: Vec::new() }
    }

    /// The program as a command for a machine with a POSIX shell and the usual tools.
    pub fn shell(&self) -> Vec<String> {
        let wait = |code: &i32| format!("trap 'exit {code}' TERM; echo ready; sleep 1000 & wait $!");
        let script = match self {
            Self::Exit(code) => format!("echo run; exit {code}"),
            Self::Print { stdout, stderr } => {
                format!("printf '{}'; printf '{}' >&2", octal(stdout), octal(stderr))
            }
            Self::ObeyTerm(code) => wait(code),
            Self::IgnoreTerm => {
                "trap 'echo term' TERM; echo ready; while :; do sleep 0.02 & wait $!; done".to_owned()
            }
            Self::Flood(bytes) => format!("yes '{}' | head -c {bytes}", FLOOD_LINE.trim_end()),
            Self::Lines(count) => format!(
                "trap 'exit 0' TERM; i=0; while [ $i -lt {count} ]; do echo line $i; i=$((i+1)); done; sleep 1000 & wait $!"
            ),
            Self::Environment(name) => format!("printf '%s' \"${name}\""),
            Self::Arguments => "for word; do echo \"<$word>\"; done".to_owned(),
            Self::WorkingDirectory => "pwd".to_owned(),
            Self::File(path) => format!("cat \"{path}\""),
            Self::Write(path) => format!("(printf written > \"{path}\") 2>/dev/null || exit 3"),
            Self::Fork(count) => format!(
                "trap 'exit 0' TERM; i=0; while [ $i -lt {count} ]; do sleep 1000 & i=$((i+1)); done; echo all; wait $!"
            ),
            Self::Echo => return vec!["cat".to_owned()],
            Self::Burn => "echo ready; while :; do :; done".to_owned(),
            Self::Eat => "exec tail /dev/zero".to_owned(),
            Self::Missing => return vec!["/no/such/program".to_owned()],
        };
        vec!["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]
    }
}

fn octal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03o}")).collect()
}
