//! `oar audit`.

use super::cost::{csv_row, quoted};
use crate::args::{Audit, AuditCommand, AuditFormat, Verify};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::follow::read_lines;
use crate::gateway::Gateway;
use crate::output;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use oarmaster_crds::Usd;
use oarmaster_protocol::read::{AuditAct, AuditCheck, AuditHash, AuditRecord};

const HEADER: &str = "time,act,allowed,who,namespace,task,object,reason,count,usd,frame,before\r\n";

pub async fn run(cluster: &Cluster, args: Audit) -> Result<(), Error> {
    let Audit {
        command,
        from,
        to,
        output,
    } = args;
    if let Some(AuditCommand::Verify(args)) = command {
        return verify(cluster, args).await;
    }
    let now = Timestamp::now();
    let (from, to) = (from.unwrap_or_else(|| today(now)), to.unwrap_or(now));
    if from >= to {
        return Err(Error::input(format!(
            "--from {from} is not before --to {to}"
        )));
    }
    let path = format!(
        "/read/v1/audit?from={}&to={}",
        from.as_millisecond(),
        to.as_millisecond()
    );
    if output == Some(AuditFormat::Csv) {
        output::raw(HEADER.as_bytes())?;
    }
    read_lines(cluster, &path, |line| {
        let record: AuditRecord = serde_json::from_slice(line).map_err(|error| {
            Error::cluster("the gateway sent a record that this oar does not know").source(error)
        })?;
        match output {
            Some(AuditFormat::Json) => output::line(&output::json_line(&record)?),
            Some(AuditFormat::Csv) => output::raw(csv(&record).as_bytes()),
            None => output::line(&told(&record)),
        }
    })
    .await
}

/// The last midnight, in UTC.
fn today(now: Timestamp) -> Timestamp {
    let midnight = now.to_zoned(TimeZone::UTC).start_of_day();
    midnight.map_or(now, |midnight| midnight.timestamp())
}

fn time(record: &AuditRecord) -> String {
    let at = Timestamp::from_millisecond(record.at_ms);
    at.map_or_else(|_| record.at_ms.to_string(), |at| at.to_string())
}

/// For a person.
fn told(record: &AuditRecord) -> String {
    let mut words = vec![time(record), record.act.as_str().to_owned()];
    if !record.allowed {
        words.push("REFUSED".to_owned());
    }
    let who = [&record.who, &record.namespace, &record.object];
    words.extend(who.into_iter().filter(|word| !word.is_empty()).cloned());
    if !record.task.is_empty() {
        words.push(format!("Task {}", record.task));
    }
    if record.pico > 0 {
        let what = if record.act == AuditAct::Call {
            "up to "
        } else {
            ""
        };
        words.push(format!("{what}${}", Usd::from_pico(record.pico)));
    }
    if !record.reason.is_empty() {
        words.push(record.reason.clone());
    }
    if record.count > 1 {
        words.push(format!("{} times", record.count));
    }
    words.join("  ")
}

fn csv(record: &AuditRecord) -> String {
    let cells = [
        time(record),
        record.act.as_str().to_owned(),
        record.allowed.to_string(),
        record.who.clone(),
        record.namespace.clone(),
        record.task.clone(),
        record.object.clone(),
        record.reason.clone(),
        record.count.to_string(),
        Usd::from_pico(record.pico).0,
        record.frame.to_string(),
        record.before.clone(),
    ];
    csv_row(&cells.map(|cell| quoted(&cell)))
}

async fn verify(cluster: &Cluster, args: Verify) -> Result<(), Error> {
    let query = args.expect.as_ref();
    let query = query.map_or_else(String::new, |(frame, _)| format!("?frame={frame}"));
    let path = format!("/read/v1/audit/verify{query}");
    let bytes = Gateway::new(cluster).await?.get_all(&path).await?;
    let check: AuditCheck = serde_json::from_slice(&bytes)
        .map_err(|error| Error::cluster("failed to read the gateway's answer").source(error))?;
    for line in judge(&check, args.expect.as_ref())? {
        output::line(&line)?;
    }
    Ok(())
}

