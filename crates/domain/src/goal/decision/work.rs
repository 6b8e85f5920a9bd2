//! Goals that ask for work: named streams, the next one, several, all.

use std::collections::BTreeSet;

use super::super::Action;
use super::super::command::Intent;
use super::super::draft::{Draft, Picks, list};
use super::super::selection::{self, Selection};
use super::super::size::Size;
use super::{Context, explain_unknown, explain_words, strangeness, tone, weigh_condition};

/// How many streams "in parallel" starts if no number is given.
const PARALLEL_DEFAULT: usize = 3;

/// Reads the goal as one that asks for work.
pub(super) fn read<'a>(context: &Context<'a>) -> Draft<'a> {
    let all = context.command(Intent::All).is_some();
    let selection = selection::select(context.catalog, &context.main, all);
    let mut draft = Draft::new(context.catalog, Action::Suggest, 0.0);
    draft.arguments.excluded = context.excluded_ids();
    let number = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok());
    draft.arguments.count = number(context.main.references.count);
    draft.arguments.concurrency = number(context.main.references.concurrency);
    if selection.picks.is_empty() {
        without_streams(context, &selection, &mut draft);
    } else if !tone::by_relation(context, &selection, &mut draft) {
        named_streams(context, &selection, &mut draft);
    }
    if draft.action != Action::Suggest || draft.confidence >= 0.5 {
        weigh_condition(&mut draft, context);
        if context.condition.is_some() && selection.picks.is_empty() {
            // "everything after 2.3" would start what the condition holds back.
            draft.confidence = draft.confidence.min(0.45);
        }
        tone::weigh(context, &selection, &mut draft);
    }
    draft
}

fn named_streams(context: &Context<'_>, selection: &Selection, draft: &mut Draft<'_>) {
    let catalog = context.catalog;
    draft.confidence = selection.confidence;
    explain_words(draft, selection);
    explain_unknown(draft, context);
    let (excluded, mut wanted): (Picks, Picks) =
        selection.picks.iter().partition(|(entry, _)| context.excluded.contains(entry));
    if selection.grouped {
        let place = |entry: usize| catalog.order.iter().position(|&known| known == entry);
        wanted.sort_by_cached_key(|(entry, _)| place(*entry));
    }
    draft.say(format!("{}.", capitalized(&selection.reasons.join("; "))));
    if wanted.is_empty() {
        draft.say(format!("But {} must not run.", shown(draft, &excluded)));
        draft.confidence = 0.3;
        draft.suggest_like(&[], &[]);
        return;
    }
    if excluded.is_empty() && context.vague_exclusion && !selection.grouped {
        // "2.1 without frills" may be about how, not about which.
        draft.confidence = draft.confidence.min(0.7);
        draft.say("What is ruled out was not asked for.");
    }
    if let Some((_, size)) = &context.main.references.size
        && !keep_size(size, &mut wanted, draft)
    {
        return;
    }
    if !context.excluded.is_empty() {
        let left_out = list(catalog, context.excluded.iter().copied());
        draft.say(format!("Leaves out {left_out}."));
    }
    let (done, mut open): (Picks, Picks) =
        wanted.iter().partition(|(entry, _)| catalog.entries[*entry].subject.complete);
    if !done.is_empty() {
        let verb = if done.len() == 1 { "is" } else { "are" };
        draft.say(format!("Already complete {verb} {}.", shown(draft, &done)));
    }
    if open.is_empty() {
        draft.say("Nothing is left to start.");
        draft.picks = done;
        return;
    }
    let undecided = choose(context, selection, &mut open, draft);
    if selection.grouped && !undecided {
        keep_startable(&mut open, draft);
    }
    say_waiting(&open, draft);
    draft.action = match open.len() {
        _ if undecided => Action::Suggest,
        1 => Action::RunSingle,
        _ => Action::RunParallel,
    };
    if undecided {
        draft.say("Say which one is meant, by its id.");
        draft.readings = open.iter().take(8).map(|pick| (Action::RunSingle, vec![*pick])).collect();
    }
    draft.picks = open;
}

