//! Tasks as a test watches them, and the parts of their journal that it asserts on.

use crate::gateway::Reader;
use crate::space::Space;
use crate::wait;
use anyhow::{Context as _, Result, bail};
use oarmaster_crds::Task;
use oarmaster_crds::conditions;
use oarmaster_protocol::journal::{Body, CallUsage, Record};
use std::time::Duration;

/// How long a Task of these tests may take.
pub const SOON: Duration = Duration::from_secs(120);

/// ServiceAccount in each test's namespace that may read transcripts, artifacts and costs.
pub const READER: &str = "e2e-reader";

impl Space {
    /// Waits until `done` holds for a Task.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub async fn task_until(
        &self,
        name: &str,
        what: &str,
        done: impl Fn(&Task) -> bool,
    ) -> Result<Task> {
        wait::until(self.api::<Task>(), name, what, SOON, done).await
    }

    /// Waits until a Task has ended.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub async fn finished(&self, name: &str) -> Result<Task> {
        self.task_until(name, "its end", |task| holds(task, conditions::FINISHED))
            .await
    }

    /// Waits until a Task has ended, and demands that it is complete.
    ///
    /// # Errors
    /// When it failed, or the deadline passes first.
    pub async fn complete(&self, name: &str) -> Result<Task> {
        let task = self.finished(name).await?;
        if !holds(&task, conditions::COMPLETE) {
            bail!("Task {name} is not complete: {:#?}", task.status);
        }
        Ok(task)
    }

    /// Waits until a Task has ended, and demands that it failed with this class.
    ///
    /// # Errors
    /// When it ended otherwise, or the deadline passes first.
    pub async fn failed(&self, name: &str, class: &str) -> Result<Task> {
        let task = self.finished(name).await?;
        if !holds(&task, conditions::FAILED)
            || !holds(&task, conditions::STALLED)
            || failure(&task).0 != class
        {
            bail!("Task {name} did not fail with {class}: {:#?}", task.status);
        }
        Ok(task)
    }

    /// The read API, as an identity that may read everything of the Tasks in this namespace and nothing else.
    ///
    /// # Errors
    /// When the identity cannot be made, or the gateway cannot be reached.
    pub async fn reader(&self) -> Result<Reader> {
        self.make_reader().await?;
        Reader::open(&self.cluster, &self.name, READER).await
    }

    /// Makes the identity [`READER`].
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn make_reader(&self) -> Result<()> {
        if self
            .api::<k8s_openapi::api::core::v1::ServiceAccount>()
            .get_opt(READER)
            .await?
            .is_none()
        {
            self.create(&format!(
                "
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {READER}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {READER}}}
rules:
- apiGroups: [oarmaster.dev]
  resources: [tasks/transcript, tasks/artifacts, tasks/usage]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {READER}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {READER}}}
subjects: [{{kind: ServiceAccount, name: {READER}}}]
"
            ))
            .await?;
        }
        Ok(())
    }

    /// The journal of a Task.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn journal(&self, task: &str) -> Result<Journal> {
        let records = self.reader().await?.transcript(task).await?;
        Ok(Journal(records))
    }
}

/// Whether a condition of a Task is True.
#[must_use]
pub fn holds(task: &Task, kind: &str) -> bool {
    task.status
        .as_ref()
        .is_some_and(|status| conditions::is_true(&status.conditions, kind))
}

/// Class and message of a Task's failure; empty without one.
#[must_use]
pub fn failure(task: &Task) -> (&str, &str) {
    task.status
        .as_ref()
        .and_then(|status| status.failure.as_ref())
        .map_or(("", ""), |failure| (&failure.class, &failure.message))
}

/// A Task's journal.
#[derive(Debug)]
pub struct Journal(pub Vec<Record>);

impl Journal {
    /// Results of tool calls: tool, whether it went well, and the text that the model was shown.
    #[must_use]
    pub fn results(&self) -> Vec<(&str, bool, &str)> {
        let bodies = self.0.iter().map(|record| &record.body);
        bodies
            .filter_map(|body| match body {
                Body::ToolResult { tool, ok, text, .. } => {
                    Some((tool.as_str(), *ok, text.as_str()))
                }
                _ => None,
            })
            .collect()
    }

    /// The result of the tool call number `index`, from 0.
    ///
    /// # Errors
    /// When there were fewer.
    pub fn result(&self, index: usize) -> Result<(&str, bool, &str)> {
        self.results()
            .get(index)
            .copied()
            .with_context(|| format!("no tool result {index} in {self:#?}"))
    }

    /// The checks: whether each accepted, its exit code, its output.
    #[must_use]
    pub fn checks(&self) -> Vec<(bool, Option<i32>, &str)> {
        let bodies = self.0.iter().map(|record| &record.body);
        bodies
            .filter_map(|body| match body {
                Body::Check {
                    accepted,
                    exit_code,
                    text,
                    ..
                } => Some((*accepted, *exit_code, text.as_str())),
                _ => None,
            })
            .collect()
    }

    /// How many records satisfy `wanted`.
    #[must_use]
    pub fn count(&self, wanted: impl Fn(&Body) -> bool) -> usize {
        self.0.iter().filter(|record| wanted(&record.body)).count()
    }

    /// What was booked for every hop that ended.
    #[must_use]
    pub fn booked(&self) -> Vec<CallUsage> {
        let bodies = self.0.iter().map(|record| &record.body);
        bodies
            .filter_map(|body| match body {
                Body::Answer { usage, .. } | Body::CallFailed { usage, .. } => Some(*usage),
                _ => None,
            })
            .collect()
    }
}
