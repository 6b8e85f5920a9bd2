//! Goals about the fleet: status, stop, who, unblock, help.

use super::super::command::{Command, Intent};
use super::super::draft::{Draft, Picks, list};
use super::super::lexicon;
use super::super::selection::{self, Selection};
use super::super::{Action, StopTarget};
use super::{Context, explain_unknown, explain_words, opens_order, strangeness, weigh_condition};

/// A command whose words may as well be those of a work stream: both readings, to choose from.
pub(super) fn contested<'a>(context: &Context<'a>) -> Option<Draft<'a>> {
    let (command, streams) = context.main.contested.first()?;
    if !context.main.references.entries.is_empty() {
        return None;
    }
    let streams: Picks = streams
        .iter()
        .filter(|entry| !context.excluded.contains(entry))
        .map(|&entry| (entry, 0.6))
        .collect();
    let mut draft = Draft::new(context.catalog, Action::Suggest, 0.6);
    let said: Vec<&str> =
        command.words.iter().map(|&at| context.main.tokens[at].word.as_str()).collect();
    draft.say(format!(
        "\"{}\" may ask to {}, or mean {}: say which.",
        said.join(" "),
        meaning(command.intent),
        list(context.catalog, streams.iter().map(|(entry, _)| *entry)),
    ));
    let run = if streams.len() > 1 { Action::RunParallel } else { Action::RunSingle };
    draft.readings.push((action(command.intent), Vec::new()));
    draft.readings.push((run, streams.clone()));
    draft.picks = streams;
    Some(draft)
}

/// The goal as one about the fleet, if it is.
pub(super) fn read<'a>(context: &Context<'a>) -> Option<Draft<'a>> {
    let commands: Vec<&Command> =
        context.main.commands.iter().filter(|command| command.is_about_fleet()).collect();
    let stop = commands.iter().find(|command| command.intent == Intent::Stop);
    let command = stop.or_else(|| commands.first())?;
    let all = context.command(Intent::All).is_some();
    let selection = selection::select(context.catalog, &context.main, false);
    let mut draft = Draft::new(context.catalog, action(command.intent), 0.95);
    draft.arguments.excluded = context.excluded_ids();
    if command.misspelled {
        draft.confidence *= 0.85;
    }
    if asks_for_two(context, command, &selection, &mut draft) {
        return Some(draft);
    }
    if command.intent == Intent::Stop {
        stop_what(context, &selection, all, &mut draft);
    } else {
        ask_about(context, command, &selection, &mut draft);
    }
    Some(draft)
}

fn action(intent: Intent) -> Action {
    match intent {
        Intent::Next => Action::RunSingle,
        Intent::Resume => Action::Suggest,
        Intent::All => Action::RunBatch,
        Intent::Parallel => Action::RunParallel,
        Intent::Status => Action::Status,
        Intent::Stop => Action::Stop,
        Intent::Agents => Action::ListAgents,
        Intent::Unblock => Action::Unblock,
        Intent::Help => Action::Help,
    }
}

fn meaning(intent: Intent) -> &'static str {
    match intent {
        Intent::Next => "run what comes next",
        Intent::Resume => "go on with a run that was interrupted",
        Intent::All => "run everything",
        Intent::Parallel => "run several work streams at once",
        Intent::Status => "show how the work stands",
        Intent::Stop => "stop what is running",
        Intent::Agents => "show who is working",
        Intent::Unblock => "show what is blocking",
        Intent::Help => "show what can be asked",
    }
}

/// "stop the parser and start the registry" is two goals; neither is begun.
fn asks_for_two(
    context: &Context<'_>,
    command: &Command,
    selection: &Selection,
    draft: &mut Draft<'_>,
) -> bool {
    let tokens = &context.main.tokens;
    let orders = |at: usize| {
        let used = context.main.commands.iter().any(|known| known.words.contains(&at));
        let stopped = at > 0 && command.intent == Intent::Stop && command.words.contains(&(at - 1));
        lexicon::is_doing(&tokens[at].word) && !used && !stopped && opens_order(tokens, at)
    };
    let run = (0..tokens.len()).any(orders) && !selection.picks.is_empty();
    let stop = command.intent == Intent::Stop;
    let other = context.main.commands.iter().find(|other| {
        let absorbed = matches!(other.intent, Intent::Agents | Intent::All | Intent::Parallel);
        stop && !absorbed && other.intent != Intent::Stop && other.intent != Intent::Next
    });
    let second = match (run, other) {
        (_, Some(other)) => action(other.intent),
        (true, None) if selection.picks.len() > 1 => Action::RunParallel,
        (true, None) => Action::RunSingle,
        (false, None) => return false,
    };
    draft.readings.push((draft.action, selection.picks.clone()));
    draft.readings.push((second, selection.picks.clone()));
    draft.say(format!(
        "It asks for two things: to {}, and for something else. Say one at a time.",
        meaning(command.intent)
    ));
    draft.action = Action::Suggest;
    draft.confidence = 0.5;
    draft.picks.clone_from(&selection.picks);
    true
}

