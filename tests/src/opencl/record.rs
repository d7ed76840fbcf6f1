//! Recordings: every case in a process of its own, and what it answered, as CSV.

use super::api::{Api, OpenError, Outcome, status_name};
use super::cases::cases;
use super::platforms::Platform;
use super::world::World;
use std::io::Read;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// What one case answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The case.
    pub case: String,
    /// A status as OpenCL names it; `absent` or `setup` with the call; `crash` or `hang`.
    pub status: String,
    /// What else came back; empty where nothing is compared.
    pub value: String,
}

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A file or a process failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's account.
        source: io::Error,
    },
    /// The library is no OpenCL implementation.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No case has this name.
    #[error("there is no case named '{name}'; `opencl-status --list` lists all")]
    UnknownCase {
        /// The name.
        name: String,
    },
    /// The process of a case ended in another way than an answer or a crash.
    #[error("case {case} gave no answer: {found}")]
    NoAnswer {
        /// The case.
        case: String,
        /// How it ended and what it said.
        found: String,
    },
    /// A line of a recording cannot be read.
    #[error("line {line} of the recording is '{text}': it should be `case,status,value`")]
    Line {
        /// Line, from 1.
        line: usize,
        /// The line.
        text: String,
    },
}

/// The first line of a recording.
pub const HEAD: &str = "case,status,value";
/// The longest that a case may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(10);
/// Cases under way at the same time: most of a hung case is waiting.
const WORKERS: usize = 4;
/// What the program prints before its answer, since libraries print too.
const MARK: &str = "answer: ";

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> RecordError {
    |source| RecordError::Io { what: what.into(), source }
}

/// The answer of a case as a line: status and value.
fn line(outcome: Outcome) -> String {
    match outcome {
        Ok(answer) => format!("{},{}", status_name(answer.status), answer.value),
        Err(stop) => format!("{stop},"),
    }
}

/// Runs one case in this process and prints its answer.
///
/// # Safety
/// As [`Api::open`]: the call may bring this process down.
///
/// # Errors
/// [`RecordError`] when the library or the image cannot be opened, or there is no such case.
pub unsafe fn answer(name: &str, library: &Path, image: &Path) -> Result<(), RecordError> {
    let Some(case) = cases().into_iter().find(|c| c.name == name) else {
        return Err(RecordError::UnknownCase { name: name.to_owned() });
    };
    let bytes = fs::read(image).map_err(failed(image.display().to_string()))?;
    // SAFETY: the caller's promise.
    let api = unsafe { Api::open(library) }?;
    println!("{MARK}{}", line(case.run(&World::new(api, bytes))));
    Ok(())
}

/// Runs every case on a platform. `program` is the runner of this crate.
///
/// # Errors
/// [`RecordError`] when a process cannot be started, or ends without an answer and without a crash.
pub fn record(program: &Path, platform: &Platform, image: &Path) -> Result<Vec<Row>, RecordError> {
    let names: Vec<String> = cases().into_iter().map(|case| case.name).collect();
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut rows = Vec::new();
        while let Some((i, name)) = take(&next, &names) {
            rows.push((i, record_one(program, platform, image, name)?));
        }
        Ok(rows)
    };
    let parts: Vec<Result<Vec<(usize, Row)>, RecordError>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let mut rows = Vec::new();
    for part in parts {
        rows.extend(part?);
    }
    rows.sort_by_key(|(i, _)| *i);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// The next case that nobody has taken.
fn take(next: &AtomicUsize, names: &[String]) -> Option<(usize, String)> {
    let i = next.fetch_add(1, Ordering::Relaxed);
    Some((i, names.get(i)?.clone()))
}

fn record_one(program: &Path, platform: &Platform, image: &Path, case: String) -> Result<Row, RecordError> {
    let mut command = platform.command(program);
    command.args(["--case", &case]).arg(&platform.library).arg(image);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed(program.display().to_string()))?;
    let outputs = [child.stdout.take().map(text_of), child.stderr.take().map(text_of)];
    let ended = wait(&mut child).map_err(failed(format!("case {case}")))?;
    let texts = outputs.map(|o| o.and_then(|thread| thread.join().ok()).unwrap_or_default());
    row(case, ended, &texts)
}

