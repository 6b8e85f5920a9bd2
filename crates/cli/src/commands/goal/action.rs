//! What a goal amounts to, and doing what starts no work.
//!
//! Whatever is done is about the work streams that the service named, and about no others: a goal
//! with an id or an exception must not become one about everything.

use crate::client::Client;
use crate::commands::run::Wish;
use crate::commands::stop::stop;
use crate::error::Error;
use crate::output::{Console, plural};
use crate::render::Answers;
use crate::view::{
    CommandRequest, CommandScope, GoalView, Selection, StatusView, StopAccepted, StopRequest,
    TaskView, Verb,
};

/// Why something was stopped, for the record.
const REASON: &str = "goal";

/// What a goal amounts to. Lists of ids are empty where it is about everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum Action {
    /// Starting work.
    Run(Wish),
    /// Nothing is clear enough.
    Suggest,
    /// Showing how things stand.
    Status(Vec<String>),
    /// Stopping.
    Stop(Halt),
    /// Showing who works.
    Running(Vec<String>),
    /// Showing what is blocked.
    Blocked(Vec<String>),
    /// Saying what can be said.
    Help,
}

/// What is to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum Halt {
    Everything,
    /// Everything but these work streams.
    Except(Vec<String>),
    /// These work streams.
    Streams(Vec<String>),
    /// The attempts of these agents, such as `claude-1.2-r1a1`.
    Agents(Vec<String>),
}

impl Action {
    pub(in crate::commands) fn of(goal: &GoalView) -> Self {
        let ids: Vec<String> = goal.matches.iter().map(|found| found.id.clone()).collect();
        let run = |select| Self::Run(Wish::Goal(select, goal.concurrency));
        match goal.action.as_str() {
            // Nothing in particular to run is nothing that was explained.
            "run_single" | "run_parallel" | "run_batch" if ids.is_empty() => Self::Suggest,
            "run_single" => run(Selection::Streams { ids: ids.into_iter().take(1).collect() }),
            "run_parallel" => run(Selection::Streams { ids }),
            "run_batch" => run(Selection::Batch { exclude: goal.excluded.clone() }),
            "status" => Self::Status(ids),
            "stop" => Self::Stop(Halt::of(goal, ids)),
            "list_agents" => Self::Running(ids),
            "unblock" => Self::Blocked(ids),
            "help" => Self::Help,
            // A newer service may know more than we do; what we don't know is not started.
            _ => Self::Suggest,
        }
    }

    /// Does what starts no work. Running, suggesting and helping are the caller's.
    pub(in crate::commands) async fn answer(
        self,
        console: &Console,
        client: &Client,
    ) -> Result<(), Error> {
        match self {
            Self::Run(_) | Self::Suggest | Self::Help => Ok(()),
            Self::Status(ids) if ids.is_empty() => console.show(&client.status().await?),
            Self::Blocked(ids) if ids.is_empty() => {
                let mut status = client.status().await?;
                status.streams.retain(|stream| !stream.available);
                console.show(&StatusView { tasks: Vec::new(), ..status })
            }
            Self::Status(ids) | Self::Blocked(ids) => {
                let mut answers = Vec::with_capacity(ids.len());
                for id in ids {
                    answers.push(client.why(&id).await?);
                }
                console.show(&Answers(answers))
            }
            Self::Running(ids) => {
                let status = running(client.status().await?, &ids);
                if status.tasks.is_empty() {
                    console.note(&nothing_runs(&ids));
                }
                console.show(&status)
            }
            Self::Stop(halt) => {
                if console.confirm(&halt.question())? != Some(true) {
                    console.note("Nothing was stopped.");
                    return Ok(());
                }
                console.show(&halt.carry_out(client).await?)
            }
        }
    }
}

/// What runs of `status`, of these work streams if any are given.
pub(in crate::commands) fn running(status: StatusView, ids: &[String]) -> StatusView {
    let (open_runs, recent_runs, streams) = (Vec::new(), Vec::new(), Vec::new());
    let mut status = StatusView { streams, open_runs, recent_runs, ..status };
    status.tasks.retain(|task| {
        let runs = matches!(task.state.as_str(), "active" | "integrating");
        runs && (ids.is_empty() || ids.contains(&task.key))
    });
    status
}

fn nothing_runs(ids: &[String]) -> String {
    if ids.is_empty() {
        "Nothing is running.".to_owned()
    } else {
        format!("Nobody is working on {}.", ids.join(", "))
    }
}

impl Halt {
    fn of(goal: &GoalView, ids: Vec<String>) -> Self {
        if !goal.agents.is_empty() {
            Self::Agents(goal.agents.clone())
        } else if !ids.is_empty() {
            Self::Streams(ids)
        } else if !goal.excluded.is_empty() {
            Self::Except(goal.excluded.clone())
        } else {
            Self::Everything
        }
    }

    fn question(&self) -> String {
        match self {
            Self::Everything => "Stop everything that runs or waits?".to_owned(),
            Self::Except(ids) => format!(
                "Stop everything that runs or waits, except {} and what that waits for?",
                ids.join(", ")
            ),
            Self::Streams(ids) => format!("Stop {}?", ids.join(", ")),
            Self::Agents(names) => format!("Stop agent {}?", names.join(", ")),
        }
    }