fn stop_what(context: &Context<'_>, selection: &Selection, all: bool, draft: &mut Draft<'_>) {
    let references = &context.main.references;
    explain_words(draft, selection);
    let near = explain_unknown(draft, context);
    let picks: Picks = selection
        .picks
        .iter()
        .filter(|(entry, _)| !context.excluded.contains(entry))
        .copied()
        .collect();
    let id = |(entry, _): &(usize, f64)| context.catalog.entries[*entry].subject.id.clone();
    let ids: Vec<String> = picks.iter().map(id).collect();
    if !references.agents.is_empty() {
        draft.say(format!("Stops agent {}.", references.agents.join(", ")));
        draft.arguments.stop_target = Some(StopTarget::Agents(references.agents.clone()));
    } else if !ids.is_empty() && super::tone::relation(&context.main).is_none() {
        draft.confidence = draft.confidence.min(selection.confidence);
        draft.picks = picks;
        let shown = list(context.catalog, draft.picks.iter().map(|(entry, _)| *entry));
        if selection.undecided {
            draft.action = Action::Suggest;
            draft.confidence = draft.confidence.min(0.6);
            draft.say(format!("Which one should stop? It may be {shown}."));
            return;
        }
        draft.say(format!("Stops {shown}: {}.", selection.reasons.join("; ")));
        draft.arguments.stop_target = Some(StopTarget::Streams(ids));
        warn_of_name(context, Intent::Stop, draft);
    } else if !ids.is_empty()
        || references.size.is_some()
        || !near.is_empty()
        || !selection.unmatched.is_empty()
        || !references.unknown.is_empty()
        || references.count.is_some()
    {
        draft.action = Action::Suggest;
        draft.confidence = 0.3;
        draft.picks = near.into_iter().map(|entry| (entry, 0.2)).collect();
        draft.say("It is not clear what should stop, so nothing is stopped.");
    } else {
        stop_all(context, all, draft);
    }
    if context.condition.is_some() {
        // A condition on a stop would be broken at once.
        draft.confidence = draft.confidence.min(0.4);
    }
    weigh_condition(draft, context);
}

fn stop_all(context: &Context<'_>, all: bool, draft: &mut Draft<'_>) {
    let excluded = draft.arguments.excluded.clone();
    draft.confidence = draft.confidence.min(if all { 0.95 } else { 0.92 });
    if context.command(Intent::Next).is_some() {
        draft.confidence = 0.4;
    }
    if excluded.is_empty() {
        draft.say("Stops everything that runs or waits.");
        draft.arguments.stop_target = Some(StopTarget::All);
        if !all {
            warn_of_name(context, Intent::Stop, draft);
        }
    } else {
        draft.say(format!(
            "Stops everything that runs or waits, except {} and what that waits for.",
            excluded.join(", ")
        ));
        draft.arguments.stop_target = Some(StopTarget::AllExcept(excluded));
    }
}

fn ask_about(
    context: &Context<'_>,
    command: &Command,
    selection: &Selection,
    draft: &mut Draft<'_>,
) {
    let what = match command.intent {
        Intent::Unblock => "what keeps it from running",
        Intent::Agents => "who is working",
        Intent::Help => "what can be asked",
        Intent::Status
        | Intent::Next
        | Intent::Resume
        | Intent::All
        | Intent::Parallel
        | Intent::Stop => "how the work stands",
    };
    draft.say(format!("Asks {what}."));
    explain_words(draft, selection);
    let near = explain_unknown(draft, context);
    let about: Picks = selection
        .picks
        .iter()
        .filter(|(entry, _)| !context.excluded.contains(entry))
        .copied()
        .collect();
    if about.is_empty() {
        let following = command.words.last().and_then(|at| context.main.tokens.get(at + 1));
        let compound = following.is_some_and(|next| {
            command.describes(next) && selection.unmatched.contains(&next.word)
        });
        draft.confidence *= strangeness(selection, if compound { 0.5 } else { 0.7 });
        if !near.is_empty() || !context.main.references.unknown.is_empty() {
            draft.confidence = 0.4;
            draft.picks = near.into_iter().map(|entry| (entry, 0.2)).collect();
        }
    } else {
        let shown = list(context.catalog, about.iter().map(|(entry, _)| *entry));
        draft.say(format!("About {shown}: {}.", selection.reasons.join("; ")));
        let sure = selection.confidence.max(0.4);
        draft.confidence = draft.confidence.min((draft.confidence + sure) / 2.0);
        draft.picks = about;
        if command.intent == Intent::Help {
            draft.confidence = draft.confidence.min(0.65);
        }
    }
    warn_of_name(context, command.intent, draft);
}

/// A single command word that is also in the name of a work stream: the command holds, but the
/// other reading is told.
fn warn_of_name(context: &Context<'_>, intent: Intent, draft: &mut Draft<'_>) {
    let Some(command) = context.command(intent) else { return };
    let [word] = command.core.as_slice() else { return };
    let token = &context.main.tokens[*word];
    let names = context.catalog.vocabulary.posting(&token.stem);
    let mut named: Vec<usize> = names.map(|posting| posting.names.clone()).unwrap_or_default();
    named.retain(|&entry| !context.catalog.entries[entry].subject.complete);
    let meant = draft.picks.iter().any(|(entry, _)| named.contains(entry));
    if named.is_empty() || (!draft.picks.is_empty() && !meant) {
        return;
    }
    if meant {
        named.retain(|entry| draft.picks.iter().any(|(picked, _)| picked == entry));
    }
    let shown = list(context.catalog, named.iter().copied());
    draft.confidence = draft.confidence.min(if meant { 0.7 } else { 0.85 });
    draft.say(format!(
        "\"{}\" is also in the name of {shown}; to run that, give its id.",
        token.word
    ));
    let run = if named.len() > 1 { Action::RunParallel } else { Action::RunSingle };
    draft.readings.push((draft.action, draft.picks.clone()));
    draft.readings.push((run, named.into_iter().map(|entry| (entry, 0.5)).collect()));
}
