//! Goals in words.

use kapelle_domain::goal::{GoalIndex, GoalSubject, StopTarget};
use kapelle_domain::roadmap::{Status, WhyNot};

use super::view::{GoalMatch, GoalRequest, GoalView};
use super::{Error, Service};

impl Service {
    /// What a goal means, by the roadmap at hand. Starts nothing.
    ///
    /// # Errors
    /// When there is no roadmap, or it can't be read.
    pub async fn goal(&self, request: GoalRequest) -> Result<GoalView, Error> {
        let (_, roadmap) = self.0.project.roadmap().await?;
        let taken = self.taken(self.unmerged(Some(&roadmap)).await?).await?;
        let availability = roadmap.availability();
        let subjects: Vec<GoalSubject> = availability
            .iter()
            .map(|known| {
                let stream = &roadmap.streams[known.position];
                let taken = taken.contains_key(&stream.id);
                let waits = matches!(known.why_not, None | Some(WhyNot::WaitsFor(_)));
                GoalSubject {
                    id: stream.id.to_string(),
                    name: stream.name.clone(),
                    tag: stream.tag.clone(),
                    batch: stream.batch.as_ref().map(|batch| match batch.number {
                        Some(number) => format!("Batch {number} ({})", batch.title),
                        None => batch.title.clone(),
                    }),
                    tasks: stream.tasks.iter().map(|task| task.text.clone()).collect(),
                    complete: stream.status == Status::Complete,
                    available: known.why_not.is_none() && !taken,
                    held: taken || !waits,
                    effort: stream.effort,
                    depends_on: stream.depends_on.iter().map(ToString::to_string).collect(),
                }
            })
            .collect();
        let understood = GoalIndex::build(&subjects).interpret(&request.text);
        let action = serde_json::to_value(understood.action)
            .ok()
            .and_then(|action| action.as_str().map(str::to_owned))
            .unwrap_or_default();
        let matches = understood.matches.iter().map(|found| GoalMatch {
            id: found.id.clone(),
            name: found.name.clone(),
            score: found.score,
        });
        let arguments = understood.arguments;
        let agents = match arguments.stop_target {
            Some(StopTarget::Agents(names)) => names,
            Some(StopTarget::All | StopTarget::AllExcept(_) | StopTarget::Streams(_)) | None => {
                Vec::new()
            }
        };
        Ok(GoalView {
            action,
            confidence: understood.confidence,
            explanation: understood.explanation.clone(),
            matches: matches.collect(),
            excluded: arguments.excluded,
            concurrency: arguments.concurrency.and_then(|count| u32::try_from(count).ok()),
            agents,
        })
    }
}