/// Applies "next", a count or "all" to what was named; gives whether the choice stays open.
fn choose(
    context: &Context<'_>,
    selection: &Selection,
    open: &mut Picks,
    draft: &mut Draft<'_>,
) -> bool {
    let available = |entry: usize| context.catalog.entries[entry].subject.available;
    let count = draft.arguments.count;
    let next = context.command(Intent::Next).is_some();
    let limit = match count {
        Some(count) => Some(count),
        None if next && open.len() > 1 && (selection.grouped || selection.undecided) => Some(1),
        None => None,
    };
    let Some(limit) = limit else { return selection.undecided && open.len() > 1 };
    if limit == 0 {
        draft.confidence = 0.3;
        return true;
    }
    // A stable sort: what can start now comes first, else the order stays.
    open.sort_by_key(|(entry, _)| !available(*entry));
    if open.len() > limit {
        open.truncate(limit);
        draft.say(format!("The first {limit} of them."));
    }
    if selection.undecided && !context.main.references.doubtful {
        draft.confidence = draft.confidence.clamp(0.55, 0.65);
    }
    false
}

/// Of streams that were named together, those that can't be worked through now stay behind: nobody
/// has asked for any one of them, and they would keep the others from being started.
fn keep_startable(open: &mut Picks, draft: &mut Draft<'_>) {
    let entries: Vec<usize> = open.iter().map(|(entry, _)| *entry).collect();
    let startable: BTreeSet<usize> = draft.catalog.reachable(&entries).into_iter().collect();
    if startable.is_empty() || startable.len() == open.len() {
        return;
    }
    let (kept, left): (Picks, Picks) =
        open.iter().partition(|(entry, _)| startable.contains(entry));
    let left = shown(draft, &left);
    draft.say(format!("Left out, because they can't be started or wait for others: {left}."));
    *open = kept;
}

fn say_waiting(open: &[(usize, f64)], draft: &mut Draft<'_>) {
    let waiting: Picks = open
        .iter()
        .filter(|(entry, _)| !draft.catalog.entries[*entry].subject.available)
        .copied()
        .collect();
    if !waiting.is_empty() {
        let verb = if waiting.len() == 1 { "waits" } else { "wait" };
        let shown = shown(draft, &waiting);
        draft.say(format!("Not available now: {shown} {verb} for other work or is claimed."));
    }
}

/// Keeps the streams of a size; gives whether any are.
fn keep_size(size: &Size, wanted: &mut Picks, draft: &mut Draft<'_>) -> bool {
    let holds = |entry: usize| size.holds(&draft.catalog.entries[entry]);
    let (kept, other): (Picks, Picks) =
        wanted.iter().partition(|(entry, _)| holds(*entry) == Some(true));
    let unknown: Picks =
        other.iter().filter(|(entry, _)| holds(*entry).is_none()).copied().collect();
    let said = &size.said;
    if size.efforts.is_none() {
        draft.say(format!("\"{said}\" compares: say a size, such as small or large."));
        draft.confidence = 0.4;
        return false;
    }
    if kept.is_empty() {
        let sizes = size.shown();
        draft.say(format!("No work stream that is meant has the effort {sizes} (\"{said}\")."));
    } else {
        draft.say(format!("\"{said}\" is taken as effort {}.", size.shown()));
    }
    if !unknown.is_empty() {
        let unknown = shown(draft, &unknown);
        draft.say(format!("The roadmap gives no effort for {unknown}."));
    }
    if kept.is_empty() {
        draft.confidence = 0.4;
        return false;
    }
    if size.guessed {
        draft.confidence = draft.confidence.min(0.65);
    }
    *wanted = kept;
    true
}