/// What is said of a log that is whole.
fn judge(check: &AuditCheck, expect: Option<&(u64, String)>) -> Result<Vec<String>, Error> {
    if let Some(broken) = &check.broken {
        return Err(Error::failed(format!(
            "the log is not what was written: {broken}; {} frames before it are",
            check.frames
        )));
    }
    if let Some((frame, hash)) = expect {
        match &check.asked {
            Some(found) if found.hash == *hash => {}
            Some(found) => {
                return Err(Error::failed(format!(
                    "the log is not the one that was noted: frame {frame} has the hash {}",
                    found.hash
                )));
            }
            None if *frame < check.frames && check.taken > 0 => {
                return Err(Error::failed(format!(
                    "frame {frame} is no longer kept, nor is its hash; note a newer one with each check"
                )));
            }
            None => {
                return Err(Error::failed(format!(
                    "the log is not the one that was noted: it has no frame {frame}"
                )));
            }
        }
    }
    let mut lines = vec![format!("{} frames are as they were written", check.frames)];
    if check.taken > 0 {
        lines.push(format!(
            "{} of them are no longer kept: only their hashes are",
            check.taken
        ));
    }
    if let Some(AuditHash { frame, hash }) = check.first.as_ref().filter(|first| first.frame > 0) {
        lines.push(format!(
            "The chain begins at frame {frame}, which carries {hash}"
        ));
    }
    if let Some(AuditHash { frame, hash }) = &check.last {
        lines.push(format!("To check this later: --expect {frame}={hash}"));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AuditRecord {
        AuditRecord {
            frame: 7,
            before: "ab".into(),
            at_ms: 0,
            act: AuditAct::Call,
            allowed: false,
            who: "=mallory".into(),
            namespace: "team".into(),
            task: String::new(),
            object: "team/default".into(),
            reason: "forbidden".into(),
            count: 3,
            pico: 0,
        }
    }

    #[test]
    fn a_refusal_is_seen_at_once() {
        assert_eq!(
            told(&record()),
            "1970-01-01T00:00:00Z  call  REFUSED  =mallory  team  team/default  forbidden  3 times"
        );
        let allowed = AuditRecord {
            allowed: true,
            reason: String::new(),
            count: 1,
            pico: 250_000_000_000,
            ..record()
        };
        let text = told(&allowed);
        assert!(text.ends_with("team/default  up to $0.25"), "{text}");
        assert_eq!(
            csv(&record()),
            "1970-01-01T00:00:00Z,call,false,'=mallory,team,,team/default,forbidden,3,0,7,ab\r\n"
        );
    }

    #[test]
    fn a_log_is_whole_broken_or_another_one() {
        let hash = |frame, hash: &str| AuditHash {
            frame,
            hash: hash.into(),
        };
        let whole = AuditCheck {
            frames: 9,
            taken: 0,
            first: Some(hash(0, "00")),
            last: Some(hash(8, "aa")),
            asked: Some(hash(5, "bb")),
            broken: None,
        };
        let lines = judge(&whole, None).unwrap();
        assert_eq!(
            lines,
            [
                "9 frames are as they were written",
                "To check this later: --expect 8=aa"
            ]
        );
        assert!(judge(&whole, Some(&(5, "bb".into()))).is_ok());
        let lost = AuditCheck {
            asked: None,
            ..whole.clone()
        };
        let taken = AuditCheck {
            taken: 7,
            ..lost.clone()
        };
        let lines = judge(&taken, None).unwrap();
        assert_eq!(
            lines[1],
            "7 of them are no longer kept: only their hashes are"
        );
        let broken = AuditCheck {
            broken: Some("frame 3 is not what was written".into()),
            ..whole.clone()
        };
        for (check, expect, what) in [
            (
                &whole,
                Some((5, "cc".to_owned())),
                "frame 5 has the hash bb",
            ),
            (&lost, Some((5, "bb".to_owned())), "it has no frame 5"),
            (
                &taken,
                Some((5, "bb".to_owned())),
                "frame 5 is no longer kept",
            ),
            (&taken, Some((9, "bb".to_owned())), "it has no frame 9"),
            (&broken, None, "frame 3 is not what was written"),
        ] {
            let error = judge(check, expect.as_ref()).unwrap_err();
            assert!(error.line().contains(what), "{}", error.line());
            assert_eq!(error.code(), crate::error::Code::Failed);
        }
    }
}