/// Reads a pipe to its end beside the waiting, so that the process is never held up by a full pipe.
fn text_of(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks has given what there is.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// How the process ended; none when it had to be ended.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The row of a case. An answer counts even if the process crashes when it ends.
fn row(case: String, ended: Option<ExitStatus>, texts: &[String; 2]) -> Result<Row, RecordError> {
    use std::os::unix::process::ExitStatusExt;
    if let Some(answer) = texts[0].lines().find_map(|l| l.strip_prefix(MARK)) {
        let (status, value) = answer.split_once(',').unwrap_or((answer, ""));
        return Ok(Row { case, status: status.to_owned(), value: value.to_owned() });
    }
    let status = match ended {
        None => "hang",
        Some(ended) if ended.signal().is_some() => "crash",
        Some(ended) => {
            return Err(RecordError::NoAnswer { case, found: format!("{ended}: {}", texts[1].trim()) });
        }
    };
    Ok(Row { case, status: status.to_owned(), value: String::new() })
}

/// The recording as a file.
#[must_use]
pub fn to_csv(rows: &[Row]) -> String {
    let lines = rows.iter().map(|r| format!("{},{},{}\n", r.case, r.status, r.value));
    format!("{HEAD}\n{}", lines.collect::<String>())
}

/// Reads [`to_csv`]; lines that start with `#` are comments.
///
/// # Errors
/// [`RecordError::Line`].
pub fn from_csv(text: &str) -> Result<Vec<Row>, RecordError> {
    let lines = text.lines().enumerate().filter(|(_, l)| !l.starts_with('#') && *l != HEAD);
    lines
        .map(|(i, text)| {
            let parts: Vec<&str> = text.splitn(3, ',').collect();
            match parts[..] {
                [case, status, value] => {
                    Ok(Row { case: case.to_owned(), status: status.to_owned(), value: value.to_owned() })
                }
                _ => Err(RecordError::Line { line: i + 1, text: text.to_owned() }),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn row_of(ended: Option<ExitStatus>, out: &str) -> Result<Row, RecordError> {
        row("a.case".to_owned(), ended, &[out.to_owned(), "words".to_owned()])
    }

    fn status_of(ended: Option<ExitStatus>, out: &str) -> String {
        row_of(ended, out)
            .map_or_else(|error| error.to_string(), |row| format!("{} {}", row.status, row.value))
    }

    #[test]
    fn ends_of_a_process_are_told_apart() {
        let (segmentation_fault, failure) = (ExitStatus::from_raw(11), ExitStatus::from_raw(2 << 8));
        assert_eq!(status_of(None, ""), "hang ");
        assert_eq!(status_of(Some(segmentation_fault), "a library's line\n"), "crash ");
        assert_eq!(
            status_of(Some(segmentation_fault), "x\nanswer: CL_SUCCESS,4 bytes\n"),
            "CL_SUCCESS 4 bytes"
        );
        let error = status_of(Some(failure), "");
        assert_eq!(error, "case a.case gave no answer: exit status: 2: words");
    }

    #[test]
    fn recordings_survive_their_file() {
        let row = |case: &str, value: &str| Row {
            case: case.to_owned(),
            status: "CL_SUCCESS".to_owned(),
            value: value.to_owned(),
        };
        let rows = vec![row("a", ""), row("b", "1, 2")];
        let text = format!("# how it was made\n{}", to_csv(&rows));
        assert_eq!(from_csv(&text).ok(), Some(rows));
        let error = from_csv("a,b").map_or_else(|e| e.to_string(), |_| String::new());
        assert_eq!(error, "line 1 of the recording is 'a,b': it should be `case,status,value`");
    }
}