/// "the small ones", where nothing else says which.
fn of_size(context: &Context<'_>, size: &Size, open: &[usize], draft: &mut Draft<'_>) {
    draft.confidence = 0.9;
    let mut wanted: Picks = open.iter().map(|&entry| (entry, 0.85)).collect();
    if !keep_size(size, &mut wanted, draft) {
        return;
    }
    keep_startable(&mut wanted, draft);
    let next = context.command(Intent::Next).is_some() || size.one;
    let limit = draft.arguments.count.or(next.then_some(1)).unwrap_or(usize::MAX);
    wanted.truncate(limit);
    let startable = |entry: usize| {
        let entries: Vec<usize> = wanted.iter().map(|(entry, _)| *entry).collect();
        context.catalog.reachable(&entries).contains(&entry)
    };
    if wanted.is_empty() || !wanted.iter().all(|(entry, _)| startable(*entry)) {
        draft.confidence = 0.4;
    }
    draft.action = if wanted.len() == 1 { Action::RunSingle } else { Action::RunParallel };
    draft.say(format!("That is {}.", shown(draft, &wanted)));
    draft.picks = wanted;
}

fn without_streams(context: &Context<'_>, selection: &Selection, draft: &mut Draft<'_>) {
    let near = explain_unknown(draft, context);
    explain_words(draft, selection);
    if !near.is_empty() || !context.main.references.unknown.is_empty() {
        draft.confidence = 0.2;
        draft.suggest_like(&selection.unmatched, &near);
        return;
    }
    let order = &context.catalog.order;
    let open: Vec<usize> = order
        .iter()
        .copied()
        .filter(|entry| !context.catalog.entries[*entry].subject.complete)
        .filter(|entry| !context.excluded.contains(entry))
        .collect();
    let ready: Vec<usize> = open
        .iter()
        .copied()
        .filter(|&entry| context.catalog.entries[entry].subject.available)
        .collect();
    if let Some((_, size)) = &context.main.references.size {
        of_size(context, size, &open, draft);
        draft.confidence *= strangeness(selection, 0.6);
        return;
    }
    if tone::resumes(context) {
        tone::point_to_resume(draft);
        return;
    }
    if !context.main.references.missing_point.is_empty() {
        missing_point(context, draft);
        return;
    }
    let asked = Asked::read(context, draft.arguments.count);
    let Some(asked) = asked else {
        nothing_found(selection, draft);
        return;
    };
    if ready.is_empty() {
        nothing_ready(&open, draft);
        return;
    }
    if !context.excluded.is_empty() {
        let left_out = list(context.catalog, context.excluded.iter().copied());
        draft.say(format!("Leaves out {left_out}."));
    }
    asked.fill(context, &open, &ready, draft);
    draft.confidence *= strangeness(selection, asked.tolerance());
    if context.main.commands.iter().any(|command| command.misspelled) {
        draft.confidence *= 0.8;
    }
    tone::weigh_restriction(context, draft);
}

/// What kind of work is asked for where no stream is named.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked {
    Next { question: bool },
    Several { count: usize, sure: f64 },
    All { ordered: bool },
}

impl Asked {
    fn read(context: &Context<'_>, count: Option<usize>) -> Option<Self> {
        if let Some(all) = context.command(Intent::All) {
            let ordered = context.main.orders_work() || all.words.len() > 1;
            return Some(Self::All { ordered });
        }
        let next = context.command(Intent::Next);
        if let Some(count) = count {
            let sure = if next.is_some() || context.main.orders_work() { 0.88 } else { 0.75 };
            return Some(if count == 1 {
                Self::Next { question: false }
            } else {
                Self::Several { count, sure }
            });
        }
        if context.command(Intent::Parallel).is_some() {
            return Some(Self::Several { count: PARALLEL_DEFAULT, sure: 0.85 });
        }
        next.map(|next| Self::Next { question: next.question })
    }

    /// How much of the confidence each word of no known meaning leaves.
    fn tolerance(self) -> f64 {
        match self {
            Self::Next { .. } | Self::Several { .. } => 0.6,
            Self::All { .. } => 0.45,
        }
    }

