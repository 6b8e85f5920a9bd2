//! Goals in words.

use kapelle_domain::goal::{GoalIndex, GoalSubject};
use kapelle_domain::roadmap::Status;

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
                    available: known.why_not.is_none() && !taken.contains_key(&stream.id),
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
        Ok(GoalView {
            action,
            confidence: understood.confidence,
            explanation: understood.explanation.clone(),
            matches: matches.collect(),
        })
    }
}