    async fn carry_out(self, client: &Client) -> Result<StopAccepted, Error> {
        let all_but = |except| request(None, except);
        match self {
            Self::Everything => stop(client, all_but(Vec::new())).await,
            Self::Except(ids) => stop(client, all_but(ids)).await,
            Self::Streams(ids) => stop_streams(client, &ids).await,
            Self::Agents(names) => stop_agents(client, &names).await,
        }
    }
}

fn request(id: Option<String>, except: Vec<String>) -> StopRequest {
    StopRequest { id, except, reason: Some(REASON.to_owned()) }
}

async fn stop_streams(client: &Client, ids: &[String]) -> Result<StopAccepted, Error> {
    let tasks = client.status().await?.tasks;
    let chosen: Vec<&TaskView> = tasks.iter().filter(|task| ids.contains(&task.key)).collect();
    if chosen.is_empty() {
        let message = format!("no open run has {}, so nothing was stopped", ids.join(", "));
        let hint = (!tasks.is_empty())
            .then(|| format!("`running` tells about {}", plural(tasks.len(), "task")));
        return Err(Error::Nothing { message, hint });
    }
    let mut stopped = StopAccepted { tasks: Vec::new() };
    for task in chosen {
        match client.stop(&request(Some(task.id.clone()), Vec::new())).await {
            Ok(accepted) => stopped.tasks.extend(accepted.tasks),
            // It has ended since we looked.
            Err(Error::Refused(problem)) if problem.status == Some(409) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(stopped)
}

async fn stop_agents(client: &Client, names: &[String]) -> Result<StopAccepted, Error> {
    let mut stopped = StopAccepted { tasks: Vec::new() };
    for name in names {
        let request = CommandRequest {
            scope: CommandScope::Attempt { id: name.clone() },
            verb: Verb::Stop,
            text: Some(REASON.to_owned()),
            to: None,
            request_id: None,
        };
        let receipts = client.command(&request).await?.receipts;
        let accepted = receipts.into_iter().filter(|receipt| receipt.state != "rejected");
        stopped.tasks.extend(accepted.map(|receipt| receipt.task));
    }
    Ok(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|&id| id.to_owned()).collect()
    }

    /// A goal with this action about the first so many of 1.2 and 1.6.
    fn goal(action: &str, matches: usize) -> GoalView {
        let mut goal = fixtures::goal();
        action.clone_into(&mut goal.action);
        goal.matches.truncate(matches);
        goal
    }

    #[test]
    fn an_action_is_about_what_was_matched_and_nothing_else() {
        let check = |action: &str, matches: usize, expected: Action| {
            assert_eq!(Action::of(&goal(action, matches)), expected, "{action} {matches}");
        };
        let streams =
            |named: &[&str]| Action::Run(Wish::Goal(Selection::Streams { ids: ids(named) }, None));
        check("run_single", 2, streams(&["1.2"]));
        check("run_single", 0, Action::Suggest);
        check("run_parallel", 2, streams(&["1.2", "1.6"]));
        check("run_parallel", 0, Action::Suggest);
        check("run_batch", 0, Action::Suggest);
        let batch = Selection::Batch { exclude: Vec::new() };
        check("run_batch", 2, Action::Run(Wish::Goal(batch, None)));
        check("suggest", 2, Action::Suggest);
        check("status", 1, Action::Status(ids(&["1.2"])));
        check("list_agents", 0, Action::Running(Vec::new()));
        check("list_agents", 1, Action::Running(ids(&["1.2"])));
        check("unblock", 0, Action::Blocked(Vec::new()));
        check("unblock", 2, Action::Blocked(ids(&["1.2", "1.6"])));
        check("stop", 0, Action::Stop(Halt::Everything));
        check("stop", 1, Action::Stop(Halt::Streams(ids(&["1.2"]))));
        check("of_the_future", 1, Action::Suggest);
    }

    #[test]
    fn what_is_excluded_and_how_many_at_once_reach_the_request() {
        let excluding = |action, matches| GoalView {
            excluded: ids(&["1.3"]),
            concurrency: Some(4),
            ..goal(action, matches)
        };
        let batch = Selection::Batch { exclude: ids(&["1.3"]) };
        let run = Action::Run(Wish::Goal(batch, Some(4)));
        assert_eq!(Action::of(&excluding("run_batch", 2)), run);
        let halt = Action::Stop(Halt::Except(ids(&["1.3"])));
        assert_eq!(Action::of(&excluding("stop", 0)), halt);
        let mut agent = goal("stop", 0);
        agent.agents = ids(&["coder-7"]);
        assert_eq!(Action::of(&agent), Action::Stop(Halt::Agents(ids(&["coder-7"]))));
    }

    #[test]
    fn only_the_tasks_that_were_named_are_shown() {
        let shown = running(fixtures::status(), &ids(&["1.2"])).tasks;
        assert_eq!(shown.iter().map(|task| task.key.as_str()).collect::<Vec<_>>(), ["1.2"]);
        assert_eq!(running(fixtures::status(), &ids(&["9.9"])).tasks, []);
    }
}