    fn fill(self, context: &Context<'_>, open: &[usize], ready: &[usize], draft: &mut Draft<'_>) {
        let catalog = draft.catalog;
        match self {
            Self::Next { question } => {
                draft.action = Action::RunSingle;
                draft.confidence = if question { 0.75 } else { 0.9 };
                draft.picks = ready.first().map(|&entry| (entry, 0.9)).into_iter().collect();
                let next = list(catalog, ready.iter().take(1).copied());
                draft.say(format!("Next in order is {next}."));
            }
            Self::Several { count: 0, .. } => {
                draft.confidence = 0.2;
                draft.say("None were asked for.");
            }
            Self::Several { count, sure } => {
                let short = ready.len() < count;
                // Who asks for more than there is may mean something else.
                draft.confidence = if short { sure.min(0.7) } else { sure };
                draft.picks = ready.iter().take(count).map(|&entry| (entry, 0.85)).collect();
                let one = draft.picks.len() == 1;
                draft.action = if one { Action::RunSingle } else { Action::RunParallel };
                let next = list(catalog, draft.picks.iter().map(|(entry, _)| *entry));
                let only = if short { "; no more are available" } else { "" };
                draft.say(format!("The next {count} in order: {next}{only}."));
            }
            Self::All { ordered } => {
                draft.action = Action::RunBatch;
                draft.confidence = if ordered { 0.93 } else { 0.85 };
                let batch = catalog.batch(&context.excluded);
                let (now, later) = batch.split_at(ready.len().min(batch.len()));
                draft.picks = now.iter().map(|&entry| (entry, 0.9)).collect();
                draft.picks.extend(later.iter().map(|&entry| (entry, 0.6)));
                let follow = match later.len() {
                    0 => String::new(),
                    1 => ", 1 follows when it becomes available".to_owned(),
                    more => format!(", {more} follow as they become available"),
                };
                let now = list(catalog, now.iter().copied());
                draft.say(format!("Everything that is not complete: {now} can start now{follow}."));
                let within: BTreeSet<usize> = batch.iter().copied().collect();
                let left = open.iter().copied().filter(|entry| !within.contains(entry));
                let left = list(catalog, left);
                if !left.is_empty() {
                    draft.say(format!(
                        "Not among them, because they can't be started or wait for what isn't: \
                         {left}."
                    ));
                }
            }
        }
    }
}

/// "run 21" may be a slip for "run 2.1", and starts neither.
fn missing_point(context: &Context<'_>, draft: &mut Draft<'_>) {
    let near: Picks =
        context.main.references.missing_point.iter().map(|&entry| (entry, 0.4)).collect();
    let count = draft.arguments.count.unwrap_or_default();
    let shown = shown(draft, &near);
    draft.say(format!("Is {shown} meant? To run the next {count}, say \"next {count}\"."));
    draft.confidence = 0.45;
    draft.picks = near;
}

fn nothing_ready(open: &[usize], draft: &mut Draft<'_>) {
    draft.confidence = 0.4;
    if open.is_empty() {
        draft.say("Nothing is left to do.");
        return;
    }
    let waiting: Picks = open.iter().take(5).map(|&entry| (entry, 0.3)).collect();
    let shown = shown(draft, &waiting);
    draft.say(format!("Nothing can start now; {shown} wait for other work or are claimed."));
    draft.picks = waiting;
}

fn nothing_found(selection: &Selection, draft: &mut Draft<'_>) {
    draft.confidence = if selection.unmatched.is_empty() { 0.2 } else { 0.1 };
    if draft.sentences.is_empty() {
        draft.say("It names no work stream and no command.");
    }
    draft.suggest_like(&selection.unmatched, &[]);
}

fn shown(draft: &Draft<'_>, picks: &[(usize, f64)]) -> String {
    list(draft.catalog, picks.iter().map(|(entry, _)| *entry))
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
